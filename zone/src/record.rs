//! Records and chunks as a reader sees them: offsets computed from checked loads, no copies.

use crate::{
    Address, Families, Family,
    layout::{CHUNK_NAMED, ENDPOINT_READY, GRANULE_WORDS, WORD, bits, kind},
    sync::{AtomicU64, Ordering},
    words::Words,
};

/// The word where granule `granule` starts.
pub(crate) const fn granule_word(granule: u32) -> usize {
    (granule as usize).wrapping_mul(GRANULE_WORDS)
}

/// A service, a namespace, or what stands for one: its first two words, taken apart when asked.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    /// Its first word.
    at: usize,
    /// Kind, flags, length of the key, size.
    first: u64,
    /// Counts.
    second: u64,
}

impl Head {
    /// The record at `granule`; `None` past the end.
    #[inline]
    pub(crate) fn load(words: Words<'_>, granule: u32) -> Option<Self> {
        Self::load_at(words, granule_word(granule))
    }

    /// The record whose first word is at `at`; `None` past the end.
    #[inline]
    pub(crate) fn load_at(words: Words<'_>, at: usize) -> Option<Self> {
        let (first, second) = (words.load(at)?, words.load(at.wrapping_add(1))?);
        Some(Self { at, first, second })
    }

    /// Its first word.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// See [`kind`].
    pub(crate) const fn kind(&self) -> u8 {
        self.first as u8
    }

    /// Flags: see the kind.
    pub(crate) const fn flags(&self) -> u8 {
        (self.first >> 8) as u8
    }

    /// What a HELD record says of a family, see [`crate::layout::verdict`].
    pub(crate) const fn verdict(&self, family: Family) -> u64 {
        match family {
            Family::V4 => bits(self.second, 16, 3),
            Family::V6 => bits(self.second, 19, 3),
        }
    }

    /// Bytes of the key.
    pub(crate) const fn key_length(&self) -> usize {
        bits(self.first, 16, 16) as usize
    }

    /// The record's size.
    #[cfg(feature = "writer")]
    pub(crate) const fn granules(&self) -> u32 {
        (self.first >> 32) as u32
    }

    /// IPv4 addresses of its own.
    const fn v4(&self) -> usize {
        bits(self.second, 0, 8) as usize
    }

    /// IPv6 addresses of its own.
    const fn v6(&self) -> usize {
        bits(self.second, 8, 8) as usize
    }

    /// Ports of its own.
    const fn port_count(&self) -> usize {
        bits(self.second, 16, 16) as usize
    }

    /// Endpoint slices.
    pub(crate) const fn chunks(&self) -> usize {
        bits(self.second, 32, 16) as usize
    }

    /// Bytes of a CNAME's target.
    pub(crate) const fn target_length(&self) -> usize {
        bits(self.second, 48, 16) as usize
    }

    /// Whether this is `key`'s record; `None` past the end.
    #[inline]
    pub(crate) fn is_of(&self, words: Words<'_>, key: &[u8]) -> Option<bool> {
        if self.key_length() != key.len() {
            return Some(false);
        }
        words.holds_here(self.key_at(), key)
    }

    /// Whether readers of this version know this kind and all its flags.
    pub(crate) const fn is_known(&self) -> bool {
        // No flag is defined yet.
        bits(self.first, 8, 8) == 0
            && matches!(
                self.kind(),
                kind::NAMESPACE | kind::SERVICE | kind::HEADLESS | kind::EXTERNAL | kind::PENDING
            )
    }

    /// Where the key starts.
    pub(crate) const fn key_at(&self) -> usize {
        self.at.wrapping_add(2)
    }

    /// Where the IPv4 addresses start.
    const fn v4_at(&self) -> usize {
        self.key_at().wrapping_add(self.key_length().div_ceil(WORD))
    }

    /// Where the IPv6 addresses start.
    const fn v6_at(&self) -> usize {
        self.v4_at().wrapping_add(self.v4().div_ceil(2))
    }

    /// Where the CNAME's target starts.
    pub(crate) const fn target_at(&self) -> usize {
        self.v6_at().wrapping_add(self.v6().wrapping_mul(2))
    }

    /// Where the references to chunks start.
    pub(crate) const fn chunks_at(&self) -> usize {
        self.target_at()
            .wrapping_add(self.target_length().div_ceil(WORD))
    }

    /// Where the ports start.
    const fn ports_at(&self) -> usize {
        self.chunks_at().wrapping_add(self.chunks())
    }

    /// Its own addresses of one family; `None` past the end.
    pub(crate) fn addresses<'z>(&self, words: Words<'z>, family: Family) -> Option<Addresses<'z>> {
        match family {
            Family::V4 => Addresses::load(words, family, self.v4_at(), self.v4()),
            Family::V6 => Addresses::load(words, family, self.v6_at(), self.v6()),
        }
    }

    /// How many addresses of a family it has.
    pub(crate) const fn count(&self, family: Family) -> usize {
        match family {
            Family::V4 => self.v4(),
            Family::V6 => self.v6(),
        }
    }

    /// Its one IPv4 address, where no other address of it is wanted: most services.
    #[inline]
    pub(crate) fn only_v4(&self, words: Words<'_>, families: Families) -> Option<Address> {
        let is_only = families.v4 && self.v4() == 1 && (self.v6() == 0 || !families.v6);
        let word = words.load(self.v4_at()).filter(|_| is_only)?;
        Some(Address::v4((word as u32).to_le_bytes()))
    }

    /// Whether it has addresses in any of the families.
    pub(crate) const fn has(&self, families: Families) -> bool {
        families.v4 && self.v4() != 0 || families.v6 && self.v6() != 0
    }

    /// Granules of its chunks; `None` past the end.
    pub(crate) fn chunk_granules<'z>(
        &self,
        words: Words<'z>,
    ) -> Option<impl Iterator<Item = u32> + use<'z>> {
        let references = words.range(self.chunks_at(), self.chunks())?;
        Some(
            references
                .iter()
                .map(|word| word.load(Ordering::Relaxed) as u32),
        )
    }

    /// Its own ports.
    pub(crate) const fn ports<'z>(&self, words: Words<'z>) -> Ports<'z> {
        Ports {
            words,
            at: self.ports_at(),
            left: self.port_count(),
        }
    }
}

/// One endpoint slice.
#[derive(Clone, Copy)]
pub(crate) struct Chunk {
    /// Its first word.
    at: usize,
    /// See [`kind`].
    pub(crate) kind: u8,
    /// See [`CHUNK_NAMED`].
    pub(crate) flags: u8,
    /// The chunk's size.
    #[cfg(feature = "writer")]
    pub(crate) granules: u32,
    /// The slice's id.
    #[cfg(feature = "writer")]
    pub(crate) id: u64,
    /// The family of every endpoint.
    pub(crate) family: Family,
    /// Topology zones.
    #[cfg(feature = "writer")]
    pub(crate) zones: usize,
    /// Ports of every endpoint.
    pub(crate) ports: usize,
    /// Endpoints.
    pub(crate) endpoints: usize,
    /// How many endpoints, from the first, answer for the whole service.
    pub(crate) served: usize,
}

impl Chunk {
    /// The chunk at `granule`; `None` past the end, or when it is none that this version knows.
    #[inline]
    pub(crate) fn load(words: Words<'_>, granule: u32) -> Option<Self> {
        let at = granule_word(granule);
        let (first, counts) = (words.load(at)?, words.load(at.wrapping_add(2))?);
        let chunk = Self {
            at,
            kind: first as u8,
            flags: (first >> 8) as u8,
            #[cfg(feature = "writer")]
            granules: (first >> 32) as u32,
            #[cfg(feature = "writer")]
            id: words.load(at.wrapping_add(1))?,
            family: match counts as u8 {
                4 => Family::V4,
                6 => Family::V6,
                _ => return None,
            },
            #[cfg(feature = "writer")]
            zones: bits(counts, 8, 8) as usize,
            ports: bits(counts, 16, 16) as usize,
            endpoints: bits(counts, 32, 16) as usize,
            served: bits(counts, 48, 16) as usize,
        };
        let known = chunk.kind == kind::CHUNK
            && chunk.flags & !CHUNK_NAMED == 0
            && chunk.served <= chunk.endpoints;
        known.then_some(chunk)
    }

    /// Where the addresses start.
    const fn addresses_at(&self) -> usize {
        self.at.wrapping_add(3)
    }

    /// Where the endpoints' attributes start.
    const fn attributes_at(&self) -> usize {
        self.addresses_at().wrapping_add(match self.family {
            Family::V4 => self.endpoints.div_ceil(2),
            Family::V6 => self.endpoints.wrapping_mul(2),
        })
    }

    /// Where the references to host names start.
    const fn names_at(&self) -> usize {
        self.attributes_at()
            .wrapping_add(self.endpoints.div_ceil(2))
    }

    /// Where the ports start.
    const fn ports_at(&self) -> usize {
        let names = if self.flags & CHUNK_NAMED != 0 {
            self.endpoints
        } else {
            0
        };
        self.names_at().wrapping_add(names)
    }

    /// Addresses of the endpoints that answer for the whole service; `None` past the end.
    #[inline]
    pub(crate) fn served_addresses<'z>(&self, words: Words<'z>) -> Option<Addresses<'z>> {
        Addresses::load(words, self.family, self.addresses_at(), self.served)
    }

    /// Addresses of all endpoints; `None` past the end.
    pub(crate) fn addresses<'z>(&self, words: Words<'z>) -> Option<Addresses<'z>> {
        Addresses::load(words, self.family, self.addresses_at(), self.endpoints)
    }

    /// Flags : 8 and topology zone : 8 of endpoint `index`; `None` past the end.
    pub(crate) fn attributes(&self, words: Words<'_>, index: usize) -> Option<u32> {
        let word = words.load(self.attributes_at().wrapping_add(index / 2))?;
        Some(if index.is_multiple_of(2) {
            word as u32
        } else {
            (word >> 32) as u32
        })
    }

    /// Whether endpoint `index` is ready; `None` past the end.
    pub(crate) fn is_ready(&self, words: Words<'_>, index: usize) -> Option<bool> {
        if index < self.served {
            return Some(true);
        }
        Some(self.attributes(words, index)? & ENDPOINT_READY != 0)
    }

    /// The host name of endpoint `index`, `Label::NONE` when it has none; `None` past the end.
    #[inline]
    pub(crate) fn hostname(&self, words: Words<'_>, index: usize) -> Option<Label> {
        if self.flags & CHUNK_NAMED == 0 {
            return Some(Label::NONE);
        }
        let word = words.load(self.names_at().wrapping_add(index))?;
        Some(Label {
            hash: word as u32,
            at: self.at.wrapping_add(bits(word, 32, 24) as usize),
            length: (word >> 56) as usize,
        })
    }

    /// The ports of every endpoint.
    pub(crate) const fn ports<'z>(&self, words: Words<'z>) -> Ports<'z> {
        Ports {
            words,
            at: self.ports_at(),
            left: self.ports,
        }
    }
}

/// A host name in a chunk.
#[derive(Clone, Copy)]
pub(crate) struct Label {
    /// FNV-1a of the text.
    pub(crate) hash: u32,
    /// Where the text starts.
    pub(crate) at: usize,
    /// Bytes; 0 when there is no name.
    pub(crate) length: usize,
}

impl Label {
    /// No host name.
    pub(crate) const NONE: Self = Self {
        hash: 0,
        at: 0,
        length: 0,
    };
}

/// Packed addresses of one family: two IPv4 addresses to a word, two words to an IPv6 address.
pub(crate) struct Addresses<'z> {
    family: Family,
    words: &'z [AtomicU64],
    next: usize,
    count: usize,
}

impl<'z> Addresses<'z> {
    /// `count` addresses from `at` on; `None` past the end.
    #[inline]
    pub(crate) fn load(words: Words<'z>, family: Family, at: usize, count: usize) -> Option<Self> {
        let size = match family {
            Family::V4 => count.div_ceil(2),
            Family::V6 => count.wrapping_mul(2),
        };
        Some(Self {
            family,
            words: words.range(at, size)?,
            next: 0,
            count,
        })
    }

    /// How many words are read for all of them: each IPv4 address reads its own.
    pub(crate) fn cost(&self) -> usize {
        self.count.max(self.words.len())
    }
}

impl Iterator for Addresses<'_> {
    type Item = Address;

    #[inline]
    fn next(&mut self) -> Option<Address> {
        let index = self.next;
        if index >= self.count {
            return None;
        }
        self.next = index.wrapping_add(1);
        let load = |at: usize| self.words.get(at).map(|word| word.load(Ordering::Relaxed));
        match self.family {
            Family::V4 => {
                let word = load(index / 2)?;
                let half = if index.is_multiple_of(2) {
                    word as u32
                } else {
                    (word >> 32) as u32
                };
                Some(Address::v4(half.to_le_bytes()))
            }
            Family::V6 => {
                let first = index.wrapping_mul(2);
                let (low, high) = (load(first)?, load(first.wrapping_add(1))?);
                let octets = u128::from(low) | u128::from(high) << 64;
                Some(Address::v6(octets.to_le_bytes()))
            }
        }
    }
}

/// Ports one after the other.
pub(crate) struct Ports<'z> {
    words: Words<'z>,
    at: usize,
    left: usize,
}

/// One port.
#[derive(Clone, Copy)]
pub(crate) struct PortView {
    /// The number.
    pub(crate) number: u16,
    /// 1 TCP, 2 UDP, 3 SCTP.
    pub(crate) protocol: u8,
    /// Where the name starts.
    pub(crate) name_at: usize,
    /// Bytes of the name; 0 when it has none.
    pub(crate) name_length: usize,
}

impl PortView {
    /// The protocol's label without its underscore; empty when it is none.
    pub(crate) const fn protocol_label(&self) -> &'static [u8] {
        match self.protocol {
            1 => b"tcp",
            2 => b"udp",
            3 => b"sctp",
            _ => b"",
        }
    }
}

#[cfg(feature = "writer")]
impl Ports<'_> {
    /// The word after those that were walked over.
    pub(crate) const fn end(&self) -> usize {
        self.at
    }
}

impl Iterator for Ports<'_> {
    /// `None` inside: past the end.
    type Item = Option<PortView>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let Some(word) = self.words.load(self.at) else {
            self.left = 0;
            return Some(None);
        };
        let port = PortView {
            number: word as u16,
            protocol: (word >> 16) as u8,
            name_at: self.at.wrapping_add(1),
            name_length: bits(word, 24, 8) as usize,
        };
        self.at = port.name_at.wrapping_add(port.name_length.div_ceil(WORD));
        Some(Some(port))
    }
}

//! A DNS message (RFC 1035 section 4) in the caller's buffer: written from its start, never beyond
//! its end, and nothing is ever read from it but what was written before.

use nss_k8s_zone::{Address, Family};

/// Octets before the question.
const HEADER: usize = 12;
/// Where the counts of the three sections after the question are.
const COUNTS: usize = 6;
/// Class IN.
const INTERNET: u16 = 1;
/// The longest label.
const MAX_LABEL: usize = 63;

/// Record types by number.
pub(crate) mod kind {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const CNAME: u16 = 5;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const PTR: u16 = 12;
    pub(crate) const TXT: u16 = 16;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SRV: u16 = 33;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const TKEY: u16 = 249;
    pub(crate) const MAILA: u16 = 254;
}

/// Response codes by number.
pub(crate) const NOERROR: u8 = 0;
pub(crate) const NXDOMAIN: u8 = 3;

/// Where a record goes.
#[derive(Clone, Copy)]
pub(crate) enum Section {
    Answer = 0,
    Authority = 1,
    Additional = 2,
}

/// What a record says.
#[derive(Clone, Copy)]
pub(crate) enum Data<'d> {
    /// A or AAAA.
    Address(&'d Address),
    /// CNAME.
    Alias(&'d [u8]),
    /// PTR.
    Pointer(&'d [u8]),
    /// TXT of one string of at most 255 octets.
    Text(&'d [u8]),
    /// SRV of priority 0.
    Service {
        weight: u16,
        port: u16,
        target: &'d [u8],
    },
    /// SOA of the zone `apex`.
    Authority {
        apex: &'d [u8],
        serial: u32,
        minimum: u32,
    },
}

/// A message that grows.
pub(crate) struct Message<'b> {
    buffer: &'b mut [u8],
    /// Octets written.
    length: usize,
    /// The question's name as text, which names may point into.
    question: &'b [u8],
    /// Whether they do.
    compresses: bool,
    /// Where the section begins that is being written.
    section: usize,
    /// Whose number of records this is.
    counts: [u16; 3],
}

impl<'b> Message<'b> {
    /// A response to one question, authoritative as CoreDNS is for its zones, recursion desired and
    /// not available. `None` when the buffer is too small or `name` is no name.
    pub(crate) fn new(
        buffer: &'b mut [u8],
        identifier: u16,
        name: &'b [u8],
        kind: u16,
        compresses: bool,
    ) -> Option<Self> {
        let mut message = Self {
            buffer,
            length: 0,
            question: name,
            compresses: false,
            section: 0,
            counts: [0; 3],
        };
        message.number(identifier)?;
        // QR, AA, RD; the response code and the counts follow in `finish`.
        message.push(&[0x85, 0, 0, 1, 0, 0, 0, 0, 0, 0])?;
        message.name(name)?;
        message.number(kind)?;
        message.number(INTERNET)?;
        message.compresses = compresses;
        message.section = message.length;
        Some(message)
    }

    /// Says that the records to come are of a section of their own: none of them is compared with
    /// those before.
    pub(crate) const fn begin_section(&mut self) {
        self.section = self.length;
    }

    /// Adds a record unless the section has the very same one. `None` when there is no room.
    #[inline(never)]
    pub(crate) fn record(
        &mut self,
        section: Section,
        owner: &[u8],
        time_to_live: u32,
        data: Data<'_>,
    ) -> Option<()> {
        let start = self.length;
        self.name(owner)?;
        self.number(match data {
            Data::Address(address) => match address.family {
                Family::V4 => kind::A,
                Family::V6 => kind::AAAA,
            },
            Data::Alias(_) => kind::CNAME,
            Data::Pointer(_) => kind::PTR,
            Data::Text(_) => kind::TXT,
            Data::Service { .. } => kind::SRV,
            Data::Authority { .. } => kind::SOA,
        })?;
        self.number(INTERNET)?;
        self.push(&time_to_live.to_be_bytes())?;
        let at_length = self.length;
        self.number(0)?;
        self.data(data)?;
        let length = self.length.checked_sub(at_length)?.checked_sub(2)?;
        let length = u16::try_from(length).ok()?.to_be_bytes();
        self.overwrite(at_length, &length)?;
        if self.is_known(start)? {
            self.length = start;
            return Some(());
        }
        let count = self.counts.get_mut(section as usize)?;
        *count = count.checked_add(1)?;
        Some(())
    }

    /// The finished message's length. `None` when the buffer is too small for any message.
    pub(crate) fn finish(mut self, code: u8) -> Option<usize> {
        self.overwrite(3, &[code])?;
        for (index, count) in self.counts.into_iter().enumerate() {
            let at = COUNTS.wrapping_add(index.wrapping_mul(2));
            self.overwrite(at, &count.to_be_bytes())?;
        }
        Some(self.length)
    }

    fn data(&mut self, data: Data<'_>) -> Option<()> {
        match data {
            Data::Address(address) => self.push(address.as_octets()),
            Data::Alias(name) | Data::Pointer(name) => self.name(name),
            Data::Text(text) => {
                self.push(&[u8::try_from(text.len()).ok()?])?;
                self.push(text)
            }
            Data::Service {
                weight,
                port,
                target,
            } => {
                self.number(0)?;
                self.number(weight)?;
                self.number(port)?;
                // RFC 2782: the target is not compressed.
                let compresses = core::mem::replace(&mut self.compresses, false);
                let written = self.name(target);
                self.compresses = compresses;
                written
            }
            Data::Authority {
                apex,
                serial,
                minimum,
            } => {
                self.push(b"\x02ns\x03dns")?;
                self.name(apex)?;
                self.push(b"\x0ahostmaster")?;
                self.name(apex)?;
                // What CoreDNS says of refresh, retry and expire.
                for number in [serial, 7200, 1800, 86_400, minimum] {
                    self.push(&number.to_be_bytes())?;
                }
                Some(())
            }
        }
    }

    /// Whether the record that starts at `start`, the last one, stands in its section already.
    fn is_known(&self, start: usize) -> Option<bool> {
        let written = self.buffer.get(..self.length)?;
        let last = written.get(start..)?;
        let mut at = self.section;
        while at < start {
            let rest = written.get(at..)?;
            let length = record_length(rest)?;
            if rest.get(..length)? == last {
                return Some(true);
            }
            at = at.checked_add(length)?;
        }
        Some(false)
    }

    /// Writes a name given as text. `None` when it is malformed, too.
    #[inline(never)]
    fn name(&mut self, text: &[u8]) -> Option<()> {
        let mut rest = text;
        while !rest.is_empty() {
            if self.compresses
                && let Some(at) = self.find_in_question(rest)
            {
                return self.number(0xc000 | u16::try_from(at).ok()?);
            }
            let end = rest.iter().position(|byte| *byte == b'.');
            let (label, next) = rest.split_at_checked(end.unwrap_or(rest.len()))?;
            if label.is_empty() || label.len() > MAX_LABEL {
                return None;
            }
            self.push(&[u8::try_from(label.len()).ok()?])?;
            self.push(label)?;
            rest = next.get(1..).unwrap_or(&[]);
        }
        self.push(&[0])
    }

    /// Where the question's name ends with the labels of `text`.
    fn find_in_question(&self, text: &[u8]) -> Option<usize> {
        let before = self.question.strip_suffix(text)?;
        // A dot of the text is the length of the label behind it in the message.
        (before.is_empty() || before.ends_with(b".")).then(|| HEADER.wrapping_add(before.len()))
    }

    fn number(&mut self, number: u16) -> Option<()> {
        self.push(&number.to_be_bytes())
    }

    #[inline(never)]
    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let start = self.length;
        self.length = start.checked_add(bytes.len())?;
        self.overwrite(start, bytes)
    }

    fn overwrite(&mut self, at: usize, bytes: &[u8]) -> Option<()> {
        let place = self.buffer.get_mut(at..at.checked_add(bytes.len())?)?;
        place.copy_from_slice(bytes);
        Some(())
    }
}

/// How long the record is that `message` starts with, as written here.
fn record_length(message: &[u8]) -> Option<usize> {
    /// Type, class, time to live.
    const FIXED: usize = 8;
    let mut at: usize = 0;
    loop {
        let length = usize::from(*message.get(at)?);
        let is_pointer = length > MAX_LABEL;
        at = at.checked_add(if is_pointer {
            2
        } else {
            length.checked_add(1)?
        })?;
        if is_pointer || length == 0 {
            break;
        }
    }
    at = at.checked_add(FIXED)?;
    let data = message.get(at..)?.first_chunk()?;
    at.checked_add(2)?
        .checked_add(usize::from(u16::from_be_bytes(*data)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &[u8] = b"Api.shop.svc.cluster.local";

    #[test]
    fn a_message_is_its_octets() {
        let mut buffer = [0xff; 512];
        let mut message = Message::new(&mut buffer, 0x1234, NAME, kind::A, true).unwrap();
        let address = Address::v4([10, 96, 1, 10]);
        for _ in 0..2 {
            message
                .record(Section::Answer, NAME, 5, Data::Address(&address))
                .unwrap();
        }
        let length = message.finish(NOERROR).unwrap();
        let mut expected = b"\x12\x34\x85\0\0\x01\0\x01\0\0\0\0".to_vec();
        expected.extend(b"\x03Api\x04shop\x03svc\x07cluster\x05local\0\0\x01\0\x01");
        expected.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x05\0\x04\x0a\x60\x01\x0a");
        assert_eq!(&buffer[..length], expected);
    }

    #[test]
    fn names_point_at_whole_labels_only() {
        let mut buffer = [0; 512];
        let message = Message::new(&mut buffer, 0, NAME, kind::A, true).unwrap();
        assert_eq!(
            message.find_in_question(b"shop.svc.cluster.local"),
            Some(16)
        );
        assert_eq!(message.find_in_question(b"hop.svc.cluster.local"), None);
        assert_eq!(
            message.find_in_question(b"api.shop.svc.cluster.local"),
            None
        );
        assert_eq!(message.find_in_question(NAME), Some(12));
    }

    #[test]
    fn every_buffer_that_is_too_small_is_refused_whole() {
        let mut whole = [0; 512];
        let full = authority(&mut whole).unwrap();
        for size in 0..full {
            let mut buffer = [0xa5; 512];
            assert_eq!(authority(&mut buffer[..size]), None, "{size}");
            assert!(buffer[size..].iter().all(|byte| *byte == 0xa5));
        }
        assert_eq!(authority(&mut whole[..full]), Some(full));
    }

    fn authority(buffer: &mut [u8]) -> Option<usize> {
        let mut message = Message::new(buffer, 1, NAME, kind::SRV, false)?;
        let service = Data::Service {
            weight: 100,
            port: 80,
            target: NAME,
        };
        message.record(Section::Answer, NAME, 5, service)?;
        message.begin_section();
        let soa = Data::Authority {
            apex: b"cluster.local",
            serial: 7,
            minimum: 5,
        };
        message.record(Section::Authority, b"cluster.local", 5, soa)?;
        message.finish(NXDOMAIN)
    }

    #[test]
    fn malformed_names_are_refused() {
        for name in [&b"a..b"[..], b".a", &[b'a'; 64]] {
            let mut buffer = [0; 512];
            assert!(Message::new(&mut buffer, 0, name, kind::A, true).is_none());
        }
    }
}

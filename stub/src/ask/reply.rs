//! One message in. Nothing of it is trusted: every octet is looked up by a checked index, every name
//! is at most 255 octets over at most so many pointers, and each record is read once.

use super::queries::{HEADER, MAX_LABEL, Queries};
use crate::c_text::is_word;
use crate::message::{NOERROR, kind};
use crate::sys::Libc;
use nss_k8s_zone::{Address, Family, Name};

/// Class IN.
const INTERNET: u16 = 1;
/// Octets between a record's owner and its data: type, class, time to live, length.
const FIXED: usize = 10;
/// From here on the first octet of a label is that of a pointer (RFC 1035 section 4.1.4).
const POINTER: u8 = 0xc0;
/// More pointers than this no name needs: each label takes two octets of its 255.
const MAX_POINTERS: u8 = 127;

/// Flag TC in the header's third octet.
const TRUNCATED: u8 = 0x02;

/// Response codes (RFC 1035 section 4.1.1).
const SERVFAIL: u8 = 2;
const NOTIMP: u8 = 4;
const REFUSED: u8 = 5;

/// Whether glibc takes a response code for the server's failure rather than for its answer.
pub(super) const fn is_failure(code: u8) -> bool {
    matches!(code, SERVFAIL | NOTIMP | REFUSED)
}

/// Whether a message says REFUSED.
pub(super) fn is_refusal(message: &[u8]) -> bool {
    message.get(3).is_some_and(|code| code & 0xf == REFUSED)
}

/// A reply to one of [`Queries`].
#[derive(Clone, Copy)]
pub(super) struct Reply<'m> {
    message: &'m [u8],
    /// The response code.
    pub(super) code: u8,
    /// How many records the answer section claims.
    pub(super) answers: u16,
    /// It says nothing, and that its server neither knows nor can find out: a delegation. glibc asks
    /// the next server (resolv/res_send.c, `send_dg`).
    pub(super) is_lame: bool,
    records_at: usize,
}

/// The records of a reply are not what both old and new versions of this libc understand alike.
pub(super) struct Unusable;

/// Addresses found so far, in the caller's room.
pub(super) struct Harvest<'r> {
    room: &'r mut [Address],
    /// Addresses found, whether or not there was room.
    pub(super) count: usize,
    /// Beyond so many none is taken.
    most: usize,
}

impl<'r> Harvest<'r> {
    /// None yet.
    pub(super) const fn new(room: &'r mut [Address], most: usize) -> Self {
        let count = 0;
        Self { room, count, most }
    }

    /// Whether all had room.
    pub(super) const fn fits(&self) -> bool {
        self.count <= self.room.len()
    }

    fn push(&mut self, address: Address) {
        if self.count < self.most {
            if let Some(place) = self.room.get_mut(self.count) {
                *place = address;
            }
            self.count = self.count.saturating_add(1);
        }
    }
}

impl<'m> Reply<'m> {
    /// A message that [`Queries::index_of`] has found to be a reply; one that is cut, which nothing
    /// is over TCP, is none.
    pub(super) fn new(queries: &Queries, message: &'m [u8]) -> Option<Self> {
        let [_, _, flags, more, _, _, n0, n1, _, _, a0, a1] = *message.first_chunk::<HEADER>()?;
        if flags & TRUNCATED != 0 {
            return None;
        }
        let code = more & 0xf;
        let answers = u16::from_be_bytes([n0, n1]);
        let is_authoritative = flags & 0x04 != 0;
        let can_recurse = more & 0x80 != 0;
        let has_more = a0 != 0 || a1 != 0;
        Some(Self {
            message,
            code,
            answers,
            is_lame: code == NOERROR
                && answers == 0
                && !is_authoritative
                && !can_recurse
                && !has_more,
            records_at: queries.records_at(),
        })
    }

    /// Whether this libc looks at it at all (glibc: unless it asks over TCP anyway).
    pub(super) const fn is_failure(&self) -> bool {
        is_failure(self.code) || self.is_lame
    }

    /// Whether it holds no records that count.
    pub(super) const fn is_empty(&self) -> bool {
        self.code != NOERROR || self.answers == 0
    }

    /// Whether its server says that it failed.
    pub(super) const fn is_servfail(&self) -> bool {
        self.code == SERVFAIL
    }

    /// Takes the addresses of `family`. `canonical` becomes the target of the last CNAME; it stays
    /// where there is none.
    pub(super) fn read(
        &self,
        libc: Libc,
        family: Family,
        harvest: &mut Harvest<'_>,
        canonical: &mut Name,
    ) -> Result<(), Unusable> {
        self.try_read(libc, family, harvest, canonical)
            .ok_or(Unusable)
    }

    /// glibc follows the chain: an address counts when it belongs to the target of the last CNAME
    /// before it, or to the name itself (resolv/nss_dns/dns-host.c since 2.37; before, getaddrinfo
    /// did not look, which no honest server shows). musl takes every address of the type
    /// (src/network/lookup_name.c, `dns_parse_callback`).
    #[inline(never)]
    fn try_read(
        &self,
        libc: Libc,
        family: Family,
        harvest: &mut Harvest<'_>,
        canonical: &mut Name,
    ) -> Option<()> {
        let is_glibc = libc == Libc::Glibc;
        let wanted = match family {
            Family::V4 => kind::A,
            Family::V6 => kind::AAAA,
        };
        // The question's name, then each target.
        let mut expected = Name::new();
        self.read_name(HEADER, &mut expected)?;
        let mut at = self.records_at;
        for _ in 0..self.answers {
            let mut owner = Name::new();
            at = self.read_name(at, &mut owner)?;
            let fixed = self.message.get(at..)?.first_chunk::<FIXED>()?;
            let [k0, k1, c0, c1, _, _, _, _, l0, l1] = *fixed;
            let kind = u16::from_be_bytes([k0, k1]);
            let start = at.checked_add(FIXED)?;
            at = start.checked_add(usize::from(u16::from_be_bytes([l0, l1])))?;
            let data = self.message.get(start..at)?;
            let is_alias = kind == kind::CNAME;
            if !is_alias && kind != kind::A && kind != kind::AAAA {
                continue;
            }
            if u16::from_be_bytes([c0, c1]) != INTERNET {
                return None;
            }
            if is_alias {
                expected.clear();
                let end = self.read_name(start, &mut expected)?;
                if is_glibc && end != at {
                    return None;
                }
                if is_host_name(libc, expected.as_bytes())? {
                    *canonical = expected;
                }
            } else if is_glibc
                && (kind != wanted || !is_word(owner.as_bytes(), expected.as_bytes()))
            {
                return None;
            } else if kind == wanted {
                harvest.push(match family {
                    Family::V4 => Address::v4(*exactly(data)?),
                    Family::V6 => Address::v6(*exactly(data)?),
                });
            }
        }
        Some(())
    }

    /// Appends the name at `at` as text; where it ends. `None` as well for a label with a dot in
    /// it, which text cannot tell from two.
    #[inline(never)]
    fn read_name(&self, at: usize, name: &mut Name) -> Option<usize> {
        // Behind the name, where it stands: known from the first pointer or the last label on.
        let mut end = None;
        let mut pointers = MAX_POINTERS;
        let mut at = at;
        loop {
            let (length, rest) = self.message.get(at..)?.split_first()?;
            let next = at.checked_add(1)?;
            if *length >= POINTER {
                pointers = pointers.checked_sub(1)?;
                if end.is_none() {
                    end = Some(next.checked_add(1)?);
                }
                at = usize::from(u16::from_be_bytes([length & !POINTER, *rest.first()?]));
                continue;
            }
            if *length == 0 {
                return Some(end.unwrap_or(next));
            }
            if usize::from(*length) > MAX_LABEL {
                return None;
            }
            let label = rest.get(..usize::from(*length))?;
            let fits = if name.is_empty() {
                name.push(label)
            } else {
                name.push_suffix(label)
            };
            if !fits || label.iter().any(|byte| *byte == b'.') {
                return None;
            }
            at = next.checked_add(label.len())?;
        }
    }
}

/// All of a record's data, if it has this length.
fn exactly<const LENGTH: usize>(data: &[u8]) -> Option<&[u8; LENGTH]> {
    match data.split_first_chunk() {
        Some((data, [])) => Some(data),
        _ => None,
    }
}

/// Whether this libc would name a host by a CNAME's target: glibc letters, digits, "-" and "_"
/// (resolv/res-name-checking.c), musl no "_" (src/network/lookup_name.c, `is_valid_hostname`).
/// `None` where versions of it differ, or the locale decides.
fn is_host_name(libc: Libc, name: &[u8]) -> Option<bool> {
    let mut is_plain = true;
    let mut has_underscore = false;
    for byte in name {
        has_underscore |= *byte == b'_';
        is_plain &= byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if libc == Libc::Musl && !byte.is_ascii() {
            return None;
        }
    }
    match libc {
        Libc::Glibc if !is_plain || name.is_empty() || name.starts_with(b"-") => None,
        Libc::Glibc => Some(true),
        Libc::Musl => Some(is_plain && !has_underscore && !name.is_empty()),
    }
}

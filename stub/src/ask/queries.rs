//! Messages out: the one or two questions for a candidate, ready for a stream.

use crate::c_text::is_word;
use crate::message::kind;
use crate::resolv_conf::Asking;
use nss_k8s_zone::Families;

/// Octets of a header (RFC 1035 section 4.1.1).
pub(super) const HEADER: usize = 12;
/// Octets of the length before each message on a stream (RFC 1035 section 4.2.2).
pub(super) const PREFIX: usize = 2;
/// The longest name in a message.
const MAX_NAME: usize = 255;
/// Type and class.
const KIND: usize = 4;
/// An OPT record without options, as glibc appends it for `edns0`: of the root, and "1,200 octets
/// over UDP" (resolv/res_mkquery.c, `RESOLV_EDNS_BUFFER_SIZE`).
const OPTION: [u8; 11] = [0, 0, kind::OPT as u8, 0x04, 0xb0, 0, 0, 0, 0, 0, 0];
/// The longest message.
const MAX_QUERY: usize = PREFIX + HEADER + MAX_NAME + KIND + OPTION.len();
/// The longest label.
pub(super) const MAX_LABEL: usize = 63;

/// `A`, `AAAA` or both in this order, each behind its length, one behind the other.
pub struct Queries {
    octets: [u8; 2 * MAX_QUERY],
    /// Octets written.
    length: usize,
    /// Where the second message's length begins; `length` when there is one message.
    middle: usize,
    /// Octets of the name in either.
    name: usize,
    /// Identifier and the octet that tells the types apart, of each.
    marks: [([u8; 2], u8); 2],
}

impl Queries {
    /// Questions for the absolute `name` (no trailing dot). `seed` becomes identifiers. `None` when
    /// no family is asked for or `name` has no place in a message.
    pub fn new(name: &[u8], families: Families, asking: Asking, seed: u64) -> Option<Self> {
        let mut queries = Self {
            octets: [0; 2 * MAX_QUERY],
            length: 0,
            middle: 0,
            name: 0,
            marks: [([0; 2], 0); 2],
        };
        let [a, b, c, d, ..] = seed.to_ne_bytes();
        // Never the same twice.
        let second = [a ^ c.max(1), b ^ d];
        let only = match (families.v4, families.v6) {
            (true, true) => None,
            (true, false) => Some(kind::A),
            (false, true) => Some(kind::AAAA),
            (false, false) => return None,
        };
        queries.marks = [
            ([a, b], only.unwrap_or(kind::A) as u8),
            (second, kind::AAAA as u8),
        ];
        queries.write(0, name, asking)?;
        queries.middle = queries.length;
        if only.is_none() {
            queries.write(1, name, asking)?;
        }
        Some(queries)
    }

    /// How many there are.
    pub const fn count(&self) -> usize {
        if self.middle < self.length { 2 } else { 1 }
    }

    /// All messages with their lengths.
    pub fn as_bytes(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or(&[])
    }

    /// One message with its length.
    pub fn framed(&self, index: usize) -> &[u8] {
        let octets = self.as_bytes();
        match index {
            0 => octets.get(..self.middle),
            _ => octets.get(self.middle..),
        }
        .unwrap_or(&[])
    }

    /// Which question this is the reply to. Some servers leave the question out of a reply that
    /// says no more than that they failed; glibc takes it then (resolv/res_send.c, `send_dg`).
    #[inline(never)]
    pub(super) fn index_of(&self, reply: &[u8]) -> Option<usize> {
        let (header, rest) = reply.split_first_chunk::<HEADER>()?;
        let [i0, i1, flags, code, q0, q1, ..] = *header;
        let [first, second] = self.marks;
        let (index, kind) = if first.0 == [i0, i1] {
            (0, first.1)
        } else if second.0 == [i0, i1] && self.count() > 1 {
            (1, second.1)
        } else {
            return None;
        };
        // A response to a standard query.
        if flags & 0xf8 != 0x80 {
            return None;
        }
        let is_answered = match u16::from_be_bytes([q0, q1]) {
            0 => rest.is_empty() && super::reply::is_failure(code & 0xf),
            1 => {
                let (name, behind) = rest.split_at_checked(self.name)?;
                let ours = self.octets.get(PREFIX + HEADER..)?.get(..self.name)?;
                behind.first_chunk() == Some(&[0, kind, 0, 1]) && is_word(name, ours)
            }
            _ => false,
        };
        is_answered.then_some(index)
    }

    /// Where the records of a reply begin.
    pub(super) const fn records_at(&self) -> usize {
        HEADER.saturating_add(self.name).saturating_add(KIND)
    }

    #[inline(never)]
    fn write(&mut self, index: usize, name: &[u8], asking: Asking) -> Option<()> {
        let start = self.length;
        let ([i0, i1], kind) = *self.marks.get(index)?;
        let data = if asking.trusts_data { 0x20 } else { 0 };
        let more = u8::from(asking.extends);
        // RD; AD; one question, and perhaps one additional record.
        let header = [0, 0, i0, i1, 0x01, data, 0, 1, 0, 0, 0, 0, 0, more];
        self.push(&header)?;
        let question = self.length;
        for label in name.split(|byte| *byte == b'.') {
            if label.is_empty() || label.len() > MAX_LABEL {
                return None;
            }
            self.push(&[u8::try_from(label.len()).ok()?])?;
            self.push(label)?;
        }
        self.push(&[0])?;
        self.name = self.length.saturating_sub(question);
        if self.name > MAX_NAME {
            return None;
        }
        self.push(&[0, kind, 0, 1])?;
        if asking.extends {
            self.push(&OPTION)?;
        }
        let length = self.length.saturating_sub(start).saturating_sub(PREFIX);
        let length = u16::try_from(length).ok()?.to_be_bytes();
        self.octets
            .get_mut(start..)?
            .first_chunk_mut()
            .map(|place| *place = length)
    }

    #[inline(never)]
    fn push(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.length.checked_add(bytes.len())?;
        self.octets
            .get_mut(self.length..end)?
            .copy_from_slice(bytes);
        self.length = end;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Asking = Asking {
        rotates: false,
        over_tcp: false,
        extends: false,
        trusts_data: false,
        is_strict: false,
    };

    fn message(queries: &Queries, index: usize) -> &[u8] {
        &queries.framed(index)[PREFIX..]
    }

    #[test]
    fn messages_are_their_octets() {
        let queries = Queries::new(b"a.example", Families::BOTH, PLAIN, 0x0202_0102).unwrap();
        let name = b"\x01a\x07example\0";
        assert_eq!(queries.count(), 2);
        for (index, kind) in [(0, 1), (1, 28)] {
            let framed = queries.framed(index);
            assert_eq!(framed[..2], [0, 27]);
            assert_eq!(framed[4..14], *b"\x01\0\0\x01\0\0\0\0\0\0");
            assert_eq!(framed[14..25], *name);
            assert_eq!(framed[25..], [0, kind, 0, 1]);
        }
        assert_ne!(message(&queries, 0)[..2], message(&queries, 1)[..2]);
        let both = [queries.framed(0), queries.framed(1)].concat();
        assert_eq!(queries.as_bytes(), both);
    }

    #[test]
    fn one_family_is_one_message() {
        for (families, kind) in [(Families::V4, 1), (Families::V6, 28)] {
            let queries = Queries::new(b"a", families, PLAIN, 7).unwrap();
            assert_eq!(queries.count(), 1);
            assert_eq!(queries.as_bytes(), queries.framed(0));
            assert_eq!(queries.framed(1), b"");
            assert_eq!(message(&queries, 0)[16], kind);
        }
    }

    #[test]
    fn options_are_as_glibc_sends_them() {
        let asking = Asking {
            extends: true,
            trusts_data: true,
            ..PLAIN
        };
        let queries = Queries::new(b"a", Families::V4, asking, 7).unwrap();
        let message = message(&queries, 0);
        assert_eq!(message[2..12], *b"\x01\x20\0\x01\0\0\0\0\0\x01");
        assert!(message.ends_with(&[0, 0, 41, 4, 0xb0, 0, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn identifiers_differ_whatever_the_seed() {
        for seed in [0, u64::MAX, 0x0001_0001, 0xffff] {
            let queries = Queries::new(b"a", Families::BOTH, PLAIN, seed).unwrap();
            assert_ne!(
                message(&queries, 0)[..2],
                message(&queries, 1)[..2],
                "{seed}"
            );
        }
    }

    #[test]
    fn the_longest_name_has_its_place() {
        let longest = [&[b'a'; 63][..], &[b'b'; 63], &[b'c'; 63], &[b'd'; 61]].join(&b'.');
        assert_eq!(longest.len(), 253);
        let asking = Asking {
            extends: true,
            ..PLAIN
        };
        let queries = Queries::new(&longest, Families::BOTH, asking, 1).unwrap();
        assert_eq!(queries.as_bytes().len(), 2 * MAX_QUERY);
        for name in [&b""[..], b".", b"a..b", b".a", b"a.", &[b'a'; 64]] {
            assert!(Queries::new(name, Families::BOTH, PLAIN, 1).is_none());
        }
        let none = Families {
            v4: false,
            v6: false,
        };
        assert!(Queries::new(b"a", none, PLAIN, 1).is_none());
    }

    #[test]
    fn replies_belong_to_one_question() {
        let queries = Queries::new(b"a.example", Families::BOTH, PLAIN, 99).unwrap();
        for index in [0, 1] {
            let mut reply = message(&queries, index).to_vec();
            assert_eq!(queries.index_of(&reply), None, "a query is no reply");
            reply[2] |= 0x80;
            assert_eq!(queries.index_of(&reply), Some(index));
            reply[13].make_ascii_uppercase();
            assert_eq!(queries.index_of(&reply), Some(index), "in any case");
            for (place, value) in [(0, 1), (1, 1), (2, 0x08), (5, 1), (13, 1), (24, 2), (26, 1)] {
                let mut lie = reply.clone();
                lie[place] ^= value;
                assert_eq!(queries.index_of(&lie), None, "{place}");
            }
            for length in 0..reply.len() {
                assert_eq!(queries.index_of(&reply[..length]), None);
            }
        }
    }

    #[test]
    fn a_failure_needs_no_question() {
        let queries = Queries::new(b"a", Families::BOTH, PLAIN, 99).unwrap();
        let mut reply = message(&queries, 1)[..HEADER].to_vec();
        reply[2] |= 0x80;
        reply[5] = 0;
        for (code, expected) in [
            (0, None),
            (2, Some(1)),
            (3, None),
            (4, Some(1)),
            (5, Some(1)),
        ] {
            reply[3] = code;
            assert_eq!(queries.index_of(&reply), expected, "{code}");
        }
    }
}

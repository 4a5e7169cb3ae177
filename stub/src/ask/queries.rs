//! Messages out: the one or two questions for a candidate, ready for a stream.

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
const MAX_LABEL: usize = 63;

/// `A`, `AAAA` or both in this order, each behind its length, one behind the other.
pub struct Queries {
    octets: [u8; 2 * MAX_QUERY],
    /// Octets written.
    length: usize,
    /// Where the second message's length begins; `length` when there is one message.
    middle: usize,
    /// Octets of name, type and class in either.
    question: usize,
}

impl Queries {
    /// Questions for the absolute `name` (no trailing dot). `seed` becomes identifiers. `None` when
    /// no family is asked for or `name` has no place in a message.
    pub fn new(name: &[u8], families: Families, asking: Asking, seed: u64) -> Option<Self> {
        let mut queries = Self {
            octets: [0; 2 * MAX_QUERY],
            length: 0,
            middle: 0,
            question: 0,
        };
        let [a, b, c, d, ..] = seed.to_ne_bytes();
        let first = u16::from_ne_bytes([a, b]);
        // Never the same twice.
        let second = first ^ u16::from_ne_bytes([c, d]).max(1);
        if families.v4 {
            queries.write(name, kind::A, first, asking)?;
        }
        if families.v6 {
            queries.middle = queries.length;
            queries.write(name, kind::AAAA, second, asking)?;
        }
        if queries.middle == 0 {
            queries.middle = queries.length;
        }
        (queries.length > 0).then_some(queries)
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

    /// One message.
    fn message(&self, index: usize) -> &[u8] {
        self.framed(index).get(PREFIX..).unwrap_or(&[])
    }

    /// Which question this is the reply to. Some servers leave the question out of a reply that
    /// says no more than that they failed; glibc takes it then (resolv/res_send.c, `send_dg`).
    pub(super) fn index_of(&self, reply: &[u8]) -> Option<usize> {
        let [_, _, flags, code, q0, q1, ..] = *reply.first_chunk::<HEADER>()?;
        // A response to a standard query.
        if flags & 0xf8 != 0x80 {
            return None;
        }
        let count = u16::from_be_bytes([q0, q1]);
        let is_bare = count == 0 && reply.len() == HEADER && super::reply::is_failure(code & 0xf);
        (0..self.count()).find(|index| {
            let query = self.message(*index);
            let has_identifier = query.first_chunk::<2>() == reply.first_chunk::<2>();
            let end = HEADER.saturating_add(self.question);
            let question = query.get(HEADER..end);
            let same = count == 1
                && question.is_some_and(|question| {
                    // Only letters of names are told apart by this.
                    let theirs = reply.get(HEADER..end);
                    theirs.is_some_and(|theirs| theirs.eq_ignore_ascii_case(question))
                });
            has_identifier && (is_bare || same)
        })
    }

    /// Where the records of a reply begin.
    pub(super) const fn records_at(&self) -> usize {
        HEADER.saturating_add(self.question)
    }

    #[inline(never)]
    fn write(&mut self, name: &[u8], kind: u16, identifier: u16, asking: Asking) -> Option<()> {
        let start = self.length;
        let [i0, i1] = identifier.to_be_bytes();
        let (data, extends) = (asking.trusts_data, asking.extends);
        // RD; AD; one question, and one additional record.
        let header = [
            0,
            0,
            i0,
            i1,
            0x01,
            if data { 0x20 } else { 0 },
            0,
            1,
            0,
            0,
            0,
            0,
            0,
            u8::from(extends),
        ];
        self.push(&header)?;
        let question = self.length;
        for label in name.split(|byte| *byte == b'.') {
            if label.is_empty() || label.len() > MAX_LABEL {
                return None;
            }
            self.push(&[u8::try_from(label.len()).ok()?])?;
            self.push(label)?;
        }
        let [k0, k1] = kind.to_be_bytes();
        self.push(&[0, k0, k1, 0, 1])?;
        self.question = self.length.saturating_sub(question);
        if self.question > MAX_NAME.saturating_add(KIND) {
            return None;
        }
        if extends {
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
        assert_ne!(queries.message(0)[..2], queries.message(1)[..2]);
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
            assert_eq!(queries.message(0)[16], kind);
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
        let message = queries.message(0);
        assert_eq!(message[2..12], *b"\x01\x20\0\x01\0\0\0\0\0\x01");
        assert!(message.ends_with(&[0, 0, 41, 4, 0xb0, 0, 0, 0, 0, 0, 0]));
    }

    #[test]
    fn identifiers_differ_whatever_the_seed() {
        for seed in [0, u64::MAX, 0x0001_0001, 0xffff] {
            let queries = Queries::new(b"a", Families::BOTH, PLAIN, seed).unwrap();
            assert_ne!(queries.message(0)[..2], queries.message(1)[..2], "{seed}");
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
            let mut reply = queries.message(index).to_vec();
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
        let mut reply = queries.message(1)[..HEADER].to_vec();
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

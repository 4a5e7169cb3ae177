//! What is asked: one name, one type, and the bits of a query that change its answer.

use hickory_proto::{
    op::Query,
    rr::{DNSClass, Name, RecordType},
    serialize::binary::{BinDecodable, BinDecoder},
};
use std::fmt;

/// The longest name on the wire, its root included (RFC 1035 2.3.4).
const NAME_LIMIT: usize = 255;
/// The longest label (RFC 1035 2.3.4).
const LABEL_LIMIT: usize = 63;
/// What follows the name in a key: type, class, bits.
const TAIL: usize = 5;
/// DNSSEC records are wanted (RFC 3225).
const DNSSEC_OK: u8 = 1;
/// Unvalidated answers are welcome (RFC 4035 3.2.2).
const CHECKING_DISABLED: u8 = 2;

/// A question as the cache's key: the name in lower case, its type, its class, and the bits DO and
/// CD, whose answers differ. It is one array, so that a look-up allocates nothing.
#[derive(Clone)]
pub struct Question {
    octets: [u8; NAME_LIMIT + TAIL],
    name: usize,
}

impl Question {
    /// A question about an uncompressed name in wire format, which must end with its root and may
    /// be of any case; nothing for a name that is none.
    pub fn new(name: &[u8], kind: u16, class: u16) -> Option<Self> {
        if wire_length(name)? != name.len() {
            return None;
        }
        let mut octets = [0; NAME_LIMIT + TAIL];
        octets[..name.len()].copy_from_slice(name);
        // A length octet is at most 63, which is no letter.
        octets[..name.len()].make_ascii_lowercase();
        octets[name.len()..name.len() + 2].copy_from_slice(&kind.to_be_bytes());
        octets[name.len() + 2..name.len() + 4].copy_from_slice(&class.to_be_bytes());
        let name = name.len();
        Some(Self { octets, name })
    }

    /// The question whose name, type and class begin `section`, as in a query after its header,
    /// and its length there. Nothing for a compressed or broken name.
    pub fn read(section: &[u8]) -> Option<(Self, usize)> {
        let name = wire_length(section)?;
        let tail: &[u8; 4] = section.get(name..)?.first_chunk()?;
        let [a, b, c, d] = *tail;
        let question = Self::new(
            &section[..name],
            u16::from_be_bytes([a, b]),
            u16::from_be_bytes([c, d]),
        )?;
        Some((question, name + tail.len()))
    }

    /// A question of class IN.
    pub fn of(name: &Name, kind: RecordType) -> Option<Self> {
        let mut octets = Vec::with_capacity(NAME_LIMIT);
        for label in name.iter() {
            octets.push(u8::try_from(label.len()).ok()?);
            octets.extend_from_slice(label);
        }
        octets.push(0);
        Self::new(&octets, kind.into(), DNSClass::IN.into())
    }

    /// The same with the bits DO and CD of the query.
    pub fn with_bits(mut self, dnssec_ok: bool, checking_disabled: bool) -> Self {
        self.octets[self.name + TAIL - 1] = if dnssec_ok { DNSSEC_OK } else { 0 }
            | if checking_disabled {
                CHECKING_DISABLED
            } else {
                0
            };
        self
    }

    /// The question that a key was made of.
    pub fn from_key(key: &[u8]) -> Option<Self> {
        let (name, tail) = key.split_at_checked(key.len().checked_sub(TAIL)?)?;
        let mut question = Self::new(name, 0, 0)?;
        question.octets[name.len()..key.len()].copy_from_slice(tail);
        Some(question)
    }

    /// What two equal questions have in common.
    pub fn key(&self) -> &[u8] {
        &self.octets[..self.name + TAIL]
    }

    /// The name in lower case, in wire format with its root.
    pub fn name(&self) -> &[u8] {
        &self.octets[..self.name]
    }

    /// The type's number.
    pub fn kind(&self) -> u16 {
        u16::from_be_bytes([self.octets[self.name], self.octets[self.name + 1]])
    }

    /// The class's number.
    pub fn class(&self) -> u16 {
        u16::from_be_bytes([self.octets[self.name + 2], self.octets[self.name + 3]])
    }

    /// Whether DNSSEC records are wanted.
    pub fn dnssec_ok(&self) -> bool {
        self.octets[self.name + TAIL - 1] & DNSSEC_OK != 0
    }

    /// Whether answers that fail validation are welcome.
    pub fn checking_disabled(&self) -> bool {
        self.octets[self.name + TAIL - 1] & CHECKING_DISABLED != 0
    }

    /// Whether neither bit is set, as in the query of a libc.
    pub fn is_plain(&self) -> bool {
        self.octets[self.name + TAIL - 1] == 0
    }

    /// The question as hickory knows it.
    pub fn to_query(&self) -> Query {
        // Our own name was checked when it was made.
        let name = Name::read(&mut BinDecoder::new(self.name())).unwrap_or_default();
        let mut query = Query::query(name, RecordType::from(self.kind()));
        query.set_query_class(DNSClass::from(self.class()));
        query
    }

    /// The suffixes of the name, the whole name first, the root last.
    pub fn suffixes(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = Some(self.name());
        std::iter::from_fn(move || {
            let suffix = rest?;
            rest = match suffix.first() {
                Some(&length) if length > 0 => suffix.get(usize::from(length) + 1..),
                _ => None,
            };
            Some(suffix)
        })
    }
}

impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Question {}

impl fmt::Display for Question {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let query = self.to_query();
        write!(out, "{} {}", query.name(), query.query_type())
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Question({self})")
    }
}

/// The octets of the uncompressed name at the start of `octets`, its root included.
fn wire_length(octets: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match usize::from(*octets.get(at)?) {
            0 => return (at < NAME_LIMIT).then_some(at + 1),
            label if label <= LABEL_LIMIT => at += label + 1,
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn www() -> Vec<u8> {
        b"\x03WWW\x07example\x03com\x00".to_vec()
    }

    #[test]
    fn case_does_not_matter_and_the_bits_do() {
        let one = Question::new(&www(), 1, 1).expect("a name");
        let name = Name::from_ascii("www.Example.com.").expect("a name");
        let other = Question::of(&name, RecordType::A).expect("a name");
        assert_eq!(one, other);
        assert_eq!(one.to_string(), "www.example.com. A");
        assert!(one.is_plain());
        assert_ne!(one, other.clone().with_bits(true, false));
        assert_ne!(other.clone().with_bits(false, true), other);
    }

    #[test]
    fn suffixes_end_with_the_root() {
        let question = Question::new(&www(), 28, 1).expect("a name");
        let lengths: Vec<usize> = question.suffixes().map(<[u8]>::len).collect();
        assert_eq!(lengths, [17, 13, 5, 1]);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        assert!(Question::new(b"", 1, 1).is_none());
        assert!(Question::new(b"\x03www", 1, 1).is_none());
        assert!(Question::new(b"\x00\x00", 1, 1).is_none());
        assert!(Question::new(b"\xc0\x0c", 1, 1).is_none());
        let long = [b"\x3f".as_slice(), &[b'a'; 63]].concat().repeat(4);
        assert!(Question::new(&[&long[..], b"\0"].concat(), 1, 1).is_none());
        let (question, length) =
            Question::read(&[&www()[..], &[0, 28, 0, 1, 9, 9]].concat()).expect("a question");
        assert_eq!((question.kind(), question.class(), length), (28, 1, 21));
        assert!(Question::read(&www()).is_none());
    }
}

//! What a client sent, checked: one question, or how it is refused.
//!
//! What is refused how is CoreDNS's (miekg/dns acceptfunc.go, core/dnsserver/server.go): what is no
//! query is not answered, what cannot be read is FORMERR, other opcodes are NOTIMP.

use super::{code, kind, name::WireName};

/// Octets of a header (RFC 1035 section 4.1.1).
pub(super) const HEADER: usize = 12;
/// The octet of an OPT record before its data (RFC 6891 section 6.1.2).
pub(super) const OPT: usize = 11;
/// The least that every client takes (RFC 1035 section 4.2.1).
const LEAST_PAYLOAD: u16 = 512;
/// DO among the flags of OPT.
const DNSSEC_OK: u16 = 0x8000;
/// Class IN.
pub(super) const INTERNET: u16 = 1;

/// What becomes of a message.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
#[derive(Debug)]
pub(super) enum Heard<'q> {
    /// It is answered.
    Query(Request<'q>),
    /// It is answered with a header and nothing else.
    Refused {
        /// Its first four octets, as the answer's are.
        start: [u8; 4],
    },
    /// It is not answered.
    Nothing,
}

/// A query.
#[derive(Clone, Debug)]
pub(super) struct Request<'q> {
    /// The identifier.
    pub(super) identifier: u16,
    /// RD.
    pub(super) recursion_desired: bool,
    /// AD.
    pub(super) authentic_data: bool,
    /// CD.
    pub(super) checking_disabled: bool,
    /// The question as it came.
    pub(super) question: &'q [u8],
    /// Its name.
    pub(super) name: WireName,
    /// Its type.
    pub(super) kind: u16,
    /// Its class.
    pub(super) class: u16,
    /// Of the OPT record.
    pub(super) extended: Option<Extended>,
}

/// What an OPT record says (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extended {
    /// So many octets the client takes over UDP.
    pub(super) payload: u16,
    /// The version; there is only 0.
    pub(super) version: u8,
    /// DO.
    pub(super) dnssec_ok: bool,
}

impl<'q> Heard<'q> {
    /// Reads a message.
    pub(super) fn read(message: &'q [u8]) -> Self {
        let Some(&header) = message.first_chunk::<HEADER>() else {
            return Self::Nothing;
        };
        let [_, _, flags, ..] = header;
        if flags & 0x80 != 0 {
            return Self::Nothing;
        }
        if flags & 0x78 != 0 {
            return refused(header, code::NOTIMP);
        }
        match Request::read(header, message) {
            Some(request) => Self::Query(request),
            None => refused(header, code::FORMERR),
        }
    }
}

/// QR set, opcode and RD as they were.
const fn refused(header: [u8; HEADER], code: u8) -> Heard<'static> {
    let [high, low, flags, ..] = header;
    Heard::Refused {
        start: [high, low, 0x80 | (flags & 0x79), code],
    }
}

impl<'q> Request<'q> {
    /// `None`: it cannot be read.
    fn read(header: [u8; HEADER], message: &'q [u8]) -> Option<Self> {
        let number = |at: usize| Some(u16::from_be_bytes([*header.get(at)?, *header.get(at + 1)?]));
        let (questions, answers, authorities, additionals) =
            (number(4)?, number(6)?, number(8)?, number(10)?);
        // One record each may be of an IXFR (RFC 1995), of a NOTIFY; OPT and TSIG are additional.
        if questions != 1 || answers > 1 || authorities > 1 || additionals > 2 {
            return None;
        }
        let name = WireName::read(message.get(HEADER..)?)?;
        let end = HEADER + name.as_octets().len() + 4;
        let question = message.get(HEADER..end)?;
        let [kind, class] = question.last_chunk::<4>().map(|tail| {
            let [a, b, c, d] = *tail;
            [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])]
        })?;
        let mut at = end;
        let mut extended = None;
        for index in 0..answers + authorities + additionals {
            let (owner, next) = WireName::decompress(message, at)?;
            let fixed: [u8; 10] = *message.get(next..)?.first_chunk()?;
            let [a, b, c, d, _, version, f, g, h, i] = fixed;
            at = next + fixed.len() + usize::from(u16::from_be_bytes([h, i]));
            if at > message.len() {
                return None;
            }
            if u16::from_be_bytes([a, b]) != kind::OPT {
                continue;
            }
            // RFC 6891 section 6.1.1.
            if index < answers + authorities || owner != WireName::ROOT || extended.is_some() {
                return None;
            }
            extended = Some(Extended {
                payload: u16::from_be_bytes([c, d]),
                version,
                dnssec_ok: u16::from_be_bytes([f, g]) & DNSSEC_OK != 0,
            });
        }
        let [high, low, flags, more, ..] = header;
        Some(Self {
            identifier: u16::from_be_bytes([high, low]),
            recursion_desired: flags & 1 != 0,
            authentic_data: more & 0x20 != 0,
            checking_disabled: more & 0x10 != 0,
            question,
            name,
            kind,
            class,
            extended,
        })
    }

    /// So many octets an answer over UDP may have, where the server sends `most` at most.
    pub(super) fn datagram(&self, most: u16) -> usize {
        let offered = self.extended.map_or(LEAST_PAYLOAD, |opt| opt.payload);
        usize::from(offered.max(LEAST_PAYLOAD).min(most.max(LEAST_PAYLOAD)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01";

    fn with(at: usize, octets: &[u8]) -> Vec<u8> {
        let mut message = QUERY.to_vec();
        message[at..at + octets.len()].copy_from_slice(octets);
        message
    }

    fn start(message: &[u8]) -> Option<[u8; 4]> {
        match Heard::read(message) {
            Heard::Refused { start } => Some(start),
            _ => None,
        }
    }

    #[test]
    fn a_query_is_its_question() {
        let Heard::Query(request) = Heard::read(QUERY) else {
            panic!("a query");
        };
        assert_eq!(
            (request.identifier, request.kind, request.class),
            (0x1234, 1, 1)
        );
        assert!(request.recursion_desired && !request.checking_disabled);
        assert_eq!(request.question, &QUERY[HEADER..]);
        assert_eq!(request.datagram(1232), 512);
    }

    #[test]
    fn what_is_no_query() {
        assert!(matches!(Heard::read(&QUERY[..11]), Heard::Nothing));
        assert!(matches!(Heard::read(&with(2, &[0x81])), Heard::Nothing));
        // NOTIFY, UPDATE.
        assert_eq!(
            start(&with(2, &[0x21])),
            Some([0x12, 0x34, 0xa1, code::NOTIMP])
        );
        assert_eq!(
            start(&with(2, &[0x28])),
            Some([0x12, 0x34, 0xa8, code::NOTIMP])
        );
        let formerr = Some([0x12, 0x34, 0x81, code::FORMERR]);
        for message in [
            &QUERY[..QUERY.len() - 1],
            &QUERY[..HEADER],
            &with(5, &[0]),
            &with(5, &[2]),
            &with(7, &[1]),
            &with(7, &[2]),
            &with(9, &[2]),
            &with(11, &[3]),
            &with(HEADER, &[0xc0]),
        ] {
            assert_eq!(start(message), formerr, "{message:?}");
        }
    }

    #[test]
    fn one_opt_record_of_the_root() {
        let opt = b"\0\0\x29\x10\0\0\0\x80\0\0\0";
        let one = [&with(11, &[1]), &opt[..]].concat();
        let Heard::Query(request) = Heard::read(&one) else {
            panic!("a query");
        };
        let expected = Extended {
            payload: 4096,
            version: 0,
            dnssec_ok: true,
        };
        assert_eq!(request.extended, Some(expected));
        assert_eq!(
            (request.datagram(1232), request.datagram(9000)),
            (1232, 4096)
        );
        let two = [&with(11, &[2]), &opt[..], opt].concat();
        let elsewhere = [&with(7, &[1]), &opt[..]].concat();
        let owned = [&with(11, &[1]), b"\x01x".as_slice(), opt].concat();
        for message in [two, elsewhere, owned] {
            assert!(start(&message).is_some(), "{message:?}");
        }
    }
}

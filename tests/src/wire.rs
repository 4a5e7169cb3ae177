//! As much of the DNS wire format (RFC 1035 section 4) as a scripted server needs.

use crate::recording;
use anyhow::{Context, Result, bail};
use std::net::IpAddr;

/// What CoreDNS's kubernetes plugin gives records to live, in seconds.
pub const TTL: u32 = 5;

/// Record types by number.
pub mod kind {
    /// IPv4 address.
    pub const A: u16 = 1;
    /// Name server.
    pub const NS: u16 = 2;
    /// Alias.
    pub const CNAME: u16 = 5;
    /// Start of a zone of authority.
    pub const SOA: u16 = 6;
    /// Name of an address.
    pub const PTR: u16 = 12;
    /// Text.
    pub const TXT: u16 = 16;
    /// IPv6 address.
    pub const AAAA: u16 = 28;
    /// Host and port of a service.
    pub const SRV: u16 = 33;
    /// Pseudo-record of EDNS.
    pub const OPT: u16 = 41;
    /// Service binding of HTTPS.
    pub const HTTPS: u16 = 65;
    /// Every type, in a question.
    pub const ANY: u16 = 255;

    const NAMES: [(u16, &str); 12] = [
        (A, "A"),
        (NS, "NS"),
        (CNAME, "CNAME"),
        (SOA, "SOA"),
        (PTR, "PTR"),
        (15, "MX"),
        (TXT, "TXT"),
        (AAAA, "AAAA"),
        (SRV, "SRV"),
        (OPT, "OPT"),
        (HTTPS, "HTTPS"),
        (ANY, "ANY"),
    ];

    /// Its name, `TYPE4711` for one without.
    pub fn to_text(kind: u16) -> String {
        let known = NAMES.iter().find(|(number, _)| *number == kind);
        known.map_or_else(|| format!("TYPE{kind}"), |(_, name)| (*name).into())
    }

    /// The number of such a name.
    pub fn from_text(text: &str) -> Option<u16> {
        let known = NAMES.iter().find(|(_, name)| *name == text);
        known.map_or_else(
            || text.strip_prefix("TYPE")?.parse().ok(),
            |(number, _)| Some(*number),
        )
    }
}

/// Response codes by number.
pub mod rcode {
    /// No error; without answers: NODATA.
    pub const NOERROR: u8 = 0;
    /// The server does not understand.
    pub const FORMERR: u8 = 1;
    /// The server failed.
    pub const SERVFAIL: u8 = 2;
    /// No such name.
    pub const NXDOMAIN: u8 = 3;
    /// The server cannot do this.
    pub const NOTIMP: u8 = 4;
    /// The server does not want to.
    pub const REFUSED: u8 = 5;

    const NAMES: [&str; 6] = [
        "NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED",
    ];

    /// Its name, `RCODE9` for one without.
    pub fn to_text(code: u8) -> String {
        let known = NAMES.get(usize::from(code));
        known.map_or_else(|| format!("RCODE{code}"), |name| (*name).into())
    }

    /// The number of such a name.
    pub fn from_text(text: &str) -> Option<u8> {
        let known = NAMES.iter().position(|name| *name == text);
        known.map_or_else(
            || text.strip_prefix("RCODE")?.parse().ok(),
            |number| u8::try_from(number).ok(),
        )
    }
}

/// A query's identifier, flags and only question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The message's identifier.
    pub id: u16,
    /// Lower case, no trailing dot, odd bytes as `\DDD`; the root is empty.
    pub name: String,
    /// The type asked for, see [`kind`].
    pub kind: u16,
    /// The question section as it came, to be repeated (0x20 case kept).
    pub raw: Vec<u8>,
}

/// One record of an answer section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The owner.
    pub owner: String,
    /// See [`kind`].
    pub kind: u16,
    /// The data, in wire form.
    pub data: Vec<u8>,
    /// Seconds to live.
    pub ttl: u32,
}

/// Reads a query. Only one question is understood, as every stub sends them.
pub fn parse(message: &[u8]) -> Result<Question> {
    let header = message.get(..12).context("short header")?;
    let id = u16::from_be_bytes([header[0], header[1]]);
    if u16::from_be_bytes([header[4], header[5]]) != 1 {
        bail!("not one question");
    }
    let mut labels = Vec::new();
    let mut at = 12;
    loop {
        let length = usize::from(*message.get(at).context("short name")?);
        at += 1;
        if length == 0 {
            break;
        }
        let label = message.get(at..at + length).context("short label")?;
        labels.push(recording::escape(label, recording::IN_NAMES).to_lowercase());
        at += length;
    }
    let fixed = message.get(at..at + 4).context("short question")?;
    Ok(Question {
        id,
        name: labels.join("."),
        kind: u16::from_be_bytes([fixed[0], fixed[1]]),
        raw: message[12..at + 4].to_vec(),
    })
}

/// A response to `question`: authoritative, with an SOA of `apex` when there is nothing else.
/// Over `limit` bytes it is cut to the question and marked truncated.
pub fn respond(
    question: &Question,
    code: u8,
    answers: &[Record],
    apex: &str,
    limit: usize,
) -> Vec<u8> {
    let mut body = Vec::new();
    for record in answers {
        put_record(&mut body, record, &question.name);
    }
    let negative = answers.iter().all(|record| record.kind == kind::CNAME)
        && matches!(code, rcode::NOERROR | rcode::NXDOMAIN);
    if negative {
        put_record(&mut body, &soa(apex), &question.name);
    }
    let truncated = 12 + question.raw.len() + body.len() > limit;
    let mut message = question.id.to_be_bytes().to_vec();
    // QR, AA, RD; TC; RA.
    message.push(0b1000_0101 | if truncated { 0b10 } else { 0 });
    message.push(0b1000_0000 | code);
    message.extend(1_u16.to_be_bytes());
    let counts = if truncated {
        [0, 0, 0]
    } else {
        [
            u16::try_from(answers.len()).unwrap_or(u16::MAX),
            u16::from(negative),
            0,
        ]
    };
    message.extend(counts.iter().flat_map(|count| count.to_be_bytes()));
    message.extend(&question.raw);
    if !truncated {
        message.extend(body);
    }
    message
}

/// The data of an address record, and its type.
pub fn address(address: IpAddr) -> (u16, Vec<u8>) {
    match address {
        IpAddr::V4(v4) => (kind::A, v4.octets().to_vec()),
        IpAddr::V6(v6) => (kind::AAAA, v6.octets().to_vec()),
    }
}

/// A name in wire form, uncompressed; odd bytes stand as `\\DDD` in the text.
pub fn name(text: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in text
        .trim_end_matches('.')
        .split('.')
        .filter(|label| !label.is_empty())
    {
        let label = recording::unescape(label).unwrap_or_else(|_| label.into());
        wire.push(u8::try_from(label.len()).unwrap_or(63));
        wire.extend(label);
    }
    wire.push(0);
    wire
}

fn soa(apex: &str) -> Record {
    let mut data = name(&format!("ns.dns.{apex}"));
    data.extend(name(&format!("hostmaster.{apex}")));
    for number in [1_u32, 7200, 1800, 86_400, 5] {
        data.extend(number.to_be_bytes());
    }
    Record {
        owner: apex.into(),
        kind: kind::SOA,
        data,
        ttl: TTL,
    }
}

/// An owner that is the question's name points at it, which keeps the case as asked: as CoreDNS
/// has it, and glibc before 2.32 takes its canonical name from there.
pub(crate) fn put_record(message: &mut Vec<u8>, record: &Record, asked: &str) {
    if record.owner == asked {
        message.extend([0xc0, 12]);
    } else {
        message.extend(name(&record.owner));
    }
    message.extend(record.kind.to_be_bytes());
    message.extend(1_u16.to_be_bytes());
    message.extend(record.ttl.to_be_bytes());
    message.extend(u16::try_from(record.data.len()).unwrap_or(0).to_be_bytes());
    message.extend(&record.data);
}

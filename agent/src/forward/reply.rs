//! What an upstream said, ready to be said again: one encoded message of our own making, whose TTLs
//! can be counted down in place.

use super::Question;
use hickory_proto::{
    op::{Message, MessageType, Metadata, ResponseCode},
    rr::{RData, Record, RecordType},
    serialize::binary::DecodeError,
};
use std::{sync::Arc, time::Duration};

/// The octets of a header (RFC 1035 4.1.1).
pub(super) const HEADER: usize = 12;
/// Of the flags, those that an upstream decides: QR, AA, TC, RA, AD and the response code.
const UPSTREAM_FLAGS: u16 = 0b1000_0110_1010_1111;
/// RD, which the client decides.
const RECURSION_DESIRED: u16 = 0x0100;
/// AD (RFC 4035 3.2.3).
const AUTHENTIC_DATA: u16 = 0x0020;
/// CD, which the client decides.
const CHECKING_DISABLED: u16 = 0x0010;

/// The bounds of TTLs, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Shorter TTLs are raised to this; a TTL of 0 stays 0 all the same.
    pub min: u32,
    /// Longer ones of answers are cut to this.
    pub max: u32,
    /// Longer ones of negative answers are cut to this (RFC 2308 5).
    pub negative: u32,
    /// How long an upstream's SERVFAIL is remembered (RFC 9520 3.2: a second at least).
    pub failure: u32,
}

impl Default for Lifetimes {
    /// CoreDNS's, but for the smallest: it keeps nothing for less than 5 seconds.
    fn default() -> Self {
        Self {
            min: 0,
            max: 3600,
            negative: 1800,
            failure: 5,
        }
    }
}

/// What a reply means to somebody who looks for addresses or any other type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Records of the type asked for.
    Records,
    /// The name exists, or the end of its aliases does; it has no such records (RFC 2308 2.2).
    NoData,
    /// The name, or the end of its aliases, does not exist.
    NxDomain,
    /// Any other response code.
    Failure,
}

/// An answer of an upstream, checked and encoded again without its OPT record.
#[derive(Debug)]
pub struct Reply {
    /// The message with id 0. Its question is the key's, in lower case.
    message: Box<[u8]>,
    /// Where the TTLs lie in it, in order.
    ttls: Box<[u16]>,
    /// Where its answer section begins.
    question_end: usize,
    verdict: Verdict,
    lifetime: u32,
    /// No upstream said it.
    ours: bool,
}

/// A reply at a moment: what a client is told.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was said, maybe long ago.
    pub reply: Arc<Reply>,
    /// Where it came from.
    pub source: Source,
    /// The seconds by which its TTLs have run down; for stale answers it means nothing.
    pub age: u32,
    /// Every TTL is this instead (RFC 8767 4: 30 seconds).
    pub stale: Option<u32>,
}

/// Who answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// An upstream, for this question.
    Upstream,
    /// The cache.
    Cache,
    /// The cache, past its time, because no upstream did in time.
    Stale,
    /// Nobody: no upstream gave an answer, now or a moment ago, so SERVFAIL.
    Nobody,
    /// Nobody was asked: there is too much to ask already, so REFUSED.
    Overloaded,
}

impl Reply {
    /// A checked reply to `question`. Errors: it cannot be encoded or does not fit.
    pub fn new(
        mut message: Message,
        question: &Question,
        bounds: &Lifetimes,
    ) -> Result<Self, Unusable> {
        // The upper bits of such a code (BADVERS, BADCOOKIE) are in the OPT record, which is the
        // hop's own (RFC 6891 6.1.1): what is left of it without that would say something else.
        if message.metadata.response_code.high() != 0 {
            message.metadata.response_code = ResponseCode::ServFail;
        }
        let verdict = verdict(&message, question);
        let lifetime = lifetime(&message, verdict, bounds);
        let limit = match verdict {
            Verdict::Records => bounds.max,
            _ => bounds.negative,
        };
        let clamp = |record: &mut Record| {
            if record.ttl != 0 {
                record.ttl = record.ttl.max(bounds.min).min(limit);
            }
        };
        message.answers.iter_mut().for_each(clamp);
        message.authorities.iter_mut().for_each(clamp);
        message.additionals.iter_mut().for_each(clamp);
        message.metadata.id = 0;
        message.metadata.message_type = MessageType::Response;
        message.edns = None;
        message.signature = None;
        message.queries = vec![question.to_query()];
        let octets = message.to_vec().map_err(|_| Unusable::Encoding)?;
        let question_end = HEADER + question.name().len() + 4;
        let ttls = find_ttls(&octets, question_end).ok_or(Unusable::Encoding)?;
        Ok(Self {
            message: octets.into(),
            ttls: ttls.into(),
            question_end,
            verdict,
            lifetime,
            ours: false,
        })
    }

    /// A reply with no records, made here; it may be said again for `lifetime` seconds.
    pub fn bare(question: &Question, code: ResponseCode, lifetime: u32) -> Self {
        let [high, low] = (0x8080 | (u16::from(code.low()) & 15)).to_be_bytes();
        let mut message = vec![0, 0, high, low, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(question.name());
        message.extend_from_slice(&question.kind().to_be_bytes());
        message.extend_from_slice(&question.class().to_be_bytes());
        Self {
            question_end: message.len(),
            message: message.into(),
            ttls: Box::default(),
            verdict: Verdict::Failure,
            lifetime,
            ours: true,
        }
    }

    /// Whether it was made here because no upstream answered.
    pub fn is_ours(&self) -> bool {
        self.ours
    }

    /// What it means.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// For how many seconds it may be said again; 0: not at all.
    pub fn lifetime(&self) -> u32 {
        self.lifetime
    }

    /// The response code, without the bits that EDNS adds.
    pub fn code(&self) -> ResponseCode {
        ResponseCode::from(0, self.message[3] & 15)
    }

    /// The octets it takes in memory.
    pub fn size(&self) -> usize {
        self.message.len() + self.ttls.len() * size_of::<u16>() + size_of::<Self>()
    }

    /// The message with the TTLs as they were. Reading fails only if encoding was wrong.
    pub fn to_message(&self) -> Result<Message, DecodeError> {
        Message::from_vec(&self.message)
    }
}

impl Answer {
    /// A reply as it came.
    pub fn fresh(reply: Arc<Reply>, source: Source) -> Self {
        Self {
            reply,
            source,
            age: 0,
            stale: None,
        }
    }

    /// The response code, without the bits that EDNS adds.
    pub fn code(&self) -> ResponseCode {
        self.reply.code()
    }

    /// A record's TTL as this answer says it.
    pub fn ttl(&self, ttl: u32) -> u32 {
        self.stale.unwrap_or(ttl.saturating_sub(self.age))
    }

    /// Appends the whole message for a client: its id, its flags RD, AD, CD, and its question as
    /// it wrote it (name, type, class; the case of the name is kept). There is no OPT record: who
    /// adds one adds 1 to ARCOUNT, the octets 10 and 11. Never truncated; the longest is 65,535.
    ///
    /// A question of another length than the reply's is not taken; the reply's stands instead.
    pub fn write(&self, head: &Head, question: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.reply.message);
        let message = &mut out[start..];
        let mut flags = u16::from_be_bytes([message[2], message[3]]) & UPSTREAM_FLAGS;
        if !head.authentic_data {
            flags &= !AUTHENTIC_DATA;
        }
        if head.recursion_desired {
            flags |= RECURSION_DESIRED;
        }
        if head.checking_disabled {
            flags |= CHECKING_DISABLED;
        }
        message[..2].copy_from_slice(&head.id.to_be_bytes());
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        if question.len() == self.reply.question_end - HEADER {
            message[HEADER..self.reply.question_end].copy_from_slice(question);
        }
        if self.age == 0 && self.stale.is_none() {
            return;
        }
        for at in &self.reply.ttls {
            let at = usize::from(*at);
            if let Some(ttl) = message.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
                *ttl = self.ttl(u32::from_be_bytes(*ttl)).to_be_bytes();
            }
        }
    }

    /// The message as hickory knows it, TTLs as this answer says them.
    pub fn to_message(&self) -> Result<Message, DecodeError> {
        let mut message = self.reply.to_message()?;
        let sections = [
            &mut message.answers,
            &mut message.authorities,
            &mut message.additionals,
        ];
        for record in sections.into_iter().flatten() {
            record.ttl = self.ttl(record.ttl);
        }
        Ok(message)
    }

    /// How long it may be kept by who gets it, from now on.
    pub fn remaining(&self) -> Duration {
        let seconds = match self.stale {
            Some(ttl) => ttl,
            None => self.reply.lifetime.saturating_sub(self.age),
        };
        Duration::from_secs(seconds.into())
    }
}

/// What of a client's query its answer repeats.
#[derive(Clone, Copy, Debug, Default)]
pub struct Head {
    /// The id.
    pub id: u16,
    /// RD.
    pub recursion_desired: bool,
    /// It understands AD: it set AD or DO (RFC 6840 5.7, 5.8).
    pub authentic_data: bool,
    /// CD.
    pub checking_disabled: bool,
}

impl Head {
    /// Of the first octets of a query; `dnssec_ok` as its OPT record says.
    pub fn of(metadata: &Metadata, dnssec_ok: bool) -> Self {
        Self {
            id: metadata.id,
            recursion_desired: metadata.recursion_desired,
            authentic_data: metadata.authentic_data || dnssec_ok,
            checking_disabled: metadata.checking_disabled,
        }
    }
}

/// Why what an upstream sent is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// It cannot be encoded again in 65,535 octets.
    #[error("it cannot be encoded")]
    Encoding,
}

/// Whether the records answer the question.
fn verdict(message: &Message, question: &Question) -> Verdict {
    let kind = RecordType::from(question.kind());
    match message.metadata.response_code {
        ResponseCode::NoError => {
            let answers = |record: &Record| record.record_type() == kind;
            if message.answers.iter().any(answers)
                || (kind == RecordType::ANY && !message.answers.is_empty())
            {
                Verdict::Records
            } else {
                Verdict::NoData
            }
        }
        ResponseCode::NXDomain => Verdict::NxDomain,
        _ => Verdict::Failure,
    }
}

/// For how long it may be said again: answers for their smallest TTL, negative ones as RFC 2308 5
/// says, and not at all without the zone's SOA record, failures for a short fixed time.
fn lifetime(message: &Message, verdict: Verdict, bounds: &Lifetimes) -> u32 {
    let smallest = |records: &mut dyn Iterator<Item = &Record>| records.map(|it| it.ttl).min();
    let raise = |ttl: u32, limit: u32| match ttl {
        0 => 0,
        ttl => ttl.max(bounds.min).min(limit),
    };
    if message.metadata.truncation {
        return 0;
    }
    match verdict {
        Verdict::Records => raise(
            smallest(&mut message.all_sections()).unwrap_or(0),
            bounds.max,
        ),
        Verdict::NoData | Verdict::NxDomain => {
            let authority = message
                .authorities
                .iter()
                .find_map(|record| match &record.data {
                    RData::SOA(soa) => Some(record.ttl.min(soa.minimum)),
                    _ => None,
                });
            let aliases = smallest(&mut message.answers.iter()).unwrap_or(u32::MAX);
            authority.map_or(0, |ttl| raise(ttl.min(aliases), bounds.negative))
        }
        Verdict::Failure if message.metadata.response_code == ResponseCode::ServFail => {
            bounds.failure
        }
        Verdict::Failure => 0,
    }
}

/// Where the TTLs of a message's records lie, from the first record on. Nothing if the message
/// ends too early.
fn find_ttls(message: &[u8], mut at: usize) -> Option<Vec<u16>> {
    let count = |at: usize| {
        let octets = message.get(at..)?.first_chunk()?;
        Some(usize::from(u16::from_be_bytes(*octets)))
    };
    let records = count(6)? + count(8)? + count(10)?;
    let mut ttls = Vec::with_capacity(records);
    for _ in 0..records {
        // The owner name ends with its root or with a pointer (RFC 1035 4.1.4).
        loop {
            match usize::from(*message.get(at)?) {
                0 => break at += 1,
                pointer if pointer >= 0xc0 => break at += 2,
                label => at += label + 1,
            }
        }
        ttls.push(u16::try_from(at + 4).ok()?);
        at += 10 + count(at + 8)?;
    }
    (at == message.len()).then_some(ttls)
}

#[cfg(test)]
mod tests;

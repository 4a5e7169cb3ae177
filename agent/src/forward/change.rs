//! What the cache holds for programs that look up addresses, as news: so that it can be published
//! to them in shared memory.

use super::{Answer, Class, Question, Reply, Verdict};
use hickory_proto::rr::{Name, RData, RecordType};
use std::{
    net::IpAddr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How many aliases are followed, as in glibc and CoreDNS's own chase.
const ALIAS_LIMIT: usize = 16;

/// Which addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4: A records.
    V4,
    /// IPv6: AAAA records.
    V6,
}

/// One piece of news, for one class of pods: the one that asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An answer is there, or another one, or its time has become longer.
    Put {
        /// Who asked.
        class: Class,
        /// The name in lower case, in wire format, absolute.
        name: Box<[u8]>,
        /// Which addresses are meant; `Held::NxDomain` says it of both.
        family: Family,
        /// The answer.
        held: Arc<Held>,
        /// Until when it may be told, Unix time in seconds.
        expires: u64,
        /// It is past its time; no upstream answers.
        stale: bool,
    },
    /// The answer was taken out before its time, or may not be kept any more.
    Remove {
        /// Who had asked.
        class: Class,
        /// The name as above.
        name: Box<[u8]>,
        /// Which addresses.
        family: Family,
    },
    /// Nothing is held any more, for no class: the configuration changed.
    Clear,
}

/// An answer about addresses, its aliases followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// Addresses, in the order of the upstream.
    Addresses {
        /// At least one, all of the family.
        addresses: Box<[IpAddr]>,
        /// Where the aliases ended, in wire format, the case as the upstream wrote it; nothing if
        /// the name asked for has the addresses itself.
        canonical: Option<Box<[u8]>>,
    },
    /// The name exists, without such addresses.
    NoData,
    /// The name does not exist.
    NxDomain,
}

impl Held {
    /// Of a reply to a plain question for addresses. Nothing for other questions, for failures,
    /// for aliases in a circle or into nowhere, and for what may not be kept.
    pub fn of(question: &Question, reply: &Reply) -> Option<(Family, Self)> {
        let family = family(question)?;
        if reply.lifetime() == 0 {
            return None;
        }
        let held = match reply.verdict() {
            Verdict::Records => addresses(question, reply)?,
            Verdict::NoData => Self::NoData,
            Verdict::NxDomain => Self::NxDomain,
            Verdict::Failure => return None,
        };
        Some((family, held))
    }
}

/// The news of an answer for each class that asked; none of one that leads into the zone `hidden`.
pub(super) fn put(
    question: &Question,
    answer: &Answer,
    classes: &[Class],
    hidden: Option<&Name>,
) -> Vec<Change> {
    if classes.is_empty() || hidden.is_some_and(|zone| leads_into(question, &answer.reply, zone)) {
        return Vec::new();
    }
    let Some((family, held)) = Held::of(question, &answer.reply) else {
        return Vec::new();
    };
    let held = Arc::new(held);
    let expires = unix_now().saturating_add(answer.remaining()).as_secs();
    let change = |class: &Class| Change::Put {
        class: class.clone(),
        name: question.name().into(),
        family,
        held: Arc::clone(&held),
        expires,
        stale: answer.stale.is_some(),
    };
    classes.iter().map(change).collect()
}

/// Whether a question or an answer names something in a zone. What cannot be read may.
fn leads_into(question: &Question, reply: &Reply, zone: &Name) -> bool {
    let Ok(message) = reply.to_message() else {
        return true;
    };
    let within = |name: &Name| zone.zone_of(name);
    let target = |data: &RData| match data {
        RData::CNAME(it) => within(&it.0),
        _ => false,
    };
    within(question.to_query().name())
        || message
            .answers
            .iter()
            .any(|record| within(&record.name) || target(&record.data))
}

/// The news that an answer is gone.
pub(super) fn remove(question: &Question, classes: Vec<Class>) -> Vec<Change> {
    let Some(family) = family(question) else {
        return Vec::new();
    };
    let change = |class| Change::Remove {
        class,
        name: question.name().into(),
        family,
    };
    classes.into_iter().map(change).collect()
}

/// Which addresses a question is about: class IN, and no DNSSEC bits.
fn family(question: &Question) -> Option<Family> {
    match RecordType::from(question.kind()) {
        _ if question.class() != 1 || !question.is_plain() => None,
        RecordType::A => Some(Family::V4),
        RecordType::AAAA => Some(Family::V6),
        _ => None,
    }
}

/// The addresses at the end of the aliases.
fn addresses(question: &Question, reply: &Reply) -> Option<Held> {
    let message = reply.to_message().ok()?;
    let mut owner: Name = question.to_query().name().clone();
    let mut canonical = None;
    for _ in 0..=ALIAS_LIMIT {
        let own = |record: &&hickory_proto::rr::Record| record.name == owner;
        let addresses: Box<[IpAddr]> = message
            .answers
            .iter()
            .filter(own)
            .filter_map(|record| match &record.data {
                RData::A(it) => Some(IpAddr::V4(it.0)),
                RData::AAAA(it) => Some(IpAddr::V6(it.0)),
                _ => None,
            })
            .collect();
        if !addresses.is_empty() {
            return Some(Held::Addresses {
                addresses,
                canonical,
            });
        }
        let target = message
            .answers
            .iter()
            .filter(own)
            .find_map(|record| match &record.data {
                RData::CNAME(it) => Some(it.0.clone()),
                _ => None,
            })?;
        canonical = Some(wire(&target));
        owner = target;
    }
    None
}

/// A name in wire format, its case kept.
fn wire(name: &Name) -> Box<[u8]> {
    let mut octets = Vec::with_capacity(name.len() + 1);
    for label in name.iter() {
        // hickory's labels have at most 63 octets.
        octets.push(label.len() as u8);
        octets.extend_from_slice(label);
    }
    octets.push(0);
    octets.into()
}

/// Since 1970; a clock before it counts as 1970, where everything has expired.
fn unix_now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

//! What is held of one name, as a record: objects to words and back.

use crate::{
    Address, Family, Now,
    layout::{HELD_OTHER_TARGET, MAX_HELD_TTL, kind, verdict},
    record::Head,
    words::Words,
    writer::{
        WriteError, decode,
        encode::{count, finish, push_addresses, push_text, stored},
        object::target,
    },
};
use std::collections::BTreeSet;

/// What is held of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// A records; `None`: DNS must be asked.
    pub v4: Option<HeldAnswer>,
    /// AAAA records.
    pub v6: Option<HeldAnswer>,
}

/// What is held of one name and one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldAnswer {
    /// From this second of Unix time on it does not count; `None`: it always does. Processes take
    /// no answer that ends more than a day from now.
    pub expires: Option<Now>,
    /// What it says.
    pub verdict: HeldVerdict,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldVerdict {
    /// The name exists.
    Data {
        /// All addresses of the family, at most 255 and in no order; none: NODATA.
        addresses: Vec<Address>,
        /// The end of the CNAMEs that led there, if it is another name; its case is kept, as
        /// programs see it.
        canonical: Option<String>,
    },
    /// NXDOMAIN.
    NxDomain,
}

impl Held {
    /// One family's part.
    pub const fn family(&self, family: Family) -> Option<&HeldAnswer> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    /// Changes one family's part.
    pub fn set(&mut self, family: Family, answer: Option<HeldAnswer>) {
        match family {
            Family::V4 => self.v4 = answer,
            Family::V6 => self.v6 = answer,
        }
    }

    /// Leaves out what does not count any more.
    pub(super) fn without_expired(mut self, now: Now) -> Self {
        let counts = |answer: &HeldAnswer| answer.expires.is_none_or(|end| end > now);
        self.v4 = self.v4.filter(counts);
        self.v6 = self.v6.filter(counts);
        self
    }

    /// When nothing of it counts any more; `None`: never.
    pub(super) fn expires(&self) -> Option<Now> {
        let ends = [&self.v4, &self.v6].into_iter().flatten();
        ends.map(|answer| answer.expires.map_or(u64::MAX, |end| end.0))
            .max()
            .filter(|end| *end != u64::MAX)
            .map(Now)
    }
}

/// The record of what is held of `name` (checked and folded here).
pub(super) fn encode(name: &str, held: &Held) -> Result<Vec<u64>, WriteError> {
    let name = target(name)?;
    let v4 = Part::new(&name, held.v4.as_ref(), Family::V4)?;
    let v6 = Part::new(&name, held.v6.as_ref(), Family::V6)?;
    let first = v4.canonical.as_deref().unwrap_or_default();
    let second = v6.canonical.as_deref().unwrap_or_default();
    let mut words = vec![
        0,
        count("addresses", v4.addresses.len(), 255)?
            | count("addresses", v6.addresses.len(), 255)? << 8
            | v4.verdict << 16
            | v6.verdict << 19
            | (first.len() as u64) << 48,
    ];
    push_text(&mut words, name.as_bytes());
    push_addresses(
        &mut words,
        v4.addresses.iter().map(|it| it.octets),
        Family::V4,
    );
    push_addresses(
        &mut words,
        v6.addresses.iter().map(|it| it.octets),
        Family::V6,
    );
    push_text(&mut words, first.as_bytes());
    words.push(u64::from(v4.expiry) | u64::from(v6.expiry) << 32);
    let mut flags = 0;
    if first != second {
        flags = HELD_OTHER_TARGET;
        words.push(second.len() as u64);
        push_text(&mut words, second.as_bytes());
    }
    Ok(finish(words, kind::HELD, flags, name.len()))
}

/// What a record says; `None` when it is malformed.
pub(crate) fn decode(words: Words<'_>, head: &Head) -> Option<Held> {
    if head.kind() != kind::HELD || head.flags() & !HELD_OTHER_TARGET != 0 {
        return None;
    }
    let first = decode::text(words, head.target_at(), head.target_length())?;
    let at = head.chunks_at();
    let expiries = words.load(at)?;
    let second = if head.flags() & HELD_OTHER_TARGET == 0 {
        first.clone()
    } else {
        let length = usize::try_from(words.load(at + 1)?).ok()?;
        decode::text(words, at + 2, Some(length).filter(|length| *length < 256)?)?
    };
    let part = |family, expiry: u32, canonical: String| {
        let expires = (expiry != 0).then(|| Now(expiry.into()));
        let verdict = match head.verdict(family) {
            verdict::UNKNOWN => return Some(None),
            verdict::NXDOMAIN => HeldVerdict::NxDomain,
            verdict::DATA => HeldVerdict::Data {
                addresses: head.addresses(words, family)?.collect(),
                canonical: Some(canonical).filter(|canonical| !canonical.is_empty()),
            },
            _ => return None,
        };
        Some(Some(HeldAnswer { expires, verdict }))
    };
    Some(Held {
        v4: part(Family::V4, expiries as u32, first)?,
        v6: part(Family::V6, (expiries >> 32) as u32, second)?,
    })
}

/// Everything about a record, if each of its words is as this version writes it.
pub(crate) fn valid(words: Words<'_>, head: &Head, granule: u32) -> Option<()> {
    let held = decode(words, head)?;
    let encoded = encode(&decode::key(words, head)?, &held).ok()?;
    decode::same(words, granule, &encoded)
}

/// When an answer ends that was given at `now` with so many seconds to live: a tenth earlier, so
/// that whoever still wants it asks the forwarder before the answer is gone there, which has it
/// fetched again; and at most a day from now. `None`: it would end at once.
pub(super) fn end_of(now: Now, ttl: u32) -> Option<Now> {
    let ttl = u64::from(ttl).min(MAX_HELD_TTL);
    let kept = ttl - ttl.div_ceil(10);
    (kept > 0).then(|| Now(now.0 + kept))
}

/// One family's part of a record.
struct Part {
    verdict: u64,
    /// 0: never.
    expiry: u32,
    addresses: BTreeSet<Address>,
    canonical: Option<String>,
}

impl Part {
    fn new(name: &str, answer: Option<&HeldAnswer>, family: Family) -> Result<Self, WriteError> {
        let mut part = Self {
            verdict: verdict::UNKNOWN,
            expiry: 0,
            addresses: BTreeSet::new(),
            canonical: None,
        };
        let Some(answer) = answer else {
            return Ok(part);
        };
        part.expiry = answer.expires.map_or(0, |end| {
            // The first second is as good as any past one; 0 would mean "never".
            u32::try_from(end.0).unwrap_or(u32::MAX).max(1)
        });
        part.verdict = verdict::NXDOMAIN;
        if let HeldVerdict::Data {
            addresses,
            canonical,
        } = &answer.verdict
        {
            if addresses.iter().any(|address| address.family != family) {
                return Err(WriteError::MixedFamilies);
            }
            part.verdict = verdict::DATA;
            part.addresses = addresses.iter().map(stored).collect();
            if let Some(canonical) = canonical
                && target(canonical)? != name
            {
                part.canonical = Some(canonical.trim_end_matches('.').to_owned());
            }
        }
        Ok(part)
    }
}

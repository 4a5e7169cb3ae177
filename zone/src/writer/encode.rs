//! Objects to words.

use super::{
    Config, Endpoint, Matching, Port, Rule, ServiceBody, ServiceKey, Slice, SliceId, WriteError,
    heap::granules,
    object::{label, target},
};
use crate::{
    Address, Family,
    hash::fnv1a,
    layout::{CHUNK_NAMED, ENDPOINT_READY, ENDPOINT_SHADOWED, GRANULE_WORDS, config, kind, rule},
    record::{Head, granule_word},
    sync::Ordering,
    words::{Words, text_words},
};
use std::collections::BTreeSet;

/// A namespace's record.
pub(crate) fn namespace(name: &str) -> Vec<u64> {
    let mut words = vec![0, 0];
    push_text(&mut words, name.as_bytes());
    finish_head(words, kind::NAMESPACE, name.len())
}

/// A service's record; without a body, one that only keeps its chunks.
pub(crate) fn service(
    key: &ServiceKey,
    body: Option<&ServiceBody>,
    chunks: &[u32],
) -> Result<Vec<u64>, WriteError> {
    let key = key.to_string();
    let mut external = String::new();
    let (kind, addresses, ports): (u8, &[Address], &[Port]) = match body {
        None => (kind::PENDING, &[], &[]),
        Some(ServiceBody::ClusterIp { addresses, ports }) => (kind::SERVICE, addresses, ports),
        Some(ServiceBody::Headless { ports }) => (kind::HEADLESS, &[], ports),
        Some(ServiceBody::External { target: name }) => {
            external = target(name)?;
            (kind::EXTERNAL, &[], &[])
        }
    };
    let addresses: BTreeSet<Address> = addresses.iter().map(stored).collect();
    let of = |family| {
        addresses
            .iter()
            .filter(move |address| address.family == family)
    };
    let v4 = count("addresses", of(Family::V4).count(), 255)?;
    let v6 = count("addresses", of(Family::V6).count(), 255)?;
    let ports_count = count("ports", ports.len(), 65_535)?;
    let chunks_count = count("endpoint slices", chunks.len(), 65_535)?;
    let mut words = vec![0, 0];
    words[1] = v4 | v6 << 8 | ports_count << 16 | chunks_count << 32;
    words[1] |= (external.len() as u64) << 48;
    push_text(&mut words, key.as_bytes());
    push_addresses(&mut words, of(Family::V4).map(|it| it.octets), Family::V4);
    push_addresses(&mut words, of(Family::V6).map(|it| it.octets), Family::V6);
    push_text(&mut words, external.as_bytes());
    words.extend(chunks.iter().map(|granule| u64::from(*granule)));
    push_ports(&mut words, ports)?;
    Ok(finish_head(words, kind, key.len()))
}

/// The record of `head` with other chunks.
pub(crate) fn with_chunks(
    words: Words<'_>,
    granule: u32,
    head: &Head,
    chunks: &[u32],
) -> Result<Vec<u64>, WriteError> {
    let mut walk = head.ports(words);
    let ports_at = walk.end();
    walk.by_ref().for_each(drop);
    let copy = |from: usize, to: usize| {
        words
            .range(from, to - from)
            .into_iter()
            .flatten()
            .map(|word| word.load(Ordering::Relaxed))
    };
    let mut record: Vec<u64> = copy(granule_word(granule), head.chunks_at()).collect();
    record.extend(chunks.iter().map(|granule| u64::from(*granule)));
    record.extend(copy(ports_at, walk.end()));
    record[1] &= !(0xffff << 32);
    record[1] |= count("endpoint slices", chunks.len(), 65_535)? << 32;
    Ok(finish_head(record, head.kind(), head.key_length()))
}

/// An endpoint slice's chunk: endpoints that serve first, then by address.
pub(crate) fn chunk(id: SliceId, slice: &Slice) -> Result<Vec<u64>, WriteError> {
    if slice
        .endpoints
        .iter()
        .any(|endpoint| endpoint.address.family != slice.family)
    {
        return Err(WriteError::MixedFamilies);
    }
    let (zones, numbers) = number_zones(slice);
    let mut endpoints = Vec::with_capacity(slice.endpoints.len());
    for (endpoint, zone) in slice.endpoints.iter().zip(numbers) {
        endpoints.push(Sorted::new(endpoint, zone)?);
    }
    endpoints.sort_unstable();
    endpoints.dedup();
    let all = count("endpoints", endpoints.len(), 65_535)?;
    let served = endpoints
        .iter()
        .filter(|endpoint| !endpoint.withheld)
        .count() as u64;
    let ports = count("ports", slice.ports.len(), 65_535)?;
    let family = slice.family as u64;
    let counts = family | (zones.len() as u64) << 8 | ports << 16 | all << 32 | served << 48;
    let mut words = Vec::with_capacity(GRANULE_WORDS * 8 + endpoints.len() * 2);
    words.extend([0, id.0, counts]);
    push_addresses(
        &mut words,
        endpoints.iter().map(|it| it.address.to_be_bytes()),
        slice.family,
    );
    push_attributes(&mut words, &endpoints);
    let named = endpoints.iter().any(|endpoint| endpoint.hostname.is_some());
    let names_at = words.len();
    if named {
        words.resize(names_at + endpoints.len(), 0);
    }
    push_ports(&mut words, &slice.ports)?;
    for zone in zones {
        words.push(zone.len() as u64);
        push_text(&mut words, zone.as_bytes());
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        if let Some(name) = &endpoint.hostname {
            let name = name.as_bytes();
            words[names_at + index] =
                u64::from(fnv1a(name)) | (words.len() as u64) << 32 | (name.len() as u64) << 56;
            push_text(&mut words, name);
        }
    }
    let flags = if named { CHUNK_NAMED } else { 0 };
    Ok(finish(words, kind::CHUNK, flags, 0))
}

/// The CONFIG record.
pub(crate) fn config(config: &Config) -> Result<Vec<u64>, WriteError> {
    let flag = |set: bool, flag: u64| if set { flag } else { 0 };
    let flags = flag(config.accept_any_nameserver, config::ANY_NAMESERVER)
        | flag(config.ptr_authoritative, config::PTR_AUTHORITATIVE)
        | flag(config.endpoints_held, config::ENDPOINTS_HELD)
        | flag(config.holds_external, config::HOLDS_EXTERNAL)
        | flag(!config.rules.is_empty(), config::RULES)
        | flag(config.shadow, config::SHADOW)
        | (config.external as u64) << config::EXTERNAL_SHIFT;
    let servers: BTreeSet<Address> = config.cluster_dns.iter().map(stored).collect();
    let of = |family| {
        servers
            .iter()
            .filter(move |address| address.family == family)
    };
    let v4 = count("name servers", of(Family::V4).count(), 255)?;
    let v6 = count("name servers", of(Family::V6).count(), 255)?;
    let suffixes = count("excepted suffixes", config.excepted_suffixes.len(), 65_535)?;
    let builds = count("refused builds", config.refused_builds.len(), 65_535)?;
    let mut words = vec![
        0,
        flags
            | (config.pod_mode as u64) << 16
            | (config.miss_policy as u64) << 24
            | u64::from(config.ttl) << 32,
        u64::from(config.stale_after) | u64::from(config.dead_after) << 32,
        u64::from(config.disabled_permille.min(1000))
            | v4 << 16
            | v6 << 24
            | suffixes << 32
            | builds << 48,
    ];
    push_addresses(&mut words, of(Family::V4).map(|it| it.octets), Family::V4);
    push_addresses(&mut words, of(Family::V6).map(|it| it.octets), Family::V6);
    words.extend(&config.refused_builds);
    for suffix in &config.excepted_suffixes {
        let suffix = target(suffix)?;
        words.push(suffix.len() as u64);
        push_text(&mut words, suffix.as_bytes());
    }
    if !config.rules.is_empty() {
        push_rules(&mut words, &config.rules)?;
    }
    Ok(finish(words, kind::CONFIG, 0, 0))
}

/// The number of rules; then of each kind : 8, flags : 8, bytes : 16, bytes : 16 and two texts.
fn push_rules(words: &mut Vec<u64>, rules: &[Rule]) -> Result<(), WriteError> {
    words.push(count("rules", rules.len(), rule::MAX_COUNT)?);
    let mut bytes = 0;
    for one in rules {
        let (kind, flags, from, to) = match one {
            Rule::Rewrite {
                matching,
                from,
                to,
                stop,
            } => {
                let flags = if *stop { 0 } else { rule::CONTINUES };
                let part = |text: &String| rule_text(*matching, text);
                (*matching as u8, flags, part(from)?, part(to)?)
            }
            Rule::Block { name } => (rule::BLOCK, 0, target(name)?, String::new()),
            Rule::Guard { namespaces } => {
                let labels: Result<Vec<_>, _> = namespaces.iter().map(|name| label(name)).collect();
                (rule::GUARD, 0, labels?.join("."), String::new())
            }
        };
        bytes += from.len() + to.len();
        count("bytes of rules", bytes, rule::MAX_TEXT)?;
        words.push(
            u64::from(kind) | flags << 8 | (from.len() as u64) << 16 | (to.len() as u64) << 32,
        );
        push_text(words, from.as_bytes());
        push_text(words, to.as_bytes());
    }
    Ok(())
}

/// One text of a rewriting rule without its last dot. A suffix may begin within a name, or be
/// nothing at all.
fn rule_text(matching: Matching, text: &str) -> Result<String, WriteError> {
    match (matching, text.strip_suffix('.').unwrap_or(text)) {
        (Matching::Suffix, "") => Ok(String::new()),
        (Matching::Suffix, inner) if inner.starts_with('.') && !inner.ends_with('.') => {
            let name = target(&inner[1..])?;
            let whole = format!(".{name}");
            if whole.len() > crate::MAX_TEXT {
                return Err(WriteError::Target {
                    target: text.to_owned(),
                });
            }
            Ok(whole)
        }
        _ => target(text),
    }
}

/// The topology zones of a slice, sorted (of more than can be numbered the first ones), and the number
/// of each endpoint's: from 1 on, 0 for none.
fn number_zones(slice: &Slice) -> (Vec<&str>, Vec<u8>) {
    // There are three or so, and the last letter tells them apart sooner than a call of `memcmp`.
    let same = |one: &str, other: &str| one.bytes().last() == other.bytes().last() && one == other;
    let mut seen: Vec<&str> = Vec::new();
    let mut places = Vec::with_capacity(slice.endpoints.len());
    for endpoint in &slice.endpoints {
        places.push(topology_zone(endpoint).map(|zone| {
            let known = seen.iter().position(|known| same(known, zone));
            known.unwrap_or_else(|| {
                seen.push(zone);
                seen.len() - 1
            })
        }));
    }
    let mut zones = seen.clone();
    zones.sort_unstable();
    zones.truncate(255);
    let number = |zone: &&str| zones.binary_search(zone).map_or(0, |index| index as u8 + 1);
    let numbers: Vec<u8> = seen.iter().map(number).collect();
    let numbers = places.into_iter().map(|at| at.map_or(0, |at| numbers[at]));
    let numbers = numbers.collect();
    (zones, numbers)
}

/// The zone of an endpoint, if it can be one: the longest value of a Kubernetes label is 63 bytes.
/// Nothing answers from it yet.
fn topology_zone(endpoint: &Endpoint) -> Option<&str> {
    let zone = endpoint.topology_zone.as_deref();
    zone.filter(|zone| (1..=63).contains(&zone.len()))
}

/// One endpoint, in the order in which a chunk keeps them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Sorted {
    /// Not answered for the whole service.
    withheld: bool,
    /// Its octets as a number, which is compared at once; the family is the chunk's.
    address: u128,
    hostname: Option<String>,
    /// Its number among the chunk's, from 1 on; 0: none.
    zone: u8,
    flags: u8,
}

impl Sorted {
    fn new(endpoint: &Endpoint, zone: u8) -> Result<Self, WriteError> {
        let hostname = endpoint.hostname.as_deref().map(label).transpose()?;
        let flag = |set: bool, flag: u32| if set { flag as u8 } else { 0 };
        let counted = match endpoint.address.family {
            Family::V4 => u128::MAX << 96,
            Family::V6 => u128::MAX,
        };
        Ok(Self {
            withheld: !endpoint.ready || endpoint.shadowed,
            address: u128::from_be_bytes(endpoint.address.octets) & counted,
            hostname,
            zone,
            flags: flag(endpoint.ready, ENDPOINT_READY)
                | flag(endpoint.shadowed, ENDPOINT_SHADOWED),
        })
    }
}

/// Flags : 8 and zone : 8 of each endpoint, two to a word.
fn push_attributes(words: &mut Vec<u64>, endpoints: &[Sorted]) {
    let attributes = endpoints
        .iter()
        .map(|endpoint| u64::from(endpoint.flags) | u64::from(endpoint.zone) << 8);
    push_pairs(words, attributes);
}

/// The address that decoding gives: octets that do not count are zero.
pub(super) fn stored(address: &Address) -> Address {
    let mut octets = [0; 16];
    let counted = address.as_octets();
    octets[..counted.len()].copy_from_slice(counted);
    Address {
        family: address.family,
        octets,
    }
}

/// Packed addresses of one family.
pub(super) fn push_addresses(
    words: &mut Vec<u64>,
    addresses: impl Iterator<Item = [u8; 16]>,
    family: Family,
) {
    match family {
        Family::V4 => {
            let half = |[a, b, c, d, ..]: [u8; 16]| u64::from(u32::from_le_bytes([a, b, c, d]));
            push_pairs(words, addresses.map(half));
        }
        Family::V6 => addresses.for_each(|octets| words.extend(text_words(&octets).0)),
    }
}

/// Two 32-bit halves to a word, the first in the low half.
fn push_pairs(words: &mut Vec<u64>, mut halves: impl Iterator<Item = u64>) {
    while let Some(low) = halves.next() {
        words.push(low | halves.next().unwrap_or(0) << 32);
    }
}

/// Number : 16, protocol : 8, length of the name : 8; then the name.
fn push_ports(words: &mut Vec<u64>, ports: &[Port]) -> Result<(), WriteError> {
    for port in ports {
        let name = if port.name.is_empty() {
            String::new()
        } else {
            label(&port.name)?
        };
        let length = name.len() as u64;
        words.push(u64::from(port.number) | (port.protocol as u64) << 16 | length << 24);
        push_text(words, name.as_bytes());
    }
    Ok(())
}

/// Text, zero-padded to a word.
pub(super) fn push_text(words: &mut Vec<u64>, text: &[u8]) {
    let (full, tail) = text_words(text);
    words.extend(full);
    if !text.len().is_multiple_of(8) {
        words.push(tail);
    }
}

/// Writes the first word of a record with a key.
fn finish_head(words: Vec<u64>, kind: u8, key_length: usize) -> Vec<u64> {
    finish(words, kind, 0, key_length)
}

/// Pads to a granule and writes the first word.
pub(super) fn finish(mut words: Vec<u64>, kind: u8, flags: u8, key_length: usize) -> Vec<u64> {
    words.resize(words.len().next_multiple_of(GRANULE_WORDS), 0);
    words[0] = u64::from(kind)
        | u64::from(flags) << 8
        | (key_length as u64) << 16
        | u64::from(granules(words.len())) << 32;
    words
}

/// A count that fits its field.
pub(super) fn count(what: &'static str, count: usize, limit: usize) -> Result<u64, WriteError> {
    if count > limit {
        return Err(WriteError::TooMany { what, count, limit });
    }
    Ok(count as u64)
}

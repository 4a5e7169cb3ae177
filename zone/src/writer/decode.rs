//! Words to objects, with the checks that a reader leaves out. A record is valid when encoding what
//! was decoded gives the same words: nothing in it goes unchecked.

use super::{
    Config, Endpoint, Matching, MissPolicy, PodMode, Port, Protocol, Rule, ServiceBody, ServiceKey,
    Slice, SliceId, encode,
};
use crate::{
    Address, Family,
    layout::{ENDPOINT_READY, ENDPOINT_SHADOWED, GRANULE_WORDS, WORD, config as flags, kind, rule},
    record::{Chunk, Head, Ports, granule_word},
    rules::StoredRule,
    settings::Settings,
    words::Words,
};

/// The key of a record.
pub(crate) fn key(words: Words<'_>, head: &Head) -> Option<String> {
    text(words, head.key_at(), head.key_length())
}

/// The key of a service's record.
pub(crate) fn service_key(words: Words<'_>, head: &Head) -> Option<ServiceKey> {
    let key = key(words, head)?;
    let (service, namespace) = key.split_once('.')?;
    ServiceKey::new(service, namespace).ok()
}

/// What a service's record says of the service; `Some(None)`: only chunks.
pub(crate) fn body(words: Words<'_>, head: &Head) -> Option<Option<ServiceBody>> {
    Some(match head.kind() {
        kind::PENDING => None,
        kind::SERVICE => Some(ServiceBody::ClusterIp {
            addresses: [Family::V4, Family::V6]
                .into_iter()
                .map(|family| head.addresses(words, family))
                .collect::<Option<Vec<_>>>()?
                .into_iter()
                .flatten()
                .collect(),
            ports: ports(words, head.ports(words))?,
        }),
        kind::HEADLESS => Some(ServiceBody::Headless {
            ports: ports(words, head.ports(words))?,
        }),
        kind::EXTERNAL => Some(ServiceBody::External {
            target: text(words, head.target_at(), head.target_length())?,
        }),
        _ => return None,
    })
}

/// An endpoint slice.
pub(crate) fn slice(words: Words<'_>, chunk: &Chunk) -> Option<(SliceId, Slice)> {
    let mut walk = chunk.ports(words);
    let ports = ports(words, &mut walk)?;
    let mut at = walk.end();
    let mut zones = Vec::new();
    for _ in 0..chunk.zones {
        let length = usize::try_from(words.load(at)?)
            .ok()
            .filter(|length| *length <= 63)?;
        zones.push(text(words, at + 1, length)?);
        at += 1 + length.div_ceil(WORD);
    }
    let addresses: Vec<Address> = chunk.addresses(words)?.collect();
    let endpoints = addresses.into_iter().enumerate().map(|(index, address)| {
        let attributes = chunk.attributes(words, index)?;
        let name = chunk.hostname(words, index)?;
        let hostname = match name.length {
            0 => None,
            length => Some(text(words, name.at, length)?),
        };
        let topology_zone = match (attributes >> 8 & 0xff) as usize {
            0 => None,
            number => Some(zones.get(number - 1)?.clone()),
        };
        let ready = attributes & ENDPOINT_READY != 0;
        let shadowed = attributes & ENDPOINT_SHADOWED != 0;
        Some(Endpoint {
            address,
            hostname,
            ready,
            shadowed,
            topology_zone,
        })
    });
    let endpoints = endpoints.collect::<Option<Vec<_>>>()?;
    Some((
        SliceId(chunk.id),
        Slice {
            family: chunk.family,
            ports,
            endpoints,
        },
    ))
}

/// The configuration.
pub(crate) fn config(words: Words<'_>, granule: u64) -> Option<Config> {
    let settings = Settings::load(words, granule)?;
    if !settings.is_known() {
        return None;
    }
    let is = |flag: u64| settings.flags() & flag != 0;
    let servers = |family| settings.nameservers(words, family);
    Some(Config {
        accept_any_nameserver: is(flags::ANY_NAMESERVER),
        ptr_authoritative: is(flags::PTR_AUTHORITATIVE),
        endpoints_held: is(flags::ENDPOINTS_HELD),
        pod_mode: match settings.pod_mode() {
            flags::PODS_DISABLED => PodMode::Disabled,
            _ => PodMode::Insecure,
        },
        miss_policy: match settings.miss_policy() {
            flags::MISS_NXDOMAIN => MissPolicy::NxDomain,
            _ => MissPolicy::Ask,
        },
        ttl: settings.ttl(),
        stale_after: u32::try_from(settings.stale_after()).ok()?,
        dead_after: u32::try_from(settings.dead_after()).ok()?,
        disabled_permille: settings.disabled_permille(),
        cluster_dns: servers(Family::V4)?.chain(servers(Family::V6)?).collect(),
        refused_builds: settings.refused_builds(words)?,
        excepted_suffixes: settings
            .suffix_texts(words)
            .map(|found| found.and_then(|(at, length)| text(words, at, length)))
            .collect::<Option<Vec<_>>>()?,
        external: settings.external(),
        holds_external: is(flags::HOLDS_EXTERNAL),
        shadow: is(flags::SHADOW),
        rules: match settings.has_rules() {
            true => settings
                .rules(words)?
                .map(|found| rule(words, &found?))
                .collect::<Option<Vec<_>>>()?,
            false => Vec::new(),
        },
    })
}

/// One rule.
fn rule(words: Words<'_>, found: &StoredRule) -> Option<Rule> {
    let from = text(words, found.from, found.from_length)?;
    let matching = match found.kind {
        rule::EXACT => Matching::Exact,
        rule::PREFIX => Matching::Prefix,
        rule::SUFFIX => Matching::Suffix,
        rule::BLOCK => return Some(Rule::Block { name: from }),
        _ => {
            let labels = from.split('.').map(str::to_owned);
            let namespaces = labels.filter(|label| !label.is_empty()).collect();
            return Some(Rule::Guard { namespaces });
        }
    };
    Some(Rule::Rewrite {
        matching,
        from,
        to: text(words, found.to, found.to_length)?,
        stop: !found.continues,
    })
}

/// Everything about a service's record, if each of its words is as this version writes it.
pub(crate) fn valid_service(words: Words<'_>, head: &Head, granule: u32) -> Option<()> {
    let key = service_key(words, head)?;
    let chunks: Vec<u32> = head.chunk_granules(words)?.collect();
    let body = body(words, head)?;
    let encoded = encode::service(&key, body.as_ref(), &chunks).ok()?;
    same(words, granule, &encoded)
}

/// The same of a chunk.
pub(crate) fn valid_chunk(words: Words<'_>, chunk: &Chunk, granule: u32) -> Option<()> {
    let (id, slice) = slice(words, chunk)?;
    same(words, granule, &encode::chunk(id, &slice).ok()?)
}

/// The same of a namespace.
pub(crate) fn valid_namespace(words: Words<'_>, head: &Head, granule: u32) -> Option<()> {
    let name = key(words, head)?;
    super::object::label(&name).ok()?;
    same(words, granule, &encode::namespace(&name))
}

/// The same of the configuration; its size in granules.
pub(crate) fn valid_config(words: Words<'_>, granule: u64) -> Option<u32> {
    let encoded = encode::config(&config(words, granule)?).ok()?;
    same(words, u32::try_from(granule).ok()?, &encoded)?;
    Some((encoded.len() / GRANULE_WORDS) as u32)
}

/// Whether the record at `granule` is word for word `encoded`.
pub(crate) fn same(words: Words<'_>, granule: u32, encoded: &[u64]) -> Option<()> {
    let at = granule_word(granule);
    (0..encoded.len())
        .all(|index| words.load(at + index) == Some(encoded[index]))
        .then_some(())
}

/// Ports, if their protocols are known.
fn ports<'z>(
    words: Words<'z>,
    ports: impl core::borrow::BorrowMut<Ports<'z>>,
) -> Option<Vec<Port>> {
    let mut ports = ports;
    let mut found = Vec::new();
    while let Some(port) = ports.borrow_mut().next() {
        let port = port?;
        found.push(Port {
            name: text(words, port.name_at, port.name_length)?,
            protocol: match port.protocol {
                1 => Protocol::Tcp,
                2 => Protocol::Udp,
                3 => Protocol::Sctp,
                _ => return None,
            },
            number: port.number,
        });
    }
    Some(found)
}

/// Text in ASCII.
pub(crate) fn text(words: Words<'_>, at: usize, length: usize) -> Option<String> {
    let stored = words.range(at, length.div_ceil(WORD))?;
    let mut bytes: Vec<u8> = stored
        .iter()
        .flat_map(|word| word.load(crate::sync::Ordering::Relaxed).to_le_bytes())
        .collect();
    bytes.truncate(length);
    String::from_utf8(bytes).ok()
}

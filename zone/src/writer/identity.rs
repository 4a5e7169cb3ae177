//! What was encoded, decoded and encoded again is word for word the same: otherwise a writer would
//! refuse at adoption what it wrote itself.

use super::{
    Config, Dump, Endpoint, Matching, Opened, Options, Port, Protocol, Rule, ServiceBody,
    ServiceKey, Slice, SliceId, WriteError, Writer, decode, encode,
};
use crate::{
    Address, External, Family,
    record::{Chunk, Head},
    sync::AtomicU64,
    words::Words,
};
use proptest::prelude::*;

/// What decoding the chunk of `slice` gives, if encoding that gives the same chunk.
fn kept(slice: &Slice) -> Option<Slice> {
    let encoded = encode::chunk(SliceId(7), slice).unwrap();
    let words: Vec<AtomicU64> = encoded.iter().copied().map(AtomicU64::new).collect();
    let words = Words::new(&words);
    let chunk = Chunk::load(words, 0).unwrap();
    decode::valid_chunk(words, &chunk, 0)?;
    assert_eq!(chunk.granules as usize * 2, encoded.len());
    Some(decode::slice(words, &chunk)?.1)
}

/// Different topology zones of a slice.
fn zones(slice: &Slice) -> usize {
    let zones = slice.endpoints.iter().map(|e| e.topology_zone.as_deref());
    zones
        .flatten()
        .collect::<std::collections::BTreeSet<_>>()
        .len()
}

/// 255 endpoints with a zone each, and one address in three more zones.
fn crowded() -> Slice {
    let of = |octets, zone: String| Endpoint {
        topology_zone: Some(zone),
        ..Endpoint::ready(Address::v4(octets))
    };
    let mut endpoints: Vec<Endpoint> = (0..255)
        .map(|number| of([10, 0, 0, number], format!("a{number:03}")))
        .collect();
    endpoints.extend(["z1", "z2", "z3"].map(|zone| of([10, 9, 9, 9], zone.to_owned())));
    Slice {
        family: Family::V4,
        ports: vec![],
        endpoints,
    }
}

/// Addresses of few values, with octets that do not count.
fn address(family: Family) -> impl Strategy<Value = Address> {
    (0..4_u8, 0..2_u8).prop_map(move |(last, rest)| {
        let mut octets = [0; 16];
        (octets[0], octets[3], octets[15]) = (10, last, rest);
        Address { family, octets }
    })
}

fn family() -> impl Strategy<Value = Family> {
    prop_oneof![Just(Family::V4), Just(Family::V6)]
}

fn ports() -> impl Strategy<Value = Vec<Port>> {
    let protocol = prop_oneof![
        Just(Protocol::Tcp),
        Just(Protocol::Udp),
        Just(Protocol::Sctp)
    ];
    let port = ("([A-Za-z0-9-]{1,63})?", protocol, any::<u16>());
    let port = port.prop_map(|(name, protocol, number)| Port {
        name,
        protocol,
        number,
    });
    prop::collection::vec(port, 0..6)
}

fn slice() -> impl Strategy<Value = Slice> {
    // Around 255 zones, many endpoints that differ in nothing else.
    let most = prop_oneof![Just(3_u16), Just(256), Just(400)];
    (family(), most, ports()).prop_flat_map(|(family, most, ports)| {
        let zone = prop::option::of((0..most).prop_map(|zone| match zone {
            0 => String::new(),
            1 => "x".repeat(64),
            zone => format!("zone-é-{zone}"),
        }));
        let hostname = prop::option::weighted(0.1, "[A-Za-z0-9-]{1,9}");
        let endpoint = (
            address(family),
            hostname,
            any::<bool>(),
            any::<bool>(),
            zone,
        );
        let endpoint =
            endpoint.prop_map(
                |(address, hostname, ready, shadowed, topology_zone)| Endpoint {
                    address,
                    hostname,
                    ready,
                    shadowed,
                    topology_zone,
                },
            );
        let endpoints = prop::collection::vec(endpoint, 0..900);
        endpoints.prop_map(move |endpoints| Slice {
            family,
            ports: ports.clone(),
            endpoints,
        })
    })
}

fn body() -> impl Strategy<Value = Option<ServiceBody>> {
    let addresses = prop::collection::vec(family().prop_flat_map(address), 0..20);
    prop_oneof![
        Just(None),
        (addresses, ports())
            .prop_map(|(addresses, ports)| Some(ServiceBody::ClusterIp { addresses, ports })),
        ports().prop_map(|ports| Some(ServiceBody::Headless { ports })),
        "([A-Za-z0-9-]{1,20}\\.){1,9}".prop_map(|target| Some(ServiceBody::External { target })),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    let name = || "[A-Za-z0-9-]{1,9}(\\.[a-z]{1,9}){0,3}\\.?";
    let matching = prop_oneof![
        Just((Matching::Exact, "")),
        Just((Matching::Prefix, "")),
        Just((Matching::Suffix, "")),
        Just((Matching::Suffix, ".")),
    ];
    prop_oneof![
        (matching, name(), name(), any::<bool>()).prop_map(|((matching, dot), from, to, stop)| {
            let (from, to) = (format!("{dot}{from}"), format!("{dot}{to}"));
            Rule::Rewrite {
                matching,
                from,
                to,
                stop,
            }
        }),
        name().prop_map(|name| Rule::Block { name }),
        prop::collection::vec("[a-z]{1,9}", 0..4).prop_map(|namespaces| Rule::Guard { namespaces }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn chunks_are_what_encoding_their_contents_gives(slice in slice()) {
        let first = kept(&slice).ok_or_else(|| TestCaseError::fail("another chunk"))?;
        prop_assert!(zones(&first) <= 255);
        prop_assert_eq!(kept(&first), Some(first));
    }

    #[test]
    fn services_are_what_encoding_their_contents_gives(
        body in body(),
        chunks in prop::collection::vec(any::<u32>(), 0..4),
    ) {
        let key = ServiceKey::new("API", "Shop").unwrap();
        let encoded = encode::service(&key, body.as_ref(), &chunks).unwrap();
        let words: Vec<AtomicU64> = encoded.into_iter().map(AtomicU64::new).collect();
        let words = Words::new(&words);
        let head = Head::load(words, 0).unwrap();
        prop_assert!(decode::valid_service(words, &head, 0).is_some());
    }

    #[test]
    fn configurations_are_what_encoding_their_contents_gives(
        cluster_dns in prop::collection::vec(family().prop_flat_map(address), 0..9),
        excepted_suffixes in prop::collection::vec("([A-Za-z0-9-]{1,9}\\.){1,9}", 0..4),
        refused_builds in prop::collection::vec(any::<u64>(), 0..4),
        disabled_permille in any::<u16>(),
        ttl in any::<u32>(),
        dead_after in any::<u32>(),
        external in prop_oneof![Just(External::Off), Just(External::Pod), Just(External::Node)],
        holds_external in any::<bool>(),
        shadow in any::<bool>(),
        rules in prop::collection::vec(rule(), 0..6),
    ) {
        let config = Config {
            cluster_dns,
            excepted_suffixes,
            refused_builds,
            disabled_permille,
            ttl,
            dead_after,
            external,
            holds_external,
            shadow,
            rules,
            ..Config::default()
        };
        let encoded = encode::config(&config).unwrap();
        let words: Vec<AtomicU64> = encoded.into_iter().map(AtomicU64::new).collect();
        let words = Words::new(&words);
        prop_assert!(decode::valid_config(words, 0).is_some());
        let decoded = decode::config(words, 0).unwrap();
        prop_assert_eq!(
            (decoded.external, decoded.holds_external, decoded.shadow, decoded.rules.len()),
            (config.external, config.holds_external, config.shadow, config.rules.len())
        );
    }
}

#[test]
fn of_more_than_255_zones_the_first_are_kept() {
    let kept = kept(&crowded()).unwrap();
    assert_eq!(zones(&kept), 255);
    // One address that differs only in zones that are not kept is one endpoint.
    let last = Endpoint::ready(Address::v4([10, 9, 9, 9]));
    assert_eq!(
        (kept.endpoints.len(), kept.endpoints.last()),
        (256, Some(&last))
    );
}

#[test]
fn the_largest_chunk_is_what_encoding_its_contents_gives() {
    let endpoint = |number: u32| Endpoint {
        hostname: Some(format!("host-{number}-{}", "x".repeat(50))),
        topology_zone: Some(format!("zone-{}", number % 300)),
        shadowed: number.is_multiple_of(3),
        ready: !number.is_multiple_of(5),
        ..Endpoint::ready(Address::v4((number / 2).to_be_bytes()))
    };
    let mut slice = Slice {
        family: Family::V4,
        ports: vec![],
        endpoints: (0..65_535).map(endpoint).collect(),
    };
    assert_eq!(kept(&slice).unwrap().endpoints.len(), 65_535);
    // Repetitions do not count.
    slice.endpoints.push(endpoint(0));
    assert_eq!(kept(&slice).unwrap().endpoints.len(), 65_535);
    slice.endpoints.push(endpoint(65_535));
    let refused = encode::chunk(SliceId(7), &slice);
    assert!(
        matches!(refused, Err(WriteError::TooMany { count: 65_536, .. })),
        "{refused:?}"
    );
}

#[test]
fn a_crowded_slice_is_dumped_and_adopted() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let options = Options::new(directory.path(), "cluster.local");
    let (mut writer, _) = Writer::open(options.clone()).unwrap();
    let key = ServiceKey::new("db", "shop").unwrap();
    let body = ServiceBody::Headless { ports: vec![] };
    writer.put_namespace("shop").unwrap();
    writer.put_service(&key, &body).unwrap();
    assert!(writer.put_slice(&key, SliceId(1), &crowded()).unwrap());
    assert!(!writer.put_slice(&key, SliceId(1), &crowded()).unwrap());
    let held = writer.service(&key).unwrap();
    let dump = Dump::open(writer.path()).unwrap();
    assert!(dump.entries().contains(&held));
    drop(writer);
    let (writer, opened) = Writer::open(options).unwrap();
    let adopted = Opened::Adopted {
        namespaces: 1,
        services: 1,
    };
    assert_eq!((opened, writer.service(&key)), (adopted, Some(held)));
}

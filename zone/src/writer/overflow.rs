//! Names made for the seed in force: the index stays small, says that it is incomplete, and takes
//! them as soon as it can.

use super::{
    ServiceBody, ServiceKey,
    adopt::{Birth, Identity},
    memory::Memory,
    zone::Zone,
};
use crate::{
    Address, Ask, Families, Found, Name, Now, hash::Seed, reader::attempt, sync::AtomicU64,
};

/// Slots of the longest chain.
const CHAIN: usize = 16 * 8;
const NOW: Now = Now(1_000);

/// Services whose hash under the seed (7, 7) starts with twelve zero bits: all of their chains start
/// at the first line of any table of up to 4,096 lines.
fn colliding(count: usize) -> Vec<ServiceKey> {
    (0..)
        .map(|number| ServiceKey::new(&format!("s{number}"), "shop").unwrap())
        .filter(|key| Seed(7, 7).of_key(key.to_string().as_bytes()).0 >> 52 == 0)
        .take(count)
        .collect()
}

fn ask(zone: &Zone, name: &str) -> Found {
    let mut room = [Address::UNSPECIFIED];
    let mut canonical = Name::EMPTY;
    let mut ask = |snapshot: &crate::Snapshot<'_>| {
        snapshot.addresses(name.as_bytes(), Families::BOTH, &mut room, &mut canonical)
    };
    attempt(zone.words(), 0, NOW, &mut ask)
        .ok()
        .expect("a live zone")
}

fn ask_service(zone: &Zone, key: &ServiceKey) -> Found {
    ask(zone, &format!("{key}.svc.cluster.local"))
}

#[test]
fn names_that_no_chain_has_room_for_ask_dns() {
    let words: Vec<AtomicU64> = (0..1 << 17).map(|_| AtomicU64::new(0)).collect();
    let memory = Memory::over(words.leak(), 8192);
    // Another seed never comes: whoever makes the names is always one step ahead.
    let birth = Birth {
        created: 0,
        instance: 0,
        seeds: || 7,
    };
    let identity = Identity {
        apex: "cluster.local",
        view: "default",
    };
    let mut zone = Zone::create(memory, 1 << 20, identity, birth).unwrap();
    zone.put_namespace("shop").unwrap();
    let body = ServiceBody::ClusterIp {
        addresses: vec![Address::v4([10, 0, 0, 1])],
        ports: vec![],
    };
    let keys = colliding(CHAIN + 40);
    for key in &keys {
        assert!(zone.put_service(key, &body).unwrap());
    }
    zone.beat(NOW);
    zone.set_synced(NOW);
    assert_eq!(zone.entries().count(), keys.len() + 1);
    assert_eq!(zone.index.unindexed.len(), 40);
    assert!(zone.index.incomplete);
    assert!(zone.index.root.main_lines <= 1024, "{:?}", zone.index.root);
    let answered = |zone: &Zone| {
        let (hits, asks): (Vec<_>, Vec<_>) = keys
            .iter()
            .map(|key| ask_service(zone, key))
            .partition(|found| *found == Found::Answer { count: 1 });
        assert!(
            asks.iter()
                .all(|found| *found == Found::Ask(Ask::Incomplete)),
            "{asks:?}"
        );
        hits.len()
    };
    assert_eq!(answered(&zone), CHAIN);
    // Nobody else's absence is certain meanwhile.
    assert_eq!(
        ask(&zone, "x.absent.svc.cluster.local"),
        Found::Ask(Ask::Incomplete)
    );
    // Nor does it become certain because nothing else is missing.
    zone.set_incomplete(true);
    zone.set_incomplete(false);
    assert_eq!(answered(&zone), CHAIN);
    assert!(zone.index.incomplete);
    // What was not indexed can be changed and deleted, and is indexed once there is room.
    let outside: Vec<String> = zone.index.unindexed.keys().cloned().collect();
    let outside: Vec<&ServiceKey> = keys
        .iter()
        .filter(|key| outside.contains(&key.to_string()))
        .collect();
    assert!(zone.delete_service(outside[0]).unwrap());
    assert!(!zone.delete_service(outside[0]).unwrap());
    let inside: Vec<&ServiceKey> = keys.iter().filter(|key| !outside.contains(key)).collect();
    for key in &inside[..60] {
        assert!(zone.delete_service(key).unwrap());
    }
    let other = ServiceBody::ClusterIp {
        addresses: vec![Address::v4([10, 0, 0, 2])],
        ports: vec![],
    };
    assert!(zone.put_service(outside[1], &other).unwrap());
    assert_eq!(ask_service(&zone, outside[1]), Found::Answer { count: 1 });
    // Each rehash tries the rest again.
    zone.index.rehash(&mut zone.heap, 0, 0, 0).unwrap();
    assert!(zone.index.unindexed.is_empty() && !zone.index.incomplete);
    for key in inside[60..].iter().chain(&outside[1..]) {
        assert_eq!(ask_service(&zone, key), Found::Answer { count: 1 }, "{key}");
    }
    assert_eq!(ask(&zone, "x.absent.svc.cluster.local"), Found::NxDomain);
}

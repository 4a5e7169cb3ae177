//! A zone that says that it lacks something: what it holds is answered, what it does not hold asks.
#![cfg(not(loom))]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "ordinary std tests"
)]

use nss_k8s_zone::{
    Address, Ask, Config, Dump, Endpoint, Families, Family, Found, LibcOs, MissPolicy, Name, Now,
    Opened, Options, Port, Protocol, Reader, ServiceBody, ServiceKey, Slice, SliceId, WriteError,
    Writer,
};
use std::{ffi::CString, os::unix::ffi::OsStrExt as _, path::Path};
use tempfile::TempDir;

const NOW: Now = Now(1_000_000);

/// Names that are not there: a namespace, one below it, a service, one of which only a
/// slice came, a port, an endpoint, a pod.
const ABSENT: [&str; 7] = [
    "absent.svc.cluster.local",
    "api.absent.svc.cluster.local",
    "absent.shop.svc.cluster.local",
    "pending.shop.svc.cluster.local",
    "_absent._tcp.api.shop.svc.cluster.local",
    "absent.db.shop.svc.cluster.local",
    "10-0-0-1.absent.pod.cluster.local",
];
const ONE: Found = Found::Answer { count: 1 };
const ASK: Found = Found::Ask(Ask::Incomplete);

fn key(name: &str) -> ServiceKey {
    ServiceKey::new(name, "shop").unwrap()
}

fn body() -> ServiceBody {
    ServiceBody::ClusterIp {
        addresses: vec![Address::v4([10, 96, 0, 1])],
        ports: vec![Port {
            name: "http".to_owned(),
            protocol: Protocol::Tcp,
            number: 80,
        }],
    }
}

fn options(directory: &Path) -> Options {
    Options {
        initial_bytes: 1,
        maximum_bytes: 256 << 10,
        ..Options::new(directory, "cluster.local")
    }
}

/// A live zone in which absence is certain.
fn shop() -> (TempDir, Writer) {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let (mut writer, _) = Writer::open(options(directory.path())).unwrap();
    let config = Config {
        miss_policy: MissPolicy::NxDomain,
        endpoints_held: true,
        ptr_authoritative: true,
        ..Config::default()
    };
    writer.configure(&config).unwrap();
    writer.put_namespace("shop").unwrap();
    writer.put_service(&key("api"), &body()).unwrap();
    writer
        .put_service(&key("db"), &ServiceBody::Headless { ports: vec![] })
        .unwrap();
    let slice = Slice {
        family: Family::V4,
        ports: vec![],
        endpoints: vec![Endpoint::ready(Address::v4([10, 0, 0, 2]))],
    };
    writer
        .put_slice(&key("pending"), SliceId(1), &slice)
        .unwrap();
    writer.beat(NOW);
    writer.set_synced(NOW);
    (directory, writer)
}

/// What the absent names and an absent address come to; `api` is answered all the while.
fn misses(writer: &Writer) -> Vec<Found> {
    let path = CString::new(writer.path().as_os_str().as_bytes()).unwrap();
    let reader = Reader::new();
    let ask = |name: &str| {
        let mut room = [Address::UNSPECIFIED; 4];
        let mut canonical = Name::EMPTY;
        let found = reader.read(&LibcOs, &path, NOW, |zone| {
            zone.addresses(name.as_bytes(), Families::BOTH, &mut room, &mut canonical)
        });
        found.unwrap()
    };
    assert_eq!(ask("api.shop.svc.cluster.local"), ONE);
    let mut found: Vec<Found> = ABSENT.iter().map(|name| ask(name)).collect();
    let reverse = reader.read(&LibcOs, &path, NOW, |zone| {
        zone.names(&Address::v4([10, 1, 1, 1]), &mut [Name::EMPTY])
    });
    found.push(reverse.unwrap());
    found
}

#[test]
fn misses_ask_until_it_is_taken_back() {
    let (_directory, mut writer) = shop();
    assert_eq!(misses(&writer), [Found::NxDomain; 8]);
    writer.set_incomplete(true);
    assert_eq!(misses(&writer), [ASK; 8]);
    assert!(writer.statistics().incomplete);
    writer.set_incomplete(false);
    assert_eq!(misses(&writer), [Found::NxDomain; 8]);
    assert!(!writer.statistics().incomplete);
}

#[test]
fn it_outlives_growth_replacement_and_the_writer() {
    let (directory, mut writer) = shop();
    writer.set_incomplete(true);
    let lines = writer.statistics().main_lines;
    for number in 0..200 {
        let name = format!("service-{number}");
        writer.put_service(&key(&name), &body()).unwrap();
    }
    assert!(writer.statistics().main_lines > lines, "no new region");
    assert_eq!(misses(&writer), [ASK; 8]);
    writer.replace().unwrap();
    assert_eq!(misses(&writer), [ASK; 8]);
    let dump = Dump::open(writer.path()).unwrap();
    assert!(dump.statistics().incomplete);
    drop(writer);
    let (mut writer, opened) = Writer::open(options(directory.path())).unwrap();
    assert!(
        matches!(opened, Opened::Adopted { services: 203, .. }),
        "{opened:?}"
    );
    assert_eq!(misses(&writer), [ASK; 8]);
    // Also through a region that the new writer makes.
    writer.replace().unwrap();
    assert_eq!(misses(&writer), [ASK; 8]);
    writer.set_incomplete(false);
    assert_eq!(misses(&writer), [Found::NxDomain; 8]);
    let dump = Dump::open(writer.path()).unwrap();
    assert!(!dump.statistics().incomplete);
}

#[test]
fn a_full_zone_can_say_so() {
    let (_directory, mut writer) = shop();
    let refused = (0..).find_map(|number| {
        let key = key(&format!("service-{number}"));
        writer.put_service(&key, &body()).err()
    });
    assert!(
        matches!(refused, Some(WriteError::NoSpace { .. })),
        "{refused:?}"
    );
    writer.set_incomplete(true);
    assert_eq!(misses(&writer), [ASK; 8]);
}

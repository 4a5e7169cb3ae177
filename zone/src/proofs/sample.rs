//! A small zone with one of everything.

use super::Image;
use crate::{
    Address, Config, Endpoint, Family, Held, HeldAnswer, HeldOptions, HeldVerdict, HeldWriter,
    MissPolicy, Now, Options, Port, Protocol, ServiceBody, ServiceKey, Slice, SliceId, Writer,
};
use std::{fs, string::String, vec, vec::Vec};

/// When the sample's writer last beat.
pub const SAMPLE_NOW: Now = Now(1_700_000_000);

/// Names of the sample, of every shape, and some beside them.
pub const SAMPLE_NAMES: [&[u8]; 24] = [
    b"api.shop.svc.cluster.local",
    b"db.shop.svc.cluster.local",
    b"db-0.db.shop.svc.cluster.local",
    b"10-1-0-7.db.shop.svc.cluster.local",
    b"fd00--1-7.db.shop.svc.cluster.local",
    b"_web._tcp.db.shop.svc.cluster.local",
    b"_web._tcp.api.shop.svc.cluster.local",
    b"_tcp.api.shop.svc.cluster.local",
    b"10-1-2-3.api.shop.svc.cluster.local",
    b"docs.shop.svc.cluster.local",
    b"alias.shop.svc.cluster.local",
    b"loop.shop.svc.cluster.local",
    b"none.shop.svc.cluster.local",
    b"waits.shop.svc.cluster.local",
    b"api.nowhere.svc.cluster.local",
    b"old.shop.svc.cluster.local",
    b"shop.svc.cluster.local",
    b"svc.cluster.local",
    b"cluster.local",
    b"10-1-2-3.shop.pod.cluster.local",
    b"shop.pod.cluster.local",
    b"www.example.com.svc.cluster.local",
    b"www.example.com",
    b"",
];

/// Names of the sample of held answers, and one beside them.
pub const HELD_NAMES: [&str; 7] = [
    "www.example.com",
    "cdn.example.com",
    "v4.example.com",
    "nodata.example.com",
    "absent.example.com",
    "fixed.example.com",
    "other.example.com",
];

/// Addresses of the sample, and one beside them.
pub const SAMPLE_ADDRESSES: [Address; 5] = [
    Address::v4([10, 96, 0, 1]),
    Address::v4([10, 1, 0, 7]),
    Address::v4([10, 1, 0, 99]),
    Address::v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 7]),
    Address::v4([192, 0, 2, 1]),
];

/// The file that the writer leaves; its index's seed differs from call to call.
pub fn sample() -> Vec<u8> {
    let directory = tempfile_in_memory();
    let options = Options {
        initial_bytes: 64 << 10,
        ..Options::new(&directory, "cluster.local")
    };
    let (mut writer, _) = Writer::open(options).expect("a new zone");
    fill(&mut writer);
    writer.beat(SAMPLE_NOW);
    writer.set_synced(SAMPLE_NOW);
    let bytes = fs::read(writer.path()).expect("the zone file");
    drop(writer);
    fs::remove_dir_all(&directory).expect("our own directory");
    bytes
}

/// A file of held answers: one of everything for each of [`HELD_NAMES`] but the last.
pub fn held_sample() -> Vec<u8> {
    let directory = tempfile_in_memory();
    let mut options = HeldOptions::new(&directory, "default");
    options.initial_bytes = 64 << 10;
    let (mut writer, _) = HeldWriter::open(&options, SAMPLE_NOW).expect("a new file");
    let answer = |addresses: Vec<Address>, canonical: Option<&str>| HeldAnswer {
        expires: Some(Now(SAMPLE_NOW.0 + 60)),
        verdict: HeldVerdict::Data {
            addresses,
            canonical: canonical.map(String::from),
        },
    };
    let fours = || (1..6).map(|last| Address::v4([192, 0, 2, last])).collect();
    let sixes = || (1..4).map(|last| v6(2, last)).collect();
    let denied = HeldAnswer {
        expires: Some(Now(SAMPLE_NOW.0 + 60)),
        verdict: HeldVerdict::NxDomain,
    };
    let fixed = HeldAnswer {
        expires: None,
        ..answer(fours(), None)
    };
    let rows = [
        (answer(fours(), None), answer(sixes(), None)),
        (
            answer(fours(), Some("edge-1.cdn.example")),
            answer(sixes(), Some("edge-2.cdn.example")),
        ),
        (
            answer(fours(), Some("edge-1.cdn.example")),
            answer(Vec::new(), None),
        ),
        (answer(Vec::new(), None), answer(Vec::new(), None)),
        (denied.clone(), denied),
        (fixed, answer(Vec::new(), None)),
    ];
    for (name, (v4, v6)) in HELD_NAMES.into_iter().zip(rows) {
        let held = Held {
            v4: Some(v4),
            v6: Some(v6),
        };
        writer.put(name, &held).expect("room for a name");
    }
    let bytes = fs::read(writer.path()).expect("the file");
    drop(writer);
    fs::remove_dir_all(&directory).expect("our own directory");
    bytes
}

/// The sample as an image.
pub fn sample_image() -> Image {
    Image::of(&sample())
}

/// A new directory on a tmpfs.
fn tempfile_in_memory() -> std::path::PathBuf {
    use core::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = std::format!("nss-k8s-sample-{}-{number}", std::process::id());
    let path = std::path::Path::new("/dev/shm").join(name);
    fs::create_dir_all(&path).expect("a directory in /dev/shm");
    path
}

/// One of everything that a record can hold.
fn fill(writer: &mut Writer) {
    let config = Config {
        miss_policy: MissPolicy::NxDomain,
        ptr_authoritative: true,
        cluster_dns: vec![Address::v4([10, 96, 0, 10]), v6(0, 10)],
        refused_builds: vec![7, 8],
        excepted_suffixes: vec![String::from("old.shop.svc.cluster.local")],
        ..Config::default()
    };
    writer.configure(&config).expect("a configuration");
    writer.put_namespace("shop").expect("a namespace");
    let port = |name: &str, protocol, number| Port {
        name: String::from(name),
        protocol,
        number,
    };
    let ports = vec![
        port("web", Protocol::Tcp, 80),
        port("dns", Protocol::Udp, 53),
        port("", Protocol::Sctp, 9),
    ];
    let bodies = [
        (
            "api",
            ServiceBody::ClusterIp {
                addresses: vec![Address::v4([10, 96, 0, 1]), v6(0, 1)],
                ports: ports.clone(),
            },
        ),
        (
            "db",
            ServiceBody::Headless {
                ports: ports.clone(),
            },
        ),
        ("none", ServiceBody::Headless { ports: Vec::new() }),
        ("docs", external("www.example.com")),
        ("alias", external("api.shop.svc.cluster.local")),
        ("loop", external("loop.shop.svc.cluster.local")),
    ];
    for (service, body) in &bodies {
        writer.put_service(&key(service), body).expect("a service");
    }
    for (id, family) in [(1, Family::V4), (2, Family::V6)] {
        let endpoints = (0..21).map(|number| endpoint(family, number)).collect();
        let slice = Slice {
            family,
            ports: ports.clone(),
            endpoints,
        };
        for service in ["db", "api", "waits"] {
            writer
                .put_slice(&key(service), SliceId(id), &slice)
                .expect("a slice");
        }
    }
}

/// One of twenty-one: named, unready, shadowed, in a topology zone, or none of it.
fn endpoint(family: Family, number: u8) -> Endpoint {
    let address = match family {
        Family::V4 => Address::v4([10, 1, 0, number]),
        Family::V6 => v6(1, number),
    };
    Endpoint {
        hostname: (number < 5).then(|| std::format!("db-{number}")),
        ready: number % 5 != 4,
        shadowed: number % 7 == 6,
        topology_zone: number.is_multiple_of(2).then(|| String::from("zone-a")),
        ..Endpoint::ready(address)
    }
}

/// In the namespace `shop`.
fn key(service: &str) -> ServiceKey {
    ServiceKey::new(service, "shop").expect("two labels")
}

/// A CNAME.
fn external(target: &str) -> ServiceBody {
    ServiceBody::External {
        target: String::from(target),
    }
}

/// fd00::`high`:`low`.
const fn v6(high: u8, low: u8) -> Address {
    Address::v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, 0, low])
}

//! The words that one lookup reads.

use super::{NOW, Process};
use nss_k8s_zone::{
    Address, Config, Endpoint, Families, Family, Found, LibcOs, MissPolicy, Name, Options, Port,
    Protocol, ServiceBody, ServiceKey, Slice, SliceId, Unavailable, Writer,
    proofs::{Chains, Image, SAMPLE_ADDRESSES, SAMPLE_NAMES, sample},
};
use std::fs;

/// No lookup reads more.
const MOST: u64 = 64 * 1024;
/// The word of the committed size.
const COMMITTED: usize = 10;
/// Endpoints of the largest service, and of one slice.
const LARGEST: u32 = 5_000;
const SLICE: usize = 100;
/// Candidates that a walk through the longest search list makes.
const CANDIDATES: usize = 68;

#[test]
fn the_largest_services_are_answered() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let (mut writer, _) = Writer::open(Options::new(directory.path(), "cluster.local")).unwrap();
    writer.put_namespace("shop").unwrap();
    let body = ServiceBody::Headless { ports: vec![] };
    let key = |service| ServiceKey::new(service, "shop").unwrap();
    let (both, single) = (key("crowd"), key("single"));
    writer.put_service(&both, &body).unwrap();
    writer.put_service(&single, &body).unwrap();
    let numbers: Vec<u32> = (0..LARGEST).collect();
    for (key, family, first) in [
        (&both, Family::V4, 0),
        (&both, Family::V6, 1_000),
        (&single, Family::V4, 0),
    ] {
        for (id, numbers) in (first..).zip(numbers.chunks(SLICE)) {
            let slice = Slice {
                family,
                ports: vec![http()],
                endpoints: numbers.iter().map(|one| endpoint(family, *one)).collect(),
            };
            writer.put_slice(key, SliceId(id), &slice).unwrap();
        }
    }
    writer.beat(NOW);
    writer.set_synced(NOW);
    let process = Process::new(&LibcOs, writer.path().to_str().unwrap());
    let owner = "crowd.shop.svc.cluster.local";
    let all = Found::Answer { count: 4096 };
    let (found, words, _) = process.addresses(owner);
    assert_eq!(found, Ok(all));
    assert!(words < MOST, "{words}");
    let (found, words, _) = process.addresses(&format!("_http._tcp.{owner}"));
    assert_eq!(found, Ok(all));
    assert!(words < MOST, "{words}");
    // Both families share their host names.
    for name in ["crowd-4999", "crowd-0"] {
        let (found, words, _) = process.addresses(&format!("{name}.{owner}"));
        assert_eq!(found, Ok(Found::Answer { count: 2 }), "{name}");
        assert!(words < MOST, "{name}: {words}");
    }
    for family in [Family::V4, Family::V6] {
        let last = endpoint(family, LARGEST - 1).address;
        let (found, words) = process.names(&last);
        let count = if family == Family::V4 { 2 } else { 1 };
        assert_eq!(found, Ok(Found::Answer { count }), "{last:?}");
        assert!(words < MOST, "{last:?}: {words}");
    }
    // A record for each endpoint: more than any message holds.
    let single = "_http._tcp.single.shop.svc.cluster.local";
    let (found, words) = process.services(single, LARGEST as usize);
    assert_eq!(found, Ok(Found::Answer { count: 5_000 }));
    assert!(words < MOST, "{words}");
    eprintln!("SRV of 5,000: {words} words");
}

/// With room for everything in the file, whatever its counts say.
#[test]
fn every_count_at_its_extremes() {
    let file = sample();
    let used: Vec<usize> = (0..file.len() / 8)
        .filter(|word| file[word * 8..][..8] != [0; 8])
        .collect();
    assert!(used.len() > 300, "{}", used.len());
    for (filler, more) in [(0, 0), (0x0101_0101_0101_0101, 0), (0, 8192)] {
        let image = roomy(&file, filler);
        // More than there is: whoever fails looks whether the file has grown.
        image.store(COMMITTED, image.load(COMMITTED) + more);
        assert_eq!(
            Process::new(&image, "/zone.v1")
                .addresses("api.shop.svc.cluster.local")
                .0,
            Ok(Found::Answer { count: 2 })
        );
        for &word in &used {
            let old = image.load(word);
            let lanes = (0..4).map(|lane| old | 0xffff << (lane * 16));
            let bytes = (0..8).map(|byte| old | 0xff << (byte * 8));
            for new in lanes.chain(bytes).chain([u64::MAX, !old, 1 << 63]) {
                image.store(word, new);
                let process = Process::new(&image, "/zone.v1");
                ask_all(&process, &format!("word {word}: {new:#x}"));
            }
            image.store(word, old);
        }
    }
}

/// Where every slot leads to a record that differs in its last letter.
#[test]
fn full_lines_of_almost_equal_keys() {
    let long = |last: &str| format!("{}{last}", "a".repeat(62));
    let (there, other) = (long("b"), long("c"));
    let namespace = "n".repeat(63);
    let file = zone_of(|writer| {
        writer.put_namespace(&namespace).unwrap();
        for service in [&there, &other] {
            let key = ServiceKey::new(service, &namespace).unwrap();
            let body = ServiceBody::ClusterIp {
                addresses: vec![Address::v4([10, 96, 0, 1])],
                ports: vec![],
            };
            writer.put_service(&key, &body).unwrap();
        }
    });
    let chains = Chains::of(&file);
    let image = Image::of(&file);
    let (_, wanted) = chains.name(&format!("{other}.{namespace}"));
    let (_, tag) = chains.name(&format!("{there}.{namespace}"));
    let slots = chains.main_slots();
    let almost = (slots.clone().map(|word| image.load(word)))
        .find(|slot| (slot >> 32) as u32 == wanted)
        .unwrap();
    for word in slots {
        image.store(word, u64::from(tag) << 32 | almost & 0xffff_ffff);
    }
    let process = Process::new(&image, "/zone.v1");
    let name = format!("{there}.{namespace}.svc.cluster.local");
    let (found, words, _) = process.addresses(&name);
    // The chain has no end: it may be anywhere.
    assert!(
        matches!(found, Ok(Found::Ask(_) | Found::Unavailable(_))),
        "{found:?}"
    );
    assert!(words > 1_000, "the lines were not read: {words}");
    assert!(words <= MOST, "{words}");
    let mut canonical = Name::EMPTY;
    let (_, words) = process.ask(|zone| {
        for _ in 0..CANDIDATES {
            let mut room = [Address::UNSPECIFIED];
            zone.addresses(name.as_bytes(), Families::BOTH, &mut room, &mut canonical);
        }
    });
    assert!(words <= MOST, "a walk: {words}");
}

/// What a tenant may put into slices of its own: 1,000 endpoints, 20,000 ports.
#[test]
fn slices_as_large_as_the_api_takes() {
    let ports = (0..20_000).map(|number| Port {
        name: format!("p{number}"),
        protocol: Protocol::Tcp,
        number: 80,
    });
    let ports: Vec<Port> = ports.collect();
    let file = zone_of(|writer| {
        writer.put_namespace("shop").unwrap();
        let key = ServiceKey::new("crowd", "shop").unwrap();
        let body = ServiceBody::Headless { ports: vec![] };
        writer.put_service(&key, &body).unwrap();
        for id in 0..8 {
            let endpoints = (0..1_000).map(|number| endpoint(Family::V4, id * 1_000 + number));
            let slice = Slice {
                family: Family::V4,
                ports: ports.clone(),
                endpoints: endpoints.collect(),
            };
            writer.put_slice(&key, SliceId(id.into()), &slice).unwrap();
        }
    });
    let image = Image::of(&file);
    let process = Process::new(&image, "/zone.v1");
    let owner = "crowd.shop.svc.cluster.local";
    let (found, words, _) = process.addresses(owner);
    assert_eq!(found, Ok(Found::Answer { count: 4096 }));
    assert!(words <= MOST, "{words}");
    for name in ["_p19999._tcp", "_absent._tcp", "_p1._udp"] {
        let (found, words) = process.services(&format!("{name}.{owner}"), 64);
        let spent = Ok(Found::Unavailable(Unavailable::Corrupt));
        assert_eq!(found, spent, "{name}");
        assert!(words <= MOST, "{name}: {words}");
        let (_, words, _) = process.addresses(&format!("{name}.{owner}"));
        assert!(words <= MOST, "{name}: {words}");
    }
    // The other names of the zone are what they are.
    let (found, _, _) = process.addresses("shop.svc.cluster.local");
    assert_eq!(found, Ok(Found::NoData));
}

/// Many names under a configuration of many suffixes and rules.
#[test]
fn a_configuration_of_the_largest_size() {
    use nss_k8s_zone::{Matching, Rule};
    let suffixes = (0..2_000).map(|number| format!("s{number:0>60}.shop.svc.cluster.local"));
    let rules = (0..64).map(|number| Rule::Rewrite {
        matching: Matching::Suffix,
        from: format!("r{number:0>60}.example"),
        to: format!("t{number:0>60}.example"),
        stop: false,
    });
    let config = Config {
        excepted_suffixes: suffixes.collect(),
        rules: rules.collect(),
        refused_builds: (0..5_000).collect(),
        ..Config::default()
    };
    let file = zone_of(|writer| {
        writer.configure(&config).unwrap();
        writer.put_namespace("shop").unwrap();
    });
    let image = Image::of(&file);
    let process = Process::new(&image, "/zone.v1");
    let mut names: Vec<Name> = Vec::new();
    for number in 0..CANDIDATES {
        let mut name = Name::new();
        assert!(name.push(format!("x{number}.shop.svc.cluster.local").as_bytes()));
        names.push(name);
    }
    let (_, words) = process.ask(|zone| {
        let _ = zone.refuses_build(9_999);
        for name in &mut names {
            let _ = zone.rule(name, Some((b"com", b"svc.cluster.local")));
            let mut room = [Address::UNSPECIFIED];
            let mut canonical = Name::EMPTY;
            zone.addresses(name.as_bytes(), Families::BOTH, &mut room, &mut canonical);
        }
    });
    assert!(words > 20_000, "nothing was looked at: {words}");
    assert!(words <= MOST, "{words}");
}

/// Everything that can be asked, each within the budget; and all names of a walk together.
fn ask_all(process: &Process<'_, Image>, what: &str) {
    for name in SAMPLE_NAMES {
        let name = String::from_utf8_lossy(name);
        let (found, words, _) = process.addresses(&name);
        assert!(words <= MOST, "{what}: {name}: {found:?}: {words} words");
        let (found, words) = process.services(&name, 64);
        assert!(
            words <= MOST,
            "{what}: SRV {name}: {found:?}: {words} words"
        );
    }
    for address in &SAMPLE_ADDRESSES {
        let (found, words) = process.names(address);
        assert!(
            words <= MOST,
            "{what}: {address:?}: {found:?}: {words} words"
        );
    }
    let mut room = [Address::UNSPECIFIED; 16];
    let mut canonical = Name::EMPTY;
    let (_, words) = process.ask(|zone| {
        let _ = (
            zone.refuses_build(9),
            zone.trusts_nameserver(&SAMPLE_ADDRESSES[0]),
        );
        for name in SAMPLE_NAMES.iter().cycle().take(CANDIDATES) {
            zone.addresses(name, Families::BOTH, &mut room, &mut canonical);
        }
    });
    assert!(words <= MOST, "{what}: a walk: {words} words");
}

/// The file with 2 MiB more behind it, so that counts lead to something.
fn roomy(file: &[u8], filler: u64) -> Image {
    let mut bytes = file.to_vec();
    bytes.extend(filler.to_le_bytes().repeat((2 << 20) / 8));
    let committed = (bytes.len() / 8) as u64;
    bytes[COMMITTED * 8..][..8].copy_from_slice(&committed.to_le_bytes());
    Image::of(&bytes)
}

/// The bytes of a live zone.
fn zone_of(fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let (mut writer, _) = Writer::open(Options::new(directory.path(), "cluster.local")).unwrap();
    let config = Config {
        miss_policy: MissPolicy::NxDomain,
        ..Config::default()
    };
    writer.configure(&config).unwrap();
    fill(&mut writer);
    writer.beat(NOW);
    writer.set_synced(NOW);
    fs::read(writer.path()).unwrap()
}

/// The port that everybody has.
fn http() -> Port {
    Port {
        name: "http".to_owned(),
        protocol: Protocol::Tcp,
        number: 80,
    }
}

/// One of many, with a host name.
fn endpoint(family: Family, number: u32) -> Endpoint {
    let [_, a, b, c] = number.to_be_bytes();
    let address = match family {
        Family::V4 => Address::v4([10, a, b, c]),
        Family::V6 => Address::v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c]),
    };
    Endpoint {
        hostname: Some(format!("crowd-{number}")),
        ..Endpoint::ready(address)
    }
}

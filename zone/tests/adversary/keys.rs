//! Names and addresses that a tenant makes for the seed that it reads in the file.

use super::{NOW, Process};
use nss_k8s_zone::{
    Address, Ask, Config, Endpoint, Family, Found, LibcOs, MissPolicy, Options, ServiceBody,
    ServiceKey, Slice, SliceId, Writer,
    proofs::{Chains, words_read},
};
use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The word of the root.
const ROOT: usize = 9;
/// Words that a lookup of a name reads at most here: two chains of sixteen lines, and keys whose
/// tags are equal.
const LOOKUP: u64 = 400;

/// A zone in which other tenants have services, the last octets of whose addresses are their numbers.
struct World {
    _directory: TempDir,
    writer: Writer,
    clock: Instant,
    /// Regions that were built since the world was.
    regions: u32,
    /// Words that were stored since.
    stored: u64,
    /// The most words that one change stored and read, those that built a region left out.
    largest: (u64, u64),
}

impl World {
    fn new(others: u32) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let options = Options::new(directory.path(), "cluster.local");
        let (mut writer, _) = Writer::open(options).unwrap();
        let config = Config {
            miss_policy: MissPolicy::NxDomain,
            ptr_authoritative: true,
            ..Config::default()
        };
        writer.configure(&config).unwrap();
        for namespace in ["shop", "evil"] {
            writer.put_namespace(namespace).unwrap();
        }
        for number in 0..others {
            writer
                .put_service(&other(number), &cluster_ip(number))
                .unwrap();
        }
        writer.beat(NOW);
        writer.set_synced(NOW);
        Self {
            _directory: directory,
            writer,
            clock: Instant::now(),
            regions: 0,
            stored: 0,
            largest: (0, 0),
        }
    }

    /// One change, counted.
    fn change(&mut self, change: impl FnOnce(&mut Writer)) {
        self.writer.record();
        let before = words_read();
        change(&mut self.writer);
        let read = words_read() - before;
        let stores = self.writer.recorded();
        let built = stores.iter().filter(|(word, _)| *word == ROOT).count();
        self.regions += u32::try_from(built).unwrap();
        self.stored += stores.len() as u64;
        if built == 0 {
            self.largest.0 = self.largest.0.max(stores.len() as u64);
            self.largest.1 = self.largest.1.max(read);
        }
        self.clock += Duration::from_millis(100);
        self.writer.advance(self.clock);
    }

    /// What the tenant sees.
    fn chains(&self) -> Chains {
        Chains::of(&fs::read(self.writer.path()).unwrap())
    }

    fn path(&self) -> &Path {
        self.writer.path()
    }

    /// Every other tenant's name is answered rightly, or asked of DNS; returns how many are answered.
    /// An absent one is never said to be there.
    fn others_are_right(&self, others: u32) -> u32 {
        let process = Process::new(&LibcOs, self.path().to_str().unwrap());
        let _ = process.addresses("shop.svc.cluster.local");
        let mut answered = 0;
        for number in 0..others {
            let name = format!("{}.svc.cluster.local", other(number));
            let (found, words, octets) = process.addresses(&name);
            match found {
                Ok(Found::Answer { count: 1 }) => {
                    assert_eq!(octets[..4], v4(number).octets[..4], "{name}");
                    answered += 1;
                }
                Ok(Found::Ask(Ask::Incomplete)) => {}
                found => panic!("{name}: {found:?}"),
            }
            assert!(words <= LOOKUP, "{name}: {words} words");
            let (found, words, _) = process.addresses(&format!("x{number}.shop.svc.cluster.local"));
            assert!(
                matches!(found, Ok(Found::NxDomain | Found::Ask(Ask::Incomplete))),
                "{found:?}"
            );
            assert!(words <= LOOKUP, "{words} words");
        }
        answered
    }
}

/// The tenant reads the seed again after each region, and makes names whose chains start at one line.
#[test]
fn names_for_the_seed_in_force() {
    const OTHERS: u32 = 500;
    const HOSTILE: u32 = 3_000;
    let mut world = World::new(OTHERS);
    let (mut number, mut made) = (0_u64, 0);
    let mut chains = world.chains();
    while made < HOSTILE {
        let key = loop {
            let key = ServiceKey::new(&format!("e{number}"), "evil").unwrap();
            number += 1;
            if chains.name(&key.to_string()).0 == 0 {
                break key;
            }
        };
        let regions = world.regions;
        world.change(|writer| {
            writer.put_service(&key, &cluster_ip(1)).unwrap();
        });
        made += 1;
        if world.regions != regions {
            chains = world.chains();
        }
        if made % 500 == 0 {
            world.others_are_right(OTHERS);
        }
    }
    // More often than without malice, but each time takes dozens of services more.
    assert!(world.regions >= 10, "{} regions: no attack", world.regions);
    assert!(world.regions <= HOSTILE / 40, "{} regions", world.regions);
    let lines = u64::from(chains.main_lines());
    let names = u64::from(OTHERS + HOSTILE + 2);
    // Eight times what the names need, and no more.
    assert!(
        lines <= 8 * (names * 100).div_ceil(8 * 36) + 16,
        "{lines} lines"
    );
    let per_service = world.stored / u64::from(HOSTILE);
    assert!(per_service <= 4_096, "{per_service} words stored for each");
    assert!(world.largest.0 <= 64, "{} words stored", world.largest.0);
    assert!(world.largest.1 <= 1_024, "{} words read", world.largest.1);
    // A seed that nobody knew when the names were made serves all.
    assert_eq!(world.others_are_right(OTHERS), OTHERS);
    // Names that come and go do not make it endless either.
    let before = world.regions;
    for number in 0..1_000 {
        let key = ServiceKey::new(&format!("g{number}"), "evil").unwrap();
        world.change(|writer| {
            writer.put_service(&key, &cluster_ip(1)).unwrap();
        });
        world.change(|writer| {
            writer.delete_service(&key).unwrap();
        });
    }
    assert!(world.regions <= before + 2, "{} regions", world.regions);
}

/// Endpoints may have any address: those of one tenant fill one chain for addresses.
#[test]
fn addresses_for_the_seed_in_force() {
    const OTHERS: u32 = 500;
    let mut world = World::new(OTHERS);
    let key = ServiceKey::new("crowd", "evil").unwrap();
    let body = ServiceBody::Headless { ports: vec![] };
    world.change(|writer| {
        writer.put_service(&key, &body).unwrap();
    });
    for id in 0..20 {
        let chains = world.chains();
        let addresses = (0..u32::MAX)
            .map(|number| Address::v4((0x0b00_0000 + id * 0x10_0000 + number).to_be_bytes()))
            .filter(|address| chains.address(address) == 0)
            .take(100);
        let slice = Slice {
            family: Family::V4,
            ports: vec![],
            endpoints: addresses.map(Endpoint::ready).collect(),
        };
        world.change(|writer| {
            writer.put_slice(&key, SliceId(id.into()), &slice).unwrap();
        });
    }
    // As often as so many hints fill a table, whatever they are.
    assert!(world.regions <= 8, "{} regions", world.regions);
    let process = Process::new(&LibcOs, world.path().to_str().unwrap());
    let _ = process.addresses("shop.svc.cluster.local");
    let (mut named, mut asked) = (0, 0);
    for number in 0..OTHERS {
        let (found, words) = process.names(&v4(number));
        match found {
            Ok(Found::Answer { count: 1 }) => named += 1,
            Ok(Found::Ask(Ask::Incomplete)) => asked += 1,
            found => panic!("{number}: {found:?}"),
        }
        assert!(words <= 2 * LOOKUP, "{words} words");
    }
    assert!(named > 0, "{named} named, {asked} asked");
    assert_eq!(world.others_are_right(OTHERS), OTHERS);
}

/// A node's own address in thousands of headless services.
#[test]
fn an_address_in_thousands_of_services() {
    const SERVICES: u32 = 5_000;
    let mut world = World::new(10);
    let address = Address::v4([192, 168, 0, 1]);
    let process_path = world.path().to_str().unwrap().to_owned();
    let process = Process::new(&LibcOs, &process_path);
    let (mut early, mut after) = ((0, 0), 0);
    for number in 0..SERVICES {
        let key = ServiceKey::new(&format!("h{number}"), "evil").unwrap();
        let slice = Slice {
            family: Family::V4,
            ports: vec![],
            endpoints: vec![Endpoint::ready(address)],
        };
        world.change(|writer| {
            let body = ServiceBody::Headless { ports: vec![] };
            writer.put_service(&key, &body).unwrap();
        });
        world.change(|writer| {
            writer.put_slice(&key, SliceId(1), &slice).unwrap();
        });
        let (found, words) = process.names(&address);
        let expected = match number {
            0..8 => Found::Answer {
                count: number as usize + 1,
            },
            _ => Found::Ask(Ask::NotHeld),
        };
        assert_eq!(found, Ok(expected), "{number}");
        assert!(words <= 2 * LOOKUP, "{number}: {words} words");
        if number == 500 {
            early = world.largest;
        }
        after = world.regions;
    }
    // The table grows with the names, and with nothing else.
    assert!(after <= 16, "{after} regions");
    assert!(
        early.0 > 0 && world.largest.0 <= early.0 + 8,
        "{early:?}, {:?}",
        world.largest
    );
    assert!(world.largest.1 <= 1_024, "{} words read", world.largest.1);
    // Those who go take no longer, and leave nothing wrong behind.
    for number in 0..SERVICES {
        let key = ServiceKey::new(&format!("h{number}"), "evil").unwrap();
        world.change(|writer| {
            writer.delete_slice(&key, SliceId(1)).unwrap();
        });
    }
    assert!(world.largest.1 <= 1_024, "{} words read", world.largest.1);
    let (found, _) = process.names(&address);
    assert!(
        matches!(found, Ok(Found::NxDomain | Found::Ask(_))),
        "{found:?}"
    );
    assert_eq!(world.others_are_right(10), 10);
}

/// A service of another tenant's.
fn other(number: u32) -> ServiceKey {
    ServiceKey::new(&format!("s{number}"), "shop").unwrap()
}

/// Its address.
fn v4(number: u32) -> Address {
    let [_, _, high, low] = number.to_be_bytes();
    Address::v4([10, 96, high, low])
}

fn cluster_ip(number: u32) -> ServiceBody {
    ServiceBody::ClusterIp {
        addresses: vec![v4(number)],
        ports: vec![],
    }
}

//! The zone against plain maps: after every random operation it holds what the maps hold, and
//! answers as they say, also through growth, rehash, adoption and replacement.
#![cfg(not(loom))]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "ordinary std tests"
)]

#[path = "model/operations.rs"]
mod operations;

use nss_k8s_zone::{
    Address, Ask, Entry, Families, Family, Found, Item, LibcOs, Name, Now, Opened, Options, Reader,
    ServiceBody, ServiceKey, Slice, SliceId, State, Writer,
};
use operations::{Operation, addresses, key, operation};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::CString,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    time::{Duration, Instant},
};

const NOW: Now = Now(1_000_000);

/// What a zone shall hold.
#[derive(Default)]
struct Model {
    namespaces: BTreeSet<String>,
    services: BTreeMap<ServiceKey, ServiceBody>,
    slices: BTreeMap<ServiceKey, BTreeMap<SliceId, Slice>>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn the_zone_is_what_was_put(operations in prop::collection::vec(operation(), 1..80)) {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let mut run = Run::open(directory.path());
        for operation in operations {
            run.step(operation);
            run.check();
        }
    }
}

#[test]
fn ten_thousand_services_come_and_go_in_bounded_space() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let mut run = Run::open(directory.path());
    run.writer.put_namespace("n0").unwrap();
    let key = |number: u32| ServiceKey::new(&format!("service-{number}"), "n0").unwrap();
    for number in 0..10_000_u32 {
        let own = Address::v4(number.to_be_bytes());
        let body = ServiceBody::ClusterIp {
            addresses: vec![own],
            ports: vec![],
        };
        assert!(run.writer.put_service(&key(number), &body).unwrap());
        run.advance();
    }
    let full = run.writer.statistics();
    assert_eq!(full.services, 10_000);
    assert!(!full.incomplete);
    for number in (0..10_000_u32).step_by(97) {
        let name = format!("service-{number}.n0.svc.cluster.local");
        let expected = (
            Found::Answer { count: 1 },
            vec![Address::v4(number.to_be_bytes())],
        );
        assert_eq!(run.ask(&name), expected, "{name}");
    }
    // As many changes again as there are services do not make the file grow much.
    for round in 1..4_u32 {
        for number in 0..10_000_u32 {
            let own = Address::v4((number + (round << 24)).to_be_bytes());
            let body = ServiceBody::ClusterIp {
                addresses: vec![own],
                ports: vec![],
            };
            run.writer.put_service(&key(number), &body).unwrap();
            run.advance();
        }
    }
    let changed = run.writer.statistics();
    assert!(changed.bytes <= full.bytes * 3 / 2, "{full:?} {changed:?}");
    let gone = run
        .writer
        .retain(|item| matches!(item, Item::Namespace(_)))
        .unwrap();
    assert_eq!((gone, run.writer.statistics().services), (10_000, 0));
    assert_eq!(
        run.ask("service-1.n0.svc.cluster.local").0,
        Found::Ask(Ask::Miss)
    );
}

/// A zone beside its model.
struct Run<'d> {
    directory: &'d Path,
    writer: Writer,
    reader: Reader,
    path: CString,
    clock: Instant,
    model: Model,
    /// Addresses that led to more records than hints are kept for, at some time.
    crowded: BTreeSet<Address>,
}

impl<'d> Run<'d> {
    fn open(directory: &'d Path) -> Self {
        let (mut writer, opened) = Writer::open(options(directory)).unwrap();
        assert_eq!(opened, Opened::Created);
        writer.beat(NOW);
        writer.set_synced(NOW);
        let path = CString::new(writer.path().as_os_str().as_bytes()).unwrap();
        let (reader, model) = (Reader::new(), Model::default());
        let crowded = BTreeSet::new();
        Self {
            directory,
            writer,
            reader,
            path,
            clock: Instant::now(),
            model,
            crowded,
        }
    }

    fn advance(&mut self) {
        self.clock += Duration::from_millis(100);
        self.writer.advance(self.clock);
    }

    fn step(&mut self, operation: Operation) {
        match operation {
            Operation::PutNamespace(number) => {
                let name = format!("n{number}");
                let changed = self.writer.put_namespace(&name).unwrap();
                assert_eq!(changed, self.model.namespaces.insert(name));
            }
            Operation::DeleteNamespace(number) => {
                let name = format!("n{number}");
                let changed = self.writer.delete_namespace(&name).unwrap();
                assert_eq!(changed, self.model.namespaces.remove(&name));
            }
            Operation::PutService(number, body) => {
                let changed = self.writer.put_service(&key(number), &body).unwrap();
                let old = self.model.services.insert(key(number), body.clone());
                assert_eq!(changed, old != Some(body));
            }
            Operation::DeleteService(number) => {
                let changed = self.writer.delete_service(&key(number)).unwrap();
                assert_eq!(changed, self.model.services.remove(&key(number)).is_some());
            }
            Operation::PutSlice(number, id, slice) => {
                let id = SliceId(id.into());
                let changed = self.writer.put_slice(&key(number), id, &slice).unwrap();
                let slices = self.model.slices.entry(key(number)).or_default();
                let old = slices.insert(id, sorted(slice.clone()));
                assert_eq!(changed, old != Some(sorted(slice)));
            }
            Operation::DeleteSlice(number, id) => {
                let id = SliceId(id.into());
                let changed = self.writer.delete_slice(&key(number), id).unwrap();
                let slices = self.model.slices.entry(key(number)).or_default();
                assert_eq!(changed, slices.remove(&id).is_some());
            }
            Operation::PutMany(round) => {
                for number in 0..250_u32 {
                    let own = addresses(Family::V4, &[round]);
                    let body = ServiceBody::ClusterIp {
                        addresses: own,
                        ports: vec![],
                    };
                    let key = ServiceKey::new(&format!("many-{number}"), "n0").unwrap();
                    self.writer.put_service(&key, &body).unwrap();
                    self.model.services.insert(key, body);
                }
            }
            Operation::DropMany => {
                let is_many = |key: &ServiceKey| key.service().starts_with("many-");
                let gone = self
                    .writer
                    .retain(|item| !matches!(item, Item::Service(key) if is_many(key)))
                    .unwrap();
                let before = self.model.services.len();
                self.model.services.retain(|key, _| !is_many(key));
                assert_eq!(gone, before - self.model.services.len());
            }
            Operation::Advance => self.advance(),
            Operation::Reopen => self.reopen(),
            Operation::Replace => self.writer.replace().unwrap(),
        }
    }

    /// The writer ends, another one goes on.
    fn reopen(&mut self) {
        let scratch = tempfile::tempdir_in("/dev/shm").unwrap();
        let (other, _) = Writer::open(options(scratch.path())).unwrap();
        drop(std::mem::replace(&mut self.writer, other));
        let (writer, opened) = Writer::open(options(self.directory)).unwrap();
        let services = self.held_keys().len();
        let namespaces = self.model.namespaces.len();
        assert_eq!(
            opened,
            Opened::Adopted {
                namespaces,
                services
            }
        );
        assert_eq!(writer.state(), State::Live);
        self.writer = writer;
    }

    fn held_keys(&self) -> BTreeSet<ServiceKey> {
        let slices = self
            .model
            .slices
            .iter()
            .filter(|(_, slices)| !slices.is_empty());
        self.model
            .services
            .keys()
            .chain(slices.map(|(key, _)| key))
            .cloned()
            .collect()
    }

    fn check(&mut self) {
        let mut namespaces = BTreeSet::new();
        let mut keys = BTreeSet::new();
        for entry in self.writer.entries() {
            match entry {
                Entry::Namespace(name) => assert!(namespaces.insert(name)),
                Entry::Service { key, body, slices } => {
                    assert_eq!(body.as_ref(), self.model.services.get(&key), "{key}");
                    let expected = self.model.slices.get(&key).cloned().unwrap_or_default();
                    assert_eq!(slices, expected, "{key}");
                    assert!(keys.insert(key));
                }
            }
        }
        assert_eq!(namespaces, self.model.namespaces);
        assert_eq!(keys, self.held_keys());
        let figures = self.writer.statistics();
        assert_eq!(figures.services, keys.len() as u64);
        assert!(
            figures.used_bytes + figures.free_bytes + figures.quarantined_bytes == figures.bytes
        );
        for number in 0..30 {
            let key = key(number);
            let name = format!("{key}.svc.cluster.local");
            assert_eq!(self.ask(&name), self.expected(&key, 0), "{name}");
        }
        self.check_names();
    }

    /// What the map says of a service's own name.
    fn expected(&self, key: &ServiceKey, depth: u32) -> (Found, Vec<Address>) {
        let answer = |mut found: Vec<Address>| {
            found.sort_unstable();
            match found.len() {
                0 => (Found::NoData, found),
                count => (Found::Answer { count }, found),
            }
        };
        match self.model.services.get(key) {
            None if self.model.namespaces.contains(key.namespace()) => {
                (Found::Ask(Ask::Miss), vec![])
            }
            None if depth > 0 => (Found::NoData, vec![]),
            None => (Found::NxDomain, vec![]),
            Some(ServiceBody::ClusterIp { addresses, .. }) => answer(addresses.clone()),
            Some(ServiceBody::Headless { .. }) => {
                let found = self.ready(key);
                match found.is_empty() {
                    true if depth > 0 => (Found::NoData, vec![]),
                    true => (Found::NxDomain, vec![]),
                    false => answer(found),
                }
            }
            Some(ServiceBody::External { .. }) if depth == 8 => (Found::Ask(Ask::Chain), vec![]),
            Some(ServiceBody::External { target }) => {
                let Some(key) = target.strip_suffix(".svc.cluster.local") else {
                    return (Found::Chase, vec![]);
                };
                let (service, namespace) = key.split_once('.').unwrap();
                self.expected(&ServiceKey::new(service, namespace).unwrap(), depth + 1)
            }
        }
    }

    fn ready(&self, key: &ServiceKey) -> Vec<Address> {
        let slices = self
            .model
            .slices
            .get(key)
            .into_iter()
            .flat_map(BTreeMap::values);
        slices
            .flat_map(|slice| &slice.endpoints)
            .filter(|endpoint| endpoint.ready)
            .map(|endpoint| endpoint.address)
            .collect()
    }

    fn ask(&self, name: &str) -> (Found, Vec<Address>) {
        let mut room = vec![Address::UNSPECIFIED; 4096];
        let mut canonical = Name::EMPTY;
        let found = self.reader.read(&LibcOs, &self.path, NOW, |zone| {
            zone.addresses(name.as_bytes(), Families::BOTH, &mut room, &mut canonical)
        });
        let found = found.unwrap();
        room.truncate(if let Found::Answer { count } = found {
            count
        } else {
            0
        });
        room.sort_unstable();
        (found, room)
    }

    /// Which records an address leads to: as a service's own, and as a ready endpoint's.
    fn leads(&self) -> BTreeMap<Address, Leads> {
        let mut leads: BTreeMap<Address, Leads> = BTreeMap::new();
        for (key, body) in &self.model.services {
            if let ServiceBody::ClusterIp { addresses, .. } = body {
                for address in addresses {
                    leads.entry(*address).or_default().own.insert(key.clone());
                }
            }
        }
        for key in self.held_keys() {
            for address in self.ready(&key) {
                leads
                    .entry(address)
                    .or_default()
                    .endpoint
                    .insert(key.clone());
            }
        }
        leads
    }

    /// PTR: a service's own address alone, else the services whose endpoint it is.
    fn check_names(&mut self) {
        let leads = self.leads();
        for (address, leads) in &leads {
            if leads.own.union(&leads.endpoint).count() > 8 {
                self.crowded.insert(*address);
            }
        }
        for number in 0..=255 {
            for family in [Family::V4, Family::V6] {
                let address = addresses(family, &[number])[0];
                let expected = leads
                    .get(&address)
                    .map_or(BTreeSet::new(), |leads| self.named(leads));
                let found = self.names(&address);
                // "Too many" stays until the next rehash, so it may outlive its cause.
                let unknown = expected.is_empty() || self.crowded.contains(&address);
                assert!(
                    found.as_ref() == Some(&expected) || found.is_none() && unknown,
                    "{address:?}: {found:?} instead of {expected:?}"
                );
            }
        }
    }

    /// Which of the services an address is named after.
    fn named(&self, leads: &Leads) -> BTreeSet<ServiceKey> {
        if !leads.own.is_empty() {
            return leads.own.clone();
        }
        let serves = |key: &&ServiceKey| {
            let body = self.model.services.get(*key);
            matches!(
                body,
                Some(ServiceBody::ClusterIp { .. } | ServiceBody::Headless { .. })
            )
        };
        leads.endpoint.iter().filter(serves).cloned().collect()
    }

    /// The services in the PTR answer; `None`: only DNS can tell.
    fn names(&self, address: &Address) -> Option<BTreeSet<ServiceKey>> {
        let mut room = vec![Name::EMPTY; 64];
        let found = self.reader.read(&LibcOs, &self.path, NOW, |zone| {
            zone.names(address, &mut room)
        });
        let count = match found.unwrap() {
            Found::Answer { count } => count,
            Found::Ask(Ask::NotHeld) => return None,
            other => panic!("{address:?}: {other:?}"),
        };
        let key = |name: &Name| {
            let name = String::from_utf8(name.as_bytes().to_vec()).unwrap();
            let labels: Vec<&str> = name
                .strip_suffix(".svc.cluster.local")
                .unwrap()
                .rsplitn(3, '.')
                .collect();
            ServiceKey::new(labels[1], labels[0]).unwrap()
        };
        Some(room[..count].iter().map(key).collect())
    }
}

/// The records that one address leads to.
#[derive(Default)]
struct Leads {
    own: BTreeSet<ServiceKey>,
    endpoint: BTreeSet<ServiceKey>,
}

/// The order in which the zone keeps endpoints.
fn sorted(mut slice: Slice) -> Slice {
    slice
        .endpoints
        .sort_by_key(|endpoint| (!endpoint.ready, endpoint.address));
    slice
}

fn options(directory: &Path) -> Options {
    let mut options = Options::new(directory, "cluster.local");
    options.initial_bytes = 64 << 10;
    options
}

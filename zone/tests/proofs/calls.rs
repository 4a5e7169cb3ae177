//! Random calls of the writer in a small world: few names and addresses, so that they collide.

use super::{
    asking::{NOW, Question},
    random::Random,
};
use nss_k8s_zone::{
    Address, Config, Endpoint, Entry, Family, Item, MissPolicy, Port, Protocol, ServiceBody,
    ServiceKey, Slice, SliceId, WriteError, Writer,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// The apex of these zones.
pub(crate) const APEX: &str = "cluster.local";
/// Namespaces; nothing is ever in the last.
pub(crate) const NAMESPACES: [&str; 3] = ["shop", "prod", "empty"];
const SERVICES: [&str; 5] = ["api", "db", "web", "cache", "old"];
const HOSTNAMES: [&str; 3] = ["db-0", "db-1", "db-2"];

/// One call of the writer: what is committed as one change.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    /// A namespace comes.
    PutNamespace(String),
    /// A namespace goes.
    DeleteNamespace(String),
    /// A service comes or changes.
    PutService(ServiceKey, ServiceBody),
    /// A service goes.
    DeleteService(ServiceKey),
    /// A slice comes or changes.
    PutSlice(ServiceKey, SliceId, Slice),
    /// A slice goes.
    DeleteSlice(ServiceKey, SliceId),
    /// Another configuration.
    Configure(Config),
    /// The kill switch, on and off.
    Disable,
    /// See `Disable`.
    Enable,
    /// The clock ticks: space is given back.
    Advance,
}

impl Call {
    /// The namespace of what it puts.
    pub(crate) fn puts_into(&self) -> Option<&str> {
        match self {
            Self::PutNamespace(name) => Some(name),
            Self::PutService(key, _) | Self::PutSlice(key, ..) => Some(key.namespace()),
            _ => None,
        }
    }

    /// Makes the call; true when it changed something.
    pub(crate) fn make(
        &self,
        writer: &mut Writer,
        clock: &mut Instant,
    ) -> Result<bool, WriteError> {
        match self {
            Self::PutNamespace(name) => writer.put_namespace(name),
            Self::DeleteNamespace(name) => writer.delete_namespace(name),
            Self::PutService(key, body) => writer.put_service(key, body),
            Self::DeleteService(key) => writer.delete_service(key),
            Self::PutSlice(key, id, slice) => writer.put_slice(key, *id, slice),
            Self::DeleteSlice(key, id) => writer.delete_slice(key, *id),
            Self::Configure(config) => writer.configure(config),
            Self::Disable => {
                writer.disable();
                Ok(true)
            }
            Self::Enable => {
                writer.enable();
                Ok(true)
            }
            Self::Advance => {
                *clock += Duration::from_millis(150);
                writer.advance(*clock);
                writer.beat(NOW);
                Ok(true)
            }
        }
    }
}

/// `count` random calls, in bursts: a crowd of services comes and goes now and then, so that the
/// index must grow; with `grows`, the file, too.
pub(crate) fn random_calls(random: &mut Random, count: usize, grows: bool) -> Vec<Call> {
    let mut calls = vec![
        Call::PutNamespace(NAMESPACES[0].to_owned()),
        Call::PutNamespace(NAMESPACES[1].to_owned()),
    ];
    let mut grown = !grows;
    while calls.len() < count {
        if calls.len() > count / 2 && !grown {
            grown = true;
            // Three of them do not fit into the smallest file.
            let slices = (0..3).map(|id| (key(random), SliceId(id), slice_of(random, 500)));
            calls.extend(slices.map(|(key, id, slice)| Call::PutSlice(key, id, slice)));
        } else if random.once_in(60) {
            crowd(random, &mut calls);
        } else {
            calls.push(random_call(random));
        }
    }
    calls
}

/// One call that is not a crowd's.
fn random_call(random: &mut Random) -> Call {
    let namespace = (*random.pick(&NAMESPACES)).to_owned();
    let key = key(random);
    match random.below(40) {
        0..=1 => Call::PutNamespace(namespace),
        2 => Call::DeleteNamespace(namespace),
        3..=9 => Call::PutService(key, body(random)),
        10..=12 => Call::DeleteService(key),
        13..=26 => Call::PutSlice(key, SliceId(random.below(3)), slice(random)),
        27..=30 => Call::DeleteSlice(key, SliceId(random.below(3))),
        31 => Call::Configure(config(random)),
        32 if random.once_in(3) => Call::Disable,
        33..=34 => Call::Enable,
        _ => Call::Advance,
    }
}

/// Forty small services come, and half of them go again.
fn crowd(random: &mut Random, calls: &mut Vec<Call>) {
    let first = random.below(4) * 20;
    for number in first..first + 40 {
        let body = ServiceBody::ClusterIp {
            addresses: vec![Address::v4([10, 97, 0, number as u8])],
            ports: Vec::new(),
        };
        calls.push(Call::PutService(crowd_key(number), body));
        if random.once_in(16) {
            calls.push(Call::Advance);
        }
    }
    for number in (first..first + 40).filter(|number| number % 2 == 0) {
        calls.push(Call::DeleteService(crowd_key(number)));
    }
}

/// A member of the crowd.
fn crowd_key(number: u64) -> ServiceKey {
    ServiceKey::new(&format!("crowd-{number}"), NAMESPACES[1]).expect("two labels")
}

/// One of the ten names that everything happens to.
fn key(random: &mut Random) -> ServiceKey {
    let namespace = NAMESPACES[random.below(2) as usize];
    ServiceKey::new(SERVICES[random.below(5) as usize], namespace).expect("two labels")
}

/// An IPv4 address, of 24.
fn v4(random: &mut Random) -> Address {
    Address::v4([10, 96, 0, random.below(24) as u8])
}

/// An IPv6 address, of 24.
fn v6(random: &mut Random) -> Address {
    let mut octets = [0; 16];
    octets[0] = 0xfd;
    octets[15] = random.below(24) as u8;
    Address::v6(octets)
}

/// No ports, or up to two.
fn ports(random: &mut Random) -> Vec<Port> {
    let named = |name: &str, protocol, number| Port {
        name: name.to_owned(),
        protocol,
        number,
    };
    let all = [
        named("web", Protocol::Tcp, 80),
        named("dns", Protocol::Udp, 53),
    ];
    all[..random.below(3) as usize].to_vec()
}

/// A service of any type.
fn body(random: &mut Random) -> ServiceBody {
    match random.below(8) {
        0..=3 => {
            let mut addresses = vec![v4(random)];
            if random.once_in(2) {
                addresses.push(v6(random));
            }
            ServiceBody::ClusterIp {
                addresses,
                ports: ports(random),
            }
        }
        4..=6 => ServiceBody::Headless {
            ports: ports(random),
        },
        _ => ServiceBody::External {
            target: match random.below(3) {
                0 => "www.example.com".to_owned(),
                1 => format!("{}.svc.{APEX}", key(random)),
                _ => "api.shop.svc.cluster.local.".to_owned(),
            },
        },
    }
}

/// A slice of up to 40 endpoints; seldom one of up to 400.
fn slice(random: &mut Random) -> Slice {
    let count = match random.below(12) {
        0 => 0,
        1 if random.once_in(3) => random.below(400),
        1..=4 => random.below(40),
        _ => 1 + random.below(6),
    };
    slice_of(random, count)
}

/// A slice of so many endpoints (or some less, where they would be equal).
fn slice_of(random: &mut Random, count: u64) -> Slice {
    let family = if random.once_in(3) {
        Family::V6
    } else {
        Family::V4
    };
    let mut endpoints: BTreeSet<Endpoint> = BTreeSet::new();
    for number in 0..count {
        let mut address = match family {
            Family::V4 => v4(random),
            Family::V6 => v6(random),
        };
        if count > 40 {
            let [high, low] = (number as u16).to_be_bytes();
            let end = address.as_octets().len();
            address.octets[end - 2..end].copy_from_slice(&[high | 0x80, low]);
        }
        endpoints.insert(Endpoint {
            address,
            hostname: random
                .once_in(3)
                .then(|| (*random.pick(&HOSTNAMES)).to_owned()),
            ready: !random.once_in(6),
            shadowed: random.once_in(12),
            topology_zone: random
                .once_in(4)
                .then(|| format!("zone-{}", random.below(3))),
        });
    }
    Slice {
        family,
        ports: ports(random),
        endpoints: endpoints.into_iter().collect(),
    }
}

/// A configuration under which a wrong denial would show.
fn config(random: &mut Random) -> Config {
    Config {
        ptr_authoritative: random.once_in(2),
        endpoints_held: random.once_in(2),
        miss_policy: if random.once_in(3) {
            MissPolicy::Ask
        } else {
            MissPolicy::NxDomain
        },
        cluster_dns: (0..random.below(4)).map(|_| v4(random)).collect(),
        excepted_suffixes: if random.once_in(4) {
            vec!["old.prod.svc.cluster.local".to_owned()]
        } else {
            Vec::new()
        },
        ..Config::default()
    }
}

/// Every question that the calls can change the answer to.
pub(crate) fn questions() -> Vec<Question> {
    let mut names = vec![
        APEX.to_owned(),
        format!("svc.{APEX}"),
        format!("www.example.com.svc.{APEX}"),
    ];
    for namespace in NAMESPACES {
        names.push(format!("{namespace}.svc.{APEX}"));
        names.push(format!("10-1-2-3.{namespace}.pod.{APEX}"));
    }
    for namespace in &NAMESPACES[..2] {
        for service in SERVICES {
            let owner = format!("{service}.{namespace}.svc.{APEX}");
            names.extend(HOSTNAMES.map(|hostname| format!("{hostname}.{owner}")));
            names.extend(["10-96-0-3", "fd00--7"].map(|label| format!("{label}.{owner}")));
            names.extend(["_web._tcp", "_dns._udp"].map(|port| format!("{port}.{owner}")));
            names.push(owner);
        }
    }
    for number in [0, 1, 21, 40, 59, 60, 99] {
        names.push(format!("{}.svc.{APEX}", crowd_key(number)));
    }
    let mut questions: Vec<Question> = names.into_iter().map(Question::Addresses).collect();
    for last in [0, 1, 2, 3, 5, 8, 13, 23] {
        questions.push(Question::Names(Address::v4([10, 96, 0, last])));
        questions.push(Question::Names(Address::v4([10, 97, 0, last * 4])));
        let mut octets = [0; 16];
        octets[0] = 0xfd;
        octets[15] = last;
        questions.push(Question::Names(Address::v6(octets)));
    }
    questions
}

/// Everything that a zone holds, in an order of its own.
pub(crate) fn held(writer: &Writer) -> (BTreeSet<String>, BTreeMap<ServiceKey, Service>) {
    let (mut namespaces, mut services) = (BTreeSet::new(), BTreeMap::new());
    for entry in writer.entries() {
        match entry {
            Entry::Namespace(name) => assert!(namespaces.insert(name)),
            Entry::Service { key, body, slices } => {
                assert!(services.insert(key, Service { body, slices }).is_none());
            }
        }
    }
    (namespaces, services)
}

/// A service as it is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// Its own record.
    pub(crate) body: Option<ServiceBody>,
    /// Its slices.
    pub(crate) slices: BTreeMap<SliceId, Slice>,
}

/// Brings `writer` to what `other` holds and is configured to, as a list after a restart does.
pub(crate) fn follow(writer: &mut Writer, other: &Writer) -> Result<(), WriteError> {
    let (namespaces, services) = held(other);
    writer.configure(&other.config())?;
    for name in &namespaces {
        writer.put_namespace(name)?;
    }
    for (key, service) in &services {
        if let Some(body) = &service.body {
            writer.put_service(key, body)?;
        }
        for (id, slice) in &service.slices {
            writer.put_slice(key, *id, slice)?;
        }
    }
    writer.retain(|item| match item {
        Item::Namespace(name) => namespaces.contains(name),
        Item::Service(key) => services
            .get(key)
            .is_some_and(|service| service.body.is_some()),
        Item::Slice(key, id) => services
            .get(key)
            .is_some_and(|service| service.slices.contains_key(&id)),
    })?;
    if other.state() == nss_k8s_zone::State::Disabled {
        writer.disable();
    } else {
        writer.enable();
    }
    Ok(())
}

//! What a zone must say of a cluster, and what a zone says.

use super::{Cluster, Kind};
use crate::watcher::Watcher;
use anyhow::{Context, Result, bail};
use nss_k8s_zone::{Dump, Entry, Family, ServiceBody};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    time::Duration,
};

/// What is said of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Its own address, unless it is headless.
    pub address: Option<Ipv4Addr>,
    /// The endpoints that are answered, and their host names.
    pub ready: BTreeSet<(Ipv4Addr, Option<String>)>,
}

/// What is said of each service, by namespace and name.
pub type Truth = BTreeMap<(String, String), Told>;

/// What must be said of each service, by namespace and name. Changes are counted by `generation`. Unless `all`, only
/// headless services have endpoints.
pub fn expected(cluster: &Cluster, all: bool, generation: impl Fn(Kind, usize) -> u32) -> Truth {
    let mut expected = BTreeMap::new();
    for service in 0..cluster.count(Kind::Services) {
        if !cluster.exists(Kind::Services, service, generation(Kind::Services, service)) {
            continue;
        }
        let headless = cluster.is_headless(service);
        let mut told = Told {
            address: (!headless).then(|| cluster.cluster_ip(service)),
            ready: BTreeSet::new(),
        };
        for slice in cluster.slices_of(service).filter(|_| all || headless) {
            let generation = generation(Kind::Slices, slice);
            if !cluster.exists(Kind::Slices, slice, generation) {
                continue;
            }
            let endpoints = cluster.endpoints(slice, generation);
            let ready = endpoints.into_iter().filter(|endpoint| endpoint.ready);
            told.ready
                .extend(ready.map(|endpoint| (endpoint.address, endpoint.hostname)));
        }
        let namespace = cluster.namespace(cluster.namespace_of(service));
        expected.insert((namespace, cluster.service(service)), told);
    }
    expected
}

/// Waits until an agent's whole zone says what it must, and nothing else: every service, address and host name.
pub fn require(agent: &Watcher, wanted: &Truth, patience: Duration) -> Result<()> {
    let mut difference = String::new();
    let same = agent.wait("the zone to be right", patience, || {
        let told = told(&agent.dump()?)?;
        let differs = |(key, it): &(&_, &_)| told.get(*key) != Some(*it);
        let wrong = wanted.iter().filter(differs).count();
        let first = wanted.iter().find(differs);
        let first = first.map(|(key, it)| format!("{key:?}: {:?}, not {it:?}", told.get(key)));
        let more = told.keys().find(|key| !wanted.contains_key(*key));
        difference = format!(
            "{} services, not {}; {wrong} differ: {first:?}; one too many: {more:?}",
            told.len(),
            wanted.len()
        );
        Ok(wrong == 0 && told.len() == wanted.len())
    });
    same.with_context(|| difference)
}

/// What a zone says of each service, by namespace and name.
pub fn told(zone: &Dump) -> Result<Truth> {
    let mut all = BTreeMap::new();
    for entry in zone.entries() {
        let Entry::Service { key, body, slices } = entry else {
            continue;
        };
        let mut told = Told::default();
        match body {
            Some(ServiceBody::ClusterIp { addresses, .. }) => {
                let [address] = addresses.as_slice() else {
                    bail!("{key:?}: {addresses:?}");
                };
                told.address = Some(v4(address)?);
            }
            Some(ServiceBody::Headless { .. }) => {}
            other => bail!("{key:?}: {other:?}"),
        }
        let endpoints = slices.values().flat_map(|slice| &slice.endpoints);
        for endpoint in endpoints.filter(|endpoint| endpoint.ready) {
            let one = (v4(&endpoint.address)?, endpoint.hostname.clone());
            if !told.ready.insert(one) {
                bail!("{key:?}: twice {endpoint:?}");
            }
        }
        let key = (key.namespace().to_owned(), key.service().to_owned());
        all.insert(key, told);
    }
    Ok(all)
}

fn v4(address: &nss_k8s_zone::Address) -> Result<Ipv4Addr> {
    match (address.family, address.octets) {
        (Family::V4, [a, b, c, d, ..]) => Ok(Ipv4Addr::new(a, b, c, d)),
        _ => bail!("{address:?}"),
    }
}

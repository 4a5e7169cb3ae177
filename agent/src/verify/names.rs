//! Which names are looked at: one question about each thing that was taken from the zone.

use super::said::Asked;
use hickory_proto::rr::RecordType;
use nss_k8s_zone::{
    Address, Endpoint, Entry, Family, Port, Sample, ServiceBody, ServiceKey, Slice,
};
use std::{
    cell::Cell,
    hash::{BuildHasher, RandomState},
};

/// Chooses at random. The standard library's hash keys are random; that is enough here.
pub(super) struct Chooser {
    keys: RandomState,
    drawn: Cell<u64>,
    /// Some zones lack names that others have: what is absent from one, and the names of an address, prove
    /// nothing.
    has_views: bool,
}

impl Chooser {
    /// Another order every time.
    pub(super) fn new(has_views: bool) -> Self {
        Self {
            keys: RandomState::new(),
            drawn: Cell::new(0),
            has_views,
        }
    }

    /// A number below `count`; 0 for none.
    pub(super) fn below(&self, count: usize) -> usize {
        let number = usize::try_from(self.draw() >> 1).unwrap_or(0);
        number.checked_rem(count).unwrap_or(0)
    }

    fn draw(&self) -> u64 {
        self.drawn.set(self.drawn.get().wrapping_add(1));
        self.keys.hash_one(self.drawn.get())
    }

    /// One question for each entry.
    pub(super) fn questions(&self, sample: &Sample) -> Vec<Asked> {
        let apex = sample.apex();
        let entries = sample.entries().iter();
        entries
            .filter_map(|entry| self.question(entry, apex))
            .collect()
    }

    fn question(&self, entry: &Entry, apex: &str) -> Option<Asked> {
        let mut all = Vec::new();
        match entry {
            Entry::Namespace(namespace) => {
                let name = format!("{namespace}.svc.{apex}");
                all.extend(Asked::new(&name, RecordType::A, apex));
                if !self.has_views {
                    let random = format!("nss-k8s-verify-{:08x}", self.draw() as u32);
                    let names = [
                        format!("{random}.{namespace}.svc.{apex}"),
                        format!("{random}.svc.{apex}"),
                        format!("{namespace}.{random}.svc.{apex}"),
                    ];
                    let absent = |name: &String| Asked::new(name, RecordType::A, apex);
                    all.extend(names.iter().filter_map(absent));
                }
            }
            Entry::Service { key, body, slices } => {
                let name = format!("{}.{}.svc.{apex}", key.service(), key.namespace());
                all.extend(Asked::new(&name, RecordType::A, apex));
                all.extend(Asked::new(&name, RecordType::AAAA, apex));
                match body.as_ref()? {
                    ServiceBody::ClusterIp { addresses, ports } => {
                        all.extend(self.ports(ports, &name, apex));
                        all.extend(self.pointer(addresses, apex));
                    }
                    ServiceBody::Headless { .. } => {
                        let slices: Vec<&Slice> = slices.values().collect();
                        let slice = slices.get(self.below(slices.len()));
                        if let Some(slice) = slice {
                            all.extend(self.ports(&slice.ports, &name, apex));
                            all.extend(self.endpoint(key, slice, apex));
                        }
                    }
                    ServiceBody::External { .. } => {}
                }
            }
        }
        let chosen = self.below(all.len());
        all.into_iter().nth(chosen)
    }

    /// SRV of one of the ports that have names.
    fn ports(&self, ports: &[Port], service: &str, apex: &str) -> Option<Asked> {
        let named: Vec<&Port> = ports.iter().filter(|port| !port.name.is_empty()).collect();
        let port = named.get(self.below(named.len()))?;
        let protocol = format!("{:?}", port.protocol).to_ascii_lowercase();
        let name = format!("_{}._{protocol}.{service}", port.name);
        Asked::new(&name.to_ascii_lowercase(), RecordType::SRV, apex)
    }

    /// The name of one of the endpoints that have one, or its address.
    fn endpoint(&self, key: &ServiceKey, slice: &Slice, apex: &str) -> Option<Asked> {
        let ready = |endpoint: &&Endpoint| endpoint.ready && endpoint.hostname.is_some();
        let named: Vec<&Endpoint> = slice.endpoints.iter().filter(ready).collect();
        let endpoint = named.get(self.below(named.len()))?;
        if self.below(2) == 0 {
            return self.pointer(&[endpoint.address], apex);
        }
        let host = endpoint.hostname.as_ref()?;
        let (service, namespace) = (key.service(), key.namespace());
        let kind = match slice.family {
            Family::V4 => RecordType::A,
            Family::V6 => RecordType::AAAA,
        };
        let name = format!("{host}.{service}.{namespace}.svc.{apex}");
        Asked::new(&name, kind, apex)
    }

    /// The names of one of the addresses.
    fn pointer(&self, addresses: &[Address], apex: &str) -> Option<Asked> {
        let address = addresses.get(self.below(addresses.len()))?;
        if self.has_views {
            return None;
        }
        Asked::pointer(*address, apex)
    }
}

//! What the endpoints of a slice are after so many changes.

use super::Cluster;
use core::ops::Range;
use nss_k8s_zone::Address;
use std::net::Ipv4Addr;

/// An endpoint's pod has another address each time it is replaced; after so many the first one comes again.
const ROTATIONS: u32 = 4;

/// One endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Which one of its service.
    pub ordinal: usize,
    /// Its address.
    pub address: Ipv4Addr,
    /// Whether it is to be used.
    pub ready: bool,
    /// Its host name, where the service is headless.
    pub hostname: Option<String>,
    /// How often its pod has been replaced.
    pub replaced: u32,
}

impl Cluster {
    /// The endpoints of a slice. Changes take turns: the first concerns the slice's first endpoint. An endpoint turns
    /// unready by one change, and is replaced by a ready one by its next.
    pub fn endpoints(&self, slice: usize, generation: u32) -> Vec<Endpoint> {
        let (service, part) = self.service_of(slice);
        let ordinals = self.ordinals(service, part);
        let count = ordinals.len() as u32;
        // Those that come and go are as they were.
        let generation = if self.comes_and_goes(service) {
            0
        } else {
            generation
        };
        let of = |(at, ordinal): (usize, usize)| {
            let changes = (generation + count - 1 - at as u32) / count;
            let replaced = changes / 2;
            Endpoint {
                ordinal,
                address: self.address(service, ordinal, replaced),
                ready: changes.is_multiple_of(2),
                hostname: self
                    .is_headless(service)
                    .then(|| format!("{}-{ordinal}", self.service(service))),
                replaced,
            }
        };
        ordinals.enumerate().map(of).collect()
    }

    /// The endpoint of a slice that its last change concerned.
    pub fn changed(&self, slice: usize, generation: u32) -> Endpoint {
        let mut all = self.endpoints(slice, generation);
        let at = generation.saturating_sub(1) as usize % all.len();
        all.swap_remove(at)
    }

    /// What a zone with all slices shows of a slice's last change: the endpoint's absolute name, and its address
    /// unless it has just turned unready.
    pub fn shows(&self, slice: usize, generation: u32) -> (String, Option<Address>) {
        let endpoint = self.changed(slice, generation);
        let [a, b, c, d] = endpoint.address.octets();
        let label = endpoint.hostname;
        let label = label.unwrap_or_else(|| format!("{a}-{b}-{c}-{d}"));
        let service = self.name_of(self.service_of(slice).0);
        let address = endpoint.ready.then(|| Address::v4([a, b, c, d]));
        (format!("{label}.{service}"), address)
    }

    fn ordinals(&self, service: usize, part: usize) -> Range<usize> {
        let all = self.endpoints_of(service);
        let start = part * self.shape().per_slice;
        start..(start + self.shape().per_slice).min(all)
    }

    fn address(&self, service: usize, ordinal: usize, replaced: u32) -> Ipv4Addr {
        let shape = self.shape();
        let slot = match service == self.large_service() {
            true => (shape.services + shape.spare) * shape.endpoints + ordinal,
            false => service * shape.endpoints + ordinal,
        };
        let turned = (replaced % ROTATIONS) << Self::SLOTS.trailing_zeros();
        Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 128, 0, 0)) | turned | slot as u32)
    }
}

#[cfg(test)]
mod tests {
    use crate::scale::{Cluster, Kind, Shape};
    use std::collections::BTreeSet;

    #[test]
    fn no_two_endpoints_have_the_same_address() {
        let cluster = Cluster::new(Shape::of(500));
        let mut seen = BTreeSet::new();
        for slice in 0..cluster.count(Kind::Slices) {
            // As many changes as replace every pod of a small slice, and some of a large one.
            for generation in [0, 30] {
                let all = cluster.endpoints(slice, generation);
                let (service, _) = cluster.service_of(slice);
                let moved = all.iter().filter(|it| generation == 0 || it.replaced > 0);
                for endpoint in moved {
                    assert!(seen.insert(endpoint.address), "{service} {endpoint:?}");
                }
            }
        }
        assert!(seen.len() > 2 * 15 * 499);
    }

    #[test]
    fn a_change_concerns_one_endpoint() {
        let cluster = Cluster::new(Shape::of(100));
        for slice in [0, 3, 4, 53, 60] {
            for generation in 1..200 {
                let before = cluster.endpoints(slice, generation - 1);
                let after = cluster.endpoints(slice, generation);
                let mut differ = before.iter().zip(&after).filter(|(a, b)| a != b);
                let (old, new) = differ.next().unwrap();
                assert!(differ.next().is_none());
                assert_eq!(*new, cluster.changed(slice, generation));
                assert_ne!(old.ready, new.ready);
                assert_eq!(old.address != new.address, new.ready);
            }
        }
    }
}

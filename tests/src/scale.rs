//! Clusters of any size, made from numbers: what each object is follows from a seed, the object's index and how often it
//! has changed. Nothing is held in memory but what changed, so that 100,000 services with a million endpoints cost a few
//! megabytes, and two runs see the same cluster.
//!
//! ```text
//!   Shape ──► Cluster: index, generation ──► object      what an API server says (`write`)
//!                │                       └─► endpoints   what a zone must say (`truth`)
//!                └─► Changes: a stream of what happens    pod replaced, endpoint unready, service made or removed
//! ```
//!
//! Namespaces, services and slices are numbered in the order in which an API server lists them.

mod changes;
mod endpoints;
mod objects;
mod truth;

pub use changes::{Change, Changes, Mix};
pub use endpoints::Endpoint;
pub use objects::{Form, Stamp};
pub use truth::{Told, Truth, expected, require, told};

use std::net::Ipv4Addr;

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// v1 Namespaces.
    Namespaces,
    /// v1 Services.
    Services,
    /// discovery.k8s.io/v1 EndpointSlices.
    Slices,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Namespaces, Self::Services, Self::Slices];

    /// The path of its resource.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Namespaces => "/api/v1/namespaces",
            Self::Services => "/api/v1/services",
            Self::Slices => "/apis/discovery.k8s.io/v1/endpointslices",
        }
    }
}

/// The size and the make of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What everything follows from.
    pub seed: u64,
    /// Services that are there at the beginning.
    pub services: usize,
    /// More that come and go.
    pub spare: usize,
    /// Endpoints of a service.
    pub endpoints: usize,
    /// Every so many services one is headless, with host names, as of a StatefulSet.
    pub headless_every: usize,
    /// Endpoints of the first headless service.
    pub large: usize,
    /// The most endpoints of a slice; the controller's default is 100.
    pub per_slice: usize,
    /// Namespaces besides `kube-system`.
    pub namespaces: usize,
    /// Services of the fullest namespace, at most half of all.
    pub crowded: usize,
}

impl Shape {
    /// So many services with 15 endpoints each, a fifth of them headless, one of 5,000 endpoints; as many
    /// namespaces up to 10,000, half of the services or 5,000 in one of them.
    pub fn of(services: usize) -> Self {
        Self {
            seed: 1,
            services,
            spare: services / 100 + 1,
            endpoints: 15,
            headless_every: 5,
            large: 5_000,
            per_slice: 100,
            namespaces: services.clamp(2, 10_000),
            crowded: 5_000,
        }
    }
}

/// A cluster: what each of its objects is.
#[derive(Clone, Debug)]
pub struct Cluster {
    shape: Shape,
    /// Services in the fullest namespace.
    crowded: usize,
}

impl Cluster {
    /// Addresses of endpoints: several rotations of this many.
    const SLOTS: usize = 1 << 21;

    /// A cluster of that shape. Panics where it has more endpoints than there are addresses.
    pub fn new(shape: Shape) -> Self {
        assert!(shape.services > shape.headless_every && shape.headless_every > 1);
        assert!(shape.endpoints > 0 && shape.per_slice > 0 && shape.namespaces > 1);
        let slots = (shape.services + shape.spare) * shape.endpoints + shape.large;
        assert!(slots <= Self::SLOTS, "more endpoints than addresses");
        let crowded = shape.crowded.min(shape.services / 2);
        Self { shape, crowded }
    }

    /// Its shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// How many objects of a kind there are, those that come and go included.
    pub fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Namespaces => self.shape.namespaces + 1,
            Kind::Services => self.shape.services + self.shape.spare,
            Kind::Slices => self.slices_of(self.count(Kind::Services)).start,
        }
    }

    /// Whether an object exists after so many changes: one of those that come and go is made by one
    /// change and removed by the next.
    pub fn exists(&self, kind: Kind, index: usize, generation: u32) -> bool {
        let service = match kind {
            Kind::Namespaces => return true,
            Kind::Services => index,
            Kind::Slices => self.service_of(index).0,
        };
        !self.comes_and_goes(service) || generation % 2 == 1
    }

    /// Whether a service is one of those that come and go.
    pub fn comes_and_goes(&self, service: usize) -> bool {
        service >= self.shape.services
    }

    /// The name of a namespace.
    pub fn namespace(&self, index: usize) -> String {
        match index.checked_sub(1) {
            None => "kube-system".to_owned(),
            Some(team) => format!("team-{team:05}"),
        }
    }

    /// The namespace of a service, by its index.
    pub fn namespace_of(&self, service: usize) -> usize {
        let others = self.shape.services - self.crowded - 1;
        match service {
            0 => 0,
            _ if service <= self.crowded => 1,
            _ if self.comes_and_goes(service) => self.shape.namespaces,
            _ => 2 + (service - self.crowded - 1) * (self.shape.namespaces - 1) / others.max(1),
        }
    }

    /// The name of a service. The first one is the cluster's DNS.
    pub fn service(&self, index: usize) -> String {
        match index {
            0 => "kube-dns".to_owned(),
            _ => format!("service-{index:06}"),
        }
    }

    /// The absolute name of a service.
    pub fn name_of(&self, service: usize) -> String {
        let namespace = self.namespace(self.namespace_of(service));
        format!("{}.{namespace}.svc.cluster.local", self.service(service))
    }

    /// Whether a service is headless.
    pub fn is_headless(&self, service: usize) -> bool {
        service % self.shape.headless_every == self.shape.headless_every - 1
    }

    /// The address of a service that is not headless.
    pub fn cluster_ip(&self, service: usize) -> Ipv4Addr {
        let base = u32::from(Ipv4Addr::new(10, 96, 0, 10));
        Ipv4Addr::from(base + service as u32)
    }

    /// The service that has more endpoints than all others.
    pub fn large_service(&self) -> usize {
        self.shape.headless_every - 1
    }

    /// How many endpoints a service has.
    pub fn endpoints_of(&self, service: usize) -> usize {
        match service == self.large_service() {
            true => self.shape.large.max(self.shape.endpoints),
            false => self.shape.endpoints,
        }
    }

    /// The slices of a service, by index.
    pub fn slices_of(&self, service: usize) -> core::ops::Range<usize> {
        let of = |service| self.endpoints_of(service).div_ceil(self.shape.per_slice);
        let more = of(self.large_service()) - of(0);
        let start = service * of(0)
            + if service > self.large_service() {
                more
            } else {
                0
            };
        start..start + of(service)
    }

    /// The service of a slice, and which part of its endpoints the slice holds.
    pub fn service_of(&self, slice: usize) -> (usize, usize) {
        let large = self.slices_of(self.large_service());
        let each = self.shape.endpoints.div_ceil(self.shape.per_slice);
        if large.contains(&slice) {
            return (self.large_service(), slice - large.start);
        }
        match slice < large.start {
            true => (slice / each, slice % each),
            false => (
                self.large_service() + 1 + (slice - large.end) / each,
                (slice - large.end) % each,
            ),
        }
    }

    /// The labels of an object.
    pub fn labels(&self, kind: Kind, index: usize) -> Vec<(&'static str, String)> {
        match kind {
            Kind::Namespaces => vec![("kubernetes.io/metadata.name", self.namespace(index))],
            Kind::Services => self.labels_of(index),
            Kind::Slices => {
                let service = self.service_of(index).0;
                let mut labels = self.labels_of(service);
                labels.push((
                    "endpointslice.kubernetes.io/managed-by",
                    "endpointslice-controller.k8s.io".to_owned(),
                ));
                labels.push(("kubernetes.io/service-name", self.service(service)));
                if self.is_headless(service) {
                    labels.push(("service.kubernetes.io/headless", String::new()));
                }
                labels
            }
        }
    }

    /// The labels of a service, which its slices have too.
    fn labels_of(&self, service: usize) -> Vec<(&'static str, String)> {
        let mut labels = vec![
            ("app.kubernetes.io/instance", self.service(service)),
            ("app.kubernetes.io/managed-by", "Helm".to_owned()),
            ("app.kubernetes.io/name", "server".to_owned()),
        ];
        if service == 0 {
            labels.push(("k8s-app", "kube-dns".to_owned()));
        }
        labels
    }

    /// A number that looks like chance, the same for the same words.
    fn chance(&self, words: &[u64]) -> u64 {
        let mix = |state: u64, word: &u64| {
            // SplitMix64's finalizer.
            let mut z = (state ^ word).wrapping_add(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        };
        words.iter().fold(self.shape.seed, mix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn cluster() -> Cluster {
        Cluster::new(Shape::of(1_000))
    }

    #[test]
    fn slices_and_services_know_each_other() {
        let cluster = cluster();
        let mut next = 0;
        for service in 0..cluster.count(Kind::Services) {
            let slices = cluster.slices_of(service);
            assert_eq!(slices.start, next);
            next = slices.end;
            for (part, slice) in slices.enumerate() {
                assert_eq!(cluster.service_of(slice), (service, part));
            }
        }
        assert_eq!(next, cluster.count(Kind::Slices));
        assert_eq!(cluster.slices_of(cluster.large_service()).len(), 50);
    }

    #[test]
    fn names_are_in_the_order_of_an_api_server() {
        let cluster = cluster();
        let names: Vec<_> = (0..cluster.count(Kind::Services))
            .map(|service| {
                let namespace = cluster.namespace(cluster.namespace_of(service));
                (namespace, cluster.service(service))
            })
            .collect();
        assert!(names.is_sorted());
        let namespaces = cluster.count(Kind::Namespaces);
        let names: Vec<_> = (0..namespaces).map(|it| cluster.namespace(it)).collect();
        assert!(names.is_sorted());
        let used: BTreeSet<_> = (0..cluster.count(Kind::Services))
            .map(|service| cluster.namespace_of(service))
            .collect();
        assert!(used.len() > namespaces / 3, "{}", used.len());
        assert!(used.iter().all(|namespace| *namespace < namespaces));
    }

    #[test]
    fn a_fifth_is_headless() {
        let cluster = cluster();
        let headless = (0..1_000).filter(|service| cluster.is_headless(*service));
        assert_eq!(headless.count(), 200);
        assert!(!cluster.is_headless(0), "the cluster's DNS");
    }
}

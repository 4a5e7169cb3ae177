//! What happens in a cluster, one thing after the other.

use super::{Cluster, Kind};

/// One thing that happens. Objects are named by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// An endpoint of this slice turned unready, or its pod was replaced.
    Endpoint(usize),
    /// A service and its slices were made, or removed if they were there.
    Service(usize),
}

/// What may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mix {
    /// Only slices of headless services change.
    pub headless: bool,
    /// Of 1,000 changes, so many make or remove a service.
    pub services: u64,
}

impl Mix {
    /// Any slice, and a few services.
    pub const ALL: Self = Self {
        headless: false,
        services: 10,
    };
    /// What an agent sees that watches slices of headless services.
    pub const HEADLESS: Self = Self {
        headless: true,
        services: 10,
    };
}

/// An endless stream of changes, the same for the same cluster.
#[derive(Clone, Debug)]
pub struct Changes {
    cluster: Cluster,
    mix: Mix,
    next: u64,
}

impl Changes {
    /// From the first change on.
    pub fn new(cluster: Cluster, mix: Mix) -> Self {
        Self {
            cluster,
            mix,
            next: 0,
        }
    }
}

impl Iterator for Changes {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        let shape = self.cluster.shape();
        self.next += 1;
        let chance = |word: u64, below: usize| {
            (self.cluster.chance(&[self.next, word]) % below.max(1) as u64) as usize
        };
        if shape.spare > 0 && (chance(1, 1_000) as u64) < self.mix.services {
            let service = shape.services + chance(2, shape.spare);
            return Some(Change::Service(service));
        }
        let slice = match self.mix.headless {
            false => {
                let there = self.cluster.slices_of(shape.services).start;
                chance(3, there)
            }
            true => {
                let headless = shape.services / shape.headless_every;
                let service =
                    chance(3, headless) * shape.headless_every + self.cluster.large_service();
                let slices = self.cluster.slices_of(service);
                slices.start + chance(4, slices.len())
            }
        };
        Some(Change::Endpoint(slice))
    }
}

impl Change {
    /// The objects that it changes, in the order in which controllers write them.
    pub fn objects(self, cluster: &Cluster) -> Vec<(Kind, usize)> {
        match self {
            Self::Endpoint(slice) => vec![(Kind::Slices, slice)],
            Self::Service(service) => {
                let slices = cluster.slices_of(service);
                let slices = slices.map(|slice| (Kind::Slices, slice));
                core::iter::once((Kind::Services, service))
                    .chain(slices)
                    .collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::Shape;

    #[test]
    fn the_same_cluster_has_the_same_history() {
        let cluster = Cluster::new(Shape::of(1_000));
        let take = |mix| -> Vec<Change> {
            let all = Changes::new(cluster.clone(), mix);
            all.take(10_000).collect()
        };
        assert_eq!(take(Mix::ALL), take(Mix::ALL));
        assert_ne!(take(Mix::ALL), take(Mix::HEADLESS));
        let mut other = Shape::of(1_000);
        other.seed = 2;
        let other = Changes::new(Cluster::new(other), Mix::ALL);
        assert_ne!(take(Mix::ALL), other.take(10_000).collect::<Vec<_>>());
    }

    #[test]
    fn changes_are_what_the_mix_says() {
        let cluster = Cluster::new(Shape::of(1_000));
        let (mut services, mut large) = (0, 0);
        for change in Changes::new(cluster.clone(), Mix::HEADLESS).take(20_000) {
            match change {
                Change::Service(service) => {
                    assert!(cluster.comes_and_goes(service));
                    services += 1;
                }
                Change::Endpoint(slice) => {
                    let (service, _) = cluster.service_of(slice);
                    assert!(cluster.is_headless(service) && !cluster.comes_and_goes(service));
                    large += usize::from(service == cluster.large_service());
                }
            }
        }
        assert!((100..300).contains(&services), "{services}");
        assert!((50..150).contains(&large), "{large}");
    }
}

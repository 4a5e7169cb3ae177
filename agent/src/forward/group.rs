//! Which upstreams a question goes to, and in which order.

use super::{
    Question,
    metrics::Metrics,
    settings::{GroupSettings, Policy, Settings},
    upstream::Upstream,
};
use crate::forward::settings::UpstreamSettings;
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// The attempts that one question has at most.
pub(super) const ATTEMPTS: usize = 3;

/// All groups, made of the settings and the addresses of the cluster DNS.
#[derive(Default)]
pub(super) struct Routing {
    /// By zone, in lower case, in wire format.
    zones: HashMap<Box<[u8]>, Arc<Group>>,
    groups: Vec<Arc<Group>>,
}

/// Equal upstreams.
pub(super) struct Group {
    pub(super) upstreams: Vec<Arc<Upstream>>,
    policy: Policy,
    /// It answers for the root, or it is the cluster DNS: what it forwards may come back to us.
    pub(super) is_default: bool,
    /// It is the cluster DNS.
    pub(super) is_cluster: bool,
    /// How often an upstream that failed is probed.
    pub(super) probe_every: Duration,
    next: AtomicUsize,
}

/// The upstreams to ask for one question, best first.
pub(super) struct Order {
    pub(super) upstreams: Vec<Arc<Upstream>>,
    /// None of them is up: they are tried all the same, one of them may have come back.
    pub(super) all_down: bool,
}

impl Routing {
    /// The groups of the settings; upstreams that stay the same are taken over with their
    /// connections and what is known of their health.
    pub(super) fn new(
        settings: &Settings,
        cluster_dns: &[SocketAddr],
        old: &Self,
        metrics: &Metrics,
    ) -> Self {
        let mut kept: Vec<&Arc<Upstream>> = old.upstreams().collect();
        let mut routing = Self::default();
        let fallback = GroupSettings::default();
        let has_root = settings.groups.iter().any(is_default);
        let groups = settings
            .groups
            .iter()
            .chain((!has_root).then_some(&fallback));
        for group in groups {
            let is_cluster = group.upstreams.is_empty();
            let cluster: Vec<UpstreamSettings>;
            let upstreams = if is_cluster {
                cluster = cluster_dns
                    .iter()
                    .copied()
                    .map(UpstreamSettings::tcp)
                    .collect();
                &cluster
            } else {
                &group.upstreams
            };
            let take = |it: &UpstreamSettings| {
                let fits = |old: &&Arc<Upstream>| old.fits(it, group, settings);
                match kept.iter().position(fits) {
                    Some(at) => Arc::clone(kept.swap_remove(at)),
                    None => Arc::new(Upstream::new(it.clone(), group, settings, metrics)),
                }
            };
            let made = Arc::new(Group {
                upstreams: upstreams.iter().map(take).collect(),
                policy: group.policy,
                is_default: is_cluster || is_default(group),
                is_cluster,
                probe_every: group.probe_every,
                next: AtomicUsize::new(0),
            });
            for zone in &group.zones {
                if let Some(question) = Question::of(zone, hickory_proto::rr::RecordType::A) {
                    routing
                        .zones
                        .insert(question.name().into(), Arc::clone(&made));
                }
            }
            routing.groups.push(made);
        }
        routing
    }

    /// The group of the longest zone above the name.
    pub(super) fn group(&self, question: &Question) -> Option<&Arc<Group>> {
        question.suffixes().find_map(|zone| self.zones.get(zone))
    }

    /// All groups.
    pub(super) fn groups(&self) -> impl Iterator<Item = &Arc<Group>> {
        self.groups.iter()
    }

    /// All upstreams of all groups.
    pub(super) fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.groups.iter().flat_map(|group| &group.upstreams)
    }
}

impl Group {
    /// Whom to ask, `ATTEMPTS` entries where there is anybody: healthy ones by the policy, then
    /// again from the first. Those that are down only where all are, those that loop never.
    pub(super) fn order(&self, chance: u64) -> Order {
        let sound = |it: &&Arc<Upstream>| !it.is_looping();
        let up = |it: &&Arc<Upstream>| sound(it) && it.is_up();
        let mut upstreams: Vec<_> = self.upstreams.iter().filter(up).cloned().collect();
        let all_down = upstreams.is_empty();
        if all_down {
            upstreams = self.upstreams.iter().filter(sound).cloned().collect();
        }
        let count = upstreams.len();
        if count > 1 {
            match self.policy {
                Policy::Sequential => {}
                Policy::RoundRobin => {
                    upstreams.rotate_left(self.next.fetch_add(1, Ordering::Relaxed) % count);
                }
                Policy::Random => shuffle(&mut upstreams, chance),
            }
        }
        let upstreams = upstreams
            .iter()
            .cycle()
            .take(if count == 0 { 0 } else { ATTEMPTS });
        Order {
            upstreams: upstreams.cloned().collect(),
            all_down,
        }
    }

    /// Whether nobody is up.
    pub(super) fn is_down(&self) -> bool {
        !self
            .upstreams
            .iter()
            .any(|it| it.is_up() && !it.is_looping())
    }
}

/// Whether it is asked for everything that no other group is.
fn is_default(group: &GroupSettings) -> bool {
    group.zones.iter().any(|zone| zone.is_root())
}

/// A random order, from one random number (Fisher and Yates).
fn shuffle<T>(items: &mut [T], mut chance: u64) {
    for last in (1..items.len()).rev() {
        let choices = last as u64 + 1;
        items.swap(last, (chance % choices) as usize);
        chance /= choices;
    }
}

#[cfg(test)]
mod tests;

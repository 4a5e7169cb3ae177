//! What the publisher tells other tasks, and hears of them.

use super::Publisher;
use crate::{
    config::{Config, GuardMode, TldGuard},
    table::Table,
    top_level::is_top_level,
};
use nss_k8s_zone::ServiceKey;
use std::{collections::BTreeSet, sync::Arc, time::Instant};

/// Which zone a pod of each namespace has, as of some moment.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// Later ones have greater numbers.
    pub generation: u64,
    /// `None` until the namespaces are listed.
    pub table: Option<Arc<Table>>,
}

/// What became of pods' directories.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Linked {
    /// All are linked by the table of this number.
    pub generation: u64,
    /// The namespaces of the pods on this node.
    pub namespaces: BTreeSet<String>,
    /// Zones that a pod had a link to, and has no more.
    pub left: BTreeSet<String>,
}

impl Publisher {
    /// The directories of pods were looked at.
    pub(super) fn follow_pods(&mut self, linked: Linked) {
        self.views.settle(linked.generation, Instant::now());
        let mut changed = self.assigned.on_node.as_ref() != Some(&linked.namespaces);
        self.assigned.on_node = Some(linked.namespaces);
        for view in &linked.left {
            changed |= self.views.renew(view);
        }
        if changed {
            self.assign();
        }
    }

    /// Tells the forwarder where its default upstream is. Not the further addresses of the cluster's
    /// name servers: a node-local one may be ours.
    pub(super) fn tell_cluster_dns(&self, config: &Config) {
        let named = config.forward.upstream_service.as_ref();
        let named = named.or(config.kubernetes.cluster_dns_service.as_ref());
        let key = named.map(|service| ServiceKey::new(&service.name, &service.namespace));
        let Some(key) = key.transpose().ok() else {
            return;
        };
        let Some(addresses) = self.model.upstream(key.as_ref()) else {
            return;
        };
        let addresses: Vec<_> = addresses.iter().map(crate::status::ip).collect();
        self.cluster_dns.send_if_modified(|told| {
            let changed = *told != addresses;
            if changed {
                *told = addresses;
            }
            changed
        });
    }

    /// Finds the namespaces that are named as top-level domains, by another configuration.
    pub(super) fn look_for_top_levels(&mut self) {
        let before = core::mem::take(&mut self.guarded);
        let config = Arc::clone(&self.config.borrow());
        let all = self.model.namespaces().into_iter().flatten();
        let found = all.map(|known| known.name);
        let found = found.filter(|name| is_guarded(&config.tld_guard, name));
        self.guarded = found.map(str::to_owned).collect();
        for name in self.guarded.difference(&before) {
            warn(&config.tld_guard, name);
        }
        self.count_top_levels();
    }

    /// The same, when nothing has changed but these namespaces.
    pub(super) fn follow_top_levels(&mut self, names: &BTreeSet<String>) {
        if self.model.namespaces().is_none() {
            return;
        }
        let config = Arc::clone(&self.config.borrow());
        for name in names {
            if self.model.namespace(name).is_none() {
                self.guarded.remove(name);
            } else if is_guarded(&config.tld_guard, name) && self.guarded.insert(name.clone()) {
                warn(&config.tld_guard, name);
            }
        }
        self.count_top_levels();
    }

    fn count_top_levels(&self) {
        let count = i64::try_from(self.guarded.len()).unwrap_or(i64::MAX);
        self.guarded_figure.set(count);
    }
}

/// Whether the guard looks after a namespace of this name.
fn is_guarded(guard: &TldGuard, name: &str) -> bool {
    let counts = || is_top_level(name) || guard.also.iter().any(|also| also == name);
    guard.mode != GuardMode::Off && counts() && !guard.except.iter().any(|except| except == name)
}

fn warn(guard: &TldGuard, name: &str) {
    let guarded = guard.mode == GuardMode::On;
    tracing::warn!(
        namespace = name,
        guarded,
        "a namespace is named as a top-level domain: names such as \
         example.{name} may mean a service in it"
    );
}

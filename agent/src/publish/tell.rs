//! What the publisher tells other tasks, and hears of them.

use super::Publisher;
use crate::{
    config::{Config, GuardMode},
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

    /// Finds the namespaces that are named as top-level domains.
    pub(super) fn look_for_top_levels(&mut self) {
        let config = Arc::clone(&self.config.borrow());
        let guard = &config.tld_guard;
        let mut found = Vec::new();
        if guard.mode != GuardMode::Off {
            let all = self.model.namespaces().into_iter().flatten();
            let names = all.map(|known| known.name);
            let public = |name: &&str| {
                let counts = is_top_level(name) || guard.also.iter().any(|also| also == name);
                counts && !guard.except.iter().any(|except| except == name)
            };
            found.extend(names.filter(public).map(str::to_owned));
            found.sort();
        }
        for name in found.iter().filter(|name| !self.guarded.contains(name)) {
            let guarded = guard.mode == GuardMode::On;
            tracing::warn!(
                namespace = name,
                guarded,
                "a namespace is named as a top-level domain: names such as \
                 example.{name} may mean a service in it"
            );
        }
        self.guarded_figure
            .set(i64::try_from(found.len()).unwrap_or(i64::MAX));
        self.guarded = found;
    }
}

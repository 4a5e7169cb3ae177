//! Namespaces whose names are top-level domains.

use crate::{
    preflight::{
        cluster::{self, Cluster, NAMESPACES, SERVICES},
        finding::Finding,
    },
    top_level,
};
use std::collections::BTreeMap;

/// Judges the names of namespaces.
pub(super) fn judge(cluster: &Cluster, found: &mut Vec<Finding>) {
    let mut guarded: BTreeMap<&str, Vec<&str>> = cluster
        .all(NAMESPACES)
        .iter()
        .map(cluster::name)
        .filter(|name| top_level::is_top_level(name))
        .map(|name| (name, Vec::new()))
        .collect();
    for service in cluster.all(SERVICES) {
        if let Some(services) = guarded.get_mut(cluster::namespace(service)) {
            services.push(cluster::name(service));
        }
    }
    for (namespace, mut services) in guarded {
        services.sort_unstable();
        let place = format!("Namespace {namespace}");
        let hidden: Vec<String> = services
            .iter()
            .take(5)
            .map(|service| format!("{service}.{namespace}"))
            .collect();
        let what = if hidden.is_empty() {
            format!(
                "it is named as a top-level domain: a service in it would hide the domain \
                 SERVICE.{namespace} from every pod, as it does without nss-k8s"
            )
        } else {
            let more = services.len().saturating_sub(hidden.len());
            let more = if more == 0 {
                String::new()
            } else {
                format!(" and {more} more")
            };
            format!(
                "it is named as a top-level domain: the domains {}{more} are hidden by its services \
                 from every pod, as they are without nss-k8s",
                hidden.join(", ")
            )
        };
        let advice = "if programs mean the domains, set `tld_guard.mode: on`; if they mean the \
                      services, leave it off";
        found.push(Finding::note("top-level-namespace", place, what).advise(advice));
    }
}

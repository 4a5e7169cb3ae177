//! From what a cluster holds to what it means: pure, and each rule in one place.
//!
//! ```text
//!   Cluster --> Dns (Corefile, Service, apex) --> server, plugins, rewrites \
//!           \-> policies, meshes, names --------------------------------------> Finding...
//! ```

mod meshes;
mod names;
mod plugins;
mod policies;
mod rewrites;
mod service;

use super::{
    cluster::{self, CONFIG_MAPS, Cluster, OPENSHIFT_MAPS, SYSTEM},
    corefile::{Corefile, Server, is_below},
    finding::Finding,
};
use serde_json::Value;
use std::{cmp::Reverse, collections::BTreeMap};

/// The cluster DNS as it is configured.
#[derive(Debug, Default)]
pub(super) struct Dns {
    /// The ConfigMap of the Corefile.
    place: String,
    /// What it says, if there is one.
    corefile: Option<Corefile>,
    /// The zone's apex.
    apex: String,
    /// Texts beside the Corefile, by file name.
    files: BTreeMap<String, String>,
}

/// Everything there is to say about a cluster, the gravest first.
pub(super) fn judge(cluster: &Cluster) -> Vec<Finding> {
    let mut found = Vec::new();
    let dns = find_dns(cluster, &mut found);
    if let Some(corefile) = &dns.corefile {
        plugins::judge_kubernetes(&dns, corefile, &mut found);
        plugins::judge_others(&dns, corefile, &dns.place, cluster, &mut found);
    }
    service::judge(&dns, cluster, &mut found);
    policies::judge(&dns, cluster, &mut found);
    meshes::judge(cluster, &mut found);
    names::judge(cluster, &mut found);
    found.sort_by_key(|finding| Reverse(finding.severity));
    found
}

impl Dns {
    /// The server block that gets the cluster zone's queries.
    fn home<'a>(&self, corefile: &'a Corefile) -> Option<&'a Server> {
        let length = |server: &&Server| {
            let zones = server.zones.iter();
            zones
                .filter(|zone| is_below(&self.apex, zone))
                .map(String::len)
                .max()
        };
        corefile
            .servers
            .iter()
            .filter(|server| server.holds(&self.apex))
            .max_by_key(length)
    }

    /// Whether a zone and the cluster's have names in common.
    fn touches(&self, zone: &str) -> bool {
        is_below(zone, &self.apex) || is_below(&self.apex, zone)
    }
}

/// Reads the Corefile of the cluster DNS and finds the apex.
fn find_dns(cluster: &Cluster, found: &mut Vec<Finding>) -> Dns {
    let mut dns = Dns::default();
    if let Some((map, text)) = corefile_map(cluster) {
        dns.place = format!("ConfigMap {}", cluster::title(map));
        dns.files = files_beside(cluster, map);
        let corefile = Corefile::parse(text, &dns.files);
        for complaint in &corefile.complaints {
            let what = format!("the Corefile is not read to its end: {complaint}");
            let advice = "what it says there was not judged: read it yourself";
            found.push(Finding::warning("corefile-unread", &dns.place, what).advise(advice));
        }
        dns.corefile = Some(corefile);
    } else if cluster.all(CONFIG_MAPS).iter().any(is_kube_dns) {
        let what = "the cluster DNS is kube-dns (dnsmasq), not CoreDNS: the same names, other \
                    details; its stub domains are asked as before";
        found.push(Finding::note(
            "kube-dns",
            "ConfigMap kube-system/kube-dns",
            what,
        ));
    } else {
        let what = "no ConfigMap with a Corefile: which server answers here, and how, is not known";
        let advice = "compare its options with docs/CONFIGURATION.md by hand";
        found.push(Finding::warning("corefile-absent", SYSTEM, what).advise(advice));
    }
    let served = dns.corefile.as_ref().and_then(served_apex);
    let kubelet = kubelet_text(cluster, "clusterDomain");
    if let (Some(served), Some(kubelet)) = (&served, &kubelet)
        && served != kubelet
    {
        let what = format!(
            "kubelet tells pods that the cluster domain is {kubelet}, CoreDNS serves {served}: \
             short names of services do not work today, either"
        );
        found.push(Finding::warning("cluster-domain-differs", &dns.place, what));
    }
    dns.apex = served
        .or(kubelet)
        .unwrap_or_else(|| "cluster.local".to_owned());
    if dns.apex != "cluster.local" {
        let what = format!("the cluster domain is {}", dns.apex);
        let finding = Finding::warning("cluster-domain", &dns.place, what)
            .set("kubernetes.cluster_domain", dns.apex.clone());
        found.push(finding);
    }
    dns
}

/// The ConfigMap of the cluster DNS, and its Corefile.
fn corefile_map(cluster: &Cluster) -> Option<(&Value, &str)> {
    let maps = cluster.all(CONFIG_MAPS).iter();
    let maps = maps.chain(cluster.all(OPENSHIFT_MAPS));
    let mut candidates: Vec<_> = maps
        .filter_map(|map| Some((map, map.get("data")?.get("Corefile")?.as_str()?)))
        // NodeLocal DNSCache stands before the cluster DNS: judged by itself.
        .filter(|(map, _)| !cluster::name(map).starts_with("node-local-dns"))
        .collect();
    // The usual name, else one whose Corefile serves Kubernetes.
    candidates.sort_by_key(|(map, text)| {
        (
            cluster::name(map) != "coredns",
            !text.contains("kubernetes"),
        )
    });
    candidates.into_iter().next()
}

/// What the Corefile may import or read: the other keys of its ConfigMap, and of the one that
/// managed clusters leave to their users.
fn files_beside(cluster: &Cluster, own: &Value) -> BTreeMap<String, String> {
    let maps = cluster.all(CONFIG_MAPS).iter();
    let custom = maps.filter(|map| cluster::name(map) == "coredns-custom");
    let mut files = BTreeMap::new();
    for map in core::iter::once(own).chain(custom) {
        for (key, text) in map
            .get("data")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            files.insert(key.clone(), text.as_str().unwrap_or_default().to_owned());
        }
    }
    files
}

/// The first forward zone of a `kubernetes` plugin.
fn served_apex(corefile: &Corefile) -> Option<String> {
    corefile.plugins("kubernetes").find_map(|(server, plugin)| {
        let mut zones = plugin.zones(server).into_iter();
        zones.find(|zone| !zone.is_empty() && !plugins::is_reverse(zone))
    })
}

/// One setting of kubelet, as kubeadm keeps it for new nodes.
fn kubelet_text(cluster: &Cluster, key: &str) -> Option<String> {
    Some(
        kubelet(cluster)?
            .get(key)?
            .as_str()?
            .trim_end_matches('.')
            .to_ascii_lowercase(),
    )
}

/// kubelet's configuration, where kubeadm has left it.
fn kubelet(cluster: &Cluster) -> Option<Value> {
    let text = cluster.datum(CONFIG_MAPS, "kubelet-config", "kubelet")?;
    serde_saphyr::from_str(text).ok()
}

fn is_kube_dns(map: &Value) -> bool {
    cluster::name(map) == "kube-dns"
}

#[cfg(test)]
mod tests;

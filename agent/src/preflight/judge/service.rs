//! The Service of the cluster DNS, the addresses that pods are told, and what stands before it.

use super::{Dns, kubelet, plugins};
use crate::model::servers;
use crate::preflight::{
    cluster::{self, CONFIG_MAPS, Cluster, DAEMON_SETS, SERVICES, list, strings, text},
    corefile::Corefile,
    finding::Finding,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, net::IpAddr};

/// The Service that is the cluster DNS of most clusters.
const USUAL: &str = "kube-system/kube-dns";

/// Judges the addresses.
pub(super) fn judge(dns: &Dns, cluster: &Cluster, found: &mut Vec<Finding>) {
    let mut known: BTreeSet<IpAddr> = BTreeSet::new();
    match dns_service(cluster) {
        Some(service) => {
            let title = cluster::title(service);
            known.extend(addresses(service));
            let label = text(service, "/metadata/labels/k8s-app");
            if !servers::is_found(cluster::namespace(service), cluster::name(service), label) {
                let what = format!("the Service of the cluster DNS is {title}, not {USUAL}");
                let finding = Finding::warning("dns-service", format!("Service {title}"), what);
                found.push(finding.set("kubernetes.cluster_dns_service", title.clone()));
            }
            if label != servers::LABEL.1 {
                let what = "the Service lacks the label k8s-app=kube-dns, by which other tools find \
                            it; here it is found by its name";
                found.push(Finding::note("dns-label", format!("Service {title}"), what));
            }
            judge_ports(service, &title, found);
        }
        // Without a list of services that was said elsewhere.
        None if !cluster.all(SERVICES).is_empty() => {
            let what = "no Service of the cluster DNS was found: no pod would be served, since \
                        nobody's name server is known to be the cluster's";
            let advice = "name it in `kubernetes.cluster_dns_service`, or its addresses in \
                          `kubernetes.cluster_dns`";
            found.push(Finding::blocker("dns-service-absent", "Services", what).advise(advice));
        }
        None => {}
    }
    judge_node_local(dns, cluster, &mut known, found);
    judge_kubelet(cluster, &known, found);
}

/// The Service of the cluster DNS: by its name, its label, or where OpenShift has it.
fn dns_service(cluster: &Cluster) -> Option<&Value> {
    let services = cluster.all(SERVICES);
    let by = |is: &dyn Fn(&Value) -> bool| services.iter().find(|service| is(service));
    by(&|service| cluster::title(service) == USUAL)
        .or_else(|| {
            by(&|service| {
                cluster::namespace(service) == cluster::SYSTEM
                    && text(service, "/metadata/labels/k8s-app") == "kube-dns"
                    && cluster::name(service) != "kube-dns-upstream"
            })
        })
        .or_else(|| by(&|service| cluster::title(service) == "openshift-dns/dns-default"))
        .or_else(|| {
            by(&|service| {
                cluster::namespace(service) == cluster::SYSTEM
                    && cluster::name(service).contains("coredns")
                    && listens(service, "UDP")
            })
        })
}

/// Its cluster addresses.
fn addresses(service: &Value) -> impl Iterator<Item = IpAddr> + '_ {
    let one = core::iter::once(text(service, "/spec/clusterIP"));
    let all = list(service, "/spec/clusterIPs").iter();
    one.chain(all.filter_map(Value::as_str))
        .filter_map(|address| address.parse().ok())
}

/// Whether it has port 53 of a protocol.
fn listens(service: &Value, protocol: &str) -> bool {
    list(service, "/spec/ports").iter().any(|port| {
        let of = text(port, "/protocol");
        let of = if of.is_empty() { "TCP" } else { of };
        of == protocol && port.get("port").and_then(Value::as_u64) == Some(53)
    })
}

/// External names are asked over TCP.
fn judge_ports(service: &Value, title: &str, found: &mut Vec<Finding>) {
    if listens(service, "UDP") && !listens(service, "TCP") {
        let what = "the cluster DNS has no TCP port: external names would be asked in vain first, \
                    and then by libc over UDP";
        let advice = "add port 53/TCP to the Service; until then leave external names to libc";
        let finding = Finding::warning("dns-without-tcp", format!("Service {title}"), what);
        found.push(
            finding
                .advise(advice)
                .set("classes", json!([{"name": "default", "external": "off"}])),
        );
    }
}

/// NodeLocal DNSCache: its address is pods' name server.
fn judge_node_local(
    dns: &Dns,
    cluster: &Cluster,
    known: &mut BTreeSet<IpAddr>,
    found: &mut Vec<Finding>,
) {
    for set in cluster.all(DAEMON_SETS).iter().filter(is_node_local) {
        let place = format!("DaemonSet {}", cluster::title(set));
        let mut words = Vec::new();
        for container in list(set, "/spec/template/spec/containers") {
            for part in ["args", "command"] {
                container
                    .get(part)
                    .into_iter()
                    .for_each(|value| strings(value, &mut words));
            }
        }
        let local: Vec<IpAddr> = local_addresses(&words);
        let new: Vec<String> = local
            .iter()
            .filter(|address| !known.contains(address))
            .map(IpAddr::to_string)
            .collect();
        known.extend(&local);
        if local.is_empty() {
            let what =
                "NodeLocal DNSCache runs, but its addresses cannot be read from its arguments";
            let advice =
                "name them in `kubernetes.cluster_dns`: pods with them would not be served";
            found.push(Finding::warning("node-local-dns", &place, what).advise(advice));
        } else if !new.is_empty() {
            let what = format!(
                "NodeLocal DNSCache answers at {}: pods with that name server are served only when \
                 it is known to be the cluster's",
                new.join(", ")
            );
            let finding = Finding::warning("node-local-dns", &place, what);
            found.push(finding.set("kubernetes.cluster_dns", json!(new)));
        }
        let upstream = cluster.all(SERVICES).iter().find(|service| {
            cluster::namespace(service) == cluster::SYSTEM
                && cluster::name(service) == "kube-dns-upstream"
        });
        if upstream.is_some() {
            let what = "on its nodes the address of the cluster DNS is NodeLocal DNSCache itself; \
                        the forwarder of class `node` can go past it";
            let finding = Finding::note("node-local-upstream", &place, what);
            found.push(finding.set("forward.upstream_service", "kube-system/kube-dns-upstream"));
        }
    }
    for map in cluster.all(CONFIG_MAPS) {
        if !cluster::name(map).starts_with("node-local-dns") {
            continue;
        }
        let place = format!("ConfigMap {}", cluster::title(map));
        let data = map.get("data");
        if let Some(corefile) = data.and_then(|data| data.get("Corefile")?.as_str()) {
            let corefile = Corefile::parse(corefile, &dns.files);
            plugins::judge_others(dns, &corefile, &place, cluster, found);
        }
    }
}

fn is_node_local(set: &&Value) -> bool {
    text(set, "/metadata/labels/k8s-app") == "node-local-dns"
        || cluster::name(set).starts_with("node-local-dns")
        || cluster::name(set).starts_with("nodelocaldns")
}

/// The addresses behind `-localip` of the node cache.
fn local_addresses(words: &[&str]) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for (index, word) in words.iter().enumerate() {
        let flag = word.trim_start_matches('-');
        let value = match flag.split_once('=') {
            Some(("localip", value)) => value,
            None if flag == "localip" && word.starts_with('-') => {
                words.get(index + 1).copied().unwrap_or_default()
            }
            _ => continue,
        };
        let addresses = value
            .split(',')
            .filter_map(|one| one.trim().parse::<IpAddr>().ok());
        found.extend(addresses);
    }
    found
}

/// The name servers that kubelet writes into pods.
fn judge_kubelet(cluster: &Cluster, known: &BTreeSet<IpAddr>, found: &mut Vec<Finding>) {
    let Some(kubelet) = kubelet(cluster) else {
        return;
    };
    let foreign: Vec<String> = list(&kubelet, "/clusterDNS")
        .iter()
        .filter_map(|address| address.as_str()?.parse().ok())
        .filter(|address: &IpAddr| !known.contains(address) && !known.is_empty())
        .map(|address| address.to_string())
        .collect();
    if !foreign.is_empty() {
        let what = format!(
            "kubelet gives pods the name server {}, which is not known as the cluster's: no pod \
             would be served",
            foreign.join(", ")
        );
        let advice = "if it answers as the cluster DNS does, name it";
        let finding = Finding::warning("kubelet-dns", "ConfigMap kube-system/kubelet-config", what);
        found.push(
            finding
                .advise(advice)
                .set("kubernetes.cluster_dns", json!(foreign)),
        );
    }
}

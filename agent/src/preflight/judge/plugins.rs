//! What the Corefile does with the cluster's names.

use super::{Dns, rewrites};
use crate::preflight::{
    cluster::{self, Cluster, SERVICES, list},
    corefile::{Corefile, Plugin, Server, is_below},
    finding::Finding,
};
use serde_json::{Value, json};
use std::net::IpAddr;

/// A name that only reverse lookups use, or a network that stands for one.
pub(super) fn is_reverse(zone: &str) -> bool {
    is_below(zone, "in-addr.arpa") || is_below(zone, "ip6.arpa") || zone.contains('/')
}

/// The options of the `kubernetes` plugin.
pub(super) fn judge_kubernetes(dns: &Dns, corefile: &Corefile, found: &mut Vec<Finding>) {
    let place = &dns.place;
    let mut served = corefile.plugins("kubernetes").filter(|(server, plugin)| {
        let zones = plugin.zones(server);
        zones
            .iter()
            .any(|zone| zone.is_empty() || *zone == dns.apex)
    });
    let Some((server, plugin)) = served.next() else {
        let what = "no server block serves the cluster's zone with the kubernetes plugin";
        let advice = "find out which server does, and compare its options by hand";
        found.push(Finding::warning("kubernetes-absent", place, what).advise(advice));
        return;
    };
    for zone in plugin.zones(server) {
        if zone != dns.apex && !zone.is_empty() && !is_reverse(&zone) {
            let what = format!(
                "{zone} is served from the same objects; names in it are asked, as external ones"
            );
            found.push(Finding::note("second-zone", place, what));
        }
    }
    // Its default; kubeadm writes `insecure`, which is ours.
    let pods = plugin.option("pods").and_then(<[String]>::first);
    let pods = pods.map_or("disabled", String::as_str);
    if pods != "insecure" {
        let what = match pods {
            "verified" => "names such as 10-1-2-3.NAMESPACE.pod exist only for pods that run",
            _ => "names such as 10-1-2-3.NAMESPACE.pod do not exist",
        };
        found.push(Finding::warning("pods", place, what).set("kubernetes.pods", pods));
    }
    for line in &plugin.options {
        if let [option, values @ ..] = line.as_slice() {
            judge_option(dns, option, values, found);
        }
    }
}

/// One option of the `kubernetes` plugin.
fn judge_option(dns: &Dns, option: &str, values: &[String], found: &mut Vec<Finding>) {
    let place = &dns.place;
    let first = values.first().map_or("", String::as_str);
    found.push(match option {
        "ttl" if first != "5" && first.parse::<u32>().is_ok_and(|ttl| ttl <= 3600) => {
            let ttl: u32 = first.parse().unwrap_or(5);
            let what = format!("answers live for {ttl} s instead of 5 s");
            let advice = "only the listener and programs that read time to live see it";
            Finding::note("ttl", place, what)
                .advise(advice)
                .set("kubernetes.ttl", ttl)
        }
        "namespaces" if !values.is_empty() => {
            let what = "only some namespaces exist for DNS";
            Finding::warning("namespaces", place, what).set("kubernetes.namespaces", json!(values))
        }
        "namespace_labels" => {
            let what = "only namespaces with certain labels exist for DNS";
            Finding::warning("namespace-labels", place, what)
                .set("kubernetes.namespace_labels", selector(values))
        }
        "labels" => {
            let what = "only services with certain labels exist for DNS";
            Finding::warning("labels", place, what).set("kubernetes.labels", selector(values))
        }
        "ignore" if first == "empty_service" => {
            let what = "ClusterIP services without a ready endpoint do not exist for DNS; all \
                        endpoint slices must be watched to know them";
            Finding::warning("ignore-empty-service", place, what)
                .set("kubernetes.ignore_empty_service", true)
                .set("kubernetes.endpoint_slices", "all")
        }
        "endpoint_pod_names" => {
            let what = "endpoints without a hostname are named after their pods here; in process \
                        they are named after their addresses";
            let advice = "programs that use POD.SERVICE names need `hostname` and `subdomain` in \
                          the pods, as StatefulSets set them; else except these services";
            Finding::blocker("endpoint-pod-names", place, what).advise(advice)
        }
        "noendpoints" => {
            let what = "endpoints are not served here: headless services would get addresses that \
                        they do not have in DNS today";
            Finding::note("noendpoints", place, what)
        }
        "fallthrough" if falls_through(dns, values) => {
            let what = "names that no service has are looked for in other plugins, or upstream; \
                        absent services are asked by default, absent namespaces and other names \
                        right below the zone are not";
            let advice = format!(
                "keep `miss_policy: ask`; list in `kubernetes.except` what other plugins serve \
                 below {}",
                dns.apex
            );
            Finding::warning("fallthrough", place, what)
                .advise(advice)
                .set("kubernetes.miss_policy", "ask")
        }
        "zonal" => {
            let what = "names such as ZONE.pin._zone.SERVICE select the endpoints of one \
                        availability zone; in process they do not exist";
            let advice = "except the headless services that are asked for so";
            Finding::warning("zonal", place, what).advise(advice)
        }
        "endpoint" | "kubeconfig" => {
            let what = format!("CoreDNS takes its objects from another place (`{option}`)");
            let advice = "give the agent the same one with --kubeconfig";
            Finding::warning("other-api-server", place, what).advise(advice)
        }
        "multicluster" => {
            let what = format!(
                "{} is served for several clusters; names in it are asked, as external ones",
                values.join(", ")
            );
            Finding::note("multicluster", place, what)
        }
        _ => return,
    });
}

/// Whether names of the cluster zone itself fall through.
fn falls_through(dns: &Dns, zones: &[String]) -> bool {
    zones.is_empty()
        || zones
            .iter()
            .any(|zone| dns.touches(&crate::preflight::corefile::zone(zone)))
}

/// A label selector as it is written; CoreDNS takes the whole line.
fn selector(values: &[String]) -> Value {
    Value::String(values.join(" "))
}

/// The other server blocks, and the plugins that stand before `kubernetes`.
pub(super) fn judge_others(
    dns: &Dns,
    corefile: &Corefile,
    place: &str,
    cluster: &Cluster,
    found: &mut Vec<Finding>,
) {
    for server in &corefile.servers {
        for zone in &server.zones {
            if is_below(zone, &dns.apex) && *zone != dns.apex {
                let what = format!("{zone} has a server block of its own inside the cluster zone");
                let finding = Finding::warning("zone-inside", place, what);
                found.push(finding.set("kubernetes.except", json!([zone])));
            } else if !is_below(&dns.apex, zone) && !is_reverse(zone) {
                found.push(stub_domain(place, zone, server));
            }
        }
    }
    let Some(home) = dns.home(corefile) else {
        return;
    };
    for plugin in &home.plugins {
        match plugin.name.as_str() {
            "rewrite" => rewrites::judge(dns, place, plugin, found),
            "hosts" => judge_hosts(dns, place, plugin, found),
            "template" => judge_template(dns, place, home, plugin, cluster, found),
            _ => found.extend(judge_plugin(dns, place, home, plugin)),
        }
    }
}

/// A zone that the cluster DNS forwards by itself.
fn stub_domain(place: &str, zone: &str, server: &Server) -> Finding {
    let way = server
        .plugin("forward")
        .map_or("answers itself", |_| "forwards");
    let what = format!("{zone} has a server block of its own, which {way}; nothing changes");
    let advice = "the cluster DNS is asked for it in every class; a group of upstreams for it in \
                  `forward.groups` spares class `node` the way through the cluster DNS";
    Finding::note("stub-domain", place, what).advise(advice)
}

/// Plugins of the home server block that say something about the cluster's names.
fn judge_plugin(dns: &Dns, place: &str, home: &Server, plugin: &Plugin) -> Option<Finding> {
    let place = format!("{place}, line {}", plugin.line);
    let name = plugin.name.as_str();
    Some(match name {
        "acl" => {
            let what = "who may ask for which names is decided by address here; what the zone in \
                        memory holds is answered without asking";
            let advice = "leave namespaces that may not see all names out of the injection";
            Finding::blocker("acl", place, what).advise(advice)
        }
        "view" => {
            let what = "answers depend on who asks; in process all pods get the same ones";
            let advice = "leave namespaces with another view out of the injection";
            Finding::blocker("view", place, what).advise(advice)
        }
        "dns64" => {
            let what = "IPv6 addresses are made up for names that have IPv4 addresses only; in \
                        process services have the addresses that they have";
            let advice = "pods with IPv6 alone need them: leave their namespaces out";
            Finding::blocker("dns64", place, what).advise(advice)
        }
        "autopath" => {
            let what = "the server walks the search list for its clients; processes with nss-k8s do \
                        that themselves, and send the last name only";
            Finding::note("autopath", place, what)
        }
        "log" | "dnstap" => {
            let what =
                format!("`{name}` records queries; names answered in process never come here");
            Finding::note("query-log", place, what)
        }
        "cache" => {
            let stale = plugin.option("serve_stale").is_some();
            let what = format!(
                "answers may be {} old here; in process the cluster's names are as fresh as the \
                 agent's watch",
                if stale {
                    "an hour or more"
                } else {
                    "some seconds"
                }
            );
            Finding::note("cache", place, what)
        }
        // They stand before `kubernetes` in CoreDNS's order, or behind it with `fallthrough`.
        "file" | "auto" | "secondary" | "etcd" | "route53" | "azure" | "clouddns"
        | "k8s_external" | "k8s_gateway" | "lighthouse" | "consul" | "nomad" | "records" => {
            let zones: Vec<String> = zones_of(home, plugin)
                .into_iter()
                .filter(|zone| is_below(zone, &dns.apex) && *zone != dns.apex)
                .collect();
            if zones.is_empty() {
                return None;
            }
            let what = format!(
                "`{name}` serves {} inside the cluster zone",
                zones.join(", ")
            );
            Finding::warning("zone-inside", place, what).set("kubernetes.except", json!(zones))
        }
        _ => return None,
    })
}

/// The zones of a plugin whose arguments are zones, files and options in any order.
fn zones_of(home: &Server, plugin: &Plugin) -> Vec<String> {
    let zones: Vec<String> = plugin
        .arguments
        .iter()
        .filter(|word| !word.starts_with('/'))
        .map(|word| crate::preflight::corefile::zone(word))
        .collect();
    if zones.is_empty() {
        home.zones.clone()
    } else {
        zones
    }
}

/// Fixed names inside the cluster zone.
fn judge_hosts(dns: &Dns, place: &str, plugin: &Plugin, found: &mut Vec<Finding>) {
    let place = format!("{place}, line {}", plugin.line);
    let mut lines: Vec<Vec<String>> = plugin.options.clone();
    if let Some(file) = plugin.arguments.first() {
        let name = file.rsplit('/').next().unwrap_or_default();
        if let Some(text) = dns.files.get(name) {
            let words = |line: &str| {
                let line = line.split('#').next().unwrap_or_default();
                line.split_whitespace().map(str::to_owned).collect()
            };
            lines.extend(text.lines().map(words));
        } else {
            let what = format!(
                "fixed names come from {file}, which cannot be seen from here; those outside the \
                 cluster zone are asked as before"
            );
            let advice = format!("copy names below {} into `hosts`", dns.apex);
            found.push(Finding::warning("hosts-file", &place, what).advise(advice));
        }
    }
    let mut hosts: Vec<Value> = Vec::new();
    for line in lines {
        let [address, names @ ..] = line.as_slice() else {
            continue;
        };
        let names: Vec<String> = names
            .iter()
            .map(|name| name.trim_end_matches('.').to_ascii_lowercase())
            .filter(|name| is_below(name, &dns.apex))
            .collect();
        if address.parse::<IpAddr>().is_ok() && !names.is_empty() {
            hosts.push(json!({"names": names, "addresses": [address]}));
        }
    }
    if !hosts.is_empty() {
        let what = "names inside the cluster zone have fixed addresses";
        found.push(Finding::warning("hosts", &place, what).set("hosts", Value::Array(hosts)));
    }
}

/// Answers from templates inside the cluster zone.
fn judge_template(
    dns: &Dns,
    place: &str,
    home: &Server,
    plugin: &Plugin,
    cluster: &Cluster,
    found: &mut Vec<Finding>,
) {
    let place = format!("{place}, line {}", plugin.line);
    let kind = plugin.arguments.get(1).map_or("ANY", String::as_str);
    let zones: Vec<String> = match plugin.arguments.get(2..) {
        Some(zones) if !zones.is_empty() => zones
            .iter()
            .map(|zone| crate::preflight::corefile::zone(zone))
            .collect(),
        _ => home.zones.clone(),
    };
    let zones: Vec<String> = zones.into_iter().filter(|zone| dns.touches(zone)).collect();
    let patterns = plugin.option("match").unwrap_or_default();
    let elsewhere = |pattern: &String| rewrites::is_elsewhere(dns, pattern);
    if zones.is_empty() || (!patterns.is_empty() && patterns.iter().all(elsewhere)) {
        return;
    }
    let inside: Vec<&String> = zones
        .iter()
        .filter(|zone| is_below(zone, &dns.apex) && **zone != dns.apex)
        .collect();
    found.push(if inside.len() == zones.len() {
        let what = "answers inside the cluster zone come from a template";
        Finding::warning("template", place, what).set("kubernetes.except", json!(inside))
    } else if kind.eq_ignore_ascii_case("AAAA") && plugin.option("answer").is_none() {
        let what = "IPv6 addresses are hidden from all names";
        if cluster.all(SERVICES).iter().any(has_ipv6) {
            let advice = "services with IPv6 addresses would show them: make them single-stack";
            Finding::blocker("template-aaaa", place, what).advise(advice)
        } else {
            let what = format!("{what}; no service has one, so nothing changes");
            Finding::note("template-aaaa", place, what)
        }
    } else if !kind.eq_ignore_ascii_case("A")
        && !kind.eq_ignore_ascii_case("AAAA")
        && !kind.eq_ignore_ascii_case("ANY")
        && !kind.eq_ignore_ascii_case("SRV")
        && !kind.eq_ignore_ascii_case("PTR")
    {
        Finding::note(
            "template",
            place,
            format!("{kind} records come from a template"),
        )
    } else {
        let what = "a template may answer for any name of the cluster zone before the kubernetes \
                    plugin does";
        let advice = "narrow it to zones, or list what it answers in `kubernetes.except`";
        Finding::blocker("template", place, what).advise(advice)
    });
}

/// Whether a service has an IPv6 address.
fn has_ipv6(service: &Value) -> bool {
    list(service, "/spec/clusterIPs")
        .iter()
        .filter_map(Value::as_str)
        .chain(core::iter::once(cluster::text(service, "/spec/clusterIP")))
        .any(|address| address.contains(':'))
}

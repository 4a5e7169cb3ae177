//! Network policies: who may send DNS over TCP, and who learns from the DNS that it sees.

use super::Dns;
use crate::preflight::{
    cluster::{
        self, ADMIN, CALICO, CALICO_WIDE, CILIUM, CILIUM_WIDE, CLUSTER_WIDE, Cluster, GKE, Kind,
        NETWORK_POLICIES, list, namespace, strings, text, title,
    },
    corefile::is_below,
    finding::Finding,
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// The class that is suggested for namespaces whose policies admit DNS over UDP alone.
const UDP_ONLY: &str = "udp-only";

/// Judges all of them.
pub(super) fn judge(dns: &Dns, cluster: &Cluster, found: &mut Vec<Finding>) {
    let mut udp_only: BTreeSet<String> = BTreeSet::new();
    for policy in cluster.all(NETWORK_POLICIES) {
        if guards_the_server(policy) {
            let opens = opens(policy, "/spec/ingress");
            if opens.udp && !opens.tcp {
                udp_only.insert(String::new());
                found.push(udp_alone("NetworkPolicy", policy));
            }
        }
        if !restricts_egress(policy) {
            continue;
        }
        let opens = opens(policy, "/spec/egress");
        if opens.udp && !opens.tcp && !another_opens_tcp(cluster, policy) {
            udp_only.insert(namespace(policy).to_owned());
            found.push(udp_alone("NetworkPolicy", policy));
        }
    }
    for kind in [CILIUM, CILIUM_WIDE] {
        for policy in cluster.all(kind) {
            judge_cilium(dns, kind, policy, &mut udp_only, found);
        }
    }
    for kind in [CALICO, CALICO_WIDE] {
        for policy in cluster.all(kind) {
            judge_calico(dns, kind, policy, &mut udp_only, found);
        }
    }
    for kind in [GKE, ADMIN, CLUSTER_WIDE] {
        for policy in cluster.all(kind) {
            let names = domains(policy.pointer("/spec/egress").unwrap_or(&Value::Null));
            judge_names(dns, kind, policy, &names, found);
        }
    }
    // A policy of all namespaces has none of its own.
    let wide = udp_only.remove("");
    if !udp_only.is_empty() {
        let namespaces: Vec<&String> = udp_only.iter().collect();
        let what = "external names would be asked over TCP in vain first in these namespaces, once \
                    a minute and process, and then by libc over UDP";
        let advice = "allow 53/TCP beside 53/UDP; or leave external names to libc there";
        found.push(
            Finding::warning("udp-only-namespaces", "network policies", what)
                .advise(advice)
                .set(
                    "classes",
                    json!([{"name": UDP_ONLY, "external": "off", "namespaces": namespaces}]),
                ),
        );
    }
    if wide {
        let what = "a policy for all namespaces admits DNS over UDP alone";
        let advice = "allow 53/TCP beside 53/UDP; or leave external names to libc";
        found.push(
            Finding::warning("udp-only-cluster", "network policies", what)
                .advise(advice)
                .set("classes", json!([{"name": "default", "external": "off"}])),
        );
    }
}

/// Which transports of port 53 a policy opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Opens {
    udp: bool,
    tcp: bool,
}

impl Opens {
    fn or(self, other: Self) -> Self {
        Self {
            udp: self.udp | other.udp,
            tcp: self.tcp | other.tcp,
        }
    }

    fn protocol(protocol: &str) -> Self {
        match protocol.to_ascii_uppercase().as_str() {
            "UDP" | "17" => Self {
                udp: true,
                tcp: false,
            },
            // The default.
            "TCP" | "" | "6" => Self {
                udp: false,
                tcp: true,
            },
            "ANY" => Self {
                udp: true,
                tcp: true,
            },
            _ => Self::default(),
        }
    }
}

/// `policyTypes` says so, or by default the presence of egress rules.
fn restricts_egress(policy: &Value) -> bool {
    match policy
        .pointer("/spec/policyTypes")
        .and_then(Value::as_array)
    {
        Some(kinds) => kinds.iter().any(|kind| kind == "Egress"),
        None => policy.pointer("/spec/egress").is_some(),
    }
}

/// Whether it restricts what comes to the cluster DNS.
fn guards_the_server(policy: &Value) -> bool {
    let labels = policy.pointer("/spec/podSelector/matchLabels");
    let labels = labels.and_then(Value::as_object);
    let is_ingress = match policy
        .pointer("/spec/policyTypes")
        .and_then(Value::as_array)
    {
        Some(kinds) => kinds.iter().any(|kind| kind == "Ingress"),
        None => true,
    };
    matches!(namespace(policy), cluster::SYSTEM | cluster::OPENSHIFT)
        && is_ingress
        && labels.is_none_or(|labels| {
            labels
                .iter()
                .all(|(key, value)| key == "k8s-app" && value == "kube-dns")
        })
}

/// What the rules of a policy of Kubernetes' own open, to or from whomever.
fn opens(policy: &Value, rules: &str) -> Opens {
    let rule = |rule: &Value| match rule.get("ports").and_then(Value::as_array) {
        None => Opens {
            udp: true,
            tcp: true,
        },
        Some(ports) if ports.is_empty() => Opens {
            udp: true,
            tcp: true,
        },
        Some(ports) => ports.iter().fold(Opens::default(), |opens, port| {
            if is_dns_port(port) {
                opens.or(Opens::protocol(text(port, "/protocol")))
            } else {
                opens
            }
        }),
    };
    list(policy, rules)
        .iter()
        .fold(Opens::default(), |opens, one| opens.or(rule(one)))
}

/// Port 53 by number, in a range, by a usual name; no port is every port.
fn is_dns_port(port: &Value) -> bool {
    match port.get("port") {
        None | Some(Value::Null) => true,
        Some(Value::String(name)) => is_dns_text(name),
        Some(number) => {
            let first = number.as_u64().unwrap_or(0);
            let last = port.get("endPort").and_then(Value::as_u64).unwrap_or(first);
            (first..=last).contains(&53)
        }
    }
}

/// `53`, `50:60`, `dns`, `dns-tcp`.
fn is_dns_text(port: &str) -> bool {
    if let Some((first, last)) = port.split_once(':')
        && let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>())
    {
        return (first..=last).contains(&53);
    }
    port == "53" || port == "0" || port.starts_with("dns")
}

/// Whether a policy for the same pods, or for all of the namespace, opens TCP: policies add up.
fn another_opens_tcp(cluster: &Cluster, policy: &Value) -> bool {
    let selector = |policy: &Value| policy.pointer("/spec/podSelector").cloned();
    let own = selector(policy);
    cluster.all(NETWORK_POLICIES).iter().any(|other| {
        let theirs = selector(other);
        let is_wide = theirs.as_ref().is_none_or(is_empty);
        namespace(other) == namespace(policy)
            && restricts_egress(other)
            && (is_wide || theirs == own)
            && opens(other, "/spec/egress").tcp
    })
}

/// A selector without conditions.
fn is_empty(selector: &Value) -> bool {
    selector.as_object().is_some_and(|fields| {
        fields.values().all(|value| {
            value.as_object().is_some_and(serde_json::Map::is_empty)
                || value.as_array().is_some_and(Vec::is_empty)
                || value.is_null()
        })
    })
}

/// One policy that drops DNS over TCP.
fn udp_alone(kind: &str, policy: &Value) -> Finding {
    let place = format!("{kind} {}", title(policy));
    let what = "DNS is allowed over UDP alone: DNS over TCP is dropped";
    Finding::note("udp-only", place, what)
}

/// Cilium: ports with DNS rules are its DNS proxy, which serves what it is told to redirect.
fn judge_cilium(
    dns: &Dns,
    kind: Kind,
    policy: &Value,
    udp_only: &mut BTreeSet<String>,
    found: &mut Vec<Finding>,
) {
    let specs = policy.get("spec").into_iter();
    let specs = specs.chain(list(policy, "/specs"));
    let mut opens = Opens::default();
    let mut names = Vec::new();
    for rule in specs.flat_map(|spec| list(spec, "/egress")) {
        let ports = list(rule, "/toPorts");
        if ports.is_empty() && rule.get("toFQDNs").is_none() {
            opens = Opens {
                udp: true,
                tcp: true,
            };
        }
        for port in ports.iter().flat_map(|one| list(one, "/ports")) {
            if is_dns_text(text(port, "/port")) {
                // Cilium's default is any protocol.
                let protocol = text(port, "/protocol");
                opens = opens.or(Opens::protocol(if protocol.is_empty() {
                    "ANY"
                } else {
                    protocol
                }));
            }
        }
        names.extend(domains(rule.get("toFQDNs").unwrap_or(&Value::Null)));
    }
    if opens.udp && !opens.tcp {
        udp_only.insert(namespace(policy).to_owned());
        found.push(udp_alone(kind.kind, policy));
    }
    judge_names(dns, kind, policy, &names, found);
}

/// Calico: a rule has one protocol and many ports.
fn judge_calico(
    dns: &Dns,
    kind: Kind,
    policy: &Value,
    udp_only: &mut BTreeSet<String>,
    found: &mut Vec<Finding>,
) {
    let mut opens = Opens::default();
    let mut names = Vec::new();
    for rule in list(policy, "/spec/egress") {
        if text(rule, "/action") != "Allow" {
            continue;
        }
        let ports = list(rule, "/destination/ports");
        let is_dns = ports.is_empty()
            || ports.iter().any(|port| match port {
                Value::String(port) => is_dns_text(port),
                port => port.as_u64() == Some(53),
            });
        if is_dns {
            let protocol = match rule.get("protocol") {
                None => "ANY".to_owned(),
                Some(Value::String(protocol)) => protocol.clone(),
                Some(number) => number.to_string(),
            };
            opens = opens.or(Opens::protocol(&protocol));
        }
        names.extend(domains(
            rule.pointer("/destination/domains").unwrap_or(&Value::Null),
        ));
    }
    if opens.udp && !opens.tcp {
        udp_only.insert(namespace(policy).to_owned());
        found.push(udp_alone(kind.kind, policy));
    }
    judge_names(dns, kind, policy, &names, found);
}

/// The names in a part of a policy that selects by names.
fn domains(part: &Value) -> Vec<String> {
    let mut texts = Vec::new();
    // Cilium: `[{matchName | matchPattern}]`; GKE: `[{matches: [{name | pattern}]}]`; the working
    // group: `[{to: [{domainNames}]}]`; Calico: names alone. Other fields hold other names.
    for item in part.as_array().into_iter().flatten() {
        let fields = ["matchName", "matchPattern", "matches", "domainNames"];
        let named = fields.into_iter().filter_map(|field| item.get(field));
        let peers = list(item, "/to").iter();
        let peers = peers.filter_map(|peer| peer.get("domainNames"));
        let own = item.is_string().then_some(item);
        named
            .chain(peers)
            .chain(own)
            .for_each(|value| strings(value, &mut texts));
    }
    texts.into_iter().map(str::to_ascii_lowercase).collect()
}

/// A policy that learns addresses from the DNS that it sees.
fn judge_names(dns: &Dns, kind: Kind, policy: &Value, names: &[String], found: &mut Vec<Finding>) {
    if names.is_empty() {
        return;
    }
    let place = format!("{} {}", kind.kind, title(policy));
    let what = "traffic is allowed by name, learnt from the DNS queries of these pods: external \
                names must be asked by the pods themselves";
    let advice = "class `pod` does (the default); do not put these namespaces into class `node`";
    found.push(Finding::note("fqdn-policy", &place, what).advise(advice));
    let inside: Vec<&String> = names
        .iter()
        .filter(|name| is_inside(name, &dns.apex))
        .collect();
    if inside.is_empty() {
        return;
    }
    let plain: BTreeSet<&str> = inside
        .iter()
        .filter_map(|name| literal_end(name))
        .filter(|end| is_below(end, &dns.apex))
        .collect();
    let list = inside.iter().map(|name| name.as_str()).collect::<Vec<_>>();
    let what = format!(
        "it also allows names of the cluster zone ({}), which it would not see being asked any more",
        list.join(", ")
    );
    let advice = "select services by labels instead, or leave these names to DNS";
    found.push(
        Finding::warning("fqdn-policy-inside", &place, what)
            .advise(advice)
            .set("kubernetes.except", json!(plain)),
    );
}

/// Whether a name or pattern is explicitly about the cluster zone. `*` alone is about everything,
/// and is what policies write that only want DNS to be seen.
fn is_inside(name: &str, apex: &str) -> bool {
    literal_end(name).is_some_and(|end| is_below(end, apex))
}

/// The labels behind the last `*`.
fn literal_end(name: &str) -> Option<&str> {
    let end = match name.rfind('*') {
        None => name,
        Some(star) => name.get(star..)?.split_once('.')?.1,
    };
    let end = end.trim_end_matches('.');
    (!end.is_empty()).then_some(end)
}

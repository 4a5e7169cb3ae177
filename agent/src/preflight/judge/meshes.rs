//! Meshes that take DNS over, and webhooks that put libraries of their own into processes.

use crate::preflight::{
    cluster::{self, Cluster, DAEMON_SETS, ISTIO_MAPS, NAMESPACES, WEBHOOKS, list, strings, text},
    finding::Finding,
};
use serde_json::Value;

/// Injectors of libraries, by a part of their webhook configuration's name.
const INJECTORS: [(&str, &str, &str); 7] = [
    (
        "dynatrace",
        "Dynatrace",
        "it mounts /etc/ld.so.preload, as we do; a pod with both mounts is refused",
    ),
    (
        "datadog",
        "Datadog",
        "its libraries come by LD_PRELOAD or by /etc/ld.so.preload",
    ),
    (
        "opentelemetry",
        "OpenTelemetry",
        "its injector comes by LD_PRELOAD",
    ),
    (
        "newrelic",
        "New Relic",
        "its agents come by environment variables",
    ),
    ("instana", "Instana", "its libraries come by LD_PRELOAD"),
    (
        "appdynamics",
        "AppDynamics",
        "its agents come by environment variables",
    ),
    (
        "odigos",
        "Odigos",
        "its agents come by LD_PRELOAD and environment variables",
    ),
];

/// Judges both.
pub(super) fn judge(cluster: &Cluster, found: &mut Vec<Finding>) {
    judge_istio(cluster, found);
    judge_linkerd(cluster, found);
    judge_injectors(cluster, found);
}

/// Istio's DNS proxy knows names that the cluster DNS does not.
fn judge_istio(cluster: &Cluster, found: &mut Vec<Finding>) {
    let mut places = Vec::new();
    for map in cluster.all(ISTIO_MAPS) {
        let mut texts = Vec::new();
        map.get("data")
            .into_iter()
            .for_each(|data| strings(data, &mut texts));
        if texts.into_iter().any(captures_dns) {
            places.push(format!("ConfigMap {}", cluster::title(map)));
        }
    }
    for set in cluster.all(DAEMON_SETS) {
        let ambient = list(set, "/spec/template/spec/containers")
            .iter()
            .flat_map(|container| list(container, "/env"))
            .any(|variable| {
                text(variable, "/name") == "AMBIENT_DNS_CAPTURE"
                    && text(variable, "/value") == "true"
            });
        if ambient {
            places.push(format!("DaemonSet {}", cluster::title(set)));
        }
    }
    if places.is_empty() {
        return;
    }
    let what = "Istio answers DNS for the pods of its mesh: services of other clusters and \
                ServiceEntry names exist for them alone. Services of this cluster are answered in \
                process, with the same addresses; what is absent here is asked by the pod, so that \
                Istio answers it as before";
    let advice = "keep `miss_policy: ask`, and do not put namespaces of the mesh into class `node`";
    found.push(
        Finding::warning("istio-dns", places.join(", "), what)
            .advise(advice)
            .set("kubernetes.miss_policy", "ask"),
    );
}

/// The mesh's configuration in any of its forms: YAML in a ConfigMap, a list of variables.
fn captures_dns(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.replace(['"', '\'', ' '], "");
        line.contains("ISTIO_META_DNS_CAPTURE:true")
            || line.contains("ISTIO_META_DNS_CAPTURE=true")
            || line.contains("AMBIENT_DNS_CAPTURE:true")
            || line.contains("AMBIENT_DNS_CAPTURE=true")
    })
}

/// Linkerd's proxy stands in the way of TCP connections, those to port 53 included.
fn judge_linkerd(cluster: &Cluster, found: &mut Vec<Finding>) {
    let injected = cluster.all(NAMESPACES).iter().filter(|namespace| {
        namespace
            .pointer("/metadata/annotations")
            .and_then(|annotations| annotations.get("linkerd.io/inject"))
            .is_some_and(|value| value == "enabled" || value == "ingress")
    });
    let names: Vec<&str> = injected.map(cluster::name).collect();
    let webhook = cluster
        .all(WEBHOOKS)
        .iter()
        .any(|hook| cluster::name(hook).starts_with("linkerd-proxy-injector"));
    if !webhook && names.is_empty() {
        return;
    }
    let place = if names.is_empty() {
        "Linkerd".to_owned()
    } else {
        format!("namespaces {}", names.join(", "))
    };
    let what = "Linkerd's proxy carries outbound TCP connections; DNS over TCP goes through it as an \
                opaque connection";
    let advice = "the annotation config.linkerd.io/skip-outbound-ports: \"53\" keeps DNS out of it";
    found.push(Finding::note("linkerd", place, what).advise(advice));
}

/// Webhooks that inject libraries.
fn judge_injectors(cluster: &Cluster, found: &mut Vec<Finding>) {
    for hook in cluster.all(WEBHOOKS) {
        let name = cluster::name(hook).to_ascii_lowercase();
        let known = INJECTORS.iter().find(|(part, ..)| name.contains(part));
        let Some((_, product, how)) = known else {
            continue;
        };
        let place = format!("MutatingWebhookConfiguration {}", cluster::name(hook));
        let what = format!("{product} injects into pods: {how}{}", selected(hook));
        let advice =
            "leave the pods that it selects out of the injection of nss-k8s, or it out of them";
        found.push(Finding::warning("injector", place, what).advise(advice));
    }
}

/// The label keys by which a webhook selects namespaces and pods.
fn selected(hook: &Value) -> String {
    let mut keys: Vec<&str> = Vec::new();
    for webhook in list(hook, "/webhooks") {
        for selector in ["/namespaceSelector", "/objectSelector"] {
            let labels = webhook.pointer(&format!("{selector}/matchLabels"));
            let labels = labels.and_then(Value::as_object).into_iter();
            keys.extend(labels.flat_map(|labels| labels.keys().map(String::as_str)));
            let expressions = list(webhook, &format!("{selector}/matchExpressions"));
            keys.extend(expressions.iter().map(|one| text(one, "/key")));
        }
    }
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() {
        String::new()
    } else {
        format!(" (selected by {})", keys.join(", "))
    }
}

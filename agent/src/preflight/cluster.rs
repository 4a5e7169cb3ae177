//! What is known of a cluster: objects as they are written, and what could not be read.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A kind of objects that is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    /// As objects spell it.
    pub(super) kind: &'static str,
    /// The API group; the core's is empty.
    pub(super) group: &'static str,
    /// The versions that are understood, the preferred one first.
    pub(super) versions: &'static [&'static str],
    /// The name of its collection.
    pub(super) plural: &'static str,
    /// Only this namespace is looked at; empty: all.
    pub(super) namespace: &'static str,
}

impl Kind {
    const fn new(
        kind: &'static str,
        group: &'static str,
        versions: &'static [&'static str],
        plural: &'static str,
    ) -> Self {
        Self {
            kind,
            group,
            versions,
            plural,
            namespace: "",
        }
    }

    const fn within(self, namespace: &'static str) -> Self {
        Self { namespace, ..self }
    }

    /// The permission that lists it, as RBAC writes it.
    pub(super) fn permission(&self) -> String {
        let dot = if self.group.is_empty() { "" } else { "." };
        let place = if self.namespace.is_empty() {
            String::new()
        } else {
            format!(" in namespace {}", self.namespace)
        };
        format!("list {}{dot}{}{place}", self.plural, self.group)
    }
}

/// Where CoreDNS and what belongs to it lives nearly everywhere.
pub(super) const SYSTEM: &str = "kube-system";
/// Where OpenShift's DNS operator puts it.
pub(super) const OPENSHIFT: &str = "openshift-dns";
/// Where Istio lives.
pub(super) const ISTIO: &str = "istio-system";

/// ConfigMaps of the cluster DNS and of kubelet.
pub(super) const CONFIG_MAPS: Kind =
    Kind::new("ConfigMap", "", &["v1"], "configmaps").within(SYSTEM);
/// Those of OpenShift.
pub(super) const OPENSHIFT_MAPS: Kind =
    Kind::new("ConfigMap", "", &["v1"], "configmaps").within(OPENSHIFT);
/// Those of Istio.
pub(super) const ISTIO_MAPS: Kind = Kind::new("ConfigMap", "", &["v1"], "configmaps").within(ISTIO);
/// All of them.
pub(super) const NAMESPACES: Kind = Kind::new("Namespace", "", &["v1"], "namespaces");
/// All of them.
pub(super) const SERVICES: Kind = Kind::new("Service", "", &["v1"], "services");
/// NodeLocal DNSCache, Istio's ztunnel and CNI node agent, DNS servers.
pub(super) const DAEMON_SETS: Kind = Kind::new("DaemonSet", "apps", &["v1"], "daemonsets");
/// Injectors.
pub(super) const WEBHOOKS: Kind = Kind::new(
    "MutatingWebhookConfiguration",
    "admissionregistration.k8s.io",
    &["v1"],
    "mutatingwebhookconfigurations",
);
/// Kubernetes' own policies.
pub(super) const NETWORK_POLICIES: Kind = Kind::new(
    "NetworkPolicy",
    "networking.k8s.io",
    &["v1"],
    "networkpolicies",
);
/// Cilium's.
pub(super) const CILIUM: Kind = Kind::new(
    "CiliumNetworkPolicy",
    "cilium.io",
    &["v2"],
    "ciliumnetworkpolicies",
);
/// Cilium's for all namespaces.
pub(super) const CILIUM_WIDE: Kind = Kind::new(
    "CiliumClusterwideNetworkPolicy",
    "cilium.io",
    &["v2"],
    "ciliumclusterwidenetworkpolicies",
);
/// Calico's.
pub(super) const CALICO: Kind = Kind::new(
    "NetworkPolicy",
    "crd.projectcalico.org",
    &["v1"],
    "networkpolicies",
);
/// Calico's for all namespaces.
pub(super) const CALICO_WIDE: Kind = Kind::new(
    "GlobalNetworkPolicy",
    "crd.projectcalico.org",
    &["v1"],
    "globalnetworkpolicies",
);
/// GKE's.
pub(super) const GKE: Kind = Kind::new(
    "FQDNNetworkPolicy",
    "networking.gke.io",
    &["v1alpha1", "v1alpha3"],
    "fqdnnetworkpolicies",
);
/// The working group's, first form.
pub(super) const ADMIN: Kind = Kind::new(
    "AdminNetworkPolicy",
    "policy.networking.k8s.io",
    &["v1alpha1"],
    "adminnetworkpolicies",
);
/// The working group's, later form.
pub(super) const CLUSTER_WIDE: Kind = Kind::new(
    "ClusterNetworkPolicy",
    "policy.networking.k8s.io",
    &["v1alpha2"],
    "clusternetworkpolicies",
);

/// Everything that is looked at.
pub(super) const KINDS: [Kind; 15] = [
    CONFIG_MAPS,
    OPENSHIFT_MAPS,
    ISTIO_MAPS,
    NAMESPACES,
    SERVICES,
    DAEMON_SETS,
    WEBHOOKS,
    NETWORK_POLICIES,
    CILIUM,
    CILIUM_WIDE,
    CALICO,
    CALICO_WIDE,
    GKE,
    ADMIN,
    CLUSTER_WIDE,
];

/// What one cluster holds.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    objects: BTreeMap<Kind, Vec<Value>>,
    /// What could not be read, in words: a permission, a file.
    pub(super) gaps: BTreeSet<String>,
}

impl Cluster {
    /// Takes one object in.
    pub(super) fn add(&mut self, kind: Kind, object: Value) {
        self.objects.entry(kind).or_default().push(object);
    }

    /// All objects of a kind.
    pub(super) fn all(&self, kind: Kind) -> &[Value] {
        self.objects.get(&kind).map_or(&[], Vec::as_slice)
    }

    /// The kind of an object that is written down, if it is one that is looked at.
    pub(super) fn kind_of(object: &Value) -> Option<Kind> {
        let version = text(object, "/apiVersion");
        let (group, _) = version.split_once('/').unwrap_or(("", version));
        // Calico's two API groups spell the same objects.
        let group = if group == "projectcalico.org" {
            CALICO.group
        } else {
            group
        };
        KINDS.into_iter().find(|kind| {
            kind.kind == text(object, "/kind")
                && kind.group == group
                && (kind.namespace.is_empty() || kind.namespace == namespace(object))
        })
    }

    /// A key of a ConfigMap's data.
    pub(super) fn datum(&self, kind: Kind, name: &str, key: &str) -> Option<&str> {
        let maps = self.all(kind).iter();
        let mut named = maps.filter(|map| self::name(map) == name);
        named.find_map(|map| map.get("data")?.get(key)?.as_str())
    }
}

/// A string in an object by its JSON pointer (RFC 6901); empty where there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A list in an object by its JSON pointer; empty where there is none.
pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Its name.
pub(super) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// Its namespace.
pub(super) fn namespace(object: &Value) -> &str {
    text(object, "/metadata/namespace")
}

/// `namespace/name`, or the name alone.
pub(super) fn title(object: &Value) -> String {
    match namespace(object) {
        "" => name(object).to_owned(),
        namespace => format!("{namespace}/{}", name(object)),
    }
}

/// The strings of a value, however deep.
pub(super) fn strings<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(fields) => fields.values().for_each(|item| strings(item, found)),
        _ => {}
    }
}

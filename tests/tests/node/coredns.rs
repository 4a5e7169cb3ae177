//! The cluster DNS: CoreDNS as a Deployment behind the Service kube-system/kube-dns.

use crate::cluster::Cluster;
use anyhow::Result;
use serde_json::json;

/// The address that kubelet writes into every pod's resolv.conf.
pub(crate) const CLUSTER_DNS: &str = "10.96.0.10";
/// What every name below outside.test has.
pub(crate) const OUTSIDE_ADDRESS: &str = "192.0.2.10";

/// Kubeadm's, but without what it needs other plugins for.
const COREFILE: &str = ".:53 {
    errors
    health {
        lameduck 0s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }
    forward . 198.51.100.53
    cache 30 {
        disable success cluster.local
        disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";

/// Applies all of it; the pod is not waited for.
pub(crate) fn deploy(cluster: &Cluster) -> Result<()> {
    let selector = json!({"k8s-app": "kube-dns"});
    let meta = |name: &str| json!({"name": name, "namespace": "kube-system", "labels": selector});
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta("coredns")},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "system:coredns"}, "rules": [
            {"apiGroups": [""], "resources": ["endpoints", "services", "pods", "namespaces"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ]},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "system:coredns"},
         "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:coredns"},
         "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}]},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("coredns"), "data": {"Corefile": COREFILE}},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta("kube-dns"), "spec": {
            "clusterIP": CLUSTER_DNS,
            "selector": selector,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
            ],
        }},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta("coredns"), "spec": {
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": selector}, "spec": {
                "serviceAccountName": "coredns",
                "priorityClassName": "system-cluster-critical",
                "dnsPolicy": "Default",
                "tolerations": [{"operator": "Exists"}],
                "containers": [{
                    "name": "coredns",
                    "image": "nss-k8s.test/coredns:1",
                    "imagePullPolicy": "Never",
                    "args": ["-conf", "/etc/coredns/Corefile"],
                    "ports": [
                        {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                        {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
                    ],
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}, "periodSeconds": 1},
                    "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns"}],
                }],
                "volumes": [{"name": "config", "configMap": {"name": "coredns"}}],
            }},
        }},
    ]}))
}

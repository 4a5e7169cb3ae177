//! Network policies of every make.

use super::*;

/// Policies: kind, its spec, the findings.
#[test]
fn policies_that_mention_dns() {
    let udp = json!({"protocol": "UDP", "port": 53});
    let tcp = json!({"port": 53});
    let network = "networking.k8s.io/v1";
    let cilium_dns = |protocol: &str| {
        json!({"egress": [
            {"toPorts": [{
                "ports": [{"port": "53", "protocol": protocol}],
                "rules": {"dns": [{"matchPattern": "*"}]},
            }]},
            {"toFQDNs": [{"matchName": "api.example.org"}]},
        ]})
    };
    let calico = |protocol: &str| {
        json!({"egress": [
            {"action": "Deny", "protocol": "TCP"},
            {"action": "Allow", "protocol": protocol, "destination": {"ports": [53]}},
        ]})
    };
    let udp_only: &[&str] = &["n udp-only", "w udp-only-namespaces"];
    let table: &[(&str, &str, Value, &[&str])] = &[
        (
            network,
            "NetworkPolicy",
            json!({"egress": [{"ports": [udp]}]}),
            udp_only,
        ),
        (
            network,
            "NetworkPolicy",
            json!({"egress": [{"ports": [udp, tcp]}]}),
            &[],
        ),
        (
            network,
            "NetworkPolicy",
            json!({"egress": [{"ports": [udp]}, {"to": []}]}),
            &[],
        ),
        (
            network,
            "NetworkPolicy",
            json!({"egress": [{"ports": [{"protocol": "UDP"}]}]}),
            udp_only,
        ),
        (
            network,
            "NetworkPolicy",
            json!({"egress": [{"ports": [{"protocol": "UDP", "port": 1, "endPort": 99}]}]}),
            udp_only,
        ),
        // Nothing is allowed: nothing changes.
        (
            network,
            "NetworkPolicy",
            json!({"policyTypes": ["Egress"]}),
            &[],
        ),
        (
            network,
            "NetworkPolicy",
            json!({"policyTypes": ["Ingress"], "egress": [{"ports": [udp]}]}),
            &[],
        ),
        (
            "cilium.io/v2",
            "CiliumNetworkPolicy",
            cilium_dns("ANY"),
            &["n fqdn-policy"],
        ),
        (
            "cilium.io/v2",
            "CiliumNetworkPolicy",
            cilium_dns("UDP"),
            &["n fqdn-policy", "n udp-only", "w udp-only-namespaces"],
        ),
        (
            "cilium.io/v2",
            "CiliumNetworkPolicy",
            json!({"egress": [{"toFQDNs": [{"matchPattern": "*.shop.svc.cluster.local"}]}]}),
            &["n fqdn-policy", "w fqdn-policy-inside"],
        ),
        (
            "crd.projectcalico.org/v1",
            "NetworkPolicy",
            calico("UDP"),
            udp_only,
        ),
        ("projectcalico.org/v3", "NetworkPolicy", calico("TCP"), &[]),
        (
            "networking.gke.io/v1alpha1",
            "FQDNNetworkPolicy",
            json!({"egress": [{"matches": [{"pattern": "*.example.org"}], "ports": [tcp]}]}),
            &["n fqdn-policy"],
        ),
        (
            "policy.networking.k8s.io/v1alpha1",
            "AdminNetworkPolicy",
            json!({"egress": [{"action": "Allow", "to": [{"domainNames": ["*.example.org"]}]}]}),
            &["n fqdn-policy"],
        ),
    ];
    for (api, kind, spec, expected) in table {
        let findings = judge(&cluster(&corefile(""), &[policy(api, kind, spec)]));
        assert_eq!(ids(&findings), *expected, "{api} {spec}");
        crate::preflight::configuration_file(&findings).expect(kind);
    }
    // Another policy for all pods of the namespace adds TCP.
    let one = policy(
        network,
        "NetworkPolicy",
        &json!({"podSelector": {"matchLabels": {"a": "b"}}, "egress": [{"ports": [udp]}]}),
    );
    let mut all = policy(
        network,
        "NetworkPolicy",
        &json!({"podSelector": {}, "egress": [{"ports": [tcp]}]}),
    );
    assert_eq!(
        judge(&cluster(&corefile(""), &[one.clone(), all.clone()])),
        []
    );
    all["metadata"]["namespace"] = json!("other");
    assert_eq!(ids(&judge(&cluster(&corefile(""), &[one, all]))), udp_only);
}

/// DNS over TCP may be dropped at the server as well.
#[test]
fn policies_of_the_cluster_dns() {
    let table = [
        (json!([{"protocol": "UDP", "port": 53}]), "kube-dns", 2),
        (
            json!([{"protocol": "UDP", "port": 53}, {"port": 53}]),
            "kube-dns",
            0,
        ),
        (
            json!([{"protocol": "UDP", "port": 53}]),
            "metrics-server",
            0,
        ),
    ];
    for (ports, app, count) in table {
        let spec = json!({
            "podSelector": {"matchLabels": {"k8s-app": app}},
            "ingress": [{"ports": ports}],
        });
        let mut policy = policy("networking.k8s.io/v1", "NetworkPolicy", &spec);
        policy["metadata"]["namespace"] = json!("kube-system");
        let findings = judge(&cluster(&corefile(""), &[policy]));
        assert_eq!(findings.len(), count, "{findings:?}");
        if count > 0 {
            assert_eq!(ids(&findings), ["n udp-only", "w udp-only-cluster"]);
        }
    }
}

fn policy(api: &str, kind: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": api, "kind": kind,
        "metadata": {"namespace": "shop", "name": "policy"}, "spec": spec,
    })
}

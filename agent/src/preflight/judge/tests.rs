//! One cluster for each rule, and a plain one that gives nothing to do.

mod policies;

use super::*;
use crate::preflight::{
    finding::{Severity, needed},
    report::Report,
};
use serde_json::json;

/// The Corefile of kubeadm, with more lines in its server block.
fn corefile(more: &str) -> String {
    format!(
        ".:53 {{\n{more}\n kubernetes cluster.local in-addr.arpa ip6.arpa {{\n pods insecure\n \
         fallthrough in-addr.arpa ip6.arpa\n }}\n forward . /etc/resolv.conf\n}}\n"
    )
}

/// A cluster with this Corefile, the usual Service and further objects.
fn cluster(corefile: &str, more: &[Value]) -> Cluster {
    let mut cluster = Cluster::default();
    let usual = [
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": "kube-system", "name": "coredns"},
            "data": {"Corefile": corefile, "fixed.hosts": "10.9.9.9 fixed.cluster.local other"},
        }),
        service("kube-system", "kube-dns", &["UDP", "TCP"]),
    ];
    for object in usual.iter().chain(more) {
        let kind = Cluster::kind_of(object).expect("a kind that is looked at");
        cluster.add(kind, object.clone());
    }
    cluster
}

fn service(namespace: &str, name: &str, protocols: &[&str]) -> Value {
    let port = |protocol: &&str| json!({"port": 53, "protocol": protocol});
    let ports: Vec<Value> = protocols.iter().map(port).collect();
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"namespace": namespace, "name": name, "labels": {"k8s-app": "kube-dns"}},
        "spec": {"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"], "ports": ports},
    })
}

/// Ids with the first letter of their severity.
fn ids(findings: &[Finding]) -> Vec<String> {
    let id = |finding: &Finding| {
        let letter = match finding.severity {
            Severity::Note => 'n',
            Severity::Warning => 'w',
            Severity::Blocker => 'b',
        };
        format!("{letter} {}", finding.id)
    };
    let mut ids: Vec<String> = findings.iter().map(id).collect();
    ids.sort();
    ids
}

#[test]
fn a_plain_cluster_needs_nothing() {
    let findings = judge(&cluster(&corefile(" errors\n ready\n loop\n"), &[]));
    assert_eq!(findings, []);
    assert_eq!(Report::new(findings, Vec::new()).status, 0);
}

/// Lines of the server block, the findings, the options that they ask for.
#[test]
fn lines_of_the_corefile() {
    let table: &[(&str, &[&str], Value)] = &[
        ("cache 30\nlog", &["n cache", "n query-log"], json!({})),
        ("autopath @kubernetes", &["n autopath"], json!({})),
        ("acl {\n block net 10.0.0.0/8\n}", &["b acl"], json!({})),
        ("dns64", &["b dns64"], json!({})),
        ("view a {\n expr true\n}", &["b view"], json!({})),
        (
            "rewrite name api.example.org api.shop.svc.cluster.local",
            &["n rewrite-external"],
            json!({}),
        ),
        (
            "rewrite stop name exact Old.shop.svc.cluster.local new.shop.svc.cluster.local.",
            &["w rewrite"],
            json!({"rewrite": [
                {"exact": "old.shop.svc.cluster.local", "to": "new.shop.svc.cluster.local."}
            ]}),
        ),
        (
            "rewrite stop {\n name suffix .old.cluster.local .shop.svc.cluster.local\n answer auto\n}",
            &["w rewrite"],
            json!({"rewrite": [{"suffix": ".old.cluster.local", "to": ".shop.svc.cluster.local"}]}),
        ),
        (
            "rewrite name regex (.*)\\.global\\.cluster\\.local\\.$ {1}.shop.svc.cluster.local",
            &["w rewrite"],
            json!({"rewrite": [{
                "regex": "(.*)\\.global\\.cluster\\.local\\.$",
                "to": "{1}.shop.svc.cluster.local",
            }]}),
        ),
        (
            "rewrite name regex (\\S+)\\.example\\.org\\.$ {1}.shop.svc.cluster.local",
            &["n rewrite-external"],
            json!({}),
        ),
        (
            "rewrite name regex (.*)global(.*) {1}x",
            &["b rewrite"],
            json!({}),
        ),
        ("rewrite name substring a b", &["b rewrite"], json!({})),
        (
            "rewrite continue name prefix a- b-",
            &["b rewrite"],
            json!({}),
        ),
        ("rewrite ttl regex (.*) 30", &["n rewrite-ttl"], json!({})),
        ("rewrite type ANY HINFO", &["b rewrite-other"], json!({})),
        (
            "hosts {\n 10.1.2.3 Ldap.cluster.local a.example\n 10.1.2.4 b.example\n fallthrough\n}",
            &["w hosts"],
            json!({"hosts": [{"names": ["ldap.cluster.local"], "addresses": ["10.1.2.3"]}]}),
        ),
        (
            "hosts /etc/coredns/fixed.hosts",
            &["w hosts"],
            json!({"hosts": [{"names": ["fixed.cluster.local"], "addresses": ["10.9.9.9"]}]}),
        ),
        (
            "hosts /etc/hosts {\n fallthrough\n}",
            &["w hosts-file"],
            json!({}),
        ),
        ("template ANY ANY", &["b template"], json!({})),
        (
            "template IN AAAA {\n rcode NOERROR\n}",
            &["n template-aaaa"],
            json!({}),
        ),
        (
            "template IN A example.org {\n answer \"x\"\n}",
            &[],
            json!({}),
        ),
        (
            "template IN A {\n match \\.example\\.org\\.$\n answer x\n}",
            &[],
            json!({}),
        ),
        (
            "template IN A corp.cluster.local {\n answer x\n}",
            &["w template"],
            json!({"kubernetes": {"except": ["corp.cluster.local"]}}),
        ),
        (
            "file /etc/db corp.cluster.local\nfile /etc/other example.org",
            &["w zone-inside"],
            json!({"kubernetes": {"except": ["corp.cluster.local"]}}),
        ),
        (
            "}\nexample.org {\n forward . 10.0.0.1",
            &["n stub-domain"],
            json!({}),
        ),
        (
            "}\nconsul.cluster.local {\n forward . 10.0.0.1",
            &["w zone-inside"],
            json!({"kubernetes": {"except": ["consul.cluster.local"]}}),
        ),
        ("import other", &["w corefile-unread"], json!({})),
    ];
    for (line, expected, settings) in table {
        // A line that closes the block opens another one: the rest of the root's follows then.
        let text = if line.starts_with('}') {
            let extra = line.trim_start_matches("}\n");
            format!("{}\n{extra}\n}}\n", corefile(""))
        } else {
            corefile(line)
        };
        let findings = judge(&cluster(&text, &[]));
        assert_eq!(ids(&findings), *expected, "{line}");
        assert_eq!(needed(&findings), *settings, "{line}");
        super::super::configuration_file(&findings).expect(line);
    }
}

/// Options of the `kubernetes` plugin.
#[test]
fn options_of_the_kubernetes_plugin() {
    let table: &[(&str, &[&str], Value)] = &[
        ("pods insecure", &[], json!({})),
        ("", &["w pods"], json!({"kubernetes": {"pods": "disabled"}})),
        (
            "pods verified",
            &["w pods"],
            json!({"kubernetes": {"pods": "verified"}}),
        ),
        (
            "pods insecure\nttl 30",
            &["n ttl"],
            json!({"kubernetes": {"ttl": 30}}),
        ),
        (
            "pods insecure\nnamespaces a b",
            &["w namespaces"],
            json!({"kubernetes": {"namespaces": ["a", "b"]}}),
        ),
        (
            "pods insecure\nnamespace_labels dns=on",
            &["w namespace-labels"],
            json!({"kubernetes": {"namespace_labels": "dns=on"}}),
        ),
        (
            "pods insecure\nlabels environment in (production, qa),tier!=x",
            &["w labels"],
            json!({"kubernetes": {"labels": "environment in (production, qa),tier!=x"}}),
        ),
        (
            "pods insecure\nignore empty_service",
            &["w ignore-empty-service"],
            json!({"kubernetes": {"ignore_empty_service": true, "endpoint_slices": "all"}}),
        ),
        (
            "pods insecure\nendpoint_pod_names",
            &["b endpoint-pod-names"],
            json!({}),
        ),
        ("pods insecure\nnoendpoints", &["n noendpoints"], json!({})),
        ("pods insecure\nzonal", &["w zonal"], json!({})),
        (
            "pods insecure\nmulticluster clusterset.local",
            &["n multicluster"],
            json!({}),
        ),
        ("pods insecure\nfallthrough in-addr.arpa", &[], json!({})),
        (
            "pods insecure\nfallthrough",
            &["w fallthrough"],
            json!({"kubernetes": {"miss_policy": "ask"}}),
        ),
        (
            "pods insecure\nkubeconfig /a b",
            &["w other-api-server"],
            json!({}),
        ),
    ];
    for (options, expected, settings) in table {
        let text = format!(". {{\n kubernetes cluster.local {{\n{options}\n}}\n}}\n");
        let findings = judge(&cluster(&text, &[]));
        assert_eq!(ids(&findings), *expected, "{options}");
        assert_eq!(needed(&findings), *settings, "{options}");
        super::super::configuration_file(&findings).expect(options);
    }
}

#[test]
fn another_apex_is_found() {
    let text = ". {\n kubernetes in-addr.arpa k8s.corp. other.zone {\n pods insecure\n }\n}";
    let kubelet = |domain: &str| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"namespace": "kube-system", "name": "kubelet-config"},
            "data": {"kubelet": format!("clusterDomain: {domain}\nclusterDNS: [10.96.0.10]\n")},
        })
    };
    let findings = judge(&cluster(text, &[kubelet("k8s.corp.")]));
    assert_eq!(ids(&findings), ["n second-zone", "w cluster-domain"]);
    assert_eq!(
        needed(&findings),
        json!({"kubernetes": {"cluster_domain": "k8s.corp"}})
    );
    let findings = judge(&cluster(text, &[kubelet("cluster.local")]));
    assert!(ids(&findings).contains(&"w cluster-domain-differs".to_owned()));
}

/// Objects beside the Corefile.
#[test]
fn other_objects() {
    let node_local = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"namespace": "kube-system", "name": "node-local-dns"},
        "spec": {"template": {"spec": {"containers": [
            {"args": ["-localip", "169.254.20.10,10.96.0.10", "-conf", "/etc/Corefile"]},
        ]}}},
    });
    let kubelet = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": "kube-system", "name": "kubelet-config"},
        "data": {"kubelet": "clusterDNS: [169.254.20.10]\n"},
    });
    let hook = |name: &str| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration", "metadata": {"name": name},
            "webhooks": [{"namespaceSelector": {"matchExpressions": [{"key": "inject"}]}}],
        })
    };
    let istio = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"namespace": "istio-system", "name": "istio"},
        "data": {"mesh": "defaultConfig:\n  proxyMetadata:\n    ISTIO_META_DNS_CAPTURE: \"true\"\n"},
    });
    let linkerd = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "mesh", "annotations": {"linkerd.io/inject": "enabled"}},
    });
    let table: &[(&[Value], &[&str], Value)] = &[
        (
            &[node_local.clone(), kubelet.clone()],
            &["w node-local-dns"],
            json!({"kubernetes": {"cluster_dns": ["169.254.20.10"]}}),
        ),
        (
            &[
                node_local,
                service("kube-system", "kube-dns-upstream", &["UDP", "TCP"]),
            ],
            &["n node-local-upstream", "w node-local-dns"],
            json!({
                "kubernetes": {"cluster_dns": ["169.254.20.10"]},
                "forward": {"upstream_service": "kube-system/kube-dns-upstream"},
            }),
        ),
        (
            &[kubelet],
            &["w kubelet-dns"],
            json!({"kubernetes": {"cluster_dns": ["169.254.20.10"]}}),
        ),
        (&[hook("dynatrace-webhook")], &["w injector"], json!({})),
        (&[hook("istio-sidecar-injector")], &[], json!({})),
        (
            &[istio],
            &["w istio-dns"],
            json!({"kubernetes": {"miss_policy": "ask"}}),
        ),
        (&[linkerd], &["n linkerd"], json!({})),
        (
            &[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})],
            // It is one.
            &["n top-level-namespace"],
            json!({}),
        ),
        (
            &[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-node"}})],
            &[],
            json!({}),
        ),
    ];
    for (objects, expected, settings) in table {
        let findings = judge(&cluster(&corefile(""), objects));
        assert_eq!(ids(&findings), *expected, "{objects:?}");
        assert_eq!(needed(&findings), *settings, "{objects:?}");
        super::super::configuration_file(&findings).expect("a configuration");
    }
}

#[test]
fn the_service_of_the_cluster_dns() {
    let judge_service = |service: Value| {
        let mut cluster = Cluster::default();
        cluster.add(cluster::SERVICES, service);
        let mut found = Vec::new();
        service::judge(&Dns::default(), &cluster, &mut found);
        found
    };
    let usual = service("kube-system", "kube-dns", &["UDP", "TCP"]);
    assert_eq!(judge_service(usual), []);
    let found = judge_service(service("kube-system", "kube-dns", &["UDP"]));
    assert_eq!(ids(&found), ["w dns-without-tcp"]);
    // What the agent finds by itself needs no setting.
    let mut other = service("kube-system", "rke2-coredns-rke2-coredns", &["UDP", "TCP"]);
    assert_eq!(judge_service(other.clone()), []);
    other["metadata"]["labels"] = json!({});
    assert_eq!(ids(&judge_service(other)), ["n dns-label"]);
    let mut third = service("kube-system", "my-coredns", &["UDP", "TCP"]);
    third["metadata"]["labels"] = json!({});
    assert_eq!(
        needed(&judge_service(third.clone())),
        json!({"kubernetes": {"cluster_dns_service": "kube-system/my-coredns"}})
    );
    assert_eq!(ids(&judge_service(third)), ["n dns-label", "w dns-service"]);
    let found = judge_service(service("shop", "api", &["TCP"]));
    assert_eq!(ids(&found), ["b dns-service-absent"]);
}

#[test]
fn without_a_corefile_nothing_is_certain() {
    let mut kube_dns = Cluster::default();
    let map = json!({"metadata": {"namespace": "kube-system", "name": "kube-dns"}, "data": {}});
    kube_dns.add(CONFIG_MAPS, map);
    assert_eq!(ids(&judge(&kube_dns)), ["n kube-dns"]);
    assert_eq!(ids(&judge(&Cluster::default())), ["w corefile-absent"]);
    let findings = judge(&cluster("example.org {\n whoami\n}", &[]));
    assert!(ids(&findings).contains(&"w kubernetes-absent".to_owned()));
}

#[test]
fn the_status_is_that_of_the_gravest() {
    let warning = || Finding::warning("w", "", "").set("kubernetes.ttl", 5);
    let mut set = warning();
    set.is_set = true;
    let gap = || vec!["list x".to_owned()];
    for (findings, gaps, expected) in [
        (vec![], vec![], 0),
        (vec![set], vec![], 0),
        (vec![warning()], vec![], 1),
        (vec![warning()], gap(), 3),
        (vec![Finding::blocker("b", "", ""), warning()], gap(), 2),
    ] {
        assert_eq!(Report::new(findings, gaps).status, expected);
    }
}

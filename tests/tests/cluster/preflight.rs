//! `nss-k8s preflight` against a real API server: what it finds, what it may not see, and that files
//! say the same.

use crate::control_plane::{ControlPlane, shared, until};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::artifacts;
use serde_json::{Value, json};
use std::{collections::BTreeSet, path::Path, process::Command};

/// What the cluster is given: collection, object.
fn objects() -> Vec<(&'static str, Value)> {
    let corefile = ".:53 {
    hosts {
        10.9.8.7 fixed.cluster.local
        fallthrough
    }
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods verified
        namespaces shop
        fallthrough in-addr.arpa ip6.arpa
    }
    forward . /etc/resolv.conf
}
import custom/*.server
";
    let custom = "corp.cluster.local:53 {\n    forward . 10.0.0.9\n}\n";
    let preserved = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    vec![
        (
            "/api/v1/namespaces",
            json!({"metadata": {"name": "preflight"}}),
        ),
        (
            "/api/v1/namespaces/kube-system/configmaps",
            json!({"metadata": {"name": "coredns"}, "data": {"Corefile": corefile}}),
        ),
        (
            "/api/v1/namespaces/kube-system/configmaps",
            json!({"metadata": {"name": "coredns-custom"}, "data": {"corp.server": custom}}),
        ),
        (
            "/apis/networking.k8s.io/v1/namespaces/preflight/networkpolicies",
            json!({
                "metadata": {"name": "dns"},
                "spec": {
                    "podSelector": {},
                    "policyTypes": ["Egress"],
                    "egress": [{"ports": [{"protocol": "UDP", "port": 53}]}],
                },
            }),
        ),
        (
            "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
            // For objects that nobody makes: it must not be called.
            json!({
                "metadata": {"name": "dynatrace-webhook"},
                "webhooks": [{
                    "name": "webhook.pod.dynatrace.com",
                    "clientConfig": {"url": "https://127.0.0.1:1/inject"},
                    "rules": [{
                        "apiGroups": ["none.example"], "apiVersions": ["v1"],
                        "resources": ["nothing"], "operations": ["CREATE"],
                    }],
                    "failurePolicy": "Ignore", "sideEffects": "None",
                    "admissionReviewVersions": ["v1"],
                }],
            }),
        ),
        (
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            json!({
                "metadata": {"name": "ciliumnetworkpolicies.cilium.io"},
                "spec": {
                    "group": "cilium.io", "scope": "Namespaced",
                    "names": {
                        "plural": "ciliumnetworkpolicies", "kind": "CiliumNetworkPolicy",
                    },
                    "versions": [{
                        "name": "v2", "served": true, "storage": true,
                        "schema": {"openAPIV3Schema": preserved},
                    }],
                },
            }),
        ),
        (
            "/apis/cilium.io/v2/namespaces/preflight/ciliumnetworkpolicies",
            json!({
                "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
                "metadata": {"name": "by-name"},
                "spec": {"egress": [{"toFQDNs": [{"matchName": "api.example.org"}]}]},
            }),
        ),
    ]
}

/// Every kind of finding by the API; the same from files; and with the agent's own few rights the
/// permissions that are missing.
#[test]
fn preflight_reads_a_real_cluster() -> Result<()> {
    let plane = shared();
    let api = &plane.administrator;
    let objects = objects();
    for (collection, object) in &objects {
        // The collection of a new kind takes a moment to be served.
        until(collection, || match api.try_create(collection, object) {
            Ok(_) => Ok(Some(())),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error).with_context(|| format!("create in {collection}")),
        })?;
    }
    let result = judge(&plane);
    // The others find the cluster as it was.
    for (collection, object) in objects.iter().rev() {
        let name = object["metadata"]["name"].as_str().context("name")?;
        api.delete(&format!("{collection}/{name}"))?;
    }
    result
}

fn judge(plane: &ControlPlane) -> Result<()> {
    let administrator = plane.certificates().join("administrator.kubeconfig");
    let by_server = |kubeconfig: &Path, rest: &[&str]| preflight("--kubeconfig", kubeconfig, rest);

    let (status, report) = by_server(&administrator, &["--output=json"])?;
    let report: Value = serde_json::from_str(&report).context(report)?;
    let mine = ids(&report);
    for id in [
        "hosts",
        "pods",
        "namespaces",
        "zone-inside",
        "udp-only",
        "udp-only-namespaces",
        "fqdn-policy",
        "injector",
    ] {
        ensure!(mine.contains(id), "{id} is not in {report:#}");
    }
    ensure!(status == 1, "warnings are status 1: {status}, {report:#}");
    ensure!(report["not_read"] == json!([]), "{report:#}");

    let (_, text) = by_server(&administrator, &["--print-config"])?;
    let needed: Value = serde_saphyr::from_str(&text).context(text.clone())?;
    ensure!(
        needed["kubernetes"]["pods"] == "verified"
            && needed["kubernetes"]["namespaces"] == json!(["shop"])
            && needed["kubernetes"]["except"] == json!(["corp.cluster.local"])
            && needed["classes"][0]["namespaces"] == json!(["preflight"]),
        "{text}"
    );

    // The same with that configuration: nothing but what no option can do is left.
    let directory = tempfile::tempdir()?;
    let config = directory.path().join("nss-k8s.yaml");
    std::fs::write(&config, &text)?;
    let flag = format!("--config={}", config.display());
    let (status, report) = by_server(&administrator, &["--output=json", &flag])?;
    let report: Value = serde_json::from_str(&report)?;
    let warnings = with_severity(&report, "warning");
    ensure!(
        status == 1 && warnings == BTreeSet::from(["injector"]),
        "left: {warnings:?} of {report:#}"
    );

    // Files say what the server says.
    let files = tempfile::tempdir()?;
    for (name, path) in [
        ("maps", "/api/v1/namespaces/kube-system/configmaps"),
        ("namespaces", "/api/v1/namespaces"),
        ("services", "/api/v1/services"),
        ("policies", "/apis/networking.k8s.io/v1/networkpolicies"),
        ("cilium", "/apis/cilium.io/v2/ciliumnetworkpolicies"),
        (
            "webhooks",
            "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
        ),
    ] {
        let list = plane.administrator.get(path)?;
        std::fs::write(files.path().join(format!("{name}.json")), list.to_string())?;
    }
    let (status, offline) = preflight("--manifests", files.path(), &["--output=json"])?;
    let offline: Value = serde_json::from_str(&offline).context(offline)?;
    ensure!(status == 1 && ids(&offline) == mine, "{offline:#}");

    // The agent's own rights: services and namespaces, nothing else.
    let (status, report) = by_server(&plane.agent_kubeconfig(), &["--output=json"])?;
    let report: Value = serde_json::from_str(&report).context(report)?;
    let gaps = report["not_read"].to_string();
    ensure!(status == 3, "what was not read is status 3: {status}");
    for permission in [
        "list configmaps in namespace kube-system",
        "list networkpolicies.networking.k8s.io",
        "list ciliumnetworkpolicies.cilium.io",
    ] {
        ensure!(gaps.contains(permission), "{permission}: {gaps}");
    }
    ensure!(!gaps.contains("list services"), "{gaps}");
    Ok(())
}

/// A server that is not there is status 3, with one line that says so.
#[test]
fn preflight_without_a_server_says_so() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("kubeconfig");
    std::fs::write(
        &file,
        "apiVersion: v1\nkind: Config\ncurrent-context: a\nclusters: [{name: a, cluster: {server: \
         'http://127.0.0.1:1'}}]\ncontexts: [{name: a, context: {cluster: a, user: a}}]\nusers: \
         [{name: a, user: {}}]\n",
    )?;
    let output = Command::new(artifacts::agent()?)
        .args(["preflight", "--kubeconfig"])
        .arg(&file)
        .output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(3), "{} {words}", output.status);
    ensure!(
        words.lines().count() == 1 && words.contains("cannot ask the API server"),
        "{words}"
    );
    Ok(())
}

/// The status and what is printed.
fn preflight(source: &str, of: &Path, rest: &[&str]) -> Result<(i32, String)> {
    let output = Command::new(artifacts::agent()?)
        .args(["preflight", source])
        .arg(of)
        .args(rest)
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(errors.is_empty(), "{errors}");
    Ok((output.status.code().context("killed")?, text))
}

/// The ids of all findings.
fn ids(report: &Value) -> BTreeSet<&str> {
    let findings = report["findings"].as_array().into_iter().flatten();
    findings.filter_map(|one| one["id"].as_str()).collect()
}

/// The ids of the findings of one severity.
fn with_severity<'a>(report: &'a Value, severity: &str) -> BTreeSet<&'a str> {
    let findings = report["findings"].as_array().into_iter().flatten();
    findings
        .filter(|one| one["severity"] == severity)
        .filter_map(|one| one["id"].as_str())
        .collect()
}

//! A webhook that mounts on our path, after our policy has: webhooks run later.

use crate::{
    chart, cluster,
    load::Load,
    machine,
    pods::{Image, Namespace},
};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts,
    process::{Process, until},
};
use serde_json::json;
use std::{net::TcpStream, process::Command};

/// Where the webhook listens.
const PORT: &str = "9443";

/// The pod is admitted and runs: with the webhook's file and as if we were not there, while its neighbor that the
/// webhook leaves alone has us.
#[test]
fn a_webhook_on_our_path_keeps_its_mount_and_the_pod_is_admitted() -> Result<()> {
    let cluster = cluster::shared();
    chart::installed(&cluster)?;
    let folder = cluster.scratch("webhook")?;
    let keys = cluster.certificates();
    let mut command = Command::new("python3");
    command
        .arg(artifacts::fixture("node/webhook.py"))
        .args([machine::ADDRESS, PORT])
        .args([keys.join("server.crt"), keys.join("server.key")]);
    let _webhook = Process::start(&mut command, folder.join("webhook.log"))?;
    until("the webhook to listen", || {
        Ok(TcpStream::connect(format!("{}:{PORT}", machine::ADDRESS)).ok())
    })?;
    let namespace = Namespace::injected(&cluster, "webhook")?;
    let authority = std::fs::read(keys.join("authority.crt"))?;
    cluster.apply(&json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "foreign", "namespace": "webhook"},
         "data": {"ld.so.preload": ""}},
        {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
         "metadata": {"name": "foreign"},
         "webhooks": [{
            "name": "foreign.test.invalid",
            "clientConfig": {"url": format!("https://{}:{PORT}/", machine::ADDRESS), "caBundle": base64(&authority)},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "webhook"}},
            "objectSelector": {"matchLabels": {"foreign": "yes"}},
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
         }]},
    ]}))?;
    let program = Image::Debian.program("load");
    let wish = format!("web={}", namespace.web);
    let mut manifest = namespace.manifest("both", Image::Debian, &[&program, "20", &wish]);
    manifest["metadata"]["labels"] = json!({"foreign": "yes"});
    // The API server may still be taking the webhook in.
    cluster.until("the webhook to be called", || {
        cluster.create(&manifest)?;
        let pod = cluster.get("pods", "webhook", "both")?;
        if pod.to_string().contains("foreign.test.invalid")
            || pod["spec"]["volumes"].to_string().contains("\"foreign\"")
        {
            return Ok(Some(()));
        }
        cluster.kubectl(&["-n", "webhook", "delete", "pod", "both", "--now"])?;
        Ok(None)
    })?;
    let pod = namespace.running("both")?;
    let described = cluster.get("pods", "webhook", "both")?;
    let mounts = described["spec"]["containers"][0]["volumeMounts"]
        .as_array()
        .context("no mounts")?;
    let on_path: Vec<_> = mounts
        .iter()
        .filter(|mount| mount["mountPath"] == "/etc/ld.so.preload")
        .collect();
    ensure!(
        on_path.len() == 1 && on_path[0]["name"] == "foreign",
        "{on_path:?}"
    );
    let answer = pod.exec(&["getent", "ahostsv4", "web"])?;
    ensure!(answer.starts_with(&namespace.web), "getent: {answer}");

    let neighbor = Load::cluster_names(&namespace, "neighbor", Image::Debian)?;
    neighbor.expect_silence()?;
    cluster.kubectl(&["delete", "mutatingwebhookconfiguration", "foreign"])?;
    namespace.delete()
}

/// Base 64 (RFC 4648), as the API wants certificates.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut bits = 0_u32;
        for place in 0..3 {
            bits = bits << 8 | u32::from(chunk.get(place).copied().unwrap_or_default());
        }
        for place in 0..4 {
            let digit = (bits >> (18 - 6 * place)) & 63;
            text.push(if place <= chunk.len() {
                char::from(DIGITS[digit as usize])
            } else {
                '='
            });
        }
    }
    text
}

//! A static Go program, which no library can help: the agent's own DNS listener answers it.

use crate::{
    chart, cluster,
    cluster::{Cluster, text},
    coredns,
    pods::{Image, Namespace},
};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::process::Command;

/// The usual address of a node-local listener; the chart's default.
const LISTENER: &str = "169.254.20.10";

/// Cluster names come from the node's zone: the cluster DNS is not even running. Names of the rest of the world come
/// through the forwarder once it runs.
#[test]
fn a_static_go_program_is_answered_by_the_listener() -> Result<()> {
    let cluster = cluster::shared();
    chart::installed(&cluster)?;
    // As whoever configures the node would.
    let address = format!("{LISTENER}/32");
    text(
        Command::new("ip")
            .args(["address", "replace", &address, "dev", "lo"])
            .output()?,
    )?;
    chart::upgrade(&cluster, &["--set", "listener.enabled=true"])?;
    let namespace = Namespace::create(&cluster, "golang", &json!({}))?;

    scale_coredns(&cluster, 0)?;
    let short = look_up(&namespace, "short", &["ip4", "web"]);
    let full = look_up(
        &namespace,
        "full",
        &["ip4", "kubernetes.default.svc.cluster.local."],
    );
    scale_coredns(&cluster, 1)?;
    let (short, full) = (short?, full?);
    ensure!(short == namespace.web, "web: {short}");
    ensure!(full == "10.96.0.1", "kubernetes.default: {full}");
    // The forwarder, and kube-proxy, learn after a moment that it runs again.
    let mut attempts = 0;
    cluster.until("an answer through the forwarder", || {
        attempts += 1;
        let name = format!("outside-{attempts}");
        let outside = look_up(&namespace, &name, &["ip4", "www.outside.test."])?;
        println!("static Go, outside, attempt {attempts}: {outside}");
        Ok((outside == coredns::OUTSIDE_ADDRESS).then_some(()))
    })?;
    namespace.delete()?;
    chart::upgrade(&cluster, &[])
}

/// What a Go program printed, in a pod whose only name server is the listener.
fn look_up(namespace: &Namespace<'_>, name: &str, question: &[&str]) -> Result<String> {
    let cluster = namespace.cluster;
    let mut command = vec!["/go-lookup"];
    command.extend(question);
    let mut manifest = namespace.manifest(name, Image::Golang, &command);
    manifest["spec"]["restartPolicy"] = json!("Never");
    manifest["spec"]["dnsPolicy"] = json!("None");
    manifest["spec"]["dnsConfig"] = json!({
        "nameservers": [LISTENER],
        "searches": [
            format!("{}.svc.cluster.local", namespace.name),
            "svc.cluster.local",
            "cluster.local",
        ],
        "options": [{"name": "ndots", "value": "5"}],
    });
    cluster.create(&manifest)?;
    let phase = cluster.until("the program to end", || {
        let pod = cluster.get("pods", &namespace.name, name)?;
        let phase = pod["status"]["phase"]
            .as_str()
            .context("no phase")?
            .to_owned();
        Ok(["Succeeded", "Failed"]
            .contains(&phase.as_str())
            .then_some(phase))
    })?;
    let said = cluster.kubectl(&["-n", &namespace.name, "logs", name])?;
    ensure!(phase == "Succeeded", "{question:?}: {said}");
    Ok(said.trim().to_owned())
}

/// Starts or stops the cluster DNS, and waits until it is so.
fn scale_coredns(cluster: &Cluster, replicas: usize) -> Result<()> {
    let count = format!("--replicas={replicas}");
    cluster.kubectl(&["-n", "kube-system", "scale", "deployment/coredns", &count])?;
    cluster.until("the cluster DNS to be scaled", || {
        let pods = cluster.list("pods", "kube-system", "k8s-app=kube-dns")?;
        Ok((pods.len() == replicas).then_some(()))
    })?;
    cluster.wait_for("kube-system", &["rollout", "status", "deployment/coredns"])
}

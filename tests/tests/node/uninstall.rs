//! How an operator gets out again, in the order of docs/OPERATIONS.md.

use crate::{
    chart::{self, RELEASE},
    cluster,
    load::Load,
    machine,
    pods::{Image, Namespace},
};
use anyhow::{Context, Result, ensure};

/// Helm refuses while a pod has the volume, and nothing changes for that pod; in the documented order it goes, leaves
/// nothing on the node, and pods are answered by the cluster DNS again.
#[test]
fn an_uninstall_refuses_then_leaves_nothing() -> Result<()> {
    let cluster = cluster::shared();
    chart::installed(&cluster)?;
    let namespace = Namespace::injected(&cluster, "leaving")?;
    let load = Load::cluster_names(&namespace, "load", Image::Debian)?;
    load.expect_silence()?;

    let refusal = cluster
        .helm(&["uninstall", RELEASE, "--namespace", RELEASE])
        .err()
        .context("helm uninstalled the driver under a pod")?;
    println!(
        "uninstall: refused: {}",
        format!("{refusal:#}").lines().next().unwrap_or_default()
    );
    ensure!(
        cluster.get("csidrivers", "", "csi.nss-k8s.io").is_ok(),
        "the driver is gone all the same"
    );
    chart::ready(&cluster)?;
    load.expect_silence()?;

    // Helm calls the release `uninstalling` from then on, and upgrades none such.
    let status = cluster.helm(&[
        "status",
        RELEASE,
        "--namespace",
        RELEASE,
        "--output",
        "json",
    ])?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    let revision = status["version"].to_string();
    cluster.helm(&["rollback", RELEASE, &revision, "--namespace", RELEASE])?;
    // 1. Injection off; 2. the workloads made again; 3. uninstall.
    chart::upgrade(&cluster, &["--set", "injection.enabled=false"])?;
    load.expect_silence()?;
    load.pod.delete()?;
    let without = Load::cluster_names(&namespace, "without", Image::Debian)?;
    let pod = cluster.get("pods", &namespace.name, "without")?;
    ensure!(
        !pod.to_string().contains("csi.nss-k8s.io"),
        "it has the volume: {pod}"
    );
    cluster.helm(&["uninstall", RELEASE, "--namespace", RELEASE])?;
    cluster.until("the DaemonSet's pod to be gone", || {
        let pods = cluster.list("pods", RELEASE, "app.kubernetes.io/name=nss-k8s")?;
        Ok(pods.is_empty().then_some(()))
    })?;
    for kind in [
        "csidrivers",
        "clusterroles",
        "clusterrolebindings",
        "mutatingadmissionpolicies",
    ] {
        let left = cluster.kubectl(&["get", kind, "-o", "name"])?;
        let ours: Vec<&str> = left
            .lines()
            .filter(|name| name.contains("nss-k8s"))
            .collect();
        ensure!(ours.is_empty(), "left over: {ours:?}");
    }
    ensure!(
        machine::volumes_mounted()? == 0,
        "mounts of pods are left over"
    );
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    let left: Vec<&str> = mounts
        .lines()
        .filter(|line| line.contains("/run/nss-k8s"))
        .collect();
    ensure!(left.is_empty(), "left mounted: {left:?}");
    without.expect_no_failure()?;
    ensure!(without.packets.seen()?.udp > 0, "who answered?");

    chart::installed(&cluster)?;
    let again = Load::cluster_names(&namespace, "again", Image::Debian)?;
    again.expect_silence()?;
    namespace.delete()
}

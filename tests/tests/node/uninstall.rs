//! How an operator gets out again, in the order of docs/OPERATIONS.md, and in a hurry.

use crate::{
    chart::{self, RELEASE},
    cluster::{self, Cluster},
    load::{self, Load},
    machine,
    pods::{Image, Namespace},
};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::fs;

/// Who the hook is that looks before an uninstall.
const HOOK: &str = "nss-k8s-removable";

/// Helm refuses while a pod has the volume, and nothing changes for that pod; in the documented order it goes under load,
/// leaves nothing on the node, and pods are answered by the cluster DNS again. No lookup fails at any step.
#[test]
fn an_uninstall_refuses_then_leaves_nothing() -> Result<()> {
    let cluster = cluster::shared();
    chart::installed(&cluster)?;
    let namespace = Namespace::injected(&cluster, "leaving")?;
    let load = Load::cluster_names(&namespace, "load", Image::Debian)?;
    load.expect_silence()?;

    refused(&cluster, "leaving/load")?;
    load.expect_silence()?;

    // 1. Injection off.
    chart::upgrade(&cluster, &["--set", "injection.enabled=false"])?;
    load.expect_silence()?;
    // 2. The workloads made again, as a rollout does it: the new pods first, then the old one ends.
    let successors = [
        Load::cluster_names(&namespace, "debian", Image::Debian)?,
        Load::cluster_names(&namespace, "musl", Image::Musl)?,
    ];
    for pod in cluster.list("pods", &namespace.name, "")? {
        let ours = pod["spec"]["volumes"]
            .to_string()
            .contains("csi.nss-k8s.io");
        ensure!(
            ours == (pod["metadata"]["name"] == "load"),
            "who has the volume? {pod}"
        );
    }
    load.expect_silence()?;
    load.pod.delete()?;
    // 3. Uninstall, while the successors look names up.
    cluster.helm(&["uninstall", RELEASE, "--namespace", RELEASE])?;
    gone(&cluster)?;
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
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let left: Vec<&str> = mounts
        .lines()
        .filter(|line| line.contains("/run/nss-k8s"))
        .collect();
    ensure!(left.is_empty(), "left mounted: {left:?}");
    // The cluster DNS answers them, and did all the while.
    for load in &successors {
        let count = load.expect_no_failure()?;
        let seen = load.packets.seen()?;
        println!("uninstall: {}: {count:?}, {seen:?}", load.pod.name);
        ensure!(
            seen.udp > count.lookups / 4,
            "who answered? {seen:?} during {count:?}"
        );
    }

    chart::installed(&cluster)?;
    let again = Load::cluster_names(&namespace, "again", Image::Debian)?;
    again.expect_silence()?;
    namespace.delete()
}

/// Driver and agent go while processes with the library look names up (hooks skipped, or the DaemonSet deleted): no lookup
/// fails. Hits are answered from the last zone without a packet; after 30 s without an agent, misses are asked of the
/// cluster DNS. Installed again, all of it is answered in process again, and the pods end as they should.
#[test]
fn a_driver_that_goes_before_its_pods_fails_no_lookup() -> Result<()> {
    let cluster = cluster::shared();
    chart::installed(&cluster)?;
    let others = machine::volumes_mounted()?;
    let namespace = Namespace::injected(&cluster, "orphaned")?;
    let hits = [
        Load::hits(&namespace, "hits", Image::Debian)?,
        Load::hits(&namespace, "hits-musl", Image::Musl)?,
    ];
    let walks = Load::cluster_names(&namespace, "walks", Image::Debian)?;
    let outside = Load::outside_names(&namespace, "outside", Image::Debian)?;
    load::expect_silence(hits.iter().chain([&walks]))?;

    cluster.helm(&["uninstall", RELEASE, "--namespace", RELEASE, "--no-hooks"])?;
    gone(&cluster)?;
    ensure!(
        cluster.get("csidrivers", "", "csi.nss-k8s.io").is_err(),
        "the driver's object is still there"
    );
    cluster.until("a miss to be asked of the cluster DNS", || {
        Ok((!walks.packets.seen()?.is_empty()).then_some(()))
    })?;
    load::expect_silence(&hits)?;
    for load in [&walks, &outside] {
        load.expect_no_failure()?;
    }
    for load in hits.iter().chain([&walks]) {
        println!(
            "without the driver: {}: {:?}, {:?}",
            load.pod.name,
            load.count()?,
            load.packets.seen()?
        );
    }

    chart::installed(&cluster)?;
    cluster.until("misses to be answered in process again", || {
        let before = walks.packets.seen()?;
        walks.advance(200)?;
        Ok((walks.packets.seen()? == before).then_some(()))
    })?;
    walks.expect_no_failure()?;
    load::expect_silence(&hits)?;
    namespace.delete()?;
    ensure!(
        machine::volumes_mounted()? == others,
        "mounts of pods that are gone"
    );
    Ok(())
}

/// What the hook may do, by the API server's own word: list pods and namespaces, read the one ConfigMap; nothing is written,
/// no secret read. Before and after nobody has these rights. That they suffice is shown by the refusal above.
#[test]
fn the_removal_hook_may_look_and_no_more() -> Result<()> {
    let cluster = cluster::shared();
    chart::installed(&cluster)?;
    for kind in ["clusterrole", "clusterrolebinding"] {
        ensure!(
            cluster.get(kind, "", HOOK).is_err(),
            "the {kind} is there although nothing is being removed"
        );
    }
    let hooks = cluster.helm(&["get", "hooks", RELEASE, "--namespace", RELEASE])?;
    let granted: Vec<&str> = hooks
        .split("---\n")
        .filter(|object| {
            object.lines().any(|line| {
                [
                    "kind: ServiceAccount",
                    "kind: ClusterRole",
                    "kind: ClusterRoleBinding",
                ]
                .contains(&line)
            })
        })
        .collect();
    ensure!(granted.len() == 3, "other hooks than these:\n{hooks}");
    let file = cluster.scratch("removal")?.join("rights.yaml");
    fs::write(&file, granted.join("---\n"))?;
    let file = file.to_str().context("path")?;
    cluster.kubectl(&["apply", "-f", file])?;
    for (request, granted) in [
        ("list pods", true),
        ("list namespaces", true),
        ("get configmaps/nss-k8s-injection", true),
        ("watch pods", false),
        ("delete pods", false),
        ("create pods", false),
        ("create pods/eviction", false),
        ("patch namespaces", false),
        ("list configmaps", false),
        ("get configmaps/nss-k8s", false),
        ("update configmaps/nss-k8s-injection", false),
        ("list secrets", false),
        ("get secrets", false),
        ("list nodes", false),
        ("delete daemonsets.apps", false),
        ("delete csidrivers.storage.k8s.io", false),
    ] {
        ensure!(
            may(&cluster, request)? == granted,
            "{request}: expected {granted}"
        );
    }
    cluster.kubectl(&["delete", "-f", file]).map(drop)
}

/// `helm uninstall` is refused, for the named pod and not for want of a right, and the driver stays. Then the release is
/// brought back to where it can be upgraded: helm calls it `uninstalling`, and upgrades none such.
fn refused(cluster: &Cluster, pod: &str) -> Result<()> {
    let refusal = cluster
        .helm(&["uninstall", RELEASE, "--namespace", RELEASE])
        .err()
        .context("helm uninstalled the driver under a pod")?;
    println!(
        "uninstall: refused: {}",
        format!("{refusal:#}").lines().next().unwrap_or_default()
    );
    let said = cluster.kubectl(&["-n", RELEASE, "logs", &format!("job/{HOOK}")])?;
    ensure!(
        said.contains(pod) && said.contains("the injection is on"),
        "the hook did not name {pod}: {said}"
    );
    ensure!(
        cluster.get("clusterrolebinding", "", HOOK).is_err(),
        "the hook's rights outlive it"
    );
    ensure!(
        cluster.get("csidrivers", "", "csi.nss-k8s.io").is_ok(),
        "the driver is gone all the same"
    );
    chart::ready(cluster)?;
    let status = cluster.helm(&[
        "status",
        RELEASE,
        "--namespace",
        RELEASE,
        "--output",
        "json",
    ])?;
    let status: Value = serde_json::from_str(&status)?;
    let revision = status["version"].to_string();
    cluster
        .helm(&["rollback", RELEASE, &revision, "--namespace", RELEASE])
        .map(drop)
}

/// Waits until the node runs neither driver nor agent.
fn gone(cluster: &Cluster) -> Result<()> {
    cluster.until("the DaemonSet's pod to be gone", || {
        let pods = cluster.list("pods", RELEASE, "app.kubernetes.io/name=nss-k8s")?;
        Ok(pods.is_empty().then_some(()))
    })
}

/// Whether the hook's account may `VERB RESOURCE[/NAME]`, in every namespace where that is a question.
fn may(cluster: &Cluster, request: &str) -> Result<bool> {
    let account = format!("system:serviceaccount:{RELEASE}:{HOOK}");
    let mut command = cluster.kubectl_command(&["auth", "can-i", "-n", RELEASE, "--as", &account]);
    command.args(request.split(' '));
    let output = command.output()?;
    match String::from_utf8_lossy(&output.stdout).trim() {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => anyhow::bail!(
            "can-i {request}: {other}{}",
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

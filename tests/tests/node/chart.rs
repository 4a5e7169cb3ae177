//! The chart under test: installed once, changed and put back by the tests that do so.

use crate::{cluster::Cluster, machine};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::artifacts;
use std::time::Instant;

/// The release's namespace, and its name.
pub(crate) const RELEASE: &str = "nss-k8s";

/// Installs the chart of this tree, or puts it back to the tests' values, and waits until the agent is ready.
pub(crate) fn installed(cluster: &Cluster) -> Result<()> {
    let began = Instant::now();
    let first = cluster.get("daemonsets", RELEASE, RELEASE).is_err();
    upgrade(cluster, &[])?;
    if first {
        println!("chart: installed and ready after {:.1?}", began.elapsed());
    }
    Ok(())
}

/// `helm upgrade --install` with the tests' values and further arguments (`--set ...`); waits until the new agent is ready.
pub(crate) fn upgrade(cluster: &Cluster, arguments: &[&str]) -> Result<()> {
    let chart = artifacts::repository().join("deploy/chart");
    let values = artifacts::fixture("node/values.yaml");
    let (chart, values) = (chart.display().to_string(), values.display().to_string());
    let mut all = vec!["upgrade", "--install", RELEASE, &chart];
    all.extend([
        "--namespace",
        RELEASE,
        "--create-namespace",
        "--values",
        &values,
    ]);
    all.extend(arguments);
    cluster.helm(&all)?;
    ready(cluster)
}

/// Waits until the DaemonSet's pods are those of its newest template, and ready.
pub(crate) fn ready(cluster: &Cluster) -> Result<()> {
    cluster.wait_for(RELEASE, &["rollout", "status", "daemonset/nss-k8s"])
}

/// What a command of the agent's program says, run in its container (`dump`, `query`, ...) over the node's folder.
pub(crate) fn ask_agent(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let program = ["-c", "agent", "--", "/nss-k8s"];
    let mut all = vec!["-n", RELEASE, "exec", "daemonset/nss-k8s"];
    all.extend(program);
    all.extend(arguments);
    all.push("--dir=/run/nss-k8s/node");
    cluster.kubectl(&all)
}

/// The process of the container `agent` or `csi` on the node, as the node counts: to kill, or to look at.
pub(crate) fn process(cluster: &Cluster, container: &str) -> Result<u32> {
    let pods = cluster.list("pods", RELEASE, "app.kubernetes.io/name=nss-k8s")?;
    ensure!(pods.len() == 1, "{} pods of the DaemonSet", pods.len());
    let statuses = ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .filter_map(|kind| pods[0]["status"][kind].as_array())
        .flatten();
    let id = statuses
        .into_iter()
        .find(|status| status["name"] == container)
        .and_then(|status| status["containerID"].as_str());
    machine::process_of(id.with_context(|| format!("no container {container}"))?)
}

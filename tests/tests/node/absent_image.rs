//! A rollout to an image that the node cannot get, and twenty pods that start meanwhile.

use crate::{
    chart::{self, RELEASE},
    cluster::{self, Cluster},
    load::Load,
    machine,
    pods::{Image, Namespace},
};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

/// For how long there is neither agent nor driver.
const OUTAGE: Duration = Duration::from_secs(60);
/// Pods that start meanwhile.
const PODS: usize = 20;

/// Pods that run go on without a packet and without a failure; pods that start wait, and come up by themselves as soon
/// as the image is there again.
#[test]
fn twenty_pods_wait_for_an_absent_image_and_no_running_pod_notices() -> Result<()> {
    let cluster = cluster::shared();
    chart::installed(&cluster)?;
    let namespace = Namespace::injected(&cluster, "absent-image")?;
    // Names that are hits at the first candidate: after 30 s without an agent, misses are left to DNS (by design).
    let hits = Load::hits(&namespace, "hits", Image::Debian)?;
    let walks = Load::cluster_names(&namespace, "walks", Image::Musl)?;
    hits.expect_silence()?;

    set_image(&cluster, "nss-k8s:nowhere")?;
    cluster.until("the driver's pod to have no image", || {
        let pods = cluster.list("pods", RELEASE, "app.kubernetes.io/name=nss-k8s")?;
        let stuck = pods
            .iter()
            .any(|pod| pod.to_string().contains("ErrImageNeverPull"));
        Ok((stuck && pods.len() == 1).then_some(()))
    })?;
    let gone = Instant::now();
    let program = Image::Debian.program("load");
    let names: Vec<String> = (0..PODS)
        .map(|number| format!("waiting-{number}"))
        .collect();
    let pods: Vec<_> = names
        .iter()
        .map(|name| namespace.manifest(name, Image::Debian, &[&program, "wait"]))
        .collect();
    cluster.create(&json!({"apiVersion": "v1", "kind": "List", "items": pods}))?;
    // The outage itself is what is tested: its length is the test's, and the load says that time passes.
    while gone.elapsed() < OUTAGE {
        hits.advance(100)?;
    }
    let waiting = cluster.list("pods", &namespace.name, "")?;
    let running = waiting.iter().filter(|pod| {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        name.starts_with("waiting") && pod["status"]["phase"] == "Running"
    });
    ensure!(running.count() == 0, "pods run without their volume");

    cluster.kubectl(&["-n", RELEASE, "rollout", "undo", "daemonset/nss-k8s"])?;
    // The pod of the image that is nowhere is not replaced by itself while it is not ready.
    chart::ready(&cluster)?;
    let back = Instant::now();
    let mut arguments = vec!["wait".to_owned(), "--for=condition=Ready".to_owned()];
    arguments.extend(names.iter().map(|name| format!("pod/{name}")));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    cluster.wait_for(&namespace.name, &arguments)?;
    println!(
        "absent image: {PODS} pods ready {:.1?} after the agent was back",
        back.elapsed()
    );
    let last = namespace.running(names.last().context("no pod")?)?;
    let answer = last.exec(&["getent", "ahostsv4", "web"])?;
    ensure!(answer.starts_with(&namespace.web), "getent: {answer}");
    hits.expect_silence()?;
    walks.expect_no_failure()?;
    let before = machine::volumes_mounted()?;
    ensure!(before >= PODS, "only {before} volumes are mounted");
    namespace.delete()?;
    cluster.until("every volume to be unmounted", || {
        Ok((machine::volumes_mounted()? == 0).then_some(()))
    })
}

/// Makes both containers of the DaemonSet wait for an image.
fn set_image(cluster: &Cluster, image: &str) -> Result<()> {
    let (csi, agent) = (format!("csi={image}"), format!("agent={image}"));
    let arguments = [
        "-n",
        RELEASE,
        "set",
        "image",
        "daemonset/nss-k8s",
        &csi,
        &agent,
    ];
    cluster.kubectl(&arguments).map(drop)
}

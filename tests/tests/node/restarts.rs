//! What ends and starts again on a node while pods look names up without pause: none of them notices.

use crate::{
    chart::{self, RELEASE},
    cluster::{self, Cluster},
    load::{self, Load},
    machine,
    pods::{Image, Namespace},
};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::process::Process;
use serde_json::Value;
use std::{fs, process::Command};

/// Loads in pods that run through what a test does to the node.
struct Scene<'a> {
    namespace: Namespace<'a>,
    inside: [Load<'a>; 2],
    outside: Load<'a>,
    /// Mounts of our volumes before its pods.
    others: usize,
    /// The same with all its pods running.
    mounts: usize,
}

impl<'a> Scene<'a> {
    fn start(cluster: &'a Cluster, name: &str) -> Result<Self> {
        chart::installed(cluster)?;
        let others = machine::volumes_mounted()?;
        let namespace = Namespace::injected(cluster, name)?;
        let inside = [
            Load::cluster_names(&namespace, "debian", Image::Debian)?,
            Load::cluster_names(&namespace, "musl", Image::Musl)?,
        ];
        let outside = Load::outside_names(&namespace, "outside", Image::Debian)?;
        load::expect_silence(&inside)?;
        Ok(Self {
            namespace,
            inside,
            outside,
            others,
            mounts: machine::volumes_mounted()?,
        })
    }

    /// Nobody noticed; news arrive in pods that run and in a pod that starts; no mount is left over.
    fn end(self) -> Result<()> {
        load::expect_silence(&self.inside)?;
        for load in &self.inside {
            println!(
                "{}: {}: {:?}",
                self.namespace.name,
                load.pod.name,
                load.count()?
            );
        }
        self.outside.expect_no_failure()?;
        let mounts = machine::volumes_mounted()?;
        ensure!(
            mounts == self.mounts,
            "{} mounts became {mounts}",
            self.mounts
        );

        let address = self.namespace.service("news")?;
        let new = self.namespace.idle("new", Image::Debian)?;
        for pod in [&self.inside[0].pod, &new] {
            self.namespace.cluster.until("the new service's name", || {
                let answer = pod.exec(&["sh", "-c", "getent ahostsv4 news || true"])?;
                Ok(answer.starts_with(&address).then_some(()))
            })?;
        }
        self.namespace.delete()?;
        ensure!(
            machine::volumes_mounted()? == self.others,
            "mounts of pods that are gone"
        );
        Ok(())
    }
}

/// `kubectl rollout restart`: driver and agent end and start again.
#[test]
fn a_rollout_restart_is_not_noticed() -> Result<()> {
    let cluster = cluster::shared();
    let scene = Scene::start(&cluster, "rollout")?;
    cluster.kubectl(&["-n", RELEASE, "rollout", "restart", "daemonset/nss-k8s"])?;
    chart::ready(&cluster)?;
    scene.end()
}

/// SIGKILL of the agent, then of the driver.
#[test]
fn a_kill_of_agent_or_driver_is_not_noticed() -> Result<()> {
    let cluster = cluster::shared();
    let scene = Scene::start(&cluster, "killed")?;
    for container in ["agent", "csi"] {
        let before = restarts(&cluster, container)?;
        kill(chart::process(&cluster, container)?)?;
        restarted(&cluster, container, before)?;
    }
    scene.end()
}

/// The kernel kills the agent for its memory limit.
#[test]
fn an_agent_out_of_memory_is_not_noticed() -> Result<()> {
    let cluster = cluster::shared();
    let scene = Scene::start(&cluster, "memory")?;
    let before = restarts(&cluster, "agent")?;
    // Pages of a tmpfs count for the cgroup of whoever writes them, and cannot be reclaimed; the largest process of the
    // cgroup is the agent.
    let hog = "/dev/shm/hog";
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!(
            "echo $$ > {} && exec dd if=/dev/zero of={hog} bs=1M count=400",
            procs_of(chart::process(&cluster, "agent")?)?
        ),
    ]);
    let log = cluster.scratch("memory")?.join("hog.log");
    let mut writer = Process::start(&mut command, log)?;
    let ended = cluster.until("the agent's container to end", || {
        let status = status(&cluster, "agent")?;
        let last = &status["lastState"]["terminated"]["reason"];
        let now = &status["state"]["terminated"]["reason"];
        Ok([last, now]
            .iter()
            .any(|reason| *reason == "OOMKilled")
            .then_some(()))
    });
    let words = writer.last_words();
    writer.kill()?;
    fs::remove_file(hog)?;
    ended.with_context(|| words)?;
    restarted(&cluster, "agent", before)?;
    scene.end()
}

/// The kubelet ends and starts again.
#[test]
fn a_restart_of_kubelet_is_not_noticed() -> Result<()> {
    let cluster = cluster::shared();
    let scene = Scene::start(&cluster, "kubelet")?;
    cluster.machine.restart_kubelet()?;
    scene.end()
}

/// The status of a container of the DaemonSet's pod.
fn status(cluster: &Cluster, container: &str) -> Result<Value> {
    let pods = cluster.list("pods", RELEASE, "app.kubernetes.io/name=nss-k8s")?;
    let pod = pods.first().context("no pod")?;
    let statuses = ["initContainerStatuses", "containerStatuses"]
        .into_iter()
        .filter_map(|kind| pod["status"][kind].as_array())
        .flatten();
    let mut found = statuses.filter(|status| status["name"] == container);
    Ok(found.next().context("no container")?.clone())
}

fn restarts(cluster: &Cluster, container: &str) -> Result<u64> {
    status(cluster, container)?["restartCount"]
        .as_u64()
        .context("no count")
}

/// Waits until a container has been started again, and all of the pod is ready.
fn restarted(cluster: &Cluster, container: &str, before: u64) -> Result<()> {
    cluster.until(&format!("{container} to run again"), || {
        let status = status(cluster, container)?;
        let again = status["restartCount"].as_u64() > Some(before);
        Ok((again && status["ready"] == true).then_some(()))
    })?;
    chart::ready(cluster)
}

fn kill(process: u32) -> Result<()> {
    let process = libc::pid_t::try_from(process)?;
    // SAFETY: no memory is involved; the process is a container's of this run's own node.
    let refused = unsafe { libc::kill(process, libc::SIGKILL) };
    ensure!(refused == 0, "kill {process}");
    Ok(())
}

/// The file that takes processes into the memory cgroup of another.
fn procs_of(process: u32) -> Result<String> {
    let cgroups = fs::read_to_string(format!("/proc/{process}/cgroup"))?;
    for line in cgroups.lines() {
        if let Some((_, path)) = line.split_once(":memory:") {
            return Ok(format!("/sys/fs/cgroup/memory{path}/cgroup.procs"));
        }
    }
    let path = cgroups.trim().strip_prefix("0::").context("no cgroup")?;
    Ok(format!("/sys/fs/cgroup{path}/cgroup.procs"))
}

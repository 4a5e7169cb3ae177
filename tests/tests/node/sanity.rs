//! The CSI specification's own tests, against the driver as it runs on the node.

use crate::{
    chart, cluster,
    pods::{Image, Namespace},
};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::process::{Process, until};
use serde_json::json;
use std::{fs, os::unix::net::UnixStream, process::Command};

/// The driver's socket on the node.
const DRIVER: &str = "/var/lib/kubelet/plugins/csi.nss-k8s.io/csi.sock";
/// csi-sanity's groups Identity and Node. Volumes come from a controller of the tests' own, which gives them the
/// attributes that kubelet would (`tests/cluster/csi-sanity/controller.go`): the driver has none.
#[test]
fn csi_sanity_identity_and_node() -> Result<()> {
    let cluster = cluster::shared();
    chart::installed(&cluster)?;
    // The driver sees only what is below kubelet's pods, and kubelet clears directories of pods that it does not run.
    let namespace = Namespace::create(&cluster, "sanity", &json!({}))?;
    let pod = namespace.idle("host", Image::Debian)?;
    let folder = cluster.scratch("sanity")?;
    let socket = folder.join("controller.sock");
    let mut command = Command::new(cluster.program("csi-controller"));
    command.arg(&socket).arg(&pod.uid);
    let _controller = Process::start(&mut command, folder.join("controller.log"))?;
    until("the controller to listen", || {
        Ok(UnixStream::connect(&socket).ok())
    })?;
    let volumes = format!(
        "/var/lib/kubelet/pods/{}/volumes/kubernetes.io~csi/sanity",
        pod.uid
    );
    fs::create_dir_all(&volumes)?;
    let output = Command::new(cluster.program("csi-sanity"))
        .arg(format!("--csi.endpoint=unix://{DRIVER}"))
        .arg(format!(
            "--csi.controllerendpoint=unix://{}",
            socket.display()
        ))
        .arg(format!("--csi.mountdir={volumes}/mount"))
        .arg(format!(
            "--csi.stagingdir={}",
            folder.join("staging").display()
        ))
        .args([
            "--ginkgo.focus=Identity Service|Node Service",
            "--ginkgo.no-color",
        ])
        .output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let summary = said
        .lines()
        .find(|line| line.contains("Passed"))
        .with_context(|| format!("no summary:\n{said}"))?;
    println!("csi-sanity: {summary}");
    ensure!(output.status.success(), "{said}");
    ensure!(
        !fs::exists(format!("{volumes}/mount/target"))?,
        "the target is still there"
    );
    fs::remove_dir_all(volumes)?;
    namespace.delete()
}

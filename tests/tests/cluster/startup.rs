//! `nss-k8s untaint` with the rights that the chart gives it.

use crate::{
    control_plane::{shared, until},
    installed::manifests,
};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::artifacts;
use serde_json::{Value, json};
use std::process::{Child, Command};

/// The key in the Kustomize component.
const KEY: &str = "nss-k8s.io/starting";

/// A node that joins with the taint loses it when its driver is registered, not before; another taint,
/// and a node without the driver, are left alone.
#[test]
fn a_node_loses_its_taint_with_the_driver() -> Result<()> {
    let plane = shared();
    let api = &plane.administrator;
    let taint = |key: &str| json!({"key": key, "effect": "NoSchedule"});
    let nodes = "/api/v1/nodes";
    for name in ["starting-1", "starting-2"] {
        let taints = [taint("other"), taint(KEY), taint("another")];
        api.create(
            nodes,
            &json!({"metadata": {"name": name}, "spec": {"taints": taints}}),
        )?;
    }
    let csi = "/apis/storage.k8s.io/v1/csinodes";
    let drivers = |names: &[&str]| -> Vec<Value> {
        let drivers = names.iter();
        drivers
            .map(|name| json!({"name": name, "nodeID": "n", "topologyKeys": []}))
            .collect()
    };
    for name in ["starting-1", "starting-2"] {
        let spec = json!({"drivers": drivers(&["other.csi"])});
        api.create(csi, &json!({"metadata": {"name": name}, "spec": spec}))?;
    }
    // The user of the agent's certificate has these rights besides.
    let role = manifests("components/startup-taint")?
        .into_iter()
        .find(|object| object["kind"] == "ClusterRole")
        .context("no ClusterRole")?;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    api.create(&format!("{rbac}/clusterroles"), &role)?;
    api.create(
        &format!("{rbac}/clusterrolebindings"),
        &json!({
            "metadata": {"name": "nss-k8s-untaint"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "nss-k8s-untaint"},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "nss-k8s-agent"}],
        }),
    )?;
    let mut running = Running(
        Command::new(artifacts::agent()?)
            .args(["untaint", "--taint", KEY, "--kubeconfig"])
            .arg(plane.agent_kubeconfig())
            .spawn()?,
    );
    let keys = |name: &str| -> Result<Vec<String>> {
        let node = api.get(&format!("{nodes}/{name}"))?;
        let taints = node["spec"]["taints"].as_array().into_iter().flatten();
        let keys = taints.filter_map(|taint| taint["key"].as_str());
        // The lifecycle controller is off, the admission of new nodes is not.
        Ok(keys
            .filter(|key| !key.starts_with("node.kubernetes.io/"))
            .map(str::to_owned)
            .collect())
    };
    let registered = json!({"spec": {"drivers": drivers(&["other.csi", "csi.nss-k8s.io"])}});
    api.patch(&format!("{csi}/starting-1"), &registered)?;
    until("the taint to go", || {
        Ok((keys("starting-1")? == ["other", "another"]).then_some(()))
    })?;
    ensure!(
        keys("starting-2")? == ["other", KEY, "another"],
        "a node without the driver"
    );
    ensure!(running.0.try_wait()?.is_none(), "it has ended");
    api.patch(&format!("{csi}/starting-2"), &registered)?;
    until("the other's taint to go", || {
        Ok((keys("starting-2")? == ["other", "another"]).then_some(()))
    })?;
    drop(running);
    for name in ["starting-1", "starting-2"] {
        api.delete(&format!("{csi}/{name}"))?;
        api.delete(&format!("{nodes}/{name}"))?;
    }
    api.delete(&format!("{rbac}/clusterrolebindings/nss-k8s-untaint"))?;
    api.delete(&format!("{rbac}/clusterroles/nss-k8s-untaint"))
}

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already: as wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! What the admission policy makes of pods, and what the chart installs, on a real API server.
//!
//! Pods are created with `dryRun`: the server admits and shows them, and keeps nothing.

use crate::{
    control_plane::{shared, until},
    installed::{
        DIRECTORY, Installed, LIBRARY, NSSWITCH, PARAMETERS, PRELOAD, collection, manifests, merge,
    },
};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::artifacts;
use serde_json::{Value, json};
use std::process::Command;

/// Every object of the Kustomize base and its components is one that a real server takes: beyond the
/// schemas it also looks at what fits together, and compiles the policy.
#[test]
fn every_object_is_taken() -> Result<()> {
    let plane = shared();
    let api = &plane.administrator;
    let cluster = Installed::namespace(api)?;
    let mut taken = 0;
    for folder in [
        "base",
        "components/injection",
        "components/listener",
        "components/openshift",
    ] {
        for object in manifests(folder)? {
            // OpenShift's own, and the server's answer to what is there already.
            if object["metadata"]["namespace"] == "openshift-dns" || object["kind"] == "Namespace" {
                continue;
            }
            let path = format!("{}?dryRun=All&fieldValidation=Strict", collection(&object)?);
            api.create(&path, &object)?;
            taken += 1;
        }
    }
    ensure!(taken >= 14, "only {taken} objects were tried");
    cluster.remove()
}

/// A pod gets the volume once, and each of its containers the mounts, sidecars among them.
#[test]
fn every_container_is_injected() -> Result<()> {
    let plane = shared();
    let cluster = Installed::policy(&plane)?;
    let pod = cluster.admit(
        "injected",
        &json!({
            "initContainers": [
                {"name": "first", "image": "i"},
                {"name": "sidecar", "image": "i", "restartPolicy": "Always"},
            ],
            "containers": [
                {"name": "plain", "image": "i"},
                {"name": "with", "image": "i", "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
            ],
            "volumes": [{"name": "data", "emptyDir": {}}],
        }),
    )?;
    for container in ["first", "sidecar", "plain", "with"] {
        let mounts = pod.mounts(container);
        ensure!(
            mounts.ends_with(&[DIRECTORY.into(), PRELOAD.into()]),
            "{container}: {mounts:?}"
        );
        ensure!(pod.environment(container).is_empty(), "{container}: env");
    }
    // The token of the namespace's account is there as well.
    ensure!(pod.mounts("with")[0] == "/data", "{:?}", pod.mounts("with"));
    let ours = pod.volumes("nss-k8s");
    ensure!(
        ours == [json!({"name": "nss-k8s", "csi": {"driver": "csi.nss-k8s.io", "readOnly": true}})],
        "{ours:?}"
    );
    // What is injected already stays as it is, though it was written by hand.
    let again = cluster.admit("injected", &pod.0["spec"])?;
    ensure!(again.0["spec"] == pod.0["spec"], "injected twice");
    cluster.remove()
}

/// Where another one mounts on our path after us, we go from that container, wholly: the pod is admitted.
#[test]
fn a_path_that_is_mounted_twice_is_the_others() -> Result<()> {
    let plane = shared();
    let cluster = Installed::policy(&plane)?;
    cluster.set(json!({"musl": "true", "nsswitch": "true"}))?;
    let spec = |theirs: Value| {
        json!({
            "containers": [{"name": "main", "image": "i"}, {"name": "other", "image": "i"}],
            "volumes": [{"name": "theirs", "emptyDir": {}}],
            "initContainers": [{"name": "first", "image": "i", "volumeMounts": theirs}],
        })
    };
    let injected = cluster.admit("injected", &spec(json!([])))?;
    ensure!(
        injected
            .mounts("first")
            .ends_with(&[DIRECTORY.into(), PRELOAD.into(), NSSWITCH.into()]),
        "{:?}",
        injected.mounts("first")
    );
    // As after a webhook, which the policy sees when it is invoked again.
    for path in [PRELOAD, NSSWITCH, DIRECTORY] {
        let mut doubled = injected.0["spec"].clone();
        for kind in ["containers", "initContainers"] {
            let mounts = &mut doubled[kind][0]["volumeMounts"];
            mounts
                .as_array_mut()
                .context("mounts")?
                .push(json!({"name": "theirs", "mountPath": path}));
        }
        let pod = cluster.admit("injected", &doubled)?;
        for name in ["main", "first"] {
            let mounts = pod.mounts(name);
            let ours = pod.own_mounts(name);
            ensure!(ours.is_empty(), "{path}: {name} keeps {ours:?}");
            ensure!(
                mounts.last().map(String::as_str) == Some(path),
                "{path}: {mounts:?}"
            );
            ensure!(pod.environment(name).is_empty(), "{path}: {name}: env");
        }
        ensure!(pod.own_mounts("other").len() == 3, "{path}: the other");
    }
    cluster.remove()
}

/// The parameters: what is on, and the switch of everything. They count at once, for new pods.
#[test]
fn parameters_switch() -> Result<()> {
    let plane = shared();
    let cluster = Installed::policy(&plane)?;
    let spec = json!({"containers": [
        {"name": "none", "image": "i"},
        {"name": "some", "image": "i", "env": [{"name": "A", "value": "b"}]},
        {"name": "own", "image": "i", "env": [{"name": "LD_PRELOAD", "value": "theirs.so"}]},
    ]});
    cluster.set(json!({"musl": "true"}))?;
    let ours = json!({"name": "LD_PRELOAD", "value": LIBRARY});
    let pod = cluster.admit("injected", &spec)?;
    ensure!(pod.environment("none") == [ours.clone()], "none");
    let some = pod.environment("some");
    ensure!(some == [json!({"name": "A", "value": "b"}), ours], "some");
    let own = pod.environment("own");
    ensure!(own.len() == 1 && own[0]["value"] == "theirs.so", "own");
    ensure!(pod.is_injected("own"), "the file is mounted all the same");
    cluster.set(json!({"musl": "false", "nsswitch": "true"}))?;
    let pod = cluster.admit("injected", &spec)?;
    ensure!(pod.environment("none").is_empty(), "musl is off again");
    ensure!(
        pod.mounts("none").ends_with(&[NSSWITCH.into()]),
        "{:?}",
        pod.mounts("none")
    );
    // A list without the word that stood in it.
    cluster.set(json!({"nsswitch": "false", "excludedNodes": ""}))?;
    let virtual_node =
        json!({"containers": spec["containers"], "nodeSelector": {"type": "virtual-kubelet"}});
    let pod = cluster.admit("injected", &virtual_node)?;
    ensure!(pod.is_injected("none"), "{}", pod.0);
    cluster.set(json!({"enabled": "false"}))?;
    let pod = cluster.admit("injected", &spec)?;
    ensure!(!pod.is_injected("none"), "switched off: {}", pod.0);
    // Without any parameters nothing happens, and no pod is refused.
    cluster.api.delete(PARAMETERS)?;
    until("the parameters to be gone", || {
        let pod = cluster.admit("injected", &spec)?;
        Ok((!pod.is_injected("none")).then_some(()))
    })?;
    cluster.remove()
}

/// Pods whose programs may go over to the node's own files get the mounts, which stay behind then, and no variable, which
/// goes with them: the loader there would complain of a path that it does not have.
#[test]
fn no_variable_enters_the_nodes_files() -> Result<()> {
    let plane = shared();
    let cluster = Installed::policy(&plane)?;
    cluster.set(json!({"musl": "true"}))?;
    let volume = |path: &str| json!([{"name": "host", "hostPath": {"path": path}}]);
    for (more, variable) in [
        (json!({}), true),
        (json!({"hostPID": false}), true),
        (json!({"hostPID": true}), false),
        (json!({"volumes": volume("/")}), false),
        (json!({"volumes": volume("//")}), false),
        (json!({"volumes": volume("/var/log")}), true),
        (json!({"volumes": [{"name": "host", "emptyDir": {}}]}), true),
    ] {
        let mut spec = json!({
            "initContainers": [{"name": "first", "image": "i", "env": [{"name": "A", "value": "b"}]}],
            "containers": [{"name": "main", "image": "i"}],
        });
        merge(&mut spec, more.clone());
        let pod = cluster.admit("injected", &spec)?;
        for container in ["first", "main"] {
            ensure!(pod.is_injected(container), "{more}: {}", pod.0);
            let environment = pod.environment(container);
            let has = environment.contains(&json!({"name": "LD_PRELOAD", "value": LIBRARY}));
            ensure!(has == variable, "{more}: {container}: {environment:?}");
        }
    }
    cluster.remove()
}

/// `nss-k8s removable` no while a pod has the volume or may get one, then yes.
#[test]
fn the_driver_stays_while_a_pod_has_its_volume() -> Result<()> {
    let plane = shared();
    let cluster = Installed::policy(&plane)?;
    let removable = || -> Result<(bool, String)> {
        let output = Command::new(artifacts::agent()?)
            .arg("removable")
            .arg("--kubeconfig")
            .arg(plane.certificates().join("administrator.kubeconfig"))
            .output()?;
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        Ok((output.status.success(), said))
    };
    let (may, said) = removable()?;
    ensure!(!may && said.contains("the injection is on"), "{said}");
    ensure!(said.contains("dynatrace, injected"), "{said}");
    cluster.set(json!({"enabled": "false"}))?;
    let (may, said) = removable()?;
    ensure!(may && said.contains("may be removed"), "{said}");
    let pods = "/api/v1/namespaces/plain/pods";
    let spec = json!({
        "containers": [{"name": "main", "image": "i"}],
        "volumes": [{"name": "any", "csi": {"driver": "csi.nss-k8s.io", "readOnly": true}}],
    });
    cluster.api.create(
        pods,
        &json!({"metadata": {"name": "by-hand"}, "spec": spec}),
    )?;
    let (may, said) = removable()?;
    ensure!(!may && said.contains("plain/by-hand"), "{said}");
    cluster.api.delete(&format!("{pods}/by-hand"))?;
    let (may, said) = removable()?;
    ensure!(may, "{said}");
    cluster.remove()
}

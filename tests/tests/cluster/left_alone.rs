//! What the admission policy does not touch, on a real API server: pods of other systems, nodes, networks and owners.
//!
//! Pods are created with `dryRun`: the server admits and shows them, and keeps nothing.

use crate::{
    control_plane::shared,
    installed::{Installed, merge},
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// Pods that are not injected: they come out as in a namespace that nobody labelled.
#[test]
fn others_are_left_alone() -> Result<()> {
    let plane = shared();
    let cluster = Installed::policy(&plane)?;
    for class in ["kata-qemu", "runc"] {
        let path = "/apis/node.k8s.io/v1/runtimeclasses";
        let object = json!({"metadata": {"name": class}, "handler": "h"});
        cluster.api.create(path, &object)?;
    }
    let containers = json!([{"name": "main", "image": "i"}]);
    let with = |more: Value| {
        // A token's volume has a random name.
        let mut spec = json!({"containers": containers, "automountServiceAccountToken": false});
        merge(&mut spec, more);
        spec
    };
    for (why, spec, injected) in [
        ("nothing against it", with(json!({})), true),
        ("another DNS", with(json!({"dnsPolicy": "Default"})), false),
        (
            "another DNS",
            with(json!({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["192.0.2.1"]}})),
            false,
        ),
        ("the node's DNS", with(json!({"hostNetwork": true})), false),
        (
            "the cluster's DNS in the node's network",
            with(json!({"hostNetwork": true, "dnsPolicy": "ClusterFirstWithHostNet"})),
            true,
        ),
        (
            "another system",
            with(json!({"os": {"name": "windows"}})),
            false,
        ),
        (
            "this system",
            with(json!({"os": {"name": "linux"}, "nodeSelector": {"kubernetes.io/os": "linux"}})),
            true,
        ),
        (
            "another system's nodes",
            with(json!({"nodeSelector": {"kubernetes.io/os": "windows"}})),
            false,
        ),
        (
            "a machine of its own",
            with(json!({"runtimeClassName": "kata-qemu"})),
            false,
        ),
        (
            "a harmless class",
            with(json!({"runtimeClassName": "runc"})),
            true,
        ),
        (
            "another scheduler",
            with(json!({"schedulerName": "fargate-scheduler"})),
            false,
        ),
        (
            "virtual nodes",
            with(json!({"nodeSelector": {"type": "virtual-kubelet"}})),
            false,
        ),
        (
            "the same label, another value",
            with(json!({"nodeSelector": {"type": "real"}})),
            true,
        ),
        (
            "virtual nodes tolerated",
            with(
                json!({"tolerations": [{"key": "virtual-kubelet.io/provider", "operator": "Exists"}]}),
            ),
            false,
        ),
        (
            "every node tolerated",
            with(json!({"tolerations": [{"operator": "Exists"}]})),
            true,
        ),
        (
            "the volume's name is taken",
            with(json!({"volumes": [{"name": "nss-k8s", "emptyDir": {}}]})),
            false,
        ),
    ] {
        let pod = cluster.admit("injected", &spec)?;
        ensure!(pod.is_injected("main") == injected, "{why}: {}", pod.0);
        let plain = cluster.admit("plain", &spec)?;
        ensure!(!plain.is_injected("main"), "{why}: {}", plain.0);
        if !injected {
            ensure!(pod.0["spec"] == plain.0["spec"], "{why}: changed");
        }
    }
    for (metadata, injected) in [
        (json!({"labels": {"nss-k8s.io/inject": "disabled"}}), false),
        (json!({"labels": {"nss-k8s.io/inject": "enabled"}}), true),
        (
            json!({"labels": {"admission.datadoghq.com/enabled": "true"}}),
            false,
        ),
        (
            json!({"labels": {"admission.datadoghq.com/enabled": "false"}}),
            true,
        ),
        (
            json!({"annotations": {"oneagent.dynatrace.com/injected": "true"}}),
            false,
        ),
        (
            json!({"annotations": {"kubernetes.io/config.mirror": "hash"}}),
            false,
        ),
    ] {
        let mut spec = with(json!({}));
        if metadata["annotations"]["kubernetes.io/config.mirror"].is_string() {
            merge(&mut spec, json!({"nodeName": "node-1"}));
        }
        let pod = cluster.admit_with("injected", metadata.clone(), &spec)?;
        ensure!(pod.is_injected("main") == injected, "{metadata}");
    }
    // By a label of the namespace.
    let pod = cluster.admit("dynatrace", &with(json!({})))?;
    ensure!(!pod.is_injected("main"), "{}", pod.0);
    // A container alone: where its own mounts stand in the way.
    for path in ["/etc", "/run/", "/var/run", "/etc/ld.so.preload", "/"] {
        let spec = with(json!({
            "containers": [
                {"name": "main", "image": "i"},
                {"name": "other", "image": "i", "volumeMounts": [{"name": "data", "mountPath": path}]},
            ],
            "volumes": [{"name": "data", "emptyDir": {}}],
        }));
        let pod = cluster.admit("injected", &spec)?;
        ensure!(pod.is_injected("main"), "beside {path}");
        ensure!(!pod.is_injected("other"), "{path}: {}", pod.0);
    }
    for class in ["kata-qemu", "runc"] {
        cluster
            .api
            .delete(&format!("/apis/node.k8s.io/v1/runtimeclasses/{class}"))?;
    }
    cluster.remove()
}

/// Where the node affinity that a pod requires leaves room for another system, or for virtual nodes, it is left
/// alone. Terms are alternatives; a preference says nothing.
#[test]
fn required_node_affinity_counts() -> Result<()> {
    let plane = shared();
    let cluster = Installed::policy(&plane)?;
    let system = "kubernetes.io/os";
    let provider = "virtual-kubelet.io/provider";
    let word = |key: &str, operator: &str, values: &[&str]| {
        let mut word = json!({"key": key, "operator": operator});
        if !values.is_empty() {
            word["values"] = json!(values);
        }
        json!({"matchExpressions": [word]})
    };
    let linux = || word(system, "In", &["linux"]);
    for (terms, injected) in [
        (vec![linux()], true),
        (vec![word(system, "In", &["windows"])], false),
        (vec![word(system, "In", &["linux", "windows"])], false),
        (vec![linux(), word(system, "In", &["windows"])], false),
        (vec![word(system, "NotIn", &["linux"])], false),
        (vec![word(system, "NotIn", &["windows"])], true),
        (vec![word(system, "Exists", &[])], true),
        (vec![word("zone", "In", &["a", "b"])], true),
        // `type=virtual-kubelet` and a key alone stand in the list as it is installed.
        (vec![word("type", "In", &["virtual-kubelet"])], false),
        (
            vec![word("type", "In", &["real", "virtual-kubelet"])],
            false,
        ),
        (
            vec![linux(), word("type", "In", &["virtual-kubelet"])],
            false,
        ),
        (vec![word("type", "Exists", &[])], false),
        (vec![word("type", "In", &["real"])], true),
        (vec![word("type", "NotIn", &["virtual-kubelet"])], true),
        (vec![word("type", "DoesNotExist", &[])], true),
        (vec![word(provider, "In", &["azure"])], false),
        (vec![word(provider, "Exists", &[])], false),
        (vec![word(provider, "NotIn", &["azure"])], true),
        (vec![word(provider, "DoesNotExist", &[])], true),
        (
            vec![
                json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}),
            ],
            true,
        ),
    ] {
        let spec = |affinity: Value| json!({"containers": [{"name": "main", "image": "i"}], "affinity": {"nodeAffinity": affinity}});
        let required =
            json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}});
        let pod = cluster.admit("injected", &spec(required))?;
        ensure!(pod.is_injected("main") == injected, "{terms:?}: {}", pod.0);
        let preferred: Vec<Value> = terms
            .iter()
            .map(|term| json!({"weight": 1, "preference": term}))
            .collect();
        let preferred = json!({"preferredDuringSchedulingIgnoredDuringExecution": preferred});
        let pod = cluster.admit("injected", &spec(preferred))?;
        ensure!(pod.is_injected("main"), "preferred {terms:?}: {}", pod.0);
    }
    cluster.remove()
}

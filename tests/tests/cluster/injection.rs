//! What the admission policy makes of pods, and what the chart installs, on a real API server.
//!
//! Pods are created with `dryRun`: the server admits and shows them, and keeps nothing.

use crate::{
    api::Api,
    control_plane::{ControlPlane, shared, until},
};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::artifacts;
use serde_json::{Value, json};
use std::{fs, process::Command};

/// What an injected container has more, in the order in which it is added.
const DIRECTORY: &str = "/run/nss-k8s";
const PRELOAD: &str = "/etc/ld.so.preload";
const NSSWITCH: &str = "/etc/nsswitch.conf";
/// What musl is told.
const LIBRARY: &str = "/run/nss-k8s/lib/preload/libnss_k8s_preload.so";

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
    let affinity = |operator: &str, system: &str| {
        let word = json!({"key": "kubernetes.io/os", "operator": operator, "values": [system]});
        json!({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": [{"matchExpressions": [word]}]}}}})
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
            "another system's nodes, by affinity",
            with(affinity("In", "windows")),
            false,
        ),
        (
            "all but this system's nodes",
            with(affinity("NotIn", "linux")),
            false,
        ),
        (
            "this system's nodes, by affinity",
            with(affinity("In", "linux")),
            true,
        ),
        (
            "all but another system's nodes",
            with(affinity("NotIn", "windows")),
            true,
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

/// The parameters' ConfigMap.
const PARAMETERS: &str = "/api/v1/namespaces/nss-k8s/configmaps/nss-k8s-injection";
/// Namespaces of these tests.
const NAMESPACES: [&str; 3] = ["injected", "plain", "dynatrace"];

/// What was installed for a test.
struct Installed<'a> {
    api: &'a Api,
    made: Vec<String>,
}

impl<'a> Installed<'a> {
    /// Only the namespace that everything lives in.
    fn namespace(api: &'a Api) -> Result<Self> {
        let mut this = Self {
            api,
            made: Vec::new(),
        };
        this.make(
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "nss-k8s"}}),
        )?;
        Ok(this)
    }

    /// The policy, its binding and parameters, and three namespaces: `injected`, `plain` without a
    /// label, and `dynatrace` with an excluded one. Waits until the policy works.
    fn policy(plane: &'a ControlPlane) -> Result<Self> {
        let mut this = Self::namespace(&plane.administrator)?;
        for name in NAMESPACES {
            let mut labels = json!({});
            if name != "plain" {
                labels["nss-k8s.io/inject"] = "enabled".into();
            }
            if name == "dynatrace" {
                labels["dynakube.internal.dynatrace.com/instance"] = "d".into();
            }
            this.make(&json!({"apiVersion": "v1", "kind": "Namespace",
                "metadata": {"name": name, "labels": labels}}))?;
            let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
            until("the namespace's account", || {
                Ok(this.api.get(&account).ok())
            })?;
        }
        for object in manifests("components/injection")? {
            this.make(&object)?;
        }
        let spec = json!({"containers": [{"name": "main", "image": "i"}]});
        until("the policy to work", || {
            let pod = this.admit("injected", &spec)?;
            Ok(pod.is_injected("main").then_some(()))
        })?;
        Ok(this)
    }

    fn make(&mut self, object: &Value) -> Result<()> {
        let collection = collection(object)?;
        let name = object["metadata"]["name"].as_str().context("no name")?;
        let path = format!("{collection}/{name}");
        // A test that failed leaves what it had.
        if self.api.get(&path).is_err() {
            self.api.create(&collection, object)?;
        }
        self.made.push(path);
        Ok(())
    }

    /// What the server would make of a pod with this spec.
    fn admit(&self, namespace: &str, spec: &Value) -> Result<Pod> {
        self.admit_with(namespace, json!({}), spec)
    }

    /// The same with labels and annotations.
    fn admit_with(&self, namespace: &str, mut metadata: Value, spec: &Value) -> Result<Pod> {
        merge(&mut metadata, json!({"name": "pod"}));
        let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        Ok(Pod(self.api.create(&path, &pod)?))
    }

    /// Changes parameters, and waits until the policy has them: a pod tells by a mark in a list.
    fn set(&self, mut data: Value) -> Result<()> {
        let switched_off = data["enabled"] == "false";
        merge(&mut data, json!({"excludedSchedulers": "mark"}));
        self.api.patch(PARAMETERS, &json!({"data": data}))?;
        let spec = json!({"containers": [{"name": "main", "image": "i"}], "schedulerName": "mark"});
        let free = json!({"containers": [{"name": "main", "image": "i"}]});
        until("the policy to have its parameters", || {
            let marked = self.admit("injected", &spec)?.is_injected("main");
            let injected = self.admit("injected", &free)?.is_injected("main");
            Ok((!marked && injected != switched_off).then_some(()))
        })?;
        // The mark goes, so that the next change is seen as well.
        self.api
            .patch(PARAMETERS, &json!({"data": {"excludedSchedulers": ""}}))?;
        if !switched_off {
            until("the mark to be gone", || {
                Ok(self
                    .admit("injected", &spec)?
                    .is_injected("main")
                    .then_some(()))
            })?;
        }
        Ok(())
    }

    /// Takes everything away again, and waits until the namespaces are gone.
    fn remove(self) -> Result<()> {
        for path in self.made.iter().rev() {
            if self.api.get(path).is_ok() {
                self.api.delete(path)?;
            }
        }
        for path in &self.made {
            until("what was made to be gone", || {
                Ok(self.api.get(path).is_err().then_some(()))
            })?;
        }
        Ok(())
    }
}

/// A pod as the server shows it.
struct Pod(Value);

impl Pod {
    fn container(&self, name: &str) -> &Value {
        let kinds = ["containers", "initContainers"].into_iter();
        let mut all = kinds.flat_map(|kind| self.0["spec"][kind].as_array().into_iter().flatten());
        all.find(|container| container["name"] == name)
            .unwrap_or(&Value::Null)
    }

    /// Paths, without that of the account's token, which is there before the policy or not.
    fn mounts(&self, container: &str) -> Vec<String> {
        let mounts = self.container(container)["volumeMounts"].as_array();
        let paths = mounts
            .into_iter()
            .flatten()
            .map(|mount| mount["mountPath"].as_str().unwrap_or_default());
        paths
            .filter(|path| !path.starts_with("/var/run/secrets/"))
            .map(str::to_owned)
            .collect()
    }

    /// Those of our volume.
    fn own_mounts(&self, container: &str) -> Vec<Value> {
        let mounts = self.container(container)["volumeMounts"].as_array();
        let all = mounts.into_iter().flatten();
        all.filter(|mount| mount["name"] == "nss-k8s")
            .cloned()
            .collect()
    }

    fn environment(&self, container: &str) -> Vec<Value> {
        let all = self.container(container)["env"].as_array();
        all.into_iter().flatten().cloned().collect()
    }

    fn volumes(&self, name: &str) -> Vec<Value> {
        let all = self.0["spec"]["volumes"].as_array().into_iter().flatten();
        all.filter(|volume| volume["name"] == name)
            .cloned()
            .collect()
    }

    /// Whether a container has both of our mounts, read-only, and the pod the volume.
    fn is_injected(&self, container: &str) -> bool {
        let ours = self.own_mounts(container);
        let has = |path: &str, file: &Value| {
            ours.iter().any(|mount| {
                mount["mountPath"] == path && mount["subPath"] == *file && mount["readOnly"] == true
            })
        };
        has(DIRECTORY, &Value::Null)
            && has(PRELOAD, &json!("etc/ld.so.preload"))
            && self.volumes("nss-k8s").len() == 1
    }
}

/// The objects of a folder of `deploy/kustomize`.
pub(crate) fn manifests(folder: &str) -> Result<Vec<Value>> {
    let folder = artifacts::repository()
        .join("deploy/kustomize")
        .join(folder);
    let mut objects = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.file_name() == Some("kustomization.yaml".as_ref()) {
            continue;
        }
        for document in fs::read_to_string(&path)?.split("\n---\n") {
            let object: Value =
                serde_saphyr::from_str(document).with_context(|| path.display().to_string())?;
            objects.push(object);
        }
    }
    Ok(objects)
}

/// Where objects of a kind are created.
fn collection(object: &Value) -> Result<String> {
    let kind = object["kind"].as_str().context("no kind")?;
    let plural = match kind {
        "MutatingAdmissionPolicy" => "mutatingadmissionpolicies".into(),
        _ => format!("{}s", kind.to_lowercase()),
    };
    let version = object["apiVersion"].as_str().context("no version")?;
    let group = if version == "v1" { "api" } else { "apis" };
    let place = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("namespaces/{namespace}/"),
        None => String::new(),
    };
    Ok(format!("/{group}/{version}/{place}{plural}"))
}

/// Puts the fields of `more` over those of `object`.
fn merge(object: &mut Value, more: Value) {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
}

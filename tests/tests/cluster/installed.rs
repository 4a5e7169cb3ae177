//! What the chart installs, on a real API server, for as long as a test; and pods as that server would make them.

use crate::{
    api::Api,
    control_plane::{ControlPlane, until},
};
use anyhow::{Context, Result};
use nss_k8s_tests::artifacts;
use serde_json::{Value, json};
use std::fs;

/// What an injected container has more, in the order in which it is added.
pub(crate) const DIRECTORY: &str = "/run/nss-k8s";
pub(crate) const PRELOAD: &str = "/etc/ld.so.preload";
pub(crate) const NSSWITCH: &str = "/etc/nsswitch.conf";
/// What musl is told.
pub(crate) const LIBRARY: &str = "/run/nss-k8s/lib/preload/libnss_k8s_preload.so";
/// The parameters' ConfigMap.
pub(crate) const PARAMETERS: &str = "/api/v1/namespaces/nss-k8s/configmaps/nss-k8s-injection";
/// Namespaces of these tests.
const NAMESPACES: [&str; 3] = ["injected", "plain", "dynatrace"];

/// What was installed for a test.
pub(crate) struct Installed<'a> {
    pub(crate) api: &'a Api,
    made: Vec<String>,
}

impl<'a> Installed<'a> {
    /// Only the namespace that everything lives in.
    pub(crate) fn namespace(api: &'a Api) -> Result<Self> {
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
    pub(crate) fn policy(plane: &'a ControlPlane) -> Result<Self> {
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
    pub(crate) fn admit(&self, namespace: &str, spec: &Value) -> Result<Pod> {
        self.admit_with(namespace, json!({}), spec)
    }

    /// The same with labels and annotations.
    pub(crate) fn admit_with(
        &self,
        namespace: &str,
        mut metadata: Value,
        spec: &Value,
    ) -> Result<Pod> {
        merge(&mut metadata, json!({"name": "pod"}));
        let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
        Ok(Pod(self.api.create(&path, &pod)?))
    }

    /// Changes parameters, and waits until the policy has them: a pod tells by a mark in a list.
    pub(crate) fn set(&self, mut data: Value) -> Result<()> {
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
    pub(crate) fn remove(self) -> Result<()> {
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
pub(crate) struct Pod(pub(crate) Value);

impl Pod {
    pub(crate) fn container(&self, name: &str) -> &Value {
        let kinds = ["containers", "initContainers"].into_iter();
        let mut all = kinds.flat_map(|kind| self.0["spec"][kind].as_array().into_iter().flatten());
        all.find(|container| container["name"] == name)
            .unwrap_or(&Value::Null)
    }

    /// Paths, without that of the account's token, which is there before the policy or not.
    pub(crate) fn mounts(&self, container: &str) -> Vec<String> {
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
    pub(crate) fn own_mounts(&self, container: &str) -> Vec<Value> {
        let mounts = self.container(container)["volumeMounts"].as_array();
        let all = mounts.into_iter().flatten();
        all.filter(|mount| mount["name"] == "nss-k8s")
            .cloned()
            .collect()
    }

    pub(crate) fn environment(&self, container: &str) -> Vec<Value> {
        let all = self.container(container)["env"].as_array();
        all.into_iter().flatten().cloned().collect()
    }

    pub(crate) fn volumes(&self, name: &str) -> Vec<Value> {
        let all = self.0["spec"]["volumes"].as_array().into_iter().flatten();
        all.filter(|volume| volume["name"] == name)
            .cloned()
            .collect()
    }

    /// Whether a container has both of our mounts, read-only, and the pod the volume.
    pub(crate) fn is_injected(&self, container: &str) -> bool {
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
pub(crate) fn collection(object: &Value) -> Result<String> {
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
pub(crate) fn merge(object: &mut Value, more: Value) {
    if let (Some(object), Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
}

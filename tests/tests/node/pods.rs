//! Namespaces and pods as their owners write them: nothing in them knows of nss-k8s but the namespace's label.

use crate::{cluster::Cluster, machine};
use anyhow::{Context, Result};
use nss_k8s_tests::probe::{self, Libc};
use serde_json::{Value, json};
use std::fs;

/// What the containers of the tests' pods are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Image {
    /// Debian as debootstrap leaves it.
    Debian,
    /// musl's loader and a busybox linked with it.
    Musl,
    /// One static Go program.
    Golang,
}

impl Image {
    /// Its reference.
    pub(crate) fn reference(self) -> &'static str {
        match self {
            Self::Debian => "nss-k8s.test/debian:1",
            Self::Musl => "nss-k8s.test/musl:1",
            Self::Golang => "nss-k8s.test/golang:1",
        }
    }

    /// Where a program of `tests/probes` lies in a pod of it.
    pub(crate) fn program(self, name: &str) -> String {
        match self {
            Self::Musl => format!("/programs/{name}.musl"),
            Self::Debian | Self::Golang => format!("/programs/{name}.glibc"),
        }
    }
}

/// A namespace with Pod Security at `restricted`, one Service `web`, and the tests' programs in a ConfigMap.
pub(crate) struct Namespace<'a> {
    pub(crate) cluster: &'a Cluster,
    /// Its name.
    pub(crate) name: String,
    /// The cluster address of its Service `web`.
    pub(crate) web: String,
}

impl<'a> Namespace<'a> {
    /// Creates one whose pods are injected.
    pub(crate) fn injected(cluster: &'a Cluster, name: &str) -> Result<Self> {
        Self::create(cluster, name, &json!({"nss-k8s.io/inject": "enabled"}))
    }

    /// Creates one with these labels besides Pod Security's.
    pub(crate) fn create(cluster: &'a Cluster, name: &str, labels: &Value) -> Result<Self> {
        let mut all = json!({"pod-security.kubernetes.io/enforce": "restricted"});
        for (key, value) in labels.as_object().into_iter().flatten() {
            all[key] = value.clone();
        }
        cluster.apply(&json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": all},
        }))?;
        let mut command = vec!["-n", name, "create", "configmap", "programs"];
        let mut files = Vec::new();
        for libc in [Libc::Glibc, Libc::Musl] {
            for name in ["load", "await"] {
                let program = probe::program(name, libc)?;
                files.push(format!("--from-file={}", program.display()));
            }
        }
        command.extend(files.iter().map(String::as_str));
        cluster.kubectl(&command)?;
        // Without it the API server refuses pods.
        cluster.until("the namespace's account", || {
            Ok(cluster.get("serviceaccounts", name, "default").ok())
        })?;
        let mut namespace = Self {
            cluster,
            name: name.to_owned(),
            web: String::new(),
        };
        namespace.web = namespace.service("web")?;
        Ok(namespace)
    }

    /// Makes a Service without endpoints; returns its cluster address.
    pub(crate) fn service(&self, name: &str) -> Result<String> {
        self.cluster.apply(&json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": self.name},
            "spec": {"ports": [{"name": "http", "port": 80}]},
        }))?;
        let service = self.cluster.get("services", &self.name, name)?;
        let address = service["spec"]["clusterIP"].as_str();
        Ok(address.context("no address")?.to_owned())
    }

    /// A pod of one container, `main`, as restricted Pod Security wants it.
    pub(crate) fn manifest(&self, name: &str, image: Image, command: &[&str]) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": self.name},
            "spec": {
                "automountServiceAccountToken": false,
                "terminationGracePeriodSeconds": 1,
                "securityContext": {
                    "runAsNonRoot": true,
                    "runAsUser": 1000,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [{
                    "name": "main",
                    "image": image.reference(),
                    "imagePullPolicy": "Never",
                    "command": command,
                    "securityContext": {
                        "allowPrivilegeEscalation": false,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": [{"name": "programs", "mountPath": "/programs"}],
                }],
                "volumes": [{"name": "programs", "configMap": {"name": "programs", "defaultMode": 0o755}}],
            },
        })
    }

    /// Creates a pod and waits until it runs.
    pub(crate) fn start(&self, manifest: &Value) -> Result<Pod<'a>> {
        self.cluster.create(manifest)?;
        let name = manifest["metadata"]["name"].as_str().context("no name")?;
        self.running(name)
    }

    /// A pod that does nothing but be entered.
    pub(crate) fn idle(&self, name: &str, image: Image) -> Result<Pod<'a>> {
        let program = image.program("load");
        self.start(&self.manifest(name, image, &[&program, "wait"]))
    }

    /// Waits until a pod runs.
    pub(crate) fn running(&self, name: &str) -> Result<Pod<'a>> {
        let condition = ["wait", "--for=condition=Ready", &format!("pod/{name}")];
        self.cluster.wait_for(&self.name, &condition)?;
        let pod = self.cluster.get("pods", &self.name, name)?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let container = text(&pod["status"]["containerStatuses"][0]["containerID"]);
        Ok(Pod {
            cluster: self.cluster,
            namespace: self.name.clone(),
            name: name.to_owned(),
            address: text(&pod["status"]["podIP"]).context("no address")?,
            uid: text(&pod["metadata"]["uid"]).context("no uid")?,
            process: machine::process_of(&container.context("no container")?)?,
        })
    }

    /// Deletes it and waits until nothing is left of it: no pod hangs in Terminating.
    pub(crate) fn delete(self) -> Result<()> {
        // Pods first: the controller of namespaces looks again after ever longer pauses while there are some.
        self.cluster
            .wait_for(&self.name, &["delete", "pods", "--all"])?;
        self.cluster
            .kubectl(&["delete", "namespace", &self.name, "--wait=false"])?;
        self.cluster.until("the namespace to be gone", || {
            Ok(self
                .cluster
                .get("namespaces", "", &self.name)
                .is_err()
                .then_some(()))
        })
    }
}

/// A running pod.
pub(crate) struct Pod<'a> {
    cluster: &'a Cluster,
    /// Its namespace.
    pub(crate) namespace: String,
    /// Its name.
    pub(crate) name: String,
    /// Its IPv4 address.
    pub(crate) address: String,
    /// Its uid.
    pub(crate) uid: String,
    /// The first process of its container `main`, as the node counts.
    pub(crate) process: u32,
}

impl Pod<'_> {
    /// Runs a command in it as kubelet does: with its user, rights and environment.
    pub(crate) fn exec(&self, command: &[&str]) -> Result<String> {
        let mut arguments = vec![
            "-n",
            &self.namespace,
            "exec",
            &self.name,
            "-c",
            "main",
            "--",
        ];
        arguments.extend(command);
        self.cluster.kubectl(&arguments)
    }

    /// What its container `main` wrote, read on the node: also while the API server is away.
    pub(crate) fn log(&self) -> Result<String> {
        let folder = format!(
            "/var/log/pods/{}_{}_{}/main",
            self.namespace, self.name, self.uid
        );
        let file = fs::read_to_string(format!("{folder}/0.log")).with_context(|| folder)?;
        // Time, stream and a flag for parts come before each line.
        let lines = file.lines().filter_map(|line| line.splitn(4, ' ').nth(3));
        Ok(lines.map(|line| format!("{line}\n")).collect())
    }

    /// Deletes it and waits until kubelet has done everything.
    pub(crate) fn delete(self) -> Result<()> {
        self.cluster
            .wait_for(&self.namespace, &["delete", "pod", &self.name])
    }
}

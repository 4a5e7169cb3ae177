//! A real control plane on this namespace's loopback: etcd, kube-apiserver, kube-controller-manager.

use crate::{api::Api, installed, objects::Namespace};
use anyhow::{Context, Result, bail};
pub(crate) use nss_k8s_tests::process::{Process, until, until_within};
use nss_k8s_tests::{artifacts, control_plane::Setup, fleet};
use serde_json::{Value, json};
use std::{
    env,
    path::PathBuf,
    process::Command,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Instant,
};

/// The user that the agent's certificate names.
const AGENT_USER: &str = "nss-k8s-agent";

/// The control plane that all tests of one run share; whoever holds it has it alone.
///
/// It is never taken down: it lives in a process namespace that ends with the test process.
pub(crate) fn shared() -> MutexGuard<'static, ControlPlane> {
    static SHARED: OnceLock<Result<Mutex<ControlPlane>, String>> = OnceLock::new();
    let started = SHARED.get_or_init(|| {
        ControlPlane::start()
            .map(Mutex::new)
            .map_err(|error| format!("{error:#}"))
    });
    match started {
        Ok(plane) => plane.lock().unwrap_or_else(PoisonError::into_inner),
        Err(error) => panic!("the control plane did not start: {error}"),
    }
}

/// The three running programs, and clients of the API server.
pub(crate) struct ControlPlane {
    /// A client that may do everything.
    pub(crate) administrator: Api,
    /// A client with the agent's rights.
    pub(crate) agent: Api,
    setup: Setup,
    server: Process,
    _etcd: Process,
    controllers: Process,
}

impl ControlPlane {
    /// Starts everything and waits until the controllers make endpoint slices.
    fn start() -> Result<Self> {
        let began = Instant::now();
        let setup = Setup {
            state: setting("NSS_K8S_CLUSTER_STATE")?,
            programs: setting("NSS_K8S_CLUSTER_PROGRAMS")?,
        };
        let etcd = start_etcd(&setup)?;
        let administrator = Api::connect(&setup.state.join("pki/administrator.kubeconfig"))?;
        let agent = Api::connect(&setup.state.join("pki/agent.kubeconfig"))?;
        let server = start_server(&setup)?;
        wait_until_ready(&administrator)?;
        let ready = began.elapsed();
        let controllers = start_controllers(&setup)?;
        let plane = Self {
            administrator,
            agent,
            setup,
            server,
            _etcd: etcd,
            controllers,
        };
        plane.furnish()?;
        println!(
            "control plane: API server ready after {ready:.1?}, controllers after {:.1?}",
            began.elapsed()
        );
        Ok(plane)
    }

    /// The kubeconfig of the agent.
    pub(crate) fn agent_kubeconfig(&self) -> PathBuf {
        self.setup.state.join("pki/agent.kubeconfig")
    }

    /// Where keys and certificates lie: `NAME.key`, `NAME.crt`.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.setup.state.join("pki")
    }

    /// Where this run's programs lie.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.setup.programs.join(name)
    }

    /// The API server's record of what the agent asked, one JSON object a line.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.setup.state.join("logs/audit.json")
    }

    /// Where a program of this run logs to.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.setup.log(name)
    }

    /// Kills the API server, as a crash would.
    pub(crate) fn crash_server(&mut self) -> Result<()> {
        self.server.kill()
    }

    /// Starts the API server again and waits until it serves. The controllers start anew too: left
    /// alone they would wait ever longer between two tries, for up to a minute.
    pub(crate) fn restart_server(&mut self) -> Result<()> {
        self.server = start_server(&self.setup)?;
        wait_until_ready(&self.administrator)?;
        self.controllers.kill()?;
        self.controllers = start_controllers(&self.setup)?;
        Ok(())
    }

    /// Makes nodes 1 to `nodes`, and starts kwok, which plays kubelet for them until it is dropped.
    pub(crate) fn play(&self, nodes: usize) -> Result<Process> {
        for number in 1..=nodes {
            self.administrator
                .create("/api/v1/nodes", &fleet::node(number))?;
        }
        Process::start(&mut self.setup.kwok(), self.setup.log("kwok"))
    }

    /// Makes etcd forget every revision but the newest; returns that one.
    pub(crate) fn compact(&self) -> Result<String> {
        let range = etcd_call("range", r#"{"key":"AA==","limit":1}"#)?;
        let revision = range["header"]["revision"]
            .as_str()
            .context("no revision")?
            .to_owned();
        let order = format!(r#"{{"revision":"{revision}","physical":true}}"#);
        let done = etcd_call("compaction", &order)?;
        if done["error"].is_string() {
            bail!("compaction: {done}");
        }
        Ok(revision)
    }

    /// Creates the objects of `fixtures/shop.yaml`, unless they are there, and the pod of the cluster
    /// DNS at `dns`.
    pub(crate) fn stock_shop(&self, dns: &str) -> Result<()> {
        if self.apply("fixtures/shop.yaml")? > 0 {
            // Its endpoint is how CoreDNS knows which Service it stands behind.
            Namespace::existing(&self.administrator, "kube-system").pod(
                "coredns",
                "kube-dns",
                &[dns],
            )?;
        }
        Ok(())
    }

    /// Creates the objects of a manifest of `tests/` that are not there; returns how many.
    pub(crate) fn apply(&self, manifest: &str) -> Result<usize> {
        let api = &self.administrator;
        let text = std::fs::read_to_string(artifacts::fixture(manifest))?;
        let mut made = 0;
        for document in text.split("\n---\n") {
            let object: Value = serde_saphyr::from_str(document)?;
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
            let collection = match object["kind"].as_str() {
                Some("Namespace") => "/api/v1/namespaces".into(),
                Some("Service") => format!("/api/v1/namespaces/{namespace}/services"),
                Some("EndpointSlice") => {
                    format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")
                }
                kind => bail!("{manifest}: {kind:?}"),
            };
            let name = object["metadata"]["name"].as_str().context("no name")?;
            if api.get(&format!("{collection}/{name}")).is_err() {
                api.create(&collection, &object)?;
                made += 1;
            }
        }
        Ok(made)
    }

    /// What every cluster has: the agent's rights, a node, the cluster DNS Service.
    fn furnish(&self) -> Result<()> {
        let api = &self.administrator;
        api.create(
            "/apis/rbac.authorization.k8s.io/v1/clusterroles",
            &json!({
                "metadata": {"name": AGENT_USER},
                "rules": agent_rules()?,
            }),
        )?;
        api.create(
            "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
            &json!({
                "metadata": {"name": AGENT_USER},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": AGENT_USER},
                "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": AGENT_USER}],
            }),
        )?;
        api.create("/api/v1/nodes", &json!({"metadata": {"name": "node-1"}}))?;
        // The finalizer of a namespace and the account in it are the controllers' first deeds.
        until("the controllers to work", || {
            Ok(api
                .get("/api/v1/namespaces/kube-system/serviceaccounts/default")
                .ok())
        })?;
        api.create(
            "/api/v1/namespaces/kube-system/services",
            &json!({
                "metadata": {"name": "kube-dns", "labels": {"k8s-app": "kube-dns"}},
                "spec": {
                    "clusterIP": nss_k8s_tests::pod::CLUSTER_DNS,
                    "selector": {"app": "kube-dns"},
                    "ports": [
                        {"name": "dns", "port": 53, "protocol": "UDP"},
                        {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
                    ],
                },
            }),
        )?;
        Ok(())
    }
}

/// What the chart lets the agent do.
fn agent_rules() -> Result<Value> {
    let installed = installed::manifests("base")?;
    let role = installed
        .into_iter()
        .find(|object| object["kind"] == "ClusterRole");
    Ok(role.context("no ClusterRole is installed")?["rules"].clone())
}

fn start_etcd(setup: &Setup) -> Result<Process> {
    let mut command = setup.etcd(&setting("NSS_K8S_CLUSTER_ETCD")?);
    Process::start(&mut command, setup.log("etcd"))
}

fn start_server(setup: &Setup) -> Result<Process> {
    let mut command = setup.api_server("10.96.0.0/16,fd00:96::/112");
    let audit = artifacts::fixture("cluster/audit.yaml");
    command.arg(format!("--audit-policy-file={}", audit.display()));
    let record = setup.state.join("logs/audit.json");
    command.arg(format!("--audit-log-path={}", record.display()));
    Process::start(&mut command, setup.log("kube-apiserver"))
}

fn start_controllers(setup: &Setup) -> Result<Process> {
    let mut command = setup.controllers();
    // The nodes are objects without a kubelet: nobody may declare them lost.
    command.arg("--controllers=*,-node-lifecycle-controller,-taint-eviction-controller");
    Process::start(&mut command, setup.log("kube-controller-manager"))
}

fn wait_until_ready(api: &Api) -> Result<()> {
    until("the API server to be ready", || {
        Ok(api.ready().then_some(()))
    })
}

/// One call of etcd's JSON gateway.
fn etcd_call(method: &str, body: &str) -> Result<Value> {
    let output = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--max-time",
            "10",
            "--data",
            body,
        ])
        .arg(format!("http://127.0.0.1:2379/v3/kv/{method}"))
        .output()
        .context("curl")?;
    if !output.status.success() {
        bail!("etcd {method}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A path that run.sh gives.
fn setting(name: &str) -> Result<PathBuf> {
    env::var_os(name)
        .map(PathBuf::from)
        .with_context(|| format!("{name} is not set: these tests are run by tests/cluster/run.sh"))
}

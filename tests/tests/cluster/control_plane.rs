//! A real control plane on this namespace's loopback: etcd, kube-apiserver, kube-controller-manager.

use crate::{api::Api, injection, objects::Namespace};
use anyhow::{Context, Result, bail};
use nss_k8s_tests::artifacts;
pub(crate) use nss_k8s_tests::process::{Process, until, until_within};
use serde_json::{Value, json};
use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
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
    state: PathBuf,
    programs: PathBuf,
    server: Process,
    _etcd: Process,
    controllers: Process,
}

impl ControlPlane {
    /// Starts everything and waits until the controllers make endpoint slices.
    fn start() -> Result<Self> {
        let began = Instant::now();
        let state = setting("NSS_K8S_CLUSTER_STATE")?;
        let programs = setting("NSS_K8S_CLUSTER_PROGRAMS")?;
        let etcd = start_etcd(&state)?;
        let administrator = Api::connect(&state.join("pki/administrator.kubeconfig"))?;
        let agent = Api::connect(&state.join("pki/agent.kubeconfig"))?;
        let server = start_server(&state, &programs)?;
        wait_until_ready(&administrator)?;
        let ready = began.elapsed();
        let controllers = start_controllers(&state, &programs)?;
        let plane = Self {
            administrator,
            agent,
            state,
            programs,
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
        self.state.join("pki/agent.kubeconfig")
    }

    /// Where keys and certificates lie: `NAME.key`, `NAME.crt`.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.state.join("pki")
    }

    /// Where this run's programs lie.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The API server's record of what the agent asked, one JSON object a line.
    pub(crate) fn audit_log(&self) -> PathBuf {
        self.state.join("logs/audit.json")
    }

    /// Where a program of this run logs to.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.state.join(format!("logs/{name}.log"))
    }

    /// Kills the API server, as a crash would.
    pub(crate) fn crash_server(&mut self) -> Result<()> {
        self.server.kill()
    }

    /// Starts the API server again and waits until it serves. The controllers start anew too: left
    /// alone they would wait ever longer between two tries, for up to a minute.
    pub(crate) fn restart_server(&mut self) -> Result<()> {
        self.server = start_server(&self.state, &self.programs)?;
        wait_until_ready(&self.administrator)?;
        self.controllers.kill()?;
        self.controllers = start_controllers(&self.state, &self.programs)?;
        Ok(())
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
    let installed = injection::manifests("base")?;
    let role = installed
        .into_iter()
        .find(|object| object["kind"] == "ClusterRole");
    Ok(role.context("no ClusterRole is installed")?["rules"].clone())
}

fn start_etcd(state: &Path) -> Result<Process> {
    let data = state.join("etcd");
    let mut command = Command::new(setting("NSS_K8S_CLUSTER_ETCD")?);
    command.args(["--name=test", "--logger=zap", "--log-level=warn"]);
    command.args([
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=test=http://127.0.0.1:2380",
    ]);
    command.args([OsStr::new("--data-dir"), data.as_os_str()]);
    Process::start(&mut command, state.join("logs/etcd.log"))
}

fn start_server(state: &Path, programs: &Path) -> Result<Process> {
    let mut command = Command::new(programs.join("kube-apiserver"));
    command.args([
        "--etcd-servers=http://127.0.0.1:2379",
        // Nobody but this namespace and the pod of the cluster DNS can reach it.
        "--bind-address=0.0.0.0",
        "--advertise-address=10.244.0.1",
        "--secure-port=6443",
        "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112",
        "--authorization-mode=Node,RBAC",
        "--anonymous-auth=false",
        "--profiling=false",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--allow-privileged=true",
    ]);
    let mut file = |flag: &str, path: PathBuf| {
        command.arg(format!("--{flag}={}", path.display()));
    };
    file("tls-cert-file", state.join("pki/server.crt"));
    file("tls-private-key-file", state.join("pki/server.key"));
    file("client-ca-file", state.join("pki/authority.crt"));
    file(
        "service-account-key-file",
        state.join("pki/service-accounts.pub"),
    );
    file(
        "service-account-signing-key-file",
        state.join("pki/service-accounts.key"),
    );
    file("audit-log-path", state.join("logs/audit.json"));
    file(
        "audit-policy-file",
        artifacts::fixture("cluster/audit.yaml"),
    );
    file("cert-dir", state.join("pki"));
    Process::start(&mut command, state.join("logs/kube-apiserver.log"))
}

fn start_controllers(state: &Path, programs: &Path) -> Result<Process> {
    let mut command = Command::new(programs.join("kube-controller-manager"));
    command.args([
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--concurrent-service-endpoint-syncs=10",
        "--bind-address=127.0.0.1",
        "--profiling=false",
        // The nodes are objects without a kubelet: nobody may declare them lost.
        "--controllers=*,-node-lifecycle-controller,-taint-eviction-controller",
    ]);
    let mut file = |flag: &str, path: &str| {
        command.arg(format!("--{flag}={}", state.join(path).display()));
    };
    file("kubeconfig", "pki/controllers.kubeconfig");
    file("authentication-kubeconfig", "pki/controllers.kubeconfig");
    file("authorization-kubeconfig", "pki/controllers.kubeconfig");
    file(
        "service-account-private-key-file",
        "pki/service-accounts.key",
    );
    file("root-ca-file", "pki/authority.crt");
    file("cert-dir", "pki");
    Process::start(&mut command, state.join("logs/kube-controller-manager.log"))
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

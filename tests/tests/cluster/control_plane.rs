//! A real control plane on this namespace's loopback: etcd, kube-apiserver, kube-controller-manager.

use crate::{api::Api, installed, objects::Namespace};
use anyhow::{Context, Result, bail};
pub(crate) use nss_k8s_tests::process::{Process, until, until_within};
use nss_k8s_tests::{
    artifacts,
    control_plane::{Ports, Setup},
    fleet,
};
use serde_json::{Value, json};
use std::{
    env, fs,
    os::unix::fs::symlink,
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

/// The running programs, and clients of the API server.
pub(crate) struct ControlPlane {
    /// A client that may do everything.
    pub(crate) administrator: Api,
    /// A client with the agent's rights.
    pub(crate) agent: Api,
    setup: Setup,
    ports: Ports,
    server: Process,
    etcd: Process,
    /// The shared one has them.
    controllers: Option<Process>,
}

impl ControlPlane {
    /// Starts everything and waits until the controllers make endpoint slices.
    fn start() -> Result<Self> {
        let began = Instant::now();
        let setup = Setup {
            state: setting("NSS_K8S_CLUSTER_STATE")?,
            programs: setting("NSS_K8S_CLUSTER_PROGRAMS")?,
        };
        let mut plane = Self::serve(setup, Ports::default())?;
        let ready = began.elapsed();
        plane.controllers = Some(start_controllers(&plane.setup)?);
        plane.furnish()?;
        println!(
            "control plane: API server ready after {ready:.1?}, controllers after {:.1?}",
            began.elapsed()
        );
        Ok(plane)
    }

    /// One of the caller's own beside the shared one, with no more in it than the agent needs: no
    /// controllers, so that nobody writes what the caller has not written.
    pub(crate) fn alone(name: &str) -> Result<Self> {
        let shared = setting("NSS_K8S_CLUSTER_STATE")?;
        let state = shared.join(name);
        fs::create_dir_all(state.join("pki"))?;
        // They outlive a run that fails with those of the shared one.
        let logs = shared.join("logs").join(name);
        fs::create_dir(&logs)?;
        symlink(logs, state.join("logs"))?;
        let usual = Ports::default();
        let ports = Ports {
            etcd: usual.etcd + 10_000,
            peers: usual.peers + 10_000,
            api: usual.api + 10_000,
        };
        for file in fs::read_dir(shared.join("pki"))? {
            let file = file?;
            let ours = state.join("pki").join(file.file_name());
            match file.path().extension().is_some_and(|it| it == "kubeconfig") {
                true => {
                    let text = fs::read_to_string(file.path())?;
                    let port = |ports: Ports| format!(":{}", ports.api);
                    fs::write(ours, text.replace(&port(usual), &port(ports)))?;
                }
                false => symlink(file.path(), ours)?,
            }
        }
        let setup = Setup {
            state,
            programs: setting("NSS_K8S_CLUSTER_PROGRAMS")?,
        };
        let plane = Self::serve(setup, ports)?;
        plane.allow_agent()?;
        plane.name_cluster_dns()?;
        Ok(plane)
    }

    /// etcd and an API server that is ready.
    fn serve(setup: Setup, ports: Ports) -> Result<Self> {
        let etcd = start_etcd(&setup, ports)?;
        let administrator = Api::connect(&setup.state.join("pki/administrator.kubeconfig"))?;
        let agent = Api::connect(&setup.state.join("pki/agent.kubeconfig"))?;
        let server = start_server(&setup, ports)?;
        wait_until_ready(&administrator)?;
        Ok(Self {
            administrator,
            agent,
            setup,
            ports,
            server,
            etcd,
            controllers: None,
        })
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

    /// Where a copy of etcd's data may lie.
    pub(crate) fn storage_copy(&self) -> PathBuf {
        self.setup.state.join("etcd-copy")
    }

    /// Kills the API server, as a crash would.
    pub(crate) fn crash_server(&mut self) -> Result<()> {
        self.server.kill()
    }

    /// Starts the API server again and waits until it serves. The controllers start anew too: left
    /// alone they would wait ever longer between two tries, for up to a minute.
    pub(crate) fn restart_server(&mut self) -> Result<()> {
        self.server = start_server(&self.setup, self.ports)?;
        wait_until_ready(&self.administrator)?;
        if let Some(controllers) = &mut self.controllers {
            controllers.kill()?;
            *controllers = start_controllers(&self.setup)?;
        }
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

    /// Ends the API server, and etcd in an orderly way, for as long as `work` takes with etcd's data.
    pub(crate) fn without_servers(&mut self, work: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        // Asked to end, it would wait for its watches for a minute.
        self.crash_server()?;
        self.etcd.signal(libc::SIGTERM)?;
        self.etcd.wait()?;
        work(&self.setup.state.join("etcd"))?;
        self.etcd = start_etcd(&self.setup, self.ports)?;
        self.restart_server()
    }

    /// Makes etcd forget every revision but the newest; returns that one.
    pub(crate) fn compact(&self) -> Result<String> {
        let range = self.etcd_call("range", r#"{"key":"AA==","limit":1}"#)?;
        let revision = range["header"]["revision"]
            .as_str()
            .context("no revision")?
            .to_owned();
        let order = format!(r#"{{"revision":"{revision}","physical":true}}"#);
        let done = self.etcd_call("compaction", &order)?;
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

    /// One call of etcd's JSON gateway.
    fn etcd_call(&self, method: &str, body: &str) -> Result<Value> {
        let port = self.ports.etcd;
        let output = Command::new("curl")
            .args([
                "--silent",
                "--show-error",
                "--max-time",
                "10",
                "--data",
                body,
            ])
            .arg(format!("http://127.0.0.1:{port}/v3/kv/{method}"))
            .output()
            .context("curl")?;
        if !output.status.success() {
            bail!("etcd {method}: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Gives the agent's user the rights that the chart gives it.
    fn allow_agent(&self) -> Result<()> {
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
        Ok(())
    }

    /// What every cluster has: the agent's rights, a node, the cluster DNS Service.
    fn furnish(&self) -> Result<()> {
        self.allow_agent()?;
        let api = &self.administrator;
        api.create("/api/v1/nodes", &json!({"metadata": {"name": "node-1"}}))?;
        // The finalizer of a namespace and the account in it are the controllers' first deeds.
        until("the controllers to work", || {
            Ok(api
                .get("/api/v1/namespaces/kube-system/serviceaccounts/default")
                .ok())
        })?;
        self.name_cluster_dns()
    }

    /// Creates the Service of the cluster DNS.
    fn name_cluster_dns(&self) -> Result<()> {
        self.administrator.create(
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

fn start_etcd(setup: &Setup, ports: Ports) -> Result<Process> {
    let mut command = setup.etcd_at(&setting("NSS_K8S_CLUSTER_ETCD")?, ports);
    Process::start(&mut command, setup.log("etcd"))
}

fn start_server(setup: &Setup, ports: Ports) -> Result<Process> {
    let mut command = setup.api_server_at("10.96.0.0/16,fd00:96::/112", ports);
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

/// A path that run.sh gives.
fn setting(name: &str) -> Result<PathBuf> {
    env::var_os(name)
        .map(PathBuf::from)
        .with_context(|| format!("{name} is not set: these tests are run by tests/cluster/run.sh"))
}

//! The servers: etcd and kube-apiserver; for pods also kube-controller-manager and kwok.

use crate::{Figure, mb, note, path, say};
use anyhow::{Context, Result, bail, ensure};
use http::Request;
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use nss_k8s_tests::{
    artifacts,
    audit::{self, Request as Asked},
    control_plane::Setup,
    process::Process,
    watcher::Cost,
};
use serde_json::{Value, json};
use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::Once,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// The user of the agent's certificate.
const AGENT_USER: &str = "nss-k8s-agent";
/// The controllers that pods of Deployments, and their services, need.
const CONTROLLERS: &str = "deployment-controller,replicaset-controller,endpointslice-controller";

/// What runs.
pub(crate) struct Plane {
    /// A client that may do everything.
    pub(crate) administrator: Client,
    setup: Setup,
    api_server: Process,
    etcd: Process,
}

/// What the API server spent since some moment.
pub(crate) struct Meter {
    cpu: Duration,
    bytes: u64,
    asked: usize,
}

impl Plane {
    /// Starts etcd and the API server, with a state of their own, and waits until they serve.
    pub(crate) async fn start(name: &str) -> Result<Self> {
        static COUNTING: Once = Once::new();
        let mut counting = Ok(());
        COUNTING.call_once(|| counting = count_bytes());
        counting?;
        let keys = path("BENCH_KEYS")?;
        let state = path("BENCH_STATE")?.join(name);
        fs::create_dir_all(state.join("logs"))?;
        std::os::unix::fs::symlink(&keys, state.join("pki"))?;
        let programs = path("BENCH_PROGRAMS")?;
        let setup = Setup { state, programs };
        let mut etcd = setup.etcd(&setup.programs.join("etcd"));
        etcd.arg("--unsafe-no-fsync");
        let etcd = Process::start(&mut etcd, setup.log("etcd"))?;
        // Nothing of it is to hold up whoever writes as much as it takes, and pods need no accounts.
        let mut server = setup.api_server("10.96.0.0/12");
        server.args([
            "--max-requests-inflight=0",
            "--max-mutating-requests-inflight=0",
            "--enable-priority-and-fairness=false",
            "--disable-admission-plugins=ServiceAccount",
        ]);
        let policy = artifacts::fixture("cluster/audit.yaml");
        server.arg(format!("--audit-policy-file={}", policy.display()));
        let record = setup.state.join("logs/audit.json");
        server.arg(format!("--audit-log-path={}", record.display()));
        let api_server = Process::start(&mut server, setup.log("kube-apiserver"))?;
        let file = Kubeconfig::read_from(keys.join("administrator.kubeconfig"))?;
        let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
        let plane = Self {
            administrator: Client::try_from(config)?,
            setup,
            api_server,
            etcd,
        };
        plane.wait_until_ready().await?;
        plane.grant().await?;
        say(&format!("{name}: the API server is ready"));
        Ok(plane)
    }

    /// Starts the controllers and kwok, which run until they are dropped.
    pub(crate) fn play(&self) -> Result<[Process; 2]> {
        let mut controllers = self.setup.controllers();
        controllers.arg(format!("--controllers={CONTROLLERS}"));
        let log = self.setup.log("kube-controller-manager");
        Ok([
            Process::start(&mut controllers, log)?,
            Process::start(&mut self.setup.kwok(), self.setup.log("kwok"))?,
        ])
    }

    /// Sends an object, or asks for one; what the server answered.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        send(&self.administrator, method, path, body).await
    }

    /// What the agent is to know of the server.
    pub(crate) fn kubeconfig(&self) -> Result<String> {
        Ok(fs::read_to_string(
            self.setup.state.join("pki/agent.kubeconfig"),
        )?)
    }

    /// From now on.
    pub(crate) fn meter(&self) -> Result<Meter> {
        Ok(Meter {
            cpu: Cost::of(self.api_server.id())?.cpu,
            bytes: bytes_sent()?,
            asked: audit::requests(&self.record())?.len(),
        })
    }

    /// How much memory the servers have.
    pub(crate) fn report(&self, figures: &mut Vec<Figure>) -> Result<()> {
        for (name, process) in [("API server", &self.api_server), ("etcd", &self.etcd)] {
            let cost = Cost::of(process.id())?;
            let memory = mb(cost.anonymous + cost.files);
            note(figures, format!("{name}: memory"), "MB", memory);
        }
        Ok(())
    }

    fn record(&self) -> PathBuf {
        self.setup.state.join("logs/audit.json")
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            let ready = Request::get("/readyz").body(Vec::new())?;
            if self.administrator.request_text(ready).await.is_ok() {
                return Ok(());
            }
            // Between two looks.
            sleep(Duration::from_millis(50)).await;
        }
        bail!("the API server does not serve")
    }

    /// What the chart grants agents.
    async fn grant(&self) -> Result<()> {
        let role = json!({"metadata": {"name": AGENT_USER}, "rules": [
            {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ]});
        let binding = json!({
            "metadata": {"name": AGENT_USER},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": AGENT_USER},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": AGENT_USER}],
        });
        let group = "/apis/rbac.authorization.k8s.io/v1";
        self.ask("POST", &format!("{group}/clusterroles"), &role)
            .await?;
        self.ask("POST", &format!("{group}/clusterrolebindings"), &binding)
            .await?;
        Ok(())
    }
}

impl Meter {
    /// CPU time of the API server since then.
    pub(crate) fn cpu(&self, plane: &Plane) -> Result<Duration> {
        let now = Cost::of(plane.api_server.id())?.cpu;
        Ok(now.saturating_sub(self.cpu))
    }

    /// Bytes that it has sent since then, to whomever, headers of IP and TCP included.
    pub(crate) fn bytes(&self) -> Result<u64> {
        Ok(bytes_sent()? - self.bytes)
    }

    /// What the agent has asked for since then.
    pub(crate) fn asked(&self, plane: &Plane) -> Result<Vec<Asked>> {
        Ok(audit::requests(&plane.record())?.split_off(self.asked))
    }
}

/// Sends an object, or nothing; what the server answered.
pub(crate) async fn send(client: &Client, method: &str, path: &str, body: &Value) -> Result<Value> {
    let kind = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let body = match body {
        Value::Null => Vec::new(),
        body => body.to_string().into_bytes(),
    };
    let request = Request::builder().method(method).uri(path);
    let request = request.header("content-type", kind).body(body)?;
    let answer = client.request_text(request).await;
    let answer = answer.with_context(|| format!("{method} {path}"))?;
    Ok(serde_json::from_str(&answer)?)
}

/// Lets the kernel count what leaves the API server's port, in this network namespace.
fn count_bytes() -> Result<()> {
    let rules = "table inet bench {
        counter api {
        }
        chain out {
            type filter hook output priority 0;
            tcp sport 6443 counter name api
        }
    }";
    let output = Command::new("nft").arg(rules).output().context("nft")?;
    ensure!(output.status.success(), "nft: {output:?}");
    Ok(())
}

fn bytes_sent() -> Result<u64> {
    let output = Command::new("nft")
        .args(["list", "counter", "inet", "bench", "api"])
        .output()
        .context("nft")?;
    let text = String::from_utf8(output.stdout)?;
    let (_, bytes) = text.split_once(" bytes ").context("no counter")?;
    let digits = bytes.split_whitespace().next().context("no number")?;
    Ok(digits.parse()?)
}

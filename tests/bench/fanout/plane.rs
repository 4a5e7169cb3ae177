//! The servers: etcd, kube-apiserver, nats-server, the publishers. Each run has new ones.

use crate::{meter, path, say};
use anyhow::{Context, Result, bail};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use nss_k8s_tests::{
    artifacts,
    control_plane::Setup,
    process::{Process, until},
};
use serde_json::json;
use std::{
    fs, io,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
    time::Duration,
};
use tokio::time::sleep;

/// Of the API server.
pub(crate) const API_PORT: u16 = 6443;
/// Of the NATS server.
pub(crate) const NATS_PORT: u16 = 4222;
/// The user of the agents' certificate.
const AGENT_USER: &str = "nss-k8s-agent";

/// What runs.
pub(crate) struct Plane {
    /// A client that may do everything.
    pub(crate) administrator: Client,
    setup: Setup,
    publishers: Vec<Process>,
    nats: Option<Process>,
    api_server: Option<Process>,
    _etcd: Process,
}

impl Plane {
    /// Starts etcd and the API server, with a state of their own.
    pub(crate) async fn start(name: &str) -> Result<Self> {
        static COUNTING: Once = Once::new();
        let mut counting = Ok(());
        COUNTING.call_once(|| counting = meter::count_bytes());
        counting?;
        let keys = path("BENCH_KEYS")?;
        let state = path("BENCH_STATE")?.join(name);
        fs::create_dir_all(state.join("logs"))?;
        std::os::unix::fs::symlink(&keys, state.join("pki"))?;
        let setup = Setup {
            state,
            programs: path("BENCH_PROGRAMS")?,
        };
        let mut etcd = setup.etcd(&setup.programs.join("etcd"));
        etcd.arg("--unsafe-no-fsync");
        let etcd = Process::start(&mut etcd, setup.log("etcd"))?;
        let administrator = client(&keys.join("administrator.kubeconfig")).await?;
        let mut plane = Self {
            administrator,
            setup,
            publishers: Vec::new(),
            nats: None,
            api_server: None,
            _etcd: etcd,
        };
        plane.start_api_server().await?;
        plane.grant().await?;
        say(&format!("{name}: the API server is ready"));
        Ok(plane)
    }

    /// Starts the API server and waits until it serves.
    pub(crate) async fn start_api_server(&mut self) -> Result<()> {
        let mut command = self.setup.api_server("10.96.0.0/12");
        let log = self.setup.log("kube-apiserver");
        self.api_server = Some(Process::start(&mut command, log)?);
        for _ in 0..1_200 {
            let ready = http::Request::get("/readyz").body(Vec::new())?;
            if self.administrator.request_text(ready).await.is_ok() {
                return Ok(());
            }
            // Between two looks.
            sleep(Duration::from_millis(50)).await;
        }
        bail!("the API server does not serve")
    }

    /// Kills it, as a crash would.
    pub(crate) fn kill_api_server(&mut self) -> Result<()> {
        self.api_server.take().context("no API server")?.kill()
    }

    /// Starts the NATS server, on what an earlier one left.
    pub(crate) async fn start_nats(&mut self) -> Result<()> {
        let configuration = self.setup.state.join("nats.conf");
        let store = self.setup.state.join("nats");
        fs::write(
            &configuration,
            format!(
                "listen: \"127.0.0.1:{NATS_PORT}\"\nmax_connections: 20000\nmax_payload: 1MB\n\
                 jetstream {{ store_dir: \"{}\", max_file: 4GB, max_mem: 1GB }}\n",
                store.display()
            ),
        )?;
        let mut command = Command::new(path("BENCH_NATS")?);
        command.arg("-c").arg(configuration);
        self.nats = Some(Process::start(&mut command, self.setup.log("nats"))?);
        until("the NATS server to listen", || {
            Ok(TcpStream::connect(("127.0.0.1", NATS_PORT)).ok())
        })?;
        Ok(())
    }

    /// Kills it, as a crash would.
    pub(crate) fn kill_nats(&mut self) -> Result<()> {
        self.nats.take().context("no NATS server")?.kill()
    }

    /// Starts two publishers, and waits until the bucket is whole.
    pub(crate) async fn start_publishers(&mut self) -> Result<()> {
        for number in 0..2 {
            let mut command = Command::new(artifacts::agent()?);
            command
                .arg("publish")
                .arg(format!("--to=nats://127.0.0.1:{NATS_PORT}"))
                .arg("--kubeconfig")
                .arg(self.keys().join("agent.kubeconfig"))
                .arg("--lease=default/nss-k8s-publish")
                .arg(format!("--identity=publisher-{number}"))
                .arg("--endpoint-slices=all")
                .arg("--listen=off");
            let log = self.setup.log(&format!("publisher-{number}"));
            self.publishers.push(Process::start(&mut command, log)?);
        }
        Ok(())
    }

    /// Where keys and kubeconfigs are.
    pub(crate) fn keys(&self) -> PathBuf {
        self.setup.state.join("pki")
    }

    /// The process.
    pub(crate) fn api_server(&self) -> Option<u32> {
        self.api_server.as_ref().map(Process::id)
    }

    /// The process.
    pub(crate) fn nats(&self) -> Option<u32> {
        self.nats.as_ref().map(Process::id)
    }

    /// The processes.
    pub(crate) fn publishers(&self) -> Vec<u32> {
        self.publishers.iter().map(Process::id).collect()
    }

    /// Says how much memory the servers have.
    pub(crate) fn report(&self) -> Result<()> {
        let all = [
            ("kube-apiserver", self.api_server()),
            ("nats-server", self.nats()),
        ];
        let publishers = self.publishers().into_iter();
        let publishers = publishers.map(|id| ("publisher", Some(id)));
        for (name, id) in all.into_iter().chain(publishers) {
            if let Some(id) = id {
                say(&format!("{name}: {} MB", meter::memory_of(id)?));
            }
        }
        Ok(())
    }

    /// What the chart grants agents, and publishers their Lease.
    async fn grant(&self) -> Result<()> {
        let rules = json!([
            {"apiGroups": [""], "resources": ["services", "namespaces"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update", "patch"]},
        ]);
        let role = json!({"metadata": {"name": AGENT_USER}, "rules": rules});
        let binding = json!({
            "metadata": {"name": AGENT_USER},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": AGENT_USER},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": AGENT_USER}],
        });
        for (kind, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
            let path = format!("/apis/rbac.authorization.k8s.io/v1/{kind}");
            let request = http::Request::post(path)
                .header("content-type", "application/json")
                .body(object.to_string().into_bytes())?;
            self.administrator.request_text(request).await?;
        }
        Ok(())
    }
}

/// A client as agents have one: a failure is a failure, and connections are its own.
pub(crate) async fn client(kubeconfig: &Path) -> Result<Client> {
    let file = Kubeconfig::read_from(kubeconfig)?;
    let mut config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(10));
    config.read_timeout = Some(Duration::from_secs(330));
    Ok(Client::try_from(config)?)
}

/// As many descriptors as the machine lets a process have; servers that are started inherit them.
pub(crate) fn raise_descriptors() -> Result<()> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: it writes into the structure that it is given.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error()).context("getrlimit");
    }
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: it reads the structure.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) } != 0 {
        return Err(io::Error::last_os_error()).context("setrlimit");
    }
    Ok(())
}

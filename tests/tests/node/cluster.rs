//! The cluster that all tests of the run share, and how they talk to it.

use crate::{coredns, machine::Machine, plane::Plane};
use anyhow::{Context, Result, bail, ensure};
use nss_k8s_tests::process::until_within;
use serde_json::Value;
use std::{
    env, fs,
    io::Write,
    ops::Deref,
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long a step of the cluster may take: what is waited for is an event, so this only bounds failures.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// The cluster; whoever holds it has it alone. It starts with the first test, and ends with the process namespace.
///
/// A test leaves it as it found it: everything running, the chart of this version installed.
pub(crate) fn shared() -> Turn {
    static SHARED: OnceLock<Result<Mutex<Cluster>, String>> = OnceLock::new();
    let started = SHARED.get_or_init(|| {
        Cluster::start()
            .map(Mutex::new)
            .map_err(|error| format!("{error:#}"))
    });
    match started {
        Ok(cluster) => Turn {
            cluster: cluster.lock().unwrap_or_else(PoisonError::into_inner),
            began: Instant::now(),
        },
        Err(error) => panic!("the cluster did not start: {error}"),
    }
}

/// One test's time with the cluster; how long it was is printed at its end, also when the test fails.
pub(crate) struct Turn {
    cluster: MutexGuard<'static, Cluster>,
    began: Instant,
}

impl Deref for Turn {
    type Target = Cluster;

    fn deref(&self) -> &Cluster {
        &self.cluster
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let current = thread::current();
        println!(
            "== {}: {:.0} s",
            current.name().unwrap_or("a test"),
            self.began.elapsed().as_secs_f64()
        );
    }
}

/// A control plane and its one node.
pub(crate) struct Cluster {
    /// The control plane.
    pub(crate) plane: Plane,
    /// The node.
    pub(crate) machine: Machine,
    state: PathBuf,
    programs: PathBuf,
}

impl Cluster {
    /// Starts everything and waits for a ready node and a ready cluster DNS.
    fn start() -> Result<Self> {
        let began = Instant::now();
        let state = setting("NSS_K8S_NODE_STATE")?;
        let programs = setting("NSS_K8S_NODE_PROGRAMS")?;
        let folder = setting("NSS_K8S_NODE_IMAGES")?;
        let mut images: Vec<PathBuf> = ["pause", "coredns", "debian", "musl", "golang"]
            .map(|name| folder.join(format!("{name}.tar")))
            .into();
        images.push(setting("NSS_K8S_IMAGE")?);
        let plugins = setting("NSS_K8S_NODE_CNI")?;
        let cgroup = env::var("NSS_K8S_NODE_CGROUP")?;
        let plane = Plane::start(&state, &programs)?;
        println!("control plane: ready after {:.1?}", began.elapsed());
        let machine = Machine::start(&state, &programs, &plugins, &cgroup, &images)?;
        println!("images: loaded after {:.1?}", began.elapsed());
        let cluster = Self {
            plane,
            machine,
            state,
            programs,
        };
        cluster.until("the node's kubelet to register", || {
            Ok(cluster.get("nodes", "", crate::machine::NODE).ok())
        })?;
        coredns::deploy(&cluster)?;
        cluster.wait_for("kube-system", &["rollout", "status", "deployment/coredns"])?;
        println!("node and cluster DNS: ready after {:.1?}", began.elapsed());
        Ok(cluster)
    }

    /// Runs kubectl as the administrator; what it prints, or its complaint as an error.
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        text(self.kubectl_command(arguments).output()?)
            .with_context(|| format!("kubectl {}", arguments.join(" ")))
    }

    /// The same as a command, for those who want its status or give it input.
    pub(crate) fn kubectl_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.programs.join("kubectl"));
        command.arg("--kubeconfig").arg(self.kubeconfig());
        command.arg("--cache-dir").arg(self.state.join("kubectl"));
        command.args(arguments);
        command
    }

    /// Waits with `kubectl -n NAMESPACE ARGUMENTS --timeout`; when it does not come about, the error holds a picture of the cluster.
    pub(crate) fn wait_for(&self, namespace: &str, arguments: &[&str]) -> Result<()> {
        let timeout = format!("--timeout={}s", PATIENCE.as_secs());
        let mut all = vec!["-n", namespace];
        all.extend(arguments);
        all.push(&timeout);
        self.kubectl(&all).map(drop).with_context(|| self.picture())
    }

    /// Asks `look` until it has something, for at most [`PATIENCE`]; then the error holds a picture of the cluster.
    pub(crate) fn until<T>(
        &self,
        what: &str,
        look: impl FnMut() -> Result<Option<T>>,
    ) -> Result<T> {
        until_within(PATIENCE, what, look).with_context(|| self.picture())
    }

    /// One object; `namespace` is empty for those of the cluster.
    pub(crate) fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Value> {
        let mut arguments = vec!["get", kind, name, "-o", "json"];
        if !namespace.is_empty() {
            arguments.extend(["-n", namespace]);
        }
        Ok(serde_json::from_str(&self.kubectl(&arguments)?)?)
    }

    /// The objects of a kind in a namespace that a label selector chooses (empty: all).
    pub(crate) fn list(&self, kind: &str, namespace: &str, selector: &str) -> Result<Vec<Value>> {
        let arguments = ["get", kind, "-n", namespace, "-l", selector, "-o", "json"];
        let mut list: Value = serde_json::from_str(&self.kubectl(&arguments)?)?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            other => bail!("no list: {other}"),
        }
    }

    /// `kubectl apply --server-side` of an object or list.
    pub(crate) fn apply(&self, object: &Value) -> Result<()> {
        let arguments = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        self.feed(&arguments, object)
    }

    /// `kubectl create` of an object or list.
    pub(crate) fn create(&self, object: &Value) -> Result<()> {
        self.feed(&["create", "-f", "-"], object)
    }

    /// Runs helm with the administrator's rights.
    pub(crate) fn helm(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(self.programs.join("helm"));
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(arguments)
            // It keeps no state of its own but here.
            .env("HELM_CACHE_HOME", self.state.join("helm"))
            .env("HELM_CONFIG_HOME", self.state.join("helm"))
            .env("HELM_DATA_HOME", self.state.join("helm"));
        text(command.output()?).with_context(|| format!("helm {}", arguments.join(" ")))
    }

    /// A program of the cache: `csi-sanity`, `go-lookup-static`, ...
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Where keys and certificates lie: `NAME.key`, `NAME.crt`.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.state.join("pki")
    }

    /// A folder of this run, for a test's files.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let folder = self.state.join("scratch").join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }

    /// What an operator would look at first when something does not come about.
    pub(crate) fn picture(&self) -> String {
        let pods = self.kubectl(&["get", "pods", "-A", "-o", "wide"]);
        let events = self.kubectl(&["get", "events", "-A", "--sort-by=.lastTimestamp"]);
        let mut picture = pods.unwrap_or_else(|error| format!("{error:#}"));
        let events = events.unwrap_or_else(|error| format!("{error:#}"));
        let warnings: Vec<&str> = events
            .lines()
            .filter(|line| !line.contains("Normal"))
            .collect();
        picture += &warnings[warnings.len().saturating_sub(20)..].join("\n");
        picture
    }

    fn feed(&self, arguments: &[&str], object: &Value) -> Result<()> {
        let mut child = self
            .kubectl_command(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut input = child.stdin.take().context("no input")?;
        input.write_all(object.to_string().as_bytes())?;
        drop(input);
        text(child.wait_with_output()?)
            .map(drop)
            .with_context(|| format!("kubectl {}: {object}", arguments.join(" ")))
    }

    fn kubeconfig(&self) -> PathBuf {
        self.state.join("pki/administrator.kubeconfig")
    }
}

/// What a program printed; when it failed, what it complained of is the error.
pub(crate) fn text(output: Output) -> Result<String> {
    let complaint = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "{}: {printed}{complaint}",
        output.status
    );
    Ok(printed.into_owned())
}

/// A path that run.sh gives.
fn setting(name: &str) -> Result<PathBuf> {
    env::var_os(name)
        .map(PathBuf::from)
        .with_context(|| format!("{name} is not set: these tests are run by tests/node/run.sh"))
}

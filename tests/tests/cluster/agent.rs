//! Our agent, run as a node would run it: with its own rights, against the real API server.

use crate::control_plane::{ControlPlane, Process, until};
use anyhow::{Context, Result, bail};
use nss_k8s_tests::{artifacts, http};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    sync::atomic::{AtomicU16, Ordering},
};
use tempfile::TempDir;

/// The policy under which a vanished name is a clear NXDOMAIN.
pub(crate) const STRICT: &str = "--miss-policy=nxdomain";

/// The directory that an agent publishes in; it outlives agents.
pub(crate) struct Directory {
    root: TempDir,
}

impl Directory {
    /// An empty one, on a tmpfs.
    pub(crate) fn create() -> Result<Self> {
        let root = tempfile::Builder::new()
            .prefix("nss-k8s-agent-")
            .tempdir_in("/dev/shm")?;
        // What pods see of it is mounted before the first agent starts, as on a node.
        std::fs::create_dir_all(root.path().join("view/default"))?;
        Ok(Self { root })
    }

    /// What `--dir` names.
    pub(crate) fn path(&self) -> &Path {
        self.root.path()
    }

    /// What is mounted into pods.
    pub(crate) fn view(&self) -> PathBuf {
        self.root.path().join("view/default")
    }
}

/// A running agent; killed when dropped.
pub(crate) struct Agent {
    process: Process,
    port: u16,
}

impl Agent {
    /// Starts one and waits until it says that it is ready.
    pub(crate) fn start(
        plane: &ControlPlane,
        directory: &Directory,
        options: &[&str],
    ) -> Result<Self> {
        let mut agent = Self::launch(plane, directory, options)?;
        agent.wait_until_ready()?;
        Ok(agent)
    }

    /// Starts one without waiting for anything. Unless an option names a configuration, names outside
    /// the zone are libc's to ask for.
    pub(crate) fn launch(
        plane: &ControlPlane,
        directory: &Directory,
        options: &[&str],
    ) -> Result<Self> {
        // Every agent listens on a port of its own: one that was killed may leave its port in
        // TIME_WAIT. The network namespace is the test's, so all ports are free.
        static NEXT: AtomicU16 = AtomicU16::new(9353);
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut command = Command::new(artifacts::agent()?);
        command
            .arg("agent")
            .arg("--kubeconfig")
            .arg(plane.agent_kubeconfig())
            .arg("--dir")
            .arg(directory.path())
            .arg(format!("--listen=127.0.0.1:{port}"))
            .args(options);
        if !options.iter().any(|option| option.starts_with("--config")) {
            let quiet = directory.path().join("quiet.yaml");
            fs::write(&quiet, "classes: [{name: default, external: off}]\n")?;
            command.arg("--config").arg(quiet);
        }
        let process = Process::start(&mut command, plane.log(&format!("agent-{port}")))?;
        Ok(Self { process, port })
    }

    /// Waits until `/readyz` says 200.
    pub(crate) fn wait_until_ready(&mut self) -> Result<()> {
        until("the agent to be ready", || {
            if let Some(status) = self.process.ended()? {
                bail!(
                    "the agent ended with {status}:\n{}",
                    self.process.last_words()
                );
            }
            Ok(self.page("/readyz").is_ok().then_some(()))
        })
        .with_context(|| self.process.last_words())
    }

    /// One of its pages; an error unless the status is 200.
    pub(crate) fn page(&self, path: &str) -> Result<String> {
        http::page(("127.0.0.1", self.port), path)
    }

    /// Asks it to stop and waits until it has.
    pub(crate) fn stop(mut self) -> Result<ExitStatus> {
        self.process.signal(libc::SIGTERM)?;
        self.process.wait()
    }

    /// Kills it, as the out-of-memory killer would.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.process.kill()
    }

    /// Stops its execution, as a machine without processor time would.
    pub(crate) fn freeze(&self) -> Result<()> {
        self.process.signal(libc::SIGSTOP)
    }

    /// Lets it go on.
    pub(crate) fn thaw(&self) -> Result<()> {
        self.process.signal(libc::SIGCONT)
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> Result<bool> {
        Ok(self.process.ended()?.is_none())
    }
}

/// `nss-k8s <verb> --dir ... <arguments>`: what it prints; an error if it fails.
pub(crate) fn tool(directory: &Directory, arguments: &[&str]) -> Result<String> {
    let (verb, rest) = arguments.split_first().context("no verb")?;
    let output = Command::new(artifacts::agent()?)
        .arg(verb)
        .arg("--dir")
        .arg(directory.path())
        .args(rest)
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!(
            "{arguments:?}: {} {text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(text)
}

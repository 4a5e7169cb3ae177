//! Published zones: by the real agent from manifests.

use crate::artifacts;
use anyhow::{Context, Result, bail};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long an event may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The configuration file beside the manifests.
const CONFIG: &str = "config.yaml";
/// Names outside the zone are libc's to ask for.
const QUIET: &str = "classes: [{name: default, external: off}]\n";

/// A running `nss-k8s agent --manifests`; killed when dropped.
pub struct Agent {
    child: Child,
    root: TempDir,
}

impl Agent {
    /// Starts one on copies of the given files and waits until its zone is live. Names outside the
    /// zone are libc's to ask for.
    pub fn start(files: &[&Path], options: &[&str]) -> Result<Self> {
        Self::start_configured(files, QUIET, options)
    }

    /// The same with a configuration file.
    pub fn start_configured(files: &[&Path], config: &str, options: &[&str]) -> Result<Self> {
        let root = directory()?;
        let manifests = root.path().join("manifests");
        fs::create_dir(&manifests)?;
        for file in files {
            let name = file.file_name().context("a file")?;
            fs::copy(file, manifests.join(name)).with_context(|| format!("{}", file.display()))?;
        }
        fs::write(root.path().join(CONFIG), config)?;
        Self::start_in(root, options)
    }

    /// Starts one on a directory that holds `manifests/`, and perhaps a configuration and a zone
    /// already.
    pub fn start_in(root: TempDir, options: &[&str]) -> Result<Self> {
        let agent = Self::spawn(root, options)?;
        agent.wait_until("live", |output| output.status.success())
    }

    /// The same where the kill switch was left on: the zone is not live, but listed.
    pub fn start_switched_off_in(root: TempDir, options: &[&str]) -> Result<Self> {
        let agent = Self::spawn(root, options)?;
        agent.wait_for_log("everything is listed")
    }

    fn spawn(root: TempDir, options: &[&str]) -> Result<Self> {
        let config = root.path().join(CONFIG);
        if !config.exists() {
            fs::write(&config, QUIET)?;
        }
        let log = fs::File::create(root.path().join("agent.log"))?;
        let child = Command::new(artifacts::agent()?)
            .arg("agent")
            .arg("--dir")
            .arg(root.path().join("base"))
            .arg("--manifests")
            .arg(root.path().join("manifests"))
            .arg("--config")
            .arg(config)
            .args(["--listen", "127.0.0.1:0"])
            .args(options)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        Ok(Self { child, root })
    }

    /// Waits until `status` says so; an agent that ends first is an error with its log.
    fn wait_until(mut self, what: &str, reached: impl Fn(&Output) -> bool) -> Result<Self> {
        let happened = wait(|| {
            if let Some(status) = self.child.try_wait()? {
                bail!("the agent ended with {status}");
            }
            Ok(reached(&self.call(&["status"])?))
        });
        if let Err(error) = happened {
            bail!("{what}: {error:#}; the agent said:\n{}", self.log());
        }
        Ok(self)
    }

    fn wait_for_log(self, text: &str) -> Result<Self> {
        wait(|| Ok(self.log().contains(text)))?;
        Ok(self)
    }

    /// What processes see: to be mounted on `/run/nss-k8s`.
    pub fn view(&self) -> PathBuf {
        self.base().join("view/default")
    }

    /// The agent's directory.
    pub fn base(&self) -> PathBuf {
        self.root.path().join("base")
    }

    /// Writes the configuration the way an editor does.
    pub fn write_config(&self, text: &str) -> Result<()> {
        let next = self.root.path().join("next.yaml");
        fs::write(&next, text)?;
        fs::rename(next, self.root.path().join(CONFIG))?;
        Ok(())
    }

    /// Writes a manifest the way an editor does: a new file, renamed into place.
    pub fn write_manifest(&self, name: &str, text: &str) -> Result<()> {
        let next = self.root.path().join(name);
        fs::write(&next, text)?;
        fs::rename(next, self.root.path().join("manifests").join(name))?;
        Ok(())
    }

    /// Runs another subcommand on the same directory.
    pub fn call(&self, arguments: &[&str]) -> Result<Output> {
        command(&self.base(), arguments)
    }

    /// What the agent has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.root.path().join("agent.log")).unwrap_or_default()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: libc::c_int) -> Result<()> {
        let id = libc::pid_t::try_from(self.child.id())?;
        // SAFETY: kill takes no pointer, and the child is not reaped before it is dropped.
        if unsafe { libc::kill(id, signal) } != 0 {
            bail!("kill: {}", std::io::Error::last_os_error());
        }
        Ok(())
    }

    /// Ends it by `signal` and keeps its directory.
    pub fn end(mut self, signal: libc::c_int) -> Result<TempDir> {
        self.signal(signal)?;
        self.child.wait()?;
        let empty = tempfile::tempdir()?;
        Ok(core::mem::replace(&mut self.root, empty))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a subcommand on the agent's directory `base`.
pub fn command(base: &Path, arguments: &[&str]) -> Result<Output> {
    let output = Command::new(artifacts::agent()?)
        .args(arguments)
        .arg("--dir")
        .arg(base)
        .output()?;
    Ok(output)
}

/// A directory on a tmpfs that every user may search, as the node's is.
pub fn directory() -> Result<TempDir> {
    directory_in(Path::new("/dev/shm"))
}

/// The same on a tmpfs of the caller's.
pub fn directory_in(tmpfs: &Path) -> Result<TempDir> {
    let root = tempfile::Builder::new()
        .prefix("nss-k8s-rig-")
        .tempdir_in(tmpfs)
        .with_context(|| format!("{}: a tmpfs is needed", tmpfs.display()))?;
    fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755))?;
    Ok(root)
}

/// Looks again and again until `happened`, for at most [`PATIENCE`].
pub fn wait(mut happened: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    while !happened()? {
        if Instant::now() > end {
            bail!("did not happen within {PATIENCE:?}");
        }
        thread::park_timeout(Duration::from_millis(10));
    }
    Ok(())
}

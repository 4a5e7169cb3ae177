//! Network and mount namespaces of our own, held open by descriptors.
//!
//! A thread leaves the test's namespaces, prepares the new ones and ends; the descriptors keep
//! them alive, and children and threads enter by `setns`.

use anyhow::{Context, Result, bail};
use std::{
    fs::File,
    io,
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::Command,
    sync::Arc,
    thread,
};

/// A network namespace and a mount namespace. Gone when nobody holds them any more.
#[derive(Clone, Debug)]
pub struct Namespaces {
    network: Arc<File>,
    mounts: Arc<File>,
}

impl Namespaces {
    /// Those that the caller is in.
    pub fn current() -> Result<Self> {
        Ok(Self {
            network: Arc::new(File::open("/proc/thread-self/ns/net")?),
            mounts: Arc::new(File::open("/proc/thread-self/ns/mnt")?),
        })
    }

    /// Makes new ones and runs `prepare` inside, on a thread of its own.
    pub fn create(prepare: impl FnOnce() -> Result<()> + Send) -> Result<Self> {
        // SAFETY: geteuid has no preconditions and cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            bail!("pods are namespaces, and making them needs root: run the tests as root");
        }
        on_a_thread(|| {
            // SAFETY: unshare takes no pointer; CLONE_NEWNS also unshares the file system state
            // of this thread alone.
            check(unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) })
                .context("unshare: are user or network namespaces forbidden here?")?;
            run("mount", &["--make-rprivate", "/"])?;
            prepare()?;
            Self::current()
        })
    }

    /// Where the network namespace is, for `ip link .. netns PATH`.
    pub(crate) fn network_path(&self) -> String {
        format!(
            "/proc/{}/fd/{}",
            std::process::id(),
            self.network.as_raw_fd()
        )
    }

    /// A command that will run inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        self.enter_before_exec(&mut command);
        command
    }

    /// Makes `command`'s child enter before it runs its program.
    pub fn enter_before_exec(&self, command: &mut Command) {
        let own = self.clone();
        // SAFETY: between fork and exec the closure only calls setns: async-signal-safe, no lock,
        // no allocation.
        unsafe {
            command.pre_exec(move || {
                set(&own.network, libc::CLONE_NEWNET)?;
                set(&own.mounts, libc::CLONE_NEWNS)
            });
        }
    }

    /// Runs `work` on a thread whose network is this one (its files stay the test's), and waits.
    pub fn with_network<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_a_thread(|| {
            set(&self.network, libc::CLONE_NEWNET)?;
            work()
        })
    }

    /// Runs `work` on a thread whose mounts are these (and the network too), and waits.
    pub fn with_mounts<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_a_thread(|| {
            set(&self.network, libc::CLONE_NEWNET)?;
            // SAFETY: unshare takes no pointer; a mount namespace may only be entered by a thread
            // that shares no file system state.
            check(unsafe { libc::unshare(libc::CLONE_FS) })?;
            set(&self.mounts, libc::CLONE_NEWNS)?;
            work()
        })
    }
}

/// Runs a program of the machine in the caller's namespaces; an error holds what it said.
pub fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .with_context(|| format!("{program}: is it installed? (make prepare)"))?;
    if !output.status.success() {
        bail!(
            "{program} {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

/// A scoped thread, so that what it does to itself ends with it.
fn on_a_thread<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

fn set(namespace: &File, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: the descriptor is open for as long as the file lives; setns takes no pointer.
    check(unsafe { libc::setns(namespace.as_raw_fd(), kind) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

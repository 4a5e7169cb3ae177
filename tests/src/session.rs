//! One warm process inside a pod that resolves on command.

use crate::{artifacts, libcs::Release, pod::Pod, probe::Libc, reply::Reply};
use anyhow::{Context, Result, bail};
use std::{
    io::{BufRead, BufReader, PipeReader, Write, pipe},
    os::fd::AsRawFd,
    path::Path,
    process::{Child, ChildStdin, Command},
    time::Duration,
};

/// How long one lookup may take, libc's own timeouts included.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a process comes to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Door {
    /// glibc's NSS loads the module.
    Nss,
    /// The shim, preloaded into a glibc process.
    ShimGlibc,
    /// The shim, preloaded into a musl process.
    ShimMusl,
    /// glibc without us: the reference.
    PlainGlibc,
    /// musl without us: the reference.
    PlainMusl,
}

impl Door {
    /// The doors that lead to us.
    pub const OURS: [Self; 3] = [Self::Nss, Self::ShimGlibc, Self::ShimMusl];

    /// The libc behind it.
    pub fn libc(self) -> Libc {
        match self {
            Self::Nss | Self::ShimGlibc | Self::PlainGlibc => Libc::Glibc,
            Self::ShimMusl | Self::PlainMusl => Libc::Musl,
        }
    }

    /// The same libc without us.
    pub fn reference(self) -> Self {
        match self.libc() {
            Libc::Glibc => Self::PlainGlibc,
            Libc::Musl => Self::PlainMusl,
        }
    }

    /// Makes `command` come through this door, with the libraries in `guests`.
    pub fn open(self, command: &mut Command, guests: &Path) {
        command.env("NSS_K8S_DEBUG", "1");
        match self {
            Self::Nss => {
                command.env("LD_LIBRARY_PATH", guests);
            }
            Self::ShimGlibc | Self::ShimMusl => {
                command.env("LD_PRELOAD", guests.join("libnss_k8s_preload.so"));
            }
            Self::PlainGlibc | Self::PlainMusl => {}
        }
    }
}

/// The running process; it ends when dropped.
pub struct Session {
    child: Child,
    commands: Option<ChildStdin>,
    /// Standard output and standard error in one, so that our notes stand before the answer.
    output: BufReader<PipeReader>,
}

impl Session {
    /// Starts one with the built libraries.
    pub fn start(pod: &Pod, door: Door) -> Result<Self> {
        Self::start_with(pod, door, &artifacts::guests()?, &[])
    }

    /// Starts one with libraries and environment of the caller's choice.
    pub fn start_with(
        pod: &Pod,
        door: Door,
        guests: &Path,
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        let release = Release::of_the_machine(door.libc());
        Self::start_under(pod, door, release, guests, environment)
    }

    /// The same under a release of the door's libc.
    pub fn start_under(
        pod: &Pod,
        door: Door,
        release: Release,
        guests: &Path,
        environment: &[(&str, &str)],
    ) -> Result<Self> {
        Self::start_probe(pod, door, release, guests, environment, "lookup")
    }

    /// The same with another program of `probes/` that takes commands.
    pub fn start_probe(
        pod: &Pod,
        door: Door,
        release: Release,
        guests: &Path,
        environment: &[(&str, &str)],
        probe: &str,
    ) -> Result<Self> {
        let module = (door == Door::Nss).then_some(guests);
        let mut command = release.command(pod, probe, module)?;
        door.open(&mut command, guests);
        command.envs(environment.iter().copied());
        let (output, writer) = pipe()?;
        command
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .stdin(std::process::Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        let commands = child.stdin.take();
        Ok(Self {
            child,
            commands,
            output: BufReader::new(output),
        })
    }

    /// Gives one command (see `probes/lookup.c`) and waits for its reply.
    pub fn ask(&mut self, command: &str) -> Result<Reply> {
        let commands = self.commands.as_mut().context("the process ended")?;
        writeln!(commands, "{command}")
            .and_then(|()| commands.flush())
            .context(command.to_owned())?;
        let mut reply = Reply::default();
        loop {
            let line = self.line().with_context(|| format!("after {command}"))?;
            if line == "." {
                return Ok(reply);
            }
            reply.take(&line);
        }
    }

    /// `getaddrinfo(name, NULL)` of stream sockets with the canonical name.
    pub fn resolve(&mut self, name: &str, family: &str) -> Result<Reply> {
        self.ask(&format!("gai {name} - {family} 1 0 2"))
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn line(&mut self) -> Result<String> {
        if self.output.buffer().is_empty() {
            let mut waiting = libc::pollfd {
                fd: self.output.get_ref().as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            let patience = libc::c_int::try_from(PATIENCE.as_millis())?;
            // SAFETY: one entry, which outlives the call.
            if unsafe { libc::poll(&raw mut waiting, 1, patience) } != 1 {
                bail!("no answer within {PATIENCE:?}");
            }
        }
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("the process ended: {:?}", self.child.wait()?);
        }
        Ok(line.trim_end_matches('\n').to_owned())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The end of its input is the end of the process; one that hangs is killed.
        drop(self.commands.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! The control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler.

use anyhow::Result;
use nss_k8s_tests::{
    control_plane::Setup,
    process::{Process, until},
};
use std::{
    path::Path,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The running programs. They end with the test's process namespace.
pub(crate) struct Plane {
    setup: Setup,
    server: Mutex<Process>,
    _etcd: Process,
    _controllers: Process,
    _scheduler: Process,
}

impl Plane {
    /// Starts everything and waits until the API server is ready.
    pub(crate) fn start(state: &Path, programs: &Path) -> Result<Self> {
        let setup = Setup {
            state: state.to_owned(),
            programs: programs.to_owned(),
        };
        let etcd = etcd(&setup)?;
        let server = server(&setup)?;
        wait_until_ready(&setup)?;
        let begin = |command: &mut Command, program| Process::start(command, setup.log(program));
        Ok(Self {
            server: Mutex::new(server),
            _etcd: etcd,
            _controllers: begin(&mut setup.controllers(), "kube-controller-manager")?,
            _scheduler: begin(&mut setup.scheduler(), "kube-scheduler")?,
            setup,
        })
    }

    /// Kills the API server, as a crash would. The controllers and the kubelet go on without it.
    pub(crate) fn crash_server(&self) -> Result<()> {
        self.running().kill()
    }

    /// Starts the API server again and waits until it serves.
    pub(crate) fn restart_server(&self) -> Result<()> {
        *self.running() = server(&self.setup)?;
        wait_until_ready(&self.setup)
    }

    fn running(&self) -> MutexGuard<'_, Process> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait_until_ready(setup: &Setup) -> Result<()> {
    until("the API server to be ready", || {
        let output = Command::new(setup.programs.join("kubectl"))
            .arg("--kubeconfig")
            .arg(setup.state.join("pki/administrator.kubeconfig"))
            .args(["get", "--raw", "/readyz"])
            .output()?;
        Ok(output.status.success().then_some(()))
    })
}

fn etcd(setup: &Setup) -> Result<Process> {
    let mut command = setup.etcd(&setup.programs.join("etcd"));
    // Nothing here outlives the machine.
    command.arg("--unsafe-no-fsync");
    Process::start(&mut command, setup.log("etcd"))
}

fn server(setup: &Setup) -> Result<Process> {
    let mut command = setup.api_server("10.96.0.0/16,fd00:10:96::/112");
    command.args([
        "--enable-admission-plugins=NodeRestriction",
        "--kubelet-preferred-address-types=InternalIP",
    ]);
    setup.files(
        &mut command,
        &[
            ("kubelet-client-certificate", "kubelet-client.crt"),
            ("kubelet-client-key", "kubelet-client.key"),
        ],
    );
    Process::start(&mut command, setup.log("kube-apiserver"))
}

//! The control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler.

use anyhow::Result;
use nss_k8s_tests::process::{Process, until};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The running programs. They end with the test's process namespace.
pub(crate) struct Plane {
    state: PathBuf,
    programs: PathBuf,
    server: Mutex<Process>,
    _etcd: Process,
    _controllers: Process,
    _scheduler: Process,
}

impl Plane {
    /// Starts everything and waits until the API server is ready.
    pub(crate) fn start(state: &Path, programs: &Path) -> Result<Self> {
        let etcd = etcd(state, programs)?;
        let server = server(state, programs)?;
        wait_until_ready(state, programs)?;
        Ok(Self {
            state: state.to_owned(),
            programs: programs.to_owned(),
            server: Mutex::new(server),
            _etcd: etcd,
            _controllers: controllers(state, programs)?,
            _scheduler: scheduler(state, programs)?,
        })
    }

    /// Kills the API server, as a crash would. The controllers and the kubelet go on without it.
    pub(crate) fn crash_server(&self) -> Result<()> {
        self.running().kill()
    }

    /// Starts the API server again and waits until it serves.
    pub(crate) fn restart_server(&self) -> Result<()> {
        *self.running() = server(&self.state, &self.programs)?;
        wait_until_ready(&self.state, &self.programs)
    }

    fn running(&self) -> MutexGuard<'_, Process> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wait_until_ready(state: &Path, programs: &Path) -> Result<()> {
    until("the API server to be ready", || {
        let output = Command::new(programs.join("kubectl"))
            .arg("--kubeconfig")
            .arg(state.join("pki/administrator.kubeconfig"))
            .args(["get", "--raw", "/readyz"])
            .output()?;
        Ok(output.status.success().then_some(()))
    })
}

fn etcd(state: &Path, programs: &Path) -> Result<Process> {
    let mut command = Command::new(programs.join("etcd"));
    command.args([
        "--name=test",
        "--log-level=warn",
        // Nothing here outlives the machine.
        "--unsafe-no-fsync",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=test=http://127.0.0.1:2380",
    ]);
    command.arg("--data-dir").arg(state.join("etcd"));
    Process::start(&mut command, state.join("logs/etcd.log"))
}

fn server(state: &Path, programs: &Path) -> Result<Process> {
    let mut command = Command::new(programs.join("kube-apiserver"));
    command.args([
        "--etcd-servers=http://127.0.0.1:2379",
        "--bind-address=0.0.0.0",
        "--advertise-address=10.244.0.1",
        "--secure-port=6443",
        "--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--anonymous-auth=false",
        "--profiling=false",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--allow-privileged=true",
        "--kubelet-preferred-address-types=InternalIP",
    ]);
    for (flag, file) in [
        ("tls-cert-file", "server.crt"),
        ("tls-private-key-file", "server.key"),
        ("client-ca-file", "authority.crt"),
        ("service-account-key-file", "service-accounts.pub"),
        ("service-account-signing-key-file", "service-accounts.key"),
        ("kubelet-client-certificate", "kubelet-client.crt"),
        ("kubelet-client-key", "kubelet-client.key"),
        ("cert-dir", ""),
    ] {
        command.arg(format!(
            "--{flag}={}",
            state.join("pki").join(file).display()
        ));
    }
    Process::start(&mut command, state.join("logs/kube-apiserver.log"))
}

fn controllers(state: &Path, programs: &Path) -> Result<Process> {
    let mut command = Command::new(programs.join("kube-controller-manager"));
    command.args([
        "--leader-elect=false",
        "--use-service-account-credentials=true",
        "--kube-api-qps=500",
        "--kube-api-burst=1000",
        "--concurrent-service-endpoint-syncs=10",
        "--bind-address=127.0.0.1",
        "--profiling=false",
    ]);
    for (flag, file) in [
        ("kubeconfig", "controllers.kubeconfig"),
        ("authentication-kubeconfig", "controllers.kubeconfig"),
        ("authorization-kubeconfig", "controllers.kubeconfig"),
        ("service-account-private-key-file", "service-accounts.key"),
        ("root-ca-file", "authority.crt"),
        ("cert-dir", ""),
    ] {
        command.arg(format!(
            "--{flag}={}",
            state.join("pki").join(file).display()
        ));
    }
    Process::start(&mut command, state.join("logs/kube-controller-manager.log"))
}

fn scheduler(state: &Path, programs: &Path) -> Result<Process> {
    let kubeconfig = state.join("pki/scheduler.kubeconfig");
    let mut command = Command::new(programs.join("kube-scheduler"));
    command.args([
        "--leader-elect=false",
        "--bind-address=127.0.0.1",
        "--profiling=false",
    ]);
    for flag in [
        "kubeconfig",
        "authentication-kubeconfig",
        "authorization-kubeconfig",
    ] {
        command.arg(format!("--{flag}={}", kubeconfig.display()));
    }
    command.arg(format!("--cert-dir={}", state.join("pki").display()));
    Process::start(&mut command, state.join("logs/kube-scheduler.log"))
}

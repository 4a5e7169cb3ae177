//! What a control plane of the tests is made of: the commands of etcd, kube-apiserver, kube-controller-manager and
//! kube-scheduler, and of kwok, with the arguments that do not depend on the tier. Each tier adds its own and starts them.

use crate::{artifacts, fleet::PLAYED};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Where a run has its programs and keeps its state: `pki` (tests/cluster/certificates.sh), `logs`, `etcd`.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The folder of the run, which ends with it.
    pub state: PathBuf,
    /// The folder of the programs that tests/cluster/build.sh left.
    pub programs: PathBuf,
}

/// Where the servers of a control plane listen.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// etcd, for its clients.
    pub etcd: u16,
    /// etcd, for other etcds.
    pub peers: u16,
    /// The API server.
    pub api: u16,
}

impl Default for Ports {
    /// The usual ones.
    fn default() -> Self {
        Self {
            etcd: 2379,
            peers: 2380,
            api: 6443,
        }
    }
}

impl Setup {
    /// etcd on this namespace's loopback; `program` may be another one than that of the cache.
    pub fn etcd(&self, program: &Path) -> Command {
        self.etcd_at(program, Ports::default())
    }

    /// The same on other ports.
    pub fn etcd_at(&self, program: &Path, ports: Ports) -> Command {
        let clients = format!("http://127.0.0.1:{}", ports.etcd);
        let peers = format!("http://127.0.0.1:{}", ports.peers);
        let mut command = Command::new(program);
        command.args(["--name=test", "--log-level=warn"]);
        command.args([
            format!("--listen-client-urls={clients}"),
            format!("--advertise-client-urls={clients}"),
            format!("--listen-peer-urls={peers}"),
            format!("--initial-advertise-peer-urls={peers}"),
            format!("--initial-cluster=test={peers}"),
        ]);
        command.arg("--data-dir").arg(self.state.join("etcd"));
        command
    }

    /// The API server at 10.244.0.1 and on loopback, with the addresses of services.
    ///
    /// It listens on every address, and only this network namespace has any.
    pub fn api_server(&self, services: &str) -> Command {
        self.api_server_at(services, Ports::default())
    }

    /// The same on other ports.
    pub fn api_server_at(&self, services: &str, ports: Ports) -> Command {
        let mut command = Command::new(self.programs.join("kube-apiserver"));
        command.args([
            "--bind-address=0.0.0.0",
            "--advertise-address=10.244.0.1",
            "--authorization-mode=Node,RBAC",
            "--anonymous-auth=false",
            "--profiling=false",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--allow-privileged=true",
        ]);
        command.args([
            format!("--etcd-servers=http://127.0.0.1:{}", ports.etcd),
            format!("--secure-port={}", ports.api),
            format!("--service-cluster-ip-range={services}"),
        ]);
        self.files(
            &mut command,
            &[
                ("tls-cert-file", "server.crt"),
                ("tls-private-key-file", "server.key"),
                ("client-ca-file", "authority.crt"),
                ("service-account-key-file", "service-accounts.pub"),
                ("service-account-signing-key-file", "service-accounts.key"),
                ("cert-dir", ""),
            ],
        );
        command
    }

    /// The controller manager, alone and in no need to spare the API server.
    pub fn controllers(&self) -> Command {
        let mut command = self.alone("kube-controller-manager");
        command.args([
            "--use-service-account-credentials=true",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            "--concurrent-service-endpoint-syncs=10",
        ]);
        self.identity(&mut command, "controllers.kubeconfig");
        self.files(
            &mut command,
            &[
                ("service-account-private-key-file", "service-accounts.key"),
                ("root-ca-file", "authority.crt"),
            ],
        );
        command
    }

    /// The scheduler.
    pub fn scheduler(&self) -> Command {
        let mut command = self.alone("kube-scheduler");
        self.identity(&mut command, "scheduler.kubeconfig");
        command
    }

    /// kwok, which plays kubelet for the nodes of [`fleet::node`](crate::fleet::node) after
    /// `cluster/kwok/stages.yaml`. The nodes have no leases: nobody asks whether they live.
    pub fn kwok(&self) -> Command {
        let mut command = Command::new(self.programs.join("kwok"));
        let stages = artifacts::fixture("cluster/kwok/stages.yaml");
        command.arg(format!("--config={}", stages.display()));
        command.arg(format!("--manage-nodes-with-label-selector={PLAYED}"));
        command.arg("--node-lease-duration-seconds=0");
        self.files(&mut command, &[("kubeconfig", "administrator.kubeconfig")]);
        command
    }

    /// Adds arguments `--FLAG=<state>/pki/FILE`.
    pub fn files(&self, command: &mut Command, files: &[(&str, &str)]) {
        let keys = self.state.join("pki");
        for (flag, file) in files {
            command.arg(format!("--{flag}={}", keys.join(file).display()));
        }
    }

    /// Where a program of this run logs to.
    pub fn log(&self, program: &str) -> PathBuf {
        self.state.join(format!("logs/{program}.log"))
    }

    /// A controller without rivals, whose own server nobody outside asks.
    fn alone(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.args([
            "--leader-elect=false",
            "--bind-address=127.0.0.1",
            "--profiling=false",
        ]);
        command
    }

    /// Who a controller is, to the API server and for those who ask it.
    fn identity(&self, command: &mut Command, kubeconfig: &str) {
        self.files(
            command,
            &[
                ("kubeconfig", kubeconfig),
                ("authentication-kubeconfig", kubeconfig),
                ("authorization-kubeconfig", kubeconfig),
                ("cert-dir", ""),
            ],
        );
    }
}

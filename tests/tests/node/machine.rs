//! The node: containerd, kubelet, kube-proxy, and the name server of the rest of the world.

use anyhow::{Context, Result, bail};
use nss_k8s_tests::process::{Process, until};
use serde_json::{Value, json};
use std::{
    ffi::OsStr,
    fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

/// Its name in the API.
pub(crate) const NODE: &str = "node-1";
/// Its address: the bridge's.
pub(crate) const ADDRESS: &str = "10.244.0.1";
/// The name server of the rest of the world: the node's own, and CoreDNS's upstream.
pub(crate) const OUTSIDE: &str = "198.51.100.53";
/// Where containerd listens.
const CONTAINERD: &str = "/run/containerd/containerd.sock";

/// The running programs. They end with the test's process namespace.
pub(crate) struct Machine {
    state: PathBuf,
    programs: PathBuf,
    kubelet: Mutex<Process>,
    _containerd: Process,
    _proxy: Process,
    _outside: Process,
}

impl Machine {
    /// Starts everything; `images` are archives for containerd.
    pub(crate) fn start(
        state: &Path,
        programs: &Path,
        plugins: &Path,
        cgroup: &str,
        images: &[PathBuf],
    ) -> Result<Self> {
        network(state)?;
        let outside = outside(state, programs)?;
        let containerd = containerd(state, plugins)?;
        for image in images {
            import(image)?;
        }
        kubelet_config(state, cgroup)?;
        Ok(Self {
            state: state.to_owned(),
            programs: programs.to_owned(),
            kubelet: Mutex::new(kubelet(state, programs)?),
            _containerd: containerd,
            _proxy: proxy(state, programs)?,
            _outside: outside,
        })
    }

    /// Kills the kubelet and starts another; pods go on meanwhile.
    pub(crate) fn restart_kubelet(&self) -> Result<()> {
        let mut running = self.kubelet.lock().unwrap_or_else(PoisonError::into_inner);
        running.kill()?;
        *running = kubelet(&self.state, &self.programs)?;
        Ok(())
    }
}

/// Gives containerd an image archive.
pub(crate) fn import(archive: &Path) -> Result<()> {
    let archive = archive.to_str().context("path")?;
    ctr(&["images", "import", archive]).map(drop)
}

/// The process of a container, by the id that its pod's status has.
pub(crate) fn process_of(container: &str) -> Result<u32> {
    let id = container.strip_prefix("containerd://").unwrap_or(container);
    let tasks = ctr(&["tasks", "list"])?;
    for line in tasks.lines() {
        let mut fields = line.split_whitespace();
        if fields.next() == Some(id) {
            return Ok(fields.next().context("no process")?.parse()?);
        }
    }
    bail!("containerd runs no {container}:\n{tasks}")
}

/// How many mounts of our volumes kubelet's pods have: directories, and files by subPath.
pub(crate) fn volumes_mounted() -> Result<usize> {
    let table = fs::read_to_string("/proc/self/mountinfo")?;
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let ours = points.filter(|point| {
        point.contains("/volumes/kubernetes.io~csi/") || point.contains("/volume-subpaths/nss-k8s/")
    });
    Ok(ours.count())
}

fn ctr(arguments: &[&str]) -> Result<String> {
    let output = Command::new("ctr")
        .args(["--address", CONTAINERD, "--namespace", "k8s.io"])
        .args(arguments)
        .output()
        .context("ctr")?;
    if !output.status.success() {
        bail!(
            "ctr {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The network of pods: one bridge, whose address is the node's and the pods' gateway.
fn network(state: &Path) -> Result<()> {
    let plugins = json!({
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [{
            "type": "bridge",
            "bridge": "cni0",
            "isGateway": true,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "ranges": [
                    [{"subnet": "10.244.0.0/24", "gateway": ADDRESS}],
                    [{"subnet": "fd00:10:244::/64", "gateway": "fd00:10:244::1"}],
                ],
                "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            },
        }],
    });
    fs::write(state.join("cni/pods.conflist"), plugins.to_string())?;
    Ok(())
}

fn containerd(state: &Path, plugins: &Path) -> Result<Process> {
    let config = format!(
        r#"version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
address = "{CONTAINERD}"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "nss-k8s.test/pause:1"
# Without CAP_SYS_RESOURCE runc may not lower what this process has.
restrict_oom_score_adj = true
disable_apparmor = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{}"
conf_dir = "{}"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false
"#,
        plugins.display(),
        state.join("cni").display(),
    );
    let file = state.join("containerd.toml");
    fs::write(&file, config)?;
    let mut command = Command::new("containerd");
    command.arg("--config").arg(&file);
    let process = Process::start(&mut command, state.join("logs/containerd.log"))?;
    until("containerd to listen", || {
        Ok(UnixStream::connect(CONTAINERD).ok())
    })?;
    Ok(process)
}

fn kubelet_config(state: &Path, cgroup: &str) -> Result<()> {
    let resolv_conf = state.join("resolv.conf");
    fs::write(&resolv_conf, format!("nameserver {OUTSIDE}\n"))?;
    let nothing: Value = [
        "memory.available",
        "nodefs.available",
        "nodefs.inodesFree",
        "imagefs.available",
    ]
    .into_iter()
    .map(|signal| (signal.to_owned(), json!("0%")))
    .collect::<serde_json::Map<_, _>>()
    .into();
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": "0.0.0.0",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": false},
            "x509": {"clientCAFile": state.join("pki/authority.crt")},
        },
        "authorization": {"mode": "AlwaysAllow"},
        "clusterDomain": "cluster.local",
        "clusterDNS": [crate::coredns::CLUSTER_DNS],
        "resolvConf": resolv_conf,
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD}"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{cgroup}"),
        "failCgroupV1": false,
        "failSwapOn": false,
        "enforceNodeAllocatable": [],
        "evictionHard": nothing,
        "imageGCHighThresholdPercent": 100,
        "maxPods": 250,
        "crashLoopBackOff": {"maxContainerRestartPeriod": "5s"},
        "serializeImagePulls": false,
        // How soon it looks at a pod's ConfigMaps again; by default that takes a minute or two.
        "syncFrequency": "5s",
    });
    fs::write(state.join("kubelet.json"), config.to_string())?;
    Ok(())
}

fn kubelet(state: &Path, programs: &Path) -> Result<Process> {
    let mut command = Command::new(programs.join("kubelet"));
    command.arg(flag("config", state.join("kubelet.json")));
    command.arg(flag("kubeconfig", state.join("pki/kubelet.kubeconfig")));
    command.arg(flag("hostname-override", NODE));
    command.arg(flag("node-ip", format!("{ADDRESS},fd00:10:244::1")));
    Process::start(&mut command, state.join("logs/kubelet.log"))
}

fn proxy(state: &Path, programs: &Path) -> Result<Process> {
    let mut command = Command::new(programs.join("kube-proxy"));
    command.arg(flag("kubeconfig", state.join("pki/proxy.kubeconfig")));
    command.arg(flag("hostname-override", NODE));
    command.args([
        "--proxy-mode=nftables",
        "--cluster-cidr=10.244.0.0/24,fd00:10:244::/64",
        // These would set values of the whole machine.
        "--conntrack-max-per-core=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
    ]);
    Process::start(&mut command, state.join("logs/kube-proxy.log"))
}

/// The rest of the world: `*.outside.test`, all at one address, and nothing else.
fn outside(state: &Path, programs: &Path) -> Result<Process> {
    let corefile = format!(
        "outside.test:53 {{
    bind {OUTSIDE}
    template IN A {{
        answer \"{{{{ .Name }}}} 60 IN A {}\"
    }}
    template IN ANY {{
        rcode NOERROR
    }}
}}
.:53 {{
    bind {OUTSIDE}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
",
        crate::coredns::OUTSIDE_ADDRESS
    );
    let file = state.join("outside.corefile");
    fs::write(&file, corefile)?;
    let mut command = Command::new(programs.join("coredns"));
    command.arg("-conf").arg(&file);
    Process::start(&mut command, state.join("logs/outside.log"))
}

fn flag(name: &str, value: impl AsRef<OsStr>) -> std::ffi::OsString {
    let mut flag = std::ffi::OsString::from(format!("--{name}="));
    flag.push(value);
    flag
}

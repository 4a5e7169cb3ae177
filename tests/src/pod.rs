//! A pod-like environment: its own network, `/etc` and `/run`, as kubelet would leave them.

use crate::{
    dns::{Script, Server},
    namespace::{Namespaces, run},
};
use anyhow::{Context, Result};
use std::{
    fs,
    os::unix::{fs::symlink, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// The pod's own addresses.
pub const POD_ADDRESSES: [&str; 2] = ["10.244.0.7", "fd00::7"];
/// The cluster DNS address that the pod's resolv.conf names.
pub const CLUSTER_DNS: &str = "10.96.0.10";
/// The hosts line that the documentation recommends.
pub const HOSTS_LINE: &str = "hosts: files k8s [!UNAVAIL=return] dns\n";

/// What a pod is made of; the defaults are a pod in namespace `shop` without any DNS server.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// `/etc/resolv.conf`.
    pub resolv_conf: String,
    /// `/etc/hosts`.
    pub hosts: String,
    /// `/etc/nsswitch.conf`.
    pub nsswitch: String,
    /// What is bind mounted, read-only, on `/run/nss-k8s`; nothing: the directory is absent.
    pub zone: Option<PathBuf>,
    /// Answers on [`CLUSTER_DNS`]; nothing: that address is unreachable.
    pub dns: Option<Script>,
    /// More addresses on the loopback interface, for servers that the pod talks to.
    pub addresses: Vec<String>,
    /// The network comes by a cable ([`crate::routed`]); nothing of it is on the loopback
    /// interface, and `dns` answers at the cable's other end.
    pub cable: bool,
    /// Which families the pod has an address of: `46`, `4` or `6` (the loopback has both).
    pub families: &'static str,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            resolv_conf: resolv_conf("shop"),
            hosts: "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                    10.244.0.7\tshopper\n"
                .into(),
            nsswitch: HOSTS_LINE.into(),
            zone: None,
            dns: None,
            addresses: Vec::new(),
            cable: false,
            families: "46",
        }
    }
}

/// The resolv.conf that kubelet writes into a pod of `namespace`.
pub fn resolv_conf(namespace: &str) -> String {
    format!(
        "search {namespace}.svc.cluster.local svc.cluster.local cluster.local\n\
         nameserver {CLUSTER_DNS}\noptions ndots:5 timeout:1 attempts:1\n"
    )
}

/// A running environment; its namespaces go when it is dropped.
pub struct Pod {
    namespaces: Namespaces,
    /// The pod's `/etc`, as seen from outside.
    etc: PathBuf,
    server: Option<Server>,
    _root: TempDir,
}

impl Pod {
    /// A pod after `recipe`.
    pub fn start(recipe: Recipe) -> Result<Self> {
        let root = tempfile::Builder::new()
            .prefix("nss-k8s-pod-")
            .tempdir_in("/dev/shm")
            .context("/dev/shm: a tmpfs is needed")?;
        let etc = root.path().join("etc");
        furnish(&etc)?;
        fs::write(etc.join("resolv.conf"), &recipe.resolv_conf)?;
        fs::write(etc.join("hosts"), &recipe.hosts)?;
        fs::write(etc.join("nsswitch.conf"), &recipe.nsswitch)?;
        let namespaces = Namespaces::create(|| {
            plug_in(&recipe)?;
            mount(&etc, recipe.zone.as_deref())
        })?;
        let server = match recipe.dns {
            Some(script) if !recipe.cable => Some(Server::start(&namespaces, CLUSTER_DNS, script)?),
            _ => None,
        };
        Ok(Self {
            namespaces,
            etc,
            server,
            _root: root,
        })
    }

    /// A command inside, with a clean environment.
    pub fn command(&self, program: &str) -> Command {
        let mut command = self.namespaces.command(program);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("LANG", "C")
            .current_dir("/");
        command
    }

    /// A command inside that runs as an ordinary user: entering needs root, so it lets go of that
    /// afterwards.
    pub fn command_as(&self, program: &str, user: u32) -> Command {
        let mut command = self.command(program);
        // SAFETY: between fork and exec only system calls are made: async-signal-safe, no lock,
        // no allocation; an empty list of groups is no pointer to follow.
        unsafe {
            command.pre_exec(move || {
                let done = libc::setgroups(0, core::ptr::null()) == 0
                    && libc::setgid(user) == 0
                    && libc::setuid(user) == 0;
                if done {
                    Ok(())
                } else {
                    Err(std::io::Error::last_os_error())
                }
            });
        }
        command
    }

    /// The namespaces, for threads that must run inside.
    pub fn namespaces(&self) -> &Namespaces {
        &self.namespaces
    }

    /// The DNS server, of a pod that has one.
    pub fn dns(&self) -> Result<&Server> {
        self.server.as_ref().context("this pod has no DNS server")
    }

    /// Replaces a file of the pod's `/etc` the way kubelet does: a new inode, renamed.
    pub fn replace(&self, name: &str, text: &str) -> Result<()> {
        let next = self.etc.join(format!("{name}.next"));
        fs::write(&next, text)?;
        fs::rename(next, self.etc.join(name))?;
        Ok(())
    }
}

/// The parts of the machine's `/etc` that programs and the two loaders read, copied.
fn furnish(etc: &Path) -> Result<()> {
    const KEPT: [&str; 10] = [
        "passwd",
        "group",
        "services",
        "protocols",
        "host.conf",
        "gai.conf",
        "ld.so.cache",
        "ld.so.conf",
        "ld-musl-x86_64.path",
        "ld-musl-aarch64.path",
    ];
    fs::create_dir(etc)?;
    for name in KEPT {
        let from = Path::new("/etc").join(name);
        if from.exists() {
            fs::copy(&from, etc.join(name)).with_context(|| format!("{}", from.display()))?;
        }
    }
    let alternatives = etc.join("alternatives");
    fs::create_dir(&alternatives)?;
    for entry in fs::read_dir("/etc/alternatives").into_iter().flatten() {
        let entry = entry?;
        if let Ok(target) = fs::read_link(entry.path()) {
            symlink(target, alternatives.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Loopback up, the pod's addresses on it, a default route (so that source address selection
/// finds every family reachable, as in a pod), and the cluster DNS present or unreachable.
fn plug_in(recipe: &Recipe) -> Result<()> {
    let [v4, v6] = POD_ADDRESSES;
    let ip = |line: &str| run("ip", &line.split(' ').collect::<Vec<_>>());
    ip("link set lo up")?;
    if recipe.cable {
        return Ok(());
    }
    if recipe.families.contains('4') {
        ip(&format!("addr add {v4}/32 dev lo"))?;
        ip(&format!("route add default dev lo src {v4}"))?;
    }
    if recipe.families.contains('6') {
        ip(&format!("-6 addr add {v6}/128 dev lo nodad"))?;
        ip(&format!("-6 route add default dev lo src {v6}"))?;
    }
    if recipe.dns.is_some() {
        ip(&format!("addr add {CLUSTER_DNS}/32 dev lo"))?;
    } else {
        ip(&format!("route add unreachable {CLUSTER_DNS}/32"))?;
    }
    for address in &recipe.addresses {
        // Without `nodad` the address is tentative for a moment, and nothing can listen on it.
        let suffix = if address.contains(':') {
            "/128 dev lo nodad"
        } else {
            "/32 dev lo"
        };
        ip(&format!("addr add {address}{suffix}"))?;
    }
    Ok(())
}

/// A private `/etc` and `/run`, and the zone's directory read-only at its place.
fn mount(etc: &Path, zone: Option<&Path>) -> Result<()> {
    let etc = etc.to_str().context("path")?;
    run("mount", &["--bind", etc, "/etc"])?;
    run(
        "mount",
        &["-t", "tmpfs", "-o", "mode=0755,size=1m", "pod-run", "/run"],
    )?;
    if let Some(zone) = zone {
        fs::create_dir("/run/nss-k8s")?;
        run(
            "mount",
            &["--bind", zone.to_str().context("path")?, "/run/nss-k8s"],
        )?;
        run("mount", &["-o", "remount,bind,ro", "/run/nss-k8s"])?;
    }
    Ok(())
}

//! A pod whose packets really leave it: through a router, which counts and filters them, to a DNS
//! server in a namespace of its own.
//!
//! ```text
//!   pod 10.244.0.7, fd00::7 ── eth0 │ pod0  router  dns0 │ eth0 ── 10.96.0.10:53 server
//! ```

use crate::{
    dns::Server,
    namespace::{Namespaces, run},
    pod::{CLUSTER_DNS, POD_ADDRESSES, Pod, Recipe},
};
use anyhow::{Context, Result, ensure};
use std::{fs, process::Command};

/// The whole of it; gone when dropped.
pub struct Routed {
    /// The pod.
    pub pod: Pod,
    router: Namespaces,
    server: Server,
    _outside: Namespaces,
}

/// What the router has seen come from the pod, since [`Routed::take_packets`] was called last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packets {
    /// Attempts to connect to TCP port 53.
    pub connects: u64,
    /// Segments to TCP port 53, those included.
    pub tcp: u64,
    /// Datagrams to UDP port 53.
    pub udp: u64,
    /// Whatever else.
    pub other: u64,
}

impl Routed {
    /// A pod after `recipe`, whose `dns` (an empty script, if it has none) answers behind the router.
    pub fn start(recipe: Recipe) -> Result<Self> {
        let script = recipe.dns.clone().unwrap_or_default();
        let pod = Pod::start(Recipe {
            cable: true,
            ..recipe
        })?;
        let outside = Namespaces::create(|| run("ip", &["link", "set", "lo", "up"]))?;
        let (to_pod, to_server) = (pod.namespaces().network_path(), outside.network_path());
        let router = Namespaces::create(|| {
            ip(&format!(
                "link add name pod0 type veth peer name eth0 netns {to_pod}"
            ))?;
            ip(&format!(
                "link add name dns0 type veth peer name eth0 netns {to_server}"
            ))?;
            fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
            address("pod0", "10.244.0.1/24")?;
            address("pod0", "fd00::1/64")?;
            address("dns0", "10.96.0.1/24")?;
            nft(WATCH)
        })?;
        let [v4, v6] = POD_ADDRESSES;
        pod.namespaces().with_network(|| {
            address("eth0", &format!("{v4}/24"))?;
            address("eth0", &format!("{v6}/64"))?;
            ip("route add default via 10.244.0.1")?;
            ip("-6 route add default via fd00::1")
        })?;
        outside.with_network(|| {
            address("eth0", &format!("{CLUSTER_DNS}/24"))?;
            ip("route add default via 10.96.0.1")
        })?;
        let server = Server::start(&outside, CLUSTER_DNS, script)?;
        Ok(Self {
            pod,
            router,
            server,
            _outside: outside,
        })
    }

    /// The server behind the router.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The router's namespaces.
    pub fn router(&self) -> &Namespaces {
        &self.router
    }

    /// From now on the router does that, an nftables rule, with what comes from the pod; nothing:
    /// it lets everything pass.
    pub fn filter(&self, rule: &str) -> Result<()> {
        self.router.with_network(|| {
            nft("add table inet rules; delete table inet rules")?;
            if rule.is_empty() {
                return Ok(());
            }
            // After the counters.
            nft(&format!(
                "table inet rules {{\nchain forward {{\ntype filter hook forward priority 10;\n\
                 iifname \"pod0\" {rule}\n}}\n}}"
            ))
        })
    }

    /// What came from the pod since the last time.
    pub fn take_packets(&self) -> Result<Packets> {
        let output = self.router.with_network(|| {
            let mut command = Command::new("nft");
            command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
            Ok(command.args(["-j", "reset", "counters"]).output()?)
        })?;
        ensure!(output.status.success(), "{output:?}");
        let listed: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let count = |name: &str| -> Result<u64> {
            let objects = listed["nftables"].as_array().context("no list")?;
            let counters = objects.iter().map(|object| &object["counter"]);
            let counter = counters.into_iter().find(|one| one["name"] == *name);
            counter
                .and_then(|one| one["packets"].as_u64())
                .context(name.to_owned())
        };
        Ok(Packets {
            connects: count("connects")?,
            tcp: count("tcp53")?,
            udp: count("udp53")?,
            other: count("other")?,
        })
    }
}

/// Counts what the pod sends through the router.
const WATCH: &str = "table inet watch {
    counter connects {}
    counter tcp53 {}
    counter udp53 {}
    counter other {}
    chain forward {
        type filter hook forward priority 0;
        iifname != \"pod0\" accept
        tcp dport 53 tcp flags & (syn | ack) == syn counter name connects
        tcp dport 53 counter name tcp53 accept
        udp dport 53 counter name udp53 accept
        counter name other
    }
}";

fn ip(line: &str) -> Result<()> {
    run("ip", &line.split(' ').collect::<Vec<_>>())
}

/// An address of an interface, which is then up.
fn address(interface: &str, text: &str) -> Result<()> {
    // Without `nodad` it is tentative for a moment.
    let suffix = if text.contains(':') { " nodad" } else { "" };
    ip(&format!("addr add {text} dev {interface}{suffix}"))?;
    ip(&format!("link set {interface} up"))
}

fn nft(rules: &str) -> Result<()> {
    run("nft", &[rules])
}

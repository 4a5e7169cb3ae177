//! Names outside the zone with a real CoreDNS as the server: how many messages it gets, what one
//! dead name does to the others, and what its end and return do.
//!
//! ```text
//!   pod: processes ──TCP──► CoreDNS 10.96.0.10 ────► 10.96.0.99, which nothing reaches
//!          └─forward.sock─► agent ──TCP──┘
//! ```
//! Everything of one test is in one pod's network: nothing else can be counted.

use crate::{agent::Directory, control_plane::Process, control_plane::until};
use anyhow::{Context, Result, bail, ensure};
use nss_k8s_tests::{
    artifacts, http,
    namespace::run,
    pod::{CLUSTER_DNS, Pod, Recipe},
    session::{Door, Session},
};
use std::{
    env,
    net::TcpStream,
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

/// Where the agent serves its figures, inside the pod.
const FIGURES: &str = "127.0.0.1:9353";
/// What every name below `example.com` that begins with `n` or `www` has.
const ADDRESSES: &str = "192.0.2.81 2001:db8::81";
/// A name of a zone that CoreDNS forwards to the black hole.
const DEAD: &str = "www.dead.example";
/// How often it is asked for; each time takes a process about a second to give up.
const DEAD_LOOKUPS: usize = 2;

/// One pod with CoreDNS and an agent in its network.
struct World {
    pod: Pod,
    directory: Directory,
    corefile: PathBuf,
    coredns: Option<Process>,
    agent: Option<Process>,
}

impl World {
    /// `external`: who asks, as the agent's option names it.
    fn start(external: &str) -> Result<Self> {
        let directory = Directory::create()?;
        let manifests = directory.path().join("manifests");
        std::fs::create_dir(&manifests)?;
        std::fs::copy(
            artifacts::fixture("fixtures/shop.yaml"),
            manifests.join("shop.yaml"),
        )?;
        let pod = Pod::start(Recipe {
            nsswitch: "hosts: files dns\n".into(),
            zone: Some(directory.view()),
            addresses: vec![CLUSTER_DNS.into(), "10.96.0.99".into()],
            ..Recipe::default()
        })?;
        pod.namespaces()
            .with_network(|| run("nft", &[WATCH]).context("nftables is needed to count packets"))?;
        let corefile = directory.path().join("Corefile");
        std::fs::write(&corefile, COREFILE)?;
        let mut world = Self {
            pod,
            directory,
            corefile,
            coredns: None,
            agent: None,
        };
        world.start_coredns()?;
        let agent = artifacts::agent()?;
        let mut command = world.pod.command(agent.to_str().context("path")?);
        command
            .args(["agent", "--listen", FIGURES, "--external", external])
            .arg("--manifests")
            .arg(&manifests)
            .arg("--dir")
            .arg(world.directory.path());
        let process = Process::start(&mut command, world.log("agent"))?;
        let agent = world.agent.insert(process);
        let namespaces = world.pod.namespaces();
        until("the agent to be ready", || {
            if let Some(status) = agent.ended()? {
                bail!("the agent ended with {status}:\n{}", agent.last_words());
            }
            Ok(namespaces
                .with_network(|| http::page(FIGURES, "/readyz"))
                .ok())
        })
        .with_context(|| agent.last_words())?;
        Ok(world)
    }

    /// Starts CoreDNS and waits until it answers over TCP.
    fn start_coredns(&mut self) -> Result<()> {
        let programs = env::var("NSS_K8S_CLUSTER_PROGRAMS").context("NSS_K8S_CLUSTER_PROGRAMS")?;
        let mut command = self.pod.command(&format!("{programs}/coredns"));
        command.arg("-conf").arg(&self.corefile);
        let process = Process::start(&mut command, self.log("coredns"))?;
        let coredns = self.coredns.insert(process);
        let namespaces = self.pod.namespaces();
        until("CoreDNS to listen", || {
            if let Some(status) = coredns.ended()? {
                bail!("CoreDNS ended with {status}:\n{}", coredns.last_words());
            }
            let tried = namespaces.with_network(|| Ok(TcpStream::connect((CLUSTER_DNS, 53))?));
            Ok(tried.ok().map(drop))
        })
        .with_context(|| coredns.last_words())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.directory.path().join(format!("{name}.log"))
    }

    fn session(&self, door: Door) -> Result<Session> {
        Session::start(&self.pod, door)
    }

    /// (Connections to port 53, datagrams to it) of the cluster DNS since the last call.
    fn take_packets(&self) -> Result<(u64, u64)> {
        let output = self.pod.namespaces().with_network(|| {
            let mut command = Command::new("nft");
            command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
            Ok(command.args(["-j", "reset", "counters"]).output()?)
        })?;
        ensure!(output.status.success(), "{output:?}");
        let listed: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let objects = listed["nftables"].as_array().context("no list")?;
        let count = |name: &str| {
            let mut counters = objects.iter().map(|object| &object["counter"]);
            let counter = counters.find(|one| one["name"] == *name);
            counter
                .and_then(|one| one["packets"].as_u64())
                .context(name.to_owned())
        };
        Ok((count("connects")?, count("datagrams")?))
    }

    /// The sum of all figures of one name of the agent's.
    fn figure(&self, name: &str) -> Result<f64> {
        let text = self
            .pod
            .namespaces()
            .with_network(|| http::page(FIGURES, "/metrics"))?;
        let lines = text.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let values = lines.map(|line| {
            let value = line.rsplit(' ').next().unwrap_or_default();
            value.parse::<f64>().with_context(|| line.to_owned())
        });
        values.sum()
    }
}

/// Class `pod`: with five dots' worth of search list a lookup is two messages, each on a connection
/// of its own, and no datagram; libc alone sends ten datagrams for the same answer.
#[test]
fn pods_ask_coredns_with_two_messages() -> Result<()> {
    let world = World::start("pod")?;
    for door in [Door::ShimGlibc, Door::ShimMusl] {
        let mut reference = world.session(door.reference())?;
        let libc = reference.resolve("www.example.com", "UNSPEC")?;
        let (_, datagrams) = {
            let _ = world.take_packets()?;
            reference.resolve("n1.example.com", "UNSPEC")?;
            world.take_packets()?
        };
        let mut session = world.session(door)?;
        // What a process reads once is read.
        session.resolve("api", "UNSPEC")?;
        let _ = world.take_packets()?;
        let reply = session.resolve("www.example.com", "UNSPEC")?;
        ensure!(
            reply.who() == "upstream" && reply.summary() == libc.summary(),
            "{door:?}: {} {}, libc {}",
            reply.who(),
            reply.summary(),
            libc.summary()
        );
        ensure!(
            reply.summary().starts_with(ADDRESSES),
            "{}",
            reply.summary()
        );
        let packets = world.take_packets()?;
        ensure!(
            packets == (2, 0),
            "{door:?}: (connections, datagrams) {packets:?}"
        );
        println!("external: {door:?}: 2 TCP messages; libc alone: {datagrams} datagrams");
    }
    Ok(())
}

/// Class `node`: the first lookup has the agent ask CoreDNS once for each type, over TCP; every
/// other process has the answer from memory, and CoreDNS hears nothing of it.
#[test]
fn nodes_ask_coredns_once() -> Result<()> {
    let world = World::start("node")?;
    let mut reference = world.session(Door::PlainGlibc)?;
    let libc = reference.resolve("www.example.com", "UNSPEC")?;
    let _ = world.take_packets()?;
    let before = world.figure("nss_k8s_forward_requests_total")?;
    let mut first = world.session(Door::ShimGlibc)?;
    let reply = first.resolve("www.example.com", "UNSPEC")?;
    ensure!(
        reply.who() == "forwarder" && reply.summary() == libc.summary(),
        "{} {}",
        reply.who(),
        reply.summary()
    );
    for door in [Door::ShimGlibc, Door::ShimMusl] {
        let mut session = world.session(door)?;
        until("the answer to be held", || {
            let reply = session.resolve("www.example.com", "UNSPEC")?;
            ensure!(
                reply.summary().starts_with(ADDRESSES),
                "{}",
                reply.summary()
            );
            Ok((reply.who() == "held").then_some(()))
        })?;
    }
    let asked = world.figure("nss_k8s_forward_requests_total")? - before;
    let (connections, datagrams) = world.take_packets()?;
    ensure!(
        (asked - 2.0).abs() < f64::EPSILON && datagrams == 0 && connections <= 2,
        "{asked} queries, {connections} connections, {datagrams} datagrams"
    );
    println!("external: class node: {asked} queries over {connections} connections, for all");
    Ok(())
}

/// One dead name over and over does not keep other names waiting, in either class: many of them are
/// answered while it is being asked for, and none fails.
#[test]
fn a_dead_name_keeps_no_other_waiting() -> Result<()> {
    for (external, door) in [
        ("pod", Door::ShimGlibc),
        ("pod", Door::ShimMusl),
        ("node", Door::ShimGlibc),
        ("node", Door::ShimMusl),
    ] {
        let world = World::start(external)?;
        let (mut dead, mut other) = (world.session(door)?, world.session(door)?);
        let answered = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&answered);
        // For each lookup of the dead name: how many others were answered meanwhile.
        let asking = thread::spawn(move || -> Result<Vec<u64>> {
            let mut meanwhile = Vec::new();
            for _ in 0..DEAD_LOOKUPS {
                let before = count.load(Ordering::Relaxed);
                let reply = dead.resolve(DEAD, "UNSPEC")?;
                ensure!(reply.error.is_some(), "{DEAD}: {}", reply.summary());
                meanwhile.push(count.load(Ordering::Relaxed) - before);
            }
            Ok(meanwhile)
        });
        let mut times = Vec::new();
        let mut index = 0;
        while !asking.is_finished() {
            // A name that nobody has asked for before: no cache helps.
            let name = format!("n{index}.example.com");
            let began = Instant::now();
            let reply = other.resolve(&name, "UNSPEC")?;
            times.push(began.elapsed());
            ensure!(
                reply.error.is_none() && reply.summary().starts_with(ADDRESSES),
                "{external} {door:?} {name}: {} {}",
                reply.who(),
                reply.summary()
            );
            answered.fetch_add(1, Ordering::Relaxed);
            index += 1;
        }
        let meanwhile = asking.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        times.sort_unstable();
        let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
        println!(
            "external: one dead name: class {external}, {door:?}: {} others p50 {:.1?} p99 {:.1?} max \
             {:.1?}; the dead one {} times, meanwhile {meanwhile:?} others",
            times.len(),
            at(50),
            at(99),
            at(100),
            meanwhile.len(),
        );
        // Who waits behind it is answered once for each of its lookups, at most.
        let least = meanwhile.iter().min().copied().unwrap_or(0);
        ensure!(least > 2, "{external} {door:?}: meanwhile {meanwhile:?}");
    }
    Ok(())
}

/// CoreDNS is killed and comes back: whenever libc alone gets an answer, so do processes with us,
/// in the same moment.
#[test]
fn no_lookup_fails_that_libc_would_answer() -> Result<()> {
    for external in ["pod", "node"] {
        let mut world = World::start(external)?;
        let mut pairs = Vec::new();
        for door in [Door::ShimGlibc, Door::ShimMusl] {
            pairs.push((door, world.session(door.reference())?, world.session(door)?));
        }
        let mut givers = Vec::new();
        let mut round = |pairs: &mut Vec<(Door, Session, Session)>, name: &str| -> Result<bool> {
            let mut all = true;
            for (door, reference, session) in pairs {
                let libc = reference.resolve(name, "UNSPEC")?;
                let reply = session.resolve(name, "UNSPEC")?;
                ensure!(
                    libc.error.is_some() || reply.error.is_none(),
                    "class {external}, {door:?}, {name}: libc {}, we {} by {}",
                    libc.summary(),
                    reply.summary(),
                    reply.who()
                );
                all &= libc.error.is_none();
                givers.push(reply.who());
            }
            Ok(all)
        };
        ensure!(round(&mut pairs, "n1.example.com")?, "CoreDNS answers");
        world.coredns.take().context("CoreDNS")?.kill()?;
        // Names that were asked for before, and not.
        for name in ["n1.example.com", "n2.example.com", "n3.example.com"] {
            ensure!(
                !round(&mut pairs, name)?,
                "CoreDNS is gone, and libc has {name}"
            );
        }
        world.start_coredns()?;
        for index in 4..20 {
            let name = format!("n{index}.example.com");
            ensure!(
                round(&mut pairs, &name)?,
                "CoreDNS is back, and libc lacks {name}"
            );
        }
        println!("external: class {external}: CoreDNS gone and back: {givers:?}");
    }
    Ok(())
}

/// Counts what is sent to the cluster DNS; nothing reaches the black hole.
const WATCH: &str = "table inet watch {
    counter connects {}
    counter datagrams {}
    chain output {
        type filter hook output priority 0;
        ip daddr 10.96.0.10 tcp dport 53 tcp flags & (syn | ack) == syn counter name connects
        ip daddr 10.96.0.10 udp dport 53 counter name datagrams
    }
    chain input {
        type filter hook input priority 0;
        ip daddr 10.96.0.99 drop
    }
}";

/// Names below example.com have both families; the cluster's names do not exist here, so that an
/// answer for one can only be the zone's; one zone is forwarded to the black hole, which never counts
/// as down: every question waits its whole time.
const COREFILE: &str = r#".:53 {
    bind 10.96.0.10
    errors
    template IN A example.com {
        match ^(www|n[0-9]+)\.example\.com\.$
        answer "{{ .Name }} 60 IN A 192.0.2.81"
        fallthrough
    }
    template IN AAAA example.com {
        match ^(www|n[0-9]+)\.example\.com\.$
        answer "{{ .Name }} 60 IN AAAA 2001:db8::81"
        fallthrough
    }
    template ANY ANY {
        rcode NXDOMAIN
        authority ". 5 IN SOA ns.example. admin.example. 1 60 60 60 5"
    }
}
dead.example:53 {
    bind 10.96.0.10
    forward . 10.96.0.99 {
        max_fails 0
    }
}
"#;

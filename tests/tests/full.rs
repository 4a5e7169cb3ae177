//! The node's tmpfs is too small for a cluster that grows: what the agent has published stays and stays right, what finds
//! no space is asked of DNS, and the figures say so. With room the rest is published, and they say that.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts,
    dns::Script,
    http,
    namespace::{Namespaces, run},
    pod::{Pod, Recipe},
    session::{Door, Session},
    zonefile::{self, Agent},
};
use std::{fmt::Write as _, fs};
use tempfile::TempDir;

/// Absence is certain, unless the zone says that it lacks something.
const CONFIG: &str = "classes: [{name: default, external: off}]\n\
                      kubernetes: {miss_policy: nxdomain}\n";
/// A little more than a new zone takes.
const SMALL: &str = "mode=0755,size=1280k";
/// Endpoints of one service, which is as many as a slice may have.
const ENDPOINTS: u32 = 1_000;
/// Services that the cluster has at most.
const MOST: u32 = 60;
/// Which endpoints of a service are asked for.
const SAMPLES: [u32; 3] = [0, 499, ENDPOINTS - 1];

#[test]
fn a_cluster_that_outgrows_the_tmpfs_is_served_as_far_as_it_fits() -> Result<()> {
    let outer = zonefile::directory()?;
    let root = zonefile::directory_in(outer.path())?;
    for directory in ["manifests", "base"] {
        fs::create_dir(root.path().join(directory))?;
    }
    fs::write(root.path().join("config.yaml"), CONFIG)?;
    let shop = artifacts::fixture("fixtures/shop.yaml");
    fs::copy(shop, root.path().join("manifests/shop.yaml"))?;
    let base = root.path().join("base");
    let base = base.to_str().context("path")?.to_owned();
    let small = Namespaces::create(|| {
        run("ip", &["link", "set", "lo", "up"])?;
        run("mount", &["-t", "tmpfs", "-o", SMALL, "small", &base])
    })?;
    small.with_mounts(|| {
        let mut node = Node::start(root)?;
        let first = node.grow_until_it_is_full(0)?;
        ensure!(first > 2, "nothing fits: nothing was tested");
        node = node.with_another_agent(first)?;
        // Something goes, so that what was refused fits.
        node.agent.write_manifest("crowd-0.yaml", "")?;
        node.recovers(first)?;
        node.require_denied("crowd-0.shop.svc.cluster.local.")?;
        // More comes, and then the operator makes room, as the driver does when its size is changed.
        let second = node.grow_until_it_is_full(first + 1)?;
        run("mount", &["-o", "remount,size=16m", &base])?;
        node.recovers(second)?;
        for number in 1..=second {
            node.require_answered(number)?;
        }
        Ok(())
    })
}

/// An agent on the small file system, and one warm process behind each door.
struct Node {
    agent: Agent,
    pod: Pod,
    warm: Vec<(Door, Session)>,
}

impl Node {
    fn start(root: TempDir) -> Result<Self> {
        let agent = Agent::start_in(root, &[])?;
        let mut dns = Script::default();
        for number in 0..MOST {
            for name in [service(number), format!("{}.{}", host(7), service(number))] {
                let name = format!("{name}.shop.svc.cluster.local");
                dns = dns.addresses(&name, &[&of_dns(number)]);
            }
        }
        let pod = Pod::start(Recipe {
            zone: Some(agent.view()),
            dns: Some(dns),
            ..Recipe::default()
        })?;
        let warm = sessions(&pod)?;
        Ok(Self { agent, pod, warm })
    }

    /// Has the cluster grow by one service after the other, from this one, until one finds no space: that
    /// one. Whatever was there before is right at every step.
    fn grow_until_it_is_full(&mut self, from: u32) -> Result<u32> {
        ensure!(self.figure("zone_incomplete")? == 0, "full already");
        self.require_denied("nosuch.shop.svc.cluster.local.")?;
        let mut number = from;
        loop {
            ensure!(number < MOST, "it is never full: nothing was tested");
            let before = self.figure("zone_write_errors_total")?;
            let file = format!("crowd-{number}.yaml");
            self.agent
                .write_manifest(&file, &manifest(number, number))?;
            // What is refused once may fit a second later, in space that readers have left.
            zonefile::wait(|| {
                let errors = self.figure("zone_write_errors_total")?;
                Ok(self.is_answered(number)? || errors > before + 2)
            })
            .with_context(|| self.agent.log())?;
            if !self.is_answered(number)? {
                break;
            }
            self.require_answered(number / 2)?;
            number += 1;
        }
        self.require_full(number)?;
        Ok(number)
    }

    /// What is true as long as there is no space for this service, the only one that found none.
    fn require_full(&mut self, refused: u32) -> Result<()> {
        // It is tried again and again; each time counts, and only the first is logged.
        let before = self.figure("zone_write_errors_total")?;
        zonefile::wait(|| Ok(self.figure("zone_write_errors_total")? > before + 1))
            .with_context(|| self.agent.log())?;
        ensure!(self.figure("zone_incomplete")? == 1);
        let name = format!(" shop/{} ", service(refused));
        let log = self.agent.log();
        let said = log
            .lines()
            .filter(|line| line.contains("cannot publish") && line.contains(&name));
        ensure!(said.count() == 1, "{log}");
        for number in [refused / 2, refused - 1] {
            self.require_answered(number)?;
        }
        self.require_asked(refused)?;
        // And to processes that start only now.
        self.warm = sessions(&self.pod)?;
        for number in [refused / 2, refused - 1] {
            self.require_answered(number)?;
        }
        self.require_asked(refused)
    }

    /// Kills the agent; the next one goes on with the same zone, on the same full file system. What has
    /// changed in between finds no space: that stays as it was published.
    fn with_another_agent(self, refused: u32) -> Result<Self> {
        let root = self.agent.end(libc::SIGKILL)?;
        let changed = root.path().join("manifests/crowd-1.yaml");
        fs::write(changed, manifest(1, MOST))?;
        let mut node = Self {
            agent: Agent::start_in(root, &[])?,
            ..self
        };
        node.require_asked(refused)?;
        let listed = || Ok(node.agent.log().contains("everything is listed"));
        zonefile::wait(listed).with_context(|| node.agent.log())?;
        node.require_full(refused)?;
        node.require_answered(1)?;
        node.agent.write_manifest("crowd-1.yaml", &manifest(1, 1))?;
        Ok(node)
    }

    /// Waits until there was space for this service, and requires that nothing is lacking any more.
    fn recovers(&mut self, refused: u32) -> Result<()> {
        zonefile::wait(|| Ok(self.figure("zone_incomplete")? == 0))
            .with_context(|| self.agent.log())?;
        self.require_answered(refused)?;
        self.require_denied("nosuch.shop.svc.cluster.local.")?;
        let errors = self.figure("zone_write_errors_total")?;
        let beat = self.figure("zone_alive_timestamp_seconds")?;
        zonefile::wait(|| Ok(self.figure("zone_alive_timestamp_seconds")? > beat + 1))
            .with_context(|| self.agent.log())?;
        ensure!(self.figure("zone_write_errors_total")? == errors);
        Ok(())
    }

    /// Every process is told the right address of each sample, by the zone.
    fn require_answered(&mut self, number: u32) -> Result<()> {
        for (door, session) in &mut self.warm {
            for endpoint in SAMPLES {
                let name = format!("{}.{}", host(endpoint), service(number));
                let reply = session.resolve(&name, "INET")?;
                let right = format!(
                    "{} = {name}.shop.svc.cluster.local",
                    address(number, endpoint)
                );
                ensure!(
                    reply.who() == "zone" && reply.summary() == right,
                    "{door:?}: expected {right}, got {} from {}",
                    reply.summary(),
                    reply.who()
                );
            }
        }
        Ok(())
    }

    /// Every process is told what DNS says, also of the service's own name.
    fn require_asked(&mut self, number: u32) -> Result<()> {
        for (door, session) in &mut self.warm {
            for name in [service(number), format!("{}.{}", host(7), service(number))] {
                let reply = session.resolve(&name, "INET")?;
                let right = format!("{} = {name}.shop.svc.cluster.local", of_dns(number));
                ensure!(
                    reply.who() == "pass(ask-incomplete)" && reply.summary() == right,
                    "{door:?} {name}: expected {right}, got {} from {}",
                    reply.summary(),
                    reply.who()
                );
            }
        }
        Ok(())
    }

    /// Every process is told that there is no such name, by the zone.
    fn require_denied(&mut self, name: &str) -> Result<()> {
        for (door, session) in &mut self.warm {
            let reply = session.resolve(name, "INET")?;
            ensure!(
                reply.who() == "nxdomain",
                "{door:?} {name}: {}",
                reply.who()
            );
        }
        Ok(())
    }

    /// Whether the zone has a service, to the first of the processes.
    fn is_answered(&mut self, number: u32) -> Result<bool> {
        let (_, session) = self.warm.first_mut().context("no process")?;
        let name = format!("{}.{}", host(0), service(number));
        Ok(session.resolve(&name, "INET")?.who() == "zone")
    }

    /// A figure of the agent, which answers: it lives.
    fn figure(&self, name: &str) -> Result<u64> {
        let log = self.agent.log();
        let (_, address) = log.rsplit_once("address=").context("no address")?;
        let address = address.split_whitespace().next().context("no address")?;
        let page = http::page(address, "/metrics")?;
        let sample = format!("nss_k8s_{name} ");
        let value = page.lines().find_map(|line| line.strip_prefix(&sample));
        // It is there from the first beat on.
        Ok(value.map_or(Ok(0), str::parse)?)
    }
}

/// A process behind each of our doors.
fn sessions(pod: &Pod) -> Result<Vec<(Door, Session)>> {
    let sessions = Door::OURS.map(|door| Ok((door, Session::start(pod, door)?)));
    sessions.into_iter().collect()
}

/// The name of a service of the crowd.
fn service(number: u32) -> String {
    format!("crowd-{number}")
}

/// The host name of an endpoint, long so that few of them take much space.
fn host(endpoint: u32) -> String {
    format!("h{endpoint}-{}", "x".repeat(40))
}

/// The address of an endpoint: no other name has it.
fn address(number: u32, endpoint: u32) -> String {
    format!("10.{}.{}.{}", 128 + number, endpoint / 250, endpoint % 250)
}

/// What DNS says of a service and its endpoints, whatever the zone says.
fn of_dns(number: u32) -> String {
    format!("192.0.2.{}", 1 + number)
}

/// A headless service and its slice, with the addresses of this service or of another.
fn manifest(number: u32, addresses: u32) -> String {
    let name = service(number);
    let mut text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{clusterIP: None}}\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: {name}-x, namespace: shop, labels: {{kubernetes.io/service-name: {name}}}}}\n\
         addressType: IPv4\nports: []\nendpoints:\n"
    );
    for endpoint in 0..ENDPOINTS {
        let _ = writeln!(
            text,
            "- {{addresses: [{}], hostname: {}}}",
            address(addresses, endpoint),
            host(endpoint)
        );
    }
    text
}

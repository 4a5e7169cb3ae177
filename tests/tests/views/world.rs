//! Three namespaces, an agent that knows them, and pods.

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts,
    dns::Script,
    outside::hosts_line,
    pod::{Pod, Recipe, resolv_conf},
    reply::Reply,
    session::Door,
    zonefile::{Agent, wait},
};
use std::path::PathBuf;

/// The shop's own.
pub(crate) const API: &str = "api.shop.svc.cluster.local.";
/// The store's.
pub(crate) const GOODS: &str = "goods.store.svc.cluster.local.";
/// The bank's.
pub(crate) const VAULT: &str = "vault.bank.svc.cluster.local.";
/// A pod of the bank's, behind a headless service.
pub(crate) const LEDGER: &str = "ledger-0.ledger.bank.svc.cluster.local.";
/// An alias to the vault.
pub(crate) const LURE: &str = "lure.shop.svc.cluster.local.";
/// An alias to nothing.
pub(crate) const VOID: &str = "void.shop.svc.cluster.local.";

/// Nobody is named: everybody sees everything.
pub(crate) const OPEN: &str = "classes: [{name: default, external: off}]\n";
/// The shop sees itself and what is labelled as it is.
pub(crate) const CLOSED: &str = "classes: [{name: default, external: off}]\n\
    policy: [{from: {namespaces: [shop]}, to: {namespace_selector: tier=front}}]\n";

/// The namespace of the vault; `front` is what the shop may see.
pub(crate) fn bank(tier: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: bank, labels: {{tier: {tier}}}}}\n")
}

/// An agent with the world, and pods on its node.
pub(crate) struct World {
    /// The agent.
    pub(crate) agent: Agent,
}

impl World {
    /// An agent that has read everything.
    pub(crate) fn start(config: &str) -> Result<Self> {
        let fixture = artifacts::fixture("fixtures/views.yaml");
        let agent = Agent::start_configured(&[&fixture], config, &[])?;
        agent.write_manifest("bank.yaml", &bank("secret"))?;
        let world = Self { agent };
        let shown = || world.query(&["--class", "default", VAULT]);
        wait(|| Ok(shown()?.contains("10.96.2.10")))?;
        Ok(world)
    }

    /// What `nss-k8s query` says, on either output.
    pub(crate) fn query(&self, arguments: &[&str]) -> Result<String> {
        let output = self.agent.call(&[&["query"], arguments].concat())?;
        Ok(String::from_utf8(output.stdout)? + &String::from_utf8(output.stderr)?)
    }

    /// Registers a pod; its directory, once it has a zone.
    pub(crate) fn deliver(&self, id: &str, namespace: &str) -> Result<PathBuf> {
        let directory = self.register(id, namespace)?;
        wait(|| Ok(directory.join("zone.v1").exists())).with_context(|| self.agent.log())?;
        Ok(directory)
    }

    /// Registers a pod; its directory, perhaps without a zone yet.
    pub(crate) fn register(&self, id: &str, namespace: &str) -> Result<PathBuf> {
        let output = self
            .agent
            .call(&["pod", "add", id, "--namespace", namespace])?;
        ensure!(output.status.success(), "{output:?}");
        Ok(self.agent.base().join("pod").join(id))
    }

    /// A pod for one door, with a DNS server that knows everything.
    pub(crate) fn pod(&self, id: &str, namespace: &str, door: Door) -> Result<Pod> {
        Pod::start(Recipe {
            resolv_conf: resolv_conf(namespace),
            nsswitch: hosts_line(door).into(),
            zone: Some(self.deliver(id, namespace)?),
            dns: Some(everything()),
            ..Recipe::default()
        })
    }
}

/// What the cluster's own DNS says to whoever asks it.
pub(crate) fn everything() -> Script {
    Script::default()
        .addresses("vault.bank.svc.cluster.local", &["10.96.2.10"])
        .addresses("absent.shop.svc.cluster.local", &["10.96.9.9"])
        .pointer("10.96.2.10", "vault.bank.svc.cluster.local")
        .pointer("192.0.2.7", "host.example.com")
        .pointer("192.0.2.8", "vault.bank.svc.cluster.local")
        .addresses("goods.store.svc.cluster.local", &["10.96.3.10"])
        .addresses("www.example.com", &["192.0.2.81"])
        .alias("trap.example.com", "vault.bank.svc.cluster.local")
        .alias("offer.example.com", "goods.store.svc.cluster.local")
}

/// Requires an answer by the zone in this process.
pub(crate) fn told(reply: &Reply, address: &str) -> Result<()> {
    let right = reply.summary().starts_with(address) && reply.who() == "zone";
    ensure!(
        right,
        "not {address}: {} from {}",
        reply.summary(),
        reply.who()
    );
    Ok(())
}

/// Requires that the zone in this process says that the name does not exist.
pub(crate) fn hidden(reply: &Reply) -> Result<()> {
    let right = reply.error.is_some() && reply.who() == "nxdomain";
    ensure!(
        right,
        "not hidden: {} from {}",
        reply.summary(),
        reply.who()
    );
    Ok(())
}

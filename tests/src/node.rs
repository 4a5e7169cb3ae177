//! A node whose agent asks for names outside the zone: an agent with an upstream of the test's own,
//! and a pod of class `node` beside it.

use crate::{
    artifacts,
    dns::{Asked, Script, Server},
    namespace::Namespaces,
    outside,
    pod::{Pod, Recipe, resolv_conf},
    session::Door,
    zonefile::{Agent, wait},
};
use anyhow::Result;
use std::path::PathBuf;

/// The socket's file beside the zone.
pub const SOCKET: &str = "forward.sock";

/// All three of them.
pub struct Node {
    /// The agent.
    pub agent: Agent,
    /// Whom the agent asks.
    pub upstream: Server,
    /// The pod; its own server is whom libc asks.
    pub pod: Pod,
}

impl Node {
    /// The shop, with `far` behind the agent and `near` behind the pod's own nameserver.
    pub fn start(door: Door, far: Script, near: Script) -> Result<Self> {
        let upstream = upstream(far)?;
        let agent = agent(&upstream)?;
        let pod = Pod::start(recipe(agent.view(), door, near))?;
        Ok(Self {
            agent,
            upstream,
            pod,
        })
    }

    /// What the upstream was asked since the last time, but for the agent's own probes.
    pub fn take_log(&self) -> Vec<Asked> {
        asked(&self.upstream)
    }
}

/// What an agent's upstream was asked since the last time, but for the agent's own probes.
pub fn asked(upstream: &Server) -> Vec<Asked> {
    let mut log = upstream.take_log();
    log.retain(|one| !one.name.ends_with(".nss-k8s.invalid"));
    log
}

/// A server on a free port of the test's own loopback address.
pub fn upstream(script: Script) -> Result<Server> {
    Server::start_at(&Namespaces::current()?, "127.0.0.1:0".parse()?, script)
}

/// An agent with the shop's manifests whose only upstream that is; its socket is there.
pub fn agent(upstream: &Server) -> Result<Agent> {
    let shop = artifacts::fixture("fixtures/shop.yaml");
    let agent = Agent::start_configured(&[&shop], &config(upstream), &[])?;
    wait(|| Ok(agent.view().join(SOCKET).exists()))?;
    Ok(agent)
}

/// Every pod is of class `node`.
pub fn config(upstream: &Server) -> String {
    let (address, port) = (upstream.address().ip(), upstream.address().port());
    format!(
        "classes: [{{name: default, external: node}}]\n\
         forward:\n  groups:\n  - zones: [\".\"]\n    \
         upstreams: [{{address: {address}, port: {port}, transport: tcp}}]\n"
    )
}

/// A pod for one door. Our share of a lookup is a whole second there: machines that run tests are
/// busy.
pub fn recipe(view: PathBuf, door: Door, near: Script) -> Recipe {
    Recipe {
        resolv_conf: resolv_conf("shop").replace("timeout:1", "timeout:4"),
        ..outside::recipe(view, door, near)
    }
}

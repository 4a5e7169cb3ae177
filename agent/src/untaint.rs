//! `nss-k8s untaint`: takes a taint off nodes on which the driver has registered itself. New nodes join with it
//! (kubelet's `registerWithTaints`), so that no pod that needs the driver lands there and waits.
//!
//! A process of its own, once in a cluster, with rights on nodes that the agents do not have. Without it, or
//! while it is away, tainted nodes stay tainted; nothing else depends on it.

use crate::{report::one_line, watch};
use anyhow::{Context, Result, bail};
use clap::Args;
use futures::{StreamExt, stream};
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, GroupVersionKind, Patch, PatchParams},
    core::Object,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::ExitCode,
};
use tokio::signal::unix::{SignalKind, signal};

/// `nss-k8s untaint`. Runs until it is told to stop; ends with status 1 when a node cannot be changed.
#[derive(Args, Clone, Debug)]
pub struct UntaintArgs {
    /// The key of the taint
    #[arg(long, env = "NSS_K8S_STARTUP_TAINT", value_name = "KEY")]
    pub taint: String,
    /// How to reach the API server; default: as a pod, else the user's own kubeconfig
    #[arg(long, env = "NSS_K8S_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The driver that a node must have
    #[arg(long, default_value = "csi.nss-k8s.io")]
    pub driver: String,
}

/// Follows nodes and their drivers.
pub fn untaint(args: &UntaintArgs) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let client = watch::connect(args.kubeconfig.as_deref()).await?;
        // The first process of a container has no default action for signals.
        let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
        tokio::select! {
            ended = follow(&client, args) => ended,
            _ = terminate.recv() => Ok(()),
            _ = interrupt.recv() => Ok(()),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A node, as far as it matters.
type Node = Object<NodeSpec, Nothing>;
/// The drivers of a node.
type Drivers = Object<DriversSpec, Nothing>;

/// A status that is not looked at.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Nothing {}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct NodeSpec {
    #[serde(default)]
    taints: Option<Vec<Taint>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Taint {
    #[serde(default)]
    key: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct DriversSpec {
    #[serde(default)]
    drivers: Option<Vec<Driver>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Driver {
    #[serde(default)]
    name: String,
}

/// What is known of the cluster's nodes.
#[derive(Debug, Default)]
struct Board {
    /// Tainted nodes, with the place of the taint in their lists.
    tainted: BTreeMap<String, usize>,
    /// Nodes that have the driver.
    served: BTreeSet<String>,
}

impl Board {
    /// Takes an event of a node in; the node that it was about.
    fn node(&mut self, event: Event<Node>, key: &str) -> Option<String> {
        match event {
            Event::Init => self.tainted.clear(),
            Event::InitDone => {}
            Event::Delete(node) => {
                self.tainted.remove(&node.name_any());
            }
            Event::Apply(node) | Event::InitApply(node) => {
                let name = node.name_any();
                let mut taints = node.spec.taints.iter().flatten();
                match taints.position(|taint| taint.key == key) {
                    Some(place) => self.tainted.insert(name.clone(), place),
                    None => self.tainted.remove(&name),
                };
                return Some(name);
            }
        }
        None
    }

    /// The same of a node's drivers.
    fn drivers(&mut self, event: Event<Drivers>, driver: &str) -> Option<String> {
        match event {
            Event::Init => self.served.clear(),
            Event::InitDone => {}
            Event::Delete(drivers) => {
                self.served.remove(&drivers.name_any());
            }
            Event::Apply(drivers) | Event::InitApply(drivers) => {
                let name = drivers.name_any();
                let mut all = drivers.spec.drivers.iter().flatten();
                if all.any(|one| one.name == driver) {
                    self.served.insert(name.clone());
                } else {
                    self.served.remove(&name);
                }
                return Some(name);
            }
        }
        None
    }

    /// Where the taint is that a node no longer needs.
    fn due(&self, name: &str) -> Option<usize> {
        let place = self.tainted.get(name)?;
        self.served.contains(name).then_some(*place)
    }
}

/// One of the two watches.
enum Seen {
    Node(Event<Node>),
    Drivers(Event<Drivers>),
}

/// Until a node cannot be changed, or a watch ends.
async fn follow(client: &Client, args: &UntaintArgs) -> Result<()> {
    let nodes = resource("", "Node", "nodes");
    let nodes: Api<Node> = Api::all_with(client.clone(), &nodes);
    let drivers = resource("storage.k8s.io", "CSINode", "csinodes");
    let drivers: Api<Drivers> = Api::all_with(client.clone(), &drivers);
    let settings = watcher::Config::default();
    let of_nodes = watcher(nodes.clone(), settings.clone()).default_backoff();
    let of_drivers = watcher(drivers, settings).default_backoff();
    let mut seen = Box::pin(stream::select(
        of_nodes.map(|event| event.map(Seen::Node)),
        of_drivers.map(|event| event.map(Seen::Drivers)),
    ));
    let mut board = Board::default();
    while let Some(event) = seen.next().await {
        let name = match event {
            Ok(Seen::Node(event)) => board.node(event, &args.taint),
            Ok(Seen::Drivers(event)) => board.drivers(event, &args.driver),
            // The watches try again by themselves.
            Err(error) => {
                eprintln!("nss-k8s: {}", one_line(&error));
                continue;
            }
        };
        let Some(name) = name else { continue };
        if let Some(place) = board.due(&name) {
            take_off(&nodes, &name, &args.taint, place).await?;
            board.tainted.remove(&name);
        }
    }
    bail!("the watches ended")
}

/// Takes the taint off, if it is still where it was seen; else the node's next event says where.
async fn take_off(nodes: &Api<Node>, name: &str, key: &str, place: usize) -> Result<()> {
    let path = format!("/spec/taints/{place}");
    let change = json!([
        {"op": "test", "path": format!("{path}/key"), "value": key},
        {"op": "remove", "path": path},
    ]);
    let change = serde_json::from_value(change).context("the patch")?;
    let patch = Patch::<Node>::Json(change);
    match nodes.patch(name, &PatchParams::default(), &patch).await {
        Ok(_) => println!("{name}: the driver is there, {key} is taken off"),
        // Changed or gone meanwhile.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {}
        Err(error) => {
            return Err(error).with_context(|| format!("cannot take {key} off {name}"));
        }
    }
    Ok(())
}

/// A kind of version 1.
fn resource(group: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(taints: &[&str]) -> Node {
        let taints: Vec<_> = taints.iter().map(|key| json!({"key": key})).collect();
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
            "spec": {"taints": taints}, "status": {"phase": "ignored"}});
        serde_json::from_value(node).unwrap()
    }

    fn drivers(names: &[&str]) -> Drivers {
        let names: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
        let drivers = json!({"apiVersion": "storage.k8s.io/v1", "kind": "CSINode",
            "metadata": {"name": "n"}, "spec": {"drivers": names}});
        serde_json::from_value(drivers).unwrap()
    }

    #[test]
    fn a_taint_is_due_once_the_driver_is_there() {
        let mut board = Board::default();
        assert_eq!(
            board.node(Event::Apply(node(&["a", "t"])), "t").unwrap(),
            "n"
        );
        assert_eq!(board.due("n"), None);
        board.drivers(Event::Apply(drivers(&["other"])), "d");
        assert_eq!(board.due("n"), None);
        board.drivers(Event::Apply(drivers(&["other", "d"])), "d");
        assert_eq!(board.due("n"), Some(1));
        // A list again: what is not in it is not known.
        board.drivers(Event::Init, "d");
        assert_eq!(board.due("n"), None);
        board.drivers(Event::InitApply(drivers(&["d"])), "d");
        assert_eq!(board.due("n"), Some(1));
        board.node(Event::Apply(node(&["a"])), "t");
        assert_eq!(board.due("n"), None);
        board.node(Event::Apply(node(&["t"])), "t");
        board.drivers(Event::Delete(drivers(&["d"])), "d");
        assert_eq!(board.due("n"), None);
    }
}

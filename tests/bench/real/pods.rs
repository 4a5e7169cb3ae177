//! Pods that kwok plays, on the same server: Deployments behind headless services, and a rollout of a tenth of them.

use crate::{
    Figure, PATIENCE, Wanted, following::Following, load::Load, note, plane::Plane, say, seconds,
};
use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use nss_k8s_tests::{
    fleet,
    scale::{Told, Truth, require},
    watcher::Eyes,
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};
use tokio::runtime::Runtime;

/// Where they are.
const SPACE: &str = "played";
/// Pods of a Deployment.
const EACH: usize = 15;
/// Of so many Deployments one is rolled out.
const ONE_IN: usize = 10;
/// Requests under way at once.
const AT_ONCE: usize = 16;
/// How often the server is asked whether a rollout is over: it has other things to do.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The ready pods' addresses, by service.
type Ready = BTreeMap<String, BTreeSet<Ipv4Addr>>;

/// Starts them, rolls a tenth of them out, and compares the whole zone.
pub(crate) fn play(
    runtime: &Runtime,
    wanted: &Wanted,
    plane: &Plane,
    load: &Load,
    following: &Following<'_>,
    figures: &mut Vec<Figure>,
) -> Result<()> {
    let count = wanted.pods.div_ceil(EACH);
    let _players = plane.play()?;
    let eyes = following.agent.eyes()?;
    let played = Played {
        runtime,
        plane,
        eyes,
        count,
    };
    say(&format!("{count} Deployments on {} nodes", wanted.nodes));
    let began = Instant::now();
    runtime.block_on(create(plane, count, wanted.nodes))?;
    let pods = count * EACH;
    let what = format!("{pods} pods on {} nodes", wanted.nodes);
    played.settle(began)?.note(&what, figures);

    let began = Instant::now();
    let rolled = (0..count).step_by(ONE_IN);
    let replaced = rolled.clone().count() * EACH;
    for number in rolled {
        let path = format!("{}/{}", deployments(), name(number));
        runtime.block_on(plane.ask("PATCH", &path, &fleet::rollout(1)))?;
    }
    let what = format!("rollout of {replaced} pods");
    played.settle(began)?.note(&what, figures);

    // The other services are as they were, too.
    let truth = played.truth(load)?;
    require(&following.agent, &truth, PATIENCE)
}

/// How long something took, from its beginning.
struct Settled {
    /// Until every pod was ready, by the Deployments' status.
    ready: Duration,
    /// Until the slices had them.
    slices: Duration,
    /// Until the zone answered them.
    zone: Duration,
}

impl Settled {
    fn note(&self, what: &str, figures: &mut Vec<Figure>) {
        for (who, time) in [
            ("pods are ready", self.ready),
            ("endpoint slices have them", self.slices),
            ("zone has them", self.zone),
        ] {
            note(figures, format!("kwok: {what}: {who}"), "s", seconds(time));
        }
    }
}

/// What is played.
struct Played<'a> {
    runtime: &'a Runtime,
    plane: &'a Plane,
    eyes: Eyes,
    count: usize,
}

impl Played<'_> {
    /// Waits until every Deployment is rolled out, the slices have its pods, and the zone answers them.
    fn settle(&self, began: Instant) -> Result<Settled> {
        let end = Instant::now() + PATIENCE;
        while !self.is_rolled_out()? {
            ensure!(Instant::now() < end, "the rollout does not end");
            thread::park_timeout(LOOK_EVERY);
        }
        let ready = began.elapsed();
        let pods = self.pods()?;
        ensure!(pods.len() == self.count, "pods of {} services", pods.len());
        for (service, addresses) in &pods {
            ensure!(addresses.len() == EACH, "{service}: {addresses:?}");
        }
        let (mut slices, mut zone) = (None, None);
        loop {
            if zone.is_none() && self.zone_has(&pods)? {
                zone = Some(began.elapsed());
            }
            if slices.is_none() && self.slices()? == pods {
                slices = Some(began.elapsed());
            }
            if let (Some(slices), Some(zone)) = (slices, zone) {
                return Ok(Settled {
                    ready,
                    slices,
                    zone,
                });
            }
            ensure!(Instant::now() < end, "slices {slices:?}, zone {zone:?}");
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Whether the zone answers exactly these addresses.
    fn zone_has(&self, pods: &Ready) -> Result<bool> {
        for (service, addresses) in pods {
            let name = format!("{service}.{SPACE}.svc.cluster.local");
            let found = self.eyes.addresses(&name).ok().flatten();
            let found = found.unwrap_or_default().into_iter();
            let mut found = found.map(|it| match it.octets {
                [a, b, c, d, ..] => Ipv4Addr::new(a, b, c, d),
            });
            if found.len() != addresses.len() || !found.all(|it| addresses.contains(&it)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The ready endpoints of the slices.
    fn slices(&self) -> Result<Ready> {
        let path = format!("/apis/discovery.k8s.io/v1/namespaces/{SPACE}/endpointslices");
        let list = self
            .runtime
            .block_on(self.plane.ask("GET", &path, &Value::Null))?;
        let mut ready = Ready::new();
        for slice in list["items"].as_array().context("no list")? {
            let service = &slice["metadata"]["labels"]["kubernetes.io/service-name"];
            let service = service.as_str().context("no service")?;
            let all = ready.entry(service.to_owned()).or_default();
            for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
                if endpoint["conditions"]["ready"] == true {
                    let address = endpoint["addresses"][0].as_str();
                    all.insert(address.context("no address")?.parse()?);
                }
            }
        }
        Ok(ready)
    }

    fn is_rolled_out(&self) -> Result<bool> {
        let list = self
            .runtime
            .block_on(self.plane.ask("GET", &deployments(), &Value::Null))?;
        let all = list["items"].as_array().context("no list")?;
        Ok(all.len() == self.count && all.iter().all(fleet::is_rolled_out))
    }

    /// The pods that stay and are ready.
    fn pods(&self) -> Result<Ready> {
        let path = format!("/api/v1/namespaces/{SPACE}/pods");
        let list = self
            .runtime
            .block_on(self.plane.ask("GET", &path, &Value::Null))?;
        let mut ready = Ready::new();
        for pod in list["items"].as_array().context("no list")? {
            if pod["metadata"]["deletionTimestamp"].is_string() {
                continue;
            }
            let app = pod["metadata"]["labels"]["app"]
                .as_str()
                .context("no label")?;
            let address = pod["status"]["podIP"].as_str().context("no address")?;
            let all = ready.entry(app.to_owned()).or_default();
            ensure!(all.insert(address.parse()?), "two pods with {address}");
        }
        Ok(ready)
    }

    /// What the zone must say of everything.
    fn truth(&self, load: &Load) -> Result<Truth> {
        let mut truth = load.truth(true);
        for (service, addresses) in self.pods()? {
            let told = Told {
                address: None,
                ready: addresses
                    .into_iter()
                    .map(|address| (address, None))
                    .collect(),
            };
            truth.insert((SPACE.to_owned(), service), told);
        }
        Ok(truth)
    }
}

/// Makes nodes, Deployments and their services.
async fn create(plane: &Plane, count: usize, nodes: usize) -> Result<()> {
    let space = json!({"metadata": {"name": SPACE}});
    plane.ask("POST", "/api/v1/namespaces", &space).await?;
    for number in 1..=nodes {
        let node = fleet::node(number);
        plane.ask("POST", "/api/v1/nodes", &node).await?;
    }
    let services = format!("/api/v1/namespaces/{SPACE}/services");
    let services = &services;
    stream::iter(0..count)
        .map(|number| async move {
            let name = name(number);
            let service = json!({
                "metadata": {"name": name},
                "spec": {"clusterIP": "None", "selector": {"app": name}, "ports": [{"port": 80}]},
            });
            plane.ask("POST", services, &service).await?;
            let deployment = fleet::deployment(&name, 1 + number % nodes, EACH);
            plane.ask("POST", &deployments(), &deployment).await
        })
        .buffer_unordered(AT_ONCE)
        .try_for_each(|_| async { Ok(()) })
        .await
}

fn deployments() -> String {
    format!("/apis/apps/v1/namespaces/{SPACE}/deployments")
}

fn name(number: usize) -> String {
    format!("app-{number:04}")
}

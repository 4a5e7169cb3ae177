//! The cluster of `tests/src/scale` on the real server: written, changed, and what a zone must say of it.

use crate::{
    Figure, note,
    plane::{Plane, send},
    say, seconds,
};
use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use nss_k8s_tests::{
    scale::{Changes, Cluster, Kind, Stamp, Told, Truth, expected},
    watcher::Sent,
};
use serde_json::Value;
use std::{
    net::Ipv4Addr,
    sync::mpsc::Sender,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

/// Requests under way at once.
const AT_ONCE: usize = 32;

/// What was written.
pub(crate) struct Load {
    /// What each object is.
    pub(crate) cluster: Cluster,
    client: Client,
    /// How often each object was changed, by kind.
    generations: [Vec<u32>; 3],
}

/// One request to come.
struct Step {
    kind: Kind,
    index: usize,
    /// What the object is after it.
    generation: u32,
}

impl Load {
    /// Writes everything that is there at the beginning.
    pub(crate) async fn create(
        plane: &Plane,
        cluster: Cluster,
        figures: &mut Vec<Figure>,
    ) -> Result<Self> {
        let load = Self {
            client: plane.administrator.clone(),
            generations: Kind::ALL.map(|kind| vec![0; cluster.count(kind)]),
            cluster,
        };
        let (began, mut written) = (Instant::now(), 0);
        for kind in Kind::ALL {
            let all = 0..load.cluster.count(kind);
            let there = all.filter(|index| load.cluster.exists(kind, *index, 0));
            // The server has made it itself.
            let there = there.filter(|index| kind != Kind::Namespaces || *index > 0);
            let there: Vec<usize> = there.collect();
            written += there.len();
            let load = &load;
            stream::iter(&there)
                .map(|index| load.write(kind, *index, 0))
                .buffer_unordered(AT_ONCE)
                .try_for_each(|()| async { Ok(()) })
                .await?;
            let took = began.elapsed();
            say(&format!("{kind:?}: {} after {took:.1?}", there.len()));
        }
        let took = began.elapsed();
        note(figures, "objects".to_owned(), "number", written.to_string());
        note(figures, "time to fill".to_owned(), "s", seconds(took));
        plane.report(figures)?;
        Ok(load)
    }

    /// What a zone must say now, the API server's own service included.
    pub(crate) fn truth(&self, all: bool) -> Truth {
        let generation = |kind, index: usize| self.generations[kind as usize][index];
        let mut truth = expected(&self.cluster, all, generation);
        let own = Told {
            address: Some(Ipv4Addr::new(10, 96, 0, 1)),
            ready: all
                .then_some((Ipv4Addr::new(10, 244, 0, 1), None))
                .into_iter()
                .collect(),
        };
        truth.insert(("default".to_owned(), "kubernetes".to_owned()), own);
        truth
    }

    /// Lets things happen: `rate` in a second, or as many as the server takes. An object's changes go one after the
    /// other. `sent` is told, just before it is written, of each change of a slice that is to become visible.
    pub(crate) async fn change(
        &mut self,
        changes: &mut Changes,
        count: usize,
        rate: Option<u32>,
        sent: Option<Sender<Sent>>,
    ) -> Result<Duration> {
        let began = Instant::now();
        let mut writers = Vec::new();
        let mut tasks = JoinSet::new();
        for _ in 0..AT_ONCE {
            let (writer, mut steps) = mpsc::unbounded_channel::<Step>();
            writers.push(writer);
            let (cluster, client, sent) = (self.cluster.clone(), self.client.clone(), sent.clone());
            tasks.spawn(async move {
                while let Some(step) = steps.recv().await {
                    step.write(&cluster, &client, sent.as_ref()).await?;
                }
                anyhow::Ok(())
            });
        }
        let mut clock = rate.map(|rate| {
            let mut clock = interval(Duration::from_secs(1) / rate);
            clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
            clock
        });
        for change in changes.take(count) {
            if let Some(clock) = &mut clock {
                clock.tick().await;
            }
            for (kind, index) in change.objects(&self.cluster) {
                let generation = &mut self.generations[kind as usize][index];
                *generation += 1;
                let service = match kind {
                    Kind::Slices => self.cluster.service_of(index).0,
                    _ => index,
                };
                let step = Step {
                    kind,
                    index,
                    generation: *generation,
                };
                let writer = &writers[service % AT_ONCE];
                writer.send(step).ok().context("a writer has ended")?;
            }
        }
        drop((writers, sent));
        while let Some(done) = tasks.join_next().await {
            done??;
        }
        Ok(began.elapsed())
    }

    async fn write(&self, kind: Kind, index: usize, generation: u32) -> Result<()> {
        let step = Step {
            kind,
            index,
            generation,
        };
        step.write(&self.cluster, &self.client, None).await
    }
}

impl Step {
    /// Creates, replaces or deletes the object.
    async fn write(
        &self,
        cluster: &Cluster,
        client: &Client,
        sent: Option<&Sender<Sent>>,
    ) -> Result<()> {
        let (kind, index, generation) = (self.kind, self.index, self.generation);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let stamp = Stamp {
            generation,
            version: 0,
            changed: now.as_millis().try_into()?,
        };
        let object = cluster.request(kind, index, stamp);
        let metadata = &object["metadata"];
        let collection = match (metadata["namespace"].as_str(), kind.path().rsplit_once('/')) {
            (Some(space), Some((group, resource))) if !space.is_empty() => {
                format!("{group}/namespaces/{space}/{resource}")
            }
            _ => kind.path().to_owned(),
        };
        let name = metadata["name"].as_str().context("no name")?;
        let one = format!("{collection}/{name}");
        let was = generation > 0 && cluster.exists(kind, index, generation - 1);
        let is = cluster.exists(kind, index, generation);
        if let Some(sent) = sent
            && kind == Kind::Slices
            && was
            && is
        {
            let (name, address) = cluster.shows(index, generation);
            let at = Instant::now();
            // Whoever looks ends only after this side.
            let _ = sent.send(Sent { name, address, at });
        }
        match (was, is) {
            (true, true) => send(client, "PUT", &one, &object).await?,
            (true, false) => send(client, "DELETE", &one, &Value::Null).await?,
            (false, _) => send(client, "POST", &collection, &object).await?,
        };
        Ok(())
    }
}

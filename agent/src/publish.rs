//! Owns the zone's writer: applies what the model wants, keeps the zone alive, reclaims space, and
//! follows the kill switch. One task does all of it, so the zone has one writer in this process too.

use crate::{
    model::{Event, Held, Model, Settings, Sink, Source},
    switch::Switch,
    telemetry::Telemetry,
};
use anyhow::{Context, Result};
use nss_k8s_zone::{
    Config, Dump, Entry, Now, Opened, Options, ServiceBody, ServiceKey, Slice, SliceId, State,
    WriteError, Writer,
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};

/// Events that one flush covers at most; also the length of the queue.
pub const BATCH: usize = 1024;

/// How often the kill switch is looked at.
const SWITCH_EVERY: Duration = Duration::from_millis(200);

/// How often the zone is marked alive, figures are taken, and refused changes are tried again.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// What the sources send.
#[derive(Debug)]
pub enum Message {
    /// Something about an object or a list.
    Event(Source, Event),
    /// The source cannot be followed at present.
    Broken(Source),
    /// It can again.
    Healthy(Source),
}

/// The task's state.
pub struct Publisher {
    writer: Writer,
    model: Model,
    /// As asked for; the cluster DNS addresses of the Service are added to it.
    config: Config,
    /// As processes see it.
    published: Config,
    switch: Switch,
    telemetry: Arc<Telemetry>,
    broken: BTreeSet<Source>,
    synced: Now,
    /// The adopted zone was old: it is not marked alive before everything is listed.
    asleep: bool,
}

impl Publisher {
    /// Opens the zone, going on with the one that is there.
    pub fn open(
        options: Options,
        settings: Settings,
        config: Config,
        telemetry: Arc<Telemetry>,
    ) -> Result<Self> {
        let switch = Switch::new(&options.directory);
        let alive = Dump::open(&options.zone_path()).map_or(Now(0), |zone| zone.alive());
        let (mut writer, opened) = Writer::open(options)?;
        let path = writer.path().display().to_string();
        match &opened {
            Opened::Created => tracing::info!(path, "created the zone"),
            Opened::Adopted {
                namespaces,
                services,
            } => {
                tracing::info!(path, namespaces, services, "adopted the zone");
            }
            Opened::Replaced { why } => tracing::warn!(path, why, "replaced the zone"),
        }
        let held = held(&writer);
        let published = writer.config();
        let now = unix_now();
        if switch.is_off() {
            writer.disable();
            tracing::warn!("the kill switch is set: every process passes");
        } else if writer.state() == State::Disabled {
            writer.enable();
        }
        // A zone that nobody kept for so long is no better for an agent that has listed nothing yet.
        let outdated = now.0.saturating_sub(alive.0) > u64::from(config.stale_after);
        let asleep = outdated && matches!(opened, Opened::Adopted { .. });
        if asleep {
            tracing::warn!("the adopted zone is old: it counts again once everything is listed");
        } else {
            writer.beat(now);
        }
        let model = Model::new(settings, held);
        let (broken, synced) = (BTreeSet::new(), Now(0));
        Ok(Self {
            writer,
            model,
            config,
            published,
            switch,
            telemetry,
            broken,
            synced,
            asleep,
        })
    }

    /// Follows the inbox until `stop`, or until every sender is gone.
    pub async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Message>,
        mut stop: oneshot::Receiver<()>,
    ) -> Result<()> {
        let mut beat = interval(BEAT_EVERY);
        let mut switch = interval(SWITCH_EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        switch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut reclaim = None;
        self.publish()?;
        loop {
            let deadline = [self.model.deadline(), reclaim].into_iter().flatten().min();
            let wake = async move {
                match deadline {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => core::future::pending().await,
                }
            };
            tokio::select! {
                _ = &mut stop => break,
                message = inbox.recv() => {
                    let Some(message) = message else { break };
                    self.receive(message);
                    for _ in 1..BATCH {
                        let Ok(message) = inbox.try_recv() else { break };
                        self.receive(message);
                    }
                }
                () = wake => {}
                _ = switch.tick() => self.follow_switch(),
                _ = beat.tick() => {
                    self.model.retry();
                    self.beat();
                }
            }
            self.publish()?;
            reclaim = self.writer.advance(Instant::now());
        }
        self.publish()?;
        self.beat();
        Ok(())
    }

    /// Takes one message in.
    fn receive(&mut self, message: Message) {
        match message {
            Message::Event(source, event) => {
                self.broken.remove(&source);
                self.model.handle(source, event, Instant::now());
            }
            Message::Broken(source) => {
                self.broken.insert(source);
            }
            Message::Healthy(source) => {
                self.broken.remove(&source);
            }
        }
    }

    /// Writes what differs; goes live when everything has been listed for the first time.
    fn publish(&mut self) -> Result<()> {
        let flushed = self
            .model
            .flush(&mut Zone(&mut self.writer), Instant::now());
        self.telemetry
            .published(flushed.changes, flushed.failures.len());
        for (object, error) in &flushed.failures {
            tracing::error!(%object, %error, "cannot publish");
        }
        self.writer.set_incomplete(self.model.lacks_space());
        self.configure()?;
        if !self.telemetry.is_ready() && self.model.is_complete() {
            self.synced = unix_now();
            self.writer.set_synced(self.synced);
            if core::mem::take(&mut self.asleep) {
                self.writer.beat(self.synced);
            }
            self.telemetry.set_ready();
            let figures = self.writer.statistics();
            tracing::info!(
                namespaces = figures.namespaces,
                services = figures.services,
                slices = figures.slices,
                serial = figures.serial,
                "everything is listed and published"
            );
        }
        for triggered in flushed.triggers {
            self.telemetry.programmed(triggered);
        }
        Ok(())
    }

    /// Publishes the configuration when it differs. What it promises beyond what an adopted zone's
    /// did holds only once everything is listed, and the cluster's name servers stay those of the
    /// adopted zone until the Service is known.
    fn configure(&mut self) -> Result<()> {
        let mut config = self.config.clone();
        let complete = self.model.is_complete();
        config.endpoints_held &= complete || self.published.endpoints_held;
        config.ptr_authoritative &= complete || self.published.ptr_authoritative;
        let servers = match self.model.cluster_dns() {
            Some(servers) => servers,
            None => self.published.cluster_dns.clone(),
        };
        for server in servers {
            if !config.cluster_dns.contains(&server) {
                config.cluster_dns.push(server);
            }
        }
        if config != self.published {
            self.writer
                .configure(&config)
                .context("cannot publish the configuration")?;
            tracing::info!(
                cluster_dns = config.cluster_dns.len(),
                "published the configuration"
            );
            self.published = config;
        }
        Ok(())
    }

    /// Marks the zone alive, and synced while every source can be followed.
    fn beat(&mut self) {
        let now = unix_now();
        if !self.asleep {
            self.writer.beat(now);
        }
        if self.broken.is_empty() && self.telemetry.is_ready() {
            self.writer.mark_synced(now);
            self.synced = now;
        }
        let state = self.writer.state() as u8;
        self.telemetry
            .zone(state, &self.writer.statistics(), now, self.synced);
    }

    /// Does what `nss-k8s disable` and `enable` asked for.
    fn follow_switch(&mut self) {
        let disabled = self.writer.state() == State::Disabled;
        match (self.switch.is_off(), disabled) {
            (true, false) => {
                self.writer.disable();
                tracing::warn!("the kill switch was set: every process passes");
            }
            (false, true) => {
                self.writer.enable();
                if self.telemetry.is_ready() {
                    // Lifting the switch proves nothing about the watches.
                    if self.broken.is_empty() {
                        self.synced = unix_now();
                    }
                    self.writer.set_synced(self.synced);
                }
                tracing::warn!("the kill switch was lifted");
            }
            _ => {}
        }
    }
}

/// The writer as the model sees it.
struct Zone<'a>(&'a mut Writer);

impl Sink for Zone<'_> {
    fn put_namespace(&mut self, name: &str) -> Result<bool, WriteError> {
        self.0.put_namespace(name)
    }
    fn delete_namespace(&mut self, name: &str) -> Result<bool, WriteError> {
        self.0.delete_namespace(name)
    }
    fn put_service(&mut self, key: &ServiceKey, body: &ServiceBody) -> Result<bool, WriteError> {
        self.0.put_service(key, body)
    }
    fn delete_service(&mut self, key: &ServiceKey) -> Result<bool, WriteError> {
        self.0.delete_service(key)
    }
    fn put_slice(
        &mut self,
        key: &ServiceKey,
        id: SliceId,
        slice: &Slice,
    ) -> Result<bool, WriteError> {
        self.0.put_slice(key, id, slice)
    }
    fn delete_slice(&mut self, key: &ServiceKey, id: SliceId) -> Result<bool, WriteError> {
        self.0.delete_slice(key, id)
    }
}

/// What an adopted zone holds.
fn held(writer: &Writer) -> Held {
    let mut held = Held::default();
    for entry in writer.entries() {
        match entry {
            Entry::Namespace(name) => {
                held.namespaces.insert(name);
            }
            Entry::Service { key, body, slices } => {
                held.slices
                    .extend(slices.keys().map(|id| (key.clone(), *id)));
                if body.is_some() {
                    held.services.insert(key);
                }
            }
        }
    }
    held
}

/// Unix seconds.
pub fn unix_now() -> Now {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Now(since.unwrap_or_default().as_secs())
}

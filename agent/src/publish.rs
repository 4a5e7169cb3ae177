//! Owns the zones' writers: applies what the model wants, keeps the zones alive, reclaims space,
//! follows the kill switch and the configuration. One task does all of it, so each zone has one
//! writer in this process too.

use crate::{
    config::Config,
    model::{Event, Exposure, Model, Settings, Source},
    switch::Switch,
    table::Table,
    telemetry::Telemetry,
    views::Views,
};
use anyhow::{Context, Result};
use assign::Assigned;
use nss_k8s_zone::{Now, Options, ServiceKey, State, WriteError};
use prometheus_client::metrics::gauge::Gauge;
use std::{
    collections::BTreeSet,
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval},
};

mod assign;
mod assignment;
mod tell;

pub use tell::{Linked, Told};

/// Events that one flush covers at most; also the length of the queue.
pub const BATCH: usize = 1024;

/// How often the kill switch is looked at.
const SWITCH_EVERY: Duration = Duration::from_millis(200);

/// How often the zone is marked alive, figures are taken, and refused changes are tried again.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// What the sources send.
#[derive(Debug)]
pub enum Message {
    /// Something about an object or a list; when it was received, unless it is part of a list.
    Event(Source, Event, Option<Instant>),
    /// The source cannot be followed at present.
    Broken(Source),
    /// It can again.
    Healthy(Source),
}

/// What the publisher tells other tasks.
#[derive(Clone)]
pub struct News {
    /// Which zone a pod of each namespace has, for who links their directories.
    pub table: watch::Receiver<Told>,
    /// The addresses of the forwarder's default upstream; empty until known.
    pub cluster_dns: watch::Receiver<Vec<IpAddr>>,
}

/// The task's state.
pub struct Publisher {
    views: Views,
    model: Model,
    sources: Vec<Source>,
    config: watch::Receiver<Arc<Config>>,
    switch: Switch,
    telemetry: Arc<Telemetry>,
    broken: BTreeSet<Source>,
    /// When the events were received that are not published yet.
    received: Vec<Instant>,
    synced: Now,
    /// The adopted zone was old: it is not marked alive before everything is listed.
    asleep: bool,
    /// Namespaces that are named as top-level domains, as the guard wants them.
    guarded: BTreeSet<String>,
    guarded_figure: Gauge,
    base: PathBuf,
    assigned: Assigned,
    told: watch::Sender<Told>,
    linked: mpsc::UnboundedReceiver<Linked>,
    cluster_dns: watch::Sender<Vec<IpAddr>>,
}

impl Publisher {
    /// Opens the zones, going on with those that are there.
    pub fn open(
        options: Options,
        sources: Vec<Source>,
        mut config: watch::Receiver<Arc<Config>>,
        telemetry: Arc<Telemetry>,
        linked: mpsc::UnboundedReceiver<Linked>,
    ) -> Result<(Self, News)> {
        let base = options.directory.clone();
        let switch = Switch::new(&options.directory);
        let now = unix_now();
        let current = Arc::clone(&config.borrow_and_update());
        let settings = settings(&current, &sources)?;
        let before = Table::read(&base).unwrap_or_else(|error| {
            tracing::warn!("{error:#}");
            None
        });
        let classes = current.classes_in_full();
        let hides = current.has_views();
        let mut views = Views::open(options, &classes, before.as_ref(), hides)?;
        if switch.is_off() {
            views.disable();
            tracing::warn!("the kill switch is set: every process passes");
        } else {
            views.enable();
        }
        // A zone that nobody kept for so long is no better for an agent that has listed nothing yet.
        let age = now.0.saturating_sub(views.alive_before.0);
        let asleep = views.adopted && age > u64::from(current.processes.stale_after);
        if asleep {
            tracing::warn!("the adopted zone is old: it counts again once everything is listed");
        } else {
            views.beat(now);
        }
        let model = Model::new(settings, views.held());
        let guarded_figure = Gauge::default();
        telemetry.extend(|registry| {
            let help = "Namespaces that are named as top-level domains; tld_guard is not off";
            registry.register("tld_namespaces", help, guarded_figure.clone());
        });
        let (told, table) = watch::channel(Told::default());
        let assigned = Assigned::register(before.unwrap_or_default(), &telemetry);
        let (cluster_dns, addresses) = watch::channel(Vec::new());
        let news = News {
            table,
            cluster_dns: addresses,
        };
        let this = Self {
            views,
            model,
            sources,
            config,
            switch,
            telemetry,
            broken: BTreeSet::new(),
            received: Vec::new(),
            synced: Now(0),
            asleep,
            guarded: BTreeSet::new(),
            guarded_figure,
            base,
            assigned,
            told,
            linked,
            cluster_dns,
        };
        Ok((this, news))
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
        // Nothing can be right about a configuration that cannot be published from the start.
        self.configure()
            .context("cannot publish the configuration")?;
        self.assign();
        self.publish();
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
                Ok(()) = self.config.changed() => self.reconfigure(),
                Some(linked) = self.linked.recv() => self.follow_pods(linked),
                () = wake => {}
                _ = switch.tick() => self.follow_switch(),
                _ = beat.tick() => {
                    self.model.retry();
                    self.assign_again();
                    self.beat();
                }
            }
            self.publish();
            reclaim = self.views.advance(Instant::now());
        }
        self.publish();
        self.beat();
        Ok(())
    }

    /// Takes one message in.
    fn receive(&mut self, message: Message) {
        match message {
            Message::Event(source, event, received) => {
                self.broken.remove(&source);
                self.received.extend(received);
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

    /// Follows a changed configuration: classes, what is served, and what processes are told.
    fn reconfigure(&mut self) {
        let config = Arc::clone(&self.config.borrow_and_update());
        match settings(&config, &self.sources) {
            Ok(settings) => self.model.configure(settings),
            Err(error) => tracing::error!("{error:#}"),
        }
        self.assign();
        self.look_for_top_levels();
    }

    /// Writes what differs; goes live when everything has been listed for the first time.
    fn publish(&mut self) {
        let flushed = self.model.flush(&mut self.views, Instant::now());
        for received in self.received.drain(..) {
            self.telemetry.published_after(received.elapsed());
        }
        let refused = flushed.failures.len() + flushed.repeated;
        self.telemetry.published(flushed.changes, refused);
        for (object, error) in &flushed.failures {
            tracing::error!(%object, %error, "cannot publish");
        }
        self.views.set_incomplete(self.model.lacks_space());
        if let Some(names) = self.model.changed_namespaces() {
            self.follow_namespaces(&names);
            self.follow_top_levels(&names);
        }
        if let Err(error) = self.configure() {
            tracing::error!(%error, "cannot publish the configuration; the old one stays");
        }
        if !self.telemetry.is_ready() && self.model.is_complete() {
            self.synced = unix_now();
            self.views.set_synced(self.synced);
            if core::mem::take(&mut self.asleep) {
                self.views.beat(self.synced);
            }
            self.telemetry.set_ready();
            if let Some(figures) = self.views.statistics() {
                tracing::info!(
                    namespaces = figures.namespaces,
                    services = figures.services,
                    slices = figures.slices,
                    serial = figures.serial,
                    "everything is listed and published"
                );
            }
        }
        for triggered in flushed.triggers {
            self.telemetry.programmed(triggered);
        }
    }

    /// Publishes each class's configuration when it differs. What it promises beyond what an adopted
    /// zone's did holds only once everything is listed, and the cluster's name servers stay those
    /// of the adopted zone until the Service is known.
    fn configure(&mut self) -> Result<(), WriteError> {
        let config = Arc::clone(&self.config.borrow());
        let complete = self.model.is_complete();
        let servers = self.model.cluster_dns();
        let mut first_error = Ok(());
        for view in self.views.iter_mut().filter(|view| !view.leaves()) {
            let shown = |name: &&String| view.shown.holds(name);
            let guarded: Vec<_> = self.guarded.iter().filter(shown).cloned().collect();
            let mut record = config.record(&view.class, &guarded);
            record.endpoints_held &= complete || view.published.endpoints_held;
            record.ptr_authoritative &= complete || view.published.ptr_authoritative;
            let known = servers.as_ref().unwrap_or(&view.published.cluster_dns);
            for server in known.clone() {
                if !record.cluster_dns.contains(&server) {
                    record.cluster_dns.push(server);
                }
            }
            let servers = record.cluster_dns.len();
            match view.configure(record) {
                Ok(true) => tracing::info!(
                    view = view.name,
                    cluster_dns = servers,
                    "published the configuration"
                ),
                Ok(false) => {}
                Err(error) => first_error = first_error.and(Err(error)),
            }
        }
        self.tell_cluster_dns(&config);
        first_error
    }

    /// Marks the zones alive, and synced while every source can be followed.
    fn beat(&mut self) {
        let now = unix_now();
        if !self.asleep {
            self.views.beat(now);
        }
        if self.broken.is_empty() && self.telemetry.is_ready() {
            self.views.mark_synced(now);
            self.synced = now;
        }
        let state = self.views.state() as u8;
        if let Some(figures) = self.views.statistics() {
            self.telemetry.zone(state, &figures, now, self.synced);
        }
    }

    /// Does what `nss-k8s disable` and `enable` asked for.
    fn follow_switch(&mut self) {
        let disabled = self.views.state() == State::Disabled;
        match (self.switch.is_off(), disabled) {
            (true, false) => {
                self.views.disable();
                tracing::warn!("the kill switch was set: every process passes");
                self.assign();
            }
            (false, true) => {
                self.views.enable();
                if self.telemetry.is_ready() {
                    // Lifting the switch proves nothing about the watches.
                    if self.broken.is_empty() {
                        self.synced = unix_now();
                    }
                    self.views.set_synced(self.synced);
                }
                tracing::warn!("the kill switch was lifted");
                self.assign();
            }
            _ => {}
        }
    }
}

/// What the model needs to know of a configuration.
fn settings(config: &Config, sources: &[Source]) -> Result<Settings> {
    let kubernetes = &config.kubernetes;
    let service = kubernetes.cluster_dns_service.as_ref();
    let service = service.map(|service| ServiceKey::new(&service.name, &service.namespace));
    Ok(Settings {
        sources: sources.to_vec(),
        all_slices: config.holds_all_slices(),
        grace: kubernetes.endpoint_grace.duration(),
        cluster_dns: service.transpose()?,
        exposure: Exposure {
            names: kubernetes.namespaces.clone(),
            labels: kubernetes.namespace_labels.clone(),
        },
        ignore_empty: kubernetes.ignore_empty_service,
    })
}

/// Unix seconds.
pub fn unix_now() -> Now {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Now(since.unwrap_or_default().as_secs())
}

#[cfg(test)]
mod tests;

//! Owns the zones' writers: applies what the model wants, keeps the zones alive, reclaims space,
//! follows the kill switch and the configuration. One task does all of it, so each zone has one
//! writer in this process too.

use crate::{
    config::{Config, GuardMode},
    model::{Event, Exposure, Labels, Model, Settings, Source},
    switch::Switch,
    telemetry::Telemetry,
    top_level::is_top_level,
    views::Views,
};
use anyhow::{Context, Result};
use nss_k8s_zone::{Now, Options, ServiceKey, State, WriteError};
use prometheus_client::metrics::gauge::Gauge;
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
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

/// The namespaces of the cluster with their labels; `None` until they are listed.
pub type Namespaces = Option<Arc<BTreeMap<String, Labels>>>;

/// What the publisher tells other tasks.
#[derive(Clone)]
pub struct News {
    /// The namespaces, for whoever sorts pods into classes.
    pub namespaces: watch::Receiver<Namespaces>,
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
    synced: Now,
    /// The adopted zone was old: it is not marked alive before everything is listed.
    asleep: bool,
    /// Namespaces that are named as top-level domains, as the guard wants them.
    guarded: Vec<String>,
    guarded_figure: Gauge,
    namespaces: watch::Sender<Namespaces>,
    cluster_dns: watch::Sender<Vec<IpAddr>>,
}

impl Publisher {
    /// Opens the zones, going on with those that are there.
    pub fn open(
        options: Options,
        sources: Vec<Source>,
        mut config: watch::Receiver<Arc<Config>>,
        telemetry: Arc<Telemetry>,
    ) -> Result<(Self, News)> {
        let switch = Switch::new(&options.directory);
        let now = unix_now();
        let current = Arc::clone(&config.borrow_and_update());
        let settings = settings(&current, &sources)?;
        let mut views = Views::open(options, &current.all_classes())?;
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
        let (namespaces, followed) = watch::channel(None);
        let (cluster_dns, addresses) = watch::channel(Vec::new());
        let news = News {
            namespaces: followed,
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
            synced: Now(0),
            asleep,
            guarded: Vec::new(),
            guarded_figure,
            namespaces,
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
                () = wake => {}
                _ = switch.tick() => self.follow_switch(),
                _ = beat.tick() => {
                    self.model.retry();
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

    /// Follows a changed configuration: classes, what is served, and what processes are told.
    fn reconfigure(&mut self) {
        let config = Arc::clone(&self.config.borrow_and_update());
        match settings(&config, &self.sources) {
            Ok(settings) => self.model.configure(settings),
            Err(error) => tracing::error!("{error:#}"),
        }
        let synced = self.telemetry.is_ready().then_some(self.synced);
        if let Err(error) = self.views.align(&config.all_classes(), synced) {
            tracing::error!("cannot publish every class: {error:#}");
        }
        self.look_for_top_levels();
        if !self.asleep {
            self.views.beat(unix_now());
        }
    }

    /// Writes what differs; goes live when everything has been listed for the first time.
    fn publish(&mut self) {
        let flushed = self.model.flush(&mut self.views, Instant::now());
        self.telemetry
            .published(flushed.changes, flushed.failures.len());
        for (object, error) in &flushed.failures {
            tracing::error!(%object, %error, "cannot publish");
        }
        self.views.set_incomplete(self.model.lacks_space());
        if self.model.namespaces_changed() {
            self.tell_namespaces();
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
        for view in self.views.iter_mut() {
            let mut record = config.record(view.external, &self.guarded);
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
                    class = view.class,
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

    /// Tells the forwarder where its default upstream is. Not the further addresses of the cluster's
    /// name servers: a node-local one may be ours.
    fn tell_cluster_dns(&self, config: &Config) {
        let service = config.forward.upstream_service.as_ref();
        let service = service.unwrap_or(&config.kubernetes.cluster_dns_service);
        let key = ServiceKey::new(&service.name, &service.namespace);
        let Some(addresses) = key.ok().and_then(|key| self.model.addresses(&key)) else {
            return;
        };
        let addresses: Vec<_> = addresses.iter().map(crate::status::ip).collect();
        self.cluster_dns.send_if_modified(|told| {
            let changed = *told != addresses;
            if changed {
                *told = addresses;
            }
            changed
        });
    }

    /// Tells other tasks which namespaces there are, and finds those that the guard is about.
    fn tell_namespaces(&mut self) {
        let owned = |(name, labels): (&str, &Labels)| (name.to_owned(), labels.clone());
        let all = self.model.namespaces();
        let all = all.map(|all| Arc::new(all.map(owned).collect()));
        self.namespaces.send_replace(all);
        self.look_for_top_levels();
    }

    /// Finds the namespaces that are named as top-level domains.
    fn look_for_top_levels(&mut self) {
        let config = Arc::clone(&self.config.borrow());
        let guard = &config.tld_guard;
        let mut found = Vec::new();
        if guard.mode != GuardMode::Off {
            let all = self.model.namespaces().into_iter().flatten();
            let names = all.map(|(name, _)| name);
            let public = |name: &&str| {
                let counts = is_top_level(name) || guard.also.iter().any(|also| also == name);
                counts && !guard.except.iter().any(|except| except == name)
            };
            found.extend(names.filter(public).map(str::to_owned));
            found.sort();
        }
        for name in found.iter().filter(|name| !self.guarded.contains(name)) {
            let guarded = guard.mode == GuardMode::On;
            tracing::warn!(
                namespace = name,
                guarded,
                "a namespace is named as a top-level domain: names such as \
                 example.{name} may mean a service in it"
            );
        }
        self.guarded_figure
            .set(i64::try_from(found.len()).unwrap_or(i64::MAX));
        self.guarded = found;
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
            }
            _ => {}
        }
    }
}

/// What the model needs to know of a configuration.
fn settings(config: &Config, sources: &[Source]) -> Result<Settings> {
    let kubernetes = &config.kubernetes;
    let service = &kubernetes.cluster_dns_service;
    Ok(Settings {
        sources: sources.to_vec(),
        all_slices: config.holds_all_slices(),
        grace: kubernetes.endpoint_grace.duration(),
        cluster_dns: ServiceKey::new(&service.name, &service.namespace)?,
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

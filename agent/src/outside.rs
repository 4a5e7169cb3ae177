//! Names outside the zone: starts what asks for them and answers on sockets, as soon as the
//! configuration wants it, and lets it follow. Its failures leave the zone alone.

use crate::{
    answer::{Answerer, Policy, Upstreams},
    config::Config,
    forward::{Change, Forwarder, Metrics, Settings, Sockets, socket::Limits},
    listen,
    pods::Served,
    publish::{News, Told},
    switch::zone_path,
    telemetry::Telemetry,
};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};

/// The port of DNS servers.
const DNS: u16 = 53;

/// How soon is tried again what could not be started; each time twice as late.
const AGAIN_FIRST: Duration = Duration::from_secs(1);
/// How late at most.
const AGAIN_LAST: Duration = Duration::from_secs(30);

/// What the parts outside of the zone are made of.
pub struct Outside {
    /// The base directory.
    pub base: PathBuf,
    /// The configuration in force.
    pub config: watch::Receiver<Arc<Config>>,
    /// What the publisher knows.
    pub news: News,
    /// Where figures go.
    pub telemetry: Arc<Telemetry>,
    /// Tells who serves pods' sockets.
    pub sockets: watch::Sender<Served<Answerer>>,
    /// Takes the news of what the forwarder holds, once there is one.
    pub held: oneshot::Sender<mpsc::Receiver<Change>>,
}

/// What runs.
struct Running {
    forwarder: Forwarder,
    answerer: Arc<Answerer>,
    listener: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

impl Outside {
    /// Runs until `stop`; then lets the listener answer what has come.
    pub async fn run(mut self, mut stop: oneshot::Receiver<()>) {
        // Without a class that it asks for, and without a listener, the node sends no query at all.
        tokio::select! {
            _ = &mut stop => return,
            needed = self.config.wait_for(|config| config.needs_forwarder()) => if needed.is_err() {
                return;
            },
        }
        let (mut config, mut cluster_dns) = (self.config.clone(), self.news.cluster_dns.clone());
        let mut table = self.news.table.clone();
        let Some(running) = self.start(&mut stop).await else {
            return;
        };
        loop {
            let addresses = dns_addresses(&cluster_dns.borrow_and_update());
            running.forwarder.set_cluster_dns(&addresses);
            let view = listener_view(&config.borrow(), &table.borrow_and_update());
            running.answerer.listen_by(view.as_deref());
            tokio::select! {
                _ = &mut stop => break,
                changed = config.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let current = Arc::clone(&config.borrow_and_update());
                    running.forwarder.reconfigure(settings(&current));
                }
                Ok(()) = cluster_dns.changed() => {}
                Ok(()) = table.changed() => {}
            }
        }
        // A listener that is gone already needs no stopping.
        let _ = running.stop.send(());
        let _ = running.listener.await;
    }

    /// Starts the forwarder, the sockets and the listener, trying again what fails; `None` when it
    /// was stopped before.
    async fn start(self, stop: &mut oneshot::Receiver<()>) -> Option<Running> {
        let current = Arc::clone(&self.config.borrow());
        let metrics = Metrics::new();
        self.telemetry.extend(|registry| metrics.register(registry));
        let (forwarder, changes) = Forwarder::start(settings(&current), metrics.clone());
        // Without a reader there is no news.
        let _ = self.held.send(changes);
        let zone = zone_path(&self.base);
        let upstreams: Arc<dyn Upstreams> = Arc::new(forwarder.clone());
        let open = || Answerer::new(&zone, Policy::new(&current), Arc::clone(&upstreams));
        let mut pause = AGAIN_FIRST;
        let answerer = loop {
            match open() {
                Ok(answerer) => break Arc::new(answerer),
                Err(error) => {
                    let (zone, error) = (zone.display(), format!("{error:#}"));
                    let again_in = pause.as_secs();
                    tracing::error!(%zone, error, again_in, "names outside the zone are not forwarded");
                }
            }
            tokio::select! {
                _ = &mut *stop => return None,
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(AGAIN_LAST),
            }
        };
        self.telemetry
            .extend(|registry| answerer.metrics().register(registry));
        let limits = Limits::of(&current.forward);
        let serving = Sockets::new(Arc::clone(&answerer), limits, metrics);
        self.sockets.send_replace(Some(Arc::new(serving)));
        let (stop, stopped) = oneshot::channel();
        let listener = listen::run(Arc::clone(&answerer), self.config, stopped);
        let listener = tokio::spawn(listener);
        tracing::info!("forwarding names outside the zone");
        Some(Running {
            forwarder,
            answerer,
            listener,
            stop,
        })
    }
}

/// The view that the listener answers from, if it has one of its own and that is known.
fn listener_view(config: &Config, told: &Told) -> Option<String> {
    let namespace = config.listen.as_ref()?.namespace.as_ref()?;
    let entry = told.table.as_ref()?.entry(namespace)?;
    Some(entry.view.clone())
}

/// The forwarder's part of the configuration.
fn settings(config: &Config) -> Settings {
    let settings = Settings::of(&config.forward, &config.kubernetes.cluster_domain);
    Settings {
        hides_cluster: config.has_views(),
        ..settings
    }
}

/// Where DNS servers at these addresses listen.
fn dns_addresses(addresses: &[IpAddr]) -> Vec<SocketAddr> {
    let addresses = addresses.iter();
    addresses
        .map(|address| SocketAddr::new(*address, DNS))
        .collect()
}

//! Watches of the API server: each is one task that lists a kind of objects, follows its changes,
//! and tells the model. Course and pauses are pure; what they say is done by the follower.
//!
//! Lists are streamed where the server can (`sendInitialEvents`), else paged: a server that refuses
//! to stream is not asked again by this process. An object that cannot be decoded is counted and
//! skipped; a watch that fails is tried again, for ever. All watches learn from the first that
//! reaches the server again. What a watch was told is kept beside the zone, and the next agent
//! goes on from there (decision 0060).

mod connect;
mod course;
mod decode;
mod failure;
mod follow;
mod journal;
mod judge;
mod pause;
#[doc(hidden)]
pub mod proofs;
mod transport;

pub use connect::{Server, connect};
pub(crate) use journal::{FORMAT, Journal, Record, What};
pub(crate) use judge::judge;

use crate::{
    config::{Config, Selector},
    model::Source,
    parse::Parsed,
    publish::Message,
    telemetry::Telemetry,
};
use anyhow::Result;
use follow::Follower;
use kube::Client;
use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};
use tokio::sync::{Notify, mpsc, watch as latest};
use transport::Wanted;

/// The selector for slices of headless services; the controller labels them.
const HEADLESS: &str = "service.kubernetes.io/headless";

/// The selector for slices that the controller did not write: by hand, or mirrored. With the one
/// above it covers what DNS needs, and leaves out what only kube-proxy needs.
const UNMANAGED: &str = "!service.kubernetes.io/headless,\
    endpointslice.kubernetes.io/managed-by!=endpointslice-controller.k8s.io";

/// The selector for what the two above leave.
const PROXIED: &str = "!service.kubernetes.io/headless,\
    endpointslice.kubernetes.io/managed-by=endpointslice-controller.k8s.io";

/// Where what watches say goes.
#[derive(Clone)]
enum Outlet {
    /// To the model of this process; it is kept for the agent after this one.
    Model(mpsc::Sender<Message>),
    /// On to others, as records.
    Records(mpsc::Sender<(Source, Said)>),
}

/// What a watch says to be sent on.
#[derive(Debug)]
pub(crate) enum Said {
    /// A list begins.
    Begin,
    /// An object; within a list without a version.
    Record(Record),
    /// The list is complete as of a version.
    Complete(String),
    /// The cluster's storage was restored: versions are lower from now on. A list follows.
    Restored,
    /// The watch does not work at present.
    Broken,
    /// It does again.
    Healthy,
}

/// What all watches share.
#[derive(Clone)]
pub struct Watches {
    client: Client,
    /// Which server it is.
    server: Arc<str>,
    /// Where journals are kept.
    journals: Arc<Path>,
    outlet: Outlet,
    telemetry: Arc<Telemetry>,
    /// All slices are three lists.
    parted: bool,
    /// The server streams lists, as far as we know.
    streams: Arc<AtomicBool>,
    /// Rings when the server was reached again.
    reached: Arc<Notify>,
    /// How often a watch found that the storage was restored: what one finds counts for all.
    restored: latest::Sender<u64>,
}

impl Watches {
    /// A connection for watches, by `kubeconfig` as [`connect()`] says. Only reads files.
    pub async fn connect(kubeconfig: Option<&Path>) -> Result<Server> {
        connect::connect_once(kubeconfig).await
    }

    /// Nothing is asked before the first `run`. What is to be kept goes below the base directory.
    pub fn new(
        server: Server,
        base: &Path,
        outbox: mpsc::Sender<Message>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        Self::to(server, base, Outlet::Model(outbox), telemetry)
    }

    /// Watches whose words are sent on; nothing is kept of them.
    pub(crate) fn relay(
        server: Server,
        records: mpsc::Sender<(Source, Said)>,
        telemetry: Arc<Telemetry>,
    ) -> Self {
        let outlet = Outlet::Records(records);
        Self::to(server, Path::new(""), outlet, telemetry).parted()
    }

    /// The same with all slices as three lists.
    pub(crate) fn parted(mut self) -> Self {
        self.parted = true;
        self
    }

    /// Where journals of watches are kept.
    pub(crate) fn journals(base: &Path) -> PathBuf {
        base.join("private/watch")
    }

    fn to(server: Server, base: &Path, outlet: Outlet, telemetry: Arc<Telemetry>) -> Self {
        Self {
            client: server.client,
            server: server.identity.into(),
            journals: Self::journals(base).into(),
            outlet,
            telemetry,
            parted: false,
            streams: Arc::new(AtomicBool::new(true)),
            reached: Arc::new(Notify::new()),
            restored: latest::Sender::new(0),
        }
    }

    /// The sources to watch.
    pub fn sources(all_slices: bool) -> Vec<Source> {
        let mut sources = vec![Source::Namespaces, Source::Services, Source::Slices];
        if !all_slices {
            sources.push(Source::OtherSlices);
        }
        sources
    }

    /// Follows one source for ever; returns only when the publisher is gone. It begins after a random
    /// part of `jitter`, or soon where nothing needs to be listed. Another selector means another list,
    /// whose differences count.
    pub async fn run(
        self,
        source: Source,
        mut config: latest::Receiver<Arc<Config>>,
        mut jitter: Duration,
    ) -> Result<()> {
        loop {
            let current = Arc::clone(&config.borrow_and_update());
            let changed = async {
                while config.changed().await.is_ok() {
                    if config.borrow().kubernetes.labels != current.kubernetes.labels {
                        return;
                    }
                }
                core::future::pending().await
            };
            tokio::select! {
                ended = self.select(source, &current, jitter) => return ended,
                () = changed, if source != Source::Namespaces => jitter = Duration::ZERO,
            }
        }
    }

    /// Follows one source by the labels that are configured.
    async fn select(&self, source: Source, current: &Config, jitter: Duration) -> Result<()> {
        let (path, kind) = resource(source);
        let wanted = Wanted {
            path,
            only_metadata: source == Source::Namespaces,
            selector: selector(source, current, self.parted),
        };
        let identity = format!("{} {wanted:?}", self.server);
        let journal = Journal::new(self.journals.join(source.as_str()), identity);
        let follower = Follower::new(self, source, wanted, kind, journal);
        follower.run(jitter).await
    }
}

/// What a source lists, and how it is read.
fn resource(source: Source) -> (&'static str, decode::Kind) {
    match source {
        Source::Namespaces => ("/api/v1/namespaces", decode::NAMESPACE),
        Source::Services => ("/api/v1/services", decode::SERVICE),
        Source::Slices | Source::OtherSlices | Source::ProxySlices => {
            ("/apis/discovery.k8s.io/v1/endpointslices", decode::SLICE)
        }
    }
}

/// Reads the object of a record; `None`: it is none.
pub(crate) fn restore(source: Source, what: What, object: &[u8]) -> Option<Parsed> {
    let (_, kind) = resource(source);
    (kind.restore)(what, object)
}

/// The label selector with which a source is watched. `parted`: all slices are three lists, each slice
/// in one of them, instead of one.
pub(crate) fn selector(source: Source, config: &Config, parted: bool) -> Option<String> {
    let ours = match source {
        Source::Namespaces => return None,
        Source::Services => None,
        Source::Slices | Source::OtherSlices if config.holds_all_slices() && !parted => None,
        Source::Slices => Some(HEADLESS.to_owned()),
        Source::OtherSlices => Some(UNMANAGED.to_owned()),
        Source::ProxySlices => Some(PROXIED.to_owned()),
    };
    let labels = config.kubernetes.labels.as_ref().map(Selector::to_string);
    let both: Vec<_> = ours.into_iter().chain(labels).collect();
    (!both.is_empty()).then(|| both.join(","))
}

//! The server by itself: where it listens, what it was asked, what it is to do.

use super::{
    answer::answer,
    faults::Rule,
    store::Store,
    wire::{Door, Hand, Wires},
};
use crate::scale::{Change, Changes, Cluster, Kind, Stamp};
use anyhow::{Context, Result};
use axum::{Router, http::Uri};
use core::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};
use serde_json::json;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use tokio::sync::{oneshot, watch};

/// How often watches hear that nothing happened, as a real server has it.
const BOOKMARKS: Duration = Duration::from_secs(60);

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// A page of a list.
    Page,
    /// The version of the storage: a list of one object by its name.
    Newest,
    /// A list as a stream, which goes on as a watch.
    StreamedList,
    /// Changes after a version.
    Watch,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Asked {
    /// When it came.
    pub at: Instant,
    /// For which objects.
    pub kind: Kind,
    /// For what.
    pub request: Request,
    /// In full.
    pub uri: String,
}

/// A server that runs until it is dropped.
pub struct FakeApi {
    shared: Arc<Shared>,
    address: SocketAddr,
    wires: Wires,
    _running: oneshot::Sender<()>,
}

/// What handlers and tests share.
pub(super) struct Shared {
    /// What objects are; the same as in the store.
    pub(super) cluster: Cluster,
    store: Mutex<Store>,
    rules: Mutex<Vec<Rule>>,
    asked: Mutex<Vec<Asked>>,
    listed: Mutex<Vec<(Kind, Instant)>>,
    bookmarks: Mutex<Duration>,
    refuses_streams: AtomicBool,
    news: watch::Sender<u64>,
}

impl FakeApi {
    /// Starts a server of a cluster on a port of loopback.
    pub fn start(cluster: Cluster) -> Result<Self> {
        Self::start_at(cluster, SocketAddr::from(([127, 0, 0, 1], 0)))
    }

    /// The same at an address.
    pub fn start_at(cluster: Cluster, address: SocketAddr) -> Result<Self> {
        let listener = std::net::TcpListener::bind(address).context("cannot listen")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let store = Store::new(cluster.clone());
        let (news, _) = watch::channel(store.version);
        let shared = Arc::new(Shared {
            cluster,
            store: Mutex::new(store),
            rules: Mutex::default(),
            asked: Mutex::default(),
            listed: Mutex::default(),
            bookmarks: Mutex::new(BOOKMARKS),
            refuses_streams: AtomicBool::new(false),
            news,
        });
        let wires = Wires::default();
        let (running, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let door = Door {
            listener,
            wires: wires.clone(),
        };
        let routes = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&shared))
            .into_make_service_with_connect_info::<Hand>();
        thread::Builder::new()
            .name("fake-api".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        served = async { axum::serve(door, routes).await } => {
                            served.expect("a server that only ends when told to");
                        }
                        // Its handle is gone. With the runtime all connections go.
                        _ = stopped => {}
                    }
                });
            })?;
        Ok(Self {
            shared,
            address,
            wires,
            _running: running,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A kubeconfig for it.
    pub fn kubeconfig(&self) -> String {
        let server = format!("http://{}", self.address);
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": server}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        })
        .to_string()
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        &self.shared.cluster
    }

    /// Something happens, and watches are told; the objects that it changed, as they are then.
    pub fn apply(&self, change: Change) -> Vec<(Kind, usize, Stamp)> {
        let (changed, version) = {
            let mut store = self.shared.store();
            let changed = store.apply(change, now());
            (changed, store.version)
        };
        self.shared.news.send_replace(version);
        changed
    }

    /// Lets `rate` things a second happen for a while, evenly, and calls `each` after each one: what
    /// it changed, and when it began.
    pub fn happen(
        &self,
        changes: &mut Changes,
        rate: u32,
        during: Duration,
        mut each: impl FnMut(Vec<(Kind, usize, Stamp)>, Instant),
    ) {
        let began = Instant::now();
        let total = (f64::from(rate) * during.as_secs_f64()) as u32;
        for (at, change) in (0..total).zip(changes) {
            let due = began + during.mul_f64(f64::from(at) / f64::from(total));
            while let Some(left) = due.checked_duration_since(Instant::now()) {
                thread::park_timeout(left);
            }
            let begins = Instant::now();
            let changed = self.apply(change);
            each(changed, begins);
        }
    }

    /// How often an object was changed.
    pub fn generation(&self, kind: Kind, index: usize) -> u32 {
        self.shared.store().stamps(kind)[index].generation
    }

    /// Writes an object so that its kind's fields have the wrong types, or well again.
    pub fn malform(&self, kind: Kind, index: usize, broken: bool) {
        let version = {
            let mut store = self.shared.store();
            match broken {
                true => store.malformed.insert((kind, index)),
                false => store.malformed.remove(&(kind, index)),
            };
            store.touch(kind, index, 0, now());
            store.version
        };
        self.shared.news.send_replace(version);
    }

    /// Makes requests fail.
    pub fn inject(&self, rule: Rule) {
        self.shared.rules().push(rule);
    }

    /// Takes all rules back.
    pub fn heal(&self) {
        self.shared.rules().clear();
    }

    /// `sendInitialEvents` is answered with 500, as an API server on an old etcd does.
    pub fn refuse_streams(&self, refuses: bool) {
        self.shared.refuses_streams.store(refuses, Ordering::SeqCst);
    }

    /// How often watches that are opened from now on hear that nothing happened.
    pub fn bookmark_every(&self, period: Duration) {
        *lock(&self.shared.bookmarks) = period;
    }

    /// Forgets what happened: watches cannot go on from before, tokens name lists that are gone.
    pub fn compact(&self) {
        self.shared.store().compact();
    }

    /// Ends every connection, wherever it is.
    pub fn disconnect(&self) {
        self.wires.cut();
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.wires.open()
    }

    /// Bytes that it has sent.
    pub fn sent(&self) -> u64 {
        self.wires.sent()
    }

    /// What it was asked for so far.
    pub fn asked(&self) -> Vec<Asked> {
        lock(&self.shared.asked).clone()
    }

    /// Forgets what it was asked for and has listed.
    pub fn forget_requests(&self) {
        lock(&self.shared.asked).clear();
        lock(&self.shared.listed).clear();
    }

    /// When the last bytes of lists went out.
    pub fn listed(&self) -> Vec<(Kind, Instant)> {
        lock(&self.shared.listed).clone()
    }
}

impl Shared {
    pub(super) fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.store)
    }

    pub(super) fn rules(&self) -> MutexGuard<'_, Vec<Rule>> {
        lock(&self.rules)
    }

    pub(super) fn note(&self, kind: Kind, request: Request, uri: &Uri) {
        lock(&self.asked).push(Asked {
            at: Instant::now(),
            kind,
            request,
            uri: uri.to_string(),
        });
    }

    pub(super) fn listed(&self, kind: Kind) {
        lock(&self.listed).push((kind, Instant::now()));
    }

    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    pub(super) fn bookmarks(&self) -> Duration {
        *lock(&self.bookmarks)
    }

    pub(super) fn refuses_streams(&self) -> bool {
        self.refuses_streams.load(Ordering::SeqCst)
    }
}

/// A test that failed elsewhere leaves what it did.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Milliseconds of Unix time.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_millis() as u64
}

//! The forwarder: external names, asked once for the whole node, of the right upstream, and
//! remembered. It does not know the zone, rules or classes' rights; who calls it does.
//!
//! ```text
//!   forward.sock --\                       cache (fresh? stale?) --> Answer
//!   listener -------+-> resolve(question)    |
//!   probes ---------/                      one flight per question
//!                                            |
//!                                          group by zone -> upstreams by policy and health
//!                                            |                 TCP, one question per connection
//!                                          Reply -> cache -> Change -> shared memory
//! ```
//!
//! `cache`, `pool`, `group`, `question` and `reply` are pure; `upstream` and `wire` speak with servers
//! through hickory; `flight` joins equal questions; `socket` serves processes; `probe` watches over
//! upstreams.

pub mod cache;
pub mod change;
mod descriptors;
mod flight;
mod group;
pub mod metrics;
mod once;
mod pool;
mod probe;
mod question;
mod reply;
mod service;
pub mod settings;
pub mod socket;
mod tls;
mod upstream;
mod wire;

pub use cache::CacheSettings;
pub use change::{Change, Family, Held};
pub use metrics::Metrics;
pub use once::{ask_once, is_agent};
pub use pool::PoolSettings;
pub use question::Question;
pub use reply::{Answer, Head, Lifetimes, Reply, Source, Verdict};
pub use settings::{GroupSettings, Policy, Settings, Transport, UpstreamSettings};
pub use socket::{Client, Service, Sockets};

use arc_swap::ArcSwap;
use cache::{Cache, Found};
use flight::Flights;
use group::Routing;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};
use tokio::{runtime::Handle, sync::mpsc};

/// How much news may wait for its reader.
const NEWS: usize = 4096;

/// A class of pods, by its name in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Class(Arc<str>);

impl Class {
    /// The class of this name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// The forwarder; clones are the same one.
#[derive(Clone)]
pub struct Forwarder(Arc<Inner>);

/// What all tasks share.
struct Inner {
    settings: ArcSwap<Settings>,
    routing: ArcSwap<Routing>,
    /// What routing is made of, and the lock of those who make it.
    cluster_dns: Mutex<Vec<SocketAddr>>,
    cache: Cache,
    /// How often the cache was emptied: an answer to a question from before is not kept.
    emptied: AtomicU64,
    flights: Flights,
    probes: probe::Tokens,
    news: mpsc::Sender<Change>,
    metrics: Metrics,
    runtime: Handle,
}

impl Forwarder {
    /// Starts it on the runtime that this is called on. The second is the news of what it holds for
    /// whom; without a reader there is none.
    pub fn start(settings: Settings, metrics: Metrics) -> (Self, mpsc::Receiver<Change>) {
        let (news, reader) = mpsc::channel(NEWS);
        descriptors::raise_limit();
        let inner = Arc::new(Inner {
            cache: Cache::new(&settings.cache),
            routing: ArcSwap::from_pointee(Routing::default()),
            settings: ArcSwap::from_pointee(settings),
            emptied: AtomicU64::new(0),
            cluster_dns: Mutex::new(Vec::new()),
            flights: Flights::default(),
            probes: probe::Tokens::default(),
            news,
            metrics,
            runtime: Handle::current(),
        });
        inner.route(&lock(&inner.cluster_dns));
        tokio::spawn(probe::tend(Arc::downgrade(&inner)));
        (Self(inner), reader)
    }

    /// Takes new settings. Upstreams that stay keep their connections; the cache is emptied if
    /// groups or its own settings changed, since answers may come from elsewhere now.
    pub fn reconfigure(&self, settings: Settings) {
        let inner = &self.0;
        let cluster_dns = lock(&inner.cluster_dns);
        let old = inner.settings.load_full();
        if *old == settings {
            return;
        }
        let forget = old.groups != settings.groups || old.cache != settings.cache;
        inner.settings.store(Arc::new(settings));
        inner.route(&cluster_dns);
        drop(cluster_dns);
        if forget {
            inner.emptied.fetch_add(1, Ordering::AcqRel);
            inner.cache.clear(&inner.settings.load().cache);
            let inner = Arc::clone(inner);
            // Unlike other news this must not get lost.
            self.0
                .runtime
                .spawn(async move { inner.news.send(Change::Clear).await });
        }
    }

    /// Where the cluster DNS is: the upstreams of groups that name none. It must be an address that
    /// no listener of ours takes over; the loop probe finds out.
    pub fn set_cluster_dns(&self, addresses: &[SocketAddr]) {
        let mut cluster_dns = lock(&self.0.cluster_dns);
        if *cluster_dns != addresses {
            *cluster_dns = addresses.to_vec();
            self.0.route(&cluster_dns);
        }
    }

    /// The answer to a question, from the cache or an upstream; SERVFAIL if there is none, REFUSED
    /// if too much is under way. It takes at most `Settings::timeout`. With a class, the answer
    /// becomes news for it. Dropping the future stops waiting, not the question.
    pub async fn resolve(&self, class: Option<&Class>, question: &Question) -> Answer {
        let inner = &self.0;
        if let Some(answer) = inner.probes.answer(question) {
            return answer;
        }
        let stale = match inner.cache.find(question, class, Instant::now()) {
            Found::Fresh {
                reply,
                age,
                refresh,
                new_to_class,
            } => {
                return inner.hit(class, question, reply, age, refresh, new_to_class);
            }
            Found::Stale { reply, rest } => {
                let stale = inner.stale(&reply);
                if rest {
                    inner.metrics.served_stale.inc();
                    return stale;
                }
                Some(stale)
            }
            Found::Nothing => None,
        };
        inner.metrics.misses.inc();
        inner.ask(class, question, stale).await
    }

    /// The answer to a question if the cache has it within its time; needs no runtime and waits
    /// for nothing. Otherwise nothing is counted, and `resolve` is the way.
    pub fn cached(&self, class: Option<&Class>, question: &Question) -> Option<Answer> {
        match self.0.cache.find(question, class, Instant::now()) {
            Found::Fresh {
                reply,
                age,
                refresh,
                new_to_class,
            } => Some(
                self.0
                    .hit(class, question, reply, age, refresh, new_to_class),
            ),
            _ => None,
        }
    }

    /// The upstreams that a question goes to, healthy ones first, for explanations.
    pub fn upstreams(&self, question: &Question) -> Vec<SocketAddr> {
        let routing = self.0.routing.load();
        let Some(group) = routing.group(question) else {
            return Vec::new();
        };
        let (mut up, down): (Vec<_>, Vec<_>) = group
            .upstreams
            .iter()
            .partition(|it| it.is_up() && !it.is_looping());
        up.extend(down);
        up.iter().map(|it| it.settings.address).collect()
    }

    /// Its figures.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }
}

impl Inner {
    /// Makes the groups anew. The caller holds the lock of the addresses.
    fn route(&self, cluster_dns: &[SocketAddr]) {
        let old = self.routing.load_full();
        let settings = self.settings.load();
        let routing = Routing::new(&settings, cluster_dns, &old, &self.metrics);
        self.routing.store(Arc::new(routing));
    }

    /// An answer of the cache.
    fn hit(
        self: &Arc<Self>,
        class: Option<&Class>,
        question: &Question,
        reply: Arc<Reply>,
        age: u32,
        refresh: bool,
        new_to_class: bool,
    ) -> Answer {
        self.metrics.hit(reply.verdict());
        let source = match reply.is_ours() {
            true => Source::Nobody,
            false => Source::Cache,
        };
        let answer = Answer {
            reply,
            source,
            age,
            stale: None,
        };
        if new_to_class {
            let class = class.map_or(&[][..], std::slice::from_ref);
            self.tell_of(question, &answer, class);
        }
        if refresh {
            self.prefetch(question);
        }
        answer
    }

    /// A stale answer, whoever gets it.
    fn stale(&self, reply: &Arc<Reply>) -> Answer {
        Answer {
            reply: Arc::clone(reply),
            source: Source::Stale,
            age: 0,
            stale: Some(self.settings.load().cache.stale_ttl),
        }
    }

    /// Passes the news of an answer on, as far as everybody of the classes may hear it.
    fn tell_of(&self, question: &Question, answer: &Answer, classes: &[Class]) {
        let settings = self.settings.load();
        let hidden = settings.hides_cluster.then_some(&settings.cluster_zone);
        self.tell(change::put(question, answer, classes, hidden));
    }

    /// Passes news on. What a slow reader misses is not told again; it expires by itself.
    fn tell(&self, changes: Vec<Change>) {
        for change in changes {
            if let Err(mpsc::error::TrySendError::Full(_)) = self.news.try_send(change) {
                self.metrics.changes_dropped.inc();
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

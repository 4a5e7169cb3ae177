//! One upstream: its connections, its health, and one question asked of it.

mod asking;

use super::{
    Question, descriptors, lock,
    metrics::{Metrics, UpstreamMetrics},
    pool::Pool,
    settings::{GroupSettings, Settings, UpstreamSettings},
    tls::Trusted,
    wire::Wire,
};
use hickory_net::{
    NetError,
    proto::op::{Message, ResponseCode},
    runtime::TokioRuntimeProvider,
    xfer::DnsExchange,
};
use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Trouble {
    /// No connection could be opened.
    #[error("cannot connect: {0}")]
    Connect(String),
    /// The connection ended without an answer.
    #[error("the connection was closed")]
    Closed,
    /// Time is up.
    #[error("no answer in time")]
    Timeout,
    /// What came is no answer to the question: what is wrong with it.
    #[error("a wrong answer ({0})")]
    Garbage(&'static str),
    /// No connection could be had: too many questions, or too few descriptors or ports.
    #[error("too many questions at once")]
    Busy,
}

impl Trouble {
    /// Of an error while a connection is opened; descriptors or ports that we lack are no fault of
    /// the other side.
    pub(super) fn opening(error: NetError) -> Self {
        match &error {
            NetError::Io(error) if descriptors::is_ours(error) => Self::Busy,
            _ => Self::Connect(error.to_string()),
        }
    }

    /// Its label.
    fn reason(&self) -> &'static str {
        match self {
            Self::Connect(_) => "connect",
            Self::Closed => "closed",
            Self::Timeout => "timeout",
            Self::Garbage(_) => "garbage",
            Self::Busy => "busy",
        }
    }

    /// Whether it speaks against the upstream. A late answer does not by itself: the name may be
    /// one whose own servers are dead. A probe tells.
    fn is_its_fault(&self) -> bool {
        !matches!(self, Self::Timeout | Self::Busy)
    }
}

/// Why it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    /// Somebody wants the answer.
    Answer,
    /// To see whether there is one.
    Probe,
}

/// One upstream.
pub(super) struct Upstream {
    pub(super) settings: UpstreamSettings,
    group: GroupSettings,
    connect_timeout: Duration,
    idle: Mutex<Pool<Wire>>,
    pipeline: tokio::sync::Mutex<Option<Pipeline>>,
    /// Keeps the tasks of pipelined connections.
    provider: TokioRuntimeProvider,
    connections: Semaphore,
    /// When `auto` will try TCP again.
    udp_until: Mutex<Option<Instant>>,
    fails: AtomicU32,
    /// A probe is under way.
    pub(super) probing: AtomicBool,
    looping: AtomicBool,
    /// When it is to be seen whether it loops; nothing: at once.
    loop_check: Mutex<Option<Instant>>,
    /// For `tls`.
    trusted: Trusted,
    metrics: UpstreamMetrics,
}

/// The one connection to an upstream that answers in any order.
struct Pipeline {
    exchange: DnsExchange<TokioRuntimeProvider>,
    retire: Instant,
    /// When the last question went out.
    used: Instant,
}

impl Upstream {
    /// An upstream without connections, healthy until shown otherwise.
    pub(super) fn new(
        settings: UpstreamSettings,
        group: &GroupSettings,
        all: &Settings,
        metrics: &Metrics,
    ) -> Self {
        Self {
            trusted: Trusted::new(&settings),
            metrics: metrics.upstream(settings.address),
            settings,
            group: group.clone(),
            connect_timeout: all.connect_timeout,
            idle: Mutex::new(Pool::new(group.pool)),
            pipeline: tokio::sync::Mutex::new(None),
            provider: TokioRuntimeProvider::new(),
            connections: Semaphore::new(group.max_connections.max(1)),
            udp_until: Mutex::new(None),
            fails: AtomicU32::new(0),
            probing: AtomicBool::new(false),
            looping: AtomicBool::new(false),
            loop_check: Mutex::new(None),
        }
    }

    /// Whether it may be taken over as it is into another configuration.
    pub(super) fn fits(
        &self,
        settings: &UpstreamSettings,
        group: &GroupSettings,
        all: &Settings,
    ) -> bool {
        self.settings == *settings
            && self.group.pool == group.pool
            && self.group.max_fails == group.max_fails
            && self.group.max_connections == group.max_connections
            && self.connect_timeout == all.connect_timeout
    }

    /// Asks; the answer is one to this question, with any response code.
    pub(super) async fn ask(
        &self,
        question: &Question,
        deadline: Instant,
    ) -> Result<Message, Trouble> {
        self.ask_for(Purpose::Answer, question, deadline).await
    }

    /// Asks to learn whether it answers: over a connection of its own, whatever the others do.
    pub(super) async fn probe(
        &self,
        question: &Question,
        deadline: Instant,
    ) -> Result<Message, Trouble> {
        self.ask_for(Purpose::Probe, question, deadline).await
    }

    async fn ask_for(
        &self,
        purpose: Purpose,
        question: &Question,
        deadline: Instant,
    ) -> Result<Message, Trouble> {
        self.metrics.requests.inc();
        let start = Instant::now();
        let result = self.exchange(purpose, question, deadline).await;
        match &result {
            Ok(message) => {
                self.metrics
                    .answered(message.metadata.response_code, start.elapsed());
                self.succeeded();
            }
            Err(trouble) => {
                self.metrics.failed(trouble.reason());
                if trouble.is_its_fault() {
                    self.failed();
                }
            }
        }
        result
    }

    /// Whether it is asked by default.
    pub(super) fn is_up(&self) -> bool {
        let limit = self.group.max_fails;
        limit == 0 || self.fails.load(Ordering::Relaxed) < limit
    }

    /// Whether a question that we sent to it came back to us.
    pub(super) fn is_looping(&self) -> bool {
        self.looping.load(Ordering::Relaxed)
    }

    /// Says whether it loops.
    pub(super) fn set_looping(&self, looping: bool) {
        let upstream = self.settings.address;
        match (self.looping.swap(looping, Ordering::Relaxed), looping) {
            (false, true) => {
                self.metrics.loops.inc();
                tracing::error!(
                    %upstream,
                    "a loop: this upstream sends our questions back to an agent, so it is not \
                     asked; point forwarding at servers that do not forward to the agent"
                );
            }
            (true, false) => tracing::info!(%upstream, "no loop any more"),
            _ => {}
        }
    }

    /// Whether it is time to look for a loop; then the next time is `after` from now.
    pub(super) fn is_loop_check_due(&self, now: Instant, after: Duration) -> bool {
        let mut at = lock(&self.loop_check);
        let due = at.is_none_or(|at| at <= now);
        if due {
            *at = Some(now + after);
        }
        due
    }

    /// When to look for a loop the next time.
    pub(super) fn check_loop_at(&self, at: Instant) {
        *lock(&self.loop_check) = Some(at);
    }

    /// One more failure in a row.
    pub(super) fn failed(&self) {
        self.metrics.health_failures.inc();
        let fails = self.fails.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if fails == self.group.max_fails {
            self.metrics.healthy.set(0);
            tracing::warn!(upstream = %self.settings.address, "down: it failed {fails} times in a row");
        }
    }

    fn succeeded(&self) {
        if self.fails.swap(0, Ordering::Relaxed) >= self.group.max_fails.max(1) {
            self.metrics.healthy.set(1);
            tracing::info!(upstream = %self.settings.address, "up again");
        }
    }

    /// Closes connections whose time is over: all, where other authorities are trusted now.
    pub(super) fn close_old(&self) {
        let now = Instant::now();
        if self.trusted.refresh(&self.settings) {
            tracing::info!(upstream = %self.settings.address, "read the TLS authorities again");
            *lock(&self.idle) = Pool::new(self.group.pool);
            if let Ok(mut pipeline) = self.pipeline.try_lock() {
                *pipeline = None;
            }
        }
        lock(&self.idle).close_old(now);
        // Where somebody holds the lock, it is in use.
        if let Ok(mut pipeline) = self.pipeline.try_lock() {
            pipeline.take_if(|it| now >= it.retire || now >= it.used + self.group.pool.idle);
        }
    }
}

/// Whether another upstream of the group may know better.
pub(super) fn is_refusal(message: &Message) -> bool {
    !matches!(
        message.metadata.response_code,
        ResponseCode::NoError | ResponseCode::NXDomain
    )
}

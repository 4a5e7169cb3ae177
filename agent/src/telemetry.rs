//! What the agent says of itself: counters and gauges, and whether it is ready. Names mirror
//! CoreDNS's where it has the same figure, with our prefix.

use nss_k8s_zone::{Now, Statistics};
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
        info::Info,
    },
    registry::{Registry, Unit},
};
use std::{
    fmt,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

/// One label: a source, a kind, a state.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    of: &'static str,
}

/// A watch and something about it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSource {
    source: &'static str,
    reason: &'static str,
}

/// An object's kind and why it was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: &'static str,
    reason: &'static str,
}

/// CoreDNS's label of its programming latency.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfService {
    service_kind: &'static str,
}

/// Every figure, shared by all tasks.
pub struct Telemetry {
    registry: Mutex<Registry>,
    ready: AtomicBool,
    records: Family<Of, Gauge>,
    bytes: Family<Of, Gauge>,
    serial: Gauge,
    epoch: Gauge,
    incomplete: Gauge,
    state: Gauge,
    alive: Gauge,
    synced: Gauge,
    sync_age: Gauge,
    changes: Counter,
    write_errors: Counter,
    events: Family<OfSource, Counter>,
    lists: Family<OfSource, Counter>,
    watch_errors: Family<OfSource, Counter>,
    skipped: Family<OfKind, Counter>,
    programming: Family<OfService, Histogram>,
    publishing: Histogram,
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}

impl Telemetry {
    /// All zero, not ready.
    pub fn new() -> Self {
        let this = Self {
            registry: Mutex::new(Registry::with_prefix("nss_k8s")),
            ready: AtomicBool::new(false),
            records: Family::default(),
            bytes: Family::default(),
            serial: Gauge::default(),
            epoch: Gauge::default(),
            incomplete: Gauge::default(),
            state: Gauge::default(),
            alive: Gauge::default(),
            synced: Gauge::default(),
            sync_age: Gauge::default(),
            changes: Counter::default(),
            write_errors: Counter::default(),
            events: Family::default(),
            lists: Family::default(),
            watch_errors: Family::default(),
            skipped: Family::default(),
            // CoreDNS: 1 ms doubling twenty times.
            programming: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.001, 2.0, 20))
            }),
            // 10 us to 0.3 s.
            publishing: Histogram::new(exponential_buckets(0.000_01, 2.0, 16)),
        };
        this.extend(|registry| this.register(registry));
        this
    }

    /// Adds the figures of another part of the agent to the exposition, at any time. The parts keep
    /// their families beside their code; names come without the prefix and without the ending
    /// (`_total`, unit) that the registry adds:
    ///
    /// ```ignore
    /// telemetry.extend(|registry| forwarder.metrics().register(registry));
    /// ```
    ///
    /// Every family has a row in docs/OPERATIONS.md; a test holds that table equal to /metrics.
    pub fn extend(&self, register: impl FnOnce(&mut Registry)) {
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn register(&self, registry: &mut Registry) {
        let build = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "This build of the agent", Info::new(build));
        registry.register(
            "zone_records",
            "What the zone holds, by kind",
            self.records.clone(),
        );
        let help = "The zone file, by use";
        registry.register_with_unit("zone_size", help, Unit::Bytes, self.bytes.clone());
        registry.register(
            "zone_serial",
            "Commits since the file was made",
            self.serial.clone(),
        );
        registry.register("zone_epoch", "Reclaim epoch", self.epoch.clone());
        let help = "1: the index could not take every name, so misses ask DNS";
        registry.register("zone_incomplete", help, self.incomplete.clone());
        let help = "1 init, 2 syncing, 3 live, 4 superseded, 5 disabled";
        registry.register("zone_state", help, self.state.clone());
        let help = "The last beat of the agent, Unix time";
        registry.register_with_unit(
            "zone_alive_timestamp",
            help,
            Unit::Seconds,
            self.alive.clone(),
        );
        let help = "When every watch was last known to be healthy, Unix time; 0: never";
        let unit = Unit::Seconds;
        registry.register_with_unit("zone_synced_timestamp", help, unit, self.synced.clone());
        let help = "Age of zone_synced_timestamp_seconds";
        registry.register_with_unit("zone_sync_age", help, Unit::Seconds, self.sync_age.clone());
        registry.register(
            "zone_changes",
            "Commits by this agent",
            self.changes.clone(),
        );
        let help = "Changes that the zone refused";
        registry.register("zone_write_errors", help, self.write_errors.clone());
        registry.register("watch_events", "Objects received", self.events.clone());
        let help = "Complete lists, by source and way: streaming, paged, resumed, files";
        registry.register("watch_lists", help, self.lists.clone());
        registry.register(
            "watch_errors",
            "Failures of watches",
            self.watch_errors.clone(),
        );
        let help = "Objects, or parts of them, that are not served";
        registry.register("objects_skipped", help, self.skipped.clone());
        registry.register_with_unit(
            "kubernetes_dns_programming_duration",
            "From the change of a service's endpoints to its publication",
            Unit::Seconds,
            self.programming.clone(),
        );
        registry.register_with_unit(
            "publish_duration",
            "From the receipt of an event to its publication; without lists",
            Unit::Seconds,
            self.publishing.clone(),
        );
    }

    /// The exposition in OpenMetrics text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        text::encode(&mut text, &registry)?;
        Ok(text)
    }

    /// Whether everything has been listed and published once.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Everything has been listed and published.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Relaxed);
    }

    /// The zone's figures, once a second.
    pub fn zone(&self, state: u8, statistics: &Statistics, alive: Now, synced: Now) {
        let set = |family: &Family<Of, Gauge>, of, value: u64| {
            family.get_or_create(&Of { of }).set(signed(value));
        };
        set(&self.records, "namespaces", statistics.namespaces);
        set(&self.records, "services", statistics.services);
        set(&self.records, "slices", statistics.slices);
        set(&self.bytes, "file", statistics.bytes);
        set(&self.bytes, "used", statistics.used_bytes);
        set(&self.bytes, "free", statistics.free_bytes);
        set(&self.bytes, "quarantined", statistics.quarantined_bytes);
        self.serial.set(signed(statistics.serial));
        self.epoch.set(signed(statistics.epoch));
        self.incomplete.set(i64::from(statistics.incomplete));
        self.state.set(i64::from(state));
        self.alive.set(signed(alive.0));
        self.synced.set(signed(synced.0));
        self.sync_age.set(signed(alive.0.saturating_sub(synced.0)));
    }

    /// So many commits, so many refused changes.
    pub fn published(&self, changes: usize, failures: usize) {
        self.changes.inc_by(changes as u64);
        self.write_errors.inc_by(failures as u64);
    }

    /// The latency of one published slice change; a trigger in the future (clock skew) is 0.
    pub fn programmed(&self, triggered: SystemTime) {
        let seconds = triggered.elapsed().unwrap_or_default().as_secs_f64();
        let service_kind = "headless_with_selector";
        self.programming
            .get_or_create(&OfService { service_kind })
            .observe(seconds);
    }

    /// An event was published so long after it was received.
    pub fn published_after(&self, latency: Duration) {
        self.publishing.observe(latency.as_secs_f64());
    }

    /// A source named an object.
    pub fn event(&self, source: &'static str, reason: &'static str) {
        self.events
            .get_or_create(&OfSource { source, reason })
            .inc();
    }

    /// A source completed a list, and how.
    pub fn listed(&self, source: &'static str, way: &'static str) {
        self.lists
            .get_or_create(&OfSource {
                source,
                reason: way,
            })
            .inc();
    }

    /// A source failed for a while.
    pub fn watch_error(&self, source: &'static str, reason: &'static str) {
        self.watch_errors
            .get_or_create(&OfSource { source, reason })
            .inc();
    }

    /// An object or a part of one is not served.
    pub fn skipped(&self, kind: &'static str, reason: &'static str) {
        self.skipped.get_or_create(&OfKind { kind, reason }).inc();
    }
}

/// A gauge's value.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

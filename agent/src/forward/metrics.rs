//! The forwarder's figures, named after those of CoreDNS's `forward`, `cache` and `loop`.

use super::{cache::Size, reply::Verdict};
use hickory_proto::op::ResponseCode;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use std::{net::SocketAddr, time::Duration};

/// An upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct To {
    to: String,
}

/// An upstream and what it said.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToCode {
    rcode: String,
    to: String,
}

/// An upstream and why there was no answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToReason {
    reason: &'static str,
    to: String,
}

/// CoreDNS's two kinds of cached answers: `success` and `denial`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfType {
    r#type: &'static str,
}

/// All of them; clones count into the same figures.
#[derive(Clone)]
pub struct Metrics {
    requests: Family<To, Counter>,
    responses: Family<ToCode, Counter>,
    failures: Family<ToReason, Counter>,
    durations: Family<To, Histogram>,
    connections: Family<To, Counter>,
    reused: Family<To, Counter>,
    health_failures: Family<To, Counter>,
    healthy: Family<To, Gauge>,
    loops: Family<To, Counter>,
    broken: Counter,
    pub(super) rejects: Counter,
    pub(super) joined: Counter,
    pub(super) changes_dropped: Counter,
    hits: Family<OfType, Counter>,
    hits_success: Counter,
    hits_denial: Counter,
    pub(super) misses: Counter,
    pub(super) evictions: Counter,
    pub(super) prefetched: Counter,
    pub(super) served_stale: Counter,
    entries: Family<OfType, Gauge>,
    bytes: Gauge,
    pub(super) socket_connections: Gauge,
    pub(super) socket_requests: Counter,
    pub(super) socket_rejects: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All zero.
    pub fn new() -> Self {
        let hits = Family::<OfType, Counter>::default();
        let hits_success = hits.get_or_create_owned(&OfType { r#type: "success" });
        let hits_denial = hits.get_or_create_owned(&OfType { r#type: "denial" });
        Self {
            requests: Family::default(),
            responses: Family::default(),
            failures: Family::default(),
            // CoreDNS: 0.25 ms doubling sixteen times.
            durations: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.00025, 2.0, 16))
            }),
            connections: Family::default(),
            reused: Family::default(),
            health_failures: Family::default(),
            healthy: Family::default(),
            loops: Family::default(),
            broken: Counter::default(),
            rejects: Counter::default(),
            joined: Counter::default(),
            changes_dropped: Counter::default(),
            hits,
            hits_success,
            hits_denial,
            misses: Counter::default(),
            evictions: Counter::default(),
            prefetched: Counter::default(),
            served_stale: Counter::default(),
            entries: Family::default(),
            bytes: Gauge::default(),
            socket_connections: Gauge::default(),
            socket_requests: Counter::default(),
            socket_rejects: Counter::default(),
        }
    }

    /// Makes them part of what the agent exposes. The registry adds its prefix, `nss_k8s`.
    pub fn register(&self, registry: &mut Registry) {
        let it = self.clone();
        let forward = registry.sub_registry_with_prefix("forward");
        forward.register("requests", "Queries sent, by upstream", it.requests);
        let help = "Answers, by response code and upstream";
        forward.register("responses", help, it.responses);
        let help = "Queries without an answer, by reason and upstream";
        forward.register("failures", help, it.failures);
        let help = "From a query to its answer, by upstream";
        forward.register_with_unit("request_duration", help, Unit::Seconds, it.durations);
        let help = "Connections opened, by upstream";
        forward.register("connections", help, it.connections);
        let help = "Queries over a connection that was open, by upstream";
        forward.register("conn_cache_hits", help, it.reused);
        let help = "Failures that count against an upstream's health";
        forward.register("healthcheck_failures", help, it.health_failures);
        forward.register(
            "upstream_healthy",
            "1: it is asked; 0: it is down",
            it.healthy,
        );
        let help = "Queries for which every upstream of their group was down";
        forward.register("healthcheck_broken", help, it.broken);
        let help = "Our own probes that came back: the upstream forwards to this agent";
        forward.register("loops", help, it.loops);
        let help = "Questions refused because too many are under way";
        forward.register("max_concurrent_rejects", help, it.rejects);
        let help = "Questions that waited for the same question's answer";
        forward.register("joined", help, it.joined);
        let help = "Answers not published in shared memory because the publisher was behind";
        forward.register("changes_dropped", help, it.changes_dropped);

        let cache = registry.sub_registry_with_prefix("cache");
        cache.register("hits", "Answers from the cache", it.hits);
        cache.register("misses", "Questions that it could not answer", it.misses);
        cache.register("evictions", "Answers taken out for room", it.evictions);
        let help = "Questions asked again before their answer expired";
        cache.register("prefetch", help, it.prefetched);
        let help = "Answers past their time, given because no upstream answered";
        cache.register("served_stale", help, it.served_stale);
        cache.register("entries", "Answers held", it.entries);
        cache.register_with_unit("size", "Memory of the answers", Unit::Bytes, it.bytes);

        let socket = registry.sub_registry_with_prefix("socket");
        let help = "Connections of processes that are open";
        socket.register("connections", help, it.socket_connections);
        let help = "Queries of processes";
        socket.register("requests", help, it.socket_requests);
        let help = "Connections or queries of processes beyond a limit";
        socket.register("rejects", help, it.socket_rejects);
    }

    /// The figures of one upstream, looked up once.
    pub(super) fn upstream(&self, address: SocketAddr) -> UpstreamMetrics {
        let to = To {
            to: address.to_string(),
        };
        let healthy = self.healthy.get_or_create_owned(&to);
        healthy.set(1);
        UpstreamMetrics {
            requests: self.requests.get_or_create_owned(&to),
            duration: self.durations.get_or_create_owned(&to),
            connections: self.connections.get_or_create_owned(&to),
            reused: self.reused.get_or_create_owned(&to),
            health_failures: self.health_failures.get_or_create_owned(&to),
            loops: self.loops.get_or_create_owned(&to),
            healthy,
            responses: self.responses.clone(),
            failures: self.failures.clone(),
            to: to.to,
        }
    }

    /// The cache answered.
    pub(super) fn hit(&self, verdict: Verdict) {
        match verdict {
            Verdict::Records => self.hits_success.inc(),
            _ => self.hits_denial.inc(),
        };
    }

    /// Every upstream of a group was down.
    pub(super) fn broken(&self) {
        self.broken.inc();
    }

    /// What the cache holds, once a second.
    pub(super) fn cache(&self, size: Size) {
        let set = |r#type, value: usize| {
            let value = i64::try_from(value).unwrap_or(i64::MAX);
            self.entries.get_or_create(&OfType { r#type }).set(value);
        };
        set("success", size.answers);
        set("denial", size.denials);
        self.bytes
            .set(i64::try_from(size.bytes).unwrap_or(i64::MAX));
    }
}

/// The figures of one upstream.
pub(super) struct UpstreamMetrics {
    pub(super) requests: Counter,
    pub(super) connections: Counter,
    pub(super) reused: Counter,
    pub(super) health_failures: Counter,
    pub(super) healthy: Gauge,
    pub(super) loops: Counter,
    duration: Histogram,
    responses: Family<ToCode, Counter>,
    failures: Family<ToReason, Counter>,
    to: String,
}

impl UpstreamMetrics {
    /// It answered after so long.
    pub(super) fn answered(&self, code: ResponseCode, after: Duration) {
        self.duration.observe(after.as_secs_f64());
        let labels = ToCode {
            rcode: mnemonic(code),
            to: self.to.clone(),
        };
        self.responses.get_or_create(&labels).inc();
    }

    /// It did not answer.
    pub(super) fn failed(&self, reason: &'static str) {
        let to = self.to.clone();
        self.failures.get_or_create(&ToReason { reason, to }).inc();
    }
}

/// A response code as CoreDNS labels it.
fn mnemonic(code: ResponseCode) -> String {
    match code {
        ResponseCode::NoError => "NOERROR".into(),
        ResponseCode::FormErr => "FORMERR".into(),
        ResponseCode::ServFail => "SERVFAIL".into(),
        ResponseCode::NXDomain => "NXDOMAIN".into(),
        ResponseCode::NotImp => "NOTIMP".into(),
        ResponseCode::Refused => "REFUSED".into(),
        other => u16::from(other).to_string(),
    }
}

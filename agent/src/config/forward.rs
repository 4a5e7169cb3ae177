//! Upstreams, groups of them, and the cache in front.

use super::text::{Name, ObjectName, Period};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

/// The forwarder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Forward {
    /// Groups of equal upstreams, by zone: the longest zone that holds the name counts. Without a
    /// group for `.` the rest goes to the cluster DNS over TCP
    pub groups: Vec<Group>,
    /// The Service whose addresses are the default upstream; absent:
    /// `kubernetes.cluster_dns_service`. Name one of your own where a listener or a redirect has
    /// taken the cluster DNS address
    pub upstream_service: Option<ObjectName>,
    /// Queries that may wait for upstreams at once; more are refused
    #[schemars(range(min = 1))]
    pub max_concurrent: usize,
    /// Connections to one upstream; each carries one query at a time
    #[schemars(range(min = 1))]
    pub max_connections: usize,
    /// How long one upstream may take to answer
    pub timeout: Period,
    /// How long all upstreams together may take
    pub deadline: Period,
    /// An idle connection is closed after this
    pub idle: Period,
    /// A connection is closed after this, give or take a tenth
    pub max_age: Period,
    /// Whether the default upstream is probed for a loop at the start
    pub loop_probe: bool,
    /// The cache
    pub cache: Cache,
    /// Answers that are too old, RFC 8767
    pub serve_stale: ServeStale,
    /// Asking again before hot names expire
    pub prefetch: Prefetch,
    /// Sockets of pods
    pub sockets: Sockets,
    /// What of the cache is shared in memory, for each class
    pub shared: Shared,
}

impl Default for Forward {
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            upstream_service: None,
            max_concurrent: 1000,
            max_connections: 256,
            timeout: Period::secs(2),
            deadline: Period::secs(5),
            idle: Period::secs(10),
            max_age: Period::secs(60),
            loop_probe: true,
            cache: Cache::default(),
            serve_stale: ServeStale::default(),
            prefetch: Prefetch::default(),
            sockets: Sockets::default(),
            shared: Shared::default(),
        }
    }
}

/// Equal upstreams: each holds the same names, so that one may stand in for another.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// The zones that are asked here; `.` is everything else
    #[schemars(length(min = 1))]
    pub zones: Vec<Name>,
    /// The servers
    #[schemars(length(min = 1))]
    pub upstreams: Vec<Upstream>,
    /// Which of the healthy ones is asked first
    #[serde(default)]
    pub policy: Policy,
    /// Failures in a row after which an upstream counts as down
    #[serde(default = "max_fails")]
    #[schemars(range(min = 1))]
    pub max_fails: u32,
    /// How often an upstream that is down is probed
    #[serde(default = "health_check")]
    pub health_check: Period,
}

/// CoreDNS's default.
const fn max_fails() -> u32 {
    2
}

/// CoreDNS's default.
const fn health_check() -> Period {
    Period::millis(500)
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Upstream {
    /// Its address
    pub address: IpAddr,
    /// Its port; absent: 53, and 853 over TLS
    #[serde(default)]
    pub port: Option<u16>,
    /// How it is asked
    #[serde(default)]
    pub transport: Transport,
    /// The name in its certificate, over TLS
    #[serde(default)]
    pub tls_name: Option<Name>,
    /// A PEM file with the authorities to trust, over TLS, read again when it changes; absent: the
    /// machine's
    #[serde(default)]
    pub tls_ca: Option<PathBuf>,
    /// It answers several queries of one connection out of order (RFC 7766 section 6.2.1.1)
    #[serde(default)]
    pub pipeline: bool,
}

impl Upstream {
    /// A server by its address alone.
    pub const fn new(address: IpAddr) -> Self {
        Self {
            address,
            port: None,
            transport: Transport::Auto,
            tls_name: None,
            tls_ca: None,
            pipeline: false,
        }
    }

    /// Where it listens.
    pub fn socket_address(&self) -> SocketAddr {
        let usual = if self.transport == Transport::Tls {
            853
        } else {
            53
        };
        SocketAddr::new(self.address, self.port.unwrap_or(usual))
    }
}

/// How an upstream is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// TCP, and UDP while TCP is refused
    #[default]
    Auto,
    /// TCP
    Tcp,
    /// UDP, and TCP for what it truncates
    Udp,
    /// TLS, RFC 7858
    Tls,
}

/// Which upstream of a group is asked first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Any
    #[default]
    Random,
    /// Each in turn
    RoundRobin,
    /// The first one that is up
    Sequential,
}

/// The cache's bounds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// Answers at most
    #[schemars(range(min = 1))]
    pub entries: usize,
    /// Bytes of answers at most
    pub bytes: usize,
    /// Shorter times to live are kept for so long, 0 excepted
    pub min_ttl: Period,
    /// Longer times to live are cut to this
    pub max_ttl: Period,
    /// The same for answers that say that there is nothing (RFC 2308)
    pub max_negative_ttl: Period,
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            entries: 10_000,
            bytes: 16 << 20,
            min_ttl: Period::secs(0),
            max_ttl: Period::secs(3600),
            max_negative_ttl: Period::secs(1800),
        }
    }
}

/// Serving answers whose time is over while their upstreams do not answer.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServeStale {
    /// Whether
    pub enabled: bool,
    /// How long an answer is kept after its time
    pub max_age: Period,
    /// The time to live that it is served with
    pub ttl: Period,
    /// How long the upstreams may take before it is served; processes wait for at most a quarter of
    /// the `timeout` in their resolv.conf, or a second
    pub wait: Period,
}

impl Default for ServeStale {
    fn default() -> Self {
        Self {
            enabled: true,
            max_age: Period::secs(86_400),
            ttl: Period::secs(30),
            wait: Period::millis(200),
        }
    }
}

/// Asking again before an answer expires.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Prefetch {
    /// Whether
    pub enabled: bool,
    /// For names that were asked for so often within their time to live
    pub hits: u32,
    /// When so much of the time to live is left, in hundredths
    #[schemars(range(min = 1, max = 90))]
    pub percent: u8,
}

impl Default for Prefetch {
    fn default() -> Self {
        Self {
            enabled: true,
            hits: 2,
            percent: 10,
        }
    }
}

/// Limits of one pod's socket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sockets {
    /// Connections at once
    #[schemars(range(min = 1))]
    pub connections: usize,
    /// Queries at once, over all connections; half of `max_concurrent` at most
    #[schemars(range(min = 1))]
    pub in_flight: usize,
    /// A connection without a query is closed after this
    pub idle: Period,
    /// Connections of all pods together
    #[schemars(range(min = 1))]
    pub total: usize,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            connections: 1024,
            in_flight: 256,
            idle: Period::secs(10),
            total: 16_384,
        }
    }
}

/// The file of one class with the answers that the forwarder holds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shared {
    /// Names at most
    pub entries: usize,
    /// The file's size at most
    pub bytes: u64,
}

impl Default for Shared {
    fn default() -> Self {
        Self {
            entries: 10_000,
            bytes: 8 << 20,
        }
    }
}

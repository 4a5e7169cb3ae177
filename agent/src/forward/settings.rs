//! What the forwarder is told: upstreams in groups, the cache's bounds, limits.

use super::{cache::CacheSettings, pool::PoolSettings};
use hickory_proto::rr::Name;
use std::{net::SocketAddr, time::Duration};

/// Everything that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The groups; a question goes to the one with the longest zone above its name. A group
    /// without upstreams means the cluster DNS; without a group for the root there is that one.
    pub groups: Vec<GroupSettings>,
    /// The cache.
    pub cache: CacheSettings,
    /// The most questions that are being asked at a time; what is above is refused.
    pub max_concurrent: usize,
    /// How long one question may take in all.
    pub timeout: Duration,
    /// How long one upstream has for its answer while another of its group is left.
    pub attempt_timeout: Duration,
    /// How long opening a connection may take.
    pub connect_timeout: Duration,
    /// A name of the cluster zone, asked for when the health of the cluster DNS is probed.
    pub cluster_zone: Name,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            groups: Vec::new(),
            cache: CacheSettings::default(),
            max_concurrent: 1000,
            timeout: Duration::from_secs(5),
            attempt_timeout: Duration::from_secs(2),
            connect_timeout: Duration::from_secs(1),
            cluster_zone: Name::root(),
        }
    }
}

/// Upstreams that give equal answers: what one of them says, all would have said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupSettings {
    /// Whose names they are asked for, with all below; the root for all others.
    pub zones: Vec<Name>,
    /// The upstreams; none: the addresses of the cluster DNS.
    pub upstreams: Vec<UpstreamSettings>,
    /// In which order they are asked.
    pub policy: Policy,
    /// So many failures in a row, and an upstream is down until a probe succeeds; 0: never.
    pub max_fails: u32,
    /// The most connections to each upstream at a time; questions above wait.
    pub max_connections: usize,
    /// How long connections live.
    pub pool: PoolSettings,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            zones: vec![Name::root()],
            upstreams: Vec::new(),
            policy: Policy::default(),
            max_fails: 2,
            max_connections: 256,
            pool: PoolSettings::default(),
        }
    }
}

/// One upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamSettings {
    /// Where it listens.
    pub address: SocketAddr,
    /// How it is asked.
    pub transport: Transport,
    /// The name in its certificate, for `tls`; nothing: its address.
    pub tls_name: Option<String>,
    /// It answers several questions of one connection in any order (RFC 7766 6.2.1.1), so that one
    /// connection serves all. CoreDNS does not: it takes them one after the other.
    pub pipeline: bool,
}

impl UpstreamSettings {
    /// Over TCP, one question at a time.
    pub fn tcp(address: SocketAddr) -> Self {
        Self {
            address,
            transport: Transport::Tcp,
            tls_name: None,
            pipeline: false,
        }
    }
}

/// How an upstream is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Over TCP.
    #[default]
    Tcp,
    /// Over UDP; over TCP when the answer is truncated.
    Udp,
    /// Over TLS (RFC 7858).
    Tls,
    /// Over TCP; over UDP for a minute when no TCP connection could be opened.
    Auto,
}

/// The order in which the healthy upstreams of a group are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// A new order for every question.
    #[default]
    Random,
    /// Each starts with the next one.
    RoundRobin,
    /// Always from the first on.
    Sequential,
}

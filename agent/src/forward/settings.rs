//! What the forwarder is told: upstreams in groups, the cache's bounds, limits.

use super::{Lifetimes, cache::CacheSettings, pool::PoolSettings};
use crate::config;
use hickory_proto::rr::Name;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

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
    /// Whether it is searched for loops: whether the default upstreams forward to this agent.
    pub loop_probe: bool,
    /// The apex of the cluster zone, asked for when the health of the cluster DNS is probed.
    pub cluster_zone: Name,
    /// What leads into the cluster zone is no news: not every pod that may hear it may see that.
    pub hides_cluster: bool,
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
            loop_probe: true,
            cluster_zone: Name::root(),
            hides_cluster: false,
        }
    }
}

impl Settings {
    /// Of the configuration file's section; `cluster_zone` is the apex.
    pub fn of(forward: &config::Forward, cluster_zone: &config::Name) -> Self {
        let pool = PoolSettings {
            idle: forward.idle.duration(),
            age: forward.max_age.duration(),
        };
        let of_all = GroupSettings {
            max_connections: forward.max_connections,
            pool,
            ..GroupSettings::default()
        };
        let mut groups: Vec<GroupSettings> = forward
            .groups
            .iter()
            .map(|group| of_all.with(group))
            .collect();
        if !groups
            .iter()
            .any(|group| group.zones.iter().any(Name::is_root))
        {
            groups.push(of_all);
        }
        let stale = &forward.serve_stale;
        let prefetch = &forward.prefetch;
        let defaults = CacheSettings::default();
        Self {
            groups,
            cache: CacheSettings {
                entries: forward.cache.entries,
                bytes: forward.cache.bytes,
                lifetimes: Lifetimes {
                    min: seconds(forward.cache.min_ttl),
                    max: seconds(forward.cache.max_ttl),
                    negative: seconds(forward.cache.max_negative_ttl),
                    failure: defaults.lifetimes.failure,
                },
                stale_for: match stale.enabled {
                    true => stale.max_age.duration(),
                    false => Duration::ZERO,
                },
                stale_ttl: seconds(stale.ttl),
                stale_after: stale.wait.duration(),
                prefetch_hits: if prefetch.enabled { prefetch.hits } else { 0 },
                prefetch_percent: prefetch.percent,
                ..defaults
            },
            max_concurrent: forward.max_concurrent,
            timeout: forward.deadline.duration(),
            attempt_timeout: forward.timeout.duration(),
            loop_probe: forward.loop_probe,
            cluster_zone: name(cluster_zone),
            ..Self::default()
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
    /// How often an upstream that failed is probed at first; less often later.
    pub probe_every: Duration,
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
            probe_every: Duration::from_millis(500),
        }
    }
}

impl GroupSettings {
    /// A group of the configuration file, with what is said there of all.
    fn with(&self, group: &config::Group) -> Self {
        Self {
            zones: group.zones.iter().map(name).collect(),
            upstreams: group.upstreams.iter().map(UpstreamSettings::of).collect(),
            policy: match group.policy {
                config::Policy::Random => Policy::Random,
                config::Policy::RoundRobin => Policy::RoundRobin,
                config::Policy::Sequential => Policy::Sequential,
            },
            max_fails: group.max_fails,
            probe_every: group.health_check.duration(),
            ..self.clone()
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
    /// A PEM file with the authorities to trust, for `tls`; nothing: the machine's.
    pub tls_ca: Option<PathBuf>,
    /// It answers several questions of one connection in any order (RFC 7766 6.2.1.1), so that one
    /// connection serves all. CoreDNS does not: it takes them one after the other.
    pub pipeline: bool,
}

impl UpstreamSettings {
    /// A server of the configuration file.
    fn of(upstream: &config::Upstream) -> Self {
        Self {
            address: upstream.socket_address(),
            transport: match upstream.transport {
                config::Transport::Auto => Transport::Auto,
                config::Transport::Tcp => Transport::Tcp,
                config::Transport::Udp => Transport::Udp,
                config::Transport::Tls => Transport::Tls,
            },
            tls_name: upstream.tls_name.as_ref().map(|it| it.as_str().to_owned()),
            tls_ca: upstream.tls_ca.clone(),
            pipeline: upstream.pipeline,
        }
    }

    /// Over TCP, one question at a time.
    pub fn tcp(address: SocketAddr) -> Self {
        Self {
            address,
            transport: Transport::Tcp,
            tls_name: None,
            tls_ca: None,
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

/// Whole seconds, the most that fit.
fn seconds(period: config::Period) -> u32 {
    u32::try_from(period.duration().as_secs()).unwrap_or(u32::MAX)
}

/// A name as hickory knows it. The configuration's names are sound; one that hickory refuses all
/// the same would become the root.
fn name(name: &config::Name) -> Name {
    let mut name = Name::from_ascii(name.as_str()).unwrap_or_default();
    name.set_fqdn(true);
    name
}

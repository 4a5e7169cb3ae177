//! What can be configured, as one value.

use crate::{Address, External};

/// What `a-b-c-d.<namespace>.pod` answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum PodMode {
    /// NXDOMAIN.
    Disabled = 0,
    /// Any address that the name spells, when the namespace exists.
    Insecure = 1,
}

/// What a service that is absent from a namespace that exists answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MissPolicy {
    /// Only DNS can tell (a mesh may serve it).
    Ask = 0,
    /// NXDOMAIN.
    NxDomain = 1,
}

/// What of a name a rewriting rule looks at: as CoreDNS's `rewrite name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Matching {
    /// The whole name.
    Exact = 1,
    /// Its first labels.
    Prefix = 2,
    /// Its last bytes, which need not begin with a label.
    Suffix = 3,
}

/// What is made of names before they are looked for. The first rule that matches counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The name is looked for under another; the answer's owner is the name itself.
    Rewrite {
        /// Where `from` must be.
        matching: Matching,
        /// Absolute text in any case, with or without the last dot.
        from: String,
        /// What takes its place.
        to: String,
        /// Whether it is the last one tried; else those behind it are tried on the new name.
        stop: bool,
    },
    /// An absolute name that does not exist, nor anything below it.
    Block {
        /// The name.
        name: String,
    },
    /// Namespaces that are top-level domains as well: `google.com` does not mean the service
    /// `google` in the namespace `com`, whatever the search list says.
    Guard {
        /// The namespaces.
        namespaces: Vec<String>,
    },
}

/// Everything that can be configured; published as one immutable record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Answer whatever name server a process uses (laptops, demonstrations).
    pub accept_any_nameserver: bool,
    /// An address without a name here has none: NXDOMAIN instead of asking DNS.
    pub ptr_authoritative: bool,
    /// Every endpoint slice is watched, so that endpoint names below ClusterIP services are
    /// authoritative too.
    pub endpoints_held: bool,
    /// Names of pods.
    pub pod_mode: PodMode,
    /// Absent services.
    pub miss_policy: MissPolicy,
    /// Seconds.
    pub ttl: u32,
    /// Seconds without a beat after which misses ask DNS.
    pub stale_after: u32,
    /// Seconds without a beat after which everything does; each process adds up to as much again.
    pub dead_after: u32,
    /// 0 (everybody is served) to 1000 (nobody).
    pub disabled_permille: u16,
    /// The cluster's name servers: at most 255 of each family.
    pub cluster_dns: Vec<Address>,
    /// Library builds that must pass.
    pub refused_builds: Vec<u64>,
    /// Absolute names; what is at or below one asks DNS.
    pub excepted_suffixes: Vec<String>,
    /// Who asks for names outside the zone.
    pub external: External,
    /// Answers for names outside the zone lie in a file beside it.
    pub holds_external: bool,
    /// Libc answers every lookup; what the zone would have said is compared with that and counted.
    pub shadow: bool,
    /// At most 256 with 16 KiB of text. What matches is looked for under another name, or not at all.
    pub rules: Vec<Rule>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            accept_any_nameserver: false,
            ptr_authoritative: false,
            endpoints_held: false,
            pod_mode: PodMode::Insecure,
            miss_policy: MissPolicy::Ask,
            ttl: 5,
            stale_after: 30,
            dead_after: 300,
            disabled_permille: 0,
            cluster_dns: Vec::new(),
            refused_builds: Vec::new(),
            excepted_suffixes: Vec::new(),
            external: External::Off,
            holds_external: false,
            shadow: false,
            rules: Vec::new(),
        }
    }
}

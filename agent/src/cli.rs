//! The command line. Flags win over the environment.

use clap::{Args, Parser, Subcommand, ValueEnum};
use nss_k8s_zone::{Config, MissPolicy, PodMode};
use std::{net::IpAddr, path::PathBuf};

/// Cluster names answered inside the process: the agent that publishes them, and what explains it.
#[derive(Debug, Parser)]
#[command(name = "nss-k8s", version)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Publish the cluster's zone and keep it in step
    Agent(Box<AgentArgs>),
    /// Ask the published zone as a process would, and say why it answers so
    Query(QueryArgs),
    /// Say what nss-k8s would change for the programs of a cluster, and which options to set
    Preflight(crate::preflight::PreflightArgs),
    /// Print the published zone in master-file form (RFC 1035)
    Dump(Place),
    /// Say how the published zone is; status 1 when it is not live
    Status(StatusArgs),
    /// The kill switch: every process of the node passes from its next lookup on
    Disable(Place),
    /// Undo `disable`
    Enable(Place),
}

/// Where the zone is.
#[derive(Args, Clone, Debug)]
pub struct Place {
    /// The base directory: private/ and view/default/zone.v1 are below it
    #[arg(
        long,
        env = "NSS_K8S_BASE",
        default_value = "/run/nss-k8s",
        value_name = "BASE"
    )]
    pub dir: PathBuf,
}

/// `nss-k8s agent`.
#[derive(Args, Clone, Debug)]
pub struct AgentArgs {
    /// Where to publish.
    #[command(flatten)]
    pub place: Place,
    /// Publish what the YAML files of this directory say, instead of watching an API server
    #[arg(
        long,
        env = "NSS_K8S_MANIFESTS",
        value_name = "DIR",
        conflicts_with = "kubeconfig"
    )]
    pub manifests: Option<PathBuf>,
    /// How to reach the API server; default: as a pod, else the user's own kubeconfig
    #[arg(long, env = "NSS_K8S_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Which endpoint slices to watch; `all` also holds endpoint names of ClusterIP services
    #[arg(
        long,
        env = "NSS_K8S_ENDPOINT_SLICES",
        value_enum,
        default_value = "headless"
    )]
    pub endpoint_slices: EndpointSlices,
    /// The zone's apex
    #[arg(long, env = "NSS_K8S_CLUSTER_DOMAIN", default_value = "cluster.local")]
    pub cluster_domain: String,
    /// Further addresses of the cluster's name servers, such as a node-local cache's
    #[arg(
        long,
        env = "NSS_K8S_CLUSTER_DNS",
        value_name = "IP",
        value_delimiter = ','
    )]
    pub cluster_dns: Vec<IpAddr>,
    /// The Service whose addresses are the cluster's name servers
    #[arg(
        long,
        env = "NSS_K8S_CLUSTER_DNS_SERVICE",
        default_value = "kube-system/kube-dns",
        value_name = "NAMESPACE/NAME"
    )]
    pub cluster_dns_service: String,
    /// Serve processes whatever name servers their resolv.conf has: for laptops
    #[arg(long, env = "NSS_K8S_ACCEPT_ANY_NAMESERVER")]
    pub accept_any_nameserver: bool,
    /// What a service answers that is absent from a namespace that exists
    #[arg(long, env = "NSS_K8S_MISS_POLICY", value_enum, default_value = "ask")]
    pub miss_policy: Miss,
    /// What names such as 10-1-2-3.NAMESPACE.pod answer
    #[arg(long, env = "NSS_K8S_PODS", value_enum, default_value = "insecure")]
    pub pods: Pods,
    /// Time to live of every answer, in seconds
    #[arg(long, env = "NSS_K8S_TTL", default_value_t = 5)]
    pub ttl: u32,
    /// An address without a name in the zone has none, instead of asking DNS
    #[arg(long, env = "NSS_K8S_PTR_AUTHORITATIVE")]
    pub ptr_authoritative: bool,
    /// Names at or below this one are left to DNS; may be repeated
    #[arg(
        long,
        env = "NSS_K8S_EXCEPT",
        value_name = "SUFFIX",
        value_delimiter = ','
    )]
    pub except: Vec<String>,
    /// The share of processes that must pass, in thousandths: to ramp up and down
    #[arg(
        long,
        env = "NSS_K8S_DISABLED_PERMILLE",
        default_value_t = 0,
        value_parser = clap::value_parser!(u16).range(..=1000)
    )]
    pub disabled_permille: u16,
    /// A build of the libraries that must pass, by its number; may be repeated
    #[arg(
        long,
        env = "NSS_K8S_REFUSE_BUILD",
        value_name = "NUMBER",
        value_delimiter = ','
    )]
    pub refuse_build: Vec<u64>,
    /// Seconds without a beat of the agent after which absent names are left to DNS
    #[arg(long, env = "NSS_K8S_STALE_AFTER", default_value_t = 30)]
    pub stale_after: u32,
    /// Seconds without a beat of the agent after which every name is left to DNS
    #[arg(long, env = "NSS_K8S_DEAD_AFTER", default_value_t = 300)]
    pub dead_after: u32,
    /// Milliseconds for which an endpoint stays that left its slice without turning up elsewhere
    #[arg(
        long,
        env = "NSS_K8S_ENDPOINT_GRACE",
        default_value_t = 500,
        value_name = "MS",
        value_parser = clap::value_parser!(u64).range(..=3_600_000)
    )]
    pub endpoint_grace: u64,
    /// Wait up to so many seconds before the first list, so that a fleet does not list at once
    #[arg(
        long,
        env = "NSS_K8S_START_JITTER",
        default_value_t = 0,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(..=3_600)
    )]
    pub start_jitter: u64,
    /// Address of /healthz, /readyz and /metrics; `off` for none
    #[arg(long, env = "NSS_K8S_LISTEN", default_value = "127.0.0.1:9353")]
    pub listen: Listen,
}

/// Where to serve HTTP, if at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen(pub Option<std::net::SocketAddr>);

impl core::str::FromStr for Listen {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self(None));
        }
        text.parse().map(|address| Self(Some(address)))
    }
}

/// Which endpoint slices are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EndpointSlices {
    /// Those that DNS answers need.
    Headless,
    /// All.
    All,
}

/// `--miss-policy`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Miss {
    /// Leave it to DNS.
    Ask,
    /// It does not exist.
    Nxdomain,
}

/// `--pods`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Pods {
    /// They do not exist.
    Disabled,
    /// The address that the name spells, when the namespace exists.
    Insecure,
}

/// `nss-k8s query`.
#[derive(Args, Clone, Debug)]
pub struct QueryArgs {
    /// As a program would write it; an address with `--type PTR`
    pub name: String,
    /// Where the zone is.
    #[command(flatten)]
    pub place: Place,
    /// Of the pod that asks
    #[arg(long, short, default_value = "default")]
    pub namespace: String,
    /// Ask with this resolv.conf instead of the one that kubelet would write
    #[arg(long, value_name = "FILE")]
    pub resolv_conf: Option<PathBuf>,
    /// Whose search list to walk
    #[arg(long, value_enum, default_value = "glibc")]
    pub libc: Libc,
    /// Both address types by default
    #[arg(long = "type", short = 't', value_enum, ignore_case = true)]
    pub record: Option<Record>,
    /// Show every candidate and why it does or does not win
    #[arg(long)]
    pub explain: bool,
    /// Ask for names outside the zone as a process would: from here, with this machine's network
    #[arg(long)]
    pub ask: bool,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

/// A libc whose resolver is imitated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Libc {
    /// GNU.
    Glibc,
    /// musl.
    Musl,
}

/// A record type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum Record {
    /// IPv4.
    A,
    /// IPv6.
    Aaaa,
    /// Ports.
    Srv,
    /// Reverse.
    Ptr,
}

/// `nss-k8s status`.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    /// Where the zone is.
    #[command(flatten)]
    pub place: Place,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

impl AgentArgs {
    /// What is published as the zone's configuration; the addresses of the cluster DNS Service are
    /// added once they are known.
    pub fn config(&self) -> Config {
        let cluster_dns = self.cluster_dns.iter().map(|address| match address {
            IpAddr::V4(address) => nss_k8s_zone::Address::v4(address.octets()),
            IpAddr::V6(address) => nss_k8s_zone::Address::v6(address.octets()),
        });
        Config {
            accept_any_nameserver: self.accept_any_nameserver,
            ptr_authoritative: self.ptr_authoritative,
            endpoints_held: self.holds_all_slices(),
            pod_mode: match self.pods {
                Pods::Disabled => PodMode::Disabled,
                Pods::Insecure => PodMode::Insecure,
            },
            miss_policy: match self.miss_policy {
                Miss::Ask => MissPolicy::Ask,
                Miss::Nxdomain => MissPolicy::NxDomain,
            },
            ttl: self.ttl,
            stale_after: self.stale_after,
            dead_after: self.dead_after,
            cluster_dns: cluster_dns.collect(),
            disabled_permille: self.disabled_permille,
            refused_builds: self.refuse_build.clone(),
            excepted_suffixes: self.except.clone(),
            ..Config::default()
        }
    }

    /// Whether slices of ClusterIP services are published.
    pub fn holds_all_slices(&self) -> bool {
        self.endpoint_slices == EndpointSlices::All
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn listens_where_told_or_not_at_all() {
        assert_eq!("off".parse::<Listen>().unwrap(), Listen(None));
        "somewhere".parse::<Listen>().unwrap_err();
    }
}

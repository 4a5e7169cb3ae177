//! The command line. Flags win over the environment, both over the configuration file.

mod publish;

pub use publish::{NatsArgs, PublishArgs};

use crate::config::{
    Config, ConfigError, DEFAULT_CLASS, EndpointSlices, External, MissPolicy, Name, ObjectName,
    Period, Pods,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{net::IpAddr, path::PathBuf, sync::LazyLock};

/// The release, and the number by which `processes.refuse_builds` knows its libraries.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let build = nss_k8s_stub::BUILD;
    format!("{} (library build {build})", env!("CARGO_PKG_VERSION"))
});

/// Cluster names answered inside the process: the agent that publishes them, and what explains it.
#[derive(Debug, Parser)]
#[command(name = "nss-k8s", version = VERSION.as_str())]
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
    /// Watch the API server for the agents of all nodes: put what they need into a bucket of NATS
    Publish(Box<PublishArgs>),
    /// Give each pod its directory: the driver of the inline volumes
    Csi(Box<crate::csi::CsiArgs>),
    /// Ask the published zone as a process would, and say why it answers so
    Query(QueryArgs),
    /// Say what nss-k8s would change for the programs of a cluster, and which options to set
    Preflight(crate::preflight::PreflightArgs),
    /// Say whether the driver may be removed: no pod has its volume; status 1 when one has
    Removable(crate::removal::RemovableArgs),
    /// Take a taint off nodes that have the driver; runs once in a cluster
    Untaint(crate::untaint::UntaintArgs),
    /// Print the published zone in master-file form (RFC 1035)
    Dump(DumpArgs),
    /// Say how the published zone is; status 1 when it is not live
    Status(StatusArgs),
    /// The kill switch: every process of the node passes from its next lookup on
    Disable(Place),
    /// Undo `disable`
    Enable(Place),
    /// Look at configuration files
    #[command(subcommand)]
    Config(ConfigCommand),
    /// The pods that have a directory of their own: by hand, where nothing delivers them
    #[command(subcommand)]
    Pod(PodCommand),
}

/// `nss-k8s config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Say what is wrong with a file; status 1 when something is
    Check {
        /// The file
        file: PathBuf,
    },
    /// Print the JSON schema of the file
    Schema,
}

/// `nss-k8s pod`.
#[derive(Debug, Subcommand)]
pub enum PodCommand {
    /// Give a pod a directory: BASE/pod/ID
    Add {
        /// Any name that is unique on the node, such as the pod's uid
        id: String,
        /// The pod's namespace, which decides its class
        #[arg(long, short)]
        namespace: String,
        /// Where the zone is.
        #[command(flatten)]
        place: Place,
    },
    /// Take a pod's directory away
    Remove {
        /// As added
        id: String,
        /// Where the zone is.
        #[command(flatten)]
        place: Place,
    },
    /// Say which pods there are, their namespaces and classes
    List(Place),
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

/// One class's zone.
#[derive(Args, Clone, Debug)]
pub struct ViewArgs {
    /// Where the zone is.
    #[command(flatten)]
    pub place: Place,
    /// The class of pods whose zone it is, or a directory below BASE/view [default: default]
    #[arg(long)]
    pub class: Option<String>,
}

impl ViewArgs {
    /// The zone's file.
    pub fn zone_path(&self) -> PathBuf {
        let class = self.class.as_deref().unwrap_or(DEFAULT_CLASS);
        crate::switch::view_path(&self.place.dir, class)
    }

    /// The zone that pods of a namespace have, unless a class is given. An error: they have none.
    pub fn zone_path_of(&self, namespace: &str) -> anyhow::Result<PathBuf> {
        let base = &self.place.dir;
        let table = match self.class {
            Some(_) => None,
            // Only who may read what is private to the agent knows; `default` is everything.
            None => crate::table::Table::read(base).ok().flatten(),
        };
        let Some(table) = table else {
            return Ok(self.zone_path());
        };
        let hides = table
            .classes
            .values()
            .any(|entry| entry.view != entry.class);
        if !hides && table.entry(namespace).is_none() {
            // A laptop has no namespace to speak of.
            return Ok(self.zone_path());
        }
        let Some(entry) = table.entry(namespace) else {
            anyhow::bail!(
                "pods of namespace {namespace} have no zone here: it does not exist, or its view is \
                 not known yet (--class default shows everything)"
            );
        };
        Ok(crate::switch::view_path(base, &entry.view))
    }
}

/// `nss-k8s dump`.
#[derive(Args, Clone, Debug)]
pub struct DumpArgs {
    /// Which.
    #[command(flatten)]
    pub view: ViewArgs,
    /// Instead of the zone, the answers to external names that its processes find in memory
    #[arg(long)]
    pub external: bool,
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
    /// NATS servers whose bucket to follow, such as nats://nats.nats:4222, as long as it is whole
    #[arg(
        long,
        env = "NSS_K8S_SOURCE",
        value_name = "URL",
        value_delimiter = ',',
        conflicts_with = "manifests"
    )]
    pub source: Vec<String>,
    /// Which bucket.
    #[command(flatten)]
    pub nats: NatsArgs,
    /// The configuration file; flags and variables win over it
    #[arg(long, env = "NSS_K8S_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Which endpoint slices to watch; `all` also holds endpoint names of ClusterIP services
    /// [default: headless]
    #[arg(long, env = "NSS_K8S_ENDPOINT_SLICES", value_enum)]
    pub endpoint_slices: Option<EndpointSlices>,
    /// The zone's apex [default: cluster.local]
    #[arg(long, env = "NSS_K8S_CLUSTER_DOMAIN", value_name = "DOMAIN")]
    pub cluster_domain: Option<Name>,
    /// Further addresses of the cluster's name servers, such as a node-local cache's
    #[arg(
        long,
        env = "NSS_K8S_CLUSTER_DNS",
        value_name = "IP",
        value_delimiter = ','
    )]
    pub cluster_dns: Vec<IpAddr>,
    /// The Service whose addresses are the cluster's name servers [default: found by itself]
    #[arg(
        long,
        env = "NSS_K8S_CLUSTER_DNS_SERVICE",
        value_name = "NAMESPACE/NAME"
    )]
    pub cluster_dns_service: Option<ObjectName>,
    /// Serve processes whatever name servers their resolv.conf has: for laptops
    #[arg(long, env = "NSS_K8S_ACCEPT_ANY_NAMESERVER")]
    pub accept_any_nameserver: bool,
    /// Who asks external names for the class `default` [default: pod]
    #[arg(long, env = "NSS_K8S_EXTERNAL", value_enum)]
    pub external: Option<External>,
    /// What a service answers that is absent from a namespace that exists [default: ask]
    #[arg(long, env = "NSS_K8S_MISS_POLICY", value_enum)]
    pub miss_policy: Option<MissPolicy>,
    /// What names such as 10-1-2-3.NAMESPACE.pod answer [default: insecure]
    #[arg(long, env = "NSS_K8S_PODS", value_enum)]
    pub pods: Option<Pods>,
    /// Time to live of every answer, in seconds [default: 5]
    #[arg(long, env = "NSS_K8S_TTL")]
    pub ttl: Option<u32>,
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
    pub except: Vec<Name>,
    /// The share of processes that must pass, in thousandths: to ramp up and down [default: 0]
    #[arg(
        long,
        env = "NSS_K8S_DISABLED_PERMILLE",
        value_parser = clap::value_parser!(u16).range(..=1000)
    )]
    pub disabled_permille: Option<u16>,
    /// A build of the libraries that must pass, by its number; may be repeated
    #[arg(
        long,
        env = "NSS_K8S_REFUSE_BUILD",
        value_name = "NUMBER",
        value_delimiter = ','
    )]
    pub refuse_build: Vec<u64>,
    /// Seconds without a beat of the agent after which absent names are left to DNS [default: 30]
    #[arg(long, env = "NSS_K8S_STALE_AFTER")]
    pub stale_after: Option<u32>,
    /// Seconds without a beat of the agent after which every name is left to DNS [default: 300]
    #[arg(long, env = "NSS_K8S_DEAD_AFTER")]
    pub dead_after: Option<u32>,
    /// Milliseconds for which an endpoint stays that left its slice without turning up elsewhere
    /// [default: 500]
    #[arg(
        long,
        env = "NSS_K8S_ENDPOINT_GRACE",
        value_name = "MS",
        value_parser = clap::value_parser!(u64).range(..=3_600_000)
    )]
    pub endpoint_grace: Option<u64>,
    /// Wait up to so many seconds before the first list, so that a fleet does not list at once
    #[arg(
        long,
        env = "NSS_K8S_START_JITTER",
        default_value_t = 0,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(..=3_600)
    )]
    pub start_jitter: u64,
    /// Address of /healthz, /readyz and /metrics; `off` for none [default: 127.0.0.1:9353]
    #[arg(long, env = "NSS_K8S_LISTEN")]
    pub listen: Option<Listen>,
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

/// `nss-k8s query`.
#[derive(Args, Clone, Debug)]
pub struct QueryArgs {
    /// As a program would write it; an address with `--type PTR`
    pub name: String,
    /// Which zone.
    #[command(flatten)]
    pub view: ViewArgs,
    /// Of the pod that asks: its search list, and what it may look up
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
    /// Which zone.
    #[command(flatten)]
    pub view: ViewArgs,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

impl AgentArgs {
    /// What the file says, under what the command line and the environment say.
    pub fn over(&self, mut config: Config) -> Result<Config, ConfigError> {
        let kubernetes = &mut config.kubernetes;
        set(&mut kubernetes.endpoint_slices, self.endpoint_slices);
        set(&mut kubernetes.cluster_domain, self.cluster_domain.clone());
        set_all(&mut kubernetes.cluster_dns, &self.cluster_dns);
        if let Some(service) = &self.cluster_dns_service {
            kubernetes.cluster_dns_service = Some(service.clone());
        }
        set(&mut kubernetes.miss_policy, self.miss_policy);
        set(&mut kubernetes.pods, self.pods);
        set(&mut kubernetes.ttl, self.ttl);
        kubernetes.ptr_authoritative |= self.ptr_authoritative;
        set_all(&mut kubernetes.except, &self.except);
        let grace = self.endpoint_grace.map(Period::millis);
        set(&mut kubernetes.endpoint_grace, grace);
        let processes = &mut config.processes;
        processes.accept_any_nameserver |= self.accept_any_nameserver;
        set(&mut processes.disabled_permille, self.disabled_permille);
        set_all(&mut processes.refuse_builds, &self.refuse_build);
        set(&mut processes.stale_after, self.stale_after);
        set(&mut processes.dead_after, self.dead_after);
        if let Some(external) = self.external {
            config.set_default_class(external);
        }
        self.nats.over(&self.source, &mut config.fanout);
        set(&mut config.http.address, self.listen.map(|listen| listen.0));
        config.check().map_err(ConfigError::Sense)?;
        Ok(config)
    }
}

/// Lets a flag win.
fn set<T>(field: &mut T, flag: Option<T>) {
    if let Some(value) = flag {
        *field = value;
    }
}

/// Lets a list of flags win.
fn set_all<T: Clone>(field: &mut Vec<T>, flags: &[T]) {
    if !flags.is_empty() {
        *field = flags.to_vec();
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
    fn flags_win_over_the_file() {
        let line = "nss-k8s agent --ttl=7 --listen=off --external=node --except=a.b,c";
        let cli = Cli::parse_from(line.split(' '));
        let Command::Agent(args) = cli.command else {
            panic!("not parsed as the agent");
        };
        let file = "kubernetes: {ttl: 9, pods: verified, except: [x.y]}\nhttp: {address: null}";
        let config = args.over(Config::parse(file).unwrap()).unwrap();
        assert_eq!(config.kubernetes.ttl, 7);
        assert_eq!(config.kubernetes.pods, Pods::Verified);
        let except: Vec<_> = config.kubernetes.except.iter().map(Name::as_str).collect();
        assert_eq!(except, ["a.b", "c"]);
        assert_eq!(config.http.address, None);
        assert_eq!(config.all_classes(), [("default", External::Node)]);
    }

    #[test]
    fn flags_are_checked_together_with_the_file() {
        let cli = Cli::parse_from("nss-k8s agent --stale-after=400".split(' '));
        let Command::Agent(args) = cli.command else {
            panic!("not parsed as the agent");
        };
        args.over(Config::default()).unwrap_err();
    }

    #[test]
    fn listens_where_told_or_not_at_all() {
        assert_eq!("off".parse::<Listen>().unwrap(), Listen(None));
        "somewhere".parse::<Listen>().unwrap_err();
    }
}

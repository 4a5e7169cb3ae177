//! `nss-k8s agent`.

use super::{NatsArgs, Place, set, set_all};
use crate::config::{
    Config, ConfigError, EndpointSlices, External, MissPolicy, Name, ObjectName, Period, Pods,
};
use clap::Args;
use std::{net::IpAddr, path::PathBuf};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

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

//! `nss-k8s publish`, and what it shares with an agent that follows what is published.

use super::{Listen, set, set_all};
use crate::config::{Config, ConfigError, EndpointSlices, Fanout, ObjectName};
use clap::Args;
use core::hash::{BuildHasher, Hasher};
use std::{hash::RandomState, path::PathBuf};

/// A bucket of NATS, and who we are there.
#[derive(Args, Clone, Debug)]
pub struct NatsArgs {
    /// The key-value bucket [default: nss-k8s]
    #[arg(long, env = "NSS_K8S_NATS_BUCKET", value_name = "NAME")]
    pub nats_bucket: Option<String>,
    /// A .creds file, an nkey seed, or a user and a password on a line each
    #[arg(long, env = "NSS_K8S_NATS_CREDENTIALS", value_name = "FILE")]
    pub nats_credentials: Option<PathBuf>,
    /// Certificates (PEM) that vouch for the servers; TLS is required then
    #[arg(long, env = "NSS_K8S_NATS_CA", value_name = "FILE")]
    pub nats_ca: Option<PathBuf>,
}

impl NatsArgs {
    /// Lets the flags win over the file.
    pub(super) fn over(&self, servers: &[String], fanout: &mut Fanout) {
        set_all(&mut fanout.servers, servers);
        set(&mut fanout.bucket, self.nats_bucket.clone());
        fanout.credentials = self.nats_credentials.clone().or(fanout.credentials.take());
        fanout.ca = self.nats_ca.clone().or(fanout.ca.take());
    }
}

/// `nss-k8s publish`.
#[derive(Args, Clone, Debug)]
pub struct PublishArgs {
    /// NATS servers, such as nats://nats.nats:4222
    #[arg(long, env = "NSS_K8S_TO", value_name = "URL", value_delimiter = ',')]
    pub to: Vec<String>,
    /// Which bucket.
    #[command(flatten)]
    pub nats: NatsArgs,
    /// Copies of the bucket, where this makes it
    #[arg(
        long,
        env = "NSS_K8S_BUCKET_REPLICAS",
        default_value_t = 1,
        value_name = "NUMBER",
        value_parser = clap::value_parser!(u8).range(1..=5)
    )]
    pub bucket_replicas: u8,
    /// The Lease by which one of several replicas leads; without it, this is the only one
    #[arg(long, env = "NSS_K8S_LEASE", value_name = "NAMESPACE/NAME")]
    pub lease: Option<ObjectName>,
    /// Under which name it leads, unique among them [default: the host's name and a number]
    #[arg(long, env = "NSS_K8S_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,
    /// How to reach the API server; default: as a pod, else the user's own kubeconfig
    #[arg(long, env = "NSS_K8S_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The configuration file; flags and variables win over it
    #[arg(long, env = "NSS_K8S_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Which endpoint slices to publish [default: headless]
    #[arg(long, env = "NSS_K8S_ENDPOINT_SLICES", value_enum)]
    pub endpoint_slices: Option<EndpointSlices>,
    /// Address of /healthz, /readyz and /metrics; `off` for none [default: 127.0.0.1:9353]
    #[arg(long, env = "NSS_K8S_LISTEN")]
    pub listen: Option<Listen>,
}

impl PublishArgs {
    /// What the file says, under what the command line and the environment say.
    pub fn config(&self) -> Result<Config, ConfigError> {
        let mut config = match &self.config {
            Some(path) => Config::read(path)?,
            None => Config::default(),
        };
        set(&mut config.kubernetes.endpoint_slices, self.endpoint_slices);
        self.nats.over(&self.to, &mut config.fanout);
        set(&mut config.http.address, self.listen.map(|listen| listen.0));
        config.check().map_err(ConfigError::Sense)?;
        if config.fanout.servers.is_empty() {
            let why = "no NATS servers: --to, or fanout.servers".to_owned();
            return Err(ConfigError::Sense(vec![why]));
        }
        Ok(config)
    }

    /// Under which name it leads.
    pub fn identity(&self) -> String {
        self.identity.clone().unwrap_or_else(|| {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let mut random = RandomState::new().build_hasher();
            random.write_u32(std::process::id());
            format!("{}_{:016x}", host.trim(), random.finish())
        })
    }
}

//! The connection to the API server.

use anyhow::{Context, Result};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use std::{path::Path, time::Duration};

/// A connection on which nothing came for so long is given up: more than any watch lasts.
const NO_ANSWER: Duration = Duration::from_secs(330);

/// How long a connection may take to be made, TLS included: a few repetitions of a lost first
/// packet, and an overloaded server's handshake. While a host is gone, it is how late we are.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// Connects by `kubeconfig`, else as a pod, else by the user's own kubeconfig. Only reads files;
/// a server that cannot be reached is a matter of the requests.
pub async fn connect(kubeconfig: Option<&Path>) -> Result<Client> {
    client(read(kubeconfig).await?)
}

/// The server to watch.
#[derive(Clone)]
pub struct Server {
    pub(crate) client: Client,
    /// Where it is and who vouches for it: what was kept of another one is not used.
    pub(super) identity: String,
}

/// The same for watches: they have their own pauses, so a request fails at once.
pub(super) async fn connect_once(kubeconfig: Option<&Path>) -> Result<Server> {
    let mut config = read(kubeconfig).await?;
    let authorities = match (&config.root_cert, &config.root_cert_file) {
        (Some(certificates), _) => certificates.concat(),
        // One that cannot be read is found out by who connects.
        (None, Some(path)) => std::fs::read(path).unwrap_or_default(),
        (None, None) => Vec::new(),
    };
    let trust = crc32fast::hash(&authorities);
    let identity = format!("{} {} {trust:08x}", config.cluster_url, authorities.len());
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT_WITHIN);
    let server = config.cluster_url.to_string();
    let client = client(config)?;
    tracing::info!(server, "watching the Kubernetes API");
    Ok(Server { client, identity })
}

/// Finds out who we are and where the server is.
async fn read(kubeconfig: Option<&Path>) -> Result<Config> {
    match kubeconfig {
        Some(path) => {
            let context = || format!("cannot use the kubeconfig {}", path.display());
            let read = Kubeconfig::read_from(path).with_context(context)?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(read, &options)
                .await
                .with_context(context)
        }
        None if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => {
            Config::incluster().context("cannot use the pod's service account")
        }
        None => Config::infer()
            .await
            .context("not in a pod, and no kubeconfig found: use --kubeconfig or --manifests"),
    }
}

fn client(mut config: Config) -> Result<Client> {
    // A request that is accepted and never answered must not freeze the zone.
    config.read_timeout = Some(NO_ANSWER);
    Client::try_from(config).context("cannot set up the connection to the API")
}

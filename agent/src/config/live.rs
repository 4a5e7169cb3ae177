//! The configuration while the agent runs: followed in its file. A bad file changes nothing.

use super::{Config, ConfigError};
use crate::{
    cli::AgentArgs, model::slice_id, notice, publish::unix_now, report::one_line,
    telemetry::Telemetry,
};
use prometheus_client::metrics::{counter::Counter, family::Family, gauge::Gauge};
use std::{fs, path::PathBuf, sync::Arc, time::Duration};
use tokio::sync::{Notify, watch};

/// Looked at without an event, too: not every file system reports every change.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Files above this are refused, so that a mistake does not eat the node's memory.
const MAX_FILE: u64 = 4 << 20;

/// The configuration in force, and its file.
pub struct Live {
    args: AgentArgs,
    current: watch::Sender<Arc<Config>>,
    /// The text that was looked at last, good or bad.
    seen: Option<String>,
    figures: Figures,
}

/// What is told of reloads.
struct Figures {
    success: Gauge,
    time: Gauge,
    hash: Gauge,
    reloads: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Live {
    /// Reads the file under the command line; without a file the command line is all there is.
    pub fn open(args: AgentArgs, telemetry: &Telemetry) -> Result<Self, ConfigError> {
        let figures = Figures::register(telemetry);
        let (config, seen) = match &args.config {
            Some(path) => {
                let text = read(path)?;
                (Config::parse(&text)?, Some(text))
            }
            None => (Config::default(), None),
        };
        let config = args.over(config)?;
        figures.accepted(seen.as_deref().unwrap_or_default());
        Ok(Self {
            args,
            current: watch::Sender::new(Arc::new(config)),
            seen,
            figures,
        })
    }

    /// Follows the configuration in force.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Config>> {
        self.current.subscribe()
    }

    /// Follows the file for ever. A ConfigMap changes by the rename of a link in its directory.
    pub async fn run(mut self) {
        let Some(path) = self.args.config.clone() else {
            return core::future::pending().await;
        };
        let changed = Arc::new(Notify::new());
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.map_or_else(|| PathBuf::from("."), PathBuf::from);
        let _watcher = notice::watch(&directory, Arc::clone(&changed), LOOK_EVERY);
        loop {
            self.look();
            notice::change(&changed, LOOK_EVERY).await;
        }
    }

    /// Takes a changed file in, or says why not; each text once.
    fn look(&mut self) {
        let Some(path) = &self.args.config else {
            return;
        };
        let text = match read(path) {
            Ok(text) => text,
            Err(error) => {
                // Counted and logged once, until it can be read again.
                if self.seen.take().is_some() {
                    self.figures.refused();
                    self.refuse(&error);
                }
                return;
            }
        };
        if self.seen.as_deref() == Some(&text) {
            return;
        }
        let result = Config::parse(&text).and_then(|config| self.args.over(config));
        match result {
            Ok(config) => {
                self.figures.accepted(&text);
                self.accept(config);
            }
            Err(error) => {
                self.figures.refused();
                self.refuse(&error);
            }
        }
        self.seen = Some(text);
    }

    /// Publishes a configuration, without what only a new start can change.
    fn accept(&self, mut config: Config) {
        let old = self.current.borrow().clone();
        let mut later = Vec::new();
        if config.kubernetes.cluster_domain != old.kubernetes.cluster_domain {
            config.kubernetes.cluster_domain = old.kubernetes.cluster_domain.clone();
            later.push("kubernetes.cluster_domain");
        }
        if config.kubernetes.endpoint_slices != old.kubernetes.endpoint_slices {
            config.kubernetes.endpoint_slices = old.kubernetes.endpoint_slices;
            later.push("kubernetes.endpoint_slices");
            // It needs what has not changed.
            config.kubernetes.ignore_empty_service = old.kubernetes.ignore_empty_service;
        }
        // Sockets that are served are not made anew for other limits.
        if config.forward.sockets != old.forward.sockets {
            config.forward.sockets = old.forward.sockets.clone();
            later.push("forward.sockets");
        }
        if config.fanout != old.fanout {
            config.fanout = old.fanout.clone();
            later.push("fanout");
        }
        if config.http != old.http {
            config.http = old.http.clone();
            later.push("http");
        }
        if !later.is_empty() {
            let fields = later.join(", ");
            tracing::warn!(fields, "these count from the next start of the agent");
        }
        tracing::info!("read the configuration again");
        self.current.send_if_modified(|current| {
            let changed = **current != config;
            if changed {
                *current = Arc::new(config);
            }
            changed
        });
    }

    fn refuse(&self, error: &ConfigError) {
        let file = self.args.config.as_deref().unwrap_or_else(|| "".as_ref());
        let (file, error) = (file.display(), one_line(error));
        tracing::error!(%file, error, "the configuration is wrong; what was in force stays");
    }
}

impl Figures {
    fn register(telemetry: &Telemetry) -> Self {
        let this = Self {
            success: Gauge::default(),
            time: Gauge::default(),
            hash: Gauge::default(),
            reloads: Family::default(),
        };
        telemetry.extend(|registry| {
            let help = "1: the configuration file as it is now is in force";
            registry.register("config_reload_success", help, this.success.clone());
            registry.register_with_unit(
                "config_last_success_timestamp",
                "When a configuration was last taken in, Unix time",
                prometheus_client::registry::Unit::Seconds,
                this.time.clone(),
            );
            let help = "A number of the file in force, the same on every node that has it";
            registry.register("config_hash", help, this.hash.clone());
            let help = "Changed files, by what became of them: accepted, refused";
            registry.register("config_reloads", help, this.reloads.clone());
        });
        this
    }

    fn accepted(&self, text: &str) {
        self.success.set(1);
        self.time
            .set(i64::try_from(unix_now().0).unwrap_or(i64::MAX));
        // A metric is a double: 53 bits at most survive.
        self.hash.set((slice_id(text).0 >> 16) as i64);
        self.reloads.get_or_create(&[("result", "accepted")]).inc();
    }

    fn refused(&self) {
        self.success.set(0);
        self.reloads.get_or_create(&[("result", "refused")]).inc();
    }
}

/// The file's text.
fn read(path: &std::path::Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        path: path.display().to_string(),
        source,
    };
    if fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE {
        return Err(ConfigError::Text("more than 4 MiB".to_owned()));
    }
    fs::read_to_string(path).map_err(unreadable)
}

//! The configuration: one YAML file, read into types that hold only what makes sense. A value that
//! is wrong is refused with its line; what only whole sections can tell is checked by
//! [`Config::check`].
//!
//! ```text
//!   file --Config::read--> Config --flags, environment--> effective Config --watch--> every task
//! ```

pub mod classes;
pub mod fanout;
pub mod forward;
pub mod kubernetes;
pub mod listen;
pub mod policy;
pub mod rules;
pub mod text;
pub mod verify;

mod check;
mod live;
mod record;

pub use classes::{Class, DEFAULT_CLASS, External};
pub use fanout::Fanout;
pub use forward::{
    Cache, Forward, Group, Policy, Prefetch, ServeStale, Shared, Sockets, Transport, Upstream,
};
pub use kubernetes::{EndpointSlices, Kubernetes, MissPolicy, Pods, Processes};
pub use listen::Listen;
pub use live::Live;
pub use policy::{KnownLabels, LookupRule, Seen, Sight};
pub use rules::{GuardMode, Host, Match, Pattern, Rewrite, TldGuard};
pub use text::{Glob, Name, Network, ObjectName, Period, Selector};
pub use verify::Verify;

use crate::labels::Labels;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// Everything that can be configured. Every field has a default: an empty file is a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The cluster's zone, with the options of CoreDNS's `kubernetes` plugin
    pub kubernetes: Kubernetes,
    /// What the libraries inside other processes do
    pub processes: Processes,
    /// Classes of pods by their namespace: the first that matches counts, else `default`
    pub classes: Vec<Class>,
    /// Which namespaces a namespace may look up: one that no rule names sees everything, others see
    /// what the rules that name them allow, added up. What is hidden does not exist
    pub policy: Vec<LookupRule>,
    /// So many zones that hide something are published on a node; a pod of a namespace beyond has
    /// none, and its libc answers
    #[schemars(range(min = 1, max = 1024))]
    pub max_views: usize,
    /// Upstreams and the cache of the forwarder, which serves class `node` and the listener
    pub forward: Forward,
    /// The DNS listener for programs that bypass libc; absent: none
    pub listen: Option<Listen>,
    /// Names that are answered under another name; the first match counts
    pub rewrite: Vec<Rewrite>,
    /// Names with fixed addresses
    pub hosts: Vec<Host>,
    /// Names that do not exist, with everything below them
    pub block: Vec<Name>,
    /// Namespaces that are named as top-level domains are
    pub tld_guard: TldGuard,
    /// Names of the zone, compared with what the cluster DNS says
    pub verify: Verify,
    /// A bucket of NATS JetStream instead of watches of the API server
    pub fanout: Fanout,
    /// /healthz, /readyz and /metrics
    pub http: Http,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            kubernetes: Kubernetes::default(),
            processes: Processes::default(),
            classes: Vec::new(),
            verify: Verify::default(),
            policy: Vec::new(),
            max_views: 32,
            forward: Forward::default(),
            listen: None,
            rewrite: Vec::new(),
            hosts: Vec::new(),
            block: Vec::new(),
            tld_guard: TldGuard::default(),
            fanout: Fanout::default(),
            http: Http::default(),
        }
    }
}

/// The HTTP server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port; null: none
    pub address: Option<SocketAddr>,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            address: Some(SocketAddr::from(([127, 0, 0, 1], 9353))),
        }
    }
}

/// Why a file is no configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Its text is wrong in one place: the line, the column, the field.
    #[error("{0}")]
    Text(String),
    /// Its parts do not go together: one line per finding.
    #[error("{}", .0.join("; "))]
    Sense(Vec<String>),
}

impl Config {
    /// Reads YAML (or JSON, which is YAML) and checks it. An empty text is the default.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
        let config = if text.lines().all(blank) {
            Self::default()
        } else {
            serde_saphyr::from_str(text).map_err(|error| ConfigError::Text(one_place(&error)))?
        };
        config.check().map_err(ConfigError::Sense)?;
        Ok(config)
    }

    /// Reads a file.
    pub fn read(path: &std::path::Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.display().to_string(),
            source,
        })?;
        Self::parse(&text)
    }

    /// The class of pods of a namespace with these labels.
    pub fn class_of(&self, namespace: &str, labels: &Labels) -> &str {
        let mut classes = self.classes.iter();
        classes
            .find(|class| class.holds(namespace, labels))
            .map_or(DEFAULT_CLASS, |class| &class.name)
    }

    /// A class by its name; `default` is always there.
    pub fn class(&self, name: &str) -> Option<Class> {
        let found = self.classes.iter().find(|class| class.name == name);
        let default = || (name == DEFAULT_CLASS).then(Class::default_class);
        found.cloned().or_else(default)
    }

    /// What a namespace with these labels may look up.
    pub fn sight_of(&self, namespace: &str, labels: KnownLabels<'_>) -> Sight {
        policy::sight(&self.policy, namespace, labels)
    }

    /// Whether anything may be hidden from anybody. Then the agent never asks for a name of the
    /// cluster: what DNS says to the node is more than the pod may see.
    pub fn has_views(&self) -> bool {
        !self.policy.is_empty()
    }

    /// Every class with who asks external names for it; `default` is always among them, and first.
    pub fn all_classes(&self) -> Vec<(&str, External)> {
        let default = self
            .classes
            .iter()
            .find(|class| class.name == DEFAULT_CLASS);
        let first = (
            DEFAULT_CLASS,
            default.map_or(External::Pod, |class| class.external),
        );
        let others = self
            .classes
            .iter()
            .filter(|class| class.name != DEFAULT_CLASS);
        core::iter::once(first)
            .chain(others.map(|class| (class.name.as_str(), class.external)))
            .collect()
    }

    /// Every class as it is; `default` is always among them, and first.
    pub fn classes_in_full(&self) -> Vec<Class> {
        let names = self.all_classes().into_iter();
        names.filter_map(|(name, _)| self.class(name)).collect()
    }

    /// Whether anything of this agent asks upstreams: a class, or the listener.
    pub fn needs_forwarder(&self) -> bool {
        let mut classes = self.all_classes().into_iter();
        self.listen.is_some() || classes.any(|(_, external)| external == External::Node)
    }

    /// Whether slices of ClusterIP services are published.
    pub fn holds_all_slices(&self) -> bool {
        self.kubernetes.endpoint_slices == EndpointSlices::All
    }

    /// Says who asks external names for the class `default`.
    pub fn set_default_class(&mut self, external: External) {
        let mut classes = self.classes.iter_mut();
        match classes.find(|class| class.name == DEFAULT_CLASS) {
            Some(class) => class.external = external,
            None => self.classes.push(Class {
                external,
                ..Class::default_class()
            }),
        }
    }

    /// The JSON schema of the file.
    pub fn schema() -> String {
        let schema = schemars::schema_for!(Self);
        let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// What is wrong and where, on one line: the first line of the error says both.
fn one_place(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;

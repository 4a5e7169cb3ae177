//! Classes of pods: who asks external names for them.

use super::text::{Glob, Selector};
use crate::labels::Labels;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The class of every namespace that no other class matches.
pub const DEFAULT_CLASS: &str = "default";

/// Who asks external names.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    Deserialize,
    Serialize,
    JsonSchema,
    clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum External {
    /// Libc, as if nss-k8s were not there
    Off,
    /// The process itself, over TCP, from its own network namespace
    #[default]
    Pod,
    /// The agent's forwarder, with the node's identity; answers are shared in memory
    Node,
}

/// A class of pods, by their namespaces. A namespace is of the class when it is named, or when its
/// labels match. `default` needs neither.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// A DNS label; also the directory `view/<name>`
    pub name: String,
    /// Who asks external names
    #[serde(default)]
    pub external: External,
    /// Load the libraries into new pods; false: their `/etc/ld.so.preload` is empty
    #[serde(default = "yes")]
    pub inject: bool,
    /// Libc answers; what the zone would have said is compared and counted
    #[serde(default)]
    pub shadow: bool,
    /// Names of namespaces; `*` stands for any characters
    #[serde(default)]
    pub namespaces: Vec<Glob>,
    /// Labels of namespaces, as `kubectl -l` takes them
    #[serde(default)]
    pub namespace_selector: Option<Selector>,
}

impl Class {
    /// The class `default` as it is when nobody says otherwise.
    pub fn default_class() -> Self {
        Self {
            name: DEFAULT_CLASS.to_owned(),
            external: External::default(),
            inject: true,
            shadow: false,
            namespaces: Vec::new(),
            namespace_selector: None,
        }
    }

    /// Whether a namespace is of this class by its name or its labels.
    pub fn holds(&self, namespace: &str, labels: &Labels) -> bool {
        let named = self.namespaces.iter().any(|glob| glob.matches(namespace));
        let selected = |selector: &Selector| selector.matches(labels);
        named || self.namespace_selector.as_ref().is_some_and(selected)
    }
}

const fn yes() -> bool {
    true
}

//! Which namespaces are served: CoreDNS's `namespaces` and `namespace_labels`.

use super::Labels;
use crate::config::Selector;

/// The namespaces that are served; others do not exist, nor does anything in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exposure {
    /// By name; empty: all.
    pub names: Vec<String>,
    /// By labels; `None`: all.
    pub labels: Option<Selector>,
}

/// Whether one namespace is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Shown {
    /// It is.
    #[default]
    Yes,
    /// It does not exist.
    No,
    /// Its labels are not known yet: what is published of it stays, nothing is added.
    Undecided,
}

impl Exposure {
    /// Whether a namespace is served; `certain` when `labels` are all that it has.
    pub(super) fn decide(&self, name: &str, labels: &Labels, certain: bool) -> Shown {
        if !self.names.is_empty() && !self.names.iter().any(|served| served == name) {
            return Shown::No;
        }
        match &self.labels {
            None => Shown::Yes,
            Some(_) if !certain => Shown::Undecided,
            Some(selector) if selector.matches(labels) => Shown::Yes,
            Some(_) => Shown::No,
        }
    }
}

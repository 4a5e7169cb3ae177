//! Which namespaces are served: CoreDNS's `namespaces` and `namespace_labels`.

use super::{Labels, Model, Presence, Settings, Source};
use crate::config::Selector;
use std::collections::{BTreeSet, HashSet};

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

/// A namespace that exists.
#[derive(Clone, Copy, Debug)]
pub struct KnownNamespace<'m> {
    /// Its name.
    pub name: &'m str,
    /// Its labels.
    pub labels: &'m Labels,
    /// It was listed by itself: not only something in it.
    pub listed: bool,
}

impl<'m> KnownNamespace<'m> {
    /// Its labels, if these are all that it has for certain.
    pub fn certain(&self) -> Option<&'m Labels> {
        self.listed.then_some(self.labels)
    }
}

impl Presence {
    fn known<'m>(&'m self, name: &'m str) -> KnownNamespace<'m> {
        KnownNamespace {
            name,
            labels: &self.labels,
            listed: self.listed,
        }
    }
}

impl Model {
    /// Follows a changed configuration. Its effect on the zone is a difference, as any other.
    pub fn configure(&mut self, settings: Settings) {
        let reveals = self.settings.exposure != settings.exposure;
        let empties = self.settings.ignore_empty != settings.ignore_empty;
        self.settings = settings;
        if reveals {
            self.dirty_namespaces
                .extend(self.namespaces.keys().cloned());
        }
        if empties {
            self.dirty_services.extend(self.services.keys().cloned());
        }
    }

    /// The namespaces that exist, served or not; `None` until they are listed.
    pub fn namespaces(&self) -> Option<impl Iterator<Item = KnownNamespace<'_>>> {
        let all = self.namespaces.iter();
        self.is_listed(Source::Namespaces)
            .then(|| all.map(|(name, presence)| presence.known(name)))
    }

    /// One of them.
    pub fn namespace(&self, name: &str) -> Option<KnownNamespace<'_>> {
        let (name, presence) = self.namespaces.get_key_value(name)?;
        Some(presence.known(name))
    }

    /// Those of which the flushes since the last call of this may have changed what
    /// [`Model::namespace`] says; `None`: there was no such flush.
    pub fn changed_namespaces(&mut self) -> Option<BTreeSet<String>> {
        self.changed_namespaces.take()
    }

    /// Whether every slice has been listed once.
    pub(super) fn has_slices(&self) -> bool {
        let mut feeds = self.feeds.iter().filter(|(source, _)| source.is_slices());
        feeds.all(|(_, feed)| feed.listed)
    }

    /// Decides whether these namespaces are served; marks the services of those of which that has
    /// changed. There is no list of one namespace's services: all are looked at, once for all of these.
    pub(super) fn look_at(&mut self, names: &BTreeSet<String>) {
        let all_listed = self.is_listed(Source::Namespaces);
        let mut turned = HashSet::new();
        for name in names {
            let Some(presence) = self.namespaces.get_mut(name) else {
                continue;
            };
            let certain = presence.listed || all_listed;
            let exposure = &self.settings.exposure;
            let shown = exposure.decide(name, &presence.labels, certain);
            if core::mem::replace(&mut presence.shown, shown) != shown && presence.objects > 0 {
                turned.insert(name.as_str());
            }
        }
        if !turned.is_empty() {
            let services = self.services.keys();
            let within = services.filter(|key| turned.contains(key.namespace()));
            self.dirty_services.extend(within.cloned());
        }
    }
}

//! One zone: what it shows, and how it comes to hold that.

use super::{Departure, Wanted};
use crate::config::Class;
use anyhow::Result;
use nss_k8s_zone::{Config, Entry, Item, Opened, Options, State, Statistics, WriteError, Writer};
use std::{collections::BTreeSet, path::Path, sync::Arc};

/// The namespaces of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// All there are.
    Everything,
    /// These, as far as there are any.
    Only(Arc<BTreeSet<String>>),
}

impl Shown {
    /// Whether a namespace is among them.
    pub fn holds(&self, namespace: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Only(names) => names.contains(namespace),
        }
    }

    /// Whether all of these are among those, too.
    fn is_within(&self, those: &Self) -> bool {
        match (self, those) {
            (_, Self::Everything) => true,
            (Self::Everything, Self::Only(_)) => false,
            (Self::Only(these), Self::Only(those)) => {
                Arc::ptr_eq(these, those) || these.is_subset(those)
            }
        }
    }
}

/// One zone.
pub struct View {
    /// The directory below `view/`.
    pub name: String,
    /// The class of its pods.
    pub class: Class,
    /// As processes see it.
    pub published: Config,
    /// What it has of the cluster.
    pub shown: Shown,
    pub(super) writer: Writer,
    /// It is wanted no more.
    pub(super) leaves: Option<Departure>,
    /// Not everything that it shows had space.
    pub(super) lacks_entries: bool,
}

impl View {
    pub(super) fn open(options: Options, wanted: Wanted) -> Result<(Self, Opened)> {
        let (writer, opened) = Writer::open(options)?;
        let path = writer.path().display().to_string();
        match &opened {
            Opened::Created => tracing::info!(path, "created the zone"),
            Opened::Adopted {
                namespaces,
                services,
            } => {
                tracing::info!(path, namespaces, services, "adopted the zone");
            }
            Opened::Replaced { why } => tracing::warn!(path, why, "replaced the zone"),
        }
        let view = Self {
            name: wanted.name,
            class: wanted.class,
            published: writer.config(),
            shown: wanted.shown,
            writer,
            leaves: None,
            lacks_entries: false,
        };
        Ok((view, opened))
    }

    /// Whether it is wanted no more.
    pub fn leaves(&self) -> bool {
        self.leaves.is_some()
    }

    /// Publishes a configuration when it differs; true when it did.
    pub fn configure(&mut self, config: Config) -> Result<bool, WriteError> {
        if config == self.published {
            return Ok(false);
        }
        self.writer.configure(&config)?;
        self.published = config;
        Ok(true)
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        self.writer.entries()
    }

    /// What it holds in these namespaces.
    pub(super) fn entries_in(&self, wanted: impl Fn(&str) -> bool) -> Vec<Entry> {
        let mut entries = Vec::new();
        entries.extend(self.each_entry().filter(|entry| match entry {
            Entry::Namespace(name) => wanted(name),
            Entry::Service { key, .. } => wanted(key.namespace()),
        }));
        entries
    }

    /// Everything, one by one.
    pub(super) fn each_entry(&self) -> impl Iterator<Item = Entry> {
        self.writer.each_entry()
    }

    pub(super) fn state(&self) -> State {
        self.writer.state()
    }

    pub(super) fn statistics(&self) -> Statistics {
        self.writer.statistics()
    }

    /// Goes on showing the namespaces that it has.
    pub(super) fn keep_shown(&mut self) {
        self.shown = Shown::Only(Arc::new(self.namespaces()));
    }

    /// The namespaces in it.
    fn namespaces(&self) -> BTreeSet<String> {
        let names = self.each_entry().filter_map(|entry| match entry {
            Entry::Namespace(name) => Some(name),
            Entry::Service { .. } => None,
        });
        names.collect()
    }

    /// Takes over what another zone holds, as far as this one shows it. What does not fit makes
    /// misses ask.
    pub(super) fn become_equal(&mut self, entries: &[Entry], incomplete: bool) {
        let shown = self.shown.clone();
        let copied = self
            .copy(entries, &shown)
            .and_then(|()| self.keep(entries, &shown));
        if let Err(error) = &copied {
            tracing::error!(view = self.name, %error, "cannot copy the zone");
        }
        self.lacks_entries = copied.is_err();
        self.writer.set_incomplete(incomplete || copied.is_err());
    }

    /// Whether it has not yet got all that it would show.
    pub(super) fn gains(&self, shown: &Shown) -> bool {
        self.lacks_entries || !shown.is_within(&self.shown)
    }

    /// Whether it would show a namespace and has not yet got all that is in there.
    pub(super) fn lacks(&self, namespace: &str, shown: &Shown) -> bool {
        shown.holds(namespace) && (self.lacks_entries || !self.shown.holds(namespace))
    }

    /// Shows other namespaces: those that are to be hidden go first. `entries` is what it lacks of those
    /// that it gains. True when some went; an error: they could not.
    pub(super) fn show(&mut self, shown: &Shown, entries: &[Entry]) -> Result<bool, WriteError> {
        let mut lost = false;
        if !self.shown.is_within(shown) {
            // In process a namespace that is absent hides all that is in it.
            for name in self.namespaces() {
                if !shown.holds(&name) {
                    self.writer.delete_namespace(&name)?;
                    lost = true;
                }
            }
            let removed = self.writer.retain(|item| match item {
                Item::Namespace(name) => shown.holds(name),
                Item::Service(key) | Item::Slice(key, _) => shown.holds(key.namespace()),
            })?;
            lost |= removed > 0;
        }
        if self.gains(shown) {
            let copied = self.copy(entries, shown);
            if let Err(error) = &copied {
                tracing::error!(view = self.name, %error, "cannot show more namespaces");
            }
            self.lacks_entries = copied.is_err();
        }
        self.shown = shown.clone();
        Ok(lost)
    }

    /// Puts what it is to show. Namespaces come last, so that none appears empty.
    fn copy(&mut self, entries: &[Entry], shown: &Shown) -> Result<(), WriteError> {
        for entry in entries {
            let Entry::Service { key, body, slices } = entry else {
                continue;
            };
            if !shown.holds(key.namespace()) {
                continue;
            }
            for (id, slice) in slices {
                self.writer.put_slice(key, *id, slice)?;
            }
            if let Some(body) = body {
                self.writer.put_service(key, body)?;
            }
        }
        for entry in entries {
            if let Entry::Namespace(name) = entry
                && shown.holds(name)
            {
                self.writer.put_namespace(name)?;
            }
        }
        Ok(())
    }

    /// Removes what is not among these entries.
    fn keep(&mut self, entries: &[Entry], shown: &Shown) -> Result<(), WriteError> {
        let mut namespaces = BTreeSet::new();
        let mut services = BTreeSet::new();
        let mut held = BTreeSet::new();
        for entry in entries {
            match entry {
                Entry::Namespace(name) if shown.holds(name) => {
                    namespaces.insert(name.as_str());
                }
                Entry::Service { key, body, slices } if shown.holds(key.namespace()) => {
                    held.extend(slices.keys().map(|id| (key, *id)));
                    if body.is_some() {
                        services.insert(key);
                    }
                }
                _ => {}
            }
        }
        self.writer.retain(|item| match item {
            Item::Namespace(name) => namespaces.contains(name),
            Item::Service(key) => services.contains(key),
            Item::Slice(key, id) => held.contains(&(key, id)),
        })?;
        Ok(())
    }

    /// Ends the zone: processes look for another file.
    pub(super) fn retire(self) {
        let view = self.name;
        let directory = self.writer.path().parent().map(Path::to_owned);
        match self.writer.retire() {
            Ok(()) => {
                tracing::info!(view, "retired the zone");
                // That of a class may be mounted, and the class may come back.
                if let (Some(directory), Shown::Only(_)) = (directory, &self.shown) {
                    let _stays_when_there_is_more = std::fs::remove_dir(directory);
                }
            }
            Err(error) => tracing::warn!(view, %error, "cannot retire the zone"),
        }
    }
}

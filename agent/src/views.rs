//! The zones of all classes of pods: the same content in each, another configuration. A process
//! maps one of them; which one is decided by its pod's directory.
//!
//! ```text
//!   model --Sink--> Views --+-- view/default/zone.v1
//!                           +-- view/<class>/zone.v1 ...
//! ```

use crate::{
    config::External,
    model::{Held, Sink},
};
use anyhow::{Context, Result};
use nss_k8s_zone::{
    Config, Dump, Entry, Now, Opened, Options, ServiceBody, ServiceKey, Slice, SliceId, State,
    Statistics, WriteError, Writer,
};
use std::{collections::BTreeSet, time::Instant};

/// One writer per class; `default` is the first, and is always there.
pub struct Views {
    options: Options,
    views: Vec<View>,
    /// The last beat of the agent before this one.
    pub alive_before: Now,
    /// Some zone went on from an earlier agent.
    pub adopted: bool,
}

/// One class's zone.
pub struct View {
    /// The class.
    pub class: String,
    /// Who asks external names for it.
    pub external: External,
    /// As processes see it.
    pub published: Config,
    writer: Writer,
}

impl Views {
    /// Opens the zones of these classes, `default` first, going on with those that are there. All
    /// hold the same afterwards.
    pub fn open(options: Options, classes: &[(&str, External)]) -> Result<Self> {
        let mut this = Self {
            views: Vec::new(),
            alive_before: Now(0),
            adopted: false,
            options,
        };
        let mut source = 0;
        for (class, external) in classes {
            let options = this.options_of(class);
            let alive = Dump::open(&options.zone_path()).map_or(Now(0), |zone| zone.alive());
            let (view, opened) = View::open(options, class, *external)?;
            // Where the default's file could not go on, another class's may have.
            if matches!(opened, Opened::Adopted { .. }) && !this.adopted {
                source = this.views.len();
                this.adopted = true;
            }
            this.alive_before.0 = this.alive_before.0.max(alive.0);
            this.views.push(view);
        }
        let (entries, incomplete) = this.views.get(source).map_or((Vec::new(), false), |view| {
            (view.writer.entries(), view.writer.statistics().incomplete)
        });
        for (index, view) in this.views.iter_mut().enumerate() {
            if index != source {
                view.become_equal(&entries, incomplete);
            }
        }
        this.retire_strangers();
        Ok(this)
    }

    /// Follows a changed list of classes.
    pub fn align(&mut self, classes: &[(&str, External)], synced: Option<Now>) -> Result<()> {
        let wanted: BTreeSet<&str> = classes.iter().map(|(class, _)| *class).collect();
        let (kept, gone) = core::mem::take(&mut self.views)
            .into_iter()
            .partition(|view| wanted.contains(view.class.as_str()));
        self.views = kept;
        for view in gone {
            retire(view);
        }
        for (class, external) in classes {
            let mut views = self.views.iter_mut();
            if let Some(view) = views.find(|view| view.class == *class) {
                view.external = *external;
                continue;
            }
            let first = self.views.first().context("no class default")?;
            let (entries, incomplete) =
                (first.writer.entries(), first.writer.statistics().incomplete);
            let disabled = first.writer.state() == State::Disabled;
            let (mut view, _) = View::open(self.options_of(class), class, *external)?;
            view.become_equal(&entries, incomplete);
            match (disabled, synced) {
                (true, _) => view.writer.disable(),
                (false, Some(now)) => view.writer.set_synced(now),
                (false, None) => {}
            }
            self.views.push(view);
        }
        Ok(())
    }

    /// The zones.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut View> {
        self.views.iter_mut()
    }

    /// What the zones hold.
    pub fn held(&self) -> Held {
        let mut held = Held::default();
        for entry in self.first().map(Writer::entries).unwrap_or_default() {
            match entry {
                Entry::Namespace(name) => {
                    held.namespaces.insert(name);
                }
                Entry::Service { key, body, slices } => {
                    let slices = slices.keys().map(|id| (key.clone(), *id));
                    held.slices.extend(slices);
                    if body.is_some() {
                        held.services.insert(key);
                    }
                }
            }
        }
        held
    }

    /// The state of the zone of `default`.
    pub fn state(&self) -> State {
        self.first().map_or(State::Init, Writer::state)
    }

    /// The figures of the zone of `default`.
    pub fn statistics(&self) -> Option<Statistics> {
        self.first().map(Writer::statistics)
    }

    /// [`Writer::beat`] of every zone.
    pub fn beat(&mut self, now: Now) {
        self.each(|writer| writer.beat(now));
    }

    /// [`Writer::mark_synced`] of every zone.
    pub fn mark_synced(&mut self, now: Now) {
        self.each(|writer| writer.mark_synced(now));
    }

    /// [`Writer::set_synced`] of every zone.
    pub fn set_synced(&mut self, now: Now) {
        self.each(|writer| writer.set_synced(now));
    }

    /// [`Writer::set_incomplete`] of every zone.
    pub fn set_incomplete(&mut self, incomplete: bool) {
        self.each(|writer| writer.set_incomplete(incomplete));
    }

    /// [`Writer::disable`] of every zone.
    pub fn disable(&mut self) {
        self.each(Writer::disable);
    }

    /// [`Writer::enable`] of every zone that is disabled.
    pub fn enable(&mut self) {
        self.each(|writer| {
            if writer.state() == State::Disabled {
                writer.enable();
            }
        });
    }

    /// [`Writer::advance`] of every zone; the earliest time to call again.
    pub fn advance(&mut self, now: Instant) -> Option<Instant> {
        let views = self.views.iter_mut();
        views.filter_map(|view| view.writer.advance(now)).min()
    }

    fn first(&self) -> Option<&Writer> {
        self.views.first().map(|view| &view.writer)
    }

    fn each(&mut self, mut change: impl FnMut(&mut Writer)) {
        for view in &mut self.views {
            change(&mut view.writer);
        }
    }

    /// Changes every zone; an error of one does not keep the others from it.
    fn commit(
        &mut self,
        change: impl Fn(&mut Writer) -> Result<bool, WriteError>,
    ) -> Result<bool, WriteError> {
        let mut result = Ok(false);
        for view in &mut self.views {
            match (change(&mut view.writer), &mut result) {
                (Ok(changed), Ok(any)) => *any |= changed,
                (Err(error), Ok(_)) => result = Err(error),
                (_, Err(_)) => {}
            }
        }
        result
    }

    fn options_of(&self, class: &str) -> Options {
        Options {
            view: class.to_owned(),
            ..self.options.clone()
        }
    }

    /// Retires what an earlier agent published for classes that are configured no more.
    fn retire_strangers(&self) {
        for class in crate::switch::published_classes(&self.options.directory) {
            if self.views.iter().any(|view| view.class == class) {
                continue;
            }
            match View::open(self.options_of(&class), &class, External::Off) {
                Ok((view, _)) => retire(view),
                Err(error) => tracing::warn!(class, %error, "cannot retire the zone of a class"),
            }
        }
    }
}

impl View {
    fn open(options: Options, class: &str, external: External) -> Result<(Self, Opened)> {
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
            class: class.to_owned(),
            external,
            published: writer.config(),
            writer,
        };
        Ok((view, opened))
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

    /// Takes over what another class's zone holds. What does not fit makes misses ask.
    fn become_equal(&mut self, entries: &[Entry], incomplete: bool) {
        let copied = self.copy(entries);
        if let Err(error) = &copied {
            tracing::error!(class = self.class, %error, "cannot copy the zone");
        }
        self.writer.set_incomplete(incomplete || copied.is_err());
    }

    fn copy(&mut self, entries: &[Entry]) -> Result<(), WriteError> {
        let mut namespaces = BTreeSet::new();
        let mut services = BTreeSet::new();
        let mut slices = BTreeSet::new();
        for entry in entries {
            if let Entry::Namespace(name) = entry {
                self.writer.put_namespace(name)?;
                namespaces.insert(name.as_str());
            }
        }
        for entry in entries {
            let Entry::Service {
                key,
                body,
                slices: held,
            } = entry
            else {
                continue;
            };
            for (id, slice) in held {
                self.writer.put_slice(key, *id, slice)?;
                slices.insert((key, *id));
            }
            if let Some(body) = body {
                self.writer.put_service(key, body)?;
                services.insert(key);
            }
        }
        self.writer.retain(|item| match item {
            nss_k8s_zone::Item::Namespace(name) => namespaces.contains(name),
            nss_k8s_zone::Item::Service(key) => services.contains(key),
            nss_k8s_zone::Item::Slice(key, id) => slices.contains(&(key, id)),
        })?;
        Ok(())
    }
}

/// Ends the zone of a class: processes look for another file.
fn retire(view: View) {
    let class = view.class;
    // The directory stays: it may be mounted, and the class may come back.
    match view.writer.retire() {
        Ok(()) => tracing::info!(class, "retired the zone of a class"),
        Err(error) => tracing::warn!(class, %error, "cannot retire the zone of a class"),
    }
}

impl Sink for Views {
    fn put_namespace(&mut self, name: &str) -> Result<bool, WriteError> {
        self.commit(|writer| writer.put_namespace(name))
    }
    fn delete_namespace(&mut self, name: &str) -> Result<bool, WriteError> {
        self.commit(|writer| writer.delete_namespace(name))
    }
    fn put_service(&mut self, key: &ServiceKey, body: &ServiceBody) -> Result<bool, WriteError> {
        self.commit(|writer| writer.put_service(key, body))
    }
    fn delete_service(&mut self, key: &ServiceKey) -> Result<bool, WriteError> {
        self.commit(|writer| writer.delete_service(key))
    }
    fn put_slice(
        &mut self,
        key: &ServiceKey,
        id: SliceId,
        slice: &Slice,
    ) -> Result<bool, WriteError> {
        self.commit(|writer| writer.put_slice(key, id, slice))
    }
    fn delete_slice(&mut self, key: &ServiceKey, id: SliceId) -> Result<bool, WriteError> {
        self.commit(|writer| writer.delete_slice(key, id))
    }
}

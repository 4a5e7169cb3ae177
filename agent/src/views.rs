//! The zones of a node. Each class of pods has one with everything in it; pods that may not look up
//! everything have one of theirs that holds what they may. A process maps one of them; which one
//! is decided by its pod's directory.
//!
//! ```text
//!   model --Sink--> Views --+-- view/default/zone.v1            everything
//!                           +-- view/<class>/zone.v1 ...        everything
//!                           +-- view/<class>-<hash>/zone.v1 ... some namespaces
//! ```
//!
//! A zone that some pod shall not have any more is not taken from its processes by another link in
//! the pod's directory: they look there again only when the file that they have mapped is superseded.
//! So such a zone moves to another inode ([`Views::renew`]), every directory is linked to what it
//! shall have, and then the former inode is superseded ([`Views::settle`]).

mod sink;
mod view;

pub use view::{Shown, View};

use crate::{config::Class, model::Held, table::Table};
use anyhow::{Context, Result};
use nss_k8s_zone::{Entry, Former, Now, Opened, Options, State, Statistics, Writer};
use std::time::{Duration, Instant};

/// How long processes are left where they are when nobody says that the directories are linked.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is to be published under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The directory below `view/`.
    pub name: String,
    /// The class of its pods.
    pub class: Class,
    /// What they may look up.
    pub shown: Shown,
}

impl Wanted {
    /// The zone of a class with everything in it.
    pub fn of_class(class: Class) -> Self {
        Self {
            name: class.name.clone(),
            class,
            shown: Shown::Everything,
        }
    }
}

/// The zones, with a writer each; that of `default` is the first, is always there, and has
/// everything.
pub struct Views {
    options: Options,
    views: Vec<View>,
    former: Vec<Leaving<Former>>,
    /// The last beat of the agent before this one.
    pub alive_before: Now,
    /// Some zone went on from an earlier agent.
    pub adopted: bool,
}

/// Something that goes once the directories are linked anew.
struct Leaving<T> {
    what: T,
    until: Departure,
}

/// When a zone goes: once the directories are linked by the table of a number, and at the latest at
/// that time. Nothing: nobody has been told yet.
#[derive(Clone, Copy, Debug, Default)]
struct Departure(Option<(u64, Instant)>);

impl Departure {
    fn is_due(self, linked: u64, now: Instant) -> bool {
        self.0
            .is_some_and(|(generation, deadline)| generation <= linked || deadline <= now)
    }
}

impl Views {
    /// Opens the zones of these classes, `default` first, going on with those that are there. All
    /// hold the same afterwards. Other zones go on as they are: where something is hidden (`hides`)
    /// and the table of the agent before this one names their class, until it is known what they
    /// shall hold, else until nobody has them any more.
    pub fn open(
        options: Options,
        classes: &[Class],
        before: Option<&Table>,
        hides: bool,
    ) -> Result<Self> {
        let mut this = Self {
            views: Vec::new(),
            former: Vec::new(),
            alive_before: Now(0),
            adopted: false,
            options,
        };
        let mut source = 0;
        for class in classes {
            let wanted = Wanted::of_class(class.clone());
            let options = this.options_of(&wanted.name);
            let (view, opened) = View::open(options, wanted)?;
            // Where the default's file could not go on, another class's may have.
            if matches!(opened, Opened::Adopted { .. }) {
                this.alive_before.0 = this.alive_before.0.max(view.writer.alive().0);
                if !this.adopted {
                    source = this.views.len();
                    this.adopted = true;
                }
            }
            this.views.push(view);
        }
        let published = crate::switch::published_classes(&this.options.directory);
        let is_alone = this.views.len() == 1 && published.iter().all(|name| this.has(name));
        let (entries, incomplete) = match this.views.get(source) {
            // A large zone is many entries: not read where nobody wants them.
            Some(view) if is_alone => (Vec::new(), view.statistics().incomplete),
            Some(view) => (view.entries(), view.statistics().incomplete),
            None => (Vec::new(), false),
        };
        for (index, view) in this.views.iter_mut().enumerate() {
            if index != source {
                view.become_equal(&entries, incomplete);
            }
        }
        this.take_over(classes, before, hides, &entries);
        Ok(this)
    }

    /// Follows what is wanted: the first is `default`. What is wanted no more goes on until the
    /// directories are linked anew. An error leaves a zone out, and concerns no other.
    pub fn align(&mut self, wanted: &[Wanted], synced: Option<Now>) -> Vec<anyhow::Error> {
        let mut errors = Vec::new();
        for view in &mut self.views {
            let stays = wanted.iter().any(|wanted| wanted.name == view.name);
            match (&view.leaves, stays) {
                (Some(_), true) => view.leaves = None,
                (None, false) => view.leaves = Some(Departure::default()),
                _ => {}
            }
        }
        for wanted in wanted {
            if let Err(error) = self.settle_one(wanted, synced) {
                errors.push(error.context(format!("the zone {}", wanted.name)));
            }
        }
        errors
    }

    /// Makes one zone as it is wanted.
    fn settle_one(&mut self, wanted: &Wanted, synced: Option<Now>) -> Result<()> {
        let first = self.views.first().context("no class default")?;
        let incomplete = first.statistics().incomplete;
        let state = first.state();
        let synced = synced.unwrap_or(self.alive_before);
        let index = self.views.iter().position(|view| view.name == wanted.name);
        if let Some(index) = index {
            let view = &self.views[index];
            let entries = match view.gains(&wanted.shown) {
                true => first.entries_in(|name| view.lacks(name, &wanted.shown)),
                false => Vec::new(),
            };
            let view = &mut self.views[index];
            view.class = wanted.class.clone();
            match view.show(&wanted.shown, &entries) {
                Ok(lost) => {
                    // What it held is still among its bytes, for whoever maps it from now on.
                    if lost {
                        let name = wanted.name.clone();
                        self.renew(&name);
                    }
                    return Ok(());
                }
                // Better no zone than one with something in it that is to be hidden.
                Err(error) => {
                    self.views.remove(index).retire();
                    return Err(error.into());
                }
            }
        }
        let entries = first.entries_in(|name| wanted.shown.holds(name));
        let (mut view, _) = View::open(self.options_of(&wanted.name), wanted.clone())?;
        view.become_equal(&entries, incomplete);
        match state {
            State::Disabled => view.writer.disable(),
            // What an earlier agent published of everything is as good in parts.
            State::Live => view.writer.set_synced(synced),
            _ => {}
        }
        self.views.push(view);
        Ok(())
    }

    /// Moves a zone to another inode: some pod that has it shall not have it any more. False: there
    /// is no such zone.
    pub fn renew(&mut self, name: &str) -> bool {
        let mut views = self.views.iter_mut();
        let Some(view) = views.find(|view| view.name == name && !view.leaves()) else {
            return false;
        };
        match view.writer.renew() {
            Ok(former) => {
                tracing::info!(view = name, "moved the zone: pods have left it");
                self.former.push(Leaving {
                    what: former,
                    until: Departure::default(),
                });
                true
            }
            Err(error) => {
                tracing::error!(view = name, %error, "pods that have left a zone still see it");
                false
            }
        }
    }

    /// What leaves, and did not at the last call, does so once the directories are linked by the table
    /// of this number. Whether there is such.
    pub fn depart(&mut self, generation: u64) -> bool {
        let leaving = self.views.iter_mut().filter_map(|it| it.leaves.as_mut());
        let former = self.former.iter_mut().map(|it| &mut it.until);
        let mut any = false;
        for until in leaving.chain(former) {
            any |= until.0.is_none();
            until
                .0
                .get_or_insert((generation, Instant::now() + PATIENCE));
        }
        any
    }

    /// The directories are linked by the table of this number: what waited for that goes, and what
    /// has waited for too long.
    pub fn settle(&mut self, linked: u64, now: Instant) {
        let former = self
            .former
            .extract_if(.., |it| it.until.is_due(linked, now));
        former.for_each(|it| it.what.supersede());
        let due = |view: &mut View| view.leaves.is_some_and(|it| it.is_due(linked, now));
        for view in self.views.extract_if(1.., due) {
            view.retire();
        }
    }

    /// The zones, also those that leave.
    pub fn iter(&self) -> impl Iterator<Item = &View> {
        self.views.iter()
    }

    /// The same, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut View> {
        self.views.iter_mut()
    }

    /// Whether there is a zone of this name.
    pub fn has(&self, name: &str) -> bool {
        self.views.iter().any(|view| view.name == name)
    }

    /// What the zones hold.
    pub fn held(&self) -> Held {
        let mut held = Held {
            incomplete: self.statistics().is_some_and(|it| it.incomplete),
            ..Held::default()
        };
        for entry in self.views.iter().take(1).flat_map(View::each_entry) {
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
        self.views.first().map_or(State::Init, View::state)
    }

    /// The figures of the zone of `default`.
    pub fn statistics(&self) -> Option<Statistics> {
        self.views.first().map(View::statistics)
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
        for view in &mut self.views {
            let incomplete = incomplete || view.lacks_entries;
            view.writer.set_incomplete(incomplete);
        }
    }

    /// [`Writer::disable`] of every zone. Who still maps an inode that was left passes from now on, too.
    pub fn disable(&mut self) {
        self.each(Writer::disable);
        self.former.drain(..).for_each(|it| it.what.supersede());
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

    fn each(&mut self, mut change: impl FnMut(&mut Writer)) {
        for view in &mut self.views {
            change(&mut view.writer);
        }
    }

    fn options_of(&self, view: &str) -> Options {
        Options {
            view: view.to_owned(),
            ..self.options.clone()
        }
    }

    /// What an earlier agent published besides.
    fn take_over(
        &mut self,
        classes: &[Class],
        before: Option<&Table>,
        hides: bool,
        entries: &[Entry],
    ) {
        let incomplete = self.statistics().is_some_and(|it| it.incomplete);
        for name in crate::switch::published_classes(&self.options.directory) {
            if self.has(&name) {
                continue;
            }
            let entry = before.and_then(|table| table.entry_of_view(&name));
            let class = classes
                .iter()
                .find(|class| entry.is_some_and(|entry| entry.class == class.name));
            let wanted = Wanted {
                name: name.clone(),
                class: class.cloned().unwrap_or_else(Class::default_class),
                shown: Shown::Everything,
            };
            match View::open(self.options_of(&name), wanted) {
                Ok((mut view, _)) => {
                    if entry.is_some_and(|entry| entry.view != entry.class) {
                        view.keep_shown();
                    }
                    view.become_equal(entries, incomplete);
                    let stays = hides && class.is_some() && view.shown != Shown::Everything;
                    view.leaves = (!stays).then(Departure::default);
                    self.views.push(view);
                }
                Err(error) => tracing::warn!(view = name, %error, "cannot take a zone over"),
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Which zone a pod of each namespace has: by the class of the namespace, and by what the policy hides
//! from it.

use super::{Publisher, Told, assignment::Assignment, unix_now};
use crate::{
    config::{Config, Seen},
    model::slice_id,
    table::{Entry, Mark, Table},
    telemetry::Telemetry,
    views::{Shown, Wanted},
};
use prometheus_client::metrics::gauge::Gauge;
use std::{collections::BTreeSet, sync::Arc};

/// The longest part of a class's name in the name of a view: with a hash it is a label.
const LONGEST_CLASS: usize = 46;

/// What was assigned, and what that depends on.
pub(super) struct Assigned {
    /// How, once the namespaces are listed.
    assignment: Option<Assignment>,
    /// In force; with many namespaces it is large, and others have it too.
    table: Arc<Table>,
    /// As it was written last, and its file then; `None`: nothing was, or it failed.
    written: Option<(Arc<Table>, Mark)>,
    /// The namespaces of this node's pods; `None` until somebody says.
    pub(super) on_node: Option<BTreeSet<String>>,
    /// Something failed, and may not the next time.
    incomplete: bool,
    /// Zones that hide something.
    views: Gauge,
    /// Namespaces of this node that should have one and have none.
    refused: Gauge,
}

impl Assigned {
    /// Begins with the table of the agent before this one.
    pub(super) fn register(before: Table, telemetry: &Telemetry) -> Self {
        let (views, refused) = (Gauge::default(), Gauge::default());
        telemetry.extend(|registry| {
            let help = "Zones that hide namespaces from the pods that have them";
            registry.register("views", help, views.clone());
            let help = "Namespaces of this node that get no zone: beyond max_views, or no space";
            registry.register("views_refused", help, refused.clone());
        });
        Self {
            assignment: None,
            table: Arc::new(before),
            written: None,
            on_node: None,
            incomplete: false,
            views,
            refused,
        }
    }
}

impl Publisher {
    /// Assigns again what could not be, and writes a table again that is not as it was left.
    pub(super) fn assign_again(&mut self) {
        self.views.settle(0, std::time::Instant::now());
        let left = self.assigned.written.as_ref().map(|(_, mark)| *mark);
        let changed = left.is_some() && left != Mark::read(&self.base);
        if changed {
            let path = Table::path(&self.base);
            tracing::warn!(path = %path.display(), "somebody changed the table of classes");
            self.assigned.written = None;
        }
        if changed || self.assigned.incomplete {
            self.assign();
        }
    }

    /// Follows namespaces that came, went or were labeled anew. Where that changes nothing for any
    /// pod of the cluster, nothing else is looked at.
    pub(super) fn follow_namespaces(&mut self, names: &BTreeSet<String>) {
        if self.model.namespaces().is_none() {
            return;
        }
        if let Some(assignment) = &mut self.assigned.assignment {
            for name in names {
                assignment.update(name, self.model.namespace(name));
            }
            if !assignment.has_changed() {
                return;
            }
        }
        self.assign();
    }

    /// Assigns zones to namespaces, publishes what that needs, and tells who links directories.
    pub(super) fn assign(&mut self) {
        let config = Arc::clone(&self.config.borrow());
        let synced = self.telemetry.is_ready().then_some(self.synced);
        let here = self.here(&config);
        let made = self.assigned.assignment.as_ref();
        if made.is_none_or(|made| !made.is_by(&config)) {
            let known = self.model.namespaces();
            self.assigned.assignment = known.map(|known| Assignment::new(&config, known));
        }
        let is_known = self.assigned.assignment.is_some();
        let wanted = match &mut self.assigned.assignment {
            Some(assignment) => {
                let published = self.views.iter().map(|view| view.name.as_str()).collect();
                let known = || self.model.namespaces().into_iter().flatten();
                assignment.choose(here.as_ref(), &published, known)
            }
            None => self.wanted_before(&config),
        };
        let errors = self.views.align(&wanted, synced);
        for error in &errors {
            tracing::error!("cannot publish: {error:#}");
        }
        let failed = wanted.iter().map(|wanted| wanted.name.as_str());
        let failed: Vec<_> = failed.filter(|name| !self.views.has(name)).collect();
        // What is new is alive, too.
        if !self.asleep {
            self.views.beat(unix_now());
        }
        // Who follows a link finds the configuration of its class.
        if let Err(error) = self.configure() {
            tracing::error!(%error, "cannot publish the configuration; the old one stays");
        }
        let disabled = self.switch.is_off();
        let (table, refused) = match &mut self.assigned.assignment {
            Some(assignment) => {
                failed.iter().for_each(|view| assignment.refuse(view));
                (
                    assignment.table(disabled),
                    assignment.count_refused(here.as_ref()),
                )
            }
            None => self.table_before(&config, &failed, disabled),
        };
        let changed = self.assigned.table != table;
        if changed {
            self.assigned.table = table;
        } else if let Some(assignment) = &mut self.assigned.assignment {
            assignment.share(&self.assigned.table);
        }
        let failed = self.write_table();
        self.count(&wanted, refused, config.max_views);
        self.assigned.incomplete = failed || !errors.is_empty();
        if is_known {
            self.tell_table(changed);
        }
    }

    /// The namespaces whose zones are needed on this node; `None` until somebody says.
    fn here(&self, config: &Config) -> Option<BTreeSet<String>> {
        let mut here = self.assigned.on_node.clone()?;
        here.extend(config.listen.as_ref().and_then(|it| it.namespace.clone()));
        Some(here)
    }

    /// What goes on until the namespaces are listed: the classes, and what there is besides.
    fn wanted_before(&self, config: &Config) -> Vec<Wanted> {
        let classes = config.classes_in_full().into_iter();
        let hiding = self.views.iter().filter_map(|view| {
            let class = config.class(&view.class.name)?;
            let stays = config.has_views() && view.shown != Shown::Everything;
            stays.then(|| Wanted {
                name: view.name.clone(),
                class,
                shown: view.shown.clone(),
            })
        });
        classes.map(Wanted::of_class).chain(hiding).collect()
    }

    /// The table until then: that of the agent before, without the zones that `failed`; and how many of
    /// this node's namespaces these are.
    fn table_before(
        &self,
        config: &Config,
        failed: &[&str],
        disabled: bool,
    ) -> (Arc<Table>, usize) {
        let before = &self.assigned.table;
        let mut table = Table {
            namespaces: before.namespaces.clone(),
            refused_builds: config.processes.refuse_builds.clone(),
            disabled,
            ..Table::default()
        };
        for class in config.classes_in_full() {
            let entry = Entry::of_class(&class);
            table.classes.insert(class.name, entry);
        }
        for (key, entry) in &before.classes {
            if let Some(class) = config.class(&entry.class).filter(|_| config.has_views()) {
                let entry = table.classes.entry(key.clone()).or_insert(entry.clone());
                entry.inject = class.inject;
            }
        }
        let on_node = self.assigned.on_node.as_ref();
        let here = |name: &String| on_node.is_none_or(|on_node| on_node.contains(name));
        let is_failed = |key: &String| failed.contains(&key.as_str());
        let without = table.namespaces.iter();
        let refused = without.filter(|(name, key)| here(name) && is_failed(key));
        let refused = refused.count();
        table.classes.retain(|key, _| !is_failed(key));
        let classes = &table.classes;
        table.namespaces.retain(|_, key| classes.contains_key(key));
        (Arc::new(table), refused)
    }

    /// Keeps the figures.
    fn count(&self, wanted: &[Wanted], refused: usize, most: usize) {
        let figure = |number| i64::try_from(number).unwrap_or(i64::MAX);
        if refused > 0 && figure(refused) != self.assigned.refused.get() {
            tracing::error!(
                namespaces = refused,
                most,
                "namespaces get no zone: their pods' libc answers"
            );
        }
        self.assigned.refused.set(figure(refused));
        let published = wanted.iter().filter(|it| self.views.has(&it.name));
        let hiding = published.filter(|it| it.shown != Shown::Everything);
        self.assigned.views.set(figure(hiding.count()));
    }

    /// Writes the table if it is not what is there; true when that failed.
    fn write_table(&mut self) -> bool {
        let assigned = &mut self.assigned;
        if let Some((table, _)) = &assigned.written
            && *table == assigned.table
        {
            return false;
        }
        let written = assigned.table.write(&self.base);
        if let Err(error) = &written {
            let path = Table::path(&self.base);
            tracing::error!(path = %path.display(), %error, "cannot write the table of classes");
        }
        let mark = written.ok();
        assigned.written = mark.map(|mark| (Arc::clone(&assigned.table), mark));
        mark.is_none()
    }

    /// Tells of the table, if it has changed or something waits for the directories to be linked.
    fn tell_table(&mut self, changed: bool) {
        let generation = self.told.borrow().generation + 1;
        let departs = self.views.depart(generation);
        if changed || departs || self.told.borrow().table.is_none() {
            let table = Some(Arc::clone(&self.assigned.table));
            self.told.send_replace(Told { generation, table });
        }
    }
}

/// The name of a view: the class, and a hash of what it shows, the same after a restart.
pub(super) fn view_name(class: &str, seen: &Seen) -> String {
    let hash = slice_id(&format!("{class}\n{}", seen.key())).0;
    let class = class.get(..LONGEST_CLASS).unwrap_or(class);
    format!("{class}-{hash:016x}")
}

//! Which zone a pod of each namespace has: by the class of the namespace, and by what the policy hides
//! from it.

use super::{Publisher, Told, unix_now};
use crate::{
    config::{Class, Config, Seen, Sight},
    model::{KnownNamespace, slice_id},
    table::{Entry, Mark, Table},
    telemetry::Telemetry,
    views::{Shown, Wanted},
};
use prometheus_client::metrics::gauge::Gauge;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The longest part of a class's name in the name of a view: with a hash it is a label.
const LONGEST_CLASS: usize = 46;

/// What was assigned, and what that depends on.
pub(super) struct Assigned {
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

    /// Assigns zones to namespaces, publishes what that needs, and tells who links directories.
    pub(super) fn assign(&mut self) {
        let config = Arc::clone(&self.config.borrow());
        let synced = self.telemetry.is_ready().then_some(self.synced);
        let known: Option<Vec<_>> = self.model.namespaces().map(Iterator::collect);
        let mut plan = match &known {
            Some(known) => {
                let mut on_node = self.assigned.on_node.clone();
                let listener = config.listen.as_ref().and_then(|it| it.namespace.clone());
                if let Some(on_node) = &mut on_node {
                    on_node.extend(listener);
                }
                plan(&config, known, on_node.as_ref(), &|view| {
                    self.views.has(view)
                })
            }
            None => self.unlisted(&config),
        };
        let is_known = known.is_some();
        let errors = self.views.align(&plan.wanted, synced);
        for error in &errors {
            tracing::error!("cannot publish: {error:#}");
        }
        let failed = plan.wanted.extract_if(.., |it| !self.views.has(&it.name));
        for wanted in failed.collect::<Vec<_>>() {
            plan.refuse(&wanted.name, self.assigned.on_node.as_ref());
        }
        // What is new is alive, too.
        if !self.asleep {
            self.views.beat(unix_now());
        }
        // Who follows a link finds the configuration of its class.
        if let Err(error) = self.configure() {
            tracing::error!(%error, "cannot publish the configuration; the old one stays");
        }
        plan.table.refused_builds = config.processes.refuse_builds.clone();
        plan.table.disabled = self.switch.is_off();
        let changed = *self.assigned.table != plan.table;
        if changed {
            self.assigned.table = Arc::new(plan.table);
        }
        let failed = self.write_table();
        if plan.refused > 0 && plan.refused as i64 != self.assigned.refused.get() {
            let (namespaces, most) = (plan.refused, config.max_views);
            tracing::error!(
                namespaces,
                most,
                "namespaces get no zone: their pods' libc answers"
            );
        }
        let count = |number| i64::try_from(number).unwrap_or(i64::MAX);
        self.assigned.refused.set(count(plan.refused));
        let hiding = plan
            .wanted
            .iter()
            .filter(|it| it.shown != Shown::Everything);
        self.assigned.views.set(count(hiding.count()));
        self.assigned.incomplete = failed || !errors.is_empty();
        if is_known {
            self.tell_table(changed);
        }
    }

    /// What goes on until the namespaces are listed: the classes, and what there is besides.
    fn unlisted(&self, config: &Config) -> Plan {
        let mut plan = Plan::of_classes(config);
        plan.table.namespaces = self.assigned.table.namespaces.clone();
        let before = &self.assigned.table;
        for view in self.views.iter() {
            let class = config
                .class(&view.class.name)
                .filter(|_| config.has_views());
            if let Some(class) = class.filter(|_| view.shown != Shown::Everything) {
                plan.wanted.push(Wanted {
                    name: view.name.clone(),
                    class,
                    shown: view.shown.clone(),
                });
            }
        }
        for (key, entry) in &before.classes {
            if let Some(class) = config.class(&entry.class).filter(|_| config.has_views()) {
                let entry = plan
                    .table
                    .classes
                    .entry(key.clone())
                    .or_insert(entry.clone());
                entry.inject = class.inject;
            }
        }
        let classes = &plan.table.classes;
        plan.table
            .namespaces
            .retain(|_, key| classes.contains_key(key));
        plan
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

/// What is to be.
struct Plan {
    wanted: Vec<Wanted>,
    table: Table,
    refused: usize,
}

impl Plan {
    /// The zones of the classes, and no namespaces yet.
    fn of_classes(config: &Config) -> Self {
        let mut plan = Self {
            wanted: Vec::new(),
            table: Table::default(),
            refused: 0,
        };
        for class in config.classes_in_full() {
            plan.enter(&class, class.name.clone());
            plan.wanted.push(Wanted::of_class(class));
        }
        plan
    }

    /// A zone of a class; its key in the table is its name.
    fn enter(&mut self, class: &Class, view: String) {
        let entry = Entry {
            class: class.name.clone(),
            view: view.clone(),
            inject: class.inject,
        };
        self.table.classes.insert(view, entry);
    }

    /// Takes a zone away from the namespaces that should have had it.
    fn refuse(&mut self, view: &str, on_node: Option<&BTreeSet<String>>) {
        self.table.classes.remove(view);
        let of_view = self.table.namespaces.extract_if(.., |_, key| key == view);
        let here = |name: &String| on_node.is_none_or(|on_node| on_node.contains(name));
        self.refused += of_view.filter(|(name, _)| here(name)).count();
    }
}

/// Namespaces that see the same.
struct Group {
    class: Class,
    seen: Seen,
    on_node: bool,
}

impl Group {
    fn is_like(&self, other: &Self) -> bool {
        self.seen == other.seen && self.class.name == other.class.name
    }
}

/// Assigns a zone to every namespace. Of those that hide something only such are wanted as pods of
/// this node have, and only so many as the configuration allows; those that are `published` already
/// come first.
fn plan(
    config: &Config,
    known: &[KnownNamespace<'_>],
    on_node: Option<&BTreeSet<String>>,
    published: &dyn Fn(&str) -> bool,
) -> Plan {
    let mut plan = Plan::of_classes(config);
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    let mut clashing = BTreeSet::new();
    for namespace in known {
        let name = config.class_of(namespace.name, namespace.labels);
        let Some(class) = config.class(name) else {
            continue;
        };
        let view = match config.sight_of(namespace.name, namespace.certain()) {
            Sight::Everything => class.name,
            Sight::Undecided => continue,
            Sight::Only(seen) => {
                let view = view_name(&class.name, &seen);
                let here = on_node.map(|on_node| on_node.contains(namespace.name));
                let here = here.unwrap_or_else(|| published(&view));
                let new = Group {
                    class,
                    seen,
                    on_node: here,
                };
                match groups.get_mut(&view) {
                    // Nobody gets another's zone because two hashes are the same.
                    Some(group) if !group.is_like(&new) => {
                        clashing.insert(view.clone());
                    }
                    Some(group) => group.on_node |= here,
                    None => {
                        groups.insert(view.clone(), new);
                    }
                }
                view
            }
        };
        plan.table
            .namespaces
            .insert(namespace.name.to_owned(), view);
    }
    for (view, group) in &groups {
        plan.enter(&group.class, view.clone());
    }
    let mut wanted: Vec<_> = groups.iter().filter(|(_, group)| group.on_node).collect();
    wanted.sort_by_key(|(view, _)| (!published(view), view.as_str()));
    let beyond = wanted.split_off(wanted.len().min(config.max_views));
    let beyond = beyond.iter().map(|(view, _)| view.as_str());
    for view in beyond.chain(clashing.iter().map(String::as_str)) {
        plan.refuse(view, on_node);
    }
    for (view, group) in wanted {
        if clashing.contains(view) {
            continue;
        }
        let shown = known
            .iter()
            .filter(|it| group.seen.shows(it.name, it.certain()));
        plan.wanted.push(Wanted {
            name: view.clone(),
            class: group.class.clone(),
            shown: Shown::Only(shown.map(|it| it.name.to_owned()).collect()),
        });
    }
    plan
}

/// The name of a view: the class, and a hash of what it shows, the same after a restart.
fn view_name(class: &str, seen: &Seen) -> String {
    let hash = slice_id(&format!("{class}\n{}", seen.key())).0;
    let class = class.get(..LONGEST_CLASS).unwrap_or(class);
    format!("{class}-{hash:016x}")
}

#[cfg(test)]
mod tests;

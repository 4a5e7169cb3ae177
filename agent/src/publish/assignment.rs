//! Which zone each namespace's pods belong to, kept namespace by namespace: what an event costs grows
//! with the rules and with the zones of this node, not with the namespaces of the cluster.

use super::assign::view_name;
use crate::{
    config::{Class, Config, Seen, Sight},
    model::KnownNamespace,
    table::{Entry, Table},
    views::{Shown, Wanted},
};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

/// Every namespace's zone under one configuration.
pub(super) struct Assignment {
    config: Arc<Config>,
    /// The zone that a namespace's pods should have: that of a class, or one that hides something.
    views: HashMap<String, Arc<str>>,
    /// Who does not see everything, by that zone. More than one: two hashes are the same.
    groups: BTreeMap<Arc<str>, Vec<Group>>,
    /// Zones with more than one group: nobody gets another's.
    clashing: BTreeSet<Arc<str>>,
    /// Zones that hide something and are to be on this node.
    wanted: BTreeSet<Arc<str>>,
    /// Zones that nobody gets.
    refused: BTreeSet<Arc<str>>,
    /// What pods get.
    table: Arc<Table>,
    /// What in the table may not be so any more.
    pending: Pending,
    /// How many namespaces have been looked at, once for each question about one: what tests
    /// compare.
    pub(super) looks: u64,
}

/// Namespaces that see the same.
struct Group {
    class: Class,
    seen: Seen,
    members: HashSet<String>,
    /// What it shows, as long as it is wanted. Its zone has it, too.
    shown: Option<Arc<BTreeSet<String>>>,
}

/// What is to be put right.
#[derive(Default)]
struct Pending {
    namespaces: BTreeSet<String>,
    views: BTreeSet<Arc<str>>,
    /// A zone shows other namespaces.
    shown: bool,
}

/// Where a namespace belongs.
struct Place {
    view: String,
    /// What it sees, if that is not everything.
    sight: Option<(Class, Seen)>,
}

impl Assignment {
    /// Of all namespaces that are known.
    pub(super) fn new<'m>(
        config: &Arc<Config>,
        known: impl Iterator<Item = KnownNamespace<'m>>,
    ) -> Self {
        let classes = config.all_classes().into_iter();
        let mut this = Self {
            views: HashMap::new(),
            groups: BTreeMap::new(),
            clashing: BTreeSet::new(),
            wanted: BTreeSet::new(),
            refused: BTreeSet::new(),
            table: Arc::default(),
            pending: Pending {
                views: classes.map(|(name, _)| Arc::from(name)).collect(),
                ..Pending::default()
            },
            config: Arc::clone(config),
            looks: 0,
        };
        for namespace in known {
            this.update(namespace.name, Some(namespace));
        }
        this
    }

    /// Whether it was made by this configuration.
    pub(super) fn is_by(&self, config: &Arc<Config>) -> bool {
        Arc::ptr_eq(&self.config, config)
    }

    /// Follows one namespace; `None`: there is none of this name.
    pub(super) fn update(&mut self, name: &str, known: Option<KnownNamespace<'_>>) {
        self.looks += 1;
        self.show_or_hide(name, known);
        let place = known.and_then(|known| self.place_of(&known));
        let stays = match (&place, self.views.get(name)) {
            (Some(place), Some(view)) => {
                **view == *place.view && self.is_member(name, place.sight.as_ref())
            }
            (None, None) => true,
            _ => false,
        };
        if !stays {
            self.leave(name);
            if let Some(place) = place {
                self.enter(name, place);
            }
        }
    }

    /// Whether anything is to be put right since [`Assignment::table`] was called.
    pub(super) fn has_changed(&self) -> bool {
        let Pending {
            namespaces,
            views,
            shown,
        } = &self.pending;
        *shown || !namespaces.is_empty() || !views.is_empty()
    }

    /// The zones that this node is to have: those of the classes, and of those that hide something
    /// such as pods of this node have (`here`: their namespaces; `None`: not known yet, then those
    /// that are `published`), as many as the configuration allows, those that are published first.
    /// `known` are all namespaces, looked at when a zone is new.
    pub(super) fn choose<'m, K: Iterator<Item = KnownNamespace<'m>>>(
        &mut self,
        here: Option<&BTreeSet<String>>,
        published: &BTreeSet<&str>,
        known: impl Fn() -> K,
    ) -> Vec<Wanted> {
        let mut wanted = self.views_of(here, published);
        wanted.retain(|view| !self.clashing.contains(view));
        let mut wanted: Vec<_> = wanted.into_iter().collect();
        wanted.sort_by_key(|view| !published.contains(view.as_ref()));
        let beyond = wanted.split_off(wanted.len().min(self.config.max_views));
        let refused: BTreeSet<_> = beyond.into_iter().chain(self.clashing.clone()).collect();
        let before = core::mem::replace(&mut self.refused, refused.clone());
        for view in refused.symmetric_difference(&before) {
            self.look_again(view);
        }
        self.show(wanted.iter().cloned().collect(), known);
        let classes = self.config.classes_in_full().into_iter();
        let hiding = wanted.into_iter().filter_map(|view| {
            let group = self.groups.get(&view)?.first()?;
            Some(Wanted {
                name: view.as_ref().to_owned(),
                class: group.class.clone(),
                shown: Shown::Only(Arc::clone(group.shown.as_ref()?)),
            })
        });
        classes.map(Wanted::of_class).chain(hiding).collect()
    }

    /// Takes a zone, which could not be published, away from the namespaces that should have had it.
    pub(super) fn refuse(&mut self, view: &str) {
        let view: Arc<str> = view.into();
        self.look_again(&view);
        self.refused.insert(view);
    }

    /// How many of these namespaces (`None`: of all) should have a zone and have none.
    pub(super) fn count_refused(&self, here: Option<&BTreeSet<String>>) -> usize {
        let is_refused = |view: &Arc<str>| self.refused.contains(view);
        match here {
            _ if self.refused.is_empty() => 0,
            Some(here) => {
                let views = here.iter().filter_map(|name| self.views.get(name));
                views.filter(|view| is_refused(view)).count()
            }
            None => self.views.values().filter(|view| is_refused(view)).count(),
        }
    }

    /// The table, in which only what is pending is looked at; `disabled`: the kill switch is set.
    pub(super) fn table(&mut self, disabled: bool) -> Arc<Table> {
        let Pending {
            namespaces, views, ..
        } = core::mem::take(&mut self.pending);
        for view in views {
            let entry = self.entry(&view);
            if self.table.classes.get(view.as_ref()) != entry.as_ref() {
                let classes = &mut Arc::make_mut(&mut self.table).classes;
                match entry {
                    Some(entry) => classes.insert(view.as_ref().to_owned(), entry),
                    None => classes.remove(view.as_ref()),
                };
            }
        }
        for name in namespaces {
            let view = self.views.get(&name);
            let key = view.filter(|view| !self.refused.contains(*view));
            if self.table.namespaces.get(&name).map(String::as_str) != key.map(AsRef::as_ref) {
                let namespaces = &mut Arc::make_mut(&mut self.table).namespaces;
                match key {
                    Some(key) => namespaces.insert(name, key.as_ref().to_owned()),
                    None => namespaces.remove(&name),
                };
            }
        }
        let builds = &self.config.processes.refuse_builds;
        if self.table.disabled != disabled || self.table.refused_builds != *builds {
            let table = Arc::make_mut(&mut self.table);
            table.disabled = disabled;
            table.refused_builds.clone_from(builds);
        }
        Arc::clone(&self.table)
    }

    /// Goes on with a table that says the same: what is one object need not be compared.
    pub(super) fn share(&mut self, table: &Arc<Table>) {
        self.table = Arc::clone(table);
    }

    /// Where a namespace belongs; `None`: it has no zone, at least not yet.
    fn place_of(&self, namespace: &KnownNamespace<'_>) -> Option<Place> {
        let name = self.config.class_of(namespace.name, namespace.labels);
        match self.config.sight_of(namespace.name, namespace.certain()) {
            Sight::Everything => Some(Place {
                view: name.to_owned(),
                sight: None,
            }),
            Sight::Undecided => None,
            Sight::Only(seen) => Some(Place {
                view: view_name(name, &seen),
                sight: Some((self.config.class(name)?, seen)),
            }),
        }
    }

    /// Has the zones of this node show a namespace, or not.
    fn show_or_hide(&mut self, name: &str, known: Option<KnownNamespace<'_>>) {
        for view in &self.wanted {
            for group in self.groups.get_mut(view).into_iter().flatten() {
                let Some(shown) = &mut group.shown else {
                    continue;
                };
                self.looks += 1;
                let shows = known.is_some_and(|known| group.seen.shows(name, known.certain()));
                if shows == shown.contains(name) {
                    continue;
                }
                self.pending.shown = true;
                let shown = Arc::make_mut(shown);
                match shows {
                    true => shown.insert(name.to_owned()),
                    false => shown.remove(name),
                };
            }
        }
    }

    /// Whether a namespace is with those who see the same already.
    fn is_member(&self, name: &str, sight: Option<&(Class, Seen)>) -> bool {
        let groups = self.views.get(name).and_then(|view| self.groups.get(view));
        let mut groups = groups.into_iter().flatten();
        let group = groups.find(|group| group.members.contains(name));
        match (group, sight) {
            (Some(group), Some(sight)) => group.sees(sight),
            (group, sight) => group.is_none() && sight.is_none(),
        }
    }

    fn leave(&mut self, name: &str) {
        let Some(view) = self.views.remove(name) else {
            return;
        };
        self.pending.namespaces.insert(name.to_owned());
        if let Some(groups) = self.groups.get_mut(&view) {
            for group in groups.iter_mut() {
                group.members.remove(name);
            }
            groups.retain(|group| !group.members.is_empty());
            match groups.len() {
                0 => drop(self.groups.remove(&view)),
                1 => drop(self.clashing.remove(&view)),
                _ => {}
            }
            self.pending.views.insert(view);
        }
    }

    fn enter(&mut self, name: &str, Place { view, sight }: Place) {
        let view: Arc<str> = view.into();
        self.pending.namespaces.insert(name.to_owned());
        if let Some(sight) = sight {
            let groups = self.groups.entry(Arc::clone(&view)).or_default();
            let at = groups.iter().position(|group| group.sees(&sight));
            let at = at.unwrap_or_else(|| {
                let (class, seen) = sight;
                groups.push(Group {
                    class,
                    seen,
                    members: HashSet::new(),
                    shown: None,
                });
                groups.len() - 1
            });
            groups[at].members.insert(name.to_owned());
            if groups.len() > 1 {
                self.clashing.insert(Arc::clone(&view));
            }
            self.pending.views.insert(Arc::clone(&view));
        }
        self.views.insert(name.to_owned(), view);
    }

    /// The zones that hide something and that pods of these namespaces have.
    fn views_of(
        &self,
        here: Option<&BTreeSet<String>>,
        published: &BTreeSet<&str>,
    ) -> BTreeSet<Arc<str>> {
        let hides = |view: &&Arc<str>| self.groups.contains_key(*view);
        match here {
            Some(here) => {
                let views = here.iter().filter_map(|name| self.views.get(name));
                views.filter(hides).cloned().collect()
            }
            None => {
                let views = published.iter();
                let views = views.filter_map(|view| self.groups.get_key_value(*view));
                views.map(|(view, _)| Arc::clone(view)).collect()
            }
        }
    }

    /// Keeps what these zones show, and no other's.
    fn show<'m, K: Iterator<Item = KnownNamespace<'m>>>(
        &mut self,
        wanted: BTreeSet<Arc<str>>,
        known: impl Fn() -> K,
    ) {
        for view in self.wanted.difference(&wanted) {
            for group in self.groups.get_mut(view).into_iter().flatten() {
                group.shown = None;
            }
        }
        for view in &wanted {
            let group = self.groups.get_mut(view).and_then(|it| it.first_mut());
            let Some(Group { seen, shown, .. }) = group else {
                continue;
            };
            shown.get_or_insert_with(|| {
                let shown = known().filter(|it| {
                    self.looks += 1;
                    seen.shows(it.name, it.certain())
                });
                Arc::new(shown.map(|it| it.name.to_owned()).collect())
            });
        }
        self.wanted = wanted;
    }

    /// What the table says of a zone, if anything.
    fn entry(&self, view: &Arc<str>) -> Option<Entry> {
        if self.refused.contains(view) {
            return None;
        }
        let group = self.groups.get(view).and_then(|groups| groups.first());
        match group {
            Some(Group { class, .. }) => Some(Entry {
                view: view.as_ref().to_owned(),
                ..Entry::of_class(class)
            }),
            None => self.config.class(view).as_ref().map(Entry::of_class),
        }
    }

    /// Has the table say anew what a zone is and who has it.
    fn look_again(&mut self, view: &Arc<str>) {
        self.pending.views.insert(Arc::clone(view));
        match self.groups.get(view) {
            Some(groups) => {
                let members = groups.iter().flat_map(|group| &group.members);
                self.pending.namespaces.extend(members.cloned());
            }
            // A class's: such a zone fails once in a blue moon.
            None => {
                let members = self.views.iter().filter(|(_, of)| *of == view);
                let members = members.map(|(name, _)| name.clone());
                self.pending.namespaces.extend(members);
            }
        }
    }
}

impl Group {
    fn sees(&self, (class, seen): &(Class, Seen)) -> bool {
        self.seen == *seen && self.class.name == class.name
    }
}

#[cfg(test)]
mod tests;

//! What the server remembers: how often each object was changed, and what happened lately.

use crate::scale::{Change, Cluster, Kind, Stamp};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

/// Events that are remembered: some minutes at a thousand a second.
const REMEMBERED: usize = 500_000;
/// Lists whose next page can be asked for.
const LISTS: usize = 16;

/// The state of every object of a kind at some version.
pub(super) type Stamps = Arc<Vec<Stamp>>;

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) what: &'static str,
    pub(super) kind: Kind,
    pub(super) index: usize,
    pub(super) stamp: Stamp,
}

/// All of it.
pub(super) struct Store {
    pub(super) cluster: Cluster,
    pub(super) version: u64,
    /// Objects whose text is not what it should be.
    pub(super) malformed: BTreeSet<(Kind, usize)>,
    /// Watches can go on from this version, and from later ones.
    pub(super) oldest: u64,
    stamps: [Stamps; 3],
    history: VecDeque<Event>,
    /// States that a token for the next page names.
    lists: BTreeMap<(u64, Kind), Stamps>,
}

impl Store {
    pub(super) fn new(cluster: Cluster) -> Self {
        let mut version = 1;
        let stamps = Kind::ALL.map(|kind| {
            let one = |_| {
                version += 1;
                Stamp {
                    version,
                    ..Stamp::default()
                }
            };
            Arc::new((0..cluster.count(kind)).map(one).collect::<Vec<_>>())
        });
        Self {
            cluster,
            version,
            malformed: BTreeSet::new(),
            oldest: version,
            stamps,
            history: VecDeque::new(),
            lists: BTreeMap::new(),
        }
    }

    /// The state of all objects of a kind.
    pub(super) fn stamps(&self, kind: Kind) -> &Stamps {
        &self.stamps[kind as usize]
    }

    /// Something happens; the state of the objects that it concerns.
    pub(super) fn apply(&mut self, change: Change, now: u64) -> Vec<(Kind, usize, Stamp)> {
        let objects = change.objects(&self.cluster);
        let mut changed = Vec::with_capacity(objects.len());
        for (kind, index) in objects {
            let stamp = self.touch(kind, index, 1, now);
            changed.push((kind, index, stamp));
        }
        changed
    }

    /// Writes an object again, so many changes later.
    pub(super) fn touch(&mut self, kind: Kind, index: usize, changes: u32, now: u64) -> Stamp {
        self.version += 1;
        let stamp = &mut Arc::make_mut(&mut self.stamps[kind as usize])[index];
        let before = self.cluster.exists(kind, index, stamp.generation);
        stamp.generation += changes;
        let after = self.cluster.exists(kind, index, stamp.generation);
        stamp.version = self.version;
        stamp.changed = now;
        let stamp = *stamp;
        let what = match (before, after) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return stamp,
        };
        if self.history.len() == REMEMBERED
            && let Some(forgotten) = self.history.pop_front()
        {
            self.oldest = forgotten.stamp.version;
        }
        self.history.push_back(Event {
            what,
            kind,
            index,
            stamp,
        });
        stamp
    }

    /// Appends at most `most` events of a kind after a version; the version up to which they are all.
    pub(super) fn since(
        &self,
        version: u64,
        kind: Kind,
        most: usize,
        events: &mut Vec<Event>,
    ) -> u64 {
        let from = self
            .history
            .partition_point(|it| it.stamp.version <= version);
        for event in self.history.range(from..).filter(|it| it.kind == kind) {
            events.push(*event);
            if events.len() == most {
                return event.stamp.version;
            }
        }
        self.version
    }

    /// Forgets what happened: watches from before now are told so, and lists that are under way.
    pub(super) fn compact(&mut self) {
        // Something of another resource: no watch is from now.
        self.version += 1;
        self.history.clear();
        self.lists.clear();
        self.oldest = self.version;
    }

    /// Keeps the state of a list for its next page.
    pub(super) fn keep(&mut self, version: u64, kind: Kind, stamps: &Stamps) {
        self.lists.insert((version, kind), Arc::clone(stamps));
        while self.lists.len() > LISTS {
            self.lists.pop_first();
        }
    }

    /// The state of a list that is under way.
    pub(super) fn kept(&self, version: u64, kind: Kind) -> Option<Stamps> {
        self.lists.get(&(version, kind)).cloned()
    }
}

//! What came of comparing.

use crate::{corpus::Givers, libcs::Release, session::Door};
use anyhow::{Result, ensure};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

/// What came of some rooms.
#[derive(Debug, Default)]
pub struct Report {
    /// Comparisons made, by release.
    pub compared: BTreeMap<Release, usize>,
    /// How many of them each door's zone decided, without a query.
    pub decided: HashMap<Door, usize>,
    /// How many a server was asked by us for.
    pub asked: HashMap<Door, usize>,
    /// What went wrong.
    pub failures: Vec<Failure>,
    /// Known differences, and how often each occurred.
    pub excused: BTreeMap<&'static str, usize>,
    /// Who answered, by title of the room and call.
    pub givers: HashMap<(String, String), [Givers; 3]>,
    /// Questions that libc alone asked and no recording holds.
    pub unrecorded: BTreeSet<(String, u16)>,
}

/// A case that came out differently.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The room's title.
    pub room: String,
    /// Through which door.
    pub door: Door,
    /// Under which release.
    pub release: Release,
    /// The call.
    pub call: String,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (door, release) = (self.door, self.release.as_str());
        write!(
            formatter,
            "{}: {door:?} {release}: {}\n {}",
            self.room, self.call, self.what
        )
    }
}

impl Report {
    /// An error with what went wrong, if anything did, or if some door's zone decided fewer than
    /// so many calls.
    pub fn require(&self, decided: usize) -> Result<()> {
        let all: usize = self.compared.values().sum();
        let list: Vec<String> = self.failures.iter().map(ToString::to_string).collect();
        let count = list.len();
        ensure!(count == 0, "{count} of {all} differ:\n{}", list.join("\n"));
        for (door, own) in &self.decided {
            ensure!(*own >= decided, "{door:?}: only {own} were ours");
        }
        ensure!(decided == 0 || !self.decided.is_empty(), "none was ours");
        Ok(())
    }

    /// How many the zone decided, at the door with the fewest.
    pub(super) fn fewest(&self, doors: &[Door]) -> usize {
        let decided = |door| self.decided.get(door).copied().unwrap_or(0);
        doors.iter().map(decided).min().unwrap_or(0)
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (release, count) in other.compared {
            *self.compared.entry(release).or_default() += count;
        }
        for (door, count) in other.decided {
            *self.decided.entry(door).or_default() += count;
        }
        for (door, count) in other.asked {
            *self.asked.entry(door).or_default() += count;
        }
        for (id, count) in other.excused {
            *self.excused.entry(id).or_default() += count;
        }
        self.failures.extend(other.failures);
        for (call, givers) in other.givers {
            let own = self.givers.entry(call).or_default();
            for (own, more) in own.iter_mut().zip(givers) {
                own.extend(more);
            }
        }
        self.unrecorded.extend(other.unrecorded);
    }
}

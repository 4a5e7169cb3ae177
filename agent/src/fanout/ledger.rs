//! What the bucket holds, and what it is to hold: the pure middle of the publisher.
//!
//! ```text
//!   bucket --load--> entries          watches --hear--> outstanding --next--> writes --settle--> entries
//! ```
//!
//! It owns the rules: differences only; an older version never takes the place of a newer one; at the end of
//! a list what it did not name is gone; a kind is complete when a whole list is in the bucket. It reads no
//! clock and sends nothing.

use super::{
    key::{self, Key},
    record,
    state::KindState,
};
use crate::{
    model::Source,
    objects::Who,
    watch::{Record, Said, What},
};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::{Duration, Instant},
};

/// That an object is gone is said for so long: more than any agent remembers where it was.
const GONE_FOR: Duration = Duration::from_secs(3600);

/// What a watch said has to be in the bucket after so long, or we do not follow it.
const IN_TIME: Duration = Duration::from_secs(10);

/// What is older than what the bucket has may be the word of a server that lags. When the watch has not
/// brought anything newer after so long, the cluster's storage was restored, and we did not see it: then its
/// word counts.
const OLD_WORD_COUNTS_AFTER: Duration = Duration::from_secs(120);

/// All of it.
pub(super) struct Ledger {
    kinds: BTreeMap<Source, Kind>,
    entries: HashMap<Key, Entry>,
    outstanding: HashMap<Key, Outstanding>,
    ready: VecDeque<Key>,
    /// Which keys say that an object is gone, by their revisions, and since when.
    gone: BTreeMap<u64, (Key, Instant)>,
    /// Objects whose names the bucket cannot have.
    pub(super) refused: u64,
}

/// One watch.
#[derive(Default)]
struct Kind {
    selector: Option<String>,
    /// The list that is under way, or was last.
    generation: u32,
    listed: bool,
    healthy: bool,
    complete: bool,
    /// The list is at its end, and so many of its writes are not.
    early: Option<usize>,
}

/// A key that is in the bucket.
struct Entry {
    revision: u64,
    what: What,
    /// 0: unknown.
    version: u64,
    digest: u32,
    generation: u32,
}

/// A key that is to be something else.
struct Outstanding {
    record: Record,
    since: Instant,
    early: bool,
    is_under_way: bool,
    /// It is older than what is there.
    is_old: bool,
}

/// One write.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) key: Key,
    /// The revision that it replaces; 0: none.
    pub(super) revision: u64,
    pub(super) record: Record,
}

impl Ledger {
    /// Of an empty bucket, for watches with their selectors.
    pub(super) fn new(sources: impl IntoIterator<Item = (Source, Option<String>)>) -> Self {
        let kind = |(source, selector)| {
            let kind = Kind {
                selector,
                ..Kind::default()
            };
            (source, kind)
        };
        Self {
            kinds: sources.into_iter().map(kind).collect(),
            entries: HashMap::new(),
            outstanding: HashMap::new(),
            ready: VecDeque::new(),
            gone: BTreeMap::new(),
            refused: 0,
        }
    }

    /// Takes over what another publisher said of a kind: its list is whole, if old.
    pub(super) fn inherit(&mut self, source: Source, before: &KindState) {
        if let Some(kind) = self.kinds.get_mut(&source) {
            kind.complete = before.complete && before.selector == kind.selector;
        }
    }

    /// Takes in what the bucket has under a key; `None`: nothing that can be read.
    pub(super) fn load(&mut self, key: Key, revision: u64, found: Option<&Record>, now: Instant) {
        let (what, version, digest) = match found {
            Some(record) => (record.what, number(&record.version), digest(record)),
            None => (What::Unreadable, 0, 0),
        };
        if what == What::Delete {
            self.gone.insert(revision, (key.clone(), now));
        }
        let generation = self.entries.get(&key).map_or(0, |entry| entry.generation);
        let entry = Entry {
            revision,
            what,
            version,
            digest,
            generation,
        };
        self.entries.insert(key, entry);
    }

    /// Takes in what a watch says.
    pub(super) fn hear(&mut self, source: Source, said: Said, now: Instant) {
        let Some(kind) = self.kinds.get_mut(&source) else {
            return;
        };
        match said {
            Said::Begin => {
                kind.generation += 1;
                kind.early = None;
            }
            Said::Record(record) => {
                kind.healthy = true;
                self.record(source, record, now);
            }
            Said::Complete(version) => self.complete(source, &version, now),
            Said::Restored => self.forget_versions(source),
            Said::Broken => kind.healthy = false,
            Said::Healthy => kind.healthy = true,
        }
    }

    /// The next thing to write, if there is one.
    pub(super) fn next(&mut self) -> Option<Write> {
        while let Some(key) = self.ready.pop_front() {
            let Some(outstanding) = self.outstanding.get_mut(&key) else {
                continue;
            };
            if outstanding.is_under_way || outstanding.is_old {
                continue;
            }
            outstanding.is_under_way = true;
            let record = outstanding.record.clone();
            let revision = self.entries.get(&key).map_or(0, |entry| entry.revision);
            return Some(Write {
                key,
                revision,
                record,
            });
        }
        None
    }

    /// A write is in the bucket.
    pub(super) fn settle(&mut self, write: Write, revision: u64, now: Instant) {
        self.load(write.key.clone(), revision, Some(&write.record), now);
        if let Some(outstanding) = self.outstanding.get_mut(&write.key) {
            // What came meanwhile has not waited so far.
            outstanding.since = now;
        }
        self.again(write.key, now);
    }

    /// A write was not what the bucket expected, or nobody knows; this is there, under this revision.
    pub(super) fn reconsider(
        &mut self,
        key: Key,
        found: Option<(u64, Option<&Record>)>,
        now: Instant,
    ) {
        match found {
            Some((revision, record)) => self.load(key.clone(), revision, record, now),
            None => {
                self.entries.remove(&key);
            }
        }
        self.again(key, now);
    }

    /// Decides on what has waited for long; returns from where on agents may go on, so that what is
    /// [`Ledger::purgeable`] below that can be taken out.
    pub(super) fn tidy(&mut self, now: Instant) -> Option<u64> {
        let waited: Vec<_> = self
            .outstanding
            .iter()
            .filter(|(_, it)| it.is_old && it.since + OLD_WORD_COUNTS_AFTER <= now)
            .map(|(key, _)| key.clone())
            .collect();
        for key in waited {
            if self.kinds.get(&key.source).is_some_and(|kind| kind.healthy)
                && let Some(outstanding) = self.outstanding.get_mut(&key)
            {
                outstanding.is_old = false;
                self.ready.push_back(key);
            }
        }
        let old = |(_, (_, since)): &(&u64, &(Key, Instant))| *since + GONE_FOR <= now;
        let last = self.gone.iter().take_while(old).last();
        last.map(|(revision, _)| revision + 1)
    }

    /// Keys below a revision that only say that something is gone; they are forgotten here.
    pub(super) fn purgeable(&mut self, floor: u64) -> Vec<(Key, u64)> {
        let later = self.gone.split_off(&floor);
        let mut found = Vec::new();
        for (revision, (key, _)) in core::mem::replace(&mut self.gone, later) {
            let is_last = |entry: &Entry| entry.revision == revision;
            if self.entries.get(&key).is_some_and(is_last) && !self.outstanding.contains_key(&key) {
                self.entries.remove(&key);
                found.push((key, revision));
            }
        }
        found
    }

    /// What the state record says of each kind; `sure` says that we lead.
    pub(super) fn kinds(&self, now: Instant, sure: bool) -> BTreeMap<String, KindState> {
        let mut late: BTreeMap<Source, bool> = BTreeMap::new();
        for (key, outstanding) in &self.outstanding {
            *late.entry(key.source).or_default() |=
                !outstanding.is_old && outstanding.since + IN_TIME <= now;
        }
        let state = |(source, kind): (&Source, &Kind)| {
            let is_late = late.get(source).copied().unwrap_or_default();
            let state = KindState {
                selector: kind.selector.clone(),
                complete: kind.complete,
                followed: sure && kind.listed && kind.healthy && !is_late,
            };
            (key::kind(*source).to_owned(), state)
        };
        self.kinds.iter().map(state).collect()
    }

    /// Whether every kind is whole.
    pub(super) fn is_complete(&self) -> bool {
        self.kinds.values().all(|kind| kind.complete && kind.listed)
    }

    /// How much there is: keys in the bucket, and keys that are to change.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.entries.len(), self.outstanding.len())
    }

    /// Takes in an object.
    fn record(&mut self, source: Source, mut record: Record, now: Instant) {
        let Some(who) = record.who() else { return };
        let Some(key) = Key::of(source, &who) else {
            self.refused += 1;
            return;
        };
        if record.version.is_empty() {
            record.version = who.resource_version.unwrap_or_default();
        }
        let generation = self.kinds.get(&source).map_or(0, |kind| kind.generation);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.generation = generation;
            // What was known of it stays.
            if record.what == What::Unreadable && entry.what == What::Apply {
                return;
            }
        }
        self.want(key, record, now);
    }

    /// A list is at its end: what it did not name is gone.
    fn complete(&mut self, source: Source, version: &str, now: Instant) {
        let Some(kind) = self.kinds.get_mut(&source) else {
            return;
        };
        kind.healthy = true;
        kind.listed = true;
        let generation = kind.generation;
        let unseen: Vec<_> = self
            .entries
            .iter()
            .filter(|(key, entry)| {
                let is_there = entry.what != What::Delete;
                key.source == source && entry.generation < generation && is_there
            })
            // What is outstanding was named by this list.
            .filter(|(key, _)| !self.outstanding.contains_key(*key))
            .map(|(key, _)| key.clone())
            .collect();
        for key in unseen {
            let record = gone(&key, version);
            self.want(key, record, now);
        }
        let mut early = 0;
        for (key, outstanding) in &mut self.outstanding {
            if key.source == source && !outstanding.is_old {
                outstanding.early = true;
                early += 1;
            }
        }
        if let Some(kind) = self.kinds.get_mut(&source) {
            kind.early = Some(early);
            kind.finish();
        }
    }

    /// Versions are of another history from now on: whatever the watch says is newer.
    fn forget_versions(&mut self, source: Source) {
        for (key, entry) in &mut self.entries {
            if key.source == source {
                entry.version = 0;
            }
        }
        for (key, outstanding) in &mut self.outstanding {
            if key.source == source && core::mem::take(&mut outstanding.is_old) {
                self.ready.push_back(key.clone());
            }
        }
    }

    /// Sees to it that a key becomes this.
    fn want(&mut self, key: Key, record: Record, now: Instant) {
        let digest = digest(&record);
        let before = self.outstanding.get(&key);
        let is_under_way = before.is_some_and(|it| it.is_under_way);
        let early = before.is_some_and(|it| it.early);
        let since = before.map_or(now, |it| it.since);
        let entry = self.entries.get(&key);
        let is_there = entry.is_some_and(|it| it.what == record.what && it.digest == digest);
        let never_was = entry.is_none() && record.what == What::Delete;
        if (is_there || never_was) && !is_under_way {
            self.drop_outstanding(&key);
            return;
        }
        let version = number(&record.version);
        let is_old = entry.is_some_and(|it| version != 0 && version < it.version);
        let outstanding = Outstanding {
            record,
            since,
            early,
            is_under_way,
            is_old,
        };
        self.outstanding.insert(key.clone(), outstanding);
        if !is_under_way && !is_old {
            self.ready.push_back(key);
        }
    }

    /// A write of a key is over: whether it is what it is to be.
    fn again(&mut self, key: Key, now: Instant) {
        let Some(outstanding) = self.outstanding.get_mut(&key) else {
            return;
        };
        outstanding.is_under_way = false;
        let record = outstanding.record.clone();
        self.want(key, record, now);
    }

    fn drop_outstanding(&mut self, key: &Key) {
        let Some(outstanding) = self.outstanding.remove(key) else {
            return;
        };
        if outstanding.early
            && let Some(kind) = self.kinds.get_mut(&key.source)
            && let Some(early) = &mut kind.early
        {
            *early = early.saturating_sub(1);
            kind.finish();
        }
    }
}

impl Kind {
    fn finish(&mut self) {
        if self.early == Some(0) {
            self.early = None;
            self.complete = true;
        }
    }
}

/// That an object is gone as of a version.
fn gone(key: &Key, version: &str) -> Record {
    Record {
        what: What::Delete,
        version: version.to_owned(),
        object: record::who(&key.object, Some(version)),
    }
}

/// Of what is written. An object that is the same but for its version is not written again: a Service
/// changes more often than what is served of it.
fn digest(record: &Record) -> u32 {
    let who = postcard::take_from_bytes::<Who>(&record.object);
    match (record.what, who) {
        (What::Apply, Ok((_, rest))) => crc32fast::hash(rest),
        (What::Apply, Err(_)) => crc32fast::hash(&record.object),
        _ => 0,
    }
}

/// A version as a number; 0: it is none.
fn number(version: &str) -> u64 {
    version.parse().unwrap_or(0)
}

/// The bytes of a write.
pub(super) fn value(write: &Write) -> Vec<u8> {
    record::encode(&write.record).unwrap_or_default()
}

#[cfg(test)]
mod tests;

//! Answers to external names in a file beside the zone: the writer of `external.v1`.
//!
//! The same machinery as the zone's (heap, index, epochs, adoption); every change is one 8-byte
//! store. Processes look an answer up without a word to anybody, so the writer does not know which
//! ones are used: what was put longest ago goes first when there are too many.

#[cfg(all(test, not(loom)))]
mod format;
mod record;

pub use record::{Held, HeldAnswer, HeldVerdict};
pub(crate) use record::{decode, valid};

use super::{
    Config, OpenError, State, WriteError, decode,
    files::{Files, HELD_FILE, Opening, unix_now},
    zone::Zone,
};
use crate::{Family, Now, layout::AT_SERIAL, record::Head};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

/// Where, how large and how many.
#[derive(Clone, Debug)]
pub struct HeldOptions {
    /// The directory of [`Options::directory`](super::Options::directory).
    pub directory: PathBuf,
    /// The view's name; one file each.
    pub view: String,
    /// The size of a new file in bytes (rounded up to 64 KiB).
    pub initial_bytes: u64,
    /// Growth ends here.
    pub maximum_bytes: u64,
    /// Names that are held at most, not counting those that never expire.
    pub maximum_names: usize,
}

impl HeldOptions {
    /// 10,000 names in at most 8 MiB, 256 KiB to begin with.
    pub fn new(directory: impl Into<PathBuf>, view: &str) -> Self {
        Self {
            directory: directory.into(),
            view: view.to_owned(),
            initial_bytes: 256 << 10,
            maximum_bytes: 8 << 20,
            maximum_names: 10_000,
        }
    }

    /// `<directory>/view/<view>/external.v1`.
    pub fn path(&self) -> PathBuf {
        self.directory.join("view").join(&self.view).join(HELD_FILE)
    }
}

/// How [`HeldWriter::open`] came by its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldOpened {
    /// There was none.
    Created,
    /// The file of an earlier writer goes on, its answers with it.
    Adopted {
        /// Names found that have not expired.
        names: usize,
    },
    /// There was one that could not go on; readers move to the new, empty one.
    Replaced {
        /// In one line.
        why: String,
    },
}

/// Figures of a file of held answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldStatistics {
    /// The file's size.
    pub bytes: u64,
    /// In use: the first page and all that readers can reach.
    pub used_bytes: u64,
    /// Names in it.
    pub names: u64,
    /// Names that had to go before they expired, since this writer opened the file.
    pub evicted: u64,
    /// Commits since the file was created.
    pub serial: u64,
    /// Lines of the index.
    pub lines: u64,
}

/// The one writer of a view's held answers. Dropping it leaves them in place: they expire.
///
/// Call [`HeldWriter::beat`] and [`HeldWriter::expire`] every few seconds, and
/// [`HeldWriter::advance`] when it is due.
pub struct HeldWriter {
    files: Files,
    zone: Zone,
    order: Order,
    maximum_names: usize,
    evicted: u64,
    /// The last time that the writer was told.
    clock: Now,
}

impl HeldWriter {
    /// Takes the lock, then goes on with the file that is there, or makes one; live from here on.
    pub fn open(options: &HeldOptions, now: Now) -> Result<(Self, HeldOpened), OpenError> {
        let files = Files::of_held(options)?;
        let (mut zone, opening) = files.open()?;
        zone.configure(&Config::default())
            .map_err(OpenError::Full)?;
        let mut writer = Self {
            files,
            order: Order::of(&zone),
            zone,
            maximum_names: options.maximum_names.max(1),
            evicted: 0,
            clock: now,
        };
        writer.expire(now);
        writer.zone.set_incomplete(false);
        writer.beat(now);
        writer.zone.set_synced(now);
        writer.zone.enable();
        let names = writer.order.names.len();
        let opened = match opening {
            Opening::Created => HeldOpened::Created,
            Opening::Adopted => HeldOpened::Adopted { names },
            Opening::Replaced { why } => HeldOpened::Replaced { why },
        };
        Ok((writer, opened))
    }

    /// The file that readers open.
    pub fn path(&self) -> &Path {
        &self.files.zone
    }

    /// When an answer ends that DNS gave at `now` with so many seconds to live: a tenth earlier (so
    /// that processes come by the forwarder before its own copy ends, which has it fetched again),
    /// and at most a day from now. `None`: at once, it cannot be held.
    pub fn end_of(now: Now, ttl: u32) -> Option<Now> {
        record::end_of(now, ttl)
    }

    /// Holds these answers of `name`, and no others; false when nothing changed. Without any it is
    /// removed.
    ///
    /// Other names may have to go for it. On [`WriteError::NoSpace`] a part of the oldest has gone and
    /// what was held of the name before stays: try again when the space is free, after
    /// [`HeldWriter::advance`].
    pub fn put(&mut self, name: &str, held: &Held) -> Result<bool, WriteError> {
        let name = super::object::target(name)?;
        if *held == Held::default() {
            return Ok(self.remove_folded(&name));
        }
        let record = record::encode(&name, held)?;
        let found = self.zone.find(&name);
        if let Some((granule, _)) = &found
            && decode::same(self.zone.words(), *granule, &record).is_some()
        {
            return Ok(false);
        }
        if found.is_none() && held.expires().is_some() {
            while self.order.by_put.len() >= self.maximum_names && self.evict() {}
        }
        let committed = self.zone.commit(&name, &record, &[]);
        if matches!(committed, Err(WriteError::NoSpace { .. })) {
            // As much as a sixteenth, as what is retired is free only two epochs later.
            for _ in 0..self.order.by_put.len().div_ceil(16) {
                self.evict();
            }
        }
        committed?;
        self.order.put(&name, held.expires());
        self.zone.stamp(Now(unix_now()));
        Ok(true)
    }

    /// Holds this answer of one family (`None`: none), beside what is held of the other and has not
    /// expired at `now`; false when nothing changed. See [`HeldWriter::put`].
    pub fn put_family(
        &mut self,
        name: &str,
        family: Family,
        answer: Option<HeldAnswer>,
        now: Now,
    ) -> Result<bool, WriteError> {
        let mut held = self.held(name).unwrap_or_default().without_expired(now);
        held.set(family, answer);
        self.put(name, &held)
    }

    /// Removes a name; false when nothing was held of it.
    pub fn remove(&mut self, name: &str) -> bool {
        super::object::target(name).is_ok_and(|name| self.remove_folded(&name))
    }

    /// What is held of a name, expired or not.
    pub fn held(&self, name: &str) -> Option<Held> {
        let name = super::object::target(name).ok()?;
        let (_, head) = self.zone.find(&name)?;
        record::decode(self.zone.words(), &head)
    }

    /// The names of which anything is held, in no particular order.
    pub fn names(&self) -> Vec<Arc<str>> {
        self.order.names.keys().cloned().collect()
    }

    /// Removes the names that `keep` does not want, which is told when they expire (`None`: never);
    /// returns how many went.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, Option<Now>) -> bool) -> usize {
        let gone: Vec<Arc<str>> = self
            .order
            .names
            .iter()
            .filter(|(name, (expires, _))| !keep(name, *expires))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        gone.iter().filter(|name| self.remove_folded(name)).count()
    }

    /// Removes what has expired at `now`; returns how many names went. When the clock was put back,
    /// everything with an expiry goes: it would count for too long.
    pub fn expire(&mut self, now: Now) -> usize {
        let back = now.0.saturating_add(1) < self.clock.0;
        self.clock = now;
        let mut removed = 0;
        while let Some((end, name)) = self.order.by_expiry.first()
            && (back || *end <= now)
        {
            let name = Arc::clone(name);
            removed += usize::from(self.remove_folded(&name));
        }
        removed
    }

    /// The writer is alive at this time.
    pub fn beat(&mut self, now: Now) {
        self.zone.beat(now);
        self.zone.mark_synced(now);
    }

    /// Processes ask instead, from their next lookup on. Undone by [`HeldWriter::open`].
    pub fn disable(&mut self) {
        self.zone.set_state(State::Disabled);
    }

    /// See [`Writer::advance`](super::Writer::advance).
    pub fn advance(&mut self, now: Instant) -> Option<Instant> {
        self.zone.heap.advance(now)
    }

    /// Figures.
    pub fn statistics(&self) -> HeldStatistics {
        let heap = &self.zone.heap;
        let bytes = heap.memory.bytes();
        HeldStatistics {
            bytes,
            used_bytes: bytes - heap.free_bytes() - heap.quarantined_bytes(),
            names: self.order.names.len() as u64,
            evicted: self.evicted,
            serial: heap.memory.load(AT_SERIAL),
            lines: self.zone.index.root.main_lines.into(),
        }
    }

    /// Starts to record the stores to the file.
    #[cfg(feature = "proofs")]
    #[doc(hidden)]
    pub fn record(&mut self) {
        self.zone.heap.memory.record();
    }

    /// The stores since [`HeldWriter::record`], in program order: number of the word, value.
    #[cfg(feature = "proofs")]
    #[doc(hidden)]
    pub fn recorded(&mut self) -> Vec<(usize, u64)> {
        self.zone.heap.memory.recorded()
    }

    /// Makes room: what was put longest ago goes, of what expires. False when nothing does.
    fn evict(&mut self) -> bool {
        let Some(name) = self.order.by_put.first_key_value().map(|(_, name)| name) else {
            return false;
        };
        let name = Arc::clone(name);
        self.evicted += 1;
        self.remove_folded(&name)
    }

    fn remove_folded(&mut self, name: &str) -> bool {
        if !self.order.remove(name) {
            return false;
        }
        self.zone.remove(name);
        true
    }
}

/// Who goes next: by expiry, and by when they were put.
#[derive(Default)]
struct Order {
    /// Each name with its expiry (`None`: never) and the number of its put.
    names: HashMap<Arc<str>, (Option<Now>, u64)>,
    /// Of those that expire.
    by_expiry: BTreeSet<(Now, Arc<str>)>,
    /// Of those that expire, the oldest first.
    by_put: BTreeMap<u64, Arc<str>>,
    /// The number of the next put.
    next: u64,
}

impl Order {
    /// Of a file that goes on: when the names were put is not known any more, so those that expire
    /// first count as the oldest.
    fn of(zone: &Zone) -> Self {
        let words = zone.words();
        let mut found: Vec<(Option<Now>, String)> = zone
            .index
            .granules(words)
            .filter_map(|(_, granule)| {
                let head = Head::load(words, granule)?;
                let held = record::decode(words, &head)?;
                Some((held.expires(), decode::key(words, &head)?))
            })
            .collect();
        found.sort_unstable();
        let mut order = Self::default();
        for (expiry, name) in found {
            order.put(&name, expiry);
        }
        order
    }

    fn put(&mut self, name: &str, expiry: Option<Now>) {
        self.remove(name);
        let name: Arc<str> = name.into();
        self.next += 1;
        if let Some(expiry) = expiry {
            self.by_expiry.insert((expiry, Arc::clone(&name)));
            self.by_put.insert(self.next, Arc::clone(&name));
        }
        self.names.insert(name, (expiry, self.next));
    }

    fn remove(&mut self, name: &str) -> bool {
        let Some((name, (expiry, number))) = self.names.remove_entry(name) else {
            return false;
        };
        if let Some(expiry) = expiry {
            self.by_expiry.remove(&(expiry, name));
            self.by_put.remove(&number);
        }
        true
    }
}

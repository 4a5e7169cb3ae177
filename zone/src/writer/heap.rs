//! Space that readers may be reading: what is retired is reused two epochs later.

use super::{WriteError, memory::Memory, space::Space};
use crate::{
    layout::{AT_COMMITTED, AT_EPOCH, AT_ROOT, GRANULE_WORDS, LINE_GRANULES, UNIT, WORD},
    record::granule_word,
    sync::{Ordering, Step, leaves_out},
};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The least time between epochs. Any would be correct; shorter ones make readers try again.
const EPOCH: Duration = Duration::from_millis(100);
/// Files grow by an eighth, but by no less than this: whoever reads them has to look at what is new.
const LEAST_GROWTH: u64 = 256 * 1024;
/// Before anybody reads, by one part of so many: what is there then is nearly all that will be.
const UNREAD_GROWTH: u64 = 64;

/// The heap of one zone file.
///
/// The invariant: bytes reachable in epoch e are overwritten only after epoch e + 2 has been
/// stored and a release fence issued.
pub(crate) struct Heap {
    pub(crate) memory: Memory,
    space: Space,
    quarantine: VecDeque<Retired>,
    quarantined: u64,
    advanced: Option<Instant>,
    maximum: u64,
    /// The zone was created by this writer and has not been live since: whoever reads it passes
    /// before following any reference.
    unread: bool,
}

/// An extent that readers may still be reading.
struct Retired {
    epoch: u64,
    start: u32,
    length: u32,
}

impl Heap {
    /// A heap with `space` free in it, growing to at most `maximum` bytes.
    pub(crate) fn new(memory: Memory, space: Space, maximum: u64, unread: bool) -> Self {
        Self {
            memory,
            space,
            quarantine: VecDeque::new(),
            quarantined: 0,
            advanced: None,
            unread,
            maximum: maximum / UNIT as u64 * UNIT as u64,
        }
    }

    /// Free bytes.
    pub(crate) const fn free_bytes(&self) -> u64 {
        self.space.free() * (GRANULE_WORDS * WORD) as u64
    }

    /// Whether nobody follows a reference yet.
    pub(crate) const fn is_unread(&self) -> bool {
        self.unread
    }

    /// Retired bytes.
    pub(crate) const fn quarantined_bytes(&self) -> u64 {
        self.quarantined * (GRANULE_WORDS * WORD) as u64
    }

    /// Writes words into free space; nobody can reach them yet.
    pub(crate) fn put(&mut self, words: &[u64]) -> Result<u32, WriteError> {
        self.put_aligned(words, 1)
    }

    /// [`Heap::put`], starting at a multiple of `align` granules.
    pub(crate) fn put_aligned(&mut self, words: &[u64], align: u32) -> Result<u32, WriteError> {
        let length = granules(words.len());
        let start = match self.space.take(length, align) {
            Some(start) => start,
            None => {
                self.grow(length + align)?;
                // Growing made one extent of at least this length.
                self.space.take(length, align).ok_or(WriteError::NoSpace {
                    wanted: self.memory.bytes(),
                    source: None,
                })?
            }
        };
        for (at, word) in (granule_word(start)..).zip(words) {
            self.memory.store(at, *word, Ordering::Relaxed);
        }
        Ok(start)
    }

    /// [`Heap::put`] without growing.
    #[cfg(all(loom, test))]
    pub(crate) fn put_within(&mut self, words: &[u64]) -> Option<u32> {
        let start = self.space.take(granules(words.len()), 1)?;
        for (at, word) in (granule_word(start)..).zip(words) {
            self.memory.store(at, *word, Ordering::Relaxed);
        }
        Some(start)
    }

    /// Writes the region that is to take the place of the one at `old`, which the caller then gives
    /// up by [`Heap::give_up`].
    ///
    /// Before anybody reads, the old one's space is free for it: tables double many times while a zone
    /// is filled, and would leave holes as large as themselves. A writer that dies meanwhile leaves no
    /// index, and the next one a new file.
    pub(crate) fn put_region(
        &mut self,
        region: &[u64],
        old: Option<(u32, u32)>,
    ) -> Result<u32, WriteError> {
        let (Some((start, length)), true) = (old, self.unread) else {
            return self.put_aligned(region, LINE_GRANULES);
        };
        let root = self.memory.load(AT_ROOT);
        self.memory.commit(AT_ROOT, 0);
        self.space.give(start, length);
        let put = self.put_aligned(region, LINE_GRANULES);
        if put.is_err() {
            // Nothing was written.
            self.space.take_at(start, length);
            self.memory.commit(AT_ROOT, root);
        }
        put
    }

    /// Frees the region that another one has taken the place of.
    pub(crate) fn give_up(&mut self, start: u32, length: u32) {
        if !self.unread {
            self.retire(start, length);
        }
    }

    /// Frees what was never reachable.
    pub(crate) fn unput(&mut self, start: u32, length: u32) {
        self.space.give(start, length);
    }

    /// Frees what is no longer reachable for readers that start now.
    pub(crate) fn retire(&mut self, start: u32, length: u32) {
        if self.unread {
            return self.unput(start, length);
        }
        let epoch = self.memory.load(AT_EPOCH);
        self.quarantined += u64::from(length);
        self.quarantine.push_back(Retired {
            epoch,
            start,
            length,
        });
    }

    /// Must come before the store of the state "live": from here on readers follow references, and
    /// what is retired waits.
    ///
    /// What was reused up to here may have been reachable in this epoch. A reader that took the
    /// epoch before this store finds two more at its end and tries again; one that takes it after
    /// sees every reference as it is now.
    pub(crate) fn open_to_readers(&mut self) {
        if self.unread {
            self.unread = false;
            if leaves_out(Step::Opening) {
                return;
            }
            self.memory.commit(AT_EPOCH, self.memory.load(AT_EPOCH) + 2);
            self.memory.fence();
        }
    }

    /// Starts the next epoch when it is time, and frees what was retired two before. Returns when to
    /// come again, or `None` while nothing is retired.
    pub(crate) fn advance(&mut self, now: Instant) -> Option<Instant> {
        self.quarantine.front()?;
        if let Some(due) = self.advanced.map(|last| last + EPOCH)
            && now < due
        {
            return Some(due);
        }
        self.advanced = Some(now);
        let epoch = self.memory.load(AT_EPOCH) + 1;
        self.memory.store(AT_EPOCH, epoch, Ordering::Release);
        // Between the epoch's store and the first store to what is freed below; pairs with the
        // acquire fence before a reader's last load of the epoch.
        self.memory.fence();
        while let Some(retired) = self.quarantine.front()
            && retired.epoch + grace() <= epoch
        {
            self.space.give(retired.start, retired.length);
            self.quarantined -= u64::from(retired.length);
            self.quarantine.pop_front();
        }
        self.quarantine.front().map(|_| now + EPOCH)
    }

    /// Has the file grow by at least `length` granules. Only the store of the committed size lets
    /// readers follow a reference into the new part.
    fn grow(&mut self, length: u32) -> Result<(), WriteError> {
        let old = self.memory.bytes();
        let unit = UNIT as u64;
        let granule = (GRANULE_WORDS * WORD) as u64;
        let tail = self.space.tail((old / granule) as u32);
        let needed = u64::from(length.saturating_sub(tail)) * granule;
        let least = (old + needed.max(1)).next_multiple_of(unit);
        let more = match self.unread {
            true => old / UNREAD_GROWTH,
            false => (old / 8).max(LEAST_GROWTH),
        };
        let roomy = (old + more).next_multiple_of(unit);
        let full = |wanted, source| WriteError::NoSpace { wanted, source };
        if least > self.maximum {
            return Err(full(least, None));
        }
        let mut wanted = least.max(roomy).min(self.maximum);
        let mut grown = self.memory.grow(wanted);
        if grown.is_err() && wanted > least {
            // The file system may have room for what is needed, if not for more.
            wanted = least;
            grown = self.memory.grow(wanted);
        }
        grown.map_err(|source| full(wanted, source))?;
        let committed = self.memory.bytes() / WORD as u64;
        if !leaves_out(Step::Growth) {
            self.memory.commit(AT_COMMITTED, committed);
        }
        self.space
            .give((old / granule) as u32, ((wanted - old) / granule) as u32);
        Ok(())
    }
}

/// Epochs after which retired space is reused.
pub(super) fn grace() -> u64 {
    if leaves_out(Step::ReuseDistance) {
        1
    } else {
        2
    }
}

/// Granules that so many words take.
pub(crate) const fn granules(words: usize) -> u32 {
    words.div_ceil(GRANULE_WORDS) as u32
}

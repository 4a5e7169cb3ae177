//! The index as the writer keeps it: slots committed one by one, regions rebuilt off-line.

use super::{WriteError, decode, heap::Heap, memory::Memory, reverse::hinted};
use crate::{
    Address,
    hash::{Hash, Seed},
    layout::{
        AT_ROOT, EMPTY, GRANULE_WORDS, HINT_BIAS, LINE_GRANULES, LINE_WORDS, LINES_STEP, MANY,
        MAX_HINTS, MAX_PROBE_LINES, REGION_INCOMPLETE, Root, TOMBSTONE, kind,
    },
    record::Head,
    sync::{Ordering, Step, leaves_out},
    words::Words,
};
use std::collections::HashMap;

/// Slots per line.
const SLOTS: u32 = LINE_WORDS as u32;
/// The largest load of either table, in percent of its slots.
const FULL: u64 = 55;
/// The load of a new table, in percent.
const ROOMY: u64 = 36;
/// The same while a zone is filled that nobody reads yet: more steps, but each leaves a smaller hole.
const FILLING: u64 = 45;
/// What the root word can express.
const MOST_MAIN_LINES: u32 = 0x3_FFFF << 4;
/// See [`MOST_MAIN_LINES`].
const MOST_PTR_LINES: u32 = 0x1_FFFF << 4;

/// Where the current region is and how full.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) root: Root,
    pub(crate) seed: Seed,
    /// The region says that a miss proves nothing.
    pub(crate) incomplete: bool,
    /// So it does whatever has a slot: there is more than what was put.
    pub(crate) lacking: bool,
    /// Slots of the names' table that are not empty.
    pub(crate) used: u32,
    /// Slots of the addresses' table that are not empty.
    pub(crate) hints: u32,
    /// Records that no chain had room for, by key: not seen by readers, tried again at each rehash.
    pub(crate) unindexed: HashMap<String, u32>,
    /// Where seeds come from.
    pub(crate) seeds: fn() -> u64,
}

impl Index {
    /// An index without a region, which [`Index::rehash`] makes; each region takes two `seeds`.
    pub(crate) fn unbuilt(seeds: fn() -> u64) -> Self {
        Self {
            root: Root::unpack(0),
            seed: Seed(0, 0),
            incomplete: false,
            lacking: false,
            used: 0,
            hints: 0,
            unindexed: HashMap::new(),
            seeds,
        }
    }

    /// The slot and the record of `key`.
    pub(crate) fn find(&self, words: Words<'_>, key: &str) -> Option<(u32, u32)> {
        let hash = self.seed.of_key(key.as_bytes());
        for line in chain(hash, self.root.main_lines) {
            let slots = words.range(self.root.main_word(line), LINE_WORDS)?;
            let mut is_last = false;
            for (at, slot) in (line * SLOTS..).zip(slots) {
                let slot = slot.load(Ordering::Relaxed);
                is_last |= slot == EMPTY;
                let granule = slot as u32;
                if (slot >> 32) as u32 == hash.tag()
                    && granule > 1
                    && Head::load(words, granule)?.is_of(words, key.as_bytes())?
                {
                    return Some((at, granule));
                }
            }
            if is_last {
                break;
            }
        }
        None
    }

    /// A slot for a key that has none.
    pub(crate) fn vacancy(&self, memory: &Memory, key: &str) -> Option<u32> {
        vacancy(
            &self.main(memory),
            self.root.main_lines,
            self.seed.of_key(key.as_bytes()),
        )
    }

    /// Commits: from here on readers find `granule` under `key`.
    pub(crate) fn set(&mut self, memory: &Memory, slot: u32, key: &str, granule: u32) {
        let mut table = self.main(memory);
        self.used += u32::from(table.slot(slot) == EMPTY);
        let tag = self.seed.of_key(key.as_bytes()).tag();
        table.set(slot, u64::from(tag) << 32 | u64::from(granule));
    }

    /// Commits: from here on readers find nothing in `slot`.
    pub(crate) fn clear(&mut self, memory: &Memory, slot: u32) {
        self.used -= u32::from(clear(&mut self.main(memory), slot));
    }

    /// Has the address lead to the record in `slot`.
    pub(crate) fn add_hint(&mut self, memory: &Memory, address: &Address, slot: u32) {
        let hash = self.seed.of_address(address.as_octets());
        let mut table = self.ptr(memory);
        let lines = self.root.ptr_lines;
        self.hints += u32::from(add_hint(&mut table, lines, hash, slot + HINT_BIAS));
    }

    /// No longer has the address lead to the record in `slot`.
    pub(crate) fn remove_hint(&mut self, memory: &Memory, address: &Address, slot: u32) {
        let hash = self.seed.of_address(address.as_octets());
        let mut table = self.ptr(memory);
        for line in chain(hash, self.root.ptr_lines) {
            let mut is_last = false;
            for at in line * SLOTS..(line + 1) * SLOTS {
                let value = table.slot(at);
                is_last |= value == EMPTY;
                if value == u64::from(hash.tag()) << 32 | u64::from(slot + HINT_BIAS) {
                    self.hints -= u32::from(clear(&mut table, at));
                    return;
                }
            }
            if is_last {
                return;
            }
        }
    }

    /// Whether there is more than what was put; kept in the regions to come. One store in place, as
    /// there may be no space for anything else.
    pub(crate) fn set_lacking(&mut self, memory: &Memory, lacking: bool) {
        self.lacking = lacking;
        self.incomplete = lacking || !self.unindexed.is_empty();
        let at = self.root.word();
        let first = memory.load(at);
        let changed = if self.incomplete {
            first | REGION_INCOMPLETE
        } else {
            first & !REGION_INCOMPLETE
        };
        if changed != first {
            // Readers that see it cleared also see everything that was put before.
            memory.commit(at, changed);
        }
    }

    /// Makes room for so many more keys and hints.
    pub(crate) fn reserve(
        &mut self,
        heap: &mut Heap,
        keys: u32,
        hints: u32,
    ) -> Result<(), WriteError> {
        let full = |used: u32, more: u32, lines: u32| {
            (u64::from(used) + u64::from(more)) * 100 > u64::from(lines * SLOTS) * FULL
        };
        let main_full = keys > 0 && full(self.used, keys, self.root.main_lines);
        let ptr_full = hints > 0 && full(self.hints, hints, self.root.ptr_lines);
        if main_full || (ptr_full && self.root.ptr_lines < MOST_PTR_LINES) {
            self.rehash(heap, self.root.main_lines, keys, hints)?;
        }
        Ok(())
    }

    /// Builds a region in which a chain that overflowed has room: twice as large, under another seed.
    /// Whoever makes names for the seed in force cannot have the table grow without end.
    pub(crate) fn overflow(&mut self, heap: &mut Heap, hints: u32) -> Result<(), WriteError> {
        let names = u64::from(self.used) + self.unindexed.len() as u64;
        let most = lines_for(names + 1, ROOMY).saturating_mul(8);
        let lines = self
            .root
            .main_lines
            .saturating_mul(2)
            .min(most)
            .max(self.root.main_lines);
        self.rehash(heap, lines, 1, hints)
    }

    /// Builds a region off-line, with room for so many more keys and hints, and moves to it by one
    /// store. At least `least_lines` for names.
    pub(crate) fn rehash(
        &mut self,
        heap: &mut Heap,
        least_lines: u32,
        keys: u32,
        hints: u32,
    ) -> Result<(), WriteError> {
        let words = heap.memory.words();
        let mut records: Vec<u32> = self.granules(words).map(|(_, granule)| granule).collect();
        records.extend(self.unindexed.values());
        let addresses: Vec<Vec<Address>> = records
            .iter()
            .map(|granule| {
                Head::load(words, *granule).map_or(Vec::new(), |head| hinted(words, &head))
            })
            .collect();
        let hinted: usize = addresses.iter().map(Vec::len).sum();
        let load = if heap.is_unread() { FILLING } else { ROOMY };
        let names = records.len() as u64 + u64::from(keys);
        let main_lines = lines_for(names, load).max(least_lines);
        let ptr_lines = lines_for(hinted as u64 + u64::from(hints), load).min(MOST_PTR_LINES);
        let main_lines = main_lines.min(MOST_MAIN_LINES);
        let build = || {
            let seed = Seed((self.seeds)(), (self.seeds)());
            Draft::build(words, &records, &addresses, seed, main_lines, ptr_lines)
        };
        let mut draft = build();
        if !draft.dropped.is_empty() {
            // One more seed: two tables of this load in a row overflow only by somebody's design.
            draft = build();
        }
        let incomplete = self.lacking || !draft.dropped.is_empty();
        let region = draft.region(incomplete);
        let old = (self.root.main_lines != 0)
            .then(|| (self.root.line * LINE_GRANULES, region_granules(self.root)));
        let granule = heap.put_region(&region, old)?;
        let root = Root {
            line: granule / LINE_GRANULES,
            main_lines,
            ptr_lines,
        };
        heap.memory.commit(AT_ROOT, root.pack());
        if let Some((start, length)) = old {
            heap.give_up(start, length);
        }
        let words = heap.memory.words();
        self.unindexed = draft
            .dropped
            .iter()
            .filter_map(|granule| {
                Some((decode::key(words, &Head::load(words, *granule)?)?, *granule))
            })
            .collect();
        self.incomplete = incomplete;
        (self.root, self.seed) = (root, draft.seed);
        (self.used, self.hints) = (draft.used, draft.hints);
        Ok(())
    }

    /// Slots and records of all keys in the region.
    pub(crate) fn granules<'z>(
        &self,
        words: Words<'z>,
    ) -> impl Iterator<Item = (u32, u32)> + use<'z> {
        let slots = words
            .range(
                self.root.main_word(0),
                (self.root.main_lines * SLOTS) as usize,
            )
            .unwrap_or(&[]);
        (0_u32..)
            .zip(slots)
            .map(|(at, slot)| (at, slot.load(Ordering::Relaxed) as u32))
            .filter(|(_, granule)| *granule > 1)
    }

    fn main<'m>(&self, memory: &'m Memory) -> Live<'m> {
        Live {
            memory,
            base: self.root.main_word(0),
        }
    }

    fn ptr<'m>(&self, memory: &'m Memory) -> Live<'m> {
        Live {
            memory,
            base: self.root.ptr_word(0),
        }
    }
}

/// Granules of a region.
pub(crate) const fn region_granules(root: Root) -> u32 {
    (1 + root.main_lines + root.ptr_lines) * LINE_GRANULES
}

/// Lines that hold `count` slots at a load in percent.
fn lines_for(count: u64, load: u64) -> u32 {
    let lines = (count * 100).div_ceil(u64::from(SLOTS) * load);
    u32::try_from(lines)
        .unwrap_or(u32::MAX >> 1)
        .max(1)
        .next_multiple_of(LINES_STEP)
}

/// A region that nobody sees yet.
struct Draft {
    seed: Seed,
    main: Vec<u64>,
    ptr: Vec<u64>,
    used: u32,
    hints: u32,
    /// Records that no chain had room for.
    dropped: Vec<u32>,
}

impl Draft {
    /// Places all records, and hints for their addresses.
    fn build(
        words: Words<'_>,
        records: &[u32],
        addresses: &[Vec<Address>],
        seed: Seed,
        main_lines: u32,
        ptr_lines: u32,
    ) -> Self {
        let mut draft = Self {
            seed,
            main: vec![EMPTY; (main_lines * SLOTS) as usize],
            ptr: vec![EMPTY; (ptr_lines * SLOTS) as usize],
            used: 0,
            hints: 0,
            dropped: Vec::new(),
        };
        for (granule, addresses) in records.iter().zip(addresses) {
            let key = Head::load(words, *granule).and_then(|head| decode::key(words, &head));
            let hash = draft.seed.of_key(key.unwrap_or_default().as_bytes());
            let Some(slot) = vacancy(&draft.main, main_lines, hash) else {
                draft.dropped.push(*granule);
                continue;
            };
            draft
                .main
                .set(slot, u64::from(hash.tag()) << 32 | u64::from(*granule));
            draft.used += 1;
            for address in addresses {
                let hash = draft.seed.of_address(address.as_octets());
                let added = add_hint(&mut draft.ptr, ptr_lines, hash, slot + HINT_BIAS);
                draft.hints += u32::from(added);
            }
        }
        draft
    }

    /// The words of the region.
    fn region(&self, incomplete: bool) -> Vec<u64> {
        let incomplete = if incomplete { REGION_INCOMPLETE } else { 0 };
        let size = LINE_WORDS + self.main.len() + self.ptr.len();
        let mut region = Vec::with_capacity(size);
        let granules = (size / GRANULE_WORDS) as u64;
        region.push(u64::from(kind::REGION) | incomplete | granules << 32);
        region.extend([self.seed.0, self.seed.1]);
        region.resize(LINE_WORDS, 0);
        region.extend(&self.main);
        region.extend(&self.ptr);
        region
    }
}

/// Slots, published or not.
trait Table {
    /// One slot.
    fn slot(&self, at: u32) -> u64;
    /// Changes one slot; visible to readers together with all stores before it.
    fn set(&mut self, at: u32, value: u64);
}

/// Published slots.
struct Live<'m> {
    memory: &'m Memory,
    base: usize,
}

impl Table for Live<'_> {
    fn slot(&self, at: u32) -> u64 {
        self.memory.load(self.base + at as usize)
    }

    fn set(&mut self, at: u32, value: u64) {
        // The commit: pairs with the acquire fence of a reader that found this slot.
        self.memory.commit(self.base + at as usize, value);
    }
}

impl Table for Vec<u64> {
    fn slot(&self, at: u32) -> u64 {
        self[at as usize]
    }

    fn set(&mut self, at: u32, value: u64) {
        self[at as usize] = value;
    }
}

/// The lines of a hash's chain.
fn chain(hash: Hash, lines: u32) -> impl Iterator<Item = u32> {
    let first = hash.line(lines);
    (0..(MAX_PROBE_LINES as u32).min(lines)).map(move |step| (first + step) % lines)
}

/// The first slot of a chain that a new key can take.
fn vacancy(table: &impl Table, lines: u32, hash: Hash) -> Option<u32> {
    chain(hash, lines)
        .flat_map(|line| line * SLOTS..(line + 1) * SLOTS)
        .find(|at| table.slot(*at) <= TOMBSTONE)
}

/// Empties a slot; true when it counts as empty afterwards. In a line without an empty slot it
/// becomes a tombstone, because chains go on after such a line.
fn clear(table: &mut impl Table, slot: u32) -> bool {
    let line = slot / SLOTS * SLOTS;
    let is_last =
        leaves_out(Step::Tombstone) || (line..line + SLOTS).any(|at| table.slot(at) == EMPTY);
    table.set(slot, if is_last { EMPTY } else { TOMBSTONE });
    is_last
}

/// Adds a hint unless it is there; true when it took an empty slot. Where an address has as many
/// hints as are kept, one of them becomes "many". Without a vacancy nothing is added: readers see
/// that the chain is full.
fn add_hint(table: &mut impl Table, lines: u32, hash: Hash, number: u32) -> bool {
    let tagged = |number: u32| u64::from(hash.tag()) << 32 | u64::from(number);
    let mut free = None;
    let mut known = Vec::new();
    'probe: for line in chain(hash, lines) {
        let mut is_last = false;
        for at in line * SLOTS..(line + 1) * SLOTS {
            let value = table.slot(at);
            if value <= TOMBSTONE {
                free = free.or(Some(at));
                is_last |= value == EMPTY;
            } else if value == tagged(number) || value == tagged(MANY) {
                return false;
            } else if value >> 32 == u64::from(hash.tag()) {
                known.push(at);
            }
        }
        if is_last {
            break 'probe;
        }
    }
    if known.len() >= MAX_HINTS {
        table.set(known[0], tagged(MANY));
        return false;
    }
    let Some(at) = free else { return false };
    let was_empty = table.slot(at) == EMPTY;
    table.set(at, tagged(number));
    was_empty
}

/// A random word, from the kernel.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    // SAFETY: room for the eight bytes asked for.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), 0) };
    if got == 8 {
        return u64::from_ne_bytes(bytes);
    }
    use core::hash::{BuildHasher as _, Hasher as _};
    std::hash::RandomState::new().build_hasher().finish()
}

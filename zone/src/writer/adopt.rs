//! A zone that goes on: a new one's first words, and the full check of an earlier writer's file.

use super::{
    Config, WriteError, decode, encode,
    heap::{Heap, grace},
    held,
    index::{Index, random, region_granules},
    memory::Memory,
    reverse::hinted,
    space::Space,
    zone::{Counts, Zone},
};
use crate::{
    hash::{Seed, fnv1a},
    layout::{
        AT_APEX, AT_APEX_LENGTH, AT_CHECKSUM, AT_COMMITTED, AT_CONFIG, AT_CREATED, AT_EPOCH,
        AT_HEAP, AT_INSTANCE, AT_MAGIC, AT_ROOT, AT_STATE, AT_VERSION, AT_VIEW, EMPTY, Flavor,
        GRANULE_WORDS, LINE_GRANULES, LINE_WORDS, MAGIC, MAJOR, MINOR, REGION_INCOMPLETE, Root,
        UNIT, WORD, kind, state,
    },
    mapping::{check, checksum},
    record::{Chunk, Head},
    sync::Ordering,
    words::{Words, text_words},
};

/// The heap's first granule.
const HEAP: u32 = (AT_HEAP / GRANULE_WORDS) as u32;

/// What makes a file this view of this zone.
#[derive(Clone, Copy)]
pub(crate) struct Identity<'a> {
    /// Lower case, no trailing dot; empty: held answers.
    pub(crate) apex: &'a str,
    /// The view's name.
    pub(crate) view: &'a str,
}

impl Identity<'_> {
    /// What the file holds.
    const fn flavor(&self) -> Flavor {
        if self.apex.is_empty() {
            Flavor::Held
        } else {
            Flavor::Zone
        }
    }
}

/// What differs between two new zones of one identity.
#[derive(Clone, Copy)]
pub(crate) struct Birth {
    /// Unix seconds.
    pub(crate) created: u64,
    /// Random.
    pub(crate) instance: u64,
    /// Where the index's seeds come from.
    pub(crate) seeds: fn() -> u64,
}

impl Zone {
    /// Makes zeroed memory an empty zone: syncing, the default configuration, no names.
    pub(crate) fn create(
        memory: Memory,
        maximum: u64,
        identity: Identity<'_>,
        birth: Birth,
    ) -> Result<Self, WriteError> {
        let relaxed = |at: usize, value: u64| memory.store(at, value, Ordering::Relaxed);
        relaxed(AT_MAGIC, MAGIC);
        let flavor = identity.flavor();
        let version = u64::from(MAJOR) | u64::from(MINOR) << 16 | flavor.features() << 32;
        relaxed(AT_VERSION, version);
        relaxed(AT_INSTANCE, birth.instance);
        relaxed(AT_VIEW, u64::from(fnv1a(identity.view.as_bytes())));
        relaxed(AT_CREATED, birth.created);
        relaxed(AT_APEX_LENGTH, identity.apex.len() as u64);
        let (full, tail) = text_words(identity.apex.as_bytes());
        for (at, word) in (AT_APEX..).zip(full.chain([tail])) {
            relaxed(at, word);
        }
        let sum = checksum(memory.words()).unwrap_or(0);
        relaxed(AT_CHECKSUM, u64::from(sum));
        relaxed(AT_EPOCH, 2);
        relaxed(AT_COMMITTED, memory.bytes() / WORD as u64);
        relaxed(AT_STATE, state::INIT);
        let mut space = Space::default();
        space.give(HEAP, granules_of(&memory) - HEAP);
        let mut zone = Self {
            heap: Heap::new(memory, space, maximum, true),
            index: Index::unbuilt(birth.seeds),
            counts: Counts::default(),
        };
        zone.index.rehash(&mut zone.heap, 0, 0, 0)?;
        let config = encode::config(&Config::default())?;
        let granule = zone.heap.put(&config)?;
        zone.heap
            .memory
            .store(AT_CONFIG, u64::from(granule), Ordering::Release);
        zone.heap
            .memory
            .store(AT_STATE, state::SYNCING, Ordering::Release);
        Ok(zone)
    }

    /// Goes on with an earlier writer's zone, if every reachable word is as this version writes it.
    /// Otherwise says in a few words what is not.
    pub(crate) fn adopt(
        memory: Memory,
        maximum: u64,
        identity: Identity<'_>,
    ) -> Result<Self, &'static str> {
        check_identity(memory.words(), identity)?;
        // Whatever the earlier writer had retired may be reused from here on.
        let epoch = memory.load(AT_EPOCH);
        if !(2..u64::MAX >> 1).contains(&epoch) {
            return Err("its epoch is impossible");
        }
        memory.store(AT_EPOCH, epoch + grace(), Ordering::Release);
        memory.fence();
        let flavor = identity.flavor();
        let mut scan = Scan::run(memory.words(), flavor)?;
        let space = scan.space(granules_of(&memory))?;
        let mut zone = Self {
            heap: Heap::new(memory, space, maximum, false),
            index: scan.index,
            counts: scan.counts,
        };
        zone.rebuild_hints()?;
        Ok(zone)
    }

    /// Adds the hints that a crash may have left out. Those that it left over are harmless.
    fn rebuild_hints(&mut self) -> Result<(), &'static str> {
        let words = self.words();
        let mut missing = Vec::new();
        for (slot, granule) in self.index.granules(words) {
            let head = Head::load(words, granule).ok_or("a record is past the end")?;
            missing.extend(
                hinted(words, &head)
                    .into_iter()
                    .map(|address| (slot, address)),
            );
        }
        let count = u32::try_from(missing.len()).map_err(|_| "it holds too many addresses")?;
        // Most are missing: a larger table is needed. Without space for it the chains fill up, and
        // readers ask DNS.
        let lines = self.index.root.main_lines;
        if self.index.hints < count / 2 && self.index.rehash(&mut self.heap, lines, 0, 0).is_ok() {
            return Ok(());
        }
        for (slot, address) in missing {
            self.index.add_hint(&self.heap.memory, &address, slot);
        }
        Ok(())
    }
}

/// Granules of a file.
const fn granules_of(memory: &Memory) -> u32 {
    (memory.bytes() / (GRANULE_WORDS * WORD) as u64) as u32
}

/// Checks everything before the heap.
fn check_identity(words: Words<'_>, identity: Identity<'_>) -> Result<(), &'static str> {
    check(words, identity.flavor()).map_err(|_| "it is no zone of this version")?;
    let load = |at| words.load(at).ok_or("it is too short");
    if load(AT_APEX_LENGTH)? != identity.apex.len() as u64
        || words.holds(AT_APEX, identity.apex.as_bytes()) != Some(true)
    {
        return Err("it has another apex");
    }
    if load(AT_VIEW)? != u64::from(fnv1a(identity.view.as_bytes())) {
        return Err("it is another view");
    }
    if load(AT_VERSION)? as u32 >> 16 != u32::from(MINOR) {
        return Err("it is of another minor version");
    }
    if load(AT_COMMITTED)? != words.count() as u64 || !words.count().is_multiple_of(UNIT / WORD) {
        return Err("its size is impossible");
    }
    match load(AT_STATE)? {
        state::SYNCING | state::LIVE | state::DISABLED => Ok(()),
        state::SUPERSEDED => Err("it is superseded"),
        _ => Err("it was never finished"),
    }
}

/// Everything reachable in a zone.
pub(crate) struct Scan {
    /// Start and length of all reachable extents, the index first.
    extents: Vec<(u32, u32)>,
    pub(crate) index: Index,
    pub(crate) counts: Counts,
}

impl Scan {
    /// Walks and checks everything that readers can reach.
    pub(crate) fn run(words: Words<'_>, flavor: Flavor) -> Result<Self, &'static str> {
        let load = |at| words.load(at).ok_or("it is too short");
        let root = Root::unpack(load(AT_ROOT)?);
        if root.main_lines == 0 {
            return Err("it has no index");
        }
        let first = load(root.word())?;
        let size = (1 + root.main_lines + root.ptr_lines) as usize * LINE_WORDS;
        if words.range(root.word(), size).is_none()
            || first as u8 != kind::REGION
            || first >> 32 != (size / GRANULE_WORDS) as u64
        {
            return Err("its index is malformed");
        }
        let seed = Seed(load(root.word() + 1)?, load(root.word() + 2)?);
        let incomplete = first & REGION_INCOMPLETE != 0;
        let mut index = Index {
            root,
            seed,
            incomplete,
            // What the earlier writer had no slot or no space for is not in the file.
            lacking: incomplete,
            ..Index::unbuilt(random)
        };
        let used = |at: usize, lines: u32| {
            let slots = words.range(at, lines as usize * LINE_WORDS).unwrap_or(&[]);
            slots
                .iter()
                .filter(|slot| slot.load(Ordering::Relaxed) != EMPTY)
                .count() as u32
        };
        index.used = used(root.main_word(0), root.main_lines);
        index.hints = used(root.ptr_word(0), root.ptr_lines);
        let config = load(AT_CONFIG)?;
        let size = decode::valid_config(words, config).ok_or("its configuration is malformed")?;
        let extents = vec![
            (root.line * LINE_GRANULES, region_granules(root)),
            (config as u32, size),
        ];
        let mut scan = Self {
            extents,
            index,
            counts: Counts::default(),
        };
        let records: Vec<(u32, u32)> = scan.index.granules(words).collect();
        for (slot, granule) in records {
            scan.record(words, flavor, slot, granule)
                .ok_or("a record is malformed")?;
        }
        Ok(scan)
    }

    /// Checks one record: `None` when anything about it is wrong.
    fn record(&mut self, words: Words<'_>, flavor: Flavor, slot: u32, granule: u32) -> Option<()> {
        let head = Head::load(words, granule)?;
        let key = decode::key(words, &head)?;
        // Also false for a second record of one key, and for one that no probe reaches.
        if self.index.find(words, &key)? != (slot, granule) {
            return None;
        }
        self.extents.push((granule, head.granules()));
        if flavor == Flavor::Held {
            self.counts.held += 1;
            return held::valid(words, &head, granule);
        }
        if head.kind() == kind::NAMESPACE {
            self.counts.namespaces += 1;
            return decode::valid_namespace(words, &head, granule);
        }
        decode::valid_service(words, &head, granule)?;
        self.counts.services += 1;
        for granule in head.chunk_granules(words)? {
            let chunk = Chunk::load(words, granule)?;
            decode::valid_chunk(words, &chunk, granule)?;
            self.extents.push((granule, chunk.granules));
            self.counts.slices += 1;
        }
        Some(())
    }

    /// Start and length in granules of everything reachable, the index first.
    #[cfg(feature = "proofs")]
    pub(crate) fn into_extents(self) -> Vec<(u32, u32)> {
        self.extents
    }

    /// Granules that can be reached.
    pub(crate) fn reachable(&self) -> u64 {
        self.extents
            .iter()
            .map(|(_, length)| u64::from(*length))
            .sum()
    }

    /// What is left of the heap, up to granule `end`.
    fn space(&mut self, end: u32) -> Result<Space, &'static str> {
        self.extents.sort_unstable();
        let mut space = Space::default();
        let mut next = HEAP;
        for (start, length) in &self.extents {
            if *start < next || *length > end - start.min(&end) {
                return Err("two records overlap");
            }
            space.give(next, start - next);
            next = start + length;
        }
        space.give(next, end - next);
        Ok(space)
    }
}

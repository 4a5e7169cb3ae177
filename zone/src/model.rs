//! loom models of what happens between one writer and one reader at the same time: publish and
//! reuse, adoption, rehash, another configuration, supersede.
//!
//! The reader is the real one (`reader::attempt` and all of `snapshot`). The writer is the order of
//! its stores, on a file of some hundred words. Each model has weakened variants, in which one step
//! of the protocol is left out: loom must find an execution in which they go wrong, else the model
//! proves nothing.

use crate::{
    Families, Found, Name, Now,
    hash::Seed,
    layout::{
        AT_ALIVE, AT_APEX, AT_APEX_LENGTH, AT_COMMITTED, AT_CONFIG, AT_EPOCH, AT_ROOT, AT_STATE,
        GRANULE_WORDS, LINE_WORDS, Root, config, kind, state,
    },
    reader::{Retry, attempt},
    snapshot::Snapshot,
    sync::{AtomicU64, Ordering, Step, fence, leave_out, leaves_out},
    words::Words,
};
use loom::{model::Builder, thread};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
};

/// The service's key: one word.
const KEY: &[u8] = b"s.n";
/// Its name, below an apex of one letter.
const NAME: &[u8] = b"s.n.svc.c";
/// Addresses of the service: two words, which can be torn apart.
const ADDRESSES: u64 = 4;
/// When the lookups happen; the writer beats then.
const NOW: u64 = 1;

/// Where the two configurations are.
const CONFIGS: [usize; 2] = [64, 70];
/// Where the two index regions are: a line of their own, and the one line that the key can be in.
const REGIONS: [usize; 2] = [80, 96];
/// Where the two records are.
const RECORDS: [usize; 2] = [112, 118];
/// Words in all.
const WORDS: usize = 124;

#[test]
fn a_reader_sees_one_version_while_space_is_reused() {
    holds(publish_and_reuse);
}

#[test]
fn reuse_goes_wrong_without_each_step() {
    for step in [
        Step::Commit,
        Step::SlotFence,
        Step::ReuseDistance,
        Step::EpochFence,
        Step::LastFence,
        Step::EpochCheck,
    ] {
        fails(step, publish_and_reuse);
    }
}

#[test]
fn a_reader_sees_one_version_while_a_new_writer_takes_over() {
    holds(adopt);
}

#[test]
fn adoption_goes_wrong_without_each_step() {
    for step in [
        Step::ReuseDistance,
        Step::EpochFence,
        Step::LastFence,
        Step::EpochCheck,
    ] {
        fails(step, adopt);
    }
}

#[test]
fn no_name_is_missed_during_a_rehash() {
    holds(rehash);
}

#[test]
fn a_rehash_goes_wrong_without_each_step() {
    for step in [
        Step::Commit,
        Step::RootFence,
        Step::ReuseDistance,
        Step::LastFence,
    ] {
        fails(step, rehash);
    }
}

#[test]
fn a_configuration_is_seen_whole() {
    holds(configure);
}

#[test]
fn a_configuration_is_torn_without_each_step() {
    for step in [
        Step::Commit,
        Step::RootFence,
        Step::ReuseDistance,
        Step::LastFence,
    ] {
        fails(step, configure);
    }
}

#[test]
fn no_name_is_missed_in_a_superseded_file() {
    holds(supersede);
}

#[test]
fn a_superseded_file_denies_names_without_each_step() {
    for step in [Step::Recheck, Step::LastFence] {
        fails(step, supersede);
    }
}

/// Three versions of one record in two places, the reader somewhere between.
fn publish_and_reuse() {
    let zone = Zone::new();
    let reader = zone.reader();
    let mut writer = Writer::of(zone);
    writer.put(2);
    writer.advance();
    writer.advance();
    writer.put(3);
    reader.join().expect("the reader");
}

/// A writer dies after its commit; the next one moves the epoch by two, then reuses at once.
fn adopt() {
    let zone = Zone::new();
    let reader = zone.reader();
    let mut writer = Writer::of(zone);
    writer.put(2);
    let mut heir = writer.adopted();
    heir.put(3);
    reader.join().expect("the reader");
}

/// The index moves; then the old region holds something else.
fn rehash() {
    let zone = Zone::new();
    let reader = zone.reader();
    let mut writer = Writer::of(zone);
    let slot = writer.zone.load(REGIONS[0] + LINE_WORDS);
    writer.zone.write(REGIONS[1], &region_head());
    writer.zone.write(REGIONS[1] + LINE_WORDS, &[slot]);
    writer.commit(AT_ROOT, root(REGIONS[1]));
    writer.advance();
    writer.advance();
    // Reused; what is written happens to look like an empty line.
    writer.zone.write(REGIONS[0] + LINE_WORDS, &[0]);
    reader.join().expect("the reader");
}

/// A configuration is replaced twice; its first place is used for the third. Time to live and the
/// permille of each are equal.
fn configure() {
    let zone = Zone::new();
    let shared = Arc::clone(&zone);
    let reader = thread::spawn(move || {
        let mut ask = |snapshot: &Snapshot<'_>| (snapshot.ttl(), snapshot.disabled_permille());
        match attempt(shared.words(), 0, Now(NOW), &mut ask) {
            Ok((ttl, permille)) => {
                assert!(
                    (1..=3).contains(&ttl) && ttl == u32::from(permille),
                    "{ttl} {permille}"
                );
            }
            Err(Retry::Again) => {}
            Err(_) => panic!("the zone is fine"),
        }
    });
    let mut writer = Writer::of(zone);
    writer.zone.write(CONFIGS[1], &config_words(2));
    writer.commit(AT_CONFIG, granule(CONFIGS[1]));
    writer.advance();
    writer.advance();
    writer.zone.write(CONFIGS[0], &config_words(3));
    writer.commit(AT_CONFIG, granule(CONFIGS[0]));
    reader.join().expect("the reader");
}

/// Another inode takes over; another thread of the process lays zeros over the mapping, in an order
/// of its own.
fn supersede() {
    let zone = Zone::new();
    let reader = zone.reader();
    zone.0[AT_STATE].store(state::SUPERSEDED, Ordering::Release);
    // The overlay happens in a thread that saw the state, and mmap is a barrier for all threads.
    fence(Ordering::SeqCst);
    for at in [
        REGIONS[0] + LINE_WORDS,
        RECORDS[0],
        AT_ROOT,
        AT_EPOCH,
        AT_STATE,
    ] {
        zone.0[at].store(0, Ordering::Relaxed);
    }
    reader.join().expect("the reader");
}

/// Runs a model in every interleaving with at most three preemptions.
fn holds(model: fn()) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}

/// Runs a model with one step left out: it must go wrong.
fn fails(step: Step, model: fn()) {
    leave_out(Some(step));
    let outcome = catch_unwind(AssertUnwindSafe(|| holds(model)));
    leave_out(None);
    assert!(
        outcome.is_err(),
        "nothing goes wrong without {step:?}: the model is blind to it"
    );
}

/// A zone file of some hundred words with one service, at generation 1.
struct Zone(Vec<AtomicU64>);

impl Zone {
    fn new() -> Arc<Self> {
        let mut words = vec![0; WORDS];
        let mut set = |at: usize, values: &[u64]| {
            words[at..at + values.len()].copy_from_slice(values);
        };
        set(AT_EPOCH, &[2]);
        set(AT_ROOT, &[root(REGIONS[0])]);
        set(AT_COMMITTED, &[WORDS as u64]);
        set(AT_STATE, &[state::LIVE]);
        set(AT_CONFIG, &[granule(CONFIGS[0])]);
        set(AT_ALIVE, &[NOW]);
        set(AT_APEX_LENGTH, &[1]);
        set(AT_APEX, &[u64::from(b'c')]);
        set(CONFIGS[0], &config_words(1));
        set(REGIONS[0], &region_head());
        set(REGIONS[0] + LINE_WORDS, &[slot(RECORDS[0])]);
        set(RECORDS[0], &record_words(1));
        Arc::new(Self(words.into_iter().map(AtomicU64::new).collect()))
    }

    /// A thread that makes one attempt: it sees one whole version, or knows that it did not.
    fn reader(self: &Arc<Self>) -> thread::JoinHandle<()> {
        let zone = Arc::clone(self);
        thread::spawn(move || {
            let mut ask = |snapshot: &Snapshot<'_>| {
                let mut room = [crate::Address::UNSPECIFIED; ADDRESSES as usize];
                let found =
                    snapshot.addresses(NAME, Families::BOTH, &mut room, &mut Name::EMPTY.clone());
                (found, room)
            };
            match attempt(zone.words(), 0, Now(NOW), &mut ask) {
                Ok((found, room)) => {
                    assert_eq!(
                        found,
                        Found::Answer {
                            count: ADDRESSES as usize
                        }
                    );
                    assert!(
                        room.iter().all(|address| *address == room[0]),
                        "torn: {room:?}"
                    );
                    assert!((1..=3).contains(&room[0].octets[0]), "{room:?}");
                }
                Err(Retry::Again | Retry::Left) => {}
                Err(_) => panic!("the zone is fine"),
            }
        })
    }

    fn words(&self) -> Words<'_> {
        Words::new(&self.0)
    }

    fn load(&self, at: usize) -> u64 {
        self.0[at].load(Ordering::Relaxed)
    }

    /// Stores what no reader can reach yet.
    fn write(&self, at: usize, values: &[u64]) {
        for (word, value) in self.0[at..].iter().zip(values) {
            word.store(*value, Ordering::Relaxed);
        }
    }
}

/// The order of the real writer's stores.
struct Writer {
    zone: Arc<Zone>,
    epoch: u64,
    /// Places of records that are free.
    free: Vec<usize>,
    /// The place that is reachable.
    current: usize,
    /// Places that were retired, and when.
    retired: Vec<(usize, u64)>,
}

impl Writer {
    fn of(zone: Arc<Zone>) -> Self {
        Self {
            zone,
            epoch: 2,
            free: vec![RECORDS[1]],
            current: RECORDS[0],
            retired: Vec::new(),
        }
    }

    /// Another version of the record.
    fn put(&mut self, generation: u64) {
        let place = self.free.pop().expect("no record is free");
        self.zone.write(place, &record_words(generation));
        self.commit(REGIONS[0] + LINE_WORDS, slot(place));
        self.retired.push((self.current, self.epoch));
        self.current = place;
    }

    /// The one store that publishes.
    fn commit(&self, at: usize, value: u64) {
        let ordering = if leaves_out(Step::Commit) {
            Ordering::Relaxed
        } else {
            Ordering::Release
        };
        self.zone.0[at].store(value, ordering);
    }

    /// The next epoch; what was retired two epochs ago becomes free.
    fn advance(&mut self) {
        // The variant without the distance passes one epoch where the protocol passes two.
        if leaves_out(Step::ReuseDistance) && self.epoch > 2 {
            return self.reclaim(1);
        }
        self.next_epoch(1);
        self.reclaim(2);
    }

    /// Whoever goes on after this writer has died: everything out of reach is free.
    fn adopted(mut self) -> Self {
        self.next_epoch(if leaves_out(Step::ReuseDistance) {
            1
        } else {
            2
        });
        self.reclaim(0);
        self
    }

    fn next_epoch(&mut self, by: u64) {
        self.epoch += by;
        self.zone.0[AT_EPOCH].store(self.epoch, Ordering::Release);
        if !leaves_out(Step::EpochFence) {
            fence(Ordering::Release);
        }
    }

    fn reclaim(&mut self, distance: u64) {
        let epoch = self.epoch;
        let (free, kept): (Vec<_>, Vec<_>) = self
            .retired
            .drain(..)
            .partition(|(_, retired)| retired + distance <= epoch);
        self.free.extend(free.into_iter().map(|(place, _)| place));
        self.retired = kept;
    }
}

/// A CONFIG record: misses are denied, and two of its words tell the generation.
fn config_words(generation: u64) -> [u64; 4] {
    [
        u64::from(kind::CONFIG) | 2 << 32,
        config::MISS_NXDOMAIN << 24 | generation << 32,
        10 | 10 << 32,
        generation,
    ]
}

/// A record of the service whose addresses all tell the generation.
fn record_words(generation: u64) -> [u64; 5] {
    let mut key = [0; 8];
    key[..KEY.len()].copy_from_slice(KEY);
    let pair = generation | generation << 32;
    [
        u64::from(kind::SERVICE) | (KEY.len() as u64) << 16 | 3 << 32,
        ADDRESSES,
        u64::from_le_bytes(key),
        pair,
        pair,
    ]
}

/// The first words of a region: its seed is one that puts the key into the first line.
fn region_head() -> [u64; 3] {
    let Seed(low, high) = seed();
    let granules = Root::unpack(root(REGIONS[0])).region_granules();
    [u64::from(kind::REGION) | granules << 32, low, high]
}

/// See [`region_head`].
fn seed() -> Seed {
    static SEED: OnceLock<Seed> = OnceLock::new();
    *SEED.get_or_init(|| {
        let mut seeds = (0..).map(|low| Seed(low, 0));
        seeds
            .find(|seed| seed.of_key(KEY).line(16) == 0)
            .expect("one in sixteen")
    })
}

/// The root of a region of sixteen lines, of which only the first is ever visited.
fn root(region: usize) -> u64 {
    let line = u32::try_from(region / LINE_WORDS).expect("a small file");
    Root {
        line,
        main_lines: 16,
        ptr_lines: 0,
    }
    .pack()
}

/// The slot of a record.
fn slot(record: usize) -> u64 {
    u64::from(seed().of_key(KEY).tag()) << 32 | granule(record)
}

/// The number of the granule at a word.
fn granule(at: usize) -> u64 {
    (at / GRANULE_WORDS) as u64
}

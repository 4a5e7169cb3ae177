//! loom models of what happens between one writer and one reader at the same time: publish and
//! reuse, adoption, rehash, another configuration, supersede.
//!
//! The reader is the real one (`reader::attempt` and all of `snapshot`), and so is what decides when
//! space is reused (`Heap`), on a file of some hundred words. Each model has weakened variants, in which one step
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
    writer::{heap::Heap, memory::Memory, space::Space},
};
use loom::{model::Builder, thread};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

/// The service's key: one word.
const KEY: &[u8] = b"s.n";
/// Its name, below an apex of one letter.
const NAME: &[u8] = b"s.n.svc.c";
/// Addresses of the service: two words, which can be torn apart.
const ADDRESSES: u64 = 4;
/// When the lookups happen; the writer beats then.
const NOW: u64 = 1;

/// Where the first configuration is; two more fit behind it.
const CONFIG: usize = 64;
/// Where the index is: a line of its own, and the one line that the key can be in; two more fit
/// behind it.
const REGION: usize = 80;
/// Where the first record is; two more fit behind it.
const RECORD: usize = 128;
/// Words in all.
const WORDS: usize = 146;

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
        Step::FirstFence,
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

/// Four versions of one record in three places, the reader somewhere between.
fn publish_and_reuse() {
    let zone = Zone::new();
    let reader = zone.reader();
    let mut writer = Writer::records(zone);
    writer.put_record(2);
    writer.advance();
    writer.put_record(3);
    writer.advance();
    writer.put_record(4);
    reader.join().expect("the reader");
}

/// A writer dies after its commit; the next one moves the epoch by two, then reuses at once.
fn adopt() {
    let zone = Zone::new();
    let reader = zone.reader();
    let mut writer = Writer::records(zone);
    writer.put_record(2);
    let mut heir = writer.adopted();
    heir.put_record(3);
    reader.join().expect("the reader");
}

/// The index moves; as soon as the heap gives its old place away, an empty line is written there.
/// (Only the words that a reader looks at are stored: whole regions take loom minutes.)
fn rehash() {
    let zone = Zone::new();
    let reader = zone.reader();
    let mut writer = Writer::over(zone, REGION, 2 * LINE_WORDS);
    let mut region = region_head().to_vec();
    region.resize(LINE_WORDS, 0);
    region.push(slot(RECORD));
    writer.publish(AT_ROOT, &region, |granule| {
        root(granule as usize * GRANULE_WORDS)
    });
    let free = writer.heap.free_bytes();
    for _ in 0..2 {
        writer.advance();
        if writer.heap.free_bytes() > free {
            let line = REGION + LINE_WORDS;
            writer.heap.memory.store(line, 0, Ordering::Relaxed);
        }
    }
    reader.join().expect("the reader");
}

/// A configuration is replaced again and again. Time to live and the permille of each are equal.
fn configure() {
    let zone = Zone::new();
    let shared = Arc::clone(&zone);
    let reader = thread::spawn(move || {
        let mut ask = |snapshot: &Snapshot<'_>| (snapshot.ttl(), snapshot.disabled_permille());
        match attempt(shared.words(), 0, Now(NOW), &mut ask) {
            Ok((ttl, permille)) => {
                let one = (1..=4).contains(&ttl) && ttl == u32::from(permille);
                assert!(one, "torn: {ttl} {permille}");
            }
            Err(Retry::Again) => {}
            Err(_) => panic!("the zone is fine"),
        }
    });
    let mut writer = Writer::over(zone, CONFIG, config_words(1).len());
    writer.publish(AT_CONFIG, &config_words(2), u64::from);
    writer.advance();
    writer.publish(AT_CONFIG, &config_words(3), u64::from);
    writer.advance();
    writer.publish(AT_CONFIG, &config_words(4), u64::from);
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
    for at in [REGION + LINE_WORDS, RECORD, AT_ROOT, AT_EPOCH, AT_STATE] {
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
        set(AT_ROOT, &[root(REGION)]);
        set(AT_COMMITTED, &[WORDS as u64]);
        set(AT_STATE, &[state::LIVE]);
        set(AT_CONFIG, &[granule(CONFIG)]);
        set(AT_ALIVE, &[NOW]);
        set(AT_APEX_LENGTH, &[1]);
        set(AT_APEX, &[u64::from(b'c')]);
        set(CONFIG, &config_words(1));
        set(REGION, &region_head());
        set(REGION + LINE_WORDS, &[slot(RECORD)]);
        set(RECORD, &record_words(1));
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
                    assert!((1..=4).contains(&room[0].octets[0]), "{room:?}");
                }
                Err(Retry::Again | Retry::Left) => {}
                Err(_) => panic!("the zone is fine"),
            }
        })
    }

    fn words(&self) -> Words<'_> {
        Words::new(&self.0)
    }

    /// For one writer, which keeps the zone as long as this.
    fn memory(&self) -> Memory {
        // SAFETY: the words are not moved, and `Writer` drops its memory before its zone.
        let words = unsafe { core::slice::from_raw_parts(self.0.as_ptr(), self.0.len()) };
        Memory::over(words, words.len())
    }
}

/// The real heap, publishing one kind of thing of one size.
struct Writer {
    heap: Heap,
    /// A clock of its own: every call of `advance` is late enough.
    clock: Instant,
    /// What is reachable.
    current: u32,
    /// Its size in granules.
    granules: u32,
    /// The heap's words; dropped after it.
    zone: Arc<Zone>,
}

impl Writer {
    /// Of the service's record.
    fn records(zone: Arc<Zone>) -> Self {
        Self::over(zone, RECORD, record_words(1).len())
    }

    /// Of what is at word `first`, of so many words; there are two free places behind it.
    fn over(zone: Arc<Zone>, first: usize, words: usize) -> Self {
        let granules = words.div_ceil(GRANULE_WORDS) as u32;
        let current = granule(first) as u32;
        let mut space = Space::default();
        space.give(current + granules, 2 * granules);
        let heap = Heap::new(zone.memory(), space, 0, false);
        Self {
            heap,
            clock: Instant::now(),
            current,
            granules,
            zone,
        }
    }

    /// Another version of the record.
    fn put_record(&mut self, generation: u64) {
        self.publish(REGION + LINE_WORDS, &record_words(generation), |granule| {
            slot(granule as usize * GRANULE_WORDS)
        });
    }

    /// Another version, and the one store at `at` that leads to it.
    fn publish(&mut self, at: usize, words: &[u64], reference: impl Fn(u32) -> u64) {
        let start = self.heap.put(words).expect("a free place");
        self.heap.memory.commit(at, reference(start));
        self.heap.retire(self.current, self.granules);
        self.current = start;
    }

    /// The next epoch.
    fn advance(&mut self) {
        self.clock += Duration::from_secs(1);
        self.heap.advance(self.clock);
    }

    /// Whoever goes on after this writer has died: two epochs later all that is out of reach is
    /// free.
    fn adopted(self) -> Self {
        let distance = if leaves_out(Step::ReuseDistance) {
            1
        } else {
            2
        };
        let memory = self.zone.memory();
        memory.store(
            AT_EPOCH,
            memory.load(AT_EPOCH) + distance,
            Ordering::Release,
        );
        memory.fence();
        let mut space = Space::default();
        space.give(granule(RECORD) as u32, self.granules);
        Self {
            heap: Heap::new(memory, space, 0, false),
            ..self
        }
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
    let granules = Root::unpack(root(REGION)).region_granules();
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

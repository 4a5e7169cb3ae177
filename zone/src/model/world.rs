//! A small cluster: a zone file in memory, its writer, and readers that make one attempt each.

use crate::{
    Address, Config, Families, Found, MissPolicy, Name, Now, ServiceBody, ServiceKey,
    hash::Seed,
    layout::{AT_EPOCH, AT_ROOT, AT_STATE, GRANULE_WORDS, UNIT, WORD, state},
    reader::{Retry, attempt},
    snapshot::Snapshot,
    sync::{AtomicU64, Ordering, modeled},
    words::Words,
    writer::{
        adopt::{Birth, Identity},
        memory::Memory,
        zone::Zone,
    },
};
use loom::thread::{self, JoinHandle};
use std::{
    cell::Cell,
    panic::resume_unwind,
    sync::Arc,
    time::{Duration, Instant},
};

/// When the lookups happen; the writer beats then.
pub(super) const NOW: Now = Now(1);
/// The service that most models are about, and its key.
pub(super) const NAME: &[u8] = b"s.n.svc.c";
/// See [`NAME`].
pub(super) const KEY: &str = "s.n";
/// Addresses of a service: two words, which can be torn apart.
pub(super) const ADDRESSES: usize = 4;
/// Granules of such a service's record.
pub(super) const SERVICE: u32 = 3;
/// What makes a file a zone.
const IDENTITY: Identity<'static> = Identity {
    apex: "c",
    view: "d",
};
/// Words of the smallest file that can be adopted or grow.
pub(super) const WHOLE: usize = UNIT / WORD;
/// Words of one that cannot, but has room for three indexes.
pub(super) const SMALL: usize = 2_048;

std::thread_local! {
    /// Of the seeds to come.
    static SEED: Cell<u64> = const { Cell::new(0) };
}

/// The words of a file.
pub(super) struct File {
    words: Vec<AtomicU64>,
    /// Where the first word is: at the start of a page, as in a mapping.
    start: usize,
}

impl File {
    /// So many words; no two files of a model have the same number.
    pub(super) fn new(number: usize, words: usize) -> Arc<Self> {
        const PAGE: usize = 4096;
        let mut words: Vec<AtomicU64> = (0..words + PAGE).map(|_| AtomicU64::of_file()).collect();
        let is_aligned = |word: &AtomicU64| core::ptr::from_ref(word).addr().is_multiple_of(PAGE);
        let start = words.iter().position(is_aligned).expect("one in a page");
        for (at, word) in words[start..].iter_mut().enumerate() {
            word.number(number << 32 | at);
        }
        Arc::new(Self { words, start })
    }

    /// All of them.
    pub(super) fn words(&self) -> Words<'_> {
        Words::new(self.slice())
    }

    /// The first ones.
    pub(super) fn first(&self, count: usize) -> Words<'_> {
        Words::new(&self.slice()[..count])
    }

    /// Readers begin.
    pub(super) fn begin(&self) {
        self.slice().iter().for_each(AtomicU64::begin);
    }

    /// Lays zeros over it, as a process does with its mapping: over each of these words when it likes. (Over
    /// every word that a lookup reads, loom would take an hour.)
    pub(super) fn overlay(&self, words: &[usize]) {
        for at in words {
            self.slice()[*at].store(0, Ordering::Relaxed);
        }
    }

    fn slice(&self) -> &[AtomicU64] {
        &self.words[self.start..self.words.len() - (4096 - self.start)]
    }

    /// For one writer, which keeps the file as long as this: its first `count` words exist.
    fn memory(&self, count: usize) -> Memory {
        // SAFETY: the words are not moved, and `World` drops its zone before its file.
        let words =
            unsafe { core::slice::from_raw_parts(self.slice().as_ptr(), self.slice().len()) };
        Memory::over(words, count)
    }
}

/// The real writer of one file, with a clock of its own.
pub(super) struct World {
    pub(super) zone: Zone,
    clock: Instant,
    /// Dropped after the zone.
    pub(super) file: Arc<File>,
}

impl World {
    /// A small live zone in which misses are denied, with what `setup` puts.
    pub(super) fn new(setup: impl FnOnce(&mut Zone)) -> Self {
        let mut world = Self::unread(File::new(0, SMALL), SMALL, setup);
        world.open();
        world
    }

    /// One that is not live yet, in a file of which the first `count` words exist.
    pub(super) fn unread(file: Arc<File>, count: usize, setup: impl FnOnce(&mut Zone)) -> Self {
        SEED.set(0);
        let birth = Birth {
            created: 0,
            instance: 0,
            seeds: || {
                SEED.set(SEED.get() + 1);
                SEED.get()
            },
        };
        let maximum = (file.slice().len() * WORD) as u64;
        let mut zone = Zone::create(file.memory(count), maximum, IDENTITY, birth).unwrap();
        let config = Config {
            miss_policy: MissPolicy::NxDomain,
            ptr_authoritative: true,
            ..Config::default()
        };
        zone.configure(&config).unwrap();
        setup(&mut zone);
        zone.beat(NOW);
        Self {
            zone,
            clock: Instant::now(),
            file,
        }
    }

    /// Readers may come.
    pub(super) fn open(&mut self) {
        self.zone.set_synced(NOW);
    }

    /// Fills the heap up to so many granules in one piece.
    pub(super) fn leave(&mut self, granules: u32) {
        let free = |zone: &Zone| (zone.heap.free_bytes() / (GRANULE_WORDS * WORD) as u64) as u32;
        let (mut size, mut largest) = (free(&self.zone), None);
        while free(&self.zone) > 0 {
            size = size.min(free(&self.zone));
            let filler = std::vec![0; size as usize * GRANULE_WORDS];
            match self.zone.heap.put_within(&filler) {
                Some(start) => largest = largest.or(Some(start)),
                None => size -= 1,
            }
        }
        self.zone.heap.unput(largest.unwrap(), granules);
    }

    /// Readers begin.
    pub(super) fn begin(&self) {
        self.file.begin();
    }

    /// A thread that looks at the file once.
    pub(super) fn reader(&self, look: impl FnOnce(&File) + 'static) -> JoinHandle<()> {
        let file = Arc::clone(&self.file);
        thread::spawn(move || {
            modeled::read();
            super::looking(|| look(&file));
        })
    }

    /// Another generation of the service.
    pub(super) fn put(&mut self, generation: u8) {
        put_service(&mut self.zone, KEY, generation);
    }

    /// The next epoch: every call is late enough.
    pub(super) fn advance(&mut self) {
        self.clock += Duration::from_secs(1);
        self.zone.heap.advance(self.clock);
    }

    /// Whoever goes on after this writer has died.
    pub(super) fn adopted(self) -> Self {
        let count = self.zone.words().count();
        let maximum = (count * WORD) as u64;
        let zone = Zone::adopt(self.file.memory(count), maximum, IDENTITY).expect("a whole zone");
        Self { zone, ..self }
    }

    /// The words that a lookup of the service depends on: slot, record, root, epoch and state.
    pub(super) fn telling(&self) -> [usize; 5] {
        let (slot, granule) = self.zone.index.find(self.zone.words(), KEY).unwrap();
        let slot = self.zone.index.root.main_word(0) + slot as usize;
        [
            slot,
            granule as usize * GRANULE_WORDS,
            AT_ROOT,
            AT_EPOCH,
            AT_STATE,
        ]
    }

    /// Another inode has taken over.
    pub(super) fn supersede(&mut self) {
        let memory = &self.zone.heap.memory;
        memory.store(AT_STATE, state::SUPERSEDED, Ordering::Release);
    }
}

/// Waits for readers to end.
pub(super) fn finish(readers: impl IntoIterator<Item = JoinHandle<()>>) {
    for reader in readers {
        reader.join().expect("a reader");
    }
    if modeled::is_missing() {
        // Said by nobody: the model starts again.
        resume_unwind(Box::new("words are missing"));
    }
}

/// A service, all of whose addresses tell the generation.
pub(super) fn put_service(zone: &mut Zone, key: &str, generation: u8) {
    let body = ServiceBody::ClusterIp {
        addresses: addresses(generation).to_vec(),
        ports: Vec::new(),
    };
    zone.put_service(&service(key), &body).unwrap();
}

/// The addresses of a generation.
pub(super) fn addresses(generation: u8) -> [Address; ADDRESSES] {
    core::array::from_fn(|place| Address::v4([generation, 0, 0, place as u8]))
}

/// A key of two labels.
pub(super) fn service(key: &str) -> ServiceKey {
    let (service, namespace) = key.split_once('.').unwrap();
    ServiceKey::new(service, namespace).unwrap()
}

/// Keys whose chains start in the same line of sixteen as `key`'s, under the seed in force.
pub(super) fn neighbors(seed: Seed, key: &str) -> impl Iterator<Item = String> {
    let line = seed.of_key(key.as_bytes()).line(16);
    (0..)
        .map(|number| std::format!("k{number}.n"))
        .filter(move |other| seed.of_key(other.as_bytes()).line(16) == line)
}

/// What one attempt to look up A and AAAA came to.
pub(super) fn ask(
    words: Words<'_>,
    name: &[u8],
) -> Result<(Found, [Address; ADDRESSES]), Retry<()>> {
    let mut ask = |snapshot: &Snapshot<'_>| {
        let mut room = [Address::UNSPECIFIED; ADDRESSES];
        let mut canonical = Name::EMPTY;
        let found = snapshot.addresses(name, Families::BOTH, &mut room, &mut canonical);
        (found, room)
    };
    attempt(words, 0, NOW, &mut ask).map_err(|retry| match retry {
        Retry::Again => Retry::Again,
        Retry::Grown => Retry::Grown,
        Retry::Left => Retry::Left,
        Retry::Stale(_) => Retry::Stale(()),
        Retry::Pass(why) => Retry::Pass(why),
    })
}

/// The service is there, in one of its versions; or the reader knows that it has to ask again.
pub(super) fn sees_the_service(file: &File) {
    sees(file.words(), NAME);
}

/// The same of any name.
pub(super) fn sees(words: Words<'_>, name: &[u8]) {
    match ask(words, name) {
        Ok((found, room)) => assert_whole(found, &room),
        Err(Retry::Again | Retry::Left) => {}
        Err(_) => panic!("the zone is fine"),
    }
}

/// One version, and the whole of it.
pub(super) fn assert_whole(found: Found, room: &[Address]) {
    assert_eq!(found, Found::Answer { count: ADDRESSES });
    let mut places: Vec<u8> = room.iter().map(|address| address.octets[3]).collect();
    places.sort_unstable();
    let torn = room
        .iter()
        .any(|other| other.octets[0] != room[0].octets[0]);
    assert!(
        !torn && places == [0, 1, 2, 3] && room[0].octets[0] != 0,
        "torn: {room:?}"
    );
}

//! The same proofs for a file of held answers: the writer may die after any store, and no bytes
//! lead a reader astray.

use super::random::Random;
use nss_k8s_zone::{
    Address, Families, Family, Found, Held, HeldAnswer, HeldOpened, HeldOptions, HeldVerdict,
    HeldWriter, LibcOs, Name, Now, Os, Reader, Unavailable,
    proofs::{HELD_NAMES, Image, SAMPLE_NOW, held_sample},
};
use std::{
    collections::BTreeMap,
    ffi::{CStr, CString},
    fs,
    os::unix::ffi::OsStrExt as _,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const WINDOW: usize = 64 << 20;
const COMMITTED: usize = 10;
/// Words that identify the file, under a checksum.
const IDENTITY: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
/// Epoch, root, committed words, state, configuration.
const HOT: core::ops::RangeInclusive<usize> = 8..=12;
/// What is asked; a crowd of other names comes and goes around them.
const NAMES: [&str; 4] = ["a.example.com", "b.example.com", "c.example", "d"];

#[test]
fn every_prefix_of_the_stores_is_old_or_new() {
    let (mut prefixes, mut grown, mut evicted) = (0, 0, 0);
    for seed in 0..4 {
        let mut run = Run::start(if seed == 0 { 2_000 } else { 20 });
        let mut random = Random(seed);
        for number in 0..300 {
            let crowd = (seed == 0 && number == 150).then_some(1_500);
            let context = format!("seed {seed}, call {number}");
            // The bulk of a crowd is not reachable: every thousandth store of it is looked at.
            prefixes += run.step(
                &context,
                if crowd.is_some() { 997 } else { 1 },
                |run| match crowd {
                    Some(count) => (0..count).for_each(|number| run.put_other(number)),
                    None => run.call(&mut random),
                },
            );
        }
        let file = fs::read(run.writer.path()).unwrap();
        assert!(run.prefix.bytes() == file, "a store was not recorded");
        grown += usize::from(file.len() > 64 << 10);
        evicted += run.writer.statistics().evicted;
    }
    eprintln!("replayed {prefixes} prefixes; {grown} files grew; {evicted} names evicted");
    assert!(prefixes > 5_000 && grown > 0 && evicted > 0);
}

#[test]
fn every_prefix_of_the_stores_is_adopted() {
    let scratch = tempfile::tempdir_in("/dev/shm").unwrap();
    let options = options(scratch.path(), 40);
    let mut run = Run::start(40);
    run.adopt = Some(options);
    let mut random = Random(99);
    let mut prefixes = 0;
    for number in 0..100 {
        prefixes += run.step(&format!("call {number}"), 1, |run| run.call(&mut random));
    }
    assert!(prefixes > 500, "{prefixes}");
}

/// The writer against a map: after every call each name is told as the map has it.
#[test]
fn random_calls_agree_with_a_map() {
    for seed in 10..16 {
        let mut run = Run::start(1 << 20);
        let mut random = Random(seed);
        for number in 0..500 {
            run.call(&mut random);
            let image = Image::of(&fs::read(run.writer.path()).unwrap());
            for name in NAMES {
                for families in [Families::BOTH, Families::V4, Families::V6] {
                    let told = ask(&image, &Reader::of_held(), name, families, run.now);
                    let expected = expected(run.model.get(name), families, run.now);
                    assert_eq!(told, expected, "seed {seed}, call {number}: {name}");
                }
            }
        }
        assert_eq!(run.writer.statistics().evicted, 0);
    }
}

#[test]
fn every_word_at_its_extremes() {
    let image = Image::of(&held_sample());
    let used: Vec<usize> = (0..image.size() / 8)
        .filter(|word| image.load(*word) != 0)
        .collect();
    assert!(used.len() > 60, "{}", used.len());
    for word in used {
        let old = image.load(word);
        let bytes = (0..8).flat_map(|byte| {
            let mask = 0xff << (byte * 8);
            [old | mask, old & !mask, old ^ (0x80 << (byte * 8))]
        });
        let extremes = [
            0,
            1,
            u64::MAX,
            1 << 63,
            !old,
            old.wrapping_add(1),
            old.rotate_left(32),
        ];
        for new in extremes.into_iter().chain(bytes) {
            image.store(word, new);
            let reader = Reader::of_held();
            for name in HELD_NAMES {
                let told = ask(&image, &reader, name, Families::BOTH, SAMPLE_NOW);
                let context = format!("word {word}: {new:#x}: {name}: {told:?}");
                if new != old && IDENTITY.contains(&word) {
                    assert!(told.is_unavailable(), "{context}");
                }
                if name == HELD_NAMES[0] && HOT.contains(&word) {
                    assert!(!told.denies(), "{context}");
                }
            }
        }
        image.store(word, old);
    }
    let told = ask(
        &image,
        &Reader::of_held(),
        HELD_NAMES[0],
        Families::BOTH,
        SAMPLE_NOW,
    );
    assert_eq!(
        told.addresses.len(),
        8,
        "the image was not put back: {told:?}"
    );
}

#[test]
fn a_file_of_any_length() {
    let file = held_sample();
    for length in (0..700).chain((700..file.len()).step_by(509)) {
        let image = Image::of(&file[..length]);
        for name in HELD_NAMES {
            let told = ask(&image, &Reader::of_held(), name, Families::BOTH, SAMPLE_NOW);
            assert!(told.passes(), "{length} bytes: {name}: {told:?}");
        }
    }
}

/// Readers beside a writer whose space is reused as soon as it may be.
#[cfg(not(nss_k8s_weaken = "epoch"))]
#[test]
fn answers_stay_whole_while_space_is_reused() {
    let (torn, lookups, answers) = race(200_000);
    eprintln!("{lookups} lookups, {answers} answered");
    assert_eq!(torn, None);
    assert!(answers > 1_000 && answers > lookups / 20);
}

/// The control: without the epoch check some answer is torn.
#[cfg(nss_k8s_weaken = "epoch")]
#[test]
fn torn_answers_are_found_in_held_ones() {
    let (torn, ..) = race(20_000_000);
    eprintln!("control: {}", torn.expect("the race detects nothing"));
}

/// Puts so many answers while others look them up; the first torn answer, and how many there were.
/// Every part of an answer tells the number of its put.
fn race(puts: u32) -> (Option<String>, u64, u64) {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let (mut writer, _) = HeldWriter::open(&options(directory.path(), 3), SAMPLE_NOW).unwrap();
    let path = CString::new(writer.path().as_os_str().as_bytes()).unwrap();
    let (torn, lookups, answers) = (Mutex::new(None), AtomicU64::new(0), AtomicU64::new(0));
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let reader = Reader::of_held();
                while !ends.load(Ordering::Relaxed) {
                    for name in NAMES {
                        let told =
                            ask_at(&LibcOs, &reader, &path, name, Families::BOTH, SAMPLE_NOW);
                        lookups.fetch_add(1, Ordering::Relaxed);
                        if !told.addresses.is_empty() {
                            answers.fetch_add(1, Ordering::Relaxed);
                        }
                        if !is_whole(&told) {
                            torn.lock()
                                .unwrap()
                                .get_or_insert(format!("{name}: {told:?}"));
                            ends.store(true, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        let (mut clock, mut random) = (Instant::now(), Random(7));
        for number in 0..puts {
            let held = numbered(number, random.below(3) as usize + 1);
            writer.put(NAMES[random.below(4) as usize], &held).unwrap();
            clock += Duration::from_millis(100);
            writer.advance(clock);
            if ends.load(Ordering::Relaxed) {
                break;
            }
        }
        ends.store(true, Ordering::Relaxed);
    });
    let torn = torn.into_inner().unwrap();
    (torn, lookups.into_inner(), answers.into_inner())
}

/// The answer of one put, with so many addresses of each family.
fn numbered(number: u32, count: usize) -> Held {
    let answer = |family| {
        let [a, b, c, d] = number.to_be_bytes();
        let address = |last| match family {
            Family::V4 => Address::v4([b, c, d, last]),
            Family::V6 => Address::v6([a, b, c, d, a, b, c, d, a, b, c, d, 0, 0, 0, last]),
        };
        HeldAnswer {
            expires: Some(Now(SAMPLE_NOW.0 + 60)),
            verdict: HeldVerdict::Data {
                addresses: (0..count as u8).map(address).collect(),
                canonical: Some(format!("{number:024x}.example")),
            },
        }
    };
    Held {
        v4: Some(answer(Family::V4)),
        v6: Some(answer(Family::V6)),
    }
}

/// Whether an answer is one of those that were put, or none.
fn is_whole(told: &Told) -> bool {
    if told.addresses.is_empty() {
        return !told.denies();
    }
    let number = core::str::from_utf8(&told.canonical)
        .ok()
        .and_then(|text| u32::from_str_radix(text.strip_suffix(".example")?, 16).ok());
    let Some(number) = number else { return false };
    let held = expected(
        Some(&numbered(number, told.addresses.len() / 2)),
        Families::BOTH,
        SAMPLE_NOW,
    );
    held == *told
}

/// All that the asker learns.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Told {
    found: Result<Found, Unavailable>,
    addresses: Vec<Address>,
    canonical: Vec<u8>,
}

impl Told {
    fn is_unavailable(&self) -> bool {
        matches!(self.found, Err(_) | Ok(Found::Unavailable(_)))
    }

    fn passes(&self) -> bool {
        self.is_unavailable() || matches!(self.found, Ok(Found::Ask(_)))
    }

    fn denies(&self) -> bool {
        matches!(self.found, Ok(Found::NxDomain | Found::NoData))
    }
}

fn ask(os: &impl Os, reader: &Reader, name: &str, families: Families, now: Now) -> Told {
    ask_at(os, reader, c"/external.v1", name, families, now)
}

fn ask_at(
    os: &impl Os,
    reader: &Reader,
    path: &CStr,
    name: &str,
    families: Families,
    now: Now,
) -> Told {
    let mut room = vec![Address::UNSPECIFIED; 512];
    let mut canonical = Name::EMPTY;
    let found = reader.read(os, path, now, |snapshot| {
        snapshot.held(name.as_bytes(), families, now, &mut room, &mut canonical)
    });
    let count = match found {
        Ok(Found::Answer { count }) => count,
        _ => 0,
    };
    room.truncate(count);
    room.sort_unstable();
    let canonical = match found {
        Ok(Found::Answer { .. } | Found::NoData) => canonical.as_bytes().to_vec(),
        _ => Vec::new(),
    };
    Told {
        found,
        addresses: room,
        canonical,
    }
}

/// What `held` comes to, told without looking at any record.
fn expected(held: Option<&Held>, families: Families, now: Now) -> Told {
    let not_held = Told {
        found: Ok(Found::Ask(nss_k8s_zone::Ask::NotHeld)),
        addresses: Vec::new(),
        canonical: Vec::new(),
    };
    let mut parts = Vec::new();
    for family in [Family::V4, Family::V6] {
        if families.contains(family) {
            match held.and_then(|held| held.family(family)) {
                Some(answer) if answer.expires.is_none_or(|end| now < end) => {
                    parts.push(&answer.verdict);
                }
                _ => return not_held,
            }
        }
    }
    let denied = parts.iter().filter(|part| ***part == HeldVerdict::NxDomain);
    let denied = denied.count();
    if denied > 0 {
        return if denied == parts.len() {
            Told {
                found: Ok(Found::NxDomain),
                ..not_held
            }
        } else {
            not_held
        };
    }
    let data = |part: &&HeldVerdict| match part {
        HeldVerdict::Data {
            addresses,
            canonical,
        } => (addresses.clone(), canonical.clone().unwrap_or_default()),
        HeldVerdict::NxDomain => unreachable!("counted above"),
    };
    let parts: Vec<_> = parts.iter().map(data).collect();
    let mut addresses: Vec<Address> = parts.iter().flat_map(|part| part.0.clone()).collect();
    addresses.sort_unstable();
    let owner = parts.iter().find(|part| !part.0.is_empty());
    Told {
        found: Ok(match addresses.len() {
            0 => Found::NoData,
            count => Found::Answer { count },
        }),
        canonical: owner.unwrap_or(&parts[0]).1.clone().into_bytes(),
        addresses,
    }
}

/// A writer, copies of its file that its stores are replayed into, and what it should hold.
struct Run {
    writer: HeldWriter,
    clock: Instant,
    now: Now,
    model: BTreeMap<&'static str, Held>,
    after: Image,
    prefix: Image,
    warm: Reader,
    /// Where each prefix is adopted.
    adopt: Option<HeldOptions>,
    _directory: tempfile::TempDir,
}

impl Run {
    fn start(maximum_names: usize) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let now = SAMPLE_NOW;
        let (writer, _) = HeldWriter::open(&options(directory.path(), maximum_names), now).unwrap();
        let (mut after, mut prefix) = (Image::new(WINDOW), Image::new(WINDOW));
        let file = fs::read(writer.path()).unwrap();
        after.fill(&file);
        prefix.fill(&file);
        Self {
            writer,
            clock: Instant::now(),
            now,
            model: BTreeMap::new(),
            after,
            prefix,
            warm: Reader::of_held(),
            adopt: None,
            _directory: directory,
        }
    }

    /// One random call.
    fn call(&mut self, random: &mut Random) {
        let name = *random.pick(&NAMES);
        match random.below(10) {
            0..=3 => {
                let family = *random.pick(&[Family::V4, Family::V6]);
                let answer = (!random.once_in(5)).then(|| answer(random, family, self.now));
                self.put_family(name, family, answer);
            }
            4..=5 => {
                let held = Held {
                    v4: Some(answer(random, Family::V4, self.now)),
                    v6: Some(answer(random, Family::V6, self.now)),
                };
                self.writer.put(name, &held).unwrap();
                self.model.insert(name, held);
            }
            6 => {
                assert_eq!(self.writer.remove(name), self.model.remove(name).is_some());
            }
            7 => self.put_other(u32::try_from(random.below(60)).unwrap()),
            8 => {
                self.clock += Duration::from_millis(150);
                self.writer.advance(self.clock);
            }
            _ => {
                self.now.0 += random.below(2);
                self.writer.beat(self.now);
                self.writer.expire(self.now);
                let now = self.now;
                self.model
                    .retain(|_, held| held_parts(held).any(|end| end.is_none_or(|end| end > now)));
            }
        }
    }

    fn put_family(&mut self, name: &'static str, family: Family, answer: Option<HeldAnswer>) {
        let now = self.now;
        self.writer
            .put_family(name, family, answer.clone(), now)
            .unwrap();
        let held = self.model.entry(name).or_default();
        let fresh = |part: &HeldAnswer| part.expires.is_none_or(|end| end > now);
        held.v4 = held.v4.take().filter(fresh);
        held.v6 = held.v6.take().filter(fresh);
        held.set(family, answer);
        if *held == Held::default() {
            self.model.remove(name);
        }
    }

    /// A name that is not asked about.
    fn put_other(&mut self, number: u32) {
        let held = Held {
            v4: Some(HeldAnswer {
                expires: Some(Now(self.now.0 + 60)),
                verdict: HeldVerdict::NxDomain,
            }),
            v6: None,
        };
        let name = format!("other-{number}.example.net");
        self.writer.put(&name, &held).unwrap();
    }

    /// Makes a call and replays its stores one by one, looking after each of `every`; returns how
    /// many there were.
    fn step(&mut self, context: &str, every: usize, call: impl FnOnce(&mut Self)) -> usize {
        self.writer.record();
        call(self);
        let stores = self.writer.recorded();
        for store in &stores {
            grow_for(&self.after, Some(store));
            self.after.store(store.0, store.1);
        }
        // Both at one time, which the call may have moved.
        let old = ask_all(&self.prefix, &Reader::of_held(), self.now);
        let new = ask_all(&self.after, &Reader::of_held(), self.now);
        for (number, (word, value)) in stores.iter().enumerate() {
            grow_for(&self.prefix, stores.first().filter(|_| number == 0));
            self.prefix.store(*word, *value);
            grow_for(&self.prefix, stores.get(number + 1));
            if number % every != 0 {
                continue;
            }
            for reader in [&self.warm, &Reader::of_held()] {
                let told = ask_all(&self.prefix, reader, self.now);
                for ((told, old), new) in told.iter().zip(&old).zip(&new) {
                    assert!(
                        told == old || told == new,
                        "{context}, after store {number} of {} (word {word})\n\
                         told {told:?}\nold {old:?}\nnew {new:?}",
                        stores.len()
                    );
                }
            }
            if let Some(options) = &self.adopt {
                self.is_adopted(options, context);
            }
        }
        stores.len()
    }

    /// Another writer goes on from the prefix, and its readers are told the same.
    fn is_adopted(&self, options: &HeldOptions, context: &str) {
        let path = options.path();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        fs::write(&path, self.prefix.bytes()).unwrap();
        let (heir, opened) = HeldWriter::open(options, self.now).unwrap();
        assert!(
            matches!(opened, HeldOpened::Adopted { .. }),
            "{context}: {opened:?}"
        );
        let image = Image::of(&fs::read(heir.path()).unwrap());
        let told = ask_all(&image, &Reader::of_held(), self.now);
        let before = ask_all(&self.prefix, &Reader::of_held(), self.now);
        assert_eq!(told, before, "{context}");
    }
}

fn options(directory: &std::path::Path, maximum_names: usize) -> HeldOptions {
    HeldOptions {
        initial_bytes: 64 << 10,
        maximum_bytes: WINDOW as u64,
        maximum_names,
        ..HeldOptions::new(directory, "default")
    }
}

/// When the parts of an answer end.
fn held_parts(held: &Held) -> impl Iterator<Item = Option<Now>> {
    [&held.v4, &held.v6]
        .into_iter()
        .flatten()
        .map(|answer| answer.expires)
}

/// A random answer, now and then one that has expired already.
fn answer(random: &mut Random, family: Family, now: Now) -> HeldAnswer {
    let ends = [Some(Now(now.0 + 60)), Some(Now(now.0 + 1)), Some(now), None];
    let verdict = if random.once_in(4) {
        HeldVerdict::NxDomain
    } else {
        let count = u8::try_from(random.below(4)).unwrap();
        let address = |last| match family {
            Family::V4 => Address::v4([192, 0, 2, last]),
            Family::V6 => Address::v6([32, 1, 13, 184, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]),
        };
        let canonical = *random.pick(&[None, Some("a.cdn.example"), Some("B.cdn.example")]);
        HeldVerdict::Data {
            addresses: (0..count).map(address).collect(),
            canonical: canonical.map(str::to_owned),
        }
    };
    HeldAnswer {
        expires: *random.pick(&ends),
        verdict,
    }
}

fn grow_for(image: &Image, store: Option<&(usize, u64)>) {
    if let Some((COMMITTED, words)) = store {
        image.resize((*words as usize * 8).max(image.size()));
    }
}

fn ask_all(image: &Image, reader: &Reader, now: Now) -> Vec<Told> {
    let families = [Families::BOTH, Families::V4, Families::V6];
    NAMES
        .iter()
        .flat_map(|name| families.map(|families| ask(image, reader, name, families, now)))
        .collect()
}

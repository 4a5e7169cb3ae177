//! A writer of held answers and its random calls, each store of which is replayed.

use super::{
    super::{
        process::unlocked,
        random::Random,
        replay::{
            reachable::Reachable,
            run::{WINDOW, grow_for},
        },
    },
    asking::{NAMES, ask_all},
};
use nss_k8s_zone::{
    Address, Family, Held, HeldAnswer, HeldOpened, HeldOptions, HeldVerdict, HeldWriter, Now,
    Reader,
    proofs::{Image, SAMPLE_NOW},
};
use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

/// A writer, copies of its file that its stores are replayed into, and what it should hold.
pub(crate) struct Run {
    pub(crate) writer: HeldWriter,
    clock: Instant,
    pub(crate) now: Now,
    pub(crate) model: BTreeMap<&'static str, Held>,
    after: Image,
    pub(crate) prefix: Image,
    warm: Reader,
    /// What may not be overwritten.
    reachable: Reachable,
    /// Where each prefix is adopted.
    pub(crate) adopt: Option<HeldOptions>,
    _directory: tempfile::TempDir,
}

impl Run {
    pub(crate) fn start(maximum_names: usize) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        let now = SAMPLE_NOW;
        let (writer, _) = HeldWriter::open(&options(directory.path(), maximum_names), now).unwrap();
        let (mut after, mut prefix) = (Image::new(WINDOW), Image::new(WINDOW));
        let file = fs::read(writer.path()).unwrap();
        after.fill(&file);
        prefix.fill(&file);
        let reachable = Reachable::of_held(&prefix);
        Self {
            reachable,
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
    pub(crate) fn call(&mut self, random: &mut Random) {
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
    pub(crate) fn put_other(&mut self, number: u32) {
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
    pub(crate) fn step(
        &mut self,
        context: &str,
        every: usize,
        call: impl FnOnce(&mut Self),
    ) -> usize {
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
            self.reachable.before(*word, context);
            self.prefix.store(*word, *value);
            self.reachable.after(&self.prefix, *word, context);
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
        let opening = unlocked(|| HeldWriter::open(options, self.now));
        let (heir, opened) = opening.unwrap();
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

/// A small file in `directory`.
pub(crate) fn options(directory: &std::path::Path, maximum_names: usize) -> HeldOptions {
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

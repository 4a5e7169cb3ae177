//! The writer may die after any of its stores. Each prefix of them is replayed into a copy of the
//! file: every name answers as before the call or as after it, and another writer goes on from it.

use super::{
    asking::{NOW, Question, Told, ask},
    calls::{APEX, Call, follow, held, questions, random_calls},
    random::Random,
};
use nss_k8s_zone::{Opened, Options, Reader, Writer, proofs::Image};
use std::{fs, path::Path, time::Instant};

/// What a reader maps at least.
const WINDOW: usize = 64 << 20;
/// The word that tells readers how much of the file they may read.
const COMMITTED: usize = 10;
/// The first word behind the first page.
const HEAP: usize = 512;
/// The smallest file.
const SMALLEST: usize = 64 << 10;

#[test]
fn every_prefix_of_the_stores_is_old_or_new() {
    let (mut calls, mut prefixes, mut grown) = (0, 0, 0);
    for seed in 0..4 {
        let mut run = Run::start();
        for call in random_calls(&mut Random(seed), 200, seed < 2) {
            let context = format!("seed {seed}, call {calls}, {call:?}");
            prefixes += run.step(&call, &context, |_, _, _, _| {});
            calls += 1;
        }
        let file = fs::read(run.writer.path()).expect("the zone file");
        assert!(
            run.prefix.bytes() == file,
            "seed {seed}: a store was not recorded"
        );
        grown += usize::from(file.len() > SMALLEST);
    }
    eprintln!("replayed {prefixes} prefixes of {calls} calls; {grown} files grew");
    // Files grow, and most calls take several stores: the sequences are worth something.
    assert!(grown > 0);
    assert!(prefixes > 5 * calls);
}

#[test]
fn every_prefix_of_the_stores_is_adopted() {
    let mut adopted = 0;
    for seed in 100..102 {
        let mut run = Run::start();
        let scratch = tempfile::tempdir_in("/dev/shm").expect("a directory on a tmpfs");
        for call in random_calls(&mut Random(seed), 100, seed == 100) {
            let context = format!("seed {seed}, {call:?}");
            // Bulk is not reachable: of the sequence that has it, the stores around those to the
            // first page are taken, and some others.
            let mut since = 0;
            run.step(&call, &context, |prefix, hot, writer, answers| {
                since += 1;
                if seed == 100 && !hot && since < 37 {
                    return;
                }
                since = 0;
                adopt(scratch.path(), prefix, writer, answers, &context);
                adopted += 1;
            });
        }
    }
    eprintln!("adopted {adopted} prefixes");
    assert!(adopted > 1_000);
}

/// A writer, and the copies of its file that its stores are replayed into.
struct Run {
    writer: Writer,
    /// The writer's clock, which only the calls move.
    clock: Instant,
    questions: Vec<Question>,
    /// The file after the last call.
    after: Image,
    /// The file after a prefix of the next call's stores.
    prefix: Image,
    /// A process that has been looking all the time.
    warm: Reader,
    /// What `after` answers.
    answers: Vec<Told>,
    _directory: tempfile::TempDir,
}

impl Run {
    /// A new zone that is live and empty.
    fn start() -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").expect("a directory on a tmpfs");
        let (mut writer, _) = Writer::open(options(directory.path())).expect("a new zone");
        writer.beat(NOW);
        writer.set_synced(NOW);
        let (mut after, mut prefix) = (Image::new(WINDOW), Image::new(WINDOW));
        let file = fs::read(writer.path()).expect("the zone file");
        after.fill(&file);
        prefix.fill(&file);
        let questions = questions();
        let answers = ask_all(&after, &Reader::new(), &questions);
        Self {
            writer,
            clock: Instant::now(),
            questions,
            after,
            prefix,
            warm: Reader::new(),
            answers,
            _directory: directory,
        }
    }

    /// Makes one call and replays its stores one by one; returns how many there were. `at` sees
    /// each prefix, whether it ends beside a store to the first page, the writer after the whole call, and what it answers then.
    fn step(
        &mut self,
        call: &Call,
        context: &str,
        mut at: impl FnMut(&Image, bool, &Writer, &[(Question, Told)]),
    ) -> usize {
        self.writer.record();
        call.make(&mut self.writer, &mut self.clock)
            .unwrap_or_else(|error| panic!("{context}: {error}"));
        let stores = self.writer.recorded();
        for store in &stores {
            grow_for(&self.after, Some(store));
            self.after.store(store.0, store.1);
        }
        let new = ask_all(&self.after, &Reader::new(), &self.questions);
        let told: Vec<(Question, Told)> = self
            .questions
            .iter()
            .cloned()
            .zip(new.iter().cloned())
            .collect();
        for (number, (word, value)) in stores.iter().enumerate() {
            grow_for(&self.prefix, stores.first().filter(|_| number == 0));
            self.prefix.store(*word, *value);
            // A writer that dies before the next store may have grown the file already.
            grow_for(&self.prefix, stores.get(number + 1));
            let fresh = Reader::new();
            for (index, question) in self.questions.iter().enumerate() {
                let allowed = [&self.answers[index], &new[index]];
                for (reader, which) in [(&self.warm, "warm"), (&fresh, "fresh")] {
                    let told = ask(&self.prefix, reader, question);
                    // The hints of an address are several words: asking DNS meanwhile is right.
                    let hesitates = matches!(question, Question::Names(_)) && told.passes();
                    assert!(
                        allowed.contains(&&told) || hesitates,
                        "{context}\nafter store {number} of {} (word {word}), {which} reader\n\
                         {question:?}\ntold {told:?}\nold {:?}\nnew {:?}",
                        stores.len(),
                        allowed[0],
                        allowed[1],
                    );
                }
            }
            let next = stores.get(number + 1).unwrap_or(&(0, 0)).0;
            at(
                &self.prefix,
                *word < HEAP || next < HEAP,
                &self.writer,
                &told,
            );
        }
        self.answers = new;
        stores.len()
    }
}

/// Another writer takes `prefix` over and follows `writer`, as after a restart.
fn adopt(
    directory: &Path,
    prefix: &Image,
    writer: &Writer,
    answers: &[(Question, Told)],
    context: &str,
) {
    let options = options(directory);
    let path = options.zone_path();
    fs::create_dir_all(path.parent().expect("in a directory")).expect("the view");
    // Never into an inode that somebody may have mapped.
    let _ = fs::remove_file(&path);
    fs::write(&path, prefix.bytes()).expect("the zone file");
    let (mut heir, opened) = Writer::open(options).unwrap_or_else(|why| panic!("{context}: {why}"));
    assert!(
        matches!(opened, Opened::Adopted { .. }),
        "{context}: {opened:?}"
    );
    heir.beat(NOW);
    follow(&mut heir, writer).unwrap_or_else(|why| panic!("{context}: {why}"));
    assert_eq!(held(&heir), held(writer), "{context}");
    assert_eq!(heir.config(), writer.config(), "{context}");
    let image = Image::of(&fs::read(&path).expect("the zone file"));
    let reader = Reader::new();
    for (question, expected) in answers {
        assert_eq!(
            &ask(&image, &reader, question),
            expected,
            "{context}\n{question:?}"
        );
    }
}

/// A small zone in `directory`.
fn options(directory: &Path) -> Options {
    Options {
        initial_bytes: SMALLEST as u64,
        maximum_bytes: WINDOW as u64,
        ..Options::new(directory, APEX)
    }
}

/// Has the file grow as the writer does before the store that tells of it.
fn grow_for(image: &Image, store: Option<&(usize, u64)>) {
    if let Some((COMMITTED, words)) = store {
        let bytes = *words as usize * 8;
        image.resize(bytes.max(image.size()));
    }
}

/// All answers, in order.
fn ask_all(image: &Image, reader: &Reader, questions: &[Question]) -> Vec<Told> {
    questions
        .iter()
        .map(|question| ask(image, reader, question))
        .collect()
}

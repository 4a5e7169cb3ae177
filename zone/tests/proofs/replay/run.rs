//! A writer whose stores are replayed one by one into a copy of its file.

use super::{
    super::{
        asking::{NOW, Question, Told, ask},
        calls::{APEX, Call, questions},
    },
    reachable::Reachable,
};
use nss_k8s_zone::{Options, Reader, Writer, proofs::Image};
use std::{fs, path::Path, time::Instant};

/// What a reader maps at least.
pub(crate) const WINDOW: usize = 64 << 20;
/// The word that tells readers how much of the file they may read.
const COMMITTED: usize = 10;
/// The first word behind the first page.
const HEAP: usize = 512;
/// The smallest file.
pub(crate) const SMALLEST: usize = 64 << 10;

/// A writer, and the copies of its file that its stores are replayed into.
pub(crate) struct Run {
    pub(crate) writer: Writer,
    /// The writer's clock, which only the calls move.
    clock: Instant,
    pub(crate) questions: Vec<Question>,
    /// The file after the last call.
    after: Image,
    /// The file after a prefix of the next call's stores.
    pub(crate) prefix: Image,
    /// A process that has been looking all the time.
    warm: Reader,
    /// What `after` answers.
    pub(crate) answers: Vec<Told>,
    /// See [`Reachable`].
    reachable: Reachable,
    _directory: tempfile::TempDir,
}

impl Run {
    /// A new zone of this view, live and empty.
    pub(crate) fn start(view: &str) -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").expect("a directory on a tmpfs");
        let (mut writer, _) = Writer::open(options(directory.path(), view)).expect("a new zone");
        writer.beat(NOW);
        writer.set_synced(NOW);
        let (mut after, mut prefix) = (Image::new(WINDOW), Image::new(WINDOW));
        let file = fs::read(writer.path()).expect("the zone file");
        after.fill(&file);
        prefix.fill(&file);
        let questions = questions();
        let answers = ask_all(&after, &Reader::new(), &questions);
        let reachable = Reachable::of_zone(&prefix);
        Self {
            reachable,
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
    pub(crate) fn step(
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
            self.reachable.before(*word, context);
            self.prefix.store(*word, *value);
            self.reachable.after(&self.prefix, *word, context);
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

/// A small zone in `directory`.
pub(crate) fn options(directory: &Path, view: &str) -> Options {
    Options {
        initial_bytes: SMALLEST as u64,
        maximum_bytes: WINDOW as u64,
        view: view.to_owned(),
        ..Options::new(directory, APEX)
    }
}

/// Has the file grow as the writer does before the store that tells of it.
pub(crate) fn grow_for(image: &Image, store: Option<&(usize, u64)>) {
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

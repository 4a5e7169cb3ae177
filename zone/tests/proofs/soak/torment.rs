//! Writers that are started, stopped and killed at random instants, and what came of it.

use super::{
    process::{Events, Process},
    random::Random,
    system::Counting,
};
use nss_k8s_zone::Reader;
use std::{
    fmt,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// How long a soak lasts: SOAK_SECONDS, or 20 seconds.
pub(crate) fn seconds() -> u64 {
    std::env::var("SOAK_SECONDS").map_or(20, |text| text.parse().expect("SOAK_SECONDS"))
}

/// How much longer a soak waits for what it is to see.
const PATIENCE: Duration = Duration::from_secs(120);

/// What readers did, counted while they do it.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Answers that were checked.
    pub(crate) lookups: AtomicU64,
    /// Those that held data.
    pub(crate) answers: AtomicU64,
    /// Attempts that were thrown away: the epoch had moved, or the file.
    pub(crate) retries: AtomicU64,
    /// Lookups that gave up after all attempts.
    pub(crate) busy: AtomicU64,
    /// What they did beside reading.
    pub(crate) system: Counting,
}

/// What a soak did.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// What its readers did.
    pub(crate) counts: Counts,
    /// SIGKILLs.
    kills: u64,
    /// SIGSTOPs (each followed by SIGCONT or SIGKILL).
    stops: u64,
    /// Starts at which a writer went on with the file of a dead one.
    adoptions: u64,
    /// Starts at which the file moved to a new inode.
    replacements: u64,
    /// What the writers did to files under readers' eyes.
    events: Events,
}

/// What is soaked: a file that one kind of writer keeps, and one kind of question to it.
pub(crate) struct Soak<'a, Check> {
    /// The test that is the writer's process.
    pub(crate) writer: &'static str,
    /// Where the file is.
    pub(crate) directory: &'a Path,
    /// Asks a few questions; says what is wrong with an answer.
    pub(crate) check: Check,
}

impl<Check> Soak<'_, Check>
where
    Check: Fn(&Reader, &mut Random, &Counts) -> Result<(), String> + Sync,
{
    /// Lets the readers, each in a thread of its own, ask against dying writers until something is wrong
    /// that is `fatal`, or the time is over. Returns the last generation, too.
    pub(crate) fn run(
        &self,
        readers: [&Reader; 3],
        first: u64,
        seconds: u64,
        fatal: impl Fn(&str) -> bool + Sync,
    ) -> (Tally, u64, Option<String>) {
        let deadline = Instant::now() + Duration::from_secs(seconds);
        let (counts, failure) = (Counts::default(), Mutex::new(None));
        let ends = AtomicBool::new(false);
        let fail = |wrong: String| {
            failure.lock().expect("no panic").get_or_insert(wrong);
            ends.store(true, Ordering::Relaxed);
        };
        let (mut tally, mut generation) = (Tally::default(), first);
        thread::scope(|scope| {
            for (number, reader) in (0..).zip(readers) {
                let (counts, ends, fail, fatal) = (&counts, &ends, &fail, &fatal);
                scope.spawn(move || {
                    let mut random = Random(number);
                    while !ends.load(Ordering::Relaxed) {
                        match (self.check)(reader, &mut random, counts) {
                            Err(wrong) if fatal(&wrong) => fail(wrong),
                            _ => {}
                        }
                    }
                });
            }
            let mut random = Random(generation);
            // On a busy machine little happens in a short time: it takes as long as it takes, within reason.
            let goes_on = |tally: &Tally| {
                let now = Instant::now();
                now < deadline || (now < deadline + PATIENCE && tally.lacks(&counts).is_some())
            };
            while !ends.load(Ordering::Relaxed) && goes_on(&tally) {
                generation += 1 << 20;
                if let Err(wrong) =
                    tally.torment(self.writer, self.directory, generation, &mut random)
                {
                    fail(wrong);
                }
            }
            ends.store(true, Ordering::Relaxed);
        });
        tally.counts = counts;
        (tally, generation, failure.into_inner().expect("no panic"))
    }
}

impl Tally {
    /// Starts the writer that the test `name` is, and ends it at a random instant.
    fn torment(
        &mut self,
        name: &str,
        directory: &Path,
        generation: u64,
        random: &mut Random,
    ) -> Result<(), String> {
        let writer = Process::spawn(name, directory, generation, 0);
        // Now and then it dies while it takes over.
        if random.once_in(4) {
            thread::sleep(Duration::from_micros(random.below(8_000)));
            self.end(writer);
            return Ok(());
        }
        let writer = writer.opened();
        match writer.opened.as_str() {
            "adopted" => self.adoptions += 1,
            "replaced" => self.replacements += 1,
            other => return Err(format!("the writer could not go on: {other}")),
        }
        thread::sleep(Duration::from_micros(random.below(150_000)));
        if random.once_in(3) {
            writer.signal(libc::SIGSTOP);
            self.stops += 1;
            thread::sleep(Duration::from_micros(random.below(30_000)));
            if random.once_in(2) {
                writer.signal(libc::SIGCONT);
                thread::sleep(Duration::from_micros(random.below(10_000)));
            }
        }
        self.end(writer);
        Ok(())
    }

    /// Kills a writer.
    fn end(&mut self, writer: Process) {
        let Events { grown, rehashed } = writer.kill();
        self.events.grown += grown;
        self.events.rehashed += rehashed;
        self.kills += 1;
    }

    /// What has not happened yet, of all that a soak is to see.
    fn lacks(&self, counts: &Counts) -> Option<&'static str> {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let happened = [
            ("SIGKILL", self.kills),
            ("SIGSTOP", self.stops),
            ("adoption", self.adoptions),
            ("replacement", self.replacements),
            ("growth", self.events.grown),
            ("rehash", self.events.rehashed),
            ("growth followed by a reader", of(&counts.system.followed)),
            ("overlay", of(&counts.system.overlaid)),
            ("retry", of(&counts.retries)),
        ];
        let mut lacking = happened.iter().filter(|(_, count)| *count == 0);
        lacking.next().map(|(what, _)| *what)
    }

    /// Panics unless everything that was to happen in a soak of so many seconds did happen.
    pub(crate) fn assert_enough(&self, seconds: u64) {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        assert!(
            of(&self.counts.lookups) > seconds * 10_000,
            "too few lookups"
        );
        assert!(
            of(&self.counts.answers) > seconds * 5_000,
            "too few answers"
        );
        assert_eq!(self.lacks(&self.counts), None);
        // Busy is an answer that DNS gives: right, but it must stay rare.
        assert!(
            of(&self.counts.busy) < of(&self.counts.lookups) / 20,
            "readers give up too often"
        );
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(
            formatter,
            "{} lookups checked, {} with data, {} retries, {} busy; {} kills, {} stops, {} adoptions, {} replacements; \
             {} growths, {} rehashes; readers followed {} growths, overlaid {} mappings, discarded {}",
            of(&self.counts.lookups),
            of(&self.counts.answers),
            of(&self.counts.retries),
            of(&self.counts.busy),
            self.kills,
            self.stops,
            self.adoptions,
            self.replacements,
            self.events.grown,
            self.events.rehashed,
            of(&self.counts.system.followed),
            of(&self.counts.system.overlaid),
            of(&self.counts.system.discarded),
        )
    }
}

//! What readers may still be reading, by the file alone: the walk that an adopting writer makes.

use nss_k8s_zone::proofs::{Extents, Image, held_extents, zone_extents};

/// The word with the epoch.
const EPOCH: usize = 8;
/// The first word behind the first page.
const HEAP: usize = 512;

/// When each word of a file was reachable for the last time.
pub(crate) struct Reachable {
    /// The walk: an error is a file that no other writer could adopt.
    extents: fn(&Image) -> Result<Extents, &'static str>,
    /// What is reachable now.
    now: Extents,
    /// The last epoch in which each word was; 0: never.
    last: Vec<u64>,
    epoch: u64,
}

impl Reachable {
    /// Of a zone.
    pub(crate) fn of_zone(image: &Image) -> Self {
        Self::of(image, zone_extents)
    }

    /// Of a file of held answers.
    pub(crate) fn of_held(image: &Image) -> Self {
        Self::of(image, held_extents)
    }

    fn of(image: &Image, extents: fn(&Image) -> Result<Extents, &'static str>) -> Self {
        let mut reachable = Self {
            extents,
            now: extents(image).expect("a whole file"),
            last: Vec::new(),
            epoch: image.load(EPOCH),
        };
        reachable.mark();
        reachable
    }

    /// Panics when a store to `word` meets something that a reader may be reading: what is reachable, but
    /// for the slots and the first word of the index, and what was so in this epoch or the one before.
    pub(crate) fn before(&self, word: usize, context: &str) {
        if word < HEAP || self.now.index.contains(&word) {
            return;
        }
        let last = self.last.get(word).copied().unwrap_or(0);
        assert!(
            last == 0 || self.epoch >= last + 2,
            "{context}\nword {word} is overwritten in epoch {}, was reachable in {last}",
            self.epoch
        );
    }

    /// Looks again after a store to `word`; panics when the file cannot be adopted any more.
    pub(crate) fn after(&mut self, image: &Image, word: usize, context: &str) {
        if word < HEAP || self.now.index.contains(&word) {
            self.epoch = image.load(EPOCH);
            self.now = (self.extents)(image).unwrap_or_else(|why| panic!("{context}\n{why}"));
            self.mark();
        }
    }

    fn mark(&mut self) {
        for extent in self.now.all() {
            if self.last.len() < extent.end {
                self.last.resize(extent.end, 0);
            }
            self.last[extent].fill(self.epoch);
        }
    }
}

#[test]
fn an_early_store_is_noticed() {
    use super::run::Run;
    let mut run = Run::start("default");
    let mut reachable = Reachable::of_zone(&run.prefix);
    let config = reachable.now.records[0].start;
    let notices = |reachable: &Reachable| {
        let before = std::panic::AssertUnwindSafe(|| reachable.before(config, "a store"));
        std::panic::catch_unwind(before).is_err()
    };
    assert!(notices(&reachable));
    // Another configuration takes its place; two epochs later it may be overwritten.
    let other = super::super::calls::Call::Configure(nss_k8s_zone::Config {
        ttl: 7,
        ..run.writer.config()
    });
    run.step(&other, "another configuration", |_, _, _, _| {});
    for expected in [true, true, false] {
        reachable.after(&run.prefix, EPOCH, "an epoch");
        assert_eq!(notices(&reachable), expected);
        run.prefix.store(EPOCH, run.prefix.load(EPOCH) + 1);
    }
}

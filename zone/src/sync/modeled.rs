//! The zone's words under loom. Only words that one thread reads while another changes them are loom's;
//! all others have one value that everybody sees, so that whole files and the writer's real code fit
//! into a model.
//!
//! Which words those are comes out by running: a word that turns out to be read and changed is noted, and
//! the model starts again with it as loom's ([`take_missing`]). What is left out that way has no effect on any
//! reader: a value that nobody reads, and loads of a value that never changes.

use core::{cell::Cell, sync::atomic::Ordering};
use loom::sync::atomic::AtomicU64 as Modeled;
use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeSet,
};

/// A word of a zone file, or one of a reader's own.
pub(crate) struct AtomicU64 {
    /// Loom's; unset in a word of a file that is the same for everybody.
    shared: OnceCell<Modeled>,
    /// In a file: which word.
    number: usize,
    /// The last value that was stored. The only thread that stores before readers are gone may take it
    /// from here, as its own stores are never news to it.
    latest: Cell<u64>,
    /// A reader has loaded it.
    read: Cell<bool>,
    /// It was stored to beside readers.
    changed: Cell<bool>,
}

std::thread_local! {
    /// The words that are loom's.
    static SHARED: RefCell<BTreeSet<usize>> = const { RefCell::new(BTreeSet::new()) };
    /// Those that should be.
    static MISSING: RefCell<BTreeSet<usize>> = const { RefCell::new(BTreeSet::new()) };
}

loom::thread_local! {
    /// Whether this thread of a model is a reader.
    static READS: Cell<bool> = Cell::new(false);
}

impl AtomicU64 {
    /// A word of a reader: always loom's.
    pub(crate) fn new(value: u64) -> Self {
        let word = Self::of_file();
        word.latest.set(value);
        word.share();
        word
    }

    /// A word of a file, zero.
    pub(crate) fn of_file() -> Self {
        Self {
            shared: OnceCell::new(),
            number: usize::MAX,
            latest: Cell::new(0),
            read: Cell::new(false),
            changed: Cell::new(false),
        }
    }

    /// Numbers it. No other word of the model has this number, and it has it in every execution.
    pub(crate) fn number(&mut self, number: usize) {
        self.number = number;
    }

    pub(crate) fn load(&self, order: Ordering) -> u64 {
        match self.shared.get() {
            Some(word) if self.number == usize::MAX || READS.with(Cell::get) => word.load(order),
            None if READS.with(Cell::get) => {
                self.read.set(true);
                self.note();
                self.latest.get()
            }
            _ => self.latest.get(),
        }
    }

    pub(crate) fn store(&self, value: u64, order: Ordering) {
        // The writer says again what it said: whoever sees the older store sees the same.
        if order == Ordering::Relaxed && self.latest.get() == value {
            return;
        }
        self.latest.set(value);
        match self.shared.get() {
            Some(word) => word.store(value, order),
            None => {
                self.changed.set(true);
                self.note();
            }
        }
    }

    pub(crate) fn compare_exchange(
        &self,
        old: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        let word = self.shared.get().expect("a reader's own word");
        word.compare_exchange(old, new, success, failure)
    }

    /// Readers begin: from here on changes count, and some words are loom's.
    pub(crate) fn begin(&self) {
        self.changed.set(false);
        if SHARED.with_borrow(|shared| shared.contains(&self.number)) {
            self.share();
        }
    }

    fn share(&self) {
        let word = Modeled::new(self.latest.get());
        assert!(self.shared.set(word).is_ok(), "begun twice");
    }

    fn note(&self) {
        if self.read.get() && self.changed.get() {
            MISSING.with_borrow_mut(|missing| missing.insert(self.number));
        }
    }
}

/// This thread of the model reads from here on.
pub(crate) fn read() {
    READS.with(|reads| reads.set(true));
}

/// Whether some word should have been loom's: what the execution came to means nothing.
pub(crate) fn is_missing() -> bool {
    MISSING.with_borrow(|missing| !missing.is_empty())
}

/// Makes the words that should have been loom's so, for the next executions; false when there are none.
pub(crate) fn take_missing() -> bool {
    let missing = MISSING.take();
    let any = !missing.is_empty();
    SHARED.with_borrow_mut(|shared| shared.extend(missing));
    any
}

/// Forgets them, for another model; returns how many there were.
pub(crate) fn forget() -> usize {
    MISSING.take();
    SHARED.take().len()
}

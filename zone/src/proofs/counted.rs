//! Words that count how often they are read.

use core::{
    cell::Cell,
    sync::atomic::{AtomicU64, Ordering},
};

std::thread_local! {
    static READS: Cell<u64> = const { Cell::new(0) };
}

/// How many words of zone files this thread has read: everything that a reader or a writer of this
/// crate loads is such a word, but for the three of a [`crate::Reader`] itself.
pub fn words_read() -> u64 {
    READS.get()
}

/// An atomic word, each load of which is counted for its thread.
#[derive(Debug)]
#[repr(transparent)]
pub struct Counted(AtomicU64);

impl Counted {
    /// With a value.
    pub const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// Loads, and counts.
    #[inline]
    pub fn load(&self, order: Ordering) -> u64 {
        READS.set(READS.get().wrapping_add(1));
        self.0.load(order)
    }

    /// Stores.
    #[inline]
    pub fn store(&self, value: u64, order: Ordering) {
        self.0.store(value, order);
    }

    /// Exchanges.
    #[inline]
    pub fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        self.0.compare_exchange(current, new, success, failure)
    }
}

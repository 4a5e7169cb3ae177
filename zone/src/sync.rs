//! The atomics of the zone, from one place: `core`'s, those that count for the proofs, or loom's under
//! `--cfg loom`.

#[cfg(all(feature = "proofs", not(loom)))]
pub(crate) use crate::proofs::Counted as AtomicU64;
#[cfg(not(any(feature = "proofs", loom)))]
pub(crate) use core::sync::atomic::AtomicU64;
#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{Ordering, fence};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{Ordering, fence};
#[cfg(loom)]
pub(crate) use modeled::AtomicU64;

#[cfg(loom)]
#[cfg_attr(not(test), allow(dead_code, reason = "the models are tests"))]
pub(crate) mod modeled;

/// A step of the protocol between writer and readers that a proof can leave out, to show that it is
/// needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(loom),
    allow(dead_code, reason = "the models' writer has the other steps")
)]
pub(crate) enum Step {
    /// Reader: no load after the epoch's is older than the epoch.
    FirstFence,
    /// Reader: what root and configuration lead to is loaded after them.
    RootFence,
    /// Reader: what a slot leads to is loaded after it.
    SlotFence,
    /// Reader: the last look at the epoch comes after all other loads.
    LastFence,
    /// Reader: the epoch moved by one at most.
    EpochCheck,
    /// Reader: the zone is still in force, and not overlaid with zeros.
    Recheck,
    /// Reader: what follows a region's first word is loaded after it.
    RegionFence,
    /// Reader: a hint proves nothing, the record is looked at.
    Verify,
    /// Reader: whose mapping lost against another thread's lets go of its own alone.
    Winner,
    /// Writer: the store that publishes releases what it leads to.
    Commit,
    /// Writer: two epochs between retiring and reuse.
    ReuseDistance,
    /// Writer: no store to reused space comes before the epoch's.
    EpochFence,
    /// Writer: readers may look at new space before anything leads there.
    Growth,
    /// Writer: a slot of a full line never becomes empty.
    Tombstone,
    /// Writer: two epochs between what was reused in a new file and the file's opening.
    Opening,
}

/// Whether `step` is left out: never in a build that serves.
#[cfg(not(loom))]
#[inline(always)]
pub(crate) const fn leaves_out(step: Step) -> bool {
    cfg!(nss_k8s_weaken = "epoch") && matches!(step, Step::EpochCheck)
}

#[cfg(all(loom, test))]
pub(crate) use weak::leave_out;
#[cfg(loom)]
pub(crate) use weak::leaves_out;

/// The choice of the running model; loom runs a model's threads on the thread of its test.
#[cfg(loom)]
mod weak {
    use super::Step;
    use std::cell::Cell;

    std::thread_local! {
        static LEFT_OUT: Cell<Option<Step>> = const { Cell::new(None) };
    }

    /// Leaves one step out from now on, or none.
    #[cfg(test)]
    pub(crate) fn leave_out(step: Option<Step>) {
        LEFT_OUT.set(step);
    }

    /// Whether `step` is left out.
    pub(crate) fn leaves_out(step: Step) -> bool {
        LEFT_OUT.get() == Some(step)
    }
}

/// A load after which everything is seen that was stored before the value was released.
///
/// Relaxed, then a fence: Rust promises no stronger load on memory that is mapped read-only. The
/// fence would order the loads before it as well, and hide from the models that other fences are
/// needed; under loom it is the load alone.
#[inline]
pub(crate) fn load_acquire(word: &AtomicU64) -> u64 {
    if cfg!(loom) {
        let weak = leaves_out(Step::RegionFence);
        return word.load(if weak {
            Ordering::Relaxed
        } else {
            Ordering::Acquire
        });
    }
    let value = word.load(Ordering::Relaxed);
    fence(Ordering::Acquire);
    value
}

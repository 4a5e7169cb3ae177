//! The words that say how far a zone can be trusted: its state, its times, whether something is lacking.

use super::Zone;
use crate::{
    Now,
    layout::{AT_ALIVE, AT_STATE, AT_SYNCED, AT_UPDATED, state},
    sync::Ordering,
    writer::State,
};

impl Zone {
    /// The state word.
    pub(crate) fn state(&self) -> State {
        State::of(self.heap.memory.load(AT_STATE)).unwrap_or(State::Init)
    }

    /// Changes the state word.
    pub(crate) fn set_state(&mut self, state: State) {
        if state == State::Live {
            self.heap.open_to_readers();
        }
        self.heap
            .memory
            .store(AT_STATE, state as u64, Ordering::Release);
    }

    /// See [`crate::Writer::set_incomplete`].
    pub(crate) fn set_incomplete(&mut self, incomplete: bool) {
        self.index.set_lacking(&self.heap.memory, incomplete);
    }

    /// See [`crate::Writer::set_synced`].
    pub(crate) fn set_synced(&mut self, now: Now) {
        self.mark_synced(now);
        if self.heap.memory.load(AT_STATE) == state::SYNCING {
            self.set_state(State::Live);
        }
    }

    /// See [`crate::Writer::mark_synced`].
    pub(crate) fn mark_synced(&mut self, now: Now) {
        self.heap.memory.store(AT_SYNCED, now.0, Ordering::Release);
    }

    /// See [`crate::Writer::enable`].
    pub(crate) fn enable(&mut self) {
        if self.state() == State::Disabled {
            let synced = self.heap.memory.load(AT_SYNCED) != 0;
            self.set_state(if synced { State::Live } else { State::Syncing });
        }
    }

    /// See [`crate::Writer::beat`].
    pub(crate) fn beat(&mut self, now: Now) {
        self.heap.memory.store(AT_ALIVE, now.0, Ordering::Release);
    }

    /// Stores when the last commit was.
    pub(crate) fn stamp(&mut self, now: Now) {
        self.heap.memory.store(AT_UPDATED, now.0, Ordering::Relaxed);
    }

    /// The last beat; 0: none.
    pub(crate) fn alive(&self) -> Now {
        Now(self.words().load(AT_ALIVE).unwrap_or(0))
    }
}

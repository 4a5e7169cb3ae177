//! What a writer says of its file: how it came by it, its state, its figures.

#[cfg(doc)]
use super::{Dump, Writer};
use crate::layout::state;

/// How [`Writer::open`] came by its file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// There was none.
    Created,
    /// The file of an earlier writer goes on, its answers with it.
    Adopted {
        /// Namespaces found.
        namespaces: usize,
        /// Services found (also those of which only slices are known).
        services: usize,
    },
    /// There was one that could not go on; readers move to the new, empty one.
    Replaced {
        /// In one line.
        why: String,
    },
}

/// The zone's state word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Being created.
    Init = 1,
    /// Not everything has been listed yet: processes pass.
    Syncing = 2,
    /// Serving.
    Live = 3,
    /// Another file has taken this one's place.
    Superseded = 4,
    /// The kill switch: processes pass.
    Disabled = 5,
}

impl State {
    /// The state behind the word; `None` when no writer stores it.
    pub(crate) const fn of(word: u64) -> Option<Self> {
        Some(match word {
            state::INIT => Self::Init,
            state::SYNCING => Self::Syncing,
            state::LIVE => Self::Live,
            state::SUPERSEDED => Self::Superseded,
            state::DISABLED => Self::Disabled,
            _ => return None,
        })
    }
}

/// Figures of a zone file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// The file's size.
    pub bytes: u64,
    /// In use: the first page and all that readers can reach.
    pub used_bytes: u64,
    /// Free for new records.
    pub free_bytes: u64,
    /// Retired, not yet reusable.
    pub quarantined_bytes: u64,
    /// Namespaces.
    pub namespaces: u64,
    /// Services, also pending ones.
    pub services: u64,
    /// Endpoint slices.
    pub slices: u64,
    /// Bytes that this writer has stored in the file since it opened it; 0 of a [`Dump`].
    pub written_bytes: u64,
    /// Commits since the file was created.
    pub serial: u64,
    /// Reclaim epoch.
    pub epoch: u64,
    /// Misses prove nothing: the index could not take every name, or
    /// [`Writer::set_incomplete`] says so.
    pub incomplete: bool,
    /// Lines of the index for names.
    pub main_lines: u64,
    /// Lines of the index for addresses.
    pub ptr_lines: u64,
}

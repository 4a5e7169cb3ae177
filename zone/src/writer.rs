//! The publishing side: one writer per directory, every change committed by one 8-byte store.

mod config;
mod error;
mod libc_os;
mod object;

pub use config::{Config, MissPolicy, PodMode};
pub use error::{OpenError, WriteError};
pub use libc_os::LibcOs;
pub use object::{Endpoint, Entry, Item, Port, Protocol, ServiceBody, ServiceKey, Slice, SliceId};

use crate::Now;
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

/// Where and how large.
#[derive(Clone, Debug)]
pub struct Options {
    /// Holds `private/` (0700: the lock) and `view/<view>/zone.v1`; created when absent.
    pub directory: PathBuf,
    /// The view's name.
    pub view: String,
    /// The zone's apex, such as `cluster.local`.
    pub apex: String,
    /// The size of a new file in bytes (rounded up to 64 KiB).
    pub initial_bytes: u64,
    /// Growth ends here; at most 1 GiB, which is what a process maps.
    pub maximum_bytes: u64,
}

impl Options {
    /// The view `default`, 1 MiB to begin with, 1 GiB at most.
    pub fn new(directory: impl Into<PathBuf>, apex: &str) -> Self {
        Self {
            directory: directory.into(),
            view: "default".to_owned(),
            apex: apex.to_owned(),
            initial_bytes: 1 << 20,
            maximum_bytes: 1 << 30,
        }
    }

    /// `<directory>/view/<view>/zone.v1`.
    pub fn zone_path(&self) -> PathBuf {
        self.directory.join("view").join(&self.view).join("zone.v1")
    }
}

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

/// Figures of a zone file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// The file's size.
    pub bytes: u64,
    /// In use by reachable data.
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
    /// Commits since the file was created.
    pub serial: u64,
    /// Reclaim epoch.
    pub epoch: u64,
    /// The index could not take every name.
    pub incomplete: bool,
    /// Lines of the index for names.
    pub main_lines: u64,
    /// Lines of the index for addresses.
    pub ptr_lines: u64,
}

/// The one writer of a directory. Dropping it leaves the zone in place for the next.
pub struct Writer {
    _private: (),
}

impl Writer {
    /// Takes the lock, then goes on with the file that is there, or makes one.
    pub fn open(options: Options) -> Result<(Self, Opened), OpenError> {
        let _ = options;
        unimplemented!()
    }
    /// The zone file that readers open.
    pub fn path(&self) -> &Path {
        unimplemented!()
    }
    /// Publishes the configuration; false when it is what is published.
    pub fn configure(&mut self, config: &Config) -> Result<bool, WriteError> {
        let _ = config;
        unimplemented!()
    }
    /// What is configured.
    pub fn config(&self) -> Config {
        unimplemented!()
    }
    /// Publishes a namespace; false when it was there.
    pub fn put_namespace(&mut self, name: &str) -> Result<bool, WriteError> {
        let _ = name;
        unimplemented!()
    }
    /// Removes a namespace (not its services); false when it was absent.
    pub fn delete_namespace(&mut self, name: &str) -> Result<bool, WriteError> {
        let _ = name;
        unimplemented!()
    }
    /// Publishes a service, keeping the slices that it has; false when nothing changed.
    pub fn put_service(
        &mut self,
        key: &ServiceKey,
        body: &ServiceBody,
    ) -> Result<bool, WriteError> {
        let _ = (key, body);
        unimplemented!()
    }
    /// Removes a service. Slices that it still has wait for it to come back, unseen by readers,
    /// until they are deleted too. False when it was absent.
    pub fn delete_service(&mut self, key: &ServiceKey) -> Result<bool, WriteError> {
        let _ = key;
        unimplemented!()
    }
    /// Publishes one slice; false when nothing changed. A slice may come before its service: it
    /// waits, unseen by readers.
    pub fn put_slice(
        &mut self,
        key: &ServiceKey,
        id: SliceId,
        slice: &Slice,
    ) -> Result<bool, WriteError> {
        let _ = (key, id, slice);
        unimplemented!()
    }
    /// Removes one slice; false when it was absent.
    pub fn delete_slice(&mut self, key: &ServiceKey, id: SliceId) -> Result<bool, WriteError> {
        let _ = (key, id);
        unimplemented!()
    }
    /// Removes what `keep` does not want; returns how many items went.
    pub fn retain(&mut self, keep: impl FnMut(Item<'_>) -> bool) -> Result<usize, WriteError> {
        let _ = keep;
        unimplemented!()
    }
    /// Everything held, in no particular order.
    pub fn entries(&self) -> Vec<Entry> {
        unimplemented!()
    }
    /// One service with its slices.
    pub fn service(&self, key: &ServiceKey) -> Option<Entry> {
        let _ = key;
        unimplemented!()
    }
    /// The state word.
    pub fn state(&self) -> State {
        unimplemented!()
    }
    /// Everything has been listed once: `Syncing` becomes `Live`; also stores the time as
    /// [`Writer::mark_synced`] does. Under the kill switch only the time is stored.
    pub fn set_synced(&mut self, now: Now) {
        let _ = now;
    }
    /// The watch is proven healthy at this time.
    pub fn mark_synced(&mut self, now: Now) {
        let _ = now;
    }
    /// The writer is alive at this time; call it every few seconds.
    pub fn beat(&mut self, now: Now) {
        let _ = now;
    }
    /// The kill switch: every process passes from its next lookup on. Survives adoption.
    pub fn disable(&mut self) {}
    /// Undoes [`Writer::disable`].
    pub fn enable(&mut self) {}
    /// Reclaims what was retired two epochs ago, at most every 100 ms. Returns when to call again,
    /// or `None` while nothing waits.
    pub fn advance(&mut self, now: Instant) -> Option<Instant> {
        let _ = now;
        None
    }
    /// Figures.
    pub fn statistics(&self) -> Statistics {
        unimplemented!()
    }
    /// Moves everything to a new inode; readers follow.
    pub fn replace(&mut self) -> Result<(), OpenError> {
        unimplemented!()
    }
}

/// A consistent private copy of a zone file, taken without the writer's lock.
pub struct Dump {
    _private: (),
}

impl Dump {
    /// Copies and checks the zone file at `path`.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let _ = path;
        unimplemented!()
    }
    /// The apex.
    pub fn apex(&self) -> &str {
        unimplemented!()
    }
    /// The state word.
    pub fn state(&self) -> State {
        unimplemented!()
    }
    /// When the writer was last alive.
    pub fn alive(&self) -> Now {
        unimplemented!()
    }
    /// When the watch was last proven healthy; 0: never.
    pub fn synced(&self) -> Now {
        unimplemented!()
    }
    /// When the zone last changed.
    pub fn updated(&self) -> Now {
        unimplemented!()
    }
    /// What is configured.
    pub fn config(&self) -> &Config {
        unimplemented!()
    }
    /// Everything held, sorted by name.
    pub fn entries(&self) -> &[Entry] {
        unimplemented!()
    }
    /// Figures (free and quarantined space are not told apart).
    pub fn statistics(&self) -> &Statistics {
        unimplemented!()
    }
}

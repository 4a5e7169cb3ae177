//! The publishing side: one writer per directory, every change committed by one 8-byte store.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "the writer runs in the agent, on data that it has checked; a panic there ends the agent, and processes go on reading"
)]

mod account;
pub(crate) mod adopt;
mod config;
mod decode;
mod dump;
pub(crate) mod encode;
mod error;
mod files;
#[cfg(all(test, not(loom)))]
mod format;
pub(crate) mod heap;
mod held;
#[cfg(all(test, not(loom)))]
mod identity;
mod index;
mod libc_os;
pub(crate) mod memory;
mod object;
#[cfg(all(test, not(loom)))]
mod overflow;
mod reverse;
#[cfg(all(test, not(loom)))]
mod ruled;
pub(crate) mod space;
pub(crate) mod zone;

pub use account::{Opened, State, Statistics};
pub use config::{Config, Matching, MissPolicy, PodMode, Rule};
pub use dump::{Dump, HeldDump, Sample};
pub use error::{OpenError, WriteError};
pub use held::{
    Held, HeldAnswer, HeldOpened, HeldOptions, HeldStatistics, HeldVerdict, HeldWriter,
};
pub use libc_os::LibcOs;
pub use object::{Endpoint, Entry, Item, Port, Protocol, ServiceBody, ServiceKey, Slice, SliceId};

use crate::{
    Now,
    layout::{AT_EPOCH, AT_SERIAL},
};
use files::{Files, Opening, supersede_zone, unix_now};
use std::{
    path::{Path, PathBuf},
    time::Instant,
};
use zone::Zone;

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
        self.directory
            .join("view")
            .join(&self.view)
            .join(files::ZONE_FILE)
    }
}

/// Start and length in granules of everything reachable in a file, the index first; an error where a
/// writer would not adopt it.
#[cfg(feature = "proofs")]
pub(crate) fn scan(
    words: crate::words::Words<'_>,
    flavor: crate::layout::Flavor,
) -> Result<Vec<(u32, u32)>, &'static str> {
    adopt::Scan::run(words, flavor).map(adopt::Scan::into_extents)
}

/// An inode that a zone has left, and that nobody writes to any more. Dropping it leaves its readers
/// there until it is stale.
pub struct Former(Zone);

impl Former {
    /// Sends its readers to what is at their path now.
    pub fn supersede(mut self) {
        supersede_zone(&mut self.0);
    }
}

/// The one writer of a directory. Dropping it leaves the zone in place for the next.
///
/// Every change is one 8-byte store that readers either see or not. What a change replaces is
/// reused later: call [`Writer::advance`] when it is due, or the file grows without end.
pub struct Writer {
    files: Files,
    zone: Zone,
}

impl Writer {
    /// Takes the lock, then goes on with the file that is there, or makes one.
    pub fn open(options: Options) -> Result<(Self, Opened), OpenError> {
        let files = Files::of_zone(&options)?;
        let (zone, opening) = files.open()?;
        let opened = match opening {
            Opening::Created => Opened::Created,
            Opening::Adopted => Opened::Adopted {
                namespaces: zone.counts.namespaces as usize,
                services: zone.counts.services as usize,
            },
            Opening::Replaced { why } => Opened::Replaced { why },
        };
        Ok((Self { files, zone }, opened))
    }

    /// The zone file that readers open.
    pub fn path(&self) -> &Path {
        &self.files.zone
    }

    /// Publishes the configuration; false when it is what is published.
    pub fn configure(&mut self, config: &Config) -> Result<bool, WriteError> {
        let changed = self.zone.configure(config);
        self.stamped(changed)
    }

    /// What is configured.
    pub fn config(&self) -> Config {
        self.zone.config()
    }

    /// Publishes a namespace; false when it was there.
    pub fn put_namespace(&mut self, name: &str) -> Result<bool, WriteError> {
        let changed = self.zone.put_namespace(name);
        self.stamped(changed)
    }

    /// Removes a namespace (not its services); false when it was absent.
    pub fn delete_namespace(&mut self, name: &str) -> Result<bool, WriteError> {
        let changed = self.zone.delete_namespace(name);
        self.stamped(changed)
    }

    /// Publishes a service, keeping the slices that it has; false when nothing changed.
    pub fn put_service(
        &mut self,
        key: &ServiceKey,
        body: &ServiceBody,
    ) -> Result<bool, WriteError> {
        let changed = self.zone.put_service(key, body);
        self.stamped(changed)
    }

    /// Removes a service. Slices that it still has wait for it to come back, unseen by readers,
    /// until they are deleted too. False when it was absent.
    pub fn delete_service(&mut self, key: &ServiceKey) -> Result<bool, WriteError> {
        let changed = self.zone.delete_service(key);
        self.stamped(changed)
    }

    /// Publishes one slice; false when nothing changed. A slice may come before its service: it
    /// waits, unseen by readers.
    pub fn put_slice(
        &mut self,
        key: &ServiceKey,
        id: SliceId,
        slice: &Slice,
    ) -> Result<bool, WriteError> {
        let changed = self.zone.put_slice(key, id, slice);
        self.stamped(changed)
    }

    /// Removes one slice; false when it was absent.
    pub fn delete_slice(&mut self, key: &ServiceKey, id: SliceId) -> Result<bool, WriteError> {
        let changed = self.zone.delete_slice(key, id);
        self.stamped(changed)
    }

    /// Removes what `keep` does not want; returns how many items went. Slices are asked about also
    /// where their service goes.
    pub fn retain(&mut self, mut keep: impl FnMut(Item<'_>) -> bool) -> Result<usize, WriteError> {
        let mut removed = 0;
        for entry in self.entries() {
            match entry {
                Entry::Namespace(name) => {
                    if !keep(Item::Namespace(&name)) {
                        removed += usize::from(self.delete_namespace(&name)?);
                    }
                }
                Entry::Service { key, body, slices } => {
                    if body.is_some() && !keep(Item::Service(&key)) {
                        removed += usize::from(self.delete_service(&key)?);
                    }
                    for id in slices.into_keys() {
                        if !keep(Item::Slice(&key, id)) {
                            removed += usize::from(self.delete_slice(&key, id)?);
                        }
                    }
                }
            }
        }
        Ok(removed)
    }

    /// Everything held, in no particular order.
    pub fn entries(&self) -> Vec<Entry> {
        self.each_entry().collect()
    }

    /// The same, decoded one by one: of a large zone they are many.
    pub fn each_entry(&self) -> impl Iterator<Item = Entry> {
        self.zone.entries()
    }

    /// One service with its slices.
    pub fn service(&self, key: &ServiceKey) -> Option<Entry> {
        self.zone.service(key)
    }

    /// The state word.
    pub fn state(&self) -> State {
        self.zone.state()
    }

    /// Says that there is more than what was put, as after [`WriteError::NoSpace`]: what is not found
    /// asks DNS until this is taken back. Needs no space. An adopted file that says so goes on saying
    /// it: take it back once everything has been put. Names that the index cannot take make
    /// misses ask all the same.
    pub fn set_incomplete(&mut self, incomplete: bool) {
        self.zone.set_incomplete(incomplete);
    }

    /// Everything has been listed once: `Syncing` becomes `Live`; also stores the time as
    /// [`Writer::mark_synced`] does. Under the kill switch only the time is stored.
    pub fn set_synced(&mut self, now: Now) {
        self.zone.set_synced(now);
    }

    /// The watch is proven healthy at this time.
    pub fn mark_synced(&mut self, now: Now) {
        self.zone.mark_synced(now);
    }

    /// When a writer was last alive: an earlier one, before the first [`Writer::beat`].
    pub fn alive(&self) -> Now {
        self.zone.alive()
    }

    /// The writer is alive at this time; call it every few seconds.
    pub fn beat(&mut self, now: Now) {
        self.zone.beat(now);
    }

    /// The kill switch: every process passes from its next lookup on. Survives adoption.
    pub fn disable(&mut self) {
        self.zone.set_state(State::Disabled);
    }

    /// Undoes [`Writer::disable`]: live if everything was ever listed, else syncing.
    pub fn enable(&mut self) {
        self.zone.enable();
    }

    /// Reclaims what was retired two epochs ago, at most every 100 ms. Returns when to call again,
    /// or `None` while nothing waits.
    pub fn advance(&mut self, now: Instant) -> Option<Instant> {
        self.zone.heap.advance(now)
    }

    /// Figures.
    pub fn statistics(&self) -> Statistics {
        let heap = &self.zone.heap;
        let bytes = heap.memory.bytes();
        Statistics {
            bytes,
            used_bytes: bytes - heap.free_bytes() - heap.quarantined_bytes(),
            free_bytes: heap.free_bytes(),
            quarantined_bytes: heap.quarantined_bytes(),
            namespaces: self.zone.counts.namespaces,
            services: self.zone.counts.services,
            slices: self.zone.counts.slices,
            written_bytes: heap.memory.written_bytes(),
            serial: heap.memory.load(AT_SERIAL),
            epoch: heap.memory.load(AT_EPOCH),
            incomplete: self.zone.index.incomplete,
            main_lines: self.zone.index.root.main_lines.into(),
            ptr_lines: self.zone.index.root.ptr_lines.into(),
        }
    }

    /// Moves everything to a new inode, complete before it is seen; readers follow when the old one
    /// says that it is superseded.
    pub fn replace(&mut self) -> Result<(), OpenError> {
        self.renew().map(Former::supersede)
    }

    /// The same, but readers of the old inode stay until [`Former::supersede`]: time to put the new one
    /// in the place of further links to it.
    pub fn renew(&mut self) -> Result<Former, OpenError> {
        let mut new = self.files.create()?;
        new.copy_from(&self.zone).map_err(OpenError::Full)?;
        let new = self.files.publish(new)?;
        Ok(Former(core::mem::replace(&mut self.zone, new)))
    }

    /// Ends the zone: its file goes, and readers look for another one. Where a further link to the
    /// file is left, they pass until that is replaced.
    pub fn retire(mut self) -> Result<(), OpenError> {
        let path = &self.files.zone;
        std::fs::remove_file(path).map_err(files::failed("remove", path))?;
        supersede_zone(&mut self.zone);
        Ok(())
    }

    /// Starts to record the stores to the zone file.
    #[cfg(feature = "proofs")]
    #[doc(hidden)]
    pub fn record(&mut self) {
        self.zone.heap.memory.record();
    }

    /// The stores since [`Writer::record`], in program order: number of the word, value.
    #[cfg(feature = "proofs")]
    #[doc(hidden)]
    pub fn recorded(&mut self) -> Vec<(usize, u64)> {
        self.zone.heap.memory.recorded()
    }

    /// Stores the time of a change.
    fn stamped(&mut self, changed: Result<bool, WriteError>) -> Result<bool, WriteError> {
        if matches!(changed, Ok(true)) {
            self.zone.stamp(Now(unix_now()));
        }
        changed
    }
}

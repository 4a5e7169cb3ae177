//! What a zone holds, read back.

use super::Zone;
use crate::{
    layout::{AT_ALIVE, AT_SERIAL, AT_SYNCED, AT_UPDATED, kind},
    record::{Chunk, Head},
    sync::Ordering,
    words::Words,
    writer::{Entry, ServiceKey, WriteError, decode},
};
use std::collections::BTreeMap;

impl Zone {
    /// Everything held.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> {
        let words = self.words();
        let granules = self.index.granules(words).map(|(_, granule)| granule);
        granules
            .chain(self.index.unindexed.values().copied())
            .filter_map(move |granule| entry(words, granule))
    }

    /// One service.
    pub(crate) fn service(&self, key: &ServiceKey) -> Option<Entry> {
        let (granule, _) = self.find(&key.to_string())?;
        entry(self.words(), granule)
    }

    /// Takes over everything that another zone holds, its state and its times.
    pub(crate) fn copy_from(&mut self, other: &Self) -> Result<(), WriteError> {
        self.configure(&other.config())?;
        for entry in other.entries() {
            match entry {
                Entry::Namespace(name) => {
                    self.put_namespace(&name)?;
                }
                Entry::Service { key, body, slices } => {
                    if let Some(body) = &body {
                        self.put_service(&key, body)?;
                    }
                    for (id, slice) in &slices {
                        self.put_slice(&key, *id, slice)?;
                    }
                }
            }
        }
        for at in [AT_SERIAL, AT_UPDATED, AT_ALIVE, AT_SYNCED] {
            self.heap
                .memory
                .store(at, other.heap.memory.load(at), Ordering::Release);
        }
        self.set_incomplete(other.index.lacking);
        self.set_state(other.state());
        Ok(())
    }
}

/// One record with all that belongs to it; `None` when it is malformed.
pub(crate) fn entry(words: Words<'_>, granule: u32) -> Option<Entry> {
    let head = Head::load(words, granule)?;
    if head.kind() == kind::NAMESPACE {
        return Some(Entry::Namespace(decode::key(words, &head)?));
    }
    let mut slices = BTreeMap::new();
    for granule in head.chunk_granules(words)? {
        let (id, slice) = decode::slice(words, &Chunk::load(words, granule)?)?;
        slices.insert(id, slice);
    }
    let key = decode::service_key(words, &head)?;
    Some(Entry::Service {
        key,
        body: decode::body(words, &head)?,
        slices,
    })
}

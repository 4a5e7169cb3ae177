//! The contents of one zone file: what to store for each change, and in which order.

mod entries;
mod times;

pub(crate) use entries::entry;

use super::{
    Config, ServiceBody, ServiceKey, Slice, SliceId, WriteError, decode, encode,
    heap::{Heap, granules},
    index::Index,
    reverse::{difference, hinted, leading, own, ready_at},
};
use crate::{
    Address,
    layout::{AT_CONFIG, AT_SERIAL, kind},
    record::{Chunk, Head},
    sync::Ordering,
    words::Words,
};

/// A zone that is being written.
pub(crate) struct Zone {
    pub(crate) heap: Heap,
    pub(crate) index: Index,
    pub(crate) counts: Counts,
}

/// How many of what a zone holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) namespaces: u64,
    pub(crate) services: u64,
    pub(crate) slices: u64,
    /// Names with held answers.
    pub(crate) held: u64,
}

/// A record and the granule that it is at.
pub(super) type Found = Option<(u32, Head)>;

impl Zone {
    /// See [`super::Writer::configure`].
    pub(crate) fn configure(&mut self, config: &Config) -> Result<bool, WriteError> {
        let encoded = encode::config(config)?;
        let old = self.heap.memory.load(AT_CONFIG);
        let words = self.heap.memory.words();
        let size = decode::valid_config(words, old);
        if size.is_some() && decode::same(words, old as u32, &encoded).is_some() {
            return Ok(false);
        }
        let granule = self.heap.put(&encoded)?;
        self.heap.memory.commit(AT_CONFIG, u64::from(granule));
        if let Some(size) = size {
            self.heap.retire(old as u32, size);
        }
        self.committed();
        Ok(true)
    }

    /// The published configuration.
    pub(crate) fn config(&self) -> Config {
        decode::config(self.words(), self.heap.memory.load(AT_CONFIG)).unwrap_or_default()
    }

    /// See [`super::Writer::put_namespace`].
    pub(crate) fn put_namespace(&mut self, name: &str) -> Result<bool, WriteError> {
        let name = super::object::label(name)?;
        if self.find(&name).is_some() {
            return Ok(false);
        }
        self.commit(&name, &encode::namespace(&name), &[])?;
        self.counts.namespaces += 1;
        Ok(true)
    }

    /// See [`super::Writer::delete_namespace`].
    pub(crate) fn delete_namespace(&mut self, name: &str) -> Result<bool, WriteError> {
        let name = super::object::label(name)?;
        let held = self.find(&name).is_some();
        if held {
            self.remove(&name);
            self.counts.namespaces -= 1;
        }
        Ok(held)
    }

    /// See [`super::Writer::put_service`].
    pub(crate) fn put_service(
        &mut self,
        key: &ServiceKey,
        body: &ServiceBody,
    ) -> Result<bool, WriteError> {
        self.put_body(key, Some(body))
    }

    /// See [`super::Writer::delete_service`].
    pub(crate) fn delete_service(&mut self, key: &ServiceKey) -> Result<bool, WriteError> {
        let name = key.to_string();
        match self.find(&name) {
            None => Ok(false),
            Some((_, head)) if head.kind() == kind::PENDING => Ok(false),
            Some((_, head)) if head.chunks() > 0 => self.put_body(key, None),
            Some(_) => {
                self.remove(&name);
                self.counts.services -= 1;
                Ok(true)
            }
        }
    }

    /// See [`super::Writer::put_slice`].
    pub(crate) fn put_slice(
        &mut self,
        key: &ServiceKey,
        id: SliceId,
        slice: &Slice,
    ) -> Result<bool, WriteError> {
        let encoded = encode::chunk(id, slice)?;
        let name = key.to_string();
        let found = self.find(&name);
        let words = self.words();
        let mut chunks = chunks(words, &found);
        let old = chunks
            .iter()
            .copied()
            .find(|granule| slice_id(words, *granule) == Some(id));
        if old.is_some_and(|old| decode::same(words, old, &encoded).is_some()) {
            return Ok(false);
        }
        let before = old.map_or(Vec::new(), |old| ready_at(words, old));
        let granule = self.heap.put(&encoded)?;
        let words = self.words();
        match chunks.iter_mut().find(|known| Some(**known) == old) {
            Some(reference) => *reference = granule,
            None => chunks.push(granule),
        }
        let after = ready_at(words, granule);
        let record = match &found {
            Some((at, head)) => encode::with_chunks(words, *at, head, &chunks),
            None => encode::service(key, None, &chunks),
        };
        let added: Vec<Address> = difference(&after, &before);
        if let Err(error) = record.and_then(|record| self.commit(&name, &record, &added)) {
            self.heap.unput(granule, granules(encoded.len()));
            return Err(error);
        }
        if let Some(old) = old {
            self.retire_chunk(old);
        }
        self.forget(&name, difference(&before, &after));
        self.counts.slices += u64::from(old.is_none());
        self.counts.services += u64::from(found.is_none());
        Ok(true)
    }

    /// See [`super::Writer::delete_slice`].
    pub(crate) fn delete_slice(
        &mut self,
        key: &ServiceKey,
        id: SliceId,
    ) -> Result<bool, WriteError> {
        let name = key.to_string();
        let found = self.find(&name);
        let words = self.words();
        let mut chunks = chunks(words, &found);
        let old = chunks
            .iter()
            .copied()
            .find(|granule| slice_id(words, *granule) == Some(id));
        let (Some(old), Some((at, head))) = (old, found) else {
            return Ok(false);
        };
        if head.kind() == kind::PENDING && chunks.len() == 1 {
            self.remove(&name);
            self.counts.services -= 1;
            self.counts.slices -= 1;
            return Ok(true);
        }
        let before = ready_at(words, old);
        chunks.retain(|granule| *granule != old);
        let record = encode::with_chunks(words, at, &head, &chunks);
        self.commit(&name, &record?, &[])?;
        self.counts.slices -= 1;
        self.retire_chunk(old);
        self.forget(&name, before);
        Ok(true)
    }

    /// What can be read.
    pub(crate) fn words(&self) -> Words<'_> {
        self.heap.memory.words()
    }

    /// Publishes a service's own part, or that there is only its chunks.
    fn put_body(
        &mut self,
        key: &ServiceKey,
        body: Option<&ServiceBody>,
    ) -> Result<bool, WriteError> {
        let name = key.to_string();
        let found = self.find(&name);
        let words = self.words();
        let record = encode::service(key, body, &chunks(words, &found))?;
        let mut before = Vec::new();
        if let Some((granule, head)) = &found {
            if decode::same(words, *granule, &record).is_some() {
                return Ok(false);
            }
            before = own(words, head);
        }
        let mut after = match body {
            Some(ServiceBody::ClusterIp { addresses, .. }) => addresses.clone(),
            _ => Vec::new(),
        };
        after.sort_unstable();
        after.dedup();
        self.commit(&name, &record, &difference(&after, &before))?;
        self.forget(&name, difference(&before, &after));
        self.counts.services += u64::from(found.is_none());
        Ok(true)
    }

    /// Publishes a record under its key by one store; `added` are the addresses that shall lead to
    /// it and did not.
    pub(super) fn commit(
        &mut self,
        key: &str,
        record: &[u64],
        added: &[Address],
    ) -> Result<(), WriteError> {
        let granule = self.heap.put(record)?;
        let length = granules(record.len());
        let is_new = self.find(key).is_none();
        let hints = u32::try_from(added.len()).unwrap_or(u32::MAX);
        let mut made = self.index.reserve(&mut self.heap, u32::from(is_new), hints);
        let mut slot = self.slot_for(key);
        if made.is_ok() && slot.is_none() {
            made = self.index.overflow(&mut self.heap, hints);
            slot = self.slot_for(key);
        }
        if let Err(error) = made {
            self.heap.unput(granule, length);
            return Err(error);
        }
        // After `reserve`, which moves what was unindexed when it can.
        let unindexed = self.index.unindexed.remove(key);
        match slot {
            Some((slot, old)) => {
                for address in added {
                    self.index.add_hint(&self.heap.memory, address, slot);
                }
                self.index.set(&self.heap.memory, slot, key, granule);
                for old in old.into_iter().chain(unindexed) {
                    self.retire_record(old);
                }
            }
            None => {
                self.index.unindexed.insert(key.to_owned(), granule);
                if let Some(old) = unindexed {
                    self.retire_record(old);
                }
            }
        }
        self.committed();
        Ok(())
    }

    /// The slot that a key has, with its record, or can have.
    fn slot_for(&self, key: &str) -> Option<(u32, Option<u32>)> {
        match self.index.find(self.words(), key) {
            Some((slot, granule)) => Some((slot, Some(granule))),
            None => Some((self.index.vacancy(&self.heap.memory, key)?, None)),
        }
    }

    /// Takes a key away, with its record, its chunks and its hints.
    pub(super) fn remove(&mut self, key: &str) {
        let Some((granule, head)) = self.find(key) else {
            return;
        };
        let words = self.words();
        let addresses = hinted(words, &head);
        let chunks: Vec<u32> = head.chunk_granules(words).into_iter().flatten().collect();
        match self.index.find(words, key) {
            Some((slot, _)) => {
                self.index.clear(&self.heap.memory, slot);
                for address in &addresses {
                    self.index.remove_hint(&self.heap.memory, address, slot);
                }
            }
            None => {
                self.index.unindexed.remove(key);
            }
        }
        self.retire_record(granule);
        for chunk in chunks {
            self.retire_chunk(chunk);
        }
        self.committed();
    }

    /// Takes away the hints of addresses, sorted, that a record no longer holds.
    fn forget(&mut self, key: &str, mut gone: Vec<Address>) {
        if gone.is_empty() {
            return;
        }
        let words = self.words();
        let Some((slot, granule)) = self.index.find(words, key) else {
            return;
        };
        let Some(head) = Head::load(words, granule) else {
            return;
        };
        leading(words, &head).for_each(|held| {
            if let Ok(at) = gone.binary_search(&held) {
                gone.remove(at);
            }
        });
        for address in gone {
            self.index.remove_hint(&self.heap.memory, &address, slot);
        }
    }

    /// The record of a key, indexed or not.
    pub(super) fn find(&self, key: &str) -> Found {
        let words = self.words();
        let granule = match self.index.find(words, key) {
            Some((_, granule)) => granule,
            None => *self.index.unindexed.get(key)?,
        };
        Some((granule, Head::load(words, granule)?))
    }

    fn retire_record(&mut self, granule: u32) {
        if let Some(head) = Head::load(self.words(), granule) {
            self.heap.retire(granule, head.granules());
        }
    }

    fn retire_chunk(&mut self, granule: u32) {
        if let Some(chunk) = Chunk::load(self.words(), granule) {
            self.heap.retire(granule, chunk.granules);
        }
    }

    fn committed(&mut self) {
        let serial = self.heap.memory.load(AT_SERIAL).wrapping_add(1);
        self.heap.memory.store(AT_SERIAL, serial, Ordering::Relaxed);
    }
}

/// The chunks of a record.
fn chunks(words: Words<'_>, found: &Found) -> Vec<u32> {
    let granules = found
        .as_ref()
        .and_then(|(_, head)| head.chunk_granules(words));
    granules.into_iter().flatten().collect()
}

/// The slice that a chunk is of.
fn slice_id(words: Words<'_>, granule: u32) -> Option<SliceId> {
    Some(SliceId(Chunk::load(words, granule)?.id))
}

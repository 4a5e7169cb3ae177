//! Which addresses lead to a record by reverse lookup, and which do so no more after a change.

use crate::{
    Address, Family,
    layout::kind,
    record::{Chunk, Head},
    words::Words,
};

/// Every address whose PTR answer may name the record, repetitions left out; none of an external
/// name.
pub(super) fn hinted(words: Words<'_>, head: &Head) -> Vec<Address> {
    let mut addresses = Vec::new();
    leading(words, head).for_each(|address| addresses.push(address));
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// The same in the order in which they are kept, with repetitions.
pub(super) fn leading<'z>(
    words: Words<'z>,
    head: &Head,
) -> impl Iterator<Item = Address> + use<'z> {
    let (own, chunks) = if head.kind() == kind::HELD {
        ([None, None], None)
    } else {
        let own = [Family::V4, Family::V6].map(|family| head.addresses(words, family));
        (own, head.chunk_granules(words))
    };
    let chunks = chunks.into_iter().flatten();
    let endpoints = chunks
        .filter_map(move |granule| Chunk::load(words, granule))
        .flat_map(move |chunk| ready(words, &chunk));
    own.into_iter().flatten().flatten().chain(endpoints)
}

/// The addresses of a chunk's ready endpoints.
fn ready<'z>(words: Words<'z>, chunk: &Chunk) -> impl Iterator<Item = Address> + use<'z> {
    let chunk = *chunk;
    chunk
        .addresses(words)
        .into_iter()
        .flatten()
        .enumerate()
        .filter(move |(index, _)| chunk.is_ready(words, *index) == Some(true))
        .map(|(_, address)| address)
}

/// The ready addresses of a chunk, sorted.
pub(super) fn ready_at(words: Words<'_>, granule: u32) -> Vec<Address> {
    let Some(chunk) = Chunk::load(words, granule) else {
        return Vec::new();
    };
    let mut addresses = Vec::with_capacity(chunk.endpoints);
    ready(words, &chunk).for_each(|address| addresses.push(address));
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// The addresses of a record itself, sorted.
pub(super) fn own(words: Words<'_>, head: &Head) -> Vec<Address> {
    [Family::V4, Family::V6]
        .into_iter()
        .filter_map(|family| head.addresses(words, family))
        .flatten()
        .collect()
}

/// What of the sorted `one` is not in the sorted `other`.
pub(super) fn difference(one: &[Address], other: &[Address]) -> Vec<Address> {
    let mut other = other.iter().peekable();
    let mut missing = Vec::new();
    for address in one {
        while other.next_if(|known| *known < address).is_some() {}
        if other.peek() != Some(&address) {
            missing.push(*address);
        }
    }
    missing
}

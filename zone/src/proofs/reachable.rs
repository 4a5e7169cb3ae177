//! What readers can reach in a file, by the walk of a writer that adopts it.

use super::Image;
use crate::{
    layout::{Flavor, GRANULE_WORDS},
    writer::scan,
};
use core::ops::Range;
use std::vec::Vec;

/// Where everything reachable is, in words.
#[derive(Clone, Debug)]
pub struct Extents {
    /// The index: its slots change in place.
    pub index: Range<usize>,
    /// The configuration, the records, their chunks.
    pub records: Vec<Range<usize>>,
}

impl Extents {
    /// The index and the records.
    pub fn all(&self) -> impl Iterator<Item = Range<usize>> {
        core::iter::once(self.index.clone()).chain(self.records.iter().cloned())
    }
}

/// What can be reached in a zone.
///
/// # Errors
/// The file is none that a writer would adopt; why, in a few words.
pub fn zone_extents(image: &Image) -> Result<Extents, &'static str> {
    extents(image, Flavor::Zone)
}

/// The same of a file of held answers.
///
/// # Errors
/// See [`zone_extents`].
pub fn held_extents(image: &Image) -> Result<Extents, &'static str> {
    extents(image, Flavor::Held)
}

fn extents(image: &Image, flavor: Flavor) -> Result<Extents, &'static str> {
    let mut found = scan(image.words(), flavor)?
        .into_iter()
        .map(|(start, length)| {
            let word = |granule: u32| granule as usize * GRANULE_WORDS;
            word(start)..word(start + length)
        });
    // The walk begins with the index.
    let index = found.next().ok_or("it has no index")?;
    Ok(Extents {
        index,
        records: found.collect(),
    })
}

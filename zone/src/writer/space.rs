//! Which granules of the heap are free.

use std::collections::{BTreeMap, BTreeSet};

/// Free extents: best fit, neighbors joined at once. The last one is taken from only where no other
/// fits, so that what grows most, the index, can grow in its place.
#[derive(Debug, Default)]
pub(crate) struct Space {
    /// Length by start.
    by_start: BTreeMap<u32, u32>,
    /// Length and start.
    by_length: BTreeSet<(u32, u32)>,
    /// Sum of lengths.
    free: u64,
}

impl Space {
    /// Granules that are free.
    pub(crate) const fn free(&self) -> u64 {
        self.free
    }

    /// Frees an extent; it must not overlap a free one.
    pub(crate) fn give(&mut self, start: u32, length: u32) {
        if length == 0 {
            return;
        }
        let (mut start, mut length) = (start, length);
        self.free += u64::from(length);
        if let Some((&left, &size)) = self.by_start.range(..start).next_back()
            && left + size == start
        {
            self.remove(left, size);
            (start, length) = (left, length + size);
        }
        if let Some(&size) = self.by_start.get(&(start + length)) {
            self.remove(start + length, size);
            length += size;
        }
        self.insert(start, length);
    }

    /// Takes `length` granules, the start a multiple of `align`.
    pub(crate) fn take(&mut self, length: u32, align: u32) -> Option<u32> {
        let last = self.by_start.last_key_value().map(|(start, _)| *start);
        let mut fitting = self.by_length.range((length + align - 1, 0)..);
        let best = fitting.next()?;
        let other = fitting.next();
        let &(size, start) = match other {
            Some(other) if Some(best.1) == last => other,
            _ => best,
        };
        self.remove(start, size);
        let aligned = start.next_multiple_of(align);
        self.insert(start, aligned - start);
        self.insert(aligned + length, start + size - aligned - length);
        self.free -= u64::from(length);
        Some(aligned)
    }

    /// Takes an extent that is free.
    pub(crate) fn take_at(&mut self, start: u32, length: u32) {
        let free = self.by_start.range(..=start).next_back();
        let Some((&left, &size)) = free.filter(|(left, size)| **left + **size >= start + length)
        else {
            return;
        };
        self.remove(left, size);
        self.insert(left, start - left);
        self.insert(start + length, left + size - start - length);
        self.free -= u64::from(length);
    }

    /// How much is free right before `end`.
    pub(crate) fn tail(&self, end: u32) -> u32 {
        let last = self.by_start.last_key_value();
        last.map_or(
            0,
            |(start, size)| if start + size == end { *size } else { 0 },
        )
    }

    fn insert(&mut self, start: u32, length: u32) {
        if length > 0 {
            self.by_start.insert(start, length);
            self.by_length.insert((length, start));
        }
    }

    fn remove(&mut self, start: u32, length: u32) {
        self.by_start.remove(&start);
        self.by_length.remove(&(length, start));
    }
}

#[cfg(test)]
mod tests {
    use super::Space;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn extents_never_overlap_and_all_come_back(
            steps in prop::collection::vec((1_u32..40, any::<bool>(), any::<prop::sample::Index>()), 1..200),
        ) {
            let mut space = Space::default();
            space.give(100, 1000);
            let mut taken: Vec<(u32, u32)> = Vec::new();
            for (length, aligned, index) in steps {
                let align = if aligned { 4 } else { 1 };
                if let Some(start) = space.take(length, align) {
                    prop_assert_eq!(start % align, 0);
                    prop_assert!(start >= 100 && start + length <= 1100);
                    prop_assert!(taken.iter().all(|(s, l)| start + length <= *s || s + l <= start));
                    taken.push((start, length));
                } else if !taken.is_empty() {
                    let (start, length) = taken.swap_remove(index.index(taken.len()));
                    space.give(start, length);
                }
                let used: u32 = taken.iter().map(|(_, length)| length).sum();
                prop_assert_eq!(space.free(), u64::from(1000 - used));
            }
            for (start, length) in taken {
                space.give(start, length);
                let (tail, free) = (space.tail(1100), space.free());
                space.take_at(start, length);
                prop_assert_eq!(space.free(), free - u64::from(length));
                prop_assert!(space.tail(1100) <= tail);
                space.give(start, length);
                prop_assert_eq!((space.tail(1100), space.free()), (tail, free));
            }
            prop_assert_eq!(space.tail(1100), 1000);
            prop_assert_eq!(space.take(1000, 1), Some(100));
        }
    }
}

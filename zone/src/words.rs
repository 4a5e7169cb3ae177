//! Bounds-checked loads from shared memory. Nothing else ever touches it: no reference to plain
//! bytes is formed over it, because another process changes it meanwhile.

use crate::{
    layout::WORD,
    name::Name,
    sync::{AtomicU64, Ordering},
};

/// The readable words of a zone file.
#[derive(Clone, Copy)]
pub(crate) struct Words<'z>(&'z [AtomicU64]);

impl<'z> Words<'z> {
    /// Over words that somebody else keeps.
    #[cfg(any(loom, feature = "writer"))]
    pub(crate) const fn new(words: &'z [AtomicU64]) -> Self {
        Self(words)
    }

    /// Over a mapping.
    ///
    /// # Safety
    /// * `start` is aligned to 8 bytes, and `count` words from it are mapped readable for `'z`.
    /// * Everybody who writes them meanwhile does so with atomic stores.
    pub(crate) const unsafe fn from_raw(start: *const u8, count: usize) -> Self {
        // SAFETY: as the caller vouches. Relaxed 8-byte loads are what Rust guarantees to work on
        // memory that is mapped read-only, and an atomic may change under a shared reference.
        Self(unsafe { core::slice::from_raw_parts(start.cast::<AtomicU64>(), count) })
    }

    /// Where they are in this process.
    pub(crate) fn address(self) -> usize {
        self.0.as_ptr().addr()
    }

    /// How many.
    pub(crate) const fn count(self) -> usize {
        self.0.len()
    }

    /// One word; `None` past the end.
    #[inline]
    pub(crate) fn load(self, at: usize) -> Option<u64> {
        self.0.get(at).map(|word| word.load(Ordering::Relaxed))
    }

    /// `count` words from `at` on; `None` when the last is past the end.
    #[inline]
    pub(crate) fn range(self, at: usize, count: usize) -> Option<&'z [AtomicU64]> {
        self.0.get(at..at.checked_add(count)?)
    }

    /// Whether the zero-padded text at `at` is `text`; `None` past the end.
    #[inline(never)]
    pub(crate) fn holds(self, at: usize, text: &[u8]) -> Option<bool> {
        self.holds_here(at, text)
    }

    /// The same, inlined: for what every lookup asks.
    #[inline]
    pub(crate) fn holds_here(self, at: usize, text: &[u8]) -> Option<bool> {
        let stored = self.range(at, text.len().div_ceil(WORD))?;
        let (full, tail) = text_words(text);
        let mut stored = stored.iter().map(|word| word.load(Ordering::Relaxed));
        for word in full {
            if stored.next() != Some(word) {
                return Some(false);
            }
        }
        // Without a tail nothing is left on either side.
        Some(stored.next().unwrap_or(0) == tail)
    }

    /// Appends the text of `length` bytes at `at`; `None` past the end, or when `name` is full.
    pub(crate) fn append_to(self, at: usize, length: usize, name: &mut Name) -> Option<()> {
        let mut left = length;
        for word in self.range(at, length.div_ceil(WORD))? {
            let bytes = word.load(Ordering::Relaxed).to_le_bytes();
            let part = bytes.get(..left.min(WORD))?;
            if !name.push(part) {
                return None;
            }
            left = left.saturating_sub(WORD);
        }
        Some(())
    }
}

/// `text` as little-endian words: those that are full, and the rest, zero-padded.
#[inline]
pub(crate) fn text_words(text: &[u8]) -> (impl Iterator<Item = u64>, u64) {
    let (full, rest) = text.as_chunks::<WORD>();
    let missing = WORD.wrapping_sub(rest.len());
    let tail = match text.last_chunk::<WORD>() {
        _ if rest.is_empty() => 0,
        // The last eight bytes, less those that are in full words already: no loop over bytes.
        Some(last) => u64::from_le_bytes(*last).wrapping_shr((missing as u32).wrapping_mul(8)),
        None => rest
            .iter()
            .rev()
            .fold(0, |word, byte| (word << 8) | u64::from(*byte)),
    };
    (full.iter().map(|chunk| u64::from_le_bytes(*chunk)), tail)
}

#[cfg(test)]
mod tests {
    use super::{AtomicU64, Words, text_words};
    use crate::Name;

    #[test]
    fn text_of_any_length_is_found_again() {
        for length in 0..40_u8 {
            let text: Vec<u8> = (1..=length).collect();
            let (full, tail) = text_words(&text);
            let mut words: Vec<u64> = full.collect();
            if !text.len().is_multiple_of(8) {
                words.push(tail);
            }
            let shared: Vec<AtomicU64> = words.into_iter().map(AtomicU64::new).collect();
            let words = Words::new(&shared);
            assert_eq!(words.holds(0, &text), Some(true), "{length}");
            if length > 0 {
                let mut other = text.clone();
                other[usize::from(length - 1)] = 0;
                assert_eq!(words.holds(0, &other), Some(false), "{length}");
            }
            let mut name = Name::EMPTY;
            assert_eq!(words.append_to(0, text.len(), &mut name), Some(()));
            assert_eq!(name.as_bytes(), text);
        }
    }

    #[test]
    fn nothing_is_read_past_the_end() {
        let shared = [AtomicU64::new(0)];
        let words = Words::new(&shared);
        assert_eq!(words.load(1), None);
        assert!(words.range(0, 2).is_none());
        assert!(words.range(usize::MAX, 2).is_none());
        assert_eq!(words.holds(0, b"123456789"), None);
    }
}

//! The search list, in a buffer of fixed size.

use super::Unclear;

/// As many entries as the kubelet writes; glibc since 2.26 knows no limit.
pub const MAX_SEARCH_ENTRIES: usize = 32;
/// As many bytes in all as the kubelet writes.
pub const MAX_SEARCH_TEXT: usize = 2048;

/// The entries, in order, as they are written: they may be empty, ".", or end in a dot.
#[derive(Clone)]
pub struct SearchList {
    count: usize,
    /// Where in `text` each entry ends, which is where the next one starts.
    ends: [u16; MAX_SEARCH_ENTRIES],
    text: [u8; MAX_SEARCH_TEXT],
}

impl SearchList {
    /// No entry.
    pub const EMPTY: Self = Self {
        count: 0,
        ends: [0; MAX_SEARCH_ENTRIES],
        text: [0; MAX_SEARCH_TEXT],
    };

    /// The entries.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().take(self.count).map(move |end| {
            let end = usize::from(*end);
            let entry = self.text.get(start..end).unwrap_or(&[]);
            start = end;
            entry
        })
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Forgets all entries.
    pub(super) const fn clear(&mut self) {
        self.count = 0;
    }

    /// Appends one.
    #[inline(never)]
    pub(super) fn push(&mut self, entry: &[u8]) -> Result<(), Unclear> {
        let start = match self.count.checked_sub(1) {
            None => 0,
            Some(last) => self.ends.get(last).map_or(0, |end| usize::from(*end)),
        };
        let end = start.saturating_add(entry.len());
        let (Some(place), Some(room)) =
            (self.ends.get_mut(self.count), self.text.get_mut(start..end))
        else {
            return Err(Unclear::SearchTooLong);
        };
        for (to, from) in room.iter_mut().zip(entry) {
            *to = *from;
        }
        *place = u16::try_from(end).map_err(|_| Unclear::SearchTooLong)?;
        self.count = self.count.saturating_add(1);
        Ok(())
    }
}

impl PartialEq for SearchList {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SearchList {}

impl core::fmt::Debug for SearchList {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_list()
            .entries(self.iter().map(<[u8]>::escape_ascii))
            .finish()
    }
}

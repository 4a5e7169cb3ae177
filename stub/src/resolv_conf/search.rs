//! The search list, in a buffer of fixed size.

use super::Unclear;
use crate::question::check_labels;
use crate::sys::Libc;

/// As many entries as the kubelet writes; glibc since 2.26 knows no limit.
pub const MAX_SEARCH_ENTRIES: usize = 32;
/// As many bytes in all as the kubelet writes.
pub const MAX_SEARCH_TEXT: usize = 2048;

/// With a NUL behind each entry.
const ROOM: usize = MAX_SEARCH_TEXT + MAX_SEARCH_ENTRIES;

/// The entries, in order, as they are written: they may be empty, ".", or end in a dot.
#[derive(Clone)]
pub struct SearchList {
    count: usize,
    /// Where in `text` each entry ends; the next one starts behind a NUL.
    ends: [u16; MAX_SEARCH_ENTRIES],
    text: [u8; ROOM],
    /// The same in lower case, so that a lookup only copies.
    folded: [u8; ROOM],
    /// A bit per entry, from the lowest: its labels are well-formed.
    wellformed: u32,
    /// A bit per entry: it begins or ends with a dot.
    dotted: u32,
}

/// What an entry adds to a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suffix<'s> {
    /// Nothing: the name as it is.
    Root,
    /// A domain, without dots around it.
    Domain {
        /// As the file has it.
        written: &'s [u8],
        /// In lower case.
        folded: &'s [u8],
    },
    /// No name comes of it.
    Malformed,
}

impl SearchList {
    /// No entry.
    pub const EMPTY: Self = Self {
        count: 0,
        ends: [0; MAX_SEARCH_ENTRIES],
        text: [0; ROOM],
        folded: [0; ROOM],
        wellformed: 0,
        dotted: 0,
    };

    /// The entries.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.ranges()
            .map(|(start, end)| self.text.get(start..end).unwrap_or(&[]))
    }

    /// What each entry stands for. glibc takes one dot off an entry's front, and its names may end
    /// in one; of "." musl's versions make different things, and of "x." a canonical name that
    /// keeps the dot.
    pub(crate) fn suffixes(&self, libc: Libc) -> impl Iterator<Item = Suffix<'_>> {
        let (mut wellformed, mut dotted) = (self.wellformed, self.dotted);
        self.ranges().map(move |(start, end)| {
            let (is_wellformed, is_dotted) = (wellformed & 1 != 0, dotted & 1 != 0);
            wellformed >>= 1;
            dotted >>= 1;
            let written = self.text.get(start..end).unwrap_or(&[]);
            let folded = self.folded.get(start..end).unwrap_or(&[]);
            let (written, folded) = match libc {
                _ if !is_dotted => (written, folded),
                Libc::Musl => return Suffix::Malformed,
                Libc::Glibc => (without_dots(written), without_dots(folded)),
            };
            match (written, libc) {
                ([], Libc::Glibc) => Suffix::Root,
                _ if is_wellformed => Suffix::Domain { written, folded },
                _ => Suffix::Malformed,
            }
        })
    }

    /// The first entry as it is written, and in lower case.
    pub(crate) fn first(&self) -> Option<(&[u8], &[u8])> {
        let end = usize::from(*self.ends.first().filter(|_| self.count > 0)?);
        Some((self.text.get(..end)?, self.folded.get(..end)?))
    }

    /// The first `length` bytes of the entries behind each other, a NUL after each: how glibc shows
    /// them to programs.
    pub(crate) fn laid_out(&self, length: usize) -> Option<&[u8]> {
        self.text.get(..length)
    }

    /// Where the entries are in the text.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (usize, usize)> {
        let mut start = 0;
        self.ends.iter().take(self.count).map(move |end| {
            let end = usize::from(*end);
            (core::mem::replace(&mut start, end.wrapping_add(1)), end)
        })
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Forgets all entries.
    pub(super) const fn clear(&mut self) {
        self.count = 0;
        self.wellformed = 0;
        self.dotted = 0;
    }

    /// Appends one.
    #[inline(never)]
    pub(super) fn push(&mut self, entry: &[u8]) -> Result<(), Unclear> {
        let start = match self.count.checked_sub(1) {
            None => 0,
            Some(last) => self
                .ends
                .get(last)
                .map_or(0, |end| usize::from(*end).saturating_add(1)),
        };
        let end = start.saturating_add(entry.len());
        if end.saturating_sub(self.count) > MAX_SEARCH_TEXT {
            return Err(Unclear::SearchTooLong);
        }
        let (Some(place), Some(text), Some(folded)) = (
            self.ends.get_mut(self.count),
            self.text.get_mut(start..=end),
            self.folded.get_mut(start..=end),
        ) else {
            return Err(Unclear::SearchTooLong);
        };
        // The NUL, too: a list that was given up may have left its own text here.
        let bytes = entry.iter().chain(&[0]);
        for ((text, folded), byte) in text.iter_mut().zip(folded).zip(bytes) {
            *text = *byte;
            *folded = byte.to_ascii_lowercase();
        }
        let bit = u32::try_from(self.count).map_or(0, |bit| 1_u32.wrapping_shl(bit));
        if check_labels(without_dots(entry)).is_some() {
            self.wellformed |= bit;
        }
        if entry.starts_with(b".") || entry.ends_with(b".") {
            self.dotted |= bit;
        }
        *place = u16::try_from(end).map_err(|_| Unclear::SearchTooLong)?;
        self.count = self.count.saturating_add(1);
        Ok(())
    }
}

/// One dot off the front, then one off the end; of ".." a dot is left, which is no name.
fn without_dots(entry: &[u8]) -> &[u8] {
    let entry = entry.strip_prefix(b".").unwrap_or(entry);
    match entry.strip_suffix(b".") {
        Some([]) | None => entry,
        Some(entry) => entry,
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

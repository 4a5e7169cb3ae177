//! Domain names in text form, in a fixed buffer whose unused rest is never written: clearing 253
//! bytes was a tenth of a lookup.

use core::mem::MaybeUninit;

/// The longest name in text form, without the trailing dot (RFC 1035 section 2.3.4: 255 octets on
/// the wire).
pub const MAX_TEXT: usize = 253;

/// A name in text form (labels joined by dots, no trailing dot, case kept) of at most 253 bytes.
#[derive(Clone, Copy)]
pub struct Name {
    /// At most [`MAX_TEXT`]; so many bytes of `text` are initialized.
    length: u8,
    text: [MaybeUninit<u8>; MAX_TEXT],
}

impl Name {
    /// The empty name: the root, or "none".
    pub const EMPTY: Self = Self {
        length: 0,
        text: [MaybeUninit::uninit(); MAX_TEXT],
    };

    /// The empty name. Unlike a copy of [`Name::EMPTY`] it costs one store: the compiler clears the
    /// unused bytes of a constant.
    #[inline]
    pub const fn new() -> Self {
        Self {
            length: 0,
            // SAFETY: an array of bytes each of which may be uninitialized.
            text: unsafe { MaybeUninit::<[MaybeUninit<u8>; MAX_TEXT]>::uninit().assume_init() },
        }
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        let text = self.text.get(..usize::from(self.length)).unwrap_or(&[]);
        // SAFETY: the first `length` bytes are initialized: `push` writes before it counts.
        unsafe { text.assume_init_ref() }
    }

    /// Whether there is no label.
    pub const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Forgets the text.
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// Appends bytes; false, and unchanged, when the name would become too long.
    #[must_use]
    #[inline(never)]
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        let start = usize::from(self.length);
        let Some(end) = start.checked_add(bytes.len()) else {
            return false;
        };
        let Some(target) = self.text.get_mut(start..end) else {
            return false;
        };
        target.write_copy_of_slice(bytes);
        match u8::try_from(end) {
            Ok(length) => {
                self.length = length;
                true
            }
            Err(_) => false,
        }
    }

    /// Appends a dot and `suffix`, or nothing when that is empty; false, and unchanged, when the name
    /// would become too long.
    #[must_use]
    #[inline(never)]
    pub fn push_suffix(&mut self, suffix: &[u8]) -> bool {
        let start = usize::from(self.length);
        let end = start.saturating_add(1).saturating_add(suffix.len());
        let Some([dot, target @ ..]) = self.text.get_mut(start..end) else {
            return suffix.is_empty();
        };
        let Ok(length) = u8::try_from(end) else {
            return false;
        };
        if suffix.is_empty() {
            return true;
        }
        dot.write(b'.');
        target.write_copy_of_slice(suffix);
        self.length = length;
        true
    }

    /// Keeps the first `length` bytes, at most as many as there are.
    pub fn truncate(&mut self, length: usize) {
        self.length = u8::try_from(length).map_or(self.length, |length| self.length.min(length));
    }

    /// Folds ASCII capitals, as DNS compares names (RFC 4343).
    pub fn make_lowercase(&mut self) {
        let text = self.text.get_mut(..usize::from(self.length));
        // SAFETY: the first `length` bytes are initialized: `push` writes before it counts.
        unsafe { text.unwrap_or(&mut []).assume_init_mut() }.make_ascii_lowercase();
    }
}

impl Default for Name {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Name {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for byte in self.as_bytes() {
            write!(formatter, "{}", core::ascii::escape_default(*byte))?;
        }
        Ok(())
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Name {}

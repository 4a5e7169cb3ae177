//! Domain names in text form, in a fixed buffer.

/// The longest name in text form, without the trailing dot (RFC 1035 section 2.3.4: 255 octets on
/// the wire).
pub const MAX_TEXT: usize = 253;

/// A name in text form (labels joined by dots, no trailing dot, case kept) of at most 253 bytes.
#[derive(Clone, Copy)]
pub struct Name {
    length: u8,
    text: [u8; MAX_TEXT],
}

impl Name {
    /// The empty name: the root, or "none".
    pub const EMPTY: Self = Self {
        length: 0,
        text: [0; MAX_TEXT],
    };

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        self.text.get(..usize::from(self.length)).unwrap_or(&[])
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
        // The range has the length of `bytes`: no panic is left, as the guests' link proves.
        target.copy_from_slice(bytes);
        match u8::try_from(end) {
            Ok(length) => {
                self.length = length;
                true
            }
            Err(_) => false,
        }
    }

    /// Folds ASCII capitals, as DNS compares names (RFC 4343).
    pub fn make_lowercase(&mut self) {
        self.text.make_ascii_lowercase();
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

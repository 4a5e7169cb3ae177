//! A candidate name: the question in lower case, and one suffix after the other behind it.

use nss_k8s_zone::MAX_TEXT;

/// Fixed room for the longest name, and a byte more so that the size is a round one.
const ROOM: usize = 256;

/// The absolute name that is asked for, in lower case, without trailing dot.
pub(super) struct Candidate {
    /// How much of the text is the question itself.
    stem: usize,
    length: usize,
    text: [u8; ROOM],
}

impl Candidate {
    /// Folds the question's name, which [`Question`](crate::question::Question) has checked to fit.
    pub(super) fn new(name: &[u8]) -> Self {
        let mut text = [0; ROOM];
        copy_folded(&mut text, name);
        let stem = name.len().min(ROOM);
        Self {
            stem,
            length: stem,
            text,
        }
    }

    /// Puts `suffix`, in lower case already, behind the stem, with a dot unless it is empty; false
    /// when that is too long.
    #[must_use]
    pub(super) fn set_suffix(&mut self, suffix: &[u8]) -> bool {
        self.length = self.stem;
        if suffix.is_empty() {
            return self.stem <= MAX_TEXT;
        }
        let room = self
            .text
            .get_mut(self.stem..MAX_TEXT)
            .and_then(<[u8]>::split_first_mut);
        let Some((dot, room)) = room else {
            return false;
        };
        let Some(room) = room.get_mut(..suffix.len()) else {
            return false;
        };
        *dot = b'.';
        room.copy_from_slice(suffix);
        self.length = self.stem.wrapping_add(1).wrapping_add(suffix.len());
        true
    }

    /// The text.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or(&[])
    }
}

/// Copies as much as there is room for, letters in lower case (RFC 4343).
fn copy_folded(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = from.to_ascii_lowercase();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_replace_each_other() {
        let mut candidate = Candidate::new(b"Api");
        assert_eq!(candidate.as_bytes(), b"api");
        assert!(candidate.set_suffix(b"prod.svc.cluster.local"));
        assert_eq!(candidate.as_bytes(), b"api.prod.svc.cluster.local");
        assert!(candidate.set_suffix(b"x"));
        assert_eq!(candidate.as_bytes(), b"api.x");
        assert!(candidate.set_suffix(b""));
        assert_eq!(candidate.as_bytes(), b"api");
    }

    #[test]
    fn a_name_has_at_most_253_bytes() {
        let mut candidate = Candidate::new(&[b'a'; 200]);
        assert!(candidate.set_suffix(&[b'b'; 52]));
        assert_eq!(candidate.as_bytes().len(), 253);
        assert!(!candidate.set_suffix(&[b'b'; 53]));
        let mut candidate = Candidate::new(&[b'a'; 253]);
        assert!(candidate.set_suffix(b""));
        assert!(!candidate.set_suffix(b"b"));
    }
}

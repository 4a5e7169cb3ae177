//! A candidate name: the question in lower case, and one suffix after the other behind it.

use nss_k8s_zone::Name;

/// The absolute name that is asked for, in lower case, without trailing dot.
pub(super) struct Candidate<'t> {
    /// How much of the text is the question itself.
    stem: usize,
    /// The caller's, so that a candidate is never copied.
    pub(super) text: &'t mut Name,
}

impl<'t> Candidate<'t> {
    /// Folds the question's name (RFC 4343) into `text`; one that is too long, which
    /// [`Question`](crate::question::Question) refuses, becomes empty.
    pub(super) fn new(name: &[u8], text: &'t mut Name) -> Self {
        text.clear();
        let stem = if text.push(name) { name.len() } else { 0 };
        text.make_lowercase();
        Self { stem, text }
    }

    /// Puts `suffix`, in lower case already, behind the stem, with a dot unless it is empty; false
    /// when that is too long.
    #[must_use]
    pub(super) fn set_suffix(&mut self, suffix: &[u8]) -> bool {
        self.text.truncate(self.stem);
        self.text.push_suffix(suffix)
    }

    /// The last label of the question.
    pub(super) fn last_label_of_stem(&self) -> &[u8] {
        let stem = self.as_bytes().get(..self.stem).unwrap_or(&[]);
        stem.rsplit(|byte| *byte == b'.').next().unwrap_or(&[])
    }

    /// The text.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_replace_each_other() {
        let mut text = Name::EMPTY;
        let mut candidate = Candidate::new(b"Api", &mut text);
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
        let mut text = Name::EMPTY;
        let mut candidate = Candidate::new(&[b'a'; 200], &mut text);
        assert!(candidate.set_suffix(&[b'b'; 52]));
        assert_eq!(candidate.as_bytes().len(), 253);
        assert!(!candidate.set_suffix(&[b'b'; 53]));
        let mut candidate = Candidate::new(&[b'a'; 253], &mut text);
        assert!(candidate.set_suffix(b""));
        assert!(!candidate.set_suffix(b"b"));
    }
}

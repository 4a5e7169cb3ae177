//! The aliases of a name, as glibc gathers them from the lines (nss/nss_files/files-hosts.c,
//! `gethostbyname3_multi`).

use super::Matches;
use super::line::Words;

/// See [`Hosts::aliases`](super::Hosts::aliases): of every line all names but the first; after those of a later line also
/// its first, where it is written differently from the canonical name.
#[derive(Clone, Copy, Debug)]
pub struct Aliases<'s, 'n> {
    lines: Matches<'s, 'n>,
    words: Option<Words<'s>>,
    first: Option<&'s [u8]>,
    differing: Option<&'s [u8]>,
}

impl<'s, 'n> Aliases<'s, 'n> {
    pub(super) const fn new(lines: Matches<'s, 'n>) -> Self {
        Self {
            lines,
            words: None,
            first: None,
            differing: None,
        }
    }
}

impl<'s> Iterator for Aliases<'s, '_> {
    type Item = &'s [u8];

    fn next(&mut self) -> Option<&'s [u8]> {
        loop {
            if let Some(word) = self.words.as_mut().and_then(Iterator::next) {
                return Some(word);
            }
            if let Some(name) = self.differing.take() {
                return Some(name);
            }
            let (line, _) = self.lines.next()?;
            let mut words = line.names();
            let head = words.next();
            self.words = Some(words);
            match self.first {
                None => self.first = head,
                Some(first) => self.differing = head.filter(|head| *head != first),
            }
        }
    }
}

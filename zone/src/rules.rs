//! The rules of the CONFIG record as a reader applies them: names that are asked for under another
//! name, or not at all. In order; docs/ZONE-FORMAT.md has the bytes.
//!
//! Matching is CoreDNS's (plugin/rewrite/name.go) on names without their last dot: *prefix* takes
//! whole labels, because there every text ends in a dot, *suffix* takes bytes.

use crate::{
    Name,
    layout::{WORD, bits, rule},
    place::ends_with_labels,
    sync::Ordering,
    words::Words,
};

/// What the rules make of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// No rule says anything of it.
    Unruled,
    /// It is looked for under the name that took its place. Not checked to be a name at all.
    Rewritten,
    /// It does not exist.
    Blocked,
    /// A relative name that ends in a top-level domain does not reach the namespace of that name.
    Guarded,
    /// It would become too long for a name.
    TooLong,
}

/// One rule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredRule {
    /// See [`rule`].
    pub(crate) kind: u8,
    /// After it the next rules are tried on the new name.
    pub(crate) continues: bool,
    /// Bytes of the text that is looked for.
    pub(crate) from_length: usize,
    /// Its first word.
    pub(crate) from: usize,
    /// Bytes of the text that takes its place.
    pub(crate) to_length: usize,
    /// Its first word.
    pub(crate) to: usize,
}

/// The rules from a record's word on, each `None` from the first malformed or unknown one on.
pub(crate) struct StoredRules<'z> {
    words: Words<'z>,
    /// The word that counts them.
    start: usize,
    at: usize,
    left: usize,
    /// Past it is no word of theirs, however many there are.
    end: usize,
}

impl<'z> StoredRules<'z> {
    /// Starts at the word that counts them; `None` past the end.
    pub(crate) fn load(words: Words<'z>, at: usize) -> Option<Self> {
        const MOST: usize = rule::MAX_TEXT / WORD + rule::MAX_COUNT * 3;
        let left = usize::from(words.load(at)? as u16);
        let start = at;
        let at = at.wrapping_add(1);
        let end = at.wrapping_add(MOST);
        Some(Self {
            words,
            start,
            at,
            left,
            end,
        })
    }

    /// The words of those that were walked over.
    pub(crate) fn walked(&self) -> usize {
        // Past the end is only the rule that ended the walk.
        self.at.min(self.end).wrapping_sub(self.start)
    }

    fn step(&mut self) -> Option<StoredRule> {
        let first = self.words.load(self.at)?;
        let from_length = bits(first, 16, 16) as usize;
        let to_length = bits(first, 32, 16) as usize;
        let from = self.at.wrapping_add(1);
        let to = from.wrapping_add(from_length.div_ceil(WORD));
        self.at = to.wrapping_add(to_length.div_ceil(WORD));
        let kind = first as u8;
        let flags = bits(first, 8, 8);
        let known = (rule::EXACT..=rule::GUARD).contains(&kind) && flags & !rule::CONTINUES == 0;
        (known && self.at <= self.end).then_some(StoredRule {
            kind,
            continues: flags & rule::CONTINUES != 0,
            from_length,
            from,
            to_length,
            to,
        })
    }
}

impl Iterator for StoredRules<'_> {
    type Item = Option<StoredRule>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let found = self.step();
        if found.is_none() {
            self.left = 0;
        }
        Some(found)
    }
}

/// Applies `rules` to `name` (lower case, absolute), which becomes what is asked for in its place.
/// Rewriting is left out where `rewrites` is false; `guarded` is the namespace that the name must
/// not reach if it is guarded. `None`: a malformed or unknown rule.
pub(crate) fn apply(
    rules: &mut StoredRules<'_>,
    rewrites: bool,
    guarded: Option<&[u8]>,
    name: &mut Name,
) -> Option<Ruling> {
    let words = rules.words;
    let mut ruling = Ruling::Unruled;
    let mut rewrites = rewrites;
    for found in rules {
        let found = found?;
        match found.kind {
            // A guard counts wherever it stands.
            rule::GUARD => match guarded {
                Some(label) if found.lists(words, label)? => return Some(Ruling::Guarded),
                _ => {}
            },
            _ if ruling == Ruling::Rewritten && !rewrites => {}
            rule::BLOCK => {
                let name = name.as_bytes();
                if ends_with_labels(words, name, found.from, found.from_length)?.is_some() {
                    return Some(Ruling::Blocked);
                }
            }
            _ => {
                if rewrites && found.matches(words, name.as_bytes())? {
                    if !found.rewrite(words, name)? {
                        return Some(Ruling::TooLong);
                    }
                    ruling = Ruling::Rewritten;
                    rewrites = found.continues;
                }
            }
        }
    }
    Some(ruling)
}

impl StoredRule {
    /// Whether the text it looks for is where it looks for it.
    fn matches(&self, words: Words<'_>, name: &[u8]) -> Option<bool> {
        let length = self.from_length;
        let part = match self.kind {
            rule::EXACT => Some(name).filter(|name| name.len() == length),
            rule::PREFIX => match name.get(length) {
                None | Some(b'.') => name.get(..length),
                _ => None,
            },
            _ => name
                .len()
                .checked_sub(length)
                .and_then(|start| name.get(start..)),
        };
        part.map_or(Some(false), |part| words.holds(self.from, part))
    }

    /// Puts the other text in its place; `Some(false)`: too long.
    fn rewrite(&self, words: Words<'_>, name: &mut Name) -> Option<bool> {
        // Malformed is a text that is too long by itself.
        if self.to_length > crate::MAX_TEXT {
            return None;
        }
        words.range(self.to, self.to_length.div_ceil(WORD))?;
        let old = *name;
        let rest = match self.kind {
            rule::PREFIX => old.as_bytes().get(self.from_length..)?,
            rule::SUFFIX => {
                name.truncate(old.as_bytes().len().checked_sub(self.from_length)?);
                return Some(words.append_to(self.to, self.to_length, name).is_some());
            }
            _ => &[],
        };
        name.clear();
        words.append_to(self.to, self.to_length, name)?;
        Some(name.push(rest))
    }

    /// Whether `label` is one of the labels that its text, labels joined by dots, lists.
    fn lists(&self, words: Words<'_>, label: &[u8]) -> Option<bool> {
        let stored = words.range(self.from, self.from_length.div_ceil(WORD))?;
        let bytes = stored
            .iter()
            .flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes())
            .take(self.from_length);
        // The bytes of this label so far that are those of `label`; `None` once one is not.
        let mut same = Some(0);
        for byte in bytes {
            if byte == b'.' {
                if same == Some(label.len()) {
                    return Some(true);
                }
                same = Some(0);
            } else {
                same = same
                    .filter(|same| label.get(*same) == Some(&byte))
                    .map(|same: usize| same.wrapping_add(1));
            }
        }
        Some(same == Some(label.len()) && !label.is_empty())
    }
}

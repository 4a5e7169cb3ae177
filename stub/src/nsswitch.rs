//! The `hosts` line of `/etc/nsswitch.conf`: is a zone answer what glibc would have come to?
//!
//! Only the shim asks; under NSS glibc has walked the line itself. The zone stands where `dns`
//! stands, or our own module with nothing between it and `dns`. The hosts file answers where `files`
//! comes first; where it comes later, a name that is in it is libc's, so `files` may stand anywhere.
//! A program that replaces the line by `__nss_configure_lookup` cannot be noticed. Grammar: glibc
//! nss/nss_action_parse.c, nss/nss_database.c.

use crate::c_text::{is_space, is_word, lines, split_word, trim_start};

/// Where the zone's answers may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Addresses and negative answers are final.
    Certain,
    /// Addresses and negative answers are final; after a failure glibc would ask further sources.
    NoIsFinal,
    /// Addresses are final; after "no" glibc would ask further sources (`files dns myhostname`).
    AnswersOnly,
    /// Some other source comes first, or the line is not understood: libc answers.
    Unplaced,
}

/// Statuses of one source, as bits: in [`read_source`]'s result those after which glibc returns.
type Statuses = u8;
const SUCCESS: Statuses = 1;
const NOT_FOUND: Statuses = 2;
const UNAVAILABLE: Statuses = 4;
const TRY_AGAIN: Statuses = 8;
const EVERY: Statuses = 15;

/// Without a line "files dns" is glibc's default since this minor version; before, it was "dns
/// [!UNAVAIL=return] files".
const FILES_FIRST: u32 = 33;

/// What the whole line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sources {
    /// The hosts file comes first, and an answer from it is final.
    pub files_first: bool,
    /// Where the zone stands.
    pub zone: Placement,
    /// Our own module stands somewhere on the line.
    pub module: bool,
}

impl Sources {
    /// The line is not understood.
    pub const UNPLACED: Self = Self {
        files_first: false,
        zone: Placement::Unplaced,
        module: false,
    };

    /// Reads a whole file; an empty `text` stands for a missing one. `minor` is glibc's version, where
    /// it is known.
    #[inline(never)]
    pub fn parse(text: &[u8], minor: Option<u32>) -> Self {
        if text.iter().any(|byte| *byte == 0) {
            return Self::UNPLACED;
        }
        let mut found = None;
        for line in lines(text) {
            let line = trim_start(line, is_space);
            let (database, rest) = split_word(line, |byte| is_space(byte) || byte == b':');
            if database != b"hosts" {
                continue;
            }
            // Of two lines newer versions take the last, older ones the first. A last line
            // without newline is dropped by newer ones, which leaves the default: no worse.
            let has_colon = trim_start(rest, is_space).starts_with(b":");
            if found.is_some() || !has_colon {
                return Self::UNPLACED;
            }
            let sources = trim_start(rest, |byte| is_space(byte) || byte == b':');
            found = Some(place(sources).unwrap_or(Self::UNPLACED));
        }
        found.unwrap_or(Self {
            files_first: minor.is_some_and(|minor| minor >= FILES_FIRST),
            zone: Placement::Certain,
            module: false,
        })
    }
}

/// Walks the sources; comments are no part of the grammar in newer versions, so "#" is a source
/// that nobody has. `None` when some part is not understood: glibc may then drop the whole line.
fn place(line: &[u8]) -> Option<Sources> {
    let mut rest = line;
    let mut is_first = true;
    let mut files_first = false;
    let mut module_answers = false;
    let mut zone = None;
    while let Some((source, returns, next)) = read_source(rest) {
        rest = next;
        let returns = returns?;
        let is_final = returns & SUCCESS != 0;
        files_first |= is_first && is_final && source == b"files";
        is_first = false;
        if zone.is_some() {
            continue;
        }
        zone = match source {
            _ if !is_final => Some(Placement::Unplaced),
            b"files" if returns == SUCCESS => None,
            // Whether the module is installed in this process does not show: then glibc goes on, to
            // what must be DNS or the end of the line.
            b"k8s" if returns & UNAVAILABLE == 0 => {
                module_answers = true;
                None
            }
            b"dns" => {
                let is_last = trim_start(rest, is_space).is_empty();
                Some(if is_last || returns & EVERY == EVERY {
                    Placement::Certain
                } else if returns & NOT_FOUND != 0 {
                    Placement::NoIsFinal
                } else {
                    Placement::AnswersOnly
                })
            }
            _ => Some(Placement::Unplaced),
        };
    }
    // No `dns`: the module alone answers, and what it says last is the end of it.
    let zone = zone.unwrap_or(if module_answers {
        Placement::Certain
    } else {
        Placement::Unplaced
    });
    Some(Sources {
        files_first,
        zone,
        module: module_answers,
    })
}

/// One source, after which of its statuses glibc returns (`None`: not understood, or `merge`), and
/// the rest of the line; `None` at the end.
fn read_source(line: &[u8]) -> Option<(&[u8], Option<Statuses>, &[u8])> {
    let line = trim_start(line, is_space);
    let (source, rest) = split_word(line, |byte| is_space(byte) || byte == b'[');
    if source.is_empty() {
        // A "[" without a source ends the line for glibc; nothing sensible is written so.
        return (!line.is_empty()).then_some((line, None, &[]));
    }
    let rest = trim_start(rest, is_space);
    match rest.strip_prefix(b"[") {
        None => Some((source, Some(SUCCESS), rest)),
        Some(rest) => match read_actions(rest) {
            Some((returns, rest)) => Some((source, Some(returns), rest)),
            None => Some((source, None, &[])),
        },
    }
}

/// `[!]STATUS=ACTION ...]`, behind the opening bracket.
#[inline(never)]
fn read_actions(text: &[u8]) -> Option<(Statuses, &[u8])> {
    let mut returns = SUCCESS;
    let mut rest = trim_start(text, is_space);
    loop {
        let after_not = rest.strip_prefix(b"!");
        let (word, next) = split_word(after_not.unwrap_or(rest), ends_word);
        let status = [
            (&b"SUCCESS"[..], SUCCESS),
            (b"NOTFOUND", NOT_FOUND),
            (b"UNAVAIL", UNAVAILABLE),
            (b"TRYAGAIN", TRY_AGAIN),
        ]
        .iter()
        .find_map(|(name, status)| is_word(word, name).then_some(*status))?;
        let meant = if after_not.is_some() {
            EVERY ^ status
        } else {
            status
        };
        let next = trim_start(next, is_space).strip_prefix(b"=")?;
        let (word, next) = split_word(trim_start(next, is_space), ends_word);
        if is_word(word, b"RETURN") {
            returns |= meant;
        } else if is_word(word, b"CONTINUE") {
            returns &= EVERY ^ meant;
        } else {
            return None;
        }
        rest = trim_start(next, is_space);
        if let Some(rest) = rest.strip_prefix(b"]") {
            return Some((returns, rest));
        }
    }
}

const fn ends_word(byte: u8) -> bool {
    is_space(byte) || matches!(byte, b'=' | b']')
}

#[cfg(test)]
mod tests;

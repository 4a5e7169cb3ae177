//! The `hosts` line of `/etc/nsswitch.conf`: is a zone answer what glibc would have come to?
//!
//! Only the shim asks; under NSS glibc has walked the line itself. The zone stands where `dns` (or
//! our own module) stands, and a name in the hosts file is libc's in any case, so `files` may stand
//! anywhere. Grammar: glibc nss/nss_action_parse.c, nss/nss_database.c.

use crate::c_text::{is_space, is_word, lines, split_word, trim_start};

/// Where the zone's answers may be given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Addresses and negative answers are final.
    Certain,
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

impl Placement {
    /// Reads a whole file; an empty `text` stands for a missing one ("files dns"; before glibc
    /// 2.33 "dns [!UNAVAIL=return] files": the same for us).
    #[inline(never)]
    pub fn parse(text: &[u8]) -> Self {
        if text.iter().any(|byte| *byte == 0) {
            return Self::Unplaced;
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
                return Self::Unplaced;
            }
            found = Some(place(trim_start(rest, |byte| {
                is_space(byte) || byte == b':'
            })));
        }
        found.unwrap_or(Self::Certain)
    }
}

/// Walks the sources up to `dns`; comments are no part of the grammar in newer versions, so "#" is
/// a source that nobody has.
fn place(line: &[u8]) -> Placement {
    let mut rest = line;
    let mut module_answers = false;
    while let Some((source, returns, next)) = read_source(rest) {
        rest = next;
        let Some(returns) = returns else {
            return Placement::Unplaced;
        };
        if returns & SUCCESS == 0 {
            return Placement::Unplaced;
        }
        match source {
            b"files" if returns == SUCCESS => {}
            b"k8s" if !module_answers && returns & UNAVAILABLE == 0 => module_answers = true,
            b"dns" => {
                let is_last = trim_start(rest, is_space).is_empty();
                return if is_last || returns & NOT_FOUND != 0 {
                    Placement::Certain
                } else {
                    Placement::AnswersOnly
                };
            }
            _ if module_answers => return Placement::AnswersOnly,
            _ => return Placement::Unplaced,
        }
    }
    // No `dns`: the module alone answers, and what it says last is the end of it.
    if module_answers {
        Placement::Certain
    } else {
        Placement::Unplaced
    }
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
mod tests {
    use super::{Placement, Placement::*};

    #[test]
    fn hosts_lines_are_placed() {
        let cases: &[(&str, Placement)] = &[
            ("", Certain),
            ("passwd: files\n", Certain),
            ("# hosts: nis\n", Certain),
            ("hosts: files dns\n", Certain),
            ("  hosts:\tfiles\t dns  \n", Certain),
            ("hosts : files dns", Certain),
            ("hosts:files dns\n", Certain),
            ("hosts: dns files\n", AnswersOnly),
            ("hosts: dns [NOTFOUND=return] files\n", Certain),
            ("hosts: dns [!UNAVAIL=return] files\n", Certain),
            ("hosts: dns\n", Certain),
            ("hosts: files\n", Unplaced),
            ("hosts:\n", Unplaced),
            ("hosts: files k8s dns\n", Certain),
            ("hosts: k8s files dns\n", Certain),
            ("hosts: files k8s [!UNAVAIL=return] dns\n", Certain),
            ("hosts: files k8s\n", Certain),
            ("hosts: files k8s nis dns\n", AnswersOnly),
            ("hosts: files k8s [UNAVAIL=return] dns\n", Unplaced),
            ("hosts: files dns myhostname\n", AnswersOnly),
            ("hosts: files dns # the usual\n", AnswersOnly),
            ("hosts: files # dns\n", Unplaced),
            ("hosts: files myhostname dns\n", Unplaced),
            (
                "hosts: files mdns4_minimal [NOTFOUND=return] dns\n",
                Unplaced,
            ),
            ("hosts: files resolve [!UNAVAIL=return] dns\n", Unplaced),
            ("hosts: files [NOTFOUND=return] dns\n", Unplaced),
            ("hosts: files [notfound=continue] dns\n", Certain),
            ("hosts: files [SUCCESS=merge] dns\n", Unplaced),
            ("hosts: files [SUCCESS=continue] dns\n", Unplaced),
            ("hosts: files [ !SUCCESS = continue ] dns\n", Certain),
            (
                "hosts: files [SUCCESS=return NOTFOUND=continue] dns\n",
                Certain,
            ),
            ("hosts: files [SUCCESS=return\n", Unplaced),
            ("hosts: files [FOO=return] dns\n", Unplaced),
            ("hosts: [NOTFOUND=return] files dns\n", Unplaced),
            ("hosts: files dns\nhosts: files\n", Unplaced),
            ("hosts files dns\n", Unplaced),
            ("hosts2: nis\nhosts: files dns\n", Certain),
            ("hosts: files dns\0\n", Unplaced),
        ];
        for (text, expected) in cases {
            assert_eq!(Placement::parse(text.as_bytes()), *expected, "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_end(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = Placement::parse(&text);
        }

        /// Blanks and letter case of actions carry no meaning.
        #[test]
        fn spacing_does_not_matter(blanks in "[ \t]{1,4}") {
            let text = format!("hosts:{blanks}files{blanks}[{blanks}!success{blanks}={blanks}Continue{blanks}]{blanks}dns{blanks}\n");
            proptest::prop_assert_eq!(Placement::parse(text.as_bytes()), Certain);
        }
    }
}

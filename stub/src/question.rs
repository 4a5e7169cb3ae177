//! What is asked, checked: a name that both libcs would look up in DNS as it stands.

use crate::literal::is_literal;
use crate::outcome::{Door, Query, Reason};
use nss_k8s_zone::{Families, MAX_TEXT};

/// The longest label (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// A well-formed name, what of it libc's search rules look at, and what is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// As typed, without the trailing dot.
    pub(crate) name: &'a [u8],
    /// There was a trailing dot: no search list.
    pub(crate) is_absolute: bool,
    /// Dots, the trailing one not counted (with one, `ndots` decides nothing).
    pub(crate) dots: usize,
    /// Which records are wanted.
    pub(crate) families: Families,
    /// Who asks.
    pub(crate) door: Door,
}

impl<'a> Question<'a> {
    /// Refuses what libc does not ask DNS ([`Reason::Numeric`]) and what it treats in ways of its
    /// own: bytes that are not of host names, empty or long labels (`Malformed`).
    #[inline(never)]
    pub fn new(query: &Query<'a>) -> Result<Self, Reason> {
        let (name, is_absolute) = match query.name.strip_suffix(b".") {
            Some(name) => (name, true),
            None => (query.name, false),
        };
        let labels = check_labels(name);
        // Without a colon or a percent sign, which no label has, a literal starts with a digit.
        if (labels.is_none() || name.first().is_some_and(u8::is_ascii_digit))
            && is_literal(query.name)
        {
            return Err(Reason::Numeric);
        }
        // glibc refuses a leading hyphen in what it gets back (`res_hnok`), so it finds nothing.
        let dots = match labels {
            Some(dots) if name.len() <= MAX_TEXT && !name.starts_with(b"-") => dots,
            _ => return Err(Reason::Malformed),
        };
        let Query { families, door, .. } = *query;
        Ok(Self {
            name,
            is_absolute,
            dots,
            families,
            door,
        })
    }
}

/// The number of dots between well-formed labels of letters, digits, hyphens and underscores;
/// `None` when one is not.
pub(crate) fn check_labels(name: &[u8]) -> Option<usize> {
    let mut dots: usize = 0;
    let mut label: usize = 0;
    for byte in name {
        match byte {
            b'.' if label == 0 => return None,
            b'.' => {
                label = 0;
                dots = dots.wrapping_add(1);
            }
            _ if is_of_label(*byte) && label < MAX_LABEL => label = label.wrapping_add(1),
            _ => return None,
        }
    }
    (label > 0).then_some(dots)
}

/// Letters, digits, hyphens and underscores, looked up in a bit map: a chain of ranges took ten
/// times as long, and every lookup asks it of every byte.
fn is_of_label(byte: u8) -> bool {
    #[allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "computed by the compiler"
    )]
    const MAP: [u64; 2] = {
        let mut map = [0; 2];
        let mut byte = 0_u8;
        while byte < 128 {
            if matches!(byte, b'-' | b'_' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z') {
                map[(byte >> 6) as usize] |= 1 << (byte & 63);
            }
            byte += 1;
        }
        map
    };
    // Beyond ASCII there is no word.
    MAP.get(usize::from(byte >> 6))
        .is_some_and(|word| word.wrapping_shr(u32::from(byte & 63)) & 1 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(name: &[u8]) -> Result<(Vec<u8>, bool, usize), Reason> {
        let query = Query {
            name,
            families: Families::BOTH,
            door: Door::Shim,
        };
        Question::new(&query)
            .map(|question| (question.name.to_vec(), question.is_absolute, question.dots))
    }

    #[test]
    fn names_are_taken_as_they_are() {
        for (name, text, is_absolute, dots) in [
            ("api", "api", false, 0),
            ("Api.", "Api", true, 0),
            ("api.prod", "api.prod", false, 1),
            (
                "_http._tcp.api.prod.svc.cluster.local.",
                "_http._tcp.api.prod.svc.cluster.local",
                true,
                6,
            ),
            ("3scale", "3scale", false, 0),
        ] {
            assert_eq!(
                ask(name.as_bytes()),
                Ok((text.into(), is_absolute, dots)),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        for name in [
            "",
            ".",
            "..",
            "a..",
            ".a",
            "a..b",
            "-a",
            "a b",
            "a\\.b",
            "*.svc",
            "caf\u{e9}",
            &"a".repeat(64),
            &format!("b.{}", "a".repeat(64)),
            &"a.".repeat(128),
        ] {
            assert_eq!(ask(name.as_bytes()), Err(Reason::Malformed), "{name:?}");
        }
        assert_eq!(ask(b"10.0.0.1"), Err(Reason::Numeric));
        assert_eq!(ask(b"fe80::1%eth0"), Err(Reason::Numeric));
    }

    #[test]
    fn the_longest_name_and_label_are_taken() {
        let name = [
            "a".repeat(63),
            "b".repeat(63),
            "c".repeat(63),
            "d".repeat(61),
        ]
        .join(".");
        assert_eq!(name.len(), MAX_TEXT);
        assert!(ask(name.as_bytes()).is_ok());
        assert!(ask(format!("{name}.").as_bytes()).is_ok());
        assert_eq!(ask(format!("{name}d").as_bytes()), Err(Reason::Malformed));
    }
}

//! Who answers: the cells of a corpus file.

use crate::{
    differential::{Asks, is_ours},
    libcs::Release,
    reply::{NOBODY, Reply},
    session::Door,
};
use anyhow::{Context, Result, ensure};
use std::{collections::BTreeMap, fmt::Write};

/// Who answers a call through one door, by release; empty: the door is not used.
pub type Givers = BTreeMap<Release, String>;

/// Who answered, as a column has it.
pub fn giver(reply: &Reply) -> String {
    let who = reply.who();
    if who == NOBODY {
        return "nobody".into();
    }
    who.replace(", ", ",")
}

/// Who must answer, of a cell that may hold two.
pub fn expected(cell: &str, asks: Asks) -> String {
    let (off, pod) = cell.split_once('>').unwrap_or((cell, cell));
    match asks {
        Asks::Nobody => off.into(),
        Asks::Pod => pod.into(),
        Asks::Node => pod.replace("upstream", "forwarder"),
    }
}

/// Whether nobody's asking would change that: what is passed for the call's own sake.
pub(super) fn is_libcs(who: &str) -> bool {
    let known = [
        "nobody",
        "malformed",
        "numeric",
        "service",
        "buffer",
        "flags",
        "hosts",
        "v4-mapped",
    ];
    who.split(',').all(|part| {
        let reason = part
            .strip_prefix("pass(")
            .and_then(|rest| rest.strip_suffix(')'));
        known.contains(&reason.unwrap_or(part)) || is_ours(part)
    })
}

/// What was seen while `asks`, with what is known of the other case.
pub(super) fn merge(seen: &[Givers; 3], known: Option<&[Givers; 3]>, asks: Asks) -> [Givers; 3] {
    let mut merged = seen.clone();
    for (slot, givers) in merged.iter_mut().enumerate() {
        for (release, cell) in givers {
            let old = known.and_then(|known| known[slot].get(release));
            let other = |asks| old.map(|old| expected(old, asks));
            let (off, pod) = match asks {
                Asks::Nobody => (cell.clone(), other(Asks::Pod)),
                _ => (other(Asks::Nobody).unwrap_or_default(), Some(cell.clone())),
            };
            // A case that went over to us is the same for both.
            let pod = pod.filter(|pod| *pod != off && !is_ours(&off));
            *cell = pod.map_or(off.clone(), |pod| format!("{off}>{pod}"));
        }
    }
    merged
}

pub(super) fn parse_givers(column: &str, door: Door) -> Result<Givers> {
    let mut givers = Givers::new();
    if column == "-" {
        return Ok(givers);
    }
    let mut words = column.split(' ');
    let usual = words.next().unwrap_or_default();
    for release in Release::ALL {
        if release.libc() == door.libc() {
            givers.insert(release, usual.into());
        }
    }
    for word in words {
        let (number, who) = word.split_once(':').context("no release")?;
        let release = Release::from_text(number).context("no such release")?;
        ensure!(release.libc() == door.libc(), "a release of the other libc");
        givers.insert(release, who.into());
    }
    Ok(givers)
}

/// The three columns of doors.
pub(super) fn print_givers(givers: &[Givers; 3]) -> String {
    let column = |givers: &Givers| {
        // Of each libc the machine's release is the first, and the one that the others differ from.
        let Some(usual) = givers.values().next().map(|_| usual(givers)) else {
            return "-".to_owned();
        };
        let mut text = usual.clone();
        for (release, who) in givers {
            if *who != usual {
                let _ = write!(text, " {}:{who}", release.as_str());
            }
        }
        text
    };
    givers.iter().map(column).collect::<Vec<_>>().join("\t")
}

/// What the machine's release says, else the first.
fn usual(givers: &Givers) -> String {
    let first = Release::ALL
        .iter()
        .find_map(|release| givers.get(release))
        .or_else(|| givers.values().next());
    first.cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_read_as_they_are_printed() -> Result<()> {
        let columns = "zone\tpass(a),zone 2.31:nobody\t-";
        let cells: Vec<&str> = columns.split('\t').collect();
        let givers = [
            parse_givers(cells[0], Door::Nss)?,
            parse_givers(cells[1], Door::ShimGlibc)?,
            parse_givers(cells[2], Door::ShimMusl)?,
        ];
        assert_eq!(print_givers(&givers), columns);
        Ok(())
    }
}

//! What a program may see otherwise through us than from libc alone: the complete list, each with
//! its row in docs/COMPATIBILITY.md, where the reason stands.

use crate::{libcs::Release, probe::Libc, reply::Reply, session::Door};

/// One known difference.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// Its name in docs/COMPATIBILITY.md.
    pub id: &'static str,
    /// Whether it may occur in a call.
    applies: fn(&Circumstances<'_>) -> bool,
    /// Takes it out of our reply, given libc's.
    amend: fn(&mut Reply, &Reply),
}

/// Where a reply came about.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The door it came through.
    pub door: Door,
    /// Under which release.
    pub release: Release,
    /// The command.
    pub call: &'a str,
}

/// All of them.
pub const ALL: &[Difference] = &[
    Difference {
        id: "alias-of-external-name",
        applies: |at| at.release.libc() == Libc::Glibc && at.call.starts_with("host"),
        amend: |ours, libc| {
            if libc.aliases.len() == 1 && ours.aliases.is_empty() {
                ours.aliases.clone_from(&libc.aliases);
            }
        },
    },
    Difference {
        id: "less-room",
        applies: |at| {
            ["hostr ", "host2r ", "addrr "]
                .iter()
                .any(|verb| at.call.starts_with(verb))
        },
        amend: |ours, libc| {
            // Where libc finds the caller's buffer too small we may do with it, not the other way.
            if libc.error.as_deref() == Some("ERANGE") && ours.error.as_deref() != Some("ERANGE") {
                let notes = core::mem::take(&mut ours.notes);
                *ours = libc.clone();
                ours.notes = notes;
            }
        },
    },
];

/// Takes every known difference out of `ours`; the names of those that were there.
pub fn amend(at: &Circumstances<'_>, ours: &mut Reply, libc: &Reply) -> Vec<&'static str> {
    let mut found = Vec::new();
    for difference in ALL.iter().filter(|difference| (difference.applies)(at)) {
        let before = ours.shape();
        (difference.amend)(ours, libc);
        if ours.shape() != before {
            found.push(difference.id);
        }
    }
    found
}

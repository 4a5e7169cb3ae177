//! What a program may see otherwise through us than from libc alone: the complete list, each with
//! its row in docs/COMPATIBILITY.md, where the reason stands.

use crate::{differential::Asks, libcs::Release, probe::Libc, reply::Reply, session::Door};

/// One known difference.
#[derive(Clone, Copy, Debug)]
pub struct Difference {
    /// Its name in docs/COMPATIBILITY.md.
    pub id: &'static str,
    /// What is set where it shows (`NAME VALUE` of [`crate::corpus`]), if anything is.
    pub setting: Option<(&'static str, &'static str)>,
    /// A call that shows it.
    pub example: &'static str,
    /// Who asks for names outside the zone where it shows.
    pub asks: Asks,
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
        setting: None,
        example: "host alias",
        asks: Asks::Nobody,
        applies: |at| at.release.libc() == Libc::Glibc && at.call.starts_with("host"),
        amend: |ours, libc| {
            if (ours.who() == "zone" || by_asking(ours))
                && !libc.aliases.is_empty()
                && ours.aliases.is_empty()
            {
                ours.aliases.clone_from(&libc.aliases);
            }
        },
    },
    Difference {
        id: "answer-too-long-for-udp",
        setting: None,
        example: "gai many.example.com. - INET 1 0 0",
        asks: Asks::Pod,
        applies: |at| at.release == Release::Musl123,
        amend: |ours, libc| {
            // Of an answer that is cut this release takes what is left.
            let has = |reply: &Reply| reply.entries.len() + reply.addresses.len();
            if by_asking(ours) && has(ours) > 30 && has(ours) > has(libc) {
                take_over(ours, libc);
            }
        },
    },
    Difference {
        id: "module-before-files",
        setting: Some(("nsswitch", "hosts: k8s [!UNAVAIL=return] files dns\n")),
        example: "gai localhost - INET 1 0 0",
        asks: Asks::Pod,
        applies: |at| at.door == Door::Nss && at.name() == "localhost",
        amend: |ours, libc| {
            if ours.who() == "upstream(nxdomain)" {
                take_over(ours, libc);
            }
        },
    },
    Difference {
        id: "less-room",
        setting: None,
        example: "hostr api 64",
        asks: Asks::Nobody,
        applies: |at| {
            ["hostr ", "host2r ", "addrr "]
                .iter()
                .any(|verb| at.call.starts_with(verb))
        },
        amend: |ours, libc| {
            // Where libc finds the caller's buffer too small we may do with it, not the other way.
            if libc.error.as_deref() == Some("ERANGE") && ours.error.as_deref() != Some("ERANGE") {
                take_over(ours, libc);
            }
        },
    },
    Difference {
        id: "more-room",
        setting: Some(("hosts", "127.0.0.1 localhost\n")),
        example: "addrr fd00:96::11 64",
        asks: Asks::Nobody,
        applies: |at| {
            let size = at.call.strip_prefix("addrr ").and_then(|rest| {
                let (_, size) = rest.split_once(' ')?;
                size.parse::<usize>().ok()
            });
            at.door == Door::Nss && size.is_some_and(|size| size <= 64)
        },
        amend: |ours, libc| {
            if ours.error.as_deref() == Some("ERANGE") && libc.error.is_none() {
                take_over(ours, libc);
            }
        },
    },
    Difference {
        id: "empty-non-terminal",
        setting: None,
        example: "gai dns.cluster.local. - INET 1 0 0",
        asks: Asks::Nobody,
        applies: |at| {
            let name = at.name();
            ["dns", "dns-version", "_tcp", "_udp"].contains(&name.split('.').next().unwrap_or(name))
        },
        amend: |ours, libc| {
            let denied = ["nodata", "upstream(nodata)"].contains(&&*ours.who());
            if denied && libc.error.is_some() {
                ours.error.clone_from(&libc.error);
            }
        },
    },
    Difference {
        id: "labels-left-of-a-pod",
        setting: None,
        example: "gai x.10-1-2-3.shop.pod.cluster.local. - INET 1 0 0",
        asks: Asks::Nobody,
        applies: |at| at.name() == "x.10-1-2-3.shop.pod.cluster.local",
        amend: |ours, libc| {
            if ours.who() == "nxdomain" {
                take_over(ours, libc);
            }
        },
    },
];

impl Circumstances<'_> {
    /// What is asked for, without a last dot.
    fn name(&self) -> &str {
        let asked = self.call.split(' ').nth(1).unwrap_or_default();
        asked.trim_end_matches('.')
    }
}

/// Whether all of it came by our asking, or from what the agent holds.
fn by_asking(reply: &Reply) -> bool {
    let who = reply.who();
    who.split(", ")
        .all(|part| ["upstream", "forwarder", "held"].contains(&part))
}

/// Everything but our own notes becomes libc's.
fn take_over(ours: &mut Reply, libc: &Reply) {
    let notes = core::mem::take(&mut ours.notes);
    *ours = libc.clone();
    ours.notes = notes;
}

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

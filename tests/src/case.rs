//! Cases as data: a call, the answer that every libc behind every door must give, and who gives it.

use crate::{
    dns::Server,
    probe::Libc,
    reply::NOBODY,
    session::{Door, Session},
};
use anyhow::{Result, bail};
use std::fmt;

/// What one libc must see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// As [`Reply::summary`](crate::reply::Reply::summary) puts it.
    pub answer: &'static str,
    /// `zone`, `nodata`, `nxdomain`, `hosts` or `pass(reason)`.
    pub who: &'static str,
}

impl Expected {
    /// Whether the answer must come out of the zone, without any server.
    pub fn is_ours(&self) -> bool {
        !self.who.starts_with("pass") && self.who != NOBODY
    }

    /// Whether a DNS server is then asked; nothing is known of what is no name, which some libcs
    /// ask for all the same.
    pub fn reaches_dns(&self) -> Option<bool> {
        match self.who {
            "pass(malformed)" => None,
            NOBODY | "hosts" | "pass(numeric)" | "pass(hosts)" => Some(false),
            _ => Some(!self.is_ours()),
        }
    }
}

/// One call and what must come of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// A command of `probes/lookup.c`.
    pub call: &'static str,
    /// In a glibc process.
    pub glibc: Expected,
    /// In a musl process.
    pub musl: Expected,
}

impl Case {
    /// The same in both libcs.
    pub const fn both(call: &'static str, answer: &'static str, who: &'static str) -> Self {
        let expected = Expected { answer, who };
        Self {
            call,
            glibc: expected,
            musl: expected,
        }
    }

    /// Each libc its own: (answer, who).
    pub const fn each(
        call: &'static str,
        glibc: (&'static str, &'static str),
        musl: (&'static str, &'static str),
    ) -> Self {
        Self {
            call,
            glibc: Expected {
                answer: glibc.0,
                who: glibc.1,
            },
            musl: Expected {
                answer: musl.0,
                who: musl.1,
            },
        }
    }

    /// What a process behind `door` must see.
    pub fn expected(&self, door: Door) -> Expected {
        let mut expected = match door.libc() {
            Libc::Glibc => self.glibc,
            Libc::Musl => self.musl,
        };
        // glibc takes a literal apart before any module is called.
        if door == Door::Nss && expected.who == "pass(numeric)" {
            expected.who = NOBODY;
        }
        expected
    }
}

/// A case that came out differently.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The case.
    pub case: Case,
    /// Through which door.
    pub door: Door,
    /// What came instead.
    pub got: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expected = self.case.expected(self.door);
        write!(
            formatter,
            "{:?}: {}\n  expected {} from {}\n  got      {}",
            self.door, self.case.call, expected.answer, expected.who, self.got
        )
    }
}

/// Runs the cases through one warm process. For a door of ours the giver must be the named one; a
/// reference must give the same answers by itself. With a server, a case that passes to DNS must
/// have asked it, and any other must not.
pub fn run(
    cases: &[Case],
    door: Door,
    session: &mut Session,
    server: Option<&Server>,
) -> Vec<Failure> {
    let mut failures = Vec::new();
    for case in cases {
        let expected = case.expected(door);
        let mut got = match session.ask(case.call) {
            Ok(reply) => {
                let mut differences = String::new();
                if reply.summary() != expected.answer || !reply.strange.is_empty() {
                    differences = reply.shape();
                }
                if Door::OURS.contains(&door) && reply.who() != expected.who {
                    differences = format!("{} from {}", reply.summary(), reply.who());
                }
                differences
            }
            Err(error) => format!("{error:#}"),
        };
        if let Some(server) = server {
            let asked = server.take_log();
            let reaches = expected
                .reaches_dns()
                .filter(|_| Door::OURS.contains(&door));
            if reaches.is_some_and(|reaches| reaches == asked.is_empty()) {
                got = format!("{got}; the DNS server was asked {asked:?}");
            }
        }
        if !got.is_empty() {
            failures.push(Failure {
                case: *case,
                door,
                got,
            });
        }
    }
    failures
}

/// An error that lists the failures, if there are any.
pub fn require_none(failures: &[Failure], of: usize) -> Result<()> {
    if failures.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = failures.iter().map(ToString::to_string).collect();
    bail!(
        "{} of {of} cases differ:\n{}",
        failures.len(),
        list.join("\n")
    )
}

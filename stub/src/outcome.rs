//! What goes in and what comes out: the words that the two libraries and the stub share.

use crate::files::HostsFile;
use nss_k8s_zone::{Ask, Families, Unavailable};

/// Through which door the question came; it decides what libc has already done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// glibc's NSS: nsswitch.conf was walked, `files` and what else stands before us has missed.
    Nss,
    /// An interposed libc call: nothing was read yet, so the stub looks at nsswitch.conf and the
    /// hosts file first.
    Shim,
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Query<'a> {
    /// The bytes that the program passed, without the terminating NUL.
    pub name: &'a [u8],
    /// Which records are wanted.
    pub families: Families,
    /// Who asks.
    pub door: Door,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// So many entries of the room are filled.
    Answer {
        /// Entries filled.
        count: usize,
    },
    /// So many entries of the room are filled from the hosts file, in its order.
    Hosts {
        /// Entries filled.
        count: u16,
        /// The file as it was, for the aliases.
        file: HostsFile,
    },
    /// The name exists, the wanted type does not. Also of the hosts file on musl, which looks no
    /// further when it has addresses of the other family alone.
    NoData,
    /// No candidate exists, and the zone is authoritative for every one of them.
    NxDomain,
    /// A CNAME that leaves the zone; its target is in `canonical`.
    Chase,
    /// The room is too small: ask again with at least so many entries.
    Room(usize),
    /// The host's libc answers as if we were not there.
    Pass(Reason),
}

impl Outcome {
    /// How many entries are filled, whoever filled them.
    pub fn answered(self) -> Option<usize> {
        match self {
            Self::Answer { count } => Some(count),
            Self::Hosts { count, .. } => Some(usize::from(count)),
            _ => None,
        }
    }
}

/// Why a question goes to the host's libc. For the debug line, `explain` and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// A literal address: libc parses it without asking anybody.
    Numeric,
    /// The hosts file has the name or address, but what libc makes of it is not certain; or the file
    /// could not be read for certain.
    Hosts,
    /// A nameserver in resolv.conf is not the cluster's: its names are not ours to answer.
    Foreign,
    /// A candidate that could win is outside the zone.
    External,
    /// A candidate that could win is in the zone, but only DNS can tell.
    Ask(Ask),
    /// The zone cannot be asked.
    Unavailable(Unavailable),
    /// Switched off: by the environment, for this share of the processes, or for this build.
    Disabled,
    /// nsswitch.conf does not say `files dns` in a form that can be placed.
    Nsswitch,
    /// resolv.conf cannot be read as this libc would, or its limits are exceeded.
    ResolvConf,
    /// No name that could be in the zone: empty, too long, or bytes that libc refuses.
    Malformed,
    /// Which libc this process has is not known.
    Libc,
    /// `HOSTALIASES` is set: libc renames before it looks up.
    HostAliases,
    /// The zone has no name for the address, and only libc knows how it says so.
    NoName,
    /// The caller's buffer is too small, and only libc knows for what it is large enough.
    Buffer,
    /// The program has changed the state of glibc's resolver (`_res`).
    Patched,
}

impl Reason {
    /// The word for the debug line, kebab-case.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Numeric => "numeric",
            Self::Hosts => "hosts",
            Self::Foreign => "foreign",
            Self::External => "external",
            Self::Ask(ask) => match ask {
                Ask::Miss => "ask-miss",
                Ask::MissBelow => "ask-miss-below",
                Ask::Excepted => "ask-excepted",
                Ask::NotHeld => "ask-not-held",
                Ask::Stale => "ask-stale",
                Ask::Incomplete => "ask-incomplete",
                Ask::Chain => "ask-chain",
                _ => "ask-unknown",
            },
            Self::Unavailable(unavailable) => match unavailable {
                Unavailable::Absent => "zone-absent",
                Unavailable::Untrusted => "zone-untrusted",
                Unavailable::Version => "zone-version",
                Unavailable::Corrupt => "zone-corrupt",
                Unavailable::Syncing => "zone-syncing",
                Unavailable::Disabled => "zone-disabled",
                Unavailable::Dead => "zone-dead",
                Unavailable::Busy => "zone-busy",
                _ => "zone-unavailable",
            },
            Self::Disabled => "disabled",
            Self::Nsswitch => "nsswitch",
            Self::ResolvConf => "resolv-conf",
            Self::Malformed => "malformed",
            Self::Libc => "libc",
            Self::HostAliases => "host-aliases",
            Self::NoName => "no-name",
            Self::Buffer => "buffer",
            Self::Patched => "patched",
        }
    }
}

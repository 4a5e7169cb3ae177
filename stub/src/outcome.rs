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
    /// The same for a view in shadow: libc has answered, and what the files and the zone say is only
    /// compared with that. Nobody is asked.
    Shadow,
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

/// So many addresses must have room before anybody is asked for them over the network: all that a
/// musl process takes, and more than most names have.
pub const ASKED_ROOM: usize = 48;

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
    /// A server that was asked failed (SERVFAIL), and no candidate came to more.
    Again,
    /// The like, for which somebody besides the zone was asked.
    Asked(By, Said),
    /// A CNAME that leaves the zone; its target is in `canonical`.
    Chase,
    /// The room is too small: ask again with at least so many entries. With [`ASKED_ROOM`] they may still
    /// be too few: nobody was asked yet.
    Room(usize),
    /// The host's libc answers as if we were not there.
    Pass(Reason),
}

/// Who was asked for a name outside the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// A nameserver of resolv.conf, from this process.
    Upstream,
    /// The agent.
    Forwarder,
    /// Nobody: the agent's answer lay in shared memory.
    Held,
}

/// What a lookup came to that needed more than the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// So many entries of the room are filled.
    Answer(usize),
    /// As [`Outcome::NoData`].
    NoData,
    /// As [`Outcome::NxDomain`].
    NxDomain,
    /// As [`Outcome::Again`].
    Again,
}

impl Outcome {
    /// The same, whoever said it.
    pub const fn plain(self) -> Self {
        match self {
            Self::Asked(_, Said::Answer(count)) => Self::Answer { count },
            Self::Asked(_, Said::NoData) => Self::NoData,
            Self::Asked(_, Said::NxDomain) => Self::NxDomain,
            Self::Asked(_, Said::Again) => Self::Again,
            outcome => outcome,
        }
    }

    /// How many entries are filled, whoever filled them.
    pub fn answered(self) -> Option<usize> {
        match self {
            Self::Answer { count } | Self::Asked(_, Said::Answer(count)) => Some(count),
            Self::Hosts { count, .. } => Some(usize::from(count)),
            _ => None,
        }
    }

    /// The same answer with another number of entries; what is no answer stays.
    #[must_use]
    pub fn recount(self, entries: usize) -> Self {
        match self {
            Self::Answer { .. } => Self::Answer { count: entries },
            Self::Asked(by, Said::Answer(_)) => Self::Asked(by, Said::Answer(entries)),
            Self::Hosts { file, .. } => Self::Hosts {
                count: u16::try_from(entries).unwrap_or(0),
                file,
            },
            outcome => outcome,
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
    /// The view is in shadow: libc answers, ours is compared with that.
    Shadow,
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
    /// Whoever was asked did not answer within our share of the time.
    NoReply,
    /// Whoever was asked answers no such question, and only libc knows how it says so.
    Refused,
    /// Who was asked answered with something that each libc takes in its own way.
    Unusable,
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
            Self::Shadow => "shadow",
            Self::Nsswitch => "nsswitch",
            Self::ResolvConf => "resolv-conf",
            Self::Malformed => "malformed",
            Self::Libc => "libc",
            Self::HostAliases => "host-aliases",
            Self::NoName => "no-name",
            Self::Buffer => "buffer",
            Self::Patched => "patched",
            Self::NoReply => "noreply",
            Self::Refused => "refused",
            Self::Unusable => "unusable",
        }
    }
}

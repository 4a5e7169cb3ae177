//! The reading side (interface only for now).
use crate::{Address, Families, Name, Os};
use core::ffi::CStr;

/// Coarse real time, unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(pub u64);

/// Why the zone cannot be asked at all: the caller passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unavailable {
    /// No zone file, or it may not be opened.
    Absent,
    /// The file is not one that may be trusted (owner, mode, type, file system).
    Untrusted,
    /// Another major version, an unknown incompatible feature.
    Version,
    /// Bytes that no writer of this format leaves.
    Corrupt,
    /// The agent has not listed everything yet.
    Syncing,
    /// The kill switch.
    Disabled,
    /// The agent has not been alive for too long.
    Dead,
    /// The epoch moved under every attempt.
    Busy,
}

/// Why a name inside the zone must be asked of DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ask {
    /// The service is absent in a namespace that exists and the miss policy says ask.
    Miss,
    /// Under a suffix that the configuration excepts.
    Excepted,
    /// The agent does not hold this kind of name.
    NotHeld,
    /// The agent has not been alive lately: a miss proves nothing.
    Stale,
    /// The index could not take every name.
    Incomplete,
    /// A record kind or flag of a later minor version.
    Unknown,
}

/// What the zone says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// So many entries of the room are filled; `canonical` is the CNAME target, or empty when the
    /// name asked for owns the data itself.
    Answer {
        /// Entries filled.
        count: usize,
    },
    /// The name exists without data of that type (`canonical` as with `Answer`).
    NoData,
    /// Authoritatively absent.
    NxDomain,
    /// A CNAME whose target (in `canonical`) is outside the zone.
    Chase,
    /// In the zone, but only DNS can tell.
    Ask(Ask),
    /// Not in the zone.
    Outside,
    /// The room is too small: so many entries are needed.
    Room(usize),
    /// The record could not be read: the caller passes.
    Unavailable(Unavailable),
}

/// One zone file, seen from one process: a few atomic words, usable from a `static`.
pub struct Reader {
    _private: (),
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// Nothing mapped yet.
    pub const fn new() -> Self {
        Self { _private: () }
    }

    /// Runs `ask` against a consistent version of the zone, up to four times when the writer
    /// moved on meanwhile; what `ask` returned (and wrote) counts only when this returns `Ok`.
    /// Maps the file first when need be, at most one attempt a second.
    pub fn read<T>(
        &self,
        os: &impl Os,
        path: &CStr,
        now: Now,
        ask: impl FnMut(&Snapshot<'_>) -> T,
    ) -> Result<T, Unavailable> {
        let _ = (os, path, now, ask);
        Err(Unavailable::Absent)
    }
}

/// The zone inside one attempt of [`Reader::read`]. Everything read from it may be torn until that
/// returns `Ok`: copy out, act later.
pub struct Snapshot<'z> {
    _zone: &'z Reader,
}

impl Snapshot<'_> {
    /// Whether `name` (lower case, no trailing dot) is the apex or below it.
    pub fn contains(&self, name: &[u8]) -> bool {
        let _ = name;
        false
    }
    /// Whether `nameserver` is one of the cluster's own, or any is accepted.
    pub fn trusts_nameserver(&self, nameserver: &Address) -> bool {
        let _ = nameserver;
        false
    }
    /// Whether the configuration refuses this library build.
    pub fn refuses_build(&self, build: u64) -> bool {
        let _ = build;
        false
    }
    /// 0 (everybody) to 1000 (nobody): the share of processes that must pass.
    pub fn disabled_permille(&self) -> u16 {
        0
    }
    /// The zone's TTL in seconds.
    pub fn ttl(&self) -> u32 {
        0
    }
    /// A and AAAA of `name` (lower case, absolute, no trailing dot), CNAMEs inside the zone
    /// followed. Fills `room` from its start: IPv6 and IPv4 in record order.
    pub fn addresses(
        &self,
        name: &[u8],
        families: Families,
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Found {
        let _ = (name, families, room, canonical);
        Found::Outside
    }
    /// PTR of `address`: absolute names, in `room`.
    pub fn names(&self, address: &Address, room: &mut [Name]) -> Found {
        let _ = (address, room);
        Found::Outside
    }
}

//! The stub resolver: one lookup of one process in, one [`Outcome`] out. It does here, from shared
//! memory, what the process's own libc would have done with packets: resolv.conf, the hosts file,
//! the search list. It knows nothing of NSS statuses or `addrinfo` lists, and it never guesses: a
//! lookup that it cannot place for certain is [`Outcome::Pass`].
//!
//! ```text
//!   nss-module, shim --Query--> resolve --> hosts file (shim only) --> resolv.conf, nsswitch
//!                                                                         |
//!                     Outcome <-- walk of the search list <-- zone (mapped, read-only)
//! ```
#![cfg_attr(panic = "abort", no_std)]
#![cfg_attr(not(panic = "abort"), allow(clippy::std_instead_of_core))]

mod outcome;
pub mod sys;

pub use nss_k8s_zone::{Address, Families, Family, Name};
pub use outcome::{Door, Outcome, Query, Reason};

/// The number of this library build; CONFIG in the zone can refuse builds by it.
pub const BUILD: u64 = 1;

/// Answers one forward lookup from the state that this process shares: zone, resolv.conf, hosts.
/// `canonical` counts after `Answer` and `NoData` (the owner of the data) and `Chase` (the target).
pub fn resolve(query: &Query<'_>, room: &mut [Address], canonical: &mut Name) -> Outcome {
    let _ = (query, room, canonical);
    Outcome::Pass(Reason::Disabled)
}

/// Answers one reverse lookup: `names` is filled from its start with absolute names.
pub fn reverse(address: &Address, door: Door, names: &mut [Name]) -> Outcome {
    let _ = (address, door, names);
    Outcome::Pass(Reason::Disabled)
}

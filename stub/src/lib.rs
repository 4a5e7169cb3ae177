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
#![allow(
    clippy::manual_contains,
    reason = "`contains` of bytes brings memchr, whose copies cost the guests half a kilobyte"
)]
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::std_instead_of_alloc
    )
)]

pub mod ask;
mod c_text;
#[cfg(not(feature = "guest"))]
pub mod explain;
mod files;
pub mod held;
mod host_conf;
pub mod hosts;
pub mod literal;
mod message;
pub mod nsswitch;
pub mod order;
mod outcome;
mod process;
#[cfg(not(feature = "guest"))]
#[doc(hidden)]
pub mod proofs;
mod question;
mod records;
pub mod resolv_conf;
pub mod shadow;
mod short_way;
pub mod sys;
pub mod walk;

pub use files::HostsFile;
pub use nss_k8s_zone::{Address, Families, Family, Name};
pub use outcome::{ASKED_ROOM, By, Door, Outcome, Query, Reason, Said};
pub use question::Question;
pub use records::RecordQuery;

/// The number of this library build; CONFIG in the zone can refuse builds by it.
pub const BUILD: u64 = 2;

/// Answers one forward lookup from what this process shares: zone, resolv.conf, hosts. Addresses of
/// the zone come in an order of their own every time, those of the hosts file in its order.
/// `canonical` counts after `Answer` (who owns the data:
/// the candidate as typed and as the search list writes it, or a CNAME's target; no trailing dot)
/// after `Hosts` (the file's first name) and after `Chase` (the target); what `room` holds counts
/// after `Answer` and `Hosts`.
pub fn resolve(query: &Query<'_>, room: &mut [Address], canonical: &mut Name) -> Outcome {
    if cfg!(always_pass) {
        return Outcome::Pass(Reason::Disabled);
    }
    process::resolve(query, room, canonical)
}

/// Whether libc could find the name in the hosts file of this process; yes when that is not known.
/// For lookups whose rules the stub is not told: of AF_INET6 with AI_V4MAPPED glibc takes the
/// file's IPv4 addresses before it asks any other source for IPv6 ones.
pub fn may_be_in_hosts_file(name: &[u8]) -> bool {
    process::may_be_in_hosts_file(name)
}

/// Answers one reverse lookup: after `Answer` and `Hosts`, `names` is filled from its start with
/// absolute names; of the hosts file the first is the host's name, the others are its aliases.
pub fn reverse(address: &Address, door: Door, names: &mut [Name]) -> Outcome {
    if cfg!(always_pass) {
        return Outcome::Pass(Reason::Disabled);
    }
    process::reverse(address, door, names)
}

/// Answers one question for records as a DNS message in `message`: after `Answer` the count is its
/// length; after a negative outcome it is there as well. After `Pass` what `message` holds means
/// nothing.
pub fn query(query: &RecordQuery<'_>, message: &mut [u8]) -> Outcome {
    if cfg!(always_pass) {
        return Outcome::Pass(Reason::Disabled);
    }
    process::query(query, message)
}

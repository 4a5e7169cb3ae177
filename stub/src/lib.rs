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

mod c_text;
mod files;
pub mod hosts;
pub mod literal;
pub mod nsswitch;
pub mod order;
mod outcome;
mod process;
mod question;
pub mod resolv_conf;
pub mod sys;
pub mod walk;

pub use nss_k8s_zone::{Address, Families, Family, Name};
pub use outcome::{Door, Outcome, Query, Reason};
pub use question::Question;

/// The number of this library build; CONFIG in the zone can refuse builds by it.
pub const BUILD: u64 = 1;

/// Answers one forward lookup from what this process shares: zone, resolv.conf, hosts. Addresses
/// come in an order of their own every time. `canonical` counts after `Answer` (who owns the data:
/// the candidate as typed and as the search list writes it, or a CNAME's target; no trailing dot)
/// and after `Chase` (the target); what `room` holds counts after `Answer`.
pub fn resolve(query: &Query<'_>, room: &mut [Address], canonical: &mut Name) -> Outcome {
    if cfg!(always_pass) {
        return Outcome::Pass(Reason::Disabled);
    }
    process::resolve(query, room, canonical)
}

/// Answers one reverse lookup: after `Answer`, `names` is filled from its start with absolute
/// names.
pub fn reverse(address: &Address, door: Door, names: &mut [Name]) -> Outcome {
    if cfg!(always_pass) {
        return Outcome::Pass(Reason::Disabled);
    }
    process::reverse(address, door, names)
}

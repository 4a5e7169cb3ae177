//! The cluster's DNS zone in shared memory: owner names, record layout, lookup, and (feature
//! `writer`) the publishing side. Knows nothing of libc, resolv.conf or Kubernetes objects.
//!
//! ```text
//!   agent: Writer --put/delete--> zone.v1 (tmpfs) <--mmap, read-only-- Reader :every process
//!                                 one 8-byte store commits             copies out, checks the epoch
//! ```
// The writer needs std; the in-process libraries are built without it, on their own.
#![cfg_attr(all(panic = "abort", not(feature = "writer")), no_std)]
#![cfg_attr(
    any(not(panic = "abort"), feature = "writer"),
    allow(clippy::std_instead_of_core)
)]
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
        clippy::panic
    )
)]

mod address;
mod dashed;
mod hash;
mod layout;
mod mapping;
#[cfg(all(loom, test))]
mod model;
mod name;
mod os;
mod place;
#[cfg(feature = "proofs")]
#[doc(hidden)]
#[allow(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "only tests run it"
)]
pub mod proofs;
mod reader;
mod record;
mod rules;
mod settings;
mod snapshot;
mod sync;
pub mod text;
mod words;
#[cfg(feature = "writer")]
mod writer;

pub use address::{Address, Families, Family};
pub use name::{MAX_TEXT, Name};
pub use os::{FileStatus, FilesystemStatus, Os};
pub use reader::{Ask, Found, Now, Reader, Unavailable};
pub use rules::Ruling;
pub use settings::External;
pub use snapshot::{MAX_ADDRESSES, MAX_CHAIN, Snapshot, Srv};
#[cfg(feature = "writer")]
pub use writer::{
    Config, Dump, Endpoint, Entry, Former, Held, HeldAnswer, HeldDump, HeldOpened, HeldOptions,
    HeldStatistics, HeldVerdict, HeldWriter, Item, LibcOs, Matching, MissPolicy, OpenError, Opened,
    Options, PodMode, Port, Protocol, Rule, Sample, ServiceBody, ServiceKey, Slice, SliceId, State,
    Statistics, WriteError, Writer,
};

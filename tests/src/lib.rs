//! The end-to-end rig: what a test needs to see a name answered inside a real process.
//!
//! Owns the *environment* of a case: pods as mount and network namespaces, C programs for glibc
//! and musl, zones published by the real writer or the real agent, a scripted DNS server. Holds no
//! expectation: those stand in `tests/tests`.
//!
//! ```text
//!   zonefile: Writer | agent --manifests ──► zone.v1 ──ro bind──┐
//!   dns: scripted server on 10.96.0.10 (or none at all) ──lo──┐ │
//!   routed: a pod, a router that counts and filters, a server behind it (in place of lo)
//!   pod: namespaces, /etc, /run ──────────────────────────────┴─┴─► session: one warm C process
//!                                                                     └► reply: answer + who gave it
//! ```
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program; the ban is for the in-process crates"
)]

pub mod artifacts;
pub mod audit;
pub mod batch;
pub mod case;
pub mod choices;
pub mod compiled;
pub mod control_plane;
pub mod corpus;
pub mod differences;
pub mod differential;
pub mod dns;
pub mod fake_api;
pub mod fleet;
pub mod host;
pub mod http;
pub mod libcs;
pub mod namespace;
pub mod node;
pub mod outside;
pub mod pod;
pub mod probe;
pub mod process;
pub mod recording;
pub mod reply;
pub mod routed;
pub mod scale;
pub mod served;
pub mod session;
pub mod shop;
pub mod watcher;
pub mod wire;
pub mod writer;
pub mod zonefile;

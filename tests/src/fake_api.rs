//! An API server for clusters that no real one could hold on a test's machine: what it says is made from numbers when it
//! is asked for ([`crate::scale`]). It lists in pages, streams lists, watches with bookmarks, forgets, and fails on request.
//!
//! What it says and in which order was compared with Kubernetes 1.37. It differs in what a client of lists and watches
//! cannot see: no TLS, no authorization, no compression, one version for all that happens, and reads only.
//!
//! ```text
//!   test ──► FakeApi ──► Store: who changed how often, what happened, since when it is remembered
//!              │            ▲ copies of a few megabytes; texts are made outside the lock
//!              │ Rule       │
//!   agent ◄── Wire ◄── axum: page | streamed list ──► watch
//!             counts bytes, cuts and stalls connections at a byte
//! ```
//!
//! The agent's own tests have a smaller one (`agent/tests/support/api.rs`), whose objects are written by hand, one by one.

mod answer;
mod faults;
mod selector;
mod server;
mod store;
mod stream;
mod wire;

pub use faults::{Fault, Rule};
pub use server::{Asked, FakeApi, Request};

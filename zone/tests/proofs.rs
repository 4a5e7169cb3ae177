//! The proofs of the zone: what a crash, a hostile file or an unlucky interleaving may not do.
//!
//! * `replay`: every store of the writer is recorded; after each of them readers see the old
//!   answer or the new one, nothing is overwritten that they may be reading, and another writer can go on
//!   from there.
//! * `soak`: readers check every answer while the writer is killed, stopped and restarted, while the file
//!   grows, its index moves and another inode takes its place. Built
//!   with `--cfg nss_k8s_weaken="epoch"` the same readers must catch torn answers.
//! * `hostile`: bytes that no writer leaves.
//!
//! The interleavings are in `src/model/` (loom); arbitrary bytes in `tests/fuzz` of the
//! repository.
#![cfg(not(loom))]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "ordinary std tests; the ban is for the in-process code"
)]

#[macro_use]
#[path = "support/through_libc.rs"]
mod through_libc;

#[path = "proofs/asking.rs"]
mod asking;
#[path = "proofs/calls.rs"]
mod calls;
#[path = "proofs/held.rs"]
mod held;
#[path = "proofs/hostile.rs"]
mod hostile;
#[path = "proofs/soak/process.rs"]
mod process;
#[path = "proofs/random.rs"]
mod random;
#[path = "proofs/replay.rs"]
mod replay;
#[path = "proofs/soak.rs"]
mod soak;
#[path = "proofs/soak/answers.rs"]
mod soak_answers;
#[path = "proofs/soak/record.rs"]
mod soak_record;
#[path = "proofs/soak/writer.rs"]
mod soak_writer;
#[path = "proofs/soak/system.rs"]
mod system;
#[path = "proofs/soak/torment.rs"]
mod torment;

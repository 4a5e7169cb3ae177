//! Views in shadow: libc answers, and what we would have said is compared with that and counted, at
//! every function that is compared, against servers that agree and servers that lie.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

mod agent;
mod answers;
mod counters;
mod world;

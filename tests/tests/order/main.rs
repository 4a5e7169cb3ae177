//! The order of addresses, differentially: the same destinations in the same network, once by libc
//! and a DNS server, once through the preload library. The server has the records forwards and
//! backwards: what comes in one order both times is told apart by a rule, and must come so from us,
//! who shuffle at each call. Of the listed cases that is every pair; more are made up at random
//! (`NSS_K8S_SEED=<number>` chooses the seed, which a failure names).
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

mod cases;
mod random;
mod world;

//! Unmodified programs, each behind the preload library and behind the NSS module, in a pod without
//! any DNS server: what they print came out of the zone, and it is what libc and a DNS server with
//! the same facts would have made them print.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

mod bypass;
mod clients;
mod files;
mod languages;
mod processes;
mod start;
mod world;

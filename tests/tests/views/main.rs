//! Views: what a namespace may not look up does not exist for its pods, whichever way they ask; and at
//! no moment does a pod see what neither the old nor the new policy shows.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

mod hidden;
mod limit;
mod messages;
mod switches;
mod transitions;
mod world;

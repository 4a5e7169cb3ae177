//! Random pauses: what all nodes do at once is spread.

use core::{hash::BuildHasher, time::Duration};
use std::hash::RandomState;

/// A random part of a pause. The standard library's hash keys are random; that is enough here.
pub fn part_of(longest: Duration) -> Duration {
    let random = RandomState::new().hash_one(std::process::id());
    let millis = u64::try_from(longest.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(random % millis.saturating_add(1))
}

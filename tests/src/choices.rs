//! What is made up at random: the same seed gives the same cases everywhere.

use anyhow::{Context, Result};
use std::env;

/// A seed, and the choices that follow from it (a xorshift generator).
#[derive(Clone, Debug)]
pub struct Choices {
    /// What a failure must name.
    pub seed: u64,
    state: u64,
}

impl Choices {
    /// With the seed of the environment (`NSS_K8S_SEED=<number>`), else with this one.
    pub fn seeded(usual: u64) -> Result<Self> {
        let seed = match env::var("NSS_K8S_SEED") {
            Ok(text) => text.parse().context("NSS_K8S_SEED")?,
            Err(_) => usual,
        };
        // Small seeds differ in few bits; a xorshift generator needs one that is set.
        let state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        Ok(Self { seed, state })
    }

    /// A number below `limit`, which is not zero.
    pub fn below(&mut self, limit: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state >> 33).unwrap_or(0) % limit
    }

    /// One of a list, which is not empty.
    pub fn among<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }
}

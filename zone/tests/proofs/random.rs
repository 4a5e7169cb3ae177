//! Numbers that are the same in every run.

use std::{
    env, iter,
    ops::Range,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// These seeds; then, if REPLAY_SECONDS is set, others in each run until so much time has passed.
pub(crate) fn seeds(fixed: Range<u64>) -> impl Iterator<Item = u64> {
    let seconds =
        env::var("REPLAY_SECONDS").map_or(0, |text| text.parse().expect("REPLAY_SECONDS"));
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let mut random = Random(since.map_or(0, |since| since.as_nanos() as u64));
    let deadline = Instant::now() + Duration::from_secs(seconds);
    let more = iter::repeat_with(move || random.next());
    fixed.chain(more.take_while(move |_| Instant::now() < deadline))
}

/// SplitMix64 (Steele, Lea and Flood, 2014): one word of state, any seed is good.
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// True once in `many` times.
    pub(crate) fn once_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    /// One of them.
    pub(crate) fn pick<'a, T>(&mut self, among: &'a [T]) -> &'a T {
        &among[self.below(among.len() as u64) as usize]
    }
}

/// SplitMix64's finalizer: every bit of the result depends on every bit of `word`.
pub(crate) fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

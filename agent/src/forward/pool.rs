//! Which idle connection to use, and which to close. Pure: it knows connections only as things, and
//! every call names its moment.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How long connections live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// Unused for so long, it is closed. CoreDNS closes after 10 s itself.
    pub idle: Duration,
    /// Opened so long ago, give or take a tenth by chance, it is not used again; so they do not all
    /// end at once. A changed set of servers behind one Service address is noticed in this time.
    pub age: Duration,
}

impl Default for PoolSettings {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(10),
            age: Duration::from_secs(60),
        }
    }
}

/// A connection and its end.
#[derive(Debug)]
pub(super) struct Timed<C> {
    /// The connection.
    pub(super) connection: C,
    retire: Instant,
    idle_since: Instant,
}

impl<C> Timed<C> {
    /// A connection opened now; `chance` is any number, for the jitter.
    pub(super) fn new(connection: C, settings: &PoolSettings, chance: u64, now: Instant) -> Self {
        let tenth = settings.age / 10;
        // A thousandth is fine enough.
        let less = tenth * 2 * (chance % 1000) as u32 / 1000;
        Self {
            connection,
            retire: now + settings.age + tenth - less,
            idle_since: now,
        }
    }

    /// Whether it may be used at this moment.
    fn is_good(&self, settings: &PoolSettings, now: Instant) -> bool {
        now < self.retire && now < self.idle_since + settings.idle
    }
}

/// The connections to one upstream that nobody uses at the moment.
#[derive(Debug)]
pub(super) struct Pool<C> {
    settings: PoolSettings,
    idle: VecDeque<Timed<C>>,
}

impl<C> Pool<C> {
    /// Without any.
    pub(super) fn new(settings: PoolSettings) -> Self {
        let idle = VecDeque::new();
        Self { settings, idle }
    }

    /// The one that was used last, so that the others may age out.
    pub(super) fn take(&mut self, now: Instant) -> Option<Timed<C>> {
        self.close_old(now);
        self.idle.pop_back()
    }

    /// Gives one back after a complete exchange.
    pub(super) fn give(&mut self, mut timed: Timed<C>, now: Instant) {
        timed.idle_since = now;
        if timed.is_good(&self.settings, now) {
            self.idle.push_back(timed);
        }
    }

    /// Closes those whose time is over; to be called every second or so.
    pub(super) fn close_old(&mut self, now: Instant) {
        let settings = self.settings;
        self.idle.retain(|it| it.is_good(&settings, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pool() -> (Pool<u8>, Instant) {
        (Pool::new(PoolSettings::default()), Instant::now())
    }

    #[test]
    fn the_last_used_is_used_next() {
        let (mut pool, now) = pool();
        for name in [1, 2] {
            pool.give(Timed::new(name, &pool.settings.clone(), 0, now), now);
        }
        assert_eq!(pool.take(now).map(|it| it.connection), Some(2));
        assert_eq!(pool.take(now).map(|it| it.connection), Some(1));
        assert!(pool.take(now).is_none());
    }

    #[test]
    fn idle_ones_are_closed_after_ten_seconds() {
        let (mut pool, now) = pool();
        pool.give(Timed::new(1, &pool.settings.clone(), 0, now), now);
        pool.close_old(now + SECOND * 9);
        assert_eq!(pool.idle.len(), 1);
        assert!(pool.take(now + SECOND * 10).is_none());
        assert!(pool.idle.is_empty());
    }

    #[test]
    fn old_ones_are_closed_though_busy_and_not_all_at_once() {
        let (mut pool, start) = pool();
        let ends: Vec<Instant> = [0, 999]
            .map(|chance| {
                let mut timed = Timed::new(1, &pool.settings.clone(), chance, start);
                let mut now = start;
                loop {
                    pool.give(timed, now);
                    now += SECOND;
                    match pool.take(now) {
                        Some(it) => timed = it,
                        None => return now,
                    }
                }
            })
            .into();
        assert_eq!(ends[0] - start, SECOND * 66);
        assert_eq!(
            ends[1] - start,
            SECOND * 55,
            "rounded up to this test's step"
        );
    }
}

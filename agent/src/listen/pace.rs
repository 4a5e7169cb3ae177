//! When a thread waits a moment before it takes datagrams, so that one system call takes, and one
//! sends, many of them. Under a high rate the thread is faster than its clients: it would sleep and
//! be woken, and wake a client, for every few datagrams (docs/decisions/0047).

use std::time::{Duration, Instant};

/// How long is waited: the most that an answer is late by.
pub(super) const WAIT: Duration = Duration::from_micros(150);
/// So many datagrams a wait must bring.
const WORTH: u32 = 6;
/// Over so long a time the rate is taken.
const WINDOW: Duration = Duration::from_millis(20);
/// To which part of the rate it may fall by waiting.
const STILL_WORTH: f64 = 0.6;
/// So long is not waited after it was no use.
const HOLD_OFF: Duration = Duration::from_millis(250);

/// What one thread knows of the rate.
pub(super) struct Pace {
    /// When the window began.
    begin: Instant,
    /// Datagrams of the window.
    datagrams: u32,
    /// The rate that made it wait; `None` while it does not.
    waits: Option<f64>,
    /// Before this it does not.
    not_before: Instant,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            begin: now,
            datagrams: 0,
            waits: None,
            not_before: now,
        }
    }

    /// Notes that so many have been taken; true if it pays to wait before the next are.
    pub(super) fn waits(&mut self, datagrams: usize, now: Instant) -> bool {
        self.datagrams = self
            .datagrams
            .saturating_add(u32::try_from(datagrams).unwrap_or(u32::MAX));
        let elapsed = now.saturating_duration_since(self.begin);
        if elapsed >= WINDOW {
            self.judge(f64::from(self.datagrams) / elapsed.as_secs_f64(), now);
            self.begin = now;
            self.datagrams = 0;
        }
        self.waits.is_some()
    }

    /// Decides for the next window, by the rate of the last, in datagrams per second.
    fn judge(&mut self, rate: f64, now: Instant) {
        let enough = rate * WAIT.as_secs_f64() >= f64::from(WORTH);
        match self.waits {
            None if enough && now >= self.not_before => self.waits = Some(rate),
            // Less comes, perhaps because clients wait for their answers before they ask again.
            Some(before) if !enough || rate < before * STILL_WORTH => {
                self.waits = None;
                self.not_before = now + HOLD_OFF;
            }
            Some(_) | None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `each` datagrams every `apart` for so long; how much of the time it waits.
    fn waited(
        pace: &mut Pace,
        clock: &mut Instant,
        each: usize,
        apart: Duration,
        long: Duration,
    ) -> f64 {
        let end = *clock + long;
        let (mut steps, mut waits) = (0_u32, 0_u32);
        while *clock < end {
            *clock += apart;
            steps += 1;
            waits += u32::from(pace.waits(each, *clock));
        }
        f64::from(waits) / f64::from(steps)
    }

    #[test]
    fn a_low_rate_never_waits() {
        let mut clock = Instant::now();
        let mut pace = Pace::new(clock);
        let second = Duration::from_secs(1);
        for (each, apart) in [(1, 2_000), (1, 100), (1, 30), (3, 100)] {
            let apart = Duration::from_micros(apart);
            assert_eq!(
                waited(&mut pace, &mut clock, each, apart, second),
                0.0,
                "{each} every {apart:?}"
            );
        }
        // A burst is over before a rate is known.
        assert!(!pace.waits(64, clock + Duration::from_micros(10)));
    }

    #[test]
    fn a_high_rate_waits_until_it_is_low() {
        let mut clock = Instant::now();
        let mut pace = Pace::new(clock);
        let second = Duration::from_secs(1);
        let busy = waited(
            &mut pace,
            &mut clock,
            20,
            Duration::from_micros(100),
            second,
        );
        assert!(busy > 0.95, "{busy}");
        let idle = waited(&mut pace, &mut clock, 1, Duration::from_millis(2), second);
        assert!(idle < 0.05, "{idle}");
    }

    #[test]
    fn who_asks_only_when_answered_is_not_made_to_wait() {
        let mut clock = Instant::now();
        let mut pace = Pace::new(clock);
        let end = clock + Duration::from_secs(10);
        let (mut waits, mut answered) = (false, 0_u32);
        let (mut waiting, mut all) = (Duration::ZERO, Duration::ZERO);
        while clock < end {
            // Nine clients, each of which asks again as soon as it is answered.
            let round = Duration::from_micros(40) + if waits { WAIT } else { Duration::ZERO };
            clock += round;
            all += round;
            if waits {
                waiting += round;
            }
            answered += 9;
            waits = pace.waits(9, clock);
        }
        assert!(waiting * 10 < all, "{waiting:?} of {all:?}");
        assert!(answered > 2_000_000, "{answered}");
    }
}

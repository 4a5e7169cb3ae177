//! When an agent changes over between the bucket and the API server: the pure part.

use std::time::{Duration, Instant};

/// While the bucket is whole but its publisher does not reach the API server, agents stay for so many times
/// their patience: watching a server that is away for all would only make its return harder.
const STAYS_BEHIND: u32 = 5;

/// For how long the bucket has to be whole before an agent leaves the API server again.
#[derive(Debug)]
pub(super) struct Steady {
    needed: Duration,
    since: Option<Instant>,
}

impl Steady {
    pub(super) fn new(needed: Duration) -> Self {
        Self {
            needed,
            since: None,
        }
    }

    /// The bucket was looked at; whether it has been whole for long enough.
    pub(super) fn look(&mut self, is_whole: bool, now: Instant) -> bool {
        match (is_whole, self.since) {
            (false, _) => {
                self.since = None;
                false
            }
            (true, None) => {
                self.since = Some(now);
                self.needed.is_zero()
            }
            (true, Some(since)) => since + self.needed <= now,
        }
    }
}

/// What is heard of the publisher while the bucket is followed.
#[derive(Debug)]
pub(super) struct Pulse {
    beat: Duration,
    patience: Duration,
    heard: Instant,
    /// Since when the publisher has not followed the API server.
    behind: Option<Instant>,
    /// A part of the patience that each agent has on top, for the latter.
    spread: Duration,
}

/// How well it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// The publisher is there.
    Good,
    /// It missed beats: nobody knows whether what it said is still so.
    Silent,
    /// Its bucket is no longer one to follow.
    Lost(&'static str),
}

impl Pulse {
    /// The publisher was heard just now, or so long ago.
    pub(super) fn new(
        beat: Duration,
        patience: Duration,
        spread: Duration,
        age: Duration,
        now: Instant,
    ) -> Self {
        Self {
            beat,
            patience,
            heard: now.checked_sub(age).unwrap_or(now),
            behind: None,
            spread,
        }
    }

    /// The publisher was heard.
    pub(super) fn beat(&mut self, beat: Duration, is_followed: bool, now: Instant) {
        self.beat = beat;
        self.heard = now;
        self.behind = match is_followed {
            true => None,
            false => self.behind.or(Some(now)),
        };
    }

    pub(super) fn health(&self, now: Instant) -> Health {
        let silent = now.saturating_duration_since(self.heard);
        if silent >= self.patience {
            return Health::Lost("the publisher is silent");
        }
        let limit = self.patience * STAYS_BEHIND + self.spread;
        let is_over = |since: Instant| since + limit <= now;
        if self.behind.is_some_and(is_over) {
            return Health::Lost("the publisher does not reach the API server");
        }
        match silent >= self.missed() {
            true => Health::Silent,
            false => Health::Good,
        }
    }

    /// When to look next.
    pub(super) fn next(&self, now: Instant) -> Instant {
        let missed = self.heard + self.missed();
        let lost = self.heard + self.patience;
        let over = self
            .behind
            .map(|since| since + self.patience * STAYS_BEHIND + self.spread);
        let all = [Some(missed), Some(lost), over];
        let next = all.into_iter().flatten().filter(|at| *at > now).min();
        next.unwrap_or(now + self.beat)
    }

    /// After two and a half of them beats are missed.
    fn missed(&self) -> Duration {
        (self.beat * 5 / 2).min(self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEAT: Duration = Duration::from_secs(10);
    const PATIENCE: Duration = Duration::from_secs(60);

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_silent_publisher_is_doubted_and_then_left() {
        let start = Instant::now();
        let mut pulse = Pulse::new(BEAT, PATIENCE, Duration::ZERO, Duration::ZERO, start);
        let health = |pulse: &Pulse, seconds| pulse.health(start + secs(seconds));
        assert_eq!(health(&pulse, 24), Health::Good);
        assert_eq!(health(&pulse, 25), Health::Silent);
        assert_eq!(pulse.next(start), start + secs(25));
        assert_eq!(pulse.next(start + secs(25)), start + secs(60));
        pulse.beat(BEAT, true, start + secs(30));
        assert_eq!(health(&pulse, 54), Health::Good);
        assert_eq!(health(&pulse, 89), Health::Silent);
        assert!(matches!(health(&pulse, 90), Health::Lost(_)));
    }

    #[test]
    fn what_was_written_long_ago_does_not_count_as_heard() {
        let start = Instant::now() + secs(3600);
        let pulse = Pulse::new(BEAT, PATIENCE, Duration::ZERO, secs(59), start);
        assert_eq!(pulse.health(start), Health::Silent);
        assert!(matches!(pulse.health(start + secs(1)), Health::Lost(_)));
    }

    #[test]
    fn while_the_api_server_is_away_nobody_runs_to_it() {
        let start = Instant::now();
        let spread = secs(30);
        let mut pulse = Pulse::new(BEAT, PATIENCE, spread, Duration::ZERO, start);
        for second in (0..320).step_by(10) {
            pulse.beat(BEAT, false, start + secs(second));
            assert_eq!(pulse.health(start + secs(second)), Health::Good);
        }
        pulse.beat(BEAT, false, start + secs(330));
        assert!(matches!(pulse.health(start + secs(330)), Health::Lost(_)));
        pulse.beat(BEAT, true, start + secs(331));
        assert_eq!(pulse.health(start + secs(340)), Health::Good);
    }

    #[test]
    fn back_to_the_bucket_only_when_it_has_been_whole_for_a_while() {
        let start = Instant::now();
        let mut steady = Steady::new(secs(30));
        let mut look = |is_whole, seconds| steady.look(is_whole, start + secs(seconds));
        assert!(!look(true, 0));
        assert!(!look(true, 29));
        assert!(!look(false, 30));
        assert!(!look(true, 31));
        assert!(!look(true, 60));
        assert!(look(true, 61));
        assert!(Steady::new(Duration::ZERO).look(true, start));
    }
}

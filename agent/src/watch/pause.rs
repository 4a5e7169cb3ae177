//! How long a watch waits after a failure. Every pause is a random part of a longest one, so that
//! the agents of all nodes come back one after the other.

use super::failure::{Failure, Kind};
use core::time::Duration;

/// The longest pause after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// The longest of all where asking is cheap: nobody is there to be asked.
const CHEAP: Duration = Duration::from_secs(5);
/// The longest of all where the server has work with us.
const DEAR: Duration = Duration::from_secs(30);
/// A watch that lived for so long counts as healthy: what failed before it is forgotten.
const STEADY: Duration = Duration::from_secs(10);
/// A watch that ended so much before its time was ended, and many others with it.
const EARLY: Duration = Duration::from_secs(5);

/// The pauses of one watch.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    dear: bool,
    failures: u32,
}

/// One pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pause {
    /// It lasts at least so long.
    pub(super) least: Duration,
    /// A random part of this comes on top.
    pub(super) spread: Duration,
    /// It is over when another watch reaches the server.
    pub(super) can_be_cut: bool,
}

impl Pauses {
    /// The pause after a request that failed after it had `lived`; a watch was to live for `due`.
    pub(super) fn after(&mut self, failure: &Failure, lived: Duration, due: Duration) -> Pause {
        let dear = !matches!(failure.kind, Kind::Connect | Kind::Stream | Kind::Ended);
        if lived >= STEADY || dear != self.dear {
            self.failures = 0;
        }
        self.dear = dear;
        let cap = if dear { DEAR } else { CHEAP };
        let doubled = FIRST.saturating_mul(2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        let in_time = is_in_time(lived, due);
        let spread = match failure.kind {
            Kind::Silent | Kind::NoStreamedLists => Duration::ZERO,
            Kind::Ended if in_time => Duration::ZERO,
            _ => doubled.min(cap),
        };
        Pause {
            least: failure.retry_after.unwrap_or_default().min(DEAR * 2),
            spread,
            can_be_cut: !dear && failure.retry_after.is_none(),
        }
    }
}

/// Whether a watch that has `lived` so long was ended as was agreed.
pub(super) fn is_in_time(lived: Duration, due: Duration) -> bool {
    lived.saturating_add(EARLY) >= due
}

#[cfg(test)]
mod tests {
    use super::*;

    const DUE: Duration = Duration::from_secs(290);

    /// The longest pauses, in seconds, of requests that fail like this one after the other.
    fn row(pauses: &mut Pauses, kind: Kind, count: usize) -> Vec<u64> {
        let failure = Failure::new(kind, "");
        let one = |_| pauses.after(&failure, Duration::ZERO, DUE).spread.as_secs();
        (0..count).map(one).collect()
    }

    #[test]
    fn a_server_that_is_away_is_asked_every_few_seconds() {
        let mut pauses = Pauses::default();
        assert_eq!(row(&mut pauses, Kind::Connect, 5), [1, 2, 4, 5, 5]);
        assert_eq!(row(&mut pauses, Kind::Stream, 1), [5]);
    }

    #[test]
    fn a_server_that_refuses_is_left_in_peace() {
        let mut pauses = Pauses::default();
        let refused = [1, 2, 4, 8, 16, 30, 30];
        assert_eq!(row(&mut pauses, Kind::Refused(403), 7), refused);
        assert_eq!(row(&mut pauses, Kind::Refused(500), 1), [30]);
        // It came back after an outage, or went: that is another story.
        assert_eq!(row(&mut pauses, Kind::Connect, 2), [1, 2]);
        assert_eq!(row(&mut pauses, Kind::Busy, 2), [1, 2]);
    }

    #[test]
    fn what_lived_for_long_starts_anew() {
        let mut pauses = Pauses::default();
        row(&mut pauses, Kind::Refused(500), 6);
        let failure = Failure::new(Kind::Gone, "");
        let pause = pauses.after(&failure, STEADY, DUE);
        assert_eq!(pause.spread, FIRST);
    }

    #[test]
    fn a_watch_that_ends_in_time_goes_on_at_once() {
        let ended = Failure::new(Kind::Ended, "");
        let pause = |lived| Pauses::default().after(&ended, lived, DUE).spread;
        assert_eq!(pause(DUE), Duration::ZERO);
        assert_eq!(pause(Duration::from_secs(100)), FIRST);
        assert_eq!(pause(Duration::ZERO), FIRST);
    }

    #[test]
    fn the_server_s_own_wish_counts_and_is_not_cut_short() {
        let mut failure = Failure::new(Kind::Busy, "");
        failure.retry_after = Some(Duration::from_secs(7));
        let pause = Pauses::default().after(&failure, Duration::ZERO, DUE);
        assert_eq!(pause.least, Duration::from_secs(7));
        assert_eq!(pause.spread, FIRST);
        assert!(!pause.can_be_cut);
        failure.retry_after = Some(Duration::from_secs(1 << 40));
        let pause = Pauses::default().after(&failure, Duration::ZERO, DUE);
        assert_eq!(
            pause.least,
            Duration::from_secs(60),
            "a wish has its limits"
        );
    }

    #[test]
    fn only_a_pause_for_want_of_a_server_is_cut_short() {
        let cut = |kind| {
            let failure = Failure::new(kind, "");
            let pause = Pauses::default().after(&failure, Duration::ZERO, DUE);
            pause.can_be_cut
        };
        assert!(
            [Kind::Connect, Kind::Stream, Kind::Ended]
                .map(cut)
                .iter()
                .all(|cut| *cut)
        );
        let dear = [
            Kind::Refused(403),
            Kind::Refused(500),
            Kind::Busy,
            Kind::Untrusted,
            Kind::Gone,
        ];
        assert!(!dear.map(cut).iter().any(|cut| *cut));
    }
}

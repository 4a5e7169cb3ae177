//! The simulated agents as a whole: who has seen what.

use crate::say;
use anyhow::{Context, Result, bail};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::{sync::Notify, time::timeout_at};

/// What names of markers begin with; a number follows, in five digits. Lists come in the order of names: this is the last.
pub(crate) const MARKER: &str = "zz-marker-";
/// More than one run makes.
const MARKERS: usize = 16;
/// A marker is an object of each of these kinds: whoever has all of them has all that was before.
pub(crate) const KINDS: usize = 3;

/// What all agents have seen and done.
pub(crate) struct Audience {
    count: usize,
    markers: [Marker; MARKERS],
    complete: Notify,
    /// Complete replays or lists.
    pub(crate) lists: AtomicU64,
    /// Connections that were lost or refused.
    pub(crate) failures: AtomicU64,
    /// Messages out of order, after which an agent starts its consumer anew.
    pub(crate) gaps: AtomicU64,
    /// Objects or records received.
    pub(crate) received: AtomicU64,
}

/// How many of a marker's objects agents have seen, all together, and when the last of them was.
#[derive(Default)]
struct Marker {
    seen: AtomicUsize,
    last: OnceLock<Instant>,
}

impl Audience {
    /// So many agents, who have seen nothing.
    pub(crate) fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            count,
            markers: Default::default(),
            complete: Notify::new(),
            lists: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            gaps: AtomicU64::new(0),
            received: AtomicU64::new(0),
        })
    }

    /// An agent looks at a name. `newest` is its own memory of the newest marker of this kind: each counts once, and
    /// whoever starts late counts for those before as well.
    pub(crate) fn look(&self, name: &[u8], newest: &mut usize) {
        let Some(number) = name.strip_prefix(MARKER.as_bytes()) else {
            return;
        };
        let digits = number.iter().take_while(|byte| byte.is_ascii_digit());
        let number = digits.fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        while *newest < number && *newest < MARKERS {
            let marker = &self.markers[*newest];
            *newest += 1;
            if marker.seen.fetch_add(1, Relaxed) + 1 == self.count * KINDS {
                // Nobody counts twice, so this is the only one to set it.
                let _ = marker.last.set(Instant::now());
                self.complete.notify_waiters();
            }
        }
    }

    /// Waits until every agent has seen marker `number` (the first is 1); how long after `since` the last one did.
    pub(crate) async fn all_have(
        &self,
        number: usize,
        since: Instant,
        patience: Duration,
    ) -> Result<Duration> {
        if self.count == 0 {
            return Ok(Duration::ZERO);
        }
        let marker = self.markers.get(number - 1).context("too many markers")?;
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let complete = self.complete.notified();
            if let Some(last) = marker.last.get() {
                return Ok(last.saturating_duration_since(since));
            }
            if timeout_at(deadline, complete).await.is_err() {
                let seen = marker.seen.load(Relaxed);
                self.report("given up");
                let all = self.count * KINDS;
                bail!("only {seen} of {all} objects of marker {number} were seen");
            }
        }
    }

    /// Says what happened so far.
    pub(crate) fn report(&self, who: &str) {
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        say(&format!(
            "{who}: {} objects received, {} lists or replays, {} failures, {} gaps",
            read(&self.received),
            read(&self.lists),
            read(&self.failures),
            read(&self.gaps),
        ));
    }
}

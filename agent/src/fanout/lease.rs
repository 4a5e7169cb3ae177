//! The Lease by which one of several publishers leads, by client-go's rules: who holds it renews it every
//! two seconds; who has not seen it change for its duration, by his own clock, takes it; who could not renew
//! it for ten seconds no longer leads. Two clocks are never compared.
//!
//! ```text
//!   Follows --free, or not renewed for 15 s--> Leads --not renewed for 10 s--> Unsure --somebody else's--> Follows
//!                                               ^------------ renewed ------------|
//! ```

use crate::{config::ObjectName, jitter, report::one_line};
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use std::time::{Duration, Instant};
use tokio::{
    sync::watch,
    time::{sleep, sleep_until, timeout},
};

/// For how long a Lease holds that nobody renews.
const DURATION: Duration = Duration::from_secs(15);

/// Who could not renew it for so long does not lead.
const RENEW_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks at it; a random fifth comes on top.
const RETRY_EVERY: Duration = Duration::from_secs(2);

/// A request is given up after so long.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Letting go of it is not worth more of the time in which a process is to stop.
const RELEASE_WITHIN: Duration = Duration::from_millis(500);

/// Whether this replica leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// Another one does, or nobody yet.
    #[default]
    Follows,
    /// It does, in this term.
    Leads(u64),
    /// It did, and nobody else has been seen to: the API server cannot be asked.
    Unsure(u64),
}

/// What is known of the Lease: the pure part.
struct Election {
    identity: String,
    /// As it was last found or written, and since when it has been like that.
    seen: Option<(LeaseSpec, Instant)>,
    /// When it was last asked to be ours, and was.
    renewed: Option<Instant>,
}

impl Election {
    fn new(identity: String) -> Self {
        Self {
            identity,
            seen: None,
            renewed: None,
        }
    }

    /// What to write in the place of what was found; `None`: it is somebody else's.
    fn claim(
        &mut self,
        found: Option<&LeaseSpec>,
        now: Instant,
        clock: Timestamp,
    ) -> Option<LeaseSpec> {
        let Some(found) = found else {
            return Some(self.ours(clock, clock, 0));
        };
        if self.seen.as_ref().is_none_or(|(seen, _)| seen != found) {
            self.seen = Some((found.clone(), now));
        }
        let since = self.seen.as_ref().map_or(now, |(_, since)| *since);
        let holder = found.holder_identity.as_deref().unwrap_or_default();
        let transitions = found.lease_transitions.unwrap_or(0);
        if holder == self.identity {
            let acquired = found.acquire_time.as_ref().map_or(clock, |time| time.0);
            return Some(self.ours(acquired, clock, transitions));
        }
        let seconds = found.lease_duration_seconds.unwrap_or(0);
        let duration = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        let is_free = holder.is_empty() || since + duration <= now;
        is_free.then(|| self.ours(clock, clock, transitions.saturating_add(1)))
    }

    /// It was written; `asked` is when that was tried.
    fn wrote(&mut self, spec: LeaseSpec, asked: Instant) {
        self.seen = Some((spec, asked));
        self.renewed = Some(asked);
    }

    fn standing(&self, now: Instant) -> Standing {
        let Some((seen, _)) = &self.seen else {
            return Standing::Follows;
        };
        let is_ours = seen.holder_identity.as_ref() == Some(&self.identity);
        let term = u64::try_from(seen.lease_transitions.unwrap_or(0)).unwrap_or(0);
        match self.deadline() {
            Some(deadline) if is_ours && now < deadline => Standing::Leads(term),
            Some(_) if is_ours => Standing::Unsure(term),
            _ => Standing::Follows,
        }
    }

    /// When this replica no longer leads unless it renews.
    fn deadline(&self) -> Option<Instant> {
        self.renewed.map(|renewed| renewed + RENEW_WITHIN)
    }

    fn ours(&self, acquired: Timestamp, clock: Timestamp, transitions: i32) -> LeaseSpec {
        LeaseSpec {
            acquire_time: Some(MicroTime(acquired)),
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(DURATION.as_secs()).ok(),
            lease_transitions: Some(transitions),
            renew_time: Some(MicroTime(clock)),
            ..LeaseSpec::default()
        }
    }
}

/// A candidate for a Lease.
pub(super) struct Candidate {
    leases: Api<Lease>,
    name: String,
    election: Election,
    standing: watch::Sender<Standing>,
    /// What went wrong was said.
    complained: bool,
}

impl Candidate {
    /// Nothing is asked before the first `run`.
    pub(super) fn new(
        client: Client,
        lease: &ObjectName,
        identity: String,
        standing: watch::Sender<Standing>,
    ) -> Self {
        Self {
            leases: Api::namespaced(client, &lease.namespace),
            name: lease.name.clone(),
            election: Election::new(identity),
            standing,
            complained: false,
        }
    }

    /// Stands for ever.
    pub(super) async fn run(&mut self) {
        loop {
            let leading = matches!(*self.standing.borrow(), Standing::Leads(_));
            let deadline = self.election.deadline().filter(|_| leading);
            let end = async {
                match deadline {
                    Some(at) => sleep_until(at.into()).await,
                    None => core::future::pending().await,
                }
            };
            let try_once = async {
                let result = match timeout(ANSWER_WITHIN, self.attempt()).await {
                    Ok(result) => result,
                    Err(_elapsed) => Err("no answer in time".to_owned()),
                };
                self.complain(result.err());
                self.publish();
                sleep(RETRY_EVERY + jitter::part_of(RETRY_EVERY / 5)).await;
            };
            tokio::select! {
                () = try_once => {}
                () = end => {}
            }
            self.publish();
        }
    }

    /// Lets go of it, so that another one need not wait.
    pub(super) async fn release(&mut self) {
        if !matches!(self.election.standing(Instant::now()), Standing::Leads(_)) {
            return;
        }
        let release = async {
            let mut lease = self.leases.get(&self.name).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_ref() == Some(&self.election.identity) {
                spec.holder_identity = Some(String::new());
                spec.lease_duration_seconds = Some(1);
                spec.renew_time = Some(MicroTime(Timestamp::now()));
                let params = PostParams::default();
                self.leases.replace(&self.name, &params, &lease).await?;
            }
            Ok::<_, kube::Error>(())
        };
        if let Ok(Err(error)) = timeout(RELEASE_WITHIN, release).await {
            tracing::info!(error = one_line(&error), "the Lease was not let go of");
        }
    }

    /// Looks at the Lease and takes or renews it. An error: the server could not be asked.
    async fn attempt(&mut self) -> Result<(), String> {
        let fail = |error: kube::Error| one_line(&error);
        let found = self.leases.get_opt(&self.name).await.map_err(fail)?;
        let asked = Instant::now();
        let spec = found
            .as_ref()
            .map(|lease| lease.spec.clone().unwrap_or_default());
        let claim = self.election.claim(spec.as_ref(), asked, Timestamp::now());
        let Some(spec) = claim else { return Ok(()) };
        let params = PostParams::default();
        let written = match found {
            Some(mut lease) => {
                lease.spec = Some(spec.clone());
                self.leases.replace(&self.name, &params, &lease).await
            }
            None => {
                let lease = Lease {
                    metadata: ObjectMeta {
                        name: Some(self.name.clone()),
                        ..ObjectMeta::default()
                    },
                    spec: Some(spec.clone()),
                };
                self.leases.create(&params, &lease).await
            }
        };
        match written {
            Ok(lease) => {
                self.election.wrote(lease.spec.unwrap_or(spec), asked);
                Ok(())
            }
            // Somebody else was quicker: the next look says who.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(fail(error)),
        }
    }

    fn publish(&self) {
        let standing = self.election.standing(Instant::now());
        let changed = self.standing.send_if_modified(|current| {
            let changed = *current != standing;
            *current = standing;
            changed
        });
        if changed {
            tracing::info!(?standing, identity = self.election.identity, "the Lease");
        }
    }

    /// Says once what goes wrong, until it works again.
    fn complain(&mut self, error: Option<String>) {
        match error {
            Some(error) if !self.complained => {
                tracing::warn!(error, lease = self.name, "cannot look at the Lease");
                self.complained = true;
            }
            Some(_) => {}
            None => self.complained = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Two candidates, a clock of monotonic time, and the Lease itself.
    struct Rig {
        start: Instant,
        lease: Option<LeaseSpec>,
        a: Election,
        b: Election,
    }

    impl Rig {
        fn new() -> Self {
            Self {
                start: Instant::now(),
                lease: None,
                a: Election::new("a".to_owned()),
                b: Election::new("b".to_owned()),
            }
        }

        /// One of them looks, and writes if it may.
        fn look(&mut self, who: char, seconds: u64) -> Standing {
            let now = self.start + at(seconds);
            // A wall clock that is an hour off must not matter.
            let skew = if who == 'a' { 3600 } else { 0 };
            let clock =
                Timestamp::from_second(1_700_000_000 + skew + seconds.cast_signed()).unwrap();
            let one = if who == 'a' { &mut self.a } else { &mut self.b };
            if let Some(spec) = one.claim(self.lease.as_ref(), now, clock) {
                self.lease = Some(spec.clone());
                one.wrote(spec, now);
            }
            one.standing(now)
        }
    }

    #[test]
    fn the_first_leads_as_long_as_it_renews() {
        let mut rig = Rig::new();
        for second in (0..60).step_by(2) {
            assert_eq!(rig.look('a', second), Standing::Leads(0));
            assert_eq!(rig.look('b', second), Standing::Follows);
        }
    }

    #[test]
    fn another_one_leads_once_the_first_has_stopped_to() {
        let mut rig = Rig::new();
        rig.look('a', 0);
        rig.look('b', 1);
        let standing = |rig: &Rig, seconds| rig.a.standing(rig.start + at(seconds));
        assert_eq!(standing(&rig, 9), Standing::Leads(0));
        assert_eq!(
            standing(&rig, 10),
            Standing::Unsure(0),
            "before anybody else"
        );
        assert_eq!(rig.look('b', 15), Standing::Follows, "seen for 14 seconds");
        assert_eq!(rig.look('b', 16), Standing::Leads(1));
        assert_eq!(rig.look('a', 17), Standing::Follows);
        assert_eq!(rig.look('a', 25), Standing::Follows);
    }

    #[test]
    fn who_is_unsure_leads_again_when_nobody_has_taken_it() {
        let mut rig = Rig::new();
        rig.look('a', 0);
        assert_eq!(rig.look('a', 100), Standing::Leads(0));
        // A candidate that has just started waits, however old the Lease says it is.
        assert_eq!(rig.look('b', 200), Standing::Follows);
        assert_eq!(rig.look('b', 215), Standing::Leads(1));
    }

    #[test]
    fn what_is_let_go_of_is_free_at_once() {
        let mut rig = Rig::new();
        rig.look('a', 0);
        rig.look('b', 1);
        rig.lease.as_mut().unwrap().holder_identity = Some(String::new());
        assert_eq!(rig.look('b', 2), Standing::Leads(1));
    }
}

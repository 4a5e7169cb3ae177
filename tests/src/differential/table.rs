//! One release's processes in one pod: the same call to each, and what is wrong with what they say.

use super::{Asks, Report, Rig, is_asked, is_ours};
use crate::{
    corpus::{Case, expected, giver},
    differences::{self, Circumstances},
    dns::{Asked, Server},
    libcs::Release,
    pod::Pod,
    reply::Reply,
    session::{Door, Session},
    shop,
};
use anyhow::{Context, Result};
use std::collections::BTreeSet;

/// One release's processes in one pod: libc alone, and one for each door.
pub(super) struct Table<'a> {
    place: Place<'a>,
    reference: Probes,
    ours: Vec<(Door, Probes)>,
    /// Whether a negative answer of the NSS module ends the lookup.
    pub(super) negatives_end: bool,
    /// Whether the NSS module is asked before the hosts file, which it does not read.
    pub(super) before_files: bool,
    /// Who answered the last call.
    pub(super) last: Vec<(Door, String)>,
}

/// Where processes are started.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) rig: &'a Rig,
    pub(super) pod: &'a Pod,
    pub(super) release: Release,
    pub(super) environment: &'a [(&'a str, &'a str)],
    /// Whether something is asked of `probes/resolver.c`.
    pub(super) resolver: bool,
}

impl Place<'_> {
    fn start(self, door: Door) -> Result<Probes> {
        let start = |probe| {
            let (guests, environment) = (&self.rig.guests, self.environment);
            Session::start_probe(self.pod, door, self.release, guests, environment, probe)
        };
        Ok(Probes {
            lookup: start("lookup")?,
            resolver: self.resolver.then(|| start("resolver")).transpose()?,
        })
    }
}

/// The processes of one door.
struct Probes {
    lookup: Session,
    /// Only where something is asked of it.
    resolver: Option<Session>,
}

impl Probes {
    fn ask(&mut self, call: &str) -> Result<Reply> {
        match &mut self.resolver {
            Some(resolver) if is_for_resolver(call) => resolver.ask(call),
            _ => self.lookup.ask(call),
        }
    }
}

/// Whether the call is a command of `probes/resolver.c`.
pub(crate) fn is_for_resolver(call: &str) -> bool {
    let verb = call.split(' ').next().unwrap_or_default();
    verb.trim_start_matches('_').starts_with("res_") || ["init", "patch", "state"].contains(&verb)
}

/// How often a call is made anew whose answer did not come in our share of the time.
const PATIENCE: usize = 2;

impl<'a> Table<'a> {
    pub(super) fn lay(place: Place<'a>, doors: &[Door]) -> Result<Self> {
        let plain = doors.first().context("no doors")?.reference();
        let ours = doors.iter().map(|&door| Ok((door, place.start(door)?)));
        Ok(Self {
            place,
            reference: place.start(plain)?,
            ours: ours.collect::<Result<_>>()?,
            negatives_end: true,
            before_files: false,
            last: Vec::new(),
        })
    }

    /// Makes one call at every place; what is wrong, by door.
    pub(super) fn compare(
        &mut self,
        case: &Case,
        server: &Server,
        report: &mut Report,
    ) -> Result<Vec<(Door, String)>> {
        let call = &case.call;
        let (release, asks) = (self.place.release, self.place.rig.asks);
        let mut failures = Vec::new();
        server.take_log();
        let libc = self.reference.ask(call)?;
        let asked_by_libc = set(server.take_log());
        self.last.clear();
        for (door, session) in &mut self.ours {
            let door = *door;
            let mut reply = session
                .ask(call)
                .with_context(|| format!("{door:?} {release:?}"))?;
            let slot = Door::OURS.iter().position(|one| *one == door);
            let known = case.who.as_ref().filter(|_| !self.place.rig.records);
            let wanted = known.zip(slot);
            let wanted = wanted.and_then(|(givers, slot)| givers[slot].get(&release));
            let wanted = wanted.map(|cell| expected(cell, asks));
            // Our share is measured by the clock; on a busy machine it may be over before the
            // server had its turn. A process that goes on would not ask for a minute.
            for _ in 0..PATIENCE {
                let late = giver(&reply) == "pass(noreply)";
                if !late || wanted.as_deref() == Some("pass(noreply)") || is_for_resolver(call) {
                    break;
                }
                *session = self.place.start(door)?;
                server.take_log();
                reply = session.ask(call)?;
            }
            let log = server.take_log();
            let only_tcp = log.iter().all(|one| one.tcp);
            let asked = set(log);
            let mut who = giver(&reply);
            if asks == Asks::Node {
                // Whether an answer is in shared memory already is a matter of time.
                who = who.replace("held", "forwarder");
                who = who.replace("forwarder,forwarder", "forwarder");
            }
            *report.compared.entry(release).or_default() += 1;
            let at = Circumstances {
                door,
                release,
                call,
            };
            for id in differences::amend(&at, &mut reply, &libc) {
                *report.excused.entry(id).or_default() += 1;
            }
            if reply.shape() != libc.shape() {
                let (libc, ours) = (libc.shape(), reply.shape());
                failures.push((door, format!("libc: {libc}\n ours: {ours} (from {who})")));
            }
            // The zone is read without a trace; glibc itself goes on after the module.
            let silent = reply.errno_untouched || reply.error.is_some() || !libc.errno_untouched;
            let ours = is_ours(&who) || is_asked(&who);
            if door != Door::Nss && ours && !silent {
                failures.push((door, format!("{who}, but errno was changed")));
            }
            let own = report.decided.entry(door).or_default();
            *own += usize::from(is_ours(&who));
            *report.asked.entry(door).or_default() += usize::from(is_asked(&who));
            let goes_on = door == Door::Nss && !self.negatives_end && who != "zone";
            // What an earlier candidate or family asked for, before the zone had the answer.
            let on_the_way = asks != Asks::Nobody && case.asks_on_the_way(door, release);
            // Where libc comes to ask nothing: the module stands before the hosts file, or the
            // caller's buffer is too small for reading that.
            let early =
                door == Door::Nss && self.before_files || libc.error.as_deref() == Some("ERANGE");
            // What we may ask: what libc asks, and targets that it leaves to the server.
            let may_ask = |one: &(String, u16)| {
                asked_by_libc.contains(one)
                    || asks != Asks::Nobody && shop::TARGETS.contains(&&*one.0)
            };
            if is_ours(&who) {
                let some = goes_on || on_the_way;
                if !(asked.is_empty() || some && asked.iter().all(may_ask)) {
                    failures.push((door, format!("{who}, but it asked {asked:?}")));
                }
            } else if is_asked(&who) {
                // libc itself asks nothing then.
                if !(early || asked.iter().all(may_ask)) || !only_tcp && !goes_on {
                    let how = if only_tcp {
                        "over TCP"
                    } else {
                        "not only over TCP"
                    };
                    let what = format!("{who}; libc asks {asked_by_libc:?}, here {asked:?} {how}");
                    failures.push((door, what));
                }
            } else if asks != Asks::Nobody
                && only_tcp
                && asked_by_libc.is_empty()
                && libc.error.is_some()
                && (who == "pass(service)" || has_service(call))
            {
                // The shim looks at the service once it has addresses; libc, which then reports a bad
                // one, before.
            } else if !(asked.is_superset(&asked_by_libc)
                || who.split(',').any(is_ours)
                || who.split(',').any(is_asked))
                || !asked.iter().all(may_ask)
            {
                let what = format!("{who}; libc asks {asked_by_libc:?}, here {asked:?}");
                failures.push((door, what));
            }
            if wanted.as_ref().is_some_and(|wanted| *wanted != who) {
                let wanted = wanted.unwrap_or_default();
                failures.push((door, format!("must come from {wanted}, came from {who}")));
            }
            self.last.push((door, who));
        }
        Ok(failures)
    }
}

/// Whether a call of getaddrinfo names a service.
fn has_service(call: &str) -> bool {
    call.starts_with("gai ") && call.split(' ').nth(2) != Some("-")
}

/// What was asked, however often.
fn set(asked: Vec<Asked>) -> BTreeSet<(String, u16)> {
    asked.into_iter().map(|one| (one.name, one.kind)).collect()
}

//! The search list, walked as the process's libc walks it, with the zone in the place of DNS.
//!
//! Pure: settings and a zone in, an outcome out. The process's own lookups, `nss-k8s query
//! --explain` and the tests all come through here.
//!
//! The rule that keeps it honest: libc asks its candidates in order and stops at the first that
//! wins. So the first candidate that is not ours to decide (outside the zone, or "ask DNS") ends
//! the walk, with an errand to ask for it where that is wanted, whatever might stand behind it. One
//! exception, [`Ask::MissBelow`]: see `Walk::ask` and docs/decisions.

mod candidate;
mod errands;
mod settings;

use crate::ask::Asked;
use crate::outcome::{By, Outcome, Query, Reason};
use crate::question::{Question, check_labels};
use crate::resolv_conf::{ResolvConf, Suffix};
use crate::sys::Libc;
use candidate::Candidate;
use core::ops::ControlFlow;
use errands::{AS_IT_IS, Errand, Negative, Next, Place};
pub use errands::{Errands, Lookup};
use nss_k8s_zone::{Address, Ask, Families, Family, Found, Name, Ruling, Snapshot};
pub use settings::Settings;

/// What the walk asks of a zone. [`Snapshot`] is the one there is.
pub trait ZoneView {
    /// See [`Snapshot::trusts_nameserver`].
    fn trusts_nameserver(&self, nameserver: &Address) -> bool;
    /// See [`Snapshot::addresses`].
    fn addresses(
        &self,
        name: &[u8],
        families: Families,
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Found;
    /// See [`Snapshot::has_rules`].
    fn has_rules(&self) -> bool {
        false
    }
    /// See [`Snapshot::rule`].
    fn rule(&self, _: &mut Name, _: Option<(&[u8], &[u8])>) -> Ruling {
        Ruling::Unruled
    }
}

impl ZoneView for Snapshot<'_> {
    fn trusts_nameserver(&self, nameserver: &Address) -> bool {
        Snapshot::trusts_nameserver(self, nameserver)
    }

    fn addresses(
        &self,
        name: &[u8],
        families: Families,
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Found {
        Snapshot::addresses(self, name, families, room, canonical)
    }

    fn has_rules(&self) -> bool {
        Snapshot::has_rules(self)
    }

    fn rule(&self, name: &mut Name, relative: Option<(&[u8], &[u8])>) -> Ruling {
        Snapshot::rule(self, name, relative)
    }
}

/// One candidate and what became of it, for `explain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// The absolute name that libc would ask for, in lower case, without trailing dot.
    pub candidate: &'a [u8],
    /// The name that is looked for: the same, unless a rule rewrote it.
    pub looked_up: &'a [u8],
    /// What is said of it.
    pub verdict: Verdict,
}

/// See [`Step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The zone's word on it ([`Found::Outside`]: not in the zone).
    Zone(Found),
    /// Somebody was asked, and came to no address.
    Asked(By, Asked),
    /// A rule says that it does not exist.
    Blocked,
    /// The relative name ends in a top-level domain, and the namespace of that name is guarded.
    Guarded,
    /// No name that libc could ask for: it does something of its own then.
    Malformed,
}

/// One lookup from beginning to end, but for the hosts file. `canonical` is the owner of the data
/// after `Answer` and the target after `Chase`; the room's order is the zone's. Where `errands` are
/// run, and one is [wanted](Errands::wanted) afterwards: run it, [learn](Errands::learn), and unless
/// that was the end call again.
pub fn resolve(
    settings: &Settings,
    zone: &impl ZoneView,
    query: &Query<'_>,
    errands: &mut Errands,
    room: &mut [Address],
    canonical: &mut Name,
    trace: &mut impl FnMut(Step<'_>),
) -> Outcome {
    let question = match Question::new(query) {
        Ok(question) => question,
        Err(reason) => return Outcome::Pass(reason),
    };
    match settings.admit(&question) {
        Ok(resolv_conf) => {
            let lookup = Lookup {
                libc: settings.libc,
                resolv_conf,
                question: &question,
            };
            let outcome = walk(&lookup, zone, errands, room, canonical, trace);
            settings.place(question.door, outcome)
        }
        Err(reason) => Outcome::Pass(reason),
    }
}

/// Traces nothing. One function, so that all lookups share one copy of the walk.
pub(crate) const fn ignore(_: Step<'_>) {}

/// Rule 0: every nameserver that libc would ask is the cluster's own.
pub(crate) fn is_ours(resolv_conf: &ResolvConf, zone: &impl ZoneView) -> bool {
    resolv_conf
        .nameservers()
        .iter()
        .all(|nameserver| zone.trusts_nameserver(nameserver))
}

/// Rule 0, then the candidates.
pub(crate) fn walk(
    lookup: &Lookup<'_>,
    zone: &impl ZoneView,
    errands: &mut Errands,
    room: &mut [Address],
    canonical: &mut Name,
    trace: &mut impl FnMut(Step<'_>),
) -> Outcome {
    errands.begin();
    if !is_ours(lookup.resolv_conf, zone) {
        return Outcome::Pass(Reason::Foreign);
    }
    let mut text = Name::new();
    let candidate = Candidate::new(lookup.question.name, &mut text);
    let mut walk = Walk {
        lookup,
        zone,
        families: lookup.families(),
        errands,
        room,
        canonical,
        candidate,
        doubt: None,
        trace,
    };
    loop {
        let end = match lookup.libc {
            Libc::Glibc => walk.as_glibc(),
            Libc::Musl => walk.as_musl(),
        };
        match (end, walk.doubt.take()) {
            (ControlFlow::Break(outcome), _) => return outcome,
            (ControlFlow::Continue(no), None) => return walk.errands.conclude(no),
            // Now that nothing else answers, the doubtful ones are asked for, too.
            (_, Some(_)) if walk.errands.willing => walk.errands.asks_doubts = true,
            (_, Some(ask)) => return Outcome::Pass(Reason::Ask(ask)),
        }
    }
}

struct Walk<'w, Z, T> {
    lookup: &'w Lookup<'w>,
    zone: &'w Z,
    /// What the records are asked for.
    families: Families,
    errands: &'w mut Errands,
    room: &'w mut [Address],
    canonical: &'w mut Name,
    candidate: Candidate<'w>,
    /// A candidate was taken for absent that DNS alone knows for certain: a negative end passes, or
    /// has it asked for.
    doubt: Option<Ask>,
    trace: &'w mut T,
}

impl<Z: ZoneView, T: FnMut(Step<'_>)> Walk<'_, Z, T> {
    /// resolv/res_query.c, `__res_context_search`: NODATA and SERVFAIL go on and are remembered,
    /// other failures end the list; it is tried even after the name as it is; the error of the
    /// latter wins when it came first.
    #[inline(never)]
    fn as_glibc(&mut self) -> ControlFlow<Outcome, Negative> {
        let Question {
            is_absolute, dots, ..
        } = *self.lookup.question;
        let resolv_conf = self.lookup.resolv_conf;
        let mut initial = None;
        if is_absolute || dots >= usize::from(resolv_conf.ndots) {
            let negative = self.ask(AS_IT_IS, Suffix::Root)?;
            if is_absolute {
                return ControlFlow::Continue(negative);
            }
            initial = Some(negative);
        }
        let mut searched = false;
        let mut root_on_list = false;
        let mut got_no_data = false;
        let mut got_failure = false;
        let mut last = Negative::NxDomain;
        let mut place: Place = 0;
        for suffix in resolv_conf.search.suffixes(Libc::Glibc) {
            searched = true;
            root_on_list |= suffix == Suffix::Root;
            last = self.ask(place, suffix)?;
            place = place.wrapping_add(1);
            got_no_data |= last == Negative::NoData;
            got_failure |= last == Negative::Again;
            if last == Negative::Refused {
                break;
            }
        }
        let may_ask_as_it_is = dots > 0 || !searched || !resolv_conf.no_tld_query;
        if may_ask_as_it_is && initial.is_none() && !root_on_list {
            last = self.ask(AS_IT_IS, Suffix::Root)?;
        }
        ControlFlow::Continue(match initial {
            Some(negative) => negative,
            None if got_no_data => Negative::NoData,
            None if got_failure => Negative::Again,
            None => last,
        })
    }

    /// src/network/lookup_name.c, `name_from_dns_search`: no list from `ndots` on; whatever is not
    /// NXDOMAIN stops.
    #[inline(never)]
    fn as_musl(&mut self) -> ControlFlow<Outcome, Negative> {
        let Question {
            is_absolute, dots, ..
        } = *self.lookup.question;
        let resolv_conf = self.lookup.resolv_conf;
        if !is_absolute && dots < usize::from(resolv_conf.ndots) {
            let mut place: Place = 0;
            for suffix in resolv_conf.search.suffixes(Libc::Musl) {
                let negative = self.ask(place, suffix)?;
                if negative != Negative::NxDomain {
                    return ControlFlow::Continue(negative);
                }
                place = place.wrapping_add(1);
            }
        }
        self.ask(AS_IT_IS, Suffix::Root)
    }

    /// Asks the zone for the name under `suffix`. Breaks with what ends the walk.
    fn ask(&mut self, place: Place, suffix: Suffix<'_>) -> ControlFlow<Outcome, Negative> {
        let (written, folded) = match suffix {
            Suffix::Root => (&[][..], &[][..]),
            Suffix::Domain { written, folded } => (written, folded),
            Suffix::Malformed => return self.malformed(),
        };
        if !self.candidate.set_suffix(folded) {
            return self.malformed();
        }
        if let Some(no) = self.errands.recall(place) {
            return self.remembered(no);
        }
        if self.zone.has_rules() {
            return self.ask_ruled(place, written, folded);
        }
        self.canonical.clear();
        let found = self.zone.addresses(
            self.candidate.as_bytes(),
            self.families,
            self.room,
            self.canonical,
        );
        self.trace(None, Verdict::Zone(found));
        self.judge(place, written, found, None)
    }

    /// What the zone's word on a candidate comes to; `ruled` is the name that a rule made of it.
    #[inline]
    fn judge(
        &mut self,
        place: Place,
        written: &[u8],
        found: Found,
        ruled: Option<&Name>,
    ) -> ControlFlow<Outcome, Negative> {
        let outcome = match found {
            // See `Lookup::families`: the addresses are not for the program.
            Found::Answer { .. } | Found::Room(_) if self.lookup.hides_addresses() => {
                return ControlFlow::Continue(Negative::NoData);
            }
            Found::Answer { count } => {
                let answer = self.room.get(..count).unwrap_or(&[]);
                // Whether this glibc knows the option cannot be told.
                if self.lookup.resolv_conf.no_aaaa
                    && answer.iter().any(|one| one.family == Family::V6)
                {
                    Outcome::Pass(Reason::ResolvConf)
                } else if self.name_owner(written) {
                    Outcome::Answer { count }
                } else {
                    Outcome::Pass(Reason::Malformed)
                }
            }
            Found::NoData => return ControlFlow::Continue(Negative::NoData),
            Found::NxDomain => return ControlFlow::Continue(Negative::NxDomain),
            // A name below a service that is not there. If `db.data` had to pass because a service
            // `data` of the own namespace *might* be known to DNS alone, no name of another
            // namespace would ever be answered here. It cannot win against an answer, then, but
            // with none it is asked for.
            Found::Ask(ask @ Ask::MissBelow) if !self.errands.asks_doubts => {
                self.doubt = Some(ask);
                return ControlFlow::Continue(Negative::NxDomain);
            }
            Found::Ask(ask) => {
                self.leave(place, Errand::Candidate, ruled);
                Outcome::Pass(Reason::Ask(ask))
            }
            Found::Outside => {
                self.leave(place, Errand::Candidate, ruled);
                Outcome::Pass(Reason::External)
            }
            Found::Chase => {
                self.leave(place, Errand::Chase, ruled);
                Outcome::Chase
            }
            Found::Room(wanted) => Outcome::Room(wanted),
            Found::Unavailable(why) => Outcome::Pass(Reason::Unavailable(why)),
        };
        ControlFlow::Break(outcome)
    }

    /// A candidate that the rules are applied to first.
    #[cold]
    #[inline(never)]
    fn ask_ruled(
        &mut self,
        place: Place,
        written: &[u8],
        folded: &[u8],
    ) -> ControlFlow<Outcome, Negative> {
        let mut name = Name::new();
        // It fits: the candidate is a name.
        let _ = name.push(self.candidate.as_bytes());
        let relative =
            (self.lookup.question.dots > 0).then(|| (self.candidate.last_label_of_stem(), folded));
        let ruling = self.zone.rule(&mut name, relative);
        let verdict = match ruling {
            Ruling::Blocked => Verdict::Blocked,
            Ruling::Guarded => Verdict::Guarded,
            Ruling::Rewritten if check_labels(name.as_bytes()).is_none() => {
                return self.malformed();
            }
            Ruling::TooLong => return self.malformed(),
            Ruling::Rewritten | Ruling::Unruled => {
                self.canonical.clear();
                let found =
                    self.zone
                        .addresses(name.as_bytes(), self.families, self.room, self.canonical);
                self.trace(Some(&name), Verdict::Zone(found));
                let ruled = Some(&name).filter(|_| ruling == Ruling::Rewritten);
                return self.judge(place, written, found, ruled);
            }
        };
        self.trace(None, verdict);
        ControlFlow::Continue(Negative::NxDomain)
    }

    /// What was said of a candidate before.
    #[cold]
    #[inline(never)]
    fn remembered(&mut self, no: Negative) -> ControlFlow<Outcome, Negative> {
        let asked = match no {
            Negative::NoData => Asked::NoData,
            Negative::NxDomain => Asked::NxDomain,
            Negative::Again => Asked::ServFail,
            Negative::Refused => Asked::Refused,
        };
        let by = self.errands.by();
        self.trace(None, Verdict::Asked(by, asked));
        ControlFlow::Continue(no)
    }

    /// Leaves the errand to ask for a candidate, for what a rule made of it, or for what its CNAME
    /// leads to.
    #[cold]
    #[inline(never)]
    fn leave(&mut self, place: Place, kind: Errand, ruled: Option<&Name>) {
        // Whether this glibc knows `no-aaaa` cannot be told.
        let is_certain = !self.lookup.resolv_conf.no_aaaa || self.lookup.resolv_conf.drops_aaaa;
        if is_certain && self.errands.leave(Next { place, kind }) {
            self.errands.target = match (kind, ruled) {
                (Errand::Chase, _) => *self.canonical,
                (Errand::Candidate, Some(ruled)) => *ruled,
                (Errand::Candidate, None) => *self.candidate.text,
            };
        }
    }

    /// Without a CNAME the candidate owns the data: as typed, and as the search list writes it.
    #[inline(never)]
    fn name_owner(&mut self, suffix: &[u8]) -> bool {
        if !self.canonical.is_empty() {
            return true;
        }
        self.canonical.push(self.lookup.question.name) && self.canonical.push_suffix(suffix)
    }

    fn malformed(&mut self) -> ControlFlow<Outcome, Negative> {
        (self.trace)(Step {
            candidate: self.lookup.question.name,
            looked_up: self.lookup.question.name,
            verdict: Verdict::Malformed,
        });
        ControlFlow::Break(Outcome::Pass(Reason::Malformed))
    }

    #[inline]
    fn trace(&mut self, ruled: Option<&Name>, verdict: Verdict) {
        let candidate = self.candidate.as_bytes();
        (self.trace)(Step {
            candidate,
            looked_up: ruled.map_or(candidate, Name::as_bytes),
            verdict,
        });
    }
}

#[cfg(test)]
mod tests;

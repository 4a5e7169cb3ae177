//! The search list, walked as the process's libc walks it, with the zone in the place of DNS.
//!
//! Pure: settings and a zone in, an outcome out. The process's own lookups, `nss-k8s query
//! --explain` and the tests all come through here.
//!
//! The rule that keeps it honest: libc asks its candidates in order and stops at the first that
//! wins. So the first candidate that is not ours to decide (outside the zone, or "ask DNS") ends
//! the walk with `Pass`, whatever might stand behind it. One exception, [`Ask::MissBelow`]: see
//! `Walk::ask` and docs/decisions.

mod candidate;

use crate::nsswitch::Placement;
use crate::outcome::{Door, Outcome, Query, Reason};
use crate::question::Question;
use crate::resolv_conf::{ResolvConf, Suffix, Unclear};
use crate::sys::Libc;
use candidate::Candidate;
use core::ops::ControlFlow;
use nss_k8s_zone::{Address, Ask, Families, Family, Found, Name, Snapshot};

/// What decides how a process looks names up, besides the zone and the hosts file.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose rules.
    pub libc: Libc,
    /// The parsed resolv.conf.
    pub resolv_conf: Result<ResolvConf, Unclear>,
    /// The parsed nsswitch.conf; looked at only under the shim in a glibc process.
    pub placement: Placement,
    /// `HOSTALIASES` is set: glibc may rename a name without dots.
    pub host_aliases: bool,
}

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
}

/// One candidate and what became of it, for `explain`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step<'a> {
    /// The absolute name that libc would ask for, in lower case, without trailing dot.
    pub candidate: &'a [u8],
    /// What the zone says.
    pub verdict: Verdict,
}

/// See [`Step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The zone's word on it ([`Found::Outside`]: not in the zone).
    Zone(Found),
    /// No name that libc could ask for: it does something of its own then.
    Malformed,
}

/// One lookup from beginning to end, but for the hosts file. `canonical` is the owner of the data
/// after `Answer` and the target after `Chase`; the room's order is the zone's.
pub fn resolve(
    settings: &Settings,
    zone: &impl ZoneView,
    query: &Query<'_>,
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
            let outcome = walk(
                settings.libc,
                resolv_conf,
                zone,
                &question,
                room,
                canonical,
                trace,
            );
            settings.place(question.door, outcome)
        }
        Err(reason) => Outcome::Pass(reason),
    }
}

impl Settings {
    /// What can be said without the zone: the resolv.conf to walk, or why libc must.
    pub(crate) fn admit(&self, question: &Question<'_>) -> Result<&ResolvConf, Reason> {
        let resolv_conf = self.open(question.door)?;
        self.heed_aliases(question)?;
        // Whether this glibc knows the option cannot be told, and it would turn the answer.
        if resolv_conf.no_aaaa && !resolv_conf.drops_aaaa && !question.families.v4 {
            return Err(Reason::ResolvConf);
        }
        Ok(resolv_conf)
    }

    /// A name without dots that libc may rename is not ours.
    fn heed_aliases(&self, question: &Question<'_>) -> Result<(), Reason> {
        let is_alias = self.host_aliases
            && self.libc == Libc::Glibc
            && question.dots == 0
            && !question.is_absolute;
        if is_alias {
            Err(Reason::HostAliases)
        } else {
            Ok(())
        }
    }

    /// As [`Self::admit`], for what goes to DNS whatever nsswitch.conf says.
    pub(crate) fn admit_records(&self, question: &Question<'_>) -> Result<&ResolvConf, Reason> {
        let resolv_conf = self.resolv_conf.as_ref().map_err(|_| Reason::ResolvConf)?;
        self.heed_aliases(question)?;
        Ok(resolv_conf)
    }

    /// The resolv.conf, if questions through this door come to DNS at all and it is understood.
    pub(crate) fn open(&self, door: Door) -> Result<&ResolvConf, Reason> {
        if self.asks_nsswitch(door) && self.placement == Placement::Unplaced {
            return Err(Reason::Nsswitch);
        }
        self.resolv_conf.as_ref().map_err(|_| Reason::ResolvConf)
    }

    /// Lets a negative outcome stand only where no further source would be asked.
    pub(crate) fn place(&self, door: Door, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::NoData | Outcome::NxDomain
                if self.asks_nsswitch(door) && self.placement == Placement::AnswersOnly =>
            {
                Outcome::Pass(Reason::Nsswitch)
            }
            outcome => outcome,
        }
    }

    /// Under NSS glibc has walked the line itself; musl has none.
    fn asks_nsswitch(&self, door: Door) -> bool {
        door == Door::Shim && self.libc == Libc::Glibc
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
    libc: Libc,
    resolv_conf: &ResolvConf,
    zone: &impl ZoneView,
    question: &Question<'_>,
    room: &mut [Address],
    canonical: &mut Name,
    trace: &mut impl FnMut(Step<'_>),
) -> Outcome {
    if !is_ours(resolv_conf, zone) {
        return Outcome::Pass(Reason::Foreign);
    }
    // For IPv6 alone glibc asks for IPv4 too, to learn whether the name exists.
    let families = if resolv_conf.drops_aaaa {
        Families::V4
    } else {
        question.families
    };
    let mut text = Name::new();
    let candidate = Candidate::new(question.name, &mut text);
    let doubt = None;
    let mut walk = Walk {
        resolv_conf,
        zone,
        question,
        families,
        room,
        canonical,
        candidate,
        doubt,
        trace,
    };
    let end = match libc {
        Libc::Glibc => walk.as_glibc(),
        Libc::Musl => walk.as_musl(),
    };
    match (end, walk.doubt) {
        (ControlFlow::Break(outcome), _) => outcome,
        (ControlFlow::Continue(_), Some(ask)) => Outcome::Pass(Reason::Ask(ask)),
        (ControlFlow::Continue(Negative::NoData), None) => Outcome::NoData,
        (ControlFlow::Continue(Negative::NxDomain), None) => Outcome::NxDomain,
    }
}

/// An authoritative "no" to one candidate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Negative {
    NoData,
    NxDomain,
}

struct Walk<'w, Z, T> {
    resolv_conf: &'w ResolvConf,
    zone: &'w Z,
    question: &'w Question<'w>,
    /// What the records are asked for.
    families: Families,
    room: &'w mut [Address],
    canonical: &'w mut Name,
    candidate: Candidate<'w>,
    /// A candidate was taken for absent that DNS alone knows for certain: a negative end passes.
    doubt: Option<Ask>,
    trace: &'w mut T,
}

impl<Z: ZoneView, T: FnMut(Step<'_>)> Walk<'_, Z, T> {
    /// resolv/res_query.c, `__res_context_search`: NODATA goes on and is remembered; the list is
    /// tried even after the name as it is; the error of the latter wins when it came first.
    #[inline(never)]
    fn as_glibc(&mut self) -> ControlFlow<Outcome, Negative> {
        let Question {
            is_absolute, dots, ..
        } = *self.question;
        let mut initial = None;
        if is_absolute || dots >= usize::from(self.resolv_conf.ndots) {
            let negative = self.ask(Suffix::Root)?;
            if is_absolute {
                return ControlFlow::Continue(negative);
            }
            initial = Some(negative);
        }
        let mut searched = false;
        let mut root_on_list = false;
        let mut got_no_data = false;
        let mut last = Negative::NxDomain;
        for suffix in self.resolv_conf.search.suffixes(Libc::Glibc) {
            searched = true;
            root_on_list |= suffix == Suffix::Root;
            last = self.ask(suffix)?;
            got_no_data |= last == Negative::NoData;
        }
        let may_ask_as_it_is = dots > 0 || !searched || !self.resolv_conf.no_tld_query;
        if may_ask_as_it_is && initial.is_none() && !root_on_list {
            last = self.ask(Suffix::Root)?;
        }
        ControlFlow::Continue(match initial {
            Some(negative) => negative,
            None if got_no_data => Negative::NoData,
            None => last,
        })
    }

    /// src/network/lookup_name.c, `name_from_dns_search`: no list from `ndots` on; NODATA stops.
    #[inline(never)]
    fn as_musl(&mut self) -> ControlFlow<Outcome, Negative> {
        let Question {
            is_absolute, dots, ..
        } = *self.question;
        if !is_absolute && dots < usize::from(self.resolv_conf.ndots) {
            for suffix in self.resolv_conf.search.suffixes(Libc::Musl) {
                if self.ask(suffix)? == Negative::NoData {
                    return ControlFlow::Continue(Negative::NoData);
                }
            }
        }
        self.ask(Suffix::Root)
    }

    /// Asks the zone for the name under `suffix`. Breaks with what ends the walk.
    fn ask(&mut self, suffix: Suffix<'_>) -> ControlFlow<Outcome, Negative> {
        let (written, folded) = match suffix {
            Suffix::Root => (&[][..], &[][..]),
            Suffix::Domain { written, folded } => (written, folded),
            Suffix::Malformed => return self.malformed(),
        };
        if !self.candidate.set_suffix(folded) {
            return self.malformed();
        }
        self.canonical.clear();
        let found = self.zone.addresses(
            self.candidate.as_bytes(),
            self.families,
            self.room,
            self.canonical,
        );
        (self.trace)(Step {
            candidate: self.candidate.as_bytes(),
            verdict: Verdict::Zone(found),
        });
        let outcome = match found {
            // See `families`: the addresses are not for the program (resolv/res-noaaaa.c).
            Found::Answer { .. } | Found::Room(_)
                if !self.question.families.contains(Family::V4) && self.families.v4 =>
            {
                return ControlFlow::Continue(Negative::NoData);
            }
            Found::Answer { count } => {
                let answer = self.room.get(..count).unwrap_or(&[]);
                // Whether this glibc knows the option cannot be told.
                if self.resolv_conf.no_aaaa && answer.iter().any(|one| one.family == Family::V6) {
                    Outcome::Pass(Reason::ResolvConf)
                } else if self.name_owner(written) {
                    Outcome::Answer { count }
                } else {
                    Outcome::Pass(Reason::Malformed)
                }
            }
            Found::NoData => return ControlFlow::Continue(Negative::NoData),
            Found::NxDomain => return ControlFlow::Continue(Negative::NxDomain),
            Found::Chase => Outcome::Chase,
            // A name below a service that is not there. If `db.data` had to pass because a service
            // `data` of the own namespace *might* be known to DNS alone, no name of another
            // namespace would ever be answered here. It cannot win against an answer, then, but
            // with none libc shall ask.
            Found::Ask(ask @ Ask::MissBelow) => {
                self.doubt = Some(ask);
                return ControlFlow::Continue(Negative::NxDomain);
            }
            Found::Ask(ask) => Outcome::Pass(Reason::Ask(ask)),
            Found::Outside => Outcome::Pass(Reason::External),
            Found::Room(wanted) => Outcome::Room(wanted),
            Found::Unavailable(why) => Outcome::Pass(Reason::Unavailable(why)),
        };
        ControlFlow::Break(outcome)
    }

    /// Without a CNAME the candidate owns the data: as typed, and as the search list writes it.
    #[inline(never)]
    fn name_owner(&mut self, suffix: &[u8]) -> bool {
        if !self.canonical.is_empty() {
            return true;
        }
        self.canonical.push(self.question.name) && self.canonical.push_suffix(suffix)
    }

    fn malformed(&mut self) -> ControlFlow<Outcome, Negative> {
        (self.trace)(Step {
            candidate: self.question.name,
            verdict: Verdict::Malformed,
        });
        ControlFlow::Break(Outcome::Pass(Reason::Malformed))
    }
}

#[cfg(test)]
mod tests;

//! What one lookup has asked outside the zone, and what it must ask next.
//!
//! The walk never waits for anybody: it may be run any number of times on a zone that changes under
//! it. Where it needs an answer that the zone does not have, it ends with the errand to get it; whoever
//! called runs the errand, and walks again with what was learned.
//!
//! ```text
//!   walk --Pass, and an errand--> ask --Errands::learn--> answer: done
//!     ^                                    | "no"
//!     '------------------------------------'
//! ```

use crate::ask::Asked;
use crate::outcome::{By, Outcome, Reason, Said};
use crate::question::Question;
use crate::resolv_conf::{ResolvConf, Suffix};
use crate::sys::Libc;
use nss_k8s_zone::{Families, Name};

/// So many names are asked for in one lookup; with more candidates outside the zone libc asks.
const MOST: usize = 8;

/// Everything that one lookup keeps between its walks.
pub struct Errands {
    /// Whether names outside the zone are asked for here; else the walk ends where libc would ask.
    pub willing: bool,
    /// The candidates for which "no" was said.
    known: [Known; MOST],
    count: u8,
    /// Who said so last.
    by: By,
    /// Doubtful candidates are asked for, too.
    pub(super) asks_doubts: bool,
    next: Option<Next>,
    /// The name to ask for next.
    pub(super) target: Name,
}

/// "No" to one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Known {
    place: u8,
    no: Negative,
}

/// Which candidate of a lookup: an entry of the search list, or [`AS_IT_IS`].
pub(super) type Place = u8;

/// The name as it is.
pub(super) const AS_IT_IS: Place = u8::MAX;

/// A "no" to one candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Negative {
    NoData,
    NxDomain,
    /// SERVFAIL.
    Again,
    /// REFUSED and the like.
    Refused,
}

/// The next errand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    pub(super) place: Place,
    pub(super) kind: Errand,
}

/// What the name to ask for is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Errand {
    /// The candidate, or what a rule made of it.
    Candidate,
    /// What its CNAME leads to.
    Chase,
}

impl Errands {
    /// Nothing known. Unless `willing` is set, nothing is asked.
    pub const fn new() -> Self {
        Self {
            willing: false,
            known: [Known {
                place: 0,
                no: Negative::NoData,
            }; MOST],
            count: 0,
            by: By::Held,
            asks_doubts: false,
            next: None,
            target: Name::new(),
        }
    }

    /// The name to ask for, after a walk that needs it: absolute, lower case, without trailing dot.
    pub fn wanted(&self) -> Option<&Name> {
        self.next.map(|_| &self.target)
    }

    /// Takes over what came of the errand; the lookup's outcome, or `None`: walk again. After
    /// an answer `canonical` says who owns the data.
    #[inline(never)]
    pub fn learn(
        &mut self,
        lookup: &Lookup<'_>,
        by: By,
        asked: Asked,
        canonical: &mut Name,
    ) -> Option<Outcome> {
        let next = self.next.take()?;
        self.by = by;
        let no = match asked {
            // See `Lookup::families`: the addresses are not for the program.
            Asked::Answer { .. } | Asked::Room(_) if lookup.hides_addresses() => Negative::NoData,
            Asked::Answer { count } => {
                return Some(if self.name_owner(lookup, next, canonical) {
                    Outcome::Asked(by, Said::Answer(count))
                } else {
                    Outcome::Pass(Reason::Malformed)
                });
            }
            Asked::Room(count) => return Some(Outcome::Room(count)),
            Asked::NoReply => return Some(Outcome::Pass(Reason::NoReply)),
            Asked::Unusable => return Some(Outcome::Pass(Reason::Unusable)),
            // The agent's way to say that somebody else had better be asked.
            Asked::Refused if by == By::Forwarder => return Some(Outcome::Pass(Reason::Refused)),
            // Of a CNAME that leads to nothing each libc makes something of its own.
            _ if next.kind == Errand::Chase => return Some(Outcome::Pass(Reason::External)),
            Asked::NoData => Negative::NoData,
            Asked::NxDomain => Negative::NxDomain,
            Asked::ServFail => Negative::Again,
            Asked::Refused => Negative::Refused,
        };
        match self.known.get_mut(usize::from(self.count)) {
            Some(known) => {
                let place = next.place;
                *known = Known { place, no };
                self.count = self.count.saturating_add(1);
                None
            }
            None => Some(Outcome::Pass(Reason::External)),
        }
    }

    /// Starts a walk: what an attempt on a zone that changed meanwhile has left does not count.
    pub(crate) const fn begin(&mut self) {
        self.next = None;
    }

    /// What was said of a candidate.
    #[inline]
    pub(super) fn recall(&self, place: Place) -> Option<Negative> {
        if self.count == 0 {
            return None;
        }
        let known = self.known.get(..usize::from(self.count))?;
        known
            .iter()
            .find(|known| known.place == place)
            .map(|known| known.no)
    }

    /// Leaves an errand; false where nothing is asked, or nothing more.
    pub(super) fn leave(&mut self, next: Next) -> bool {
        let may = self.willing && usize::from(self.count) < MOST;
        if may {
            self.next = Some(next);
        }
        may
    }

    /// The outcome of a walk that came to "no".
    pub(super) fn conclude(&self, no: Negative) -> Outcome {
        let said = match no {
            Negative::NoData => Said::NoData,
            Negative::NxDomain => Said::NxDomain,
            Negative::Again => Said::Again,
            Negative::Refused => return Outcome::Pass(Reason::Refused),
        };
        let outcome = Outcome::Asked(self.by, said);
        if self.count == 0 {
            outcome.plain()
        } else {
            outcome
        }
    }

    /// Who said so last.
    pub(super) const fn by(&self) -> By {
        self.by
    }

    /// Without a CNAME the candidate owns the data, or the target of its CNAME in the zone. What a
    /// rule put in the candidate's place nobody gets to see, as with CoreDNS's `answer auto`.
    fn name_owner(&self, lookup: &Lookup<'_>, next: Next, canonical: &mut Name) -> bool {
        match next.kind {
            _ if !canonical.is_empty() => true,
            Errand::Chase => canonical.push(self.target.as_bytes()),
            Errand::Candidate => lookup.spell(next.place, canonical),
        }
    }
}

impl Default for Errands {
    fn default() -> Self {
        Self::new()
    }
}

/// What is looked up by whose rules.
pub struct Lookup<'l> {
    /// Whose rules.
    pub libc: Libc,
    /// Where relative names are looked for.
    pub resolv_conf: &'l ResolvConf,
    /// The question.
    pub question: &'l Question<'l>,
}

impl Lookup<'_> {
    /// What libc asks for. For IPv6 alone, where it drops such questions, it asks for IPv4 to learn
    /// whether the name exists (glibc's resolv/res-noaaaa.c).
    pub const fn families(&self) -> Families {
        if self.resolv_conf.drops_aaaa {
            Families::V4
        } else {
            self.question.families
        }
    }

    /// Whether the addresses that libc asks for are not for the program.
    pub(super) const fn hides_addresses(&self) -> bool {
        self.resolv_conf.drops_aaaa && !self.question.families.v4
    }

    /// Spells a candidate as libc asks for it: as typed, and as the search list writes it.
    #[inline(never)]
    pub(super) fn spell(&self, place: Place, name: &mut Name) -> bool {
        let mut suffixes = self.resolv_conf.search.suffixes(self.libc);
        let written = match suffixes.nth(usize::from(place)) {
            Some(Suffix::Domain { written, .. }) if place != AS_IT_IS => written,
            _ => &[],
        };
        name.clear();
        name.push(self.question.name) && name.push_suffix(written)
    }
}

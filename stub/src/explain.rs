//! A lookup told step by step, for people: the same files, the same walk, the same errands as the
//! libraries', but with every candidate named and what was said of it. Not part of the libraries.
//!
//! ```text
//!   Etc::read --> hosts file --> lookup --Event--> nss-k8s query --explain, nss-k8s-explain
//! ```

use crate::ask::{self, Asked, Share, Way};
use crate::files::Files;
use crate::held::held;
use crate::outcome::{By, Outcome, Query, Reason};
use crate::process;
use crate::question::Question;
use crate::sys::{self, Libc, RawOs};
use crate::walk::{self, Errands, Lookup, Settings, Step, Verdict};
use core::ffi::CStr;
use core::fmt;
use nss_k8s_zone::{Address, External, Found, Name, Now, Reader, Unavailable};

/// The files of `/etc` as the preload library reads them.
#[derive(Clone, Copy)]
pub struct Etc(&'static Files);

impl Etc {
    /// Reads them by the rules of a libc, once in a process. `None` when they cannot be read now.
    pub fn read(libc: Libc) -> Option<Self> {
        Files::current(libc, sys::now()).map(Self)
    }

    /// What resolv.conf, nsswitch.conf and the environment say.
    pub fn settings(&self) -> &'static Settings {
        &self.0.settings
    }

    /// What the hosts file makes of a lookup; `None`: the name is not in it.
    pub fn hosts(
        &self,
        query: &Query<'_>,
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Option<Outcome> {
        if self.0.hosts_may_have_name(query.name) {
            self.0.hosts_addresses(query, room, canonical)
        } else {
            None
        }
    }
}

/// What a zone file says of itself and of who may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// FNV-1a (32 bits) of the view's name.
    pub view: u32,
    /// Libc answers; ours is only compared.
    pub shadow: bool,
    /// This build of the libraries is refused.
    pub refused: bool,
    /// The thousandths of all hosts that pass.
    pub disabled_permille: u16,
    /// This host, by its name, is one of them.
    pub disabled: bool,
}

impl Facts {
    /// Reads them from the zone file at `zone`.
    pub fn read(zone: &CStr) -> Result<Self, Unavailable> {
        Reader::new().read(&RawOs, zone, sys::now(), |snapshot| {
            let disabled_permille = snapshot.disabled_permille();
            Self {
                view: snapshot.view(),
                shadow: snapshot.is_shadow(),
                refused: snapshot.refuses_build(crate::BUILD),
                disabled_permille,
                disabled: process::is_of_share(disabled_permille),
            }
        })
    }
}

/// Who may be asked outside of the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    /// Nobody: the lookup ends where the libraries would ask.
    Nobody,
    /// Whom the zone's configuration says.
    AsConfigured,
}

/// One lookup from beginning to end, but for the hosts file, in the zone file at `zone`. `tell` gets
/// every candidate and every errand.
pub fn lookup(
    settings: &Settings,
    zone: &CStr,
    query: &Query<'_>,
    asking: Asking,
    room: &mut [Address],
    canonical: &mut Name,
    mut tell: impl FnMut(Event<'_>),
) -> Outcome {
    let question = match Question::new(query) {
        Ok(question) => question,
        Err(reason) => return Outcome::Pass(reason),
    };
    let resolv_conf = match settings.admit(&question) {
        Ok(resolv_conf) => resolv_conf,
        Err(reason) => return Outcome::Pass(reason),
    };
    let lookup = Lookup {
        libc: settings.libc,
        resolv_conf,
        question: &question,
    };
    let reader = Reader::new();
    let mut share = Share::new();
    let mut errands = Errands::new();
    loop {
        let mut external = External::Off;
        let mut holds = false;
        let now = sys::now();
        let read = reader.read(&RawOs, zone, now, |snapshot| {
            external = snapshot.external();
            holds = snapshot.holds_external();
            if snapshot.refuses_build(crate::BUILD)
                || process::is_of_share(snapshot.disabled_permille())
            {
                return Outcome::Pass(Reason::Disabled);
            }
            errands.willing = settings.asks_outside(query.door)
                && asking == Asking::AsConfigured
                && (holds || external != External::Off);
            walk::walk(
                &lookup,
                snapshot,
                &mut errands,
                room,
                canonical,
                &mut |step| {
                    tell(Event::Step(step));
                },
            )
        });
        let outcome = match read {
            Ok(outcome) => outcome,
            Err(why) => return Outcome::Pass(Reason::Unavailable(why)),
        };
        let Some(name) = errands.wanted().copied() else {
            return settings.place(query.door, outcome);
        };
        canonical.clear();
        let place = Place {
            zone,
            external,
            holds,
        };
        let Some((by, asked)) = place.ask(&lookup, &mut share, &name, now, room, canonical) else {
            return settings.place(query.door, outcome);
        };
        tell(Event::Asked(name.as_bytes(), by, asked));
        if let Some(end) = errands.learn(&lookup, by, asked, canonical) {
            return settings.place(query.door, end);
        }
    }
}

/// What [`lookup`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'t> {
    /// One candidate. The walk begins anew after every errand, and tells those before it again.
    Step(Step<'t>),
    /// For the last candidate this name was asked for outside of the zone.
    Asked(&'t [u8], By, Asked),
}

/// Where one errand can be run.
struct Place<'p> {
    zone: &'p CStr,
    external: External,
    holds: bool,
}

impl Place<'_> {
    /// Runs it: among the agent's answers first. `None`: nobody is to be asked.
    fn ask(
        &self,
        lookup: &Lookup<'_>,
        share: &mut Share,
        name: &Name,
        now: Now,
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Option<(By, Asked)> {
        let families = lookup.families();
        if self.holds
            && let Some(asked) = held(self.zone, name.as_bytes(), families, now, room, canonical)
        {
            return Some((By::Held, asked));
        }
        canonical.clear();
        let (by, way) = match self.external {
            External::Off => return None,
            External::Pod => (By::Upstream, Way::Pod),
            External::Node => (By::Forwarder, Way::Node { zone: self.zone }),
        };
        let asked = ask::ask(
            way,
            lookup.libc,
            lookup.resolv_conf,
            share,
            name.as_bytes(),
            families,
            room,
            canonical,
        );
        Some((by, asked))
    }
}

/// What was said of a candidate, in words for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Words(pub Verdict);

impl fmt::Display for Words {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Verdict::Zone(found) => write_found(formatter, found),
            Verdict::Asked(by, asked) => {
                write!(formatter, "{}: ", by_words(by))?;
                write_asked(formatter, asked)
            }
            Verdict::Blocked => formatter.write_str("rule: blocked, so it does not exist"),
            Verdict::Guarded => formatter.write_str(
                "rule: its namespace is named as a top-level domain, so it does not exist (guard)",
            ),
            Verdict::Malformed => formatter.write_str("no name that could be asked for"),
        }
    }
}

/// The word of the debug line for who was asked.
pub const fn by_words(by: By) -> &'static str {
    match by {
        By::Upstream => "upstream",
        By::Forwarder => "forwarder",
        By::Held => "held",
    }
}

fn write_found(formatter: &mut fmt::Formatter<'_>, found: Found) -> fmt::Result {
    match found {
        Found::Answer { count: 1 } => formatter.write_str("zone: 1 record"),
        Found::Answer { count } => write!(formatter, "zone: {count} records"),
        Found::NoData => formatter.write_str("zone: exists, but has no such record"),
        Found::NxDomain => formatter.write_str("zone: does not exist"),
        Found::Chase => formatter.write_str("zone: CNAME to a name outside the zone"),
        Found::Outside => formatter.write_str("outside the zone: only DNS can tell"),
        Found::Room(wanted) => write!(formatter, "zone: {wanted} records: too many"),
        Found::Ask(ask) => {
            let reason = Reason::Ask(ask).as_str();
            write!(formatter, "in the zone, but only DNS can tell ({reason})")
        }
        Found::Unavailable(why) => {
            let reason = Reason::Unavailable(why).as_str();
            write!(formatter, "the zone cannot be asked ({reason})")
        }
    }
}

fn write_asked(formatter: &mut fmt::Formatter<'_>, asked: Asked) -> fmt::Result {
    formatter.write_str(match asked {
        Asked::Answer { count: 1 } => "1 record",
        Asked::Answer { count } => return write!(formatter, "{count} records"),
        Asked::Room(wanted) => return write!(formatter, "{wanted} records: too many"),
        Asked::NoData => "exists, but has no such record",
        Asked::NxDomain => "does not exist",
        Asked::ServFail => "failed (SERVFAIL)",
        Asked::Refused => "refused",
        Asked::Unusable => "a reply that only libc knows what to make of",
        Asked::NoReply => "no reply over TCP within our share of the time",
    })
}

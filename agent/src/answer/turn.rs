//! One query's way: refused, blocked, rewritten, fixed, from the zone, from what is held, or pending.

use super::{
    Answerer, Begun, Desk, Pending, Policy, Way, code, kind,
    message::{self, Answered, Draft, Section},
    metrics::Giver,
    name::WireName,
    pending::turn_back,
    records,
    request::{Extended, INTERNET, Request},
    rules::{Back, Ruling},
    transfer,
    views::ZoneFile,
    zone::{self, Outcome, Sheet},
};
use crate::forward::{Head, Question};
use nss_k8s_zone::Family;
use std::sync::Arc;

/// How long a blocked name stays so with who has heard of it, in seconds.
const BLOCKED_TIME_TO_LIVE: u32 = 30;

/// One query's way through what may answer it.
pub(super) struct Turn<'t> {
    pub(super) answerer: &'t Answerer,
    pub(super) policy: &'t Policy,
    pub(super) request: &'t Request<'t>,
    pub(super) way: Way<'t>,
    pub(super) limit: usize,
    pub(super) opt: Option<Answered>,
}

impl Turn<'_> {
    /// Comes to an answer, or to whom to ask.
    pub(super) fn take(&mut self, desk: &mut Desk) -> Begun {
        let request = self.request;
        if request.class != INTERNET {
            return self.bare(desk, code::REFUSED);
        }
        if let Some(Extended { version: 1.., .. }) = request.extended {
            self.opt = self.opt.map(|opt| Answered {
                code: code::BADVERS_HIGH,
                ..opt
            });
            return self.bare(desk, code::NOERROR);
        }
        if matches!(request.kind, kind::AXFR | kind::IXFR) {
            return self.transfer(desk);
        }
        let Some(folded) = request.name.fold() else {
            return self.bare(desk, code::FORMERR);
        };
        let rules = &self.policy.rules;
        if rules.is_empty() {
            return self.look_up(desk, &request.name, folded.as_bytes(), None);
        }
        let of_process = matches!(self.way, Way::Process(_));
        match rules.apply(&request.name, folded.as_bytes(), of_process) {
            Ruling::Blocked { zone } => self.block(desk, zone),
            Ruling::Malformed => self.bare(desk, code::SERVFAIL),
            Ruling::Unruled => {
                if self.host(desk, &request.name, folded.as_bytes(), None) {
                    return Begun::Answered;
                }
                self.look_up(desk, &request.name, folded.as_bytes(), None)
            }
            Ruling::Rewritten { name, back } => {
                let Some(folded) = name.fold() else {
                    return self.bare(desk, code::SERVFAIL);
                };
                if self.host(desk, &name, folded.as_bytes(), Some(&back)) {
                    return Begun::Answered;
                }
                self.look_up(desk, &name, folded.as_bytes(), Some(back))
            }
        }
    }

    /// From the zone, from what upstreams said before, or not yet.
    fn look_up(
        &self,
        desk: &mut Desk,
        name: &WireName,
        folded: &[u8],
        back: Option<Back>,
    ) -> Begun {
        let kind = self.request.kind;
        let zone = self
            .answerer
            .zone_of(self.way, self.policy.listens_restricted);
        let outcome = zone.as_ref().map(|zone| {
            let Desk { out, gathered } = desk;
            let mut draft = Draft::new(out, self.request);
            let outcome = zone.read(|snapshot| {
                if !zone::is_ours(snapshot, folded, kind) {
                    return Outcome::Ask;
                }
                // An attempt that failed may have left something.
                draft.clear();
                let sheet = Sheet {
                    snapshot,
                    name,
                    folded,
                    kind,
                };
                sheet.answer(gathered, &mut draft)
            });
            match outcome {
                Ok(Outcome::Answered { code }) => draft.finish(code, true),
                Ok(Outcome::Chase { .. }) => draft.finish(code::NOERROR, true),
                _ => {}
            }
            outcome
        });
        match outcome {
            Some(Ok(Outcome::Answered { .. })) => self.send(desk, back.as_ref(), Giver::Zone),
            Some(Ok(Outcome::Chase { target })) => {
                let draft = Some(desk.out.clone());
                self.ask(desk, zone.as_deref(), &target, back, draft)
            }
            // In the zone or not: who is asked for the rest has the last word, if it may be asked.
            outcome => match self.withholds(folded, outcome.and_then(Result::ok).as_ref()) {
                Some(code) => self.bare(desk, code),
                None => self.ask(desk, zone.as_deref(), name, back, None),
            },
        }
    }

    /// The response code of a question that no upstream may be asked: what it would say to the node
    /// may be hidden from who asks. A process is told to ask by itself, as who it is.
    fn withholds(&self, folded: &[u8], outcome: Option<&Outcome>) -> Option<u8> {
        if !self.policy.hides {
            return None;
        }
        let apex = self.policy.apex.as_bytes();
        let in_zone = match folded.strip_suffix(apex) {
            Some(before) => before.is_empty() || before.ends_with(b"."),
            None => false,
        };
        if in_zone {
            return Some(match (self.way, outcome) {
                (Way::Udp | Way::Tcp(_), Some(Outcome::Miss)) => code::NXDOMAIN,
                _ => code::REFUSED,
            });
        }
        let address = match self.request.kind {
            kind::PTR => records::address_of(folded)?,
            _ => return None,
        };
        match self.way {
            Way::Process(_) => Some(code::REFUSED),
            // An address of something hidden has no name; others may be anybody's.
            _ if self.policy.listens_restricted => {
                let everything = &self.answerer.zones.everything;
                everything.names(&address).then_some(code::NXDOMAIN)
            }
            _ => None,
        }
    }

    fn ask(
        &self,
        desk: &mut Desk,
        zone: Option<&Arc<ZoneFile>>,
        name: &WireName,
        back: Option<Back>,
        draft: Option<Vec<u8>>,
    ) -> Begun {
        let request = self.request;
        let dnssec_ok = request.extended.is_some_and(|opt| opt.dnssec_ok);
        let Some(ask) = Question::new(name.as_octets(), request.kind, INTERNET) else {
            return self.bare(desk, code::FORMERR);
        };
        let is_restricted = match self.way {
            Way::Process(client) => *client.view != *client.class.name(),
            Way::Udp | Way::Tcp(_) => self.policy.listens_restricted,
        };
        let sight = match zone.cloned() {
            _ if !(self.policy.hides && is_restricted) => None,
            // It is not known what may be told.
            None => return self.bare(desk, code::REFUSED),
            zone => zone,
        };
        let pending = Pending {
            ask: ask.with_bits(dnssec_ok, request.checking_disabled),
            class: match self.way {
                Way::Process(client) => Some(client.class.clone()),
                Way::Udp | Way::Tcp(_) => None,
            },
            question: request.question.to_vec(),
            head: Head {
                id: request.identifier,
                recursion_desired: request.recursion_desired,
                authentic_data: request.authentic_data || dnssec_ok,
                checking_disabled: request.checking_disabled,
            },
            identifier: request.identifier,
            draft,
            back,
            sight: sight.map(|zone| (zone, self.policy.apex.clone())),
            limit: self.limit,
            opt: self.opt,
        };
        let upstreams = &self.answerer.upstreams;
        match upstreams.held(pending.class.as_ref(), &pending.ask) {
            Some(answer) => {
                self.answerer.conclude(&pending, &answer, &mut desk.out);
                Begun::Answered
            }
            None => Begun::Pending(Box::new(pending)),
        }
    }

    /// A name with fixed addresses, or an address with fixed names (CoreDNS's plugin/hosts): whether
    /// it is one.
    fn host(&self, desk: &mut Desk, name: &WireName, folded: &[u8], back: Option<&Back>) -> bool {
        let rules = &self.policy.rules;
        let mut draft = Draft::new(&mut desk.out, self.request);
        let owner = name.as_octets();
        if let Some(host) = rules.host(folded) {
            for address in &host.addresses {
                let kind = match address.family {
                    Family::V4 => kind::A,
                    Family::V6 => kind::AAAA,
                };
                if kind == self.request.kind {
                    let time_to_live = host.time_to_live;
                    records::put_address(&mut draft, Section::Answer, owner, time_to_live, address);
                }
            }
        } else if self.request.kind == kind::PTR
            && let Some(address) = records::address_of(folded)
            && let Some((time_to_live, names)) = rules.names(&address)
        {
            for target in names {
                let data = [target.as_octets()];
                draft.record(Section::Answer, owner, kind::PTR, *time_to_live, &data);
            }
        } else {
            return false;
        }
        draft.finish(code::NOERROR, true);
        self.send(desk, back, Giver::Hosts);
        true
    }

    /// The name, or one above it, is blocked.
    fn block(&self, desk: &mut Desk, zone: usize) -> Begun {
        let mut draft = Draft::new(&mut desk.out, self.request);
        let apex = self.request.name.tail(zone);
        records::put_authority(
            &mut draft,
            Section::Authority,
            apex,
            BLOCKED_TIME_TO_LIVE,
            1,
        );
        draft.finish(code::NXDOMAIN, true);
        self.send(desk, None, Giver::Rules)
    }

    /// A response code, and no record.
    fn bare(&self, desk: &mut Desk, code: u8) -> Begun {
        Draft::new(&mut desk.out, self.request).finish(code, false);
        self.send(desk, None, Giver::Nobody)
    }

    /// Finishes the message in `desk`.
    fn send(&self, desk: &mut Desk, back: Option<&Back>, giver: Giver) -> Begun {
        let out = &mut desk.out;
        if let Some(back) = back
            && turn_back(out, back, self.request.question).is_none()
        {
            Draft::new(out, self.request).finish(code::SERVFAIL, false);
        }
        message::close(out, self.limit, self.opt);
        let code = out.get(3).map_or(code::SERVFAIL, |code| code & 15);
        self.answerer.metrics.said(code, giver);
        Begun::Answered
    }

    /// AXFR, and IXFR as AXFR (RFC 1995 section 4): over a connection, to whom it is allowed.
    fn transfer(&self, desk: &mut Desk) -> Begun {
        let allowed = match self.way {
            Way::Tcp(client) => {
                let mut networks = self.policy.allow_transfer.iter();
                networks.any(|network| network.contains(client))
            }
            Way::Udp | Way::Process(_) => false,
        };
        // A zone in which something is hidden from somebody is given to nobody.
        if !allowed || self.policy.hides {
            return self.bare(desk, code::REFUSED);
        }
        let path = self.answerer.zones.everything.path();
        match transfer::messages(path, self.request, self.opt) {
            Some(messages) => {
                self.answerer.metrics.said(code::NOERROR, Giver::Zone);
                Begun::Transfer(messages)
            }
            None => self.bare(desk, code::REFUSED),
        }
    }
}

//! One DNS message in, one DNS message out: for the listener, and for processes that ask through
//! `forward.sock`.
//!
//! ```text
//!   message --> request --> rules --> hosts --> zone --> (upstreams) --> message
//!              (FORMERR)  (blocked)  (fixed)  (mapped)   only here it waits
//! ```
//!
//! What needs no upstream is answered at once and without a task, in room that the caller keeps
//! ([`Desk`]); what does is a [`Pending`] question.

mod message;
mod metrics;
mod name;
mod request;
mod rules;
#[cfg(test)]
mod tests;
mod transfer;
mod zone;

pub use metrics::Metrics;
pub use rules::Rules;

use crate::forward::{self, Class, Client, Forwarder, Head, Question, Service};
use arc_swap::ArcSwap;
use message::{Answered, Draft, LONGEST_MESSAGE, Resource, Section};
use name::WireName;
use nss_k8s_zone::{Family, LibcOs, Now, Reader};
use request::{Extended, Heard, INTERNET, Request};
use rules::{Back, Ruling};
use std::{
    cell::RefCell, ffi::CString, io, net::IpAddr, os::unix::ffi::OsStrExt, path::Path, pin::Pin,
    sync::Arc, time::SystemTime,
};
use zone::{Gathered, Outcome, Sheet};

/// Response codes (RFC 1035 section 4.1.1, RFC 6891 section 9).
mod code {
    pub(super) const NOERROR: u8 = 0;
    pub(super) const FORMERR: u8 = 1;
    pub(super) const SERVFAIL: u8 = 2;
    pub(super) const NXDOMAIN: u8 = 3;
    pub(super) const NOTIMP: u8 = 4;
    pub(super) const REFUSED: u8 = 5;
    /// 16: this octet stands in OPT, the header has 0.
    pub(super) const BADVERS_HIGH: u8 = 1;
}

/// Record types.
mod kind {
    pub(super) const A: u16 = 1;
    pub(super) const NS: u16 = 2;
    pub(super) const CNAME: u16 = 5;
    pub(super) const SOA: u16 = 6;
    pub(super) const PTR: u16 = 12;
    pub(super) const MX: u16 = 15;
    pub(super) const TXT: u16 = 16;
    pub(super) const AAAA: u16 = 28;
    pub(super) const SRV: u16 = 33;
    pub(super) const DNAME: u16 = 39;
    pub(super) const OPT: u16 = 41;
    pub(super) const IXFR: u16 = 251;
    pub(super) const AXFR: u16 = 252;
}

/// How long a blocked name stays so with who has heard of it, in seconds.
const BLOCKED_TIME_TO_LIVE: u32 = 30;

/// Who is asked for what the zone does not have.
pub trait Upstreams: Send + Sync + 'static {
    /// What is known already, and may be said to a client of the class.
    fn held(&self, class: Option<&Class>, question: &Question) -> Option<forward::Answer>;
    /// Asks. Always comes to an answer, SERVFAIL at worst.
    fn ask<'q>(
        &'q self,
        class: Option<&'q Class>,
        question: &'q Question,
    ) -> Pin<Box<dyn Future<Output = forward::Answer> + Send + 'q>>;
}

impl Upstreams for Forwarder {
    fn held(&self, class: Option<&Class>, question: &Question) -> Option<forward::Answer> {
        self.cached(class, question)
    }

    fn ask<'q>(
        &'q self,
        class: Option<&'q Class>,
        question: &'q Question,
    ) -> Pin<Box<dyn Future<Output = forward::Answer> + Send + 'q>> {
        Box::pin(self.resolve(class, question))
    }
}

/// What of the configuration answers depend on.
#[derive(Debug)]
pub struct Policy {
    /// See [`Rules`].
    pub rules: Rules,
    /// The longest UDP answer.
    pub udp_payload: u16,
    /// Who may transfer the zone.
    pub allow_transfer: Vec<crate::config::Network>,
}

impl Policy {
    /// That of a configuration.
    pub fn new(config: &crate::config::Config) -> Self {
        let listen = config.listen.as_ref();
        Self {
            rules: Rules::new(config),
            udp_payload: listen.map_or(1232, |listen| listen.udp_payload),
            allow_transfer: listen.map_or_else(Vec::new, |listen| listen.allow_transfer.clone()),
        }
    }
}

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way<'c> {
    /// In a datagram: answers are as long as the client takes.
    Udp,
    /// Over a connection, from there.
    Tcp(IpAddr),
    /// From a process of that class, over `forward.sock`; it has applied rules and zone already.
    Process(&'c Class),
}

/// Answers; shared by all who serve.
pub struct Answerer {
    zone: Reader,
    /// Where the zone is.
    path: CString,
    policy: ArcSwap<Policy>,
    upstreams: Arc<dyn Upstreams>,
    metrics: Metrics,
}

/// Room that one who serves keeps for itself.
pub struct Desk {
    out: Vec<u8>,
    gathered: Gathered,
}

/// What became of a message.
pub enum Begun {
    /// The answer is [`Desk::message`].
    Answered,
    /// An upstream must be asked: [`Answerer::finish`].
    Pending(Box<Pending>),
    /// The zone is transferred, in these messages.
    Transfer(Vec<Vec<u8>>),
    /// It is not answered.
    Nothing,
}

/// A question that an upstream must be asked.
pub struct Pending {
    /// Which.
    ask: Question,
    /// Whose it is.
    class: Option<Class>,
    /// The client's.
    question: Vec<u8>,
    head: Head,
    identifier: u16,
    /// Of an answer whose aliases lead out of the zone: the message so far, with them.
    draft: Option<Vec<u8>>,
    back: Option<Back>,
    limit: usize,
    opt: Option<Answered>,
}

impl Service for Answerer {
    async fn answer(&self, query: &[u8], client: &Client) -> Vec<u8> {
        let way = Way::Process(&client.class);
        Self::answer(self, query, way).await.unwrap_or_default()
    }
}

impl Desk {
    /// An empty one.
    #[expect(clippy::new_without_default, reason = "it is costly")]
    pub fn new() -> Self {
        Self {
            out: Vec::with_capacity(4096),
            gathered: Gathered::new(),
        }
    }

    /// The answer that was made last.
    pub fn message(&self) -> &[u8] {
        &self.out
    }
}

impl Answerer {
    /// Answers from the zone at `path`, which need not be there yet.
    pub fn new(path: &Path, policy: Policy, upstreams: Arc<dyn Upstreams>) -> io::Result<Self> {
        Ok(Self {
            zone: Reader::new(),
            path: CString::new(path.as_os_str().as_bytes())?,
            policy: ArcSwap::from_pointee(policy),
            upstreams,
            metrics: Metrics::default(),
        })
    }

    /// Answers by another configuration from now on.
    pub fn configure(&self, policy: Policy) {
        self.policy.store(Arc::new(policy));
    }

    /// How often it answered what.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Answers, and waits where an upstream must be asked. Nothing: there is no answer to this.
    pub async fn answer(&self, message: &[u8], way: Way<'_>) -> Option<Vec<u8>> {
        thread_local! {
            static DESK: RefCell<Desk> = RefCell::new(Desk::new());
        }
        // Nothing of the desk is needed while it waits.
        let (begun, answer) = DESK.with_borrow_mut(|desk| {
            let begun = self.begin(message, way, desk);
            let answer = matches!(begun, Begun::Answered).then(|| desk.out.clone());
            (begun, answer)
        });
        match begun {
            Begun::Answered => answer,
            Begun::Pending(pending) => Some(self.finish(*pending).await),
            // Processes are not allowed any.
            Begun::Transfer(messages) => messages.into_iter().next(),
            Begun::Nothing => None,
        }
    }

    /// Answers what can be answered at once.
    pub fn begin(&self, message: &[u8], way: Way<'_>, desk: &mut Desk) -> Begun {
        self.metrics.heard(way);
        let request = match Heard::read(message) {
            Heard::Query(request) => request,
            Heard::Refused { start } => {
                desk.out.clear();
                desk.out.extend_from_slice(&start);
                desk.out.extend_from_slice(&[0; 8]);
                self.metrics.said(start[3], metrics::Giver::Nobody);
                return Begun::Answered;
            }
            Heard::Nothing => return Begun::Nothing,
        };
        let policy = self.policy.load();
        let limit = match way {
            Way::Udp => request.datagram(policy.udp_payload),
            Way::Tcp(_) | Way::Process(_) => LONGEST_MESSAGE,
        };
        let opt = request.extended.map(|opt| Answered {
            payload: policy.udp_payload,
            dnssec_ok: opt.dnssec_ok,
            code: 0,
        });
        let mut turn = Turn {
            answerer: self,
            policy: &policy,
            request: &request,
            way,
            limit,
            opt,
        };
        turn.take(desk)
    }

    /// Asks the upstream, and answers.
    pub async fn finish(&self, pending: Pending) -> Vec<u8> {
        let answer = self
            .upstreams
            .ask(pending.class.as_ref(), &pending.ask)
            .await;
        let mut out = Vec::new();
        self.conclude(&pending, &answer, &mut out);
        out
    }

    /// The answer to who comes when too many wait: REFUSED.
    pub fn refuse(&self, pending: &Pending) -> Vec<u8> {
        let mut out = Vec::new();
        pending.bare(code::REFUSED, &mut out);
        message::close(&mut out, pending.limit, pending.opt);
        self.metrics.said(code::REFUSED, metrics::Giver::Nobody);
        out
    }

    /// Makes the client's message of an upstream's answer.
    fn conclude(&self, pending: &Pending, answer: &forward::Answer, out: &mut Vec<u8>) {
        out.clear();
        match &pending.draft {
            Some(draft) => pending.append(draft, answer, out),
            // Nobody answered. A process can still ask in its libc's own way, from where it is.
            None if answer.source == forward::Source::Nobody && pending.class.is_some() => {
                pending.bare(code::REFUSED, out);
            }
            None if pending.back.is_some() => answer.write(&pending.head, &[], out),
            None => answer.write(&pending.head, &pending.question, out),
        }
        if let Some(back) = &pending.back
            && turn_back(out, back, &pending.question).is_none()
        {
            pending.fail(out);
        }
        message::close(out, pending.limit, pending.opt);
        let code = out.get(3).map_or(code::SERVFAIL, |code| code & 15);
        self.metrics.said(code, metrics::Giver::Upstream);
    }
}

/// Turns the names of a message back into what the client asked for.
fn turn_back(out: &mut Vec<u8>, back: &Back, question: &[u8]) -> Option<()> {
    message::rename(out, &|name| back.turn(name))?;
    message::replace_question(out, question)
}

/// One query's way through what may answer it.
struct Turn<'t> {
    answerer: &'t Answerer,
    policy: &'t Policy,
    request: &'t Request<'t>,
    way: Way<'t>,
    limit: usize,
    opt: Option<Answered>,
}

impl Turn<'_> {
    fn take(&mut self, desk: &mut Desk) -> Begun {
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
        let Desk { out, gathered } = desk;
        let mut draft = Draft::new(out, self.request);
        let kind = self.request.kind;
        let now = unix_now();
        let answerer = self.answerer;
        let outcome = answerer
            .zone
            .read(&LibcOs, &answerer.path, now, |snapshot| {
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
            Ok(Outcome::Answered { code }) => {
                draft.finish(code, true);
                self.send(desk, back.as_ref(), metrics::Giver::Zone)
            }
            Ok(Outcome::Chase { target }) => {
                draft.finish(code::NOERROR, true);
                let draft = Some(desk.out.clone());
                self.ask(desk, &target, back, draft)
            }
            // In the zone or not: who is asked for the rest has the last word.
            Ok(Outcome::Ask) | Err(_) => self.ask(desk, name, back, None),
        }
    }

    fn ask(
        &self,
        desk: &mut Desk,
        name: &WireName,
        back: Option<Back>,
        draft: Option<Vec<u8>>,
    ) -> Begun {
        let request = self.request;
        let dnssec_ok = request.extended.is_some_and(|opt| opt.dnssec_ok);
        let Some(ask) = Question::new(name.as_octets(), request.kind, INTERNET) else {
            return self.bare(desk, code::FORMERR);
        };
        let pending = Pending {
            ask: ask.with_bits(dnssec_ok, request.checking_disabled),
            class: match self.way {
                Way::Process(class) => Some(class.clone()),
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
                    zone::put_address(&mut draft, Section::Answer, owner, time_to_live, address);
                }
            }
        } else if self.request.kind == kind::PTR
            && let Some(address) = zone::address_of(folded)
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
        self.send(desk, back, metrics::Giver::Hosts);
        true
    }

    /// The name, or one above it, is blocked.
    fn block(&self, desk: &mut Desk, zone: usize) -> Begun {
        let mut draft = Draft::new(&mut desk.out, self.request);
        let apex = self.request.name.tail(zone);
        zone::put_authority(
            &mut draft,
            Section::Authority,
            apex,
            BLOCKED_TIME_TO_LIVE,
            1,
        );
        draft.finish(code::NXDOMAIN, true);
        self.send(desk, None, metrics::Giver::Rules)
    }

    /// A response code, and no record.
    fn bare(&self, desk: &mut Desk, code: u8) -> Begun {
        Draft::new(&mut desk.out, self.request).finish(code, false);
        self.send(desk, None, metrics::Giver::Nobody)
    }

    /// Finishes the message in `desk`.
    fn send(&self, desk: &mut Desk, back: Option<&Back>, giver: metrics::Giver) -> Begun {
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
        if !allowed {
            return self.bare(desk, code::REFUSED);
        }
        let path = Path::new(std::ffi::OsStr::from_bytes(self.answerer.path.as_bytes()));
        match transfer::messages(path, self.request, self.opt) {
            Some(messages) => {
                self.answerer
                    .metrics
                    .said(code::NOERROR, metrics::Giver::Zone);
                Begun::Transfer(messages)
            }
            None => self.bare(desk, code::REFUSED),
        }
    }
}

impl Pending {
    /// The message with the aliases in `draft`, and what they lead to. What an upstream says of the
    /// target is said of the whole, but that an absent target is no absent alias (as CoreDNS has it).
    fn append(&self, draft: &[u8], answer: &forward::Answer, out: &mut Vec<u8>) {
        let mut reply = Vec::new();
        answer.write(&self.head, &[], &mut reply);
        let code = reply.get(3).map_or(code::SERVFAIL, |code| code & 15);
        let heard = Resource::all(&reply).zip(Resource::all(draft));
        let Some((reply, aliases)) =
            heard.filter(|_| matches!(code, code::NOERROR | code::NXDOMAIN))
        else {
            out.extend_from_slice(draft);
            self.fail(out);
            return;
        };
        out.extend_from_slice(draft);
        let mut count: usize = aliases.len();
        let answers = reply.iter();
        for resource in answers.filter(|resource| resource.section == Section::Answer) {
            out.extend_from_slice(resource.owner.as_octets());
            for number in [resource.kind, resource.class] {
                out.extend_from_slice(&number.to_be_bytes());
            }
            out.extend_from_slice(&resource.time_to_live.to_be_bytes());
            let length = u16::try_from(resource.data.len()).unwrap_or(u16::MAX);
            out.extend_from_slice(&length.to_be_bytes());
            out.extend_from_slice(&resource.data);
            count += 1;
        }
        let count = u16::try_from(count).unwrap_or(u16::MAX);
        out[6..8].copy_from_slice(&count.to_be_bytes());
    }

    /// Makes SERVFAIL of the message.
    fn fail(&self, out: &mut Vec<u8>) {
        self.bare(code::SERVFAIL, out);
    }

    /// A response code, and no record.
    fn bare(&self, code: u8, out: &mut Vec<u8>) {
        out.clear();
        let [high, low] = self.identifier.to_be_bytes();
        let flags = 0x80 | u8::from(self.head.recursion_desired);
        out.extend_from_slice(&[high, low, flags, code, 0, 1, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&self.question);
    }
}

/// The clock of the zone.
fn unix_now() -> Now {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Now(since.map_or(0, |since| since.as_secs()))
}

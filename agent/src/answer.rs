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
mod pending;
mod records;
mod request;
mod rules;
#[cfg(test)]
mod tests;
mod transfer;
mod turn;
mod views;
mod zone;

pub use metrics::Metrics;
pub use pending::Pending;
pub use rules::Rules;

use crate::forward::{self, Class, Client, Forwarder, Question, Service};
use arc_swap::ArcSwap;
use message::{Answered, LONGEST_MESSAGE};
use request::Heard;
use std::{cell::RefCell, io, net::IpAddr, path::Path, pin::Pin, sync::Arc};
use turn::Turn;
use views::Zones;
use zone::Gathered;

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
    /// The policy hides something from somebody: no upstream is asked for names of the cluster.
    pub hides: bool,
    /// The listener shows what one namespace sees: see [`Answerer::listen_by`].
    pub listens_restricted: bool,
    /// The zone's apex, in lower case.
    pub apex: String,
}

impl Policy {
    /// That of a configuration.
    pub fn new(config: &crate::config::Config) -> Self {
        let listen = config.listen.as_ref();
        Self {
            rules: Rules::new(config),
            udp_payload: listen.map_or(1232, |listen| listen.udp_payload),
            allow_transfer: listen.map_or_else(Vec::new, |listen| listen.allow_transfer.clone()),
            hides: config.has_views(),
            listens_restricted: listen.is_some_and(|listen| listen.namespace.is_some()),
            apex: config
                .kubernetes
                .cluster_domain
                .to_string()
                .to_ascii_lowercase(),
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
    /// From a process of that pod, over `forward.sock`; it has applied rules and zone already.
    Process(&'c Client),
}

/// Answers; shared by all who serve.
pub struct Answerer {
    zones: Zones,
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

impl Service for Answerer {
    async fn answer(&self, query: &[u8], client: &Client) -> Vec<u8> {
        let way = Way::Process(client);
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
    /// Answers from the zone of the class `default` at `path`, which need not be there yet, and from
    /// those beside it.
    pub fn new(path: &Path, policy: Policy, upstreams: Arc<dyn Upstreams>) -> io::Result<Self> {
        Ok(Self {
            zones: Zones::beside(path)?,
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
        if let Some((zone, apex)) = &pending.sight
            && !views::cut(out, apex.as_bytes(), zone)
        {
            pending.fail(out);
        }
        if let Some(back) = &pending.back
            && pending::turn_back(out, back, &pending.question).is_none()
        {
            pending.fail(out);
        }
        message::close(out, pending.limit, pending.opt);
        let code = out.get(3).map_or(code::SERVFAIL, |code| code & 15);
        self.metrics.said(code, metrics::Giver::Upstream);
    }
}

//! What watches over upstreams: probes of those that failed, the search for loops, and the broom.

use super::{Answer, Inner, Lifetimes, Question, Reply, Source, group::Group, upstream::Upstream};
use hickory_proto::{
    op::{Message, OpCode},
    rr::{Name, RData, Record, RecordType, rdata::HINFO},
};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, Weak, atomic::Ordering},
    time::{Duration, Instant},
};
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How often a failed upstream is probed at last, as a multiple of how often at first.
const PROBE_SLOWDOWN: u32 = 8;
/// How long a probe waits for its answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the search for a loop waits for its answer.
const LOOP_TIMEOUT: Duration = Duration::from_secs(2);
/// When a loop is searched for again where the upstream could not be asked, or loops.
const LOOP_RETRY: Duration = Duration::from_secs(15);
/// When it is searched for again where none was found: somebody may redirect later.
const LOOP_REPEAT: Duration = Duration::from_secs(600);
/// Below this name our probes ask. `invalid` never exists (RFC 6761 6.4), so upstreams answer by
/// themselves at once.
const LOOP_ZONE: &[u8] = b"\x05probe\x07nss-k8s\x07invalid\x00";

/// The loop probes under way, by their first labels.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<Box<[u8]>, Sent>>);

/// A loop probe: whom it was sent to, and whether it came back.
struct Sent {
    to: Arc<Upstream>,
    seen: bool,
}

impl Tokens {
    /// The answer to a question that is an agent's probe. If it is one of our own, come back, then
    /// its upstream loops. Another agent's probe is told that it came to an agent.
    pub(super) fn answer(&self, question: &Question) -> Option<Answer> {
        let token = question.name().strip_suffix(LOOP_ZONE)?;
        if let Some(sent) = super::lock(&self.0).get_mut(token) {
            sent.seen = true;
            sent.to.set_looping(true);
        }
        let mut message = Message::response(0, OpCode::Query);
        let owner = question.to_query().name().clone();
        message.add_answer(Record::from_rdata(owner, 0, RData::HINFO(sign())));
        let reply = Reply::new(message, question, &Lifetimes::default()).ok()?;
        Some(Answer::fresh(Arc::new(reply), Source::Nobody))
    }
}

/// What an agent answers to probes.
fn sign() -> HINFO {
    HINFO::new("nss-k8s".to_owned(), "agent".to_owned())
}

/// Whether an agent answered.
pub(super) fn is_signed(message: &Message) -> bool {
    let sign = RData::HINFO(sign());
    message.answers.iter().any(|record| record.data == sign)
}

/// Sweeps the cache and the pools every second, and looks for loops; ends with the forwarder.
pub(super) async fn tend(forwarder: Weak<Inner>) {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        let Some(inner) = forwarder.upgrade() else {
            return;
        };
        let now = Instant::now();
        let (gone, hot) = inner.cache.sweep(now);
        for it in gone {
            inner.tell_gone(&it.key, it.classes);
        }
        for key in hot {
            if let Some(question) = Question::from_key(&key) {
                inner.prefetch(&question);
            }
        }
        inner.metrics.cache(inner.cache.size());
        let routing = inner.routing.load_full();
        for group in routing.groups() {
            for upstream in &group.upstreams {
                upstream.close_old();
                if !upstream.is_up() {
                    watch_over(&inner, upstream, group);
                }
            }
        }
        if !inner.settings.load().loop_probe {
            continue;
        }
        for group in routing.groups().filter(|it| it.is_default) {
            for upstream in &group.upstreams {
                if upstream.is_loop_check_due(now, LOOP_RETRY) {
                    let (inner, upstream) = (Arc::clone(&inner), Arc::clone(upstream));
                    tokio::spawn(find_loop(inner, upstream, group.is_cluster));
                }
            }
        }
    }
}

/// Asks one upstream for a name that nobody else asks for, and sees whether we are asked for it. Of
/// the cluster DNS it is a loop, too, if another agent is: that one asks the cluster DNS as well.
async fn find_loop(inner: Arc<Inner>, upstream: Arc<Upstream>, is_cluster: bool) {
    let Some((token, question)) = fresh() else {
        return;
    };
    let entry = Sent {
        to: Arc::clone(&upstream),
        seen: false,
    };
    super::lock(&inner.probes.0).insert(token.clone(), entry);
    let now = Instant::now();
    let result = upstream.probe(&question, now + LOOP_TIMEOUT).await;
    let sent = super::lock(&inner.probes.0).remove(&token);
    let Ok(message) = result else {
        // A probe that got lost says nothing; it is sent again soon.
        return;
    };
    let came_back = sent.is_some_and(|it| it.seen);
    if came_back || (is_cluster && is_signed(&message)) {
        upstream.set_looping(true);
    } else {
        upstream.set_looping(false);
        upstream.check_loop_at(now + LOOP_REPEAT);
    }
}

/// A question that nobody has asked yet, and its token.
fn fresh() -> Option<(Box<[u8]>, Question)> {
    let random = RandomState::new();
    let token = format!("{:016x}{:016x}", random.hash_one(0), random.hash_one(1));
    let mut name = vec![token.len() as u8];
    name.extend_from_slice(token.as_bytes());
    let token: Box<[u8]> = name.as_slice().into();
    name.extend_from_slice(LOOP_ZONE);
    // CoreDNS's own search asks for HINFO, too.
    let question = Question::new(&name, RecordType::HINFO.into(), 1)?;
    Some((token, question))
}

/// A question to which an agent gives itself away.
pub(super) fn any() -> Option<Question> {
    fresh().map(|(_, question)| question)
}

/// Probes an upstream that failed until it answers, unless that is being done.
pub(super) fn watch_over(inner: &Arc<Inner>, upstream: &Arc<Upstream>, group: &Group) {
    if upstream.probing.swap(true, Ordering::Relaxed) {
        return;
    }
    // The cluster DNS answers for its own zone by itself; others, for the root's name servers.
    let question = match group.is_cluster {
        true => Question::of(&inner.settings.load().cluster_zone, RecordType::SOA),
        false => Question::of(&Name::root(), RecordType::NS),
    };
    let Some(question) = question else { return };
    let upstream = Arc::downgrade(upstream);
    let every = group.probe_every;
    inner.runtime.spawn(async move {
        let mut pause = every;
        loop {
            let Some(upstream) = upstream.upgrade() else {
                return;
            };
            let result = upstream
                .probe(&question, Instant::now() + PROBE_TIMEOUT)
                .await;
            match result {
                Ok(_) => {
                    upstream.probing.store(false, Ordering::Relaxed);
                    return;
                }
                Err(super::upstream::Trouble::Timeout) => upstream.failed(),
                Err(_) => {}
            }
            drop(upstream);
            sleep(pause).await;
            pause = (pause * 2).min(every * PROBE_SLOWDOWN);
        }
    });
}

//! One question under way at a time: equal ones wait for the same answer.

use super::{
    Answer, Class, Inner, Question, Reply, Source, Verdict,
    cache::Demand,
    change, probe,
    upstream::{Trouble, Upstream, is_refusal},
};
use hickory_proto::op::{Message, ResponseCode};
use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, atomic::Ordering},
    time::Instant,
};
use tokio::{sync::watch, time::timeout};

/// For how many seconds it is remembered that nobody answered (RFC 9520 3.2: one at least).
const NOBODY_FOR: u32 = 1;

/// The questions under way.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Box<[u8]>, Landing>>);

/// Where an answer will turn up.
type Landing = watch::Receiver<Option<Answer>>;

/// What became of the wish to ask.
enum Boarding {
    /// It is under way now; whether it was before.
    Landing(Landing),
    /// Too many are.
    Full,
}

/// Takes a question out of the list, even if its task dies.
struct Departed {
    inner: Arc<Inner>,
    question: Question,
}

impl Drop for Departed {
    fn drop(&mut self) {
        super::lock(&self.inner.flights.0).remove(self.question.key());
    }
}

impl Inner {
    /// Asks upstreams, or waits for the one who does. `stale` is what there is otherwise.
    pub(super) async fn ask(
        self: &Arc<Self>,
        class: Option<&Class>,
        question: &Question,
        stale: Option<Answer>,
    ) -> Answer {
        let mut landing = match self.board(class, question, Demand::Asked) {
            Boarding::Landing(landing) => landing,
            Boarding::Full => {
                self.metrics.rejects.inc();
                return stale.unwrap_or_else(|| bare(question, ResponseCode::Refused));
            }
        };
        let Some(stale) = stale else {
            let answer = land(&mut landing).await;
            let answer = answer.unwrap_or_else(|| bare(question, ResponseCode::ServFail));
            self.touch(class, question, &answer);
            return answer;
        };
        // RFC 8767 5: the client waits for a while, or not at all where nobody can answer.
        let routing = self.routing.load();
        let settings = self.settings.load();
        let down = routing.group(question).is_none_or(|group| group.is_down());
        let patience = if down {
            std::time::Duration::ZERO
        } else {
            settings.cache.stale_after
        };
        let answer = match timeout(patience, land(&mut landing)).await {
            Ok(Some(answer)) if answer.source == Source::Upstream => answer,
            _ => stale,
        };
        if answer.source == Source::Stale {
            self.metrics.served_stale.inc();
        }
        self.touch(class, question, &answer);
        answer
    }

    /// Asks for a name before its answer expires.
    pub(super) fn prefetch(self: &Arc<Self>, question: &Question) {
        if let Boarding::Landing(_) = self.board(None, question, Demand::Prefetched) {
            self.metrics.prefetched.inc();
        }
    }

    /// Joins the question that is under way, or starts it.
    fn board(
        self: &Arc<Self>,
        class: Option<&Class>,
        question: &Question,
        demand: Demand,
    ) -> Boarding {
        let most = match demand {
            Demand::Asked => self.settings.load().max_concurrent,
            // Those who wait come first.
            Demand::Prefetched => self.settings.load().max_concurrent / 2,
        };
        let mut flights = super::lock(&self.flights.0);
        let count = flights.len();
        match flights.entry(question.key().into()) {
            Entry::Occupied(entry) => {
                self.metrics.joined.inc();
                Boarding::Landing(entry.get().clone())
            }
            Entry::Vacant(_) if count >= most => Boarding::Full,
            Entry::Vacant(entry) => {
                let (sender, landing) = watch::channel(None);
                entry.insert(landing.clone());
                let departed = Departed {
                    inner: Arc::clone(self),
                    question: question.clone(),
                };
                let class = class.cloned();
                self.runtime.spawn(async move {
                    let answer = departed
                        .inner
                        .fly(class.as_ref(), &departed.question, demand)
                        .await;
                    // Who asks from now on finds the cache, or starts anew.
                    drop(departed);
                    sender.send_replace(Some(answer));
                });
                Boarding::Landing(landing)
            }
        }
    }

    /// Tells a class of an answer that it waited for, if nobody has.
    fn touch(&self, class: Option<&Class>, question: &Question, answer: &Answer) {
        let Some(class) = class else { return };
        if self.cache.claim(question, class, Instant::now()) {
            let class = std::slice::from_ref(class);
            self.tell_of(question, answer, class);
        }
    }

    /// Asks the group's upstreams, keeps what they say, tells the news.
    async fn fly(
        self: &Arc<Self>,
        class: Option<&Class>,
        question: &Question,
        demand: Demand,
    ) -> Answer {
        let settings = self.settings.load_full();
        let emptied = self.emptied.load(Ordering::Acquire);
        let reply = match self.ask_group(question).await {
            Some(message) => Reply::new(message, question, &settings.cache.lifetimes)
                .inspect_err(|error| tracing::debug!(%question, %error, "unusable"))
                .ok(),
            None => None,
        };
        let now = Instant::now();
        let failure = || Reply::bare(question, ResponseCode::ServFail, NOBODY_FOR);
        let (reply, source) = match reply {
            Some(reply) => (Arc::new(reply), Source::Upstream),
            None => (Arc::new(failure()), Source::Nobody),
        };
        // Other upstreams may be asked by now: it is good for those who wait, and no longer.
        if self.emptied.load(Ordering::Acquire) != emptied {
            return Answer::fresh(reply, source);
        }
        if reply.verdict() == Verdict::Failure
            && let Some((held, fresh)) = self.cache.peek(question, now)
        {
            let classes = self.cache.failed(question, now);
            let stale = self.stale(&held);
            // A prefetch that failed takes nothing from an answer that is still good.
            if !fresh {
                self.tell_of(question, &stale, &classes);
            }
            return stale;
        }
        let answer = Answer::fresh(Arc::clone(&reply), source);
        let stored = self.cache.put(question, &reply, class, demand, now);
        self.metrics.evictions.inc_by(stored.evicted.len() as u64);
        for gone in stored.evicted {
            self.tell_gone(&gone.key, gone.classes);
        }
        self.tell_of(question, &answer, &stored.classes);
        answer
    }

    /// Tells those who had asked that an answer is gone.
    pub(super) fn tell_gone(&self, key: &[u8], classes: Vec<Class>) {
        if let Some(question) = Question::from_key(key) {
            self.tell(change::remove(&question, classes));
        }
    }

    /// The first good answer of the group's upstreams; else the last bad one.
    ///
    /// An upstream has `attempt_timeout` as long as another one is left, the last one all the time
    /// that remains: asking the same one again would not make it faster. One that cannot be
    /// reached is tried again, since many servers may hide behind one Service address.
    async fn ask_group(self: &Arc<Self>, question: &Question) -> Option<Message> {
        let settings = self.settings.load_full();
        let routing = self.routing.load_full();
        let group = routing.group(question)?;
        let deadline = Instant::now() + settings.timeout;
        let order = group.order(RandomState::new().hash_one(question.key()));
        if order.all_down {
            self.metrics.broken();
        }
        let mut refusal = None;
        let mut done: Vec<&Arc<Upstream>> = Vec::new();
        for upstream in &order.upstreams {
            if done.iter().any(|it| Arc::ptr_eq(it, upstream)) {
                continue;
            }
            let others = order.upstreams.iter().any(|it| {
                !Arc::ptr_eq(it, upstream) && !done.iter().any(|done| Arc::ptr_eq(done, it))
            });
            let now = Instant::now();
            let until = match others {
                true => deadline.min(now + settings.attempt_timeout),
                false => deadline,
            };
            if now >= deadline {
                break;
            }
            match upstream.ask(question, until).await {
                Ok(message) if is_refusal(&message) => {
                    done.push(upstream);
                    refusal = Some(message);
                }
                Ok(message) => return Some(message),
                Err(trouble) => {
                    let to = upstream.settings.address;
                    tracing::debug!(%question, %to, %trouble, "no answer");
                    probe::watch_over(self, upstream, group);
                    if trouble == Trouble::Timeout {
                        done.push(upstream);
                    }
                }
            }
        }
        refusal
    }
}

/// Waits for the answer; nothing if its task died.
async fn land(landing: &mut Landing) -> Option<Answer> {
    landing.wait_for(Option::is_some).await.ok()?.clone()
}

/// An answer of ours, without records.
fn bare(question: &Question, code: ResponseCode) -> Answer {
    let source = match code {
        ResponseCode::Refused => Source::Overloaded,
        _ => Source::Nobody,
    };
    Answer::fresh(Arc::new(Reply::bare(question, code, 0)), source)
}

//! What was said, for as long as it may be said again. Pure: every call names its moment.
//!
//! The cache is cut into shards, each behind a lock that is held for a look-up or a change of one
//! entry. An entry is fresh until its TTL ends, then stale until it lapses (RFC 8767), then gone.
//! When a shard is full, a clock hand walks over it and takes out the first entry that nobody used
//! since it last passed.

mod shard;

use super::{Class, Lifetimes, Question, Reply};
use shard::Shard;
use std::{
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Into how many parts the cache is cut; a power of two.
const SHARDS: usize = 16;

/// Bounds and times of the cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// The most answers.
    pub entries: usize,
    /// The most octets that answers take.
    pub bytes: usize,
    /// Bounds of TTLs.
    pub lifetimes: Lifetimes,
    /// How long an answer may be served past its TTL while no upstream answers; 0: never.
    pub stale_for: Duration,
    /// The TTL of such an answer, in seconds (RFC 8767 4: 30).
    pub stale_ttl: u32,
    /// How long a client waits for an upstream before it gets a stale answer. RFC 8767 5 says 1.8 s;
    /// processes go after a second, or less.
    pub stale_after: Duration,
    /// How long a stale answer is served without asking again once asking failed (RFC 8767 5).
    pub recheck: Duration,
    /// Names hit so often in a lifetime are asked for again before it ends; 0: none is.
    pub prefetch_hits: u32,
    /// They are when so many hundredths of it are left, or a second.
    pub prefetch_percent: u8,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            entries: 20_000,
            bytes: 32 << 20,
            lifetimes: Lifetimes::default(),
            stale_for: Duration::from_secs(86_400),
            stale_ttl: 30,
            stale_after: Duration::from_millis(200),
            recheck: Duration::from_secs(5),
            prefetch_hits: 2,
            prefetch_percent: 10,
        }
    }
}

/// What is known of a question.
#[derive(Debug)]
pub enum Found {
    /// An answer within its time.
    Fresh {
        /// The answer.
        reply: Arc<Reply>,
        /// Its age in whole seconds.
        age: u32,
        /// It is hot and about to expire: the caller asks again. Said once a lifetime.
        refresh: bool,
        /// The class asks for the first time since the answer came.
        new_to_class: bool,
    },
    /// An answer past its time.
    Stale {
        /// The answer.
        reply: Arc<Reply>,
        /// Asking failed a moment ago: no need to ask again yet.
        rest: bool,
    },
    /// Nothing.
    Nothing,
}

/// Why an answer is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Somebody waited for it.
    Asked,
    /// It was about to expire.
    Prefetched,
}

/// An answer that was taken out, and the classes that had asked for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Gone {
    /// The question.
    pub key: Arc<[u8]>,
    /// Who had asked.
    pub classes: Vec<Class>,
}

/// What putting an answer led to.
#[derive(Debug, Default)]
pub struct Stored {
    /// The classes that asked for it so far, this one included.
    pub classes: Vec<Class>,
    /// What had to go for it.
    pub evicted: Vec<Gone>,
}

/// All answers.
pub struct Cache {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
}

impl Cache {
    /// An empty one.
    pub fn new(settings: &CacheSettings) -> Self {
        let shard = || Mutex::new(Shard::new(settings, SHARDS));
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            hasher: RandomState::new(),
        }
    }

    /// What is known of a question; counts as a hit.
    pub fn find(&self, question: &Question, class: Option<&Class>, now: Instant) -> Found {
        self.shard(question.key()).find(question.key(), class, now)
    }

    /// The same without counting as a hit: the answer, and whether it is fresh.
    pub fn peek(&self, question: &Question, now: Instant) -> Option<(Arc<Reply>, bool)> {
        self.shard(question.key()).peek(question.key(), now)
    }

    /// Counts a class among those that asked for the answer, if there is a fresh one; whether it
    /// is the first time. No hit.
    pub fn claim(&self, question: &Question, class: &Class, now: Instant) -> bool {
        self.shard(question.key()).claim(question.key(), class, now)
    }

    /// Keeps an answer in place of what was known. One that may not be kept is not, and takes the
    /// old one with it; a failure leaves an older answer for those who take stale ones.
    pub fn put(
        &self,
        question: &Question,
        reply: &Arc<Reply>,
        class: Option<&Class>,
        demand: Demand,
        now: Instant,
    ) -> Stored {
        let key = question.key();
        self.shard(key).put(key, reply, class, demand, now)
    }

    /// Asking failed: a stale answer may be served for a while without asking again. Says who had
    /// asked for it.
    pub fn failed(&self, question: &Question, now: Instant) -> Vec<Class> {
        self.shard(question.key()).failed(question.key(), now)
    }

    /// Takes out what has lapsed; the names that are hot and about to expire, for the caller to ask
    /// again. To be called once a second; each shard is locked by itself.
    pub fn sweep(&self, now: Instant) -> (Vec<Gone>, Vec<Arc<[u8]>>) {
        let (mut gone, mut hot) = (Vec::new(), Vec::new());
        for shard in &self.shards {
            lock(shard).sweep(now, &mut gone, &mut hot);
        }
        (gone, hot)
    }

    /// Forgets everything, under new bounds.
    pub fn clear(&self, settings: &CacheSettings) {
        for shard in &self.shards {
            *lock(shard) = Shard::new(settings, SHARDS);
        }
    }

    /// How many answers it holds: records, denials, octets.
    pub fn size(&self) -> Size {
        let mut size = Size::default();
        for shard in &self.shards {
            let part = lock(shard).size();
            size.answers += part.answers;
            size.denials += part.denials;
            size.bytes += part.bytes;
        }
        size
    }

    fn shard(&self, key: &[u8]) -> MutexGuard<'_, Shard> {
        let hash = self.hasher.hash_one(key);
        lock(&self.shards[hash as usize % SHARDS])
    }
}

/// What a cache holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Answers with records.
    pub answers: usize,
    /// Negative answers and failures.
    pub denials: usize,
    /// Octets of both.
    pub bytes: usize,
}

/// A lock whose holders leave it consistent even if they panic.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

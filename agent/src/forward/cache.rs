//! What was said, for as long as it may be said again. Pure: every call names its moment.
//!
//! The cache is cut into shards, each behind a lock that is held for a look-up or a change of one
//! entry. An entry is fresh until its TTL ends, then stale until it lapses (RFC 8767), then gone.
//! When a shard is full, a clock hand walks over it and takes out the first entry that nobody used
//! since it last passed.

use super::{Class, Lifetimes, Question, Reply, Verdict};
use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Into how many parts the cache is cut; a power of two.
const SHARDS: usize = 16;
/// An entry's own octets, beside its key's and its reply's: slot, index entry, two counters each.
const OVERHEAD: usize = 192;
/// What hits can add up to, as a multiple of those that make a name hot.
const HEAT_LIMIT: u32 = 16;

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
    /// How long a client waits for an upstream before it gets a stale answer (RFC 8767 5: 1.8 s).
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
            lifetimes: Lifetimes {
                min: 0,
                max: 3600,
                negative: 1800,
                failure: 1,
            },
            stale_for: Duration::from_secs(86_400),
            stale_ttl: 30,
            stale_after: Duration::from_millis(1800),
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
        let shard = || {
            Mutex::new(Shard {
                settings: settings.clone(),
                entries: settings.entries.div_ceil(SHARDS),
                bytes: settings.bytes / SHARDS,
                ..Shard::default()
            })
        };
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            hasher: RandomState::new(),
        }
    }

    /// What is known of a question; counts as a hit.
    pub fn find(&self, question: &Question, class: Option<&Class>, now: Instant) -> Found {
        self.shard(question.key()).find(question.key(), class, now)
    }

    /// Whether there is anything to serve stale if no upstream answers; no hit.
    pub fn holds(&self, question: &Question, now: Instant) -> bool {
        let shard = self.shard(question.key());
        shard.slot(question.key()).is_some_and(|it| now < it.lapses)
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
            let mut shard = lock(shard);
            *shard = Shard {
                settings: settings.clone(),
                entries: settings.entries.div_ceil(SHARDS),
                bytes: settings.bytes / SHARDS,
                ..Shard::default()
            };
        }
    }

    /// How many answers it holds: records, denials, octets.
    pub fn size(&self) -> Size {
        let mut size = Size::default();
        for shard in &self.shards {
            let shard = lock(shard);
            size.denials += shard.denials;
            size.answers += shard.index.len() - shard.denials;
            size.bytes += shard.used_bytes;
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

// ---- one part of the cache ----------------------------------------------------------------------

#[derive(Default)]
struct Shard {
    settings: CacheSettings,
    /// Its bounds.
    entries: usize,
    bytes: usize,
    index: HashMap<Arc<[u8]>, usize>,
    slots: Vec<Option<Slot>>,
    free: Vec<usize>,
    /// Where the next eviction begins to look.
    hand: usize,
    used_bytes: usize,
    denials: usize,
}

/// One answer.
struct Slot {
    key: Arc<[u8]>,
    reply: Arc<Reply>,
    stored: Instant,
    expires: Instant,
    lapses: Instant,
    /// No need to ask again before, if stale.
    rest_until: Instant,
    /// Hits, halved with every prefetch.
    heat: u32,
    /// Used since the hand last passed.
    used: bool,
    /// Somebody was told to ask again.
    refreshing: bool,
    classes: Vec<Class>,
}

impl Slot {
    fn bytes(&self) -> usize {
        self.key.len() + self.reply.size() + OVERHEAD
    }

    /// Whether it is about to expire and was hit often enough.
    fn wants_refresh(&self, settings: &CacheSettings, now: Instant) -> bool {
        let hits = settings.prefetch_hits;
        let lifetime = self.expires - self.stored;
        let last = lifetime * settings.prefetch_percent.into() / 100;
        let margin = last.max(Duration::from_secs(1));
        hits > 0
            && self.heat >= hits
            && !self.refreshing
            && self.reply.verdict() != Verdict::Failure
            && lifetime >= Duration::from_secs(2)
            && now < self.expires
            && now + margin >= self.expires
    }
}

impl Shard {
    fn slot(&self, key: &[u8]) -> Option<&Slot> {
        self.slots.get(*self.index.get(key)?)?.as_ref()
    }

    fn slot_mut(&mut self, key: &[u8]) -> Option<&mut Slot> {
        self.slots.get_mut(*self.index.get(key)?)?.as_mut()
    }

    fn find(&mut self, key: &[u8], class: Option<&Class>, now: Instant) -> Found {
        let settings = &self.settings;
        let slot = self.index.get(key).and_then(|at| self.slots.get_mut(*at));
        let Some(slot) = slot.and_then(Option::as_mut) else {
            return Found::Nothing;
        };
        if now >= slot.lapses {
            return Found::Nothing;
        }
        slot.used = true;
        let reply = Arc::clone(&slot.reply);
        if now >= slot.expires {
            let rest = now < slot.rest_until;
            return Found::Stale { reply, rest };
        }
        let limit = settings.prefetch_hits.saturating_mul(HEAT_LIMIT);
        slot.heat = slot.heat.saturating_add(1).min(limit);
        let refresh = slot.wants_refresh(settings, now);
        slot.refreshing |= refresh;
        let new_to_class = class.is_some_and(|class| remember(&mut slot.classes, class));
        Found::Fresh {
            reply,
            age: whole_seconds(now - slot.stored),
            refresh,
            new_to_class,
        }
    }

    fn put(
        &mut self,
        key: &[u8],
        reply: &Arc<Reply>,
        class: Option<&Class>,
        demand: Demand,
        now: Instant,
    ) -> Stored {
        let held = self.slot(key).is_some_and(|it| now < it.lapses);
        if reply.verdict() == Verdict::Failure && held {
            return Stored::default();
        }
        let old = self.take(key);
        let mut classes = old.as_ref().map_or(Vec::new(), |it| it.classes.clone());
        if let Some(class) = class {
            remember(&mut classes, class);
        }
        if reply.lifetime() == 0 {
            return Stored::default();
        }
        let lifetime = Duration::from_secs(reply.lifetime().into());
        let expires = now + lifetime;
        let stale_for = match reply.verdict() {
            Verdict::Failure => Duration::ZERO,
            _ => self.settings.stale_for,
        };
        let hits = self.settings.prefetch_hits;
        let slot = Slot {
            key: key.into(),
            reply: Arc::clone(reply),
            stored: now,
            expires,
            lapses: expires + stale_for,
            rest_until: now,
            heat: carried_heat(old.as_ref(), demand, hits, now),
            // One that is asked for a single time makes room first.
            used: old.is_some(),
            refreshing: false,
            classes: classes.clone(),
        };
        let bytes = slot.bytes();
        let mut evicted = Vec::new();
        if bytes > self.bytes || self.entries == 0 {
            return Stored { classes, evicted };
        }
        while self.index.len() >= self.entries || self.used_bytes + bytes > self.bytes {
            evicted.extend(self.evict(now));
        }
        self.insert(slot);
        Stored { classes, evicted }
    }

    fn failed(&mut self, key: &[u8], now: Instant) -> Vec<Class> {
        let rest = self.settings.recheck;
        let Some(slot) = self.slot_mut(key) else {
            return Vec::new();
        };
        slot.refreshing = false;
        slot.rest_until = now + rest;
        slot.classes.clone()
    }

    fn sweep(&mut self, now: Instant, gone: &mut Vec<Gone>, hot: &mut Vec<Arc<[u8]>>) {
        let settings = &self.settings;
        let mut lapsed = Vec::new();
        for slot in self.slots.iter_mut().flatten() {
            if now >= slot.lapses {
                lapsed.push(Arc::clone(&slot.key));
            } else if slot.wants_refresh(settings, now) {
                slot.refreshing = true;
                hot.push(Arc::clone(&slot.key));
            }
        }
        gone.extend(lapsed.iter().filter_map(|key| self.take(key)).map(Gone::of));
    }

    fn insert(&mut self, slot: Slot) {
        self.used_bytes += slot.bytes();
        self.denials += usize::from(slot.reply.verdict() != Verdict::Records);
        let key = Arc::clone(&slot.key);
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at] = Some(slot);
                at
            }
            None => {
                self.slots.push(Some(slot));
                self.slots.len() - 1
            }
        };
        self.index.insert(key, at);
    }

    fn take(&mut self, key: &[u8]) -> Option<Slot> {
        let at = self.index.remove(key)?;
        let slot = self.slots.get_mut(at)?.take()?;
        self.free.push(at);
        self.used_bytes -= slot.bytes();
        self.denials -= usize::from(slot.reply.verdict() != Verdict::Records);
        Some(slot)
    }

    /// Takes out the next entry that was not used since the hand last passed, or that has expired.
    /// Two rounds always find one; nothing is found only where there is nothing.
    fn evict(&mut self, now: Instant) -> Option<Gone> {
        for _ in 0..self.slots.len() * 2 {
            self.hand = (self.hand + 1) % self.slots.len();
            let Some(slot) = &mut self.slots[self.hand] else {
                continue;
            };
            if slot.used && now < slot.expires {
                slot.used = false;
                continue;
            }
            let key = Arc::clone(&slot.key);
            return self.take(&key).map(Gone::of);
        }
        None
    }
}

impl Gone {
    fn of(slot: Slot) -> Self {
        Self {
            key: slot.key,
            classes: slot.classes,
        }
    }
}

/// Adds a class; whether it was new.
fn remember(classes: &mut Vec<Class>, class: &Class) -> bool {
    let new = !classes.contains(class);
    if new {
        classes.push(class.clone());
    }
    new
}

/// How hot a name is as its new answer comes.
///
/// Processes that answer from shared memory do not tell us of their hits. But if a name is asked
/// for within a lifetime after it expired, it is in use: it counts as hit often enough to be
/// prefetched, at least once. Every prefetch halves the heat, so an unused name cools down.
fn carried_heat(old: Option<&Slot>, demand: Demand, hits: u32, now: Instant) -> u32 {
    match (old, demand) {
        (Some(old), Demand::Prefetched) => old.heat / 2,
        (Some(old), Demand::Asked) if now < old.expires + (old.expires - old.stored) => {
            let heat = old.heat.saturating_add(hits);
            heat.min(hits.saturating_mul(HEAT_LIMIT))
        }
        _ => 1,
    }
}

/// Rounded down; an age of years is as good as any.
fn whole_seconds(age: Duration) -> u32 {
    u32::try_from(age.as_secs()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;

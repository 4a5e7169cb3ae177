//! One part of the cache: its entries, and which of them must go.

use super::{CacheSettings, Demand, Found, Gone, Size, Stored};
use crate::forward::{Class, Reply, Verdict};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// An entry's own octets, beside its key's and its reply's: slot, index entry, two counters each.
const OVERHEAD: usize = 192;
/// What hits can add up to, as a multiple of those that make a name hot.
const HEAT_LIMIT: u32 = 16;

/// One part of the cache, by itself.
#[derive(Default)]
pub(super) struct Shard {
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
    /// With its part of the bounds.
    pub(super) fn new(settings: &CacheSettings, shards: usize) -> Self {
        Self {
            settings: settings.clone(),
            entries: settings.entries.div_ceil(shards),
            bytes: settings.bytes / shards,
            ..Self::default()
        }
    }

    /// What it holds.
    pub(super) fn size(&self) -> Size {
        Size {
            answers: self.index.len() - self.denials,
            denials: self.denials,
            bytes: self.used_bytes,
        }
    }

    /// What is known of a key and has not lapsed, and whether it is fresh; no hit.
    pub(super) fn peek(&self, key: &[u8], now: Instant) -> Option<(Arc<Reply>, bool)> {
        let slot = self.slot(key).filter(|it| now < it.lapses)?;
        Some((Arc::clone(&slot.reply), now < slot.expires))
    }

    /// Counts a class among those that asked, if there is a fresh answer; whether it was new.
    pub(super) fn claim(&mut self, key: &[u8], class: &Class, now: Instant) -> bool {
        let slot = self.slot_mut(key).filter(|it| now < it.expires);
        slot.is_some_and(|slot| remember(&mut slot.classes, class))
    }

    fn slot(&self, key: &[u8]) -> Option<&Slot> {
        self.slots.get(*self.index.get(key)?)?.as_ref()
    }

    fn slot_mut(&mut self, key: &[u8]) -> Option<&mut Slot> {
        self.slots.get_mut(*self.index.get(key)?)?.as_mut()
    }

    /// What is known of a key; counts as a hit.
    pub(super) fn find(&mut self, key: &[u8], class: Option<&Class>, now: Instant) -> Found {
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

    /// See [`super::Cache::put`].
    pub(super) fn put(
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

    /// See [`super::Cache::failed`].
    pub(super) fn failed(&mut self, key: &[u8], now: Instant) -> Vec<Class> {
        let rest = self.settings.recheck;
        let Some(slot) = self.slot_mut(key) else {
            return Vec::new();
        };
        slot.refreshing = false;
        slot.rest_until = now + rest;
        slot.classes.clone()
    }

    /// Takes out what has lapsed, and collects what is hot.
    pub(super) fn sweep(&mut self, now: Instant, gone: &mut Vec<Gone>, hot: &mut Vec<Arc<[u8]>>) {
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
pub(super) fn whole_seconds(age: Duration) -> u32 {
    u32::try_from(age.as_secs()).unwrap_or(u32::MAX)
}

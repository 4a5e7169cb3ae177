//! The pure middle of the agent: events of watched objects in, changes of the zone out.
//!
//! ```text
//!   watches, manifests --Event--> handle --> what is known --> flush --put/delete--> Sink (the zone)
//! ```
//!
//! It owns the rules of relists (differences are applied, the unseen goes at the end of the list
//! only), of endpoints that move between slices, and of a zone that an earlier agent left behind.
//! It reads no clock and knows no task, file or socket: time comes in, changes go out.

mod adopted;
mod entities;
mod exposure;
mod known;
mod packed;
pub mod servers;
mod service;
mod sink;

pub use entities::{Event, Held, Labels, Object, ObjectKey, SliceOf, Source};
pub use exposure::{Exposure, KnownNamespace};
pub use sink::{Flushed, Sink};

use exposure::Shown;
use known::Feed;
use nss_k8s_zone::{ServiceKey, SliceId, WriteError};
use service::{Entry, Rule};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant, SystemTime},
};

/// The model's rules that can be configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The sources that must complete their first list before the zone goes live.
    pub sources: Vec<Source>,
    /// Slices of ClusterIP services are published too.
    pub all_slices: bool,
    /// How long an endpoint stays that left a slice without turning up in another.
    pub grace: Duration,
    /// The Service whose addresses are the cluster's name servers; `None`: it is found by itself.
    pub cluster_dns: Option<ServiceKey>,
    /// Which namespaces are served.
    pub exposure: Exposure,
    /// A ClusterIP service without a ready endpoint is not served; needs `all_slices`.
    pub ignore_empty: bool,
}

/// Everything known of the cluster that the zone is made of.
pub struct Model {
    settings: Settings,
    feeds: BTreeMap<Source, Feed>,
    namespaces: HashMap<String, Presence>,
    /// Flushed, and nobody has asked yet: see [`Model::changed_namespaces`].
    changed_namespaces: Option<BTreeSet<String>>,
    services: HashMap<ServiceKey, Entry>,
    /// Services that a label calls name servers of the cluster.
    name_servers: BTreeSet<ServiceKey>,
    /// What the zone held at the start and no object has claimed yet.
    adopted: Held,
    dirty_namespaces: BTreeSet<String>,
    dirty_services: BTreeSet<ServiceKey>,
    /// Refused for want of space: tried again on `retry`.
    refused: BTreeSet<ObjectKey>,
    /// What was, and is tried by the next flush.
    again: BTreeSet<ObjectKey>,
    /// When endpoints in their grace time go.
    expiries: BTreeSet<(Instant, ServiceKey)>,
    triggers: Vec<SystemTime>,
}

/// Why a namespace exists: the API has no object in a namespace that is not there, and a directory
/// of manifests need not spell namespaces out.
#[derive(Debug, Default)]
struct Presence {
    listed: bool,
    objects: usize,
    labels: Labels,
    /// As of the last flush.
    shown: Shown,
}

impl Model {
    /// A model of an empty cluster in front of a zone that holds `adopted`.
    pub fn new(settings: Settings, adopted: Held) -> Self {
        let feeds = settings
            .sources
            .iter()
            .map(|source| (*source, Feed::default()))
            .collect();
        Self {
            settings,
            feeds,
            namespaces: HashMap::new(),
            changed_namespaces: None,
            services: HashMap::new(),
            name_servers: BTreeSet::new(),
            adopted,
            dirty_namespaces: BTreeSet::new(),
            dirty_services: BTreeSet::new(),
            refused: BTreeSet::new(),
            again: BTreeSet::new(),
            expiries: BTreeSet::new(),
            triggers: Vec::new(),
        }
    }

    /// Takes one event in. Nothing is published before [`Model::flush`].
    pub fn handle(&mut self, source: Source, event: Event, now: Instant) {
        match event {
            Event::Init => {
                let feed = self.feeds.entry(source).or_default();
                feed.generation += 1;
                feed.listing = true;
            }
            Event::Apply(object) => self.apply(source, object, now),
            Event::Unreadable(key) => self.keep(source, key),
            Event::Delete(key) => {
                let known = self.feeds.entry(source).or_default().known.remove(&key);
                if let Some(known) = known {
                    self.remove(source, key, known, now);
                }
            }
            Event::Done { certain } => {
                let feed = self.feeds.entry(source).or_default();
                feed.listing = false;
                feed.listed = true;
                feed.certain = certain;
                let generation = feed.generation;
                let unseen: Vec<_> = feed
                    .known
                    .extract_if(|_, known| known.generation < generation)
                    .collect();
                for (key, known) in unseen {
                    self.remove(source, key, known, now);
                }
                // What was not listed has no labels for certain now, and no endpoints.
                if source == Source::Namespaces {
                    self.changed_namespaces.get_or_insert_default();
                    self.dirty_namespaces
                        .extend(self.namespaces.keys().cloned());
                }
                if source.is_slices() && self.settings.ignore_empty {
                    self.dirty_services.extend(self.services.keys().cloned());
                }
            }
        }
    }

    /// Whether every source has completed its first list.
    pub fn is_complete(&self) -> bool {
        self.settings
            .sources
            .iter()
            .all(|source| self.is_listed(*source))
    }

    /// When [`Model::flush`] must be called again although no event comes.
    pub fn deadline(&self) -> Option<Instant> {
        self.expiries.first().map(|(until, _)| *until)
    }

    /// Whether something could not be published for want of space: then a miss proves nothing. What an
    /// earlier agent could not publish counts until everything has been listed.
    pub fn lacks_space(&self) -> bool {
        !self.refused.is_empty() || self.adopted.incomplete && !self.is_complete()
    }

    /// Marks what was refused for want of space, to be tried by the next flush.
    pub fn retry(&mut self) {
        self.again = core::mem::take(&mut self.refused);
        for key in &self.again {
            match key {
                ObjectKey::Namespace(name) => {
                    self.dirty_namespaces.insert(name.clone());
                }
                ObjectKey::Service(key) => {
                    self.dirty_services.insert(key.clone());
                }
                ObjectKey::Slice { .. } => {}
            }
        }
    }

    /// Publishes every difference. Namespaces come before their services and go after them.
    pub fn flush(&mut self, sink: &mut impl Sink, now: Instant) -> Flushed {
        let mut flushed = Flushed::default();
        while let Some((until, _)) = self.expiries.first()
            && *until <= now
        {
            if let Some((_, key)) = self.expiries.pop_first() {
                self.dirty_services.insert(key);
            }
        }
        let namespaces = core::mem::take(&mut self.dirty_namespaces);
        self.look_at(&namespaces);
        for name in &namespaces {
            let presence = self.namespaces.get(name);
            if presence.is_some_and(|presence| presence.shown == Shown::Yes) {
                self.adopted.namespaces.remove(name);
                let result = sink.put_namespace(name);
                self.note_namespace(&mut flushed, name, result);
            }
        }
        for key in core::mem::take(&mut self.dirty_services) {
            self.flush_service(&key, sink, now, &mut flushed);
        }
        for name in &namespaces {
            let goes = match self.namespaces.get(name).map(|presence| presence.shown) {
                Some(Shown::Yes | Shown::Undecided) => false,
                Some(Shown::No) => {
                    self.adopted.namespaces.remove(name);
                    true
                }
                None => !self.adopted.namespaces.contains(name),
            };
            if goes {
                let result = sink.delete_namespace(name);
                self.note_namespace(&mut flushed, name, result);
            }
        }
        if !namespaces.is_empty() {
            let changed = self.changed_namespaces.get_or_insert_default();
            changed.extend(namespaces);
        }
        self.sweep(sink, &mut flushed);
        let again = core::mem::take(&mut self.again);
        let known = |(key, _): &mut (ObjectKey, WriteError)| again.contains(key);
        flushed.repeated = flushed.failures.extract_if(.., known).count();
        flushed.triggers = core::mem::take(&mut self.triggers);
        flushed
    }

    /// Publishes one service and its slices.
    fn flush_service(
        &mut self,
        key: &ServiceKey,
        sink: &mut impl Sink,
        now: Instant,
        flushed: &mut Flushed,
    ) {
        let shown = self.namespaces.get(key.namespace());
        let shown = shown.map_or(Shown::Yes, |presence| presence.shown);
        // Comes again once it is decided.
        if shown == Shown::Undecided {
            return;
        }
        let has_slices = self.has_slices();
        let Some(entry) = self.services.get_mut(key) else {
            return;
        };
        let rule = Rule {
            all_slices: self.settings.all_slices,
            hidden: shown == Shown::No,
            ignore_empty: self.settings.ignore_empty && has_slices,
        };
        // A slice may be listed before its service is: until the list of services is complete, what
        // an earlier agent published of the service goes on.
        if entry.is_unknown() && self.adopted.services.contains(key) {
            return;
        }
        let before = flushed.failures.len();
        entry.flush(key, rule, sink, &mut self.adopted, now, flushed);
        if let Some(until) = entry.deadline() {
            self.expiries.insert((until, key.clone()));
        }
        if entry.is_empty() {
            self.services.remove(key);
        }
        if flushed
            .failures
            .iter()
            .skip(before)
            .any(|(_, error)| is_transient(error))
        {
            self.refused.insert(ObjectKey::Service(key.clone()));
        }
    }

    /// Counts a change of a namespace.
    fn note_namespace(
        &mut self,
        flushed: &mut Flushed,
        name: &str,
        result: Result<bool, WriteError>,
    ) {
        let transient = result.as_ref().is_err_and(is_transient);
        flushed.note(|| ObjectKey::Namespace(name.to_owned()), result);
        if transient {
            self.refused.insert(ObjectKey::Namespace(name.to_owned()));
        }
    }
}

/// Whether the same change may succeed later.
fn is_transient(error: &WriteError) -> bool {
    matches!(error, WriteError::NoSpace { .. })
}

/// The number under which the zone holds a slice: FNV-1a of its name, the same after a restart.
pub fn slice_id(name: &str) -> SliceId {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    SliceId(hash)
}

#[cfg(test)]
mod tests;

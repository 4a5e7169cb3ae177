//! One service: its body, its slices by source, and the endpoints that are about to leave.

use super::{Flushed, Held, ObjectKey, Sink, SliceOf, Source, slice_id};
use nss_k8s_zone::{Address, Endpoint, Family, Port, ServiceBody, ServiceKey, Slice};
use std::{
    collections::{BTreeMap, HashSet},
    time::Instant,
};

/// How a service is to be published.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    /// Slices of ClusterIP services, too.
    pub(super) all_slices: bool,
    /// Its namespace is not served.
    pub(super) hidden: bool,
    /// A ClusterIP service without a ready endpoint does not exist.
    pub(super) ignore_empty: bool,
}

/// What is known and what is published of one service.
#[derive(Default)]
pub(super) struct Entry {
    body: Option<ServiceBody>,
    /// The body is not what is published.
    stale: bool,
    /// By the rule of the last flush it does not exist.
    hidden: bool,
    /// Unreadable, and published by an earlier agent: left as it is.
    frozen: bool,
    parts: BTreeMap<String, Part>,
}

/// One slice of the service, by the slice's name.
#[derive(Default)]
struct Part {
    /// Nearly always one; two while a slice moves from one watch's selector to the other's.
    held: Vec<(Source, u64, Slice)>,
    /// Family and ports of the last version: what is leaving outlives the slice.
    head: Option<(Family, Vec<Port>)>,
    leaving: Vec<Leaving>,
    published: bool,
    /// Unreadable, and published by an earlier agent: left as it is.
    frozen: bool,
}

/// An endpoint that left its slice and stays for the grace time, unless it turns up elsewhere.
struct Leaving {
    endpoint: Endpoint,
    until: Instant,
}

impl Entry {
    /// A service whose object cannot be read, but which is published.
    pub(super) fn frozen() -> Self {
        Self {
            frozen: true,
            ..Self::default()
        }
    }

    /// Leaves a published slice as it is.
    pub(super) fn freeze(&mut self, name: &str) {
        let part = self.parts.entry(name.to_owned()).or_default();
        part.frozen = true;
        part.published = true;
    }

    /// The service's own record.
    pub(super) fn body(&self) -> Option<&ServiceBody> {
        self.body.as_ref()
    }

    /// Whether no object has said what the service is.
    pub(super) fn is_unknown(&self) -> bool {
        self.body.is_none() && !self.frozen
    }

    /// Whether nothing is left to remember.
    pub(super) fn is_empty(&self) -> bool {
        self.is_unknown() && !self.stale && self.parts.is_empty()
    }

    /// The next time at which an endpoint's grace ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.parts
            .values()
            .flat_map(|part| &part.leaving)
            .map(|leaving| leaving.until)
            .min()
    }

    /// Sets the body; true when it is another one.
    pub(super) fn assign(&mut self, body: ServiceBody) -> bool {
        let changed = self.body.as_ref() != Some(&body);
        self.body = Some(body);
        self.frozen = false;
        self.stale |= changed;
        changed
    }

    /// The service is gone.
    pub(super) fn clear(&mut self) {
        self.body = None;
        self.frozen = false;
        self.stale = true;
    }

    /// Sets what one source says of a slice; true when that changes what counts.
    pub(super) fn attach(&mut self, source: Source, of: SliceOf, until: Instant) -> bool {
        let part = self.parts.entry(of.name).or_default();
        let before = part.effective().cloned();
        let was_frozen = core::mem::take(&mut part.frozen);
        part.held.retain(|(held, ..)| *held != source);
        part.held.push((source, of.version, of.slice));
        part.settle(before, until) || was_frozen
    }

    /// Forgets what one source says of a slice; true when that changes what counts.
    pub(super) fn detach(&mut self, source: Source, name: &str, until: Instant) -> bool {
        let Some(part) = self.parts.get_mut(name) else {
            return false;
        };
        let before = part.effective().cloned();
        let was_frozen = core::mem::take(&mut part.frozen);
        part.held.retain(|(held, ..)| *held != source);
        part.settle(before, until) || was_frozen
    }

    /// Publishes the differences. What appears is written before what goes, and the slices of a new
    /// service before the service, so that no lookup in between sees less than it should.
    pub(super) fn flush(
        &mut self,
        key: &ServiceKey,
        rule: Rule,
        sink: &mut impl Sink,
        adopted: &mut Held,
        now: Instant,
        flushed: &mut Flushed,
    ) {
        let name = || ObjectKey::Service(key.clone());
        self.expire(now);
        let hidden = rule.hidden || rule.ignore_empty && self.is_empty_cluster_ip();
        self.stale |= hidden != self.hidden;
        self.hidden = hidden;
        let wanted = match self.body {
            _ if hidden => false,
            Some(ServiceBody::Headless { .. }) => true,
            Some(ServiceBody::ClusterIp { .. }) => rule.all_slices,
            Some(ServiceBody::External { .. }) => false,
            None => self.frozen,
        };
        let mut chunks = if wanted { self.chunks() } else { Vec::new() };
        // An endpoint that moved is written in its new slice before it goes from the old one.
        chunks.sort_by_key(|chunk| !chunk.gains);
        for chunk in &chunks {
            let id = slice_id(&chunk.name);
            if flushed.note(name, sink.put_slice(key, id, &chunk.slice)) {
                adopted.slices.remove(&(key.clone(), id));
                if let Some(part) = self.parts.get_mut(&chunk.name) {
                    part.published = true;
                }
            }
        }
        if self.stale {
            let result = match &self.body {
                Some(body) if !hidden => sink.put_service(key, body),
                _ => sink.delete_service(key),
            };
            if flushed.note(name, result) {
                self.stale = false;
                adopted.services.remove(key);
            }
        }
        let published: HashSet<&str> = chunks.iter().map(|chunk| chunk.name.as_str()).collect();
        for (slice, part) in &mut self.parts {
            let id = slice_id(slice);
            let keep = published.contains(slice.as_str()) || (part.frozen && wanted);
            let known = part.published || adopted.slices.contains(&(key.clone(), id));
            if !keep && known && flushed.note(name, sink.delete_slice(key, id)) {
                adopted.slices.remove(&(key.clone(), id));
                part.published = false;
            }
        }
        self.parts.retain(|_, part| !part.is_empty());
    }

    /// Whether it is a ClusterIP service that nothing ready stands behind. What is leaving, or could
    /// not be read, may.
    fn is_empty_cluster_ip(&self) -> bool {
        let ready = |part: &Part| {
            let named = part.effective().is_some_and(|slice| {
                let mut endpoints = slice.endpoints.iter();
                endpoints.any(|endpoint| endpoint.ready)
            });
            named || !part.leaving.is_empty() || part.frozen
        };
        matches!(self.body, Some(ServiceBody::ClusterIp { .. })) && !self.parts.values().any(ready)
    }

    /// Lets endpoints go whose grace has ended, or which turned up elsewhere in this service: the
    /// same address in any state, or the same hostname at another address that is ready.
    fn expire(&mut self, now: Instant) {
        if self.parts.values().all(|part| part.leaving.is_empty()) {
            return;
        }
        let mut addresses: HashSet<Address> = HashSet::new();
        // By family: an IPv6 endpoint of that hostname does not stand in for the IPv4 one.
        let mut hostnames: HashSet<(Family, String)> = HashSet::new();
        for endpoint in self
            .parts
            .values()
            .filter_map(Part::effective)
            .flat_map(|s| &s.endpoints)
        {
            addresses.insert(endpoint.address);
            if endpoint.ready
                && let Some(hostname) = &endpoint.hostname
            {
                hostnames.insert((endpoint.address.family, hostname.clone()));
            }
        }
        for part in self.parts.values_mut() {
            part.leaving.retain(|leaving| {
                let endpoint = &leaving.endpoint;
                let replaced = endpoint.hostname.as_ref().is_some_and(|name| {
                    hostnames.contains(&(endpoint.address.family, name.clone()))
                });
                leaving.until > now && !addresses.contains(&leaving.endpoint.address) && !replaced
            });
        }
    }

    /// The slices as they are to be published, in the order of their names.
    fn chunks(&self) -> Vec<Chunk> {
        let mut seen: HashSet<Address> = HashSet::new();
        let mut chunks = Vec::with_capacity(self.parts.len());
        for (name, part) in self.parts.iter().filter(|(_, part)| !part.frozen) {
            let Some(mut slice) = part.merged() else {
                continue;
            };
            if slice.endpoints.is_empty() {
                continue;
            }
            for endpoint in slice.endpoints.iter_mut().filter(|endpoint| endpoint.ready) {
                endpoint.shadowed = !seen.insert(endpoint.address);
            }
            chunks.push(Chunk {
                name: name.clone(),
                slice,
                gains: part.leaving.is_empty(),
            });
        }
        chunks
    }
}

/// A slice ready to be written.
struct Chunk {
    name: String,
    slice: Slice,
    /// Nothing is leaving it: written first.
    gains: bool,
}

impl Part {
    /// The newest version that a source has named.
    fn effective(&self) -> Option<&Slice> {
        self.held
            .iter()
            .max_by_key(|(_, version, _)| *version)
            .map(|(.., slice)| slice)
    }

    /// Compares with what counted before; endpoints that were ready and are not named any more
    /// begin to leave. One that turned unready is named, and goes at once.
    fn settle(&mut self, before: Option<Slice>, until: Instant) -> bool {
        if before.as_ref() == self.effective() {
            return false;
        }
        let named: HashSet<Address> = self
            .effective()
            .map(|slice| {
                slice
                    .endpoints
                    .iter()
                    .map(|endpoint| endpoint.address)
                    .collect()
            })
            .unwrap_or_default();
        self.leaving
            .retain(|leaving| !named.contains(&leaving.endpoint.address));
        let same_family = before.as_ref().is_some_and(|before| {
            self.effective()
                .is_none_or(|slice| slice.family == before.family)
        });
        if let Some(slice) = self.effective() {
            self.head = Some((slice.family, slice.ports.clone()));
        }
        if same_family {
            let gone = before.into_iter().flat_map(|slice| slice.endpoints);
            let gone = gone.filter(|endpoint| endpoint.ready && !named.contains(&endpoint.address));
            self.leaving
                .extend(gone.map(|endpoint| Leaving { endpoint, until }));
        } else {
            // The API forbids a slice to change its family; what leaves would be of the wrong one.
            self.leaving.clear();
        }
        true
    }

    /// What is named and what is leaving, as one slice.
    fn merged(&self) -> Option<Slice> {
        let mut slice = match self.effective() {
            Some(slice) => slice.clone(),
            None => {
                let (family, ports) = self.head.clone()?;
                Slice {
                    family,
                    ports,
                    endpoints: Vec::new(),
                }
            }
        };
        slice
            .endpoints
            .extend(self.leaving.iter().map(|leaving| leaving.endpoint.clone()));
        Some(slice)
    }

    /// Whether nothing is left to remember.
    fn is_empty(&self) -> bool {
        self.held.is_empty() && self.leaving.is_empty() && !self.published && !self.frozen
    }
}

//! One service: its body, its slices by source, and the endpoints that are about to leave.

use super::{
    Flushed, Held, ObjectKey, Sink, SliceOf, Source, is_transient, packed::Packed, slice_id,
};
use nss_k8s_zone::{Address, Endpoint, Family, ServiceBody, ServiceKey, Slice};
use std::{collections::HashSet, time::Instant};

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
    /// In the order of their names.
    parts: Vec<Part>,
}

/// One slice of the service.
#[derive(Default)]
struct Part {
    /// The slice's own name.
    name: Box<str>,
    /// The newest version that a source has named.
    held: Option<Version>,
    /// Another source's: while a slice moves from one watch's selector to the other's.
    other: Option<Box<Version>>,
    /// What has left, which is nothing nearly always.
    leaving: Option<Box<Left>>,
    published: bool,
    /// Unreadable, and published by an earlier agent: left as it is.
    frozen: bool,
}

/// What a source says of a slice.
struct Version {
    source: Source,
    number: u64,
    slice: Packed,
}

/// Endpoints that left a slice, and the slice without any: they may outlive it.
struct Left {
    head: Slice,
    endpoints: Vec<Leaving>,
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
        let part = self.part(name);
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
        let leaving = self.parts.iter().flat_map(Part::leaving);
        leaving.map(|leaving| leaving.until).min()
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
        let part = self.part(&of.name);
        let was_frozen = core::mem::take(&mut part.frozen);
        let version = Version {
            source,
            number: of.version,
            slice: Packed::of(&of.slice),
        };
        part.change(source, Some(version), until) || was_frozen
    }

    /// Forgets what one source says of a slice; true when that changes what counts.
    pub(super) fn detach(&mut self, source: Source, name: &str, until: Instant) -> bool {
        let Ok(at) = self.place(name) else {
            return false;
        };
        let part = &mut self.parts[at];
        let was_frozen = core::mem::take(&mut part.frozen);
        part.change(source, None, until) || was_frozen
    }

    /// Where a slice is, or belongs.
    fn place(&self, name: &str) -> Result<usize, usize> {
        self.parts
            .binary_search_by(|part| part.name.as_ref().cmp(name))
    }

    /// A slice, a new one if need be.
    fn part(&mut self, name: &str) -> &mut Part {
        let at = self.place(name).unwrap_or_else(|at| {
            let part = Part {
                name: name.into(),
                ..Part::default()
            };
            // Nearly every service has one: no room for more before there are.
            self.parts.reserve_exact(1);
            self.parts.insert(at, part);
            at
        });
        &mut self.parts[at]
    }

    /// Publishes the differences. What appears is written before what goes, and the slices of a new
    /// service before the service, so that no lookup in between sees less than it should. A headless
    /// service none of whose slices finds space is absent: DNS, which is asked then, has its endpoints.
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
        let mut lacks_space = false;
        for chunk in &chunks {
            let part = &mut self.parts[chunk.part];
            let id = slice_id(&part.name);
            // It is listed: what an earlier agent published of it stays, also where this is refused.
            part.published |= adopted.slices.remove(&(key.clone(), id));
            let result = sink.put_slice(key, id, &chunk.slice);
            lacks_space |= result.as_ref().is_err_and(is_transient);
            part.published |= flushed.note(name, result);
        }
        let bare = lacks_space && self.is_bare(key, adopted);
        if self.stale || bare {
            let result = match &self.body {
                Some(body) if !hidden && !bare => sink.put_service(key, body),
                _ => sink.delete_service(key),
            };
            adopted.services.remove(key);
            if flushed.note(name, result) {
                self.stale = bare;
            }
        }
        let published: HashSet<usize> = chunks.iter().map(|chunk| chunk.part).collect();
        for (at, part) in self.parts.iter_mut().enumerate() {
            let id = slice_id(&part.name);
            let keep = published.contains(&at) || (part.frozen && wanted);
            let known = part.published || adopted.slices.contains(&(key.clone(), id));
            if !keep && known && flushed.note(name, sink.delete_slice(key, id)) {
                adopted.slices.remove(&(key.clone(), id));
                part.published = false;
            }
        }
        self.parts.retain(|part| !part.is_empty());
    }

    /// Whether it is a headless service of which no slice is published.
    fn is_bare(&self, key: &ServiceKey, adopted: &Held) -> bool {
        matches!(self.body, Some(ServiceBody::Headless { .. }))
            && !self.parts.iter().any(|part| part.published)
            && !adopted.slices.iter().any(|(of, _)| of == key)
    }

    /// Whether it is a ClusterIP service that nothing ready stands behind. What is leaving, or could
    /// not be read, may.
    fn is_empty_cluster_ip(&self) -> bool {
        let ready = |part: &Part| {
            let named = part.effective().is_some_and(|slice| {
                let mut endpoints = slice.endpoints.iter();
                endpoints.any(|endpoint| endpoint.ready)
            });
            named || part.leaving.is_some() || part.frozen
        };
        matches!(self.body, Some(ServiceBody::ClusterIp { .. })) && !self.parts.iter().any(ready)
    }

    /// Lets endpoints go whose grace has ended, or which turned up elsewhere in this service: the
    /// same address in any state, or the same hostname at another address that is ready.
    fn expire(&mut self, now: Instant) {
        if self.parts.iter().all(|part| part.leaving.is_none()) {
            return;
        }
        let mut addresses: HashSet<Address> = HashSet::new();
        // By family: an IPv6 endpoint of that hostname does not stand in for the IPv4 one.
        let mut hostnames: HashSet<(Family, String)> = HashSet::new();
        for endpoint in self
            .parts
            .iter()
            .filter_map(Part::effective)
            .flat_map(|slice| slice.endpoints)
        {
            addresses.insert(endpoint.address);
            if endpoint.ready
                && let Some(hostname) = endpoint.hostname
            {
                hostnames.insert((endpoint.address.family, hostname));
            }
        }
        for part in &mut self.parts {
            part.keep_leaving(|leaving| {
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
        let parts = self.parts.iter().enumerate();
        for (at, part) in parts.filter(|(_, part)| !part.frozen) {
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
                part: at,
                slice,
                gains: part.leaving.is_none(),
            });
        }
        chunks
    }
}

/// A slice ready to be written.
struct Chunk {
    /// The place of the slice among the parts.
    part: usize,
    slice: Slice,
    /// Nothing is leaving it: written first.
    gains: bool,
}

impl Part {
    /// What counts of the slice.
    fn effective(&self) -> Option<Slice> {
        self.held.as_ref().map(|held| held.slice.slice())
    }

    /// What has left and still counts.
    fn leaving(&self) -> impl Iterator<Item = &Leaving> {
        self.leaving.iter().flat_map(|left| &left.endpoints)
    }

    /// Drops some of what has left.
    fn keep_leaving(&mut self, keep: impl FnMut(&Leaving) -> bool) {
        if let Some(left) = &mut self.leaving {
            left.endpoints.retain(keep);
        }
        self.leaving.take_if(|left| left.endpoints.is_empty());
    }

    /// Sets what a source says; true when that changes what counts. Endpoints that were ready and
    /// are not named any more begin to leave. One that turned unready is named, and goes at once.
    fn change(&mut self, source: Source, version: Option<Version>, until: Instant) -> bool {
        let before = self.held.as_ref().map(|held| held.slice.clone());
        let versions = [self.held.take(), self.other.take().map(|other| *other)];
        let rest = versions.into_iter().flatten();
        let mut all: Vec<Version> = rest.filter(|it| it.source != source).collect();
        all.extend(version);
        // Of two equal ones that which came last counts.
        all.sort_by_key(|version| version.number);
        self.held = all.pop();
        self.other = all.pop().map(Box::new);
        if before.as_ref() == self.held.as_ref().map(|held| &held.slice) {
            return false;
        }
        let now = self.effective();
        let endpoints = now.iter().flat_map(|slice| &slice.endpoints);
        let named: HashSet<Address> = endpoints.map(|endpoint| endpoint.address).collect();
        let mut leaving = self
            .leaving
            .take()
            .map_or_else(Vec::new, |left| left.endpoints);
        leaving.retain(|leaving| !named.contains(&leaving.endpoint.address));
        let before = before.map(|before| before.slice());
        let same_family = before.as_ref().is_some_and(|before| {
            now.as_ref()
                .is_none_or(|slice| slice.family == before.family)
        });
        // The API forbids a slice to change its family; what leaves would be of the wrong one.
        if !same_family {
            leaving.clear();
        }
        let mut head = now.or(before.clone());
        if same_family {
            let gone = before.into_iter().flat_map(|slice| slice.endpoints);
            let gone = gone.filter(|endpoint| endpoint.ready && !named.contains(&endpoint.address));
            leaving.extend(gone.map(|endpoint| Leaving { endpoint, until }));
        }
        if !leaving.is_empty()
            && let Some(mut head) = head.take()
        {
            head.endpoints.clear();
            let endpoints = leaving;
            self.leaving = Some(Box::new(Left { head, endpoints }));
        }
        true
    }

    /// What is named and what is leaving, as one slice.
    fn merged(&self) -> Option<Slice> {
        let head = || self.leaving.as_ref().map(|left| left.head.clone());
        let mut slice = self.effective().or_else(head)?;
        let leaving = self.leaving().map(|leaving| leaving.endpoint.clone());
        slice.endpoints.extend(leaving);
        Some(slice)
    }

    /// Whether nothing is left to remember.
    fn is_empty(&self) -> bool {
        self.held.is_none() && self.leaving.is_none() && !self.published && !self.frozen
    }
}

//! What the sources have named: objects come, change and go, and namespaces with them.

use super::{Labels, Model, Object, ObjectKey, Source};
use nss_k8s_zone::{ServiceBody, ServiceKey};
use std::{collections::HashMap, time::Instant};

/// How far one source is.
#[derive(Debug, Default)]
pub(super) struct Feed {
    pub(super) generation: u64,
    pub(super) listing: bool,
    pub(super) listed: bool,
    /// The last list named everything that there is.
    pub(super) certain: bool,
    pub(super) known: HashMap<ObjectKey, Known>,
}

/// An object that a source has named.
#[derive(Debug)]
pub(super) struct Known {
    /// The list in which it was seen last.
    pub(super) generation: u64,
    /// A slice's service.
    pub(super) service: Option<ServiceKey>,
}

impl Model {
    /// Takes an object in that exists.
    pub(super) fn apply(&mut self, source: Source, object: Object, now: Instant) {
        let key = object.key();
        if let ObjectKey::Service(service) = &key {
            match &object {
                Object::NameServer(..) => self.name_servers.insert(service.clone()),
                _ => self.name_servers.remove(service),
            };
        }
        match object {
            Object::Namespace(name, labels) => {
                self.see(source, key, None);
                let presence = self.namespaces.entry(name.clone()).or_default();
                presence.listed = true;
                presence.labels = labels;
                self.dirty_namespaces.insert(name);
            }
            Object::Service(service, body) | Object::NameServer(service, body) => {
                if self.see(source, key, None).is_none() {
                    self.count_in(service.namespace());
                }
                if self
                    .services
                    .entry(service.clone())
                    .or_default()
                    .assign(body)
                {
                    self.dirty_services.insert(service);
                }
            }
            Object::Slice(of) => {
                let service = of.service.clone();
                match self.see(source, key, Some(service.clone())) {
                    None => self.count_in(service.namespace()),
                    Some(Known {
                        service: Some(old), ..
                    }) if old != service => {
                        self.detach(source, &old, &of.name, now);
                    }
                    Some(_) => {}
                }
                let listing = self.feeds.get(&source).is_none_or(|feed| feed.listing);
                let until = now + self.settings.grace;
                let entry = self.services.entry(service.clone()).or_default();
                // Of others the figure is no measure of DNS: their slices are for kube-proxy.
                let headless = matches!(entry.body(), Some(ServiceBody::Headless { .. }));
                if let Some(triggered) = of.triggered
                    && headless
                    && !listing
                {
                    self.triggers.push(triggered);
                }
                if entry.attach(source, of, until) {
                    self.dirty_services.insert(service);
                }
            }
        }
    }

    /// Remembers that a source names an object; returns what it said of it before.
    pub(super) fn see(
        &mut self,
        source: Source,
        key: ObjectKey,
        service: Option<ServiceKey>,
    ) -> Option<Known> {
        let feed = self.feeds.entry(source).or_default();
        let generation = feed.generation;
        feed.known.insert(
            key,
            Known {
                generation,
                service,
            },
        )
    }

    /// Takes an object out that a source had named.
    pub(super) fn remove(&mut self, source: Source, key: ObjectKey, known: Known, now: Instant) {
        match key {
            ObjectKey::Namespace(name) => {
                if let Some(presence) = self.namespaces.get_mut(&name) {
                    presence.listed = false;
                    presence.labels = Labels::new();
                }
                self.dirty_namespaces.insert(name.clone());
                self.prune_namespace(name);
            }
            ObjectKey::Service(service) => {
                self.name_servers.remove(&service);
                if let Some(entry) = self.services.get_mut(&service) {
                    entry.clear();
                }
                self.count_out(service.namespace());
                self.dirty_services.insert(service);
            }
            ObjectKey::Slice { namespace, name } => {
                self.count_out(&namespace);
                if let Some(service) = known.service {
                    self.detach(source, &service, &name, now);
                }
            }
        }
    }

    /// Takes a slice away from a service.
    fn detach(&mut self, source: Source, service: &ServiceKey, name: &str, now: Instant) {
        let until = now + self.settings.grace;
        if let Some(entry) = self.services.get_mut(service)
            && entry.detach(source, name, until)
        {
            self.dirty_services.insert(service.clone());
        }
    }

    /// Whether a source has completed its first list.
    pub(super) fn is_listed(&self, source: Source) -> bool {
        self.feeds.get(&source).is_some_and(|feed| feed.listed)
    }

    /// One more object lives in a namespace.
    pub(super) fn count_in(&mut self, namespace: &str) {
        let presence = self.namespaces.entry(namespace.to_owned()).or_default();
        presence.objects += 1;
        if presence.objects == 1 && !presence.listed {
            self.dirty_namespaces.insert(namespace.to_owned());
        }
    }

    /// One object less lives in a namespace.
    fn count_out(&mut self, namespace: &str) {
        if let Some(presence) = self.namespaces.get_mut(namespace) {
            presence.objects = presence.objects.saturating_sub(1);
        }
        self.prune_namespace(namespace.to_owned());
    }

    /// Forgets a namespace that nothing speaks for any more.
    pub(super) fn prune_namespace(&mut self, name: String) {
        let gone = self
            .namespaces
            .get(&name)
            .is_none_or(|found| !found.listed && found.objects == 0);
        if gone {
            self.namespaces.remove(&name);
            self.dirty_namespaces.insert(name);
        }
    }
}

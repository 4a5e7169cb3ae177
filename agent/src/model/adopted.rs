//! What an earlier agent published: it goes on until a complete list, or the object itself, says
//! otherwise.

use super::{Flushed, Model, ObjectKey, Sink, Source, service::Entry, slice_id};
use nss_k8s_zone::{ServiceKey, SliceId};

impl Model {
    /// An object exists, but cannot be read: it counts as seen, and what is published of it stays,
    /// also when an earlier agent published it.
    pub(super) fn keep(&mut self, source: Source, key: ObjectKey) {
        let feed = self.feeds.entry(source).or_default();
        let generation = feed.generation;
        if let Some(known) = feed.known.get_mut(&key) {
            known.generation = generation;
            return;
        }
        match &key {
            ObjectKey::Namespace(name) => {
                self.adopted.namespaces.remove(name);
            }
            ObjectKey::Service(service) => {
                if self.adopted.services.remove(service) {
                    let frozen = Entry::frozen();
                    self.services.entry(service.clone()).or_insert(frozen);
                    self.count_in(service.namespace());
                    self.see(source, key, None);
                }
            }
            ObjectKey::Slice { namespace, name } => {
                let id = slice_id(name);
                let held = |(service, held): &&(ServiceKey, SliceId)| {
                    *held == id && service.namespace() == namespace
                };
                if let Some(held) = self.adopted.slices.iter().find(held).cloned() {
                    self.adopted.slices.remove(&held);
                    self.services
                        .entry(held.0.clone())
                        .or_default()
                        .freeze(name);
                    self.count_in(namespace);
                    self.see(source, key, Some(held.0));
                }
            }
        }
    }

    /// Removes what an earlier agent left and complete lists did not name.
    pub(super) fn sweep(&mut self, sink: &mut impl Sink, flushed: &mut Flushed) {
        // What waits for its namespace's labels has not been claimed yet.
        if self.settings.exposure.labels.is_some() && !self.is_listed(Source::Namespaces) {
            return;
        }
        let is_certain = |wanted: fn(Source) -> bool| {
            let mut feeds = self.feeds.iter().filter(|(source, _)| wanted(**source));
            feeds.all(|(_, feed)| feed.listed && feed.certain)
        };
        let services = is_certain(|source| source == Source::Services);
        let slices = is_certain(Source::is_slices);
        let everything = is_certain(|_| true);
        if services {
            for key in core::mem::take(&mut self.adopted.services) {
                flushed.note(
                    || ObjectKey::Service(key.clone()),
                    sink.delete_service(&key),
                );
            }
        }
        if slices {
            for (key, id) in core::mem::take(&mut self.adopted.slices) {
                flushed.note(
                    || ObjectKey::Service(key.clone()),
                    sink.delete_slice(&key, id),
                );
            }
        }
        if everything {
            for name in core::mem::take(&mut self.adopted.namespaces) {
                let result = sink.delete_namespace(&name);
                flushed.note(|| ObjectKey::Namespace(name), result);
            }
        }
    }
}

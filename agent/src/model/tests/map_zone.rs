//! A zone in plain maps, with the writer's rules.

use crate::model::{Held, Sink};
use nss_k8s_zone::{Address, ServiceBody, ServiceKey, Slice, SliceId, WriteError};
use std::collections::{BTreeMap, BTreeSet};

/// The zone as plain maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::model) struct MapZone {
    pub(in crate::model) namespaces: BTreeSet<String>,
    pub(in crate::model) services: BTreeMap<ServiceKey, ServiceBody>,
    pub(in crate::model) slices: BTreeMap<ServiceKey, BTreeMap<SliceId, Slice>>,
    /// Every call is refused for want of space.
    pub(in crate::model) full: bool,
}

impl MapZone {
    fn admit(&self) -> Result<(), WriteError> {
        match self.full {
            true => Err(WriteError::NoSpace {
                wanted: 1,
                source: None,
            }),
            false => Ok(()),
        }
    }

    /// What a restarted agent finds.
    pub(in crate::model) fn held(&self) -> Held {
        Held {
            namespaces: self.namespaces.iter().cloned().collect(),
            services: self.services.keys().cloned().collect(),
            slices: self
                .slices
                .iter()
                .flat_map(|(key, slices)| slices.keys().map(|id| (key.clone(), *id)))
                .collect(),
            incomplete: false,
        }
    }

    /// Addresses that the service's own name answers.
    pub(in crate::model) fn answers(&self, key: &ServiceKey) -> Vec<Address> {
        match self.services.get(key) {
            Some(ServiceBody::ClusterIp { addresses, .. }) => addresses.clone(),
            Some(ServiceBody::Headless { .. }) => {
                let slices = self.slices.get(key).into_iter().flat_map(BTreeMap::values);
                let endpoints = slices.flat_map(|slice| &slice.endpoints);
                let served = endpoints.filter(|endpoint| endpoint.ready && !endpoint.shadowed);
                let mut addresses: Vec<_> = served.map(|endpoint| endpoint.address).collect();
                addresses.sort();
                addresses
            }
            _ => Vec::new(),
        }
    }
}

impl Sink for MapZone {
    fn put_namespace(&mut self, name: &str) -> Result<bool, WriteError> {
        self.admit()?;
        Ok(self.namespaces.insert(name.to_owned()))
    }
    fn delete_namespace(&mut self, name: &str) -> Result<bool, WriteError> {
        Ok(self.namespaces.remove(name))
    }
    fn put_service(&mut self, key: &ServiceKey, body: &ServiceBody) -> Result<bool, WriteError> {
        self.admit()?;
        Ok(self.services.insert(key.clone(), body.clone()).as_ref() != Some(body))
    }
    fn delete_service(&mut self, key: &ServiceKey) -> Result<bool, WriteError> {
        Ok(self.services.remove(key).is_some())
    }
    fn put_slice(
        &mut self,
        key: &ServiceKey,
        id: SliceId,
        slice: &Slice,
    ) -> Result<bool, WriteError> {
        self.admit()?;
        let slices = self.slices.entry(key.clone()).or_default();
        Ok(slices.insert(id, slice.clone()).as_ref() != Some(slice))
    }
    fn delete_slice(&mut self, key: &ServiceKey, id: SliceId) -> Result<bool, WriteError> {
        let Some(slices) = self.slices.get_mut(key) else {
            return Ok(false);
        };
        let changed = slices.remove(&id).is_some();
        if slices.is_empty() {
            self.slices.remove(key);
        }
        Ok(changed)
    }
}

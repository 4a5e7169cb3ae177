//! The way out of the model: what can be changed in a zone, and what came of it.

use super::ObjectKey;
use nss_k8s_zone::{ServiceBody, ServiceKey, Slice, SliceId, WriteError};
use std::time::SystemTime;

/// Where changes go: the zone's writer, or a plain map in tests. Each call is one commit and says
/// whether anything changed.
pub trait Sink {
    /// A namespace exists.
    fn put_namespace(&mut self, name: &str) -> Result<bool, WriteError>;
    /// A namespace is gone.
    fn delete_namespace(&mut self, name: &str) -> Result<bool, WriteError>;
    /// A service exists in this form; its slices stay.
    fn put_service(&mut self, key: &ServiceKey, body: &ServiceBody) -> Result<bool, WriteError>;
    /// A service is gone; its slices wait unseen until they are deleted.
    fn delete_service(&mut self, key: &ServiceKey) -> Result<bool, WriteError>;
    /// A slice has this content; it may come before its service.
    fn put_slice(
        &mut self,
        key: &ServiceKey,
        id: SliceId,
        slice: &Slice,
    ) -> Result<bool, WriteError>;
    /// A slice is gone.
    fn delete_slice(&mut self, key: &ServiceKey, id: SliceId) -> Result<bool, WriteError>;
}

/// What one flush did.
#[derive(Debug, Default)]
pub struct Flushed {
    /// Commits.
    pub changes: usize,
    /// Trigger times of the slice changes that are published now, lists left out.
    pub triggers: Vec<SystemTime>,
    /// Changes that the sink refused.
    pub failures: Vec<(ObjectKey, WriteError)>,
    /// How many more it refused as often before, for want of space: these need not be named again.
    pub repeated: usize,
}

impl Flushed {
    /// Counts one call into the sink; true when it succeeded.
    pub(super) fn note(
        &mut self,
        key: impl FnOnce() -> ObjectKey,
        result: Result<bool, WriteError>,
    ) -> bool {
        match result {
            Ok(changed) => {
                self.changes += usize::from(changed);
                true
            }
            Err(error) => {
                self.failures.push((key(), error));
                false
            }
        }
    }
}

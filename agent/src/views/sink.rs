//! What the model changes reaches every zone that shows it.

use super::Views;
use crate::model::Sink;
use nss_k8s_zone::{ServiceBody, ServiceKey, Slice, SliceId, WriteError, Writer};

impl Sink for Views {
    fn put_namespace(&mut self, name: &str) -> Result<bool, WriteError> {
        self.commit(Some(name), |writer| writer.put_namespace(name))
    }
    fn delete_namespace(&mut self, name: &str) -> Result<bool, WriteError> {
        self.commit(None, |writer| writer.delete_namespace(name))
    }
    fn put_service(&mut self, key: &ServiceKey, body: &ServiceBody) -> Result<bool, WriteError> {
        let change = |writer: &mut Writer| writer.put_service(key, body);
        self.commit(Some(key.namespace()), change)
    }
    fn delete_service(&mut self, key: &ServiceKey) -> Result<bool, WriteError> {
        self.commit(None, |writer| writer.delete_service(key))
    }
    fn put_slice(
        &mut self,
        key: &ServiceKey,
        id: SliceId,
        slice: &Slice,
    ) -> Result<bool, WriteError> {
        let change = |writer: &mut Writer| writer.put_slice(key, id, slice);
        self.commit(Some(key.namespace()), change)
    }
    fn delete_slice(&mut self, key: &ServiceKey, id: SliceId) -> Result<bool, WriteError> {
        self.commit(None, |writer| writer.delete_slice(key, id))
    }
}

impl Views {
    /// Changes every zone that shows a namespace; an error of one does not keep the others from it.
    fn commit(
        &mut self,
        namespace: Option<&str>,
        change: impl Fn(&mut Writer) -> Result<bool, WriteError>,
    ) -> Result<bool, WriteError> {
        let mut result = Ok(false);
        for view in &mut self.views {
            if namespace.is_some_and(|namespace| !view.shown.holds(namespace)) {
                continue;
            }
            match (change(&mut view.writer), &mut result) {
                (Ok(changed), Ok(any)) => *any |= changed,
                (Err(error), Ok(_)) => result = Err(error),
                (_, Err(_)) => {}
            }
        }
        result
    }
}

//! What the fuzz targets need from inside. Not part of the interface.

use super::{
    identity::{Identity, check_id, check_target},
    mounts,
    registry::Entry,
};
use std::{collections::HashMap, path::PathBuf};

/// A volume whose words are in order.
#[derive(Debug)]
pub struct Volume {
    /// Where its directory is to be mounted.
    pub target: PathBuf,
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's uid.
    pub uid: String,
}

/// What kubelet says of a volume, or what is wrong with it.
pub fn volume(
    id: &str,
    target: &str,
    attributes: &HashMap<String, String>,
) -> Result<Volume, &'static str> {
    check_id(id)?;
    let target = check_target(target)?;
    let identity = Identity::of(attributes, &target)?;
    Ok(Volume {
        target,
        namespace: identity.namespace,
        uid: identity.uid,
    })
}

/// The namespace in an entry of the registry, as the driver reads it; what was read is written and read
/// again alike.
pub fn entry(text: &[u8]) -> Option<String> {
    let entry: Entry = serde_json::from_slice(text).ok()?;
    // A path that is no text cannot have come from JSON.
    let written = serde_json::to_string(&entry).unwrap_or_default();
    assert_eq!(serde_json::from_str(&written).ok(), Some(entry.clone()));
    Some(entry.namespace)
}

/// How many mounts lines of mountinfo list.
pub fn mounts(text: &[u8]) -> usize {
    mounts::parse(text).len()
}

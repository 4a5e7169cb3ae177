//! What the fuzz targets need from inside. Not part of the interface.

use super::Pod;
use std::{collections::BTreeMap, io, path::Path};

/// The registered pods; `None`: an entry that cannot be read.
pub fn registered(base: &Path) -> io::Result<BTreeMap<String, Option<Pod>>> {
    let pods = super::registered(base)?;
    Ok(pods.into_iter().map(|(id, pod)| (id, pod.ok())).collect())
}

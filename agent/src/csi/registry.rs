//! The registry that driver and agent share: `private/pods/<id>`, one entry for each volume. Written
//! before a pod's directory is made and removed before it is removed, so a directory without an entry is
//! nobody's, unless it is mounted: then its entry was lost, and the pod keeps it.

use super::{
    filesystem::write_new,
    libraries::{entries, remove_all},
};
use crate::pods;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

/// Unfinished entries begin so.
pub(super) const DRAFT: &str = ".csi.";

/// Whose directory it is. The agent reads the namespace; entries made by hand have nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) struct Entry {
    /// The pod's namespace, which decides what the directory holds.
    pub(super) namespace: String,
    /// Where kubelet wants it mounted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) target: Option<PathBuf>,
    /// The pod's name, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) pod: String,
    /// The pod's uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) uid: String,
}

/// The entry of one volume.
pub(super) fn read(base: &Path, id: &str) -> io::Result<Option<Entry>> {
    match fs::read(pods::registry(base).join(id)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        text => Ok(Some(serde_json::from_slice(&text?)?)),
    }
}

/// All entries; one that cannot be read is an error of its own.
pub(super) fn all(base: &Path) -> io::Result<BTreeMap<String, io::Result<Entry>>> {
    let mut found = BTreeMap::new();
    for id in entries(&pods::registry(base))? {
        if let Some(entry) = read(base, &id).transpose() {
            found.insert(id, entry);
        }
    }
    Ok(found)
}

/// Writes an entry, in one step.
pub(super) fn write(base: &Path, id: &str, entry: &Entry) -> io::Result<()> {
    let registry = pods::registry(base);
    let draft = registry.join(format!("{DRAFT}{id}"));
    remove_all(&draft)?;
    let text = serde_json::to_string(entry)? + "\n";
    write_new(&draft, text.as_bytes(), 0o640)?;
    fs::rename(draft, registry.join(id))
}

/// Removes an entry that may be gone.
pub(super) fn remove(base: &Path, id: &str) -> io::Result<()> {
    remove_all(&pods::registry(base).join(id))
}

//! The table `private/classes`: which zone a pod of each namespace has. The agent writes it before it
//! links anything by it; who delivers pods reads it, so that a pod that starts while no agent
//! runs has its zone at once.
//!
//! ```text
//!   {"classes": {"<key>": {"class": "default", "view": "<dir below view/>", "inject": true}},
//!    "namespaces": {"<namespace>": "<key>"}, "refused_builds": [3], "disabled": false}
//! ```
//!
//! A key is a class's name where its namespaces see everything, and the view's name where the policy
//! hides something from them. A namespace that is not in it has no zone: its pods pass.

use crate::config::Class;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Bytes of the longest table: some hundred thousand namespaces.
const LONGEST: u64 = 16 << 20;

/// Which zone a pod of each namespace has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Table {
    /// The zones, and what goes with them.
    pub classes: BTreeMap<String, Entry>,
    /// Namespaces to keys of `classes`.
    pub namespaces: BTreeMap<String, String>,
    /// Builds of the libraries that are not to be loaded.
    pub refused_builds: Vec<u64>,
    /// The kill switch is set: nothing is to be loaded.
    pub disabled: bool,
}

/// One zone.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Entry {
    /// The class of the pods that have it.
    pub class: String,
    /// The directory below `view/` that its `zone.v1` is in.
    pub view: String,
    /// Whether the libraries are loaded into new pods.
    pub inject: bool,
}

impl Entry {
    /// Of a zone with everything in it.
    pub fn of_class(class: &Class) -> Self {
        Self {
            class: class.name.clone(),
            view: class.name.clone(),
            inject: class.inject,
        }
    }
}

/// Which file was written, and when: another mark means that somebody else has had it in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    inode: u64,
    length: u64,
    /// Seconds and nanoseconds of the last write.
    written: (i64, i64),
}

impl Mark {
    /// The mark of the table that lies there now.
    pub fn read(base: &Path) -> Option<Self> {
        let found = fs::symlink_metadata(Table::path(base)).ok()?;
        Some(Self::of(&found))
    }

    fn of(found: &fs::Metadata) -> Self {
        Self {
            inode: found.ino(),
            length: found.len(),
            written: (found.mtime(), found.mtime_nsec()),
        }
    }
}

impl Table {
    /// Where it is, below a base directory.
    pub fn path(base: &Path) -> PathBuf {
        base.join("private/classes")
    }

    /// What is there; nothing when no agent has written one yet.
    pub fn read(base: &Path) -> Result<Option<Self>> {
        let path = Self::path(base);
        let text = match read_bounded(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("cannot read {}", path.display()))?,
        };
        let table = serde_json::from_slice(&text);
        let table = table.with_context(|| format!("{} is no table of classes", path.display()))?;
        Ok(Some(table))
    }

    /// Writes it, in one step.
    pub fn write(&self, base: &Path) -> io::Result<Mark> {
        let path = Self::path(base);
        if let Some(private) = path.parent() {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(private)?;
        }
        let new = path.with_file_name(".classes.new");
        fs::write(&new, serde_json::to_string(self)? + "\n")?;
        let mark = Mark::of(&fs::symlink_metadata(&new)?);
        fs::rename(new, path)?;
        Ok(mark)
    }

    /// The zone of a namespace's pods.
    pub fn entry(&self, namespace: &str) -> Option<&Entry> {
        self.classes.get(self.namespaces.get(namespace)?)
    }

    /// The zone in a directory below `view/`.
    pub fn entry_of_view(&self, view: &str) -> Option<&Entry> {
        self.classes.values().find(|entry| entry.view == view)
    }
}

/// Reads a regular file of at most [`LONGEST`] bytes. Who reads has more rights than who writes, and
/// must neither follow a link nor wait at a pipe nor run out of memory.
fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut read = fs::OpenOptions::new();
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = read.read(true).custom_flags(flags).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.len() > LONGEST {
        return Err(io::Error::other("no regular file, or too long"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let base = tempfile::tempdir().unwrap();
        assert_eq!(Table::read(base.path()).unwrap(), None);
        let entry = Entry {
            class: "default".to_owned(),
            view: "default-1".to_owned(),
            inject: true,
        };
        let table = Table {
            classes: BTreeMap::from([("default-1".to_owned(), entry.clone())]),
            namespaces: BTreeMap::from([("shop".to_owned(), "default-1".to_owned())]),
            refused_builds: vec![3],
            disabled: true,
        };
        table.write(base.path()).unwrap();
        assert_eq!(Table::read(base.path()).unwrap().as_ref(), Some(&table));
        assert_eq!(table.entry("shop"), Some(&entry));
        assert_eq!(table.entry("bank"), None);
        assert_eq!(table.entry_of_view("default-1"), Some(&entry));
        fs::write(Table::path(base.path()), "{").unwrap();
        Table::read(base.path()).unwrap_err();
    }

    #[test]
    fn only_a_file_of_its_own_is_read() {
        let base = tempfile::tempdir().unwrap();
        Table::default().write(base.path()).unwrap();
        let (path, elsewhere) = (Table::path(base.path()), base.path().join("elsewhere"));
        fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        Table::read(base.path()).unwrap_err();
        fs::remove_file(&path).unwrap();
        let name = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        // SAFETY: a string that ends with zero.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        Table::read(base.path()).unwrap_err();
        fs::remove_file(&path).unwrap();
        fs::File::create(&path)
            .unwrap()
            .set_len(LONGEST + 1)
            .unwrap();
        Table::read(base.path()).unwrap_err();
    }
}

//! Where a pod's files are, and how its directory comes to hold them.

use crate::{
    forward::{Class, Client, Service, Sockets},
    switch::published_classes,
    table::Entry,
};
use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

/// The files that a directory may hold.
pub(super) const ZONE: &str = "zone.v1";
pub(super) const HELD: &str = "external.v1";
pub(super) const SOCKET: &str = "forward.sock";

/// Where a pod's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its class: whose `external.v1`.
    pub(super) class: String,
    /// Its view: whose `zone.v1`.
    pub(super) view: String,
}

impl Place {
    pub(super) fn of(entry: &Entry) -> Self {
        Self {
            class: entry.class.clone(),
            view: entry.view.clone(),
        }
    }

    /// Of pods that see everything.
    pub(super) fn of_class(class: &str) -> Self {
        Self {
            class: class.to_owned(),
            view: class.to_owned(),
        }
    }

    /// Where one of the files is.
    fn source(&self, base: &Path, file: &str) -> PathBuf {
        let directory = if file == HELD {
            &self.class
        } else {
            &self.view
        };
        base.join("view").join(directory).join(file)
    }
}

/// Makes a pod's directory hold what it shall have; nothing without a place, or what is there when
/// it is to be kept.
pub(super) fn fill(
    base: &Path,
    directory: &Path,
    place: Option<&Place>,
    keep: bool,
) -> io::Result<()> {
    make_directory(directory)?;
    if keep {
        return Ok(());
    }
    for file in [HELD, ZONE] {
        let source = place.map(|place| place.source(base, file));
        let target = directory.join(file);
        let wanted = source.as_ref().and_then(|source| inode(source));
        if wanted.is_none() {
            remove(&target)?;
        } else if let Some(source) = source
            && inode(&target) != wanted
        {
            let new = directory.join(format!(".{file}"));
            remove(&new)?;
            fs::hard_link(source, &new)?;
            fs::rename(new, target)?;
        }
    }
    Ok(())
}

/// The views that have a zone, by its inode.
pub(super) fn views_by_inode(base: &Path) -> BTreeMap<(u64, u64), String> {
    let views = published_classes(base).into_iter();
    views
        .filter_map(|view| Some((inode(&base.join("view").join(&view).join(ZONE))?, view)))
        .collect()
}

/// Serves a socket as long as there is somebody to answer.
pub(super) fn serve<S: Service>(
    sockets: Option<&Sockets<S>>,
    path: &Path,
    place: &Place,
    name: &str,
) -> io::Result<()> {
    let client = Client {
        class: Class::new(&place.class),
        view: place.view.as_str().into(),
        name: name.into(),
    };
    sockets.map_or(Ok(()), |sockets| sockets.add(path, client))
}

/// The identity of a file.
pub(super) fn inode(path: &Path) -> Option<(u64, u64)> {
    let found = fs::symlink_metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// Makes a directory that everybody may read.
pub(super) fn make_directory(path: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// Removes a file that may be gone.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

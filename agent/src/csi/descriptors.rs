//! Open descriptors of every file that pods share, so that no lease can be taken on one.
//!
//! A pod's root may take a lease on a file that it can only read (fcntl(2), F_SETLEASE: the owner's
//! uid is enough). Then whoever opens the file in a way that conflicts waits until the holder gives
//! way, up to 45 s: an agent that starts and opens the zone for writing, or, with a write lease, every
//! program of other pods that opens the library. The kernel grants a read lease on no file that is
//! open for writing, and a write lease on none that anybody else has open. So zone files are held open
//! for writing here, and libraries for reading (what is open for writing cannot be executed). The
//! agent, while it runs, has the zone files open as well: only when both are away at once can a
//! lease be had, and it ends when either opens the file.

use super::libraries::{entries, installed};
use crate::notice;
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::Notify;

/// What the agent writes in the directory of a view.
const WRITTEN: [&str; 2] = ["zone.v1", "external.v1"];
/// Views are looked at so often when the kernel reports nothing.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// The descriptors.
pub(super) struct Descriptors {
    base: PathBuf,
    held: BTreeMap<PathBuf, Held>,
    changed: Arc<Notify>,
    watchers: BTreeMap<PathBuf, Option<notify::RecommendedWatcher>>,
}

struct Held {
    inode: (u64, u64),
    _file: File,
}

impl Descriptors {
    /// Opens what is there.
    pub(super) fn new(base: &Path) -> Self {
        let mut this = Self {
            base: base.to_owned(),
            held: BTreeMap::new(),
            changed: Arc::new(Notify::new()),
            watchers: BTreeMap::new(),
        };
        this.follow();
        this
    }

    /// Waits until something has changed below `view/`.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Opens what is new, and closes what is gone or has another file in its place. A file on which
    /// somebody has a lease cannot be opened at once; trying makes the kernel end the lease, and the
    /// next look tries again.
    pub(super) fn follow(&mut self) {
        let mut wanted = BTreeMap::new();
        let mut watched = vec![self.base.join("view")];
        for view in entries(&self.base.join("view")).unwrap_or_default() {
            let directory = self.base.join("view").join(view);
            for file in WRITTEN {
                wanted.insert(directory.join(file), true);
            }
            watched.push(directory);
        }
        for version in installed(&self.base).unwrap_or_default() {
            for file in entries(&version).unwrap_or_default() {
                wanted.insert(version.join(file), false);
            }
        }
        self.held.retain(|path, _| wanted.contains_key(path));
        for (path, writable) in wanted {
            let Ok(found) = fs::symlink_metadata(&path) else {
                self.held.remove(&path);
                continue;
            };
            let inode = (found.dev(), found.ino());
            if !found.is_file() || self.held.get(&path).is_some_and(|held| held.inode == inode) {
                continue;
            }
            match open(&path, writable) {
                Ok(file) => {
                    self.held.insert(path, Held { inode, _file: file });
                }
                Err(error) => {
                    tracing::debug!(path = %path.display(), %error, "cannot be held open yet");
                }
            }
        }
        self.watchers.retain(|path, _| watched.contains(path));
        for path in watched {
            let changed = &self.changed;
            self.watchers
                .entry(path.clone())
                .or_insert_with(|| notice::watch(&path, Arc::clone(changed), LOOK_EVERY));
        }
    }
}

fn open(path: &Path, writable: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    options.read(!writable).write(writable).custom_flags(flags);
    options.open(path)
}

//! Publishing and taking away pods' directories: plain system calls in an order that can be broken
//! off anywhere and begun again. One task runs all of it, so nothing here happens twice at a time.
//!
//! ```text
//!   publish:    entry > directory > zone by the table > libraries > etc/ld.so.preload > bind mount
//!   unpublish:  bind mounts > entry > directory > libraries that nobody names > target
//! ```
//!
//! `etc/ld.so.preload` comes last, and with it the directory is sealed: which libraries a pod loads is
//! decided once, at its start.

mod contents;

use super::{
    filesystem::{Filesystem, make_directory, with_room},
    identity::{Identity, check_id, check_target, pod_directory},
    libraries::{self, Libraries, entries, remove_all},
    mounts,
    registry::{self, Entry},
};
use crate::{pods, switch::Switch, table::Table};
use contents::{is_sealed, link_zone};
use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The call makes no sense, and will not when it is repeated.
    #[error("{0}")]
    Argument(&'static str),
    /// The id is another volume's.
    #[error("the volume is published already, for {0}")]
    Taken(String),
    /// The operating system refused something; a repetition may succeed.
    #[error("cannot {action}: {source}")]
    System {
        /// What was to be done.
        action: String,
        /// Why not.
        source: io::Error,
    },
}

/// What has been done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) published: u64,
    pub(super) unpublished: u64,
    pub(super) failed: u64,
    /// Volumes whose pod went without kubelet taking the volume away.
    pub(super) collected: u64,
}

/// All volumes of the node.
#[derive(Debug)]
pub(super) struct Volumes {
    filesystem: Filesystem,
    libraries: Libraries,
    nsswitch: bool,
    pub(super) counts: Counts,
}

impl Volumes {
    /// On a file system that is mounted, with libraries that are installed.
    pub(super) fn new(filesystem: Filesystem, libraries: Libraries, nsswitch: bool) -> Self {
        Self {
            filesystem,
            libraries,
            nsswitch,
            counts: Counts::default(),
        }
    }

    /// Where the volumes are.
    pub(super) fn filesystem(&self) -> &Filesystem {
        &self.filesystem
    }

    /// The build that new pods get.
    pub(super) fn version(&self) -> &str {
        &self.libraries.version
    }

    /// Gives a pod its directory. What was left half-done is completed; what is done stays.
    pub(super) fn publish(
        &mut self,
        id: &str,
        target: &str,
        attributes: &HashMap<String, String>,
    ) -> Result<(), Failure> {
        let published = self.try_publish(id, target, attributes);
        match &published {
            Ok(()) => self.counts.published += 1,
            Err(_) => self.counts.failed += 1,
        }
        published
    }

    fn try_publish(
        &mut self,
        id: &str,
        target: &str,
        attributes: &HashMap<String, String>,
    ) -> Result<(), Failure> {
        check_id(id).map_err(Failure::Argument)?;
        let target = check_target(target).map_err(Failure::Argument)?;
        let identity = Identity::of(attributes, &target).map_err(Failure::Argument)?;
        let base = self.filesystem.base().to_owned();
        let entry = Entry {
            namespace: identity.namespace,
            target: Some(target.clone()),
            pod: identity.pod,
            uid: identity.uid,
        };
        // An entry that cannot be read is written again.
        let known = registry::read(&base, id).unwrap_or_default();
        if let Some(known) = &known
            && (&known.namespace, &known.uid) != (&entry.namespace, &entry.uid)
        {
            let Entry { namespace, pod, .. } = known;
            return Err(Failure::Taken(format!("{namespace}/{pod}")));
        }
        let directory = base.join("pod").join(id);
        let done = self.complete(id, &entry, known.as_ref() == Some(&entry), &target);
        if done.is_err() && !mounts::shows(&directory, &target).unwrap_or(false) {
            // Kubelet does not call again to clear up after a call that failed for good.
            if let Err(error) = self.withdraw(id, &target) {
                tracing::warn!(id, %error, "what was begun could not be withdrawn");
            }
        }
        done
    }

    /// Does what is missing.
    fn complete(
        &self,
        id: &str,
        entry: &Entry,
        registered: bool,
        target: &Path,
    ) -> Result<(), Failure> {
        let base = self.filesystem.base();
        let directory = base.join("pod").join(id);
        if !registered {
            with_room(&self.filesystem, || registry::write(base, id, entry))
                .map_err(failed("register the volume"))?;
        }
        with_room(&self.filesystem, || make_directory(&directory, 0o1775))
            .map_err(failed("make the pod's directory"))?;
        let read = Table::read(base);
        if let Err(error) = &read {
            tracing::error!(id, "new pods load nothing: {error:#}");
        }
        let injected = self.is_injected(&entry.namespace, &read);
        if !is_sealed(&directory) {
            let sealed = with_room(&self.filesystem, || self.fill(&directory, injected));
            let sealed = match sealed {
                // Better without us than not at all.
                Err(error) if injected && error.kind() == io::ErrorKind::StorageFull => {
                    tracing::error!(
                        id,
                        "the file system is full: the pod starts without libraries"
                    );
                    self.fill(&directory, false)
                }
                sealed => sealed,
            };
            sealed.map_err(failed("fill the pod's directory"))?;
        }
        if let Ok(Some(table)) = &read
            && let Some(zone) = table.entry(&entry.namespace)
            && pods::is_id(&zone.view)
            && let Err(error) = link_zone(&base.join("view").join(&zone.view), &directory)
        {
            // The agent does it as soon as it runs; no pod waits for that.
            tracing::warn!(id, %error, "the pod starts without a zone");
        }
        show(&directory, target)
    }

    /// Whether new pods of a namespace load the libraries. An agent that has not written its table
    /// yet has said nothing against it; a table that cannot be read may say so.
    fn is_injected(&self, namespace: &str, table: &anyhow::Result<Option<Table>>) -> bool {
        if Switch::new(self.filesystem.base()).is_off() {
            return false;
        }
        let Ok(table) = table else { return false };
        let Some(table) = table else { return true };
        let refused = table.refused_builds.contains(&nss_k8s_stub::BUILD);
        let wanted = table.entry(namespace).is_none_or(|entry| entry.inject);
        !table.disabled && !refused && wanted
    }

    /// Takes a pod's directory away; what is gone already is fine.
    pub(super) fn unpublish(&mut self, id: &str, target: &str) -> Result<(), Failure> {
        let unpublished = check_id(id)
            .and_then(|()| check_target(target))
            .map_err(Failure::Argument)
            .and_then(|target| self.withdraw(id, &target).map(drop));
        match &unpublished {
            Ok(()) => self.counts.unpublished += 1,
            Err(_) => self.counts.failed += 1,
        }
        unpublished
    }

    /// Unmounts a volume's target and removes what is left of the volume; whether it is gone.
    fn withdraw(&self, id: &str, target: &Path) -> Result<bool, Failure> {
        let resolved = resolve(target).map_err(failed("look at the target's parent"))?;
        if let Some(target) = &resolved {
            mounts::clear(target).map_err(failed("unmount the target"))?;
        }
        let gone = self.forget(id)?;
        match resolved.map_or(Ok(()), fs::remove_dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(gone),
            removed => removed.map_err(failed("remove the target")).map(|()| gone),
        }
    }

    /// Removes a volume from our file system, unless it is still mounted; whether it is gone.
    fn forget(&self, id: &str) -> Result<bool, Failure> {
        let base = self.filesystem.base();
        // Whoever asks for another target than the volume's own has that one cleared, no more.
        if is_shown(base, id).map_err(failed("look where the volume is mounted"))? {
            return Ok(false);
        }
        registry::remove(base, id).map_err(failed("remove the volume's entry"))?;
        let directory = base.join("pod").join(id);
        // The agent may be putting a link in at this moment, having read the entry before.
        remove_all(&directory)
            .or_else(|_| remove_all(&directory))
            .map_err(failed("remove the pod's directory"))?;
        if let Err(error) = libraries::collect(base, self.version()) {
            tracing::warn!(%error, "libraries that no pod names could not be removed");
        }
        Ok(true)
    }

    /// Takes away what kubelet forgot: volumes of pods whose directory it has removed, and
    /// directories that have no entry and are mounted nowhere. Returns how many volumes there are.
    pub(super) fn collect(&mut self) -> io::Result<usize> {
        let base = self.filesystem.base().to_owned();
        let mut volumes = 0;
        for (id, entry) in registry::all(&base)? {
            volumes += 1;
            let Ok(entry) = entry else {
                tracing::warn!(id, "the volume's entry cannot be read");
                continue;
            };
            // Entries made by hand have no target.
            let Some(target) = entry.target else { continue };
            let Some((pods, pod)) = pod_directory(&target, &entry.uid) else {
                continue;
            };
            // Without the directory of all pods nothing is known of any of them.
            let is_gone = fs::symlink_metadata(pod)
                .is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
            if !pods.is_dir() || !is_gone {
                continue;
            }
            match self.withdraw(&id, &target) {
                Ok(false) => tracing::warn!(id, "the pod is gone, and its volume is mounted"),
                Ok(true) => {
                    volumes -= 1;
                    self.counts.collected += 1;
                    tracing::info!(
                        id,
                        pod = entry.pod,
                        "collected the volume of a pod that is gone"
                    );
                }
                Err(error) => tracing::warn!(id, %error, "a volume could not be collected"),
            }
        }
        volumes += self.collect_directories(&base)?;
        libraries::collect(&base, self.version())?;
        Ok(volumes)
    }

    /// Removes directories that have no entry. Those that are mounted have lost it: their pods run, and
    /// the next call for the volume writes it again or takes the volume away. Returns how many those are.
    fn collect_directories(&self, base: &Path) -> io::Result<usize> {
        let mut lost = Vec::new();
        for id in entries(&base.join("pod"))? {
            if pods::registry(base).join(&id).try_exists()? {
                continue;
            }
            if is_shown(base, &id)? {
                lost.push(id);
            } else if let Err(error) = remove_all(&base.join("pod").join(&id)) {
                // The agent may be at it, too; the next look tries again.
                tracing::warn!(id, %error, "a directory without a volume could not be removed");
            }
        }
        if let Some(id) = lost.first() {
            let count = lost.len();
            tracing::error!(
                count,
                id,
                "pods that run have lost their entries: they keep what they have"
            );
        }
        Ok(lost.len())
    }
}

/// Whether a volume's directory, or something in it, is mounted anywhere.
fn is_shown(base: &Path, id: &str) -> io::Result<bool> {
    mounts::is_shown(base, &Path::new("pod").join(id))
}

/// Mounts a pod's directory on its target, unless it is there.
fn show(directory: &Path, target: &Path) -> Result<(), Failure> {
    let made = fs::DirBuilder::new().mode(0o750).create(target);
    match made {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && target.is_dir() => {}
        made => made.map_err(failed("make the target"))?,
    }
    let resolved = resolve(target).map_err(failed("look at the target's parent"))?;
    let target = resolved.unwrap_or_else(|| target.to_owned());
    if mounts::shows(directory, &target).map_err(failed("look at the target"))? {
        return Ok(());
    }
    // What an earlier file system of ours, or a half-done call, left there.
    mounts::clear(&target).map_err(failed("clear the target"))?;
    mounts::show(directory, &target).map_err(failed("mount the pod's directory"))
}

/// A target as the list of mounts names it: its parent without symbolic links. `None` without one.
fn resolve(target: &Path) -> io::Result<Option<PathBuf>> {
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        return Ok(None);
    };
    match fs::canonicalize(parent) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        parent => Ok(Some(parent?.join(name))),
    }
}

/// A [`Failure`] of the operating system.
fn failed(action: &str) -> impl FnOnce(io::Error) -> Failure {
    let action = action.to_owned();
    move |source| Failure::System { action, source }
}

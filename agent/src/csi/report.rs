//! What the driver says of itself in `private/driver`, for the agent's figures and for people: it
//! listens to no network of its own.

use super::{filesystem::Level, libraries::entries, volumes::Volumes};
use crate::pods;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct State {
    /// When it was written, Unix seconds.
    pub written: u64,
    /// The build that new pods get.
    pub libraries: String,
    /// Pods that have a volume.
    pub volumes: usize,
    /// Volumes published since the driver started.
    pub published: u64,
    /// Volumes that kubelet took away since then.
    pub unpublished: u64,
    /// Volumes of pods that went without that.
    pub collected: u64,
    /// Calls that failed.
    pub failed: u64,
    /// The file system's size in bytes.
    pub size: u64,
    /// Of these free.
    pub free: u64,
    /// `fine`, `nearly full` or `full`.
    pub level: String,
}

impl State {
    /// Where it is, below a base directory.
    pub fn path(base: &Path) -> PathBuf {
        base.join("private/driver")
    }

    /// What is there; nothing where no driver has run.
    pub fn read(base: &Path) -> io::Result<Option<Self>> {
        match fs::read(Self::path(base)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            text => Ok(Some(serde_json::from_slice(&text?)?)),
        }
    }
}

/// Writes the file and says once what is worth saying.
pub(super) struct Report {
    pub(super) volumes: usize,
    level: Level,
}

impl Report {
    /// With so many volumes at the start.
    pub(super) fn new(volumes: usize) -> Self {
        let level = Level::Fine;
        Self { volumes, level }
    }

    /// Looks at the file system and writes what there is.
    pub(super) fn look(&mut self, volumes: &Volumes) {
        let filesystem = volumes.filesystem();
        let base = filesystem.base();
        let (space, level) = match filesystem.look() {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(%error, "cannot look at the file system");
                return;
            }
        };
        if level != self.level {
            let (size, free) = (space.size, space.free);
            match level {
                Level::Fine => tracing::info!(size, free, "the file system has room again"),
                _ => tracing::error!(size, free, "the file system is {}", level.as_str()),
            }
            self.level = level;
        }
        if let Ok(entries) = entries(&pods::registry(base)) {
            self.volumes = entries.len();
        }
        let counts = volumes.counts;
        let state = State {
            written: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            libraries: volumes.version().to_owned(),
            volumes: self.volumes,
            published: counts.published,
            unpublished: counts.unpublished,
            collected: counts.collected,
            failed: counts.failed,
            size: space.size,
            free: space.free,
            level: level.as_str().to_owned(),
        };
        if let Err(error) = write(base, &state) {
            tracing::debug!(%error, "cannot write what the driver says of itself");
        }
    }
}

fn write(base: &Path, state: &State) -> io::Result<()> {
    let path = State::path(base);
    let draft = path.with_file_name(".driver.new");
    fs::write(&draft, serde_json::to_string(state)? + "\n")?;
    fs::rename(draft, path)
}

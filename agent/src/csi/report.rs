//! What the driver says of itself in `private/driver`, for the agent's figures and for people: it
//! listens to no network of its own.

use super::{
    filesystem::{Level, write_new},
    libraries::{entries, remove_all},
    registry,
    volumes::Volumes,
};
use crate::pods;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Unit,
};
use serde::{Deserialize, Serialize};
use std::{
    fmt, fs, io,
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

/// The driver's figures among the agent's: read from the file whenever they are asked for. None without
/// a driver.
#[derive(Debug)]
pub struct Figures {
    base: PathBuf,
}

impl Figures {
    /// Of the driver of one base directory.
    pub fn new(base: &Path) -> Self {
        let base = base.to_owned();
        Self { base }
    }
}

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Ok(Some(state)) = State::read(&self.base) else {
            return Ok(());
        };
        let full = u64::from(state.level == Level::Full.as_str());
        let seconds = Some(Unit::Seconds);
        for (name, help, unit, value) in [
            (
                "driver_timestamp",
                "When the driver last wrote, Unix time",
                seconds,
                state.written,
            ),
            (
                "driver_volumes",
                "Pods that have a volume",
                None,
                state.volumes as u64,
            ),
            (
                "driver_tmpfs_size",
                "The file system's size",
                Some(Unit::Bytes),
                state.size,
            ),
            (
                "driver_tmpfs_free",
                "Of it free",
                Some(Unit::Bytes),
                state.free,
            ),
            ("driver_tmpfs_full", "1: the ballast had to go", None, full),
        ] {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let kind = EncodeMetric::metric_type(&gauge);
            gauge.encode(encoder.encode_descriptor(name, help, unit.as_ref(), kind)?)?;
        }
        for (name, help, value) in [
            ("driver_published", "Volumes published", state.published),
            (
                "driver_unpublished",
                "Volumes that kubelet took away",
                state.unpublished,
            ),
            (
                "driver_collected",
                "Volumes of pods that went without that",
                state.collected,
            ),
            ("driver_failures", "Calls that failed", state.failed),
        ] {
            let counter = ConstCounter::new(value);
            let kind = EncodeMetric::metric_type(&counter);
            counter.encode(encoder.encode_descriptor(name, help, None, kind)?)?;
        }
        Ok(())
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
    // In a directory that nobody else writes to, or a link could lead the write anywhere.
    let draft = pods::registry(base).join(format!("{}driver", registry::DRAFT));
    remove_all(&draft)?;
    let text = serde_json::to_string(state)? + "\n";
    write_new(&draft, text.as_bytes(), 0o640)?;
    fs::rename(draft, path)
}

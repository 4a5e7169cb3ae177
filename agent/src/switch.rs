//! The kill switch: `nss-k8s disable` and `enable`. A file in the private directory says what is
//! wanted, so it outlives every agent; a running agent follows it, without one we write the zone's
//! state ourselves under the lock.

use crate::{config::DEFAULT_CLASS, parse};
use anyhow::{Context, Result, bail};
use nss_k8s_zone::{Dump, OpenError, Options, State, Writer};
use std::{
    fs, io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

/// How long a running agent may take to follow.
const PATIENCE: Duration = Duration::from_secs(5);

/// The file that says what is wanted.
pub struct Switch {
    path: PathBuf,
}

impl Switch {
    /// The switch of one base directory.
    pub fn new(base: &Path) -> Self {
        Self {
            path: base.join("private/disabled"),
        }
    }

    /// Whether every process is to pass. A switch that cannot be read counts as set only when it is
    /// certainly there.
    pub fn is_off(&self) -> bool {
        self.path.try_exists().unwrap_or(false)
    }

    fn set(&self, off: bool) -> io::Result<()> {
        if off {
            if let Some(private) = self.path.parent() {
                let mut builder = fs::DirBuilder::new();
                builder.recursive(true).mode(0o700).create(private)?;
            }
            return fs::write(&self.path, "nss-k8s disable\n");
        }
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Turns every process of the node off (`off`) or on again, and waits until the zone says so.
///
/// The file comes first: it must be possible to set the switch when the zone is what is broken.
/// Without a zone that can be read there is nothing to wait for.
pub fn turn(base: &Path, off: bool) -> Result<()> {
    let switch = Switch::new(base);
    switch
        .set(off)
        .with_context(|| format!("cannot write {}", switch.path.display()))?;
    turn_all(base, &switch, off, Instant::now() + PATIENCE)
}

/// Turns every zone, also where another one cannot be; the first error.
fn turn_all(base: &Path, switch: &Switch, off: bool, deadline: Instant) -> Result<()> {
    let mut result = Ok(());
    for class in published_classes(base) {
        let turned = turn_class(base, switch, &class, off, deadline);
        result = result.and(turned);
    }
    result
}

/// Waits until one class's zone says so.
fn turn_class(
    base: &Path,
    switch: &Switch,
    class: &str,
    off: bool,
    deadline: Instant,
) -> Result<()> {
    let path = view_path(base, class);
    let apex = match Dump::open(&path) {
        Ok(zone) => zone.apex().to_owned(),
        Err(error) => {
            let word = if off { "set" } else { "lifted" };
            println!("the switch is {word} ({error}); an agent follows it when it runs");
            return Ok(());
        }
    };
    loop {
        let state = match Dump::open(&path) {
            Ok(zone) => zone.state(),
            // The agent has just retired it.
            Err(_) if !path.exists() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if (state == State::Disabled) == off {
            let word = if off {
                "disabled: every process passes"
            } else {
                "enabled"
            };
            println!("{word} ({})", path.display());
            return Ok(());
        }
        let options = Options {
            view: class.to_owned(),
            ..Options::new(base, &apex)
        };
        match Writer::open(options) {
            Ok((mut writer, _)) if off => writer.disable(),
            Ok((mut writer, _)) => writer.enable(),
            Err(OpenError::Locked { holder, .. }) if Instant::now() >= deadline => {
                let holder = holder.map_or_else(String::new, |pid| format!(" (process {pid})"));
                bail!(
                    "the agent{holder} has not followed {} in time",
                    switch.path.display()
                );
            }
            // The agent looks at the file several times a second.
            Err(OpenError::Locked { .. }) => thread::sleep(Duration::from_millis(50)),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The zone file that processes of the class `default` map, below a base directory.
pub fn zone_path(base: &Path) -> PathBuf {
    view_path(base, DEFAULT_CLASS)
}

/// The zone file of one class, below a base directory.
pub fn view_path(base: &Path, class: &str) -> PathBuf {
    base.join("view").join(class).join("zone.v1")
}

/// The classes that have a zone file below a base directory, `default` first.
pub fn published_classes(base: &Path) -> Vec<String> {
    let mut classes = vec![DEFAULT_CLASS.to_owned()];
    let entries = fs::read_dir(base.join("view")).into_iter().flatten();
    for entry in entries.flatten() {
        if let Ok(name) = entry.file_name().into_string()
            && name != DEFAULT_CLASS
            && parse::label(&name).is_ok()
            && entry.path().join("zone.v1").exists()
        {
            classes.push(name);
        }
    }
    classes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A zone whose writer does not follow keeps no other one from being turned.
    #[test]
    fn every_zone_is_turned_that_can_be() {
        let base = tempfile::TempDir::new_in("/dev/shm").unwrap();
        let open = |view: &str| {
            let options = Options {
                view: view.to_owned(),
                ..Options::new(base.path(), "cluster.local")
            };
            Writer::open(options).unwrap().0
        };
        let state = |view: &str| {
            let zone = Dump::open(&view_path(base.path(), view)).unwrap();
            zone.state()
        };
        let held = open(DEFAULT_CLASS);
        drop((open("a"), open("z")));
        let switch = Switch::new(base.path());
        for off in [true, false] {
            let turned = turn_all(base.path(), &switch, off, Instant::now());
            // Nobody has to follow where the zone is on already.
            assert_eq!(turned.is_err(), off, "{DEFAULT_CLASS} is held by somebody");
            for view in ["a", "z"] {
                assert_eq!(state(view) == State::Disabled, off, "{view}");
            }
            assert_ne!(state(DEFAULT_CLASS), State::Disabled);
        }
        drop(held);
        turn_all(base.path(), &switch, true, Instant::now()).unwrap();
        assert_eq!(state(DEFAULT_CLASS), State::Disabled);
    }
}

//! Host processes: pods whose zone the test's own writer publishes, and programs in them with any
//! libraries preloaded.

use crate::{
    artifacts, outside,
    pod::{Pod, Recipe},
    session::Door,
    shop,
    writer::Published,
};
use anyhow::{Context, Result, ensure};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

/// A service of the zone, and its address: what probes are told to look for.
pub const KNOWN: [&str; 2] = ["api", "10.96.1.10"];

/// A zone with a few of the shop's services, and a pod that sees it.
pub struct Host {
    /// The pod.
    pub pod: Pod,
    /// The zone, for tests that change it.
    pub zone: Published,
}

impl Host {
    /// No DNS server: what is answered, the zone answered.
    pub fn dark() -> Result<Self> {
        Self::start(Recipe::default())
    }

    /// A DNS server with the same facts; libc's own sources alone are asked besides the shim.
    pub fn lit() -> Result<Self> {
        Self::start(Recipe {
            nsswitch: "hosts: files dns\n".into(),
            dns: Some(shop::script()),
            ..Recipe::default()
        })
    }

    /// Processes behind `door` ask for names outside the zone, of which the server has some.
    pub fn asking(door: Door) -> Result<Self> {
        let (zone, view) = outside::zone()?;
        let pod = Pod::start(outside::recipe(view, door, shop::world()))?;
        Ok(Self { pod, zone })
    }

    fn start(recipe: Recipe) -> Result<Self> {
        let mut zone = Published::live()?;
        let [name, address] = KNOWN;
        zone.put(name, &[address])?;
        zone.put("web", &["10.96.1.11", "fd00:96::11"])?;
        zone.put("six", &["fd00:96::12"])?;
        let pod = Pod::start(Recipe {
            zone: Some(zone.view()),
            ..recipe
        })?;
        Ok(Self { pod, zone })
    }

    /// A program behind a door, with our notes.
    pub fn behind(&self, door: Door, program: &Path) -> Result<Command> {
        let mut command = self.pod.command(program.to_str().context("path")?);
        door.open(&mut command, &artifacts::guests()?);
        Ok(command)
    }

    /// A program with these libraries preloaded in this order, with our notes.
    pub fn preloaded(&self, program: &Path, libraries: &[PathBuf]) -> Result<Command> {
        let mut list = OsString::new();
        for library in libraries {
            list.push(library);
            list.push(":");
        }
        let mut command = self.pod.command(program.to_str().context("path")?);
        command.env("LD_PRELOAD", list).env("NSS_K8S_DEBUG", "1");
        Ok(command)
    }
}

/// Runs it; it must end well. What it printed: on standard output, on standard error.
pub fn run(mut command: Command) -> Result<(String, String)> {
    let output = command.output()?;
    let text = String::from_utf8(output.stdout)?;
    let notes = String::from_utf8(output.stderr)?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{text}{notes}",
        output.status
    );
    Ok((text, notes))
}

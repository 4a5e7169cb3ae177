//! Pods whose processes ask for names outside the zone themselves, and what tests ask there.

use crate::{
    dns::Script,
    pod::{HOSTS_LINE, Recipe},
    session::Door,
    shop,
    writer::Published,
};
use anyhow::{Context, Result};
use std::{path::PathBuf, thread};

/// A name outside that has both families.
pub const NAME: &str = "www.example.com";
/// What a reply to it is summed up as, but for the canonical name.
pub const ADDRESSES: &str = "192.0.2.81 2001:db8::81";

/// A zone that lets processes ask, with the service `api`, and where they see it.
pub fn zone() -> Result<(Published, PathBuf)> {
    let mut zone = Published::asking()?;
    zone.put("api", &["10.96.1.10"])?;
    let view = zone.view();
    Ok((zone, view))
}

/// A pod for one door, with a server.
pub fn recipe(view: PathBuf, door: Door, script: Script) -> Recipe {
    Recipe {
        nsswitch: hosts_line(door).into(),
        hosts: shop::HOSTS.into(),
        zone: Some(view),
        dns: Some(script),
        ..Recipe::default()
    }
}

/// The hosts line under which a door asks: where the module is named, the shim leaves names outside
/// to it.
pub fn hosts_line(door: Door) -> &'static str {
    match door {
        Door::Nss => HOSTS_LINE,
        _ => "hosts: files dns\n",
    }
}

/// Runs it for every door of ours, side by side: such tests wait for timeouts.
pub fn at_every_door(test: impl Fn(Door) -> Result<()> + Sync) -> Result<()> {
    thread::scope(|scope| {
        let test = &test;
        let threads = Door::OURS.map(|door| (door, scope.spawn(move || test(door))));
        for (door, thread) in threads {
            let result = thread.join();
            let result = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result.with_context(|| format!("{door:?}"))?;
        }
        Ok(())
    })
}

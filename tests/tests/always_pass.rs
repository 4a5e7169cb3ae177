//! The control of the suite: libc and a DNS server give right answers too, so libraries that
//! always pass would look correct. Against them every case that the zone must answer has to fail.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use anyhow::{Context, Result, anyhow, ensure};
use nss_k8s_tests::{
    artifacts, case,
    corpus::{self, Corpus, expected},
    differential::{Asks, Rig, is_asked, is_ours},
    pod::{Pod, Recipe},
    session::{Door, Session},
    shop::{self, cases},
    writer::{self, Published},
};
use nss_k8s_zone::Config;
use std::{
    collections::HashSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
};

/// The directory of the two libraries built with `--cfg always_pass`; the first caller builds.
fn libraries() -> Result<&'static Path> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    built.as_deref().map_err(|error| anyhow!("{error}"))
}

/// Builds them, in a target directory of their own.
fn build() -> Result<PathBuf> {
    let target = artifacts::scratch("always-pass")?;
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args([
            "build",
            "--locked",
            "--profile",
            "guest",
            "-p",
            "nss-k8s-nss",
            "-p",
            "nss-k8s-shim",
        ])
        .current_dir(artifacts::repository())
        .env("CARGO_TARGET_DIR", &target)
        .env("RUSTFLAGS", "--cfg always_pass")
        .output()?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let guests = target.join("guests");
    fs::create_dir_all(&guests)?;
    for (built, name) in [
        ("libnss_k8s.so", "libnss_k8s.so.2"),
        ("libnss_k8s_preload.so", "libnss_k8s_preload.so"),
    ] {
        fs::copy(target.join("guest").join(built), guests.join(name)).context(name)?;
    }
    Ok(guests)
}

/// Every case of the corpus that the zone must answer fails, at every door and under every libc.
#[test]
fn the_rig_fails_against_libraries_that_always_pass() -> Result<()> {
    require_failures(Asks::Nobody, corpus::FILES, is_ours)
}

/// So does every case for which we must ask, where processes ask themselves.
#[test]
fn the_asking_rig_fails_against_libraries_that_always_pass() -> Result<()> {
    require_failures(Asks::Pod, &["environment.tsv"], |part| {
        is_ours(part) || is_asked(part)
    })
}

/// In a view in shadow they compare nothing: what counts there looked at the zone.
#[test]
fn nothing_is_compared_by_libraries_that_always_pass() -> Result<()> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.10"])?;
    zone.writer.configure(&Config {
        shadow: true,
        ..writer::config()?
    })?;
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        dns: Some(shop::script()),
        nsswitch: "hosts: files dns\n".into(),
        ..Recipe::default()
    })?;
    let mut session = Session::start_with(&pod, Door::ShimGlibc, libraries()?, &[])?;
    let reply = session.resolve("api", "INET")?;
    ensure!(reply.who() == "pass(disabled)", "{reply:?}");
    let mut session = Session::start(&pod, Door::ShimGlibc)?;
    let reply = session.resolve("api", "INET")?;
    ensure!(reply.who() == "shadow(same)", "{reply:?}");
    Ok(())
}

/// Runs the files, while `asks`, with those libraries: whatever must come from us has to fail.
fn require_failures(asks: Asks, files: &[&str], is_from_us: fn(&str) -> bool) -> Result<()> {
    let guests = libraries()?;
    let zone = shop::publish_asking(asks)?;
    for file in files {
        let mut rooms = Corpus::load(&artifacts::fixture("corpus").join(file))?.rooms;
        // What waits for timeouts is passed in any case.
        rooms.retain(|room| !room.is_patient());
        let rig = Rig {
            guests: guests.into(),
            asks,
            ..Rig::new(&zone)?
        };
        let report = rig.run(&rooms)?;
        let noticed: HashSet<_> = report
            .failures
            .iter()
            .map(|one| (&*one.room, &*one.call, one.door, one.release))
            .collect();
        let mut survivors = Vec::new();
        for room in &rooms {
            for case in room.cases() {
                for (door, givers) in Door::OURS.iter().zip(case.who.iter().flatten()) {
                    for (release, who) in givers {
                        let place = (&*room.title, &*case.call, *door, *release);
                        let entered = room.releases().contains(release);
                        let ours = expected(who, asks).split(',').any(is_from_us);
                        if entered && ours && !noticed.contains(&place) {
                            survivors.push(format!("{place:?}"));
                        }
                    }
                }
            }
        }
        ensure!(survivors.is_empty(), "{file}: {}", survivors.join("\n"));
        ensure!(
            rooms.is_empty() || !noticed.is_empty(),
            "{file}: nothing was ours"
        );
    }
    Ok(())
}

#[test]
fn the_suite_fails_against_libraries_that_always_pass() -> Result<()> {
    let guests = libraries()?;
    let zone = shop::publish()?;
    let pod = shop::dark_pod(&zone)?;
    for door in Door::OURS {
        let mut session = Session::start_with(&pod, door, guests, &[])?;
        let failures = case::run(cases::IN_ZONE, door, &mut session, None);
        let survivors: Vec<_> = cases::IN_ZONE
            .iter()
            .filter(|case| !failures.iter().any(|failure| failure.case == **case))
            .map(|case| case.call)
            .collect();
        ensure!(
            survivors.is_empty(),
            "{door:?}: the suite did not notice in {survivors:?}"
        );
        // And it is the libraries that passed, not libraries that were never loaded.
        let reply = session.resolve("api", "INET")?;
        ensure!(reply.who() == "pass(disabled)", "{door:?}: {}", reply.who());
    }
    Ok(())
}

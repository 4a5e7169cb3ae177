//! The control of the suite: libc and a DNS server give right answers too, so libraries that
//! always pass would look correct. Against them every case that the zone must answer has to fail.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts, case,
    session::{Door, Session},
    shop::{self, cases},
};
use std::{env, fs, path::PathBuf, process::Command};

/// Builds the two libraries with `--cfg always_pass`, in a target directory of their own.
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

#[test]
fn the_suite_fails_against_libraries_that_always_pass() -> Result<()> {
    let guests = build()?;
    let zone = shop::publish()?;
    let pod = shop::dark_pod(&zone)?;
    for door in Door::OURS {
        let mut session = Session::start_with(&pod, door, &guests, &[])?;
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

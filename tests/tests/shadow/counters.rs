//! What `nss-k8s-explain` reads from outside.

use crate::world::{SHIMS, explain, explain_all, outcome, pod, script, zone};
use anyhow::{Context, Result, ensure};
use nss_k8s_stub::shadow::SETTLES_AFTER;
use nss_k8s_tests::{artifacts, session::Session, writer};
use nss_k8s_zone::Config;
use std::process::Command;

/// What a running process counted is read from outside; a script goes by the status.
#[test]
fn counters_are_read_from_running_processes() -> Result<()> {
    let zone = zone(SETTLES_AFTER + 60)?;
    for door in SHIMS {
        let pod = pod(&zone, script())?;
        let mut session = Session::start(&pod, door)?;
        let plain = Session::start(&pod, door.reference())?;
        let id = session.id().to_string();
        // Nothing was compared: that is no reason to switch on.
        let (status, text) = explain(&id)?;
        ensure!(status == 3, "{status}: {text}");
        for _ in 0..3 {
            session.resolve("api", "UNSPEC")?;
        }
        session.ask("gai failing.shop.svc.cluster.local. - UNSPEC 1 0 0")?;
        session.resolve("www.example.com", "INET")?;
        let (status, text) = explain(&id)?;
        let build = nss_k8s_stub::BUILD;
        ensure!(
            status == 0
                && text.contains(&format!(
                    "build {build}, in shadow; same 3, different-addresses 0, \
                     different-status 0, different-lately 0, failed 1, passed 1\n"
                ))
                && text.contains("1 processes: same 3,"),
            "{status}: {text}"
        );
        session.resolve("moved", "UNSPEC")?;
        session.resolve("gone", "UNSPEC")?;
        let (status, text) = explain(&id)?;
        ensure!(
            status == 1
                && text.contains("different-addresses 1, different-status 1,")
                && text.contains("last difference: gone"),
            "{status}: {text}"
        );
        // Among all processes it is found, too; one without the library is not ours.
        let (_, text) = explain_all()?;
        ensure!(
            text.contains(&format!("\n{id} lookup")) || text.starts_with(&format!("{id} lookup")),
            "{text}"
        );
        let (status, text) = explain(&plain.id().to_string())?;
        ensure!(
            status == 3 && text.contains("has no preload library"),
            "{text}"
        );
        // A user of its own may not look.
        let (status, text) = outcome(
            Command::new("setpriv")
                .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                .arg(artifacts::explain()?)
                .args(["--shadow", &id]),
        )?;
        ensure!(
            status == 3 && text.contains("not permitted"),
            "{status}: {text}"
        );
    }
    Ok(())
}

/// What a name would be answered is told as ever, with the word that it is only compared.
#[test]
fn explain_says_that_the_view_is_in_shadow() -> Result<()> {
    let mut zone = zone(SETTLES_AFTER + 60)?;
    let pod = pod(&zone, script())?;
    let explain = || -> Result<(i32, String)> {
        let program = artifacts::explain()?;
        outcome(pod.command(program.to_str().context("path")?).arg("moved"))
    };
    let build = nss_k8s_stub::BUILD;
    let (status, text) = explain()?;
    for part in [
        &format!("view default; library build {build}"),
        "in shadow: libc answers",
        "10.96.1.13",
    ] {
        ensure!(text.contains(part), "{part} is not in {text}");
    }
    ensure!(status == 0, "{status}: {text}");
    zone.writer.configure(&Config {
        refused_builds: vec![build],
        ..writer::config()?
    })?;
    let (status, text) = explain()?;
    ensure!(
        status == 3 && text.contains("this build is refused") && !text.contains("shadow"),
        "{status}: {text}"
    );
    Ok(())
}

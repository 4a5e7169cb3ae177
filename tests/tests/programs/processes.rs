//! Processes that fork, cancel threads, have little room, or ask for very much.

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts,
    pod::{Pod, Recipe},
    probe::{self, Libc},
    session::{Door, Session},
    writer::Published,
};
use std::collections::HashSet;

#[test]
fn threads_on_small_stacks_while_the_process_forks() -> Result<()> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.10"])?;
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        ..Recipe::default()
    })?;
    for door in Door::OURS {
        let program = probe::program("storm", door.libc())?;
        let mut command = pod.command(program.to_str().context("path")?);
        door.open(&mut command, &artifacts::guests()?);
        // glibc's own getaddrinfo holds a lock over resolv.conf (resolv_conf.c, get_locked_global)
        // that fork leaves locked in the child: seen to hang there before any module is asked. The
        // preload library answers without it.
        let (forks, all) = match door {
            Door::Nss => ("0", "lookups 4000 failures 0"),
            _ => ("100", "lookups 4100 failures 0"),
        };
        command
            .env_remove("NSS_K8S_DEBUG")
            .args(["api", "10.96.1.10", "8", "500", "64", forks]);
        let output = command.output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && text.contains(all),
            "{door:?}: {output:?}"
        );
    }
    Ok(())
}

#[test]
fn threads_are_canceled_while_they_resolve() -> Result<()> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.10"])?;
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        ..Recipe::default()
    })?;
    for door in Door::OURS {
        let program = probe::program("cancel", door.libc())?;
        let mut command = pod.command(program.to_str().context("path")?);
        door.open(&mut command, &artifacts::guests()?);
        command.env_remove("NSS_K8S_DEBUG");
        let output = command.args(["api", "10.96.1.10", "200"]).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && text.contains("right 200 cleaned 200"),
            "{door:?}: {output:?}"
        );
    }
    Ok(())
}

#[test]
fn five_thousand_endpoints() -> Result<()> {
    let mut zone = Published::live()?;
    let all: Vec<_> = (0..5000_u32)
        .map(|number| nss_k8s_zone::Address::v4((0x0af5_0000 + number).to_be_bytes()))
        .collect();
    zone.put_headless("crowd", &all)?;
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        ..Recipe::default()
    })?;
    let known: HashSet<String> = (0..5000_u32)
        .map(|number| format!("10.245.{}.{}", number >> 8, number & 255))
        .collect();
    for door in Door::OURS {
        // What one answer holds; musl's own limit is 48.
        let most = if door.libc() == Libc::Musl { 48 } else { 4096 };
        let reply = Session::start(&pod, door)?.resolve("crowd", "INET")?;
        let got: HashSet<&String> = reply.entries.iter().map(|entry| &entry.address).collect();
        ensure!(
            reply.who() == "zone" && reply.entries.len() == most && got.len() == most,
            "{door:?}: {} entries, {} different, from {}",
            reply.entries.len(),
            got.len(),
            reply.who()
        );
        ensure!(
            got.iter().all(|address| known.contains(*address)),
            "{door:?}: a stranger"
        );
    }
    Ok(())
}

/// A warm process answers without a descriptor to spare: nothing is opened on the way.
#[test]
fn a_warm_process_needs_no_descriptor() -> Result<()> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.10"])?;
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        ..Recipe::default()
    })?;
    for door in [Door::ShimGlibc, Door::ShimMusl] {
        let mut session = Session::start(&pod, door)?;
        ensure!(
            session.resolve("api", "INET")?.who() == "zone",
            "{door:?}: cold"
        );
        session.ask("limit 0")?;
        for number in 1..=3_u8 {
            let address = format!("10.96.2.{number}");
            zone.put("api", &[&address])?;
            let reply = session.resolve("api", "INET")?;
            ensure!(
                reply.who() == "zone" && reply.summary().starts_with(&address),
                "{door:?}: {} from {}",
                reply.summary(),
                reply.who()
            );
        }
    }
    Ok(())
}

/// Under RLIMIT_AS the file is mapped at its exact size, and everything else works on.
#[test]
fn a_small_address_space_is_enough() -> Result<()> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.10"])?;
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        ..Recipe::default()
    })?;
    for door in Door::OURS {
        let program = probe::program("lookup", door.libc())?;
        let mut command = pod.command("prlimit");
        command.arg("--as=40000000").arg(program);
        door.open(&mut command, &artifacts::guests()?);
        let output = command
            .args(["gai", "api", "-", "INET", "1", "0", "2"])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(text.contains(" 10.96.1.10 "), "{door:?}: {output:?}");
    }
    Ok(())
}

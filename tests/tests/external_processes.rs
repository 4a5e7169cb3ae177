//! Processes that ask for names outside the zone while they have little, or while their control goes
//! elsewhere in the middle: nothing is lost, and nothing fails that libc alone would do.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts, compiled,
    host::{Host, run},
    outside,
    probe::Libc,
    session::{Door, Session},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What the probes look for: outside the zone, and its IPv4 address.
const WANTED: [&str; 2] = ["www.example.com", "192.0.2.81"];

/// Runs a probe on [`WANTED`] behind a door, with more libraries before ours: what it printed, and
/// our notes.
fn probe(host: &Host, door: Door, name: &str, words: &[&str]) -> Result<(String, String)> {
    let program = compiled::program(name, name, door.libc(), &[])?;
    let mut command = host.behind(door, &program)?;
    command.args(WANTED).args(words);
    run(command)
}

/// Any number of free descriptors, from none on: where we have too few, libc answers as it can.
#[test]
fn few_descriptors_leave_libcs_answer() -> Result<()> {
    outside::at_every_door(|door| {
        let host = Host::asking(door)?;
        let (mut seen, mut alone) = (Vec::new(), Vec::new());
        for spare in 0..5 {
            for (door, list) in [(door, &mut seen), (door.reference(), &mut alone)] {
                let mut session = Session::start(&host.pod, door)?;
                // Everything is loaded, and was asked once, before the limit.
                session.resolve(outside::NAME, "UNSPEC")?;
                let limit = limit_with(spare, session.id())?;
                session.ask(&format!("limit {limit}"))?;
                let reply = session.resolve(outside::NAME, "UNSPEC")?;
                let who = reply.who();
                list.push((spare, reply.summary(), who));
            }
        }
        for ((spare, ours, who), (_, libc, _)) in seen.iter().zip(&alone) {
            // Which error depends on what libc has loaded already.
            ensure!(
                ours.starts_with(outside::ADDRESSES) == libc.starts_with(outside::ADDRESSES),
                "{spare} spare: {ours} from {who}, libc alone: {libc}"
            );
        }
        let (_, _, first) = &seen[0];
        let (_, _, last) = &seen[4];
        ensure!(first.starts_with("pass(") && last == "upstream", "{seen:?}");
        Ok(())
    })
}

/// The limit below which so many descriptors of the process are free.
fn limit_with(spare: usize, process: u32) -> Result<usize> {
    let open: Vec<String> = fs::read_dir(format!("/proc/{process}/fd"))?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<Result<_>>()?;
    let mut free = (0..1024).filter(|number| !open.contains(&number.to_string()));
    free.nth(spare).context("all are open")
}

/// No descriptor is open after a lookup that was not open before it, whatever came of it.
#[test]
fn no_descriptor_is_left_open() -> Result<()> {
    outside::at_every_door(|door| {
        let host = Host::asking(door)?;
        let mut session = Session::start(&host.pod, door)?;
        session.resolve("api", "INET")?;
        let before = session.ask("descriptors")?.addresses;
        for name in [
            outside::NAME,
            "nosuch.example.com",
            "fail.example.com",
            "many.example.com",
        ] {
            session.resolve(name, "UNSPEC")?;
            let after = session.ask("descriptors")?.addresses;
            ensure!(before == after, "{name}: {before:?}, then {after:?}");
        }
        Ok(())
    })
}

/// Children of a process whose threads ask, and their children: nobody waits for what the parent's
/// threads were doing. Not through NSS without an exec, see `host_processes_flow`.
#[test]
fn children_of_a_process_that_asks() -> Result<()> {
    for (door, how, rounds) in [
        (Door::ShimGlibc, "forks", "20"),
        (Door::ShimMusl, "forks", "20"),
        (Door::ShimGlibc, "vfork", "10"),
        (Door::ShimMusl, "vfork", "10"),
        (Door::Nss, "vfork", "10"),
    ] {
        let host = Host::asking(door)?;
        let (text, notes) = probe(&host, door, "flow", &[how, rounds])?;
        ensure!(
            text == format!("right {rounds} of {rounds}\n") && notes.contains("-> upstream\n"),
            "{door:?} {how}: {text}{notes}"
        );
    }
    Ok(())
}

/// A timer that rings all the time interrupts every wait, and changes no answer.
#[test]
fn a_storm_of_signals() -> Result<()> {
    outside::at_every_door(|door| {
        let host = Host::asking(door)?;
        let (text, notes) = probe(&host, door, "flow", &["signals", "500"])?;
        ensure!(text == "right 500 of 500\n", "{text}");
        let asked = notes.matches("-> upstream\n").count();
        ensure!(asked == 500, "only {asked} were asked by us");
        Ok(())
    })
}

/// Threads canceled while they ask clean up, and the process resolves on.
#[test]
fn threads_are_canceled_while_they_ask() -> Result<()> {
    outside::at_every_door(|door| {
        let host = Host::asking(door)?;
        let (text, _) = probe(&host, door, "flow", &["cancel", "30"])?;
        ensure!(text == "right 30 of 30\n", "{text}");
        Ok(())
    })
}

/// Lookups left by siglongjmp while they wait: what follows is right. The descriptors of such a call
/// stay open, as those of libc's own lookups do.
#[test]
fn lookups_are_left_by_jumps() -> Result<()> {
    for door in [Door::ShimGlibc, Door::ShimMusl] {
        let host = Host::asking(door)?;
        let program = compiled::program("flow", "flow", door.libc(), &[])?;
        let pool = compiled::library("between", "pool", door.libc(), &["-DCOUNTS"])?;
        let leave = |libraries: &[PathBuf]| -> Result<String> {
            let mut command = host.preloaded(&program, libraries)?;
            command
                .env_remove("NSS_K8S_DEBUG")
                .args(WANTED)
                .args(["jump", "150"]);
            let (text, notes) = run(command)?;
            ensure!(notes.is_empty(), "{door:?}: {notes}");
            Ok(text)
        };
        let ours = leave(&[pool, artifacts::shim()?])?;
        ensure!(ours.ends_with("right 150 of 150\n"), "{door:?}: {ours}");
        let left = ours.lines().next().and_then(|line| line.rsplit(' ').next());
        let left: i64 = left.context("no count")?.parse()?;
        // Two connections of each call that was left.
        ensure!((0..=300).contains(&left), "{door:?}: {ours}");
    }
    Ok(())
}

/// A daemon closes every descriptor before its first lookup and after it: none that it opens is taken
/// for ours.
#[test]
fn a_daemon_closes_everything() -> Result<()> {
    for door in Door::OURS {
        let host = Host::asking(door)?;
        let (text, notes) = probe(&host, door, "flow", &["close"])?;
        ensure!(
            text == "left over 0\nright 12 of 12\n" && notes.contains("-> upstream\n"),
            "{door:?}: {text}{notes}"
        );
    }
    Ok(())
}

/// The smallest stacks that a program may ask for.
#[test]
fn small_stacks() -> Result<()> {
    for (door, size) in [
        (Door::ShimGlibc, "64"),
        (Door::ShimMusl, "64"),
        (Door::Nss, "64"),
        (Door::ShimGlibc, "min"),
    ] {
        let host = Host::asking(door)?;
        let (text, notes) = probe(&host, door, "confine", &["stack", size])?;
        ensure!(
            text == "right 3\n" && notes.matches("-> upstream\n").count() == 3,
            "{door:?}, {size} KiB: {text}{notes}"
        );
    }
    Ok(())
}

/// A sandbox made for libc's resolver admits us, or libc answers; it never has a reason to kill for
/// more than the first lookup's few calls.
#[test]
fn a_sandbox_for_libc_admits_us() -> Result<()> {
    for door in Door::OURS {
        let host = Host::asking(door)?;
        // Without the calls that read the zone everything is libc's.
        let (text, _) = probe(&host, door, "confine", &["errno", "libc"])?;
        ensure!(text == "right 3\n", "{door:?}: {text}");
        for how in ["errno", "kill"] {
            let (text, notes) = probe(&host, door, "confine", &[how, "wide"])?;
            ensure!(
                text == "right 3\n" && notes.matches("-> upstream\n").count() == 3,
                "{door:?} {how}: {text}{notes}"
            );
        }
    }
    Ok(())
}

/// All memory locked, and little address space.
#[test]
fn locked_memory_and_little_address_space() -> Result<()> {
    for door in Door::OURS {
        let host = Host::asking(door)?;
        for words in [&["locked"][..], &["space", "8"]] {
            let (text, notes) = probe(&host, door, "confine", words)?;
            ensure!(
                text == "right 3\n" && notes.matches("-> upstream\n").count() == 3,
                "{door:?} {words:?}: {text}{notes}"
            );
        }
    }
    Ok(())
}

/// Without notes nothing is written anywhere, and a static program that loads the module asks, too.
#[test]
fn a_static_program_lives_with_the_module() -> Result<()> {
    let host = Host::asking(Door::Nss)?;
    let flags = ["-static", "-Wl,--no-warnings"];
    let program = compiled::program("flow", "flow-static", Libc::Glibc, &flags)?;
    let mut command = host.behind(Door::Nss, Path::new(&program))?;
    command.args(WANTED).args(["signals", "200"]);
    let (text, notes) = run(command)?;
    ensure!(
        text == "right 200 of 200\n" && notes.is_empty(),
        "{text}{notes}"
    );
    let log = host.pod.dns()?.take_log();
    ensure!(log.iter().all(|one| one.tcp) && log.len() == 200, "{log:?}");
    Ok(())
}

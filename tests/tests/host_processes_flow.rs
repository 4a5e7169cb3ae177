//! Host processes whose control goes elsewhere in the middle of a lookup, or whose world changes
//! between two.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts, compiled,
    host::{Host, KNOWN, run},
    probe::Libc,
    session::Door,
};
use std::fs;

/// Runs `flow` behind a door, without notes: what it printed on standard output. Standard error
/// must stay empty.
fn flow(host: &Host, door: Door, words: &[&str]) -> Result<String> {
    let program = compiled::program("flow", "flow", door.libc(), &[])?;
    let mut command = host.behind(door, &program)?;
    command.env_remove("NSS_K8S_DEBUG").args(KNOWN).args(words);
    let (text, notes) = run(command)?;
    ensure!(notes.is_empty(), "{door:?} {words:?}: {notes}");
    Ok(text)
}

/// Children of a process whose threads look up, and their children: threads, half-done lookups and
/// all are gone there, and nothing waits for them. Not through NSS without an exec: glibc's lock
/// over resolv.conf is between (resolv_conf.c, get_locked_global), which fork leaves locked. glibc
/// 2.36 alone loses one child in a thousand to it.
#[test]
fn children_of_a_process_that_looks_up() -> Result<()> {
    let host = Host::dark()?;
    for (door, how, rounds) in [
        (Door::ShimGlibc, "forks", "100"),
        (Door::ShimMusl, "forks", "100"),
        (Door::ShimGlibc, "vfork", "20"),
        (Door::ShimMusl, "vfork", "20"),
        (Door::Nss, "vfork", "20"),
    ] {
        let text = flow(&host, door, &[how, rounds])?;
        ensure!(
            text == format!("right {rounds} of {rounds}\n"),
            "{door:?} {how}: {text}"
        );
    }
    Ok(())
}

/// A daemon closes every descriptor before its first lookup and after it: none is ours, and none
/// that the program opens is taken for ours.
#[test]
fn a_daemon_closes_everything() -> Result<()> {
    let host = Host::dark()?;
    for door in Door::OURS {
        let text = flow(&host, door, &["close"])?;
        ensure!(text == "left over 0\nright 12 of 12\n", "{door:?}: {text}");
    }
    Ok(())
}

/// A jail with files of its own and no zone: entered before the first lookup, libc answers as it
/// would alone. Entered afterwards, what is mapped stays. A jail without files: libc's own answer.
#[test]
fn a_jail_before_and_after_the_first_lookup() -> Result<()> {
    let host = Host::lit()?;
    let root = tempfile::tempdir()?;
    let (furnished, empty) = (root.path().join("furnished"), root.path().join("empty"));
    fs::create_dir_all(furnished.join("etc"))?;
    fs::create_dir_all(&empty)?;
    let own = nss_k8s_tests::pod::resolv_conf("shop");
    fs::write(furnished.join("etc/resolv.conf"), own)?;
    fs::write(furnished.join("etc/nsswitch.conf"), "hosts: files dns\n")?;
    fs::write(furnished.join("etc/hosts"), "127.0.0.1 localhost\n")?;
    for door in [Door::ShimGlibc, Door::ShimMusl] {
        let program = compiled::program("flow", "flow", door.libc(), &[])?;
        for (jail, when, from_zone) in [
            (&furnished, "before", 0),
            (&furnished, "after", 2),
            (&empty, "before", 0),
        ] {
            // There musl asks its own host and waits five seconds for each answer: not here.
            if jail == &empty && door == Door::ShimMusl {
                continue;
            }
            let jail = jail.to_str().context("path")?;
            let outcome = |door: Door| -> Result<(String, String)> {
                let mut command = host.behind(door, &program)?;
                command.args(KNOWN).args(["jail", jail, when]);
                run(command)
            };
            let ((text, notes), (alone, _)) = (outcome(door)?, outcome(door.reference())?);
            ensure!(
                text == alone && notes.matches("\"api\" -> zone\n").count() == from_zone,
                "{door:?} {jail} {when}: {text}{notes}, libc alone: {alone}"
            );
            ensure!(
                jail.ends_with("empty") || text == "right 2 of 2\n",
                "{door:?} {jail} {when}: {text}"
            );
        }
    }
    Ok(())
}

/// A timer that rings twenty thousand times a second changes no answer.
#[test]
fn a_storm_of_signals() -> Result<()> {
    let host = Host::dark()?;
    for door in Door::OURS {
        let text = flow(&host, door, &["signals", "20000"])?;
        ensure!(text == "right 20000 of 20000\n", "{door:?}: {text}");
    }
    Ok(())
}

/// Lookups left by siglongjmp, thousands of times, first ones and later ones: what follows is right
/// and no descriptor is left open by a warm one. The allocator is one that may be left, too: libc's
/// own would be torn.
#[test]
fn lookups_are_left_by_jumps() -> Result<()> {
    let host = Host::dark()?;
    for libc in [Libc::Glibc, Libc::Musl] {
        let program = compiled::program("flow", "flow", libc, &[])?;
        let pool = compiled::library("between", "pool", libc, &["-DCOUNTS"])?;
        let mut command = host.preloaded(&program, &[pool, artifacts::shim()?])?;
        command
            .env_remove("NSS_K8S_DEBUG")
            .args(KNOWN)
            .args(["jump", "5000"]);
        let (text, notes) = run(command)?;
        ensure!(
            text == "left over 0\nright 5000 of 5000\n" && notes.is_empty(),
            "{libc:?}: {text}{notes}"
        );
    }
    Ok(())
}

/// Threads canceled in their first lookup and in later ones clean up, and the process resolves on.
#[test]
fn threads_are_canceled_in_their_first_lookup() -> Result<()> {
    let host = Host::dark()?;
    for door in Door::OURS {
        let text = flow(&host, door, &["cancel", "100"])?;
        ensure!(text == "right 100 of 100\n", "{door:?}: {text}");
    }
    Ok(())
}

/// A static glibc program loads the NSS module into a process that lends it nothing: what it does
/// to its threads, signals and descriptors harms neither.
#[test]
fn a_static_program_lives_with_the_module() -> Result<()> {
    let host = Host::dark()?;
    // The linker warns that the libraries are wanted at run time: that is the point.
    let flags = ["-static", "-Wl,--no-warnings"];
    let program = compiled::program("flow", "flow-static", Libc::Glibc, &flags)?;
    for (words, wanted) in [
        (&["close"][..], "left over 0\nright 12 of 12\n"),
        (&["signals", "5000"], "right 5000 of 5000\n"),
        (&["vfork", "20"], "right 20 of 20\n"),
    ] {
        let mut command = host.behind(Door::Nss, &program)?;
        command.args(KNOWN).args(words);
        // No notes: the module cannot read the environment there. Nobody else knows the name.
        let (text, notes) = run(command)?;
        ensure!(
            text == wanted && notes.is_empty(),
            "{words:?}: {text}{notes}"
        );
    }
    Ok(())
}

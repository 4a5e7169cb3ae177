//! Host processes that have little: few system calls, little stack, little memory.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts, compiled,
    host::{Host, KNOWN, run},
    namespace::run as run_tool,
    probe::Libc,
    session::Door,
    writer,
};
use nss_k8s_zone::{Address, Config};
use std::{os::unix::process::ExitStatusExt, process::Output};

/// Runs `confine` behind a door.
fn confine(host: &Host, door: Door, words: &[&str]) -> Result<Output> {
    let program = compiled::program("confine", "confine", door.libc(), &[])?;
    let mut command = host.behind(door, &program)?;
    Ok(command.args(KNOWN).args(words).output()?)
}

/// Requires three right lookups, and how many of them the zone answered.
fn require(output: &Output, from_zone: usize, what: &str) -> Result<()> {
    let text = String::from_utf8_lossy(&output.stdout);
    let notes = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success()
            && text == "right 3\n"
            && notes.matches("\"api\" -> zone\n").count() == from_zone,
        "{what}: {}, {from_zone} from the zone expected: {text}{notes}",
        output.status
    );
    Ok(())
}

/// A sandbox made for libc's resolver alone. Where it refuses what is not in its list, libc answers
/// what we may not look up; where it kills, it must know the few calls more of our first lookup.
#[test]
fn a_sandbox_for_libc_admits_us() -> Result<()> {
    let host = Host::lit()?;
    for door in [Door::PlainGlibc, Door::PlainMusl] {
        // The list is right: libc lives with it. And it is in force.
        require(&confine(&host, door, &["kill", "libc"])?, 0, "libc alone")?;
        let output = confine(&host, door, &["kill", "trip"])?;
        ensure!(output.status.signal() == Some(libc::SIGSYS), "{output:?}");
    }
    for door in [Door::ShimGlibc, Door::ShimMusl] {
        let what = format!("{door:?}");
        require(&confine(&host, door, &["errno", "libc"])?, 0, &what)?;
        require(&confine(&host, door, &["errno", "wide"])?, 3, &what)?;
        require(&confine(&host, door, &["kill", "wide"])?, 3, &what)?;
    }
    host.pod
        .replace("nsswitch.conf", nss_k8s_tests::pod::HOSTS_LINE)?;
    require(&confine(&host, Door::Nss, &["errno", "libc"])?, 0, "NSS")?;
    require(&confine(&host, Door::Nss, &["kill", "wide"])?, 3, "NSS")
}

/// The same where the view is in shadow: libc answers, each comparison takes one call more (`getpid`),
/// and where that is refused it is counted all the same.
#[test]
fn a_sandbox_for_libc_admits_a_shadow() -> Result<()> {
    let mut host = Host::lit()?;
    host.zone.writer.configure(&Config {
        shadow: true,
        ..writer::config()?
    })?;
    for door in [Door::ShimGlibc, Door::ShimMusl] {
        for (words, compared) in [
            (["errno", "libc"], 0),
            (["errno", "wide"], 3),
            (["kill", "shadow"], 3),
        ] {
            let what = format!("{door:?} {words:?}");
            let output = confine(&host, door, &words)?;
            require(&output, 0, &what)?;
            let notes = String::from_utf8_lossy(&output.stderr);
            ensure!(
                notes.matches("\"api\" -> shadow(same)\n").count() == compared,
                "{what}: {compared} comparisons expected: {notes}"
            );
        }
    }
    Ok(())
}

/// The smallest stacks that a program may ask for, and an answer of thousands of addresses.
#[test]
fn small_stacks_and_a_large_answer() -> Result<()> {
    let mut host = Host::dark()?;
    let all: Vec<_> = (0..5000_u32)
        .map(|number| Address::v4((0x0af5_0000 + number).to_be_bytes()))
        .collect();
    host.zone.put_headless("crowd", &all)?;
    for door in [Door::ShimGlibc, Door::ShimMusl, Door::Nss] {
        let output = confine(&host, door, &["stack", "64"])?;
        require(&output, 3, &format!("{door:?} on 64 KiB"))?;
        // No address is the first: only that there is an answer can be required.
        let program = compiled::program("confine", "confine", door.libc(), &[])?;
        let mut command = host.behind(door, &program)?;
        command.args(["crowd", "any", "stack", "64"]);
        let (text, notes) = run(command)?;
        ensure!(
            // Under NSS glibc asks again with a larger buffer, several times.
            text == "right 3\n" && notes.matches("\"crowd\" -> zone\n").count() >= 3,
            "{door:?}: {text}{notes}"
        );
    }
    // glibc's smallest; musl's, 2 KiB, is too small for musl's own resolver.
    let output = confine(&host, Door::ShimGlibc, &["stack", "min"])?;
    require(&output, 3, "PTHREAD_STACK_MIN")
}

/// What each entry point needs of the stack, measured on a painted one.
#[test]
fn stacks_stay_shallow() -> Result<()> {
    /// Of the first use, which reads the files; of all others. Bytes.
    const MOST: [i64; 2] = [10 << 10, 8 << 10];
    let host = Host::dark()?;
    // What the shim does not export is libc's, which answers nothing here.
    let exports = artifacts::exports(&artifacts::shim()?)?;
    for door in [Door::ShimGlibc, Door::ShimMusl] {
        let program = compiled::program("confine", "confine", door.libc(), &[])?;
        let mut command = host.behind(door, &program)?;
        command.env_remove("NSS_K8S_DEBUG").args(KNOWN).arg("depth");
        let (text, notes) = run(command)?;
        println!("{door:?}\n{text}");
        let mut bounded = 0;
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [function, _, first, _, later] = words[..] else {
                anyhow::bail!("{line}")
            };
            if !exports.contains(function) {
                continue;
            }
            bounded += 1;
            for (depth, most) in [first, later].into_iter().zip(MOST) {
                let depth: i64 = depth.parse().context(line.to_owned())?;
                ensure!(
                    (1..=most).contains(&depth),
                    "{door:?}: {line}, at most {most}"
                );
            }
        }
        ensure!(
            bounded >= 7,
            "{door:?}: only {bounded} functions: {text}{notes}"
        );
    }
    Ok(())
}

/// All memory locked, or hardly any address space left: the zone is mapped at its exact size, and
/// the program's own allocations work on.
#[test]
fn locked_memory_and_little_address_space() -> Result<()> {
    let host = Host::dark()?;
    for door in Door::OURS {
        for words in [&["locked"][..], &["space", "8"], &["space", "64"]] {
            let what = format!("{door:?} {words:?}");
            require(&confine(&host, door, words)?, 3, &what)?;
        }
    }
    // Not even room for the zone: libc answers.
    let host = Host::lit()?;
    for door in [Door::ShimGlibc, Door::ShimMusl] {
        let what = format!("{door:?} without space");
        require(&confine(&host, door, &["space", "1"])?, 0, &what)?;
    }
    Ok(())
}

/// A set-user-id program loads the module as libc's configuration says, obeys no variable of its
/// caller, and prints nothing.
#[test]
fn a_set_user_id_program_resolves_through_nss() -> Result<()> {
    let host = Host::dark()?;
    let program = compiled::program("confine", "confine", Libc::Glibc, &[])?;
    let program = program.to_str().context("path")?;
    // glibc obeys the file in such programs too, and NSS finds the module by its name then.
    let module = artifacts::module()?;
    host.pod
        .replace("ld.so.preload", &format!("{}\n", module.display()))?;
    // Copied by a child: a descriptor of ours, open for writing, could be inherited by another
    // test's child, and the copy not be run while that lives.
    host.pod
        .namespaces()
        .with_mounts(|| run_tool("install", &["-m", "4755", program, "/run/confine"]))?;
    let mut command = host.pod.command_as("/run/confine", 1234);
    command
        .args(KNOWN)
        .args(["stack", "64"])
        .env("NSS_K8S_DEBUG", "1")
        .env("NSS_K8S_DISABLE", "1")
        .env("NSS_K8S_DIR", "/nowhere");
    let (text, notes) = run(command)?;
    ensure!(text == "right 3\n" && notes.is_empty(), "{text}{notes}");
    Ok(())
}

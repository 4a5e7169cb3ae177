//! What host processes do with their dynamic loader while a lookup comes: fork, constructors of
//! plugins, other libraries between the program and its libc.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts, compiled,
    host::{Host, KNOWN, run},
    libcs::Release,
    probe::{self, Libc},
    session::Door,
};
use std::{path::Path, process::Command};

/// How many children are forked in the worst moment. One is enough to find a lock that is taken.
const FORKS: &str = "100";

/// A child's first lookup needs no lock that a thread of its parent may have held: as in libc alone.
#[test]
fn a_child_forked_while_objects_are_listed_resolves() -> Result<()> {
    let dark = Host::dark()?;
    for release in Release::ALL {
        let mut command = release.command(&dark.pod, "listing", None)?;
        command
            .env("LD_PRELOAD", artifacts::shim()?)
            .env("NSS_K8S_DEBUG", "1")
            .args(KNOWN)
            .arg(FORKS);
        require_forks(command, release.as_str())?;
    }
    // The reference: fewer, as each is a conversation with a server.
    let lit = Host::lit()?;
    for libc in [Libc::Glibc, Libc::Musl] {
        let program = compiled::program("listing", "listing", libc, &[])?;
        let mut command = lit.preloaded(&program, &[])?;
        command.args(KNOWN).arg("10");
        let (text, _) = run(command)?;
        ensure!(text == "right 10 of 10\n", "{libc:?} alone: {text}");
    }
    Ok(())
}

/// The same where the loader was called by its own name: the kernel's headers are then the loader's.
#[test]
fn a_child_forked_under_an_explicit_loader_resolves() -> Result<()> {
    let host = Host::dark()?;
    let program = compiled::program("listing", "listing", Libc::Glibc, &[])?;
    let header = Command::new("readelf").arg("-lW").arg(&program).output()?;
    let header = String::from_utf8(header.stdout)?;
    let (_, rest) = header
        .split_once("program interpreter: ")
        .context("no interpreter")?;
    let (loader, _) = rest.split_once(']').context("no interpreter")?;
    let mut command = host.preloaded(Path::new(loader), &[artifacts::shim()?])?;
    command.arg(program).args(KNOWN).arg(FORKS);
    require_forks(command, "by name")
}

/// Every child must be right, and the zone have answered it.
fn require_forks(command: Command, what: &str) -> Result<()> {
    let (text, notes) = run(command)?;
    ensure!(
        text == format!("right {FORKS} of {FORKS}\n")
            && notes.matches("\"api\" -> zone\n").count().to_string() == FORKS,
        "{what}: {text}{notes}"
    );
    Ok(())
}

/// Neither libc is asked for the list of objects, whoever answers: the process would end (the former search did).
#[test]
fn the_loader_is_not_asked_for_its_objects() -> Result<()> {
    let host = Host::lit()?;
    for libc in [Libc::Glibc, Libc::Musl] {
        let program = probe::program("lookup", libc)?;
        let no_list = compiled::library("between", "no-list", libc, &["-DNO_LIST", "-nostdlib"])?;
        for (words, who) in [
            (
                &["gai", "api", "-", "INET", "1", "0", "2"][..],
                "\"api\" -> zone\n",
            ),
            (
                &["gai", "www.example.com", "-", "INET", "1", "0", "2"],
                "-> pass(",
            ),
            (&["hostr", "www.example.com", "1000"], "-> pass("),
        ] {
            let mut command = host.preloaded(&program, &[no_list.clone(), artifacts::shim()?])?;
            command.args(words);
            let (text, notes) = run(command)?;
            ensure!(
                !text.contains("error") && notes.contains(who),
                "{libc:?} {words:?}: {text}{notes}"
            );
        }
    }
    Ok(())
}

/// A plugin's constructor waits for a thread whose first lookup comes while `dlopen` is running.
#[test]
fn a_constructor_may_wait_for_a_first_lookup() -> Result<()> {
    let host = Host::dark()?;
    for libc in [Libc::Glibc, Libc::Musl] {
        let program = compiled::program("loader", "loader", libc, &[])?;
        let plugin = compiled::library("plugin", "plugin-waits", libc, &["-DWAIT"])?;
        let mut command = host.preloaded(&program, &[artifacts::shim()?])?;
        let [name, address] = KNOWN;
        command
            .env("LOOK_NAME", name)
            .env("LOOK_ADDRESS", address)
            .args([name, address, "plugin"])
            .arg(plugin);
        let (text, notes) = run(command)?;
        ensure!(
            text == "right 1 of 1\n" && notes.contains("\"api\" -> zone\n"),
            "{libc:?}: {text}{notes}"
        );
    }
    Ok(())
}

/// A plugin opened with RTLD_DEEPBIND finds libc's function before ours: libc answers, unharmed by
/// the list that we gave the program before.
#[test]
fn a_deep_bound_plugin_is_left_to_libc() -> Result<()> {
    let host = Host::lit()?;
    let program = compiled::program("loader", "loader", Libc::Glibc, &[])?;
    let plugin = compiled::library("plugin", "plugin", Libc::Glibc, &[])?;
    for (mode, who) in [("deepbind", false), ("plugin", true)] {
        let mut command = host.preloaded(&program, &[artifacts::shim()?])?;
        command.args(KNOWN).arg(mode).arg(&plugin);
        let (text, notes) = run(command)?;
        ensure!(
            text == "right 1 of 1\n" && notes.contains("\"api\" -> zone\n") == who,
            "{mode}: {text}{notes}"
        );
    }
    Ok(())
}

/// Whoever stands between ours and the libc asked to see the calls: everything is passed.
#[test]
fn a_library_preloaded_after_ours_sees_every_call() -> Result<()> {
    let host = Host::lit()?;
    for (libc, flags) in [
        (Libc::Glibc, ["-DSEES", "-DNDEBUG"]),
        (Libc::Musl, ["-DSEES", "-DNDEBUG"]),
        (Libc::Glibc, ["-DSEES_HOST", "-DNDEBUG"]),
        // This one sees no call of the probe's, and is passed everything all the same.
        (Libc::Glibc, ["-DSEES_QUERIES", "-DNDEBUG"]),
        (Libc::Musl, ["-DSEES_QUERIES", "-DNDEBUG"]),
    ] {
        let program = probe::program("lookup", libc)?;
        let name = format!("between{}", flags[0]);
        let between = compiled::library("between", &name, libc, &flags)?;
        let shim = artifacts::shim()?;
        for (libraries, who) in [
            ([shim.clone(), between.clone()], "pass(libc)"),
            // Before ours it calls the next, which is ours.
            ([between, shim], "zone"),
        ] {
            for words in [
                &["gai", "api", "-", "INET", "1", "0", "2"][..],
                &["hostr", "api", "1000"],
            ] {
                let mut command = host.preloaded(&program, &libraries)?;
                command.args(words);
                let (text, notes) = run(command)?;
                let stands_before_it = matches!(
                    (flags[0], words[0]),
                    ("-DSEES", "gai") | ("-DSEES_HOST", "hostr")
                );
                ensure!(
                    text.contains("10.96.1.10")
                        && text.contains("seen api\n") == stands_before_it
                        && notes.contains(&format!("\"api\" -> {who}\n")),
                    "{libc:?} {flags:?} {words:?}, {who} expected: {text}{notes}"
                );
            }
        }
    }
    Ok(())
}

/// `gnu_get_libc_version` in a musl process makes no glibc of it.
#[test]
fn gcompat_makes_no_glibc_of_musl() -> Result<()> {
    let host = Host::dark()?;
    let program = probe::program("lookup", Libc::Musl)?;
    let gcompat = compiled::library("between", "gcompat", Libc::Musl, &["-DGCOMPAT"])?;
    let shim = artifacts::shim()?;
    for libraries in [[shim.clone(), gcompat.clone()], [gcompat, shim]] {
        let mut command = host.preloaded(&program, &libraries)?;
        command.args(["gai", "web", "80", "UNSPEC", "0", "0", "0"]);
        let (text, notes) = run(command)?;
        // Two families, two kinds of socket; musl names the canonical name without being asked.
        ensure!(
            text.matches("canonical=web.shop.svc.cluster.local").count() == 4
                && notes.contains("\"web\" -> zone\n"),
            "{libraries:?}: {text}{notes}"
        );
    }
    Ok(())
}

/// Lists are made of the process's own memory, whoever manages it, and go back there.
#[test]
fn a_swapped_allocator_gives_and_takes_the_nodes() -> Result<()> {
    let host = Host::dark()?;
    for door in [Door::ShimGlibc, Door::ShimMusl, Door::Nss] {
        let libc = door.libc();
        let program = compiled::program("allocator", "allocator", libc, &[])?;
        let pool = compiled::library("between", "pool", libc, &["-DCOUNTS"])?;
        let shim = artifacts::shim()?;
        let orders = match door {
            Door::Nss => vec![vec![pool]],
            _ => vec![vec![pool.clone(), shim.clone()], vec![shim, pool]],
        };
        for libraries in orders {
            let mut command = host.preloaded(&program, &libraries)?;
            command.env("LD_LIBRARY_PATH", artifacts::guests()?);
            command.args(KNOWN).arg("1000");
            let (text, notes) = run(command)?;
            ensure!(
                text == "right 1000 held 999 left 0\n"
                    && notes.matches("\"api\" -> zone\n").count() == 1000,
                "{door:?} {libraries:?}: {text}"
            );
        }
    }
    Ok(())
}

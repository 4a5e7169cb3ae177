//! The lookups of language runtimes, every runtime the same ones: `lookups/lookup.*` take arguments
//! KIND:NAME and print for each one line, the argument and what was found, or `!` and the error.
//!
//! | kind | what is called |
//! |---|---|
//! | `all` | the runtime's way to all addresses |
//! | `v4` | its way to IPv4 addresses only, or its `gethostbyname` |
//! | `reverse` | its way from an address to a name |

use crate::world::{DOORS, Place, World};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::session::Door;
use std::{net::IpAddr, path::Path, process::Command};

/// Arguments, what must be found (sorted; nothing: an error), and who must say so.
const QUESTIONS: [(&str, &str, &str); 8] = [
    ("all:api", "10.96.1.10", "zone"),
    ("all:web.shop", "10.96.1.11 fd00:96::11", "zone"),
    ("all:six.shop.svc.cluster.local", "fd00:96::12", "zone"),
    (
        "all:postgres.db",
        "10.244.1.10 10.244.1.11 10.244.1.13 fd00:244::10",
        "zone",
    ),
    ("all:api.nowhere.svc.cluster.local.", "", "nxdomain"),
    ("v4:web", "10.96.1.11", "zone"),
    (
        "v4:postgres.db.svc",
        "10.244.1.10 10.244.1.11 10.244.1.13",
        "zone",
    ),
    ("v4:api.nowhere.svc.cluster.local.", "", "nxdomain"),
];

/// Every kind.
const ALL: [&str; 2] = ["all", "v4"];

#[test]
fn python() -> Result<()> {
    let script = script("lookup.py");
    hold(
        &["/usr/bin/python3", &script],
        &ALL,
        &["getaddrinfo", "gethostbyname_r"],
    )
}

#[test]
fn node() -> Result<()> {
    let script = script("lookup.mjs");
    hold(&["node", &script], &ALL, &["getaddrinfo"])
}

#[test]
fn java() -> Result<()> {
    let classes = tempfile::tempdir()?;
    let folder = classes.path().to_str().context("path")?;
    compile(&["javac", "-d", folder, &script("Lookup.java")])?;
    hold(
        &["java", "-Xshare:auto", "-cp", folder, "Lookup"],
        &ALL,
        &["getaddrinfo"],
    )
}

#[test]
fn ruby() -> Result<()> {
    let script = script("lookup.rb");
    hold(&["ruby", &script], &ALL, &["getaddrinfo"])
}

#[test]
fn php() -> Result<()> {
    // socket_addrinfo_lookup is of an extension, which PHP loads with RTLD_DEEPBIND: see bypass.rs.
    let script = script("lookup.php");
    hold(&["php", "-n", &script], &["v4"], &["gethostbyname_r"])
}

#[test]
fn perl() -> Result<()> {
    let script = script("lookup.pl");
    hold(
        &["perl", &script],
        &ALL,
        &["getaddrinfo", "gethostbyname_r"],
    )
}

#[test]
fn rust() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let program = folder.path().join("lookup");
    let program = program.to_str().context("path")?;
    compile(&[
        "rustc",
        "--edition=2024",
        "-o",
        program,
        &script("lookup.rs"),
    ])?;
    hold(&[program], &ALL, &["getaddrinfo"])
}

/// Holds every question of the given kinds behind both doors: the same output as libc's with a DNS server, from the
/// zone, through exactly these `calls` of the preload library; and without us no answer at all.
fn hold(line: &[&str], kinds: &[&str], calls: &[&str]) -> Result<()> {
    let world = World::start()?;
    let questions: Vec<_> = QUESTIONS
        .iter()
        .filter(|(argument, _, _)| kinds.iter().any(|kind| argument.starts_with(kind)))
        .collect();
    let arguments = questions.iter().map(|(argument, _, _)| argument);
    let line: Vec<&str> = line.iter().chain(arguments).copied().collect();
    let reference = answers(&world.reference, Door::PlainGlibc, &line)?.1;
    for ((argument, wanted, _), given) in questions.iter().zip(&reference) {
        let right = if wanted.is_empty() {
            given.starts_with("! ")
        } else {
            given == wanted
        };
        ensure!(right, "{line:?} {argument}: libc alone says {given}");
    }
    for door in DOORS {
        let (said, answers) = answers(&world.dark, door, &line)?;
        ensure!(
            answers == reference,
            "{door:?} {line:?}: {answers:?}, libc alone {reference:?}\n{said:?}"
        );
        for (argument, _, verdict) in &questions {
            let (_, name) = argument.split_once(':').context("KIND:NAME")?;
            said.require_verdict(name, verdict, &(door, &line))?;
        }
        if door == Door::ShimGlibc {
            ensure!(said.calls() == calls, "{line:?} called {:?}", said.calls());
        }
    }
    let (_, alone) = answers(&world.dark, Door::PlainGlibc, &line)?;
    ensure!(
        alone.iter().all(|answer| answer.starts_with("! ")),
        "{line:?}: answered without us and without DNS: {alone:?}"
    );
    Ok(())
}

/// What was found for each argument: addresses in one form and sorted, other words as they are.
fn answers(place: &Place, door: Door, line: &[&str]) -> Result<(crate::world::Said, Vec<String>)> {
    let said = place.run(door, line)?;
    let mut answers = Vec::new();
    for argument in line.iter().filter(|argument| is_question(argument)) {
        let found = said
            .text
            .lines()
            .find_map(|text| text.strip_prefix(argument)?.strip_prefix(' '))
            .with_context(|| format!("{door:?} {line:?}: no line for {argument}: {said:?}"))?;
        answers.push(normal(found));
    }
    Ok((said, answers))
}

/// Whether an argument of a command line is one of KIND:NAME.
fn is_question(argument: &str) -> bool {
    ["all:", "v4:", "reverse:"]
        .iter()
        .any(|kind| argument.starts_with(kind))
}

/// Addresses in Rust's spelling and sorted; anything else unchanged.
fn normal(found: &str) -> String {
    let addresses: core::result::Result<Vec<IpAddr>, _> =
        found.split(' ').map(str::parse).collect();
    let Ok(mut addresses) = addresses else {
        return found.to_owned();
    };
    addresses.sort_unstable();
    addresses.dedup();
    let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    texts.join(" ")
}

/// The path of a program text in `lookups/`.
fn script(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/lookups");
    folder.join(name).to_string_lossy().into_owned()
}

/// Runs a compiler.
fn compile(line: &[&str]) -> Result<()> {
    let output = Command::new(line[0])
        .args(&line[1..])
        .output()
        .with_context(|| format!("{}: is it installed? (make prepare)", line[0]))?;
    ensure!(
        output.status.success(),
        "{line:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

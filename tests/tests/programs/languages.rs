//! The lookups of language runtimes, every runtime the same ones: `lookups/lookup.*` take arguments
//! KIND:NAME and print for each one line, the argument and what was found, or `!` and the error.
//!
//! | kind | what is called |
//! |---|---|
//! | `all` | the runtime's way to all addresses |
//! | `v4` | its way to IPv4 addresses only, or its `gethostbyname` |
//! | `reverse` | its way from an address to a name |
//! | `a`, `aaaa`, `srv`, `there` | PHP's functions for records of those types, or for A at all |

use crate::world::{DOORS, Place, Said, World};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::session::Door;
use std::{net::IpAddr, path::Path, process::Command};

/// One argument.
#[derive(Debug)]
struct Question {
    argument: &'static str,
    /// Sorted; nothing: an error.
    found: &'static str,
    /// Who must say so.
    verdict: &'static str,
    /// Behind which doors.
    doors: &'static [Door],
}

/// A question for both doors.
const fn ask(argument: &'static str, found: &'static str, verdict: &'static str) -> Question {
    Question {
        argument,
        found,
        verdict,
        doors: &DOORS,
    }
}

/// The same for the preload library alone: NSS has no part in res_nsearch.
const fn ask_record(
    argument: &'static str,
    found: &'static str,
    verdict: &'static str,
) -> Question {
    Question {
        doors: &[Door::ShimGlibc],
        ..ask(argument, found, verdict)
    }
}

const QUESTIONS: [Question; 16] = [
    ask("all:api", "10.96.1.10", "zone"),
    ask("all:web.shop", "10.96.1.11 fd00:96::11", "zone"),
    ask("all:six.shop.svc.cluster.local", "fd00:96::12", "zone"),
    ask(
        "all:postgres.db",
        "10.244.1.10 10.244.1.11 10.244.1.13 fd00:244::10",
        "zone",
    ),
    ask("all:api.nowhere.svc.cluster.local.", "", "nxdomain"),
    ask("v4:web", "10.96.1.11", "zone"),
    ask(
        "v4:postgres.db.svc",
        "10.244.1.10 10.244.1.11 10.244.1.13",
        "zone",
    ),
    ask("v4:api.nowhere.svc.cluster.local.", "", "nxdomain"),
    ask("reverse:10.96.1.10", "api.shop.svc.cluster.local", "zone"),
    ask("reverse:fd00:96::11", "web.shop.svc.cluster.local", "zone"),
    ask_record("a:web", "10.96.1.11", "zone"),
    ask_record("aaaa:web.shop", "fd00:96::11", "zone"),
    ask_record("a:api.nowhere.svc.cluster.local.", "", "nxdomain"),
    ask_record("there:postgres-0.postgres.db", "there", "zone"),
    ask_record("there:web.nowhere.svc.cluster.local.", "", "nxdomain"),
    ask_record(
        "srv:_http._tcp.web.shop.svc.cluster.local",
        "0 50 80 web.shop.svc.cluster.local",
        "zone",
    ),
];

/// What most runtimes have.
const MOST: [&str; 3] = ["all", "v4", "reverse"];

#[test]
fn python() -> Result<()> {
    let script = script("lookup.py");
    hold(
        &["/usr/bin/python3", &script],
        &MOST,
        &[
            "getaddrinfo",
            "gethostbyaddr_r",
            "gethostbyname_r",
            "getnameinfo",
        ],
    )
}

#[test]
fn node() -> Result<()> {
    let script = script("lookup.mjs");
    hold(&["node", &script], &MOST, &["getaddrinfo", "getnameinfo"])
}

#[test]
fn java() -> Result<()> {
    let classes = tempfile::tempdir()?;
    let folder = classes.path().to_str().context("path")?;
    compile(&["javac", "-d", folder, &script("Lookup.java")])?;
    hold(
        &["java", "-Xshare:auto", "-cp", folder, "Lookup"],
        &MOST,
        &["getaddrinfo", "getnameinfo"],
    )
}

#[test]
fn ruby() -> Result<()> {
    let script = script("lookup.rb");
    hold(&["ruby", &script], &MOST, &["getaddrinfo", "getnameinfo"])
}

#[test]
fn php() -> Result<()> {
    // socket_addrinfo_lookup is of an extension, which PHP loads with RTLD_DEEPBIND: see bypass.rs.
    let script = script("lookup.php");
    hold(
        &["php", "-n", &script],
        &["v4", "reverse", "a", "aaaa", "there", "srv"],
        &["gethostbyname_r", "getnameinfo", "res_nsearch"],
    )
}

#[test]
fn perl() -> Result<()> {
    let script = script("lookup.pl");
    hold(
        &["perl", &script],
        &MOST,
        &[
            "getaddrinfo",
            "gethostbyaddr_r",
            "gethostbyname_r",
            "getnameinfo",
        ],
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
    hold(&[program], &["all", "v4"], &["getaddrinfo"])
}

/// Holds every question of the given kinds behind its doors: the same output as libc's with a DNS
/// server, from the zone, through exactly these `calls` of the preload library; and without us no
/// answer at all.
fn hold(line: &[&str], kinds: &[&str], calls: &[&str]) -> Result<()> {
    let world = World::start()?;
    for door in DOORS {
        let questions: Vec<_> = QUESTIONS
            .iter()
            .filter(|question| {
                let kind = question.argument.split(':').next();
                question.doors.contains(&door) && kind.is_some_and(|kind| kinds.contains(&kind))
            })
            .collect();
        let line: Vec<&str> = line
            .iter()
            .copied()
            .chain(questions.iter().map(|question| question.argument))
            .collect();
        let (_, reference) = answers(&world.reference, Door::PlainGlibc, &line, &questions)?;
        for (question, given) in questions.iter().zip(&reference) {
            let right = if question.found.is_empty() {
                given.starts_with("! ")
            } else {
                given == question.found
            };
            ensure!(right, "{line:?}: {question:?}: libc alone says {given}");
        }
        let (said, given) = answers(&world.dark, door, &line, &questions)?;
        ensure!(
            given == reference,
            "{door:?} {line:?}: {given:?}, libc alone {reference:?}\n{said:?}"
        );
        for question in &questions {
            let (_, name) = question.argument.split_once(':').context("KIND:NAME")?;
            said.require_verdict(name, question.verdict, &(door, &line))?;
        }
        if door == Door::ShimGlibc {
            ensure!(said.calls() == calls, "{line:?} called {:?}", said.calls());
        }
        let (_, alone) = answers(&world.dark, Door::PlainGlibc, &line, &questions)?;
        ensure!(
            alone.iter().all(|answer| answer.starts_with("! ")),
            "{line:?}: answered without us and without DNS: {alone:?}"
        );
    }
    Ok(())
}

/// What was found for each question: addresses in one form and sorted, other words as they are.
fn answers(
    place: &Place,
    door: Door,
    line: &[&str],
    questions: &[&Question],
) -> Result<(Said, Vec<String>)> {
    let said = place.run(door, line)?;
    let mut answers = Vec::new();
    for question in questions {
        let found = said
            .text
            .lines()
            .find_map(|text| text.strip_prefix(question.argument)?.strip_prefix(' '))
            .with_context(|| format!("{door:?} {line:?}: no line for {question:?}: {said:?}"))?;
        answers.push(normal(found));
    }
    Ok((said, answers))
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

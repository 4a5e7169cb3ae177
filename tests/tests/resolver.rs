//! `res_query` and its relatives: the message, the errors and the state that a program sees through
//! the shim are those of its libc with the cluster's DNS server, whose recorded answers the server
//! of these pods gives.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use anyhow::{Context, Result, bail, ensure};
use nss_k8s_tests::{
    artifacts,
    pod::{Pod, Recipe},
    probe,
    recording::Recordings,
    session::Door,
    shop,
    zonefile::Agent,
};
use std::{
    io::{Read, Write, pipe},
    process::Stdio,
    sync::Arc,
};

/// The shim's doors; the module has none here.
const DOORS: [Door; 2] = [Door::ShimGlibc, Door::ShimMusl];

/// What came of one command.
#[derive(Debug)]
struct Reply {
    /// What the probe printed, records of a section sorted.
    said: Vec<String>,
    /// What our debug line says after the arrow; empty without us.
    who: String,
}

impl Reply {
    fn is_ours(&self) -> bool {
        ["zone", "nodata", "nxdomain"].contains(&self.who.as_str())
    }
}

/// Gives all commands to one process of `probes/resolver.c`.
fn run(
    pod: &Pod,
    door: Door,
    commands: &[String],
    environment: &[(&str, &str)],
) -> Result<Vec<Reply>> {
    let program = probe::program("resolver", door.libc())?;
    let mut command = pod.command(program.to_str().context("path")?);
    door.open(&mut command, &artifacts::guests()?);
    let (mut output, writer) = pipe()?;
    let mut child = command
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(writer.try_clone()?)
        .stderr(writer)
        .spawn()?;
    drop(command);
    let mut input = child.stdin.take().context("no input")?;
    let script = commands.join("\n") + "\n";
    let feeder = std::thread::spawn(move || input.write_all(script.as_bytes()));
    let mut text = String::new();
    output.read_to_string(&mut text)?;
    let status = child.wait()?;
    let fed = feeder.join();
    ensure!(
        status.success() && matches!(fed, Ok(Ok(()))),
        "{status}: {text}"
    );
    let mut replies = Vec::new();
    let (mut said, mut who) = (Vec::new(), String::new());
    for line in text.lines() {
        if let Some(note) = line.strip_prefix("nss-k8s: ") {
            ensure!(who.is_empty(), "two notes for one lookup: {text}");
            who = note.rsplit(" -> ").next().unwrap_or("").to_owned();
        } else if line == "." {
            said.sort_by_key(|line: &String| line.starts_with("record").then(|| line.clone()));
            replies.push(Reply {
                said: std::mem::take(&mut said),
                who: std::mem::take(&mut who),
            });
        } else {
            // The recording server does not spell these as CoreDNS does.
            let is_recorded = ["record authority", "record additional"]
                .iter()
                .any(|section| line.starts_with(section));
            said.push(if is_recorded {
                line.to_lowercase()
            } else {
                line.to_owned()
            });
        }
    }
    ensure!(
        replies.len() == commands.len(),
        "{} replies to {} commands: {text}",
        replies.len(),
        commands.len()
    );
    Ok(replies)
}

/// A pod in the shop with the recorded server.
fn pod(zone: &Agent, recipe: Recipe) -> Result<Pod> {
    Pod::start(Recipe {
        hosts: shop::HOSTS.into(),
        zone: Some(zone.view()),
        dns: Some(shop::outside().recorded(Arc::new(Recordings::load()?))),
        ..recipe
    })
}

/// Whether libc and the shim say the same to each command; how many the zone decided.
fn agree(
    pod: &Pod,
    door: Door,
    commands: &[String],
    environment: &[(&str, &str)],
) -> Result<usize> {
    let reference = run(pod, door.reference(), commands, environment)?;
    let before = pod.dns()?.take_log();
    ensure!(!before.is_empty(), "the server was never asked");
    let ours = run(pod, door, commands, environment)?;
    let mut differences = Vec::new();
    for ((command, reference), ours) in commands.iter().zip(&reference).zip(&ours) {
        if reference.said != ours.said {
            differences.push(format!(
                "{door:?}: {command} (from {})\n libc: {:#?}\n ours: {:#?}",
                ours.who, reference.said, ours.said
            ));
        }
    }
    if !differences.is_empty() {
        bail!(
            "{} of {} differ:\n{}",
            differences.len(),
            commands.len(),
            differences.join("\n")
        );
    }
    Ok(ours.iter().filter(|reply| reply.is_ours()).count())
}

fn queries(function: &str, names: &[&str], kinds: &[u16]) -> Vec<String> {
    let mut commands = Vec::new();
    for name in names {
        for kind in kinds {
            commands.push(format!("{function} {name} {kind} 4096"));
        }
    }
    commands
}

/// Every question that was ever put to the real server.
#[test]
fn every_type_of_every_name_is_as_the_server_says() -> Result<()> {
    let zone = shop::publish()?;
    let recordings = Recordings::load()?;
    let mut commands: Vec<String> = recordings
        .iter()
        // Odd bytes are escaped there.
        .filter(|one| !one.name.contains('\\'))
        .map(|one| format!("res_query {} {} 4096", one.name, one.kind))
        .collect();
    commands.sort_unstable();
    for door in DOORS {
        let pod = pod(&zone, Recipe::default())?;
        let decided = agree(&pod, door, &commands, &[])?;
        ensure!(decided >= 1_000, "{door:?}: only {decided}");
        let strange = pod.dns()?.unrecorded();
        ensure!(strange.is_empty(), "not recorded: {strange:?}");
    }
    Ok(())
}

#[test]
fn every_function_has_its_libcs_walk() -> Result<()> {
    const SHORT: [&str; 12] = [
        "api",
        "api.",
        "API",
        "web.shop",
        "postgres.db",
        "nosuch",
        "nosuch.",
        "alias",
        "_http._tcp.web",
        "_sql._tcp.postgres.db.svc",
        "www.example.com",
        "bare.svc",
    ];
    let zone = shop::publish()?;
    let glibc = [
        "res_search",
        "__res_search",
        "res_nsearch",
        "__res_nsearch",
        "__res_query",
        "res_nquery",
        "__res_nquery",
    ];
    for (door, functions, least) in [
        (Door::ShimGlibc, &glibc[..], 100),
        (Door::ShimMusl, &["res_search"], 4),
    ] {
        let pod = pod(&zone, Recipe::default())?;
        let mut commands = Vec::new();
        for function in functions {
            commands.extend(queries(function, &SHORT, &[1, 28, 33]));
            commands.extend(queries(
                function,
                &["API.Shop.svc.cluster.local"],
                &[1, 28, 33],
            ));
        }
        let joined = [
            "res_querydomain",
            "__res_querydomain",
            "res_nquerydomain",
            "__res_nquerydomain",
        ];
        let joined = if door == Door::ShimMusl {
            &joined[..1]
        } else {
            &joined
        };
        for function in joined {
            for (name, domain) in [
                ("api", "shop.svc.cluster.local"),
                ("Web", "shop.svc.Cluster.local."),
                ("api", "nowhere.svc.cluster.local"),
                ("www", "example.com"),
                ("api.", "shop.svc.cluster.local"),
            ] {
                commands.push(format!("{function} {name} {domain} 1 4096"));
            }
        }
        if door == Door::ShimGlibc {
            commands.push("res_querydomain api.shop.svc.cluster.local - 1 4096".into());
        }
        commands.push("state".into());
        if door == Door::ShimMusl {
            commands.pop();
        }
        let decided = agree(&pod, door, &commands, &[])?;
        ensure!(decided >= least, "{door:?}: only {decided}");
    }
    Ok(())
}

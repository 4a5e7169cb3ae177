//! The DNS messages that the shim makes from the zone against those of the real CoreDNS: what a
//! program gets from `res_query` with and without us, for every recorded question.

use crate::{
    agent::{Agent, Directory},
    control_plane::shared,
    coredns::{self, CoreDns},
};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts,
    pod::{Pod, Recipe},
    probe, recording,
    session::Door,
    shop,
};
use std::{
    collections::BTreeSet,
    io::{Read, Write, pipe},
    process::Stdio,
};

/// Header, question, every record to the case of its letters, and the errors; but an SOA's serial.
#[test]
fn messages_from_the_zone_are_those_of_coredns() -> Result<()> {
    let plane = shared();
    let directory = Directory::create()?;
    let coredns = coredns::shared(&plane)?;
    let agent = Agent::start(&plane, &directory, &[])?;
    compare(&directory, coredns, &recording::questions()?, 1000, None)?;
    ensure!(agent.stop()?.success(), "an orderly stop is a success");
    Ok(())
}

/// Asks every question through the shim and without it, in a pod whose DNS server is CoreDNS; what
/// programs see must be the same, and of each door's so many must come from the zone.
///
/// Below `twice` endpoints stand in two slices. CoreDNS counts them twice when it shares out the
/// weights of SRV records, the zone holds them once: there the weights may differ, and do.
pub(crate) fn compare(
    directory: &Directory,
    coredns: &CoreDns,
    questions: &[(String, u16)],
    least: usize,
    twice: Option<&str>,
) -> Result<()> {
    let pod = Pod::start(Recipe {
        hosts: shop::HOSTS.into(),
        zone: Some(directory.view()),
        dns: Some(shop::world().forwarded(coredns.answers())),
        ..Recipe::default()
    })?;
    let mut differences = Vec::new();
    for (door, function) in [
        (Door::ShimGlibc, "res_query"),
        (Door::ShimGlibc, "res_nsearch"),
        (Door::ShimMusl, "res_query"),
    ] {
        let commands: Vec<String> = questions
            .iter()
            .enumerate()
            // What stands as an escape in the list is no command.
            .filter(|(_, (name, _))| !name.is_empty() && !name.contains('\\'))
            .map(|(at, (name, kind))| {
                let odd = spelled_oddly(name);
                let name = if at % 3 == 0 { &odd } else { name };
                let dot = if function == "res_query" { "" } else { "." };
                format!("{function} {name}{dot} {kind} 4096")
            })
            .collect();
        let libc = call(&pod, door.reference(), &commands)?;
        ensure!(
            !pod.dns()?.take_log().is_empty(),
            "the server was not asked"
        );
        let ours = call(&pod, door, &commands)?;
        let asked = pod.dns()?.take_log().into_iter();
        let asked: BTreeSet<(String, u16)> = asked.map(|one| (one.name, one.kind)).collect();
        let (mut decided, mut weights) = (0, 0);
        for ((command, libc), ours) in commands.iter().zip(&libc).zip(&ours) {
            let name = command.split(' ').nth(1).unwrap_or_default();
            let name = name.trim_end_matches('.').to_lowercase();
            let excused = twice.is_some_and(|twice| name.ends_with(twice))
                && ours.lines != libc.lines
                && without_weights(&ours.lines) == without_weights(&libc.lines);
            weights += usize::from(excused);
            if ours.lines != libc.lines && !excused {
                differences.push(format!(
                    "{door:?}: {command} (from {})\n libc: {:#?}\n ours: {:#?}",
                    ours.who, libc.lines, ours.lines
                ));
            }
            if ours.is_ours() {
                decided += 1;
                let kind = command.split(' ').nth(2).unwrap_or_default().parse()?;
                if asked.contains(&(name, kind)) {
                    differences.push(format!("{door:?}: {command}: {}, yet asked", ours.who));
                }
            }
        }
        let all = commands.len();
        println!("messages: {door:?} {function}: {decided} of {all} from the zone");
        ensure!(decided >= least, "{door:?} {function}: only {decided}");
        ensure!(
            (weights > 0) == twice.is_some(),
            "{weights} times other weights"
        );
    }
    ensure!(
        differences.is_empty(),
        "{} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
    Ok(())
}

/// One call of `probes/resolver.c` and what it printed.
struct Printed {
    /// Lines, those of records sorted: CoreDNS shuffles.
    lines: Vec<String>,
    /// After the arrow of our debug line; empty without us.
    who: String,
}

impl Printed {
    fn is_ours(&self) -> bool {
        ["zone", "nodata", "nxdomain"].contains(&self.who.as_str())
    }
}

/// Gives every command to one process.
fn call(pod: &Pod, door: Door, commands: &[String]) -> Result<Vec<Printed>> {
    let program = probe::program("resolver", door.libc())?;
    let mut command = pod.command(program.to_str().context("path")?);
    door.open(&mut command, &artifacts::guests()?);
    let (mut output, writer) = pipe()?;
    command
        .stdin(Stdio::piped())
        .stdout(writer.try_clone()?)
        .stderr(writer);
    let mut child = command.spawn()?;
    // Its ends of the pipe.
    drop(command);
    let mut input = child.stdin.take().context("no input")?;
    let script = commands.join("\n") + "\n";
    let feeder = std::thread::spawn(move || input.write_all(script.as_bytes()));
    let mut text = String::new();
    output.read_to_string(&mut text)?;
    ensure!(child.wait()?.success(), "the probe failed: {text}");
    ensure!(
        matches!(feeder.join(), Ok(Ok(()))),
        "the probe did not read"
    );
    let mut all = Vec::new();
    let (mut lines, mut who) = (Vec::new(), String::new());
    for line in text.lines() {
        if let Some(note) = line.strip_prefix("nss-k8s: ") {
            who = note.rsplit(" -> ").next().unwrap_or_default().to_owned();
        } else if line == "." {
            // Stable: the other lines keep their order, in front.
            lines.sort_by_key(|line: &String| line.starts_with("record").then(|| line.clone()));
            all.push(Printed {
                lines: core::mem::take(&mut lines),
                who: core::mem::take(&mut who),
            });
        } else {
            lines.push(line.to_owned());
        }
    }
    ensure!(all.len() == commands.len(), "{} replies", all.len());
    Ok(all)
}

/// The lines with the weight of SRV records left out.
fn without_weights(lines: &[String]) -> Vec<String> {
    let word = |(at, word): (usize, &str)| if at == 7 { "*".into() } else { word.to_owned() };
    let line = |line: &String| {
        let words: Vec<&str> = line.split(' ').collect();
        if words.len() == 10 && words[3] == "33" {
            let words: Vec<String> = words.into_iter().enumerate().map(word).collect();
            return words.join(" ");
        }
        line.clone()
    };
    lines.iter().map(line).collect()
}

/// Every second letter in upper case: what of a question's case comes back shows.
fn spelled_oddly(name: &str) -> String {
    let letters = name.chars().enumerate();
    letters
        .map(|(at, letter)| match at % 2 {
            0 => letter.to_ascii_uppercase(),
            _ => letter,
        })
        .collect()
}

//! Many commands for one process of a probe: given all at once, compared with the same process without
//! us.

use crate::{artifacts, libcs::Release, pod::Pod, probe::Libc, session::Door};
use anyhow::{Context, Result, bail, ensure};
use std::{
    collections::BTreeSet,
    io::{Read, Write, pipe},
    process::Stdio,
};

/// Whether libc and the shim say the same to each command, and the server is asked nothing that libc
/// alone does not ask; how many of the commands were ours.
///
/// # Errors
/// With every difference.
pub fn agree(
    pod: &Pod,
    probe: &str,
    door: Door,
    release: Release,
    commands: &[String],
) -> Result<usize> {
    let reference = run(pod, probe, door.reference(), release, commands)?;
    let before = asked(pod)?;
    ensure!(!before.is_empty(), "the server was never asked");
    let ours = run(pod, probe, door, release, commands)?;
    let after = asked(pod)?;
    let mut differences = Vec::new();
    for more in after.difference(&before) {
        differences.push(format!("{door:?} {}: asked {more:?}", release.as_str()));
    }
    if ours.iter().all(Reply::is_ours) && !after.is_empty() {
        differences.push(format!(
            "{door:?} {}: all ours, yet asked {after:?}",
            release.as_str()
        ));
    }
    for ((command, reference), ours) in commands.iter().zip(&reference).zip(&ours) {
        if reference.said != ours.said {
            differences.push(format!(
                "{door:?} {}: {command} (from {})\n libc: {:#?}\n ours: {:#?}",
                release.as_str(),
                ours.who,
                reference.said,
                ours.said
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

/// What the pod's server was asked since the last time, however often.
fn asked(pod: &Pod) -> Result<BTreeSet<(String, u16)>> {
    let log = pod.dns()?.take_log().into_iter();
    Ok(log.map(|one| (one.name, one.kind)).collect())
}

/// What came of one command.
#[derive(Clone, Debug)]
pub struct Reply {
    /// What the probe printed, records of a section sorted.
    pub said: Vec<String>,
    /// What our debug line says after the arrow; empty without us.
    pub who: String,
}

impl Reply {
    /// Whether the zone or the hosts file as we read it decided.
    pub fn is_ours(&self) -> bool {
        ["zone", "nodata", "nxdomain", "hosts"].contains(&self.who.as_str())
    }
}

/// Gives all commands to one process of `probes/PROBE.c` behind `door`, under a release of its libc.
pub fn run(
    pod: &Pod,
    probe: &str,
    door: Door,
    release: Release,
    commands: &[String],
) -> Result<Vec<Reply>> {
    run_in(pod, probe, door, release, &[], commands)
}

/// The same with more in the environment.
pub fn run_in(
    pod: &Pod,
    probe: &str,
    door: Door,
    release: Release,
    environment: &[(&str, &str)],
    commands: &[String],
) -> Result<Vec<Reply>> {
    let mut command = release.command(pod, probe, None)?;
    command.envs(environment.iter().copied());
    door.open(&mut command, &artifacts::guests()?);
    let (mut output, writer) = pipe()?;
    let mut child = command
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
            // Where the recording server spells an owner as the question, CoreDNS does not.
            said.push(if line.starts_with("record additional") {
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

/// The releases, each with the shim's door to it.
pub fn releases() -> impl Iterator<Item = (Door, Release)> {
    Release::ALL.into_iter().map(|release| {
        let door = match release.libc() {
            Libc::Glibc => Door::ShimGlibc,
            Libc::Musl => Door::ShimMusl,
        };
        (door, release)
    })
}

//! A zone in shadow, a server that lies here and there, and who compares.

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts,
    dns::{Behavior, Script},
    pod::{HOSTS_LINE, Pod, Recipe},
    reply::Reply,
    session::{Door, Session},
    wire::rcode,
    writer::{self, Published, now},
};
use nss_k8s_zone::{Config, External};
use std::{fs::OpenOptions, os::unix::fs::FileExt, path::Path, process::Command};

/// Libc's answer is ours.
pub(crate) const SAME: &str = "shadow(same)";
/// Both have addresses: others.
pub(crate) const OTHER_ADDRESSES: &str = "shadow(different-addresses)";
/// One has addresses, or the "no" is another one.
pub(crate) const OTHER_STATUS: &str = "shadow(different-status)";
/// Another answer shortly after a change.
pub(crate) const LATELY: &str = "shadow(different-lately)";
/// Libc got no answer.
pub(crate) const FAILED: &str = "shadow(failed)";
/// We would have passed.
pub(crate) const PASSED: &str = "shadow(passed)";
/// Where nothing is compared.
pub(crate) const PASSED_ON: &str = "pass(shadow)";

/// The doors at which answers are compared.
pub(crate) const SHIMS: [Door; 2] = [Door::ShimGlibc, Door::ShimMusl];

/// More endpoints than a call gathers on the stack, and fewer than musl takes.
const MANY: u8 = 45;
/// More than are gathered on any stack, and more than musl takes.
const CROWD: u8 = 60;

/// A zone in shadow that has not changed for `age` seconds.
pub(crate) fn zone(age: u64) -> Result<Published> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.10"])?;
    zone.put("web", &["10.96.1.11", "fd00:96::11"])?;
    zone.put("six", &["fd00:96::12"])?;
    zone.put("moved", &["10.96.1.13"])?;
    zone.put("grown", &["10.96.1.14"])?;
    zone.put("shrunk", &["10.96.1.15", "fd00:96::15"])?;
    zone.put("gone", &["10.96.1.16"])?;
    zone.put("silent", &["10.96.1.17"])?;
    zone.put("failing", &["10.96.1.18"])?;
    zone.put_headless("many", &addresses(MANY)?)?;
    zone.put_headless("crowd", &addresses(CROWD)?)?;
    zone.put_headless("near", &addresses(MANY)?)?;
    in_shadow(&mut zone, age)?;
    Ok(zone)
}

/// Puts a zone in shadow that has not changed for `age` seconds.
pub(crate) fn in_shadow(zone: &mut Published, age: u64) -> Result<()> {
    zone.writer.configure(&Config {
        shadow: true,
        // Nobody is asked for names outside, whatever is configured.
        external: External::Pod,
        ..writer::config()?
    })?;
    age_of(&zone.view(), age)
}

/// Makes the zone in a directory one that has not changed for `age` seconds: for as long as nothing
/// more is committed to it.
pub(crate) fn age_of(view: &Path, age: u64) -> Result<()> {
    // Word 17 of the zone: when it last changed.
    let file = OpenOptions::new().write(true).open(view.join("zone.v1"))?;
    file.write_all_at(&(now().0 - age).to_le_bytes(), 17 * 8)?;
    Ok(())
}

fn addresses(count: u8) -> Result<Vec<nss_k8s_zone::Address>> {
    (1..=count)
        .map(|number| writer::address(&format!("10.244.3.{number}")))
        .collect()
}

/// A server that knows what the zone knows, but for those that it lies about.
pub(crate) fn script() -> Script {
    let service = |name: &str| format!("{name}.shop.svc.cluster.local");
    let crowd = |skipped: u8, count: u8| -> Vec<String> {
        (1..=count)
            .filter(|number| *number != skipped)
            .map(|number| format!("10.244.3.{number}"))
            .collect()
    };
    let put = |script: Script, name: &str, all: &[String]| {
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        script.addresses(&service(name), &all)
    };
    let script = Script::default()
        .addresses(&service("api"), &["10.96.1.10"])
        .addresses(&service("web"), &["10.96.1.11", "fd00:96::11"])
        .addresses(&service("six"), &["fd00:96::12"])
        .addresses(&service("moved"), &["10.96.9.13"])
        .addresses(&service("grown"), &["10.96.1.14", "10.96.9.14"])
        .addresses(&service("shrunk"), &["10.96.1.15"])
        .behavior(&service("silent"), Behavior::Drop)
        .behavior(&service("failing"), Behavior::Answer(rcode::SERVFAIL))
        .addresses("extra.nowhere.svc.cluster.local", &["10.96.9.99"])
        .addresses("www.example.com", &["192.0.2.81"]);
    let script = put(script, "many", &crowd(0, MANY));
    let script = put(script, "crowd", &crowd(0, CROWD));
    // One of many is missing.
    put(script, "near", &crowd(17, MANY))
}

/// A pod for the preload library.
pub(crate) fn pod(zone: &Published, script: Script) -> Result<Pod> {
    pod_of(zone, script, Door::ShimGlibc)
}

/// A pod for one door.
pub(crate) fn pod_of(zone: &Published, script: Script, door: Door) -> Result<Pod> {
    let nsswitch = match door {
        Door::Nss => HOSTS_LINE,
        _ => "hosts: files dns\n",
    };
    Pod::start(Recipe {
        zone: Some(zone.view()),
        dns: Some(script),
        nsswitch: nsswitch.into(),
        ..Recipe::default()
    })
}

/// Asks, and requires that libc's own answer comes back, errno as libc leaves it, and this verdict.
pub(crate) fn require(
    ours: &mut Session,
    reference: &mut Session,
    command: &str,
    verdict: &str,
) -> Result<()> {
    let (got, wanted) = (ours.ask(command)?, reference.ask(command)?);
    ensure!(
        got.who() == verdict && got.notes.len() == 1,
        "{command}: expected {verdict}, got {:?}",
        got.notes
    );
    ensure!(
        facts(&got) == facts(&wanted) && got.strange == wanted.strange,
        "{command}: not libc's answer:\n{got:?}\n{wanted:?}"
    );
    Ok(())
}

/// What the program got, whatever the order of addresses.
fn facts(
    reply: &Reply,
) -> (
    Option<String>,
    Vec<String>,
    Option<String>,
    Vec<String>,
    bool,
) {
    let entry = |entry: &nss_k8s_tests::reply::Entry| {
        format!(
            "{} {} {:?}",
            entry.kind,
            entry.address,
            entry.canonical.is_some()
        )
    };
    let mut entries: Vec<String> = reply.entries.iter().map(entry).collect();
    // The first alone has the canonical name in glibc: in either order as many have it.
    entries.sort();
    let mut addresses = reply.addresses.clone();
    addresses.sort();
    let error = reply.error.clone();
    (
        error,
        entries,
        reply.name.clone(),
        addresses,
        reply.errno_untouched,
    )
}

/// What `nss-k8s-explain --shadow` says of a process, and its status.
pub(crate) fn explain(process: &str) -> Result<(i32, String)> {
    outcome(Command::new(artifacts::explain()?).args(["--shadow", process]))
}

/// The same of all processes.
pub(crate) fn explain_all() -> Result<(i32, String)> {
    outcome(Command::new(artifacts::explain()?).arg("--shadow"))
}

/// The status of a command, and what it wrote.
pub(crate) fn outcome(command: &mut Command) -> Result<(i32, String)> {
    let output = command.output()?;
    let status = output.status.code().context("killed")?;
    Ok((status, String::from_utf8(output.stdout)?))
}

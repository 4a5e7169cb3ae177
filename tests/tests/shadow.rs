//! Views in shadow: libc answers, and what we would have said is compared with that and counted, at
//! every function that is compared, against servers that agree and servers that lie.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use anyhow::{Context, Result, ensure};
use nss_k8s_stub::shadow::SETTLES_AFTER;
use nss_k8s_tests::{
    artifacts,
    dns::{Behavior, Script},
    libcs::Release,
    pod::{HOSTS_LINE, Pod, Recipe},
    probe::Libc,
    reply::Reply,
    session::{Door, Session},
    wire::rcode,
    writer::{self, Published, now},
};
use nss_k8s_zone::{Config, External};
use std::{collections::BTreeSet, fs::OpenOptions, os::unix::fs::FileExt, process::Command};

const SAME: &str = "shadow(same)";
const OTHER_ADDRESSES: &str = "shadow(different-addresses)";
const OTHER_STATUS: &str = "shadow(different-status)";
const LATELY: &str = "shadow(different-lately)";
const FAILED: &str = "shadow(failed)";
const PASSED: &str = "shadow(passed)";
/// Where nothing is compared.
const PASSED_ON: &str = "pass(shadow)";

/// The doors at which answers are compared.
const SHIMS: [Door; 2] = [Door::ShimGlibc, Door::ShimMusl];

/// More endpoints than a call gathers on the stack, and fewer than musl takes.
const MANY: u8 = 45;
/// More than are gathered on any stack, and more than musl takes.
const CROWD: u8 = 60;

/// A zone in shadow that has not changed for `age` seconds.
fn zone(age: u64) -> Result<Published> {
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

fn in_shadow(zone: &mut Published, age: u64) -> Result<()> {
    zone.writer.configure(&Config {
        shadow: true,
        // Nobody is asked for names outside, whatever is configured.
        external: External::Pod,
        ..writer::config()?
    })?;
    // Word 17 of the zone: when it last changed. Nothing is committed to it any more.
    let file = OpenOptions::new()
        .write(true)
        .open(zone.view().join("zone.v1"))?;
    file.write_all_at(&(now().0 - age).to_le_bytes(), 17 * 8)?;
    Ok(())
}

fn addresses(count: u8) -> Result<Vec<nss_k8s_zone::Address>> {
    (1..=count)
        .map(|number| writer::address(&format!("10.244.3.{number}")))
        .collect()
}

/// A server that knows what the zone knows, but for those that it lies about.
fn script() -> Script {
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

fn pod(zone: &Published, script: Script) -> Result<Pod> {
    pod_of(zone, script, Door::ShimGlibc)
}

fn pod_of(zone: &Published, script: Script, door: Door) -> Result<Pod> {
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
fn require(
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

/// What a server that agrees and one that lies come to, at every function.
#[test]
fn every_answer_is_libcs_and_is_compared() -> Result<()> {
    let rows: [(&str, &str); 34] = [
        ("gai api - UNSPEC 1 0 0", SAME),
        ("gai api - UNSPEC 0 0 0", SAME),
        ("gai api 80 null 0 0 0", SAME),
        ("gai API.Shop - INET 1 0 2", SAME),
        ("gai web - UNSPEC 0 0 0", SAME),
        ("gai web.shop.svc.cluster.local. - INET6 1 0 0", SAME),
        ("gai six - UNSPEC 1 0 0", SAME),
        ("gai six.shop.svc.cluster.local. - INET 1 0 0", SAME),
        // AI_V4MAPPED, alone and with AI_ALL.
        ("gai api.shop.svc.cluster.local. - INET6 1 0 8", SAME),
        ("gai web - INET6 1 0 24", SAME),
        (
            "gai nothing.nowhere.svc.cluster.local. - UNSPEC 1 0 0",
            SAME,
        ),
        ("gai many - UNSPEC 0 0 0", SAME),
        ("gai crowd - INET 1 0 0", SAME),
        ("gai localhost - UNSPEC 1 0 0", SAME),
        ("gai shopper - INET 1 0 0", SAME),
        ("gai near - UNSPEC 1 0 0", OTHER_ADDRESSES),
        ("gai moved - UNSPEC 1 0 0", OTHER_ADDRESSES),
        ("gai grown - UNSPEC 1 0 0", OTHER_ADDRESSES),
        ("gai shrunk - UNSPEC 1 0 0", OTHER_ADDRESSES),
        ("gai shrunk - INET 1 0 0", SAME),
        ("gai shrunk - INET6 1 0 0", OTHER_STATUS),
        ("gai gone - UNSPEC 1 0 0", OTHER_STATUS),
        (
            "gai extra.nowhere.svc.cluster.local. - INET 1 0 0",
            OTHER_STATUS,
        ),
        ("gai failing - UNSPEC 1 0 0", FAILED),
        ("gai silent.shop.svc.cluster.local. - INET 1 0 0", FAILED),
        // After the timeout glibc goes on and says that there is no such name.
        ("gai silent - INET 1 0 0", FAILED),
        // Nobody is asked for what the zone does not know: it is passed.
        ("gai www.example.com - INET 1 0 0", PASSED),
        ("gai absent - INET 1 0 0", PASSED),
        ("host api", SAME),
        ("host moved", OTHER_ADDRESSES),
        ("host gone", OTHER_STATUS),
        ("host2 web INET6", SAME),
        ("hostr many 4096", SAME),
        ("host2r gone INET 512", OTHER_STATUS),
    ];
    // More than 512 octets, for which musl asks over TCP since 1.2.4.
    let is_large = |command: &str| {
        command.contains("many") || command.contains("crowd") || command.contains("near")
    };
    let zone = zone(SETTLES_AFTER + 60)?;
    for release in Release::ALL {
        let door = match release.libc() {
            Libc::Glibc => Door::ShimGlibc,
            Libc::Musl => Door::ShimMusl,
        };
        let pod = pod(&zone, script())?;
        let guests = artifacts::guests()?;
        let mut ours = Session::start_under(&pod, door, release, &guests, &[])?;
        let mut reference = Session::start_under(&pod, door.reference(), release, &guests, &[])?;
        let failures: Vec<String> = rows
            .iter()
            .filter_map(|(command, verdict)| {
                let truncated = release == Release::Musl123 && is_large(command);
                let verdict = if truncated { OTHER_STATUS } else { verdict };
                let checked = require(&mut ours, &mut reference, command, verdict);
                checked.err().map(|error| format!("{error:#}"))
            })
            .collect();
        ensure!(failures.is_empty(), "{release:?}:\n{}", failures.join("\n"));
    }
    Ok(())
}

/// A difference just after a change of the zone may be what a cache before the server still holds.
#[test]
fn differences_after_a_change_are_counted_apart() -> Result<()> {
    let zone = zone(SETTLES_AFTER - 10)?;
    for door in SHIMS {
        let pod = pod(&zone, script())?;
        let mut ours = Session::start(&pod, door)?;
        let mut reference = Session::start(&pod, door.reference())?;
        for (command, verdict) in [
            ("gai api - UNSPEC 1 0 0", SAME),
            ("gai moved - UNSPEC 1 0 0", LATELY),
            ("gai gone - UNSPEC 1 0 0", LATELY),
        ] {
            require(&mut ours, &mut reference, command, verdict)
                .with_context(|| format!("{door:?}"))?;
        }
        let (status, text) = explain(&ours.id().to_string())?;
        ensure!(
            status == 0 && text.contains("same 1,") && text.contains("different-lately 2,"),
            "{status}: {text}"
        );
    }
    Ok(())
}

/// The switch works on the next lookup, both ways; what is not compared is libc's.
#[test]
fn shadow_begins_and_ends_with_the_next_lookup() -> Result<()> {
    for door in Door::OURS {
        let mut zone = zone(SETTLES_AFTER + 60)?;
        let pod = pod_of(
            &zone,
            script().pointer("10.96.1.10", "moved.example.com"),
            door,
        )?;
        let mut session = Session::start(&pod, door)?;
        let compared = if door == Door::Nss { PASSED_ON } else { SAME };
        // libc's address, which is another than the zone's.
        let libcs = "10.96.9.13";
        let asked = |session: &mut Session| session.resolve("moved", "INET");
        let reply = asked(&mut session)?;
        ensure!(reply.summary().starts_with(libcs), "{door:?}: {reply:?}");
        let reply = session.resolve("api", "INET")?;
        ensure!(reply.who() == compared, "{door:?}: {reply:?}");
        let reply = session.ask("addr 10.96.1.10")?;
        ensure!(
            reply.who() == PASSED_ON && reply.name.as_deref() == Some("moved.example.com"),
            "{door:?}: {reply:?}"
        );
        zone.writer.configure(&writer::config()?)?;
        let reply = asked(&mut session)?;
        ensure!(
            reply.who() == "zone" && reply.summary().starts_with("10.96.1.13"),
            "{door:?}: {reply:?}"
        );
        // What is passed now is passed without a comparison.
        let reply = session.resolve("www.example.com", "INET")?;
        ensure!(reply.who() == "pass(external)", "{door:?}: {reply:?}");
        let reply = session.resolve("www.example.com", "INET")?;
        ensure!(reply.who() == "pass(external)", "{door:?}: {reply:?}");
        in_shadow(&mut zone, SETTLES_AFTER + 60)?;
        let reply = asked(&mut session)?;
        ensure!(reply.summary().starts_with(libcs), "{door:?}: {reply:?}");
    }
    Ok(())
}

/// What a running process counted is read from outside; a script goes by the status.
#[test]
fn counters_are_read_from_running_processes() -> Result<()> {
    let zone = zone(SETTLES_AFTER + 60)?;
    for door in SHIMS {
        let pod = pod(&zone, script())?;
        let mut session = Session::start(&pod, door)?;
        let plain = Session::start(&pod, door.reference())?;
        let id = session.id().to_string();
        // Nothing was compared: that is no reason to switch on.
        let (status, text) = explain(&id)?;
        ensure!(status == 3, "{status}: {text}");
        for _ in 0..3 {
            session.resolve("api", "UNSPEC")?;
        }
        session.ask("gai failing.shop.svc.cluster.local. - UNSPEC 1 0 0")?;
        session.resolve("www.example.com", "INET")?;
        let (status, text) = explain(&id)?;
        let build = nss_k8s_stub::BUILD;
        ensure!(
            status == 0
                && text.contains(&format!(
                    "build {build}, in shadow; same 3, different-addresses 0, \
                     different-status 0, different-lately 0, failed 1, passed 1\n"
                ))
                && text.contains("1 processes: same 3,"),
            "{status}: {text}"
        );
        session.resolve("moved", "UNSPEC")?;
        session.resolve("gone", "UNSPEC")?;
        let (status, text) = explain(&id)?;
        ensure!(
            status == 1
                && text.contains("different-addresses 1, different-status 1,")
                && text.contains("last difference: gone"),
            "{status}: {text}"
        );
        // Among all processes it is found, too; one without the library is not ours.
        let (_, text) = explain_all()?;
        ensure!(
            text.contains(&format!("\n{id} lookup")) || text.starts_with(&format!("{id} lookup")),
            "{text}"
        );
        let (status, text) = explain(&plain.id().to_string())?;
        ensure!(
            status == 3 && text.contains("has no preload library"),
            "{text}"
        );
        // A user of its own may not look.
        let (status, text) = outcome(
            Command::new("setpriv")
                .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
                .arg(artifacts::explain()?)
                .args(["--shadow", &id]),
        )?;
        ensure!(
            status == 3 && text.contains("not permitted"),
            "{status}: {text}"
        );
    }
    Ok(())
}

/// What a name would be answered is told as ever, with the word that it is only compared.
#[test]
fn explain_says_that_the_view_is_in_shadow() -> Result<()> {
    let mut zone = zone(SETTLES_AFTER + 60)?;
    let pod = pod(&zone, script())?;
    let explain = || -> Result<(i32, String)> {
        let program = artifacts::explain()?;
        outcome(pod.command(program.to_str().context("path")?).arg("moved"))
    };
    let build = nss_k8s_stub::BUILD;
    let (status, text) = explain()?;
    for part in [
        &format!("view default; library build {build}"),
        "in shadow: libc answers",
        "10.96.1.13",
    ] {
        ensure!(text.contains(part), "{part} is not in {text}");
    }
    ensure!(status == 0, "{status}: {text}");
    zone.writer.configure(&Config {
        refused_builds: vec![build],
        ..writer::config()?
    })?;
    let (status, text) = explain()?;
    ensure!(
        status == 3 && text.contains("this build is refused") && !text.contains("shadow"),
        "{status}: {text}"
    );
    Ok(())
}

/// The share of hosts that a permille switches off goes by the host's name: every process of a pod
/// goes with it, more of the thousand take in those that were out before, and `explain` knows.
#[test]
fn a_permille_goes_by_the_host_name() -> Result<()> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.10"])?;
    let pod = pod(&zone, script())?;
    let release = Release::of_the_machine(Libc::Glibc);
    let mut out_before = BTreeSet::new();
    for permille in [0, 250, 750, 1000] {
        zone.writer.configure(&Config {
            disabled_permille: permille,
            ..writer::config()?
        })?;
        let mut out = BTreeSet::new();
        for number in 0..16 {
            let host = format!("shop-{number}-x7k2p");
            let served = |program: &mut Command| -> Result<(i32, String)> {
                // The host's name is the pod's own.
                let mut renamed = pod.command("unshare");
                renamed.args([
                    "--uts",
                    "sh",
                    "-c",
                    "hostname \"$1\" && shift && exec \"$@\"",
                    "-",
                ]);
                renamed
                    .arg(&host)
                    .arg(program.get_program())
                    .args(program.get_args());
                for (name, value) in program.get_envs() {
                    renamed.env(name, value.context("no value")?);
                }
                let output = renamed.output()?;
                let text = [output.stdout, output.stderr].concat();
                Ok((
                    output.status.code().context("killed")?,
                    String::from_utf8(text)?,
                ))
            };
            let mut lookup = release.command(&pod, "lookup", None)?;
            Door::ShimGlibc.open(&mut lookup, &artifacts::guests()?);
            let (_, text) = served(lookup.args("gai api - INET 1 0 0".split(' ')))?;
            let is_out = text.contains("-> pass(disabled)");
            ensure!(is_out != text.contains("-> zone"), "{host}: {text}");
            let mut explain = Command::new(artifacts::explain()?);
            let (status, told) = served(explain.arg("api"))?;
            ensure!((status == 3) == is_out, "{host} {permille}: {told}");
            if is_out {
                out.insert(host);
            }
        }
        ensure!(
            out.is_superset(&out_before),
            "{permille}: {out_before:?} {out:?}"
        );
        let expected = match permille {
            0 => 0..=0,
            1000 => 16..=16,
            _ => 1..=15,
        };
        ensure!(expected.contains(&out.len()), "{permille}: {out:?}");
        out_before = out;
    }
    Ok(())
}

/// A library that always passes says nothing of shadow: these tests would fail with it.
#[test]
fn a_library_that_always_passes_compares_nothing() -> Result<()> {
    let zone = zone(SETTLES_AFTER + 60)?;
    let pod = pod(&zone, script())?;
    let mut session = Session::start_with(
        &pod,
        Door::ShimGlibc,
        &artifacts::guests()?,
        &[("NSS_K8S_DISABLE", "1")],
    )?;
    let reply = session.resolve("api", "UNSPEC")?;
    ensure!(reply.who() == "pass(disabled)", "{reply:?}");
    let (status, text) = explain(&session.id().to_string())?;
    ensure!(status == 3 && text.contains("same 0,"), "{status}: {text}");
    Ok(())
}

fn explain(process: &str) -> Result<(i32, String)> {
    outcome(Command::new(artifacts::explain()?).args(["--shadow", process]))
}

fn explain_all() -> Result<(i32, String)> {
    outcome(Command::new(artifacts::explain()?).arg("--shadow"))
}

fn outcome(command: &mut Command) -> Result<(i32, String)> {
    let output = command.output()?;
    let status = output.status.code().context("killed")?;
    Ok((status, String::from_utf8(output.stdout)?))
}

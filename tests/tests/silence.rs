//! Warm lookups make no system call, but for what is looked at once a second: traced from outside.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use anyhow::{Context, Result, bail, ensure};
use nss_k8s_tests::{
    artifacts,
    pod::{Pod, Recipe},
    probe::{self, Libc},
    writer::{Published, address, config, now},
};
use nss_k8s_zone::{
    Config, Endpoint, External, Family, Held, HeldAnswer, HeldOptions, HeldVerdict, HeldWriter,
    Now, ServiceBody, ServiceKey, Slice, SliceId,
};
use std::collections::BTreeMap;

/// Lookups of each process: more than a second of them.
const CALLS: u32 = 2_000_000;

/// What is asked, in turn: one address, and six that are sorted; with AI_ADDRCONFIG, AI_V4MAPPED
/// and AI_ALL; names of the hosts file; and names outside that the agent holds: one with addresses,
/// one (`!`) that does not exist. Families are 0, 2 (IPv4) and 10 (IPv6).
const LOOKUPS: &[&str] = &[
    "api/0/0",
    "api/2/0x20",
    "trio/0/0",
    "trio/2/0",
    "trio/10/0x22",
    "trio/0/0x28",
    "trio/10/0x18",
    "trio.shop.svc.cluster.local./0/0x20",
    "shopper/2/0",
    "localhost/0/0",
    "www.example.com/0/0",
    "www.example.com/2/0x20",
    "!absent.example.com./0/0",
];

/// The system calls of one second and how often each may come in it. Every destination is asked for
/// once (3 of IPv4, 3 of IPv6, 3 mapped ones, and the two loopback addresses; each is a socket that is
/// connected and asked for its name, or the one before, whose connection is taken from it first), and
/// glibc's list of addresses once (a socket, a question, up to eight messages of answer, memory for
/// them).
const SECOND: &[(&str, u32)] = &[
    ("stat", 4),
    ("newfstatat", 4),
    ("socket", 12),
    ("connect", 22),
    ("getsockname", 11),
    ("close", 12),
    ("sendto", 1),
    ("recvfrom", 8),
    ("mmap", 1),
    ("munmap", 1),
];

/// A dark pod: who answers there is us.
fn room() -> Result<(Published, HeldWriter, Pod)> {
    let mut zone = Published::live()?;
    zone.writer.configure(&Config {
        external: External::Node,
        holds_external: true,
        ..config()?
    })?;
    zone.put("api", &["10.96.1.1"])?;
    let key = ServiceKey::new("trio", "shop")?;
    let body = ServiceBody::Headless { ports: Vec::new() };
    zone.writer.put_service(&key, &body)?;
    for (family, id, prefix) in [(Family::V4, 4, "10.244.1."), (Family::V6, 6, "fd00:244::")] {
        let mut endpoints = Vec::new();
        for number in 1..=3 {
            endpoints.push(Endpoint::ready(address(&format!("{prefix}{number}"))?));
        }
        let slice = Slice {
            family,
            ports: Vec::new(),
            endpoints,
        };
        zone.writer.put_slice(&key, SliceId(id), &slice)?;
    }
    let answers = hold(&zone)?;
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        // Where the module is named, the shim leaves names outside to it.
        nsswitch: "hosts: files dns\n".into(),
        ..Recipe::default()
    })?;
    Ok((zone, answers, pod))
}

/// The agent's answers beside the zone, for an hour; the address is one that is sorted anyway.
fn hold(zone: &Published) -> Result<HeldWriter> {
    let view = zone.view();
    let directory = view.ancestors().nth(2).context("a view's directory")?;
    let (mut answers, _) = HeldWriter::open(&HeldOptions::new(directory, "default"), now())?;
    let answer = |verdict| {
        Some(HeldAnswer {
            expires: Some(Now(now().0 + 3600)),
            verdict,
        })
    };
    let data = |addresses| HeldVerdict::Data {
        addresses,
        canonical: None,
    };
    let known = Held {
        v4: answer(data(vec![address("10.96.1.1")?])),
        v6: answer(data(Vec::new())),
    };
    answers.put("www.example.com", &known)?;
    let denied = Held {
        v4: answer(HeldVerdict::NxDomain),
        v6: answer(HeldVerdict::NxDomain),
    };
    answers.put("absent.example.com", &denied)?;
    Ok(answers)
}

/// What strace saw between the two marks: each call's number, and the seconds in between.
fn trace(pod: &Pod, libc: Libc) -> Result<(BTreeMap<String, u32>, f64)> {
    let shim = artifacts::shim()?;
    let program = probe::program("repeat", libc)?;
    let output = pod
        // One that asks the kernel at every call would take half an hour.
        .command("timeout")
        .args(["60", "strace", "-f", "-ttt", "-E"])
        .arg(format!("LD_PRELOAD={}", shim.display()))
        .arg(program)
        .arg(CALLS.to_string())
        .args(LOOKUPS)
        .output()
        .context("strace: install it (make prepare)")?;
    let text = String::from_utf8(output.stderr)?;
    ensure!(output.status.success(), "{:?}: {text}", output.status);
    ensure!(output.stdout.is_empty(), "something was printed");
    let (mut calls, mut marks) = (BTreeMap::new(), Vec::new());
    for line in text.lines() {
        let (time, rest) = line.split_once(' ').context(line.to_owned())?;
        let name = rest.split('(').next().unwrap_or(rest);
        if name == "getppid" {
            marks.push(time.parse::<f64>()?);
        } else if marks.len() == 1 {
            *calls.entry(name.to_owned()).or_default() += 1;
        }
    }
    let [start, end] = *marks else {
        bail!("{} marks: {text}", marks.len());
    };
    Ok((calls, end - start))
}

#[test]
fn warm_lookups_make_no_system_call_but_once_a_second() -> Result<()> {
    let (_zone, _answers, pod) = room()?;
    for libc in [Libc::Glibc, Libc::Musl] {
        let (calls, seconds) = trace(&pod, libc)?;
        // The seconds that were begun: the first and the last are parts of one.
        let begun = seconds.ceil() as u32 + 1;
        println!("{libc:?}: {seconds:.3} s, {calls:?}");
        for (name, count) in calls {
            let allowed = SECOND.iter().find(|(known, _)| *known == name);
            let Some((_, most)) = allowed else {
                bail!("{libc:?}: {name}, {count} times");
            };
            // musl's allocator gives a group of results back to the kernel when the last of it is freed.
            let allocator = match (libc, name.as_str()) {
                (Libc::Musl, "mmap" | "munmap") => CALLS / 100,
                _ => 0,
            };
            ensure!(
                count <= most * begun + allocator,
                "{libc:?}: {name}, {count} times in {seconds} s"
            );
        }
    }
    Ok(())
}

//! The recordings that `make test` compares with are what the real CoreDNS says, now.

use crate::{
    control_plane::{shared, until},
    coredns,
    objects::Namespace,
};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts,
    recording::{self, Recording},
    wire::{self, kind},
};
use serde_json::json;
use std::{env, fs};

/// Set to 1: the recordings are written anew instead of compared.
const RECORD: &str = "NSS_K8S_RECORD";
/// Bytes of an SOA after its names.
const SOA_NUMBERS: usize = 20;

/// Every line of the file of recordings is CoreDNS's answer to a question of the list, and every
/// question has its line.
#[test]
fn recordings_are_what_coredns_says() -> Result<()> {
    let plane = shared();
    let coredns = coredns::shared(&plane)?;
    let mut connection = coredns.connect()?;
    let mut lines = vec!["# What CoreDNS said: see README.md.".to_owned()];
    for (name, kind) in recording::questions()? {
        let recording = connection.ask(&name, kind).context(name)?;
        lines.push(recording.to_string());
    }
    let file = artifacts::fixture(recording::FILE);
    if env::var_os(RECORD).is_some_and(|value| value == "1") {
        fs::write(&file, lines.join("\n") + "\n")?;
        println!("recorded {} answers in {}", lines.len() - 1, file.display());
    }
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let held: Vec<&str> = text.lines().collect();
    let missing = lines.iter().filter(|line| !held.contains(&line.as_str()));
    let stale = held
        .iter()
        .filter(|line| !lines.iter().any(|now| now == *line));
    let differences: Vec<String> = missing
        .map(|line| format!("CoreDNS: {line}"))
        .chain(stale.map(|line| format!("  file: {line}")))
        .collect();
    ensure!(
        differences.is_empty(),
        "{} lines of {} differ; {RECORD}=1 make test-cluster writes it anew:\n{}",
        differences.len(),
        recording::FILE,
        differences.join("\n")
    );
    Ok(())
}

/// What messages look like beside their records, which is what our own are made after: flags, names
/// in the case of the question, no compression while the message fits, then as much as it takes.
#[test]
fn messages_are_as_ours_are_made() -> Result<()> {
    let plane = shared();
    let coredns = coredns::shared(&plane)?;
    for (name, kind, rd, flags) in [
        // QR, AA, RD as asked; never RA in zones of its own.
        ("API.Shop.svc.cluster.local", kind::A, 1, 0x8500),
        ("api.shop.svc.cluster.local", kind::A, 0, 0x8400),
        ("nosuch.shop.svc.cluster.LOCAL", kind::AAAA, 1, 0x8503),
        ("web.shop.svc.CLUSTER.local", kind::TXT, 1, 0x8500),
        (
            "_http._tcp.WEB.shop.svc.cluster.local",
            kind::SRV,
            1,
            0x8500,
        ),
        ("10.1.96.10.IN-addr.arpa", kind::PTR, 1, 0x8500),
        // AXFR: refused, without AA.
        ("cluster.local", 252, 1, 0x8105),
    ] {
        let mut query = recording::query(77, name, kind);
        query[2] = rd;
        let udp = coredns.datagram(&query)?;
        let tcp = coredns.connect()?.exchange(&query)?;
        // The owner repeats the question's case, an SOA's owner that of the zone's labels in it.
        let has_soa = flags == 0x8503 || kind == kind::TXT;
        let owner = match (flags, has_soa) {
            (0x8105, _) => None,
            (_, true) => Some(wire::name(&name[name.len() - 13..])),
            (_, false) => Some(wire::name(name)),
        };
        for message in [&udp, &tcp] {
            ensure!(
                message[..4] == [[0, 77], u16::to_be_bytes(flags)].concat(),
                "{name}: {:02x?}",
                &message[..4]
            );
            ensure!(
                message[12..].starts_with(&query[12..]),
                "{name}: the question"
            );
            // An SOA ends in numbers, and its serial is the time: now and then there is such a byte in it.
            let numbers = if has_soa { SOA_NUMBERS } else { 0 };
            ensure!(
                !message[12..message.len() - numbers].contains(&0xc0),
                "{name}: compressed although it fits"
            );
        }
        if let Some(owner) = owner {
            ensure!(udp[query.len()..].starts_with(&owner), "{name}: the owner");
        }
    }
    Ok(())
}

/// What does not fit: compressed, and when that is not enough cut between records and marked; with
/// EDNS as much as the client takes (RFC 6891), over TCP everything.
#[test]
fn large_answers_are_compressed_then_cut() -> Result<()> {
    let plane = shared();
    let coredns = coredns::shared(&plane)?;
    let space = Namespace::create(&plane.administrator, "large")?;
    space.service("crowd", json!({"clusterIP": "None"}))?;
    let addresses: Vec<String> = (1..=60).map(|last| format!("198.51.100.{last}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    space.slice("crowd-1", "crowd", "IPv4", &addresses[..20])?;
    let name = space.fqdn("crowd");
    let count = |message: &[u8]| -> Result<usize> {
        Ok(Recording::from_message(message)?.sections[0].len())
    };
    let query = recording::query(1, &name, kind::A);
    let wait = |expected: usize| {
        until("CoreDNS to see the slice", || {
            let message = coredns.connect()?.exchange(&query)?;
            Ok((count(&message)? == expected).then_some(message))
        })
    };
    let whole = wait(20)?;
    ensure!(
        whole.len() > 512 && !whole[12..].contains(&0xc0),
        "over TCP"
    );
    let fits = coredns.datagram(&query)?;
    ensure!(
        fits.len() <= 512 && fits[2] & 2 == 0 && count(&fits)? == 20,
        "compressed"
    );

    space.slice("crowd-2", "crowd", "IPv4", &addresses[20..])?;
    wait(60)?;
    let cut = coredns.datagram(&query)?;
    let held = count(&cut)?;
    ensure!(
        cut.len() <= 512 && cut[2] & 2 == 2 && (1..60).contains(&held),
        "{} bytes, flags {:02x}, {held} records",
        cut.len(),
        cut[2]
    );
    let mut extended = query.clone();
    extended[11] = 1;
    // OPT with a payload size of 4096.
    extended.extend([0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0]);
    let roomy = coredns.datagram(&extended)?;
    ensure!(roomy[2] & 2 == 0 && count(&roomy)? == 60, "with EDNS");
    Ok(())
}

//! `res_query` and its relatives: the message, the errors and the state that a program sees through
//! the shim are those of its libc with the cluster's DNS server, whose recorded answers the server
//! of these pods gives.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use anyhow::{Result, ensure};
use nss_k8s_tests::{
    artifacts, batch,
    pod::{Pod, Recipe},
    recording::Recordings,
    session::Door,
    shop,
    writer::Published,
    zonefile::Agent,
};
use std::sync::Arc;

const PROBE: &str = "resolver";

/// A pod in the shop with the recorded server.
fn pod(zone: &Agent, recipe: Recipe) -> Result<Pod> {
    Pod::start(Recipe {
        hosts: shop::HOSTS.into(),
        zone: Some(zone.view()),
        dns: Some(shop::outside().recorded(Arc::new(Recordings::load()?))),
        ..recipe
    })
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
    for (door, release) in batch::releases() {
        let pod = pod(&zone, Recipe::default())?;
        let decided = batch::agree(&pod, PROBE, door, release, &commands)?;
        ensure!(decided >= 1_450, "{door:?}: only {decided}");
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
    const JOINED: [(&str, &str); 5] = [
        ("api", "shop.svc.cluster.local"),
        ("Web", "shop.svc.Cluster.local."),
        ("api", "nowhere.svc.cluster.local"),
        ("www", "example.com"),
        ("api.", "shop.svc.cluster.local"),
    ];
    // How many of its commands the zone answers at least, in glibc and in musl: most of the names
    // need the search list, which only glibc's `search` functions walk.
    const FUNCTIONS: [(&str, usize, Option<usize>); 11] = [
        ("res_search", 20, Some(3)),
        ("__res_search", 20, None),
        ("res_nsearch", 20, None),
        ("__res_nsearch", 20, None),
        ("__res_query", 3, None),
        ("res_nquery", 3, None),
        ("__res_nquery", 3, None),
        ("res_querydomain", 4, Some(3)),
        ("__res_querydomain", 3, None),
        ("res_nquerydomain", 3, None),
        ("__res_nquerydomain", 3, None),
    ];
    let zone = shop::publish()?;
    for (door, release) in batch::releases() {
        let pod = pod(&zone, Recipe::default())?;
        for (function, in_glibc, in_musl) in FUNCTIONS {
            let least = match door {
                Door::ShimMusl => in_musl,
                _ => Some(in_glibc),
            };
            let Some(least) = least else { continue };
            let mut commands = Vec::new();
            if function.ends_with("domain") {
                for (name, domain) in JOINED {
                    commands.push(format!("{function} {name} {domain} 1 4096"));
                }
            } else {
                commands.extend(queries(function, &SHORT, &[1, 28, 33]));
                let spelled = ["API.Shop.svc.cluster.local"];
                commands.extend(queries(function, &spelled, &[1, 28, 33]));
            }
            if door == Door::ShimGlibc {
                if function == "res_querydomain" {
                    commands.push("res_querydomain api.shop.svc.cluster.local - 1 4096".into());
                }
                commands.push("state".into());
            }
            let decided = batch::agree(&pod, PROBE, door, release, &commands)?;
            ensure!(decided >= least, "{door:?} {function}: only {decided}");
        }
    }
    Ok(())
}

/// A program that changes the state gets what libc makes of it; a change that means nothing to an
/// answer (another time to wait) costs nothing.
#[test]
fn a_changed_state_is_left_to_libc() -> Result<()> {
    let zone = shop::publish()?;
    let lookups = [
        "res_search api.shop 1 4096",
        "res_query api.shop.svc.cluster.local 1 4096",
        "getaddrinfo api.shop",
        "gethostbyname api",
    ];
    for (door, release) in batch::releases().filter(|(door, _)| *door == Door::ShimGlibc) {
        for (change, who) in [
            ("init", "zone"),
            ("retry", "zone"),
            ("ndots", "pass(patched)"),
            ("domain", "pass(patched)"),
            ("option", "pass(patched)"),
        ] {
            let pod = pod(&zone, Recipe::default())?;
            let mut commands: Vec<String> = vec!["patch init".into(), format!("patch {change}")];
            commands.extend(lookups.iter().map(ToString::to_string));
            batch::agree(&pod, PROBE, door, release, &commands)?;
            for reply in &batch::run(&pod, PROBE, door, release, &commands)?[2..] {
                ensure!(reply.who == who, "{} {change}: {reply:?}", release.as_str());
            }
        }
        // A server of the program's own, which nobody has here: libc's error comes at once.
        let pod = pod(&zone, Recipe::default())?;
        let mut commands: Vec<String> = vec!["patch init".into(), "patch server".into()];
        commands.extend(lookups.iter().map(ToString::to_string));
        let alone = batch::run(&pod, PROBE, door.reference(), release, &commands)?;
        let ours = batch::run(&pod, PROBE, door, release, &commands)?;
        for (ours, alone) in ours.iter().zip(&alone).skip(2) {
            ensure!(
                ours.who == "pass(patched)" && ours.said == alone.said,
                "{} server: {ours:?}, libc alone: {alone:?}",
                release.as_str()
            );
        }
    }
    Ok(())
}

/// What the environment makes of a state is no change by the program, but EDNS is libc's.
#[test]
fn the_environment_makes_the_state_that_libc_makes() -> Result<()> {
    let zone = shop::publish()?;
    let pod = pod(&zone, Recipe::default())?;
    let commands = [
        "patch init".to_owned(),
        "res_search api 1 4096".to_owned(),
        "getaddrinfo api".to_owned(),
    ];
    for (door, release) in batch::releases().filter(|(door, _)| *door == Door::ShimGlibc) {
        for (variable, value, message, addresses) in [
            (
                "LOCALDOMAIN",
                "db.svc.cluster.local shop.svc.cluster.local",
                "ask-miss",
                "ask-miss",
            ),
            (
                "LOCALDOMAIN",
                "bare.cluster.local shop.svc.cluster.local",
                "",
                "",
            ),
            (
                "RES_OPTIONS",
                "ndots:2 rotate timeout:3 no-tld-query",
                "",
                "",
            ),
            ("RES_OPTIONS", "use-vc single-request trust-ad", "", ""),
            ("RES_OPTIONS", "edns0", "patched", ""),
        ] {
            let environment = [(variable, value)];
            let reference = batch::run_in(
                &pod,
                PROBE,
                door.reference(),
                release,
                &environment,
                &commands,
            )?;
            let ours = batch::run_in(&pod, PROBE, door, release, &environment, &commands)?;
            for ((our, reference), reason) in ours[1..]
                .iter()
                .zip(&reference[1..])
                .zip([message, addresses])
            {
                let who = match reason {
                    "" => "zone".to_owned(),
                    reason => format!("pass({reason})"),
                };
                ensure!(
                    our.who == who && our.said == reference.said,
                    "{} {variable}={value}: {our:?}, libc: {reference:?}",
                    release.as_str()
                );
            }
        }
    }
    Ok(())
}

/// Whatever the buffer holds of the message, libc and we agree; where it does not hold all of it,
/// libc does it.
#[test]
fn every_size_of_buffer_means_what_libc_means() -> Result<()> {
    let zone = shop::publish()?;
    let mut commands = Vec::new();
    for name in [
        "api.shop.svc.cluster.local 1",
        "_sql._tcp.postgres.db.svc.cluster.local 33",
        "api.shop.svc.cluster.local 28",
    ] {
        for size in [
            0, 1, 11, 44, 60, 86, 87, 88, 130, 300, 511, 512, 513, 60_000,
        ] {
            commands.push(format!("res_query {name} {size}"));
        }
    }
    for (door, release) in batch::releases() {
        let pod = pod(&zone, Recipe::default())?;
        let decided = batch::agree(&pod, PROBE, door, release, &commands)?;
        ensure!(decided >= 17, "{door:?}: only {decided}");
    }
    Ok(())
}

/// As `cluster/recordings.rs` holds CoreDNS to it: the SOA has the zone's labels as the question
/// spells them, an owner is the question's name, a target is in lower case.
#[test]
fn names_are_spelled_as_coredns_spells_them() -> Result<()> {
    let zone = shop::publish()?;
    let pod = shop::dark_pod(&zone)?;
    for (door, release) in batch::releases() {
        for (name, kind, expected) in [
            (
                "x.nowhere.svc.CLUSTER.Local",
                1,
                "record authority CLUSTER.Local. 6 1 5 ns.dns.CLUSTER.Local. \
                 hostmaster.CLUSTER.Local. 7200 1800 86400 5",
            ),
            (
                "_HTTP._tcp.api.SHOP.svc.cluster.local",
                33,
                "record answer _HTTP._tcp.api.SHOP.svc.cluster.local. 33 1 5 0 100 80 \
                 api.shop.svc.cluster.local.",
            ),
            (
                "10.1.96.10.IN-addr.arpa",
                12,
                "record answer 10.1.96.10.IN-addr.arpa. 12 1 5 api.shop.svc.cluster.local.",
            ),
        ] {
            let command = format!("res_query {name} {kind} 512");
            let replies = batch::run(&pod, PROBE, door, release, &[command])?;
            let reply = &replies[0];
            ensure!(
                reply.is_ours() && reply.said.iter().any(|line| line == expected),
                "{door:?}: {reply:?}"
            );
        }
    }
    Ok(())
}

/// What the zone answers, nobody asks a server for.
#[test]
fn no_server_is_asked_for_what_the_zone_has() -> Result<()> {
    let zone = shop::publish()?;
    for (door, release) in batch::releases() {
        let pod = pod(&zone, Recipe::default())?;
        let commands = queries(
            "res_query",
            &[
                "web.shop.svc.cluster.local",
                "api.nowhere.svc.cluster.local",
            ],
            &[1, 28, 33, 5, 15],
        );
        for reply in batch::run(&pod, PROBE, door, release, &commands)? {
            ensure!(reply.is_ours(), "{door:?} {}: {reply:?}", release.as_str());
        }
        let asked = pod.dns()?.take_log();
        ensure!(asked.is_empty(), "{door:?}: {asked:?}");
    }
    Ok(())
}

/// 20 addresses fit a datagram when they are compressed; 40 come over TCP, which some musl lacks.
#[test]
fn large_answers_are_whole() -> Result<()> {
    let mut zone = Published::live()?;
    for (name, count) in [("small", 20_u8), ("large", 40), ("huge", 60)] {
        let all: Vec<_> = (0..count)
            .map(|last| nss_k8s_zone::Address::v4([10, 245, 0, last]))
            .collect();
        zone.put_headless(name, &all)?;
    }
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        ..Recipe::default()
    })?;
    let name = |service: &str| format!("{service}.shop.svc.cluster.local");
    for (door, release) in batch::releases() {
        let large = match door {
            Door::ShimGlibc => "zone",
            _ => "pass(buffer)",
        };
        for (service, size, who, count) in [
            ("small", 512, "zone", 20),
            ("large", 4096, large, 40),
            ("huge", 4096, "pass(buffer)", 60),
        ] {
            let command = format!("res_query {} 1 {size}", name(service));
            let replies = batch::run(&pod, PROBE, door, release, &[command])?;
            let reply = &replies[0];
            let records = reply
                .said
                .iter()
                .filter(|line| line.starts_with("record answer"));
            ensure!(
                reply.who == who && (who != "zone" || records.count() == count),
                "{door:?} {}: {service}: {reply:?}",
                release.as_str()
            );
        }
    }
    Ok(())
}

/// The clients that this is for: PHP asks by `res_nsearch` with a state of its own.
#[test]
fn php_finds_records() -> Result<()> {
    const SCRIPT: &str = r#"
$found = dns_get_record("_http._tcp.web.shop.svc.cluster.local", DNS_SRV);
echo $found[0]["target"], " ", $found[0]["port"], " ", count($found), "\n";
echo dns_get_record("dns-version.cluster.local", DNS_TXT)[0]["txt"], "\n";
var_dump(checkdnsrr("api.shop.svc.cluster.local", "A"), checkdnsrr("x.nowhere.svc.cluster.local", "A"));
"#;
    let zone = shop::publish()?;
    let pod = shop::dark_pod(&zone)?;
    let mut command = pod.command("php");
    Door::ShimGlibc.open(&mut command, &artifacts::guests()?);
    let output = command.args(["-n", "-r", SCRIPT]).output()?;
    let (said, notes) = (
        String::from_utf8(output.stdout)?,
        String::from_utf8(output.stderr)?,
    );
    ensure!(
        said == "web.shop.svc.cluster.local 80 1\n1.1.0\nbool(true)\nbool(false)\n",
        "{said}{notes}"
    );
    ensure!(
        notes
            .lines()
            .filter(|note| note.contains("res_nsearch"))
            .count()
            == 4
            && !notes.contains("pass("),
        "{notes}"
    );
    Ok(())
}

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
    batch,
    pod::{Pod, Recipe},
    recording::Recordings,
    session::Door,
    shop,
    zonefile::Agent,
};
use std::sync::Arc;

const PROBE: &str = "resolver";

/// The shim's doors; the module has none here.
const DOORS: [Door; 2] = [Door::ShimGlibc, Door::ShimMusl];

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
    for door in DOORS {
        let pod = pod(&zone, Recipe::default())?;
        let decided = batch::agree(&pod, PROBE, door, &commands)?;
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
        let decided = batch::agree(&pod, PROBE, door, &commands)?;
        ensure!(decided >= least, "{door:?}: only {decided}");
    }
    Ok(())
}

//! The search list, differentially: whatever resolv.conf and the environment say, a name is walked
//! as the process's own libc walks it.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Result, ensure};
use nss_k8s_tests::{
    differential::{agree, forward_calls},
    pod::{CLUSTER_DNS, Pod, Recipe},
    session::{Door, Session},
    shop,
};

/// resolv.conf in many a shape. All name the cluster DNS alone, unless said otherwise.
fn resolv_confs() -> Vec<(&'static str, String)> {
    const SEARCH: &str = "search shop.svc.cluster.local svc.cluster.local cluster.local";
    let with = |rest: &str| format!("nameserver {CLUSTER_DNS}\n{rest}\n");
    let long: Vec<String> = (0..9)
        .map(|number| format!("a-rather-long-search-entry-{number}.cluster.local"))
        .collect();
    vec![
        ("kubelet's", shop_conf()),
        ("ndots:1", with(&format!("{SEARCH}\noptions ndots:1"))),
        ("ndots:0", with(&format!("{SEARCH}\noptions ndots:0"))),
        (
            "ndots:2, options twice",
            with(&format!("{SEARCH}\noptions ndots:9\noptions ndots:2")),
        ),
        (
            "ndots beyond the cap",
            with(&format!("{SEARCH}\noptions ndots:99")),
        ),
        (
            "options with a stranger",
            with(&format!("{SEARCH}\noptions edns0 whatever:3 ndots:5")),
        ),
        (
            "the node's entry at the end",
            with(&format!("{SEARCH} example.com\noptions ndots:5")),
        ),
        ("no search", with("options ndots:5")),
        (
            "domain",
            with("domain shop.svc.cluster.local\noptions ndots:5"),
        ),
        (
            "the last search counts",
            with(&format!("search example.com\n{SEARCH}\noptions ndots:3")),
        ),
        (
            "no-tld-query",
            with(&format!("{SEARCH}\noptions ndots:5 no-tld-query")),
        ),
        (
            "comments and blanks",
            with(&format!(
                "# one\n; two\n\t\n  {SEARCH}\n{SEARCH}  \t\noptions\tndots:5 "
            )),
        ),
        (
            "capitals and dots",
            with("search Shop.SVC.Cluster.Local. svc.cluster.local.\noptions ndots:5"),
        ),
        (
            "a search line over 255 bytes",
            with(&format!("{SEARCH} {}\noptions ndots:5", long.join(" "))),
        ),
    ]
}

fn shop_conf() -> String {
    nss_k8s_tests::pod::resolv_conf("shop")
}

#[test]
fn every_resolv_conf_is_walked_as_libc_walks_it() -> Result<()> {
    let zone = shop::publish()?;
    let mut errors = Vec::new();
    for (title, resolv_conf) in resolv_confs() {
        let recipe = Recipe {
            resolv_conf,
            ..Recipe::default()
        };
        if let Err(error) = agree(&zone, recipe, &[], &Door::OURS, &forward_calls(), 3) {
            errors.push(format!("resolv.conf: {title}: {error:#}"));
        }
    }
    ensure!(errors.is_empty(), "{}", errors.join("\n"));
    Ok(())
}

/// glibc takes it for the name as it is; musl makes no name of it, and waits out its timeout.
#[test]
fn the_root_as_a_search_entry_is_walked_as_glibc_walks_it() -> Result<()> {
    let zone = shop::publish()?;
    let doors = [Door::Nss, Door::ShimGlibc];
    for search in [
        "search shop.svc.cluster.local .",
        "search . shop.svc.cluster.local",
    ] {
        let resolv_conf = format!("nameserver {CLUSTER_DNS}\n{search}\noptions ndots:5\n");
        let recipe = Recipe {
            resolv_conf,
            ..Recipe::default()
        };
        agree(&zone, recipe, &[], &doors, &forward_calls(), 3)
            .map_err(|error| error.context(search))?;
    }
    Ok(())
}

#[test]
fn the_environment_counts_as_libc_counts_it() -> Result<()> {
    let zone = shop::publish()?;
    let aliases = zone.base().join("aliases");
    std::fs::write(&aliases, "api www.example.com\n")?;
    let aliases = aliases.to_string_lossy().into_owned();
    let mut errors = Vec::new();
    for environment in [
        [("LOCALDOMAIN", "db.svc.cluster.local svc.cluster.local")],
        [("LOCALDOMAIN", "")],
        [("RES_OPTIONS", "ndots:1")],
        [("RES_OPTIONS", "ndots:0 no-tld-query")],
        [("HOSTALIASES", aliases.as_str())],
    ] {
        if let Err(error) = agree(
            &zone,
            Recipe::default(),
            &environment,
            &Door::OURS,
            &forward_calls(),
            3,
        ) {
            errors.push(format!("{environment:?}: {error:#}"));
        }
    }
    ensure!(errors.is_empty(), "{}", errors.join("\n"));
    Ok(())
}

/// In a glibc process either name server is enough to make the zone foreign.
#[test]
fn a_foreign_nameserver_passes() -> Result<()> {
    let zone = shop::publish()?;
    for other in ["192.0.2.53", "::1", "127.0.0.53"] {
        let resolv_conf = format!("{}nameserver {other}\n", shop_conf());
        let pod = Pod::start(Recipe {
            resolv_conf,
            zone: Some(zone.view()),
            dns: Some(shop::script()),
            ..Recipe::default()
        })?;
        for door in Door::OURS {
            let reply = Session::start(&pod, door)?.resolve("api", "INET")?;
            ensure!(
                reply.who() == "pass(foreign)" && reply.summary().starts_with("10.96.1.10"),
                "{door:?} with {other}: {} from {}",
                reply.summary(),
                reply.who()
            );
        }
    }
    Ok(())
}

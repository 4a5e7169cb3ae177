//! The search list and the call's other arguments, differentially: the same call in the same pod,
//! once by libc alone and once through us, must come out the same in every field, whoever answered.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Result, ensure};
use nss_k8s_tests::{
    artifacts,
    pod::{CLUSTER_DNS, Pod, Recipe},
    probe::Libc,
    session::{Door, Session},
    shop,
    zonefile::Agent,
};

/// Names of every sort: short and long, of the zone and not, well-formed and not.
const NAMES: &[&str] = &[
    "api",
    "api.",
    "API",
    "web",
    "six",
    "empty",
    "alias",
    "legacy",
    "nosuch",
    "web.shop",
    "Web.Shop.",
    "kube-dns.kube-system",
    "postgres.db",
    "postgres.db.svc",
    "postgres-0.postgres.db",
    "postgres-0.postgres.db.svc.cluster.local",
    "_http._tcp.api.shop",
    "api.shop.svc.cluster.local",
    "api.shop.svc.cluster.local.",
    "x.nowhere.svc.cluster.local",
    "x.nowhere.svc.cluster.local.",
    "nowhere.svc",
    "cluster.local",
    "svc.cluster.local.",
    "bare",
    "bare.svc",
    "www.example.com",
    "www.example.com.",
    "www",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "shopper",
    "shadowed",
    "SHADOWED",
    "shadowed.alias",
    "shadowed.shop",
    "10.1.2.3",
    "10.1",
    "0x7f.1",
    "1.2.3.4.5",
    "fd00::7",
    "fe80::1%25lo",
    "::ffff:10.0.0.1",
    "a..b",
    "..",
    ".",
    ".api",
    "api..",
    "-api",
    "api-",
    "ap_i",
    "a%20b",
    "%c3%a9",
    "*",
    "*.shop",
    "api%5c.shop",
    "sixty-four-letters-in-one-label-are-one-more-than-any-label-can-have",
];

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

/// A door of ours beside the same libc without us, in one pod.
struct Pair {
    door: Door,
    ours: Session,
    reference: Session,
    /// How many calls the zone decided: a test that never reaches us proves nothing.
    decided: usize,
}

impl Pair {
    fn start(pod: &Pod, door: Door, environment: &[(&str, &str)]) -> Result<Self> {
        let guests = artifacts::guests()?;
        Ok(Self {
            door,
            ours: Session::start_with(pod, door, &guests, environment)?,
            reference: Session::start_with(pod, door.reference(), &guests, environment)?,
            decided: 0,
        })
    }

    /// Both must say the same; what they say otherwise goes to `differences`.
    fn compare(&mut self, call: &str, differences: &mut Vec<String>) -> Result<()> {
        let reference = self.reference.ask(call)?;
        let mut reply = self.ours.ask(call)?;
        // A documented difference: libc lists the owner of a CNAME among the aliases.
        if self.door.libc() == Libc::Glibc && call.starts_with("host") && call.contains(" alias") {
            reply.aliases.clone_from(&reference.aliases);
        }
        let expected = reference.shape();
        // Where libc finds the caller's buffer too small we may do with it, not the other way.
        let needs_less = reference.error.as_deref() == Some("ERANGE")
            && reply.error.as_deref() != Some("ERANGE");
        if reply.shape() != expected && !needs_less {
            differences.push(format!(
                "{:?}: {call} (from {}):\n libc: {expected}\n ours: {}",
                self.door,
                reply.who(),
                reply.shape()
            ));
        }
        self.decided += usize::from(["zone", "nodata", "nxdomain"].contains(&reply.who().as_str()));
        Ok(())
    }
}

/// Runs calls through the given doors in a pod made after `recipe`; at least `decided` of each door's
/// must be decided by the zone.
fn agree(
    zone: &Agent,
    recipe: Recipe,
    environment: &[(&str, &str)],
    doors: &[Door],
    calls: &[String],
    decided: usize,
) -> Result<()> {
    let pod = Pod::start(Recipe {
        hosts: shop::HOSTS.into(),
        zone: Some(zone.view()),
        dns: Some(shop::script()),
        ..recipe
    })?;
    let mut differences = Vec::new();
    for &door in doors {
        let mut pair = Pair::start(&pod, door, environment)?;
        for call in calls {
            pair.compare(call, &mut differences)?;
        }
        if pair.decided < decided {
            differences.push(format!("{door:?}: only {} of them were ours", pair.decided));
        }
    }
    let count = differences.len();
    ensure!(
        count == 0,
        "{count} of {} differ:\n{}",
        calls.len() * doors.len(),
        differences.join("\n")
    );
    Ok(())
}

/// Every name for every family, with the canonical name.
fn forward_calls() -> Vec<String> {
    let mut calls = Vec::new();
    for name in NAMES {
        for family in ["UNSPEC", "INET", "INET6"] {
            calls.push(format!("gai {name} - {family} 1 0 2"));
        }
    }
    calls
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

#[test]
fn every_argument_of_getaddrinfo_means_what_libc_means() -> Result<()> {
    let zone = shop::publish()?;
    let mut calls = Vec::new();
    let names = [
        "api",
        "web",
        "six",
        "alias",
        "postgres.db",
        "empty",
        "x.nowhere.svc.cluster.local.",
        "-",
    ];
    for name in names {
        calls.push(format!("gai {name} 80 null"));
        calls.push(format!("gai {name} - null"));
        for family in ["UNSPEC", "INET", "INET6", "17"] {
            for (socktype, protocol) in [
                (0, 0),
                (1, 0),
                (2, 0),
                (3, 0),
                (1, 6),
                (2, 17),
                (0, 6),
                (0, 17),
                (1, 17),
                (0, 1),
                (5, 0),
                (9, 0),
            ] {
                calls.push(format!("gai {name} 80 {family} {socktype} {protocol} 0"));
                calls.push(format!("gai {name} - {family} {socktype} {protocol} 0"));
            }
            for service in [
                "http", "domain", "nosuch", "65536", "99999", "0", "%2080", "+80", "080", "0x50",
                "-1", "80x", "%20",
            ] {
                calls.push(format!("gai {name} {service} {family} 0 0 0"));
                calls.push(format!("gai {name} {service} {family} 1 0 0x400"));
            }
            for flags in [
                "0x1", "0x2", "0x4", "0x8", "0x10", "0x18", "0x20", "0x28", "0x3a", "0x40", "0xc2",
                "0x400", "0x800", "0x300",
            ] {
                calls.push(format!("gai {name} 443 {family} 1 0 {flags}"));
            }
        }
    }
    agree(&zone, Recipe::default(), &[], &Door::OURS, &calls, 200)
}

#[test]
fn every_hostent_call_means_what_libc_means() -> Result<()> {
    let zone = shop::publish()?;
    let mut calls = Vec::new();
    for name in NAMES {
        calls.push(format!("host {name}"));
        for family in ["INET", "INET6", "17"] {
            calls.push(format!("host2 {name} {family}"));
            for size in [0, 16, 64, 100, 128, 160, 256, 1024, 8192] {
                calls.push(format!("host2r {name} {family} {size}"));
            }
        }
        calls.push(format!("hostr {name} 1024"));
    }
    agree(&zone, Recipe::default(), &[], &Door::OURS, &calls, 20)
}

#[test]
fn reverse_lookup_means_what_libc_means() -> Result<()> {
    let zone = shop::publish()?;
    let mut calls = Vec::new();
    let addresses = [
        "10.96.1.10",
        "fd00:96::11",
        "10.244.1.11",
        "192.0.2.81",
        "192.0.2.13",
        "127.0.0.1",
        "::1",
        "10.244.0.7",
        "192.0.2.200",
        "::ffff:10.96.1.10",
    ];
    for address in addresses {
        calls.push(format!("addr {address}"));
        calls.push(format!("addrr {address} 1024"));
        for flags in ["0", "8", "4", "1"] {
            calls.push(format!("name {address} 80 {flags}"));
        }
    }
    // The shim leaves these calls alone: none of its own is decided by the zone.
    agree(&zone, Recipe::default(), &[], &Door::OURS, &calls, 0)
}

#[test]
fn one_family_alone_narrows_as_libc_narrows() -> Result<()> {
    let zone = shop::publish()?;
    let mut calls = Vec::new();
    for name in ["api", "web", "six", "postgres.db", "localhost"] {
        for family in ["UNSPEC", "INET", "INET6"] {
            for flags in ["0x20", "0x28", "0x22"] {
                calls.push(format!("gai {name} 80 {family} 1 0 {flags}"));
            }
        }
        calls.push(format!("gai {name} 80 null"));
    }
    for families in ["4", "6"] {
        let recipe = Recipe {
            families,
            ..Recipe::default()
        };
        agree(&zone, recipe, &[], &Door::OURS, &calls, 5)
            .map_err(|error| error.context(format!("IPv{families} alone")))?;
    }
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

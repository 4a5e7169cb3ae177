//! Who answers which arguments of `getaddrinfo`: whatever libc would answer for a name of the zone,
//! the zone answers. Left to libc is only what it refuses before it looks a name up, and what
//! nobody has to be asked for.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Result, bail};
use nss_k8s_tests::{
    artifacts,
    libcs::Release,
    pod::{Pod, Recipe},
    probe::Libc,
    reply::Reply,
    session::{Door, Session},
    shop,
};

/// Of both families, of IPv4 alone, of IPv6 alone, several of both, an alias, and three that have
/// nothing. Absolute where a family is missing: for "api" glibc goes on to the root's "api" then,
/// which is not ours to answer.
const NAMES: &[&str] = &[
    "web",
    "api.shop.svc.cluster.local.",
    "six.shop.svc.cluster.local.",
    "postgres.db",
    "alias.shop.svc.cluster.local.",
    "empty.shop.svc.cluster.local.",
    "x.nowhere.svc.cluster.local.",
    "svc.cluster.local.",
];

/// Socket type and protocol: every type with every protocol of the tables, and some that no table has.
const KINDS: &[&str] = &[
    "0 0", "1 0", "2 0", "3 0", "4 0", "5 0", "6 0", "9 0", "1 6", "2 17", "0 6", "0 17", "0 132",
    "0 136", "0 33", "0 262", "0 1", "0 255", "1 132", "5 132", "2 136", "6 33", "1 262", "1 17",
    "2 6", "3 1", "3 6", "3 255", "5 6",
];

/// Everything but AI_NUMERICHOST, alone and together.
const FLAGS: &[&str] = &[
    "0", "0x1", "0x2", "0x8", "0x10", "0x18", "0x20", "0x28", "0x2a", "0x38", "0x3b", "0x40",
    "0xc2", "0x100", "0x200", "0x3e2", "0x400", "0x41a",
];

/// What our note may say of a call, given what libc says.
fn is_allowed(reference: &Reply, who: &str) -> bool {
    match reference.error.as_deref() {
        None => who == "zone",
        Some("EAI_NONAME" | "EAI_NODATA") => {
            // The last: AI_ADDRCONFIG leaves no family, or AI_NUMERICSERV no service.
            [
                "nxdomain",
                "nodata",
                "pass(address-configuration)",
                "pass(service)",
            ]
            .contains(&who)
        }
        Some("EAI_SERVICE" | "EAI_SOCKTYPE") => who == "pass(service)",
        Some("EAI_BADFLAGS") => who == "pass(flags)",
        Some("EAI_FAMILY") => who == "pass(family)",
        Some(_) => false,
    }
}

/// Asks both the same; the differences.
fn compare(pod: &Pod, calls: &[String]) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    let guests = artifacts::guests()?;
    for release in Release::ALL {
        let door = match release.libc() {
            Libc::Glibc => Door::ShimGlibc,
            Libc::Musl => Door::ShimMusl,
        };
        let mut ours = Session::start_under(pod, door, release, &guests, &[])?;
        let mut reference = Session::start_under(pod, door.reference(), release, &guests, &[])?;
        for call in calls {
            let (expected, got) = (reference.ask(call)?, ours.ask(call)?);
            let who = got.who();
            if got.shape() != expected.shape() || !got.errno_untouched && who == "zone" {
                differences.push(format!(
                    "{release:?}: {call} (from {who}):\n libc: {}\n ours: {}",
                    expected.shape(),
                    got.shape()
                ));
            } else if !is_allowed(&expected, &who) {
                differences.push(format!("{release:?}: {call}: {who}, {:?}", expected.error));
            }
        }
    }
    Ok(differences)
}

/// A pod with one or both families, and a server with the same facts.
fn check(families: &'static str, calls: &[String]) -> Result<()> {
    let zone = shop::publish()?;
    let pod = Pod::start(Recipe {
        hosts: shop::HOSTS.into(),
        zone: Some(zone.view()),
        dns: Some(shop::script()),
        families,
        ..Recipe::default()
    })?;
    let differences = compare(&pod, calls)?;
    if !differences.is_empty() {
        bail!(
            "families {families:?}: {} of {} differ:\n{}",
            differences.len(),
            Release::ALL.len() * calls.len(),
            differences.join("\n")
        );
    }
    Ok(())
}

#[test]
fn every_socket_type_and_protocol_is_answered() -> Result<()> {
    let mut calls = Vec::new();
    for name in NAMES {
        for kind in KINDS {
            for service in ["-", "80", "domain", "http"] {
                calls.push(format!("gai {name} {service} UNSPEC {kind} 0x2"));
            }
            calls.push(format!("gai {name} 80 INET {kind} 0"));
        }
    }
    check("46", &calls)
}

#[test]
fn every_flag_of_every_family_is_answered() -> Result<()> {
    let mut calls = Vec::new();
    for name in NAMES {
        for family in ["UNSPEC", "INET", "INET6", "1"] {
            for flags in FLAGS {
                calls.push(format!("gai {name} 443 {family} 1 0 {flags}"));
                calls.push(format!("gai {name} - {family} 0 0 {flags}"));
            }
        }
        calls.push(format!("gai {name} 443 null"));
    }
    for families in ["46", "4", "6", ""] {
        check(families, &calls)?;
    }
    Ok(())
}

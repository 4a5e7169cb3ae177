//! Who answers what: the shop's cases through every door, and the same from libc alone.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Result, ensure};
use nss_k8s_tests::{
    case,
    session::{Door, Session},
    shop::{self, cases},
};

/// The table itself is right: libc with a DNS server that holds the same facts says the same.
#[test]
fn libc_alone_gives_the_same_answers() -> Result<()> {
    let pod = shop::reference_pod()?;
    let table: Vec<_> = cases::IN_ZONE
        .iter()
        .chain(cases::PASSED)
        .copied()
        .collect();
    let mut failures = Vec::new();
    for door in [Door::PlainGlibc, Door::PlainMusl] {
        let mut session = Session::start_with(&pod, door, std::path::Path::new("/"), &[])?;
        failures.extend(case::run(&table, door, &mut session, None));
    }
    case::require_none(&failures, table.len() * 2)
}

/// No server is reachable: whatever is right came out of the zone.
#[test]
fn the_zone_answers_through_every_door() -> Result<()> {
    let zone = shop::publish()?;
    let pod = shop::dark_pod(&zone)?;
    let mut failures = Vec::new();
    for door in Door::OURS {
        let mut session = Session::start(&pod, door)?;
        failures.extend(case::run(cases::IN_ZONE, door, &mut session, None));
    }
    case::require_none(&failures, cases::IN_ZONE.len() * Door::OURS.len())
}

/// With a server that holds the same facts: what is ours asks it nothing, what passes does.
#[test]
fn libc_answers_what_is_passed() -> Result<()> {
    let zone = shop::publish()?;
    let pod = shop::lit_pod(&zone)?;
    let table: Vec<_> = cases::IN_ZONE
        .iter()
        .chain(cases::PASSED)
        .copied()
        .collect();
    let mut failures = Vec::new();
    for door in Door::OURS {
        let mut session = Session::start(&pod, door)?;
        failures.extend(case::run(&table, door, &mut session, Some(pod.dns()?)));
    }
    case::require_none(&failures, table.len() * Door::OURS.len())
}

/// Each call of a program comes in by the door that was made for it.
#[test]
fn every_entry_point_is_reached() -> Result<()> {
    let zone = shop::publish()?;
    let pod = shop::dark_pod(&zone)?;
    let calls = [
        (
            "gai web - UNSPEC 1 0 0",
            "_nss_k8s_gethostbyname4_r",
            "getaddrinfo",
        ),
        (
            "gai web - INET 1 0 2",
            "_nss_k8s_gethostbyname3_r",
            "getaddrinfo",
        ),
        (
            "gai web - INET 1 0 0",
            "_nss_k8s_gethostbyname2_r",
            "getaddrinfo",
        ),
        ("host web", "_nss_k8s_gethostbyname_r", "gethostbyname"),
        (
            "host2 web INET6",
            "_nss_k8s_gethostbyname2_r",
            "gethostbyname2",
        ),
        (
            "hostr web 1024",
            "_nss_k8s_gethostbyname_r",
            "gethostbyname_r",
        ),
        (
            "host2r web INET 1024",
            "_nss_k8s_gethostbyname2_r",
            "gethostbyname2_r",
        ),
        (
            "addr 10.96.1.10",
            "_nss_k8s_gethostbyaddr_r",
            "gethostbyaddr",
        ),
        (
            "addrr 10.96.1.10 1024",
            "_nss_k8s_gethostbyaddr_r",
            "gethostbyaddr_r",
        ),
        (
            "name 10.96.1.10 80 0",
            "_nss_k8s_gethostbyaddr_r",
            "getnameinfo",
        ),
    ];
    for door in Door::OURS {
        let mut session = Session::start(&pod, door)?;
        for (call, module, shim) in calls {
            let wanted = if door == Door::Nss { module } else { shim };
            let reply = session.ask(call)?;
            let mut entered: Vec<_> = reply.notes.iter().map(|note| note.call.as_str()).collect();
            // A reentrant call with too small a buffer is made again.
            entered.dedup();
            let wanted: &[&str] = if wanted.is_empty() { &[] } else { &[wanted] };
            ensure!(entered == wanted, "{door:?} {call}: came in by {entered:?}");
        }
    }
    Ok(())
}

//! Who answers what: the shop's cases through every door, and the same from libc alone.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::Result;
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

//! `conformance/kubernetes.tsv` through every door, with no DNS server reachable; and the rows that
//! depend on the miss policy under the other policy too.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Context, Result, bail, ensure};
use nss_k8s_tests::{
    artifacts,
    pod::{Pod, Recipe},
    probe::Libc,
    session::{Door, Session},
    zonefile::Agent,
};
use std::fs;

/// One line of the table.
struct Row {
    id: String,
    agent: String,
    /// What `lookup` is told.
    call: String,
    /// Sorted, or empty.
    answers: Vec<String>,
    who: String,
}

/// The rows for one way to run the agent.
fn rows(agent: &str) -> Result<Vec<Row>> {
    let text = fs::read_to_string(artifacts::fixture("conformance/kubernetes.tsv"))?;
    let mut rows = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let [id, how, name, kind, answers, who] = line.split('\t').collect::<Vec<_>>()[..] else {
            bail!("not six columns: {line}");
        };
        let call = match kind {
            "A" => format!("gai {name} - INET 1 0 2"),
            "AAAA" => format!("gai {name} - INET6 1 0 2"),
            "PTR" => format!("addr {name}"),
            _ => bail!("{id}: type {kind}"),
        };
        let mut answers: Vec<String> = answers
            .split(' ')
            .filter(|text| *text != "-")
            .map(str::to_owned)
            .collect();
        answers.sort_unstable();
        rows.push(Row {
            id: id.into(),
            agent: how.into(),
            call,
            answers,
            who: who.into(),
        });
    }
    rows.retain(|row| row.agent == agent);
    ensure!(!rows.is_empty(), "no row for {agent}");
    Ok(rows)
}

/// Holds every row of one way to run the agent; `ask` is what the rows that depend on the miss
/// policy must come to.
fn hold(agent: &str, manifests: &str, options: &[&str], ask: &str) -> Result<()> {
    let mut options = options.to_vec();
    options.extend(["--cluster-dns", "10.96.0.10"]);
    let zone = Agent::start(&[&artifacts::fixture(manifests)], &options)?;
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        ..Recipe::default()
    })?;
    let mut differences = Vec::new();
    for door in Door::OURS {
        let mut session = Session::start(&pod, door)?;
        for row in rows(agent)? {
            if let Err(error) = check(&row, door, &mut session, ask) {
                differences.push(format!("{} {door:?} {}: {error:#}", row.id, row.call));
            }
        }
    }
    ensure!(
        differences.is_empty(),
        "{agent}:\n{}",
        differences.join("\n")
    );
    Ok(())
}

fn check(row: &Row, door: Door, session: &mut Session, ask: &str) -> Result<()> {
    let who = match (row.who.as_str(), ask) {
        ("ask-below", "pass(ask-miss)") => "pass(ask-miss-below)",
        ("ask" | "ask-below", _) => ask,
        (who, _) => who,
    };
    let reply = session.ask(&row.call)?;
    ensure!(
        reply.who() == who,
        "expected from {who}, got {} from {}",
        reply.summary(),
        reply.who()
    );
    if who.starts_with("pass") {
        return Ok(());
    }
    let error = match (who, door.libc()) {
        ("zone", _) => None,
        // musl 1.2.3 has one error for both.
        ("nodata", Libc::Glibc) => Some("EAI_NODATA"),
        _ => Some("EAI_NONAME"),
    };
    ensure!(
        reply.error.as_deref() == error,
        "expected {error:?}, got {:?}",
        reply.error
    );
    let is_reverse = row.call.starts_with("addr");
    if is_reverse && door.libc() == Libc::Musl {
        // One name, which is its own only alias.
        let name = reply.name.iter().cloned().collect::<Vec<_>>();
        ensure!(
            name == reply.aliases && name.iter().all(|name| row.answers.contains(name)),
            "expected one of {:?}, got {name:?} with {:?}",
            row.answers,
            reply.aliases
        );
        return Ok(());
    }
    let mut got: Vec<String> = if is_reverse {
        reply.name.iter().chain(&reply.aliases).cloned().collect()
    } else {
        reply
            .entries
            .iter()
            .map(|entry| entry.address.clone())
            .collect()
    };
    got.sort_unstable();
    ensure!(
        got == row.answers,
        "expected {:?}, got {got:?}",
        row.answers
    );
    Ok(())
}

#[test]
fn rows_of_the_specification() -> Result<()> {
    let options = ["--miss-policy", "nxdomain", "--pods", "insecure"];
    hold("default", "conformance/default.yaml", &options, "nxdomain")
}

#[test]
fn rows_that_a_mesh_may_answer() -> Result<()> {
    let options = ["--miss-policy", "ask", "--pods", "insecure"];
    hold(
        "default",
        "conformance/default.yaml",
        &options,
        "pass(ask-miss)",
    )
}

#[test]
fn rows_without_pod_names() -> Result<()> {
    hold(
        "pods-disabled",
        "conformance/default.yaml",
        &["--pods", "disabled"],
        "nxdomain",
    )
}

#[test]
fn rows_of_endpoints_below_cluster_addresses() -> Result<()> {
    hold(
        "all",
        "conformance/default.yaml",
        &["--endpoint-slices=all"],
        "nxdomain",
    )
}

#[test]
fn rows_of_reverse_lookup() -> Result<()> {
    hold(
        "reverse",
        "conformance/reverse.yaml",
        &["--endpoint-slices=all"],
        "nxdomain",
    )
}

/// Without all slices an endpoint below a cluster address is not held, and then it is never denied.
#[test]
fn an_endpoint_that_is_not_held_is_not_denied() -> Result<()> {
    let options = ["--cluster-dns", "10.96.0.10", "--miss-policy", "nxdomain"];
    let zone = Agent::start(&[&artifacts::fixture("conformance/default.yaml")], &options)?;
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        ..Recipe::default()
    })?;
    for door in Door::OURS {
        let reply = Session::start(&pod, door)?
            .ask("gai ep1a.svc1.testns.svc.cluster.local. - INET 1 0 2")
            .with_context(|| format!("{door:?}"))?;
        ensure!(
            reply.who() == "pass(ask-not-held)",
            "{door:?}: {}",
            reply.who()
        );
    }
    Ok(())
}

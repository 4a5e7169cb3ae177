//! What an operator does on the node, seen from the processes of its pods.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    pod::Pod,
    session::{Door, Session},
    shop,
    zonefile::{self, Agent},
};
use std::fs;

/// One warm session per door.
fn sessions(pod: &Pod) -> Result<Vec<(Door, Session)>> {
    Door::OURS
        .into_iter()
        .map(|door| Ok((door, Session::start(pod, door)?)))
        .collect()
}

/// The next lookup of every process gets its answer from `who`; and it is an answer.
fn require_all(sessions: &mut [(Door, Session)], who: &str) -> Result<()> {
    for (door, session) in sessions {
        let reply = session.resolve("api", "INET")?;
        ensure!(
            reply.who() == who && reply.summary() == "10.96.1.10 = api.shop.svc.cluster.local",
            "{door:?}: expected {who}, got {} from {}",
            reply.summary(),
            reply.who()
        );
    }
    Ok(())
}

/// Runs a subcommand that must succeed.
fn call(agent: &Agent, command: &str) -> Result<()> {
    let output = agent.call(&[command])?;
    ensure!(output.status.success(), "{command}: {output:?}");
    Ok(())
}

/// `disable` has worked when it returns: no process answers from the zone any more.
#[test]
fn the_kill_switch_reaches_every_process_at_once() -> Result<()> {
    let agent = shop::publish()?;
    let pod = shop::lit_pod(&agent)?;
    let mut sessions = sessions(&pod)?;
    require_all(&mut sessions, "zone")?;
    for _ in 0..3 {
        call(&agent, "disable")?;
        require_all(&mut sessions, "pass(zone-disabled)")?;
        call(&agent, "enable")?;
        require_all(&mut sessions, "zone")?;
    }
    Ok(())
}

/// Neither a restart of the agent nor its absence undoes the switch.
#[test]
fn the_kill_switch_outlives_the_agent() -> Result<()> {
    let agent = shop::publish()?;
    let pod = shop::lit_pod(&agent)?;
    let mut sessions = sessions(&pod)?;
    require_all(&mut sessions, "zone")?;
    call(&agent, "disable")?;
    let root = agent.end(libc::SIGKILL)?;
    require_all(&mut sessions, "pass(zone-disabled)")?;
    let agent = Agent::start_switched_off_in(root, &[])?;
    require_all(&mut sessions, "pass(zone-disabled)")?;
    call(&agent, "enable")?;
    require_all(&mut sessions, "zone")?;
    // Without an agent the command writes the switch itself.
    let root = agent.end(libc::SIGTERM)?;
    let path = root.path().join("base");
    for (command, who) in [("disable", "pass(zone-disabled)"), ("enable", "zone")] {
        let output = zonefile::command(&path, &[command])?;
        ensure!(
            output.status.success(),
            "{command} without an agent: {output:?}"
        );
        require_all(&mut sessions, who)?;
    }
    Ok(())
}

/// `query` says what a process of that namespace and libc gets, and who gives it.
#[test]
fn query_agrees_with_the_processes() -> Result<()> {
    const NAMES: [&str; 16] = [
        "api",
        "API.shop",
        "web",
        "six",
        "alias",
        "empty.shop.svc.cluster.local.",
        "legacy",
        "nosuch",
        "www.example.com",
        "postgres.db",
        "postgres-1.postgres.db",
        "bare.svc.cluster.local.",
        "x.nowhere.svc.cluster.local",
        "api.nowhere.svc.cluster.local.",
        "cluster.local.",
        "10-244-1-13.postgres.db",
    ];
    let agent = shop::publish()?;
    let pod = shop::dark_pod(&agent)?;
    for (door, libc) in [(Door::ShimGlibc, "glibc"), (Door::ShimMusl, "musl")] {
        let mut session = Session::start(&pod, door)?;
        for name in NAMES {
            let arguments = [
                "query",
                name,
                "--namespace",
                "shop",
                "--libc",
                libc,
                "--json",
            ];
            let output = agent.call(&arguments)?;
            let said: serde_json::Value =
                serde_json::from_slice(&output.stdout).with_context(|| format!("{output:?}"))?;
            let who = match (said["verdict"].as_str(), said["reason"].as_str()) {
                (Some("answer"), _) => "zone".to_owned(),
                (Some(verdict), None) => verdict.to_owned(),
                (_, Some(reason)) => format!("pass({reason})"),
                other => anyhow::bail!("{name}: {other:?}"),
            };
            let reply = session.resolve(name, "UNSPEC")?;
            ensure!(
                reply.who() == who,
                "{libc} {name}: query says {who}, got {}",
                reply.who()
            );
            if who == "zone" {
                let records: Vec<String> = serde_json::from_value(said["records"].clone())?;
                let canonical = said["canonical"].as_str().context("canonical")?;
                let wanted = format!("{} = {canonical}", records.join(" "));
                let got = reply.summary();
                ensure!(
                    got == wanted,
                    "{libc} {name}: query says {wanted}, got {got}"
                );
            }
        }
    }
    Ok(())
}

/// Whoever damages the table of classes, or takes it away, finds it written again by the agent that
/// runs.
#[test]
fn a_damaged_table_is_written_again() -> Result<()> {
    let agent = shop::publish()?;
    let path = agent.base().join("private/classes");
    let whole = fs::read(&path)?;
    let is_whole = || Ok(fs::read(&path).is_ok_and(|text| text == whole));
    for damage in ["{\"classes\"", ""] {
        fs::write(&path, damage)?;
        zonefile::wait(is_whole)?;
    }
    fs::remove_file(&path)?;
    zonefile::wait(is_whole)
}

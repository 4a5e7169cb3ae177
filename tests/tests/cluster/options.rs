//! Switches of the agent that change what is watched or answered.

use crate::{
    agent::{Agent, Directory, tool},
    control_plane::{Process, shared},
    doors::{Doors, Expected},
    objects::Namespace,
};
use Expected::{Pass, Zone};
use anyhow::{Result, ensure};
use nss_k8s_tests::{artifacts, audit, session::Door};
use serde_json::json;
use std::process::Command;

/// Endpoint names below a ClusterIP service, and the reverse of endpoints: DNS's to answer by
/// default, held with `--endpoint-slices=all`, which takes one watch of slices instead of two.
#[test]
fn all_slices_give_the_endpoints_of_cluster_ip_services() -> Result<()> {
    let plane = shared();
    let space = Namespace::create(&plane.administrator, "slices")?;
    space.service("web", json!({"selector": {"app": "web"}}))?;
    space.pod("web-0", "web", &["10.244.5.1"])?;
    let directory = Directory::create()?;
    let mut doors = Doors::open(&directory, "slices")?;
    let name = space.fqdn("web-0.web");
    let absolute = format!("{name}.");

    let agent = Agent::start(&plane, &directory, &["--external=off"])?;
    doors.expect(&absolute, Pass("ask-not-held"))?;
    ensure!(agent.stop()?.success(), "an orderly stop is a success");

    let before = audit::requests(&plane.audit_log())?.len();
    let agent = Agent::start(&plane, &directory, &["--endpoint-slices=all"])?;
    doors.expect(&absolute, Zone(&["10.244.5.1"], &name))?;
    let reply = doors.session(Door::Nss)?.ask("addr 10.244.5.1")?;
    ensure!(
        reply.who() == "zone" && reply.name.as_deref() == Some(&name),
        "reverse: {reply:?}"
    );
    let selected = audit::requests(&plane.audit_log())?
        .split_off(before)
        .into_iter()
        .find(|one| one.uri.contains("labelSelector"));
    ensure!(selected.is_none(), "slices were selected: {selected:?}");
    ensure!(agent.stop()?.success(), "an orderly stop is a success");
    Ok(())
}

/// The kill switch takes every warm process back to its libc, and returns it; the commands that
/// explain the zone see what processes see.
#[test]
fn kill_switch_reaches_warm_processes() -> Result<()> {
    let plane = shared();
    let space = Namespace::create(&plane.administrator, "switch")?;
    let address = space.service("api", json!({}))?;
    let name = space.fqdn("api");
    let directory = Directory::create()?;
    let agent = Agent::start(&plane, &directory, &[])?;
    let mut doors = Doors::open(&directory, "switch")?;
    doors.expect("api", Zone(&[&address[0]], &name))?;

    tool(&directory, &["disable"])?;
    doors.expect("api", Pass("zone-disabled"))?;
    ensure!(
        tool(&directory, &["status"]).is_err(),
        "a disabled zone is not live"
    );
    tool(&directory, &["enable"])?;
    doors.expect("api", Zone(&[&address[0]], &name))?;

    tool(&directory, &["status"])?;
    let text = tool(&directory, &["query", "api", "--namespace", "switch"])?;
    ensure!(text.contains(&address[0]), "query: {text}");
    let dump = tool(&directory, &["dump"])?;
    ensure!(dump.contains(&address[0]), "dump: {dump}");
    ensure!(agent.stop()?.success(), "an orderly stop is a success");
    Ok(())
}

/// One directory, one agent: a second one says so and ends, and the first is not disturbed.
#[test]
fn second_agent_on_a_directory_is_refused() -> Result<()> {
    let plane = shared();
    let directory = Directory::create()?;
    let mut first = Agent::start(&plane, &directory, &[])?;
    let mut command = Command::new(artifacts::agent()?);
    command
        .arg("agent")
        .arg("--kubeconfig")
        .arg(plane.agent_kubeconfig())
        .arg("--dir")
        .arg(directory.path())
        .arg("--listen=off");
    let mut second = Process::start(&mut command, plane.log("second-agent"))?;
    let status = second.wait()?;
    ensure!(status.code() == Some(1), "the second agent: {status}");
    let words = second.last_words();
    let place = directory.path().to_string_lossy().into_owned();
    ensure!(words.contains(&place), "it names the directory: {words}");
    ensure!(first.runs()?, "the first agent ended");
    first.wait_until_ready()?;
    ensure!(first.stop()?.success(), "an orderly stop is a success");
    Ok(())
}

//! What processes see while the agent or the API server is away, and what is caught up afterwards.

use crate::{
    agent::{Agent, Directory, STRICT},
    control_plane::{shared, until},
    doors::{Doors, Expected, Steady},
    objects::Namespace,
};
use Expected::{NxDomain, Zone};
use anyhow::{Result, ensure};
use nss_k8s_tests::audit;
use serde_json::json;
use std::{
    env,
    time::{Duration, Instant},
};

/// An orderly restart: answers go on, and the new agent catches up with what happened meanwhile.
#[test]
fn agent_restart_is_not_seen() -> Result<()> {
    away("restarted", |agent| {
        let status = agent.stop()?;
        ensure!(status.success(), "SIGTERM: {status}");
        Ok(())
    })
}

/// The same after SIGKILL.
#[test]
fn agent_kill_is_not_seen() -> Result<()> {
    away("killed", Agent::kill)
}

/// Ends an agent by `end`, changes the cluster, starts another on the same directory.
fn away(name: &str, end: impl FnOnce(Agent) -> Result<()>) -> Result<()> {
    let plane = shared();
    let space = Namespace::create(&plane.administrator, name)?;
    let directory = Directory::create()?;
    let agent = Agent::start(&plane, &directory, &[STRICT])?;
    let mut doors = Doors::open(&directory, name)?;
    let (kept, gone) = (
        space.service("kept", json!({}))?,
        space.service("gone", json!({}))?,
    );
    let (kept_name, gone_name, new_name) =
        (space.fqdn("kept"), space.fqdn("gone"), space.fqdn("new"));
    doors.expect(&kept_name, Zone(&[&kept[0]], &kept_name))?;
    doors.expect(&gone_name, Zone(&[&gone[0]], &gone_name))?;

    let steady = doors.watch(&kept_name, &[&kept[0]])?;
    end(agent)?;
    // Nobody publishes: the last state stands, also for processes that start now.
    space.delete_service("gone")?;
    let new = space.service("new", json!({}))?;
    let mut late = Doors::open(&directory, name)?;
    late.expect(&kept_name, Zone(&[&kept[0]], &kept_name))?;
    late.expect(&gone_name, Zone(&[&gone[0]], &gone_name))?;
    late.expect(&new_name, NxDomain)?;
    more(&steady)?;

    let before = audit::requests(&plane.audit_log())?.len();
    let agent = Agent::start(&plane, &directory, &[STRICT])?;
    for doors in [&mut doors, &mut late] {
        doors.expect(&new_name, Zone(&[&new[0]], &new_name))?;
        doors.expect(&gone_name, NxDomain)?;
    }
    let asked = audit::requests(&plane.audit_log())?.split_off(before);
    let listed = asked.iter().find(|one| one.is_list());
    ensure!(
        listed.is_none(),
        "it goes on from what the agent before it kept: {listed:?}"
    );
    ensure!(
        asked.iter().any(|one| one.verb == "watch"),
        "the watches are in the audit log"
    );
    more(&steady)?;
    let asked = steady.stop()?;
    println!("faults: agent {name}: {asked} answers, none wrong");
    ensure!(agent.stop()?.success(), "an orderly stop is a success");
    Ok(())
}

/// How long the API server is away: longer than a process would believe an agent that is dead,
/// with the options of the test (the age is spread up to twice [`DEAD`]).
const OUTAGE: Duration = Duration::from_secs(11);
/// Ages after which processes stop to believe an agent that does not beat.
const DEAD: [&str; 2] = ["--stale-after=4", "--dead-after=5"];

/// The API server crashes and comes back: as long as the agent lives, positive and negative
/// answers go on meanwhile, then changes arrive again.
#[test]
fn api_server_restart_is_not_seen() -> Result<()> {
    let mut plane = shared();
    let directory = Directory::create()?;
    let mut agent = Agent::start(&plane, &directory, &[STRICT, DEAD[0], DEAD[1]])?;
    let mut doors = Doors::open(&directory, "outage")?;
    let (kept, kept_name) = {
        let space = Namespace::create(&plane.administrator, "outage")?;
        (space.service("kept", json!({}))?, space.fqdn("kept"))
    };
    doors.expect(&kept_name, Zone(&[&kept[0]], &kept_name))?;

    let steady = doors.watch(&kept_name, &[&kept[0]])?;
    plane.crash_server()?;
    let began = Instant::now();
    until("the outage to last", || {
        Ok((began.elapsed() > OUTAGE).then_some(()))
    })?;
    doors.expect_now("nothing.outage.svc.cluster.local", NxDomain)?;
    more(&steady)?;
    ensure!(agent.runs()?, "the agent ended with the API server");
    let before = audit::requests(&plane.audit_log())?.len();
    plane.restart_server()?;
    let new = plane.administrator.create(
        "/api/v1/namespaces/outage/services",
        &json!({"metadata": {"name": "new"}, "spec": {"ports": [{"port": 80}]}}),
    )?;
    let new_address = new["spec"]["clusterIP"].as_str().unwrap_or_default();
    let made = Instant::now();
    doors.expect("new", Zone(&[new_address], "new.outage.svc.cluster.local"))?;
    let late = made.elapsed().as_millis();
    println!("faults: the first news after the outage, {late} ms after it was made");
    let asked = steady.stop()?;
    ensure!(
        agent.runs()?,
        "the agent ended after the API server came back"
    );
    if env::var("NSS_K8S_CLUSTER_LISTS")? == "paged" {
        let tried = audit::requests(&plane.audit_log())?
            .split_off(before)
            .into_iter()
            .find(audit::Request::is_streaming_list);
        ensure!(
            tried.is_none(),
            "the fall back to pages is for good: {tried:?}"
        );
    }
    println!("faults: API server restart: {asked} answers, none wrong");
    ensure!(agent.stop()?.success(), "an orderly stop is a success");
    Ok(())
}

/// The history that the agent's watches would need is gone (410): it lists again and finds both
/// what came and what went.
#[test]
fn compacted_history_is_listed_again() -> Result<()> {
    let mut plane = shared();
    let directory = Directory::create()?;
    let mut agent = Agent::start(&plane, &directory, &[STRICT])?;
    let mut doors = Doors::open(&directory, "compacted")?;
    let names = ["kept", "gone", "new"].map(|name| format!("{name}.compacted.svc.cluster.local"));
    let [kept_name, gone_name, new_name] = names.each_ref().map(String::as_str);
    let (kept, gone) = {
        let space = Namespace::create(&plane.administrator, "compacted")?;
        (
            space.service("kept", json!({}))?,
            space.service("gone", json!({}))?,
        )
    };
    doors.expect(kept_name, Zone(&[&kept[0]], kept_name))?;
    doors.expect(gone_name, Zone(&[&gone[0]], gone_name))?;

    let steady = doors.watch(kept_name, &[&kept[0]])?;
    // What follows happens behind the agent's back: it is frozen, its connections are cut, and by
    // the time it runs again the server is another and has forgotten.
    agent.freeze()?;
    plane.crash_server()?;
    plane.restart_server()?;
    let collection = "/api/v1/namespaces/compacted/services";
    plane.administrator.delete(&format!("{collection}/gone"))?;
    let object = json!({"metadata": {"name": "new"}, "spec": {"ports": [{"port": 80}]}});
    let new = plane.administrator.create(collection, &object)?;
    let new_address = new["spec"]["clusterIP"].as_str().unwrap_or_default();
    plane.crash_server()?;
    let revision = plane.compact()?;
    plane.restart_server()?;
    let before = audit::requests(&plane.audit_log())?.len();
    agent.thaw()?;

    doors.expect(new_name, Zone(&[new_address], new_name))?;
    doors.expect(gone_name, NxDomain)?;
    // It did list again: resuming its watches could not have told it.
    until("a new list of the services", || {
        let asked = audit::requests(&plane.audit_log())?.split_off(before);
        let listed = asked
            .iter()
            .any(|one| one.resource == "/services" && one.is_list() && one.status == 200);
        Ok(listed.then_some(()))
    })?;
    let asked = steady.stop()?;
    ensure!(agent.runs()?, "the agent ended");
    println!("faults: history before {revision} gone: {asked} answers, none wrong");
    ensure!(agent.stop()?.success(), "an orderly stop is a success");
    Ok(())
}

/// Waits until a hundred more replies have come.
fn more(steady: &Steady) -> Result<()> {
    let enough = steady.asked() + 100;
    until("more replies", || {
        Ok((steady.asked() >= enough).then_some(()))
    })
}

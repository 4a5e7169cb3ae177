//! From a change at the API server to the answer in a process: measured and printed.

use crate::{
    agent::{Agent, Directory},
    control_plane::{shared, until_within},
    doors::{Doors, Expected},
    objects::{Namespace, headless},
};
use anyhow::{Result, ensure};
use nss_k8s_tests::session::{Door, Session};
use serde_json::json;
use std::time::{Duration, Instant};

/// How often each change is made.
const TIMES: u8 = 50;
/// ClusterLoader2's gate for DNS programming is 10 s; on one machine much less must do.
const MEDIAN_AT_MOST: Duration = Duration::from_secs(1);

/// A hand-made slice's new address (API server and agent), and a pod turning ready (the endpoint
/// slice controller in between too).
#[test]
fn changes_reach_processes_quickly() -> Result<()> {
    let plane = shared();
    let space = Namespace::create(&plane.administrator, "clock")?;
    let directory = Directory::create()?;
    let agent = Agent::start(&plane, &directory, &[])?;
    let mut doors = Doors::open(&directory, "clock")?;
    let (tick, tock) = (space.fqdn("tick"), space.fqdn("tock"));

    space.service("tick", json!({"clusterIP": "None"}))?;
    space.slice("tick-1", "tick", "IPv4", &["192.0.2.1"])?;
    doors.expect(&tick, Expected::Zone(&["192.0.2.1"], &tick))?;
    let session = doors.session(Door::ShimGlibc)?;
    let mut slices = Vec::new();
    for round in 0..TIMES {
        let address = format!("198.51.100.{round}");
        let began = Instant::now();
        space.change_slice("tick-1", &[&address])?;
        slices.push(seen_after(session, &tick, &address, true, began)?);
    }
    report("slice patched -> answer in the process", &mut slices)?;

    space.service("tock", headless("tock"))?;
    space.pod("tock-0", "tock", &["10.244.3.1"])?;
    space.pod("tock-1", "tock", &["10.244.3.2"])?;
    doors.expect(&tock, Expected::Zone(&["10.244.3.1", "10.244.3.2"], &tock))?;
    let session = doors.session(Door::ShimGlibc)?;
    let (mut unready, mut ready) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        for (state, times) in [(false, &mut unready), (true, &mut ready)] {
            let began = Instant::now();
            space.set_ready("tock-1", state)?;
            times.push(seen_after(session, &tock, "10.244.3.2", state, began)?);
        }
    }
    report("pod turned unready -> gone from the answer", &mut unready)?;
    report("pod turned ready -> answer in the process", &mut ready)?;
    ensure!(agent.stop()?.success(), "an orderly stop is a success");
    Ok(())
}

/// The time from `began` until `address` is, or is not, in the answer. The patch is answered by the
/// API server first, which is part of the time.
fn seen_after(
    session: &mut Session,
    name: &str,
    address: &str,
    present: bool,
    began: Instant,
) -> Result<Duration> {
    until_within(Duration::from_secs(30), "a change to be seen", || {
        let reply = session.resolve(name, "INET")?;
        let there = reply.entries.iter().any(|entry| entry.address == address);
        Ok((there == present && reply.who() == "zone").then(|| began.elapsed()))
    })
}

fn report(what: &str, times: &mut [Duration]) -> Result<()> {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!(
        "latency: {what}: p50 {:.1?}, p90 {:.1?}, p99 {:.1?}, max {:.1?} ({} times, looked every ms)",
        at(50),
        at(90),
        at(99),
        at(100),
        times.len()
    );
    ensure!(
        at(50) <= MEDIAN_AT_MOST,
        "{what}: {:?} in the median",
        at(50)
    );
    Ok(())
}

//! One publisher after the other, and two at once.

use super::*;
use std::time::{Duration, Instant};

const LEASE: [&str; 2] = ["--lease", "nss-k8s/publish"];
const LEADS: &str = "nss_k8s_fanout_leading";

#[test]
fn the_next_publisher_writes_differences_only() {
    let rig = Rig::new("");
    let publisher = rig.publisher("p", &[]);
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    publisher.end(libc::SIGKILL);
    rig.api.put(SERVICES, service("a", "10.0.0.9"));
    rig.api.delete(SLICES, "db-by.hand");
    let publisher = rig.publisher("q", &[]);
    rig.wait_for("a", "10.0.0.9");
    rig.wait_for("db", "10.0.1.1");
    assert_eq!(publisher.figure("nss_k8s_fanout_published_total"), 2.0);
    assert_eq!(agent.figure(REPLAYS), 1.0);
    assert_eq!(rig.asked(), 0);
}

#[test]
fn a_publisher_that_lists_again_writes_differences_only() {
    let rig = Rig::new("");
    let publisher = rig.publisher("p", &[]);
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    {
        let mut script = rig.api.script();
        script.gone = Some(SERVICES);
        script.take(SERVICES, "a");
        script.replace(SERVICES, service("b", "10.0.0.2"));
        script.disconnect();
    }
    rig.wait_for("b", "10.0.0.2");
    rig.wait_for("a", "pass(ask-miss)");
    assert_eq!(
        publisher.figure("nss_k8s_fanout_published_total"),
        5.0 + 2.0
    );
    assert_eq!(agent.figure(REPLAYS), 1.0);
    assert_eq!(rig.asked(), 0);
}

#[test]
fn one_of_two_leads_and_the_other_takes_over() {
    let rig = Rig::new("");
    let first = rig.candidate("p", &LEASE);
    first.wait_for_figure(LEADS, 1.0);
    let second = rig.candidate("q", &LEASE);
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    assert_eq!(second.figure(LEADS), 0.0);
    // One that is told to stop lets go of the Lease.
    first.end(libc::SIGTERM);
    second.wait_for_figure(LEADS, 1.0);
    rig.api.put(SERVICES, service("a", "10.0.0.8"));
    rig.wait_for("a", "10.0.0.8");
    // One that is killed does not: it takes as long as the Lease lasts.
    let third = rig.candidate("r", &LEASE);
    third.address();
    let killed = Instant::now();
    second.end(libc::SIGKILL);
    rig.api.put(SERVICES, service("a", "10.0.0.9"));
    let deadline = killed + Duration::from_secs(40);
    while third.figure(LEADS) != 1.0 {
        assert!(Instant::now() < deadline, "nobody took over");
        std::thread::sleep(Duration::from_millis(100));
    }
    rig.wait_for("a", "10.0.0.9");
    let lease = rig.api.script().lease.clone().unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "r");
    assert_eq!(lease["spec"]["leaseTransitions"], 2);
}

/// Without a Lease, against all advice: each is right about what it writes.
#[test]
fn two_that_lead_do_no_harm() {
    let rig = Rig::new("");
    let _first = rig.publisher("p", &[]);
    let _second = rig.publisher("q", &[]);
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    for number in 1..=20 {
        let address = format!("10.0.2.{number}");
        rig.api.put(SERVICES, service("a", &address));
        rig.wait_for("a", &address);
    }
    rig.api.delete(SERVICES, "a");
    rig.wait_for("a", "pass(ask-miss)");
    assert_eq!(rig.place.query("db"), "10.0.1.1\n10.0.1.2");
}

/// All of a bucket goes away, as with memory storage: it is made and filled again.
#[test]
fn a_bucket_that_is_lost_is_filled_again() {
    let rig = Rig::new("");
    let _publisher = rig.publisher("p", &[]);
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    rig.nats.delete();
    rig.api.put(SERVICES, service("a", "10.0.0.9"));
    rig.wait_for("a", "10.0.0.9");
    agent.wait_for_figure(FROM_BUCKET, 1.0);
    assert_eq!(agent.figure(REPLAYS), 2.0, "of another bucket");
}

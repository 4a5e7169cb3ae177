//! What `fixtures/odd.yaml` has, answered as CoreDNS answers it: by every entry point and as messages.

use crate::{
    agent::{Agent, Directory},
    control_plane::{shared, until},
    coredns, live, messages,
};
use anyhow::{Result, ensure};
use nss_k8s_tests::{corpus::Room, wire::kind};

/// Names below `odd.svc.cluster.local`.
const NAMES: &[&str] = &[
    "ports",
    "twin.ports",
    "10-244-8-3.ports",
    "10-244-8-4.ports",
    "10-244-8-1.ports",
    "_one._tcp.ports",
    "_two._udp.ports",
    "_two._tcp.ports",
    "portless",
    "10-244-8-10.portless",
    "unready",
    "up.unready",
    "down.unready",
    "sixes",
    "fd00-244-8--0.sixes",
    "fd00-244-8--1.sixes",
    "fd00-244-8-0-1--0.sixes",
    "fd00-244-8--.sixes",
    "_sql._tcp.sixes",
    "turned",
    "_a._tcp.turned",
    "_c._sctp.turned",
    "a.tcp.turned",
    "single",
    "__udp.single",
    "_._udp.single",
    "_._tcp.turned",
    "_a._.turned",
    "_._.turned",
    "_._tcp.ports",
    "_one._.ports",
    "_._.ports",
    "__a._tcp.turned",
    "_a.__tcp.turned",
    "_._tcp.first",
    "_._.twin.ports",
    "_A._TCP.Turned",
    "first",
    "second",
    "dotted",
    "outward",
    "circle-a",
    "self",
    "nowhere",
    "members",
    "apart",
    "literal",
    "pod",
    "sub.first",
    "_a._tcp.first",
];
/// Addresses of endpoints.
const ADDRESSES: &[&str] = &[
    "10.244.8.1",
    "10.244.8.2",
    "10.244.8.3",
    "10.244.8.4",
    "10.244.8.10",
    "10.244.8.20",
    "10.244.8.21",
    "fd00:244:8::",
    "fd00:244:8::1",
    "fd00:244:8:0:1::",
];

#[test]
fn odd_objects_are_answered_as_coredns_answers_them() -> Result<()> {
    let plane = shared();
    let coredns = coredns::shared(&plane)?;
    plane.apply("fixtures/odd.yaml")?;
    until("CoreDNS to have the odd objects", || {
        let mut connection = coredns.connect()?;
        let mut held = |name: &str, kind, count| -> Result<bool> {
            let name = format!("{name}.odd.svc.cluster.local");
            Ok(connection.ask(&name, kind)?.sections[0].len() == count)
        };
        // The last Service and the last slice: a watch brings them in their order.
        let all = held("pod", kind::CNAME, 1)? && held("sixes", kind::AAAA, 3)?;
        Ok(all.then_some(()))
    })?;
    let directory = Directory::create()?;
    let agent = Agent::start(&plane, &directory, &[])?;

    let names = NAMES
        .iter()
        .map(|name| format!("{name}.odd.svc.cluster.local"));
    let names: Vec<String> = names.collect();
    let mut questions = Vec::new();
    let mut calls = Vec::new();
    for name in &names {
        for kind in [
            kind::A,
            kind::AAAA,
            kind::SRV,
            kind::CNAME,
            kind::TXT,
            kind::PTR,
            kind::ANY,
        ] {
            questions.push((name.clone(), kind));
        }
        for family in ["UNSPEC", "INET", "INET6"] {
            calls.push(format!("gai {name} - {family} 1 0 2"));
        }
        calls.push(format!("gai {name} - INET6 1 0 0x1a"));
        calls.push(format!("host {name}."));
        calls.push(format!("host2 {name}. INET6"));
    }
    calls.extend(ADDRESSES.iter().map(|address| format!("addr {address}")));
    let (rig, asked) = live::rig(&directory, coredns)?;
    let report = rig.run(&[Room::made_up("odd", calls)])?;
    live::say("odd objects", &report, &asked);
    report.require(50)?;
    let twice = Some("ports.odd.svc.cluster.local");
    messages::compare(&directory, coredns, &questions, 100, twice)?;
    ensure!(agent.stop()?.success(), "an orderly stop is a success");
    Ok(())
}

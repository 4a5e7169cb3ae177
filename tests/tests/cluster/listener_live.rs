//! The agent's DNS listener beside the real CoreDNS, on the same objects, now.

use crate::{
    agent::{Agent, Directory},
    control_plane::{shared, until},
    coredns,
};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    recording::{self, Recording},
    served::{self, Client},
    wire::kind,
};
use std::{collections::BTreeSet, net::SocketAddr};

/// Where CoreDNS is, and where we listen.
const COREDNS: &str = "10.244.0.10";
const LISTENER: ([u8; 4], u16) = ([127, 0, 0, 1], 5353);
/// Types beyond those of the corpus: MX, DNAME, DS, TLSA, a private one, and numbers of questions.
const MORE_TYPES: [u16; 10] = [15, 39, 43, 52, 65_280, 0, 41, 249, 250, 253];

/// Every question of the corpus and some more: the same response code, flags and sections over every
/// transport, but for the documented differences.
#[test]
fn answers_are_those_of_coredns() -> Result<()> {
    let plane = shared();
    let directory = Directory::create()?;
    let coredns = coredns::shared(&plane)?;
    let config = directory.path().join("config.yaml");
    std::fs::write(
        &config,
        format!(
            "kubernetes: {{miss_policy: nxdomain, endpoint_slices: all}}\n\
             listen: {{addresses: [127.0.0.1], port: {}}}\n\
             forward: {{groups: [{{zones: ['.'], upstreams: [{{address: {COREDNS}}}]}}]}}\n",
            LISTENER.1
        ),
    )?;
    let config = format!("--config={}", config.display());
    let agent = Agent::start(&plane, &directory, &[&config])?;
    let address = SocketAddr::from(LISTENER);
    let mut tcp = until("the listener", || Ok(Client::connect(address).ok()))?;
    let udp = Client::datagrams(address)?;
    let mut theirs = coredns.connect()?;

    let mut questions = recording::questions()?;
    for kind in MORE_TYPES {
        for name in ["api.shop.svc.cluster.local", "x.nowhere.svc.cluster.local"] {
            questions.push((name.to_owned(), kind));
        }
    }
    for name in [
        "www.example.com",
        "four.example.com",
        "nosuch.example.com",
        "alias.example.com",
    ] {
        for kind in [kind::A, kind::AAAA, kind::TXT, kind::SOA] {
            questions.push((name.to_owned(), kind));
        }
    }
    for name in [
        "legacy.shop.svc.cluster.local",
        "alias.shop.svc.cluster.local",
    ] {
        questions.push((name.to_owned(), kind::A));
    }

    let mut differences = Vec::new();
    let mut used = BTreeSet::new();
    for (at, (name, kind)) in questions.iter().enumerate() {
        // CoreDNS knows its own name only as it is configured (docs/COMPATIBILITY.md).
        let own = name.ends_with("ns.dns.cluster.local") || name == "cluster.local";
        let spelled = if at % 3 == 0 && !own {
            name.to_uppercase()
        } else {
            name.clone()
        };
        let expected = theirs.exchange(&recording::query(5, &spelled, *kind))?;
        let flags = u16::from_be_bytes([expected[2], expected[3]]);
        let expected = Recording::from_message(&expected)?;
        for client in [&mut tcp, &mut udp.plain(), &mut udp.extended(4096)] {
            let answer = client
                .ask(&spelled, *kind)
                .with_context(|| format!("{name} {}", kind::to_text(*kind)))?;
            match served::compare(&answer, &expected) {
                Ok(Some(difference)) => {
                    used.insert(difference);
                    continue;
                }
                Ok(None) => {}
                Err(error) => {
                    differences.push(format!("{client:?}: {error:#}"));
                    continue;
                }
            }
            let ours = u16::from_be_bytes([answer[2], answer[3]]);
            if ours != flags {
                differences.push(format!(
                    "{client:?}: {expected}: flags {ours:04x}, not {flags:04x}"
                ));
            }
        }
    }
    println!(
        "the listener beside CoreDNS: {} questions, three ways",
        questions.len()
    );
    ensure!(
        differences.is_empty(),
        "{} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
    ensure!(
        used.iter().copied().eq(served::DIFFERENCES.iter().copied()),
        "{used:?}"
    );

    // What is not answered with records: by the first four octets.
    let good = recording::query(0x1234, "api.shop.svc.cluster.local", kind::A);
    let with = |at: usize, octet: u8| {
        let mut message = good.clone();
        message[at] = octet;
        message
    };
    let last = good.len() - 1;
    for message in [
        with(2, 0x29),
        with(5, 0),
        with(5, 2),
        with(last - 2, 252),
        with(last - 2, 251),
        good[..last].to_vec(),
    ] {
        let expected = coredns.datagram(&message)?;
        let answer = udp.plain().exchange(&message)?;
        ensure!(
            answer[..4] == expected[..4],
            "{message:02x?}: {:02x?}, CoreDNS {:02x?}",
            &answer[..4],
            &expected[..4]
        );
    }
    ensure!(agent.stop()?.success(), "an orderly stop is a success");
    Ok(())
}

//! Large answers in buffers of a fixed size: one in which libc finds room for what DNS says must do
//! for what the zone says. Many programs have such a buffer, and take "too small" for "not found".
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Result, ensure};
use nss_k8s_tests::{
    dns::Script,
    pod::{Pod, Recipe},
    session::{Door, Session},
    writer::Published,
};
use nss_k8s_zone::Address;
use std::net::Ipv4Addr;

/// Numbers of endpoints, and of octets for an answer.
const COUNTS: [u32; 4] = [60, 200, 400, 900];
const SIZES: [u32; 3] = [2048, 8192, 16_384];

#[test]
fn a_buffer_that_does_for_dns_does_for_us() -> Result<()> {
    let mut zone = Published::live()?;
    let mut script = Script::default();
    for count in COUNTS {
        let all: Vec<_> = (1..=count)
            .map(|number| Ipv4Addr::from_bits(0x0af4_0000 + number))
            .collect();
        let texts: Vec<_> = all.iter().map(Ipv4Addr::to_string).collect();
        let texts: Vec<_> = texts.iter().map(String::as_str).collect();
        script = script.addresses(&format!("crowd{count}.shop.svc.cluster.local"), &texts);
        let all: Vec<_> = all.iter().map(|one| Address::v4(one.octets())).collect();
        zone.put_headless(&format!("crowd{count}"), &all)?;
    }
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        dns: Some(script),
        ..Recipe::default()
    })?;
    let mut plain = Session::start(&pod, Door::PlainGlibc)?;
    let mut found = 0;
    for door in [Door::ShimGlibc, Door::Nss] {
        let mut ours = Session::start(&pod, door)?;
        for count in COUNTS {
            for size in SIZES {
                for verb in [
                    format!("hostr crowd{count} {size}"),
                    format!("host2r crowd{count} INET {size}"),
                ] {
                    let (expected, got) = (plain.ask(&verb)?, ours.ask(&verb)?);
                    ensure!(got.who() == "zone", "{door:?} {verb}: {}", got.who());
                    ensure!(
                        got.error == expected.error
                            && got.addresses.len() == expected.addresses.len(),
                        "{door:?} {verb}: {:?} and {} addresses, DNS says {:?} and {}",
                        got.error,
                        got.addresses.len(),
                        expected.error,
                        expected.addresses.len()
                    );
                    found += usize::from(got.addresses.len() == count as usize);
                }
            }
        }
    }
    // Some fit, some do not.
    ensure!(found == 2 * 2 * (3 + 2 + 2 + 1), "{found} complete answers");
    Ok(())
}

//! What the pod's files say about who answers, and the order of answers.

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    pod::{Pod, Recipe},
    reply::NOBODY,
    session::{Door, Session},
    shop,
    zonefile::Agent,
};
use std::collections::HashSet;

#[test]
fn the_hosts_file_wins() -> Result<()> {
    let zone = shop::publish()?;
    let pod = shop::lit_pod(&zone)?;
    for door in Door::OURS {
        let mut session = Session::start(&pod, door)?;
        for name in ["shadowed", "shadowed.alias"] {
            let reply = session.resolve(name, "INET")?;
            // Under NSS the module is not even called.
            let who = if door == Door::Nss { NOBODY } else { "hosts" };
            ensure!(
                reply.summary() == "192.0.2.13 = shadowed" && reply.who() == who,
                "{door:?} {name}: {} from {}",
                reply.summary(),
                reply.who()
            );
        }
        // Only the exact name is shadowed.
        let reply = session.resolve("shadowed.shop", "INET")?;
        ensure!(
            reply.summary().starts_with("10.96.1.13 ") && reply.who() == "zone",
            "{door:?}"
        );
    }
    Ok(())
}

/// nsswitch.conf decides what libc would ask: forms that cannot be placed pass under the shim.
#[test]
fn the_hosts_line_is_obeyed() -> Result<()> {
    let zone = shop::publish()?;
    for (line, who) in [
        ("hosts: files dns\n", "zone"),
        ("hosts: files k8s dns\n", "zone"),
        ("hosts:files k8s [!UNAVAIL=return] dns # ours\n", "zone"),
        ("passwd: files\n", "zone"),
        ("hosts: files\n", "pass(nsswitch)"),
        ("hosts: files myhostname dns\n", "pass(nsswitch)"),
    ] {
        let pod = Pod::start(Recipe {
            nsswitch: line.into(),
            zone: Some(zone.view()),
            dns: Some(shop::script()),
            ..Recipe::default()
        })?;
        let reply = Session::start(&pod, Door::ShimGlibc)?.resolve("api", "INET")?;
        let reference = Session::start(&pod, Door::PlainGlibc)?.resolve("api", "INET")?;
        ensure!(
            reply.who() == who && reply.shape() == reference.shape(),
            "{line:?}: {} from {}, libc alone {}",
            reply.summary(),
            reply.who(),
            reference.summary()
        );
        // musl has no nsswitch.conf.
        let reply = Session::start(&pod, Door::ShimMusl)?.resolve("api", "INET")?;
        ensure!(reply.who() == "zone", "{line:?} musl: {}", reply.who());
    }
    Ok(())
}

/// The order of a headless answer changes from lookup to lookup, as a DNS server's does: clients
/// that take the first address spread over all.
#[test]
fn addresses_are_shuffled() -> Result<()> {
    let zone: Agent = shop::publish()?;
    let pod = shop::dark_pod(&zone)?;
    for door in [Door::ShimGlibc, Door::ShimMusl] {
        let mut session = Session::start(&pod, door)?;
        let mut first = HashSet::new();
        for _ in 0..200 {
            let reply = session.resolve("postgres.db", "INET")?;
            first.insert(reply.entries.first().context("empty")?.address.clone());
        }
        ensure!(first.len() == 3, "{door:?}: only ever {first:?} came first");
    }
    Ok(())
}

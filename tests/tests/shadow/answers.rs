//! Who answers, and what the comparison comes to.

use crate::world::{
    FAILED, LATELY, OTHER_ADDRESSES, OTHER_STATUS, PASSED, PASSED_ON, SAME, SHIMS, explain,
    in_shadow, pod, pod_of, require, script, zone,
};
use anyhow::{Context, Result, ensure};
use nss_k8s_stub::shadow::SETTLES_AFTER;
use nss_k8s_tests::{
    artifacts,
    libcs::Release,
    probe::Libc,
    session::{Door, Session},
    writer,
};

/// What a server that agrees and one that lies come to, at every function.
#[test]
fn every_answer_is_libcs_and_is_compared() -> Result<()> {
    let rows: [(&str, &str); 34] = [
        ("gai api - UNSPEC 1 0 0", SAME),
        ("gai api - UNSPEC 0 0 0", SAME),
        ("gai api 80 null 0 0 0", SAME),
        ("gai API.Shop - INET 1 0 2", SAME),
        ("gai web - UNSPEC 0 0 0", SAME),
        ("gai web.shop.svc.cluster.local. - INET6 1 0 0", SAME),
        ("gai six - UNSPEC 1 0 0", SAME),
        ("gai six.shop.svc.cluster.local. - INET 1 0 0", SAME),
        // AI_V4MAPPED, alone and with AI_ALL.
        ("gai api.shop.svc.cluster.local. - INET6 1 0 8", SAME),
        ("gai web - INET6 1 0 24", SAME),
        (
            "gai nothing.nowhere.svc.cluster.local. - UNSPEC 1 0 0",
            SAME,
        ),
        ("gai many - UNSPEC 0 0 0", SAME),
        ("gai crowd - INET 1 0 0", SAME),
        ("gai localhost - UNSPEC 1 0 0", SAME),
        ("gai shopper - INET 1 0 0", SAME),
        ("gai near - UNSPEC 1 0 0", OTHER_ADDRESSES),
        ("gai moved - UNSPEC 1 0 0", OTHER_ADDRESSES),
        ("gai grown - UNSPEC 1 0 0", OTHER_ADDRESSES),
        ("gai shrunk - UNSPEC 1 0 0", OTHER_ADDRESSES),
        ("gai shrunk - INET 1 0 0", SAME),
        ("gai shrunk - INET6 1 0 0", OTHER_STATUS),
        ("gai gone - UNSPEC 1 0 0", OTHER_STATUS),
        (
            "gai extra.nowhere.svc.cluster.local. - INET 1 0 0",
            OTHER_STATUS,
        ),
        ("gai failing - UNSPEC 1 0 0", FAILED),
        ("gai silent.shop.svc.cluster.local. - INET 1 0 0", FAILED),
        // After the timeout glibc goes on and says that there is no such name.
        ("gai silent - INET 1 0 0", FAILED),
        // Nobody is asked for what the zone does not know: it is passed.
        ("gai www.example.com - INET 1 0 0", PASSED),
        ("gai absent - INET 1 0 0", PASSED),
        ("host api", SAME),
        ("host moved", OTHER_ADDRESSES),
        ("host gone", OTHER_STATUS),
        ("host2 web INET6", SAME),
        ("hostr many 4096", SAME),
        ("host2r gone INET 512", OTHER_STATUS),
    ];
    // More than 512 octets, for which musl asks over TCP since 1.2.4.
    let is_large = |command: &str| {
        command.contains("many") || command.contains("crowd") || command.contains("near")
    };
    let zone = zone(SETTLES_AFTER + 60)?;
    for release in Release::ALL {
        let door = match release.libc() {
            Libc::Glibc => Door::ShimGlibc,
            Libc::Musl => Door::ShimMusl,
        };
        let pod = pod(&zone, script())?;
        let guests = artifacts::guests()?;
        let mut ours = Session::start_under(&pod, door, release, &guests, &[])?;
        let mut reference = Session::start_under(&pod, door.reference(), release, &guests, &[])?;
        let failures: Vec<String> = rows
            .iter()
            .filter_map(|(command, verdict)| {
                let truncated = release == Release::Musl123 && is_large(command);
                let verdict = if truncated { OTHER_STATUS } else { verdict };
                let checked = require(&mut ours, &mut reference, command, verdict);
                checked.err().map(|error| format!("{error:#}"))
            })
            .collect();
        ensure!(failures.is_empty(), "{release:?}:\n{}", failures.join("\n"));
    }
    Ok(())
}

/// A difference just after a change of the zone may be what a cache before the server still holds.
#[test]
fn differences_after_a_change_are_counted_apart() -> Result<()> {
    let zone = zone(SETTLES_AFTER - 10)?;
    for door in SHIMS {
        let pod = pod(&zone, script())?;
        let mut ours = Session::start(&pod, door)?;
        let mut reference = Session::start(&pod, door.reference())?;
        for (command, verdict) in [
            ("gai api - UNSPEC 1 0 0", SAME),
            ("gai moved - UNSPEC 1 0 0", LATELY),
            ("gai gone - UNSPEC 1 0 0", LATELY),
        ] {
            require(&mut ours, &mut reference, command, verdict)
                .with_context(|| format!("{door:?}"))?;
        }
        let (status, text) = explain(&ours.id().to_string())?;
        ensure!(
            status == 0 && text.contains("same 1,") && text.contains("different-lately 2,"),
            "{status}: {text}"
        );
    }
    Ok(())
}

/// The switch works on the next lookup, both ways; what is not compared is libc's.
#[test]
fn shadow_begins_and_ends_with_the_next_lookup() -> Result<()> {
    for door in Door::OURS {
        let mut zone = zone(SETTLES_AFTER + 60)?;
        let pod = pod_of(
            &zone,
            script().pointer("10.96.1.10", "moved.example.com"),
            door,
        )?;
        let mut session = Session::start(&pod, door)?;
        let compared = if door == Door::Nss { PASSED_ON } else { SAME };
        // libc's address, which is another than the zone's.
        let libcs = "10.96.9.13";
        let asked = |session: &mut Session| session.resolve("moved", "INET");
        let reply = asked(&mut session)?;
        ensure!(reply.summary().starts_with(libcs), "{door:?}: {reply:?}");
        let reply = session.resolve("api", "INET")?;
        ensure!(reply.who() == compared, "{door:?}: {reply:?}");
        let reply = session.ask("addr 10.96.1.10")?;
        ensure!(
            reply.who() == PASSED_ON && reply.name.as_deref() == Some("moved.example.com"),
            "{door:?}: {reply:?}"
        );
        zone.writer.configure(&writer::config()?)?;
        let reply = asked(&mut session)?;
        ensure!(
            reply.who() == "zone" && reply.summary().starts_with("10.96.1.13"),
            "{door:?}: {reply:?}"
        );
        // What is passed now is passed without a comparison.
        let reply = session.resolve("www.example.com", "INET")?;
        ensure!(reply.who() == "pass(external)", "{door:?}: {reply:?}");
        let reply = session.resolve("www.example.com", "INET")?;
        ensure!(reply.who() == "pass(external)", "{door:?}: {reply:?}");
        in_shadow(&mut zone, SETTLES_AFTER + 60)?;
        let reply = asked(&mut session)?;
        ensure!(reply.summary().starts_with(libcs), "{door:?}: {reply:?}");
    }
    Ok(())
}

/// A library that always passes says nothing of shadow: these tests would fail with it.
#[test]
fn a_library_that_always_passes_compares_nothing() -> Result<()> {
    let zone = zone(SETTLES_AFTER + 60)?;
    let pod = pod(&zone, script())?;
    let mut session = Session::start_with(
        &pod,
        Door::ShimGlibc,
        &artifacts::guests()?,
        &[("NSS_K8S_DISABLE", "1")],
    )?;
    let reply = session.resolve("api", "UNSPEC")?;
    ensure!(reply.who() == "pass(disabled)", "{reply:?}");
    let (status, text) = explain(&session.id().to_string())?;
    ensure!(status == 3 && text.contains("same 0,"), "{status}: {text}");
    Ok(())
}

//! One warm process while the zone changes under it: there is no private answer cache, so the very
//! next lookup after a store sees what was stored.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Result, ensure};
use nss_k8s_tests::{
    dns::Script,
    pod::{self, Pod, Recipe},
    reply::{NOBODY, Reply},
    session::{Door, Session},
    writer::{self, Published},
    zonefile,
};
use nss_k8s_zone::{Address, Config};
use std::net::Ipv4Addr;

/// What DNS says where the zone says something else: proof of who answered.
const FROM_DNS: &str = "192.0.2.99";

/// A pod whose DNS server has its own idea of `api`, and one session per door.
fn rooms(zone: &Published) -> Result<(Pod, Vec<(Door, Session)>)> {
    let dns = Script::default().addresses("api.shop.svc.cluster.local", &[FROM_DNS]);
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        dns: Some(dns),
        ..Recipe::default()
    })?;
    let sessions = Door::OURS
        .into_iter()
        .map(|door| Ok((door, Session::start(&pod, door)?)))
        .collect::<Result<_>>()?;
    Ok((pod, sessions))
}

/// Asks for `name` and requires the addresses and the giver.
fn require(session: &mut Session, name: &str, addresses: &str, who: &str) -> Result<Reply> {
    let reply = session.resolve(name, "INET")?;
    let summary = reply.summary();
    let got = summary.split(" = ").next().unwrap_or_default();
    ensure!(
        got == addresses && reply.who() == who,
        "{name}: expected {addresses} from {who}, got {got} from {}",
        reply.who()
    );
    Ok(reply)
}

/// Requires of every door, naming it when it fails.
fn require_all(
    sessions: &mut [(Door, Session)],
    name: &str,
    addresses: &str,
    who: &str,
) -> Result<()> {
    for (door, session) in sessions {
        require(session, name, addresses, who)
            .map_err(|error| error.context(format!("{door:?}")))?;
    }
    Ok(())
}

#[test]
fn the_next_lookup_sees_a_new_address() -> Result<()> {
    let mut zone = Published::live()?;
    let (_pod, mut sessions) = rooms(&zone)?;
    for round in 1..=200_u8 {
        let address = Ipv4Addr::new(10, 96, 7, round).to_string();
        zone.put("api", &[&address])?;
        require_all(&mut sessions, "api", &address, "zone")?;
    }
    Ok(())
}

#[test]
fn the_next_lookup_sees_a_service_and_a_namespace_come_and_go() -> Result<()> {
    let mut zone = Published::live()?;
    zone.writer.configure(&Config {
        miss_policy: nss_k8s_zone::MissPolicy::NxDomain,
        ..writer::config()?
    })?;
    let (_pod, mut sessions) = rooms(&zone)?;
    let name = "late.shop.svc.cluster.local.";
    for round in 1..=20_u8 {
        let address = Ipv4Addr::new(10, 96, 8, round).to_string();
        require_all(&mut sessions, name, "EAI_NONAME", "nxdomain")?;
        zone.put("late", &[&address])?;
        require_all(&mut sessions, name, &address, "zone")?;
        zone.delete("late")?;
    }
    let name = "late.svc.cluster.local.";
    require_all(&mut sessions, name, "EAI_NONAME", "nxdomain")?;
    zone.writer.put_namespace("late")?;
    for (door, session) in &mut sessions {
        let reply = session.resolve(name, "INET")?;
        ensure!(reply.who() == "nodata", "{door:?}: {reply:?}");
    }
    zone.writer.delete_namespace("late")?;
    require_all(&mut sessions, name, "EAI_NONAME", "nxdomain")
}

#[test]
fn the_kill_switches_work_on_the_next_lookup() -> Result<()> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.1"])?;
    let (_pod, mut sessions) = rooms(&zone)?;
    require_all(&mut sessions, "api", "10.96.1.1", "zone")?;
    zone.writer.disable();
    require_all(&mut sessions, "api", FROM_DNS, "pass(zone-disabled)")?;
    zone.writer.enable();
    require_all(&mut sessions, "api", "10.96.1.1", "zone")?;
    // Every process belongs to a share of a thousand thousandths.
    zone.writer.configure(&Config {
        disabled_permille: 1000,
        ..writer::config()?
    })?;
    require_all(&mut sessions, "api", FROM_DNS, "pass(disabled)")?;
    let refused_builds = vec![nss_k8s_stub::BUILD];
    zone.writer.configure(&Config {
        refused_builds,
        ..writer::config()?
    })?;
    require_all(&mut sessions, "api", FROM_DNS, "pass(disabled)")?;
    let refused_builds = vec![nss_k8s_stub::BUILD + 1];
    zone.writer.configure(&Config {
        refused_builds,
        ..writer::config()?
    })?;
    require_all(&mut sessions, "api", "10.96.1.1", "zone")
}

/// A name without dots takes a short way once it is known whose namespace it is in: every fact that
/// was found out for that must be found out anew when the configuration changes.
#[test]
fn the_short_way_ends_with_the_configuration() -> Result<()> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.1"])?;
    let (pod, mut sessions) = rooms(&zone)?;
    let own = writer::config()?;
    for _ in 0..3 {
        require_all(&mut sessions, "api", "10.96.1.1", "zone")?;
        // Another zone's servers.
        zone.writer.configure(&Config {
            cluster_dns: vec![Address::v4([10, 96, 0, 11])],
            ..own.clone()
        })?;
        require_all(&mut sessions, "api", FROM_DNS, "pass(foreign)")?;
        zone.writer.configure(&own)?;
        require_all(&mut sessions, "api", "10.96.1.1", "zone")?;
        zone.writer.configure(&Config {
            excepted_suffixes: vec!["shop.svc.cluster.local".into()],
            ..own.clone()
        })?;
        require_all(&mut sessions, "api", FROM_DNS, "pass(ask-excepted)")?;
        zone.writer.configure(&own)?;
    }
    // And with resolv.conf: another namespace first.
    require_all(&mut sessions, "api", "10.96.1.1", "zone")?;
    zone.writer.put_namespace("other")?;
    pod.replace("resolv.conf", &pod::resolv_conf("other"))?;
    for (door, session) in &mut sessions {
        zonefile::wait(|| Ok(session.resolve("api", "INET")?.who() == "pass(ask-miss)"))
            .map_err(|error| error.context(format!("{door:?}: another namespace")))?;
    }
    Ok(())
}

#[test]
fn a_superseded_file_is_left_for_the_new_one() -> Result<()> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.1"])?;
    let (_pod, mut sessions) = rooms(&zone)?;
    require_all(&mut sessions, "api", "10.96.1.1", "zone")?;
    for round in 2..=10_u8 {
        let address = Ipv4Addr::new(10, 96, 1, round).to_string();
        zone.writer.replace()?;
        zone.put("api", &[&address])?;
        // A process looks for a new inode at most once a second, and asks DNS meanwhile; what it
        // may not do is to answer from the old file.
        for (door, session) in &mut sessions {
            zonefile::wait(|| {
                let reply = session.resolve("api", "INET")?;
                let old = reply.who() == "zone" && !reply.summary().starts_with(&address);
                ensure!(
                    !old,
                    "{door:?}: answered from the old file: {}",
                    reply.summary()
                );
                Ok(reply.who() == "zone")
            })?;
        }
    }
    Ok(())
}

#[test]
fn a_file_that_grows_is_followed() -> Result<()> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.1"])?;
    let (_pod, mut sessions) = rooms(&zone)?;
    require_all(&mut sessions, "api", "10.96.1.1", "zone")?;
    let before = zone.writer.statistics().bytes;
    for number in 0..20_000_u32 {
        let address = Ipv4Addr::from(0x0a80_0000 + number).to_string();
        zone.put(&format!("service-{number}"), &[&address])?;
    }
    let after = zone.writer.statistics().bytes;
    ensure!(after > before, "the file did not grow: nothing was tested");
    require_all(&mut sessions, "service-19999.shop", "10.128.78.31", "zone")?;
    require_all(&mut sessions, "service-0", "10.128.0.0", "zone")?;
    require_all(&mut sessions, "api", "10.96.1.1", "zone")
}

#[test]
fn a_stale_zone_serves_hits_and_a_dead_one_nothing() -> Result<()> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.1"])?;
    let (_pod, mut sessions) = rooms(&zone)?;
    let absent = "api.nowhere.svc.cluster.local.";
    require_all(&mut sessions, absent, "EAI_NONAME", "nxdomain")?;
    zone.writer.beat(writer::ago(60));
    require_all(&mut sessions, "api", "10.96.1.1", "zone")?;
    require_all(&mut sessions, absent, "EAI_NONAME", "pass(ask-stale)")?;
    zone.writer.beat(writer::ago(3600));
    require_all(&mut sessions, "api", FROM_DNS, "pass(zone-dead)")?;
    zone.writer.beat(writer::now());
    require_all(&mut sessions, "api", "10.96.1.1", "zone")?;
    // The age of the watch's proof is no reason to leave the zone.
    zone.writer.mark_synced(writer::ago(86_400));
    require_all(&mut sessions, absent, "EAI_NONAME", "nxdomain")
}

#[test]
fn a_zone_that_is_not_synced_yet_passes_until_it_is() -> Result<()> {
    let mut zone = Published::syncing()?;
    zone.put("api", &["10.96.1.1"])?;
    let (_pod, mut sessions) = rooms(&zone)?;
    require_all(&mut sessions, "api", FROM_DNS, "pass(zone-syncing)")?;
    zone.writer.set_synced(writer::now());
    for (_, session) in &mut sessions {
        zonefile::wait(|| Ok(session.resolve("api", "INET")?.who() == "zone"))?;
    }
    require_all(&mut sessions, "api", "10.96.1.1", "zone")
}

/// Also the proof that nothing is held: no descriptor stays open in the process.
#[test]
fn a_warm_process_holds_no_descriptor_and_keeps_errno() -> Result<()> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.1"])?;
    let (_pod, mut sessions) = rooms(&zone)?;
    for (door, session) in &mut sessions {
        let before = session.ask("descriptors")?.addresses;
        for _ in 0..50 {
            let reply = require(session, "api", "10.96.1.1", "zone")?;
            // glibc itself may leave something there on the way to a module.
            ensure!(
                reply.errno_untouched || *door == Door::Nss,
                "{door:?}: errno changed"
            );
        }
        let after = session.ask("descriptors")?.addresses;
        ensure!(
            before == after,
            "{door:?}: {before:?} descriptors became {after:?}"
        );
    }
    Ok(())
}

/// The files that kubelet rewrites under a running process are seen within a second or so.
#[test]
fn changed_files_are_read_again() -> Result<()> {
    let mut zone = Published::live()?;
    zone.put("api", &["10.96.1.1"])?;
    let (pod, mut sessions) = rooms(&zone)?;
    require_all(&mut sessions, "api", "10.96.1.1", "zone")?;
    let own = pod::resolv_conf("shop");
    pod.replace("resolv.conf", &format!("{own}nameserver 192.0.2.53\n"))?;
    for (door, session) in &mut sessions {
        zonefile::wait(|| Ok(session.resolve("api", "INET")?.who() == "pass(foreign)"))
            .map_err(|error| error.context(format!("{door:?}: a foreign name server")))?;
    }
    pod.replace("resolv.conf", &own)?;
    for (_, session) in &mut sessions {
        zonefile::wait(|| Ok(session.resolve("api", "INET")?.who() == "zone"))?;
    }
    pod.replace("hosts", "127.0.0.1 localhost\n192.0.2.7 api\n")?;
    for (door, session) in &mut sessions {
        zonefile::wait(|| Ok(session.resolve("api", "INET")?.summary() == "192.0.2.7 = api"))
            .map_err(|error| error.context(format!("{door:?}: the hosts file")))?;
    }
    pod.replace("hosts", "127.0.0.1 localhost\n")?;
    pod.replace("nsswitch.conf", "hosts: files\n")?;
    for (door, session) in &mut sessions {
        let who = match door {
            // glibc reads the file itself, and musl has none.
            Door::Nss => NOBODY,
            Door::ShimGlibc => "pass(nsswitch)",
            _ => "zone",
        };
        zonefile::wait(|| Ok(session.resolve("api", "INET")?.who() == who))
            .map_err(|error| error.context(format!("{door:?}: nsswitch.conf")))?;
    }
    Ok(())
}

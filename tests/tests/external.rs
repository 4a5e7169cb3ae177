//! Names outside the zone, asked by the process itself (class `pod`): the packets that leave the pod,
//! counted by a router and by the server behind it.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts,
    dns::{Server, Tcp},
    outside::{self, ADDRESSES, NAME},
    pod::{CLUSTER_DNS, POD_ADDRESSES, Pod, Recipe},
    probe,
    routed::{Packets, Routed},
    session::{Door, Session},
    shop,
    wire::kind,
};
use std::{collections::BTreeSet, fs, net::SocketAddr, path::Path};

/// How often a name is looked up where something must not happen each time.
const TIMES: usize = 30;

/// A pod for one door, behind a router.
fn routed(view: &Path, door: Door, tcp: Tcp) -> Result<Routed> {
    let recipe = outside::recipe(view.into(), door, shop::world().over_tcp(tcp));
    Routed::start(Recipe {
        // The first packet waits for addresses of the link, on a busy machine for long.
        resolv_conf: recipe.resolv_conf.replace("timeout:1", "timeout:4"),
        ..recipe
    })
}

/// The reference: what kubelet's resolv.conf costs without us.
#[test]
fn libc_alone_sends_every_candidate() -> Result<()> {
    let (_zone, view) = outside::zone()?;
    for door in [Door::PlainGlibc, Door::PlainMusl] {
        let routed = routed(&view, door, Tcp::Serves)?;
        let mut session = Session::start_with(&routed.pod, door, Path::new("/"), &[])?;
        routed.take_packets()?;
        let reply = session.resolve(NAME, "UNSPEC")?;
        ensure!(reply.summary().starts_with(ADDRESSES), "{}", reply.shape());
        let wanted = Packets {
            udp: 8,
            ..Packets::default()
        };
        let packets = routed.take_packets()?;
        ensure!(packets == wanted, "{door:?}: {packets:?}");
    }
    Ok(())
}

/// One name with ndots 5 and three cluster suffixes: two DNS messages, over TCP, from the pod's own
/// address, and no other packet.
#[test]
fn a_name_outside_costs_two_messages() -> Result<()> {
    let (_zone, view) = outside::zone()?;
    for door in Door::OURS {
        let routed = routed(&view, door, Tcp::Serves)?;
        let mut session = Session::start(&routed.pod, door)?;
        for warmth in ["cold", "warm"] {
            routed.server().take_log();
            routed.take_packets()?;
            let reply = session.resolve(NAME, "UNSPEC")?;
            let packets = routed.take_packets()?;
            let log = routed.server().take_log();
            ensure!(
                reply.summary().starts_with(ADDRESSES) && reply.who() == "upstream",
                "{door:?} {warmth}: {} from {}",
                reply.summary(),
                reply.who()
            );
            ensure!(
                log.iter().all(|one| one.tcp
                    && one.name == NAME
                    && one.from.ip().to_string() == POD_ADDRESSES[0]),
                "{door:?} {warmth}: {log:?}"
            );
            let kinds: Vec<u16> = log.iter().map(|one| one.kind).collect();
            ensure!(
                kinds == [kind::A, kind::AAAA] || kinds == [kind::AAAA, kind::A],
                "{door:?} {warmth}: {log:?}"
            );
            // Not on one connection: a server may serve that strictly in series.
            let from: BTreeSet<SocketAddr> = log.iter().map(|one| one.from).collect();
            ensure!(from.len() == 2, "{door:?} {warmth}: {log:?}");
            ensure!(
                packets.connects == 2 && packets.udp == 0 && packets.other == 0,
                "{door:?} {warmth}: {packets:?}"
            );
        }
        // One family, one message.
        let reply = session.resolve(NAME, "INET6")?;
        let (packets, log) = (routed.take_packets()?, routed.server().take_log());
        ensure!(
            reply.who() == "upstream" && log.len() == 1 && packets.connects == 1,
            "{door:?}: {} from {}: {log:?}, {packets:?}",
            reply.summary(),
            reply.who()
        );
        // What is in the zone sends nothing at all.
        let reply = session.resolve("api", "UNSPEC")?;
        ensure!(reply.who() == "zone", "{door:?}: {}", reply.who());
        let packets = routed.take_packets()?;
        ensure!(packets == Packets::default(), "{door:?}: {packets:?}");
    }
    Ok(())
}

/// A network policy that denies everything denies what we send, too; the zone needs no packet.
#[test]
fn a_default_deny_pod_resolves_nothing_outside() -> Result<()> {
    let (_zone, view) = outside::zone()?;
    outside::at_every_door(|door| {
        // Who waits in vain waits for a second.
        let routed = Routed::start(outside::recipe(view.clone(), door, shop::world()))?;
        routed.filter("drop")?;
        let plain = door.reference();
        let alone =
            Session::start_with(&routed.pod, plain, Path::new("/"), &[])?.resolve(NAME, "INET")?;
        let mut session = Session::start(&routed.pod, door)?;
        let reply = session.resolve(NAME, "INET")?;
        ensure!(
            reply.error.is_some() && reply.shape() == alone.shape(),
            "{} from {}, libc alone: {}",
            reply.shape(),
            reply.who(),
            alone.shape()
        );
        ensure!(reply.who().starts_with("pass("), "{}", reply.who());
        ensure!(
            routed.server().take_log().is_empty(),
            "the server was asked"
        );
        let reply = session.resolve("api", "INET")?;
        ensure!(reply.who() == "zone", "{}", reply.who());
        Ok(())
    })
}

/// Where TCP to the server fails, libc answers over UDP, and we try again only after a minute.
#[test]
fn a_server_without_tcp_is_tried_once_a_minute() -> Result<()> {
    let (_zone, view) = outside::zone()?;
    for (rule, tcp) in [
        ("tcp dport 53 drop", Tcp::Serves),
        ("tcp dport 53 reject with tcp reset", Tcp::Serves),
        ("tcp dport 53 reject", Tcp::Serves),
        ("", Tcp::Absent),
        ("", Tcp::Mute),
        ("", Tcp::Full),
        ("", Tcp::Resets),
    ] {
        outside::at_every_door(|door| {
            let routed = routed(&view, door, tcp)?;
            routed.filter(rule)?;
            let mut session = Session::start(&routed.pod, door)?;
            for time in 0..TIMES {
                let reply = session.resolve(NAME, "UNSPEC")?;
                ensure!(
                    reply.summary().starts_with(ADDRESSES) && reply.who().starts_with("pass("),
                    "time {time}: {} from {}",
                    reply.summary(),
                    reply.who()
                );
            }
            let packets = routed.take_packets()?;
            // Two connections, each tried once.
            ensure!((1..=2).contains(&packets.connects), "{packets:?}");
            let log = routed.server().take_log();
            ensure!(log.iter().all(|one| !one.tcp), "{log:?}");
            Ok(())
        })
        .with_context(|| format!("{rule:?} {tcp:?}"))?;
    }
    Ok(())
}

/// Thousands of lookups from a pod with few ports: none fails or goes another way, no connection
/// lingers, and the router tracks no more of them than there are ports.
#[test]
fn connections_exhaust_no_ports() -> Result<()> {
    const PORTS: u64 = 200;
    const LOOKUPS: u64 = 5000;
    let (_zone, view) = outside::zone()?;
    for door in [Door::ShimGlibc, Door::ShimMusl] {
        let routed = routed(&view, door, Tcp::Serves)?;
        routed.pod.namespaces().with_network(|| {
            let range = format!("40000 {}", 40_000 + PORTS - 1);
            Ok(fs::write("/proc/sys/net/ipv4/ip_local_port_range", range)?)
        })?;
        // A rule that looks at states makes the router track.
        routed.filter("ct state invalid counter")?;
        routed.take_packets()?;
        let program = probe::program("repeat", door.libc())?;
        let output = routed
            .pod
            .command(program.to_str().context("path")?)
            .env("LD_PRELOAD", artifacts::shim()?)
            .args([&LOOKUPS.to_string(), &format!("{NAME}/0/0")])
            .output()?;
        ensure!(output.status.success(), "{door:?}: {output:?}");
        let packets = routed.take_packets()?;
        ensure!(
            packets.connects == 2 * (LOOKUPS + 1) && packets.udp == 0,
            "{door:?}: {packets:?}"
        );
        let sockets = routed.pod.command("ss").args(["-Htan"]).output()?;
        ensure!(
            sockets.status.success() && sockets.stdout.is_empty(),
            "{door:?}: {sockets:?}"
        );
        let tracked = routed
            .router()
            .with_network(|| Ok(fs::read_to_string("/proc/thread-self/net/nf_conntrack")?))?;
        let (all, waiting) = (
            tracked.lines().count(),
            tracked.matches("TIME_WAIT").count(),
        );
        println!("{door:?}: {all} tracked");
        ensure!(
            (1..=PORTS as usize).contains(&all) && waiting == 0,
            "{door:?}: {tracked}"
        );
    }
    Ok(())
}

/// Rule 0: a pod with somebody else's nameserver, though its search list looks like the cluster's,
/// or with another one beside the cluster's: everything is libc's.
#[test]
fn another_nameserver_means_that_everything_is_libcs() -> Result<()> {
    const FOREIGN: &str = "192.0.2.53";
    let (_zone, view) = outside::zone()?;
    for servers in [
        &[FOREIGN][..],
        &[CLUSTER_DNS, FOREIGN],
        &[FOREIGN, CLUSTER_DNS],
    ] {
        let lines: String = servers
            .iter()
            .map(|server| format!("nameserver {server}\n"))
            .collect();
        for door in Door::OURS {
            let pod = Pod::start(Recipe {
                resolv_conf: format!(
                    "search default.svc.cluster.local\n{lines}options ndots:5 timeout:1\n"
                ),
                addresses: vec![FOREIGN.into()],
                ..outside::recipe(view.clone(), door, shop::world())
            })?;
            let foreign = Server::start(pod.namespaces(), FOREIGN, shop::world())?;
            let mut logs = Vec::new();
            for door in [door.reference(), door] {
                let mut session = Session::start(&pod, door)?;
                let mut seen = Vec::new();
                for name in [NAME, "api.shop.svc.cluster.local", "api.shop", "nosuch"] {
                    for family in ["UNSPEC", "INET"] {
                        let reply = session.resolve(name, family)?;
                        ensure!(
                            !Door::OURS.contains(&door) || reply.who().starts_with("pass("),
                            "{servers:?} {door:?} {name}: {}",
                            reply.who()
                        );
                        seen.push(reply.shape());
                    }
                }
                let asked = foreign.take_log().into_iter().chain(pod.dns()?.take_log());
                let asked: BTreeSet<_> = asked.map(|one| (one.name, one.kind, one.tcp)).collect();
                logs.push((seen, asked));
            }
            ensure!(
                logs[0] == logs[1] && logs[0].1.iter().all(|(_, _, tcp)| !tcp),
                "{servers:?} {door:?}: {logs:?}"
            );
        }
    }
    Ok(())
}

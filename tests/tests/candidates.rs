//! Candidates outside the zone, and rules about names, as programs see them: what servers and rules
//! say of one candidate decides what becomes of the next, as in each libc alone.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Result, ensure};
use nss_k8s_tests::{
    dns::{Behavior, Script},
    outside,
    pod::{CLUSTER_DNS, Pod, Recipe},
    session::{Door, Session},
    wire::rcode,
    writer,
};
use nss_k8s_zone::{Config, External, Matching, Rule, ServiceBody, ServiceKey};
use std::path::Path;

/// A search list with domains outside the zone before, between and after those in it.
const MIXED: &str = "search a.test shop.svc.cluster.local b.test svc.cluster.local c.test\n";

/// What servers say: the same to libc over UDP and to us over TCP.
fn script() -> Script {
    let failing = Behavior::Answer(rcode::SERVFAIL);
    let refused = Behavior::Answer(rcode::REFUSED);
    Script::default()
        .addresses("first.a.test", &["192.0.2.1"])
        .addresses("first.b.test", &["192.0.2.2"])
        .addresses("api.c.test", &["192.0.2.3"])
        .addresses("api.shop.svc.cluster.local", &["10.96.1.10"])
        .addresses("last.c.test", &["192.0.2.4", "2001:db8::4"])
        .addresses("www.example.com", &["192.0.2.81", "2001:db8::81"])
        .alias("alias.b.test", "www.example.com")
        .empty("empty.a.test")
        .addresses("empty.b.test", &["192.0.2.5"])
        .empty("nothing.b.test")
        .behavior("failing.a.test", failing)
        .addresses("failing.c.test", &["192.0.2.6"])
        .behavior("broken.b.test", failing)
        .behavior("refused.a.test", refused)
        .addresses("refused.c.test", &["192.0.2.7"])
        .addresses("refused", &["192.0.2.8"])
        .alias("out.shop.svc.cluster.local", "www.example.com")
        .addresses("mesh.shop.svc.cluster.local", &["192.0.2.9"])
        .addresses("deep.mesh.shop.svc.cluster.local", &["192.0.2.10"])
}

/// A zone whose processes ask, with `rules`.
fn zone(rules: Vec<Rule>) -> Result<writer::Published> {
    let mut zone = writer::Published::asking()?;
    zone.put("api", &["10.96.1.10"])?;
    let target = "www.example.com".to_owned();
    let out = ServiceKey::new("out", "shop")?;
    zone.writer
        .put_service(&out, &ServiceBody::External { target })?;
    zone.writer.put_namespace("com")?;
    let google = ServiceKey::new("google", "com")?;
    let addresses = vec![writer::address("10.96.1.66")?];
    let ports = vec![];
    zone.writer
        .put_service(&google, &ServiceBody::ClusterIp { addresses, ports })?;
    zone.writer.configure(&Config {
        external: External::Pod,
        rules,
        ..writer::config()?
    })?;
    Ok(zone)
}

/// A pod with a search list of its own.
fn pod(view: &Path, door: Door, search: &str, script: Script) -> Result<Pod> {
    let lines = format!("nameserver {CLUSTER_DNS}\noptions ndots:5 timeout:2 attempts:1\n");
    Pod::start(Recipe {
        resolv_conf: format!("{search}{lines}"),
        ..outside::recipe(view.into(), door, script)
    })
}

#[test]
fn candidates_outside_stand_anywhere_in_the_list() -> Result<()> {
    let zone = zone(vec![])?;
    let view = zone.view();
    outside::at_every_door(|door| {
        let pod = pod(&view, door, MIXED, script())?;
        let mut ours = Session::start(&pod, door)?;
        let mut alone = Session::start_with(&pod, door.reference(), Path::new("/"), &[])?;
        // Name, and who answers: behind glibc, behind musl.
        for (name, glibc, musl) in [
            ("first", "upstream", "upstream"),
            ("api", "zone", "zone"),
            ("last", "upstream", "upstream"),
            ("www.example.com", "upstream", "upstream"),
            ("alias", "upstream", "upstream"),
            ("empty", "upstream", "upstream(nodata)"),
            ("nothing", "upstream(nodata)", "upstream(nodata)"),
            ("failing", "upstream", "upstream(again)"),
            ("broken", "upstream(again)", "upstream(again)"),
            ("refused", "upstream", "pass(refused)"),
            ("out", "upstream", "upstream"),
            ("mesh", "upstream", "upstream"),
            ("deep.mesh", "upstream", "upstream"),
            ("nowhere", "upstream(nxdomain)", "upstream(nxdomain)"),
            (
                "nowhere.example",
                "upstream(nxdomain)",
                "upstream(nxdomain)",
            ),
            ("first.a.test.", "upstream", "upstream"),
        ] {
            for family in ["UNSPEC", "INET", "INET6"] {
                // musl waits for its whole timeout where a server fails.
                if family != "UNSPEC" && (musl.contains("again") || musl.starts_with("pass")) {
                    continue;
                }
                let said = ours.resolve(name, family)?;
                let libc = alone.resolve(name, family)?;
                let (gotten, wanted) = (said.summary(), libc.summary());
                let who = if door == Door::ShimMusl { musl } else { glibc };
                ensure!(
                    gotten == wanted && (family != "UNSPEC" || said.who() == who),
                    "{name} {family}: {gotten} from {}, libc alone: {wanted}",
                    said.who(),
                );
            }
        }
        Ok(())
    })
}

/// What rules make of names: nobody but us applies them here.
#[test]
fn rules_are_applied_before_anybody_is_asked() -> Result<()> {
    let rewrite = |matching, from: &str, to: &str| Rule::Rewrite {
        matching,
        from: from.to_owned(),
        to: to.to_owned(),
        stop: true,
    };
    let zone = zone(vec![
        Rule::Block {
            name: "ads.example".to_owned(),
        },
        rewrite(
            Matching::Exact,
            "legacy.example",
            "api.shop.svc.cluster.local",
        ),
        rewrite(
            Matching::Exact,
            "old.shop.svc.cluster.local",
            "first.a.test",
        ),
        rewrite(Matching::Suffix, ".corp.example", ".b.test"),
        rewrite(Matching::Prefix, "blue", "first"),
        Rule::Guard {
            namespaces: vec!["com".to_owned()],
        },
    ])?;
    let view = zone.view();
    let kubelet = "search shop.svc.cluster.local svc.cluster.local cluster.local\n";
    let servers = script()
        .addresses("ads.example", &["192.0.2.66"])
        .addresses("google.com", &["192.0.2.67"]);
    outside::at_every_door(|door| {
        let pod = pod(&view, door, kubelet, servers.clone())?;
        let mut session = Session::start(&pod, door)?;
        for (name, expected, who) in [
            ("legacy.example", "10.96.1.10 = legacy.example", "zone"),
            ("Legacy.Example.", "10.96.1.10 = Legacy.Example", "zone"),
            ("old", "192.0.2.1 = old.shop.svc.cluster.local", "upstream"),
            (
                "first.corp.example",
                "192.0.2.2 = first.corp.example",
                "upstream",
            ),
            // A CNAME says who owns the data.
            (
                "alias.corp.example",
                "192.0.2.81 = www.example.com",
                "upstream",
            ),
            ("blue.a.test.", "192.0.2.1 = blue.a.test", "upstream"),
            ("ads.example.", "EAI_NONAME", "nxdomain"),
            ("x.ads.example.", "EAI_NONAME", "nxdomain"),
            // The service `google` of the namespace `com` is not meant ...
            ("google.com", "192.0.2.67 = google.com", "upstream"),
            // ... unless it is.
            (
                "google.com.svc",
                "10.96.1.66 = google.com.svc.cluster.local",
                "zone",
            ),
            (
                "google.com.svc.cluster.local",
                "10.96.1.66 = google.com.svc.cluster.local",
                "zone",
            ),
        ] {
            let reply = session.resolve(name, "INET")?;
            let gotten = reply.summary();
            ensure!(
                gotten.starts_with(expected) && reply.who() == who,
                "{name}: expected {expected} from {who}, got {gotten} from {}",
                reply.who()
            );
        }
        Ok(())
    })
}

/// Rules that come while a process has the short way for names without dots.
#[test]
fn new_rules_count_at_once() -> Result<()> {
    let mut zone = zone(vec![])?;
    let kubelet = "search shop.svc.cluster.local svc.cluster.local cluster.local\n";
    for door in Door::OURS {
        zone.writer.configure(&Config {
            external: External::Pod,
            ..writer::config()?
        })?;
        let pod = pod(&zone.view(), door, kubelet, script())?;
        let mut session = Session::start(&pod, door)?;
        for _ in 0..3 {
            let reply = session.resolve("api", "INET")?;
            ensure!(reply.who() == "zone", "{door:?}: {}", reply.who());
        }
        zone.writer.configure(&Config {
            external: External::Pod,
            rules: vec![Rule::Block {
                name: "api.shop.svc.cluster.local".to_owned(),
            }],
            ..writer::config()?
        })?;
        let reply = session.resolve("api", "INET")?;
        ensure!(
            reply.summary() == "EAI_NONAME" && reply.who() == "upstream(nxdomain)",
            "{door:?}: {} from {}",
            reply.summary(),
            reply.who()
        );
    }
    Ok(())
}

/// What does not fit is asked for again; so it is by glibc's own nss_dns.
#[test]
fn large_answers_are_asked_for_as_often_as_libc_asks() -> Result<()> {
    let zone = zone(vec![])?;
    let addresses: Vec<String> = (0..100).map(|last| format!("192.0.2.{last}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let script = Script::default().addresses("many.test", &addresses[..40]);
    let script = script.addresses("most.test", &addresses);
    let script = script.addresses("some.test", &addresses[..20]);
    for door in Door::OURS {
        let pod = pod(&zone.view(), door, "search a.test\n", script.clone())?;
        let mut ours = Session::start(&pod, door)?;
        let mut alone = Session::start_with(&pod, door.reference(), Path::new("/"), &[])?;
        for (name, family) in [
            ("some.test.", "UNSPEC"),
            ("many.test.", "UNSPEC"),
            ("many.test.", "INET"),
            ("most.test.", "UNSPEC"),
            ("most.test.", "INET"),
        ] {
            // musl before 1.2.4 has no TCP, and takes what a datagram holds.
            if door == Door::ShimMusl && name != "some.test." {
                continue;
            }
            pod.dns()?.take_log();
            let said = ours.resolve(name, family)?;
            let asked = pod.dns()?.take_log();
            let libc = alone.resolve(name, family)?;
            // What did not fit a datagram, libc has asked for over TCP again.
            let asked_alone = pod.dns()?.take_log().iter().filter(|one| !one.tcp).count();
            ensure!(
                said.summary() == libc.summary() && said.who() == "upstream",
                "{door:?} {name} {family}: {} from {}",
                said.summary(),
                said.who()
            );
            ensure!(
                asked.iter().all(|one| one.tcp) && asked.len() <= asked_alone,
                "{door:?} {name} {family}: asked {} times, libc {asked_alone}",
                asked.len()
            );
        }
    }
    Ok(())
}

//! Names appear, change and vanish as the objects do, in real processes.

use crate::{
    agent::{Agent, Directory, STRICT, tool},
    control_plane::{ControlPlane, shared},
    doors::{Doors, Expected},
    objects::{Namespace, headless},
};
use Expected::{NoData, NxDomain, Pass, Zone};
use anyhow::{Result, ensure};
use nss_k8s_tests::session::Door;
use serde_json::json;

/// A service of every type appears with the right addresses under the right name, whichever libc
/// asks and through whichever door.
#[test]
fn services_of_every_type_are_answered_from_the_zone() -> Result<()> {
    let plane = shared();
    let space = Namespace::create(&plane.administrator, "types")?;
    let directory = Directory::create()?;
    let agent = Agent::start(&plane, &directory, &[])?;
    let mut doors = Doors::open(&directory, "types")?;

    let selector = json!({"app": "web"});
    for (name, spec, count) in [
        ("web", json!({"selector": selector}), 1),
        (
            "six",
            json!({"ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"}),
            1,
        ),
        (
            "dual",
            json!({"ipFamilyPolicy": "RequireDualStack", "selector": selector}),
            2,
        ),
        ("bare", json!({}), 1),
        (
            "node-port",
            json!({"type": "NodePort", "selector": selector}),
            1,
        ),
        (
            "balanced",
            json!({"type": "LoadBalancer", "selector": selector}),
            1,
        ),
    ] {
        let addresses = space.service(name, spec)?;
        ensure!(addresses.len() == count, "{name}: {addresses:?}");
        let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let full = space.fqdn(name);
        // As its neighbors say it, as other namespaces say it, and in full.
        doors.expect(name, Zone(&addresses, &full))?;
        doors.expect(&format!("{name}.types"), Zone(&addresses, &full))?;
        let absolute = format!("{full}.");
        doors.expect(&absolute, Zone(&addresses, &full))?;
        let four = addresses.iter().any(|address| address.contains('.'));
        let six = addresses.iter().any(|address| address.contains(':'));
        ensure!(four || six, "{name} has no address");
        if !four {
            doors.expect_family(&absolute, "INET", NoData)?;
        }
        if !six {
            doors.expect_family(&absolute, "INET6", NoData)?;
        }
    }

    // ExternalName: a target in the zone is followed, one outside is libc's while nobody asks.
    let web = space.service("web-too", json!({}))?;
    let web: Vec<&str> = web.iter().map(String::as_str).collect();
    let target = space.fqdn("web-too");
    space.service(
        "inside",
        json!({"type": "ExternalName", "externalName": target}),
    )?;
    doors.expect("inside", Zone(&web, &target))?;
    space.service(
        "outside",
        json!({"type": "ExternalName", "externalName": "www.example.org"}),
    )?;
    doors.expect("outside", Pass("external"))?;
    space.change_service("outside", &json!({"spec": {"externalName": target}}))?;
    doors.expect("outside", Zone(&web, &target))?;

    // The reverse of a cluster address is the service's name (a door of NSS alone).
    let reply = doors.session(Door::Nss)?.ask(&format!("addr {}", web[0]))?;
    ensure!(
        reply.who() == "zone" && reply.name.as_deref() == Some(&target),
        "reverse: {reply:?}"
    );
    // Named ports, as SRV records have them.
    let text = tool(
        &directory,
        &["query", &format!("_http._tcp.{target}"), "--type", "SRV"],
    )?;
    ensure!(text.contains("80") && text.contains(&target), "SRV: {text}");
    ensure!(agent.stop()?.success(), "an orderly stop is a success");
    Ok(())
}

/// A headless service follows its pods: the controller makes the slices, readiness takes effect.
#[test]
fn headless_services_follow_their_pods() -> Result<()> {
    let plane = shared();
    let space = Namespace::create(&plane.administrator, "stateful")?;
    let directory = Directory::create()?;
    let agent = Agent::start(&plane, &directory, &[])?;
    let mut doors = Doors::open(&directory, "stateful")?;
    let db = space.fqdn("db");

    space.service("db", headless("db"))?;
    // A headless service without a ready endpoint is known, and has no name.
    doors.expect(&db, NxDomain)?;
    space.pod("db-0", "db", &["10.244.3.10", "fd00:10:244:1::10"])?;
    doors.expect("db", Zone(&["10.244.3.10", "fd00:10:244:1::10"], &db))?;
    doors.expect(
        "db-0.db",
        Zone(
            &["10.244.3.10", "fd00:10:244:1::10"],
            &space.fqdn("db-0.db"),
        ),
    )?;
    space.pod("db-1", "db", &["10.244.3.11", "fd00:10:244:1::11"])?;
    doors.expect_family("db", "INET", Zone(&["10.244.3.10", "10.244.3.11"], &db))?;
    doors.expect_family(
        "db",
        "INET6",
        Zone(&["fd00:10:244:1::10", "fd00:10:244:1::11"], &db),
    )?;
    doors.expect_family(
        "db-1.db",
        "INET",
        Zone(&["10.244.3.11"], &space.fqdn("db-1.db")),
    )?;
    // Unready: gone from the service; ready again: back.
    space.set_ready("db-0", false)?;
    doors.expect_family("db", "INET", Zone(&["10.244.3.11"], &db))?;
    space.set_ready("db-0", true)?;
    doors.expect_family("db", "INET", Zone(&["10.244.3.10", "10.244.3.11"], &db))?;
    // A pod deleted, and another in its place.
    space.delete_pod("db-0")?;
    doors.expect_family("db", "INET", Zone(&["10.244.3.11"], &db))?;
    space.pod("db-0", "db", &["10.244.2.10", "fd00:10:244:2::10"])?;
    doors.expect_family(
        "db-0.db",
        "INET",
        Zone(&["10.244.2.10"], &space.fqdn("db-0.db")),
    )?;
    doors.expect_family("db", "INET", Zone(&["10.244.3.11", "10.244.2.10"], &db))?;

    // Endpoints that no controller made.
    let old = space.fqdn("legacy");
    space.service("legacy", json!({"clusterIP": "None"}))?;
    space.slice("legacy-4", "legacy", "IPv4", &["192.0.2.1", "192.0.2.2"])?;
    doors.expect("legacy", Zone(&["192.0.2.1", "192.0.2.2"], &old))?;
    space.slice("legacy-6", "legacy", "IPv6", &["2001:db8::1"])?;
    doors.expect(
        "legacy",
        Zone(&["192.0.2.1", "192.0.2.2", "2001:db8::1"], &old),
    )?;
    space.change_slice("legacy-4", &["192.0.2.9"])?;
    doors.expect("legacy", Zone(&["192.0.2.9", "2001:db8::1"], &old))?;
    ensure!(agent.stop()?.success(), "an orderly stop is a success");
    Ok(())
}

/// What is deleted vanishes; a namespace takes its names along, and only then is the zone sure.
#[test]
fn deleted_services_and_namespaces_vanish() -> Result<()> {
    let plane = shared();
    vanish(&plane, "brief", &["--external=off"], Pass("ask-miss"))?;
    vanish(&plane, "strict", &[STRICT], NxDomain)
}

/// One life of a service in a namespace; `missing` is what a name without a service is.
fn vanish(plane: &ControlPlane, name: &str, options: &[&str], missing: Expected<'_>) -> Result<()> {
    let directory = Directory::create()?;
    let agent = Agent::start(plane, &directory, options)?;
    let mut doors = Doors::open(&directory, "default")?;
    let full = format!("api.{name}.svc.cluster.local");
    doors.expect(&full, NxDomain)?;
    let space = Namespace::create(&plane.administrator, name)?;
    doors.expect(&full, missing)?;
    let first = space.service("api", json!({}))?;
    doors.expect(&full, Zone(&[&first[0]], &full))?;
    space.delete_service("api")?;
    doors.expect(&full, missing)?;
    // The same name with another address.
    let second = space.service("api", json!({"ipFamilies": ["IPv6"]}))?;
    ensure!(first != second, "another family, the same address");
    doors.expect(&full, Zone(&[&second[0]], &full))?;
    space.delete()?;
    doors.expect(&full, NxDomain)?;
    ensure!(agent.stop()?.success(), "an orderly stop is a success");
    Ok(())
}

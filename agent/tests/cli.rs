//! The built binary on directories of manifests: publishing, bad input, restarts, the kill switch.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

#[path = "support/place.rs"]
mod support;

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};
use support::{Place, get, wait};

fn service(name: &str, address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{clusterIP: {address}}}\n"
    )
}

/// The shop of the demonstration.
fn shop(place: &Place) {
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/demo");
    for entry in fs::read_dir(demo).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "yaml") {
            let name = path.file_name().unwrap().to_str().unwrap();
            place.write(name, &fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn publishes_the_shop() {
    let place = Place::new();
    shop(&place);
    let agent = place.agent(&[]);
    agent.wait_until_published();
    assert!(place.is_live());
    assert_eq!(place.query("api"), "10.96.12.34");
    assert_eq!(place.query("cart"), "10.96.12.90\nfd00:10:96::c:90");
    assert_eq!(place.query("stock"), "10.96.40.7");
    assert_eq!(
        place.query("payments"),
        "pass(external)",
        "its alias leaves the zone"
    );
    assert_eq!(place.query("api.shop.svc.cluster.local."), "10.96.12.34");
    assert_eq!(place.query("nosuch"), "pass(ask-miss)");
    assert_eq!(place.query("x.nosuch.svc.cluster.local."), "nxdomain");
    assert_eq!(place.query("db-1.db"), "10.244.2.10\nfd00:10:244:2::10");
    let ready = "10.244.1.10\n10.244.2.10\nfd00:10:244:1::10\nfd00:10:244:2::10";
    assert_eq!(place.query("db"), ready, "db-2 is not");
    let ports = place.say(&["query", "_grpc._tcp.api", "-n", "shop", "--type", "SRV"]);
    assert_eq!(ports, "0 100 9090 api.shop.svc.cluster.local");
    let reverse = place.say(&["query", "10.96.12.34", "--type", "PTR"]);
    assert_eq!(reverse, "api.shop.svc.cluster.local");

    let address = agent.address();
    assert!(get(&address, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(get(&address, "/readyz").starts_with("HTTP/1.1 200"));
    let metrics = || get(&address, "/metrics");
    wait("figures", || {
        metrics().contains("nss_k8s_zone_records{of=\"services\"} 8")
    });
    assert!(metrics().contains("nss_k8s_zone_state 3"));
}

#[test]
fn explains_every_candidate() {
    let place = Place::new();
    shop(&place);
    let agent = place.agent(&["--miss-policy", "nxdomain"]);
    agent.wait_until_published();
    let text = place.say(&["query", "example.com", "-n", "shop", "--explain"]);
    for part in [
        "| nameserver 10.96.0.10",
        "1. example.com.shop.svc.cluster.local  zone: does not exist",
        "2. example.com.svc.cluster.local       zone: does not exist",
        "3. example.com.cluster.local           zone: does not exist",
        "4. example.com                         outside the zone",
        "answered by: the process's libc and its DNS (pass: external)",
        "zone: live, serial ",
    ] {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
    let json = place.say(&["query", "api", "-n", "shop", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["verdict"], "answer");
    assert_eq!(json["records"][0], "10.96.12.34");
    assert_eq!(json["canonical"], "api.shop.svc.cluster.local");

    let foreign = place.path("resolv.conf");
    fs::write(
        &foreign,
        "nameserver 192.0.2.1\nsearch shop.svc.cluster.local\n",
    )
    .unwrap();
    let foreign = foreign.to_str().unwrap();
    assert_eq!(
        place.say(&["query", "api", "--resolv-conf", foreign]),
        "pass(foreign)"
    );
}

#[test]
fn dumps_what_a_name_server_would_have_to_hold() {
    let place = Place::new();
    shop(&place);
    let agent = place.agent(&[]);
    agent.wait_until_published();
    let text = place.say(&["dump"]);
    let squeezed: Vec<_> = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for line in [
        "$ORIGIN cluster.local.",
        "api.shop.svc IN A 10.96.12.34",
        "_http._tcp.cart.shop.svc IN SRV 0 100 80 cart.shop.svc",
        "_postgres._tcp.db.shop.svc IN SRV 0 50 5432 db-0.db.shop.svc",
        "db-1.db.shop.svc IN AAAA fd00:10:244:2::10",
        "payments.shop.svc IN CNAME payments.example.com.",
        "34.12.96.10.in-addr.arpa. IN PTR api.shop.svc.cluster.local.",
    ] {
        assert!(
            squeezed.iter().any(|found| found == line),
            "{line:?} is not in\n{text}"
        );
    }
    assert!(!text.contains("db-2"), "not ready");
}

#[test]
fn follows_changes_and_survives_broken_files() {
    let place = Place::new();
    place.write("a.yaml", &service("a", "10.0.0.1"));
    place.write("b.yaml", &service("b", "10.0.0.2"));
    let agent = place.agent(&["--accept-any-nameserver"]);
    agent.wait_until_published();
    place.write("a.yaml", &service("a", "10.0.0.9"));
    wait("the new address", || place.query("a") == "10.0.0.9");
    place.write(
        "a.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: a, namesp",
    );
    agent.wait_for(&["a.yaml: document 1: "]);
    assert_eq!(place.query("a"), "10.0.0.9");
    place.write("c.yaml", &service("c", "not-an-address"));
    agent.wait_for(&["c.yaml: document 1: Service shop/c: clusterIP not-an-address"]);
    place.write("b.yaml", &service("b", "10.0.0.3"));
    wait("another file's change", || place.query("b") == "10.0.0.3");
    fs::remove_file(place.path("manifests/b.yaml")).unwrap();
    wait("the removal", || place.query("b") == "pass(ask-miss)");
    assert_eq!(place.query("a"), "10.0.0.9");
}

#[test]
fn a_restart_goes_on_with_the_zone_and_applies_differences() {
    let place = Place::new();
    place.write("a.yaml", &service("a", "10.0.0.1"));
    place.write("b.yaml", &service("b", "10.0.0.2"));
    let agent = place.agent(&["--accept-any-nameserver"]);
    agent.wait_until_published();
    let inode = || {
        use std::os::unix::fs::MetadataExt;
        fs::metadata(place.path("base/view/default/zone.v1"))
            .unwrap()
            .ino()
    };
    let before = inode();
    let (status, took) = agent.end(libc::SIGTERM);
    assert!(status.success());
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(place.is_live(), "the zone stays");
    assert_eq!(place.query("a"), "10.0.0.1");

    fs::remove_file(place.path("manifests/b.yaml")).unwrap();
    place.write("c.yaml", &service("c", "10.0.0.3"));
    let next = place.agent(&["--accept-any-nameserver"]);
    next.wait_for(&["adopted the zone"]);
    assert!(place.is_live());
    assert_eq!(place.query("a"), "10.0.0.1");
    wait("what is new", || place.query("c") == "10.0.0.3");
    wait("what is gone", || place.query("b") == "pass(ask-miss)");
    assert_eq!(inode(), before);

    // Killed, with a file that cannot be read at the next start: nothing that was published is lost.
    next.end(libc::SIGKILL);
    place.write("a.yaml", "kind: [");
    fs::remove_file(place.path("log")).unwrap();
    let third = place.agent(&["--accept-any-nameserver"]);
    third.wait_until_published();
    assert_eq!(place.query("a"), "10.0.0.1");
    place.write("a.yaml", "");
    wait("the file to be readable and empty", || {
        place.query("a") == "pass(ask-miss)"
    });
}

#[test]
fn the_kill_switch_works_with_and_without_an_agent() {
    let place = Place::new();
    place.write("a.yaml", &service("a", "10.0.0.1"));
    let agent = place.agent(&["--accept-any-nameserver"]);
    agent.wait_until_published();
    assert!(place.call(&["disable"]).status.success());
    assert_eq!(place.query("a"), "pass(zone-disabled)");
    assert!(!place.is_live());
    agent.end(libc::SIGTERM);
    fs::remove_file(place.path("log")).unwrap();
    let next = place.agent(&["--accept-any-nameserver"]);
    next.wait_until_published();
    assert_eq!(
        place.query("a"),
        "pass(zone-disabled)",
        "it outlives the agent"
    );
    assert!(place.call(&["enable"]).status.success());
    assert_eq!(place.query("a"), "10.0.0.1");
    next.end(libc::SIGTERM);
    assert!(place.call(&["disable"]).status.success());
    assert_eq!(place.query("a"), "pass(zone-disabled)", "without an agent");
    assert!(place.call(&["enable"]).status.success());
    assert_eq!(place.query("a"), "10.0.0.1");
}

#[test]
fn the_kill_switch_needs_no_zone() {
    let place = Place::new();
    assert!(place.call(&["disable"]).status.success());
    place.write("a.yaml", &service("a", "10.0.0.1"));
    let agent = place.agent(&["--accept-any-nameserver"]);
    agent.wait_until_published();
    assert_eq!(place.query("a"), "pass(zone-disabled)");
    assert!(place.call(&["enable"]).status.success());
    assert_eq!(place.query("a"), "10.0.0.1");
}

#[test]
fn a_dead_zone_is_not_revived_by_an_agent_that_has_listed_nothing() {
    let place = Place::new();
    place.write("a.yaml", &service("a", "10.0.0.1"));
    let short = [
        "--accept-any-nameserver",
        "--stale-after=1",
        "--dead-after=2",
    ];
    let agent = place.agent(&short);
    agent.wait_until_published();
    agent.end(libc::SIGTERM);
    wait("the zone to be dead", || {
        place.query("a") == "pass(zone-dead)"
    });
    fs::remove_file(place.path("log")).unwrap();
    let waiting = place.agent(&[&short[..], &["--start-jitter=3600"]].concat());
    waiting.wait_for(&["adopted the zone"]);
    let adopted = Instant::now();
    // Processes spread the dead age over as much again: by then it has passed for all of them.
    wait("time for some beats", || {
        adopted.elapsed() > Duration::from_secs(3)
    });
    assert_eq!(place.query("a"), "pass(zone-dead)");
    waiting.end(libc::SIGTERM);
    fs::remove_file(place.path("log")).unwrap();
    let next = place.agent(&short);
    next.wait_until_published();
    wait("it to count again", || place.query("a") == "10.0.0.1");
}

#[test]
fn a_second_agent_on_the_same_directory_ends_and_names_the_first() {
    let place = Place::new();
    let first = place.agent(&[]);
    first.wait_until_published();
    let manifests = place.path("manifests");
    let second = place.call(&[
        "agent",
        "--listen",
        "off",
        "--manifests",
        manifests.to_str().unwrap(),
    ]);
    assert_eq!(second.status.code(), Some(1));
    assert!(place.is_live());
    let first_id = first.id().to_string();
    let said = failure(&[
        "agent",
        "--listen",
        "off",
        "--manifests",
        manifests.to_str().unwrap(),
        "--dir",
        place.path("base").to_str().unwrap(),
    ]);
    assert!(said.contains(&first_id) && said.contains("base"), "{said}");
}

/// Runs the binary, which must fail with status 1 and one line.
fn failure(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_nss-k8s"))
        .args(arguments)
        .env("RUST_LOG", "error")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn says_in_one_line_what_is_wrong_with_the_way_it_was_called() {
    let place = Place::new();
    let base = place.path("base");
    let base = base.to_str().unwrap();
    let manifests = place.path("manifests");
    let manifests = manifests.to_str().unwrap();
    let broken = place.path("kubeconfig");
    fs::write(&broken, "clusters: 7").unwrap();
    let broken = broken.to_str().unwrap();
    for (arguments, expected) in [
        (vec!["--kubeconfig", "/nowhere/config"], "/nowhere/config"),
        (vec!["--kubeconfig", broken], broken),
        (
            vec!["--manifests", "/nowhere/manifests"],
            "/nowhere/manifests",
        ),
        (
            vec!["--manifests", manifests, "--config", "/nowhere/config"],
            "/nowhere/config",
        ),
        (
            vec!["--manifests", manifests, "--cluster-domain", "."],
            "kubernetes.cluster_domain",
        ),
    ] {
        let mut all = vec!["agent", "--listen", "off", "--dir", base];
        all.extend(arguments);
        let said = failure(&all);
        assert!(said.contains(expected), "{said}");
    }
    let unwritable = [
        "agent",
        "--listen",
        "off",
        "--manifests",
        manifests,
        "--dir",
        "/proc/x",
    ];
    assert!(failure(&unwritable).contains("/proc/x"));
    assert!(failure(&["status", "--dir", "/nowhere"]).contains("/nowhere"));
    for flag in ["--cluster-dns-service=dns", "--cluster-domain=a..b"] {
        let usage = Command::new(env!("CARGO_BIN_EXE_nss-k8s"))
            .args(["agent", flag])
            .output()
            .unwrap();
        let said = String::from_utf8(usage.stderr).unwrap();
        assert_eq!(usage.status.code(), Some(2), "{said}");
        assert!(
            said.contains("a..b") || said.contains("not NAMESPACE/NAME"),
            "{said}"
        );
    }
    let usage = Command::new(env!("CARGO_BIN_EXE_nss-k8s"))
        .arg("frobnicate")
        .output()
        .unwrap();
    assert_eq!(usage.status.code(), Some(2));
}

#[test]
fn a_port_in_use_is_named() {
    let place = Place::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let manifests = place.path("manifests");
    let said = failure(&[
        "agent",
        "--listen",
        &address,
        "--manifests",
        manifests.to_str().unwrap(),
        "--dir",
        place.path("base").to_str().unwrap(),
    ]);
    assert!(said.contains(&address), "{said}");
    assert!(!place.path("base").exists(), "nothing was published");
}

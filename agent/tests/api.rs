//! The agent against an API server that fails on purpose. What a real one does is tested with a
//! real one, elsewhere.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

#[path = "support/api.rs"]
mod api;
#[path = "api/restarts.rs"]
mod restarts;
#[path = "support/place.rs"]
mod support;

use api::{Api, NAMESPACES, SERVICES, SLICES};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use support::{Agent, Place, wait};

fn service(name: &str, address: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "shop", "managedFields": [{"manager": "m"}]},
        "spec": {"clusterIP": address, "clusterIPs": [address]}})
}

fn slice(name: &str, managed: bool, address: &str) -> Value {
    let mut labels = json!({"kubernetes.io/service-name": "db"});
    if managed {
        labels["service.kubernetes.io/headless"] = "".into();
    }
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "addressType": "IPv4", "ports": [], "endpoints": [{"addresses": [address]}]})
}

/// A small cluster and an agent that watches it.
struct Rig {
    api: Api,
    place: Place,
    agent: Agent,
}

impl Rig {
    fn start(prepare: impl FnOnce(&Api), options: &[&str]) -> Self {
        let (api, place) = (Api::start(), Place::new());
        let namespace = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {"name": "shop"}});
        api.put(NAMESPACES, namespace);
        api.put(SERVICES, service("a", "10.0.0.1"));
        api.put(SERVICES, service("db", "None"));
        api.put(SLICES, slice("db-x", true, "10.0.1.1"));
        api.put(SLICES, slice("db-by-hand", false, "10.0.1.2"));
        prepare(&api);
        let kubeconfig = place.path("kubeconfig");
        api.kubeconfig(&kubeconfig);
        let mut all = vec!["--accept-any-nameserver"];
        all.extend(options);
        let agent = place.watcher(&kubeconfig, &all);
        Self { api, place, agent }
    }

    /// Started, published, and every watch is open.
    fn live(prepare: impl FnOnce(&Api), options: &[&str], watches: usize) -> Self {
        let rig = Self::start(prepare, options);
        rig.agent.wait_until_published();
        rig.wait_for_watches(watches);
        rig
    }

    fn wait_for_watches(&self, watches: usize) {
        wait("the watches to be open", || {
            self.api.script().watches() == watches
        });
    }

    fn wait_for(&self, name: &str, answer: &str) {
        wait(&format!("{name} to be {answer}"), || {
            self.place.query(name) == answer
        });
    }
}

#[test]
fn follows_streamed_lists_and_changes() {
    let rig = Rig::live(|_| {}, &[], 4);
    rig.agent.wait_for(&["listed", "services", "streaming"]);
    assert_eq!(rig.place.query("a"), "10.0.0.1");
    assert_eq!(
        rig.place.query("db"),
        "10.0.1.1\n10.0.1.2",
        "of both selectors"
    );
    rig.api.put(SERVICES, service("a", "10.0.0.9"));
    rig.wait_for("a", "10.0.0.9");
    rig.api.put(SLICES, slice("db-x", true, "10.0.1.3"));
    rig.wait_for("db", "10.0.1.2\n10.0.1.3");
    rig.api.delete(SERVICES, "a");
    rig.wait_for("a", "pass(ask-miss)");
    let asked: Vec<_> = rig.api.script().asked.iter().cloned().collect();
    let paths = [NAMESPACES, SERVICES, SLICES].map(|path| format!("GET {path}"));
    assert_eq!(asked, paths, "nothing else needs to be allowed");
}

#[test]
fn all_slices_need_one_watch_less() {
    let rig = Rig::live(|_| {}, &["--endpoint-slices=all"], 3);
    assert_eq!(rig.place.query("db"), "10.0.1.1\n10.0.1.2");
}

#[test]
fn pages_where_lists_cannot_be_streamed() {
    let rig = Rig::live(|api| api.script().refuses_streams = true, &[], 4);
    rig.agent.wait_for(&["does not stream lists"]);
    rig.agent.wait_for(&["listed", "services", "paged"]);
    assert_eq!(rig.place.query("a"), "10.0.0.1");
    rig.api.put(SERVICES, service("b", "10.0.0.2"));
    rig.wait_for("b", "10.0.0.2");
    // For good: also a relist is paged, although the server has changed its mind.
    let log = rig.agent.log().lines().count();
    {
        let mut script = rig.api.script();
        script.refuses_streams = false;
        script.gone = Some(SERVICES);
        script.disconnect();
    }
    wait("a relist", || {
        rig.agent
            .log()
            .lines()
            .skip(log)
            .any(|line| line.contains("listed"))
    });
    assert!(
        !rig.agent.log().contains("streaming\""),
        "{}",
        rig.agent.log()
    );
}

#[test]
fn a_watch_that_is_too_old_lists_again_and_applies_differences() {
    for refuses_streams in [false, true] {
        let rig = Rig::live(|api| api.script().refuses_streams = refuses_streams, &[], 4);
        {
            let mut script = rig.api.script();
            script.take(SERVICES, "a");
            script.replace(SERVICES, service("b", "10.0.0.2"));
            script.gone = Some(SERVICES);
            script.disconnect();
        }
        rig.agent.wait_for(&["watch failed", "gone"]);
        rig.wait_for("b", "10.0.0.2");
        rig.wait_for("a", "pass(ask-miss)");
        assert_eq!(rig.place.query("db"), "10.0.1.1\n10.0.1.2");
    }
}

#[test]
fn a_connection_that_ends_in_the_middle_is_made_again() {
    let rig = Rig::live(|_| {}, &[], 4);
    rig.api.script().disconnect();
    rig.wait_for_watches(4);
    rig.api.put(SERVICES, service("a", "10.0.0.7"));
    rig.wait_for("a", "10.0.0.7");
    assert!(rig.place.is_live());
}

#[test]
fn a_malformed_object_concerns_nothing_else() {
    let broken = || {
        let mut broken = service("broken", "10.0.0.5");
        broken["spec"]["ports"] = 7.into();
        broken
    };
    for refuses_streams in [false, true] {
        let prepare = |api: &Api| {
            api.script().refuses_streams = refuses_streams;
            api.put(SERVICES, broken());
            api.put(SERVICES, service("odd", "10.0.0.256"));
        };
        let rig = Rig::live(prepare, &[], 4);
        rig.agent
            .wait_for(&["Service shop/broken", "invalid type: integer"]);
        rig.agent
            .wait_for(&["Service shop/odd", "clusterIP 10.0.0.256: not an address"]);
        assert_eq!(rig.place.query("a"), "10.0.0.1");
        assert_eq!(rig.place.query("broken"), "pass(ask-miss)");
        // A good object that turns bad keeps its last good form.
        rig.api.put(SERVICES, service("broken", "10.0.0.5"));
        rig.wait_for("broken", "10.0.0.5");
        rig.api.put(SERVICES, broken());
        rig.api.put(SERVICES, service("z", "10.0.0.6"));
        rig.wait_for("z", "10.0.0.6");
        assert_eq!(rig.place.query("broken"), "10.0.0.5");
    }
}

#[test]
fn what_is_forbidden_keeps_the_zone_from_going_live_until_it_is_allowed() {
    let rig = Rig::start(|api| api.script().forbids = true, &[]);
    rig.agent.wait_for(&["watch failed", "forbidden"]);
    assert!(!rig.place.is_live());
    assert_eq!(rig.place.query("a"), "pass(zone-syncing)");
    rig.api.script().forbids = false;
    rig.agent.wait_until_published();
    assert_eq!(rig.place.query("a"), "10.0.0.1");
}

#[test]
fn an_adopted_zone_answers_while_the_api_cannot_be_reached() {
    let rig = Rig::live(|_| {}, &[], 4);
    rig.agent.end(libc::SIGKILL);
    std::fs::remove_file(rig.place.path("log")).unwrap();
    rig.api.script().forbids = true;
    let next = rig
        .place
        .watcher(&rig.place.path("kubeconfig"), &["--accept-any-nameserver"]);
    next.wait_for(&["watch failed", "forbidden"]);
    assert_eq!(rig.place.query("a"), "10.0.0.1");
    assert!(rig.place.is_live());
    rig.api.delete(SERVICES, "a");
    rig.api.script().forbids = false;
    next.wait_until_published();
    assert_eq!(rig.place.query("a"), "pass(ask-miss)");
    assert_eq!(rig.place.query("db"), "10.0.1.1\n10.0.1.2");
}

#[test]
fn the_configuration_promises_no_more_than_what_is_listed() {
    let prepare = |api: &Api| {
        let mut dns = service("kube-dns", "10.96.0.10");
        dns["metadata"]["namespace"] = "kube-system".into();
        api.put(SERVICES, dns);
    };
    let rig = Rig::live(prepare, &[], 4);
    let config = || {
        let status: Value = serde_json::from_str(&rig.place.say(&["status", "--json"])).unwrap();
        let config = &status["config"];
        json!([
            config["cluster_dns"],
            config["endpoint_slices"],
            config["miss_policy"]
        ])
    };
    assert_eq!(config(), json!([["10.96.0.10"], "headless", "ask"]));
    rig.agent.end(libc::SIGKILL);
    rig.api.script().forbids = true;
    std::fs::remove_file(rig.place.path("log")).unwrap();
    let options = ["--endpoint-slices=all", "--miss-policy=nxdomain"];
    let next = rig.place.watcher(&rig.place.path("kubeconfig"), &options);
    next.wait_for(&["watch failed", "forbidden"]);
    assert_eq!(config(), json!([["10.96.0.10"], "headless", "nxdomain"]));
    rig.api.script().forbids = false;
    next.wait_until_published();
    wait("the rest of it", || {
        config() == json!([["10.96.0.10"], "all", "nxdomain"])
    });
}

#[test]
fn a_cluster_dns_is_found_by_its_label() {
    let prepare = |api: &Api| {
        let mut dns = service("resolver", "10.96.0.11");
        dns["metadata"]["namespace"] = "kube-system".into();
        dns["metadata"]["labels"] = json!({"k8s-app": "kube-dns", "other": "x"});
        api.put(SERVICES, dns);
    };
    let rig = Rig::live(prepare, &[], 4);
    wait("the address", || {
        let status: Value = serde_json::from_str(&rig.place.say(&["status", "--json"])).unwrap();
        status["config"]["cluster_dns"] == json!(["10.96.0.11"])
    });
}

/// While the server is away the zone stays; when it is back, what happened meanwhile is there soon,
/// however long it was away.
#[test]
fn a_server_that_comes_back_is_found_again() {
    let mut rig = Rig::live(|_| {}, &[], 4);
    rig.api.stop();
    let failures = || {
        let log = rig.agent.log();
        log.lines()
            .filter(|line| line.contains("watch failed"))
            .count()
    };
    // Four watches, each past its growing pauses.
    wait("every watch to fail some times", || failures() > 16);
    assert_eq!(rig.place.query("a"), "10.0.0.1");
    rig.api.put(SERVICES, service("b", "10.0.0.2"));
    let back = Instant::now();
    rig.api.run();
    rig.wait_for("b", "10.0.0.2");
    println!(
        "news {} ms after the server's return",
        back.elapsed().as_millis()
    );
    rig.wait_for_watches(4);
    assert!(
        rig.api
            .script()
            .times
            .iter()
            .filter(|(at, _)| *at > back)
            .all(|(_, asked)| {
                let watch = asked.contains("watch=true") && !asked.contains("sendInitialEvents");
                watch || api::is_question(asked)
            }),
        "nothing needs to be listed again"
    );
}

#[test]
fn a_server_that_is_too_busy_is_left_alone_for_as_long_as_it_says() {
    let rig = Rig::start(|api| api.script().busy = true, &[]);
    let asked = || {
        let all = &rig.api.script().times;
        let services = all.iter().filter(|(_, asked)| asked.starts_with(SERVICES));
        services.map(|(at, _)| *at).collect::<Vec<_>>()
    };
    wait("three requests for services", || asked().len() >= 3);
    rig.api.script().busy = false;
    rig.agent.wait_until_published();
    let asked = asked();
    let pauses: Vec<_> = asked
        .windows(2)
        .map(|two| two[1] - two[0])
        .take(2)
        .collect();
    let least = Duration::from_secs(1);
    assert!(pauses.iter().all(|pause| *pause >= least), "{pauses:?}");
    rig.agent.wait_for(&["watch failed", "too-many-requests"]);
}

#[test]
fn a_long_list_comes_in_pages() {
    let prepare = |api: &Api| {
        api.script().refuses_streams = true;
        for number in 0..1_200 {
            api.put(SERVICES, service(&format!("s{number}"), "10.0.3.1"));
        }
    };
    let rig = Rig::live(prepare, &[], 4);
    for name in ["a", "s0", "s499", "s500", "s1199"] {
        assert_ne!(rig.place.query(name), "pass(ask-miss)", "{name}");
    }
    let script = rig.api.script();
    let asked = script
        .times
        .iter()
        .filter(|(_, asked)| asked.starts_with(SERVICES) && asked.contains("limit="));
    assert_eq!(asked.count(), 3);
}

/// The cluster's storage was restored from a backup, and the server refuses what it does not have, but does not
/// say where it is.
#[test]
fn a_version_that_the_server_never_had_is_given_up() {
    let rig = Rig::live(|_| {}, &[], 4);
    {
        let mut script = rig.api.script();
        script.newest = Some(0);
        script.take(SERVICES, "a");
        script.disconnect();
    }
    rig.agent.wait_for(&["watch failed", "ahead", "services"]);
    rig.wait_for("a", "pass(ask-miss)");
    assert_eq!(rig.place.query("db"), "10.0.1.1\n10.0.1.2");
}

/// The same with a server that accepts such a watch and says nothing.
#[test]
fn a_server_that_is_behind_what_was_seen_is_listed_at_once() {
    for refuses_streams in [false, true] {
        let rig = Rig::live(|api| api.script().refuses_streams = refuses_streams, &[], 4);
        // Five objects are listed: behind what the watch of services has seen, and no other. What one finds
        // counts for all.
        rig.api.put(SERVICES, service("late", "10.0.0.8"));
        rig.wait_for("late", "10.0.0.8");
        {
            let mut script = rig.api.script();
            script.restored = Some(5);
            script.take(SERVICES, "late");
            script.take(SLICES, "db-by-hand");
            script.disconnect();
        }
        rig.agent
            .wait_for(&["watch failed", "restored", "services"]);
        rig.wait_for("late", "pass(ask-miss)");
        rig.wait_for("db", "10.0.1.1");
        assert_eq!(rig.place.query("a"), "10.0.0.1");
    }
}

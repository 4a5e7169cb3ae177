//! Fan-out with a real NATS server: a publisher watches an API server that can be told to fail, agents follow
//! the bucket, and what is asked is the zone that they publish. An agent has an API server of its own to
//! fall back to, so that what it asks of it is seen.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

#[path = "support/api.rs"]
#[allow(dead_code, reason = "each test file uses its own part")]
mod api;
#[path = "fanout/doubts.rs"]
mod doubts;
#[path = "fanout/leaders.rs"]
mod leaders;
#[path = "support/nats.rs"]
mod nats;
#[path = "fanout/permissions.rs"]
mod permissions;
#[path = "fanout/replicas.rs"]
mod replicas;
#[path = "fanout/restored.rs"]
mod restored;
#[path = "fanout/security.rs"]
mod security;
#[path = "support/place.rs"]
mod support;

use api::{Api, NAMESPACES, SERVICES, SLICES};
use nats::Nats;
use serde_json::{Value, json};
use std::fs;
use support::{Agent, Place, get, wait};

/// Short times, and no random part of them.
const CONFIG: &str = "processes: {accept_any_nameserver: true}\n\
    fanout: {beat: 300ms, patience: 8s, spread: 0ms}\n";

fn service(name: &str, address: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"clusterIP": address, "clusterIPs": [address]}})
}

/// A slice of the service `db`, of one of the three selectors.
fn slice(name: &str, selected: &str, address: &str) -> Value {
    let mut labels = json!({"kubernetes.io/service-name": "db"});
    match selected {
        "headless" => labels["service.kubernetes.io/headless"] = "".into(),
        "proxied" => {
            labels["endpointslice.kubernetes.io/managed-by"] =
                "endpointslice-controller.k8s.io".into();
        }
        _ => {}
    }
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "addressType": "IPv4", "ports": [], "endpoints": [{"addresses": [address]}]})
}

/// A small cluster.
fn cluster() -> Api {
    let api = Api::start();
    let namespace = json!({"apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
        "metadata": {"name": "shop"}});
    api.put(NAMESPACES, namespace);
    api.put(SERVICES, service("a", "10.0.0.1"));
    api.put(SERVICES, service("db", "None"));
    api.put(SLICES, slice("db-x", "headless", "10.0.1.1"));
    api.put(SLICES, slice("db-by.hand", "other", "10.0.1.2"));
    api
}

/// The servers, and where a node's zone is.
struct Rig {
    nats: Nats,
    /// What the publisher watches.
    api: Api,
    /// What the agent falls back to: the same cluster, told apart by `own`.
    own: Api,
    place: Place,
}

impl Rig {
    fn new(more: &str) -> Self {
        let mut rig = Self {
            nats: Nats::start(more),
            api: cluster(),
            own: cluster(),
            place: Place::new(),
        };
        rig.own.put(SERVICES, service("own", "10.9.9.9"));
        rig.new_place();
        rig.own.script().times.clear();
        rig
    }

    /// A node that knows nothing yet.
    fn new_place(&mut self) {
        self.place = Place::new();
        fs::write(self.place.path("config"), CONFIG).unwrap();
        self.api
            .kubeconfig(&self.place.path("publisher.kubeconfig"));
        self.own.kubeconfig(&self.place.path("agent.kubeconfig"));
    }

    /// Starts a publisher, and waits until everything is in the bucket.
    fn publisher(&self, name: &str, options: &[&str]) -> Agent {
        let publisher = self.candidate(name, options);
        publisher.wait_for(&["everything is listed and in the bucket"]);
        publisher
    }

    /// Starts a publisher that logs under this name.
    fn candidate(&self, name: &str, options: &[&str]) -> Agent {
        let (config, kubeconfig) = (self.file("config"), self.file("publisher.kubeconfig"));
        let url = self.nats.url();
        let mut all = vec!["publish", "--config", &config, "--kubeconfig", &kubeconfig];
        all.extend(["--identity", name]);
        if !options.contains(&"--to") {
            all.extend(["--to", &url]);
        }
        all.extend(options);
        self.place.run(name, &all)
    }

    /// Starts the node's agent.
    fn agent(&self, options: &[&str]) -> Agent {
        let config = self.file("config");
        let url = self.nats.url();
        let mut all = vec!["--config", &config];
        if !options.contains(&"--source") {
            all.extend(["--source", &url]);
        }
        all.extend(options);
        self.place
            .watcher(&self.place.path("agent.kubeconfig"), &all)
    }

    fn file(&self, name: &str) -> String {
        self.place.path(name).to_str().unwrap().to_owned()
    }

    fn wait_for(&self, name: &str, answer: &str) {
        let mut last = String::new();
        wait(&format!("{name} to be {answer}"), || {
            last = self.place.query(name);
            last == answer
        });
    }

    /// What the agent asked of the API server that it falls back to.
    fn asked(&self) -> usize {
        self.own.script().times.len()
    }
}

impl Agent {
    /// A figure of it; 0 when there is none.
    fn figure(&self, name: &str) -> f64 {
        let text = get(&self.address(), "/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    fn wait_for_figure(&self, name: &str, wanted: f64) {
        wait(&format!("{name} to be {wanted}"), || {
            self.figure(name) == wanted
        });
    }
}

/// Where objects come from.
const FROM_BUCKET: &str = "nss_k8s_fanout_feed{feed=\"bucket\"}";
const FROM_API: &str = "nss_k8s_fanout_feed{feed=\"api\"}";
/// How the bucket was begun with.
const REPLAYS: &str = "nss_k8s_fanout_starts_total{way=\"replay\"}";
const RESUMES: &str = "nss_k8s_fanout_starts_total{way=\"resume\"}";

#[test]
fn what_is_published_is_in_the_zone() {
    let rig = Rig::new("");
    let publisher = rig.publisher("p", &[]);
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    assert_eq!(rig.place.query("a"), "10.0.0.1");
    assert_eq!(rig.place.query("db"), "10.0.1.1\n10.0.1.2");
    rig.api.put(SERVICES, service("a", "10.0.0.9"));
    rig.wait_for("a", "10.0.0.9");
    rig.api.put(SLICES, slice("db-x", "headless", "10.0.1.3"));
    rig.wait_for("db", "10.0.1.2\n10.0.1.3");
    rig.api.delete(SLICES, "db-by.hand");
    rig.wait_for("db", "10.0.1.3");
    rig.api.delete(SERVICES, "a");
    rig.wait_for("a", "pass(ask-miss)");
    assert_eq!(rig.asked(), 0, "the agent asked the API server");
    assert_eq!(agent.figure(FROM_BUCKET), 1.0);
    assert_eq!(publisher.figure("nss_k8s_fanout_leading"), 1.0);
    assert!(get(&publisher.address(), "/readyz").starts_with("HTTP/1.1 200"));
    let asked: Vec<_> = rig.api.script().asked.iter().cloned().collect();
    let paths = [NAMESPACES, SERVICES, SLICES].map(|path| format!("GET {path}"));
    assert_eq!(asked, paths, "nothing else needs to be allowed");
}

#[test]
fn agents_take_what_they_want_of_all_slices() {
    let rig = Rig::new("");
    let mut proxied = slice("a-x", "proxied", "10.0.1.9");
    proxied["metadata"]["labels"]["kubernetes.io/service-name"] = "a".into();
    proxied["endpoints"][0]["hostname"] = "zero".into();
    rig.api.put(SLICES, proxied);
    let _publisher = rig.publisher("p", &["--endpoint-slices=all"]);
    let agent = rig.agent(&["--endpoint-slices=all"]);
    agent.wait_until_published();
    assert_eq!(rig.place.query("db"), "10.0.1.1\n10.0.1.2");
    assert_eq!(rig.place.query("zero.a"), "10.0.1.9");
    let received = "nss_k8s_fanout_records_total";
    assert_eq!(agent.figure(received), 6.0);
    agent.end(libc::SIGTERM);
    fs::remove_file(rig.place.path("log")).unwrap();
    fs::remove_dir_all(rig.place.path("base")).unwrap();
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    assert_eq!(rig.place.query("db"), "10.0.1.1\n10.0.1.2");
    assert_eq!(agent.figure(received), 5.0, "not the rest");
    assert_eq!(rig.asked(), 0);
}

/// An object that is only told apart by what it is not served of is not sent again.
#[test]
fn only_what_counts_is_written() {
    let rig = Rig::new("");
    let publisher = rig.publisher("p", &[]);
    let written = publisher.figure("nss_k8s_fanout_published_total");
    assert_eq!(written, 5.0);
    let mut same = service("a", "10.0.0.1");
    same["status"] = json!({"loadBalancer": {}});
    rig.api.put(SERVICES, same);
    rig.api.put(SERVICES, service("b", "10.0.0.2"));
    publisher.wait_for_figure("nss_k8s_fanout_published_total", written + 1.0);
    let keys = rig.nats.with(async |bucket| {
        use futures::TryStreamExt;
        let keys = bucket.keys().await.unwrap();
        let mut keys: Vec<_> = keys.try_collect().await.unwrap();
        keys.sort();
        keys
    });
    assert_eq!(
        keys,
        [
            "base.namespaces.shop",
            "base.other-slices.shop.db-by.hand",
            "base.services.shop.a",
            "base.services.shop.b",
            "base.services.shop.db",
            "base.slices.shop.db-x",
            "base.state",
        ]
    );
}

#[test]
fn the_next_agent_goes_on_without_reading_all_of_it() {
    let rig = Rig::new("");
    let _publisher = rig.publisher("p", &[]);
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    assert_eq!(agent.figure(REPLAYS), 1.0);
    agent.end(libc::SIGKILL);
    fs::remove_file(rig.place.path("log")).unwrap();
    rig.api.delete(SERVICES, "a");
    rig.api.put(SERVICES, service("b", "10.0.0.2"));
    rig.api.put(SLICES, slice("db-x", "headless", "10.0.1.3"));
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    rig.wait_for("a", "pass(ask-miss)");
    rig.wait_for("b", "10.0.0.2");
    rig.wait_for("db", "10.0.1.2\n10.0.1.3");
    assert_eq!((agent.figure(REPLAYS), agent.figure(RESUMES)), (0.0, 1.0));
    assert!(agent.figure("nss_k8s_fanout_records_total") <= 3.0);
    assert_eq!(rig.asked(), 0);
    // And it follows, and another one after it goes on from there.
    rig.api.put(SERVICES, service("c", "10.0.0.3"));
    rig.wait_for("c", "10.0.0.3");
    agent.end(libc::SIGTERM);
    fs::remove_file(rig.place.path("log")).unwrap();
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    assert_eq!(rig.place.query("c"), "10.0.0.3");
    assert_eq!((agent.figure(REPLAYS), agent.figure(RESUMES)), (0.0, 1.0));
}

#[test]
fn a_restart_of_nats_costs_nothing() {
    let mut rig = Rig::new("");
    let _publisher = rig.publisher("p", &[]);
    let agent = rig.agent(&[]);
    agent.wait_until_published();
    rig.nats.stop();
    rig.api.put(SERVICES, service("a", "10.0.0.9"));
    assert_eq!(rig.place.query("a"), "10.0.0.1");
    rig.nats.run();
    rig.wait_for("a", "10.0.0.9");
    assert_eq!(agent.figure(REPLAYS), 1.0);
}

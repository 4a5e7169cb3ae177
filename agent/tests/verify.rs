//! The verifier of the built binary, against a DNS server that says what the zone says, one that lies, one
//! that is behind for a while, one that fails, and one that is an agent itself.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]
#![allow(dead_code, reason = "the server can do more than is wanted here")]

#[path = "forward/server.rs"]
mod server;
#[path = "support/place.rs"]
mod support;

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{
        RData, Record, RecordType,
        rdata::{A, CNAME, HINFO, PTR, SRV},
    },
};
use server::{Action, Server, empty, name};
use std::{
    collections::{HashMap, HashSet},
    fs,
};
use support::{Agent, Place, get, wait};

const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: Service
metadata: {name: api, namespace: shop}
spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80, protocol: TCP}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {clusterIP: None, ports: [{name: pg, port: 5432, protocol: TCP}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: db-1
  namespace: shop
  labels: {kubernetes.io/service-name: db, service.kubernetes.io/headless: ''}
addressType: IPv4
ports: [{name: pg, port: 5432, protocol: TCP}]
endpoints: [{addresses: [10.244.0.7], hostname: db-0, conditions: {ready: true}}]
---
apiVersion: v1
kind: Service
metadata: {name: legacy, namespace: shop}
spec: {type: ExternalName, externalName: legacy.example.com}
";

const API: &str = "api.shop.svc.cluster.local.";

/// What the zone holds, as a server knows it.
fn truth() -> HashMap<(String, RecordType), RData> {
    let db = "db.shop.svc.cluster.local.";
    let db_0 = format!("db-0.{db}");
    let srv = |port, target: &str| RData::SRV(SRV::new(0, 100, port, name(target)));
    let ptr = |target: &str| RData::PTR(PTR(name(target)));
    let a = |text: &str| RData::A(A(text.parse().unwrap()));
    HashMap::from([
        ((API.to_owned(), RecordType::A), a("10.0.0.1")),
        ((format!("_http._tcp.{API}"), RecordType::SRV), srv(80, API)),
        (
            ("1.0.0.10.in-addr.arpa.".to_owned(), RecordType::PTR),
            ptr(API),
        ),
        ((db.to_owned(), RecordType::A), a("10.244.0.7")),
        ((db_0.clone(), RecordType::A), a("10.244.0.7")),
        (
            (format!("_pg._tcp.{db}"), RecordType::SRV),
            srv(5432, &db_0),
        ),
        (
            ("7.0.244.10.in-addr.arpa.".to_owned(), RecordType::PTR),
            ptr(&db_0),
        ),
        (
            (
                "legacy.shop.svc.cluster.local.".to_owned(),
                RecordType::CNAME,
            ),
            RData::CNAME(CNAME(name("legacy.example.com."))),
        ),
    ])
}

/// Answers from the truth, but `api`'s address is this.
fn answer(query: &Message, api: &str) -> Message {
    let asked = &query.queries[0];
    let (owner, kind) = (asked.name().to_string(), asked.query_type());
    let mut truth = truth();
    truth.insert(
        (API.to_owned(), RecordType::A),
        RData::A(A(api.parse().unwrap())),
    );
    let mut names: HashSet<String> = truth.keys().map(|(owner, _)| owner.clone()).collect();
    names.insert("shop.svc.cluster.local.".to_owned());
    let found = truth.get(&(owner.clone(), kind));
    let found = found.or_else(|| truth.get(&(owner.clone(), RecordType::CNAME)));
    let mut message = empty(if names.contains(&owner) {
        ResponseCode::NoError
    } else {
        ResponseCode::NXDomain
    });
    if let Some(data) = found {
        message.add_answer(Record::from_rdata(asked.name().clone(), 5, data.clone()));
    }
    message
}

/// An agent that verifies against a server.
struct Rig {
    _place: Place,
    agent: Agent,
}

impl Rig {
    fn start(server: &Server, more: &str) -> Self {
        let place = Place::new();
        place.write("shop.yaml", SHOP);
        let config = place.path("config.yaml");
        let text = format!(
            "verify: {{interval: 1s, sample: 100, settle: 50ms, timeout: 1s, servers: ['{}']}}\n{more}",
            server.address
        );
        fs::write(&config, text).unwrap();
        let agent = place.agent(&[
            "--cluster-dns",
            "10.96.0.10",
            "--config",
            config.to_str().unwrap(),
        ]);
        agent.wait_until_published();
        Self {
            _place: place,
            agent,
        }
    }

    /// How many names came to this.
    fn count(&self, result: &str) -> u64 {
        let line = format!("nss_k8s_verify_total{{result=\"{result}\"}} ");
        let metrics = get(&self.agent.address(), "/metrics");
        let value = metrics.lines().find_map(|it| it.strip_prefix(&line));
        value
            .unwrap_or_else(|| panic!("no {line}"))
            .parse()
            .unwrap()
    }

    /// Waits until so many names came to this.
    fn until(&self, result: &str, least: u64) {
        wait(result, || self.count(result) >= least);
    }
}

const ON: &str = "classes: [{name: default, shadow: true}]";

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_agrees_differs_in_nothing() {
    let server = Server::start(|query| Action::Answer(answer(query, "10.0.0.1"))).await;
    let rig = Rig::start(&server, ON);
    rig.until("same", 150);
    assert_eq!(
        (
            rig.count("different"),
            rig.count("failed"),
            rig.count("changing")
        ),
        (0, 0, 0),
        "{}",
        rig.agent.log()
    );
    // Everything that there is was asked for, and what there is not.
    for asked in [
        "api.shop.svc.cluster.local. a",
        "api.shop.svc.cluster.local. aaaa",
        "_http._tcp.api.shop.svc.cluster.local. srv",
        "1.0.0.10.in-addr.arpa. ptr",
        "db-0.db.shop.svc.cluster.local. a",
        "7.0.244.10.in-addr.arpa. ptr",
        "legacy.shop.svc.cluster.local. a",
    ] {
        wait(asked, || server.count(asked) > 0);
    }
    let absent = |it: &String| it.contains("nss-k8s-verify-");
    assert!(server.asked().iter().any(absent), "no absent name");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lies_is_counted_and_logged() {
    let server = Server::start(|query| Action::Answer(answer(query, "10.9.9.9"))).await;
    let rig = Rig::start(&server, ON);
    rig.until("different", 3);
    let log = rig.agent.log();
    let line = log.lines().find(|line| line.contains("differ")).unwrap();
    for part in [
        "api.shop.svc.cluster.local",
        "10.0.0.1",
        "10.9.9.9",
        "kind=A",
    ] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(rig.count("same") > 0, "the rest is the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_behind_for_a_while_does_not_differ() {
    // The first answer about the address is an old one, as of a cache.
    let mut behind = true;
    let server = Server::start(move |query| {
        let asked = &query.queries[0];
        let is_address = asked.name().to_string() == API && asked.query_type() == RecordType::A;
        let old = is_address && core::mem::take(&mut behind);
        Action::Answer(answer(query, if old { "10.9.9.9" } else { "10.0.0.1" }))
    })
    .await;
    let rig = Rig::start(&server, ON);
    wait("a second look", || {
        server.count("api.shop.svc.cluster.local. a") >= 2
    });
    rig.until("same", 100);
    assert_eq!(rig.count("different"), 0, "{}", rig.agent.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_fails_is_no_difference() {
    let server = Server::start(|query| match query.queries[0].query_type() {
        RecordType::HINFO => Action::Answer(empty(ResponseCode::NXDomain)),
        _ => Action::Answer(empty(ResponseCode::ServFail)),
    })
    .await;
    let rig = Rig::start(&server, ON);
    rig.until("failed", 20);
    assert_eq!((rig.count("same"), rig.count("different")), (0, 0));
}

/// The zone compared with itself would always be right.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_is_not_compared_with() {
    let server = Server::start(|query| {
        let asked = &query.queries[0];
        let mut message = answer(query, "10.0.0.1");
        if asked.query_type() == RecordType::HINFO {
            let sign = HINFO::new("nss-k8s".to_owned(), "agent".to_owned());
            message = empty(ResponseCode::NoError);
            let owner = asked.name().clone();
            message.add_answer(Record::from_rdata(owner, 0, RData::HINFO(sign)));
        }
        Action::Answer(message)
    })
    .await;
    let rig = Rig::start(&server, ON);
    rig.agent.wait_for(&["not verified against itself"]);
    wait("a second round", || server.asked().len() >= 2);
    assert_eq!(rig.count("same"), 0);
    assert!(server.asked().iter().all(|it| it.ends_with("hinfo")));
}

/// Nobody is asked anything where no class is in shadow, unless that is wanted.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_off_without_a_class_in_shadow() {
    let server = Server::start(|query| Action::Answer(answer(query, "10.0.0.1"))).await;
    let quiet = Rig::start(&server, "");
    let other = Server::start(|query| Action::Answer(answer(query, "10.0.0.1"))).await;
    let busy = Rig::start(&other, ON);
    busy.until("same", 20);
    assert_eq!((quiet.count("same"), server.asked().len()), (0, 0));
}

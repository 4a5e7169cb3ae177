//! The whole way of a message, over a zone of the real writer and scripted upstreams.

use super::*;
use crate::{config::Config, forward::Lifetimes, publish::unix_now};
use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RData, Record, RecordType, rdata},
};
use nss_k8s_zone::{
    Address, Config as ZoneConfig, Endpoint, Family, MissPolicy, Options, PodMode, Port, Protocol,
    ServiceBody, ServiceKey, Slice, SliceId, Writer,
};
use std::{net::Ipv4Addr, sync::Mutex};
use tempfile::TempDir;

/// A zone, who answers from it, and what was asked of upstreams.
struct World {
    answerer: Answerer,
    asked: Arc<Mutex<Vec<String>>>,
    _writer: Writer,
    _root: TempDir,
}

/// Has `www.example.com`; anything else does not exist, and `broken.example.com` is SERVFAIL.
struct Script(Arc<Mutex<Vec<String>>>);

impl Upstreams for Script {
    fn held(&self, _: Option<&Class>, question: &Question) -> Option<forward::Answer> {
        question
            .to_string()
            .starts_with("held.")
            .then(|| reply(question))
    }

    fn ask<'q>(
        &'q self,
        _: Option<&'q Class>,
        question: &'q Question,
    ) -> Pin<Box<dyn Future<Output = forward::Answer> + Send + 'q>> {
        self.0.lock().unwrap().push(question.to_string());
        Box::pin(core::future::ready(reply(question)))
    }
}

fn reply(question: &Question) -> forward::Answer {
    let query = question.to_query();
    let name = query.name().clone();
    let mut message = Message::query();
    message.metadata.recursion_available = true;
    let text = name.to_string();
    if text.starts_with("broken.") {
        message.metadata.response_code = ResponseCode::ServFail;
    } else if text.starts_with("www.") || text.starts_with("held.") {
        if query.query_type() == RecordType::A {
            let data = RData::A(rdata::A(Ipv4Addr::new(192, 0, 2, 80)));
            message.answers.push(Record::from_rdata(name, 60, data));
        }
    } else {
        message.metadata.response_code = ResponseCode::NXDomain;
    }
    let bounds = Lifetimes {
        min: 0,
        max: 3600,
        negative: 30,
        failure: 1,
    };
    let reply = forward::Reply::new(message, question, &bounds).expect("a reply");
    forward::Answer::fresh(Arc::new(reply), forward::Source::Upstream)
}

impl World {
    fn new(config: &str) -> Self {
        let root = tempfile::tempdir_in("/dev/shm").expect("a tmpfs");
        std::fs::set_permissions(
            root.path(),
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        let options = Options::new(root.path(), "cluster.local");
        let path = options.zone_path();
        let (mut writer, _) = Writer::open(options).unwrap();
        let settings = ZoneConfig {
            miss_policy: MissPolicy::Ask,
            pod_mode: PodMode::Insecure,
            excepted_suffixes: vec!["mesh.shop.svc.cluster.local".into()],
            ..ZoneConfig::default()
        };
        writer.configure(&settings).unwrap();
        writer.put_namespace("shop").unwrap();
        let key = |name| ServiceKey::new(name, "shop").unwrap();
        let http = |name: &str| Port {
            name: name.into(),
            protocol: Protocol::Tcp,
            number: 80,
        };
        let api = ServiceBody::ClusterIp {
            addresses: vec![Address::v4([10, 96, 1, 10])],
            ports: vec![http("http")],
        };
        writer.put_service(&key("api"), &api).unwrap();
        let legacy = ServiceBody::External {
            target: "www.example.com".into(),
        };
        writer.put_service(&key("legacy"), &legacy).unwrap();
        let broken = ServiceBody::External {
            target: "broken.example.com".into(),
        };
        writer.put_service(&key("broken"), &broken).unwrap();
        let crowd = ServiceBody::Headless { ports: Vec::new() };
        writer.put_service(&key("crowd"), &crowd).unwrap();
        let endpoints = (0..200).map(|last| Endpoint::ready(Address::v4([10, 244, 7, last])));
        let slice = Slice {
            family: Family::V4,
            ports: vec![http("http")],
            endpoints: endpoints.collect(),
        };
        writer.put_slice(&key("crowd"), SliceId(1), &slice).unwrap();
        writer.beat(unix_now());
        writer.set_synced(unix_now());
        let asked = Arc::default();
        let policy = Policy::new(&Config::parse(config).unwrap());
        let upstreams = Arc::new(Script(Arc::clone(&asked)));
        Self {
            answerer: Answerer::new(&path, policy, upstreams).unwrap(),
            asked,
            _writer: writer,
            _root: root,
        }
    }

    /// The answer over TCP.
    fn ask(&self, name: &str, kind: RecordType) -> Message {
        let message = self.exchange(&query(name, kind), LOCAL);
        Message::from_vec(&message.expect("an answer")).expect("a message")
    }

    fn exchange(&self, message: &[u8], way: Way<'_>) -> Option<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        runtime.block_on(self.answerer.answer(message, way))
    }

    fn take_asked(&self) -> Vec<String> {
        core::mem::take(&mut self.asked.lock().unwrap())
    }
}

/// A pod of the class `default`.
fn client(view: &str) -> Client {
    Client {
        class: Class::new("default"),
        view: view.into(),
        name: "pod".into(),
    }
}

const LOCAL: Way<'static> = Way::Tcp(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST));

fn query(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = 77;
    message.metadata.recursion_desired = true;
    // The case is kept.
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    message.to_vec().unwrap()
}

fn addresses(message: &Message) -> Vec<String> {
    let mut all: Vec<String> = message
        .answers
        .iter()
        .map(|it| it.data.to_string())
        .collect();
    all.sort();
    all
}

#[test]
fn the_zone_answers_with_authority() {
    let world = World::new("");
    let answer = world.ask("Api.shop.svc.cluster.local.", RecordType::A);
    assert_eq!(addresses(&answer), ["10.96.1.10"]);
    let flags = &answer.metadata;
    assert!(flags.authoritative && flags.recursion_desired && !flags.recursion_available);
    assert_eq!(
        answer.answers[0].name.to_string(),
        "Api.shop.svc.cluster.local."
    );
    for (name, kind, code) in [
        (
            "api.shop.svc.cluster.local.",
            RecordType::AAAA,
            ResponseCode::NoError,
        ),
        (
            "api.shop.svc.cluster.local.",
            RecordType::ANY,
            ResponseCode::NoError,
        ),
        (
            "x.nowhere.svc.cluster.local.",
            RecordType::A,
            ResponseCode::NXDomain,
        ),
        (
            "_no._tcp.api.shop.svc.cluster.local.",
            RecordType::SRV,
            ResponseCode::NXDomain,
        ),
    ] {
        let answer = world.ask(name, kind);
        assert_eq!(answer.metadata.response_code, code, "{name}");
        assert!(
            answer.answers.is_empty() && answer.authorities.len() == 1,
            "{name}"
        );
        assert_eq!(answer.authorities[0].name.to_string(), "cluster.local.");
    }
    assert!(world.take_asked().is_empty());
}

#[test]
fn what_only_dns_can_tell_is_asked() {
    let world = World::new("");
    for (name, kind) in [
        ("www.example.com.", RecordType::A),
        ("nosuch.shop.svc.cluster.local.", RecordType::A),
        ("a.mesh.shop.svc.cluster.local.", RecordType::A),
        ("cluster.local.", RecordType::NS),
        ("1.2.0.192.in-addr.arpa.", RecordType::PTR),
        (".", RecordType::NS),
    ] {
        world.ask(name, kind);
        let question = format!("{name} {kind}");
        assert_eq!(world.take_asked(), [question]);
    }
    world.ask("held.example.com.", RecordType::A);
    assert!(world.take_asked().is_empty(), "it is known");
}

#[test]
fn an_alias_that_leaves_the_zone_is_followed() {
    let world = World::new("");
    let answer = world.ask("legacy.shop.svc.cluster.local.", RecordType::A);
    assert_eq!(addresses(&answer), ["192.0.2.80", "www.example.com."]);
    assert_eq!(answer.answers[0].record_type(), RecordType::CNAME);
    assert_eq!(world.take_asked(), ["www.example.com. A"]);
    let answer = world.ask("broken.shop.svc.cluster.local.", RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    assert!(answer.answers.is_empty());
    let answer = world.ask("legacy.shop.svc.cluster.local.", RecordType::CNAME);
    assert_eq!(addresses(&answer), ["www.example.com."]);
}

#[test]
fn datagrams_are_as_long_as_the_client_takes() {
    let world = World::new("");
    let plain = query("crowd.shop.svc.cluster.local.", RecordType::A);
    let mut extended = plain.clone();
    extended[11] = 1;
    extended.extend(b"\0\0\x29\x10\0\0\0\0\0\0\0");
    for (message, way, limit) in [
        (&plain, Way::Udp, 512),
        (&extended, Way::Udp, 1232),
        (&plain, LOCAL, 65_535),
    ] {
        let answer = world.exchange(message, way).unwrap();
        assert!(answer.len() <= limit);
        let parsed = Message::from_vec(&answer).unwrap();
        assert_eq!(parsed.metadata.truncation, limit < 65_535);
        assert_eq!(parsed.answers.len() == 200, limit == 65_535);
        assert!(parsed.answers.len() > 20);
        assert_eq!(parsed.edns.is_some(), limit == 1232);
    }
}

#[test]
fn rules_come_first() {
    let world = World::new(
        "rewrite:
  - {exact: shop.example.com, to: api.shop.svc.cluster.local}
  - {suffix: .corp.example.com, to: .example.com}
block: [bad.example.com]
hosts: [{names: [one.example.com], addresses: [192.0.2.1], ttl: 7s}]
",
    );
    let answer = world.ask("Shop.example.com.", RecordType::A);
    assert_eq!(answer.queries[0].name().to_string(), "Shop.example.com.");
    assert_eq!(answer.answers[0].name.to_string(), "Shop.example.com.");
    assert_eq!(addresses(&answer), ["10.96.1.10"]);

    let answer = world.ask("Www.corp.example.com.", RecordType::A);
    assert_eq!(world.take_asked(), ["www.example.com. A"]);
    assert_eq!(
        answer.queries[0].name().to_string(),
        "Www.corp.example.com."
    );
    assert_eq!(answer.answers[0].name.to_string(), "Www.corp.example.com.");

    let answer = world.ask("x.Bad.example.com.", RecordType::A);
    assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
    assert_eq!(answer.authorities[0].name.to_string(), "Bad.example.com.");

    let answer = world.ask("one.example.com.", RecordType::A);
    assert_eq!(
        (addresses(&answer), answer.answers[0].ttl),
        (vec!["192.0.2.1".into()], 7)
    );
    let answer = world.ask("one.example.com.", RecordType::AAAA);
    assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
    assert!(answer.answers.is_empty());
    let answer = world.ask("1.2.0.192.in-addr.arpa.", RecordType::PTR);
    assert_eq!(addresses(&answer), ["one.example.com."]);
    assert!(world.take_asked().is_empty());
}

#[test]
fn queries_that_are_none_of_ours_are_refused() {
    let world = World::new("");
    let client = client("default");
    let good = query("api.shop.svc.cluster.local.", RecordType::A);
    let end = good.len();
    let chaos = [&good[..end - 1], &[3]].concat();
    let mut version = good.clone();
    version[11] = 1;
    version.extend(b"\0\0\x29\x10\0\0\x01\0\0\0\0");
    for (message, code) in [
        (&chaos, ResponseCode::Refused),
        (&version, ResponseCode::from(1, 0)),
    ] {
        let answer = world.exchange(message, Way::Udp).unwrap();
        let answer = Message::from_vec(&answer).unwrap();
        assert_eq!(answer.metadata.response_code, code);
        assert!(answer.answers.is_empty());
    }
    let transfer = query("cluster.local.", RecordType::AXFR);
    for way in [LOCAL, Way::Udp, Way::Process(&client)] {
        let answer = world.exchange(&transfer, way).unwrap();
        assert_eq!(answer[3], code::REFUSED);
        assert_eq!(answer[2] & 4, 0, "no authority");
    }
    assert_eq!(world.exchange(&good[..11], Way::Udp), None);
}

#[test]
fn the_zone_is_transferred_to_whom_it_is_allowed() {
    let listen = "listen: {addresses: [127.0.0.1], allow_transfer: [127.0.0.0/8]}";
    let world = World::new(listen);
    let transfer = query("Cluster.local.", RecordType::AXFR);
    let mut desk = Desk::new();
    let Begun::Transfer(messages) = world.answerer.begin(&transfer, LOCAL, &mut desk) else {
        panic!("a transfer");
    };
    let mut records = Vec::new();
    for message in messages {
        assert!(message.len() <= 65_535);
        records.extend(Message::from_vec(&message).unwrap().answers);
    }
    let is_authority = |record: Option<&Record>| {
        record.is_some_and(|record| record.record_type() == RecordType::SOA)
    };
    assert!(is_authority(records.first()) && is_authority(records.last()));
    let count = |kind, name: &str| {
        let name = Name::from_ascii(name).unwrap();
        let of = |record: &&Record| record.record_type() == kind && record.name == name;
        records.iter().filter(of).count()
    };
    assert_eq!(count(RecordType::A, "api.shop.svc.cluster.local."), 1);
    assert_eq!(
        count(RecordType::SRV, "_http._tcp.api.shop.svc.cluster.local."),
        1
    );
    assert_eq!(
        count(RecordType::CNAME, "legacy.shop.svc.cluster.local."),
        1
    );
    assert_eq!(count(RecordType::A, "crowd.shop.svc.cluster.local."), 200);
    assert_eq!(
        count(RecordType::A, "10-244-7-9.crowd.shop.svc.cluster.local."),
        1
    );
    assert_eq!(
        count(RecordType::SRV, "_http._tcp.crowd.shop.svc.cluster.local."),
        200
    );
    // Another network, another name.
    let elsewhere = Way::Tcp([192, 0, 2, 1].into());
    for (message, way) in [
        (&transfer, elsewhere),
        (&query("example.com.", RecordType::AXFR), LOCAL),
    ] {
        let begun = world.answerer.begin(message, way, &mut desk);
        assert!(matches!(begun, Begun::Answered) && desk.message()[3] == code::REFUSED);
    }
}

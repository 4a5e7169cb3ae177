//! Upstreams that are dead, slow, broken, or not what they seem.

use crate::{
    Rig, assert_answer, group, nobody, question,
    server::{self, Action, Server, address, empty},
    settings,
};
use hickory_proto::op::{Message, ResponseCode};
use nss_k8s_agent::forward::{Policy, Settings, Source};
use std::time::Duration;

pub(crate) const FIRST: [u8; 4] = [192, 0, 2, 1];
pub(crate) const SECOND: [u8; 4] = [192, 0, 2, 2];

/// A server that answers everything with the address.
pub(crate) async fn good(with: [u8; 4]) -> Server {
    Server::start(move |query| Action::Answer(address(query, 60, with))).await
}

#[tokio::test]
async fn a_name_is_asked_for_over_tcp() {
    let server = good(FIRST).await;
    let rig = Rig::new(&[server.address]);
    let answer = rig.ask("www.example.").await;
    assert_answer(&answer, Source::Upstream, "192.0.2.1");
    assert_eq!(server.asked(), ["www.example. a"]);
    let to = server.address;
    assert_eq!(
        rig.figure(&format!("forward_requests_total{{to=\"{to}\"}}")),
        1.0
    );
    let line = format!("forward_responses_total{{rcode=\"NOERROR\",to=\"{to}\"}}");
    assert_eq!(rig.figure(&line), 1.0);
}

#[tokio::test]
async fn the_next_of_the_group_is_asked_when_one_fails() {
    let broken: [fn(&Message) -> Action; 8] = [
        |_| Action::Close,
        |_| Action::Reset,
        |_| Action::Octets(vec![1, 2, 3]),
        |_| Action::Octets(Vec::new()),
        // Another id.
        |query| {
            let mut answer = address(query, 60, FIRST);
            answer.metadata.id = query.metadata.id.wrapping_add(1);
            answer.metadata.message_type = hickory_proto::op::MessageType::Response;
            answer.queries = query.queries.clone();
            Action::Octets(answer.to_vec().unwrap())
        },
        // Another question.
        |query| {
            let mut answer = address(query, 60, FIRST);
            let mut other = query.queries[0].clone();
            other.set_name(server::name("other.example."));
            answer.queries = vec![other];
            Action::Answer(answer)
        },
        // The query itself.
        |query| Action::Octets(query.to_vec().unwrap()),
        |_| Action::Answer(empty(ResponseCode::ServFail)),
    ];
    for (case, script) in broken.into_iter().enumerate() {
        let (bad, next) = (Server::start(script).await, good(SECOND).await);
        let rig = Rig::new(&[bad.address, next.address]);
        let answer = rig.ask("www.example.").await;
        assert_answer(&answer, Source::Upstream, "192.0.2.2");
        assert!(bad.count("www.example. a") > 0, "case {case}");
    }
}

#[tokio::test]
async fn a_name_with_a_compression_loop_is_no_answer() {
    let script = |query: &Message| {
        let mut octets = Vec::new();
        octets.extend_from_slice(&query.metadata.id.to_be_bytes());
        octets.extend_from_slice(&[0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        octets.extend_from_slice(b"\x03www\x07example\x00\x00\x01\x00\x01");
        // An owner that points at itself.
        octets.extend_from_slice(&[0xc0, 29, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        Action::Octets(octets)
    };
    let server = Server::start(script).await;
    let rig = Rig::new(&[server.address]);
    let answer = rig.ask("www.example.").await;
    assert_eq!(
        (answer.code(), answer.source),
        (ResponseCode::ServFail, Source::Nobody)
    );
    let line = format!(
        "forward_failures_total{{reason=\"garbage\",to=\"{}\"}}",
        server.address
    );
    assert!(rig.figure(&line) > 0.0);
}

#[tokio::test]
async fn a_slow_upstream_gives_way_to_the_next() {
    let slow = Server::start(|_| Action::Hang).await;
    let next = good(SECOND).await;
    let rig = Rig::with(Settings {
        attempt_timeout: Duration::from_millis(50),
        ..settings(&[slow.address, next.address])
    });
    assert_answer(
        &rig.ask("www.example.").await,
        Source::Upstream,
        "192.0.2.2",
    );
    assert_eq!(slow.count("www.example. a"), 1);
}

#[tokio::test]
async fn a_dead_upstream_is_probed_and_comes_back() {
    let mut first = good(FIRST).await;
    let (at, next) = (first.address, good(SECOND).await);
    let mut settings = settings(&[at, next.address]);
    settings.groups[0].probe_every = Duration::from_millis(10);
    settings.cache.entries = 0;
    let rig = Rig::with(settings);
    assert_answer(
        &rig.ask("www.example.").await,
        Source::Upstream,
        "192.0.2.1",
    );
    first.stop().await;
    // Each of these questions may find it dead; probes do in any case.
    let healthy = format!("forward_upstream_healthy{{to=\"{at}\"}}");
    assert_answer(
        &rig.ask("www.example.").await,
        Source::Upstream,
        "192.0.2.2",
    );
    rig.until("down", |rig| rig.figure(&healthy) == 0.0).await;
    let order = rig.forwarder.upstreams(&question("www.example."));
    assert_eq!(order, [next.address, at], "the dead one is asked last");
    drop(first);

    // Somebody listens there again.
    let listener = tokio::net::TcpListener::bind(at).await.unwrap();
    let back = tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                while let Ok(length) = stream.read_u16().await {
                    let mut octets = vec![0; length.into()];
                    stream.read_exact(&mut octets).await.unwrap();
                    octets[2] |= 0x80;
                    stream.write_u16(length).await.unwrap();
                    stream.write_all(&octets).await.unwrap();
                }
            });
        }
    });
    rig.until("up again", |rig| rig.figure(&healthy) == 1.0)
        .await;
    back.abort();
}

#[tokio::test]
async fn a_late_answer_alone_does_not_take_an_upstream_down() {
    let script = |query: &Message| match query.queries[0].name().to_string().as_str() {
        "dead.example." => Action::Hang,
        _ => Action::Answer(address(query, 60, FIRST)),
    };
    let server = Server::start(script).await;
    let rig = Rig::with(Settings {
        timeout: Duration::from_millis(50),
        ..settings(&[server.address])
    });
    for _ in 0..3 {
        assert_eq!(
            rig.ask("dead.example.").await.code(),
            ResponseCode::ServFail
        );
        rig.until("forgotten", |rig| {
            rig.forwarder
                .cached(None, &question("dead.example."))
                .is_none()
        })
        .await;
    }
    // A probe was sent and answered.
    server.wait_for(". ns", 1).await;
    let line = format!("forward_upstream_healthy{{to=\"{}\"}}", server.address);
    assert_eq!(rig.figure(&line), 1.0);
    assert_answer(
        &rig.ask("www.example.").await,
        Source::Upstream,
        "192.0.2.1",
    );
}

#[tokio::test]
async fn no_other_group_stands_in_for_a_stub_domain() {
    let default = good(FIRST).await;
    let mut settings = settings(&[default.address]);
    settings
        .groups
        .push(group(&["corp.example."], &[nobody().await]));
    let stub = good(SECOND).await;
    settings
        .groups
        .push(group(&["db.corp.example."], &[stub.address]));
    let rig = Rig::with(settings);
    let answer = rig.ask("www.corp.example.").await;
    assert_eq!(
        (answer.code(), answer.source),
        (ResponseCode::ServFail, Source::Nobody)
    );
    assert_answer(
        &rig.ask("a.DB.corp.example.").await,
        Source::Upstream,
        "192.0.2.2",
    );
    assert_answer(
        &rig.ask("xcorp.example.").await,
        Source::Upstream,
        "192.0.2.1",
    );
    assert_eq!(default.asked(), ["xcorp.example. a"]);
    assert_eq!(stub.asked(), ["a.db.corp.example. a"]);
}

#[tokio::test]
async fn every_policy_uses_all_upstreams_but_sequential() {
    for policy in [Policy::Random, Policy::RoundRobin, Policy::Sequential] {
        let servers = [good(FIRST).await, good(SECOND).await];
        let mut settings = settings(&[servers[0].address, servers[1].address]);
        settings.groups[0].policy = policy;
        let rig = Rig::with(settings);
        for number in 0..64 {
            rig.ask(&format!("{number}.example.")).await;
        }
        let counts = servers.map(|server| server.asked().len());
        match policy {
            Policy::Sequential => assert_eq!(counts, [64, 0]),
            Policy::RoundRobin => assert_eq!(counts, [32, 32]),
            // All 64 of one kind: once in 2^63 runs.
            Policy::Random => assert!(counts[0] > 0 && counts[1] > 0, "{counts:?}"),
        }
    }
}

#[tokio::test]
async fn refused_everywhere_is_refused() {
    let script = |_: &Message| Action::Answer(empty(ResponseCode::Refused));
    let servers = [Server::start(script).await, Server::start(script).await];
    let rig = Rig::new(&[servers[0].address, servers[1].address]);
    let answer = rig.ask("www.example.").await;
    assert_eq!(
        (answer.code(), answer.source),
        (ResponseCode::Refused, Source::Upstream)
    );
    assert_eq!(
        servers.map(|it| it.asked().len()),
        [1, 1],
        "each is asked once"
    );
}

//! Upstreams that are dead, slow, broken, or not what they seem.

use crate::{
    Rig, assert_answer, group, nobody, question,
    server::{self, Action, Over, Server, address, empty, is_probe},
    settings,
};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use nss_k8s_agent::forward::{
    Policy, PoolSettings, Question, Settings, Source, Transport, UpstreamSettings,
};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_rustls::TlsAcceptor;

const FIRST: [u8; 4] = [192, 0, 2, 1];
const SECOND: [u8; 4] = [192, 0, 2, 2];

/// A server that answers everything with the address.
async fn good(with: [u8; 4]) -> Server {
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

// ---- connections --------------------------------------------------------------------------------

#[tokio::test]
async fn a_connection_is_used_again_but_for_one_question_at_a_time() {
    // Three questions are answered only once all three are there.
    let server = Server::start(|query| Action::After(4, address(query, 60, FIRST))).await;
    let rig = Rig::new(&[server.address]);
    server.script(|query| Action::Answer(address(query, 60, FIRST)));
    rig.ask("0.example.").await;
    server.script(|query| Action::After(4, address(query, 60, FIRST)));
    let answers = tokio::join!(
        rig.ask("1.example."),
        rig.ask("2.example."),
        rig.ask("3.example.")
    );
    assert_answer(&answers.2, Source::Upstream, "192.0.2.1");
    assert_eq!(server.connections(), 3, "one of them was there");
    let line = format!("forward_conn_cache_hits_total{{to=\"{}\"}}", server.address);
    assert_eq!(rig.figure(&line), 1.0);
}

#[tokio::test]
async fn a_pipelining_upstream_has_one_connection() {
    let server = Server::pipelining(|query| Action::After(40, address(query, 60, FIRST))).await;
    let mut settings = settings(&[server.address]);
    settings.groups[0].upstreams[0].pipeline = true;
    let rig = Rig::with(settings);
    let names: Vec<String> = (0..40).map(|number| format!("{number}.example.")).collect();
    let asking = names.iter().map(|name| rig.ask(name));
    for answer in futures::future::join_all(asking).await {
        assert_answer(&answer, Source::Upstream, "192.0.2.1");
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_costs_nothing() {
    let server = Server::start(|query| Action::Last(address(query, 60, FIRST))).await;
    let rig = Rig::new(&[server.address]);
    for number in 0..5 {
        let answer = rig.ask(&format!("{number}.example.")).await;
        assert_answer(&answer, Source::Upstream, "192.0.2.1");
    }
    assert_eq!(server.asked().len(), 5);
    assert_eq!(server.connections(), 5);
}

#[tokio::test]
async fn a_question_that_meets_a_closing_connection_goes_out_again() {
    let server = good(FIRST).await;
    let rig = Rig::new(&[server.address]);
    rig.ask("0.example.").await;
    // It closes only when the next question comes.
    let mut closed = false;
    server.script(move |query| {
        if std::mem::replace(&mut closed, true) {
            Action::Answer(address(query, 60, SECOND))
        } else {
            Action::Close
        }
    });
    assert_answer(&rig.ask("1.example.").await, Source::Upstream, "192.0.2.2");
    assert_eq!(server.asked().len(), 3);
    let line = format!(
        "forward_healthcheck_failures_total{{to=\"{}\"}}",
        server.address
    );
    assert_eq!(
        rig.figure(&line),
        0.0,
        "a server may close idle connections"
    );
}

#[tokio::test]
async fn idle_and_old_connections_are_closed() {
    let short = Duration::from_millis(100);
    let long = Duration::from_secs(60);
    for pool in [
        PoolSettings {
            idle: short,
            age: long,
        },
        PoolSettings {
            idle: long,
            age: short,
        },
    ] {
        let server = good(FIRST).await;
        let mut settings = settings(&[server.address]);
        settings.groups[0].pool = pool;
        let rig = Rig::with(settings);
        rig.ask("0.example.").await;
        server.wait_for_open(0).await;
        rig.ask("1.example.").await;
        assert_eq!(server.connections(), 2);
    }
}

#[tokio::test]
async fn an_idle_pipeline_is_closed() {
    let server = Server::pipelining(|query| Action::Answer(address(query, 60, FIRST))).await;
    let mut settings = settings(&[server.address]);
    settings.groups[0].upstreams[0].pipeline = true;
    settings.groups[0].pool.idle = Duration::from_millis(100);
    let rig = Rig::with(settings);
    rig.ask("0.example.").await;
    server.wait_for_open(0).await;
    rig.ask("1.example.").await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn dead_names_do_not_hold_up_others() {
    let script = |query: &Message| match query.queries[0].name().to_string().ends_with("dead.") {
        true => Action::Hang,
        false => Action::Answer(address(query, 60, FIRST)),
    };
    let server = Server::start(script).await;
    let rig = Rig::new(&[server.address]);
    let start = Instant::now();
    let names: Vec<String> = (0..20).map(|number| format!("{number}.dead.")).collect();
    let dead = futures::future::join_all(names.iter().map(|name| rig.ask(name)));
    let alive = async {
        server.wait_for("19.dead. a", 1).await;
        for number in 0..50 {
            let answer = rig.ask(&format!("{number}.example.")).await;
            assert_answer(&answer, Source::Upstream, "192.0.2.1");
        }
        start.elapsed()
    };
    let (took, dead) = tokio::select! {
        took = alive => (took, None),
        dead = dead => (start.elapsed(), Some(dead)),
    };
    assert!(
        dead.is_none(),
        "the dead names were done first, after {took:?}"
    );
}

#[tokio::test]
async fn connections_are_bounded() {
    let server = Server::start(|query| Action::After(3, address(query, 60, FIRST))).await;
    let mut settings = settings(&[server.address]);
    settings.groups[0].max_connections = 2;
    settings.timeout = Duration::from_millis(300);
    let rig = Rig::with(settings);
    // The third question, which would release the others, has no connection to go out on.
    let answers = tokio::join!(
        rig.ask("1.example."),
        rig.ask("2.example."),
        rig.ask("3.example.")
    );
    assert_eq!(answers.0.code(), ResponseCode::ServFail);
    assert!(server.connections() <= 3, "{}", server.connections());
}

// ---- other transports ---------------------------------------------------------------------------

/// One group with one upstream over something else.
fn over(transport: Transport, server: &Server) -> Settings {
    let mut settings = settings(&[server.address]);
    settings.groups[0].upstreams[0].transport = transport;
    settings
}

#[tokio::test]
async fn udp_questions_come_from_ports_of_their_own() {
    let script = |query: &Message| Action::Answer(address(query, 60, FIRST));
    let server = Server::over(Over::Udp, script).await;
    let rig = Rig::with(over(Transport::Udp, &server));
    for number in 0..8 {
        let answer = rig.ask(&format!("{number}.example.")).await;
        assert_answer(&answer, Source::Upstream, "192.0.2.1");
    }
    assert!(server.ports() > 1);
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_truncated_answer_is_asked_for_over_tcp() {
    let mut first = true;
    let script = move |query: &Message| {
        let mut answer = address(query, 60, SECOND);
        if std::mem::replace(&mut first, false) {
            answer.answers.clear();
            answer.metadata.truncation = true;
        }
        Action::Answer(answer)
    };
    let server = Server::over(Over::Both, script).await;
    let rig = Rig::with(over(Transport::Udp, &server));
    let answer = rig.ask("www.example.").await;
    assert_answer(&answer, Source::Upstream, "192.0.2.2");
    assert!(!answer.to_message().unwrap().metadata.truncation);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn auto_takes_udp_where_tcp_is_refused() {
    let script = |query: &Message| Action::Answer(address(query, 60, FIRST));
    let server = Server::over(Over::Udp, script).await;
    let rig = Rig::with(over(Transport::Auto, &server));
    assert_answer(
        &rig.ask("www.example.").await,
        Source::Upstream,
        "192.0.2.1",
    );
    let both = Server::over(Over::Both, script).await;
    let rig = Rig::with(over(Transport::Auto, &both));
    assert_answer(
        &rig.ask("www.example.").await,
        Source::Upstream,
        "192.0.2.1",
    );
    assert_eq!((both.connections(), both.ports()), (1, 0));
}

/// A file beside this one: certificates for `dns.example`, good until 2126, and nobody's secret.
fn file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/forward")
        .join(name)
}

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_file(file("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn tls_is_spoken_with_the_named_server_only() {
    for (tls_name, pipeline, code) in [
        ("dns.example", false, ResponseCode::NoError),
        ("dns.example", true, ResponseCode::NoError),
        ("other.example", false, ResponseCode::ServFail),
    ] {
        let script = |query: &Message| Action::Answer(address(query, 60, FIRST));
        let server = Server::tls(acceptor(), script).await;
        let mut settings = settings(&[]);
        settings.groups[0].upstreams = vec![UpstreamSettings {
            transport: Transport::Tls,
            tls_name: Some(tls_name.to_owned()),
            tls_ca: Some(file("ca.pem")),
            pipeline,
            ..UpstreamSettings::tcp(server.address)
        }];
        let rig = Rig::with(settings);
        for name in ["1.example.", "2.example."] {
            assert_eq!(rig.ask(name).await.code(), code, "{tls_name}");
        }
        let asked = usize::from(code == ResponseCode::NoError) * 2;
        assert_eq!(server.asked().len(), asked);
        if asked > 0 {
            assert_eq!(server.connections(), 1, "used again");
        }
    }
}

// ---- loops --------------------------------------------------------------------------------------

#[tokio::test]
async fn an_upstream_that_asks_us_is_not_asked() {
    let server = Server::start(|_| Action::Hang).await;
    let rig = Rig::with(Settings {
        loop_probe: true,
        ..settings(&[server.address])
    });
    let ourselves = rig.forwarder.clone();
    server.script(move |query| {
        let forwarder = ourselves.clone();
        let query = query.queries[0].clone();
        Action::Do(Box::pin(async move {
            let question = Question::of(query.name(), query.query_type()).unwrap();
            let answer = forwarder.resolve(None, &question).await;
            Action::Answer(answer.to_message().unwrap())
        }))
    });
    let loops = format!("forward_loops_total{{to=\"{}\"}}", server.address);
    rig.until("the loop is found", |rig| rig.figure(&loops) > 0.0)
        .await;
    let before = server.asked().len();
    let answer = rig.ask("www.example.").await;
    assert_eq!(
        (answer.code(), answer.source),
        (ResponseCode::ServFail, Source::Nobody)
    );
    assert_eq!(server.asked().len(), before, "it was asked all the same");
    assert!(
        server
            .asked()
            .iter()
            .all(|it| it.ends_with(".probe.nss-k8s.invalid. hinfo"))
    );
}

#[tokio::test]
async fn an_upstream_that_answers_the_probe_is_no_loop() {
    let script = |query: &Message| match is_probe(query) {
        true => Action::Answer(empty(ResponseCode::NXDomain)),
        false => Action::Answer(address(query, 60, FIRST)),
    };
    let server = Server::start(script).await;
    let rig = Rig::with(Settings {
        loop_probe: true,
        ..settings(&[server.address])
    });
    rig.until("the probe is answered", |rig| {
        let line = "forward_responses_total{rcode=\"NXDOMAIN\",to=";
        rig.figure(&format!("{line}\"{}\"}}", server.address)) > 0.0
    })
    .await;
    assert_answer(
        &rig.ask("www.example.").await,
        Source::Upstream,
        "192.0.2.1",
    );
}

#[tokio::test]
async fn the_cluster_dns_must_not_ask_another_agent() {
    for (is_cluster, code) in [
        (true, ResponseCode::ServFail),
        // Who names another agent as an upstream means it.
        (false, ResponseCode::NoError),
    ] {
        let agent = Rig::with(settings(&[good(FIRST).await.address]));
        let other = agent.forwarder.clone();
        let server = Server::start(move |query| {
            let forwarder = other.clone();
            let query = query.queries[0].clone();
            Action::Do(Box::pin(async move {
                let question = Question::of(query.name(), query.query_type()).unwrap();
                if query.query_type() == RecordType::A {
                    return Action::Answer(empty(ResponseCode::NoError));
                }
                let answer = forwarder.resolve(None, &question).await;
                Action::Answer(answer.to_message().unwrap())
            }))
        })
        .await;
        let rig = match is_cluster {
            true => Rig::with(Settings::default()),
            false => Rig::with(Settings {
                loop_probe: true,
                ..settings(&[server.address])
            }),
        };
        rig.forwarder.set_cluster_dns(&[server.address]);
        let answered = format!(
            "forward_responses_total{{rcode=\"NOERROR\",to=\"{}\"}}",
            server.address
        );
        rig.until("probed", |rig| rig.figure(&answered) > 0.0).await;
        let loops = format!("forward_loops_total{{to=\"{}\"}}", server.address);
        if is_cluster {
            rig.until("found", |rig| rig.figure(&loops) > 0.0).await;
        }
        assert_eq!(rig.ask("www.example.").await.code(), code);
        assert_eq!(rig.figure(&loops), f64::from(u8::from(is_cluster)));
    }
}

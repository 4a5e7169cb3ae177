//! Upstreams that ask us, or another agent.

use crate::{
    Rig, assert_answer,
    server::{Action, Server, address, empty, is_probe},
    settings,
    upstreams::{FIRST, good},
};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::RecordType,
};
use nss_k8s_agent::forward::{Question, Settings, Source};

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

//! How connections to an upstream are used, shared out and closed.

use crate::{
    Rig, assert_answer,
    server::{Action, Server, address},
    settings,
    upstreams::{FIRST, SECOND, good},
};
use hickory_proto::op::{Message, ResponseCode};
use nss_k8s_agent::forward::{PoolSettings, Source};
use std::time::{Duration, Instant};

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
        asks_over_a_new_connection(&server, &rig).await;
    }
}

/// Once the connection of a first question is closed.
async fn asks_over_a_new_connection(server: &Server, rig: &Rig) {
    rig.ask("0.example.").await;
    server.wait_for_open(0).await;
    rig.ask("1.example.").await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn an_idle_pipeline_is_closed() {
    let server = Server::pipelining(|query| Action::Answer(address(query, 60, FIRST))).await;
    let mut settings = settings(&[server.address]);
    settings.groups[0].upstreams[0].pipeline = true;
    settings.groups[0].pool.idle = Duration::from_millis(100);
    let rig = Rig::with(settings);
    asks_over_a_new_connection(&server, &rig).await;
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

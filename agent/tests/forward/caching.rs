//! What is asked once, kept, served late, asked early, and refused.

use crate::{
    Rig, assert_answer, first, question,
    server::{Action, Server, address, cname, denial, empty, name},
    settings,
};
use hickory_proto::{op::ResponseCode, rr::RecordType};
use nss_k8s_agent::forward::{Head, Question, Settings, Source};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::time::timeout;

const ADDRESS: [u8; 4] = [192, 0, 2, 1];

/// A server that gives each answer another address, with this TTL.
async fn counting(ttl: u32) -> Server {
    let number = AtomicU8::new(0);
    Server::start(move |query| {
        let last = number.fetch_add(1, Ordering::Relaxed) + 1;
        Action::Answer(address(query, ttl, [192, 0, 2, last]))
    })
    .await
}

/// Waits until an answer's time is over.
async fn expired(rig: &Rig, name: &str) {
    let question = question(name);
    rig.until("expired", |rig| {
        rig.forwarder.cached(None, &question).is_none()
    })
    .await;
}

#[tokio::test]
async fn a_name_is_asked_for_once_within_its_ttl() {
    let server = counting(60).await;
    let rig = Rig::new(&[server.address]);
    assert_answer(
        &rig.ask("www.example.").await,
        Source::Upstream,
        "192.0.2.1",
    );
    assert_answer(&rig.ask("WWW.Example.").await, Source::Cache, "192.0.2.1");
    assert_eq!(server.asked(), ["www.example. a"]);
    assert_eq!(rig.figure("cache_hits_total{type=\"success\"}"), 1.0);
    assert_eq!(rig.figure("cache_misses_total"), 1.0);
    rig.until("the gauges follow", |rig| {
        rig.figure("cache_entries{type=\"success\"}") == 1.0
    })
    .await;
    let other = Question::of(&name("www.example."), RecordType::AAAA).unwrap();
    assert_eq!(
        rig.forwarder.resolve(None, &other).await.source,
        Source::Upstream
    );
    let signed = question("www.example.").with_bits(true, false);
    assert_eq!(
        rig.forwarder.resolve(None, &signed).await.source,
        Source::Upstream
    );
}

#[tokio::test]
async fn ttls_run_down_and_end() {
    let server = counting(2).await;
    let mut settings = settings(&[server.address]);
    settings.cache.prefetch_hits = 0;
    let rig = Rig::with(settings);
    let start = Instant::now();
    rig.ask("www.example.").await;
    rig.until("a second less", |rig| {
        let answer = rig.forwarder.cached(None, &question("www.example."));
        answer.is_some_and(|it| first(&it).unwrap().1 == 1)
    })
    .await;
    assert!(start.elapsed() >= Duration::from_secs(1));
    expired(&rig, "www.example.").await;
    assert!(start.elapsed() >= Duration::from_secs(2));
    assert_answer(
        &rig.ask("www.example.").await,
        Source::Upstream,
        "192.0.2.2",
    );
}

#[tokio::test]
async fn an_answer_for_the_moment_is_not_kept() {
    let server = counting(0).await;
    let rig = Rig::new(&[server.address]);
    assert_answer(
        &rig.ask("www.example.").await,
        Source::Upstream,
        "192.0.2.1",
    );
    assert_answer(
        &rig.ask("www.example.").await,
        Source::Upstream,
        "192.0.2.2",
    );
}

#[tokio::test]
async fn denials_are_kept_as_long_as_the_zone_says() {
    for (answer, kept) in [
        (denial(ResponseCode::NXDomain, 60, 30), true),
        (denial(ResponseCode::NoError, 60, 30), true),
        // No SOA record, so nobody says for how long (RFC 2308 5).
        (empty(ResponseCode::NXDomain), false),
        (denial(ResponseCode::NoError, 60, 0), false),
        (denial(ResponseCode::Refused, 60, 30), false),
    ] {
        let server = Server::start(move |_| Action::Answer(answer.clone())).await;
        let rig = Rig::new(&[server.address]);
        let code = rig.ask("www.example.").await.code();
        let again = rig.ask("www.example.").await;
        assert_eq!(again.code(), code);
        let source = if kept {
            Source::Cache
        } else {
            Source::Upstream
        };
        assert_eq!(again.source, source, "{code:?}");
        assert_eq!(again.remaining().as_secs(), if kept { 30 } else { 0 });
    }
}

#[tokio::test]
async fn equal_questions_are_one() {
    let server = Server::start(|_| Action::Hang).await;
    let rig = Rig::new(&[server.address]);
    let (release, released) = tokio::sync::oneshot::channel();
    let mut released = Some(released);
    server.script(move |query| {
        let (released, answer) = (released.take().unwrap(), address(query, 0, ADDRESS));
        Action::Do(Box::pin(async move {
            released.await.unwrap();
            Action::Answer(answer)
        }))
    });
    let asking = futures::future::join_all((0..100).map(|_| rig.ask("www.example.")));
    let releasing = async {
        rig.until("all wait", |rig| rig.figure("forward_joined_total") == 99.0)
            .await;
        release.send(()).unwrap();
    };
    let (answers, ()) = tokio::join!(asking, releasing);
    for answer in answers {
        assert_answer(&answer, Source::Upstream, "192.0.2.1");
    }
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn who_stops_waiting_does_not_stop_the_question() {
    let server = Server::start(|query| Action::After(2, address(query, 60, ADDRESS))).await;
    let rig = Rig::new(&[server.address]);
    let short = Duration::from_millis(20);
    let (one, other) = (question("1.example."), question("2.example."));
    assert!(
        timeout(short, rig.forwarder.resolve(None, &one))
            .await
            .is_err()
    );
    rig.forwarder.resolve(None, &other).await;
    rig.until("kept", |rig| rig.forwarder.cached(None, &one).is_some())
        .await;
    assert_eq!(server.count("1.example. a"), 1);
}

#[tokio::test]
async fn too_many_questions_are_refused() {
    let server = Server::start(|query| Action::After(2, address(query, 60, ADDRESS))).await;
    let rig = Rig::with(Settings {
        max_concurrent: 1,
        ..settings(&[server.address])
    });
    let refused = async {
        server.wait_for("1.example. a", 1).await;
        rig.ask("2.example.").await
    };
    let answer = tokio::select! {
        first = rig.ask("1.example.") => panic!("{first:?}"),
        answer = refused => answer,
    };
    assert_eq!(
        (answer.code(), answer.source),
        (ResponseCode::Refused, Source::Overloaded)
    );
    assert!(rig.figure("forward_max_concurrent_rejects_total") >= 1.0);
    assert_eq!(server.asked().len(), 1);
}

// ---- stale --------------------------------------------------------------------------------------

#[tokio::test]
async fn a_dead_upstream_leaves_its_last_answers() {
    let mut server = counting(1).await;
    let mut settings = settings(&[server.address]);
    settings.cache.prefetch_hits = 0;
    let rig = Rig::with(settings);
    rig.ask("www.example.").await;
    server.stop().await;
    expired(&rig, "www.example.").await;
    let answer = rig.ask("www.example.").await;
    assert_answer(&answer, Source::Stale, "192.0.2.1");
    assert_eq!(first(&answer).unwrap().1, 30, "RFC 8767 4");
    let mut octets = Vec::new();
    answer.write(&Head::default(), &[], &mut octets);
    let written = hickory_proto::op::Message::from_vec(&octets).unwrap();
    assert_eq!(written, answer.to_message().unwrap());
    // Now it is known to fail: the next is served at once, and nobody is asked for a while.
    assert_answer(&rig.ask("www.example.").await, Source::Stale, "192.0.2.1");
    assert_eq!(rig.figure("cache_served_stale_total"), 2.0);
    // What was never asked for fails.
    assert_eq!(
        rig.ask("other.example.").await.code(),
        ResponseCode::ServFail
    );
}

#[tokio::test]
async fn a_slow_upstream_is_waited_for_less_long_where_there_is_a_stale_answer() {
    let server = counting(1).await;
    let mut settings = settings(&[server.address]);
    settings.cache.prefetch_hits = 0;
    settings.cache.stale_after = Duration::from_millis(50);
    let rig = Rig::with(settings);
    rig.ask("www.example.").await;
    expired(&rig, "www.example.").await;
    let (release, released) = tokio::sync::oneshot::channel::<()>();
    let mut released = Some(released);
    server.script(move |query| {
        let (released, answer) = (released.take().unwrap(), address(query, 60, [192, 0, 2, 9]));
        Action::Do(Box::pin(async move {
            released.await.unwrap();
            Action::Answer(answer)
        }))
    });
    assert_answer(&rig.ask("www.example.").await, Source::Stale, "192.0.2.1");
    // The question went on, and its answer is the next one.
    release.send(()).unwrap();
    rig.until("the late answer", |rig| {
        let answer = rig.forwarder.cached(None, &question("www.example."));
        answer.is_some_and(|it| first(&it).unwrap().0 == "192.0.2.9")
    })
    .await;
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn a_failure_does_not_replace_an_answer() {
    let server = counting(1).await;
    let mut settings = settings(&[server.address]);
    settings.cache.prefetch_hits = 0;
    settings.cache.recheck = Duration::ZERO;
    let rig = Rig::with(settings);
    rig.ask("www.example.").await;
    expired(&rig, "www.example.").await;
    server.script(|_| Action::Answer(empty(ResponseCode::ServFail)));
    assert_answer(&rig.ask("www.example.").await, Source::Stale, "192.0.2.1");
    server.script(|query| Action::Answer(address(query, 60, ADDRESS)));
    assert_answer(
        &rig.ask("www.example.").await,
        Source::Upstream,
        "192.0.2.1",
    );
}

#[tokio::test]
async fn stale_answers_can_be_switched_off() {
    let mut server = counting(1).await;
    let mut settings = settings(&[server.address]);
    settings.cache.stale_for = Duration::ZERO;
    let rig = Rig::with(settings);
    rig.ask("www.example.").await;
    server.stop().await;
    expired(&rig, "www.example.").await;
    assert_eq!(rig.ask("www.example.").await.code(), ResponseCode::ServFail);
}

// ---- prefetch -----------------------------------------------------------------------------------

#[tokio::test]
async fn hot_names_are_asked_for_before_they_expire() {
    let server = counting(2).await;
    let mut settings = settings(&[server.address]);
    settings.cache.prefetch_hits = 3;
    let rig = Rig::with(settings);
    rig.ask("cold.example.").await;
    rig.ask("hot.example.").await;
    rig.ask("hot.example.").await;
    rig.ask("hot.example.").await;
    let hot = question("hot.example.");
    let asking = async {
        loop {
            // It never leaves the cache.
            assert!(rig.forwarder.cached(None, &hot).is_some());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        () = asking => {}
        () = server.wait_for("hot.example. a", 2) => {}
    }
    assert!(rig.figure("cache_prefetch_total") >= 1.0);
    // It came first, so it was due first.
    assert_eq!(server.count("cold.example. a"), 1);
}

// ---- aliases ------------------------------------------------------------------------------------

#[tokio::test]
async fn aliases_are_kept_whole_for_the_shortest_ttl() {
    let server = Server::start(|query| {
        let mut answer = address(query, 60, ADDRESS);
        answer.answers[0].name = name("end.example.");
        answer
            .answers
            .insert(0, cname("www.example.", 7, "end.example."));
        Action::Answer(answer)
    })
    .await;
    let rig = Rig::new(&[server.address]);
    let answer = rig.ask("www.example.").await;
    assert_eq!(answer.remaining().as_secs(), 7);
    let message = rig.ask("www.example.").await.to_message().unwrap();
    let owners: Vec<String> = message
        .answers
        .iter()
        .map(|it| it.name.to_string())
        .collect();
    assert_eq!(owners, ["www.example.", "end.example."]);
}

#[tokio::test]
async fn aliases_in_a_circle_are_passed_on_and_not_kept() {
    let server = Server::start(|_| {
        let mut answer = empty(ResponseCode::NoError);
        answer.add_answer(cname("www.example.", 60, "b.example."));
        answer.add_answer(cname("b.example.", 60, "www.example."));
        Action::Answer(answer)
    })
    .await;
    let rig = Rig::new(&[server.address]);
    for _ in 0..2 {
        let answer = rig.ask("www.example.").await;
        assert_eq!(
            (answer.code(), answer.source),
            (ResponseCode::NoError, Source::Upstream)
        );
        assert_eq!(answer.to_message().unwrap().answers.len(), 2);
    }
}

// ---- changes of the configuration ---------------------------------------------------------------

#[tokio::test]
async fn what_does_not_change_stays() {
    let server = counting(60).await;
    let settings = settings(&[server.address]);
    let rig = Rig::with(settings.clone());
    rig.ask("1.example.").await;
    rig.forwarder.reconfigure(Settings {
        max_concurrent: 7,
        ..settings.clone()
    });
    assert_eq!(rig.ask("1.example.").await.source, Source::Cache);
    let mut more = settings;
    more.groups
        .push(crate::group(&["corp.example."], &[server.address]));
    rig.forwarder.reconfigure(more);
    assert_eq!(
        rig.ask("1.example.").await.source,
        Source::Upstream,
        "groups changed"
    );
    assert_eq!(server.connections(), 1, "the upstream is the same");
}

#[tokio::test]
async fn an_answer_of_former_upstreams_is_not_kept() {
    let former = Server::start(|_| Action::Hang).await;
    let (release, released) = tokio::sync::oneshot::channel();
    let mut released = Some(released);
    former.script(move |query| {
        let (released, answer) = (released.take().unwrap(), address(query, 60, ADDRESS));
        Action::Do(Box::pin(async move {
            released.await.unwrap();
            Action::Answer(answer)
        }))
    });
    let rig = Rig::new(&[former.address]);
    let present = Server::start(|query| Action::Answer(address(query, 60, [192, 0, 2, 9]))).await;
    let changing = async {
        former.wait_for("www.example. a", 1).await;
        rig.forwarder.reconfigure(settings(&[present.address]));
        release.send(()).unwrap();
    };
    let (waited, ()) = tokio::join!(rig.ask("www.example."), changing);
    assert_answer(&waited, Source::Upstream, "192.0.2.1");
    assert_answer(
        &rig.ask("www.example.").await,
        Source::Upstream,
        "192.0.2.9",
    );
}

#[tokio::test]
async fn the_cluster_dns_is_the_default() {
    let server = Arc::new(counting(60).await);
    let rig = Rig::with(Settings {
        loop_probe: false,
        ..Settings::default()
    });
    let answer = rig.ask("www.example.").await;
    assert_eq!(
        (answer.code(), answer.source),
        (ResponseCode::ServFail, Source::Nobody)
    );
    rig.forwarder.set_cluster_dns(&[server.address]);
    expired(&rig, "www.example.").await;
    assert_answer(
        &rig.ask("www.example.").await,
        Source::Upstream,
        "192.0.2.1",
    );
}

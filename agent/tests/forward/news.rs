//! What is told for shared memory: to whom, and until when.

use crate::{
    Rig, question,
    server::{Action, DEADLINE, Server, address, cname, denial, empty, name},
    settings,
};
use hickory_proto::{op::ResponseCode, rr::RecordType};
use nss_k8s_agent::forward::{Change, Class, Family, Held, Question};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::timeout;

const ADDRESS: [u8; 4] = [192, 0, 2, 1];

async fn next(rig: &mut Rig) -> Change {
    timeout(DEADLINE, rig.news.recv())
        .await
        .expect("news")
        .unwrap()
}

fn silent(rig: &mut Rig) -> bool {
    rig.news.try_recv().is_err()
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// The end of a Put for this class and www.example., and what it holds.
#[track_caller]
fn put(change: Change, to: &Class, of: Family) -> (Held, u64, bool) {
    match change {
        Change::Put {
            class,
            name,
            family,
            held,
            expires,
            stale,
        } => {
            assert_eq!(
                (&class, &*name, family),
                (to, &b"\x03www\x07example\x00"[..], of)
            );
            ((*held).clone(), expires, stale)
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_a_class_that_asked_is_told_and_once() {
    let server = Server::start(|query| Action::Answer(address(query, 60, ADDRESS))).await;
    let mut rig = Rig::new(&[server.address]);
    let (one, other) = (Class::new("one"), Class::new("other"));
    let www = question("www.example.");
    rig.forwarder.resolve(None, &www).await;
    assert!(silent(&mut rig), "the listener asks for no class");
    for class in [&one, &other] {
        let before = now();
        rig.forwarder.resolve(Some(class), &www).await;
        let (held, expires, stale) = put(next(&mut rig).await, class, Family::V4);
        let addresses = Box::new(["192.0.2.1".parse().unwrap()]);
        assert_eq!(
            held,
            Held::Addresses {
                addresses,
                canonical: None
            }
        );
        assert!((before + 58..=now() + 60).contains(&expires), "{expires}");
        assert!(!stale);
        rig.forwarder.resolve(Some(class), &www).await;
        assert!(silent(&mut rig), "told already");
    }
}

#[tokio::test]
async fn aliases_are_followed_to_the_canonical_name() {
    let server = Server::start(|query| {
        let mut answer = address(query, 60, ADDRESS);
        answer.answers[0].name = name("End.example.");
        answer.answers.push(cname("b.example.", 60, "End.example."));
        answer.answers.push(cname("www.example.", 7, "b.example."));
        Action::Answer(answer)
    })
    .await;
    let mut rig = Rig::new(&[server.address]);
    let class = Class::new("one");
    rig.forwarder
        .resolve(Some(&class), &question("www.example."))
        .await;
    let (held, expires, _) = put(next(&mut rig).await, &class, Family::V4);
    let Held::Addresses { canonical, .. } = held else {
        panic!("{held:?}")
    };
    assert_eq!(canonical.as_deref(), Some(&b"\x03End\x07example\x00"[..]));
    assert!(expires <= now() + 7);
}

#[tokio::test]
async fn denials_are_told_and_failures_are_not() {
    let class = Class::new("one");
    let aaaa = Question::of(&name("www.example."), RecordType::AAAA).unwrap();
    for (answer, told) in [
        (denial(ResponseCode::NXDomain, 60, 60), Some(Held::NxDomain)),
        (denial(ResponseCode::NoError, 60, 60), Some(Held::NoData)),
        (empty(ResponseCode::NXDomain), None),
        (empty(ResponseCode::ServFail), None),
        (empty(ResponseCode::Refused), None),
    ] {
        let server = Server::start(move |_| Action::Answer(answer.clone())).await;
        let mut rig = Rig::new(&[server.address]);
        rig.forwarder.resolve(Some(&class), &aaaa).await;
        match told {
            Some(held) => assert_eq!(put(next(&mut rig).await, &class, Family::V6).0, held),
            None => assert!(silent(&mut rig)),
        }
    }
}

#[tokio::test]
async fn what_cannot_be_answered_in_a_process_is_not_told() {
    let circle = |_: &_| {
        let mut answer = empty(ResponseCode::NoError);
        answer.add_answer(cname("www.example.", 60, "www.example."));
        Action::Answer(answer)
    };
    let moment = |query: &_| Action::Answer(address(query, 0, ADDRESS));
    let elsewhere = |query: &_| {
        let mut answer = address(query, 60, ADDRESS);
        answer.answers[0].name = name("other.example.");
        Action::Answer(answer)
    };
    let class = Class::new("one");
    for server in [
        Server::start(circle).await,
        Server::start(moment).await,
        Server::start(elsewhere).await,
    ] {
        let mut rig = Rig::new(&[server.address]);
        rig.forwarder
            .resolve(Some(&class), &question("www.example."))
            .await;
        assert!(silent(&mut rig));
    }
    let server = Server::start(|query| Action::Answer(address(query, 60, ADDRESS))).await;
    let mut rig = Rig::new(&[server.address]);
    let signed = question("www.example.").with_bits(true, false);
    rig.forwarder.resolve(Some(&class), &signed).await;
    let text = Question::of(&name("www.example."), RecordType::TXT).unwrap();
    rig.forwarder.resolve(Some(&class), &text).await;
    assert!(silent(&mut rig));
}

#[tokio::test]
async fn stale_answers_are_told_as_such() {
    let mut server = Server::start(|query| Action::Answer(address(query, 1, ADDRESS))).await;
    let mut rig = Rig::new(&[server.address]);
    let (class, www) = (Class::new("one"), question("www.example."));
    rig.forwarder.resolve(Some(&class), &www).await;
    put(next(&mut rig).await, &class, Family::V4);
    server.stop().await;
    rig.until("expired", |rig| rig.forwarder.cached(None, &www).is_none())
        .await;
    let before = now();
    rig.forwarder.resolve(Some(&class), &www).await;
    let (_, expires, stale) = put(next(&mut rig).await, &class, Family::V4);
    assert!(stale && expires >= before + 29 && expires <= now() + 30);
}

#[tokio::test]
async fn evictions_and_new_configurations_are_told() {
    let server = Server::start(|query| Action::Answer(address(query, 60, ADDRESS))).await;
    let mut settings = settings(&[server.address]);
    // One answer for each of the cache's parts.
    settings.cache.entries = 16;
    let mut rig = Rig::with(settings.clone());
    let class = Class::new("one");
    let (mut puts, mut removes) = (0, 0);
    for number in 0..64 {
        let question = question(&format!("{number}.example."));
        rig.forwarder.resolve(Some(&class), &question).await;
    }
    while puts < 64 || removes < 48 {
        match next(&mut rig).await {
            Change::Put { .. } => puts += 1,
            Change::Remove {
                family: Family::V4, ..
            } => removes += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(rig.figure("cache_evictions_total"), f64::from(removes));
    settings.cache.entries = 32;
    rig.forwarder.reconfigure(settings);
    while next(&mut rig).await != Change::Clear {}
}

mod world;

use super::{Metrics, Publisher, dump, is_published, now, run};
use crate::{
    config::{Config, External},
    forward::{Change, Class, Family, Held},
};
use nss_k8s_zone::{Ask, Families, Found, HeldDump, HeldOptions, Now, Unavailable};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot, watch};
use world::{World, addresses, config, put};

const NOW: Now = Now(1_700_000_000);
const WIRE: &[u8] = b"\x03www\x07example\x03com\x00";
const NAME: &str = "www.example.com";
const ONE: Result<Found, Unavailable> = Ok(Found::Answer { count: 1 });
const NOT_HELD: Result<Found, Unavailable> = Ok(Found::Ask(Ask::NotHeld));
const TWO_CLASSES: &str = "
classes:
  - {name: crawlers, namespaces: [crawl], external: node}
  - {name: billing, namespaces: [pay], external: node}
";

#[test]
fn a_class_sees_what_its_own_pods_asked() {
    let world = World::new(TWO_CLASSES);
    let mut publisher = world.publisher();
    publisher.apply(
        &put("crawlers", Family::V4, addresses(&["192.0.2.1"]), 60),
        NOW,
    );
    assert_eq!(world.ask("crawlers", NAME, NOW), ONE);
    assert_eq!(world.ask("billing", NAME, NOW), NOT_HELD);
    // The class `default` asks for itself, and nobody holds names for it.
    publisher.apply(
        &put("default", Family::V4, addresses(&["192.0.2.1"]), 60),
        NOW,
    );
    assert_eq!(world.ask("default", NAME, NOW), Err(Unavailable::Absent));
    publisher.apply(&put("billing", Family::V4, Held::NxDomain, 60), NOW);
    assert_eq!(world.ask("billing", NAME, NOW), Ok(Found::NxDomain));
    assert_eq!(world.ask("crawlers", NAME, NOW), ONE);
}

#[test]
fn answers_end_a_tenth_before_their_time() {
    let world = World::new(TWO_CLASSES);
    let mut publisher = world.publisher();
    publisher.apply(&put("billing", Family::V4, Held::NoData, 60), NOW);
    let after = |seconds| Now(NOW.0 + seconds);
    assert_eq!(world.ask("billing", NAME, after(53)), Ok(Found::NoData));
    assert_eq!(world.ask("billing", NAME, after(54)), NOT_HELD);
    // What is renewed stays.
    publisher.apply(
        &Change::Put {
            class: Class::new("billing"),
            name: WIRE.into(),
            family: Family::V4,
            held: Arc::new(Held::NoData),
            expires: NOW.0 + 115,
            stale: false,
        },
        after(55),
    );
    assert_eq!(world.ask("billing", NAME, after(60)), Ok(Found::NoData));
    // Too short to be worth anything, or over: what was there is not true any more.
    for ttl in [0, 1] {
        publisher.apply(&put("billing", Family::V4, Held::NoData, 60), NOW);
        publisher.apply(&put("billing", Family::V4, Held::NxDomain, ttl), NOW);
        assert_eq!(world.ask("billing", NAME, NOW), NOT_HELD, "{ttl}");
    }
}

#[test]
fn news_takes_answers_back() {
    let world = World::new(TWO_CLASSES);
    let mut publisher = world.publisher();
    let remove = Change::Remove {
        class: Class::new("billing"),
        name: WIRE.into(),
        family: Family::V4,
    };
    for change in [remove, Change::Clear] {
        publisher.apply(
            &put("billing", Family::V4, addresses(&["192.0.2.1"]), 60),
            NOW,
        );
        assert_eq!(world.ask("billing", NAME, NOW), ONE);
        publisher.apply(&change, NOW);
        assert_eq!(world.ask("billing", NAME, NOW), NOT_HELD, "{change:?}");
    }
}

/// A regular expression counts for who asks, and who finds an answer in memory does not ask.
#[test]
fn other_rewrites_end_answers() {
    let world = World::new(TWO_CLASSES);
    let mut publisher = world.publisher();
    publisher.apply(
        &put("billing", Family::V4, addresses(&["192.0.2.1"]), 60),
        NOW,
    );
    publisher.configure(&config(TWO_CLASSES), NOW);
    assert_eq!(world.ask("billing", NAME, NOW), ONE);
    let rewrite = r"rewrite: [{regex: 'www\.example\.com\.$', to: www.example.net}]";
    publisher.configure(&config(&format!("{TWO_CLASSES}{rewrite}")), NOW);
    assert_eq!(world.ask("billing", NAME, NOW), NOT_HELD);
}

#[test]
fn what_cannot_be_held_is_not_there() {
    let world = World::new(TWO_CLASSES);
    let mut publisher = world.publisher();
    let crowd: Vec<String> = (0..256)
        .map(|last| format!("10.0.{}.1", last % 256))
        .collect();
    let crowd: Vec<&str> = crowd.iter().map(String::as_str).collect();
    let odd = Held::Addresses {
        addresses: ["192.0.2.1".parse().unwrap()].into(),
        canonical: Some(b"\x02a!\x03com\x00".as_slice().into()),
    };
    for held in [addresses(&crowd), odd] {
        publisher.apply(&put("billing", Family::V4, Held::NoData, 60), NOW);
        publisher.apply(&put("billing", Family::V4, held, 60), NOW);
        assert_eq!(world.ask("billing", NAME, NOW), NOT_HELD);
    }
    for name in [b"\x00".as_slice(), b"\x02a b\x00", b"\x09short\x00", b""] {
        let change = Change::Put {
            class: Class::new("billing"),
            name: name.into(),
            family: Family::V4,
            held: Arc::new(Held::NxDomain),
            expires: NOW.0 + 60,
            stale: false,
        };
        publisher.apply(&change, NOW);
    }
    assert!(
        world
            .figures()
            .contains("external_changes_total{class=\"billing\"} 4")
    );
    assert!(
        world
            .figures()
            .contains("external_refused_total{class=\"billing\",of=\"name\"} 4")
    );
}

#[test]
fn static_names_are_there_for_whoever_asks() {
    let world = World::new(
        "
classes: [{name: billing, namespaces: [pay], external: node}, {name: bare, namespaces: [x], external: off}]
hosts:
  - {names: [www.example.com, db.example.com], addresses: [192.0.2.7]}
  - {names: [db.example.com], addresses: [192.0.2.8, '2001:db8::1']}
",
    );
    let mut publisher = world.publisher();
    // The forwarder's answer to a name that is fixed now.
    publisher.apply(&put("billing", Family::V4, Held::NxDomain, 60), NOW);
    for class in ["default", "billing"] {
        // A year later, too, as long as somebody is alive.
        publisher.tick(Now(NOW.0 + 31_536_000));
        let later = Now(NOW.0 + 31_536_000);
        assert_eq!(world.ask(class, NAME, later), ONE, "{class}");
        assert_eq!(
            world.families(class, NAME, Families::V6, later),
            Ok(Found::NoData)
        );
        let all = world.families(class, "db.example.com", Families::BOTH, later);
        assert_eq!(all, Ok(Found::Answer { count: 3 }));
    }
    assert_eq!(world.ask("bare", NAME, NOW), Err(Unavailable::Absent));
    // Gone from the configuration, gone from the files; what the forwarder held stays.
    let later = Now(NOW.0 + 31_536_000);
    publisher.apply(
        &Change::Put {
            class: Class::new("billing"),
            name: b"\x05other\x00".as_slice().into(),
            family: Family::V4,
            held: Arc::new(Held::NxDomain),
            expires: later.0 + 60,
            stale: false,
        },
        later,
    );
    publisher.configure(&config(TWO_CLASSES), later);
    assert_eq!(world.ask("billing", NAME, later), NOT_HELD);
    assert_eq!(world.ask("billing", "other", later), Ok(Found::NxDomain));
    assert_eq!(
        world.ask("default", NAME, later),
        Err(Unavailable::Disabled)
    );
}

#[test]
fn an_agent_goes_on_with_what_the_last_one_published() {
    let world = World::new(TWO_CLASSES);
    let mut publisher = world.publisher();
    publisher.apply(&put("billing", Family::V4, Held::NxDomain, 600), NOW);
    drop(publisher);
    let after = |seconds| Now(NOW.0 + seconds);
    assert_eq!(world.ask("billing", NAME, after(5)), Ok(Found::NxDomain));
    let mut publisher = Publisher::new(world.directory.path(), Metrics::default());
    publisher.configure(&config(TWO_CLASSES), after(10));
    assert_eq!(world.ask("billing", NAME, after(10)), Ok(Found::NxDomain));
    // The class's pods ask for themselves from here on, and again through the node.
    publisher.configure(&Config::default(), after(10));
    assert_eq!(
        world.ask("billing", NAME, after(10)),
        Err(Unavailable::Disabled)
    );
    publisher.configure(&config(TWO_CLASSES), after(10));
    assert_eq!(world.ask("billing", NAME, after(10)), Ok(Found::NxDomain));
}

#[test]
fn what_is_held_can_be_read() {
    let world = World::new(
        "hosts: [{names: [db.example], addresses: [192.0.2.7]}]
classes: [{name: billing, namespaces: [pay], external: node}]",
    );
    let mut publisher = world.publisher();
    let edge = Held::Addresses {
        addresses: ["2001:db8::1".parse().unwrap()].into(),
        canonical: Some(b"\x04Edge\x03cdn\x00".as_slice().into()),
    };
    publisher.apply(&put("billing", Family::V4, Held::NoData, 10), NOW);
    publisher.apply(&put("billing", Family::V6, edge, 100), NOW);
    let path = HeldOptions::new(world.directory.path(), "billing").path();
    let text = |now| {
        let text = dump::text(&HeldDump::open(&path).unwrap(), &path, now);
        text.lines().skip(2).map(str::to_owned).collect::<Vec<_>>()
    };
    let fixed = [
        "db.example. 2147483647 IN A 192.0.2.7",
        "; db.example. 2147483647 AAAA: no data",
    ];
    let held = [
        "; www.example.com. 9 A: no data",
        "www.example.com. 90 IN CNAME Edge.cdn. ; of AAAA",
        "Edge.cdn. 90 IN AAAA 2001:db8::1",
    ];
    assert_eq!(text(NOW), [&fixed[..], &held[..]].concat());
    assert_eq!(text(Now(NOW.0 + 100)), fixed);
}

#[test]
fn other_limits_take_effect_at_once() {
    let world = World::new(TWO_CLASSES);
    let mut publisher = world.publisher();
    publisher.apply(&put("billing", Family::V4, Held::NxDomain, 60), NOW);
    let small = format!("{TWO_CLASSES}\nforward: {{shared: {{entries: 1}}}}");
    publisher.configure(&config(&small), NOW);
    let mut second = put("billing", Family::V4, Held::NxDomain, 60);
    if let Change::Put { name, .. } = &mut second {
        *name = b"\x05other\x00".as_slice().into();
    }
    publisher.apply(&second, NOW);
    assert_eq!(world.ask("billing", "other", NOW), Ok(Found::NxDomain));
    assert_eq!(world.ask("billing", NAME, NOW), NOT_HELD);
}

#[test]
fn a_file_in_other_hands_is_tried_again() {
    let world = World::new(TWO_CLASSES);
    let options = HeldOptions::new(world.directory.path(), "billing");
    let other = nss_k8s_zone::HeldWriter::open(&options, NOW).unwrap();
    let mut publisher = world.publisher();
    let news = put("billing", Family::V4, Held::NxDomain, 600);
    publisher.apply(&news, NOW);
    assert_eq!(world.ask("billing", NAME, NOW), NOT_HELD);
    drop(other);
    let later = Now(NOW.0 + 10);
    publisher.tick(later);
    publisher.apply(&news, later);
    assert_eq!(world.ask("billing", NAME, later), Ok(Found::NxDomain));
}

#[test]
fn space_is_given_back() {
    let world = World::new(TWO_CLASSES);
    let mut publisher = world.publisher();
    assert_eq!(publisher.advance(Instant::now()), None);
    publisher.apply(&put("billing", Family::V4, Held::NxDomain, 60), NOW);
    publisher.apply(&put("billing", Family::V4, Held::NoData, 60), NOW);
    let mut clock = Instant::now();
    let mut steps = 0;
    while let Some(due) = publisher.advance(clock) {
        clock = due.max(clock + Duration::from_millis(1));
        steps += 1;
    }
    assert!((1..5).contains(&steps), "{steps}");
}

#[test]
fn who_has_a_file() {
    let plain = Config::default();
    let fixed = config("hosts: [{names: [a.example], addresses: [192.0.2.1]}]");
    let rows = [
        (&plain, External::Pod, false),
        (&plain, External::Node, true),
        (&plain, External::Off, false),
        (&fixed, External::Pod, true),
        (&fixed, External::Node, true),
        (&fixed, External::Off, false),
    ];
    for (config, external, expected) in rows {
        assert_eq!(is_published(config, external), expected, "{external:?}");
    }
}

#[tokio::test]
async fn the_task_publishes_until_its_configuration_ends() {
    let world = World::new(TWO_CLASSES);
    let (news, inbox) = mpsc::channel(8);
    let (settings, configured) = watch::channel(Arc::new(Config::default()));
    let publisher = Publisher::new(world.directory.path(), world.metrics.clone());
    let (source, arrives) = oneshot::channel();
    let task = tokio::spawn(run(publisher, arrives, configured));
    settings.send(Arc::new(config(TWO_CLASSES))).unwrap();
    world.until("billing", NOT_HELD).await;
    source.send(inbox).expect("the task runs");
    let mut change = put("billing", Family::V4, Held::NxDomain, 0);
    if let Change::Put { expires, .. } = &mut change {
        *expires = now().0 + 600;
    }
    news.send(change).await.unwrap();
    world.until("billing", Ok(Found::NxDomain)).await;
    // Without news there are still static names, and somebody who is alive.
    drop(news);
    settings
        .send(Arc::new(config(
            "hosts: [{names: [www.example.com], addresses: [192.0.2.1]}]",
        )))
        .unwrap();
    world.until("default", ONE).await;
    drop(settings);
    tokio::time::timeout(Duration::from_secs(10), task)
        .await
        .expect("it ends")
        .unwrap();
}

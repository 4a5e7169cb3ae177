//! The cache against an imagined clock.

use super::{shard::whole_seconds, *};
use hickory_proto::{
    op::{Message, MessageType, OpCode},
    rr::{Name, RData, Record, RecordType, rdata::A},
};
use proptest::prelude::*;
use std::{collections::HashMap, net::Ipv4Addr};

const SECOND: Duration = Duration::from_secs(1);

fn question(text: &str) -> Question {
    Question::of(&Name::from_ascii(text).unwrap(), RecordType::A).unwrap()
}

fn reply(question: &Question, ttl: u32) -> Arc<Reply> {
    let mut message = Message::new(0, MessageType::Response, OpCode::Query);
    let owner = question.to_query().name().clone();
    let data = RData::A(A(Ipv4Addr::LOCALHOST));
    message.add_answer(Record::from_rdata(owner, ttl, data));
    let lifetimes = CacheSettings::default().lifetimes;
    Arc::new(Reply::new(message, question, &lifetimes).unwrap())
}

/// A cache, a question with an answer of 10 s in it, and the moment it came.
fn held() -> (Cache, Question, Instant) {
    let cache = Cache::new(&CacheSettings::default());
    let (question, now) = (question("www.example."), Instant::now());
    cache.put(&question, &reply(&question, 10), None, Demand::Asked, now);
    (cache, question, now)
}

/// Fresh: its age. Stale: whether it rests.
fn look(cache: &Cache, question: &Question, at: Instant) -> Result<u32, Option<bool>> {
    match cache.find(question, None, at) {
        Found::Fresh { age, .. } => Ok(age),
        Found::Stale { rest, .. } => Err(Some(rest)),
        Found::Nothing => Err(None),
    }
}

#[test]
fn an_answer_is_fresh_then_stale_then_gone() {
    let (cache, question, now) = held();
    assert_eq!(look(&cache, &question, now), Ok(0));
    assert_eq!(
        look(
            &cache,
            &question,
            now + SECOND * 10 - Duration::from_nanos(1)
        ),
        Ok(9)
    );
    assert_eq!(look(&cache, &question, now + SECOND * 10), Err(Some(false)));
    let day = SECOND * 86_400;
    assert_eq!(
        look(&cache, &question, now + SECOND * 9 + day),
        Err(Some(false))
    );
    assert_eq!(look(&cache, &question, now + SECOND * 10 + day), Err(None));
    assert_eq!(cache.size().answers, 1);
    let (gone, hot) = cache.sweep(now + SECOND * 10 + day);
    assert_eq!((gone.len(), hot.len()), (1, 0));
    assert_eq!(cache.size(), Size::default());
}

#[test]
fn after_a_failure_a_stale_answer_rests() {
    let (cache, question, now) = held();
    let later = now + SECOND * 20;
    cache.failed(&question, later);
    assert_eq!(look(&cache, &question, later), Err(Some(true)));
    assert_eq!(
        look(&cache, &question, later + SECOND * 5),
        Err(Some(false))
    );
}

#[test]
fn a_failure_is_kept_for_a_second_where_there_was_nothing() {
    let cache = Cache::new(&CacheSettings::default());
    let (question, now) = (question("www.example."), Instant::now());
    let failure = Arc::new(Reply::bare(
        &question,
        hickory_proto::op::ResponseCode::ServFail,
        1,
    ));
    cache.put(&question, &failure, None, Demand::Asked, now);
    assert_eq!(look(&cache, &question, now), Ok(0));
    assert_eq!(cache.size().denials, 1);
    assert_eq!(
        look(&cache, &question, now + SECOND),
        Err(None),
        "never stale"
    );
}

#[test]
fn an_answer_for_the_moment_takes_the_old_one_away() {
    let (cache, question, now) = held();
    cache.put(&question, &reply(&question, 0), None, Demand::Asked, now);
    assert_eq!(look(&cache, &question, now), Err(None));
    assert_eq!(cache.size(), Size::default());
}

// ---- prefetch -----------------------------------------------------------------------------------

/// Looks so often, and says whether a look asked for a refresh.
fn hit(cache: &Cache, question: &Question, times: u32, at: Instant) -> bool {
    (0..times).any(|_| {
        let found = cache.find(question, None, at);
        matches!(found, Found::Fresh { refresh: true, .. })
    })
}

#[test]
fn a_hot_name_is_refreshed_once_in_its_last_tenth() {
    let (cache, question, now) = held();
    assert!(!hit(&cache, &question, 9, now + SECOND * 8));
    let last = now + SECOND * 9;
    let found = cache.find(&question, None, last);
    assert!(matches!(found, Found::Fresh { refresh: true, .. }));
    assert!(!hit(&cache, &question, 9, last), "said already");
    assert_eq!(cache.sweep(last).1.len(), 0, "said already");
}

#[test]
fn a_hot_name_is_refreshed_though_nobody_looks_any_more() {
    let (cache, question, now) = held();
    hit(&cache, &question, 2, now);
    assert!(cache.sweep(now + SECOND * 8).1.is_empty());
    assert_eq!(cache.sweep(now + SECOND * 9).1, [question.key().into()]);
    assert!(cache.sweep(now + SECOND * 9).1.is_empty());
    let (cache, _, now) = held();
    assert!(cache.sweep(now + SECOND * 9).1.is_empty(), "not hot");
}

#[test]
fn a_name_cools_down_if_only_prefetch_asks() {
    let (cache, question, mut now) = held();
    hit(&cache, &question, 1000, now);
    let mut refreshes = 0;
    while !cache.sweep(now + SECOND * 9).1.is_empty() {
        refreshes += 1;
        now += SECOND * 9;
        cache.put(
            &question,
            &reply(&question, 10),
            None,
            Demand::Prefetched,
            now,
        );
    }
    // 2 hits make it hot, 32 is the most that count: 32, 16, 8, 4, 2.
    assert_eq!(refreshes, 5);
}

#[test]
fn a_name_that_is_asked_for_again_soon_after_it_expired_is_hot() {
    let (cache, question, now) = held();
    let again = |at| cache.put(&question, &reply(&question, 10), None, Demand::Asked, at);
    again(now + SECOND * 19);
    assert_eq!(cache.sweep(now + SECOND * 28).1.len(), 1);
    again(now + SECOND * 60);
    assert_eq!(
        cache.sweep(now + SECOND * 69).1.len(),
        0,
        "it was too long ago"
    );
}

// ---- classes ------------------------------------------------------------------------------------

#[test]
fn every_class_is_new_once() {
    let (cache, question, now) = held();
    let (one, other) = (Class::new("one"), Class::new("other"));
    let is_new = |class: &Class| {
        let found = cache.find(&question, Some(class), now);
        matches!(
            found,
            Found::Fresh {
                new_to_class: true,
                ..
            }
        )
    };
    assert!(is_new(&one) && !is_new(&one) && is_new(&other));
    // A new answer goes to all who had asked.
    let stored = cache.put(
        &question,
        &reply(&question, 10),
        None,
        Demand::Prefetched,
        now,
    );
    assert_eq!(stored.classes, [one, other]);
}

// ---- bounds -------------------------------------------------------------------------------------

#[test]
fn used_entries_outlive_unused_ones() {
    let settings = CacheSettings {
        entries: 1600,
        ..CacheSettings::default()
    };
    let cache = Cache::new(&settings);
    let now = Instant::now();
    let used = question("used.example.");
    cache.put(&used, &reply(&used, 60), None, Demand::Asked, now);
    for number in 0..20_000 {
        let other = question(&format!("{number}.example."));
        cache.put(&other, &reply(&other, 60), None, Demand::Asked, now);
        assert_eq!(look(&cache, &used, now), Ok(0), "after {number}");
    }
    assert_eq!(cache.size().answers, 1600);
}

#[test]
fn an_answer_that_is_too_large_is_not_kept() {
    let settings = CacheSettings {
        bytes: 1600,
        ..CacheSettings::default()
    };
    let cache = Cache::new(&settings);
    let (question, now) = (question("www.example."), Instant::now());
    cache.put(&question, &reply(&question, 60), None, Demand::Asked, now);
    assert_eq!(cache.size(), Size::default());
    let none = Cache::new(&CacheSettings {
        entries: 0,
        ..CacheSettings::default()
    });
    none.put(&question, &reply(&question, 60), None, Demand::Asked, now);
    assert_eq!(none.size(), Size::default());
}

/// What can happen to a cache.
#[derive(Clone, Debug)]
enum Event {
    Put(u8, u32),
    Find(u8),
    Fail(u8),
    Wait(u8),
    Sweep,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        (any::<u8>(), 0..8u32).prop_map(|(name, ttl)| Event::Put(name, ttl)),
        any::<u8>().prop_map(Event::Find),
        any::<u8>().prop_map(Event::Fail),
        (0..4u8).prop_map(Event::Wait),
        Just(Event::Sweep),
    ];
    prop::collection::vec(event, 0..400)
}

proptest! {
    /// Whatever happens, it stays within its bounds, its books are right, and an answer that it
    /// gives is the last one put, of the right age. What it lost by eviction only is missing.
    #[test]
    fn it_answers_as_a_map_without_bounds_would(events in events(), entries in 16..200usize) {
        let settings = CacheSettings {
            entries,
            bytes: 64 << 10,
            stale_for: SECOND * 3,
            ..CacheSettings::default()
        };
        let cache = Cache::new(&settings);
        let mut now = Instant::now();
        let mut model: HashMap<u8, (Instant, u32)> = HashMap::new();
        let named = |name: u8| question(&format!("{name}.example."));
        for event in events {
            match event {
                Event::Put(name, ttl) => {
                    let question = named(name);
                    let reply = reply(&question, ttl);
                    let stored = cache.put(&question, &reply, None, Demand::Asked, now);
                    for gone in stored.evicted {
                        let gone = Question::from_key(&gone.key).unwrap().to_query();
                        let label = gone.name().iter().next().unwrap().to_vec();
                        let number: u8 = String::from_utf8(label).unwrap().parse().unwrap();
                        prop_assert!(model.remove(&number).is_some());
                    }
                    match ttl {
                        0 => model.remove(&name),
                        ttl => model.insert(name, (now, ttl)),
                    };
                }
                Event::Find(name) => {
                    let expected = match model.get(&name) {
                        Some((put, ttl)) if now < *put + SECOND * *ttl => {
                            Ok(whole_seconds(now - *put))
                        }
                        Some((put, ttl)) if now < *put + SECOND * (*ttl + 3) => Err(true),
                        _ => Err(false),
                    };
                    let found = look(&cache, &named(name), now).map_err(|it| it.is_some());
                    prop_assert_eq!(found, expected);
                }
                Event::Fail(name) => drop(cache.failed(&named(name), now)),
                Event::Wait(seconds) => now += SECOND * seconds.into(),
                Event::Sweep => drop(cache.sweep(now)),
            }
            let size = cache.size();
            prop_assert!(size.answers <= entries.next_multiple_of(SHARDS));
            prop_assert!(size.bytes <= settings.bytes);
        }
    }
}

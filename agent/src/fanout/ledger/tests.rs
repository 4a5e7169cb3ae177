//! The ledger against a bucket that is a map.

use super::*;
use crate::objects::ServiceObject;
use serde_json::json;

/// A Service with an address.
fn service(name: &str, version: u64, address: &str) -> Record {
    let object: ServiceObject = serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "shop", "resourceVersion": version.to_string()},
        "spec": {"clusterIP": address},
    }))
    .unwrap();
    Record {
        what: What::Apply,
        version: String::new(),
        object: postcard::to_stdvec(&object).unwrap(),
    }
}

fn key(name: &str) -> Key {
    Key::parse(&format!("base.services.shop.{name}")).unwrap()
}

/// A ledger of services in front of a bucket that several share.
struct Rig {
    ledger: Ledger,
    now: Instant,
}

/// What a bucket is here: revisions and records.
#[derive(Default)]
struct Bucket {
    values: BTreeMap<String, (u64, Record)>,
    last: u64,
    writes: usize,
}

impl Rig {
    fn new(bucket: &Bucket) -> Self {
        let mut ledger = Ledger::new([(Source::Services, None)]);
        let now = Instant::now();
        for (name, (revision, record)) in &bucket.values {
            ledger.load(Key::parse(name).unwrap(), *revision, Some(record), now);
        }
        Self { ledger, now }
    }

    fn say(&mut self, said: Said) {
        self.ledger.hear(Source::Services, said, self.now);
    }

    fn list(&mut self, version: u64, records: impl IntoIterator<Item = Record>) {
        self.say(Said::Begin);
        records
            .into_iter()
            .for_each(|record| self.say(Said::Record(record)));
        self.say(Said::Complete(version.to_string()));
    }

    /// Writes all that can be written.
    fn write(&mut self, bucket: &mut Bucket) {
        while let Some(write) = self.ledger.next() {
            self.finish(write, bucket);
        }
    }

    fn finish(&mut self, write: Write, bucket: &mut Bucket) {
        let name = write.key.to_string();
        let found = bucket.values.get(&name);
        if found.map_or(0, |(revision, _)| *revision) == write.revision {
            bucket.last += 1;
            bucket.writes += 1;
            bucket
                .values
                .insert(name, (bucket.last, write.record.clone()));
            self.ledger.settle(write, bucket.last, self.now);
        } else {
            let found = found.map(|(revision, record)| (*revision, Some(record)));
            self.ledger.reconsider(write.key, found, self.now);
        }
    }

    fn state(&self) -> KindState {
        self.ledger
            .kinds(self.now, true)
            .remove("services")
            .unwrap()
    }
}

impl Bucket {
    /// The names of what is there, with their versions.
    fn there(&self) -> Vec<(String, String)> {
        let there = self
            .values
            .iter()
            .filter(|(_, (_, it))| it.what == What::Apply);
        there
            .map(|(name, (_, it))| (name.replace("base.services.shop.", ""), it.version.clone()))
            .collect()
    }
}

fn versions(of: &[(&str, u64)]) -> Vec<(String, String)> {
    of.iter()
        .map(|(name, version)| ((*name).to_owned(), version.to_string()))
        .collect()
}

#[test]
fn a_list_is_complete_when_it_is_in_the_bucket() {
    let mut bucket = Bucket::default();
    let mut rig = Rig::new(&bucket);
    rig.list(
        9,
        [service("a", 3, "10.0.0.1"), service("b", 4, "10.0.0.2")],
    );
    assert!(!rig.state().complete);
    let first = rig.ledger.next().unwrap();
    // What comes later does not hold it up.
    rig.say(Said::Record(service("c", 10, "10.0.0.3")));
    rig.finish(first, &mut bucket);
    assert!(!rig.state().complete);
    let second = rig.ledger.next().unwrap();
    rig.finish(second, &mut bucket);
    assert!(rig.state().complete && rig.state().followed);
    rig.write(&mut bucket);
    assert_eq!(bucket.there(), versions(&[("a", 3), ("b", 4), ("c", 10)]));
}

#[test]
fn only_differences_are_written_after_a_restart() {
    let mut bucket = Bucket::default();
    let mut rig = Rig::new(&bucket);
    rig.list(
        9,
        [
            service("a", 3, "10.0.0.1"),
            service("b", 4, "10.0.0.2"),
            service("c", 5, "10.0.0.3"),
        ],
    );
    rig.write(&mut bucket);
    let before = bucket.writes;
    let mut rig = Rig::new(&bucket);
    rig.ledger.inherit(
        Source::Services,
        &KindState {
            complete: true,
            ..KindState::default()
        },
    );
    assert!(rig.state().complete, "it was whole");
    assert!(!rig.state().followed, "and may be old");
    // One changed, one only says that it did, one is gone.
    rig.list(
        20,
        [service("a", 15, "10.0.0.9"), service("b", 16, "10.0.0.2")],
    );
    assert!(rig.state().complete && rig.state().followed);
    rig.write(&mut bucket);
    assert_eq!(bucket.writes, before + 2);
    assert_eq!(bucket.there(), versions(&[("a", 15), ("b", 4)]));
    let (_, record) = &bucket.values["base.services.shop.c"];
    assert_eq!((record.what, record.version.as_str()), (What::Delete, "20"));
    assert_eq!(record.who().unwrap().name.as_deref(), Some("c"));
}

#[test]
fn another_selector_is_another_list() {
    let mut rig = Rig::new(&Bucket::default());
    let before = KindState {
        complete: true,
        selector: Some("a=b".to_owned()),
        followed: true,
    };
    rig.ledger.inherit(Source::Services, &before);
    assert!(!rig.state().complete);
}

#[test]
fn of_two_that_both_write_the_newer_word_stays() {
    let mut bucket = Bucket::default();
    let (mut old, mut new) = (Rig::new(&bucket), Rig::new(&bucket));
    old.list(
        9,
        [service("a", 3, "10.0.0.1"), service("b", 4, "10.0.0.2")],
    );
    new.list(20, [service("a", 15, "10.0.0.9")]);
    // Each writes without knowing of the other.
    let late = old.ledger.next().unwrap();
    new.write(&mut bucket);
    old.finish(late, &mut bucket);
    old.write(&mut bucket);
    assert_eq!(bucket.there(), versions(&[("a", 15), ("b", 4)]));
    // What the older one still wrote goes when the newer one lists, or looks.
    let mut next = Rig::new(&bucket);
    next.list(21, [service("a", 15, "10.0.0.9")]);
    next.write(&mut bucket);
    assert_eq!(bucket.there(), versions(&[("a", 15)]));
    // An object that is gone does not come back with an older word, either.
    old.say(Said::Record(service("b", 6, "10.0.0.7")));
    old.write(&mut bucket);
    assert_eq!(bucket.there(), versions(&[("a", 15)]));
    old.say(Said::Record(service("b", 30, "10.0.0.8")));
    old.write(&mut bucket);
    assert_eq!(bucket.there(), versions(&[("a", 15), ("b", 30)]));
}

#[test]
fn the_word_of_a_restored_cluster_counts_after_a_while() {
    let mut bucket = Bucket::default();
    let mut rig = Rig::new(&bucket);
    rig.list(900, [service("a", 800, "10.0.0.1")]);
    rig.write(&mut bucket);
    rig.list(50, [service("a", 40, "10.0.0.2")]);
    rig.write(&mut bucket);
    assert_eq!(bucket.there(), versions(&[("a", 800)]), "it may lag");
    rig.now += OLD_WORD_COUNTS_AFTER;
    rig.ledger.tidy(rig.now);
    rig.write(&mut bucket);
    assert_eq!(bucket.there(), versions(&[("a", 40)]));
}

#[test]
fn the_word_of_a_cluster_that_is_known_to_be_restored_counts_at_once() {
    let mut bucket = Bucket::default();
    let mut rig = Rig::new(&bucket);
    rig.list(900, [service("a", 800, "10.0.0.1")]);
    rig.write(&mut bucket);
    // One that waits already does so no more.
    rig.say(Said::Record(service("a", 40, "10.0.0.2")));
    assert!(rig.ledger.next().is_none());
    rig.say(Said::Restored);
    rig.write(&mut bucket);
    assert_eq!(bucket.there(), versions(&[("a", 40)]));
    rig.list(900, [service("a", 800, "10.0.0.1")]);
    rig.write(&mut bucket);
    rig.say(Said::Restored);
    rig.list(50, [service("a", 41, "10.0.0.3")]);
    rig.write(&mut bucket);
    assert_eq!(bucket.there(), versions(&[("a", 41)]));
}

#[test]
fn what_changes_while_it_is_written_is_written_again() {
    let mut bucket = Bucket::default();
    let mut rig = Rig::new(&bucket);
    rig.list(1, []);
    rig.say(Said::Record(service("a", 3, "10.0.0.1")));
    let write = rig.ledger.next().unwrap();
    for (version, address) in [(4, "10.0.0.2"), (5, "10.0.0.3")] {
        rig.say(Said::Record(service("a", version, address)));
    }
    assert!(rig.ledger.next().is_none(), "one write of a key at a time");
    rig.finish(write, &mut bucket);
    rig.write(&mut bucket);
    assert_eq!(bucket.there(), versions(&[("a", 5)]));
    assert_eq!(bucket.writes, 2);
}

#[test]
fn nothing_is_followed_that_does_not_get_into_the_bucket() {
    let mut rig = Rig::new(&Bucket::default());
    rig.list(1, []);
    assert!(rig.state().followed);
    rig.say(Said::Record(service("a", 3, "10.0.0.1")));
    assert!(rig.state().followed);
    rig.now += IN_TIME;
    assert!(!rig.state().followed);
    let mut bucket = Bucket::default();
    rig.write(&mut bucket);
    assert!(rig.state().followed);
    rig.say(Said::Broken);
    assert!(!rig.state().followed && rig.state().complete);
    rig.say(Said::Healthy);
    assert!(rig.state().followed);
    assert!(
        !rig.ledger.kinds(rig.now, false)["services"].followed,
        "without the Lease"
    );
}

#[test]
fn what_cannot_be_read_stays_as_it_was() {
    let mut bucket = Bucket::default();
    let mut rig = Rig::new(&bucket);
    rig.list(9, [service("a", 3, "10.0.0.1")]);
    rig.write(&mut bucket);
    let who = service("a", 12, "10.0.0.1").who().unwrap();
    let unreadable = Record {
        what: What::Unreadable,
        version: String::new(),
        object: postcard::to_stdvec(&who).unwrap(),
    };
    rig.list(20, [unreadable]);
    rig.write(&mut bucket);
    assert_eq!(bucket.there(), versions(&[("a", 3)]));
}

#[test]
fn what_is_gone_is_said_for_an_hour() {
    let mut bucket = Bucket::default();
    let mut rig = Rig::new(&bucket);
    rig.list(
        9,
        [service("a", 3, "10.0.0.1"), service("b", 4, "10.0.0.2")],
    );
    rig.write(&mut bucket);
    rig.list(20, []);
    rig.write(&mut bucket);
    assert_eq!(rig.ledger.tidy(rig.now), None);
    // One comes back meanwhile.
    rig.say(Said::Record(service("b", 30, "10.0.0.2")));
    rig.write(&mut bucket);
    rig.now += GONE_FOR;
    let floor = rig.ledger.tidy(rig.now).unwrap();
    assert_eq!(floor, 5, "after both");
    let purged = rig.ledger.purgeable(floor);
    assert_eq!(
        purged,
        [(key("a"), bucket.values["base.services.shop.a"].0)]
    );
    assert_eq!(rig.ledger.tidy(rig.now), None);
    // From then on it is as if it had never been.
    bucket.values.remove("base.services.shop.a");
    rig.say(Said::Record(service("a", 40, "10.0.0.1")));
    rig.write(&mut bucket);
    assert_eq!(bucket.there(), versions(&[("a", 40), ("b", 30)]));
}

//! Rules of slices and their endpoints.

use super::*;

#[test]
fn an_endpoint_that_moves_is_never_absent() {
    for removal_first in [true, false] {
        let mut rig = Rig::live();
        rig.apply(slice_of(
            "db-1",
            "db",
            vec![endpoint(1, true), endpoint(2, true)],
        ));
        let removal = slice_of("db-1", "db", vec![endpoint(1, true)]);
        let addition = slice_of("db-2", "db", vec![endpoint(2, true)]);
        let steps = if removal_first {
            [removal, addition]
        } else {
            [addition, removal]
        };
        for step in steps {
            rig.apply(step);
            assert_eq!(rig.db(), [ip(1), ip(2)], "removal first: {removal_first}");
        }
        rig.pass(GRACE);
        assert_eq!(rig.db(), [ip(1), ip(2)]);
    }
}

#[test]
fn an_endpoint_that_leaves_stays_for_the_grace_time() {
    let mut rig = Rig::live();
    rig.apply(slice_of("db-1", "db", vec![endpoint(1, true)]));
    rig.say(Source::Slices, Event::Delete(slice_key("db-1")));
    assert_eq!(rig.db(), [ip(1)]);
    assert_eq!(rig.model.deadline(), Some(rig.now + GRACE));
    rig.pass(GRACE - Duration::from_millis(1));
    assert_eq!(rig.db(), [ip(1)]);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.db(), []);
    assert_eq!(rig.model.deadline(), None);
    assert!(rig.zone.slices.is_empty());
}

#[test]
fn an_endpoint_that_turns_unready_goes_at_once() {
    let mut rig = Rig::live();
    rig.apply(slice_of(
        "db-1",
        "db",
        vec![endpoint(1, true), endpoint(2, true)],
    ));
    rig.apply(slice_of(
        "db-1",
        "db",
        vec![endpoint(1, false), endpoint(2, true)],
    ));
    assert_eq!(rig.db(), [ip(2)]);
    // In another slice, too: what is leaving is named there, and not ready.
    rig.apply(slice_of("db-1", "db", vec![]));
    rig.apply(slice_of("db-2", "db", vec![endpoint(2, false)]));
    assert_eq!(rig.db(), []);
}

#[test]
fn a_hostname_that_moves_to_another_address_takes_its_old_one_away() {
    let named = |last| Endpoint {
        hostname: Some("db-0".to_owned()),
        ..endpoint(last, true)
    };
    let mut rig = Rig::live();
    rig.apply(slice_of("db-1", "db", vec![named(1)]));
    rig.apply(slice_of("db-1", "db", vec![named(2)]));
    assert_eq!(rig.db(), [ip(2)]);
}

#[test]
fn a_hostname_of_the_other_family_takes_nothing_away() {
    let named = |address| Endpoint {
        hostname: Some("db-0".to_owned()),
        ..Endpoint::ready(address)
    };
    let six = Address::v6([0xfd; 16]);
    let mut rig = Rig::live();
    rig.apply(slice_of("db-4", "db", vec![named(ip(1))]));
    rig.apply(slice_of("db-6", "db", vec![named(six)]));
    rig.say(Source::Slices, Event::Delete(slice_key("db-4")));
    assert_eq!(rig.db(), [ip(1), six]);
}

#[test]
fn the_same_address_in_two_slices_counts_once() {
    let mut rig = Rig::live();
    rig.apply(slice_of("db-1", "db", vec![endpoint(1, true)]));
    rig.apply(slice_of("db-0", "db", vec![endpoint(1, true)]));
    assert_eq!(rig.db(), [ip(1)]);
    let shadowed = |name| rig.zone.slices[&key("db")][&slice_id(name)].endpoints[0].shadowed;
    assert_eq!([shadowed("db-0"), shadowed("db-1")], [false, true]);
    rig.apply(slice_of("db-0", "db", vec![endpoint(1, false)]));
    assert_eq!(rig.db(), [ip(1)], "an unready one shadows nothing");
}

#[test]
fn a_slice_that_moves_between_watches_stays() {
    let mut rig = Rig::live();
    let slice = || slice_of("db-1", "db", vec![endpoint(1, true)]);
    rig.apply(slice());
    rig.say(Source::OtherSlices, Event::Apply(slice()));
    rig.say(Source::Slices, Event::Delete(slice_key("db-1")));
    rig.pass(GRACE);
    assert_eq!(rig.db(), [ip(1)]);
}

#[test]
fn a_slice_that_changes_its_service_leaves_the_old_one() {
    let mut rig = Rig::live();
    rig.apply(Object::Service(key("other"), headless()));
    rig.apply(slice_of("x", "db", vec![endpoint(1, true)]));
    rig.apply(slice_of("x", "other", vec![endpoint(1, true)]));
    rig.pass(GRACE);
    assert_eq!(rig.db(), []);
    assert_eq!(rig.zone.answers(&key("other")), [ip(1)]);
}

#[test]
fn a_new_service_appears_whole() {
    let mut rig = Rig::live();
    rig.model.handle(
        Source::Services,
        Event::Delete(ObjectKey::Service(key("db"))),
        rig.now,
    );
    rig.apply(slice_of("db-1", "db", vec![endpoint(1, true)]));
    assert!(rig.zone.slices.is_empty(), "nobody knows yet what db is");
    rig.apply(Object::Service(key("db"), headless()));
    assert_eq!(rig.db(), [ip(1)]);
}

#[test]
fn kinds_change_with_their_slices() {
    let mut rig = Rig::live();
    rig.apply(slice_of("db-1", "db", vec![endpoint(1, true)]));
    rig.apply(Object::Service(key("db"), cluster_ip(7)));
    assert_eq!(rig.db(), [ip(7)]);
    assert!(
        rig.zone.slices.is_empty(),
        "only headless services have slices in this mode"
    );
    rig.apply(Object::Service(key("db"), headless()));
    assert_eq!(rig.db(), [ip(1)]);
    rig.model.settings.all_slices = true;
    rig.apply(Object::Service(key("db"), cluster_ip(7)));
    assert_eq!(rig.zone.slices[&key("db")].len(), 1);
}

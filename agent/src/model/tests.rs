//! Tables of single rules, then random sequences of events against a naive recomputation.

use super::*;
use nss_k8s_zone::{Address, ServiceBody};
use nss_k8s_zone::{Endpoint, Family, Port, Protocol, Slice};
use std::collections::BTreeMap;

mod endpoints;
mod map_zone;
mod random;
mod servers;
mod shown;

use map_zone::MapZone;

const GRACE: Duration = Duration::from_millis(500);
const ALL: [Source; 4] = [
    Source::Namespaces,
    Source::Services,
    Source::Slices,
    Source::OtherSlices,
];

pub(super) fn key(name: &str) -> ServiceKey {
    ServiceKey::new(name, "shop").unwrap()
}

pub(super) fn settings() -> Settings {
    Settings {
        sources: ALL.to_vec(),
        all_slices: false,
        grace: GRACE,
        cluster_dns: None,
        exposure: Exposure::default(),
        ignore_empty: false,
    }
}

pub(super) fn namespace(name: &str) -> Object {
    Object::Namespace(name.to_owned(), Labels::new())
}

pub(super) fn ip(last: u8) -> Address {
    Address::v4([10, 0, 0, last])
}

pub(super) fn cluster_ip(last: u8) -> ServiceBody {
    ServiceBody::ClusterIp {
        addresses: vec![ip(last)],
        ports: Vec::new(),
    }
}

pub(super) fn headless() -> ServiceBody {
    ServiceBody::Headless { ports: Vec::new() }
}

pub(super) fn endpoint(last: u8, ready: bool) -> Endpoint {
    Endpoint {
        ready,
        ..Endpoint::ready(ip(last))
    }
}

pub(super) fn slice_of(name: &str, service: &str, endpoints: Vec<Endpoint>) -> Object {
    let ports = vec![Port {
        name: "sql".to_owned(),
        protocol: Protocol::Tcp,
        number: 5432,
    }];
    Object::Slice(SliceOf {
        name: name.to_owned(),
        service: key(service),
        slice: Slice {
            family: Family::V4,
            ports,
            endpoints,
        },
        triggered: None,
        version: 0,
    })
}

fn slice_key(name: &str) -> ObjectKey {
    ObjectKey::Slice {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
    }
}

/// A model, its zone and a clock that the test moves.
struct Rig {
    model: Model,
    zone: MapZone,
    now: Instant,
}

impl Rig {
    fn new(zone: MapZone) -> Self {
        Self::of(settings(), zone)
    }

    fn of(settings: Settings, zone: MapZone) -> Self {
        let model = Model::new(settings, zone.held());
        Self {
            model,
            zone,
            now: Instant::now(),
        }
    }

    /// A live zone of a headless `db` with nothing in it.
    fn live() -> Self {
        let mut rig = Self::new(MapZone::default());
        rig.list(Source::Services, [Object::Service(key("db"), headless())]);
        for source in [Source::Namespaces, Source::Slices, Source::OtherSlices] {
            rig.list(source, []);
        }
        rig
    }

    fn say(&mut self, source: Source, event: Event) -> Flushed {
        self.model.handle(source, event, self.now);
        self.model.flush(&mut self.zone, self.now)
    }

    fn apply(&mut self, object: Object) -> Flushed {
        let source = match object {
            Object::Namespace(..) => Source::Namespaces,
            Object::Service(..) | Object::NameServer(..) => Source::Services,
            Object::Slice(_) => Source::Slices,
        };
        self.say(source, Event::Apply(object))
    }

    fn list(&mut self, source: Source, objects: impl IntoIterator<Item = Object>) {
        self.say(source, Event::Init);
        for object in objects {
            self.say(source, Event::Apply(object));
        }
        self.say(source, Event::Done { certain: true });
    }

    fn configure(&mut self, settings: Settings) {
        self.model.configure(settings);
        self.pass(Duration::ZERO);
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.model.flush(&mut self.zone, self.now);
    }

    fn db(&self) -> Vec<Address> {
        self.zone.answers(&key("db"))
    }
}

#[test]
fn goes_live_when_every_source_has_listed() {
    let mut rig = Rig::new(MapZone::default());
    for source in ALL {
        assert!(!rig.model.is_complete());
        rig.list(source, []);
    }
    assert!(rig.model.is_complete());
    rig.say(Source::Services, Event::Init);
    assert!(
        rig.model.is_complete(),
        "a relist does not take the zone down"
    );
}

#[test]
fn a_relist_applies_differences_and_deletes_the_unseen_at_its_end_only() {
    let mut rig = Rig::live();
    rig.list(
        Source::Services,
        [
            Object::Service(key("a"), cluster_ip(1)),
            Object::Service(key("b"), cluster_ip(2)),
        ],
    );
    rig.say(Source::Services, Event::Init);
    let same = rig.say(
        Source::Services,
        Event::Apply(Object::Service(key("a"), cluster_ip(1))),
    );
    assert_eq!(same.changes, 0);
    assert!(
        rig.zone.services.contains_key(&key("b")),
        "still there in the middle of the list"
    );
    rig.say(Source::Services, Event::Done { certain: true });
    assert_eq!(rig.zone.services.keys().collect::<Vec<_>>(), [&key("a")]);
}

#[test]
fn an_adopted_zone_loses_what_is_not_listed() {
    let mut zone = Rig::live();
    zone.apply(namespace("old"));
    zone.apply(Object::Service(key("gone"), cluster_ip(9)));
    zone.apply(slice_of("db-1", "db", vec![endpoint(1, true)]));
    zone.apply(slice_of("db-2", "db", vec![endpoint(2, true)]));
    let mut rig = Rig::new(zone.zone);
    rig.say(Source::Slices, Event::Init);
    let same = rig.apply(slice_of("db-1", "db", vec![endpoint(1, true)]));
    assert_eq!(
        same.changes, 0,
        "a slice listed before its service changes nothing"
    );
    rig.say(Source::Slices, Event::Done { certain: true });
    assert_eq!(
        rig.db(),
        [ip(1), ip(2)],
        "the other watch may still bring db-2"
    );
    rig.list(Source::OtherSlices, []);
    rig.list(Source::Services, [Object::Service(key("db"), headless())]);
    assert_eq!(rig.db(), [ip(1)]);
    assert!(!rig.zone.services.contains_key(&key("gone")));
    assert!(
        rig.zone.namespaces.contains("old"),
        "namespaces are not listed yet"
    );
    rig.list(Source::Namespaces, []);
    assert_eq!(rig.zone.namespaces.iter().collect::<Vec<_>>(), ["shop"]);
}

#[test]
fn an_adopted_zone_keeps_everything_after_an_uncertain_list() {
    let mut before = Rig::live();
    before.apply(Object::Service(key("a"), cluster_ip(1)));
    let held = before.zone.clone();
    let mut rig = Rig::new(before.zone);
    for source in ALL {
        rig.say(source, Event::Init);
        rig.say(source, Event::Done { certain: false });
    }
    assert!(rig.model.is_complete());
    assert_eq!(rig.zone, held);
    for source in ALL {
        rig.list(source, []);
    }
    assert_eq!(rig.zone, MapZone::default());
}

#[test]
fn an_unreadable_object_keeps_what_was_known_of_it() {
    let mut rig = Rig::live();
    rig.apply(Object::Service(key("a"), cluster_ip(1)));
    rig.say(
        Source::Services,
        Event::Unreadable(ObjectKey::Service(key("a"))),
    );
    rig.say(Source::Services, Event::Init);
    rig.say(
        Source::Services,
        Event::Unreadable(ObjectKey::Service(key("a"))),
    );
    rig.say(Source::Services, Event::Done { certain: true });
    assert!(rig.zone.services.contains_key(&key("a")));

    let mut next = Rig::new(rig.zone);
    next.say(Source::Services, Event::Init);
    next.say(
        Source::Services,
        Event::Unreadable(ObjectKey::Service(key("a"))),
    );
    next.say(Source::Services, Event::Done { certain: true });
    for source in [Source::Namespaces, Source::Slices, Source::OtherSlices] {
        next.list(source, []);
    }
    assert!(
        next.zone.services.contains_key(&key("a")),
        "also when an earlier agent published it"
    );
    assert!(next.zone.namespaces.contains("shop"));
    next.say(
        Source::Services,
        Event::Delete(ObjectKey::Service(key("a"))),
    );
    assert!(!next.zone.services.contains_key(&key("a")));
}

#[test]
fn an_unreadable_slice_of_an_earlier_agent_stays() {
    let mut before = Rig::live();
    before.apply(slice_of("db-1", "db", vec![endpoint(1, true)]));
    let mut rig = Rig::new(before.zone);
    rig.list(Source::Services, [Object::Service(key("db"), headless())]);
    rig.list(Source::Namespaces, []);
    rig.list(Source::OtherSlices, []);
    rig.say(Source::Slices, Event::Init);
    rig.say(Source::Slices, Event::Unreadable(slice_key("db-1")));
    rig.say(Source::Slices, Event::Done { certain: true });
    assert_eq!(rig.db(), [ip(1)]);
    rig.say(Source::Slices, Event::Delete(slice_key("db-1")));
    assert_eq!(rig.db(), []);
}

#[test]
fn a_namespace_lives_as_long_as_anything_speaks_for_it() {
    let mut rig = Rig::new(MapZone::default());
    rig.apply(Object::Service(key("a"), cluster_ip(1)));
    rig.apply(namespace("shop"));
    rig.say(
        Source::Services,
        Event::Delete(ObjectKey::Service(key("a"))),
    );
    assert!(rig.zone.namespaces.contains("shop"));
    rig.say(
        Source::Namespaces,
        Event::Delete(ObjectKey::Namespace("shop".to_owned())),
    );
    assert!(rig.zone.namespaces.is_empty());
}

#[test]
fn what_is_refused_for_want_of_space_is_tried_again() {
    let mut rig = Rig::live();
    rig.zone.full = true;
    let refused = rig.apply(Object::Service(key("a"), cluster_ip(1)));
    assert_eq!((refused.failures.len(), refused.repeated), (1, 0));
    // Every second, and said once.
    for _ in 0..2 {
        rig.model.retry();
        let refused = rig.model.flush(&mut rig.zone, rig.now);
        assert_eq!((refused.failures.len(), refused.repeated), (0, 1));
    }
    rig.zone.full = false;
    assert_eq!(rig.model.flush(&mut rig.zone, rig.now).changes, 0);
    rig.model.retry();
    assert_eq!(rig.model.flush(&mut rig.zone, rig.now).changes, 1);
    assert!(rig.zone.services.contains_key(&key("a")));
}

/// "No data" for a name whose endpoints DNS has would be worse than nothing. What is published of a service
/// stays, however little it is.
#[test]
fn a_headless_service_without_space_for_its_endpoints_is_absent() {
    let slice = |name, last| slice_of(name, "db", vec![endpoint(last, true)]);
    let mut rig = Rig::live();
    rig.apply(Object::Service(key("db"), headless()));
    assert!(rig.zone.services.contains_key(&key("db")));
    rig.zone.full = true;
    rig.apply(slice("db-1", 1));
    assert!(!rig.zone.services.contains_key(&key("db")));
    assert!(rig.model.lacks_space());
    rig.zone.full = false;
    rig.model.retry();
    rig.model.flush(&mut rig.zone, rig.now);
    assert_eq!(rig.db(), [ip(1)]);
    assert!(!rig.model.lacks_space());
    rig.zone.full = true;
    rig.apply(slice("db-2", 2));
    rig.apply(slice("db-1", 3));
    assert_eq!(rig.db(), [ip(1)]);
}

/// What is listed and finds no space is not what nobody lists any more.
#[test]
fn what_an_earlier_agent_published_stays_while_the_next_finds_no_space() {
    let slice = |name, last| slice_of(name, "db", vec![endpoint(last, true)]);
    let mut before = Rig::live();
    before.apply(namespace("shop"));
    before.apply(slice("db-1", 1));
    before.apply(Object::Service(key("a"), cluster_ip(1)));
    let mut rig = Rig::new(before.zone);
    rig.zone.full = true;
    let services = [(key("db"), headless()), (key("a"), cluster_ip(2))];
    rig.list(
        Source::Services,
        services.map(|(key, body)| Object::Service(key, body)),
    );
    // The new slice first: what is there of the service is not listed yet.
    rig.list(Source::Slices, [slice("db-2", 2), slice("db-1", 3)]);
    rig.list(Source::OtherSlices, []);
    rig.list(Source::Namespaces, [namespace("shop")]);
    assert!(rig.model.is_complete() && rig.model.lacks_space());
    assert_eq!(rig.db(), [ip(1)]);
    assert_eq!(rig.zone.answers(&key("a")), [ip(1)]);
    rig.zone.full = false;
    rig.model.retry();
    rig.model.flush(&mut rig.zone, rig.now);
    assert_eq!(rig.db(), [ip(2), ip(3)]);
    assert_eq!(rig.zone.answers(&key("a")), [ip(2)]);
    assert!(!rig.model.lacks_space());
}

/// What the last agent could not publish is not denied while this one has not listed it.
#[test]
fn an_adopted_zone_lacks_what_it_lacked_until_everything_is_listed() {
    let adopted = Held {
        incomplete: true,
        ..Rig::live().zone.held()
    };
    let mut model = Model::new(settings(), adopted);
    let mut zone = MapZone::default();
    for source in ALL {
        model.flush(&mut zone, Instant::now());
        assert!(model.lacks_space());
        model.handle(source, Event::Init, Instant::now());
        model.handle(source, Event::Done { certain: true }, Instant::now());
    }
    model.flush(&mut zone, Instant::now());
    assert!(!model.lacks_space());
}

#[test]
fn trigger_times_count_of_headless_services_and_outside_of_lists() {
    let mut rig = Rig::new(MapZone::default());
    let triggered = |object| match object {
        Object::Slice(of) => Object::Slice(SliceOf {
            triggered: Some(SystemTime::now()),
            ..of
        }),
        other => other,
    };
    rig.say(Source::Slices, Event::Init);
    let listed = rig.apply(triggered(slice_of("db-1", "db", vec![endpoint(1, true)])));
    assert!(listed.triggers.is_empty());
    rig.say(Source::Slices, Event::Done { certain: true });
    let changed = |rig: &mut Rig, last| {
        let slice = slice_of("db-1", "db", vec![endpoint(last, true)]);
        rig.apply(triggered(slice)).triggers.len()
    };
    rig.apply(Object::Service(key("db"), cluster_ip(1)));
    assert_eq!(changed(&mut rig, 2), 0, "that is kube-proxy's");
    rig.apply(Object::Service(key("db"), headless()));
    assert_eq!(changed(&mut rig, 3), 1);
}

#[test]
fn slice_numbers_are_stable() {
    // FNV-1a's published test vectors.
    assert_eq!(slice_id("").0, 0xcbf2_9ce4_8422_2325);
    assert_eq!(slice_id("foobar").0, 0x8594_4171_f739_67e8);
}

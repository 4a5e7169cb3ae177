//! Random sequences of events: after the grace time the zone is what the objects that are there in
//! the end say, recomputed from nothing; also through restarts of the agent.

use super::*;
use proptest::prelude::*;

/// One step of a sequence.
#[derive(Clone, Debug)]
enum Step {
    Apply(Source, Object),
    Delete(Source, ObjectKey),
    /// A relist of everything that a source has now; these deletions were missed before.
    Relist(Source, Vec<ObjectKey>),
    /// The agent is killed; another one adopts the zone and lists what is left then.
    Restart(Vec<ObjectKey>),
    /// Another configuration: which namespaces, and whether empty services exist.
    Configure(Exposure, bool),
    Wait(u64),
}

fn exposure() -> impl Strategy<Value = Exposure> {
    let labels = |text: &str| Exposure {
        labels: Some(text.parse().unwrap()),
        ..Exposure::default()
    };
    let names = |name: &str| Exposure {
        names: vec![name.to_owned()],
        ..Exposure::default()
    };
    prop::sample::select(vec![
        Exposure::default(),
        names("shop"),
        names("other"),
        labels("tier=1"),
        labels("tier!=1"),
    ])
}

fn namespace_object() -> impl Strategy<Value = Object> {
    let name = prop::sample::select(vec!["shop", "other"]);
    (name, 0_u8..3).prop_map(|(name, tier)| {
        let labels = [("tier".to_owned(), tier.to_string())];
        Object::Namespace(name.to_owned(), labels.into())
    })
}

fn source() -> impl Strategy<Value = Source> {
    prop::sample::select(ALL.to_vec())
}

fn body() -> impl Strategy<Value = ServiceBody> {
    prop_oneof![
        (0_u8..4).prop_map(cluster_ip),
        Just(headless()),
        Just(headless()),
        Just(ServiceBody::External {
            target: "example.com".to_owned()
        }),
    ]
}

fn service_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c"])
}

fn slice_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["s0", "s1", "s2", "s3"])
}

fn slice() -> impl Strategy<Value = Object> {
    let endpoints = prop::collection::vec((0_u8..6, any::<bool>()), 0..4);
    (slice_name(), service_name(), endpoints).prop_map(|(name, service, endpoints)| {
        let endpoints = endpoints
            .into_iter()
            .map(|(last, ready)| endpoint(last, ready));
        slice_of(name, service, endpoints.collect())
    })
}

/// Objects that go while nobody looks.
fn missed() -> impl Strategy<Value = Vec<ObjectKey>> {
    let key = prop_oneof![
        Just(ObjectKey::Namespace("other".to_owned())),
        service_name().prop_map(|name| ObjectKey::Service(key(name))),
        slice_name().prop_map(slice_key),
    ];
    prop::collection::vec(key, 0..4)
}

fn step() -> impl Strategy<Value = Step> {
    let namespace = || prop::sample::select(vec!["shop", "other"]);
    let slices = || prop::sample::select(vec![Source::Slices, Source::OtherSlices]);
    prop_oneof![
        1 => namespace_object().prop_map(|object| Step::Apply(Source::Namespaces, object)),
        1 => namespace().prop_map(|name| Step::Delete(
            Source::Namespaces,
            ObjectKey::Namespace(name.to_owned())
        )),
        3 => (service_name(), body())
            .prop_map(|(name, body)| Step::Apply(Source::Services, Object::Service(key(name), body))),
        1 => service_name()
            .prop_map(|name| Step::Delete(Source::Services, ObjectKey::Service(key(name)))),
        6 => (slices(), slice()).prop_map(|(source, slice)| Step::Apply(source, slice)),
        3 => (slices(), slice_name())
            .prop_map(|(source, name)| Step::Delete(source, slice_key(name))),
        1 => (source(), missed()).prop_map(|(source, missed)| Step::Relist(source, missed)),
        1 => missed().prop_map(Step::Restart),
        1 => (exposure(), any::<bool>()).prop_map(|(of, empty)| Step::Configure(of, empty)),
        2 => (0_u64..700).prop_map(Step::Wait),
    ]
}

/// What the sources hold, each for itself, and in which order it came.
#[derive(Default)]
struct Objects {
    held: BTreeMap<(Source, ObjectKey), (usize, Object)>,
    count: usize,
}

impl Objects {
    fn apply(&mut self, source: Source, object: Object) {
        self.count += 1;
        self.held
            .insert((source, object.key()), (self.count, object));
    }

    fn of(&self, source: Source) -> Vec<Object> {
        let held = self.held.iter().filter(|((of, _), _)| *of == source);
        held.map(|(_, (_, object))| object.clone()).collect()
    }

    /// The zone that these objects make by these settings, from nothing.
    fn zone(&self, settings: &Settings) -> MapZone {
        let mut zone = self.everything(settings.all_slices);
        let none = Labels::new();
        let hides = |name: &str| {
            let key = ObjectKey::Namespace(name.to_owned());
            let labels = match self.held.get(&(Source::Namespaces, key)) {
                Some((_, Object::Namespace(_, labels))) => labels,
                _ => &none,
            };
            let Exposure {
                names,
                labels: selector,
            } = &settings.exposure;
            !(names.is_empty() || names.contains(&name.to_owned()))
                || selector.as_ref().is_some_and(|of| !of.matches(labels))
        };
        let is_empty = |key: &ServiceKey, zone: &MapZone| {
            let is_cluster_ip =
                matches!(zone.services.get(key), Some(ServiceBody::ClusterIp { .. }));
            let slices = zone.slices.get(key).into_iter().flat_map(BTreeMap::values);
            let mut endpoints = slices.flat_map(|slice| &slice.endpoints);
            settings.ignore_empty && is_cluster_ip && !endpoints.any(|endpoint| endpoint.ready)
        };
        for key in zone.services.keys().cloned().collect::<Vec<_>>() {
            if hides(key.namespace()) || is_empty(&key, &zone) {
                zone.services.remove(&key);
                zone.slices.remove(&key);
            }
        }
        zone.namespaces.retain(|name| !hides(name));
        zone
    }

    /// The zone of all namespaces, whatever stands behind services.
    fn everything(&self, all_slices: bool) -> MapZone {
        let mut zone = MapZone::default();
        for (_, object) in self.held.values() {
            match object {
                Object::Namespace(name, _) => {
                    zone.namespaces.insert(name.clone());
                }
                Object::Service(key, body) | Object::NameServer(key, body) => {
                    zone.namespaces.insert(key.namespace().to_owned());
                    zone.services.insert(key.clone(), body.clone());
                }
                Object::Slice(of) => {
                    zone.namespaces.insert(of.service.namespace().to_owned());
                }
            }
        }
        let mut slices: Vec<_> = self
            .held
            .values()
            .filter_map(|(at, object)| match object {
                Object::Slice(of) => Some((of.service.clone(), of.name.clone(), *at, &of.slice)),
                _ => None,
            })
            .collect();
        // The same slice of two watches: the later one counts.
        slices.sort_by_key(|(service, name, at, _)| (service.clone(), name.clone(), *at));
        let latest: BTreeMap<_, _> = slices
            .into_iter()
            .map(|(service, name, _, slice)| ((service, name), slice.clone()))
            .collect();
        let mut seen = BTreeSet::new();
        for ((service, name), mut slice) in latest {
            let is_wanted = match zone.services.get(&service) {
                Some(ServiceBody::Headless { .. }) => true,
                Some(ServiceBody::ClusterIp { .. }) => all_slices,
                _ => false,
            };
            if !is_wanted || slice.endpoints.is_empty() {
                continue;
            }
            for endpoint in &mut slice.endpoints {
                endpoint.shadowed =
                    endpoint.ready && !seen.insert((service.clone(), endpoint.address));
            }
            zone.slices
                .entry(service)
                .or_default()
                .insert(slice_id(&name), slice);
        }
        zone
    }
}

/// A listing brings both watches' copies of one slice in the order of the watches, so that which
/// one is the later may differ from before; only sequences without such copies can be compared
/// after one. The API never has them for long: the selectors exclude each other.
fn copies(objects: &Objects) -> bool {
    let of = |source| {
        objects
            .of(source)
            .iter()
            .map(Object::key)
            .collect::<BTreeSet<_>>()
    };
    !of(Source::Slices).is_disjoint(&of(Source::OtherSlices))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn any_sequence_ends_in_what_the_objects_say(
        all_slices in any::<bool>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut objects = Objects::default();
        let mut settings = Settings { all_slices, ..settings() };
        let mut rig = Rig::of(settings.clone(), MapZone::default());
        for source in ALL {
            rig.list(source, []);
        }
        for step in steps {
            match step {
                Step::Apply(source, object) => {
                    objects.apply(source, object.clone());
                    rig.say(source, Event::Apply(object));
                }
                Step::Delete(source, key) => {
                    objects.held.remove(&(source, key.clone()));
                    rig.say(source, Event::Delete(key));
                }
                Step::Relist(..) | Step::Restart(_) if copies(&objects) => {}
                Step::Relist(source, missed) => {
                    for key in missed {
                        objects.held.remove(&(source, key));
                    }
                    rig.list(source, objects.of(source));
                }
                Step::Restart(missed) => {
                    objects.held.retain(|(_, key), _| !missed.contains(key));
                    let before = rig.zone.clone();
                    rig = Rig::of(settings.clone(), rig.zone);
                    rig.say(Source::Services, Event::Init);
                    prop_assert_eq!(&rig.zone, &before, "a restart alone changes nothing");
                    for source in [Source::OtherSlices, Source::Slices, Source::Services] {
                        rig.list(source, objects.of(source));
                    }
                    rig.list(Source::Namespaces, objects.of(Source::Namespaces));
                }
                Step::Configure(exposure, empty) => {
                    settings.exposure = exposure;
                    settings.ignore_empty = empty && all_slices;
                    rig.configure(settings.clone());
                }
                Step::Wait(milliseconds) => rig.pass(Duration::from_millis(milliseconds)),
            }
        }
        rig.pass(GRACE);
        prop_assert_eq!(rig.model.deadline(), None);
        prop_assert_eq!(rig.zone, objects.zone(&settings));
    }
}

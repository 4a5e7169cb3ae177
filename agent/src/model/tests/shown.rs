//! What is served of what exists: CoreDNS's `namespaces`, `namespace_labels` and
//! `ignore empty_service`.

use super::*;

fn labeled(name: &str, tier: &str) -> Object {
    Object::Namespace(
        name.to_owned(),
        [("tier".to_owned(), tier.to_owned())].into(),
    )
}

fn by_label(text: &str) -> Settings {
    Settings {
        exposure: Exposure {
            labels: Some(text.parse().unwrap()),
            ..Exposure::default()
        },
        ..settings()
    }
}

fn strict() -> Settings {
    Settings {
        all_slices: true,
        ignore_empty: true,
        ..settings()
    }
}

/// A zone of two namespaces with a service in one of them.
fn listed(settings: Settings, zone: MapZone) -> Rig {
    let mut rig = Rig::of(settings, zone);
    rig.list(
        Source::Services,
        [Object::Service(key("api"), cluster_ip(1))],
    );
    rig.list(Source::Slices, []);
    rig.list(Source::OtherSlices, []);
    rig.list(
        Source::Namespaces,
        [labeled("shop", "1"), labeled("other", "2")],
    );
    rig
}

fn shows(rig: &Rig) -> (Vec<&str>, bool) {
    let names = rig.zone.namespaces.iter().map(String::as_str).collect();
    (names, rig.zone.services.contains_key(&key("api")))
}

#[test]
fn a_namespace_that_is_not_named_does_not_exist() {
    let mut rig = listed(settings(), MapZone::default());
    assert_eq!(shows(&rig), (vec!["other", "shop"], true));
    let only = |name: &str| Settings {
        exposure: Exposure {
            names: vec![name.to_owned()],
            ..Exposure::default()
        },
        ..settings()
    };
    rig.configure(only("other"));
    assert_eq!(shows(&rig), (vec!["other"], false));
    rig.configure(only("shop"));
    assert_eq!(shows(&rig), (vec!["shop"], true));
}

#[test]
fn a_namespace_is_served_by_its_labels() {
    let mut rig = listed(by_label("tier=2"), MapZone::default());
    assert_eq!(shows(&rig), (vec!["other"], false));
    rig.apply(labeled("shop", "2"));
    assert_eq!(shows(&rig), (vec!["other", "shop"], true));
    rig.apply(labeled("other", "3"));
    assert_eq!(shows(&rig), (vec!["shop"], true));
}

#[test]
fn what_was_published_stays_until_the_labels_are_known() {
    let before = listed(by_label("tier=1"), MapZone::default()).zone;
    let mut rig = Rig::of(by_label("tier=1"), before.clone());
    rig.list(
        Source::Services,
        [Object::Service(key("api"), cluster_ip(1))],
    );
    rig.list(Source::Slices, []);
    rig.list(Source::OtherSlices, []);
    assert_eq!(rig.zone, before);
    rig.list(Source::Namespaces, [labeled("shop", "2")]);
    assert_eq!(shows(&rig), (vec![], false));
}

#[test]
fn a_service_without_ready_endpoints_does_not_exist() {
    let mut rig = Rig::of(strict(), MapZone::default());
    rig.list(
        Source::Services,
        [Object::Service(key("api"), cluster_ip(1))],
    );
    assert!(shows(&rig).1, "its slices are not listed yet");
    rig.list(Source::Namespaces, []);
    rig.list(Source::OtherSlices, []);
    rig.list(Source::Slices, []);
    assert!(!shows(&rig).1);
    rig.apply(slice_of("s", "api", vec![endpoint(9, false)]));
    assert!(!shows(&rig).1, "it is not ready");
    rig.apply(slice_of("s", "api", vec![endpoint(9, true)]));
    assert!(shows(&rig).1);
    rig.apply(slice_of("s", "api", vec![endpoint(9, false)]));
    assert!(!shows(&rig).1);
    rig.configure(Settings {
        ignore_empty: false,
        ..strict()
    });
    assert!(shows(&rig).1);
}

#[test]
fn the_last_endpoint_has_its_grace() {
    let mut rig = Rig::of(strict(), MapZone::default());
    rig.list(
        Source::Services,
        [Object::Service(key("api"), cluster_ip(1))],
    );
    rig.list(
        Source::Slices,
        [slice_of("s", "api", vec![endpoint(9, true)])],
    );
    rig.list(Source::OtherSlices, []);
    rig.apply(slice_of("s", "api", vec![]));
    assert!(shows(&rig).1, "it may turn up elsewhere");
    rig.pass(GRACE);
    assert!(!shows(&rig).1);
}

#[test]
fn says_which_namespaces_there_are_whether_served_or_not() {
    let mut rig = Rig::of(by_label("tier=1"), MapZone::default());
    assert!(rig.model.namespaces().is_none(), "not listed yet");
    rig.list(Source::Namespaces, [labeled("shop", "2")]);
    let names: Vec<_> = rig
        .model
        .namespaces()
        .unwrap()
        .map(|known| known.name)
        .collect();
    assert_eq!(names, ["shop"]);
}

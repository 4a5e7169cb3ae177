//! Zones on a tmpfs, without an agent around them: what each holds, and when it goes.

use super::*;
use crate::{
    model::Sink,
    table::{Entry as Assigned, Table},
};
use nss_k8s_zone::{Dump, ServiceBody, ServiceKey};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::TempDir;

const NAMESPACES: [&str; 3] = ["bank", "shop", "store"];

/// A directory for zones, and what is in them.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(TempDir::new_in("/dev/shm").unwrap())
    }

    fn options(&self) -> Options {
        Options::new(self.0.path(), "cluster.local")
    }

    fn open(&self, classes: &[&str], before: Option<&Table>, hides: bool) -> Views {
        Views::open(self.options(), &classes_of(classes), before, hides).unwrap()
    }

    /// With each namespace and a service in it, live.
    fn filled(&self, classes: &[&str]) -> Views {
        let mut views = self.open(classes, None, true);
        for namespace in NAMESPACES {
            put(&mut views, namespace);
        }
        views.set_synced(Now(100));
        views
    }

    fn file(&self, view: &str) -> PathBuf {
        self.0.path().join("view").join(view).join("zone.v1")
    }

    /// A further link to a zone's inode, as a pod has it.
    fn link(&self, view: &str) -> PathBuf {
        let link = self.0.path().join(format!("linked-{view}"));
        fs::hard_link(self.file(view), &link).unwrap();
        link
    }
}

fn classes_of(names: &[&str]) -> Vec<Class> {
    let named = |name: &&str| Class {
        name: (*name).to_owned(),
        ..Class::default_class()
    };
    names.iter().map(named).collect()
}

/// A class with everything, and these zones that hide something.
fn wanted(hiding: &[(&str, &[&str])]) -> Vec<Wanted> {
    let hiding = hiding.iter().map(|(name, shown)| Wanted {
        name: (*name).to_owned(),
        class: Class::default_class(),
        shown: only(shown),
    });
    let everything = Wanted::of_class(Class::default_class());
    core::iter::once(everything).chain(hiding).collect()
}

fn only(names: &[&str]) -> Shown {
    let names = names.iter().map(|name| (*name).to_owned());
    Shown::Only(Arc::new(names.collect()))
}

fn align(views: &mut Views, hiding: &[(&str, &[&str])]) {
    let errors = views.align(&wanted(hiding), Some(Now(100)));
    assert!(errors.is_empty(), "{errors:?}");
}

fn key(namespace: &str) -> ServiceKey {
    ServiceKey::new("api", namespace).unwrap()
}

fn put(views: &mut Views, namespace: &str) {
    let body = ServiceBody::External {
        target: format!("{namespace}.example.com"),
    };
    views.put_service(&key(namespace), &body).unwrap();
    views.put_namespace(namespace).unwrap();
}

/// The namespaces of a zone, each with its service, as whoever opens the file finds them.
fn held(file: &Path) -> Vec<String> {
    let zone = Dump::open(file).unwrap();
    let mut namespaces = Vec::new();
    let mut services = Vec::new();
    for entry in zone.entries() {
        match entry {
            Entry::Namespace(name) => namespaces.push(name.clone()),
            Entry::Service { key, body, .. } => {
                assert!(body.is_some(), "{key}");
                services.push(key.namespace().to_owned());
            }
        }
    }
    assert_eq!(namespaces, services);
    namespaces
}

fn has_bytes(file: &Path, text: &str) -> bool {
    let bytes = fs::read(file).unwrap();
    bytes.windows(text.len()).any(|it| it == text.as_bytes())
}

/// Whether processes that have this file mapped are answered from it.
fn serves(file: &Path) -> bool {
    Dump::open(file).is_ok_and(|zone| zone.state() == State::Live)
}

/// Directories are linked by what was told: what waited for it goes.
fn link_all(views: &mut Views, generation: u64) {
    views.depart(generation);
    views.settle(generation, Instant::now());
}

fn table(view: &str, class: &str) -> Table {
    let entry = Assigned {
        class: class.to_owned(),
        view: view.to_owned(),
        inject: true,
    };
    Table {
        classes: BTreeMap::from([(view.to_owned(), entry)]),
        ..Table::default()
    }
}

#[test]
fn classes_hold_everything_and_views_what_they_show() {
    let place = Place::new();
    let mut views = place.filled(&["default", "quiet"]);
    let mut all = wanted(&[("a", &["shop"]), ("b", &["shop", "store", "later"])]);
    all.insert(1, Wanted::of_class(classes_of(&["quiet"]).remove(0)));
    let errors = views.align(&all, Some(Now(100)));
    assert!(errors.is_empty(), "{errors:?}");
    for (view, expected) in [
        ("default", &NAMESPACES[..]),
        ("quiet", &NAMESPACES),
        ("a", &["shop"]),
        ("b", &["shop", "store"]),
    ] {
        assert_eq!(held(&place.file(view)), expected, "{view}");
        assert!(serves(&place.file(view)), "{view}");
    }
    // A namespace that is new is shown by whom it was promised to, and by who sees everything.
    put(&mut views, "later");
    assert_eq!(held(&place.file("quiet")).len(), 4);
    assert_eq!(held(&place.file("b")), ["later", "shop", "store"]);
    assert_eq!(held(&place.file("a")), ["shop"]);
    assert!(!has_bytes(&place.file("a"), "later"));
    // What goes, goes everywhere.
    views.delete_service(&key("shop")).unwrap();
    views.delete_namespace("shop").unwrap();
    for view in ["default", "quiet", "a", "b"] {
        assert!(
            !held(&place.file(view)).contains(&"shop".to_owned()),
            "{view}"
        );
    }
    assert_eq!(views.held().namespaces.len(), 3);
}

#[test]
fn a_policy_that_shows_more_fills_the_zone_again() {
    let place = Place::new();
    let mut views = place.filled(&["default"]);
    align(&mut views, &[("a", &["shop"])]);
    let inode = place.link("a");
    align(&mut views, &[("a", &["shop", "store"])]);
    assert_eq!(held(&place.file("a")), ["shop", "store"]);
    assert_eq!(held(&inode), ["shop", "store"], "nobody is moved for more");
    assert!(!views.depart(1), "nothing waits");
    // Also what had gone before, as it is by now.
    align(&mut views, &[("a", &["shop"])]);
    put(&mut views, "later");
    align(&mut views, &[("a", &["later", "shop", "store"])]);
    assert_eq!(held(&place.file("a")), ["later", "shop", "store"]);
}

#[test]
fn a_policy_that_hides_more_leaves_no_byte_and_moves_processes() {
    let place = Place::new();
    let mut views = place.filled(&["default"]);
    align(&mut views, &[("a", &["bank", "shop"])]);
    let inode = place.link("a");
    assert!(has_bytes(&inode, "bank.example.com"));
    align(&mut views, &[("a", &["shop"])]);
    assert_eq!(held(&place.file("a")), ["shop"]);
    assert!(!has_bytes(&place.file("a"), "bank"), "not a byte");
    assert_eq!(held(&inode), ["shop"], "at once, for who is there still");
    assert!(
        serves(&inode),
        "they are answered until they are linked anew"
    );
    assert!(views.depart(1) && !views.depart(1), "told once");
    views.settle(0, Instant::now());
    assert!(serves(&inode), "by the table of that number");
    views.settle(1, Instant::now());
    assert!(!serves(&inode) && serves(&place.file("a")));
}

#[test]
fn who_is_never_told_moves_after_a_while() {
    let place = Place::new();
    let mut views = place.filled(&["default"]);
    align(&mut views, &[("a", &["bank", "shop"])]);
    let inode = place.link("a");
    assert!(views.renew("a") && !views.renew("nobody"));
    let later = Instant::now() + 2 * PATIENCE;
    views.settle(0, later);
    assert!(serves(&inode), "nobody was told to leave");
    views.depart(7);
    views.settle(0, Instant::now());
    assert!(serves(&inode));
    views.settle(0, later);
    assert!(!serves(&inode));
}

#[test]
fn what_is_wanted_no_more_goes_once_nobody_is_linked_to_it() {
    let place = Place::new();
    let mut views = place.filled(&["default"]);
    align(&mut views, &[("a", &["shop"]), ("b", &["store"])]);
    align(&mut views, &[("b", &["store"])]);
    assert!(serves(&place.file("a")), "it goes on meanwhile");
    put(&mut views, "shop");
    // Who is wanted again stays.
    views.depart(1);
    align(&mut views, &[("a", &["shop"]), ("b", &["store"])]);
    views.settle(1, Instant::now());
    assert!(views.has("a"));
    align(&mut views, &[("b", &["store"])]);
    link_all(&mut views, 2);
    assert!(!views.has("a") && views.has("b") && views.has("default"));
    assert!(!place.file("a").exists() && !place.file("a").parent().unwrap().exists());
    // The first of all is never wanted no more.
    views.align(&[], Some(Now(100)));
    link_all(&mut views, 3);
    assert!(views.has("default") && !views.has("b"));
}

#[test]
fn the_switch_turns_every_zone_off_and_the_inodes_that_were_left() {
    let place = Place::new();
    let mut views = place.filled(&["default", "quiet"]);
    align(&mut views, &[("a", &["bank", "shop"]), ("b", &["shop"])]);
    let inode = place.link("a");
    // The class has left, processes that have it are still there.
    align(&mut views, &[("a", &["shop"]), ("b", &["shop"])]);
    let all = ["default", "quiet", "a", "b"].map(|view| place.file(view));
    assert!(all.iter().all(|file| serves(file)) && serves(&inode));
    views.disable();
    assert!(all.iter().all(|file| !serves(file)), "each zone");
    assert!(!serves(&inode), "and whom nobody has linked anew yet");
    // What is wanted from now on is off, too.
    align(
        &mut views,
        &[("a", &["shop"]), ("b", &["shop"]), ("c", &["store"])],
    );
    assert_eq!(
        Dump::open(&place.file("c")).unwrap().state(),
        State::Disabled
    );
    assert_eq!(held(&place.file("c")), ["store"], "but complete");
    views.enable();
    views.set_synced(Now(101));
    for view in ["default", "a", "b", "c"] {
        assert!(serves(&place.file(view)), "{view}");
    }
}

#[test]
fn the_next_agent_goes_on_with_every_zone() {
    let place = Place::new();
    let mut views = place.filled(&["default", "quiet"]);
    align(&mut views, &[("a", &["shop"])]);
    views.beat(Now(77));
    drop(views);
    let inode = place.link("a");
    // Its class is known, and something is still hidden: it stays as it is, to the inode.
    let before = table("a", "default");
    let mut views = place.open(&["default", "quiet"], Some(&before), true);
    assert!(views.adopted && views.alive_before == Now(77));
    assert!(!views.depart(1), "nothing leaves");
    assert_eq!(held(&place.file("a")), ["shop"]);
    put(&mut views, "store");
    put(&mut views, "later");
    assert_eq!(held(&inode), ["shop"], "it shows what it showed");
    assert!(serves(&inode));
    assert_eq!(held(&place.file("quiet")).len(), 4);
    // What it shall show is known: it is filled from the class.
    align(&mut views, &[("a", &["later", "shop"])]);
    assert_eq!(held(&inode), ["later", "shop"]);
}

#[test]
fn what_nobody_needs_of_an_earlier_agent_goes_once_it_is_linked_to_no_more() {
    for (before, hides, why) in [
        (
            Some(table("a", "default")),
            false,
            "nothing is hidden any more",
        ),
        (Some(table("a", "gone")), true, "its class is gone"),
        (Some(table("b", "default")), true, "it is not in the table"),
        (None, true, "there is no table"),
    ] {
        let place = Place::new();
        let mut views = place.filled(&["default"]);
        align(&mut views, &[("a", &["shop"])]);
        drop(views);
        let mut views = place.open(&["default"], before.as_ref(), hides);
        assert!(
            views.has("a") && serves(&place.file("a")),
            "{why}: until then"
        );
        link_all(&mut views, 1);
        assert!(!views.has("a") && !place.file("a").exists(), "{why}");
        assert!(serves(&place.file("default")), "{why}");
    }
}

#[test]
fn a_broken_zone_of_default_goes_on_from_another_class() {
    let place = Place::new();
    drop(place.filled(&["default", "quiet"]));
    fs::write(place.file("default"), "no zone").unwrap();
    let views = place.open(&["default", "quiet"], None, true);
    assert!(views.adopted);
    assert_eq!(held(&place.file("default")), NAMESPACES);
    assert_eq!(views.held().services.len(), 3);
}

#[test]
fn a_zone_without_space_says_so_and_is_no_others_matter() {
    let place = Place::new();
    let mut views = place.filled(&["default"]);
    for number in 0..2000 {
        let key = ServiceKey::new(&format!("api-{number}"), "shop").unwrap();
        let body = ServiceBody::External {
            target: format!("{}.example.com", "x".repeat(60)),
        };
        views.put_service(&key, &body).unwrap();
    }
    let incomplete = |view: &str| {
        let zone = Dump::open(&place.file(view)).unwrap();
        zone.statistics().incomplete
    };
    // Zones that are new are small from now on.
    views.options.initial_bytes = 1 << 16;
    views.options.maximum_bytes = 1 << 16;
    align(&mut views, &[("a", &["shop"]), ("b", &["store"])]);
    assert_eq!(["default", "a", "b"].map(incomplete), [false, true, false]);
    // The model has space for everything: that does not make this zone whole.
    views.set_incomplete(false);
    assert_eq!(["default", "a", "b"].map(incomplete), [false, true, false]);
    views.set_incomplete(true);
    assert_eq!(["default", "a", "b"].map(incomplete), [true, true, true]);
    assert!(views.held().incomplete);
    // What it lacks is tried again, and fits once it is less.
    for number in 0..2000 {
        let key = ServiceKey::new(&format!("api-{number}"), "shop").unwrap();
        views.delete_service(&key).unwrap();
    }
    align(&mut views, &[("a", &["shop"]), ("b", &["store"])]);
    views.set_incomplete(false);
    assert_eq!(["default", "a", "b"].map(incomplete), [false, false, false]);
    assert_eq!(held(&place.file("a")), ["shop"]);
}

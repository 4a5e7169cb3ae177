//! Directories on a tmpfs, with classes made by hand.

use super::*;
use crate::{forward::Forwarder, model::Labels, table::Entry};
use tempfile::TempDir;

const CLASSES: &str = "classes:
  - {name: shop, external: pod, namespaces: ['shop-*']}
  - {name: vip, external: pod, namespace_selector: 'tier=vip'}
";

struct Rig {
    root: TempDir,
    pods: Pods<Forwarder>,
    config: Config,
    generation: u64,
    left: Vec<String>,
}

impl Rig {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for class in ["default", "shop", "vip"] {
            let view = root.path().join("view").join(class);
            fs::create_dir_all(&view).unwrap();
            fs::write(view.join(ZONE), class).unwrap();
        }
        let (_, sockets) = watch::channel(None);
        let (linked, _) = mpsc::unbounded_channel();
        let pods = Pods::open(root.path(), sockets, linked, &Telemetry::new()).unwrap();
        let config = Config::parse(CLASSES).unwrap();
        Self {
            root,
            pods,
            config,
            generation: 0,
            left: Vec::new(),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn add(&self, id: &str, namespace: &str) {
        let namespace = namespace.to_owned();
        add(self.root.path(), id, &Pod { namespace }).unwrap();
    }

    /// Looks, by the classes that the configuration gives these namespaces.
    fn look(&mut self, namespaces: &[(&str, &str)]) {
        let class = |(name, tier): &(&str, &str)| {
            let labels = Labels::from([("tier".to_owned(), (*tier).to_owned())]);
            (
                (*name).to_owned(),
                self.config.class_of(name, &labels).to_owned(),
            )
        };
        let namespaces = namespaces.iter().map(class).collect();
        let classes = self.config.classes_in_full().into_iter().map(|class| {
            let entry = Entry {
                class: class.name.clone(),
                view: class.name.clone(),
                inject: true,
            };
            (class.name, entry)
        });
        self.look_by(Table {
            classes: classes.collect(),
            namespaces,
            ..Table::default()
        });
    }

    /// Looks, by this table.
    fn look_by(&mut self, table: Table) {
        self.generation += 1;
        let told = Told {
            generation: self.generation,
            table: Some(Arc::new(table)),
        };
        let linked = self.pods.look(&self.config, &told, None).unwrap();
        assert_eq!(linked.generation, self.generation);
        self.left = linked.left.into_iter().collect();
    }

    /// The class whose zone a pod has.
    fn class(&self, id: &str) -> Option<String> {
        fs::read_to_string(self.path("pod").join(id).join(ZONE)).ok()
    }
}

#[test]
fn a_pod_has_the_zone_of_its_namespaces_class() {
    let mut rig = Rig::new();
    rig.add("a", "shop-1");
    rig.add("b", "bank");
    rig.add("c", "other");
    rig.add("d", "unheard-of");
    rig.look(&[("shop-1", ""), ("bank", "vip"), ("other", "")]);
    assert_eq!(rig.class("a").as_deref(), Some("shop"));
    assert_eq!(rig.class("b").as_deref(), Some("vip"));
    assert_eq!(rig.class("c").as_deref(), Some("default"));
    assert_eq!(rig.class("d"), None);
    assert!(
        rig.path("pod/d").is_dir(),
        "it can be mounted before it is known"
    );
    let same = inode(&rig.path("pod/b/zone.v1")).unwrap();
    let views = views_by_inode(rig.root.path());
    assert_eq!(views[&same], "vip", "it is a link, no copy");
}

#[test]
fn another_class_means_another_zone() {
    let mut rig = Rig::new();
    rig.add("a", "bank");
    rig.look(&[("bank", "vip")]);
    assert!(rig.left.is_empty());
    rig.look(&[("bank", "")]);
    assert_eq!(rig.class("a").as_deref(), Some("default"));
    assert_eq!(rig.left, ["vip"], "its processes still have it mapped");
    rig.look(&[("bank", "")]);
    assert!(rig.left.is_empty(), "said once");
    rig.look(&[]);
    assert_eq!(rig.class("a"), None, "its namespace is gone");
    assert_eq!(rig.left, ["default"]);
}

#[test]
fn a_view_has_the_zone_and_its_class_the_answers() {
    let mut rig = Rig::new();
    let view = rig.path("view/shop-1");
    fs::create_dir(&view).unwrap();
    fs::write(view.join(ZONE), "hides").unwrap();
    fs::write(rig.path("view/shop/external.v1"), "answers").unwrap();
    rig.add("a", "shop-a");
    let entry = Entry {
        class: "shop".to_owned(),
        view: "shop-1".to_owned(),
        inject: true,
    };
    let table = Table {
        classes: [("shop-1".to_owned(), entry)].into(),
        namespaces: [("shop-a".to_owned(), "shop-1".to_owned())].into(),
        ..Table::default()
    };
    rig.look_by(table.clone());
    assert_eq!(rig.class("a").as_deref(), Some("hides"));
    let answers = fs::read_to_string(rig.path("pod/a/external.v1"));
    assert_eq!(answers.unwrap(), "answers");
    // No zone for it: nothing at all, and never another's.
    fs::remove_file(view.join(ZONE)).unwrap();
    rig.look_by(table);
    assert_eq!(rig.class("a"), None);
    rig.look_by(Table::default());
    assert!(fs::read_dir(rig.path("pod/a")).unwrap().next().is_none());
}

#[test]
fn what_who_delivers_has_written_stays() {
    let mut rig = Rig::new();
    fs::write(
        registry(rig.root.path()).join("a"),
        r#"{"namespace": "bank", "target": "/t", "pod": "p", "uid": "u"}"#,
    )
    .unwrap();
    for path in ["pod/a/lib/1", "pod/a/etc", "pod/.b.new"] {
        fs::create_dir_all(rig.path(path)).unwrap();
        fs::write(rig.path(path).join("x"), "").unwrap();
    }
    rig.look(&[("bank", "")]);
    rig.look(&[("bank", "vip")]);
    assert_eq!(rig.class("a").as_deref(), Some("vip"));
    for path in ["pod/a/lib/1/x", "pod/a/etc/x", "pod/.b.new/x"] {
        assert!(rig.path(path).exists(), "{path}");
    }
}

#[test]
fn a_zone_that_was_replaced_is_linked_anew() {
    let mut rig = Rig::new();
    rig.add("a", "bank");
    rig.look(&[("bank", "")]);
    fs::write(rig.path("new"), "another").unwrap();
    fs::rename(rig.path("new"), rig.path("view/default/zone.v1")).unwrap();
    rig.look(&[("bank", "")]);
    assert_eq!(rig.class("a").as_deref(), Some("another"));
    fs::write(rig.path("view/default/external.v1"), "held").unwrap();
    rig.look(&[("bank", "")]);
    assert!(rig.path("pod/a/external.v1").exists());
    fs::remove_file(rig.path("view/default/external.v1")).unwrap();
    rig.look(&[("bank", "")]);
    assert!(!rig.path("pod/a/external.v1").exists());
}

#[test]
fn nothing_changes_until_the_namespaces_are_listed() {
    let mut rig = Rig::new();
    rig.add("a", "shop-1");
    rig.look(&[("shop-1", "")]);
    rig.add("b", "shop-1");
    let linked = rig.pods.look(&rig.config, &Told::default(), None).unwrap();
    assert_eq!(linked.namespaces, ["shop-1".to_owned()].into());
    assert!(linked.left.is_empty());
    assert_eq!(rig.class("a").as_deref(), Some("shop"));
    assert_eq!(rig.class("b"), None);
}

#[test]
fn what_is_not_registered_goes() {
    let mut rig = Rig::new();
    rig.add("a", "bank");
    rig.look(&[("bank", "")]);
    fs::create_dir(rig.path("pod/stranger")).unwrap();
    fs::remove_file(rig.path("private/pods/a")).unwrap();
    rig.look(&[("bank", "")]);
    assert!(!rig.path("pod/a").exists());
    assert!(!rig.path("pod/stranger").exists());
    assert!(rig.path("view/default/zone.v1").exists());
}

#[test]
fn a_broken_entry_concerns_no_other() {
    let mut rig = Rig::new();
    rig.add("a", "bank");
    for (id, text) in [
        ("b", "{"),
        ("c", "{\"namespace\": \"../..\"}"),
        (".new", "{}"),
    ] {
        fs::write(registry(rig.root.path()).join(id), text).unwrap();
    }
    rig.look(&[("bank", "")]);
    assert_eq!(rig.class("a").as_deref(), Some("default"));
    assert_eq!((rig.class("b"), rig.class("c")), (None, None));
    assert_eq!(rig.pods.complained.len(), 2, "{:?}", rig.pods.complained);
}

#[test]
fn ids_are_file_names() {
    for good in ["a", "0f2d-11", "A_b.c"] {
        assert!(is_id(good), "{good}");
    }
    for bad in ["", ".", "..", ".a", "a/b", "a b", "\0"] {
        assert!(!is_id(bad), "{bad:?}");
    }
}

/// Pods that run have the driver's directories mounted, also when their entry is lost.
#[test]
fn directories_of_the_driver_are_left_to_it() {
    let mut rig = Rig::new();
    for id in ["drivers", "own"] {
        rig.add(id, "bank");
    }
    rig.look(&[("bank", "")]);
    let directory = rig.path("pod/drivers");
    std::os::unix::fs::chown(&directory, Some(csi::OWNER), None).expect("this test needs root");
    for id in ["drivers", "own"] {
        fs::remove_file(registry(rig.root.path()).join(id)).unwrap();
    }
    rig.look(&[("bank", "")]);
    assert_eq!(rig.class("drivers").as_deref(), Some("default"));
    assert!(!rig.path("pod/own").exists());
}

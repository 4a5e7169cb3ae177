//! Directories on a tmpfs, with classes made by hand.

use super::*;
use crate::forward::Forwarder;
use tempfile::TempDir;

const CLASSES: &str = "classes:
  - {name: shop, external: pod, namespaces: ['shop-*']}
  - {name: vip, external: pod, namespace_selector: 'tier=vip'}
";

struct Rig {
    root: TempDir,
    pods: Pods<Forwarder>,
    config: Config,
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
        let pods = Pods::open(root.path(), sockets, &Telemetry::new()).unwrap();
        let config = Config::parse(CLASSES).unwrap();
        Self { root, pods, config }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path)
    }

    fn add(&self, id: &str, namespace: &str) {
        let namespace = namespace.to_owned();
        add(self.root.path(), id, &Pod { namespace }).unwrap();
    }

    fn look(&mut self, namespaces: &[(&str, &str)]) {
        let labels = |tier: &str| [("tier".to_owned(), tier.to_owned())].into();
        let all = namespaces.iter();
        let all = all.map(|(name, tier)| ((*name).to_owned(), labels(tier)));
        let all = Some(Arc::new(all.collect()));
        self.pods.look(&self.config, &all, None);
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
    let same = class_by_link(rig.root.path(), &rig.path("pod/b"));
    assert_eq!(same.as_deref(), Some("vip"), "it is a link, no copy");
}

#[test]
fn another_class_means_another_zone() {
    let mut rig = Rig::new();
    rig.add("a", "bank");
    rig.look(&[("bank", "vip")]);
    rig.look(&[("bank", "")]);
    assert_eq!(rig.class("a").as_deref(), Some("default"));
    rig.look(&[]);
    assert_eq!(rig.class("a"), None, "its namespace is gone");
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
    rig.pods.look(&rig.config, &None, None);
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

//! Directories of good and bad files.

use super::*;
use crate::model::Object;
use std::fs;
use tempfile::TempDir;

fn service(name: &str, address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{clusterIP: \"{address}\"}}\n"
    )
}

/// A directory, and the names of the services that a scan applies.
struct Rig {
    place: TempDir,
    directory: Directory,
}

impl Rig {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let directory = Directory::open(place.path()).unwrap();
        Self { place, directory }
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.place.path().join(file), text).unwrap();
    }

    fn scan(&mut self) -> (Vec<String>, Vec<String>) {
        let scan = self.directory.scan().unwrap();
        let names = scan.events.iter().filter_map(|(_, event)| match event {
            Event::Apply(Object::Service(key, _)) => Some(key.service().to_owned()),
            _ => None,
        });
        (names.collect(), scan.complaints)
    }

    fn is_certain(&mut self) -> bool {
        let scan = self.directory.scan().unwrap();
        scan.events
            .iter()
            .any(|(_, event)| *event == Event::Done { certain: true })
    }
}

const NONE: [&str; 0] = [];

#[test]
fn reads_documents_lists_and_json() {
    let mut rig = Rig::new();
    let two = format!(
        "# a comment\n---\n{}--- # another\n{}",
        service("a", "10.0.0.1"),
        service("b", "10.0.0.2")
    );
    rig.write("1.yaml", &two);
    rig.write(
        "2.yml",
        "apiVersion: v1\nkind: ServiceList\nitems:\n- metadata: {name: c}\n  spec: {clusterIP: 10.0.0.3}\n",
    );
    rig.write(
        "3.json",
        r#"{"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "d"},
             "spec": {"clusterIP": "10.0.0.4"}},
            {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}}]}"#,
    );
    rig.write("4.txt", "kind: [");
    rig.write(".5.yaml", "kind: [");
    rig.write("6.yaml", "");
    rig.write("7.yaml", "---\n# nothing\n---\n...\n");
    let (names, complaints) = rig.scan();
    assert_eq!(names, ["a", "b", "c", "d"]);
    assert_eq!(complaints, NONE);
}

#[test]
fn another_groups_service_is_not_ours() {
    let mut rig = Rig::new();
    rig.write(
        "a.yaml",
        "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: a}\n",
    );
    assert_eq!(rig.scan(), (vec![], vec![]));
    rig.write(
        "b.yaml",
        "apiVersion: discovery.k8s.io/v1beta1\nkind: EndpointSlice\n",
    );
    let (_, complaints) = rig.scan();
    assert!(
        complaints[0].contains("b.yaml: document 1"),
        "{complaints:?}"
    );
}

#[test]
fn a_broken_document_concerns_nothing_else_and_keeps_what_was_there() {
    let mut rig = Rig::new();
    let good = [
        service("a", "10.0.0.1"),
        service("b", "10.0.0.2"),
        service("c", "10.0.0.3"),
    ];
    rig.write("x.yaml", &good.join("---\n"));
    rig.write("y.yaml", &service("d", "10.0.0.4"));
    assert_eq!(rig.scan().0, ["a", "b", "c", "d"]);
    let broken = [good[0].as_str(), "kind: [\n", good[2].as_str()].join("---\n");
    rig.write("x.yaml", &broken);
    let (mut names, complaints) = rig.scan();
    names.sort();
    assert_eq!(names, ["a", "b", "c", "d"]);
    assert_eq!(complaints.len(), 1);
    assert!(
        complaints[0].contains("x.yaml: document 2: "),
        "{complaints:?}"
    );
    assert_eq!(rig.scan().1, NONE, "said once");
    assert!(rig.is_certain(), "what stood there is known");
    rig.write("x.yaml", &good[0]);
    assert_eq!(rig.scan().0, ["a", "d"]);
    fs::remove_file(rig.place.path().join("y.yaml")).unwrap();
    assert_eq!(rig.scan().0, ["a"]);
}

#[test]
fn a_file_that_never_was_readable_makes_the_list_uncertain() {
    let mut rig = Rig::new();
    rig.write(
        "x.yaml",
        &format!("kind: [\n---\n{}", service("a", "10.0.0.1")),
    );
    assert!(!rig.is_certain());
    rig.write("x.yaml", &service("a", "10.0.0.1"));
    assert!(rig.is_certain());
    fs::write(rig.place.path().join("z.yaml"), [0xff, 0xfe, 0x00]).unwrap();
    assert!(!rig.is_certain());
    assert!(
        rig.directory
            .complained
            .iter()
            .any(|text| text.contains("z.yaml"))
    );
}

#[test]
fn a_bad_object_keeps_its_name_and_leaves_the_others_alone() {
    let mut rig = Rig::new();
    let long = service(&"l".repeat(300), "10.0.0.9");
    let nameless = "apiVersion: v1\nkind: Service\nspec: {clusterIP: 10.0.0.9}\n";
    let texts = [
        service("a", "10.0.0.1"),
        service("b", "not-an-address"),
        long,
        service("c", ""),
        nameless.to_owned(),
        "just: text\n".to_owned(),
    ];
    rig.write("x.yaml", &texts.join("---\n"));
    let scan = rig.directory.scan().unwrap();
    let unreadable = scan
        .events
        .iter()
        .filter(|(_, event)| matches!(event, Event::Unreadable(_)))
        .count();
    assert_eq!(unreadable, 1);
    let complaints = scan.complaints.join("\n");
    for part in [
        "document 2: Service shop/b: clusterIP not-an-address: not an address",
        "300 characters, a DNS label has at most 63",
        "document 4: Service shop/c: not served: it has no clusterIP (yet)",
        "document 5: Service without a name: missing field `metadata`",
        "document 6: it has no kind",
    ] {
        assert!(
            complaints.contains(part),
            "{part:?} is not in\n{complaints}"
        );
    }
    assert_eq!(scan.complaints.len(), 5);
}

#[test]
fn of_two_files_with_one_object_the_first_by_name_counts() {
    let mut rig = Rig::new();
    rig.write("b.yaml", &service("a", "10.0.0.2"));
    rig.write("a.yaml", &service("a", "10.0.0.1"));
    let (names, complaints) = rig.scan();
    assert_eq!(names, ["a"]);
    let [complaint] = complaints.as_slice() else {
        panic!("{complaints:?}")
    };
    assert!(
        complaint.contains("b.yaml: document 1: Service shop/a is in"),
        "{complaint}"
    );
    assert!(
        complaint.contains("a.yaml: document 1 already"),
        "{complaint}"
    );
}

#[test]
fn a_missing_directory_is_an_error_that_names_it() {
    let error = Directory::open(Path::new("/nowhere/at/all")).err().unwrap();
    assert!(format!("{error:#}").contains("/nowhere/at/all"));
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(?s)[-a: \\[{\"'|>&*#%\n.0-9]{0,80}") {
        yaml::documents(&text);
    }
}

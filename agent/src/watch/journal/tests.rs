use super::*;
use crate::objects::{ServiceObject, Who};
use serde_json::json;

const IDENTITY: &str = "https://127.0.0.1:6443/ services";

struct Rig {
    directory: tempfile::TempDir,
}

impl Rig {
    fn new() -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").unwrap();
        Self { directory }
    }

    fn journal(&self) -> Journal {
        self.of(IDENTITY)
    }

    fn of(&self, identity: &str) -> Journal {
        Journal::new(self.directory.path().join("services"), identity.to_owned())
    }

    /// What the next agent finds: names with addresses in order of their names, and the version.
    fn found(&self) -> Option<(Vec<String>, String)> {
        let mut kept = self.journal().restore()?;
        let version = kept.version.clone();
        let mut all = std::collections::BTreeMap::new();
        while let Some(record) = kept.next().unwrap() {
            let name = || record.who().unwrap().name.unwrap();
            match record.what {
                What::Apply => {
                    let it: ServiceObject = postcard::from_bytes(&record.object).unwrap();
                    all.insert(name(), it.spec.unwrap().cluster_ip.unwrap());
                }
                What::Delete => {
                    all.remove(&name());
                }
                What::Unreadable => {
                    all.entry(name()).or_insert_with(|| "?".to_owned());
                }
                What::Moved => {}
            }
        }
        let all = all
            .iter()
            .map(|(name, address)| format!("{name} {address}"));
        Some((all.collect(), version))
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut all: Vec<_> = fs::read_dir(self.directory.path().join("services"))
            .map(|all| all.map(|it| it.unwrap().path()).collect())
            .unwrap_or_default();
        all.sort();
        all
    }
}

fn object(name: &str, address: &str) -> Vec<u8> {
    let service = json!({"metadata": {"name": name, "namespace": "shop"},
        "spec": {"clusterIP": address}});
    let service: ServiceObject = serde_json::from_value(service).unwrap();
    postcard::to_stdvec(&service).unwrap()
}

fn who(name: &str) -> Vec<u8> {
    let who = Who {
        name: Some(name.to_owned()),
        namespace: Some("shop".to_owned()),
        resource_version: None,
    };
    postcard::to_stdvec(&who).unwrap()
}

fn record(what: What, version: &str, object: Vec<u8>) -> Record {
    let version = version.to_owned();
    Record {
        what,
        version,
        object,
    }
}

/// A list of two services and one that cannot be read, at version 10.
fn listed(rig: &Rig) -> Journal {
    let mut journal = rig.journal();
    journal.begin();
    for name in ["a", "b"] {
        journal.record(&record(What::Apply, "", object(name, "10.0.0.1")));
    }
    journal.record(&record(What::Unreadable, "", who("c")));
    journal.complete("10");
    journal
}

fn expect(rig: &Rig, all: &[&str], version: &str) {
    let all: Vec<_> = all.iter().map(|&it| it.to_owned()).collect();
    assert_eq!(rig.found(), Some((all, version.to_owned())));
}

#[test]
fn the_next_agent_finds_what_this_one_was_told() {
    let rig = Rig::new();
    assert_eq!(rig.found(), None, "the first agent");
    let mut journal = listed(&rig);
    expect(&rig, &["a 10.0.0.1", "b 10.0.0.1", "c ?"], "10");
    journal.record(&record(What::Apply, "11", object("a", "10.0.0.9")));
    journal.record(&record(What::Delete, "12", who("b")));
    journal.record(&record(What::Unreadable, "13", who("a")));
    expect(&rig, &["a 10.0.0.9", "c ?"], "13");
    journal.record(&record(What::Moved, "99", Vec::new()));
    drop(journal);
    // Which goes on in the same file.
    let mut next = rig.journal();
    assert_eq!(next.restore().unwrap().version, "99");
    next.record(&record(What::Apply, "100", object("d", "10.0.0.4")));
    expect(&rig, &["a 10.0.0.9", "c ?", "d 10.0.0.4"], "100");
}

#[test]
fn half_a_list_is_not_gone_on_from() {
    let rig = Rig::new();
    let mut journal = listed(&rig);
    let path = rig.files()[0].clone();
    let before = fs::read(&path).unwrap();
    journal.begin();
    journal.record(&record(What::Apply, "", object("new", "10.0.0.3")));
    assert_eq!(rig.found(), None);
    // A compaction that was under way puts the past back.
    fs::write(&path, before).unwrap();
    assert_eq!(rig.found(), None);
    journal.begin();
    journal.record(&record(What::Apply, "", object("new", "10.0.0.3")));
    journal.complete("20");
    expect(&rig, &["new 10.0.0.3"], "20");
    assert_eq!(rig.files().len(), 1, "nothing else is left");
}

#[test]
fn another_cluster_or_selector_is_not_gone_on_from() {
    let rig = Rig::new();
    listed(&rig);
    for other in [
        "https://127.0.0.1:6444/ services",
        "",
        "https://127.0.0.1:6443/ service",
    ] {
        assert!(rig.of(other).restore().is_none(), "{other}");
    }
    assert!(rig.found().is_some());
}

#[test]
fn an_old_journal_is_not_gone_on_from() {
    let rig = Rig::new();
    listed(&rig);
    let file = File::options().append(true).open(&rig.files()[0]).unwrap();
    let age = |age: Duration| file.set_modified(SystemTime::now() - age).unwrap();
    age(OLDEST - Duration::from_secs(60));
    assert!(rig.found().is_some());
    age(OLDEST + Duration::from_secs(1));
    assert_eq!(rig.found(), None);
    file.set_modified(SystemTime::now() + OLDEST * 2).unwrap();
    assert!(rig.found().is_some(), "a clock that was set back");
}

/// Whichever byte is wrong, and wherever it ends: a list, or the state after a whole record.
#[test]
fn a_damaged_journal_is_not_gone_on_from() {
    let rig = Rig::new();
    let mut journal = listed(&rig);
    let path = rig.files()[0].clone();
    let ends = [fs::metadata(&path).unwrap().len()];
    journal.record(&record(What::Delete, "12", who("b")));
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut wrong = whole.clone();
        wrong[at] ^= 0x10;
        fs::write(&path, &wrong).unwrap();
        assert_eq!(rig.found(), None, "byte {at}");
        fs::write(&path, &whole[..at]).unwrap();
        match ends.contains(&(at as u64)) {
            true => expect(&rig, &["a 10.0.0.1", "b 10.0.0.1", "c ?"], "10"),
            false => assert_eq!(rig.found(), None, "the first {at} bytes"),
        }
    }
}

#[tokio::test]
async fn a_long_journal_is_compacted_while_events_go_on() {
    let rig = Rig::new();
    let mut journal = listed(&rig);
    let mut version = 10;
    let size = |rig: &Rig| {
        let files = rig.files();
        let sizes = files
            .iter()
            .map(|path| fs::metadata(path).map_or(0, |it| it.len()));
        sizes.sum::<u64>()
    };
    let mut longest = 0;
    for round in 0..60_000_u32 {
        version += 1;
        let address = format!("10.1.{}.{}", round / 256 % 256, round % 256);
        journal.record(&record(
            What::Apply,
            &version.to_string(),
            object("a", &address),
        ));
        if round == 7 {
            version += 1;
            journal.record(&record(What::Delete, &version.to_string(), who("b")));
        }
        if round % 1000 == 0 {
            longest = longest.max(size(&rig));
            tokio::task::yield_now().await;
            if let Some(running) = &mut journal.compaction {
                // Events would wait for nothing; the test waits so that it comes to its end.
                let done = (&mut *running).await.unwrap().unwrap();
                journal.compaction = None;
                journal.base = done;
            }
        }
    }
    // 59,999 = 234 * 256 + 95
    expect(&rig, &["a 10.1.234.95", "c ?"], &version.to_string());
    assert!(longest < 3 * SLACK, "{longest}");
}

/// An agent that is killed between two steps of a compaction leaves files that count twice.
#[test]
fn half_a_compaction_changes_nothing() {
    let rig = Rig::new();
    let mut journal = listed(&rig);
    journal.record(&record(What::Delete, "12", who("b")));
    let first = rig.files()[0].clone();
    let before = fs::read(&first).unwrap();
    // The next file, as a compaction begins.
    let next = segment_path(&rig.directory.path().join("services"), journal.number + 1);
    let mut start = Vec::new();
    segment::header(&mut start, false, IDENTITY).unwrap();
    record(What::Apply, "13", object("d", "10.0.0.4"))
        .write(&mut start)
        .unwrap();
    fs::write(&next, start).unwrap();
    let all = ["a 10.0.0.1", "c ?", "d 10.0.0.4"];
    expect(&rig, &all, "13");
    let directory = rig.directory.path().join("services");
    compacted(&directory, IDENTITY, journal.number).unwrap();
    expect(&rig, &all, "13");
    assert!(fs::metadata(&first).unwrap().len() < before.len() as u64);
    // What came before has not been removed yet.
    fs::write(segment_path(&directory, journal.number - 1), before).unwrap();
    expect(&rig, &all, "13");
    // A part that is missing.
    fs::rename(&next, segment_path(&directory, journal.number + 2)).unwrap();
    assert_eq!(rig.found(), None);
}

#[test]
fn what_cannot_be_written_is_removed() {
    let rig = Rig::new();
    let mut journal = listed(&rig);
    // Nobody can write to this.
    journal.file = Some(File::open("/dev/null").unwrap());
    journal.record(&record(What::Apply, "11", object("a", "10.0.0.9")));
    assert_eq!(rig.found(), None, "it would be older than the zone");
    journal.record(&record(What::Apply, "12", object("a", "10.0.0.8")));
    assert_eq!(rig.found(), None);
    journal.begin();
    journal.complete("20");
    expect(&rig, &[], "20");
}

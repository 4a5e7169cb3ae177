//! What the agent and the driver read: the operator's files, the API server's lines, kubelet's words,
//! and what they left for each other.

#![allow(dead_code, reason = "each fuzz target uses one of these")]

use nss_k8s_agent::{
    config::Config,
    csi::{
        self,
        report::{Figures, State},
    },
    fanout, manifests,
    model::{Event, Object, ObjectKey},
    parse, pods,
    table::{Entry, Table},
    telemetry::Telemetry,
    watch,
};
use nss_k8s_zone::{Options, ServiceKey, SliceId, WriteError, Writer};
use std::{
    collections::HashMap,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    sync::{Mutex, OnceLock},
};
use tempfile::TempDir;

/// The configuration file: what is accepted is written as JSON, which is YAML, and read again alike.
pub(crate) fn config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(config) = Config::parse(&text) else {
        return;
    };
    let again = serde_json::to_string(&config).expect("a configuration is JSON");
    let read = Config::parse(&again).unwrap_or_else(|error| panic!("{again}: {error}"));
    assert_eq!(read, config);
    for class in config.classes_in_full() {
        let _ = config.record(&class, &[]);
    }
}

/// A directory with one manifest: every source is listed from its start to its end, no object twice,
/// and whatever is called sound can be published.
pub(crate) fn manifests(bytes: &[u8]) {
    let directory = scratch();
    let path = directory.path().join("manifest.yaml");
    fs::write(&path, bytes).expect("our directory");
    let mut manifests = manifests::Directory::open(directory.path()).expect("our directory");
    let scan = manifests.scan().expect("our directory");
    for source in manifests::SOURCES {
        let mut events = scan.events.iter().filter(|(of, _)| *of == source);
        assert!(matches!(events.next(), Some((_, Event::Init))));
        assert!(matches!(events.next_back(), Some((_, Event::Done { .. }))));
    }
    let mut known: Vec<ObjectKey> = Vec::new();
    for (_, event) in &scan.events {
        if let Event::Apply(object) = event {
            assert!(!known.contains(&object.key()), "{:?}", object.key());
            known.push(object.key());
            publish(object);
        }
    }
    // Complaints are said once.
    let again = manifests.scan().expect("our directory");
    assert_eq!(again.complaints, Vec::<String>::new());
    assert_eq!(again.events.len(), scan.events.len());
}

/// One sound object comes and goes.
fn publish(object: &Object) {
    static WRITER: OnceLock<Mutex<Writer>> = OnceLock::new();
    let writer = WRITER.get_or_init(|| {
        let directory = scratch();
        let options = Options::new(directory.path(), "cluster.local");
        Mutex::new(Writer::open(options).expect("a zone").0)
    });
    let mut writer = writer.lock().expect("nobody fails");
    let put = match object {
        Object::Namespace(name, _) => writer.put_namespace(name),
        Object::Service(key, body) | Object::NameServer(key, body) => writer.put_service(key, body),
        Object::Slice(of) => {
            let key = ServiceKey::new(of.service.service(), of.service.namespace());
            writer.put_slice(&key.expect("a key"), SliceId(1), &of.slice)
        }
    };
    // More than a record holds is said, and costs that object alone.
    assert!(
        matches!(put, Ok(_) | Err(WriteError::TooMany { .. })),
        "{object:?}: {put:?}"
    );
    writer.retain(|_| false).expect("less needs no space");
}

/// `private/classes`: what is read is written and read again alike.
pub(crate) fn classes(bytes: &[u8]) {
    let base = scratch();
    let path = Table::path(base.path());
    fs::create_dir_all(path.parent().expect("in a directory")).expect("our directory");
    fs::write(&path, bytes).expect("our directory");
    let Ok(table) = Table::read(base.path()) else {
        return;
    };
    let table = table.expect("it is there");
    for (namespace, key) in &table.namespaces {
        assert_eq!(table.entry(namespace), table.classes.get(key));
    }
    for entry in table.classes.values() {
        let found: Option<&Entry> = table.entry_of_view(&entry.view);
        assert_eq!(found.map(|found| &found.view), Some(&entry.view));
    }
    table.write(base.path()).expect("our directory");
    let again = Table::read(base.path()).expect("what was written");
    assert_eq!(again.as_ref(), Some(&table));
}

/// Kubelet's words about a volume, and an entry of the registry and lines of mountinfo: parts between
/// bytes 0xff. Whatever is taken names one directory, and no way out of it.
pub(crate) fn volumes(bytes: &[u8]) {
    let mut parts = bytes.split(|byte| *byte == 0xff);
    let mut part = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (id, target, ephemeral) = (part(), part(), part());
    let (namespace, pod, uid) = (part(), part(), part());
    let attributes = HashMap::from([
        ("csi.storage.k8s.io/ephemeral".to_owned(), ephemeral),
        ("csi.storage.k8s.io/pod.namespace".to_owned(), namespace),
        ("csi.storage.k8s.io/pod.name".to_owned(), pod),
        ("csi.storage.k8s.io/pod.uid".to_owned(), uid),
    ]);
    if let Ok(volume) = csi::proofs::volume(&id, &target, &attributes) {
        let base = Path::new("/run/nss-k8s/node/pod");
        let directory = base.join(&id);
        assert_eq!(directory.parent(), Some(base), "{id:?}");
        assert!(directory.file_name().is_some_and(|name| *name == *id) && !id.starts_with('.'));
        let target = &volume.target;
        assert!(target.is_absolute() && target.parent().is_some());
        let text = target.to_str().expect("it was text");
        assert!(
            !text.split('/').any(|part| part == ".." || part == "."),
            "{text:?}"
        );
        assert!(!text.contains("//") && !text.contains('\0'));
        assert!(!volume.namespace.is_empty() && volume.namespace.len() <= 63);
        assert!(!volume.namespace.contains(['/', '.']));
        let place = format!("/pods/{}/volumes/kubernetes.io~csi/", volume.uid);
        assert!(
            text.contains(&place) && !volume.uid.contains('/'),
            "{text:?}"
        );
    }
    let rest: Vec<&[u8]> = parts.collect();
    let rest = rest.join(&0xff);
    csi::proofs::entry(&rest);
    let lines = rest.split(|byte| *byte == b'\n').count();
    assert!(csi::proofs::mounts(&rest) <= lines);
}

/// What the driver, or who else delivers, left for the agent: an entry of the registry, its name before
/// the first byte 0xff; without a name the driver's word of itself. An entry names one directory and a
/// namespace, the same to the agent and to the driver; another pod's entry is read whatever is beside it.
pub(crate) fn registry(bytes: &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0xff);
    let (name, text) = bytes.split_at(end.unwrap_or(0));
    let text = text.strip_prefix(b"\xff").unwrap_or(text);
    let base = scratch();
    let good = pods::Pod {
        namespace: "shop".to_owned(),
    };
    pods::add(base.path(), "good", &good).expect("our directory");
    if name.is_empty() {
        driver(base.path(), text);
        return;
    }
    let file = OsStr::from_bytes(name);
    // No directory can hold another name than these.
    if name.len() > 255
        || name.contains(&b'/')
        || name.contains(&0)
        || [&b"."[..], b".."].contains(&name)
    {
        return;
    }
    fs::write(pods::registry(base.path()).join(file), text).expect("our directory");
    let mut pods = pods::proofs::registered(base.path()).expect("our directory");
    if name != b"good" {
        assert_eq!(pods.remove("good"), Some(Some(good)));
    }
    let Some((id, pod)) = pods.pop_first() else {
        return;
    };
    assert!(pods.is_empty() && file == id.as_str() && !id.starts_with('.'));
    let of_driver = csi::proofs::entry(text).filter(|namespace| parse::label(namespace).is_ok());
    match pod {
        Some(pod) => {
            assert_eq!(parse::label(&pod.namespace), Ok(()));
            // The driver reads more of it, and may find that wrong.
            assert!(of_driver.is_none_or(|namespace| namespace == pod.namespace));
            pods::add(base.path(), &id, &pod).expect("our directory");
            let again = pods::proofs::registered(base.path()).expect("our directory");
            assert_eq!(again.get(&id), Some(&Some(pod)));
        }
        // The driver skips text that is not UTF-8 where it does not matter.
        None => assert!(of_driver.is_none() || str::from_utf8(text).is_err()),
    }
}

/// The driver's word of itself: what is read can be told among the agent's figures.
fn driver(base: &Path, text: &[u8]) {
    fs::write(State::path(base), text).expect("our directory");
    let Ok(state) = State::read(base) else {
        return;
    };
    let telemetry = Telemetry::new();
    let figures = Box::new(Figures::new(base));
    telemetry.extend(|registry| registry.register_collector(figures));
    let told = telemetry.encode().expect("text");
    // What no gauge can tell counts as the most that one can.
    let written = state.expect("it is there").written.min(i64::MAX as u64);
    assert!(
        told.lines()
            .any(|line| line == format!("nss_k8s_driver_timestamp_seconds {written}")),
        "{told}"
    );
}

/// Lines of a watch, pages of a list, and what an earlier agent kept of them; the first byte chooses.
/// What is kept of an object is read again alike.
pub(crate) fn watches(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    match choice % 4 {
        0 => watch::proofs::page(rest),
        1 => {
            let directory = scratch();
            watch::proofs::journal(directory.path(), rest);
        }
        _ => {
            for line in String::from_utf8_lossy(rest).lines() {
                watch::proofs::line(line);
            }
        }
    }
}

/// What a bucket of NATS holds: keys, the state record, records of objects; the first byte chooses.
pub(crate) fn bucket(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else {
        return;
    };
    match choice % 3 {
        0 => fanout::proofs::key(&String::from_utf8_lossy(rest)),
        1 => fanout::proofs::state(rest),
        _ => fanout::proofs::record(rest),
    }
}

/// A directory on a tmpfs, gone when dropped.
fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").expect("a tmpfs")
}

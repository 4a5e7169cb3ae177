//! The writer's files, good and bad, and a process that keeps on reading meanwhile.
#![cfg(not(loom))]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "ordinary std tests"
)]

#[path = "files/refused.rs"]
mod refused;

use nss_k8s_zone::{
    Address, Ask, Config, Dump, Endpoint, Entry, Families, Family, Found, LibcOs, Name, Now,
    Opened, Options, Reader, ServiceBody, ServiceKey, Slice, SliceId, State, Unavailable,
    WriteError, Writer,
};
use std::{
    ffi::CString,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::Path,
    time::{Duration, Instant},
};
use tempfile::TempDir;

const NOW: Now = Now(1_000_000);
const API: &str = "api.shop.svc.cluster.local";

fn directory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap()
}

fn options(directory: &Path) -> Options {
    Options {
        initial_bytes: 1,
        ..Options::new(directory, "cluster.local")
    }
}

/// A live zone with one service.
fn shop(directory: &Path) -> Writer {
    let (mut writer, _) = Writer::open(options(directory)).unwrap();
    writer.put_namespace("shop").unwrap();
    put(&mut writer, "api", 1);
    writer.beat(NOW);
    writer.set_synced(NOW);
    writer
}

fn put(writer: &mut Writer, name: &str, last: u8) {
    let addresses = vec![Address::v4([10, 96, 0, last])];
    let body = ServiceBody::ClusterIp {
        addresses,
        ports: vec![],
    };
    writer
        .put_service(&ServiceKey::new(name, "shop").unwrap(), &body)
        .unwrap();
}

/// A process.
struct Process {
    reader: Reader,
    path: CString,
}

impl Process {
    fn of(path: &Path) -> Self {
        let path = CString::new(path.as_os_str().as_bytes()).unwrap();
        Self {
            reader: Reader::new(),
            path,
        }
    }

    fn ask(&self, name: &str, now: Now) -> Result<(Found, u8), Unavailable> {
        let mut room = [Address::UNSPECIFIED; 4];
        let mut canonical = Name::EMPTY;
        let found = self.reader.read(&LibcOs, &self.path, now, |zone| {
            zone.addresses(name.as_bytes(), Families::BOTH, &mut room, &mut canonical)
        })?;
        Ok((found, room[0].octets[3]))
    }
}

const ONE: Found = Found::Answer { count: 1 };

#[test]
fn a_new_zone_is_syncing_until_everything_was_listed() {
    let directory = directory();
    let (mut writer, opened) = Writer::open(options(directory.path())).unwrap();
    assert_eq!((opened, writer.state()), (Opened::Created, State::Syncing));
    let process = Process::of(writer.path());
    assert_eq!(process.ask(API, NOW), Err(Unavailable::Syncing));
    writer.beat(NOW);
    writer.set_synced(NOW);
    // The very next lookup.
    assert_eq!(process.ask(API, NOW), Ok((Found::NxDomain, 0)));
    let found = fs::metadata(writer.path()).unwrap();
    assert_eq!(found.mode() & 0o7777, 0o444);
    assert_eq!(found.len() % (64 << 10), 0);
    // No holes.
    assert!(found.blocks() * 512 >= found.len());
    let private = fs::metadata(directory.path().join("private")).unwrap();
    assert_eq!(private.mode() & 0o777, 0o700);
}

#[test]
fn a_warm_process_follows_changes_growth_and_replacement() {
    let directory = directory();
    let mut writer = shop(directory.path());
    let process = Process::of(writer.path());
    assert_eq!(process.ask(API, NOW), Ok((ONE, 1)));
    put(&mut writer, "api", 2);
    assert_eq!(process.ask(API, NOW), Ok((ONE, 2)));
    let small = writer.statistics().bytes;
    for number in 0..20_000 {
        put(
            &mut writer,
            &format!("service-{number}"),
            (number % 251) as u8,
        );
    }
    assert!(writer.statistics().bytes > 8 * small);
    assert_eq!(
        process.ask("service-19999.shop.svc.cluster.local", NOW),
        Ok((ONE, 170))
    );
    let old = fs::metadata(writer.path()).unwrap().ino();
    writer.replace().unwrap();
    assert_ne!(fs::metadata(writer.path()).unwrap().ino(), old);
    put(&mut writer, "api", 3);
    assert_eq!(process.ask(API, NOW), Ok((ONE, 3)));
    assert_eq!(
        process.ask("service-19999.shop.svc.cluster.local", NOW),
        Ok((ONE, 170))
    );
    let serial = writer.statistics().serial;
    assert!(serial > 20_000, "{serial}");
}

#[test]
fn a_zone_that_outgrows_the_window_is_mapped_anew() {
    let directory = directory();
    let mut writer = shop(directory.path());
    let process = Process::of(writer.path());
    assert_eq!(process.ask(API, NOW), Ok((ONE, 1)));
    // Records beyond 64 MiB, which is what it has mapped at first. Endpoints that are not ready take space
    // and answer nothing.
    let endpoints = (0..60_000_u32).map(|number| {
        let mut octets = [0xfd; 16];
        octets[12..].copy_from_slice(&number.to_be_bytes());
        Endpoint {
            ready: false,
            ..Endpoint::ready(Address::v6(octets))
        }
    });
    let slice = Slice {
        family: Family::V6,
        ports: vec![],
        endpoints: endpoints.collect(),
    };
    let wide = ServiceKey::new("wide", "shop").unwrap();
    let mut id = 0;
    while writer.statistics().used_bytes <= 66 << 20 {
        writer.put_slice(&wide, SliceId(id), &slice).unwrap();
        id += 1;
    }
    put(&mut writer, "far", 9);
    let far = "far.shop.svc.cluster.local";
    // In a second, too, in which there was no other file.
    let late = Now(NOW.0 + 60);
    assert_eq!(process.ask(API, late), Ok((ONE, 1)));
    assert_eq!(process.ask(far, late), Ok((ONE, 9)));
    assert_eq!(process.ask(API, NOW), Ok((ONE, 1)));
    put(&mut writer, "far", 8);
    assert_eq!(process.ask(far, NOW), Ok((ONE, 8)));
    // A process that starts now sees all of it.
    let other = Process::of(writer.path());
    assert_eq!(other.ask(far, NOW), Ok((ONE, 8)));
}

#[test]
fn the_kill_switch_works_at_once_and_survives_the_writer() {
    let directory = directory();
    let mut writer = shop(directory.path());
    let process = Process::of(writer.path());
    assert_eq!(process.ask(API, NOW), Ok((ONE, 1)));
    writer.disable();
    assert_eq!(process.ask(API, NOW), Err(Unavailable::Disabled));
    drop(writer);
    let (mut writer, _) = Writer::open(options(directory.path())).unwrap();
    writer.set_synced(NOW);
    assert_eq!(writer.state(), State::Disabled);
    assert_eq!(process.ask(API, NOW), Err(Unavailable::Disabled));
    writer.enable();
    assert_eq!(process.ask(API, NOW), Ok((ONE, 1)));
}

#[test]
fn without_beats_misses_ask_and_then_everything_does() {
    let directory = directory();
    let writer = shop(directory.path());
    let process = Process::of(writer.path());
    let miss = "api.absent.svc.cluster.local";
    assert_eq!(process.ask(miss, Now(NOW.0 + 30)), Ok((Found::NxDomain, 0)));
    for age in [31, 300] {
        let now = Now(NOW.0 + age);
        assert_eq!(process.ask(API, now), Ok((ONE, 1)));
        assert_eq!(process.ask(miss, now), Ok((Found::Ask(Ask::Stale), 0)));
        // What no cluster could hold stays absent.
        assert_eq!(
            process.ask("x.cluster.local", now),
            Ok((Found::NxDomain, 0))
        );
    }
    assert_eq!(process.ask(API, Now(NOW.0 + 601)), Err(Unavailable::Dead));
    // A clock that jumped back makes nothing older.
    assert_eq!(
        process.ask(miss, Now(NOW.0 - 1000)),
        Ok((Found::NxDomain, 0))
    );
}

#[test]
fn a_stale_process_finds_the_file_that_took_over() {
    let directory = directory();
    let writer = shop(directory.path());
    let process = Process::of(writer.path());
    assert_eq!(process.ask(API, NOW), Ok((ONE, 1)));
    let path = writer.path().to_owned();
    drop(writer);
    // A writer that died between its rename and the last store to the old file.
    fs::remove_file(&path).unwrap();
    let mut writer = shop(directory.path());
    put(&mut writer, "api", 7);
    writer.beat(Now(NOW.0 + 1000));
    assert_eq!(process.ask(API, NOW), Ok((ONE, 1)));
    assert_eq!(process.ask(API, Now(NOW.0 + 1000)), Ok((ONE, 7)));
}

/// A process whose zone is stale looks for another file once a second, and once more where its file is
/// left in that second.
#[test]
fn a_file_that_is_left_right_after_a_vain_look_is_followed() {
    let directory = directory();
    let mut writer = shop(directory.path());
    let process = Process::of(writer.path());
    let late = Now(NOW.0 + 60);
    assert_eq!(process.ask(API, late), Ok((ONE, 1)));
    writer.replace().unwrap();
    assert_eq!(process.ask(API, late), Ok((ONE, 1)));
}

#[test]
fn an_absent_file_is_looked_for_once_a_second() {
    let directory = directory();
    let path = options(directory.path()).zone_path();
    let process = Process::of(&path);
    assert_eq!(process.ask(API, NOW), Err(Unavailable::Absent));
    let _writer = shop(directory.path());
    assert_eq!(process.ask(API, NOW), Err(Unavailable::Absent));
    assert_eq!(process.ask(API, Now(NOW.0 + 1)), Ok((ONE, 1)));
}

#[test]
fn a_full_zone_refuses_and_goes_on() {
    let directory = directory();
    let mut options = options(directory.path());
    options.maximum_bytes = 256 << 10;
    let (mut writer, _) = Writer::open(options).unwrap();
    writer.put_namespace("shop").unwrap();
    writer.set_synced(NOW);
    writer.beat(NOW);
    let mut number = 0;
    let error = loop {
        let key = ServiceKey::new(&format!("service-{number}"), "shop").unwrap();
        let addresses = vec![Address::v4([10, 0, 0, 1])];
        match writer.put_service(
            &key,
            &ServiceBody::ClusterIp {
                addresses,
                ports: vec![],
            },
        ) {
            Ok(_) => number += 1,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error, WriteError::NoSpace { source: None, .. }),
        "{error}"
    );
    assert!(number > 500, "{number}");
    let process = Process::of(writer.path());
    for service in 0..number {
        let name = format!("service-{service}.shop.svc.cluster.local");
        assert_eq!(process.ask(&name, NOW), Ok((ONE, 1)), "{name}");
    }
    // Space comes back two epochs after something went.
    for service in 0..200 {
        let key = ServiceKey::new(&format!("service-{service}"), "shop").unwrap();
        assert!(writer.delete_service(&key).unwrap());
    }
    let mut clock = Instant::now();
    while let Some(due) = writer.advance(clock) {
        assert!(due > clock);
        clock += Duration::from_millis(100);
    }
    put(&mut writer, "again", 4);
    assert_eq!(
        process.ask("again.shop.svc.cluster.local", NOW),
        Ok((ONE, 4))
    );
}

#[test]
fn a_dump_sees_what_the_writer_published() {
    let directory = directory();
    let mut writer = shop(directory.path());
    let config = Config {
        ttl: 9,
        cluster_dns: vec![Address::v4([10, 96, 0, 10])],
        excepted_suffixes: vec!["x.cluster.local".to_owned()],
        ..Config::default()
    };
    writer.configure(&config).unwrap();
    let dump = Dump::open(writer.path()).unwrap();
    assert_eq!((dump.apex(), dump.state()), ("cluster.local", State::Live));
    assert_eq!((dump.alive(), dump.synced()), (NOW, NOW));
    assert_eq!(dump.config(), &config);
    let [Entry::Namespace(name), service] = dump.entries() else {
        panic!("{:?}", dump.entries())
    };
    assert_eq!(name, "shop");
    assert_eq!(
        Some(service),
        writer
            .service(&ServiceKey::new("api", "shop").unwrap())
            .as_ref()
    );
    let (seen, known) = (dump.statistics(), writer.statistics());
    assert_eq!(
        (seen.used_bytes, seen.serial),
        (known.used_bytes, known.serial)
    );
    let error = Dump::open(&directory.path().join("none"))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("cannot open") && error.contains("none"),
        "{error}"
    );
}

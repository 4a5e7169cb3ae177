//! What a writer does not take or go on with, and what processes do not trust.

use super::{API, NOW, ONE, Process, directory, options, shop};
use nss_k8s_zone::{
    Found, OpenError, Opened, Options, ServiceBody, ServiceKey, State, Unavailable, WriteError,
    Writer,
};
use std::{
    ffi::CString,
    fs::{self, Permissions},
    os::{
        fd::{FromRawFd as _, OwnedFd},
        unix::{
            ffi::OsStrExt as _,
            fs::{PermissionsExt as _, symlink},
        },
    },
    path::Path,
};

#[test]
fn another_writer_is_told_who_holds_the_lock() {
    let directory = directory();
    let _writer = shop(directory.path());
    let error = Writer::open(options(directory.path())).err().unwrap();
    let OpenError::Locked { holder, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*holder, Some(std::process::id()));
    assert!(
        error
            .to_string()
            .contains("private/lock is locked by process"),
        "{error}"
    );
}

/// Some other thread may be starting a program: until that is executed, it has the writer's files open.
#[test]
fn the_lock_ends_with_its_writer_whoever_has_its_file_open() {
    let directory = directory();
    let writer = shop(directory.path());
    let lock = fs::canonicalize(directory.path().join("private/lock")).unwrap();
    let opened = fs::read_dir("/proc/self/fd").unwrap().find_map(|entry| {
        let entry = entry.unwrap();
        let is_lock = fs::read_link(entry.path()).is_ok_and(|path| path == lock);
        is_lock.then(|| entry.file_name().into_string().unwrap())
    });
    let descriptor: i32 = opened.expect("the lock is open").parse().unwrap();
    // SAFETY: the writer's descriptor is open as long as the writer is there; the new one is ours.
    let child = unsafe { OwnedFd::from_raw_fd(libc::dup(descriptor)) };
    drop(writer);
    Writer::open(options(directory.path())).unwrap();
    drop(child);
}

#[test]
fn files_that_cannot_go_on_are_replaced_and_their_readers_follow() {
    /// What spoils a file, and what the writer says then.
    type Case = (&'static str, fn(&mut Vec<u8>));
    let cases: [Case; 7] = [
        ("it is no zone of this version", |bytes| bytes[0] ^= 1),
        ("it is no zone of this version", |bytes| bytes[300] ^= 1),
        ("a record is malformed", |bytes| {
            // The last bytes of the service's key, wherever its record is.
            let at = bytes
                .windows(8)
                .position(|part| part == b"api.shop")
                .unwrap();
            bytes[at] = b'b';
        }),
        ("it has no index", |bytes| bytes[72..80].fill(0)),
        ("its configuration is malformed", |bytes| {
            bytes[96..104].fill(0)
        }),
        ("it was never finished", |bytes| bytes[88] = 1),
        ("its size is", |bytes| bytes.truncate(4096)),
    ];
    for (why, damage) in cases {
        let directory = directory();
        let writer = shop(directory.path());
        let path = writer.path().to_owned();
        drop(writer);
        let mut bytes = fs::read(&path).unwrap();
        damage(&mut bytes);
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
        let (writer, opened) = Writer::open(options(directory.path())).unwrap();
        let Opened::Replaced { why: said } = opened else {
            panic!("{why}: {opened:?}")
        };
        assert!(said.contains(why), "{said:?} instead of {why:?}");
        assert_eq!(writer.state(), State::Syncing);
        assert_eq!(writer.statistics().services, 0);
    }
}

#[test]
fn another_apex_replaces_the_zone_and_readers_follow() {
    let directory = directory();
    let writer = shop(directory.path());
    let process = Process::of(writer.path());
    assert_eq!(process.ask(API, NOW), Ok((ONE, 1)));
    drop(writer);
    let other = Options {
        apex: "Example.Org.".to_owned(),
        ..options(directory.path())
    };
    let (mut writer, opened) = Writer::open(other).unwrap();
    assert!(matches!(opened, Opened::Replaced { why } if why == "it has another apex"));
    assert_eq!(process.ask(API, NOW), Err(Unavailable::Syncing));
    writer.beat(NOW);
    writer.set_synced(NOW);
    assert_eq!(process.ask(API, NOW), Ok((Found::Outside, 0)));
    assert_eq!(process.ask("x.example.org", NOW), Ok((Found::NxDomain, 0)));
}

#[test]
fn processes_trust_only_what_a_writer_leaves() {
    let directory = directory();
    let writer = shop(directory.path());
    let path = writer.path().to_owned();
    let view = |name: &str| directory.path().join(name);
    let verdict = |path: &Path| Process::of(path).ask(API, NOW);
    for (mode, expected) in [
        (0o644, Ok((ONE, 1))),
        (0o464, Err(Unavailable::Untrusted)),
        (0o446, Err(Unavailable::Untrusted)),
    ] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert_eq!(verdict(&path), expected, "{mode:o}");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    symlink(&path, view("link")).unwrap();
    assert_eq!(verdict(&view("link")), Err(Unavailable::Absent));
    assert_eq!(verdict(&view("nothing")), Err(Unavailable::Absent));
    assert_eq!(verdict(directory.path()), Err(Unavailable::Untrusted));
    let fifo = CString::new(view("fifo").as_os_str().as_bytes()).unwrap();
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o444) }, 0);
    assert_eq!(verdict(&view("fifo")), Err(Unavailable::Untrusted));
    // Not on a tmpfs: the build directory is on a disk.
    let disk = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let copy = disk.path().join("zone.v1");
    fs::copy(&path, &copy).unwrap();
    assert_eq!(verdict(&copy), Err(Unavailable::Untrusted));
    let opened = Writer::open(options(disk.path())).err();
    assert!(
        matches!(opened, Some(OpenError::NotTmpfs { .. })),
        "{opened:?}"
    );
    let mut future = fs::read(&path).unwrap();
    future[8] = 2;
    fs::write(view("future"), &future).unwrap();
    assert_eq!(verdict(&view("future")), Err(Unavailable::Version));
    fs::write(view("short"), b"nss-k8s").unwrap();
    assert_eq!(verdict(&view("short")), Err(Unavailable::Corrupt));
    // SAFETY: always succeeds.
    if unsafe { libc::geteuid() } == 0 {
        std::os::unix::fs::chown(&path, Some(1234), None).unwrap();
        assert_eq!(verdict(&path), Err(Unavailable::Untrusted));
    }
}

#[test]
fn what_cannot_be_written_is_named() {
    let directory = directory();
    let mut writer = shop(directory.path());
    let long = "x".repeat(300);
    for (service, namespace) in [
        (long.as_str(), "shop"),
        ("", "shop"),
        ("a.b", "shop"),
        ("a", "é"),
    ] {
        let error = ServiceKey::new(service, namespace).unwrap_err();
        assert!(matches!(error, WriteError::Label { .. }), "{error}");
    }
    let error = ServiceKey::new(&long, "shop").unwrap_err().to_string();
    assert!(error.contains("300 bytes") && error.len() < 200, "{error}");
    let key = ServiceKey::new("api", "shop").unwrap();
    for target in ["", ".", "a..b", &long, "sp ace"] {
        let body = ServiceBody::External {
            target: target.to_owned(),
        };
        assert!(writer.put_service(&key, &body).is_err(), "{target}");
    }
    // What was there is there.
    assert_eq!(Process::of(writer.path()).ask(API, NOW), Ok((ONE, 1)));
    let apex = Options {
        apex: long,
        ..options(directory.path())
    };
    assert!(matches!(
        Writer::open(apex).err(),
        Some(OpenError::Apex { .. })
    ));
}

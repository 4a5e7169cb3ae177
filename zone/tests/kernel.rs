//! What the zone takes for granted of the kernel, each as a test of its own: on the kernel at hand,
//! with real files, mappings and mounts. What changes a whole process happens in a child.
#![cfg(not(loom))]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "ordinary std tests; the ban is for the in-process code"
)]

#[macro_use]
#[path = "support/through_libc.rs"]
mod through_libc;

#[path = "kernel/child.rs"]
mod child;
#[path = "kernel/world.rs"]
mod world;

use child::{in_child, in_mounts};
use nss_k8s_zone::{
    Address, Found, Held, HeldAnswer, HeldOptions, HeldVerdict, HeldWriter, LibcOs, Now, Opened,
    Options, Os as _, Writer,
};
use std::{
    fs::{self, File, OpenOptions},
    os::{
        fd::AsRawFd as _,
        unix::fs::{MetadataExt as _, PermissionsExt as _},
    },
};
use world::{
    Before514, Limited, NOW, Process, allocate, check, expect, grow, map, mapped, outcome, passes,
    shop, shop_in, size,
};

/// The unit of a zone file's size, and of what is populated.
const UNIT: usize = 64 << 10;
/// What is mapped of a small file where address space is free.
const WINDOW: usize = 64 << 20;
const API: &str = "api.shop.svc.cluster.local";
const ONE: Found = Found::Answer { count: 1 };

/// A page past the end of a file is an error that `madvise` reports; once the file has grown, the same
/// mapping has it, though no descriptor is left.
#[test]
fn growth_is_seen_without_a_descriptor() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = directory.path().join("file");
    let file = File::create_new(&path).unwrap();
    allocate(&file, UNIT).unwrap();
    let start = map(&file, libc::PROT_READ, 4 * UNIT).unwrap();
    drop(file);
    let populate = |at: usize| {
        // SAFETY: inside the mapping of this test.
        unsafe { LibcOs.populate(start.add(at), UNIT) }
    };
    assert_eq!(populate(0), Ok(()));
    assert_eq!(populate(UNIT), Err(libc::EFAULT));
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    allocate(&file, 2 * UNIT).unwrap();
    assert_eq!(populate(UNIT), Ok(()));
    assert_eq!(populate(2 * UNIT), Err(libc::EFAULT));
    // SAFETY: populated just now.
    assert_eq!(unsafe { start.add(2 * UNIT - 1).read_volatile() }, 0);
}

/// A process that has mapped the zone holds no descriptor of it, and follows its growth even where
/// its path is gone.
#[test]
fn a_reader_needs_neither_descriptor_nor_path_to_grow() {
    let (_directory, mut writer) = shop();
    let process = Process::new(LibcOs, writer.path());
    assert_eq!(process.ask(API), Ok(ONE));
    let path = writer.path().to_owned();
    let open = fs::read_dir("/proc/self/fd").unwrap().filter(|entry| {
        let link = fs::read_link(entry.as_ref().unwrap().path());
        link.is_ok_and(|link| link == path)
    });
    // The writer's own.
    assert_eq!(open.count(), 1);
    fs::remove_file(&path).unwrap();
    let last = grow(&mut writer);
    assert_eq!(process.ask(&last), Ok(ONE));
    assert_eq!(process.ask(API), Ok(ONE));
}

/// Where the kernel cannot populate (before 5.14), the file is opened and asked for its size; no other
/// file will do.
#[test]
fn without_populating_the_file_is_asked_for_its_size() {
    let (directory, mut writer) = shop();
    let path = writer.path().to_owned();
    let followed = Process::new(Before514::default(), &path);
    let elsewhere = Process::new(Before514::default(), &path);
    let absent = Process::new(Before514::default(), &path);
    for process in [&followed, &elsewhere, &absent] {
        assert_eq!(process.ask(API), Ok(ONE));
        assert_eq!(process.os.opens.get(), 1);
    }
    let last = grow(&mut writer);
    assert_eq!(followed.ask(&last), Ok(ONE));
    assert_eq!(followed.os.opens.get(), 2);
    assert_eq!(followed.os.populated.get(), 1);
    // Asked once for each growth, not for each lookup.
    assert_eq!(followed.ask(&last), Ok(ONE));
    assert_eq!(followed.os.opens.get(), 2);
    let aside = directory.path().join("aside");
    fs::rename(&path, &aside).unwrap();
    // As large, but no zone: it says nothing of the one that is mapped.
    File::create_new(&path)
        .and_then(|file| allocate(&file, size(&aside)))
        .unwrap();
    let found = elsewhere.ask(&last);
    assert!(passes(found), "{found:?}");
    fs::remove_file(&path).unwrap();
    let found = absent.ask(&last);
    assert!(passes(found), "{found:?}");
}

/// Not even root writes to the zone through the mount that pods get.
#[test]
fn a_read_only_mount_cannot_be_written() {
    in_mounts(|directory| {
        let (node, pod) = (directory.join("node"), directory.join("pod"));
        for path in [&node, &pod] {
            fs::create_dir(path).map_err(|error| error.to_string())?;
        }
        child::mount_tmpfs(&node, "mode=0755")?;
        let writer = shop_in(&node);
        let view = writer.path().parent().ok_or("no directory")?;
        child::bind_read_only(view, &pod)?;
        let path = pod.join("zone.v1");
        let process = Process::new(LibcOs, &path);
        check(process.ask(API) == Ok(ONE), "no answer through the mount")?;
        let opened = OpenOptions::new().write(true).open(&path);
        expect("open for writing", opened.map(drop), libc::EROFS)?;
        expect("remove", fs::remove_file(&path), libc::EROFS)?;
        let mode = fs::Permissions::from_mode(0o666);
        expect("chmod", fs::set_permissions(&path, mode), libc::EROFS)?;
        let file = File::open(&path).map_err(|error| error.to_string())?;
        let writable = map(&file, libc::PROT_READ | libc::PROT_WRITE, UNIT);
        expect("map for writing", writable.map(drop), libc::EACCES)?;
        let start = map(&file, libc::PROT_READ, UNIT).map_err(|error| error.to_string())?;
        // SAFETY: the mapping of this test.
        let changed = unsafe {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            libc::mprotect(start.as_ptr().cast(), UNIT, access)
        };
        expect("mprotect", outcome(changed), libc::EACCES)?;
        // SAFETY: punching changes no memory of this process.
        let punched = unsafe {
            let flags = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
            libc::fallocate(file.as_raw_fd(), flags, 0, 4096)
        };
        expect("punch", outcome(punched), libc::EBADF)?;
        check(process.ask(API) == Ok(ONE), "no answer afterwards")
    });
}

/// Every page of our files exists from the first moment on: where the file system is full, one that
/// did not would end whoever reads it.
#[test]
fn no_page_is_ever_missing() {
    in_mounts(|directory| {
        child::mount_tmpfs(directory, "mode=0755,size=8m")?;
        let text = |error: &dyn std::error::Error| error.to_string();
        let mut writer = shop_in(directory);
        let options = HeldOptions::new(directory, "default");
        let (mut held, _) = HeldWriter::open(&options, NOW).map_err(|error| text(&error))?;
        let files = [writer.path().to_owned(), options.path()];
        let whole = |when: &str| -> Result<(), String> {
            for path in &files {
                let found = fs::metadata(path).map_err(|error| text(&error))?;
                let missing = found.blocks() * 512 < found.len();
                check(
                    !missing,
                    &format!("{when}: {}: pages are missing", path.display()),
                )?;
            }
            Ok(())
        };
        whole("new")?;
        // Growth of both files, and of both indexes.
        let small = files.each_ref().map(|path| size(path));
        let _ = grow(&mut writer);
        let mut number = 0;
        while size(&files[1]) == small[1] {
            let answer = HeldAnswer {
                expires: Some(Now(NOW.0 + 60)),
                verdict: HeldVerdict::Data {
                    addresses: vec![Address::v4([192, 0, 2, 1])],
                    canonical: None,
                },
            };
            let held_answer = Held {
                v4: Some(answer),
                v6: None,
            };
            let name = format!("host-{number}.example.com");
            held.put(&name, &held_answer)
                .map_err(|error| text(&error))?;
            number += 1;
        }
        check(size(&files[0]) > small[0], "the zone did not grow")?;
        whole("grown")?;
        writer.replace().map_err(|error| text(&error))?;
        whole("replaced")?;
        let lines = writer.statistics().main_lines;
        drop((writer, held));
        let options = Options::new(directory, "cluster.local");
        let (writer, opened) = Writer::open(options).map_err(|error| text(&error))?;
        check(
            matches!(opened, Opened::Adopted { .. }),
            "it was not adopted",
        )?;
        check(lines > 16, "the index did not grow")?;
        whole("adopted")?;
        // Not one page is left for anybody.
        child::fill(&directory.join("ballast"))?;
        for path in &files {
            let file = File::open(path).map_err(|error| text(&error))?;
            let length = size(path);
            let start = map(&file, libc::PROT_READ, length).map_err(|error| text(&error))?;
            // SAFETY: the mapping of this test.
            let populated = unsafe { LibcOs.populate(start, length) };
            check(
                populated == Ok(()),
                &format!("{}: {populated:?}", path.display()),
            )?;
        }
        // So it is where pages are missing.
        let sparse = directory.join("sparse");
        let file = File::create(&sparse).map_err(|error| text(&error))?;
        file.set_len(UNIT as u64).map_err(|error| text(&error))?;
        let file = File::open(&sparse).map_err(|error| text(&error))?;
        let start = map(&file, libc::PROT_READ, UNIT).map_err(|error| text(&error))?;
        // SAFETY: the mapping of this test.
        let populated = unsafe { LibcOs.populate(start, UNIT) };
        check(
            populated == Err(libc::EFAULT),
            &format!("a hole: {populated:?}"),
        )?;
        let process = Process::new(LibcOs, writer.path());
        check(process.ask(API) == Ok(ONE), "no answer while it is full")
    });
}

/// Under RLIMIT_AS no byte more than the file has is mapped.
#[test]
fn a_limit_of_address_space_maps_the_exact_size() {
    let (_directory, mut writer) = shop();
    let path = writer.path().to_owned();
    in_child(|| {
        let limit = libc::rlimit {
            rlim_cur: 1 << 40,
            rlim_max: 1 << 40,
        };
        // SAFETY: a limit of this child's own.
        let result = unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) };
        outcome(result).map_err(|error| error.to_string())?;
        let process = Process::new(LibcOs, &path);
        check(process.ask(API) == Ok(ONE), "no answer")?;
        let mapped = mapped(&path);
        check(
            mapped == [size(&path)],
            &format!("{mapped:?} bytes are mapped"),
        )
    });
    // Without one it has room to grow; and a process that has none passes when the zone has grown.
    let process = Process::new(LibcOs, &path);
    assert_eq!(process.ask(API), Ok(ONE));
    assert!(mapped(&path).contains(&WINDOW), "{:?}", mapped(&path));
    let limited = Process::new(Limited, &path);
    assert_eq!(limited.ask(API), Ok(ONE));
    let last = grow(&mut writer);
    let found = limited.ask(&last);
    assert!(passes(found), "{found:?}");
    assert_eq!(process.ask(&last), Ok(ONE));
}

/// Where every mapping is locked and the window is more than may be, the exact size is mapped; a
/// process that may lock everything has the window, whose pages past the end are nobody's.
#[test]
fn locked_memory_maps_the_exact_size() {
    let (directory, writer) = shop();
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(directory.path(), open).unwrap();
    let path = writer.path().to_owned();
    // SAFETY: always succeeds.
    let is_root = unsafe { libc::geteuid() } == 0;
    for privileged in [false, true] {
        if privileged && !is_root {
            // Only root may lock more than the limit.
            continue;
        }
        in_child(|| {
            let limit = libc::rlimit {
                rlim_cur: 8 << 20,
                rlim_max: 8 << 20,
            };
            // SAFETY: limits and ids of this child's own.
            unsafe {
                outcome(libc::setrlimit(libc::RLIMIT_MEMLOCK, &limit))
                    .map_err(|error| error.to_string())?;
                if is_root && !privileged {
                    outcome(libc::setresuid(65534, 65534, 65534))
                        .map_err(|error| error.to_string())?;
                }
                outcome(libc::mlockall(libc::MCL_FUTURE)).map_err(|error| error.to_string())?;
            }
            let process = Process::new(LibcOs, &path);
            check(process.ask(API) == Ok(ONE), "no answer")?;
            let mapped = mapped(&path);
            let expected = if privileged { WINDOW } else { size(&path) };
            check(
                mapped == [expected],
                &format!("{mapped:?} bytes are mapped"),
            )
        });
    }
}

//! A writer at full speed, killed and stopped at random instants, under readers that check every
//! answer: each address carries the generation of the record that it belongs to, its place in it
//! and a checksum, so that no torn, mixed or lost answer looks right.
//!
//! Built with `--cfg nss_k8s_weaken="epoch"` the readers do not compare epochs, and the same soak
//! must find torn answers: otherwise it proves nothing.

use super::{
    process::Process,
    random::Random,
    soak_answers::{check_headless, check_some},
    soak_record::SERVICES,
    soak_writer::WRITER,
    torment::{Counts, Soak, Tally, seconds},
};
use nss_k8s_zone::{Options, Reader};
use std::{
    ffi::CString,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Whether this is the build without the epoch check.
const CONTROL: bool = cfg!(nss_k8s_weaken = "epoch");
/// What a writer that may end in peace does before it ends.
const UPDATES: u64 = SERVICES as u64 * 4;

/// Verified lookups against a writer that dies all the time.
#[cfg(not(nss_k8s_weaken = "epoch"))]
#[test]
fn answers_stay_whole_while_the_writer_is_killed() {
    let seconds = seconds();
    let (tally, failure) = soak(seconds);
    eprintln!("soak: {seconds} s: {tally}");
    assert_eq!(failure, None);
    tally.assert_enough(seconds);
}

/// The control: without the epoch check the soak finds a torn answer.
#[cfg(nss_k8s_weaken = "epoch")]
#[test]
fn torn_answers_are_found_without_the_epoch_check() {
    let (tally, failure) = soak(120);
    eprintln!("control: {tally}");
    let failure = failure.expect("the soak detects nothing");
    eprintln!("control: {failure}");
    assert!(failure.starts_with("torn"), "another failure: {failure}");
}

/// Readers against a dying writer until something is wrong or the time is over; then the last
/// writer's last generation must be what every reader sees.
fn soak(seconds: u64) -> (Tally, Option<String>) {
    let directory = tempfile::tempdir_in("/dev/shm").expect("a directory on a tmpfs");
    let path = Options::new(directory.path(), "cluster.local").zone_path();
    let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL in a path");
    // The first writer makes the zone before anybody looks.
    let first = Process::spawn(WRITER, directory.path(), 1 << 20, UPDATES).opened();
    assert_eq!(first.opened, "created");
    first.wait_for_updates();
    // Two threads of one process share what it has mapped; a third is alone.
    let (shared, alone) = (Reader::new(), Reader::new());
    let soak = Soak {
        writer: WRITER,
        directory: directory.path(),
        check: |reader: &Reader, random: &mut Random, counts: &Counts| {
            check_some(reader, &path, random, counts)
        },
    };
    // The control looks for a torn answer, not for what else goes wrong.
    let fatal = |wrong: &str| !CONTROL || wrong.starts_with("torn");
    let (tally, last, mut failure) = soak.run([&shared, &shared, &alone], 1 << 20, seconds, fatal);
    if failure.is_none() {
        let next = last + (1 << 20);
        failure = settle(directory.path(), next, &path, [&shared, &alone]).err();
    }
    (tally, failure)
}

/// A last writer lives to the end: every reader sees its last generation, wherever it had mapped.
fn settle(
    directory: &Path,
    generation: u64,
    path: &CString,
    readers: [&Reader; 2],
) -> Result<(), String> {
    let writer = Process::spawn(WRITER, directory, generation, UPDATES);
    writer.opened().wait_for_updates();
    let counts = Counts::default();
    // A writer that died between its rename and the last store to the old file leaves readers there until
    // it is stale, which takes 30 seconds.
    let deadline = Instant::now() + Duration::from_secs(60);
    for reader in readers {
        for service in 0..SERVICES {
            loop {
                let seen = check_headless(reader, path, service, &counts)?;
                if seen >= generation {
                    break;
                }
                if Instant::now() > deadline {
                    return Err(format!(
                        "lost: h{service} is still at generation {seen:#x}, not {generation:#x}"
                    ));
                }
                thread::yield_now();
            }
        }
    }
    Ok(())
}

//! A writer of held answers at full speed, killed and stopped at random instants, under readers that
//! check every answer.

use super::{
    super::{
        process::Process,
        random::Random,
        soak_record::now,
        torment::{Counts, Soak, seconds},
    },
    asking::{NAMES, ask_counting},
    race::{is_whole, number_of},
    run::options,
    soak_writer::WRITER,
};
use nss_k8s_zone::{Families, Reader, Unavailable};
use std::{
    ffi::{CStr, CString},
    os::unix::ffi::OsStrExt as _,
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

/// What a writer that may end in peace does before it ends.
const UPDATES: u64 = 100;
/// Until then every reader has found the last file. A writer that died between its rename and the last
/// store to the old file leaves readers there until it is stale, which takes 30 seconds.
const SETTLED: Duration = Duration::from_secs(60);

#[cfg(not(nss_k8s_weaken = "epoch"))]
#[test]
fn held_answers_stay_whole_while_the_writer_is_killed() {
    let seconds = seconds();
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let path = options(directory.path(), 1).path();
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let first = Process::spawn(WRITER, directory.path(), 1 << 20, UPDATES).opened();
    assert_eq!(first.opened, "created");
    first.wait_for_updates();
    let (shared, alone) = (Reader::of_held(), Reader::of_held());
    let soak = Soak {
        writer: WRITER,
        directory: directory.path(),
        check: |reader: &Reader, random: &mut Random, counts: &Counts| {
            (0..64).try_for_each(|_| {
                let name = *random.pick(&NAMES);
                check(reader, &path, name, counts).map(drop)
            })
        },
    };
    let (tally, last, failure) = soak.run([&shared, &shared, &alone], 1 << 20, seconds, |_| true);
    eprintln!("soak of held answers: {seconds} s: {tally}");
    assert_eq!(failure, None);
    tally.assert_enough(seconds);
    // A last writer lives to the end: every reader sees its last answers, wherever it had mapped.
    let next = last + (1 << 20);
    let writer = Process::spawn(WRITER, directory.path(), next, UPDATES);
    writer.opened().wait_for_updates();
    let deadline = Instant::now() + SETTLED;
    for (reader, name) in [&shared, &alone]
        .into_iter()
        .flat_map(|one| NAMES.map(|name| (one, name)))
    {
        let expected = Some((next + UPDATES + 1) as u32);
        while check(reader, &path, name, &Counts::default()).unwrap() != expected {
            assert!(Instant::now() < deadline, "{name} is lost");
            thread::yield_now();
        }
    }
}

/// Asks for one name: it has a whole answer, whose number is returned, or none. All of them are put all
/// the time, but a new file is empty at first.
fn check(reader: &Reader, path: &CStr, name: &str, counts: &Counts) -> Result<Option<u32>, String> {
    let (now, mut attempts) = (now(), 0);
    let question = (name, Families::BOTH);
    let told = ask_counting(&counts.system, reader, path, question, now, &mut attempts);
    counts
        .retries
        .fetch_add(attempts.saturating_sub(1), Ordering::Relaxed);
    counts.lookups.fetch_add(1, Ordering::Relaxed);
    match told.found {
        Err(Unavailable::Busy) => {
            counts.busy.fetch_add(1, Ordering::Relaxed);
            return Ok(None);
        }
        // A new file is seen before it serves, and one that was spoiled serves no more.
        Err(Unavailable::Syncing) => return Ok(None),
        _ if told.is_unavailable() => return Err(format!("wrong: {name}: {told:?}")),
        _ if !is_whole(&told, now) => return Err(format!("torn: {name}: {told:?}")),
        _ => {}
    }
    let number = number_of(&told);
    counts
        .answers
        .fetch_add(u64::from(number.is_some()), Ordering::Relaxed);
    Ok(number)
}

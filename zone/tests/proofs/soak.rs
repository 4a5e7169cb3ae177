//! A writer at full speed, killed and stopped at random instants, under readers that check every
//! answer: each address carries the generation of the record that it belongs to, its place in it
//! and a checksum, so that no torn, mixed or lost answer looks right.
//!
//! Built with `--cfg nss_k8s_weaken="epoch"` the readers do not compare epochs, and the same soak
//! must find torn answers: otherwise it proves nothing.

use super::{
    random::Random,
    soak_record::{Part, SERVICES, endpoints, now, short},
    soak_writer::Process,
};
use nss_k8s_zone::{Address, Families, Found, LibcOs, Name, Options, Reader, Unavailable};
use std::{
    ffi::CString,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Whether this is the build without the epoch check.
const CONTROL: bool = cfg!(nss_k8s_weaken = "epoch");

/// Verified lookups against a writer that dies all the time.
#[cfg(not(nss_k8s_weaken = "epoch"))]
#[test]
fn answers_stay_whole_while_the_writer_is_killed() {
    let seconds =
        std::env::var("SOAK_SECONDS").map_or(60, |text| text.parse().expect("SOAK_SECONDS"));
    let (tally, failure) = soak(Duration::from_secs(seconds));
    eprintln!("soak: {seconds} s, {tally}");
    assert_eq!(failure, None);
    assert!(tally.lookups.load(Ordering::Relaxed) > seconds * 10_000);
    assert!(tally.kills > seconds, "too few kills");
    assert!(
        tally.retries.load(Ordering::Relaxed) > 0,
        "the epoch check was never needed"
    );
    // Busy is an answer that DNS gives: right, but it must stay rare.
    assert!(
        tally.busy.load(Ordering::Relaxed) < tally.lookups.load(Ordering::Relaxed) / 20,
        "readers give up too often"
    );
}

/// The control: without the epoch check the soak finds a torn answer.
#[cfg(nss_k8s_weaken = "epoch")]
#[test]
fn torn_answers_are_found_without_the_epoch_check() {
    let (tally, failure) = soak(Duration::from_secs(120));
    eprintln!("control: {tally}");
    let failure = failure.expect("the soak detects nothing");
    eprintln!("control: {failure}");
    assert!(failure.starts_with("torn"), "another failure: {failure}");
}

/// What a soak did.
#[derive(Debug, Default)]
struct Tally {
    /// Answers that were checked.
    lookups: AtomicU64,
    /// Attempts that the epoch check threw away.
    retries: AtomicU64,
    /// Lookups that gave up after all attempts.
    busy: AtomicU64,
    /// SIGKILLs.
    kills: u64,
    /// SIGSTOPs (each followed by SIGCONT or SIGKILL).
    stops: u64,
    /// Starts at which the file moved to a new inode.
    replacements: u64,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} answers checked, {} retries, {} busy, {} kills, {} stops, {} replacements",
            self.lookups.load(Ordering::Relaxed),
            self.retries.load(Ordering::Relaxed),
            self.busy.load(Ordering::Relaxed),
            self.kills,
            self.stops,
            self.replacements
        )
    }
}

/// Readers against a dying writer until something is wrong or the time is over; then the last
/// writer's last generation must be what every reader sees.
fn soak(duration: Duration) -> (Tally, Option<String>) {
    let directory = tempfile::tempdir_in("/dev/shm").expect("a directory on a tmpfs");
    let path = Options::new(directory.path(), "cluster.local").zone_path();
    let path = CString::new(path.as_os_str().as_bytes()).expect("no NUL in a path");
    let mut tally = Tally::default();
    let (stop, failure) = (AtomicBool::new(false), Mutex::new(None));
    let shared = Reader::new();
    let deadline = Instant::now() + duration;
    // The first writer makes the zone before anybody looks.
    let mut generation = 1_u64 << 20;
    let first = Process::start(directory.path(), generation, u64::from(SERVICES) * 4);
    assert_eq!(first.opened, "created");
    first.wait_for_updates();
    let own: Vec<Reader> = (0..3).map(|_| Reader::new()).collect();
    let counted = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for (number, reader) in own.iter().enumerate() {
            let (stop, failure, counted) = (&stop, &failure, &counted);
            // Two threads of one process share what it has mapped; a third is alone.
            let reader = if number < 2 { &shared } else { reader };
            let path = &path;
            scope.spawn(move || {
                let mut random = Random(number as u64);
                while !stop.load(Ordering::Relaxed) {
                    if let Err(wrong) = check_some(reader, path, &mut random, counted)
                        // The control looks for a torn answer, not for what else goes wrong.
                        && (!CONTROL || wrong.starts_with("torn"))
                    {
                        failure.lock().expect("no panic").get_or_insert(wrong);
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
        let mut random = Random(generation);
        while Instant::now() < deadline && !stop.load(Ordering::Relaxed) {
            generation += 1 << 20;
            if let Err(wrong) = torment(directory.path(), generation, &mut random, &mut tally) {
                failure.lock().expect("no panic").get_or_insert(wrong);
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    tally.lookups = counted.0;
    tally.retries = counted.1;
    tally.busy = counted.2;
    let mut failure = failure.into_inner().expect("no panic");
    if failure.is_none() {
        failure = settle(
            directory.path(),
            generation + (1 << 20),
            &path,
            [&shared, &own[2]],
        )
        .err();
    }
    (tally, failure)
}

/// Starts a writer, and ends it at a random instant.
fn torment(
    directory: &Path,
    generation: u64,
    random: &mut Random,
    tally: &mut Tally,
) -> Result<(), String> {
    let writer = Process::spawn(directory, generation, 0);
    // Now and then it dies while it takes over.
    if random.once_in(4) {
        thread::sleep(Duration::from_micros(random.below(8_000)));
        drop(writer);
        tally.kills += 1;
        return Ok(());
    }
    let writer = writer.opened();
    if writer.opened != "adopted" && writer.opened != "replaced" {
        return Err(format!("the writer could not go on: {}", writer.opened));
    }
    tally.replacements += u64::from(writer.opened == "replaced");
    thread::sleep(Duration::from_micros(random.below(150_000)));
    if random.once_in(3) {
        writer.signal(libc::SIGSTOP);
        tally.stops += 1;
        thread::sleep(Duration::from_micros(random.below(30_000)));
        if random.once_in(2) {
            writer.signal(libc::SIGCONT);
            thread::sleep(Duration::from_micros(random.below(10_000)));
        }
    }
    drop(writer);
    tally.kills += 1;
    Ok(())
}

/// A last writer lives to the end: every reader sees its last generation, wherever it had mapped.
fn settle(
    directory: &Path,
    generation: u64,
    path: &CString,
    readers: [&Reader; 2],
) -> Result<(), String> {
    let writer = Process::start(directory, generation, u64::from(SERVICES) * 4);
    writer.wait_for_updates();
    let counted = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    // A file that was replaced is asked for once a second.
    let deadline = Instant::now() + Duration::from_secs(5);
    for reader in readers {
        for service in 0..SERVICES {
            loop {
                let seen = check_headless(reader, path, service, &counted)?;
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

/// Checks a few random names.
fn check_some(
    reader: &Reader,
    path: &CString,
    random: &mut Random,
    counted: &(AtomicU64, AtomicU64, AtomicU64),
) -> Result<(), String> {
    for _ in 0..64 {
        let service = random.below(u64::from(SERVICES)) as u32;
        match random.below(4) {
            0 => check_cluster_ip(reader, path, service, counted)?,
            1 => check_endpoint(reader, path, service, random.below(8) as u32, counted)?,
            _ => {
                check_headless(reader, path, service, counted)?;
            }
        }
    }
    Ok(())
}

/// All endpoints of `h<service>`: one generation, each place once. Returns the generation, 0 when
/// the reader gave up.
fn check_headless(
    reader: &Reader,
    path: &CString,
    service: u32,
    counted: &(AtomicU64, AtomicU64, AtomicU64),
) -> Result<u64, String> {
    let name = format!("h{service}.soak.svc.cluster.local");
    let Some(answer) = lookup(reader, path, &name, counted)? else {
        return Ok(0);
    };
    let parts: Option<Vec<Part>> = answer.iter().map(Part::parse).collect();
    let parts = parts.ok_or_else(|| format!("torn: {name}: a checksum in {answer:?}"))?;
    let generation = parts.first().map_or(0, |part| part.generation);
    let whole = parts.len() == endpoints(generation) as usize
        && parts
            .iter()
            .all(|part| part.service == service && part.generation == generation)
        && {
            let mut places: Vec<u16> = parts.iter().map(|part| part.place).collect();
            places.sort_unstable();
            places.into_iter().eq(0..endpoints(generation) as u16)
        };
    if whole {
        Ok(generation)
    } else {
        Err(format!(
            "torn: {name}: {} addresses, {parts:?}",
            parts.len()
        ))
    }
}

/// One endpoint by its host name.
fn check_endpoint(
    reader: &Reader,
    path: &CString,
    service: u32,
    place: u32,
    counted: &(AtomicU64, AtomicU64, AtomicU64),
) -> Result<(), String> {
    let name = format!("e{place}.h{service}.soak.svc.cluster.local");
    let Some(answer) = lookup(reader, path, &name, counted)? else {
        return Ok(());
    };
    match answer.as_slice() {
        [one] => match Part::parse(one) {
            Some(part) if part.service == service && u32::from(part.place) == place => Ok(()),
            part => Err(format!("torn: {name}: {one:?} is {part:?}")),
        },
        _ => Err(format!("torn: {name}: {answer:?}")),
    }
}

/// The two addresses of `c<service>`, of one generation.
fn check_cluster_ip(
    reader: &Reader,
    path: &CString,
    service: u32,
    counted: &(AtomicU64, AtomicU64, AtomicU64),
) -> Result<(), String> {
    let name = format!("c{service}.soak.svc.cluster.local");
    let Some(mut answer) = lookup(reader, path, &name, counted)? else {
        return Ok(());
    };
    answer.sort_unstable();
    let [v4, v6] = answer.as_slice() else {
        return Err(format!("torn: {name}: {answer:?}"));
    };
    let part = Part::parse(v6).ok_or_else(|| format!("torn: {name}: {v6:?}"))?;
    if part.service != service || *v4 != short(part.service, part.generation) {
        return Err(format!("torn: {name}: {v4:?} beside {part:?}"));
    }
    Ok(())
}

/// The addresses of `name`, or nothing when the reader gave up after its last attempt. Every other
/// outcome is a failure: all names of the soak exist all the time.
fn lookup(
    reader: &Reader,
    path: &CString,
    name: &str,
    counted: &(AtomicU64, AtomicU64, AtomicU64),
) -> Result<Option<Vec<Address>>, String> {
    let mut room = [Address::UNSPECIFIED; 256];
    let mut canonical = Name::EMPTY;
    let mut attempts = 0;
    let found = reader.read(&LibcOs, path, now(), |zone| {
        attempts += 1;
        zone.addresses(name.as_bytes(), Families::BOTH, &mut room, &mut canonical)
    });
    counted.0.fetch_add(1, Ordering::Relaxed);
    counted
        .1
        .fetch_add(u64::saturating_sub(attempts, 1), Ordering::Relaxed);
    match found {
        Ok(Found::Answer { count }) => match room.get(..count) {
            Some(answer) => Ok(Some(answer.to_vec())),
            None => Err(format!(
                "wrong: {name}: {count} addresses in a room of {}",
                room.len()
            )),
        },
        Err(Unavailable::Busy) => {
            counted.2.fetch_add(1, Ordering::Relaxed);
            Ok(None)
        }
        other => Err(format!("wrong: {name}: {other:?}")),
    }
}

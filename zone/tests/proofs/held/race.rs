//! Readers beside a writer whose space is reused as soon as it may be.

use super::{
    super::random::Random,
    asking::{NAMES, Told, ask_at, expected},
    run::options,
};
use nss_k8s_zone::{
    Address, Families, Family, Held, HeldAnswer, HeldVerdict, HeldWriter, LibcOs, Now, Reader,
    proofs::SAMPLE_NOW,
};
use std::{
    ffi::CString,
    os::unix::ffi::OsStrExt as _,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

#[cfg(not(nss_k8s_weaken = "epoch"))]
#[test]
fn answers_stay_whole_while_space_is_reused() {
    let (torn, lookups, answers) = race(200_000);
    eprintln!("{lookups} lookups, {answers} answered");
    assert_eq!(torn, None);
    assert!(answers > 1_000 && answers > lookups / 20);
}

/// The control: without the epoch check some answer is torn.
#[cfg(nss_k8s_weaken = "epoch")]
#[test]
fn torn_answers_are_found_in_held_ones() {
    let (torn, ..) = race(20_000_000);
    eprintln!("control: {}", torn.expect("the race detects nothing"));
}

/// Puts so many answers while others look them up; the first torn answer, and how many there were.
/// Every part of an answer tells the number of its put.
fn race(puts: u32) -> (Option<String>, u64, u64) {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let (mut writer, _) = HeldWriter::open(&options(directory.path(), 3), SAMPLE_NOW).unwrap();
    let path = CString::new(writer.path().as_os_str().as_bytes()).unwrap();
    let (torn, lookups, answers) = (Mutex::new(None), AtomicU64::new(0), AtomicU64::new(0));
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let reader = Reader::of_held();
                while !ends.load(Ordering::Relaxed) {
                    for name in NAMES {
                        let told =
                            ask_at(&LibcOs, &reader, &path, name, Families::BOTH, SAMPLE_NOW);
                        lookups.fetch_add(1, Ordering::Relaxed);
                        if !told.addresses.is_empty() {
                            answers.fetch_add(1, Ordering::Relaxed);
                        }
                        if !is_whole(&told, SAMPLE_NOW) {
                            torn.lock()
                                .unwrap()
                                .get_or_insert(format!("{name}: {told:?}"));
                            ends.store(true, Ordering::Relaxed);
                        }
                    }
                }
            });
        }
        let (mut clock, mut random) = (Instant::now(), Random(7));
        for number in 0..puts {
            let held = numbered(number, random.below(3) as usize + 1, SAMPLE_NOW);
            writer.put(NAMES[random.below(4) as usize], &held).unwrap();
            clock += Duration::from_millis(100);
            writer.advance(clock);
            if ends.load(Ordering::Relaxed) {
                break;
            }
        }
        ends.store(true, Ordering::Relaxed);
    });
    let torn = torn.into_inner().unwrap();
    (torn, lookups.into_inner(), answers.into_inner())
}

/// The answer of one put at `now`, with so many addresses of each family.
pub(crate) fn numbered(number: u32, count: usize, now: Now) -> Held {
    let answer = |family| {
        let [a, b, c, d] = number.to_be_bytes();
        let address = |last| match family {
            Family::V4 => Address::v4([b, c, d, last]),
            Family::V6 => Address::v6([a, b, c, d, a, b, c, d, a, b, c, d, 0, 0, 0, last]),
        };
        HeldAnswer {
            expires: Some(Now(now.0 + 60)),
            verdict: HeldVerdict::Data {
                addresses: (0..count as u8).map(address).collect(),
                canonical: Some(format!("{number:024x}.example")),
            },
        }
    };
    Held {
        v4: Some(answer(Family::V4)),
        v6: Some(answer(Family::V6)),
    }
}

/// Whether an answer is one of those that were put, or none.
pub(crate) fn is_whole(told: &Told, now: Now) -> bool {
    if told.addresses.is_empty() {
        return !told.denies();
    }
    let number = number_of(told);
    let Some(number) = number else { return false };
    let held = expected(
        Some(&numbered(number, told.addresses.len() / 2, now)),
        Families::BOTH,
        now,
    );
    held == *told
}

/// The number of the put that an answer is of, by its canonical name.
pub(crate) fn number_of(told: &Told) -> Option<u32> {
    let text = core::str::from_utf8(&told.canonical).ok()?;
    u32::from_str_radix(text.strip_suffix(".example")?, 16).ok()
}

//! A zone file is not trusted: whatever it holds, a reader ends soon, stays inside it and inside
//! the room that it was given, and a writer that finds it goes on or starts anew.

#![allow(dead_code, reason = "each fuzz target uses one of these")]

use nss_k8s_zone::{
    Address, Dump, Families, Found, Held, HeldAnswer, HeldOpened, HeldOptions, HeldVerdict,
    HeldWriter, MAX_ADDRESSES, Name, Now, Opened, Options, Reader, Srv, Writer,
    proofs::{
        HELD_NAMES, Image, SAMPLE_ADDRESSES, SAMPLE_NAMES, SAMPLE_NOW, held_sample, sample,
        words_read,
    },
};
use std::{
    fs,
    path::PathBuf,
    sync::OnceLock,
    time::{Duration, Instant},
};

/// Words of the file that identify it; a checksum covers them, so that random ones only ever reach
/// the check.
const IDENTITY: [std::ops::Range<usize>; 2] = [0..8, 32..64];
/// Where records begin.
const HEAP: usize = 512;
/// The words that every lookup reads: epoch, root, committed words, state.
const HOT: std::ops::Range<usize> = 8..16;
/// No question reads more words.
const MOST: u64 = 64 * 1024;

/// Any bytes as the contents of a file that is otherwise as the writer leaves it. The first byte
/// tells whether the words that are checked first are left alone, too.
pub(crate) fn zone_bytes(bytes: &[u8]) {
    let Some((choice, rest)) = bytes.split_first() else {
        return question_all(&Image::of(&[]));
    };
    if choice & 1 != 0 {
        return question_all(&Image::of(rest));
    }
    let mut file = valid().to_vec();
    let (head, heap) = rest.split_at(rest.len().min((HEAP - 16) * 8));
    let mut words = head.chunks(8);
    for word in 8..HEAP {
        let keep = IDENTITY.iter().any(|range| range.contains(&word))
            || choice & 2 != 0 && HOT.contains(&word);
        if !keep && let Some(bytes) = words.next() {
            file[word * 8..][..bytes.len()].copy_from_slice(bytes);
        }
    }
    let end = file.len().min(HEAP * 8 + heap.len());
    file[HEAP * 8..end].copy_from_slice(&heap[..end - HEAP * 8]);
    if choice & 4 != 0 {
        file.truncate(end);
    }
    question_all(&Image::of(&file));
}

/// A valid file of which some words were changed: `bytes` is a list of changes.
pub(crate) fn zone_changes(bytes: &[u8]) {
    question_all(&Image::of(&changed(bytes)));
}

/// The same file found by a writer and by a dump: both come to an end, and a writer that went on
/// serves what it says it holds.
pub(crate) fn zone_adopted(bytes: &[u8]) {
    let directory = Scratch::new();
    let options = Options {
        initial_bytes: 64 << 10,
        maximum_bytes: 1 << 20,
        ..Options::new(&directory.0, "cluster.local")
    };
    let path = options.zone_path();
    fs::create_dir_all(path.parent().expect("in a directory")).expect("the view");
    fs::write(&path, changed(bytes)).expect("the zone file");
    let _ = Dump::open(&path);
    let (mut writer, opened) = Writer::open(options).expect("a directory of our own");
    let held = writer.entries().len();
    if let Opened::Adopted {
        namespaces,
        services,
    } = opened
    {
        assert_eq!(held, namespaces + services);
    }
    writer.put_namespace("after").expect("there is room");
    let mut clock = Instant::now();
    for _ in 0..4 {
        clock += Duration::from_millis(100);
        writer.advance(clock);
    }
    writer
        .retain(|_| false)
        .expect("nothing is as small as nothing");
    assert!(writer.entries().is_empty());
    writer.enable();
    writer.beat(SAMPLE_NOW);
    writer.set_synced(SAMPLE_NOW);
    let image = Image::of(&fs::read(writer.path()).expect("the zone file"));
    question_all(&image);
    let found = Reader::new().read(&image, c"/zone.v1", SAMPLE_NOW, |zone| {
        let (mut room, mut canonical) = ([Address::UNSPECIFIED; 4], Name::EMPTY);
        zone.addresses(
            b"after.svc.cluster.local",
            Families::BOTH,
            &mut room,
            &mut canonical,
        )
    });
    assert_ne!(found, Ok(Found::NoData), "deleted, and still there");
}

/// The same of a file of held answers, to a reader and to a writer.
pub(crate) fn held_changes(bytes: &[u8]) {
    static VALID: OnceLock<Vec<u8>> = OnceLock::new();
    static USED: OnceLock<Vec<usize>> = OnceLock::new();
    let valid = VALID.get_or_init(held_sample);
    let file = change(valid, USED.get_or_init(|| used(valid)), bytes);
    question_held(&Image::of(&file));
    let directory = Scratch::new();
    let mut options = HeldOptions::new(&directory.0, "default");
    options.initial_bytes = 64 << 10;
    options.maximum_bytes = 1 << 20;
    let path = options.path();
    fs::create_dir_all(path.parent().expect("in a directory")).expect("the view");
    fs::write(&path, file).expect("the file");
    let (mut writer, opened) =
        HeldWriter::open(&options, SAMPLE_NOW).expect("a directory of our own");
    if let HeldOpened::Adopted { names } = opened {
        assert_eq!(writer.names().len(), names);
        for name in writer.names() {
            assert!(writer.held(&name).is_some(), "{name} is and is not there");
        }
    }
    let answer = HeldAnswer {
        expires: Some(Now(SAMPLE_NOW.0 + 60)),
        verdict: HeldVerdict::NxDomain,
    };
    let held = Held {
        v4: Some(answer.clone()),
        v6: Some(answer),
    };
    writer.put("after.example", &held).expect("there is room");
    let mut clock = Instant::now();
    for _ in 0..4 {
        clock += Duration::from_millis(100);
        writer.advance(clock);
    }
    let image = Image::of(&fs::read(writer.path()).expect("the file"));
    let told = ask_held(&image, &Reader::of_held(), "after.example", &mut []);
    assert_eq!(told.0, Some(Found::NxDomain));
    writer.retain(|_, _| false);
    assert_eq!(writer.statistics().names, 0);
    let image = Image::of(&fs::read(writer.path()).expect("the file"));
    question_held(&image);
    let told = ask_held(&image, &Reader::of_held(), "after.example", &mut []);
    assert_ne!(told.0, Some(Found::NxDomain), "removed, and still there");
}

/// Asks for every name of the sample, twice, in rooms of several sizes.
fn question_held(image: &Image) {
    let reader = Reader::of_held();
    let mut room = vec![Address::UNSPECIFIED; 600];
    for name in HELD_NAMES {
        for size in [0, 3, 600] {
            let once = ask_held(image, &reader, name, &mut room[..size]);
            assert_eq!(once, ask_held(image, &reader, name, &mut room[..size]));
        }
    }
}

/// One lookup, as [`addresses`].
fn ask_held(
    image: &Image,
    reader: &Reader,
    name: &str,
    room: &mut [Address],
) -> (Option<Found>, Vec<Address>, Vec<u8>) {
    let mut canonical = Name::EMPTY;
    let found = bounded(|| {
        reader.read(image, c"/external.v1", SAMPLE_NOW, |held| {
            let name = name.as_bytes();
            held.held(name, Families::BOTH, SAMPLE_NOW, room, &mut canonical)
        })
    });
    let count = check(found.ok(), room.len(), 510);
    (
        found.ok(),
        room[..count].to_vec(),
        canonical.as_bytes().to_vec(),
    )
}

/// A valid zone, changed.
fn changed(bytes: &[u8]) -> Vec<u8> {
    change(valid(), used_words(), bytes)
}

/// A valid file with each group of 11 bytes applied: word : 16, what : 8, value : 64.
fn change(valid: &[u8], used: &[usize], bytes: &[u8]) -> Vec<u8> {
    let mut file = valid.to_vec();
    for change in bytes.chunks_exact(11) {
        let place = usize::from(u16::from_le_bytes([change[0], change[1]]));
        let value = u64::from_le_bytes(change[3..11].try_into().expect("eight bytes"));
        // Half of the changes go where lookups look first.
        let word = match change[2] & 3 {
            0 => HOT.start + place % HOT.len(),
            1 => used[place % used.len()],
            _ => place % (file.len() / 8),
        };
        let old = u64::from_le_bytes(file[word * 8..][..8].try_into().expect("eight bytes"));
        let new = match change[2] >> 2 & 7 {
            0 => value,
            1 => old ^ value,
            2 => old.wrapping_add(value & 0xff),
            3 => old.wrapping_sub(value & 0xff),
            4 => old ^ (1 << (value & 63)),
            5 => old | 0xff_u64 << (value & 56),
            6 => old & !(0xffff_u64 << (value & 48)),
            // Another word of the file: offsets and slots that are plausible, but wrong.
            _ => {
                let other = value as usize % (file.len() / 8);
                u64::from_le_bytes(file[other * 8..][..8].try_into().expect("eight bytes"))
            }
        };
        file[word * 8..][..8].copy_from_slice(&new.to_le_bytes());
    }
    file
}

/// Asks everything that can be asked, as a process that just started.
fn question_all(image: &Image) {
    let reader = Reader::new();
    let mut room = vec![Address::UNSPECIFIED; MAX_ADDRESSES];
    for name in SAMPLE_NAMES {
        for size in [0, 3, MAX_ADDRESSES] {
            let once = addresses(image, &reader, name, &mut room[..size]);
            assert_eq!(once, addresses(image, &reader, name, &mut room[..size]));
        }
        for size in [0, 2, 64] {
            let mut room = vec![Srv::EMPTY; size];
            let found = bounded(|| {
                reader.read(image, c"/zone.v1", SAMPLE_NOW, |zone| {
                    zone.services(name, &mut room)
                })
            });
            check(found.ok(), size, usize::MAX);
        }
    }
    for address in &SAMPLE_ADDRESSES {
        for size in [0, 2, 64] {
            let mut room = vec![Name::EMPTY; size];
            let found = bounded(|| {
                reader.read(image, c"/zone.v1", SAMPLE_NOW, |zone| {
                    zone.names(address, &mut room)
                })
            });
            check(found.ok(), size, usize::MAX);
        }
        let _ = bounded(|| {
            reader.read(image, c"/zone.v1", SAMPLE_NOW, |zone| {
                (
                    zone.trusts_nameserver(address),
                    zone.refuses_build(7),
                    zone.ttl(),
                )
            })
        });
    }
    // All names of a walk are asked in one attempt.
    let _ = bounded(|| {
        reader.read(image, c"/zone.v1", SAMPLE_NOW, |zone| {
            for name in SAMPLE_NAMES.iter().cycle().take(68) {
                let mut room = [Address::UNSPECIFIED; 4];
                let mut canonical = Name::EMPTY;
                zone.addresses(name, Families::BOTH, &mut room, &mut canonical);
            }
        })
    });
    // Hours later nobody has been writing.
    let late = Now(SAMPLE_NOW.0 + 100_000);
    let found = reader.read(image, c"/zone.v1", late, |zone| {
        zone.addresses(
            SAMPLE_NAMES[12],
            Families::BOTH,
            &mut room,
            &mut Name::EMPTY.clone(),
        )
    });
    check(found.ok(), MAX_ADDRESSES, MAX_ADDRESSES);
}

/// One lookup; what it found and what it filled in, to compare two of them.
fn addresses(
    image: &Image,
    reader: &Reader,
    name: &[u8],
    room: &mut [Address],
) -> (Option<Found>, Vec<Address>, Vec<u8>) {
    let mut canonical = Name::EMPTY;
    let found = bounded(|| {
        reader.read(image, c"/zone.v1", SAMPLE_NOW, |zone| {
            zone.addresses(name, Families::BOTH, room, &mut canonical)
        })
    });
    let count = check(found.ok(), room.len(), MAX_ADDRESSES);
    (
        found.ok(),
        room[..count].to_vec(),
        canonical.as_bytes().to_vec(),
    )
}

/// What every finding must satisfy; returns how much of the room counts.
fn check(found: Option<Found>, room: usize, most: usize) -> usize {
    match found {
        Some(Found::Answer { count }) => {
            assert!(
                count > 0 && count <= room,
                "{count} entries in a room of {room}"
            );
            count
        }
        Some(Found::Room(count)) => {
            assert!(
                count > room && count <= most,
                "asks for {count}, given {room}"
            );
            0
        }
        _ => 0,
    }
}

/// Ends soon: what it reads is counted.
fn bounded<T>(question: impl FnOnce() -> T) -> T {
    let before = words_read();
    let answer = question();
    let words = words_read() - before;
    assert!(words <= MOST, "read {words} words");
    answer
}

/// What the writer leaves, made once.
fn valid() -> &'static [u8] {
    static VALID: OnceLock<Vec<u8>> = OnceLock::new();
    VALID.get_or_init(sample)
}

/// The words of it that are not zero.
fn used_words() -> &'static [usize] {
    static USED: OnceLock<Vec<usize>> = OnceLock::new();
    USED.get_or_init(|| used(valid()))
}

/// The words of a file that are not zero.
fn used(file: &[u8]) -> Vec<usize> {
    let words = file.chunks_exact(8).enumerate();
    words
        .filter(|(_, word)| *word != [0; 8])
        .map(|(at, _)| at)
        .collect()
}

/// A directory on a tmpfs, gone when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("nss-k8s-fuzz-{}-{number}", std::process::id());
        Self(PathBuf::from("/dev/shm").join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

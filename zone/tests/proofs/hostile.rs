//! Files that no writer leaves: the process goes on as without us, and never reads where there is
//! nothing. Reads past the end of an image end the test with SIGSEGV.

use super::asking::{Question, Told, ask_at};
use nss_k8s_zone::{
    Found, Now, Reader, Unavailable,
    proofs::{Disguise, Image, SAMPLE_ADDRESSES, SAMPLE_NAMES, SAMPLE_NOW, sample, sample_image},
};
use std::sync::atomic::Ordering;

/// Words that identify the file, under a checksum.
const IDENTITY: [usize; 9] = [0, 1, 2, 3, 4, 5, 6, 7, 32];
/// The epoch's word; the next are root, committed words, state, configuration.
const EPOCH: usize = 8;
const ROOT: usize = 9;
const COMMITTED: usize = 10;
const STATE: usize = 11;
const CONFIG: usize = 12;
/// When the writer was alive last.
const ALIVE: usize = 13;
const SUPERSEDED: u64 = 4;
/// A name that the sample answers.
const KNOWN: &str = "api.shop.svc.cluster.local";

#[test]
fn every_word_at_its_extremes() {
    let file = sample();
    let image = Image::of(&file);
    let used: Vec<usize> = (0..file.len() / 8)
        .filter(|word| image.load(*word) != 0)
        .collect();
    assert!(used.len() > 300, "{}", used.len());
    for word in used {
        let old = image.load(word);
        for new in extremes(old) {
            image.store(word, new);
            let reader = Reader::new();
            for question in questions() {
                let told = ask_at(&image, &reader, &question, SAMPLE_NOW);
                if new != old && IDENTITY.contains(&word) {
                    let why = Told::Unavailable(Unavailable::Corrupt);
                    let version = Told::Unavailable(Unavailable::Version);
                    assert!(
                        told == why || told == version,
                        "word {word}: {new:#x}: {told:?}"
                    );
                }
                let exists = question == Question::Addresses(KNOWN.to_owned());
                if exists && (EPOCH..=CONFIG).contains(&word) {
                    assert!(!told.denies(), "word {word}: {new:#x}: {told:?}");
                }
            }
        }
        image.store(word, old);
    }
    assert!(
        answers(&image, &Reader::new(), SAMPLE_NOW),
        "the image was not put back"
    );
}

#[test]
fn every_root_that_leads_nowhere_is_noticed() {
    let image = sample_image();
    let root = image.load(ROOT);
    let lines = image.size() as u64 / 64;
    for line in (0..lines).chain([lines + 1, (1 << 28) - 1]) {
        image.store(ROOT, root & !0x0fff_ffff | line);
        let told = known(&image, &Reader::new(), SAMPLE_NOW);
        if line == root & 0x0fff_ffff {
            assert!(!told.passes() && !told.denies(), "{told:?}");
        } else {
            assert!(!told.denies(), "root at line {line}: {told:?}");
        }
    }
}

#[test]
fn a_file_of_any_length() {
    let file = sample();
    for length in (0..700)
        .chain((700..file.len()).step_by(509))
        .chain([4096, 4104, 8192])
    {
        let image = Image::of(&file[..length]);
        let reader = Reader::new();
        for question in questions() {
            let told = ask_at(&image, &reader, &question, SAMPLE_NOW);
            assert!(told.passes(), "{length} bytes: {question:?}: {told:?}");
        }
    }
}

#[test]
fn more_committed_than_there_is() {
    for committed in [0, 1, 511, 513, 8192, 8193, 1 << 27, 1 << 40, u64::MAX] {
        let image = sample_image();
        image.store(COMMITTED, committed);
        let reader = Reader::new();
        for question in questions() {
            ask_at(&image, &reader, &question, SAMPLE_NOW);
        }
        assert!(!known(&image, &reader, SAMPLE_NOW).denies(), "{committed}");
    }
}

#[test]
fn who_owns_the_file_and_where_it_is() {
    let plain = Disguise::NONE;
    let untrusted = [
        Disguise { uid: 1, ..plain },
        Disguise {
            uid: 65534,
            ..plain
        },
        Disguise {
            uid: 1000,
            secure: true,
            ..plain
        },
        Disguise {
            mode: libc::S_IFREG | 0o464,
            ..plain
        },
        Disguise {
            mode: libc::S_IFREG | 0o446,
            ..plain
        },
        Disguise {
            mode: libc::S_IFIFO | 0o444,
            ..plain
        },
        Disguise {
            mode: libc::S_IFDIR | 0o555,
            ..plain
        },
        Disguise {
            mode: libc::S_IFCHR | 0o444,
            ..plain
        },
        Disguise {
            magic: 0xef53,
            ..plain
        },
    ];
    for disguise in untrusted {
        let mut image = sample_image();
        image.disguise = disguise;
        let told = known(&image, &Reader::new(), SAMPLE_NOW);
        assert_eq!(
            told,
            Told::Unavailable(Unavailable::Untrusted),
            "{disguise:?}"
        );
    }
    for error in [
        libc::ENOENT,
        libc::EACCES,
        libc::ELOOP,
        libc::EMFILE,
        libc::ENXIO,
    ] {
        let mut image = sample_image();
        image.disguise.open = Some(error);
        let told = known(&image, &Reader::new(), SAMPLE_NOW);
        assert_eq!(
            told,
            Told::Unavailable(Unavailable::Absent),
            "error {error}"
        );
    }
    let trusted = [
        plain,
        Disguise { uid: 1000, ..plain },
        Disguise {
            uid: 65534,
            read_only: true,
            ..plain
        },
        Disguise {
            secure: true,
            ..plain
        },
        Disguise {
            limited: true,
            ..plain
        },
    ];
    for disguise in trusted {
        let mut image = sample_image();
        image.disguise = disguise;
        assert!(answers(&image, &Reader::new(), SAMPLE_NOW), "{disguise:?}");
    }
}

#[test]
fn an_absent_file_is_asked_for_once_a_second() {
    let mut image = sample_image();
    image.disguise.open = Some(libc::ENOENT);
    let reader = Reader::new();
    for _ in 0..100 {
        assert!(known(&image, &reader, SAMPLE_NOW).passes());
    }
    assert_eq!(image.opens.load(Ordering::Relaxed), 1);
    image.disguise.open = None;
    assert!(known(&image, &reader, SAMPLE_NOW).passes());
    assert!(answers(&image, &reader, Now(SAMPLE_NOW.0 + 1)));
    assert_eq!(image.opens.load(Ordering::Relaxed), 2);
}

#[test]
fn a_superseded_file_is_left_for_the_next() {
    let image = sample_image();
    let reader = Reader::new();
    assert!(answers(&image, &reader, SAMPLE_NOW));
    let state = image.load(STATE);
    // Superseded, but the same inode is still there: pass, and do not ask all the time.
    image.store(STATE, SUPERSEDED);
    for _ in 0..100 {
        assert!(known(&image, &reader, SAMPLE_NOW).passes());
    }
    assert_eq!(image.opens.load(Ordering::Relaxed), 2);
    assert_eq!(image.overlays.load(Ordering::Relaxed), 0);
    // The next inode, which is live; the old mapping is overlaid once.
    image.inode.store(2, Ordering::Relaxed);
    image.store(STATE, state);
    let other = sample_image();
    other.inode.store(2, Ordering::Relaxed);
    image.store(STATE, SUPERSEDED);
    let later = Now(SAMPLE_NOW.0 + 1);
    assert!(answers(&other, &reader, later));
    assert_eq!(other.opens.load(Ordering::Relaxed), 1);
    assert_eq!(other.overlays.load(Ordering::Relaxed), 1);
    assert!(answers(&other, &reader, later));
    assert_eq!(other.opens.load(Ordering::Relaxed), 1);
}

/// A writer that is killed right after its rename leaves the old file in whatever state it was.
#[test]
fn a_file_that_cannot_be_asked_is_left_for_the_next() {
    const SYNCING: u64 = 2;
    const DISABLED: u64 = 5;
    for (word, value, why) in [
        (STATE, 1, Unavailable::Syncing),
        (STATE, SYNCING, Unavailable::Syncing),
        (STATE, DISABLED, Unavailable::Disabled),
        (STATE, 77, Unavailable::Syncing),
        (EPOCH, 1, Unavailable::Corrupt),
        (ROOT, u64::MAX, Unavailable::Corrupt),
        (CONFIG, u64::MAX, Unavailable::Corrupt),
        (ALIVE, 1, Unavailable::Dead),
    ] {
        let image = sample_image();
        let reader = Reader::new();
        assert!(answers(&image, &reader, SAMPLE_NOW));
        image.store(word, value);
        for _ in 0..100 {
            let told = known(&image, &reader, SAMPLE_NOW);
            assert_eq!(told, Told::Unavailable(why), "word {word}: {value}");
        }
        assert_eq!(image.opens.load(Ordering::Relaxed), 2, "word {word}");
        assert_eq!(image.overlays.load(Ordering::Relaxed), 0);
        let next = sample_image();
        next.inode.store(2, Ordering::Relaxed);
        assert!(answers(&next, &reader, Now(SAMPLE_NOW.0 + 1)), "{why:?}");
        assert_eq!(next.overlays.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn growth_is_followed_inside_the_window() {
    for limited in [false, true] {
        let mut image = Image::new(64 << 20);
        image.disguise.limited = limited;
        let file = sample();
        image.fill(&file);
        let reader = Reader::new();
        assert!(answers(&image, &reader, SAMPLE_NOW));
        // The file grows, and the index moves into the new part.
        image.resize(file.len() * 2);
        let words = file.len() / 8;
        for word in 512..words {
            image.store(words + word, image.load(word));
        }
        image.store(COMMITTED, words as u64 * 2);
        image.store(ROOT, image.load(ROOT) + words as u64 / 8);
        let told = known(&image, &reader, SAMPLE_NOW);
        // Where address space is limited nothing is mapped beyond the file's size: DNS is asked.
        assert!(
            if limited {
                told.passes()
            } else {
                answers(&image, &reader, SAMPLE_NOW)
            },
            "{told:?}"
        );
        assert!(
            answers(&image, &Reader::new(), SAMPLE_NOW),
            "limited: {limited}"
        );
    }
}

/// More is said to be committed than there is: not even kernels that cannot populate look for it all
/// the time, and another file is found.
#[test]
fn what_does_not_grow_is_looked_for_once_a_second() {
    for populate in [None, Some(libc::EINVAL)] {
        let mut image = sample_image();
        image.disguise.populate = populate;
        let reader = Reader::new();
        assert!(answers(&image, &reader, SAMPLE_NOW));
        image.store(COMMITTED, 1 << 16);
        image.store(ROOT, u64::MAX);
        for second in 0..3 {
            let before = image.opens.load(Ordering::Relaxed);
            for _ in 0..100 {
                let told = known(&image, &reader, Now(SAMPLE_NOW.0 + second));
                assert_eq!(told, Told::Unavailable(Unavailable::Busy));
            }
            // One that asks for its size, and one that looks for another file.
            let opens = image.opens.load(Ordering::Relaxed) - before;
            assert!(opens <= 2, "{populate:?}: {opens}");
        }
        let next = sample_image();
        next.inode.store(2, Ordering::Relaxed);
        assert!(answers(&next, &reader, Now(SAMPLE_NOW.0 + 3)));
    }
}

/// Every question to the sample.
fn questions() -> Vec<Question> {
    let names = SAMPLE_NAMES
        .iter()
        .map(|name| String::from_utf8_lossy(name).into_owned());
    let mut questions: Vec<Question> = names.map(Question::Addresses).collect();
    questions.extend(SAMPLE_ADDRESSES.map(Question::Names));
    questions
}

/// Values that break sums, shifts, signs and counts.
fn extremes(old: u64) -> Vec<u64> {
    let mut values = vec![
        0,
        1,
        u64::MAX,
        1 << 63,
        u64::from(u32::MAX),
        u64::from(u32::MAX) << 32,
        0x7fff_ffff_7fff_ffff,
        old.wrapping_add(1),
        old.wrapping_sub(1),
        !old,
        old.rotate_left(32),
    ];
    for byte in 0..8 {
        values.push(old | 0xff << (byte * 8));
        values.push(old & !(0xff << (byte * 8)));
        values.push(old ^ (0x80 << (byte * 8)));
    }
    values
}

/// What the reader says of the name that is there.
fn known(image: &Image, reader: &Reader, now: Now) -> Told {
    ask_at(image, reader, &Question::Addresses(KNOWN.to_owned()), now)
}

/// Whether the name that is there is answered.
fn answers(image: &Image, reader: &Reader, now: Now) -> bool {
    matches!(
        known(image, reader, now),
        Told::Found(Found::Answer { count: 2 }, ..)
    )
}

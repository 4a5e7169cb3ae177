//! Bytes that no writer of held answers leaves.

use super::asking::ask;
use nss_k8s_zone::{
    Families, Reader,
    proofs::{HELD_NAMES, Image, SAMPLE_NOW, held_sample},
};

/// Words that identify the file, under a checksum.
const IDENTITY: [usize; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
/// Epoch, root, committed words, state, configuration.
const HOT: core::ops::RangeInclusive<usize> = 8..=12;

#[test]
fn every_word_at_its_extremes() {
    let image = Image::of(&held_sample());
    let used: Vec<usize> = (0..image.size() / 8)
        .filter(|word| image.load(*word) != 0)
        .collect();
    assert!(used.len() > 60, "{}", used.len());
    for word in used {
        let old = image.load(word);
        let bytes = (0..8).flat_map(|byte| {
            let mask = 0xff << (byte * 8);
            [old | mask, old & !mask, old ^ (0x80 << (byte * 8))]
        });
        let extremes = [
            0,
            1,
            u64::MAX,
            1 << 63,
            !old,
            old.wrapping_add(1),
            old.rotate_left(32),
        ];
        for new in extremes.into_iter().chain(bytes) {
            image.store(word, new);
            let reader = Reader::of_held();
            for name in HELD_NAMES {
                let told = ask(&image, &reader, name, Families::BOTH, SAMPLE_NOW);
                let context = format!("word {word}: {new:#x}: {name}: {told:?}");
                if new != old && IDENTITY.contains(&word) {
                    assert!(told.is_unavailable(), "{context}");
                }
                if name == HELD_NAMES[0] && HOT.contains(&word) {
                    assert!(!told.denies(), "{context}");
                }
            }
        }
        image.store(word, old);
    }
    let told = ask(
        &image,
        &Reader::of_held(),
        HELD_NAMES[0],
        Families::BOTH,
        SAMPLE_NOW,
    );
    assert_eq!(
        told.addresses.len(),
        8,
        "the image was not put back: {told:?}"
    );
}

#[test]
fn a_file_of_any_length() {
    let file = held_sample();
    for length in (0..700).chain((700..file.len()).step_by(509)) {
        let image = Image::of(&file[..length]);
        for name in HELD_NAMES {
            let told = ask(&image, &Reader::of_held(), name, Families::BOTH, SAMPLE_NOW);
            assert!(told.passes(), "{length} bytes: {name}: {told:?}");
        }
    }
}

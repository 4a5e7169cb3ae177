//! The writer may die after any of its stores: each prefix of them answers as before the call or as
//! after it, and another writer goes on from it.

use super::{
    super::random::{Random, seeds},
    asking::{NAMES, ask, expected},
    run::{Run, options},
};
use nss_k8s_zone::{Families, Reader, proofs::Image};
use std::fs;

#[test]
fn every_prefix_of_the_stores_is_old_or_new() {
    let (mut prefixes, mut grown, mut evicted) = (0, 0, 0);
    for seed in seeds(0..4) {
        let crowded = seed % 4 == 0;
        let mut run = Run::start(if crowded { 2_000 } else { 20 });
        let mut random = Random(seed);
        for number in 0..300 {
            let crowd = (crowded && number == 150).then_some(1_500);
            let context = format!("seed {seed}, call {number}");
            // The bulk of a crowd is not reachable: every thousandth store of it is looked at.
            prefixes += run.step(
                &context,
                if crowd.is_some() { 997 } else { 1 },
                |run| match crowd {
                    Some(count) => (0..count).for_each(|number| run.put_other(number)),
                    None => run.call(&mut random),
                },
            );
        }
        let file = fs::read(run.writer.path()).unwrap();
        assert!(run.prefix.bytes() == file, "a store was not recorded");
        grown += usize::from(file.len() > 64 << 10);
        evicted += run.writer.statistics().evicted;
    }
    eprintln!("replayed {prefixes} prefixes; {grown} files grew; {evicted} names evicted");
    assert!(prefixes > 5_000 && grown > 0 && evicted > 0);
}

#[test]
fn every_prefix_of_the_stores_is_adopted() {
    let mut prefixes = 0;
    for seed in seeds(99..100) {
        let scratch = tempfile::tempdir_in("/dev/shm").unwrap();
        let mut run = Run::start(40);
        run.adopt = Some(options(scratch.path(), 40));
        let mut random = Random(seed);
        for number in 0..100 {
            let context = format!("seed {seed}, call {number}");
            prefixes += run.step(&context, 1, |run| run.call(&mut random));
        }
    }
    assert!(prefixes > 500, "{prefixes}");
}

/// The writer against a map: after every call each name is told as the map has it.
#[test]
fn random_calls_agree_with_a_map() {
    for seed in seeds(10..16) {
        let mut run = Run::start(1 << 20);
        let mut random = Random(seed);
        for number in 0..500 {
            run.call(&mut random);
            let image = Image::of(&fs::read(run.writer.path()).unwrap());
            for name in NAMES {
                for families in [Families::BOTH, Families::V4, Families::V6] {
                    let told = ask(&image, &Reader::of_held(), name, families, run.now);
                    let expected = expected(run.model.get(name), families, run.now);
                    assert_eq!(told, expected, "seed {seed}, call {number}: {name}");
                }
            }
        }
        assert_eq!(run.writer.statistics().evicted, 0);
    }
}

//! How the fuzz targets run under stable, in the tests of whoever owns what they fuzz.

use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngSeed, TestRunner},
};
use std::{fs, path::Path};

/// A target's seeds, in the order of their names.
pub(crate) fn seeds(target: &str) -> Vec<Vec<u8>> {
    // Every package that has such tests lies beside this one's folder.
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fuzz/seeds")
        .join(target);
    let seeds = fs::read_dir(&directory).expect("the target's seeds");
    let mut seeds: Vec<_> = seeds.map(|seed| seed.expect("a seed").path()).collect();
    assert!(!seeds.is_empty(), "no seeds in {}", directory.display());
    seeds.sort();
    seeds
        .iter()
        .map(|seed| fs::read(seed).expect("a seed"))
        .collect()
}

/// Runs a target on its seeds, then on so many inputs, the same in every run; a finding is shrunk.
pub(crate) fn run(
    target: &str,
    cases: u32,
    inputs: impl Strategy<Value = Vec<u8>>,
    body: fn(&[u8]),
) {
    for seed in seeds(target) {
        body(&seed);
    }
    let config = Config {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(1),
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&inputs, |bytes| {
            body(&bytes);
            Ok(())
        })
        .unwrap_or_else(|finding| panic!("{target}: {finding}"));
}

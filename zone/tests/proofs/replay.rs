//! The writer may die after any of its stores. Each prefix of them is replayed into a copy of the
//! file: every name answers as before the call or as after it, nothing that a reader may still be
//! reading is overwritten, and another writer goes on from it.

#[path = "replay/reachable.rs"]
pub(crate) mod reachable;
#[path = "replay/run.rs"]
pub(crate) mod run;
#[path = "replay/views.rs"]
mod views;

use super::{
    asking::{NOW, Question, Told, ask},
    calls::{follow, held, random_calls},
    process::unlocked,
    random::{Random, seeds},
};
use nss_k8s_zone::{Entry, Found, Opened, Reader, ServiceBody, Writer, proofs::Image};
use run::{Run, SMALLEST, options};
use std::{fs, path::Path};

#[test]
fn every_prefix_of_the_stores_is_old_or_new() {
    let (mut calls, mut prefixes, mut grown) = (0, 0, 0);
    for seed in seeds(0..4) {
        let mut run = Run::start("default");
        for call in random_calls(&mut Random(seed), 200, seed % 2 == 0) {
            let context = format!("seed {seed}, call {calls}, {call:?}");
            prefixes += run.step(&call, &context, |_, _, _, _| {});
            calls += 1;
        }
        let file = fs::read(run.writer.path()).expect("the zone file");
        assert!(
            run.prefix.bytes() == file,
            "seed {seed}: a store was not recorded"
        );
        grown += usize::from(file.len() > SMALLEST);
    }
    eprintln!("replayed {prefixes} prefixes of {calls} calls; {grown} files grew");
    // Files grow, and most calls take several stores: the sequences are worth something.
    assert!(grown > 0);
    assert!(prefixes > 5 * calls);
}

#[test]
fn every_prefix_of_the_stores_is_adopted() {
    let mut adopted = 0;
    for seed in seeds(100..102) {
        let grows = seed % 2 == 0;
        let mut run = Run::start("default");
        let scratch = tempfile::tempdir_in("/dev/shm").expect("a directory on a tmpfs");
        for call in random_calls(&mut Random(seed), 100, grows) {
            let context = format!("seed {seed}, {call:?}");
            // Bulk is not reachable: of the sequence that has it, the stores around those to the
            // first page are taken, and some others.
            let mut since = 0;
            run.step(&call, &context, |prefix, hot, writer, answers| {
                since += 1;
                if grows && !hot && since < 37 {
                    return;
                }
                since = 0;
                adopt(
                    (scratch.path(), "default"),
                    prefix,
                    writer,
                    answers,
                    &context,
                );
                adopted += 1;
            });
        }
    }
    eprintln!("adopted {adopted} prefixes");
    assert!(adopted > 1_000);
}

/// Another writer takes `prefix` over and follows `writer`, as after a restart.
pub(crate) fn adopt(
    (directory, view): (&Path, &str),
    prefix: &Image,
    writer: &Writer,
    answers: &[(Question, Told)],
    context: &str,
) {
    let options = options(directory, view);
    let path = options.zone_path();
    fs::create_dir_all(path.parent().expect("in a directory")).expect("the view");
    // Never into an inode that somebody may have mapped.
    let _ = fs::remove_file(&path);
    fs::write(&path, prefix.bytes()).expect("the zone file");
    let opening = unlocked(|| Writer::open(options.clone()));
    let (mut heir, opened) = opening.unwrap_or_else(|why| panic!("{context}: {why}"));
    assert!(
        matches!(opened, Opened::Adopted { .. }),
        "{context}: {opened:?}"
    );
    reverse_is_repaired(&heir, context);
    heir.beat(NOW);
    follow(&mut heir, writer).unwrap_or_else(|why| panic!("{context}: {why}"));
    assert_eq!(held(&heir), held(writer), "{context}");
    assert_eq!(heir.config(), writer.config(), "{context}");
    let image = Image::of(&fs::read(&path).expect("the zone file"));
    let reader = Reader::new();
    for (question, expected) in answers {
        assert_eq!(
            &ask(&image, &reader, question),
            expected,
            "{context}\n{question:?}"
        );
    }
}

/// Whoever goes on has the addresses lead to their services again, before anything is put: what is there is
/// not denied, whatever hint the dead writer had not stored.
fn reverse_is_repaired(heir: &Writer, context: &str) {
    let image = Image::of(&fs::read(heir.path()).expect("the zone file"));
    let reader = Reader::new();
    for entry in heir.entries() {
        let Entry::Service { key, body, slices } = entry else {
            continue;
        };
        let own = match body {
            Some(ServiceBody::ClusterIp { addresses, .. }) => addresses,
            Some(ServiceBody::Headless { .. }) => slices
                .into_values()
                .flat_map(|slice| slice.endpoints)
                .filter(|endpoint| endpoint.ready)
                .map(|endpoint| endpoint.address)
                .collect(),
            _ => Vec::new(),
        };
        for address in own {
            let told = ask(&image, &reader, &Question::Names(address));
            let named = matches!(told, Told::Found(Found::Answer { .. }, ..));
            assert!(
                named || told.passes(),
                "{context}\n{key} has {address:?}, told {told:?}"
            );
        }
    }
}

//! A zone begins to serve, gets another writer, and is left for another inode.

use super::{
    fails, holds,
    world::{
        File, KEY, NAME, SMALL, WHOLE, World, ask, assert_whole, finish, put_service,
        sees_the_service,
    },
};
use crate::{
    Unavailable,
    reader::Retry,
    sync::{Ordering, Step, fence},
};

#[test]
fn a_reader_sees_one_version_while_a_new_writer_takes_over() {
    holds("adoption", adopt);
}

#[test]
fn adoption_goes_wrong_without_each_step() {
    for step in [
        Step::ReuseDistance,
        Step::EpochFence,
        Step::LastFence,
        Step::EpochCheck,
    ] {
        fails("adoption", step, adopt);
    }
}

#[test]
fn a_new_zone_opens_complete() {
    holds("opening", opening);
}

#[test]
fn a_new_zone_opens_torn_without_each_step() {
    for step in [Step::Opening, Step::EpochCheck] {
        fails("opening", step, opening);
    }
}

#[test]
fn no_name_is_missed_in_a_superseded_file() {
    holds("superseded", supersede);
}

#[test]
fn a_superseded_file_denies_names_without_each_step() {
    for step in [Step::Recheck, Step::LastFence] {
        fails("superseded", step, supersede);
    }
}

/// A writer dies after its commit; the next one moves the epoch by two, then reuses at once.
fn adopt() {
    let file = File::new(0, WHOLE);
    let mut world = World::unread(file, WHOLE, |zone| put_service(zone, KEY, 1));
    world.open();
    world.begin();
    let reader = world.reader(sees_the_service);
    world.put(2);
    let mut heir = world.adopted();
    heir.put(3);
    heir.put(4);
    finish([reader]);
}

/// Nothing waits to be reused before a zone serves: its first index is overwritten at once, and then it opens.
fn opening() {
    let mut world = World::unread(File::new(0, SMALL), SMALL, |zone| put_service(zone, KEY, 1));
    world.begin();
    let reader = world.reader(|file| match ask(file.words(), NAME) {
        Ok((found, room)) => assert_whole(found, &room),
        Err(Retry::Again | Retry::Pass(Unavailable::Syncing)) => {}
        Err(_) => panic!("the zone is fine"),
    });
    let zone = &mut world.zone;
    let old = zone.index.root;
    zone.index.rehash(&mut zone.heap, 0, 0, 0).unwrap();
    let records = std::vec![0; old.region_granules() as usize * 2];
    let reused = zone.heap.put(&records).unwrap();
    assert_eq!(reused, old.line * 4);
    world.open();
    finish([reader]);
}

/// Another inode takes over; another thread of the process lays zeros over the mapping.
fn supersede() {
    let mut world = World::new(|zone| put_service(zone, KEY, 1));
    world.begin();
    let reader = world.reader(sees_the_service);
    let words = world.telling();
    world.supersede();
    // The overlay happens in a thread that saw the state, and mmap is a barrier for all threads.
    fence(Ordering::SeqCst);
    world.file.overlay(&words);
    finish([reader]);
}

//! The index: chains of lines in which slots come and go, and regions that move.

use super::{
    fails, goes_wrong, holds, holds_within,
    world::{KEY, World, ask, finish, neighbors, put_service, sees, sees_the_service, service},
};
use crate::{
    Found,
    layout::{GRANULE_WORDS, LINE_GRANULES, LINE_WORDS},
    reader::Retry,
    sync::Step,
};

#[test]
fn no_name_is_missed_while_the_index_moves() {
    holds("rehash with other seeds", rehash);
}

#[test]
fn a_rehash_goes_wrong_without_each_step() {
    for step in [
        Step::Commit,
        Step::FirstFence,
        Step::RootFence,
        Step::ReuseDistance,
        Step::EpochFence,
        Step::LastFence,
        Step::EpochCheck,
    ] {
        fails("rehash with other seeds", step, rehash);
    }
}

#[test]
fn a_name_in_the_second_line_is_found_while_the_first_changes() {
    holds_within(2, "probing", probe);
}

#[test]
fn a_name_in_the_second_line_is_missed_without_each_step() {
    for step in [Step::Tombstone, Step::Commit, Step::SlotFence] {
        fails("probing", step, probe);
    }
}

#[test]
fn a_live_name_that_moves_is_missed() {
    goes_wrong("probing for a name that moves", moved_key);
}

#[test]
fn a_chain_ends_at_a_line_with_an_empty_slot() {
    holds_within(2, "the end of a chain", chain_end);
}

#[test]
fn what_was_lacking_is_denied_by_nobody() {
    holds("complete again", complete);
}

#[test]
fn a_complete_index_denies_names_without_each_step() {
    for step in [Step::Commit, Step::RegionFence] {
        fails("complete again", step, complete);
    }
    goes_wrong("complete too early", || completed(false));
}

/// Granules of a region of sixteen lines for names and as many for addresses, and what its alignment may
/// cost.
const REGION: u32 = (1 + 16 + 16) * 4 + 3;
/// Slots of a line.
const SLOTS: usize = LINE_WORDS;

/// The index moves, under another seed that puts the service into another line; as soon as the heap gives
/// its old place away, records come there, which look like empty lines.
fn rehash() {
    let mut world = World::new(|zone| put_service(zone, KEY, 1));
    world.leave(REGION);
    let (old, line) = (world.zone.index.root, line_of(&world));
    let records = std::vec![0; old.region_granules() as usize * GRANULE_WORDS];
    world.begin();
    let reader = world.reader(sees_the_service);
    let zone = &mut world.zone;
    zone.index.rehash(&mut zone.heap, 0, 0, 0).unwrap();
    assert_ne!(line_of(&world), line);
    for _ in 0..2 {
        world.advance();
        if let Some(start) = world.zone.heap.put_within(&records) {
            assert_eq!(start, old.line * LINE_GRANULES);
        }
    }
    finish([reader]);
}

/// The line where the service's chain starts.
fn line_of(world: &World) -> u32 {
    world.zone.index.seed.of_key(KEY.as_bytes()).line(16)
}

/// The first line of the service's chain is full, so that the service is in the second. Others leave the
/// first line, and another comes into it.
fn probe() {
    let (mut world, others) = crowded();
    world.begin();
    let reader = world.reader(sees_the_service);
    let newcomer = name_of(&others[SLOTS]);
    let other = world.reader(move |file| match ask(file.words(), newcomer.as_bytes()) {
        Ok((Found::NxDomain, _)) | Err(Retry::Again) => {}
        Ok((found, room)) => super::world::assert_whole(found, &room),
        Err(_) => panic!("the zone is fine"),
    });
    world.zone.delete_service(&service(&others[3])).unwrap();
    put_service(&mut world.zone, &others[SLOTS], 2);
    world.zone.delete_service(&service(&others[5])).unwrap();
    finish([reader, other]);
}

/// A writer that moves a live name to a better place, as no writer of ours does: it is in both places before it
/// leaves the old one, and a reader that has passed the new one already misses it.
fn moved_key() {
    let (mut world, others) = crowded();
    world.zone.delete_service(&service(&others[3])).unwrap();
    world.begin();
    let reader = world.reader(sees_the_service);
    let zone = &mut world.zone;
    let memory = &zone.heap.memory;
    let (old, granule) = zone.index.find(memory.words(), KEY).unwrap();
    let better = zone.index.vacancy(memory, KEY).unwrap();
    zone.index.set(memory, better, KEY, granule);
    zone.index.clear(memory, old);
    finish([reader]);
}

/// A name that is not there, at the end of a full line and one that is not: it is denied at any time, and
/// nothing else is said of it.
fn chain_end() {
    let (mut world, others) = crowded();
    let absent = name_of(&others[SLOTS]);
    world.begin();
    let reader = world.reader(move |file| match ask(file.words(), absent.as_bytes()) {
        Ok((found, _)) => assert_eq!(found, Found::NxDomain),
        Err(Retry::Again) => {}
        Err(_) => panic!("the zone is fine"),
    });
    let second = world.reader(|file| sees(file.words(), b"s.n.svc.c"));
    // In the first line, then in the second: a tombstone, and an empty slot.
    world.zone.delete_service(&service(&others[2])).unwrap();
    put_service(&mut world.zone, &others[SLOTS + 1], 3);
    put_service(&mut world.zone, &others[SLOTS + 2], 4);
    world
        .zone
        .delete_service(&service(&others[SLOTS + 2]))
        .unwrap();
    finish([reader, second]);
}

/// A world in which the service's first line is full of others, and further names with the same chain.
fn crowded() -> (World, Vec<String>) {
    let mut others = Vec::new();
    let world = World::new(|zone| {
        others = neighbors(zone.index.seed, KEY).take(SLOTS + 4).collect();
        for other in &others[..SLOTS] {
            put_service(zone, other, 9);
        }
        put_service(zone, KEY, 1);
        let (slot, _) = zone.index.find(zone.words(), KEY).unwrap();
        let first = zone.index.seed.of_key(KEY.as_bytes()).line(16);
        assert_eq!(slot / SLOTS as u32, (first + 1) % 16);
    });
    (world, others)
}

fn name_of(key: &str) -> String {
    std::format!("{key}.svc.c")
}

/// The writer says that something is lacking, puts it, and takes that back.
fn complete() {
    completed(true);
}

/// The same, or the other way around.
fn completed(in_order: bool) {
    let mut world = World::new(|zone| zone.set_incomplete(true));
    world.begin();
    let reader = world.reader(|file| match ask(file.words(), super::world::NAME) {
        Ok((Found::Ask(crate::Ask::Incomplete), _)) | Err(Retry::Again) => {}
        Ok((found, room)) => super::world::assert_whole(found, &room),
        Err(_) => panic!("the zone is fine"),
    });
    if !in_order {
        world.zone.set_incomplete(false);
    }
    put_service(&mut world.zone, KEY, 1);
    world.zone.set_incomplete(false);
    finish([reader]);
}

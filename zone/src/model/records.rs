//! Records are replaced, and their space is reused.

use super::{
    fails, holds, holds_within,
    world::{ADDRESSES, SERVICE, World, addresses, finish, sees_the_service, service},
};
use crate::{Endpoint, Family, ServiceBody, Slice, SliceId, sync::Step, writer::zone::Zone};

#[test]
fn a_reader_sees_one_version_while_space_is_reused() {
    holds("publish and reuse", publish_and_reuse);
}

#[test]
fn reuse_goes_wrong_without_each_step() {
    for step in STEPS {
        fails("publish and reuse", step, publish_and_reuse);
    }
}

#[test]
fn a_reader_sees_one_version_of_a_slice() {
    holds_within(2, "slot, head, chunk", chunks);
}

#[test]
fn a_slice_is_torn_without_each_step() {
    for step in STEPS {
        fails("slot, head, chunk", step, chunks);
    }
}

/// What keeps a record whole.
const STEPS: [Step; 6] = [
    Step::Commit,
    Step::SlotFence,
    Step::ReuseDistance,
    Step::EpochFence,
    Step::LastFence,
    Step::EpochCheck,
];
/// Granules of a slice's chunk, and of the record that leads to it.
const CHUNK: u32 = 4 + 2;

/// Four versions of one record in three places, the reader somewhere between.
fn publish_and_reuse() {
    let mut world = World::new(|zone| super::world::put_service(zone, super::world::KEY, 1));
    world.leave(2 * SERVICE);
    replace(world, World::put);
}

/// Four versions of one slice: its chunk is two hops away from the slot, and both hops move.
fn chunks() {
    let mut world = World::new(|zone| {
        let body = ServiceBody::Headless { ports: Vec::new() };
        zone.put_service(&service(super::world::KEY), &body)
            .unwrap();
        put_slice(zone, 1);
    });
    world.leave(2 * CHUNK);
    replace(world, |world, generation| {
        put_slice(&mut world.zone, generation)
    });
}

/// Three more generations beside a reader, the last one in the place of the first.
fn replace(mut world: World, put: impl Fn(&mut World, u8)) {
    world.begin();
    let reader = world.reader(sees_the_service);
    put(&mut world, 2);
    world.advance();
    put(&mut world, 3);
    world.advance();
    put(&mut world, 4);
    finish([reader]);
}

/// The service's one slice.
fn put_slice(zone: &mut Zone, generation: u8) {
    let slice = Slice {
        family: Family::V4,
        ports: Vec::new(),
        endpoints: addresses(generation).map(Endpoint::ready).to_vec(),
    };
    let key = service(super::world::KEY);
    zone.put_slice(&key, SliceId(1), &slice).unwrap();
    assert_eq!(slice.endpoints.len(), ADDRESSES);
}

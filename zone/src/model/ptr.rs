//! PTR: an address leads to a hint, the hint to a slot, the slot to a record, which has the last word.

use super::{
    fails, holds,
    world::{NOW, SERVICE, World, addresses, finish, neighbors, put_service, service},
};
use crate::{
    Address, Found, Name, ServiceBody,
    reader::{Retry, attempt},
    snapshot::Snapshot,
    sync::Step,
    writer::zone::Zone,
};

#[test]
fn a_hint_never_names_another_service() {
    holds("hint, slot, record", stranger);
}

#[test]
fn a_hint_that_is_believed_names_another_service() {
    fails("hint, slot, record", Step::Verify, stranger);
}

#[test]
fn an_address_keeps_its_name_while_the_record_moves() {
    holds("hint, slot, moving record", moving);
}

#[test]
fn an_address_loses_its_name_without_each_step() {
    // Not the last fence: an address that is not found is looked for once more, as an endpoint's, and that
    // look has fences of its own.
    for step in [
        Step::Commit,
        Step::SlotFence,
        Step::ReuseDistance,
        Step::EpochFence,
        Step::EpochCheck,
    ] {
        fails("hint, slot, moving record", step, moving);
    }
}

/// The service whose address is looked up.
const OWNER: &str = "s.n";
/// Its address in the second model.
const ADDRESS: Address = Address::v4([10, 0, 0, 100]);

/// A service goes, and another one comes into its slot, to which the hint still leads for a moment.
fn stranger() {
    let mut world = World::new(|zone| put_service(zone, OWNER, 1));
    let seed = world.zone.index.seed;
    let other = neighbors(seed, OWNER).next().unwrap();
    let slot = world.zone.index.find(world.zone.words(), OWNER).unwrap().0;
    world.begin();
    let reader = world.reader(|file| match names(file.words(), &addresses(1)[0]) {
        Ok((Found::NxDomain, _)) | Err(Retry::Again) => {}
        Ok((found, name)) => assert_owner(found, &name),
        Err(_) => panic!("the zone is fine"),
    });
    world.zone.delete_service(&service(OWNER)).unwrap();
    put_service(&mut world.zone, &other, 2);
    let reused = world.zone.index.find(world.zone.words(), &other).unwrap().0;
    assert_eq!(reused, slot);
    finish([reader]);
}

/// The service keeps the address, which changes its place in the record: a torn one seems to lack it.
fn moving() {
    let mut world = World::new(|zone| put_with(zone, 1));
    world.leave(2 * SERVICE);
    world.begin();
    let reader = world.reader(|file| match names(file.words(), &ADDRESS) {
        Ok((found, name)) => assert_owner(found, &name),
        Err(Retry::Again) => {}
        Err(_) => panic!("the zone is fine"),
    });
    put_with(&mut world.zone, 2);
    world.advance();
    put_with(&mut world.zone, 3);
    world.advance();
    put_with(&mut world.zone, 4);
    finish([reader]);
}

/// The service with [`ADDRESS`] and others: in the first generation it is in the first word of the addresses,
/// later in the second.
fn put_with(zone: &mut Zone, generation: u8) {
    let others = [1, 2, 3].map(|place| {
        let before = if generation == 1 {
            200
        } else {
            generation * 10
        };
        let last = before + place;
        Address::v4([10, 0, 0, last])
    });
    let body = ServiceBody::ClusterIp {
        addresses: others.into_iter().chain([ADDRESS]).collect(),
        ports: Vec::new(),
    };
    zone.put_service(&service(OWNER), &body).unwrap();
}

/// What one attempt to look up a PTR came to.
fn names(
    words: crate::words::Words<'_>,
    address: &Address,
) -> Result<(Found, Name), Retry<(Found, Name)>> {
    let mut ask = |snapshot: &Snapshot<'_>| {
        let mut room = [Name::EMPTY];
        let found = snapshot.names(address, &mut room);
        let [name] = room;
        (found, name)
    };
    attempt(words, 0, NOW, &mut ask)
}

fn assert_owner(found: Found, name: &Name) {
    assert_eq!(found, Found::Answer { count: 1 });
    assert_eq!(name.as_bytes(), b"s.n.svc.c");
}

//! The file grows: what is new may be read before anything leads there.

use super::{
    fails, holds,
    world::{File, KEY, NAME, WHOLE, World, ask, assert_whole, finish, put_service},
};
use crate::{reader::Retry, sync::Step};

#[test]
fn growth_is_told_before_anything_leads_there() {
    holds("growth", grow);
}

#[test]
fn growth_looks_like_damage_without_each_step() {
    for step in [Step::Growth, Step::Commit] {
        fails("growth", step, grow);
    }
}

/// A record has no room in the old part of the file. A reader that knows of that alone sees the version
/// there, or that the file has grown; it never takes the file for damaged.
fn grow() {
    let file = File::new(0, 2 * WHOLE);
    let mut world = World::unread(file, WHOLE, |zone| put_service(zone, KEY, 1));
    world.open();
    world.leave(0);
    world.begin();
    let reader = world.reader(|file| {
        let grown = match ask(file.first(WHOLE), NAME) {
            Ok((found, room)) => return assert_whole(found, &room),
            Err(Retry::Again) => return,
            Err(Retry::Grown) => ask(file.words(), NAME),
            Err(_) => panic!("the zone is fine"),
        };
        match grown {
            Ok((found, room)) => assert_whole(found, &room),
            Err(Retry::Again) => {}
            Err(_) => panic!("the zone is fine"),
        }
    });
    world.put(2);
    world.advance();
    world.put(3);
    finish([reader]);
}

//! Configurations take each other's place.

use super::{
    fails, holds,
    world::{NOW, World, finish},
};
use crate::{
    Config,
    reader::{Retry, attempt},
    snapshot::Snapshot,
    sync::Step,
};

#[test]
fn a_configuration_is_seen_whole() {
    holds("configuration", configure);
}

#[test]
fn a_configuration_is_torn_without_each_step() {
    for step in [
        Step::Commit,
        Step::RootFence,
        Step::ReuseDistance,
        Step::EpochFence,
        Step::LastFence,
        Step::EpochCheck,
    ] {
        fails("configuration", step, configure);
    }
}

/// A configuration is replaced again and again. Time to live and the permille of each are equal.
fn configure() {
    let mut world = World::new(|zone| {
        zone.configure(&numbered(1)).unwrap();
    });
    world.leave(2 * 2);
    world.begin();
    let reader = world.reader(|file| {
        let mut ask = |snapshot: &Snapshot<'_>| (snapshot.ttl(), snapshot.disabled_permille());
        match attempt(file.words(), 0, NOW, &mut ask) {
            Ok((ttl, permille)) => {
                let one = (1..=4).contains(&ttl) && ttl == u32::from(permille);
                assert!(one, "torn: {ttl} {permille}");
            }
            Err(Retry::Again) => {}
            Err(_) => panic!("the zone is fine"),
        }
    });
    world.zone.configure(&numbered(2)).unwrap();
    world.advance();
    world.zone.configure(&numbered(3)).unwrap();
    world.advance();
    world.zone.configure(&numbered(4)).unwrap();
    finish([reader]);
}

fn numbered(number: u16) -> Config {
    Config {
        ttl: number.into(),
        disabled_permille: number,
        ..Config::default()
    }
}

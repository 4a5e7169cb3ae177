//! More views than are allowed.

use crate::world::{GOODS, World, everything};
use anyhow::{Result, ensure};
use nss_k8s_tests::{
    pod::{Pod, Recipe, resolv_conf},
    session::{Door, Session},
    zonefile::wait,
};

/// Beyond the limit a pod has no zone, never another's: its libc answers.
#[test]
fn beyond_the_limit_libc_answers() -> Result<()> {
    let config = "max_views: 1\npolicy: [{from: {namespaces: [shop, store]}}]\n";
    let world = World::start(config)?;
    world.deliver("a", "shop")?;
    let second = world.register("b", "store")?;
    wait(|| Ok(world.agent.log().contains("namespaces get no zone")))?;
    ensure!(
        second.is_dir() && !second.join("zone.v1").exists(),
        "a zone"
    );
    let pod = Pod::start(Recipe {
        resolv_conf: resolv_conf("store"),
        zone: Some(second.clone()),
        dns: Some(everything()),
        ..Recipe::default()
    })?;
    let mut session = Session::start(&pod, Door::Nss)?;
    let reply = session.resolve(GOODS, "INET")?;
    ensure!(
        reply.summary().starts_with("10.96.3.10") && reply.who() == "pass(zone-absent)",
        "{} from {}",
        reply.summary(),
        reply.who()
    );
    // The first one leaves room.
    let removed = world.agent.call(&["pod", "remove", "a"])?;
    ensure!(removed.status.success(), "{removed:?}");
    wait(|| Ok(second.join("zone.v1").exists()))
}

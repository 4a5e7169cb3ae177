//! Names outside the zone where the server misbehaves: no lookup fails that libc alone would answer
//! in the same run, and none is answered otherwise.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    choices::Choices,
    dns::{Behavior, Fault, Script, Tcp},
    outside,
    pod::{Pod, Recipe},
    session::{Door, Session},
    shop,
    wire::{kind, rcode},
};
use std::{path::Path, thread};

/// The name whose answer is spoiled that way.
fn spoiled(fault: Fault) -> String {
    let text = format!("{fault:?}").to_lowercase();
    let label: String = text.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{label}.example.com")
}

/// The world, with a name for each fault, and one whose AAAA alone is spoiled.
fn world() -> Script {
    let mut world = shop::world();
    for fault in Fault::ALL {
        let name = spoiled(fault);
        let half = format!("half-{name}");
        let addresses = &["192.0.2.90", "2001:db8::90"];
        world = world
            .addresses(&name, addresses)
            .behavior(&name, Behavior::Spoiled(fault))
            .addresses(&half, addresses)
            .behavior_of(&half, kind::AAAA, Behavior::Spoiled(fault));
    }
    world
}

/// A session of libc alone in the pod.
fn alone(pod: &Pod, door: Door) -> Result<Session> {
    Session::start_with(pod, door.reference(), Path::new("/"), &[])
}

/// Every fault of an answer over TCP is survived: the answer is libc's, which asked over UDP; and
/// where the right answer came all the same, it is from there.
#[test]
fn every_spoiled_answer_is_survived() -> Result<()> {
    let (_zone, view) = outside::zone()?;
    outside::at_every_door(|door| {
        let pod = Pod::start(outside::recipe(view.clone(), door, world()))?;
        let mut alone = alone(&pod, door)?;
        for fault in Fault::ALL {
            // One after a hang would not ask: each in a process of its own.
            let mut session = Session::start(&pod, door)?;
            let name = spoiled(fault);
            for name in [name.clone(), format!("half-{name}")] {
                let (libc, ours) = (
                    alone.resolve(&name, "UNSPEC")?,
                    session.resolve(&name, "UNSPEC")?,
                );
                ensure!(
                    ours.shape() == libc.shape() && libc.error.is_none(),
                    "{name}: {} from {}, libc alone: {}",
                    ours.shape(),
                    ours.who(),
                    libc.shape()
                );
                ensure!(
                    !fault.is_survivable() || ours.who() == "upstream",
                    "{name}: {}",
                    ours.who()
                );
                ensure!(
                    !fault.is_lethal() || ours.who().starts_with("pass("),
                    "{name}: {}",
                    ours.who()
                );
            }
        }
        Ok(())
    })
}

/// CNAME records that go round, lead nowhere or are many.
#[test]
fn chains_of_aliases_are_followed_as_far_as_libc_does() -> Result<()> {
    let mut world = shop::world()
        .alias("self.example.com", "self.example.com")
        .alias("ring-0.example.com", "ring-1.example.com")
        .alias("ring-1.example.com", "ring-2.example.com")
        .alias("ring-2.example.com", "ring-0.example.com")
        .alias("inward.example.com", "api.shop.svc.cluster.local")
        .alias("odd.example.com", "under_score.example.com")
        .addresses("under_score.example.com", &["192.0.2.91"])
        .alias("spaced.example.com", "a\\032b.example.com")
        .addresses("a\\032b.example.com", &["192.0.2.92"])
        .alias("upper.example.com", "WWW.Example.com");
    for number in 0..7 {
        world = world.alias(
            &format!("chain-{number}.example.com"),
            &format!("chain-{}.example.com", number + 1),
        );
    }
    let world = world.addresses("chain-7.example.com", &["192.0.2.93", "2001:db8::93"]);
    let names = [
        "self", "ring-0", "ring-1", "inward", "odd", "spaced", "upper", "chain-0", "chain-6",
        "chain-7", "dangling", "alias",
    ];
    let (_zone, view) = outside::zone()?;
    outside::at_every_door(|door| {
        let pod = Pod::start(outside::recipe(view.clone(), door, world.clone()))?;
        let (mut alone, mut session) = (alone(&pod, door)?, Session::start(&pod, door)?);
        let mut asked = 0;
        for name in names {
            for family in ["UNSPEC", "INET", "INET6"] {
                for name in [
                    format!("{name}.example.com"),
                    format!("{name}.example.com."),
                ] {
                    let (libc, ours) = (
                        alone.resolve(&name, family)?,
                        session.resolve(&name, family)?,
                    );
                    ensure!(
                        ours.shape() == libc.shape(),
                        "{name} {family}: {} from {}, libc alone: {}",
                        ours.shape(),
                        ours.who(),
                        libc.shape()
                    );
                    asked += usize::from(ours.who().starts_with("upstream"));
                }
            }
        }
        ensure!(asked >= 20, "only {asked} were asked by us");
        Ok(())
    })
}

/// Made-up servers: every name has answers, errors, silence or faults of its own, for each family
/// and over each transport; calls come in any order, and processes remember what failed.
#[test]
fn no_lookup_fails_that_libc_answers() -> Result<()> {
    let (_zone, view) = outside::zone()?;
    outside::at_every_door(|door| {
        let mut choices = Choices::seeded(11)?;
        // They mostly wait for libc: side by side.
        thread::scope(|scope| {
            let mut rounds = Vec::new();
            for _ in 0..4 {
                let (script, names) = made_up(&mut choices);
                let recipe = Recipe {
                    resolv_conf: resolv_conf(&mut choices),
                    ..outside::recipe(view.clone(), door, script)
                };
                let calls: Vec<_> = (0..25)
                    .map(|_| {
                        let family = choices.among(&["UNSPEC", "INET", "INET6"]);
                        (names[choices.below(names.len())].clone(), family)
                    })
                    .collect();
                rounds.push(scope.spawn(move || agree(door, recipe, &calls)));
            }
            for (number, round) in rounds.into_iter().enumerate() {
                let result = round.join();
                let result = result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                result.with_context(|| format!("seed {}, round {number}", choices.seed))?;
            }
            Ok(())
        })
    })
}

/// Makes the calls through libc alone and through us, in a pod made after `recipe`.
fn agree(door: Door, recipe: Recipe, calls: &[(String, &str)]) -> Result<()> {
    let resolv_conf = recipe.resolv_conf.clone();
    let pod = Pod::start(recipe)?;
    let (mut alone, mut session) = (alone(&pod, door)?, Session::start(&pod, door)?);
    for (name, family) in calls {
        let (libc, ours) = (alone.resolve(name, family)?, session.resolve(name, family)?);
        ensure!(
            ours.shape() == libc.shape(),
            "{resolv_conf:?}: {name} {family}: {} from {}, libc alone: {}",
            ours.shape(),
            ours.who(),
            libc.shape()
        );
    }
    Ok(())
}

/// A server of a few names, and the names.
fn made_up(choices: &mut Choices) -> (Script, Vec<String>) {
    let tcp = choices.among(&[
        Tcp::Serves,
        Tcp::Serves,
        Tcp::Serves,
        Tcp::Absent,
        Tcp::Resets,
    ]);
    let mut script = shop::world().over_tcp(tcp);
    let mut names = vec!["www.example.com".to_owned(), "nosuch.example.com".into()];
    for number in 0..20 {
        let name = format!("n{number}.example.com");
        if choices.below(4) > 0 {
            script = script.addresses(&name, &["192.0.2.90", "192.0.2.91"]);
        }
        if choices.below(2) > 0 {
            script = script.addresses(&name, &["2001:db8::90"]);
        }
        if choices.below(4) == 0 {
            script = script.alias(&name, "www.example.com");
        }
        for kind in [kind::A, kind::AAAA] {
            let behavior = match choices.below(12) {
                // One that libc waits for, too, must be rare.
                0 if number == 0 => Behavior::Drop,
                1 => Behavior::Answer(rcode::SERVFAIL),
                2 => Behavior::Answer(rcode::REFUSED),
                3 => Behavior::Answer(rcode::NXDOMAIN),
                4..7 => Behavior::Spoiled(choices.among(&Fault::ALL)),
                _ => continue,
            };
            script = script.behavior_of(&name, kind, behavior);
        }
        names.push(name);
        names.push(format!("n{number}"));
    }
    (script, names)
}

/// What kubelet writes, with more search domains and options.
fn resolv_conf(choices: &mut Choices) -> String {
    let search = choices.among(&[
        "shop.svc.cluster.local svc.cluster.local cluster.local",
        "shop.svc.cluster.local svc.cluster.local cluster.local example.com",
        "example.com shop.svc.cluster.local",
    ]);
    let option = choices.among(&["", " rotate", " edns0", " single-request", " attempts:2"]);
    let ndots = choices.among(&["1", "2", "5"]);
    format!(
        "search {search}\nnameserver {}\noptions ndots:{ndots} timeout:1{option}\n",
        nss_k8s_tests::pod::CLUSTER_DNS
    )
}

//! Names outside the zone whose answers the agent holds: told from memory, until they expire.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use anyhow::{Result, bail, ensure};
use nss_k8s_tests::{
    outside::{self, ADDRESSES, NAME},
    pod::{HOSTS_LINE, Pod, Recipe},
    reply::Reply,
    session::{Door, Session},
    shop,
    writer::{Published, address, config, now},
};
use nss_k8s_zone::{Config, External, Held, HeldAnswer, HeldOptions, HeldVerdict, HeldWriter, Now};
use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

/// Addresses that no server knows: proof of who answered.
const HELD: &str = "198.18.113.1";
/// See [`HELD`].
const HELD_6: &str = "2001:db8:113::1";

/// A zone of this class with an answer file beside it.
struct World {
    _zone: Published,
    answers: HeldWriter,
    view: PathBuf,
}

impl World {
    fn of(external: External) -> Result<Self> {
        let mut zone = Published::live()?;
        zone.writer.configure(&Config {
            external,
            holds_external: true,
            ..config()?
        })?;
        let view = zone.view();
        // `<directory>/view/default`.
        let directory = view.ancestors().nth(2).unwrap_or(&view).to_owned();
        let (answers, _) = HeldWriter::open(&HeldOptions::new(directory, "default"), now())?;
        Ok(Self {
            _zone: zone,
            answers,
            view,
        })
    }

    fn pod(&self, door: Door) -> Result<Pod> {
        Pod::start(outside::recipe(self.view.clone(), door, shop::world()))
    }
}

/// The name exists with these addresses, until then.
fn data(addresses: &[&str], canonical: Option<&str>, expires: Option<Now>) -> Result<HeldAnswer> {
    Ok(HeldAnswer {
        expires,
        verdict: HeldVerdict::Data {
            addresses: addresses
                .iter()
                .map(|text| address(text))
                .collect::<Result<_>>()?,
            canonical: canonical.map(str::to_owned),
        },
    })
}

/// In an hour.
fn later() -> Option<Now> {
    Some(Now(now().0 + 3600))
}

fn require(reply: &Reply, addresses: &str, who: &str) -> Result<()> {
    ensure!(
        reply.summary().starts_with(addresses) && reply.who() == who,
        "expected {addresses} from {who}, got {} from {}",
        reply.summary(),
        reply.who()
    );
    Ok(())
}

/// What is held is told; what is not is asked for.
#[test]
fn held_answers_are_told_at_every_door() -> Result<()> {
    for door in Door::OURS {
        let mut world = World::of(External::Pod)?;
        let pod = world.pod(door)?;
        let mut session = Session::start(&pod, door)?;
        let reference = pod_without_us(&pod, door)?;
        let (mut plain, server) = (reference, pod.dns()?);
        require(&session.resolve(NAME, "UNSPEC")?, ADDRESSES, "upstream")?;
        world.answers.put(
            NAME,
            &Held {
                v4: Some(data(&[HELD], None, later())?),
                v6: Some(data(&[HELD_6], Some("Edge.cdn.example"), later())?),
            },
        )?;
        server.take_log();
        for family in ["UNSPEC", "INET", "INET6"] {
            let reply = session.resolve(NAME, family)?;
            let wanted = if family == "INET6" { HELD_6 } else { HELD };
            require(&reply, wanted, "held")?;
            ensure!(
                reply.entries.len() == if family == "UNSPEC" { 2 } else { 1 },
                "{door:?} {family}: {}",
                reply.shape()
            );
            // The end of the CNAMEs is what libc would have called the host.
            let canonical = reply.entries.first().and_then(|it| it.canonical.clone());
            let wanted = if family == "INET6" {
                "Edge.cdn.example"
            } else {
                NAME
            };
            ensure!(
                canonical.as_deref() == Some(wanted),
                "{door:?}: {canonical:?}"
            );
        }
        ensure!(server.take_log().is_empty(), "{door:?}: somebody asked");
        // Negative answers are this libc's own: the same names, absent and empty at the server.
        let empty = data(&[], None, later())?;
        let denied = HeldAnswer {
            expires: later(),
            verdict: HeldVerdict::NxDomain,
        };
        for (name, answer, who) in [
            ("nodata.example.com", empty, "held(nodata)"),
            ("absent.example.com", denied, "held(nxdomain)"),
        ] {
            let name = format!("{name}.");
            let held = Held {
                v4: Some(answer.clone()),
                v6: Some(answer),
            };
            world.answers.put(&name, &held)?;
            server.take_log();
            let reply = session.resolve(&name, "UNSPEC")?;
            ensure!(reply.who() == who, "{door:?} {name}: {}", reply.who());
            ensure!(reply.error.is_some(), "{door:?} {name}: {}", reply.shape());
            ensure!(server.take_log().is_empty(), "{door:?} {name}: asked");
            if who == "held(nxdomain)" {
                let plain = plain.resolve("absent.example.com.", "UNSPEC")?;
                ensure!(
                    plain.shape() == reply.shape(),
                    "{door:?}: {} instead of {}",
                    reply.shape(),
                    plain.shape()
                );
            }
        }
        // Taken back, or for the other family alone: the server is asked again.
        world.answers.remove(NAME);
        require(&session.resolve(NAME, "UNSPEC")?, ADDRESSES, "upstream")?;
        world.answers.put(
            NAME,
            &Held {
                v4: Some(data(&[HELD], None, later())?),
                v6: None,
            },
        )?;
        require(&session.resolve(NAME, "UNSPEC")?, ADDRESSES, "upstream")?;
        require(&session.resolve(NAME, "INET")?, HELD, "held")?;
    }
    Ok(())
}

/// Clients spread over the addresses, as behind a DNS server that shuffles them.
#[test]
fn held_addresses_come_in_an_order_of_their_own() -> Result<()> {
    let mut world = World::of(External::Node)?;
    let addresses: Vec<String> = (1..=6).map(|last| format!("198.18.113.{last}")).collect();
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let held = Held {
        v4: Some(data(&addresses, None, later())?),
        v6: Some(data(&[], None, later())?),
    };
    world.answers.put(NAME, &held)?;
    for door in Door::OURS {
        let pod = world.pod(door)?;
        let mut session = Session::start(&pod, door)?;
        let mut first = BTreeSet::new();
        for _ in 0..64 {
            let reply = session.resolve(NAME, "UNSPEC")?;
            require(&reply, &addresses.join(" "), "held")?;
            first.extend(reply.entries.first().map(|entry| entry.address.clone()));
        }
        ensure!(first.len() > 1, "{door:?}: always {first:?} first");
    }
    Ok(())
}

/// The file may come after the process: it is looked for once a second.
#[test]
fn a_file_that_comes_later_is_found() -> Result<()> {
    let mut zone = Published::live()?;
    zone.writer.configure(&Config {
        external: External::Pod,
        holds_external: true,
        ..config()?
    })?;
    let view = zone.view();
    let directory = view.ancestors().nth(2).unwrap_or(&view).to_owned();
    for door in Door::OURS {
        let pod = Pod::start(outside::recipe(view.clone(), door, shop::world()))?;
        let mut session = Session::start(&pod, door)?;
        require(&session.resolve(NAME, "INET")?, "192.0.2.81", "upstream")?;
        let (mut answers, _) = HeldWriter::open(&HeldOptions::new(&directory, "default"), now())?;
        let held = Held {
            v4: Some(data(&[HELD], None, later())?),
            v6: None,
        };
        answers.put(NAME, &held)?;
        until(&mut session, "held")?;
        drop(answers);
        std::fs::remove_file(view.join("external.v1"))?;
    }
    Ok(())
}

/// A dead agent's answers end in their time, and processes ask for themselves again.
#[test]
fn answers_of_a_dead_agent_expire() -> Result<()> {
    outside::at_every_door(|door| {
        let mut world = World::of(External::Pod)?;
        let pod = world.pod(door)?;
        let mut session = Session::start(&pod, door)?;
        let end = Now(now().0 + 2);
        let held = Held {
            v4: Some(data(&[HELD], None, Some(end))?),
            v6: None,
        };
        world.answers.put(NAME, &held)?;
        let World { answers, .. } = world;
        drop(answers);
        let reply = session.resolve(NAME, "INET")?;
        // On a machine that stopped for seconds there is nothing to see.
        if now() < end {
            require(&reply, HELD, "held")?;
        }
        let reply = until(&mut session, "upstream")?;
        ensure!(now() >= end, "it ended before its time");
        require(&reply, "192.0.2.81", "upstream")
    })
}

/// Fixed names of the configuration, in a class whose pods ask for themselves: no packet, no end.
#[test]
fn static_names_need_no_server() -> Result<()> {
    let mut world = World::of(External::Pod)?;
    let held = Held {
        v4: Some(data(&[HELD], None, None)?),
        v6: Some(data(&[], None, None)?),
    };
    world.answers.put("db.corp.example", &held)?;
    for door in Door::OURS {
        let pod = world.pod(door)?;
        let mut session = Session::start(&pod, door)?;
        let reply = session.resolve("db.corp.example.", "UNSPEC")?;
        require(&reply, HELD, "held")?;
        let reply = session.resolve("db.corp.example.", "INET6")?;
        ensure!(reply.who() == "held(nodata)", "{door:?}: {}", reply.who());
        let log = pod.dns()?.take_log();
        ensure!(log.is_empty(), "{door:?}: {log:?}");
    }
    Ok(())
}

/// Nobody looks for the file, or into it, unless the zone says that it is there.
#[test]
fn a_file_that_the_zone_does_not_tell_of_is_left_alone() -> Result<()> {
    let (zone, view) = outside::zone()?;
    let directory = view.ancestors().nth(2).unwrap_or(&view).to_owned();
    let (mut answers, _) = HeldWriter::open(&HeldOptions::new(directory, "default"), now())?;
    let held = Held {
        v4: Some(data(&[HELD], None, None)?),
        v6: None,
    };
    answers.put(NAME, &held)?;
    for door in Door::OURS {
        let pod = Pod::start(outside::recipe(view.clone(), door, shop::world()))?;
        let reply = Session::start(&pod, door)?.resolve(NAME, "INET")?;
        require(&reply, "192.0.2.81", "upstream")?;
    }
    drop(zone);
    Ok(())
}

/// Pods whose names outside nobody asks for but libc are told what is held all the same.
#[test]
fn a_class_that_asks_nobody_is_told_what_is_held() -> Result<()> {
    let mut world = World::of(External::Off)?;
    let held = Held {
        v4: Some(data(&[HELD], None, None)?),
        v6: Some(data(&[], None, None)?),
    };
    world.answers.put(NAME, &held)?;
    for door in Door::OURS {
        let pod = world.pod(door)?;
        let mut session = Session::start(&pod, door)?;
        require(&session.resolve(NAME, "UNSPEC")?, HELD, "held")?;
        let log = pod.dns()?.take_log();
        ensure!(log.is_empty(), "{door:?}: {log:?}");
        let reply = session.resolve("four.example.com", "UNSPEC")?;
        require(&reply, "192.0.2.84", "pass(external)")?;
        let log = pod.dns()?.take_log();
        ensure!(log.iter().all(|one| !one.tcp), "{door:?}: {log:?}");
    }
    Ok(())
}

/// Where nsswitch.conf names the module, the preload library leaves names outside to it, held ones
/// as well: one share of the time, not two.
#[test]
fn the_preload_library_leaves_names_outside_to_the_module() -> Result<()> {
    let mut world = World::of(External::Pod)?;
    let held = Held {
        v4: Some(data(&[HELD], None, None)?),
        v6: Some(data(&[], None, None)?),
    };
    world.answers.put("held.example.com", &held)?;
    let door = Door::ShimGlibc;
    let recipe = outside::recipe(world.view.clone(), door, shop::world());
    let pod = Pod::start(Recipe {
        nsswitch: HOSTS_LINE.into(),
        ..recipe
    })?;
    // The module is not installed here: libc goes on to DNS.
    let mut session = Session::start(&pod, door)?;
    for name in [NAME, "held.example.com"] {
        let reply = session.resolve(name, "UNSPEC")?;
        ensure!(reply.who() == "pass(external)", "{name}: {}", reply.who());
    }
    let log = pod.dns()?.take_log();
    ensure!(!log.is_empty() && log.iter().all(|one| !one.tcp), "{log:?}");
    Ok(())
}

/// The same libc alone, in the same pod.
fn pod_without_us(pod: &Pod, door: Door) -> Result<Session> {
    Session::start_with(pod, door.reference(), std::path::Path::new("/"), &[])
}

/// Asks until that giver answers.
fn until(session: &mut Session, who: &str) -> Result<Reply> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let reply = session.resolve(NAME, "INET")?;
        if reply.who() == who {
            return Ok(reply);
        }
        if Instant::now() > deadline {
            bail!("{} from {}", reply.summary(), reply.who());
        }
        std::thread::yield_now();
    }
}

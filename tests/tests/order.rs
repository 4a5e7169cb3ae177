//! The order of addresses, differentially: the same destinations in the same network, once by libc
//! and a DNS server, once through the preload library. The server has the records forwards and
//! backwards: what comes in one order both times is told apart by a rule, and must come so from us,
//! who shuffle at each call. Of the listed cases that is every pair; more are made up at random
//! (`NSS_K8S_SEED=<number>` chooses the seed, which a failure names).
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Context, Result, bail, ensure};
use nss_k8s_tests::{
    artifacts,
    dns::Script,
    libcs::Release,
    pod::{self, Pod, Recipe},
    probe::Libc,
    session::{Door, Session},
    writer::{Published, address},
    zonefile,
};
use nss_k8s_zone::{Endpoint, Family, ServiceBody, ServiceKey, Slice, SliceId};

/// A network with two cables out, one address each of both families besides the pod's own.
const CABLES: &[&str] = &[
    "link add v0 type veth peer name v1",
    "link set v0 up",
    "link set v1 up",
    "addr add 10.50.0.7/24 dev v0",
    "-6 addr add fd00:50::7/64 dev v0 nodad",
    "addr add 10.70.0.1 peer 10.70.0.2/32 dev v1",
];

/// One network, its destinations, and the calls that must see them in libc's order.
struct Case {
    name: &'static str,
    families: &'static str,
    network: &'static [&'static str],
    gai_conf: &'static str,
    destinations: &'static [&'static str],
    /// Family and flags of the calls.
    calls: &'static [&'static str],
    releases: &'static [Release],
}

const BOTH: &[Release] = &Release::ALL;
/// For what musl has no rule.
const GLIBC: &[Release] = &[Release::Glibc236, Release::Glibc231, Release::Glibc241];

const CASES: &[Case] = &[
    Case {
        name: "labels and precedences",
        families: "46",
        network: &[],
        gai_conf: "",
        destinations: &["10.96.1.1", "fd00:96::1", "2001:db8::1", "2002::1"],
        calls: &["UNSPEC 1 0 0", "UNSPEC 1 0 0x20", "INET6 1 0 0x18"],
        releases: BOTH,
    },
    Case {
        name: "what cannot be reached",
        families: "4",
        network: &[],
        gai_conf: "",
        destinations: &["fd00:96::1", "10.96.1.1"],
        calls: &["UNSPEC 1 0 0", "UNSPEC 0 0 0"],
        releases: BOTH,
    },
    Case {
        name: "scopes",
        families: "46",
        network: &[],
        gai_conf: "",
        destinations: &["127.0.0.5", "10.96.1.1"],
        calls: &["INET 1 0 0", "UNSPEC 2 0 0"],
        releases: GLIBC,
    },
    Case {
        name: "common prefixes",
        families: "46",
        network: CABLES,
        gai_conf: "",
        destinations: &[
            "10.50.0.200",
            "10.50.0.5",
            "10.50.0.23",
            "10.50.1.1",
            "10.50.0.15",
            "10.50.0.39",
            "10.50.0.2",
            "10.50.0.71",
            "10.50.0.6",
            "fd00:51::1",
            "fd00:50::1:0:0:1",
            "fd00:50::6",
        ],
        calls: &["UNSPEC 1 0 0", "INET6 1 0 0", "INET6 1 0 0x18"],
        releases: BOTH,
    },
    Case {
        name: "common prefixes of IPv4 alone",
        families: "46",
        network: CABLES,
        gai_conf: "",
        destinations: &["10.50.0.200", "10.50.0.5", "10.50.1.1", "10.50.0.6"],
        calls: &["INET 1 0 0", "INET 0 0 0x20", "UNSPEC 1 0 0"],
        releases: GLIBC,
    },
    Case {
        name: "a long common prefix counts for nothing outside of the source's subnet",
        families: "46",
        network: CABLES,
        gai_conf: "",
        destinations: &["10.244.0.6", "10.50.0.200"],
        calls: &["INET 1 0 0", "UNSPEC 0 0 0x20"],
        releases: GLIBC,
    },
    Case {
        name: "a host without IPv6 knows no subnets, only itself",
        families: "4",
        network: &["addr add 10.50.0.7/24 dev lo"],
        gai_conf: "",
        destinations: &["10.96.1.1", "10.244.0.7"],
        calls: &["INET 1 0 0", "UNSPEC 1 0 0"],
        releases: GLIBC,
    },
    Case {
        name: "a deprecated source",
        families: "4",
        network: &[
            "link add v0 type veth peer name v1",
            "link set v0 up",
            "link set v1 up",
            "-6 addr add fd00:60::7/64 dev v0 nodad preferred_lft 0",
        ],
        gai_conf: "",
        destinations: &["fd00:60::1", "10.96.1.1"],
        calls: &["UNSPEC 1 0 0"],
        releases: GLIBC,
    },
    Case {
        name: "a source whose interface glibc does not find counts as a tunnel's",
        families: "46",
        network: CABLES,
        gai_conf: "",
        destinations: &["10.70.0.2", "10.96.1.1"],
        calls: &["INET 1 0 0", "UNSPEC 0 0 0x28"],
        releases: GLIBC,
    },
    Case {
        name: "gai.conf: precedences",
        families: "46",
        network: &[],
        gai_conf: "# ours\nprecedence ::ffff:0:0/96  100\nprecedence fd00::/8 30\n",
        destinations: &["fd00:96::1", "10.96.1.1", "2001:db8::1"],
        calls: &["UNSPEC 1 0 0", "INET6 1 0 0x18"],
        releases: GLIBC,
    },
    Case {
        name: "gai.conf: labels",
        families: "46",
        network: &[],
        gai_conf: "label ::/0 1\nlabel fd00:96::/32 2 and more\nlabel ::ffff:0:0/96 4\n",
        destinations: &["fd00:96::1", "10.96.1.1", "2001:db8::1"],
        calls: &["UNSPEC 1 0 0"],
        releases: GLIBC,
    },
    Case {
        // The pod's own address has scope 14; what has another one comes last, the smaller first.
        name: "gai.conf: scopes of IPv4",
        families: "46",
        network: &[],
        gai_conf: "scopev4 10.96.0.0/16 5\nscopev4 ::ffff:10.97.0.0/112 6\nreload no\n",
        destinations: &["10.98.1.1", "10.96.1.1", "10.97.1.1"],
        calls: &["INET 1 0 0"],
        releases: GLIBC,
    },
];

/// Publishes the destinations, and has a server tell them forwards and backwards.
fn rooms(case: &Case) -> Result<(Published, Pod)> {
    let sets = [("forwards".to_owned(), case.destinations.to_vec())];
    furnish(case.families, case.network, case.gai_conf, &sets)
}

/// A pod in which every name stands for a set of destinations. The server knows the same set under
/// the name turned around, too, in the opposite order; for us the two are alike.
fn furnish(
    families: &'static str,
    network: &[&str],
    gai_conf: &str,
    sets: &[(String, Vec<&str>)],
) -> Result<(Published, Pod)> {
    let mut zone = Published::live()?;
    let mut script = Script::default();
    for (name, destinations) in sets {
        publish(&mut zone, name, destinations)?;
        let mut backwards = destinations.clone();
        backwards.reverse();
        for (name, destinations) in [(name, destinations), (&turned(name), &backwards)] {
            script = script.addresses(&format!("{name}.shop.svc.cluster.local"), destinations);
        }
    }
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        dns: Some(script),
        families,
        ..Recipe::default()
    })?;
    for line in network {
        let words: Vec<_> = line.split(' ').collect();
        let output = pod
            .command("ip")
            .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
            .args(words)
            .output()?;
        ensure!(output.status.success(), "ip {line}: {output:?}");
    }
    pod.replace("gai.conf", gai_conf)?;
    Ok((zone, pod))
}

/// The name of the same destinations in the opposite order.
fn turned(name: &str) -> String {
    format!("{name}-turned")
}

/// A headless service with an endpoint for each address.
fn publish(zone: &mut Published, name: &str, destinations: &[&str]) -> Result<()> {
    let key = ServiceKey::new(name, "shop")?;
    let body = ServiceBody::Headless { ports: Vec::new() };
    zone.writer.put_service(&key, &body)?;
    for (family, id) in [(Family::V4, 4), (Family::V6, 6)] {
        let mut endpoints = Vec::new();
        for text in destinations {
            let address = address(text)?;
            if address.family == family {
                endpoints.push(Endpoint::ready(address));
            }
        }
        let slice = Slice {
            family,
            ports: Vec::new(),
            endpoints,
        };
        zone.writer.put_slice(&key, SliceId(id), &slice)?;
    }
    Ok(())
}

/// The addresses of a call, in order, each once for all its socket types.
fn order(session: &mut Session, call: &str, who: Option<&str>) -> Result<Vec<String>> {
    let reply = session.ask(call)?;
    ensure!(
        who.is_none_or(|who| reply.who() == who),
        "{call}: from {}",
        reply.who()
    );
    let mut addresses: Vec<_> = reply.entries.into_iter().map(|one| one.address).collect();
    addresses.dedup();
    ensure!(!addresses.is_empty(), "{call}: {:?}", reply.error);
    Ok(addresses)
}

/// Compares one call; ours is asked often enough for every shuffle of two to come.
fn compare(ours: &mut Session, reference: &mut Session, call: &str) -> Result<()> {
    let line = |name: &str| format!("gai {name} 80 {call}");
    let expected = order(reference, &line("forwards"), None)?;
    let again = order(reference, &line(&turned("forwards")), None)?;
    ensure!(
        expected == again,
        "{call}: the rules leave it open: {expected:?}, {again:?}"
    );
    for _ in 0..12 {
        let got = order(ours, &line("forwards"), Some("zone"))?;
        ensure!(got == expected, "{call}: libc {expected:?}, ours {got:?}");
    }
    Ok(())
}

#[test]
fn addresses_come_in_libcs_order() -> Result<()> {
    let mut differences = Vec::new();
    for case in CASES {
        let (_zone, pod) = rooms(case)?;
        for &release in case.releases {
            let (mut ours, mut reference) = pair(&pod, release)?;
            for call in case.calls {
                if let Err(error) = compare(&mut ours, &mut reference, call) {
                    differences.push(format!("{}, {release:?}: {error:#}", case.name));
                }
            }
        }
    }
    if !differences.is_empty() {
        bail!("{}", differences.join("\n"));
    }
    Ok(())
}

/// A process with the preload library, and one without, under one libc.
fn pair(pod: &Pod, release: Release) -> Result<(Session, Session)> {
    let door = match release.libc() {
        Libc::Glibc => Door::ShimGlibc,
        Libc::Musl => Door::ShimMusl,
    };
    let guests = artifacts::guests()?;
    Ok((
        Session::start_under(pod, door, release, &guests, &[])?,
        Session::start_under(pod, door.reference(), release, &guests, &[])?,
    ))
}

/// What destinations are made of: of each kind some that only a prefix tells apart.
const POOL: &[&str] = &[
    "10.50.0.1",
    "10.50.0.6",
    "10.50.0.200",
    "10.50.1.1",
    "10.244.0.6",
    "10.244.0.7",
    "10.70.0.2",
    "10.96.1.1",
    "192.0.2.1",
    "127.0.0.1",
    "127.0.0.9",
    "169.254.7.7",
    "fd00::1",
    "fd00::7",
    "fd00:50::1",
    "fd00:50::6",
    "fd00:51::1",
    "fc00::1",
    "2001:db8::1",
    "2001:0:1::1",
    "2002::1",
    "3fff::1",
    "fec0::1",
    "fe80::1",
    "::1",
    "64:ff9b::1",
];

/// Networks, and what gai.conf says in them.
const PLACES: &[(&str, &[&str], &str)] = &[
    ("46", CABLES, ""),
    (
        "46",
        &[],
        "precedence ::ffff:0:0/96 100\nlabel fd00::/16 2\nlabel ::ffff:0:0/96 4\n",
    ),
    ("4", &[], ""),
    (
        "4",
        CABLES,
        "scopev4 10.50.0.0/24 3\nscopev4 127.0.0.0/8 1\n",
    ),
    ("6", &[], ""),
];

/// Random sets of destinations in each place, under each libc: every pair that libc's rules tell
/// apart comes from us as it comes from libc.
#[test]
fn made_up_destinations_come_in_libcs_order() -> Result<()> {
    const SETS: usize = 12;
    let seed = match std::env::var("NSS_K8S_SEED") {
        Ok(text) => text.parse().context("NSS_K8S_SEED")?,
        Err(_) => u64::from(std::process::id()),
    };
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut choose = |below: usize| -> usize {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as usize % below
    };
    let mut separated = 0;
    for (families, network, gai_conf) in PLACES {
        let sets: Vec<_> = (0..SETS)
            .map(|number| {
                let mut pool = POOL.to_vec();
                let count = 2 + choose(9);
                let set = (0..count).map(|_| pool.swap_remove(choose(pool.len())));
                (format!("set{number}"), set.collect())
            })
            .collect();
        let (_zone, pod) = furnish(families, network, gai_conf, &sets)?;
        for release in Release::ALL {
            let (mut ours, mut reference) = pair(&pod, release)?;
            for (name, set) in &sets {
                for call in ["UNSPEC 1 0 0", "INET 1 0 0", "INET6 1 0 0x18"] {
                    separated += compare_pairs(&mut ours, &mut reference, name, call)
                        .with_context(|| {
                            format!("seed {seed}, {release:?}, {families} {network:?} {gai_conf:?}: {set:?}")
                        })?;
                }
            }
        }
    }
    ensure!(separated > 5_000, "seed {seed}: only {separated} pairs");
    Ok(())
}

/// Compares the order of each pair; how many of them libc's rules tell apart.
fn compare_pairs(
    ours: &mut Session,
    reference: &mut Session,
    name: &str,
    call: &str,
) -> Result<usize> {
    let ask = |session: &mut Session, name: &str, who: Option<&str>| -> Result<Vec<String>> {
        // Absolute: where one family is missing glibc would go on to names that are not ours.
        let name = format!("{name}.shop.svc.cluster.local.");
        let reply = session.ask(&format!("gai {name} 80 {call}"))?;
        ensure!(
            reply.error.is_some() || who.is_none_or(|who| reply.who() == who),
            "from {}",
            reply.who()
        );
        Ok(reply.entries.into_iter().map(|one| one.address).collect())
    };
    let expected = ask(reference, name, None)?;
    let again = ask(reference, &turned(name), None)?;
    let mut got = Vec::new();
    for _ in 0..4 {
        got.push(ask(ours, name, Some("zone"))?);
    }
    let mut separated = 0;
    for (place, first) in expected.iter().enumerate() {
        for second in &expected[place + 1..] {
            let comes_first = |order: &[String]| -> Option<bool> {
                let place = |address| order.iter().position(|one| one == address);
                Some(place(first)? < place(second)?)
            };
            if comes_first(&again) != Some(true) {
                continue;
            }
            separated += 1;
            for order in &got {
                ensure!(
                    comes_first(order) == Some(true),
                    "{call}: {first} is before {second}: libc {expected:?}, ours {order:?}"
                );
            }
        }
    }
    ensure!(
        got.iter().all(|order| order.len() == expected.len()),
        "{call}: libc {expected:?}, ours {got:?}"
    );
    Ok(separated)
}

/// Behind NSS glibc sorts by itself what the module gives it.
#[test]
fn the_module_leaves_the_order_to_glibc() -> Result<()> {
    for case in CASES {
        let (_zone, pod) = rooms(case)?;
        let mut ours = Session::start(&pod, Door::Nss)?;
        let mut reference = Session::start(&pod, Door::PlainGlibc)?;
        for call in case.calls {
            compare(&mut ours, &mut reference, call).context(case.name)?;
        }
    }
    Ok(())
}

/// `reload yes`: the file is read again when it changes; without it, never. A change takes a second
/// at most, here; at once in libc.
#[test]
fn gai_conf_is_read_again_where_it_says_so() -> Result<()> {
    let (v4, v6) = ("10.96.1.1", "fd00:96::1");
    for (first_line, follows) in [("reload yes\n", true), ("label ::/0 1\n", false)] {
        let case = Case {
            name: "reload",
            families: "46",
            network: &[],
            gai_conf: first_line,
            destinations: &["10.96.1.1", "fd00:96::1"],
            calls: &[],
            releases: &[],
        };
        let (_zone, pod) = rooms(&case)?;
        let mut ours = Session::start(&pod, Door::ShimGlibc)?;
        let mut reference = Session::start(&pod, Door::PlainGlibc)?;
        // One process that has read the old file for good, and one that reads the new one.
        let call = "gai forwards 80 UNSPEC 1 0 0";
        let ipv6_first = [v6.to_owned(), v4.to_owned()];
        ensure!(order(&mut ours, call, Some("zone"))? == ipv6_first);
        ensure!(order(&mut reference, call, None)? == ipv6_first);
        let change = format!("{first_line}precedence ::ffff:0:0/96 100\n");
        pod.replace("gai.conf", &change)?;
        let mut witness = Session::start(&pod, Door::ShimGlibc)?;
        let expected = order(&mut reference, call, None)?;
        ensure!((expected[0] == v4) == follows, "libc: {expected:?}");
        if follows {
            zonefile::wait(|| Ok(order(&mut ours, call, Some("zone"))? == expected))?;
        } else {
            // nsswitch.conf is looked at in the same second as gai.conf would be.
            pod.replace("nsswitch.conf", "hosts: files\n")?;
            zonefile::wait(|| Ok(ours.ask(call)?.who() == "pass(nsswitch)"))?;
            pod.replace("nsswitch.conf", pod::HOSTS_LINE)?;
            zonefile::wait(|| Ok(ours.ask(call)?.who() == "zone"))?;
            ensure!(order(&mut ours, call, Some("zone"))? == ipv6_first);
        }
        ensure!(order(&mut witness, call, Some("zone"))?[0] == v4);
    }
    Ok(())
}

/// Without a descriptor libc takes every destination for unreachable; ours has an answer then, and
/// the order is libc's for such destinations.
#[test]
fn without_descriptors_precedence_decides() -> Result<()> {
    let case = Case {
        name: "descriptors",
        families: "4",
        network: &[],
        gai_conf: "",
        destinations: &["10.96.1.1", "fd00:96::1"],
        calls: &[],
        releases: &[],
    };
    let (mut zone, pod) = rooms(&case)?;
    publish(&mut zone, "late", &["10.96.1.2", "fd00:96::2"])?;
    let mut ours = Session::start(&pod, Door::ShimGlibc)?;
    let call = "gai forwards 80 UNSPEC 1 0 0";
    ensure!(order(&mut ours, call, Some("zone"))? == ["10.96.1.1", "fd00:96::1"]);
    ours.ask("limit 3")?;
    let call = "gai late 80 UNSPEC 1 0 0";
    ensure!(order(&mut ours, call, Some("zone"))? == ["fd00:96::2", "10.96.1.2"]);
    Ok(())
}

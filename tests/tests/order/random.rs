//! Sets of destinations that nobody has thought of.

use crate::world::{CABLES, furnish, pair, turned};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{choices::Choices, libcs::Release, session::Session};

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
    let mut choices = Choices::seeded(u64::from(std::process::id()))?;
    let seed = choices.seed;
    let mut separated = 0;
    for (families, network, gai_conf) in PLACES {
        let sets: Vec<_> = (0..SETS)
            .map(|number| {
                let mut pool = POOL.to_vec();
                let count = 2 + choices.below(9);
                let set = (0..count).map(|_| pool.swap_remove(choices.below(pool.len())));
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

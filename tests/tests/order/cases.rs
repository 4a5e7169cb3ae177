//! Networks in which one rule or another decides, and the order in them.

use crate::world::{CABLES, configure, furnish, pair, publish, turned};
use anyhow::{Context, Result, bail, ensure};
use nss_k8s_tests::{
    libcs::Release,
    pod::{self, Pod},
    session::{Door, Session},
    writer::Published,
    zonefile,
};

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

/// Publishes the destinations, and has a server tell them forwards and backwards.
fn rooms(case: &Case) -> Result<(Published, Pod)> {
    let sets = [("forwards".to_owned(), case.destinations.to_vec())];
    furnish(case.families, case.network, case.gai_conf, &sets)
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
    addresses.extend(reply.addresses);
    ensure!(!addresses.is_empty(), "{call}: {:?}", reply.error);
    Ok(addresses)
}

/// Compares one call of getaddrinfo.
fn compare(ours: &mut Session, reference: &mut Session, call: &str) -> Result<()> {
    compare_lines(ours, reference, &|name| format!("gai {name} 80 {call}"))
}

/// Compares one call, given the name; ours is asked often enough for every shuffle of two to come.
fn compare_lines(
    ours: &mut Session,
    reference: &mut Session,
    line: &dyn Fn(&str) -> String,
) -> Result<()> {
    let call = line("forwards");
    let expected = order(reference, &call, None)?;
    let again = order(reference, &line(&turned("forwards")), None)?;
    ensure!(
        expected == again,
        "{call}: the rules leave it open: {expected:?}, {again:?}"
    );
    for _ in 0..12 {
        let got = order(ours, &call, Some("zone"))?;
        ensure!(got == expected, "{call}: libc {expected:?}, ours {got:?}");
    }
    Ok(())
}

/// musl sorts for gethostbyname2 as well, glibc does not.
#[test]
fn addresses_of_hosts_come_in_musls_order() -> Result<()> {
    let case = Case {
        name: "hosts",
        families: "46",
        network: &[],
        gai_conf: "",
        destinations: &["fd00:96::1", "2001:db8::1", "2002::1", "2001:0:1::1"],
        calls: &[],
        releases: &[],
    };
    let (_zone, pod) = rooms(&case)?;
    for release in [Release::Musl123, Release::Musl125] {
        let (mut ours, mut reference) = pair(&pod, release)?;
        compare_lines(&mut ours, &mut reference, &|name| {
            format!("host2 {name} INET6")
        })?;
    }
    Ok(())
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

/// What the kernel said counts for the rest of a second, then it is asked again: an address that the
/// pod gets later decides the order, as in libc at once.
#[test]
fn a_new_address_of_the_pod_counts() -> Result<()> {
    let case = Case {
        name: "later",
        families: "4",
        network: &[],
        gai_conf: "",
        destinations: &["10.96.1.1", "2001:db8::1"],
        calls: &[],
        releases: &[],
    };
    let call = "gai forwards 80 UNSPEC 1 0 0";
    for release in [Release::Glibc236, Release::Musl123] {
        let (_zone, pod) = rooms(&case)?;
        let (mut ours, mut reference) = pair(&pod, release)?;
        let before = order(&mut reference, call, None)?;
        ensure!(order(&mut ours, call, Some("zone"))? == before);
        for line in [
            "-6 addr add 2001:db8::7/64 dev lo nodad",
            "-6 route add default dev lo src 2001:db8::7",
        ] {
            configure(&pod, line)?;
        }
        let after = order(&mut reference, call, None)?;
        ensure!(after != before, "libc: {after:?}");
        zonefile::wait(|| Ok(order(&mut ours, call, Some("zone"))? == after))?;
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

//! What the zone answers, name by name: facts of the cluster-DNS specification and of CoreDNS.
#![cfg(not(loom))]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "ordinary std tests"
)]

#[path = "answers/shop.rs"]
mod shop;

use nss_k8s_zone::{Ask, Config, Found, MissPolicy, PodMode, Srv};
use shop::{BOTH, Shop, V4, V6, slice, v4, v6};

const NODATA: Found = Found::NoData;
const NXDOMAIN: Found = Found::NxDomain;

#[test]
fn names_that_exist_without_addresses() {
    let shop = Shop::open();
    for name in [
        "cluster.local",
        "svc.cluster.local",
        "pod.cluster.local",
        "dns.cluster.local",
        "dns-version.cluster.local",
        "shop.svc.cluster.local",
        "shop.pod.cluster.local",
        "_tcp.api.shop.svc.cluster.local",
        "_tcp.db.shop.svc.cluster.local",
    ] {
        assert_eq!(
            shop.ask(name, BOTH),
            (NODATA, vec![], String::new()),
            "{name}"
        );
    }
    // CoreDNS's own name, and what it takes for that.
    for name in [
        "ns.dns.cluster.local",
        "ns.dns.cluster.local.cluster.local",
        "ns.dns.cluster.local.shop.svc.cluster.local",
        "ns.dns.cluster.local.svc.pod.cluster.local",
    ] {
        assert_eq!(shop.found(name), Found::Ask(Ask::NotHeld), "{name}");
    }
    for name in [
        "ns.dns.cluster.localx.cluster.local",
        "x.ns.dns.cluster.local.cluster.local",
        "ns.dns.svc.cluster.local",
    ] {
        assert_eq!(shop.found(name), NXDOMAIN, "{name}");
    }
    for name in [
        "example.com",
        "cluster.local.example",
        "xcluster.local",
        "local",
        "",
    ] {
        assert_eq!(shop.found(name), Found::Outside, "{name}");
    }
}

#[test]
fn cluster_ip_services() {
    let shop = Shop::open();
    let api = vec![v4("10.96.1.1")];
    for name in [
        "api.shop.svc.cluster.local",
        "_http._tcp.api.shop.svc.cluster.local",
        "http.tcp.api.shop.svc.cluster.local",
    ] {
        assert_eq!(shop.addresses(name, BOTH), api, "{name}");
        assert_eq!(shop.addresses(name, V4), api, "{name}");
        assert_eq!(shop.ask(name, V6).0, NODATA, "{name}");
    }
    let dual = "dual.shop.svc.cluster.local";
    assert_eq!(
        shop.addresses(dual, BOTH),
        [v4("10.96.1.2"), v6("fd00:96::2")]
    );
    assert_eq!(shop.addresses(dual, V6), [v6("fd00:96::2")]);
    for name in [
        "_https._tcp.api.shop.svc.cluster.local",
        "_http._udp.api.shop.svc.cluster.local",
        "_udp.api.shop.svc.cluster.local",
        "a.b.c.api.shop.svc.cluster.local",
        "*.shop.svc.cluster.local",
        "api.absent.svc.cluster.local",
        "absent.svc.cluster.local",
        "api.shop.cluster.local",
    ] {
        assert_eq!(shop.found(name), NXDOMAIN, "{name}");
    }
}

#[test]
fn endpoints_of_cluster_ip_services() {
    let mut shop = Shop::open();
    let held = "10-244-0-9.api.shop.svc.cluster.local";
    assert_eq!(shop.found(held), Found::Ask(Ask::NotHeld));
    shop.slice("api", 1, &slice(&[("10.244.0.9", None, true)]));
    assert_eq!(shop.addresses(held, BOTH), [v4("10.244.0.9")]);
    let other = "10-244-0-8.api.shop.svc.cluster.local";
    assert_eq!(shop.found(other), Found::Ask(Ask::NotHeld));
    shop.configure(&Config {
        endpoints_held: true,
        ..Config::default()
    });
    assert_eq!(shop.found(other), NXDOMAIN);
    // The service's own address does not change.
    assert_eq!(
        shop.addresses("api.shop.svc.cluster.local", BOTH),
        [v4("10.96.1.1")]
    );
}

#[test]
fn headless_services() {
    let shop = Shop::open();
    let db = "db.shop.svc.cluster.local";
    assert_eq!(
        shop.addresses(db, BOTH),
        [
            v4("10.244.0.1"),
            v4("10.244.0.2"),
            v4("10.244.0.3"),
            v6("fd00::1")
        ]
    );
    assert_eq!(shop.addresses(db, V6), [v6("fd00::1")]);
    assert_eq!(
        shop.addresses("_pg._tcp.db.shop.svc.cluster.local", V4)
            .len(),
        3
    );
    assert_eq!(shop.found("_pg._udp.db.shop.svc.cluster.local"), NXDOMAIN);
    assert_eq!(
        shop.addresses("db-0.db.shop.svc.cluster.local", BOTH),
        [v4("10.244.0.1"), v6("fd00::1")]
    );
    assert_eq!(
        shop.addresses("10-244-0-3.db.shop.svc.cluster.local", BOTH),
        [v4("10.244.0.3")]
    );
    assert_eq!(shop.ask("db-1.db.shop.svc.cluster.local", V6).0, NODATA);
    for name in [
        // It has a host name, so its dashed address is no name.
        "10-244-0-1.db.shop.svc.cluster.local",
        // Not ready.
        "db-2.db.shop.svc.cluster.local",
        "10-244-0-4.db.shop.svc.cluster.local",
        "db-9.db.shop.svc.cluster.local",
        "empty.shop.svc.cluster.local",
    ] {
        assert_eq!(shop.found(name), NXDOMAIN, "{name}");
    }
}

#[test]
fn an_address_in_two_slices_is_answered_once() {
    let mut shop = Shop::open();
    let mut second = slice(&[("10.244.0.1", Some("db-0"), true)]);
    second.endpoints[0].shadowed = true;
    shop.slice("db", 9, &second);
    assert_eq!(shop.addresses("db.shop.svc.cluster.local", V4).len(), 3);
    assert_eq!(
        shop.addresses("db-0.db.shop.svc.cluster.local", V4),
        [v4("10.244.0.1")]
    );
    // The first slice lets go of it: the second still knows the name.
    shop.slice("db", 1, &slice(&[("10.244.0.2", Some("db-1"), true)]));
    assert_eq!(
        shop.addresses("db-0.db.shop.svc.cluster.local", V4),
        [v4("10.244.0.1")]
    );
}

#[test]
fn external_names() {
    let shop = Shop::open();
    let at = |name: &str| format!("{name}.shop.svc.cluster.local");
    assert_eq!(
        shop.ask(&at("ext"), BOTH),
        (Found::Chase, vec![], "ext.example.net".to_owned())
    );
    let (found, addresses, canonical) = shop.ask(&at("alias"), BOTH);
    assert_eq!((found, canonical), (Found::Answer { count: 1 }, at("api")));
    assert_eq!(addresses, [v4("10.96.1.1")]);
    assert_eq!(shop.ask(&at("alias"), V6), (NODATA, vec![], at("api")));
    assert_eq!(shop.found(&at("x.ext")), NXDOMAIN);
    assert_eq!(shop.found(&at("_http._tcp.ext")), NXDOMAIN);
    assert_eq!(shop.found(&at("loop")), Found::Ask(Ask::Chain));
    // The target's namespace does not exist: CoreDNS keeps quiet about the alias, we keep it.
    assert_eq!(shop.found(&at("dangling")), NODATA);
    assert_eq!(shop.found(&at("missing")), Found::Ask(Ask::Miss));
}

#[test]
fn absent_services_follow_the_miss_policy() {
    let mut shop = Shop::open();
    let names = [
        ("nope.shop.svc.cluster.local", Ask::Miss),
        ("any.shop.svc.cluster.local", Ask::Miss),
        ("x.nope.shop.svc.cluster.local", Ask::MissBelow),
        ("_http._tcp.nope.shop.svc.cluster.local", Ask::MissBelow),
    ];
    for (name, ask) in names {
        assert_eq!(shop.found(name), Found::Ask(ask), "{name}");
    }
    shop.configure(&Config {
        miss_policy: MissPolicy::NxDomain,
        ..Config::default()
    });
    for (name, _) in names {
        assert_eq!(shop.found(name), NXDOMAIN, "{name}");
    }
}

#[test]
fn slices_without_their_service_are_not_seen() {
    let mut shop = Shop::open();
    shop.slice("early", 1, &slice(&[("10.244.9.9", None, true)]));
    assert_eq!(
        shop.found("early.shop.svc.cluster.local"),
        Found::Ask(Ask::Miss)
    );
    assert_eq!(shop.names("10.244.9.9").0, Found::Ask(Ask::NotHeld));
    shop.headless("early");
    assert_eq!(
        shop.addresses("early.shop.svc.cluster.local", BOTH),
        [v4("10.244.9.9")]
    );
    shop.delete("early");
    assert_eq!(
        shop.found("early.shop.svc.cluster.local"),
        Found::Ask(Ask::Miss)
    );
}

#[test]
fn names_of_pods() {
    let mut shop = Shop::open();
    let at = |label: &str| format!("{label}.shop.pod.cluster.local");
    assert_eq!(shop.addresses(&at("10-240-0-1"), BOTH), [v4("10.240.0.1")]);
    assert_eq!(shop.addresses(&at("fd00--7"), BOTH), [v6("fd00::7")]);
    assert_eq!(shop.ask(&at("10-240-0-1"), V6).0, NODATA);
    assert_eq!(shop.found(&at("blah")), NXDOMAIN);
    assert_eq!(shop.found(&at("x.10-240-0-1")), NXDOMAIN);
    assert_eq!(shop.found("10-240-0-1.absent.pod.cluster.local"), NXDOMAIN);
    shop.configure(&Config {
        pod_mode: PodMode::Disabled,
        ..Config::default()
    });
    assert_eq!(shop.found(&at("10-240-0-1")), NXDOMAIN);
}

#[test]
fn excepted_suffixes_ask() {
    let mut shop = Shop::open();
    let excepted_suffixes = vec!["shop.svc.cluster.local".to_owned(), "x.org.".to_owned()];
    shop.configure(&Config {
        excepted_suffixes,
        ..Config::default()
    });
    for name in ["api.shop.svc.cluster.local", "shop.svc.cluster.local"] {
        assert_eq!(shop.found(name), Found::Ask(Ask::Excepted), "{name}");
    }
    assert_eq!(shop.found("api.ashop.svc.cluster.local"), NXDOMAIN);
    assert_eq!(shop.found("x.org"), Found::Outside);
}

#[test]
fn reverse_lookup() {
    let mut shop = Shop::open();
    let one = |name: &str| (Found::Answer { count: 1 }, vec![name.to_owned()]);
    assert_eq!(shop.names("10.96.1.1"), one("api.shop.svc.cluster.local"));
    assert_eq!(shop.names("fd00:96::2"), one("dual.shop.svc.cluster.local"));
    assert_eq!(
        shop.names("10.244.0.1"),
        one("db-0.db.shop.svc.cluster.local")
    );
    assert_eq!(
        shop.names("10.244.0.3"),
        one("10-244-0-3.db.shop.svc.cluster.local")
    );
    assert_eq!(shop.names("fd00::1"), one("db-0.db.shop.svc.cluster.local"));
    assert_eq!(shop.names("10.244.0.4").0, Found::Ask(Ask::NotHeld));
    shop.configure(&Config {
        ptr_authoritative: true,
        ..Config::default()
    });
    assert_eq!(shop.names("10.244.0.4").0, NXDOMAIN);
    // An endpoint of eight services has eight names; of nine, too many.
    for number in 0..7 {
        shop.headless(&format!("other{number}"));
        shop.slice(
            &format!("other{number}"),
            1,
            &slice(&[("10.244.0.1", None, true)]),
        );
    }
    assert_eq!(shop.names("10.244.0.1").0, Found::Answer { count: 8 });
    shop.headless("ninth");
    shop.slice("ninth", 1, &slice(&[("10.244.0.1", None, true)]));
    assert_eq!(shop.names("10.244.0.1").0, Found::Ask(Ask::NotHeld));
}

#[test]
fn services_records() {
    let shop = Shop::open();
    let api = "api.shop.svc.cluster.local";
    assert_eq!(shop.services(api), [(100, 80, api.to_owned())]);
    assert_eq!(
        shop.services(&format!("_http._tcp.{api}")),
        [(100, 80, api.to_owned())]
    );
    // Two addresses share the weight of one target.
    let dual = "dual.shop.svc.cluster.local";
    assert_eq!(shop.services(dual), [(50, 443, dual.to_owned())]);
    let db = |label: &str| (25, 5432, format!("{label}.db.shop.svc.cluster.local"));
    let expected = [db("db-0"), db("db-1"), db("10-244-0-3")];
    assert_eq!(
        shop.services("_pg._tcp.db.shop.svc.cluster.local"),
        expected
    );
    let mut room = [Srv::EMPTY; 1];
    let mut srv = |name: &str| shop.read(|zone| zone.services(name.as_bytes(), &mut room));
    assert_eq!(srv("db.shop.svc.cluster.local"), Found::Room(3));
    assert_eq!(srv("_x._tcp.db.shop.svc.cluster.local"), NXDOMAIN);
    assert_eq!(srv("ext.shop.svc.cluster.local"), NODATA);
    assert_eq!(srv("shop.svc.cluster.local"), NODATA);
    assert_eq!(srv("nope.absent.svc.cluster.local"), NXDOMAIN);
}

#[test]
fn a_small_room_is_told_what_is_needed_and_an_answer_is_bounded() {
    let mut shop = Shop::open();
    let mut canonical = nss_k8s_zone::Name::EMPTY;
    let mut room = [v4("0.0.0.0"); 2];
    let found = shop.read(|zone| {
        zone.addresses(
            b"db.shop.svc.cluster.local",
            BOTH,
            &mut room,
            &mut canonical,
        )
    });
    assert_eq!(found, Found::Room(4));
    shop.headless("wide");
    for id in 0..50_u32 {
        let endpoints: Vec<String> = (0..100)
            .map(|number| format!("10.{}.{id}.{number}", 100 + id % 3))
            .collect();
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|address| (address.as_str(), None, true))
            .collect();
        shop.slice("wide", u64::from(id), &slice(&endpoints));
    }
    assert_eq!(
        shop.addresses("wide.shop.svc.cluster.local", BOTH).len(),
        4096
    );
    let last = shop.addresses("10-101-49-99.wide.shop.svc.cluster.local", BOTH);
    assert_eq!(last, [v4("10.101.49.99")]);
}

#[test]
fn configuration_reaches_readers() {
    let mut shop = Shop::open();
    shop.configure(&Config {
        ttl: 30,
        disabled_permille: 7,
        refused_builds: vec![4, 1 << 60],
        cluster_dns: vec![v4("10.96.0.10"), v6("fd00::a"), v4("169.254.20.10")],
        ..Config::default()
    });
    shop.read(|zone| {
        assert_eq!((zone.ttl(), zone.disabled_permille()), (30, 7));
        assert!(zone.refuses_build(4) && zone.refuses_build(1 << 60) && !zone.refuses_build(5));
        for known in [v4("10.96.0.10"), v4("169.254.20.10"), v6("fd00::a")] {
            assert!(zone.trusts_nameserver(&known));
        }
        assert!(!zone.trusts_nameserver(&v4("10.96.0.11")));
        assert!(zone.contains(b"x.cluster.local") && !zone.contains(b"x.local"));
    });
    shop.configure(&Config {
        accept_any_nameserver: true,
        ..Config::default()
    });
    assert!(shop.read(|zone| zone.trusts_nameserver(&v4("10.96.0.11"))));
}

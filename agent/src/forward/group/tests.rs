//! Which upstreams are asked, and in which order.

use super::*;
use hickory_proto::rr::{Name, RecordType};

fn name(text: &str) -> Name {
    Name::from_ascii(text).unwrap()
}

fn question(text: &str) -> Question {
    Question::of(&name(text), RecordType::A).unwrap()
}

/// Upstream number so and so.
fn address(number: u8) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, number], 53))
}

fn group(zone: &str, numbers: &[u8], policy: Policy) -> GroupSettings {
    let tcp = |number: &u8| UpstreamSettings::tcp(address(*number));
    GroupSettings {
        zones: vec![name(zone)],
        upstreams: numbers.iter().map(tcp).collect(),
        policy,
        ..GroupSettings::default()
    }
}

fn routing(groups: Vec<GroupSettings>, cluster_dns: &[u8]) -> Routing {
    let settings = Settings {
        groups,
        ..Settings::default()
    };
    let cluster_dns: Vec<_> = cluster_dns.iter().map(|it| address(*it)).collect();
    Routing::new(
        &settings,
        &cluster_dns,
        &Routing::default(),
        &Metrics::new(),
    )
}

/// The last octets of the addresses, in the order of asking.
fn numbers(order: &Order) -> Vec<u8> {
    let last = |it: &Arc<Upstream>| match it.settings.address.ip() {
        std::net::IpAddr::V4(address) => address.octets()[3],
        std::net::IpAddr::V6(_) => 0,
    };
    order.upstreams.iter().map(last).collect()
}

#[test]
fn the_longest_zone_counts() {
    let groups = vec![
        group("example.", &[1], Policy::Sequential),
        group("corp.example.", &[2], Policy::Sequential),
    ];
    let routing = routing(groups, &[9]);
    for (asked, number) in [
        ("example.", 1),
        ("WWW.example.", 1),
        ("corp.example.", 2),
        ("a.b.Corp.example.", 2),
        ("xcorp.example.", 1),
        ("example.org.", 9),
        (".", 9),
    ] {
        let group = routing.group(&question(asked)).unwrap();
        assert_eq!(numbers(&group.order(0))[0], number, "{asked}");
        assert_eq!(group.is_cluster, number == 9);
    }
}

#[test]
fn a_group_without_servers_is_nobody() {
    let routing = routing(Vec::new(), &[]);
    let order = routing.group(&question("example.")).unwrap().order(0);
    assert!(order.upstreams.is_empty() && order.all_down);
}

#[test]
fn one_server_is_tried_again() {
    let routing = routing(vec![group(".", &[1], Policy::Random)], &[]);
    let order = routing.group(&question("example.")).unwrap().order(7);
    assert_eq!(numbers(&order), [1; ATTEMPTS]);
}

#[test]
fn policies_order_the_healthy_ones() {
    let of = |policy| routing(vec![group(".", &[1, 2, 3], policy)], &[]);
    let orders = |routing: &Routing| -> Vec<Vec<u8>> {
        let group = routing.group(&question("example.")).unwrap();
        (0..6).map(|chance| numbers(&group.order(chance))).collect()
    };
    assert!(
        orders(&of(Policy::Sequential))
            .iter()
            .all(|it| *it == [1, 2, 3])
    );
    let turns = orders(&of(Policy::RoundRobin));
    assert_eq!(turns[..4], [[1, 2, 3], [2, 3, 1], [3, 1, 2], [1, 2, 3]]);
    let mut random = orders(&of(Policy::Random));
    random.sort();
    random.dedup();
    assert_eq!(random.len(), 6, "every order is one of them");
}

#[test]
fn the_dead_are_asked_where_all_are_and_loops_never() {
    let routing = routing(vec![group(".", &[1, 2, 3], Policy::Sequential)], &[]);
    let group = routing.group(&question("example.")).unwrap();
    let kill = |at: usize| (0..2).for_each(|_| group.upstreams[at].failed());
    kill(0);
    let order = group.order(0);
    assert_eq!((numbers(&order), order.all_down), (vec![2, 3, 2], false));
    group.upstreams[1].set_looping(true);
    assert_eq!(numbers(&group.order(0)), [3, 3, 3]);
    assert!(!group.is_down());
    kill(2);
    let order = group.order(0);
    assert_eq!((numbers(&order), order.all_down), (vec![1, 3, 1], true));
    assert!(group.is_down());
}

#[test]
fn upstreams_stay_where_their_settings_do() {
    let settings = Settings {
        groups: vec![group(".", &[1, 2], Policy::Random)],
        ..Settings::default()
    };
    let old = Routing::new(&settings, &[], &Routing::default(), &Metrics::new());
    old.groups[0].upstreams[0].failed();
    let mut changed = settings.clone();
    changed.groups[0].upstreams[1].pipeline = true;
    let new = Routing::new(&changed, &[], &old, &Metrics::new());
    let same = |at: usize| Arc::ptr_eq(&old.groups[0].upstreams[at], &new.groups[0].upstreams[at]);
    assert!(same(0) && !same(1));
}

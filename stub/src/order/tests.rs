//! The two orders by tables of cases: destinations, what the kernel would say of them, and the order.

use super::network::{Interface, Source, mapped};
use super::policy::{Policy, Tables};
use super::{Item, Network, place};
use crate::sys::Libc;
use nss_k8s_zone::Address;
use proptest::prelude::*;
use std::collections::HashMap;
use std::net::IpAddr;

fn address(text: &str) -> Address {
    match text.parse().unwrap() {
        IpAddr::V4(address) => Address::v4(address.octets()),
        IpAddr::V6(address) => Address::v6(address.octets()),
    }
}

fn text(address: &Address) -> String {
    match address.family {
        nss_k8s_zone::Family::V4 => {
            IpAddr::from(*address.octets.first_chunk::<4>().unwrap()).to_string()
        }
        nss_k8s_zone::Family::V6 => IpAddr::from(address.octets).to_string(),
    }
}

/// A network by heart: destination, source, and what glibc knows of the source's interface.
#[derive(Default)]
struct Fake {
    sources: HashMap<Address, Source>,
    tunnels: Vec<u32>,
    asked_for_interfaces: u32,
}

impl Fake {
    /// `DESTINATION` (unreachable), or `DESTINATION<SOURCE`, then `/PREFIX`, `%INDEX`, `deprecated`
    /// and `home` in any order.
    fn add(&mut self, line: &str) -> Address {
        let mut words = line.split(' ');
        let first = words.next().unwrap();
        let (destination, source) = first.split_once('<').unwrap_or((first, ""));
        let destination = address(destination);
        if source.is_empty() {
            return destination;
        }
        let mut interface = Interface::UNKNOWN;
        for word in words {
            match (word, word.split_at(1)) {
                ("deprecated", _) => interface.is_deprecated = true,
                ("home", _) => interface.is_home = true,
                (_, ("/", bits)) => interface.prefix = bits.parse().unwrap(),
                (_, ("%", index)) => interface.index = index.parse().unwrap(),
                _ => panic!("{word}"),
            }
        }
        let address = mapped(&address(source));
        self.sources
            .insert(destination, Source { address, interface });
        destination
    }
}

impl Network for Fake {
    fn source_for(&mut self, destination: &Address) -> Option<Source> {
        self.sources.get(destination).copied()
    }

    fn is_native(&mut self, index: u32) -> bool {
        self.asked_for_interfaces += 1;
        index != 0 && !self.tunnels.contains(&index)
    }
}

/// The order of `lines`, with the given tables.
fn sorted(libc: Libc, tables: &Tables<'_>, tunnels: &[u32], lines: &[&str]) -> Vec<String> {
    let mut network = Fake {
        tunnels: tunnels.to_vec(),
        ..Fake::default()
    };
    let mut addresses: Vec<_> = lines.iter().map(|line| network.add(line)).collect();
    let mut items = vec![Item::NOTHING; addresses.len()];
    let mut room = items.clone();
    place(
        libc,
        tables,
        &mut network,
        &mut addresses,
        &mut items,
        &mut room,
    );
    addresses.iter().map(text).collect()
}

/// Both orders of two destinations give the first one first.
fn first(libc: Libc, tables: &Tables<'_>, one: &str, other: &str) {
    for lines in [[one, other], [other, one]] {
        let expected = one.split(['<', ' ']).next().unwrap();
        let order = sorted(libc, tables, &[9], &lines);
        assert_eq!(order[0], expected, "{libc:?}: {one} before {other}");
    }
}

/// Both orders of two destinations stay.
fn alike(libc: Libc, tables: &Tables<'_>, one: &str, other: &str) {
    for lines in [[one, other], [other, one]] {
        let expected = lines[0].split(['<', ' ']).next().unwrap();
        let order = sorted(libc, tables, &[9], &lines);
        assert_eq!(order[0], expected, "{libc:?}: {one} is like {other}");
    }
}

#[test]
fn each_rule_of_glibc_decides() {
    let tables = Tables::defaults();
    for (one, other) in [
        // 1: what cannot be reached comes last, whatever its precedence.
        ("10.0.0.1<10.0.0.9", "fd00::1"),
        // 2: a destination of its source's scope; 10/8 is global, 169.254/16 and loopback are not.
        ("10.0.0.1<10.0.0.9", "fe80::1<fd00::9"),
        ("10.0.0.1<10.0.0.9", "fd00::1<fe80::9"),
        ("169.254.0.1<127.0.0.1", "10.0.0.1<127.0.0.1"),
        ("::1<::1", "fec0::1<fd00::9"),
        // 3: a source that is not deprecated.
        ("10.0.0.1<10.0.0.9", "fd00::1<fd00::9 deprecated"),
        // 4: a home address.
        ("10.0.0.1<10.0.0.9 home", "fd00::1<fd00::9"),
        // 5: a destination of its source's label: global from unique local is none.
        ("10.0.0.1<10.0.0.9", "2001:db8::1<fd00::9"),
        ("fd00::1<fd00::9", "2001:db8::1<fd00::9"),
        // 6: precedence.
        ("fd00::1<fd00::9", "10.0.0.1<10.0.0.9"),
        ("2001:db8::1<2001:db8::9", "2002::1<2002::9"),
        // 7: no tunnel; what is not on the list counts as one.
        ("fd00::1<fd00::8 %2", "fd00::2<fd00::9 %9"),
        ("fd00::1<fd00::8 %2", "fd00::2<fd00::9"),
        // 8: the smaller scope.
        ("fe80::1<fe80::9", "2001:db8::1<2001:db8::9"),
        // 9: the longer common prefix; of IPv4 only in the source's own subnet.
        ("fd00:1::1<fd00:1::9", "fd00:2::1<fd00:1::9"),
        ("10.0.0.8<10.0.0.9 /24", "10.0.0.1<10.0.0.9 /24"),
        ("10.0.0.1<10.0.0.9 /24", "10.0.1.9<10.0.0.9 /24"),
        ("10.0.0.9<10.0.0.9", "10.0.0.8<10.0.0.9"),
        ("::ffff:10.0.0.8<10.0.0.9", "::ffff:10.0.0.1<10.0.0.9"),
    ] {
        first(Libc::Glibc, &tables, one, other);
    }
    for (one, other) in [
        // Outside of the subnet, or without one, IPv4 addresses are alike.
        ("10.0.1.1<10.0.0.9 /24", "10.200.0.1<10.0.0.9 /24"),
        ("10.0.0.8<10.0.0.9", "10.0.0.1<10.0.0.9"),
        ("10.0.0.8<10.0.0.9 /32", "10.0.0.1<10.0.0.9 /32"),
        // Two that cannot be reached, of one precedence and scope.
        ("fd00::1", "2001:db8::1"),
        // One interface: nobody asks what it is.
        ("fd00::1<fd00::9 %9", "fd00::1:0:1<fd00::1:0:9 %9"),
    ] {
        alike(Libc::Glibc, &tables, one, other);
    }
}

#[test]
fn each_rule_of_musl_decides() {
    let tables = Tables::defaults();
    for (one, other) in [
        ("10.0.0.1<10.0.0.9", "fd00::1"),
        ("10.0.0.1<10.0.0.9", "fe80::1<fd00::9"),
        ("10.0.0.1<10.0.0.9", "2001:db8::1<fd00::9"),
        // Precedence: IPv4 before unique local, after global.
        ("10.0.0.1<10.0.0.9", "fd00::1<fd00::9"),
        ("2001:db8::1<2001:db8::9", "10.0.0.1<10.0.0.9"),
        ("10.0.0.1<10.0.0.9", "2002::1<2002::9"),
        ("2002::1<2002::9", "2001:0:1::1<2001:0:1::9"),
        ("::1<::1", "2001:db8::1<2001:db8::9"),
        // Scope, then the prefix, without a look at the subnet.
        ("fe80::1<fe80::9", "2001:db8::1<2001:db8::9"),
        ("fd00:1::1<fd00:1::9", "fd00:2::1<fd00:1::9"),
        ("::ffff:10.0.0.8<10.0.0.9", "::ffff:10.0.0.1<10.0.0.9"),
        ("10.0.0.8<10.0.0.9 /8", "10.0.0.1<10.0.0.9 /32"),
    ] {
        first(Libc::Musl, &tables, one, other);
    }
    for (one, other) in [
        // Rules 3, 4 and 7 are not there.
        ("fd00::1<fd00::9 deprecated", "fd00::3<fd00::9 home"),
        ("fd00::1<fd00::9 %9", "fd00::3<fd00::9 %2"),
    ] {
        alike(Libc::Musl, &tables, one, other);
    }
}

#[test]
fn a_file_changes_glibcs_order() {
    let read = |text: &str| {
        let mut policy = Policy::SILENT;
        assert!(policy.read(text.as_bytes()));
        policy
    };
    let (v4, v6) = ("10.0.0.1<10.0.0.9", "fd00::1<fd00::9");
    let policy = read("precedence ::ffff:0:0/96 100");
    first(Libc::Glibc, &policy.tables(), v4, v6);
    let policy = read("scopev4 10.0.0.0/8 5\nprecedence ::/0 1\nprecedence ::ffff:0:0/96 1");
    first(Libc::Glibc, &policy.tables(), v4, v6);
    first(Libc::Glibc, &policy.tables(), v4, "11.0.0.1<11.0.0.9");
    let policy = read("label fd00:1::/32 1\nlabel fd00:2::/32 2");
    let (one, two) = ("fd00:2::1<fd00:2::9", "fd00:1::1<fd00:2::9");
    first(Libc::Glibc, &policy.tables(), one, two);
}

/// Rule 9 compares within a family only: with equal precedences the rest is up to the merge sort.
#[test]
fn odd_orders_come_out_as_the_merge_sort_leaves_them() {
    let mut policy = Policy::SILENT;
    assert!(policy.read(b"precedence ::/0 1\nprecedence ::ffff:0:0/96 1\nlabel ::/0 1"));
    let lines = [
        "10.0.0.1<10.0.0.9 /24 %2",
        "fd00::1<fd00::9 %2",
        "10.0.0.8<10.0.0.9 /24 %2",
    ];
    // The back half is [fd00::1, 10.0.0.8]; neither precedes the other. Then 10.0.0.1 is merged.
    assert_eq!(
        sorted(Libc::Glibc, &policy.tables(), &[], &lines),
        ["10.0.0.1", "fd00::1", "10.0.0.8"]
    );
}

#[test]
fn interfaces_are_looked_at_only_where_there_are_several() {
    for (lines, expected) in [
        (["10.0.0.1<10.0.0.9 %2", "fd00::1<fd00::9 %2", "fd00::2"], 0),
        (
            [
                "10.0.0.1<10.0.0.9 %2",
                "fd00::1<fd00::9 %2",
                "fd00::2<fd00::9 %3",
            ],
            2,
        ),
    ] {
        let mut network = Fake::default();
        let mut addresses = lines.map(|line| network.add(line));
        let (mut items, mut room) = ([Item::NOTHING; 3], [Item::NOTHING; 3]);
        let tables = Tables::defaults();
        place(
            Libc::Glibc,
            &tables,
            &mut network,
            &mut addresses,
            &mut items,
            &mut room,
        );
        assert_eq!(network.asked_for_interfaces, expected);
    }
}

#[test]
fn the_loopback_is_sorted_by_the_kernels_word() {
    let mut both = [address("127.0.0.1"), address("::1")];
    assert!(super::sort(Libc::Musl, &mut both));
    assert_eq!(
        super::configured(Libc::Musl).map(|seen| seen.v4),
        Some(true)
    );
    let reachable = super::configured(Libc::Musl).unwrap().v6;
    let expected = if reachable { "::1" } else { "127.0.0.1" };
    assert_eq!(text(&both[0]), expected);
    let mut many: Vec<_> = (0..200)
        .map(|number| Address::v4([127, 0, 0, number]))
        .collect();
    let before = many.clone();
    assert!(super::sort(Libc::Glibc, &mut many));
    many.sort_unstable();
    assert_eq!(many, before);
}

proptest! {
    /// The standard library's stable sort is the oracle where the rules are an order.
    #[test]
    fn the_merge_sort_sorts_and_is_stable(ranks in proptest::collection::vec(0_u64..5, 0..70)) {
        let mut items: Vec<_> = ranks
            .iter()
            .zip(0_u8..)
            .map(|(rank, number)| Item {
                rank: *rank,
                octets: [number; 16],
                ..Item::NOTHING
            })
            .collect();
        let mut expected = items.clone();
        expected.sort_by_key(|item| core::cmp::Reverse(item.rank));
        let mut room = items.clone();
        super::merge_sort(&mut items, &mut room);
        for (one, other) in items.iter().zip(&expected) {
            prop_assert_eq!(one.octets, other.octets);
        }
    }
}

//! gai.conf as files of it are read.

use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Option<Policy> {
    let mut policy = Policy::SILENT;
    policy.read(text.as_bytes()).then_some(policy)
}

fn v6(text: &str) -> u128 {
    u128::from(text.parse::<std::net::Ipv6Addr>().unwrap())
}

#[test]
fn the_default_tables_are_those_of_the_manual() {
    let tables = Tables::defaults();
    let silent = Policy::SILENT;
    for (address, label, precedence) in [
        ("::1", 0, 50),
        ("2002::1", 2, 30),
        ("::7.7.7.7", 3, 20),
        ("::ffff:10.0.0.1", 4, 10),
        ("fec0::1", 5, 40),
        ("feff::1", 5, 40),
        ("fc00::1", 6, 40),
        ("fdff::1", 6, 40),
        ("2001:0:1::1", 7, 40),
        ("2001:db8::1", 1, 40),
        ("fe80::1", 1, 40),
        ("::", 3, 20),
    ] {
        for tables in [tables, silent.tables()] {
            let address = v6(address);
            assert_eq!(
                (tables.label(address), tables.precedence(address)),
                (label, precedence),
                "{address:x}"
            );
        }
    }
    for (address, scope) in [
        ("::ffff:169.254.1.1", 2),
        ("::ffff:169.255.1.1", 14),
        ("::ffff:127.9.9.9", 2),
        ("::ffff:10.0.0.1", 14),
    ] {
        assert_eq!(tables.scope_of_v4(v6(address)), scope, "{address}");
    }
}

#[test]
fn debians_file_says_nothing() {
    let policy = read("# precedence ::1/128 50\n\n   #label ::/0 1\n\t\n").unwrap();
    assert!(policy.is_silent());
    assert!(read("").unwrap().is_silent());
}

#[test]
fn one_row_replaces_the_whole_table() {
    let policy = read("precedence ::ffff:0:0/96  100").unwrap();
    let tables = policy.tables();
    assert_eq!(tables.precedence(v6("::ffff:10.0.0.1")), 100);
    // ::1 had 50 and 2002::/16 had 30.
    assert_eq!(tables.precedence(v6("::1")), 40);
    assert_eq!(tables.precedence(v6("2002::1")), 40);
    assert_eq!(tables.label(v6("::1")), 0);
    assert_eq!(tables.scope_of_v4(v6("::ffff:127.0.0.1")), 2);
}

#[test]
fn the_longest_prefix_counts_and_of_equals_the_first() {
    let policy = read(
        "label ::/0 9\nlabel fd00::/8 3 and more\nlabel fd00:1::/32 4 # why\n\
         label fd00::/8 5\nlabel fd00:1::/32 6\nlabel ::1/128 7\n",
    )
    .unwrap();
    let tables = policy.tables();
    for (address, label) in [
        ("fd00:1::1", 4),
        ("fd00:2::1", 3),
        ("2001::", 9),
        ("::1", 7),
    ] {
        assert_eq!(tables.label(v6(address)), label, "{address}");
    }
}

#[test]
fn scopes_are_written_both_ways() {
    let policy = read(
        "scopev4 ::ffff:169.254.0.0/112 2\nscopev4 10.1.2.3/8 5\nscopev4 fd00::/16 3\n\
         scopev4 ::ffff:1.2.3.4/95 4\n",
    )
    .unwrap();
    let tables = policy.tables();
    for (address, scope) in [
        ("::ffff:169.254.3.3", 2),
        ("::ffff:10.255.0.1", 5),
        ("::ffff:127.0.0.1", 14),
        ("::ffff:1.2.3.4", 14),
    ] {
        assert_eq!(tables.scope_of_v4(v6(address)), scope, "{address}");
    }
    let all = read("scopev4 0.0.0.0/0 7").unwrap();
    assert_eq!(all.tables().scope_of_v4(v6("::ffff:127.0.0.1")), 7);
}

#[test]
fn what_is_no_row_is_skipped() {
    for text in [
        "label",
        "label x/8 1",
        "labels ::/0 1",
        "Label ::/0 1",
        "label 10.0.0.0/8 1",
        "label ::/129 1",
        "reload no",
        "precedence\tnonsense",
        "scopev4 x 2",
    ] {
        assert!(read(text).unwrap().is_silent(), "{text}");
    }
    assert!(read("reload yes").unwrap().reloads);
    assert!(!read("reload yes\nreload").unwrap().reloads);
}

#[test]
fn what_versions_of_glibc_read_differently_is_refused() {
    for text in [
        "label ::1/ 1",
        "label ::1/128",
        "label ::1/128 -1",
        "label ::1/+8 1",
        "label ::1 1",
        "label ::1/128 99999999999",
        "scopev4 10.0.0.0 2",
        "scopev4 10.0.0.0/8",
    ] {
        assert!(read(text).is_none(), "{text}");
    }
    let long = "label fd00::/8 1\n".repeat(ROWS);
    assert!(read(&long).is_none());
    assert!(read(&long[17..]).is_some());
}

proptest! {
    /// Bytes of any kind, and words of the file in any order.
    #[test]
    fn anything_can_be_read(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        words in proptest::collection::vec(
            proptest::sample::select(vec![
                "label", "precedence", "scopev4", "reload", "yes", "::/0", "::ffff:0:0/96", "::1/128",
                "10.0.0.0/8", "/", "129", "0", "7", "\n", "#", "fd00::/200", "::ffff:1.2.3.4/97",
            ]),
            0..60,
        ),
        address in any::<u128>(),
    ) {
        for text in [bytes, words.join(" ").into_bytes()] {
            let mut policy = Policy::SILENT;
            if policy.read(&text) {
                let tables = policy.tables();
                let mapped = 0xffff << 32 | address >> 96;
                tables.label(address);
                tables.precedence(address);
                for rows in [&policy.labels, &policy.precedences, &policy.scopes] {
                    let rows = rows.or(&[]);
                    prop_assert!(rows.is_sorted_by_key(|row| core::cmp::Reverse(row.bits)));
                }
                // Every table ends with a row for everything else.
                let default = tables.scopes.last().unwrap();
                prop_assert_eq!(default.bits, 96);
                tables.scope_of_v4(mapped);
            }
        }
    }
}

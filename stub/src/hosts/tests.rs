//! The index against a scan of the text.

use super::*;
use crate::sys::Libc::{Glibc, Musl};
use proptest::prelude::*;

fn index(libc: Libc, text: &[u8]) -> Option<Vec<u64>> {
    let mut slots = vec![0; MAX_HOSTS_SLOTS];
    let size = Hosts::parse(libc, text, &mut slots)?;
    slots.truncate(size);
    Some(slots)
}

const KUBELETS: &str = "# Kubernetes-managed hosts file.\n\
    127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    10.244.0.7\tdb-0.db.prod.svc.cluster.local\tdb-0\n\
    \n\
    # Entries added by HostAliases.\n\
    192.0.2.1\tLegacy.Example legacy # old name: ancient\n";

#[test]
fn names_are_compared_as_each_libc_does() {
    for (name, glibc, musl) in [
        ("localhost", true, true),
        ("LOCALHOST", true, false),
        ("localhost.", false, false),
        ("ip6-loopback", true, true),
        ("db-0", true, true),
        ("db-0.db.prod.svc.cluster.local", true, true),
        ("db-0.db.prod.svc.cluster.local.", false, false),
        ("Legacy.Example", true, true),
        ("legacy.example", true, false),
        ("ancient", false, false),
        ("db", false, false),
        ("db-01", false, false),
        ("api", false, false),
        ("", false, false),
    ] {
        for (libc, expected) in [(Glibc, glibc), (Musl, musl)] {
            let slots = index(libc, KUBELETS.as_bytes()).unwrap();
            let hosts = Hosts::new(libc, &slots);
            assert_eq!(
                hosts.contains_name(name.as_bytes()),
                expected,
                "{libc:?} {name:?}"
            );
        }
    }
}

#[test]
fn addresses_are_found_in_every_form_that_glibc_finds() {
    let text = b"10.244.0.7 db-0\nfd00::7 db-0\n::ffff:192.0.2.9 mapped\n::1 localhost\n";
    let slots = index(Glibc, text).unwrap();
    let hosts = Hosts::new(Glibc, &slots);
    let mapped = |d| Address::v6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, d]);
    for (address, expected) in [
        (Address::v4([10, 244, 0, 7]), true),
        (Address::v4([10, 244, 0, 8]), false),
        (
            Address::v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]),
            true,
        ),
        (mapped(9), true),
        (mapped(8), false),
        (Address::v4([192, 0, 2, 9]), true),
        (Address::v4([127, 0, 0, 1]), true),
    ] {
        assert_eq!(hosts.contains_address(&address), expected, "{address:?}");
    }
}

#[test]
fn continued_comments_count_on_musl() {
    let text = format!("# {} 10.0.0.1 hidden\n", "x".repeat(510));
    for (libc, expected) in [(Glibc, false), (Musl, true)] {
        let slots = index(libc, text.as_bytes()).unwrap();
        assert_eq!(
            Hosts::new(libc, &slots).contains_name(b"hidden"),
            expected,
            "{libc:?}"
        );
    }
}

#[test]
fn a_comment_may_begin_in_the_middle_of_a_word() {
    let text = format!("10.0.0.1 found#{}\n", "x".repeat(510));
    for libc in [Glibc, Musl] {
        let slots = index(libc, text.as_bytes()).unwrap();
        assert!(Hosts::new(libc, &slots).contains_name(b"found"), "{libc:?}");
    }
}

#[test]
fn an_empty_file_has_an_index() {
    let slots = index(Glibc, b"").unwrap();
    assert!(!slots.is_empty());
    assert!(!Hosts::new(Glibc, &slots).contains_name(b"api"));
}

#[test]
fn what_does_not_fit_is_not_indexed() {
    let lines = |count: usize| {
        (0..count)
            .map(|number| format!("h{number}\n"))
            .collect::<String>()
            .into_bytes()
    };
    assert!(index(Glibc, &lines(4_096)).is_some());
    assert!(index(Glibc, &lines(4_097)).is_none());
    assert!(index(Glibc, &vec![b'\n'; MAX_HOSTS_TEXT]).is_some());
    assert!(index(Glibc, &vec![b'\n'; MAX_HOSTS_TEXT + 1]).is_none());
}

/// Whether a word of some line, before its comment, is the name.
fn scan(libc: Libc, text: &str, name: &str) -> bool {
    text.lines()
        .map(|line| line.split('#').next().unwrap())
        .flat_map(str::split_ascii_whitespace)
        .any(|word| {
            if libc == Glibc {
                word.eq_ignore_ascii_case(name)
            } else {
                word == name
            }
        })
}

proptest! {
    #[test]
    fn the_index_finds_what_a_scan_finds(
        lines in proptest::collection::vec("([a-cA-C.-]{1,10}[ \t]{0,2}){0,5}(#[a-c ]{0,6})?", 0..30),
        names in proptest::collection::vec("[a-cA-C.-]{1,10}", 0..20),
        is_musl in any::<bool>(),
    ) {
        let libc = if is_musl { Musl } else { Glibc };
        let text = lines.join("\n");
        let slots = index(libc, text.as_bytes()).unwrap();
        let hosts = Hosts::new(libc, &slots);
        let words: Vec<_> = text.split_ascii_whitespace().map(String::from).collect();
        for name in names.iter().chain(&words) {
            prop_assert_eq!(
                hosts.contains_name(name.as_bytes()),
                scan(libc, &text, name),
                "{:?} in {:?}", name, text
            );
        }
    }

    #[test]
    fn any_bytes_end(text in proptest::collection::vec(any::<u8>(), 0..600)) {
        for libc in [Glibc, Musl] {
            prop_assert!(index(libc, &text).is_some());
        }
    }
}

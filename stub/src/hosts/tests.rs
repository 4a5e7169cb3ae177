//! The index against a scan of the text, and what each libc makes of the lines. (That the libcs do
//! so is shown with themselves: tests/tests/hosts_file.rs.)

mod random;

use super::*;
use crate::sys::Libc::{Glibc, Musl};

fn index(libc: Libc, text: &[u8]) -> Option<Vec<u64>> {
    let mut slots = vec![0; MAX_HOSTS_SLOTS];
    let size = Hosts::parse(libc, text, &mut slots)?;
    slots.truncate(size);
    Some(slots)
}

/// Runs `ask` on a file that must be indexed.
fn with<T>(libc: Libc, lines: Lines, text: &str, ask: impl FnOnce(Hosts<'_>) -> T) -> T {
    let slots = index(libc, text.as_bytes()).unwrap();
    ask(Hosts::new(libc, lines, text.as_bytes(), &slots))
}

fn shown(address: &Address) -> String {
    match address.as_octets() {
        [a, b, c, d] => format!("{a}.{b}.{c}.{d}"),
        octets => core::net::Ipv6Addr::from(<[u8; 16]>::try_from(octets).unwrap()).to_string(),
    }
}

/// The addresses and the canonical name in one line, or what else came.
fn look_up(libc: Libc, lines: Lines, text: &str, name: &str, families: Families) -> String {
    with(libc, lines, text, |hosts| {
        if !hosts.contains_name(name.as_bytes()) {
            return "absent".to_owned();
        }
        let mut room = [Address::UNSPECIFIED; 60];
        let mut canonical = Name::EMPTY;
        match hosts.addresses(name.as_bytes(), families, &mut room, &mut canonical) {
            Listed::Found(count) => {
                let addresses: Vec<_> = room[..count].iter().map(shown).collect();
                let canonical = core::str::from_utf8(canonical.as_bytes()).unwrap();
                format!("{} = {canonical}", addresses.join(" "))
            }
            Listed::OtherFamily => "other".to_owned(),
            Listed::Absent => "absent".to_owned(),
            Listed::Room(count) => format!("room for {count}"),
            Listed::Unclear => "unclear".to_owned(),
        }
    })
}

const KUBELETS: &str = "# Kubernetes-managed hosts file.\n\
    127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::0\tip6-localnet\n\
    10.244.0.7\tdb-0.db.prod.svc.cluster.local\tdb-0\n\
    \n\
    # Entries added by HostAliases.\n\
    192.0.2.1\tLegacy.Example legacy # old name: ancient\n\
    2001:db8::1 legacy legacy6\n";

#[test]
fn names_are_found_as_each_libc_finds_them() {
    let (both, v4, v6) = (Families::BOTH, Families::V4, Families::V6);
    for (name, families, glibc, musl) in [
        (
            "localhost",
            both,
            "127.0.0.1 ::1 = localhost",
            "127.0.0.1 ::1 = localhost",
        ),
        (
            "localhost",
            v4,
            "127.0.0.1 127.0.0.1 = localhost",
            "127.0.0.1 = localhost",
        ),
        ("localhost", v6, "::1 = localhost", "::1 = localhost"),
        ("LOCALHOST", v6, "::1 = localhost", "absent"),
        ("localhost.", both, "absent", "absent"),
        ("ip6-loopback", v4, "127.0.0.1 = localhost", "other"),
        ("ip6-localnet", v4, "absent", "other"),
        (
            "db-0",
            both,
            "10.244.0.7 = db-0.db.prod.svc.cluster.local",
            "10.244.0.7 = db-0.db.prod.svc.cluster.local",
        ),
        ("db-0", v6, "absent", "other"),
        (
            "Legacy.Example",
            both,
            "192.0.2.1 = Legacy.Example",
            "192.0.2.1 = Legacy.Example",
        ),
        (
            "legacy.example",
            both,
            "192.0.2.1 = Legacy.Example",
            "absent",
        ),
        (
            "legacy",
            both,
            "192.0.2.1 2001:db8::1 = Legacy.Example",
            "192.0.2.1 2001:db8::1 = Legacy.Example",
        ),
        // musl has the canonical name from the first line with the name, glibc of the family.
        (
            "legacy",
            v6,
            "2001:db8::1 = legacy",
            "2001:db8::1 = Legacy.Example",
        ),
        ("ancient", both, "absent", "absent"),
        ("db", both, "absent", "absent"),
        ("127.0.0.1", both, "absent", "absent"),
        ("", both, "absent", "absent"),
    ] {
        for (libc, expected) in [(Glibc, glibc), (Musl, musl)] {
            let got = look_up(libc, Lines::All, KUBELETS, name, families);
            assert_eq!(got, expected, "{libc:?} {name:?} {families:?}");
        }
    }
}

#[test]
fn odd_lines_are_read_as_each_libc_reads_them() {
    let (both, v4, v6) = (Families::BOTH, Families::V4, Families::V6);
    let long = format!("10.0.0.1 a {} b\n10.0.0.2 b\n", "x".repeat(510));
    let cut = format!("10.0.0.1 {} 10.0.0.9 b\n", "x".repeat(501));
    let comment = format!("#{} 10.0.0.3 c\n", "x".repeat(509));
    let many: String = (0..60)
        .map(|number| format!("10.0.1.{number} m\n"))
        .collect();
    let many_glibc: Vec<_> = (0..60).map(|number| format!("10.0.1.{number}")).collect();
    let long_name = "n".repeat(254);
    for (text, name, families, glibc, musl) in [
        // musl finds no name that the end of the file follows.
        ("10.0.0.1 a b", "b", both, "10.0.0.1 = a", "absent"),
        ("10.0.0.1 a b", "a", both, "10.0.0.1 = a", "10.0.0.1 = a"),
        ("10.0.0.1 a b#", "b", both, "10.0.0.1 = a", "10.0.0.1 = a"),
        ("10.0.0.1 a\r\n", "a", both, "10.0.0.1 = a", "10.0.0.1 = a"),
        ("  10.0.0.1 a\n", "a", both, "10.0.0.1 = a", "absent"),
        (
            "10.0.0.1\u{b}a\n",
            "a",
            both,
            "10.0.0.1 = a",
            "10.0.0.1 = a",
        ),
        ("10.1 a\n", "a", both, "absent", "10.0.0.1 = a"),
        ("010.0.0.1 a\n", "a", both, "absent", "8.0.0.1 = a"),
        ("10.0.0.256 a\n", "a", both, "absent", "absent"),
        ("::ffff:10.0.0.1 a\n", "a", v4, "10.0.0.1 = a", "other"),
        (
            "::ffff:10.0.0.1 a\n",
            "a",
            both,
            "::ffff:10.0.0.1 = a",
            "::ffff:10.0.0.1 = a",
        ),
        ("fe80::1%lo a\n", "a", both, "absent", "unclear"),
        (
            "fe80::1%lo a\n10.0.0.1 b\n",
            "b",
            both,
            "10.0.0.1 = b",
            "10.0.0.1 = b",
        ),
        (
            "nonsense a\n10.0.0.1 a\n",
            "a",
            both,
            "10.0.0.1 = a",
            "10.0.0.1 = a",
        ),
        (
            "10.0.0.1 a_b a\n",
            "a",
            both,
            "10.0.0.1 = a_b",
            "10.0.0.1 = a",
        ),
        (
            "10.0.0.1 a_b x\n10.0.0.2 c x\n",
            "x",
            both,
            "10.0.0.1 10.0.0.2 = a_b",
            "10.0.0.1 10.0.0.2 = c",
        ),
        (
            "10.0.0.1 a. a\n",
            "a",
            both,
            "10.0.0.1 = a.",
            "10.0.0.1 = a.",
        ),
        (
            "10.0.0.1 caf\u{e9} a\n",
            "a",
            both,
            "10.0.0.1 = caf\u{e9}",
            "unclear",
        ),
        ("::1 a\n", "a", v6, "::1 = a", "::1 = a"),
        ("10.0.0.1 a\n", "a", v6, "absent", "other"),
        (&long, "a", both, "10.0.0.1 = a", "10.0.0.1 = a"),
        (&long, "b", both, "10.0.0.1 10.0.0.2 = a", "10.0.0.2 = b"),
        (&cut, "b", both, "unclear", "10.0.0.9 = b"),
        (&comment, "c", both, "absent", "10.0.0.3 = c"),
        (
            &many,
            "m",
            both,
            &format!("{} = m", many_glibc.join(" ")),
            &format!("{} = m", many_glibc[..48].join(" ")),
        ),
        (
            &format!("10.0.0.1 {long_name} a\n"),
            "a",
            both,
            "unclear",
            "unclear",
        ),
    ] {
        for (libc, expected) in [(Glibc, glibc), (Musl, musl)] {
            let got = look_up(libc, Lines::All, text, name, families);
            assert_eq!(got, expected, "{libc:?} {name:?} {families:?} of {text:?}");
        }
    }
}

#[test]
fn without_multi_glibc_takes_the_first_line() {
    for (name, families, expected) in [
        ("localhost", Families::BOTH, "127.0.0.1 = localhost"),
        ("localhost", Families::V4, "127.0.0.1 = localhost"),
        ("localhost", Families::V6, "::1 = localhost"),
        ("legacy", Families::V6, "2001:db8::1 = legacy"),
    ] {
        let got = look_up(Glibc, Lines::First, KUBELETS, name, families);
        assert_eq!(got, expected, "{name:?} {families:?}");
        let got = look_up(Glibc, Lines::Unclear, KUBELETS, name, families);
        assert_eq!(got, "unclear", "{name:?} {families:?}");
    }
}

#[test]
fn aliases_are_listed_as_glibc_lists_them() {
    let text =
        "10.0.0.1 a b c # d\n10.0.0.2 e\n10.0.0.3 B a e\n::1 f a\n10.0.0.4 a\n10.0.0.5 A b\n";
    let aliases = |lines, name: &str, family| {
        with(Glibc, lines, text, |hosts| {
            hosts
                .aliases(name.as_bytes(), family)
                .map(|alias| String::from_utf8(alias.to_vec()).unwrap())
                .collect::<Vec<_>>()
                .join(" ")
        })
    };
    for (lines, name, family, expected) in [
        (Lines::All, "a", Family::V4, "b c a e B a f b A"),
        (Lines::First, "a", Family::V4, "b c"),
        (Lines::All, "b", Family::V4, "b c a e B b A"),
        (Lines::All, "a", Family::V6, "a"),
        (Lines::All, "e", Family::V4, "a e B"),
        (Lines::All, "z", Family::V4, ""),
    ] {
        assert_eq!(
            aliases(lines, name, family),
            expected,
            "{lines:?} {name:?} {family:?}"
        );
    }
}

#[test]
fn addresses_have_the_names_of_their_first_line() {
    let text = "10.244.0.7 db-0 db # old\n10.244.0.7 other\nfd00::7 six\n::ffff:192.0.2.9 mapped\n\
                ::1 localhost loop\n10.9.9.9\n:: none\n10.1 short\n";
    let scoped = format!("fe80::1%lo link\n{text}");
    let v6 = |text: &str| Address::v6(text.parse::<core::net::Ipv6Addr>().unwrap().octets());
    let names = |libc, text: &str, address: &Address| {
        with(libc, Lines::All, text, |hosts| {
            if !hosts.contains_address(address) {
                return "absent".to_owned();
            }
            let mut room = [Name::EMPTY; 2];
            match hosts.names(address, &mut room) {
                Listed::Found(count) => room[..count]
                    .iter()
                    .map(|name| core::str::from_utf8(name.as_bytes()).unwrap())
                    .collect::<Vec<_>>()
                    .join(" "),
                other => format!("{other:?}").to_lowercase(),
            }
        })
    };
    for (address, glibc, musl) in [
        (Address::v4([10, 244, 0, 7]), "db-0 db", "db-0"),
        (Address::v4([10, 244, 0, 8]), "absent", "absent"),
        (v6("fd00::7"), "six", "six"),
        (v6("::ffff:192.0.2.9"), "unclear", "mapped"),
        (v6("::ffff:10.244.0.7"), "unclear", "db-0"),
        (v6("::ffff:192.0.2.8"), "absent", "absent"),
        (Address::v4([192, 0, 2, 9]), "mapped", "mapped"),
        (Address::v4([127, 0, 0, 1]), "localhost loop", "absent"),
        (v6("::1"), "localhost loop", "localhost"),
        (v6("::"), "unclear", "none"),
        (Address::v4([10, 9, 9, 9]), "unclear", "unclear"),
        (Address::v4([10, 0, 0, 1]), "absent", "short"),
    ] {
        for (libc, expected) in [(Glibc, glibc), (Musl, musl)] {
            assert_eq!(
                names(libc, text, &address),
                expected,
                "{libc:?} {address:?}"
            );
        }
    }
    let seven = Address::v4([10, 244, 0, 7]);
    assert_eq!(names(Glibc, &scoped, &seven), "db-0 db");
    assert_eq!(names(Musl, &scoped, &seven), "db-0");
    assert_eq!(names(Musl, &scoped, &v6("fe80::1")), "unclear");
    assert_eq!(names(Glibc, &scoped, &v6("fe80::1")), "absent");
    assert_eq!(
        names(Glibc, "10.0.0.1 a b c\n", &Address::v4([10, 0, 0, 1])),
        "room(3)"
    );
}

#[test]
fn an_empty_file_has_an_index() {
    let slots = index(Glibc, b"").unwrap();
    assert!(!slots.is_empty());
    assert!(!Hosts::new(Glibc, Lines::All, b"", &slots).contains_name(b"api"));
}

#[test]
fn what_does_not_fit_is_not_indexed() {
    let lines = |count: usize| {
        (0..count)
            .map(|number| format!("- h{number}\n"))
            .collect::<String>()
            .into_bytes()
    };
    assert!(index(Glibc, &lines(4_096)).is_some());
    assert!(index(Glibc, &lines(4_097)).is_none());
    assert!(index(Glibc, &vec![b'\n'; MAX_HOSTS_TEXT]).is_some());
    assert!(index(Glibc, &vec![b'\n'; MAX_HOSTS_TEXT + 1]).is_none());
    assert!(index(Glibc, b"10.0.0.1 a\0b\n").is_none());
    for (text, glibc) in [
        ("10.0.0.1 a\n 10.0.0.2 b", false),
        (" 10.0.0.2 b", false),
        (" 10.0.0.2 b\n", true),
        (" 10.0.0.2 b#", true),
        ("10.0.0.1 a\n  ", true),
        ("10.0.0.1 a", true),
    ] {
        assert_eq!(index(Glibc, text.as_bytes()).is_some(), glibc, "{text:?}");
        assert!(index(Musl, text.as_bytes()).is_some(), "{text:?}");
    }
}

#[test]
fn lines_without_the_name_are_skipped_and_no_other() {
    let filler = "10.0.0.9 hedge edges edge.x xedge # edge\n".repeat(20);
    let cut = format!("10.0.0.8 {} edge\n", "edg ".repeat(200));
    let text = format!(
        "10.0.0.1 edge\n{filler}10.0.0.2 other edge\n{cut}{filler}10.0.0.3 Edge\n10.0.0.4 edg"
    );
    for (libc, expected) in [
        (Glibc, "10.0.0.1 10.0.0.2 10.0.0.8 10.0.0.3 = edge"),
        // musl cuts the long line, and no address is in front of its end.
        (Musl, "10.0.0.1 10.0.0.2 = edge"),
    ] {
        let got = look_up(libc, Lines::All, &text, "edge", Families::BOTH);
        assert_eq!(got, expected, "{libc:?}");
    }
}

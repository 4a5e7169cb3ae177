//! Made-up texts: the index against a scan, and that any bytes come to an end.

use super::*;
use proptest::prelude::*;

/// Whether a word of some line, before its comment and behind its address, is the name.
fn scan(libc: Libc, text: &str, name: &str) -> bool {
    text.lines()
        .map(|line| line.split('#').next().unwrap())
        .map(|line| {
            if libc == Glibc {
                line.trim_start()
            } else {
                line
            }
        })
        .flat_map(|line| line.split([' ', '\t']).skip(1))
        .filter(|word| !word.is_empty())
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
        let text = lines.join("\n") + "\n";
        let slots = index(libc, text.as_bytes()).unwrap();
        let hosts = Hosts::new(libc, Lines::All, text.as_bytes(), &slots);
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
    fn any_bytes_end(
        text in proptest::collection::vec(any::<u8>(), 0..1200),
        name in "[a-z]{1,2}",
        octets in any::<[u8; 4]>(),
    ) {
        for libc in [Glibc, Musl] {
            let slots = index(libc, &text);
            let is_odd = text.contains(&0) || ends_oddly(libc, &text);
            prop_assert_eq!(slots.is_none(), is_odd);
            let slots = slots.unwrap_or_default();
            let hosts = Hosts::new(libc, Lines::All, &text, &slots);
            let mut canonical = Name::EMPTY;
            hosts.addresses(name.as_bytes(), Families::BOTH, &mut [], &mut canonical);
            hosts.names(&Address::v4(octets), &mut []);
            prop_assert!(hosts.aliases(name.as_bytes(), Family::V4).count() <= text.len());
        }
    }
}

//! Tables per libc, then both readers against naive ones written from the manuals' words.

use super::*;
use crate::sys::Libc::{Glibc, Musl};
use proptest::prelude::*;

fn parse(libc: Libc, text: &str) -> Result<ResolvConf, Unclear> {
    let surroundings = Surroundings {
        host_name: Some(b"shop-0"),
        ..Surroundings::default()
    };
    ResolvConf::parse(libc, text.as_bytes(), &surroundings)
}

fn search(libc: Libc, text: &str) -> Vec<String> {
    let read = parse(libc, text).unwrap();
    read.search
        .iter()
        .map(|entry| String::from_utf8(entry.to_vec()).unwrap())
        .collect()
}

fn nameservers(libc: Libc, text: &str) -> Vec<String> {
    let read = parse(libc, text).unwrap();
    let text_of = |address: &Address| match address.as_octets() {
        [a, b, c, d] => format!("{a}.{b}.{c}.{d}"),
        octets => core::net::Ipv6Addr::from(<[u8; 16]>::try_from(octets).unwrap()).to_string(),
    };
    read.nameservers().iter().map(text_of).collect()
}

#[test]
fn what_the_kubelet_writes_is_read_alike() {
    let text = "search prod.svc.cluster.local svc.cluster.local cluster.local\n\
                nameserver 10.96.0.10\noptions ndots:5\n";
    for libc in [Glibc, Musl] {
        let read = parse(libc, text).unwrap();
        assert_eq!(read.ndots, 5);
        assert_eq!(nameservers(libc, text), ["10.96.0.10"]);
        assert_eq!(
            search(libc, text),
            [
                "prod.svc.cluster.local",
                "svc.cluster.local",
                "cluster.local"
            ]
        );
    }
}

#[test]
fn search_lists() {
    // text, glibc, musl
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("", &[], &[]),
        ("search a b\n", &["a", "b"], &["a", "b"]),
        ("search\ta \t b \n", &["a", "b"], &["a", "b"]),
        ("search a b", &["a", "b"], &["a", "b"]),
        ("search a\nsearch b\n", &["b"], &["b"]),
        ("search a b\ndomain c\n", &["c"], &["c"]),
        ("domain c\nsearch a b\n", &["a", "b"], &["a", "b"]),
        ("domain a b\n", &["a"], &["a", "b"]),
        ("search a\nsearch\n", &["a"], &[]),
        ("search a\nsearch", &["a"], &["a"]),
        ("search a\nsearch \n", &["a"], &[]),
        (" search a\n", &[], &[]),
        ("searching a\n", &[], &[]),
        ("# search a\n; search b\n", &[], &[]),
        ("search a # b\n", &["a", "#", "b"], &["a", "#", "b"]),
        ("search . a.\n", &[".", "a."], &[".", "a."]),
        ("search a\r\n", &["a\r"], &["a"]),
        ("search a\u{b}b\n", &["a\u{b}b"], &["a", "b"]),
    ];
    for (text, glibc, musl) in cases {
        assert_eq!(search(Glibc, text), *glibc, "glibc {text:?}");
        assert_eq!(search(Musl, text), *musl, "musl {text:?}");
    }
}

#[test]
fn entries_stand_for_suffixes() {
    let domain = |written: &'static str, folded: &'static str| Suffix::Domain {
        written: written.as_bytes(),
        folded: folded.as_bytes(),
    };
    let bad = Suffix::Malformed;
    // entry, glibc, musl
    for (entry, glibc, musl) in [
        (
            "Prod.svc",
            domain("Prod.svc", "prod.svc"),
            domain("Prod.svc", "prod.svc"),
        ),
        ("a.", domain("a", "a"), bad),
        (".a", domain("a", "a"), bad),
        (".", Suffix::Root, bad),
        ("..", bad, bad),
        ("a..b", bad, bad),
        ("a_b", domain("a_b", "a_b"), domain("a_b", "a_b")),
        ("a#", bad, bad),
    ] {
        for (libc, expected) in [(Glibc, glibc), (Musl, musl)] {
            let read = parse(libc, &format!("search x {entry} y\n")).unwrap();
            let suffixes: Vec<_> = read.search.suffixes(libc).collect();
            let all = [domain("x", "x"), expected, domain("y", "y")];
            assert_eq!(suffixes, all, "{libc:?} {entry}");
        }
    }
}

#[test]
fn musl_skips_lines_that_do_not_fit_its_buffer() {
    let line = |length: usize| format!("search {}", "a".repeat(length - 7));
    assert_eq!(search(Musl, &format!("{}\n", line(254))).len(), 1);
    assert_eq!(search(Musl, &format!("{}\n", line(255))).len(), 0);
    assert_eq!(search(Musl, &line(254)).len(), 1);
    assert_eq!(search(Musl, &line(255)).len(), 0);
    assert_eq!(search(Glibc, &format!("{}\n", line(255))).len(), 1);
}

#[test]
fn long_lists_are_taken_up_to_the_kubelets_limits() {
    let entries = |count: usize| {
        (0..count)
            .map(|number| format!("e{number}"))
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        search(Glibc, &format!("search {}\n", entries(32))).len(),
        32
    );
    let long = format!("search {}\n", entries(33));
    assert_eq!(parse(Glibc, &long), Err(Unclear::SearchTooLong));
    let text = format!("search {} b\n", "a".repeat(2047));
    assert_eq!(search(Glibc, &text).len(), 2);
    let text = format!("search {} bb\n", "a".repeat(2047));
    assert_eq!(parse(Glibc, &text), Err(Unclear::SearchTooLong));
    // A later line replaces the list, but what has overflowed is in doubt all the same.
    assert_eq!(
        search(Glibc, &format!("search {}\nsearch a\n", entries(32))),
        ["a"]
    );
}

#[test]
fn nameserver_lines() {
    // text, glibc, musl
    let cases: &[(&str, &[&str], &[&str])] = &[
        ("", &["127.0.0.1"], &["127.0.0.1"]),
        (
            "nameserver 10.0.0.1\nnameserver fd00::10\n",
            &["10.0.0.1", "fd00::10"],
            &["10.0.0.1", "fd00::10"],
        ),
        (
            "nameserver 10.0.0.1 # first\n",
            &["10.0.0.1"],
            &["10.0.0.1"],
        ),
        ("nameserver 10.0.0.1\r\n", &["10.0.0.1"], &["10.0.0.1"]),
        ("nameserver fd00::10\r\n", &["127.0.0.1"], &["fd00::10"]),
        ("nameserver 10.0.0.1;x\n", &["127.0.0.1"], &["127.0.0.1"]),
        ("nameserver 10.1\n", &["10.0.0.1"], &["10.0.0.1"]),
        ("nameserver dns.example\n", &["127.0.0.1"], &["127.0.0.1"]),
        ("nameserver\n", &["127.0.0.1"], &["127.0.0.1"]),
        ("nameserver10.0.0.1\n", &["127.0.0.1"], &["127.0.0.1"]),
        ("nameserver fe80::1%7\n", &["fe80::1"], &["fe80::1"]),
        (
            "nameserver 1.1.1.1\nnameserver 2.2.2.2\nnameserver 3.3.3.3\nnameserver 4.4.4.4\n",
            &["1.1.1.1", "2.2.2.2", "3.3.3.3"],
            &["1.1.1.1", "2.2.2.2", "3.3.3.3"],
        ),
    ];
    for (text, glibc, musl) in cases {
        assert_eq!(nameservers(Glibc, text), *glibc, "glibc {text:?}");
        assert_eq!(nameservers(Musl, text), *musl, "musl {text:?}");
    }
    let scoped = "nameserver fe80::1%eth0\n";
    assert_eq!(nameservers(Glibc, scoped), ["fe80::1"]);
    assert_eq!(parse(Musl, scoped), Err(Unclear::Scope));
    // A fourth one is not looked at, whatever it is.
    let fourth = format!("{}{scoped}", "nameserver 1.1.1.1\n".repeat(3));
    assert_eq!(nameservers(Musl, &fourth).len(), 3);
}

#[test]
fn option_lines() {
    // text, glibc ndots, musl ndots
    type Ndots = Result<u8, Unclear>;
    let cases: &[(&str, Ndots, Ndots)] = &[
        ("", Ok(1), Ok(1)),
        ("options ndots:5\n", Ok(5), Ok(5)),
        ("options ndots:0\n", Ok(0), Ok(0)),
        ("options ndots:99\n", Ok(15), Ok(15)),
        ("options ndots:\n", Ok(0), Ok(1)),
        ("options ndots:x\n", Ok(0), Ok(1)),
        ("options ndots: 7\n", Ok(7), Ok(1)),
        ("options ndots:3 ndots:4\n", Ok(4), Ok(3)),
        ("options ndots:3\noptions timeout:1\n", Ok(3), Ok(3)),
        ("options timeout:2 edns0 ndots:2 rotate\n", Ok(2), Ok(2)),
        ("options xndots:9\n", Ok(1), Ok(9)),
        ("options\tndots:6\n", Ok(6), Ok(6)),
        ("options ndots:-1\n", Err(Unclear::Number), Ok(1)),
        (
            "options ndots:9999999999\n",
            Err(Unclear::Number),
            Err(Unclear::Number),
        ),
        ("options -no-aaaa\n", Err(Unclear::Option), Ok(1)),
        ("sortlist 10.0.0.0/8\n", Err(Unclear::SortList), Ok(1)),
    ];
    for (text, glibc, musl) in cases {
        assert_eq!(
            parse(Glibc, text).map(|read| read.ndots),
            *glibc,
            "glibc {text:?}"
        );
        assert_eq!(
            parse(Musl, text).map(|read| read.ndots),
            *musl,
            "musl {text:?}"
        );
    }
    let text = "options no-tld-query no-aaaa no-reload use-vc\n";
    let read = parse(Glibc, text).unwrap();
    assert!(read.no_tld_query && read.no_aaaa && read.no_reload);
    let read = parse(Musl, text).unwrap();
    assert!(!read.no_tld_query && !read.no_aaaa && !read.no_reload);
    assert!(parse(Glibc, "options no_tld_query\n").unwrap().no_tld_query);
}

#[test]
fn options_say_how_servers_are_asked() {
    // text, (timeout, attempts) on glibc, on musl
    let cases = [
        ("", (5, 2), (5, 2)),
        ("options timeout:3 attempts:4\n", (3, 4), (3, 4)),
        ("options timeout:99 attempts:99\n", (30, 5), (60, 10)),
        ("options timeout:0 attempts:0\n", (1, 0), (0, 0)),
        ("options timeout:-1 attempts:-1\n", (1, 0), (5, 2)),
        ("options timeout: attempts:x\n", (1, 0), (5, 2)),
        ("options timeout:9999999999\n", (1, 2), (0, 2)),
        ("options xtimeout:7\n", (5, 2), (7, 2)),
    ];
    for (text, on_glibc, on_musl) in cases {
        for (libc, expected) in [(Glibc, on_glibc), (Musl, on_musl)] {
            let read = parse(libc, text).unwrap();
            assert_eq!((read.timeout, read.attempts), expected, "{libc:?} {text}");
        }
    }
    let text = "options rotate use-vc edns0 trust-ad strict-error\n";
    let all = Asking {
        rotates: true,
        over_tcp: true,
        extends: true,
        trusts_data: true,
        is_strict: true,
    };
    assert_eq!(parse(Glibc, text).unwrap().asking, all);
    assert_eq!(parse(Musl, text).unwrap().asking, Asking::default());
}

#[test]
fn scopes_are_numbers_or_not_known() {
    for (text, scope) in [
        ("fe80::1", 0),
        ("fe80::1%2", 2),
        ("fd00::1%", 0),
        ("fe80::1%lo", UNKNOWN_SCOPE),
        ("fe80::1%99999999999", UNKNOWN_SCOPE),
    ] {
        let text = format!("nameserver 10.0.0.1\nnameserver {text}\n");
        let read = parse(Glibc, &text).unwrap();
        let scopes: Vec<_> = read.servers().map(|(_, scope)| scope).collect();
        assert_eq!(scopes, [0, scope], "{text}");
    }
    let read = parse(Musl, "nameserver fe80::1%2\n").unwrap();
    assert_eq!(read.servers().map(|(_, scope)| scope).last(), Some(2));
}

#[test]
fn the_environment_counts_on_glibc_only() {
    let text = b"search file\noptions ndots:2\n";
    let entries = |libc, local_domain: &str| {
        let surroundings = Surroundings {
            local_domain: Some(local_domain.as_bytes()),
            res_options: Some(b"ndots:4 no-aaaa"),
            host_name: None,
        };
        let read = ResolvConf::parse(libc, text, &surroundings).unwrap();
        let entries: Vec<_> = read.search.iter().map(<[u8]>::to_vec).collect();
        (entries, read.ndots, read.no_aaaa)
    };
    assert_eq!(
        entries(Glibc, "a b"),
        (vec![b"a".to_vec(), b"b".to_vec()], 4, true)
    );
    assert_eq!(entries(Glibc, "a\nb"), (vec![b"a".to_vec()], 4, true));
    assert_eq!(entries(Glibc, ""), (vec![b"".to_vec()], 4, true));
    assert_eq!(
        entries(Glibc, " a"),
        (vec![b"".to_vec(), b"a".to_vec()], 4, true)
    );
    assert_eq!(entries(Musl, "a b"), (vec![b"file".to_vec()], 2, false));
}

#[test]
fn without_a_list_glibc_searches_the_hosts_domain() {
    let entries = |libc, host_name| {
        let surroundings = Surroundings {
            host_name,
            ..Surroundings::default()
        };
        let read = ResolvConf::parse(libc, b"nameserver 10.0.0.1\n", &surroundings)?;
        Ok(read.search.iter().map(<[u8]>::to_vec).collect::<Vec<_>>())
    };
    assert_eq!(
        entries(Glibc, Some(b"db-0.db.prod.svc")),
        Ok(vec![b"db.prod.svc".to_vec()])
    );
    assert_eq!(entries(Glibc, Some(b"db-0")), Ok(vec![]));
    assert_eq!(entries(Glibc, Some(b"db-0.")), Ok(vec![b"".to_vec()]));
    assert_eq!(entries(Glibc, None), Err(Unclear::HostName));
    assert_eq!(entries(Musl, None), Ok(vec![]));
}

#[test]
fn a_nul_byte_is_not_guessed_about() {
    for libc in [Glibc, Musl] {
        assert_eq!(parse(libc, "search a\0b\n"), Err(Unclear::Nul));
    }
}

/// What resolv.conf(5) says of well-formed files, on `String`s.
fn oracle(libc: Libc, text: &str) -> (Vec<String>, u8) {
    let mut list = Vec::new();
    let mut ndots = 1;
    for line in text.lines() {
        let fits = libc == Glibc || line.len() < 255;
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        match words
            .next()
            .filter(|_| fits && !line.starts_with([' ', '\t']))
        {
            Some("search") => {
                let entries: Vec<_> = words.map(String::from).collect();
                if !entries.is_empty() || libc == Musl {
                    list = entries;
                }
            }
            Some("options") => {
                let numbers: Vec<u8> = words
                    .filter_map(|word| word.strip_prefix("ndots:")?.parse().ok())
                    .map(|number: u8| number.min(15))
                    .collect();
                let counts = if libc == Glibc {
                    numbers.last()
                } else {
                    numbers.first()
                };
                ndots = counts.copied().unwrap_or(ndots);
            }
            _ => {}
        }
    }
    (list, ndots)
}

fn line() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::collection::vec("[a-z.-]{1,12}", 0..5)
            .prop_map(|entries| format!("search {}", entries.join("  "))),
        proptest::collection::vec("[a-z]{60,70}", 3..5)
            .prop_map(|entries| format!("search {}", entries.join(" "))),
        proptest::collection::vec(
            prop_oneof!["ndots:[0-9]{1,2}", "rotate", "timeout:[0-9]"],
            1..4
        )
        .prop_map(|options| format!("options {}", options.join("\t"))),
        "nameserver 10\\.0\\.0\\.[0-9]",
        "[#;][ -~]{0,20}",
        " search [a-z]{1,5}",
    ]
}

proptest! {
    #[test]
    fn well_formed_files_are_read_as_the_manual_says(
        lines in proptest::collection::vec(line(), 0..8),
        is_musl in any::<bool>(),
    ) {
        let libc = if is_musl { Musl } else { Glibc };
        let mut text = lines.join("\n");
        text.push('\n');
        let read = parse(libc, &text).unwrap();
        let entries: Vec<_> =
            read.search.iter().map(|entry| String::from_utf8(entry.to_vec()).unwrap()).collect();
        prop_assert_eq!((entries, read.ndots), oracle(libc, &text));
    }

    #[test]
    fn any_bytes_end(text in proptest::collection::vec(any::<u8>(), 0..400)) {
        for libc in [Glibc, Musl] {
            if let Ok(read) = ResolvConf::parse(libc, &text, &Surroundings::default()) {
                prop_assert!(!read.nameservers().is_empty());
                prop_assert!(read.search.iter().count() <= MAX_SEARCH_ENTRIES);
            }
        }
    }
}

#[test]
fn entries_are_laid_out_as_glibc_shows_them() {
    let text = "search a.long.entry another\ndomain x.y\n";
    let read = parse(Glibc, text).unwrap();
    assert_eq!(read.search.laid_out(4), Some(&b"x.y\0"[..]));
    assert_eq!(read.search.first(), Some((&b"x.y"[..], &b"x.y"[..])));
}

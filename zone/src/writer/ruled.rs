//! Rules that were written, applied by a reader: as CoreDNS's `rewrite name` applies its own, and
//! harmless whatever the bytes.

use super::{Config, Matching, Rule, WriteError, encode};
use crate::{
    Name, Ruling,
    rules::{StoredRules, apply},
    settings::Settings,
    sync::AtomicU64,
    words::Words,
};
use proptest::prelude::*;

/// What the rules make of `name`, and of it as the last label of a relative name.
fn ruled(rules: &[Rule], rewrites: bool, name: &str) -> (Ruling, String, bool) {
    let config = Config {
        rules: rules.to_vec(),
        excepted_suffixes: vec!["a.suffix".to_owned(), "another.longer.suffix".to_owned()],
        refused_builds: vec![7],
        ..Config::default()
    };
    let encoded = encode::config(&config).unwrap();
    let words: Vec<AtomicU64> = encoded.into_iter().map(AtomicU64::new).collect();
    let words = Words::new(&words);
    let settings = Settings::load(words, 0).unwrap();
    assert!(settings.is_known() && settings.has_rules());
    let mut text = Name::EMPTY;
    assert!(text.push(name.as_bytes()));
    let rules = || settings.rules(words).unwrap();
    let ruling = apply(&mut rules(), rewrites, None, &mut text).unwrap();
    let label = Some(name.as_bytes());
    let guarded = apply(&mut rules(), false, label, &mut Name::new()) == Some(Ruling::Guarded);
    let text = String::from_utf8(text.as_bytes().to_vec()).unwrap();
    (ruling, text, guarded)
}

fn rewrite(matching: Matching, from: &str, to: &str, stop: bool) -> Rule {
    let (from, to) = (from.to_owned(), to.to_owned());
    Rule::Rewrite {
        matching,
        from,
        to,
        stop,
    }
}

#[test]
fn names_are_rewritten_as_coredns_does() {
    // The cases of CoreDNS's plugin/rewrite/name_test.go, less the last dot.
    let cases = [
        (
            Matching::Prefix,
            "foo",
            "bar",
            "foo.example.com",
            "bar.example.com",
        ),
        (
            Matching::Prefix,
            "foo.",
            "bar.",
            "foo.example.com",
            "bar.example.com",
        ),
        (Matching::Prefix, "foo", "bar", "coredns.foo", "coredns.foo"),
        (
            Matching::Prefix,
            "foo",
            "bar",
            "foot.example.com",
            "foot.example.com",
        ),
        (Matching::Prefix, "foo", "bar", "foo", "bar"),
        (
            Matching::Suffix,
            "com",
            "org",
            "foo.example.com",
            "foo.example.org",
        ),
        (
            Matching::Suffix,
            ".com",
            ".org",
            "foo.example.com",
            "foo.example.org",
        ),
        (Matching::Suffix, "com", "org", "com.coredns", "com.coredns"),
        (
            Matching::Suffix,
            "oredns.rocks",
            "at.rocks",
            "coredns.rocks",
            "cat.rocks",
        ),
        (
            Matching::Suffix,
            ".ingress.coredns.rocks",
            "nginx.coredns.rocks",
            "coredns.ingress.coredns.rocks",
            "corednsnginx.coredns.rocks",
        ),
        (Matching::Suffix, ".", ".test", "foo", "foo.test"),
        (
            Matching::Exact,
            "Foo.example.COM.",
            "Bar.org",
            "foo.example.com",
            "bar.org",
        ),
        (
            Matching::Exact,
            "foo.example.com",
            "bar.org",
            "x.foo.example.com",
            "x.foo.example.com",
        ),
    ];
    for (matching, from, to, name, expected) in cases {
        let (ruling, text, _) = ruled(&[rewrite(matching, from, to, true)], true, name);
        let rewritten = if name == expected {
            Ruling::Unruled
        } else {
            Ruling::Rewritten
        };
        assert_eq!(
            (ruling, text.as_str()),
            (rewritten, expected),
            "{matching:?} {from} {to}"
        );
        let (ruling, text, _) = ruled(&[rewrite(matching, from, to, true)], false, name);
        assert_eq!((ruling, text.as_str()), (Ruling::Unruled, name));
    }
}

#[test]
fn the_first_match_counts_unless_it_goes_on() {
    let block = |name: &str| Rule::Block {
        name: name.to_owned(),
    };
    let chain = |stop| {
        [
            rewrite(Matching::Exact, "a.test", "b.test", stop),
            rewrite(Matching::Suffix, "test", "example", true),
            block("b.example"),
            block("b.test"),
        ]
    };
    let of = |rules: &[Rule], name| {
        let (ruling, text, _) = ruled(rules, true, name);
        (ruling, text)
    };
    assert_eq!(
        of(&chain(true), "a.test"),
        (Ruling::Rewritten, "b.test".into())
    );
    assert_eq!(
        of(&chain(false), "a.test"),
        (Ruling::Rewritten, "b.example".into())
    );
    assert_eq!(of(&chain(true), "c.b.example").0, Ruling::Blocked);
    assert_eq!(of(&chain(true), "cb.example").0, Ruling::Unruled);
    let long = format!(
        "{}.test",
        ["x".repeat(60), "y".repeat(60), "z".repeat(60)].join(".")
    );
    let longer = rewrite(
        Matching::Suffix,
        "test",
        &format!("{0}.{0}.test", "w".repeat(63)),
        true,
    );
    assert_eq!(of(&[longer], &long).0, Ruling::TooLong);
}

#[test]
fn guards_list_whole_labels() {
    let namespaces = ["com", "dev", "Example"].map(str::to_owned).to_vec();
    let guard = [Rule::Guard { namespaces }];
    for (label, guarded) in [
        ("com", true),
        ("dev", true),
        ("example", true),
        ("co", false),
        ("comm", false),
        ("example2", false),
        ("de", false),
    ] {
        assert_eq!(
            ruled(&guard, true, label),
            (Ruling::Unruled, label.into(), guarded)
        );
    }
    let empty = [Rule::Guard { namespaces: vec![] }];
    assert!(!ruled(&empty, true, "com").2);
}

#[test]
fn too_many_rules_are_refused() {
    let with = |rules| {
        encode::config(&Config {
            rules,
            ..Config::default()
        })
    };
    let short = rewrite(Matching::Exact, "a", "b", true);
    assert!(with(vec![short.clone(); 256]).is_ok());
    assert!(matches!(
        with(vec![short; 257]),
        Err(WriteError::TooMany { .. })
    ));
    let name = vec!["x".repeat(60); 4].join(".");
    let long = rewrite(Matching::Exact, &name, &name, true);
    assert!(matches!(
        with(vec![long; 64]),
        Err(WriteError::TooMany { .. })
    ));
    for (matching, from, to) in [
        (Matching::Exact, "", "b"),
        (Matching::Exact, ".a", "b"),
        (Matching::Prefix, "a", "."),
        (Matching::Suffix, "a..b", "c"),
        (Matching::Suffix, "a", "c d"),
    ] {
        let error = with(vec![rewrite(matching, from, to, true)]);
        assert!(
            matches!(error, Err(WriteError::Target { .. })),
            "{from} {to}"
        );
    }
}

/// CoreDNS's rules on names that end in a dot: the oracle.
fn as_coredns(rules: &[Rule], name: &str) -> Option<String> {
    let mut name = format!("{name}.");
    for rule in rules {
        match rule {
            Rule::Rewrite {
                matching,
                from,
                to,
                stop,
            } => {
                let qualified = |text: &str| format!("{}.", text.strip_suffix('.').unwrap_or(text));
                let (from, to) = (qualified(from), qualified(to));
                let new = match matching {
                    Matching::Exact => (name == from).then_some(to),
                    Matching::Prefix => name.strip_prefix(&from).map(|rest| format!("{to}{rest}")),
                    Matching::Suffix => name.strip_suffix(&from).map(|rest| format!("{rest}{to}")),
                };
                if let Some(new) = new {
                    name = new;
                    if *stop {
                        break;
                    }
                }
            }
            Rule::Block { name: blocked } => {
                if format!(".{name}").ends_with(&format!(".{blocked}.")) {
                    return None;
                }
            }
            Rule::Guard { .. } => {}
        }
    }
    name.pop();
    Some(name)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rules_are_what_coredns_makes_of_them(
        rules in prop::collection::vec(
            prop_oneof![
                4 => (
                    prop_oneof![Just(Matching::Exact), Just(Matching::Prefix), Just(Matching::Suffix)],
                    "[ab](\\.[ab]){0,2}", "[abc](\\.[ab]){0,2}", any::<bool>(),
                ).prop_map(|(matching, from, to, stop)| Rule::Rewrite { matching, from, to, stop }),
                1 => "[ab](\\.[abc]){1,2}".prop_map(|name| Rule::Block { name }),
            ],
            1..6,
        ),
        name in "[abc]{1,2}(\\.[abc]{1,2}){0,3}",
    ) {
        let (ruling, text, _) = ruled(&rules, true, &name);
        match as_coredns(&rules, &name) {
            None => prop_assert_eq!(ruling, Ruling::Blocked),
            Some(expected) => prop_assert_eq!(text, expected),
        }
    }

    #[test]
    fn any_bytes_are_survived(
        mut words in prop::collection::vec(any::<u64>(), 0..200),
        count in any::<u16>(),
        name in "[abc](\\.[abc]){0,3}",
    ) {
        for word in words.iter_mut().skip(1) {
            // A kind that there is, and lengths that may lead somewhere.
            *word = *word & 0x0107 | (*word & 0x3f_0000) | (*word & 0x3f_0000_0000);
        }
        if let Some(first) = words.first_mut() {
            *first = count.into();
        }
        let words: Vec<AtomicU64> = words.into_iter().map(AtomicU64::new).collect();
        let words = Words::new(&words);
        let mut text = Name::EMPTY;
        prop_assert!(text.push(name.as_bytes()));
        if let Some(mut rules) = StoredRules::load(words, 0) {
            let _ = apply(&mut rules, true, Some(name.as_bytes()), &mut text);
        }
    }
}

//! Lines as they are found in images, and what they mean for the zone and for the hosts file.

use super::{Placement, Placement::*, Sources};

#[test]
fn hosts_lines_are_placed() {
    let cases: &[(&str, Placement)] = &[
        ("", Certain),
        ("passwd: files\n", Certain),
        ("# hosts: nis\n", Certain),
        ("hosts: files dns\n", Certain),
        ("  hosts:\tfiles\t dns  \n", Certain),
        ("hosts : files dns", Certain),
        ("hosts:files dns\n", Certain),
        ("hosts: dns files\n", AnswersOnly),
        ("hosts: dns [NOTFOUND=return] files\n", NoIsFinal),
        ("hosts: dns [!UNAVAIL=return] files\n", NoIsFinal),
        ("hosts: dns\n", Certain),
        ("hosts: files\n", Unplaced),
        ("hosts:\n", Unplaced),
        ("hosts: files k8s dns\n", Certain),
        ("hosts: k8s files dns\n", Certain),
        ("hosts: files k8s [!UNAVAIL=return] dns\n", Certain),
        ("hosts: files k8s\n", Certain),
        ("hosts: files k8s nis dns\n", Unplaced),
        ("hosts: files k8s [UNAVAIL=return] dns\n", Unplaced),
        ("hosts: files dns myhostname\n", AnswersOnly),
        ("hosts: files dns # the usual\n", AnswersOnly),
        ("hosts: files # dns\n", Unplaced),
        ("hosts: files myhostname dns\n", Unplaced),
        (
            "hosts: files mdns4_minimal [NOTFOUND=return] dns\n",
            Unplaced,
        ),
        ("hosts: files resolve [!UNAVAIL=return] dns\n", Unplaced),
        ("hosts: files [NOTFOUND=return] dns\n", Unplaced),
        ("hosts: files [notfound=continue] dns\n", Certain),
        ("hosts: files [SUCCESS=merge] dns\n", Unplaced),
        ("hosts: files [SUCCESS=continue] dns\n", Unplaced),
        ("hosts: files [ !SUCCESS = continue ] dns\n", Certain),
        (
            "hosts: files [SUCCESS=return NOTFOUND=continue] dns\n",
            Certain,
        ),
        ("hosts: files [SUCCESS=return\n", Unplaced),
        ("hosts: files [FOO=return] dns\n", Unplaced),
        ("hosts: [NOTFOUND=return] files dns\n", Unplaced),
        ("hosts: files dns\nhosts: files\n", Unplaced),
        ("hosts files dns\n", Unplaced),
        ("hosts2: nis\nhosts: files dns\n", Certain),
        ("hosts: files dns\0\n", Unplaced),
    ];
    for (text, expected) in cases {
        assert_eq!(
            Sources::parse(text.as_bytes(), None).zone,
            *expected,
            "{text:?}"
        );
    }
}

#[test]
fn the_hosts_file_answers_where_it_comes_first() {
    for (text, expected) in [
        // Before glibc 2.33 DNS came first by default.
        ("", false),
        ("hosts: files dns\n", true),
        ("hosts: files\n", true),
        (
            "hosts: files myhostname resolve [!UNAVAIL=return] dns\n",
            true,
        ),
        ("hosts: files mdns4_minimal [NOTFOUND=return] dns\n", true),
        ("hosts: files [NOTFOUND=return] dns\n", true),
        ("hosts: files [SUCCESS=continue] dns\n", false),
        ("hosts: files [SUCCESS=merge] dns\n", false),
        ("hosts: files dns [FOO=return]\n", false),
        ("hosts: files nis [FOO=return] dns\n", false),
        ("hosts: k8s files dns\n", false),
        ("hosts: myhostname files dns\n", false),
        (
            "hosts: mymachines resolve [!UNAVAIL=return] files dns\n",
            false,
        ),
        ("hosts: dns files\n", false),
        ("hosts: dns\n", false),
        ("hosts: files dns\nhosts: files\n", false),
    ] {
        assert_eq!(
            Sources::parse(text.as_bytes(), None).files_first,
            expected,
            "{text:?}"
        );
    }
}

#[test]
fn without_a_line_the_version_decides() {
    for text in ["", "passwd: files\n"] {
        for (minor, expected) in [
            (None, false),
            (Some(31), false),
            (Some(33), true),
            (Some(41), true),
        ] {
            let sources = Sources::parse(text.as_bytes(), minor);
            assert_eq!(
                (sources.files_first, sources.zone),
                (expected, Certain),
                "{minor:?}"
            );
        }
    }
    assert!(!Sources::parse(b"hosts: dns files\n", Some(41)).files_first);
}

proptest::proptest! {
    #[test]
    fn any_bytes_end(text in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
        let _ = Sources::parse(&text, None);
    }

    /// Blanks and letter case of actions carry no meaning.
    #[test]
    fn spacing_does_not_matter(blanks in "[ \t]{1,4}") {
        let text = format!("hosts:{blanks}files{blanks}[{blanks}!success{blanks}={blanks}Continue{blanks}]{blanks}dns{blanks}\n");
        proptest::prop_assert_eq!(Sources::parse(text.as_bytes(), None).zone, Certain);
    }
}

//! The fuzz targets under stable: on their seeds, and on some thousand random inputs. `make fuzz`
//! goes further.

#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "ordinary std tests; the ban is for the in-process code"
)]

#[path = "../fuzz/targets/buffers.rs"]
mod buffers;
#[path = "../fuzz/targets/corefile.rs"]
mod corefile;
#[path = "../fuzz/targets/replies.rs"]
mod replies;
#[path = "../fuzz/targets/rules.rs"]
mod rules;
#[path = "../fuzz/stable.rs"]
mod stable;
#[path = "../fuzz/targets/stub.rs"]
mod stub;
#[path = "../fuzz/targets/zone.rs"]
mod zone;

use proptest::{
    collection::vec,
    prelude::{Strategy, any, prop_oneof},
    sample::select,
};
use stable::run;

/// What resolver files and names are made of.
const TOKENS: [&[u8]; 32] = [
    b"nameserver ",
    b"search ",
    b"domain ",
    b"options ",
    b"hosts:",
    b"files ",
    b"dns ",
    b"k8s ",
    b"[NOTFOUND=return]",
    b"[!UNAVAIL=return",
    b"ndots:",
    b"no-aaaa ",
    b"10.96.0.10",
    b"::1",
    b"fe80::1%lo",
    b"0x7f",
    b"127",
    b"shop",
    b"api",
    b"svc",
    b"cluster.local",
    b"_web._tcp",
    b".",
    b"-",
    b"\n",
    b" ",
    b"\t",
    b"#",
    b"\xff",
    b"\0",
    b"\xc3\xa9",
    b"a23456789012345678901234567890123456789012345678901234567890123",
];

/// Bytes of one change to a zone file.
const CHANGE: usize = 11;

/// What Corefiles are made of.
const COREFILE: [&[u8]; 22] = [
    b".:53",
    b"example.org",
    b"(shared)",
    b"shared",
    b"import ",
    b"*.server",
    b"kubernetes ",
    b"cluster.local",
    b"fallthrough",
    b"rewrite ",
    b"{",
    b"}",
    b" ",
    b"\n",
    b"\r\n",
    b"\"",
    b"\\",
    b"#",
    b",",
    b"dns://",
    b"\xff",
    b"\xc3\xa9",
];

#[test]
fn words_of_corefiles() {
    run(
        "corefile",
        4_000,
        vec(select(&COREFILE[..]), 0..120).prop_map(|words| words.concat()),
        corefile::corefile,
    );
}

#[test]
fn any_bytes_as_a_zone() {
    run(
        "zone_bytes",
        2_000,
        vec(any::<u8>(), 0..6_000),
        zone::zone_bytes,
    );
}

#[test]
fn a_zone_with_changed_words() {
    run(
        "zone_changes",
        6_000,
        vec(any::<u8>(), 0..12 * CHANGE),
        zone::zone_changes,
    );
}

#[test]
fn a_writer_finds_a_zone_with_changed_words() {
    run(
        "zone_adopted",
        500,
        vec(any::<u8>(), 0..6 * CHANGE),
        zone::zone_adopted,
    );
}

#[test]
fn held_answers_with_changed_words() {
    run(
        "held_changes",
        1_000,
        vec(any::<u8>(), 0..8 * CHANGE),
        zone::held_changes,
    );
}

#[test]
fn any_bytes_as_resolver_files() {
    run("resolver_files", 6_000, text(60), stub::resolver_files);
}

#[test]
fn any_bytes_as_files_of_the_host() {
    let tokens: [&[u8]; 20] = [
        b"label ",
        b"precedence ",
        b"scopev4 ",
        b"reload ",
        b"multi ",
        b"order ",
        b"on",
        b"yes",
        b"::1/128 ",
        b"::/0 ",
        b"::ffff:0:0/96 ",
        b"10.0.0.0/8 ",
        b"/129 ",
        b"100",
        b"4294967296",
        b" ",
        b"\n",
        b"#",
        b"\0",
        b"-1",
    ];
    let tokens = tokens.map(<[u8]>::to_vec).to_vec();
    let texts = vec(select(tokens), 0..160).prop_map(|tokens| tokens.concat());
    run("host_files", 6_000, texts, stub::host_files);
}

#[test]
fn any_answer_in_any_buffer() {
    let head = (any::<u8>(), any::<[u8; 3]>(), 0_u8..6, 0_u8..100);
    let inputs = (head, vec(any::<u8>(), 0..200)).prop_map(
        |((choice, [skew, low, high], aliases, count), text)| {
            [&[choice, skew, low, high, aliases, count][..], &text].concat()
        },
    );
    run("buffers", 20_000, inputs, buffers::buffers);
}

#[test]
fn any_bytes_as_a_name() {
    run("names", 6_000, text(20), stub::names);
}

#[test]
fn any_bytes_as_rules() {
    run("rules", 10_000, rule_lines(), rules::rules);
}

/// Rules and a name of few labels, so that they meet; or any words.
fn rule_lines() -> impl Strategy<Value = Vec<u8>> {
    let line = "([a-b.]{1,3}|[EPSepsBG] [ab.]{1,4}( [abc.]{1,4})?)";
    let lines = vec(line, 0..8).prop_map(|lines| lines.join("\n").into_bytes());
    let words = vec(any::<u8>(), 0..200).prop_map(|bytes| [&b"#"[..], &bytes].concat());
    prop_oneof![4 => lines, 1 => words]
}

#[test]
fn any_bytes_as_replies() {
    run("replies", 20_000, replies(), replies::replies);
}

/// Octets that come up in records more often than others.
fn replies() -> impl Strategy<Value = Vec<u8>> {
    let parts: [&[u8]; 12] = [
        b"\xc0\x0c",
        b"\xc0\x0e",
        b"\xc0\x1b",
        b"\0\x01\0\x01\0\0\0\x1e\0\x04\x0a\0\0\x01",
        b"\0\x1c\0\x01\0\0\0\x1e\0\x10\x20\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\x01",
        b"\0\x05\0\x01\0\0\0\x1e\0\x04\x01t\xc0\x0e",
        b"\x01t\xc0\x0e",
        b"\x01t\0",
        b"\0",
        b"\x02",
        b"\x3f",
        b"\xff\xff",
    ];
    let part = select(parts.map(<[u8]>::to_vec).to_vec());
    let head = (any::<[u8; 2]>(), 0_u8..8, 0_u8..6, 0_u8..5);
    (head, vec(part, 0..24)).prop_map(|((options, flags, code, count), parts)| {
        [&options[..], &[flags, code, count], &parts.concat()].concat()
    })
}

/// So many tokens at most.
fn text(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(select(&TOKENS[..]), 0..most).prop_map(|tokens| tokens.concat())
}

//! The fuzz target of DNS messages under stable: on its seeds, and on some thousand random inputs.
//! `make fuzz` goes further.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

#[path = "../../tests/fuzz/targets/messages.rs"]
mod messages;
#[path = "../../tests/fuzz/stable.rs"]
mod stable;

use proptest::{collection::vec, prelude::any, sample::select, strategy::Strategy};

/// What messages are made of, after the first two octets: the choices and the query's length.
const TOKENS: [&[u8]; 30] = [
    b"\x03api",
    b"\x05crowd",
    b"\x05alias",
    b"\x01a",
    b"\x01h",
    b"\x03old",
    b"\x03one",
    b"\x03bad",
    b"\x03x-x",
    b"\x05_http",
    b"\x04_tcp",
    b"\x04shop",
    b"\x03svc\x07cluster\x05local\0",
    b"\x07example\x03com\0",
    b"\x04corp\0",
    b"\x0210\x0296\x011\x0210\x07in-addr\x04arpa\0",
    b"\0\x01\0\x01",
    b"\0\x1c\0\x01",
    b"\0\x21\0\x01",
    b"\0\x0c\0\x01",
    b"\0\x05\0\x01",
    b"\0\x06\0\x01",
    b"\0\x10\0\x01",
    b"\0\xfc\0\x01",
    b"\0\0\x29\x04\xd0\0\0\x80\0\0\0",
    b"\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0",
    b"\xc0\x0c\0\x01\0\x01\0\0\0\x1e\0\x04\x0a\0\0\x01",
    b"\xc0\x0c\0\x05\0\x01\0\0\0\x1e\0\x04\x01b\xc0\x0c",
    b"\0",
    b"\xff",
];

#[test]
fn any_bytes_as_a_message() {
    run(2_000, vec(any::<u8>(), 0..600));
}

#[test]
fn made_up_messages() {
    let head = (any::<u8>(), 0_u8..90);
    let tail = vec(select(&TOKENS[..]), 0..12);
    run(
        6_000,
        (head, tail).prop_map(|((options, length), tokens)| {
            [&[options, length][..], &tokens.concat()].concat()
        }),
    );
}

/// Runs the target on its seeds, then on these.
fn run(cases: u32, inputs: impl Strategy<Value = Vec<u8>>) {
    stable::run("messages", cases, inputs, messages::messages);
}

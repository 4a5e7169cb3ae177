//! The fuzz targets of what the agent and the driver read, under stable: on their seeds, and on some
//! thousand random inputs. `make fuzz` goes further.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

#[path = "../../tests/fuzz/targets/agent.rs"]
mod agent;
#[path = "../../tests/fuzz/stable.rs"]
mod stable;

use proptest::{
    collection::vec,
    prelude::any,
    sample::{Index, select},
    strategy::Strategy,
};

/// What is put into seeds, or takes the place of what is there.
const TOKENS: [&[u8]; 28] = [
    b"\xff",
    b"\0",
    b"\n",
    b"---\n",
    b"- ",
    b": ",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b",",
    b"null",
    b"-1",
    b"65536",
    b"1e99",
    b"..",
    b"/",
    b"//",
    b".",
    b"*",
    b"&a ",
    b"*a",
    b"None",
    b"true",
    b"\xc3\xa9",
    b"10.0.0.1",
    b"::",
];

#[test]
fn configurations() {
    run("config", 1_500, agent::config);
}

#[test]
fn manifests_in_a_directory() {
    run("manifests", 1_500, agent::manifests);
}

#[test]
fn tables_of_classes() {
    run("classes", 1_500, agent::classes);
}

#[test]
fn volumes_and_their_registry() {
    run("volumes", 4_000, agent::volumes);
}

#[test]
fn what_the_driver_leaves_for_the_agent() {
    run("registry", 4_000, agent::registry);
}

#[test]
fn lines_pages_and_journals_of_watches() {
    run("watches", 4_000, agent::watches);
}

#[test]
fn what_a_bucket_holds() {
    run("bucket", 4_000, agent::bucket);
}

/// Runs a target on its seeds, then on seeds that are changed here and there.
fn run(target: &str, cases: u32, body: fn(&[u8])) {
    let change = (any::<Index>(), 0_usize..6, select(&TOKENS[..]));
    let inputs = (select(stable::seeds(target)), vec(change, 0..6)).prop_map(changed);
    stable::run(target, cases, inputs, body);
}

/// Where, how many bytes go, and what comes.
type Change = (Index, usize, &'static [u8]);

/// A seed in which some bytes were replaced by others.
fn changed((mut bytes, changes): (Vec<u8>, Vec<Change>)) -> Vec<u8> {
    for (at, length, token) in changes {
        let at = at.index(bytes.len() + 1);
        let end = bytes.len().min(at + length);
        bytes.splice(at..end, token.iter().copied());
    }
    bytes
}

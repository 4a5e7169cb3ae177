//! The Corefile of a cluster, which `nss-k8s preflight` reads.

#![allow(dead_code, reason = "each fuzz target uses one of these")]

#[path = "../../../agent/src/preflight/corefile.rs"]
#[allow(
    unreachable_pub,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "a part of the agent, which is an ordinary std program"
)]
mod parser;

use parser::{Corefile, Plugin};
use std::collections::BTreeMap;

/// The Corefile, and up to two files that it may import: the parts between bytes 0xff. Whatever they
/// are, reading ends, invents nothing, and reads the same twice.
pub(crate) fn corefile(bytes: &[u8]) {
    let mut parts = bytes
        .split(|byte| *byte == 0xff)
        .map(|part| String::from_utf8_lossy(part).into_owned());
    let text = parts.next().unwrap_or_default();
    let names = ["a.server", "shared"];
    let files: BTreeMap<String, String> = names.into_iter().map(str::to_owned).zip(parts).collect();
    let read = Corefile::parse(&text, &files);
    for server in &read.servers {
        assert!(!server.zones.is_empty());
        for zone in &server.zones {
            assert!(!zone.ends_with('.') && *zone == zone.to_ascii_lowercase());
        }
        for plugin in &server.plugins {
            for word in words(plugin) {
                assert!(word != "{" && word != "}", "{plugin:?}");
                assert!(
                    text.contains(word)
                        || files.values().any(|file| file.contains(word))
                        // Quotes and line ends within a word are not its own.
                        || word.is_empty()
                        || text.contains(['"', '\r', '#'])
                        || files.values().any(|file| file.contains(['"', '\r', '#'])),
                    "{word:?}"
                );
            }
        }
    }
    assert_eq!(Corefile::parse(&text, &files), read);
}

fn words(plugin: &Plugin) -> impl Iterator<Item = &str> {
    let options = plugin.options.iter().flatten();
    plugin.arguments.iter().chain(options).map(String::as_str)
}

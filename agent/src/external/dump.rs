//! `nss-k8s dump --external`: what processes of one class are told of external names without asking
//! anybody.

use crate::status::{ip, state_word};
use nss_k8s_zone::{Family, Held, HeldAnswer, HeldDump, HeldVerdict, Now};
use std::{fmt::Write as _, path::Path};

/// The answers in master-file form, their time to live as it is now; what such a file cannot say
/// (no data, no name, no end) is a comment. Expired answers are left out.
pub fn text(dump: &HeldDump, path: &Path, now: Now) -> String {
    let mut text = String::new();
    let state = state_word(dump.state());
    let (alive, bytes) = (dump.alive().0, dump.bytes());
    let _ = writeln!(text, "; {}, state {state}", path.display());
    let _ = writeln!(text, "; alive at {alive} (Unix time), {bytes} bytes");
    for (name, held) in dump.entries() {
        for family in [Family::V4, Family::V6] {
            records(&mut text, name, held, family, now);
        }
    }
    text
}

/// One family of one name.
fn records(text: &mut String, name: &str, held: &Held, family: Family, now: Now) {
    let Some(HeldAnswer { expires, verdict }) = held.family(family) else {
        return;
    };
    let kind = match family {
        Family::V4 => "A",
        Family::V6 => "AAAA",
    };
    let ttl = match expires {
        Some(end) if *end <= now => return,
        Some(end) => (end.0 - now.0).to_string(),
        // The longest that a zone file can say (RFC 2181 section 8).
        None => i32::MAX.to_string(),
    };
    match verdict {
        HeldVerdict::NxDomain => {
            let _ = writeln!(text, "; {name}. {ttl} {kind}: no such name");
        }
        HeldVerdict::Data { addresses, .. } if addresses.is_empty() => {
            let _ = writeln!(text, "; {name}. {ttl} {kind}: no data");
        }
        HeldVerdict::Data {
            addresses,
            canonical,
        } => {
            let owner = canonical.as_deref().unwrap_or(name);
            if canonical.is_some() {
                let _ = writeln!(text, "{name}. {ttl} IN CNAME {owner}. ; of {kind}");
            }
            for address in addresses {
                let _ = writeln!(text, "{owner}. {ttl} IN {kind} {}", ip(address));
            }
        }
    }
}

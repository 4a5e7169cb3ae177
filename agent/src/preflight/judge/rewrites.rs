//! CoreDNS's `rewrite` rules: which of them touch the cluster's names, and how they are written in
//! our configuration.

use super::Dns;
use crate::{
    config::{Match, Rewrite},
    preflight::{
        corefile::{Plugin, is_below},
        finding::Finding,
    },
};
use serde_json::json;

/// Judges one rule of the server block that has the cluster zone.
pub(super) fn judge(dns: &Dns, place: &str, plugin: &Plugin, found: &mut Vec<Finding>) {
    let place = format!("{place}, line {}", plugin.line);
    // The form with a block has the same words on more lines.
    let words = plugin
        .arguments
        .iter()
        .chain(plugin.options.iter().flatten());
    let mut words: Vec<&str> = words.map(String::as_str).collect();
    let goes_on = words.first() == Some(&"continue");
    if matches!(words.first(), Some(&("continue" | "stop"))) {
        words.remove(0);
    }
    let rule = words.join(" ");
    match words.as_slice() {
        [
            "name",
            kind @ ("exact" | "prefix" | "suffix" | "substring" | "regex"),
            from,
            to,
            ..,
        ] => {
            found.push(judge_name(dns, place, &rule, kind, from, to, goes_on));
        }
        ["name", from, to, ..] => {
            found.push(judge_name(dns, place, &rule, "exact", from, to, goes_on));
        }
        ["ttl", ..] => {
            let what = format!("`rewrite {rule}`: times to live are not rewritten in process");
            found.push(Finding::note("rewrite-ttl", place, what));
        }
        ["edns0", ..] => {
            let what = format!("`rewrite {rule}`: upstreams see it for names that are asked");
            found.push(Finding::note("rewrite-edns0", place, what));
        }
        _ => {
            let what =
                format!("`rewrite {rule}` changes answers in a way that is not done in process");
            let advice = "list the names that it is for in `kubernetes.except`";
            found.push(Finding::blocker("rewrite-other", place, what).advise(advice));
        }
    }
}

/// A rule for names.
fn judge_name(
    dns: &Dns,
    place: String,
    rule: &str,
    kind: &str,
    from: &str,
    to: &str,
    goes_on: bool,
) -> Finding {
    let to = to.to_ascii_lowercase();
    // `\S` is not `\s`.
    let from = if kind == "regex" {
        from.to_owned()
    } else {
        from.to_ascii_lowercase()
    };
    let bare = from.trim_end_matches('.');
    let touches = match kind {
        "exact" => is_below(bare, &dns.apex),
        // A text, not labels: what ends with it may be anything that it is the end of.
        "suffix" => {
            let bare = bare.trim_start_matches('.');
            dns.apex.ends_with(bare) || is_below(bare, &dns.apex)
        }
        "regex" => !is_elsewhere(dns, &from),
        _ => true,
    };
    if !touches {
        let what =
            format!("`rewrite {rule}`: outside the cluster zone, where the cluster DNS is asked");
        return Finding::note("rewrite-external", place, what);
    }
    if goes_on {
        let what = format!("`rewrite continue {rule}`: rules that go on are not done in process");
        let advice = "write one rule for each pair of names, or except the names";
        return Finding::blocker("rewrite", place, what).advise(advice);
    }
    if kind == "substring" {
        let what = format!("`rewrite {rule}` may change any name of the cluster zone");
        let advice = "write it as a suffix or a regular expression that ends with a zone";
        return Finding::blocker("rewrite", place, what).advise(advice);
    }
    let value = json!({ kind: from, "to": to });
    match serde_json::from_value::<Rewrite>(value.clone()) {
        Ok(_) => {
            let what = format!("`rewrite {rule}` changes names of the cluster zone");
            Finding::warning("rewrite", place, what).set("rewrite", json!([value]))
        }
        Err(error) => {
            let what = format!("`rewrite {rule}` changes names of the cluster zone: {error}");
            let advice = "list the names that it is for in `kubernetes.except`";
            Finding::blocker("rewrite", place, what).advise(advice)
        }
    }
}

/// Whether a regular expression certainly matches no name of the cluster zone: it ends with other
/// labels.
pub(super) fn is_elsewhere(dns: &Dns, pattern: &str) -> bool {
    // The type that reads our own rules finds the literal ends.
    let rule = json!({"regex": pattern, "to": "a."});
    match serde_json::from_value::<Rewrite>(rule) {
        Ok(Rewrite {
            from: Match::Regex(pattern),
            ..
        }) => pattern
            .suffixes()
            .iter()
            .all(|suffix| !dns.touches(suffix.as_str())),
        _ => false,
    }
}

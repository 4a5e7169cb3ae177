//! What only whole sections can tell.

use super::{
    Config, DEFAULT_CLASS, EndpointSlices, LookupRule, Match, Selector, Transport,
    rules::{Host, Rewrite},
};
use crate::parse::label;
use std::{collections::BTreeSet, time::Duration};

/// Rules and fixed names that processes can be given: see the zone's CONFIG record.
const MOST_RULES: usize = 256;
/// Probes of an upstream that is down do not follow each other sooner.
const LEAST_HEALTH_CHECK: Duration = Duration::from_millis(10);
/// Bytes of their text.
const MOST_RULE_BYTES: usize = 16 << 10;

impl Config {
    /// Everything that does not go together, one line each.
    pub fn check(&self) -> Result<(), Vec<String>> {
        let mut found = Vec::new();
        self.check_kubernetes(&mut found);
        self.check_classes(&mut found);
        self.check_policy(&mut found);
        self.check_forward(&mut found);
        self.check_rules(&mut found);
        if let Some(listen) = &self.listen {
            let mut say = |wrong: bool, text: &str| say(&mut found, wrong, text);
            say(listen.addresses.is_empty(), "listen.addresses: none");
            say(
                !listen.udp && !listen.tcp,
                "listen: neither udp nor tcp; leave the section out instead",
            );
            say(
                !(1..=64).contains(&listen.sockets),
                "listen.sockets: not 1 to 64",
            );
            say(
                !(512..=4096).contains(&listen.udp_payload),
                "listen.udp_payload: not 512 to 4096",
            );
            say(
                listen
                    .namespace
                    .as_ref()
                    .is_some_and(|it| label(it).is_err()),
                "listen.namespace: no name of a namespace",
            );
            say(listen.max_connections == 0, "listen.max_connections: 0");
            say(listen.idle.duration().is_zero(), "listen.idle: 0");
        }
        let fanout = &self.fanout;
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let is_word = !fanout.bucket.is_empty() && fanout.bucket.bytes().all(word);
        say(
            &mut found,
            !is_word,
            "fanout.bucket: not letters, digits, - and _",
        );
        say(
            &mut found,
            fanout.beat.duration().is_zero(),
            "fanout.beat: 0",
        );
        say(
            &mut found,
            fanout.patience.duration() < 3 * fanout.beat.duration(),
            "fanout.patience: less than three times beat",
        );
        let verify = &self.verify;
        let mut say = |wrong: bool, text: &str| say(&mut found, wrong, text);
        say(
            verify.interval.duration().as_secs() < 1,
            "verify.interval: less than a second",
        );
        say(
            !(1..=1000).contains(&verify.sample),
            "verify.sample: not 1 to 1000",
        );
        say(verify.timeout.duration().is_zero(), "verify.timeout: 0");
        if found.is_empty() { Ok(()) } else { Err(found) }
    }

    fn check_kubernetes(&self, found: &mut Vec<String>) {
        let kubernetes = &self.kubernetes;
        for namespace in &kubernetes.namespaces {
            if let Err(why) = label(namespace) {
                found.push(format!("kubernetes.namespaces: {namespace:?}: {why}"));
            }
        }
        say(
            found,
            kubernetes.cluster_domain.is_root(),
            "kubernetes.cluster_domain: the root cannot be served",
        );
        say(
            found,
            !kubernetes.namespaces.is_empty() && kubernetes.namespace_labels.is_some(),
            "kubernetes: namespaces and namespace_labels exclude each other",
        );
        say(
            found,
            kubernetes.ignore_empty_service
                && kubernetes.endpoint_slices == EndpointSlices::Headless,
            "kubernetes.ignore_empty_service needs endpoint_slices: all",
        );
        say(
            found,
            kubernetes.ttl > 3600,
            "kubernetes.ttl: not 0 to 3600",
        );
        say(
            found,
            kubernetes.endpoint_grace.duration().as_secs() > 3600,
            "kubernetes.endpoint_grace: more than an hour",
        );
        say(
            found,
            self.processes.disabled_permille > 1000,
            "processes.disabled_permille: not 0 to 1000",
        );
        say(
            found,
            self.processes.stale_after > self.processes.dead_after,
            "processes.stale_after: later than dead_after",
        );
    }

    fn check_classes(&self, found: &mut Vec<String>) {
        let mut names = BTreeSet::new();
        for class in &self.classes {
            let name = &class.name;
            if let Err(why) = label(name) {
                found.push(format!("classes: {name:?}: {why}"));
            }
            if !names.insert(name) {
                found.push(format!("classes: {name} is there twice"));
            }
            let matches = !class.namespaces.is_empty() || class.namespace_selector.is_some();
            if name == DEFAULT_CLASS && matches {
                let why = "has every namespace that no other class has: it takes no selection";
                found.push(format!("classes: {name} {why}"));
            }
            if name != DEFAULT_CLASS && !matches {
                let why = "needs namespaces or namespace_selector";
                found.push(format!("classes: {name} {why}"));
            }
        }
    }

    fn check_policy(&self, found: &mut Vec<String>) {
        for (index, LookupRule { from, to }) in self.policy.iter().enumerate() {
            say(
                found,
                from.namespaces.is_empty() && from.namespace_selector.is_none(),
                &format!("policy[{index}].from: needs namespaces or namespace_selector"),
            );
            // A selector without requirements selects all; said in words it cannot be a slip.
            let empty =
                |it: &Option<Selector>| it.as_ref().is_some_and(|it| it.to_string().is_empty());
            say(
                found,
                empty(&from.namespace_selector) || empty(&to.namespace_selector),
                &format!("policy[{index}]: an empty selector; write namespaces: ['*']"),
            );
        }
        say(
            found,
            !(1..=1024).contains(&self.max_views),
            "max_views: not 1 to 1024",
        );
    }

    fn check_forward(&self, found: &mut Vec<String>) {
        let forward = &self.forward;
        let mut zones = BTreeSet::new();
        for (index, group) in forward.groups.iter().enumerate() {
            let place = format!("forward.groups[{index}]");
            if group.zones.is_empty() {
                found.push(format!("{place}.zones: none"));
            }
            for zone in &group.zones {
                if !zones.insert(zone) {
                    found.push(format!("{place}.zones: {zone} has a group already"));
                }
            }
            if group.upstreams.is_empty() {
                found.push(format!("{place}.upstreams: none"));
            }
            say(
                found,
                group.max_fails == 0,
                &format!("{place}.max_fails: 0"),
            );
            say(
                found,
                group.health_check.duration() < LEAST_HEALTH_CHECK,
                &format!("{place}.health_check: less than 10 ms"),
            );
            for upstream in &group.upstreams {
                let (tls, named) = (upstream.transport == Transport::Tls, &upstream.tls_name);
                if named.is_some() && !tls {
                    let address = upstream.address;
                    found.push(format!(
                        "{place}: {address}: tls_name without transport: tls"
                    ));
                }
            }
        }
        for (wrong, what) in [
            (forward.max_concurrent == 0, "max_concurrent"),
            (forward.max_connections == 0, "max_connections"),
            (forward.timeout.duration().is_zero(), "timeout"),
            (forward.deadline.duration().is_zero(), "deadline"),
            (forward.sockets.connections == 0, "sockets.connections"),
            (forward.sockets.in_flight == 0, "sockets.in_flight"),
            (forward.sockets.total == 0, "sockets.total"),
            (forward.sockets.idle.duration().is_zero(), "sockets.idle"),
            (forward.cache.entries == 0, "cache.entries"),
        ] {
            say(found, wrong, &format!("forward.{what}: 0"));
        }
        say(
            found,
            !(1..=90).contains(&forward.prefetch.percent),
            "forward.prefetch.percent: not 1 to 90",
        );
        say(
            found,
            forward.cache.min_ttl > forward.cache.max_ttl,
            "forward.cache.min_ttl: more than max_ttl",
        );
    }

    fn check_rules(&self, found: &mut Vec<String>) {
        let rules: Vec<usize> = self
            .rewrite
            .iter()
            .map(rule_bytes)
            .chain(self.block.iter().map(|name| name.as_str().len()))
            .collect();
        say(
            found,
            rules.len() > MOST_RULES || rules.iter().sum::<usize>() > MOST_RULE_BYTES,
            "rewrite and block: more than 256 rules or 16 KiB of text",
        );
        say(
            found,
            self.block.iter().any(|name| name.is_root()),
            "block: the root would block everything",
        );
        for Host {
            names, addresses, ..
        } in &self.hosts
        {
            say(found, names.is_empty(), "hosts: an entry without names");
            if let Some(name) = names.first()
                && addresses.is_empty()
            {
                found.push(format!(
                    "hosts: {name} has no addresses; to hide a name, block it"
                ));
            }
        }
        // In process there are no regular expressions: names that one may match are left to DNS, after
        // all other rules.
        let is_regex = |rewrite: &Rewrite| matches!(rewrite.from, Match::Regex(_));
        let first = self.rewrite.iter().position(is_regex);
        let after = self.rewrite.iter().skip(first.unwrap_or(usize::MAX));
        say(
            found,
            !after.clone().all(is_regex),
            "rewrite: a regex comes before another kind of rule; regexes must come last",
        );
        say(
            found,
            first.is_some() && self.rewrite.iter().any(|rewrite| rewrite.continues),
            "rewrite: continue cannot lead to a regex",
        );
        let names = self.tld_guard.except.iter().chain(&self.tld_guard.also);
        for name in names {
            if let Err(why) = label(name) {
                found.push(format!("tld_guard: {name:?}: {why}"));
            }
        }
    }
}

/// The text that a rule needs in process.
fn rule_bytes(rewrite: &Rewrite) -> usize {
    let from = match &rewrite.from {
        Match::Exact(name) => name.as_str().len(),
        Match::Prefix(text) | Match::Suffix(text) => text.len(),
        Match::Regex(pattern) => pattern.suffixes().iter().map(|s| s.as_str().len()).sum(),
    };
    from + rewrite.to.len()
}

/// Notes a finding.
fn say(found: &mut Vec<String>, wrong: bool, text: &str) {
    if wrong {
        found.push(text.to_owned());
    }
}

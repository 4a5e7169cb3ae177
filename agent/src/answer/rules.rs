//! Names that are answered otherwise than the zone and the upstreams would: blocked, rewritten and
//! fixed ones.
//!
//! Rewriting is CoreDNS's (plugin/rewrite/name.go), always with `answer auto`: what was looked up
//! under another name is answered under its own. The first rule that matches counts. Texts are of
//! names in lower case without their last dot; as CoreDNS's end in a dot, a *prefix* takes whole
//! labels and a *suffix* takes bytes.

use super::name::WireName;
use crate::config::{Config, Match};
use nss_k8s_zone::{Address, Family, Name};
use regex::Regex;
use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

/// All rules, made for looking up; empty by default.
#[derive(Debug, Default)]
pub struct Rules {
    rewrites: Vec<Rewrite>,
    /// Names in lower case.
    blocked: HashSet<Vec<u8>>,
    hosts: HashMap<Vec<u8>, Host>,
    addresses: HashMap<IpAddr, (u32, Vec<WireName>)>,
}

/// What the rules make of a name.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Ruling {
    /// No rule says anything of it.
    Unruled,
    /// Neither it nor what is below it exists.
    Blocked {
        /// Octets of the blocked name, counted from the end of the question's.
        zone: usize,
    },
    /// It is looked up under another name.
    Rewritten {
        /// Under this one.
        name: WireName,
        /// How the answer's names are turned back.
        back: Back,
    },
    /// What would take its place is no name.
    Malformed,
}

/// Fixed addresses of a name. A family may have none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Host {
    pub(super) addresses: Vec<Address>,
    /// Seconds.
    pub(super) time_to_live: u32,
}

/// Turns names of an answer back.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Back {
    /// The one name, and at the end of others, becomes the name that was asked for.
    Name {
        /// What was looked up, in lower case.
        looked_up: Vec<u8>,
        /// What was asked for.
        asked: WireName,
    },
    /// Every name that ends with the one text ends with the other.
    Suffix {
        /// What was looked up, in lower case.
        looked_up: Vec<u8>,
        /// What took its place; the whole name keeps the question's case.
        rewritten: String,
        /// What was asked for.
        original: String,
        /// The question's name.
        asked: WireName,
    },
}

#[derive(Debug)]
struct Rewrite {
    from: Pattern,
    to: String,
}

#[derive(Debug)]
enum Pattern {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Regex(Regex),
}

impl Rules {
    /// The rules of a configuration.
    pub fn new(config: &Config) -> Self {
        let mut rules = Self::default();
        for rewrite in &config.rewrite {
            let from = match &rewrite.from {
                Match::Exact(name) => Pattern::Exact(name.as_str().to_owned()),
                Match::Prefix(text) => Pattern::Prefix(text.clone()),
                Match::Suffix(text) => Pattern::Suffix(text.clone()),
                Match::Regex(pattern) => Pattern::Regex(pattern.regex().clone()),
            };
            let to = rewrite.to.clone();
            rules.rewrites.push(Rewrite { from, to });
        }
        for name in &config.block {
            rules.blocked.insert(name.as_str().into());
        }
        for host in &config.hosts {
            let seconds = host.ttl.duration().as_secs();
            let time_to_live = u32::try_from(seconds).unwrap_or(u32::MAX);
            for name in &host.names {
                rules.add_host(name.as_str().as_bytes(), &host.addresses, time_to_live);
            }
        }
        rules
    }

    fn add_host(&mut self, name: &[u8], addresses: &[IpAddr], time_to_live: u32) {
        let host = self.hosts.entry(name.into()).or_default();
        host.time_to_live = time_to_live;
        for ip in addresses {
            let address = match ip {
                IpAddr::V4(v4) => Address::v4(v4.octets()),
                IpAddr::V6(v6) => Address::v6(v6.octets()),
            };
            if !host.addresses.contains(&address) {
                host.addresses.push(address);
            }
            let Some(target) = WireName::from_text(name) else {
                continue;
            };
            let (lives, names) = self.addresses.entry(*ip).or_default();
            *lives = time_to_live;
            if !names.contains(&target) {
                names.push(target);
            }
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.rewrites.is_empty() && self.blocked.is_empty() && self.hosts.is_empty()
    }

    /// Applies blocking and rewriting to a name, `folded` in lower case. Where `of_process` is true,
    /// a process has applied them already, but regular expressions, which it has not.
    pub(super) fn apply(&self, name: &WireName, folded: &[u8], of_process: bool) -> Ruling {
        if !of_process && let Some(zone) = self.blocks(folded) {
            return Ruling::Blocked { zone };
        }
        // What is no text no rule speaks of.
        let Ok(text) = core::str::from_utf8(folded) else {
            return Ruling::Unruled;
        };
        let mut rules = self.rewrites.iter();
        let applies = |rule: &&Rewrite| !of_process || matches!(rule.from, Pattern::Regex(_));
        let found = rules.find_map(|rule| {
            let to = Some(rule).filter(applies)?.rewrite(text)?;
            Some((rule, to))
        });
        let Some((rule, to)) = found else {
            return Ruling::Unruled;
        };
        let Some(rewritten) = WireName::from_text(to.as_bytes()) else {
            return Ruling::Malformed;
        };
        let back = match &rule.from {
            // Without a text in its place every name would end with it.
            Pattern::Suffix(original) if !rule.to.is_empty() => Back::Suffix {
                looked_up: to.into_bytes(),
                rewritten: rule.to.clone(),
                original: original.clone(),
                asked: *name,
            },
            _ => Back::Name {
                looked_up: to.into_bytes(),
                asked: *name,
            },
        };
        Ruling::Rewritten {
            name: rewritten,
            back,
        }
    }

    /// The octets of the blocked name that `folded` is, or is below.
    fn blocks(&self, folded: &[u8]) -> Option<usize> {
        if self.blocked.is_empty() {
            return None;
        }
        let mut rest = folded;
        loop {
            if self.blocked.contains(rest) {
                return Some(if rest.is_empty() { 1 } else { rest.len() + 2 });
            }
            let dot = rest.iter().position(|byte| *byte == b'.');
            rest = match dot {
                Some(dot) => rest.get(dot + 1..)?,
                None if rest.is_empty() => return None,
                None => &[],
            };
        }
    }

    /// Fixed addresses of a name in lower case.
    pub(super) fn host(&self, folded: &[u8]) -> Option<&Host> {
        self.hosts.get(folded)
    }

    /// Names with that fixed address, and their time to live.
    pub(super) fn names(&self, address: &Address) -> Option<&(u32, Vec<WireName>)> {
        let octets = address.as_octets();
        let ip = match address.family {
            Family::V4 => IpAddr::from(<[u8; 4]>::try_from(octets).ok()?),
            Family::V6 => IpAddr::from(<[u8; 16]>::try_from(octets).ok()?),
        };
        self.addresses.get(&ip)
    }
}

impl Rewrite {
    /// What is looked up for `name`; `None`: the rule is not for it.
    fn rewrite(&self, name: &str) -> Option<String> {
        let to = &self.to;
        match &self.from {
            Pattern::Exact(from) => (from == name).then(|| to.clone()),
            Pattern::Prefix(from) => {
                let rest = name.strip_prefix(from.as_str())?;
                (rest.is_empty() || rest.starts_with('.')).then(|| format!("{to}{rest}"))
            }
            Pattern::Suffix(from) => {
                let rest = name.strip_suffix(from.as_str())?;
                Some(format!("{rest}{to}"))
            }
            Pattern::Regex(regex) => {
                let dotted = format!("{name}.");
                let captures = regex.captures(&dotted)?;
                let mut text = to.clone();
                for (index, group) in captures.iter().enumerate() {
                    let group = group.map_or("", |group| group.as_str());
                    text = text.replace(&format!("{{{index}}}"), group);
                }
                Some(text.to_ascii_lowercase())
            }
        }
    }
}

impl Back {
    /// The name that stands for `name` in the answer to the question as it was asked.
    pub(super) fn turn(&self, name: &WireName) -> WireName {
        let folded = name.fold().unwrap_or(Name::EMPTY);
        let folded = folded.as_bytes();
        let turned = match self {
            Self::Name { looked_up, asked }
            | Self::Suffix {
                looked_up, asked, ..
            } if folded == looked_up => Some(*asked),
            Self::Name { looked_up, asked } => {
                let is_below = folded
                    .strip_suffix(&looked_up[..])
                    .is_some_and(|rest| rest.ends_with(b".") && !looked_up.is_empty());
                is_below
                    .then(|| name.with_tail(looked_up.len() + 2, asked.as_octets()))
                    .flatten()
            }
            Self::Suffix {
                rewritten,
                original,
                ..
            } => folded
                .strip_suffix(rewritten.as_bytes())
                .and_then(|rest| WireName::from_text(&[rest, original.as_bytes()].concat())),
        };
        turned.unwrap_or(*name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> WireName {
        WireName::from_text(text.as_bytes()).unwrap()
    }

    fn rules(text: &str) -> Rules {
        Rules::new(&Config::parse(text).unwrap())
    }

    /// What is looked up for `asked`, and what of an answer's names the client sees.
    fn look(rules: &Rules, asked: &str, owners: &[&str]) -> Option<(WireName, Vec<WireName>)> {
        let asked = name(asked);
        let folded = asked.fold().unwrap();
        match rules.apply(&asked, folded.as_bytes(), false) {
            Ruling::Rewritten { name: to, back } => {
                let turned = owners.iter().map(|owner| back.turn(&name(owner)));
                Some((to, turned.collect()))
            }
            Ruling::Unruled => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rewriting_is_that_of_coredns() {
        let rules = rules(
            "rewrite:
              - {exact: foo.example.com, to: api.shop.svc.cluster.local}
              - {prefix: old, to: new}
              - {suffix: .corp.example.com, to: .shop.svc.cluster.local}
              - {regex: '^(.*)-(\\w+)\\.legacy\\.example\\.com\\.$', to: '{1}.{2}.svc.cluster.local'}
            ",
        );
        for (asked, to, owners, turned) in [
            (
                "Foo.example.com",
                "api.shop.svc.cluster.local",
                [
                    "API.shop.svc.cluster.local",
                    "x.api.shop.svc.cluster.local",
                    "cluster.local",
                ],
                ["Foo.example.com", "x.Foo.example.com", "cluster.local"],
            ),
            (
                "old.x",
                "new.x",
                ["new.x", "y.new.x", "new"],
                ["old.x", "y.old.x", "new"],
            ),
            (
                "Web.corp.example.com",
                "web.shop.svc.cluster.local",
                [
                    "web.shop.svc.cluster.local",
                    "six.shop.svc.cluster.local",
                    "cluster.local",
                ],
                [
                    "Web.corp.example.com",
                    "six.corp.example.com",
                    "cluster.local",
                ],
            ),
            (
                "web-shop.legacy.example.com",
                "web.shop.svc.cluster.local",
                ["web.shop.svc.cluster.local", "a", "b"],
                ["web-shop.legacy.example.com", "a", "b"],
            ),
        ] {
            let expected = Some((name(to), turned.map(name).to_vec()));
            assert_eq!(look(&rules, asked, &owners), expected, "{asked}");
        }
        for asked in [
            "older.x",
            "xfoo.example.com",
            "legacy.example.com",
            "corp.example.com",
            "",
        ] {
            assert_eq!(look(&rules, asked, &[]), None, "{asked}");
        }
    }

    #[test]
    fn a_process_has_applied_all_but_regular_expressions() {
        let rules = rules(
            "rewrite:
              - {exact: a.example.com, to: b.example.com}
              - {regex: '^a\\.example\\.com\\.$', to: c.example.com}
block: [bad.example.com]
            ",
        );
        let apply = |text: &str, of_process| {
            let name = name(text);
            match rules.apply(&name, name.fold().unwrap().as_bytes(), of_process) {
                Ruling::Rewritten { name, .. } => format!("{name:?}"),
                other => format!("{other:?}"),
            }
        };
        assert!(apply("a.example.com", false).starts_with("\\x01b"));
        assert!(apply("a.example.com", true).starts_with("\\x01c"));
        assert_eq!(apply("x.bad.example.com", false), "Blocked { zone: 17 }");
        assert_eq!(apply("x.bad.example.com", true), "Unruled");
        assert_eq!(apply("bad.example.com.x", false), "Unruled");
    }

    #[test]
    fn hosts_have_names_and_addresses() {
        let rules = rules(
            "hosts: [{names: [One.example.com, two.example.com], addresses: [192.0.2.1, '2001:db8::1']}]",
        );
        let host = rules.host(b"one.example.com").unwrap();
        assert_eq!(host.addresses.len(), 2);
        assert!(rules.host(b"three.example.com").is_none());
        let (time_to_live, names) = rules.names(&Address::v4([192, 0, 2, 1])).unwrap();
        assert_eq!((*time_to_live, names.len()), (3600, 2));
        assert!(!rules.is_empty() && Rules::default().is_empty());
    }
}

//! Names that are answered otherwise than the zone and the upstreams would: blocked, rewritten and
//! fixed ones.
//!
//! Rewriting is CoreDNS's (plugin/rewrite/name.go), always with `answer auto`: what was looked up
//! under another name is answered under its own. The first rule that matches counts, and those behind
//! it where it says so. Texts are of names in lower case without their last dot; as CoreDNS's end in
//! a dot, a *prefix* takes whole labels and a *suffix* takes bytes.
//!
//! The order is that of processes: rewriting, then blocking of what was not rewritten for good, then
//! regular expressions, which processes leave to us.

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
    /// Those with regular expressions; the configuration has them last.
    expressions: Vec<Rewrite>,
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

/// Turns names of an answer back: what each rule did, in their order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Back(Vec<Step>);

/// Turns back what one rule did.
#[derive(Clone, Debug, PartialEq)]
enum Step {
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
    /// The rules behind it are tried on the new name.
    continues: bool,
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
            let rule = Rewrite {
                from,
                to,
                continues: rewrite.continues,
            };
            match rule.from {
                Pattern::Regex(_) => rules.expressions.push(rule),
                _ => rules.rewrites.push(rule),
            }
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
        self.rewrites.is_empty()
            && self.expressions.is_empty()
            && self.blocked.is_empty()
            && self.hosts.is_empty()
    }

    /// Applies blocking and rewriting to a name, `folded` in lower case. Where `of_process` is true,
    /// a process has applied them already, but regular expressions, which it has not.
    pub(super) fn apply(&self, name: &WireName, folded: &[u8], of_process: bool) -> Ruling {
        let mut walk = Walk::new(name, folded);
        if !of_process {
            if !walk.take(&self.rewrites) {
                return Ruling::Malformed;
            }
            if !walk.is_done
                && let Some(zone) = self.blocks(&walk.folded)
            {
                // The blocked name above another name is none of the question's.
                let zone = match walk.steps.is_empty() {
                    true => zone,
                    false => name.as_octets().len(),
                };
                return Ruling::Blocked { zone };
            }
        }
        match walk.is_done || walk.take(&self.expressions) {
            false => Ruling::Malformed,
            true if walk.steps.is_empty() => Ruling::Unruled,
            true => Ruling::Rewritten {
                name: walk.name,
                back: Back(walk.steps),
            },
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

/// A name's way through the rewrites.
struct Walk {
    /// What it has become.
    name: WireName,
    /// The same in lower case.
    folded: Vec<u8>,
    /// Which rules matched.
    steps: Vec<Step>,
    /// One of them is the last to be tried.
    is_done: bool,
}

impl Walk {
    fn new(name: &WireName, folded: &[u8]) -> Self {
        Self {
            name: *name,
            folded: folded.to_vec(),
            steps: Vec::new(),
            is_done: false,
        }
    }

    /// Tries the rules in their order. False: what a name would become is none.
    fn take(&mut self, rules: &[Rewrite]) -> bool {
        for rule in rules {
            // What is no text no rule speaks of.
            let text = core::str::from_utf8(&self.folded).ok();
            let Some(to) = text.and_then(|text| rule.rewrite(text)) else {
                continue;
            };
            let Some(name) = WireName::from_text(to.as_bytes()) else {
                return false;
            };
            let asked = core::mem::replace(&mut self.name, name);
            self.folded = to.clone().into_bytes();
            self.steps.push(rule.step_back(to, asked));
            if !rule.continues {
                self.is_done = true;
                return true;
            }
        }
        true
    }
}

impl Rewrite {
    /// How what it made of `asked` is turned back.
    fn step_back(&self, looked_up: String, asked: WireName) -> Step {
        let looked_up = looked_up.into_bytes();
        match &self.from {
            // Without a text in its place every name would end with it.
            Pattern::Suffix(original) if !self.to.is_empty() => Step::Suffix {
                looked_up,
                rewritten: self.to.clone(),
                original: original.clone(),
                asked,
            },
            _ => Step::Name { looked_up, asked },
        }
    }

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
        let steps = self.0.iter().rev();
        steps.fold(*name, |name, step| step.turn(&name))
    }
}

impl Step {
    /// The same for one rule.
    fn turn(&self, name: &WireName) -> WireName {
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
mod tests;

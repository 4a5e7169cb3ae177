//! A scripted DNS server inside a pod's network: says what it is told, and remembers who asked.

mod fault;
mod server;

pub use self::{
    fault::{Fault, Tcp},
    server::{Asked, Server},
};

use crate::{
    recording::{Recording, Recordings},
    wire::{self, Question, Record, kind, rcode},
};
use std::{
    collections::{HashMap, HashSet},
    fmt,
    net::IpAddr,
    sync::Arc,
};

/// What a name does instead of being looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    /// An answer with this code and nothing else, see [`rcode`].
    Answer(u8),
    /// No answer at all. Over TCP nothing more is said on that connection, as CoreDNS serves one
    /// message of it after the other.
    Drop,
    /// Over UDP what its records say; over TCP the same, spoiled.
    Spoiled(Fault),
}

/// Answers a whole message in place of the script; the flag says that it came over TCP. Nothing:
/// no answer is sent.
pub type Upstream = Arc<dyn Fn(&[u8], bool) -> Option<Vec<u8>> + Send + Sync>;

/// Everything that a server knows. A name without records that other names lie below is NODATA,
/// any other is NXDOMAIN. For names in the cluster's zones recordings, or a real server, can take
/// the place of the records; names that misbehave do so all the same.
#[derive(Clone, Default)]
pub struct Script {
    records: HashMap<(String, u16), Vec<Vec<u8>>>,
    names: HashSet<String>,
    behaviors: HashMap<(String, Option<u16>), Behavior>,
    recordings: Option<Arc<Recordings>>,
    upstream: Option<Upstream>,
    tcp: Tcp,
    ttl: Option<u32>,
}

impl fmt::Debug for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Script")
            .field("names", &self.names)
            .field("behaviors", &self.behaviors)
            .finish_non_exhaustive()
    }
}

impl Script {
    /// Adds A or AAAA records.
    #[must_use]
    pub fn addresses(mut self, name: &str, addresses: &[&str]) -> Self {
        for text in addresses {
            let address: IpAddr = text
                .parse()
                .unwrap_or_else(|_| panic!("{text}: no address"));
            let (kind, data) = wire::address(address);
            self.add(name, kind, data);
        }
        self
    }

    /// Adds a CNAME record.
    #[must_use]
    pub fn alias(mut self, name: &str, target: &str) -> Self {
        self.add(name, kind::CNAME, wire::name(target));
        self
    }

    /// Adds a PTR record at the reverse name of `address`.
    #[must_use]
    pub fn pointer(mut self, address: &str, target: &str) -> Self {
        let address: IpAddr = address
            .parse()
            .unwrap_or_else(|_| panic!("{address}: no address"));
        self.add(&reverse_name(address), kind::PTR, wire::name(target));
        self
    }

    /// A name that exists without records.
    #[must_use]
    pub fn empty(mut self, name: &str) -> Self {
        self.exists(&name.to_lowercase());
        self
    }

    /// A name that misbehaves.
    #[must_use]
    pub fn behavior(mut self, name: &str, behavior: Behavior) -> Self {
        self.behaviors.insert((name.to_lowercase(), None), behavior);
        self
    }

    /// A name that misbehaves when asked for one type.
    #[must_use]
    pub fn behavior_of(mut self, name: &str, kind: u16, behavior: Behavior) -> Self {
        self.behaviors
            .insert((name.to_lowercase(), Some(kind)), behavior);
        self
    }

    /// How its TCP port fares; UDP is served in any case.
    #[must_use]
    pub fn over_tcp(mut self, tcp: Tcp) -> Self {
        self.tcp = tcp;
        self
    }

    /// What its records have to live, in place of [`wire::TTL`].
    #[must_use]
    pub fn living(mut self, seconds: u32) -> Self {
        self.ttl = Some(seconds);
        self
    }

    /// Answers from `recordings` whatever they hold, before its own records.
    #[must_use]
    pub fn recorded(mut self, recordings: Arc<Recordings>) -> Self {
        self.recordings = Some(recordings);
        self
    }

    /// Hands every question for a name in the cluster's zones to `upstream`.
    #[must_use]
    pub fn forwarded(mut self, upstream: Upstream) -> Self {
        self.upstream = Some(upstream);
        self
    }

    /// Adds a record of any type.
    #[must_use]
    pub fn record(mut self, name: &str, kind: u16, data: Vec<u8>) -> Self {
        self.add(name, kind, data);
        self
    }

    fn add(&mut self, name: &str, kind: u16, data: Vec<u8>) {
        let name = name.to_lowercase();
        self.exists(&name);
        self.records.entry((name, kind)).or_default().push(data);
    }

    /// The name and everything above it exists (RFC 8020).
    fn exists(&mut self, name: &str) {
        let mut rest = Some(name);
        while let Some(name) = rest {
            self.names.insert(name.to_owned());
            rest = name.split_once('.').map(|(_, parent)| parent);
        }
    }

    /// How the name misbehaves when asked that.
    fn behavior_at(&self, question: &Question) -> Option<Behavior> {
        let found = [Some(question.kind), None]
            .iter()
            .find_map(|kind| self.behaviors.get(&(question.name.clone(), *kind)));
        found.copied()
    }

    /// What was recorded for a question.
    fn recording(&self, question: &Question) -> Option<&Recording> {
        let recordings = self.recordings.as_ref()?;
        recordings.find(&question.name, question.kind)
    }

    /// The response, or nothing when none is to be sent.
    pub fn answer(&self, question: &Question, limit: usize) -> Option<Vec<u8>> {
        let respond = |code, answers: &[Record]| {
            let mut message = wire::respond(question, code, answers, "cluster.local", limit);
            // CoreDNS offers no recursion in the zones that it has itself, and outside of them hands
            // on what is not authoritative.
            if is_in_cluster(&question.name) {
                message[3] &= !0b1000_0000;
            } else {
                message[2] &= !0b100;
            }
            Some(message)
        };
        match self.behavior_at(question) {
            Some(Behavior::Answer(code)) => return respond(code, &[]),
            Some(Behavior::Drop) => return None,
            Some(Behavior::Spoiled(_)) | None => {}
        }
        if let Some(recording) = self.recording(question) {
            return Some(recording.respond(question, limit));
        }
        let mut answers = Vec::new();
        let ttl = self.ttl.unwrap_or(wire::TTL);
        let mut owner = question.name.clone();
        for _ in 0..8 {
            if let Some(found) = self.records.get(&(owner.clone(), question.kind)) {
                answers.extend(found.iter().map(|data| Record {
                    owner: owner.clone(),
                    kind: question.kind,
                    data: data.clone(),
                    ttl,
                }));
                return respond(rcode::NOERROR, &answers);
            }
            let Some(target) = self.records.get(&(owner.clone(), kind::CNAME)) else {
                break;
            };
            let data = target[0].clone();
            let next = wire_text(&data);
            answers.push(Record {
                owner,
                kind: kind::CNAME,
                data,
                ttl,
            });
            owner = next;
        }
        // CoreDNS's kubernetes plugin denies a reverse name that it is not asked the pointer of.
        let code = if self.names.contains(&owner) && !owner.ends_with(".arpa") {
            rcode::NOERROR
        } else {
            rcode::NXDOMAIN
        };
        // It drops the alias when its target, being in the zone, lacks the family.
        if code == rcode::NOERROR && is_in_cluster(&owner) {
            answers.clear();
        }
        respond(code, &answers)
    }
}

/// `4.3.2.1.in-addr.arpa` or the `ip6.arpa` form.
pub fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let nibbles: Vec<String> = v6
                .octets()
                .iter()
                .rev()
                .map(|byte| format!("{:x}.{:x}", byte & 15, byte >> 4))
                .collect();
            format!("{}.ip6.arpa", nibbles.join("."))
        }
    }
}

/// Whether the cluster's DNS has the name in one of its zones: the cluster's own, and reverse
/// lookup of addresses that the fixture gives to services and pods.
pub fn is_in_cluster(name: &str) -> bool {
    ["cluster.local", "10.in-addr.arpa", "0.0.d.f.ip6.arpa"]
        .iter()
        .any(|zone| {
            let above = name.strip_suffix(zone);
            above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        })
}

/// An uncompressed wire name as text.
fn wire_text(wire: &[u8]) -> String {
    let mut labels = Vec::new();
    let mut rest = wire;
    while let Some((&length, tail)) = rest.split_first() {
        if length == 0 {
            break;
        }
        let (label, next) = tail.split_at(usize::from(length).min(tail.len()));
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        rest = next;
    }
    labels.join(".")
}

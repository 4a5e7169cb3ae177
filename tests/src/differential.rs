//! The same call in the same pod, once by libc alone and once through us: both must come out the
//! same in every field, whoever answered.

use crate::{
    artifacts,
    pod::{Pod, Recipe},
    probe::Libc,
    session::{Door, Session},
    shop,
    zonefile::Agent,
};
use anyhow::{Result, ensure};

/// Runs calls through the given doors in a pod made after `recipe`; at least `decided` of each door's
/// must be decided by the zone. Returns how many the zone decided, at the door with the fewest.
pub fn agree(
    zone: &Agent,
    recipe: Recipe,
    environment: &[(&str, &str)],
    doors: &[Door],
    calls: &[String],
    decided: usize,
) -> Result<usize> {
    let pod = Pod::start(Recipe {
        hosts: shop::HOSTS.into(),
        zone: Some(zone.view()),
        dns: Some(shop::script()),
        ..recipe
    })?;
    let mut differences = Vec::new();
    let mut fewest = usize::MAX;
    for &door in doors {
        let mut pair = Pair::start(&pod, door, environment)?;
        for call in calls {
            pair.compare(call, &mut differences)?;
        }
        fewest = fewest.min(pair.decided);
        if pair.decided < decided {
            differences.push(format!("{door:?}: only {} of them were ours", pair.decided));
        }
    }
    let count = differences.len();
    ensure!(
        count == 0,
        "{count} of {} differ:\n{}",
        calls.len() * doors.len(),
        differences.join("\n")
    );
    Ok(fewest)
}

/// A door of ours beside the same libc without us, in one pod.
struct Pair {
    door: Door,
    ours: Session,
    reference: Session,
    /// How many calls the zone decided: a test that never reaches us proves nothing.
    decided: usize,
}

impl Pair {
    fn start(pod: &Pod, door: Door, environment: &[(&str, &str)]) -> Result<Self> {
        let guests = artifacts::guests()?;
        Ok(Self {
            door,
            ours: Session::start_with(pod, door, &guests, environment)?,
            reference: Session::start_with(pod, door.reference(), &guests, environment)?,
            decided: 0,
        })
    }

    /// Both must say the same; what they say otherwise goes to `differences`.
    fn compare(&mut self, call: &str, differences: &mut Vec<String>) -> Result<()> {
        let reference = self.reference.ask(call)?;
        let mut reply = self.ours.ask(call)?;
        // A documented difference: libc lists the owner of a CNAME among the aliases.
        if self.door.libc() == Libc::Glibc && call.starts_with("host") && call.contains(" alias") {
            reply.aliases.clone_from(&reference.aliases);
        }
        let expected = reference.shape();
        // Where libc finds the caller's buffer too small we may do with it, not the other way.
        let needs_less = reference.error.as_deref() == Some("ERANGE")
            && reply.error.as_deref() != Some("ERANGE");
        if reply.shape() != expected && !needs_less {
            differences.push(format!(
                "{:?}: {call} (from {}):\n libc: {expected}\n ours: {}",
                self.door,
                reply.who(),
                reply.shape()
            ));
        }
        self.decided += usize::from(["zone", "nodata", "nxdomain"].contains(&reply.who().as_str()));
        Ok(())
    }
}

/// Every name for every family, with the canonical name.
pub fn forward_calls() -> Vec<String> {
    let mut calls = Vec::new();
    for name in NAMES {
        for family in ["UNSPEC", "INET", "INET6"] {
            calls.push(format!("gai {name} - {family} 1 0 2"));
        }
    }
    calls
}

/// Names of every sort: short and long, of the zone and not, well-formed and not.
pub const NAMES: &[&str] = &[
    "api",
    "api.",
    "API",
    "web",
    "six",
    "empty",
    "alias",
    "legacy",
    "nosuch",
    "web.shop",
    "Web.Shop.",
    "kube-dns.kube-system",
    "postgres.db",
    "postgres.db.svc",
    "postgres-0.postgres.db",
    "postgres-0.postgres.db.svc.cluster.local",
    "_http._tcp.api.shop",
    "api.shop.svc.cluster.local",
    "api.shop.svc.cluster.local.",
    "x.nowhere.svc.cluster.local",
    "x.nowhere.svc.cluster.local.",
    "nowhere.svc",
    "cluster.local",
    "svc.cluster.local.",
    "bare",
    "bare.svc",
    "www.example.com",
    "www.example.com.",
    "www",
    "localhost",
    "localhost.",
    "LOCALHOST",
    "shopper",
    "shadowed",
    "SHADOWED",
    "shadowed.alias",
    "shadowed.shop",
    "10.1.2.3",
    "10.1",
    "0x7f.1",
    "1.2.3.4.5",
    "fd00::7",
    "fe80::1%25lo",
    "::ffff:10.0.0.1",
    "a..b",
    "..",
    ".",
    ".api",
    "api..",
    "-api",
    "api-",
    "ap_i",
    "a%20b",
    "%c3%a9",
    "*",
    "*.shop",
    "api%5c.shop",
    "sixty-four-letters-in-one-label-are-one-more-than-any-label-can-have",
];

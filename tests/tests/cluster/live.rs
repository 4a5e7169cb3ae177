//! The differential rig with the real CoreDNS behind the pod's DNS server: libc that asks it, libc
//! with the NSS module and libc with the shim see the same, and what we answer was asked of nobody.

use crate::{
    agent::{Agent, Directory},
    control_plane::shared,
    coredns,
};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts,
    corpus::{Corpus, Room},
    differential::{Asks, Report, Rig},
    session::Door,
    shop,
};
use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

/// Files in the corpus's folder that hold no cases.
const NOT_CASES: [&str; 2] = ["coredns.tsv", "questions.tsv"];
/// What random names are made of; an empty label makes a dot at an end, or two in a row.
const LABELS: [&str; 22] = [
    "api",
    "web",
    "six",
    "legacy",
    "alias",
    "empty",
    "postgres",
    "postgres-0",
    "shop",
    "db",
    "bare",
    "nowhere",
    "svc",
    "pod",
    "10-1-2-3",
    "_http",
    "_tcp",
    "dns-version",
    "ns.dns",
    "svc.cluster.local",
    "cluster.local",
    "",
];

/// The rig on what the agent publishes of this cluster, with CoreDNS as the reference; it counts
/// what CoreDNS is asked.
pub(crate) fn rig(
    directory: &Directory,
    coredns: &coredns::CoreDns,
) -> Result<(Rig, Arc<AtomicUsize>)> {
    let (answers, asked) = (coredns.answers(), Arc::new(AtomicUsize::new(0)));
    let counter = Arc::clone(&asked);
    let reference = shop::world().forwarded(Arc::new(move |message: &[u8], tcp| {
        counter.fetch_add(1, Ordering::Relaxed);
        answers(message, tcp)
    }));
    let rig = Rig {
        zone: directory.view(),
        reference,
        guests: artifacts::guests()?,
        doors: Door::OURS.to_vec(),
        // As the agents of these tests are told.
        asks: Asks::Pod,
        records: false,
    };
    Ok((rig, asked))
}

pub(crate) fn say(what: &str, report: &Report, asked: &AtomicUsize) {
    let compared: usize = report.compared.values().sum();
    let asked = asked.swap(0, Ordering::Relaxed);
    println!("live: {what}: {compared} comparisons, CoreDNS asked {asked} times");
}

/// Every case of the corpus comes out as with CoreDNS, from the giver that stands there.
#[test]
fn corpus_is_answered_as_coredns_answers_it() -> Result<()> {
    let plane = shared();
    let directory = Directory::create()?;
    let coredns = coredns::shared(&plane)?;
    let agent = Agent::start(&plane, &directory, &["--external=pod"])?;
    let (rig, asked) = rig(&directory, coredns)?;
    let mut failed = Vec::new();
    let mut files = 0;
    for entry in fs::read_dir(artifacts::fixture("corpus"))? {
        let path = entry?.path();
        let name = path.file_name().context("a file")?.to_string_lossy();
        if !name.ends_with(".tsv") || NOT_CASES.contains(&&*name) {
            continue;
        }
        files += 1;
        let report = rig.run(&Corpus::load(&path)?.rooms)?;
        if asked.load(Ordering::Relaxed) == 0 {
            failed.push(format!("{name}: CoreDNS was not asked"));
        }
        say(&name, &report, &asked);
        if let Err(error) = report.require(1) {
            failed.push(format!("{name}: {error:#}"));
        }
    }
    ensure!(files > 5, "only {files} files of cases");
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    ensure!(agent.stop()?.success(), "an orderly stop is a success");
    Ok(())
}

/// So do names that are put together at random, by every entry point.
#[test]
fn random_names_are_answered_as_coredns_answers_them() -> Result<()> {
    let plane = shared();
    let directory = Directory::create()?;
    let coredns = coredns::shared(&plane)?;
    let agent = Agent::start(&plane, &directory, &["--external=pod"])?;
    let (rig, asked) = rig(&directory, coredns)?;
    // Other names in every run; a failure lists its calls.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let mut random = Random(u64::try_from(now.as_nanos() & 0xffff_ffff_ffff)? | 1);
    // Two that chance once found: names that CoreDNS takes for its own server's.
    let found = [
        "gai ns.dns.cluster.local - INET6 1 0 0x22",
        "gai ns.dns.cluster.local.svc.pod.cluster.local - INET 1 0 2",
    ];
    let calls = (0..400).map(|_| random.call());
    let calls: Vec<String> = found.map(str::to_owned).into_iter().chain(calls).collect();
    let report = rig.run(&[Room::made_up("random", calls)])?;
    say("random names", &report, &asked);
    report.require(50)?;
    ensure!(agent.stop()?.success(), "an orderly stop is a success");
    Ok(())
}

/// A xorshift generator.
struct Random(u64);

impl Random {
    fn among<'a>(&mut self, list: &[&'a str]) -> &'a str {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let bits = usize::try_from(self.0 >> 33).unwrap_or(0);
        list[bits % list.len()]
    }

    fn name(&mut self) -> String {
        let count = self.among(&["x", "xx", "xxx", "xxxx", "xxxxx"]).len();
        let labels: Vec<&str> = (0..count).map(|_| self.among(&LABELS)).collect();
        let name = labels.join(".");
        if name.is_empty() { ".".into() } else { name }
    }

    fn address(&mut self) -> String {
        let net = self.among(&["10.96.1.", "10.244.1.", "10.96.0.", "fd00:96::", "192.0.2."]);
        format!("{net}{}", self.among(&["10", "11", "12", "13", "81"]))
    }

    fn call(&mut self) -> String {
        let name = self.name();
        let family = self.among(&["UNSPEC", "INET", "INET6"]);
        let one = self.among(&["INET", "INET6"]);
        match self.among(&["gai", "gai", "gai", "host", "host2", "addr", "name"]) {
            "host" => format!("host {name}"),
            "host2" => format!("host2 {name} {one}"),
            "addr" => format!("addr {}", self.address()),
            // NI_NAMEREQD, NI_NOFQDN.
            "name" => format!(
                "name {} 80 {}",
                self.address(),
                self.among(&["0", "8", "4"])
            ),
            _ => format!(
                "gai {name} - {family} 1 0 {}",
                self.among(&["0", "2", "0x22", "0x28"])
            ),
        }
    }
}

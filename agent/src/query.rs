//! `nss-k8s query`: asks the published zone as a process in a pod would, with the same reader and
//! the same search-list walk, and says what came of every candidate and who would answer.

mod answer;

use crate::{
    cli::{Libc, QueryArgs, Record},
    publish::unix_now,
    status::{ip, state_word},
    switch::zone_path,
};
use answer::{Answer, Tried};
use anyhow::{Context, Result, bail};
use nss_k8s_stub::{
    Door, Outcome, Query,
    literal::parse_address,
    nsswitch::Placement,
    resolv_conf::{ResolvConf, Surroundings},
    sys,
    walk::{self, Settings, Verdict},
};
use nss_k8s_zone::{
    Address, Dump, Families, Found, LibcOs, Name, Reader, Snapshot, Srv, Unavailable,
};
use std::{ffi::CString, fs, os::unix::ffi::OsStrExt, path::Path, process::ExitCode};

/// Asks once and prints; success when the zone answers with data.
pub fn query(args: &QueryArgs) -> Result<ExitCode> {
    let path = zone_path(&args.place.dir);
    let dump = Dump::open(&path)?;
    let libc = match args.libc {
        Libc::Glibc => sys::Libc::Glibc,
        Libc::Musl => sys::Libc::Musl,
    };
    let text = match &args.resolv_conf {
        Some(file) => fs::read(file).with_context(|| format!("cannot read {}", file.display()))?,
        None => kubelet_resolv_conf(&args.namespace, &dump).into_bytes(),
    };
    let surroundings = Surroundings {
        host_name: Some(b"localhost"),
        ..Surroundings::default()
    };
    let resolv_conf = ResolvConf::parse(libc, &text, &surroundings);
    let zone = Zone::new(&path)?;
    let mut answer = match args.record {
        Some(Record::Ptr) => reverse(&zone, &args.name)?,
        Some(Record::Srv) => services(&zone, &args.name, resolv_conf.ok().as_ref())?,
        Some(Record::A) => forward(&zone, &args.name, Families::V4, libc, resolv_conf),
        Some(Record::Aaaa) => forward(&zone, &args.name, Families::V6, libc, resolv_conf),
        None => forward(&zone, &args.name, Families::BOTH, libc, resolv_conf),
    };
    let now = unix_now();
    answer.state = state_word(dump.state());
    answer.serial = dump.statistics().serial;
    answer.alive_age = now.0.saturating_sub(dump.alive().0);
    answer.synced_age = (dump.synced().0 != 0).then(|| now.0.saturating_sub(dump.synced().0));
    answer.resolv_conf = String::from_utf8_lossy(&text).into_owned();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&answer).context("JSON")?);
    } else {
        answer.print(args.explain);
    }
    Ok(if answer.verdict == "answer" {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What kubelet writes for a pod with `dnsPolicy: ClusterFirst`.
fn kubelet_resolv_conf(namespace: &str, dump: &Dump) -> String {
    let apex = dump.apex();
    let mut text = format!("search {namespace}.svc.{apex} svc.{apex} {apex}\n");
    let config = dump.config();
    match config.cluster_dns.first() {
        Some(server) => text.push_str(&format!("nameserver {}\n", ip(server))),
        // Without one nobody would be served; the loopback resolver stands for a laptop's.
        None => text.push_str("nameserver 127.0.0.1\n"),
    }
    text + "options ndots:5\n"
}

/// The zone file through the reader of the in-process libraries.
struct Zone {
    reader: Reader,
    path: CString,
}

impl Zone {
    fn new(path: &Path) -> Result<Self> {
        let path = CString::new(path.as_os_str().as_bytes()).context("a path with a NUL byte")?;
        Ok(Self {
            reader: Reader::new(),
            path,
        })
    }

    fn ask<T>(&self, ask: impl FnMut(&Snapshot<'_>) -> T) -> Result<T, Unavailable> {
        self.reader.read(&LibcOs, &self.path, unix_now(), ask)
    }
}

/// A and AAAA through the search list.
fn forward(
    zone: &Zone,
    name: &str,
    families: Families,
    libc: sys::Libc,
    resolv_conf: Result<ResolvConf, nss_k8s_stub::resolv_conf::Unclear>,
) -> Answer {
    let settings = Settings {
        libc,
        resolv_conf,
        placement: Placement::Certain,
        host_aliases: false,
        module_asks: false,
    };
    let query = Query {
        name: name.as_bytes(),
        families,
        door: Door::Nss,
    };
    let mut room = vec![Address::UNSPECIFIED; nss_k8s_zone::MAX_ADDRESSES];
    let mut canonical = Name::EMPTY;
    let mut tried = Vec::new();
    let outcome = zone.ask(|snapshot| {
        // The writer may have moved on in the middle: what was tried before does not count.
        tried.clear();
        let mut trace = |step: walk::Step<'_>| {
            let verdict = match step.verdict {
                Verdict::Zone(found) => found_words(&found),
                Verdict::Asked(by, asked) => format!("{by:?}: {asked:?}"),
                Verdict::Blocked => "blocked by a rule".to_owned(),
                Verdict::Guarded => "a top-level domain: guarded".to_owned(),
                Verdict::Malformed => "no name that could be asked for".to_owned(),
            };
            let candidate = String::from_utf8_lossy(step.candidate).into_owned();
            tried.push(Tried { candidate, verdict });
        };
        walk::resolve(
            &settings,
            snapshot,
            &query,
            &mut walk::Errands::new(),
            &mut room,
            &mut canonical,
            &mut trace,
        )
    });
    let mut answer = Answer {
        name: name.to_owned(),
        tried,
        ..Answer::default()
    };
    match outcome {
        Ok(outcome) => answer.decide(outcome, &canonical),
        Err(why) => answer.decide(
            Outcome::Pass(nss_k8s_stub::Reason::Unavailable(why)),
            &canonical,
        ),
    }
    if let Ok(Outcome::Answer { count }) = outcome {
        // A process shuffles them; for people, the same answer looks the same every time.
        let mut addresses: Vec<_> = room.iter().take(count).map(ip).collect();
        addresses.sort_unstable();
        answer.records = addresses.iter().map(ToString::to_string).collect();
    }
    answer
}

/// SRV, by the same candidates.
fn services(zone: &Zone, name: &str, resolv_conf: Option<&ResolvConf>) -> Result<Answer> {
    let absolute = name.strip_suffix('.');
    let mut candidates = Vec::new();
    if absolute.is_none() {
        let suffixes = resolv_conf.into_iter().flat_map(|conf| conf.search.iter());
        candidates.extend(suffixes.map(|end| format!("{name}.{}", String::from_utf8_lossy(end))));
    }
    candidates.push(absolute.unwrap_or(name).to_owned());
    let mut answer = Answer {
        name: name.to_owned(),
        ..Answer::default()
    };
    for candidate in candidates {
        let lower = candidate.to_ascii_lowercase();
        let mut room = vec![Srv::EMPTY; 256];
        let found = loop {
            let found = zone.ask(|snapshot| snapshot.services(lower.as_bytes(), &mut room));
            match found {
                Ok(Found::Room(wanted)) if wanted > room.len() => room.resize(wanted, Srv::EMPTY),
                Ok(found) => break found,
                Err(why) => break Found::Unavailable(why),
            }
        };
        answer.tried.push(Tried {
            candidate: candidate.clone(),
            verdict: found_words(&found),
        });
        if let Found::Answer { count } = found {
            answer.records = room.iter().take(count).map(srv_words).collect();
        }
        if answer.settle(found, &candidate) {
            return Ok(answer);
        }
    }
    Ok(answer)
}

/// PTR.
fn reverse(zone: &Zone, text: &str) -> Result<Answer> {
    let Some(address) = parse_address(text.as_bytes()) else {
        bail!("--type PTR takes an address, not {text}");
    };
    let mut room = vec![Name::EMPTY; 256];
    let found = zone.ask(|snapshot| snapshot.names(&address, &mut room));
    let found = found.unwrap_or_else(Found::Unavailable);
    let mut answer = Answer {
        name: text.to_owned(),
        ..Answer::default()
    };
    answer.tried.push(Tried {
        candidate: text.to_owned(),
        verdict: found_words(&found),
    });
    if let Found::Answer { count } = found {
        answer.records = room
            .iter()
            .take(count)
            .map(|name| String::from_utf8_lossy(name.as_bytes()).into_owned())
            .collect();
    }
    answer.settle(found, text);
    Ok(answer)
}

/// `priority weight port target`, as in a master file.
fn srv_words(srv: &Srv) -> String {
    let target = String::from_utf8_lossy(srv.target.as_bytes()).into_owned();
    format!("{} {} {} {target}", srv.priority, srv.weight, srv.port)
}

/// The zone's verdict on one candidate, in words.
fn found_words(found: &Found) -> String {
    match found {
        Found::Answer { count: 1 } => "answer: 1 record".to_owned(),
        Found::Answer { count } => format!("answer: {count} records"),
        Found::NoData => "exists, but has no such record".to_owned(),
        Found::NxDomain => "does not exist".to_owned(),
        Found::Chase => "CNAME to a name outside the zone".to_owned(),
        Found::Outside => "outside the zone: only DNS can tell".to_owned(),
        Found::Room(wanted) => format!("{wanted} records: too many"),
        Found::Ask(ask) => {
            let reason = nss_k8s_stub::Reason::Ask(*ask);
            format!("in the zone, but only DNS can tell ({})", reason.as_str())
        }
        Found::Unavailable(why) => {
            format!(
                "the zone cannot be asked ({})",
                nss_k8s_stub::Reason::Unavailable(*why).as_str()
            )
        }
    }
}

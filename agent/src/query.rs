//! `nss-k8s query`: asks the published zone as a process in a pod would, with the same reader and
//! the same search-list walk, and says what came of every candidate and who would answer.

mod answer;

use crate::{
    cli::{Libc, QueryArgs, Record},
    publish::unix_now,
    status::{ip, state_word},
};
use answer::{Answer, Tried};
use anyhow::{Context, Result, bail};
use nss_k8s_stub::{
    Door, Outcome, Query,
    explain::{self, Asking, Words},
    literal::parse_address,
    nsswitch::Placement,
    resolv_conf::{ResolvConf, Surroundings},
    sys,
    walk::{Settings, Verdict},
};
use nss_k8s_zone::{
    Address, Dump, Families, Found, LibcOs, Name, Reader, Snapshot, Srv, Unavailable,
};
use std::{ffi::CString, fs, os::unix::ffi::OsStrExt, path::Path, process::ExitCode};

/// Asks once and prints; success when the zone answers with data.
pub fn query(args: &QueryArgs) -> Result<ExitCode> {
    let path = args.view.zone_path_of(&args.namespace)?;
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
    let asking = if args.ask {
        Asking::AsConfigured
    } else {
        Asking::Nobody
    };
    let mut answer = match args.record {
        Some(Record::Ptr) => reverse(&zone, &args.name)?,
        Some(Record::Srv) => services(&zone, &args.name, resolv_conf.ok().as_ref())?,
        Some(Record::A) => forward(&zone, &args.name, Families::V4, libc, resolv_conf, asking),
        Some(Record::Aaaa) => forward(&zone, &args.name, Families::V6, libc, resolv_conf, asking),
        None => forward(&zone, &args.name, Families::BOTH, libc, resolv_conf, asking),
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
    asking: Asking,
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
    let mut answer = Answer {
        name: name.to_owned(),
        ..Answer::default()
    };
    let outcome = explain::lookup(
        &settings,
        &zone.path,
        &query,
        asking,
        &mut room,
        &mut canonical,
        |event| answer.note(event),
    );
    answer.decide(outcome, &canonical);
    if let Outcome::Answer { count } = outcome.plain() {
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
    Words(Verdict::Zone(*found)).to_string()
}

//! Measures the zone by itself, in the sizes that it is built for.
//!
//! `bench-zone-figures SERVICES...` (each with 15 endpoints, a fifth headless with host names, as StatefulSets have
//! them) prints one row of CSV for each figure: what, unit, and a column for each size. Times are of one
//! thread's CPU, medians of several rounds.

#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a program for the machine that runs it, never for another process"
)]

use anyhow::{Context, Result, ensure};
use nss_k8s_zone::{
    Address, Config, Endpoint, Families, Family, Found, LibcOs, Name, Now, Options, Port, Protocol,
    Reader, ServiceBody, ServiceKey, Slice, SliceId, Writer,
};
use std::{
    ffi::CString,
    os::unix::ffi::OsStrExt as _,
    time::{Duration, Instant},
};

/// Endpoints of a service.
const ENDPOINTS: usize = 15;
/// Services of a namespace: what a large cluster shows.
const PER_NAMESPACE: usize = 100;
/// Every so many services one is headless.
const HEADLESS: usize = 5;
/// When it is, for the zones: any time does.
const NOW: Now = Now(1_000_000);
/// Rounds of which the median counts.
const ROUNDS: usize = 9;

fn main() -> Result<()> {
    let sizes = std::env::args()
        .skip(1)
        .map(|size| {
            size.parse()
                .context("usage: bench-zone-figures SERVICES...")
        })
        .collect::<Result<Vec<usize>>>()?;
    ensure!(!sizes.is_empty(), "usage: bench-zone-figures SERVICES...");
    let columns = sizes
        .iter()
        .map(|size| figures(*size))
        .collect::<Result<Vec<_>>>()?;
    let heads: Vec<String> = sizes
        .iter()
        .map(|size| format!("{size} x {ENDPOINTS}"))
        .collect();
    println!("figure,unit,{}", heads.join(","));
    for (row, (what, unit, _)) in columns[0].iter().enumerate() {
        let values: Vec<&str> = columns
            .iter()
            .map(|column| column[row].2.as_str())
            .collect();
        println!("{what},{unit},{}", values.join(","));
    }
    Ok(())
}

/// What was measured, its unit, and the value.
type Figure = (&'static str, &'static str, String);

/// All figures of clusters of that size.
fn figures(services: usize) -> Result<Vec<Figure>> {
    let mut all = Cluster::publish(services, |_| true)?;
    let random = shuffled((0..services).map(name).collect());
    let headless = shuffled((0..services).filter(is_headless).map(name).collect());
    let hot = [name(1)];
    // What becomes of a name outside under the three entries of a pod's search list.
    let miss =
        ["team-1.svc.", "svc.", ""].map(|entry| format!("www.example.com.{entry}cluster.local"));
    let ns = |value: f64| format!("{value:.0}");
    let us = |value: f64| format!("{value:.1}");
    let mb = |bytes: u64| format!("{:.1}", bytes as f64 / 1e6);
    let mut figures = vec![
        (
            "hit: one name again and again",
            "ns",
            ns(all.lookups(&hot)?),
        ),
        (
            "miss of a search-list candidate",
            "ns",
            ns(all.lookups(&miss)?),
        ),
        (
            "hit: all names in random order",
            "ns",
            ns(all.lookups(&random)?),
        ),
        (
            "hit: headless names in random order",
            "ns",
            ns(all.lookups(&headless)?),
        ),
    ];
    let (tables, private) = all.footprint(&random[..1000])?;
    figures.push(("a process after 1000 names: page tables", "KB", tables));
    figures.push(("a process after 1000 names: private memory", "KB", private));
    for (endpoints, named, time, written) in [
        (
            15,
            false,
            "one of 15 endpoints changed",
            "one of 15: written",
        ),
        (
            100,
            false,
            "one of 100 endpoints changed",
            "one of 100: written",
        ),
        (
            100,
            true,
            "one of 100 with host names changed",
            "one of 100 with host names: written",
        ),
    ] {
        let (each, bytes) = all.changes(endpoints, named)?;
        figures.push((time, "us", us(each)));
        figures.push((written, "bytes", ns(bytes)));
    }
    drop(all);
    for (used, allocated, wanted) in [
        (
            "all slices: in use",
            "all slices: allocated",
            (|_| true) as fn(&usize) -> bool,
        ),
        (
            "headless slices only: in use",
            "headless slices only: allocated",
            is_headless,
        ),
    ] {
        let statistics = Cluster::publish(services, wanted)?.writer.statistics();
        figures.push((used, "MB", mb(statistics.used_bytes)));
        figures.push((allocated, "MB", mb(statistics.bytes)));
    }
    Ok(figures)
}

/// A zone of the size in question, and a process that reads it.
struct Cluster {
    writer: Writer,
    path: CString,
    reader: Reader,
    /// Holds the files until the end.
    _directory: tempfile::TempDir,
    services: usize,
}

impl Cluster {
    /// Publishes as an agent does: namespaces, services, then the slices of those that are wanted.
    fn publish(services: usize, wanted: fn(&usize) -> bool) -> Result<Self> {
        let directory = tempfile::tempdir_in("/dev/shm")?;
        let (mut writer, _) = Writer::open(Options::new(directory.path(), "cluster.local"))?;
        writer.configure(&Config {
            cluster_dns: vec![Address::v4([10, 96, 0, 10])],
            ..Config::default()
        })?;
        for number in 0..services.div_ceil(PER_NAMESPACE) {
            writer.put_namespace(&format!("team-{number}"))?;
        }
        for number in 0..services {
            let ports = vec![port()];
            let body = if is_headless(&number) {
                ServiceBody::Headless { ports }
            } else {
                ServiceBody::ClusterIp {
                    addresses: vec![address(0x0a60_0000, number)],
                    ports,
                }
            };
            writer.put_service(&key(number)?, &body)?;
        }
        for number in (0..services).filter(wanted) {
            writer.put_slice(&key(number)?, SliceId(1), &slice(number, ENDPOINTS, 0))?;
        }
        writer.beat(NOW);
        writer.set_synced(NOW);
        let path = CString::new(writer.path().as_os_str().as_bytes())?;
        Ok(Self {
            writer,
            path,
            reader: Reader::new(),
            _directory: directory,
            services,
        })
    }

    /// Nanoseconds for one lookup of A and AAAA, of names that take turns.
    fn lookups(&self, names: &[String]) -> Result<f64> {
        const CALLS: usize = 200_000;
        let mut room = [Address::UNSPECIFIED; 64];
        let mut canonical = Name::EMPTY;
        let mut names = names.iter().cycle();
        median(|| {
            let begin = CpuTime::now();
            for name in names.by_ref().take(CALLS) {
                let found = self.reader.read(&LibcOs, &self.path, NOW, |zone| {
                    zone.addresses(name.as_bytes(), Families::BOTH, &mut room, &mut canonical)
                });
                ensure!(
                    matches!(
                        found,
                        Ok(Found::Answer { .. } | Found::NxDomain | Found::Ask(_))
                    ),
                    "{name}: {found:?}"
                );
            }
            Ok(begin.elapsed().as_nanos() as f64 / CALLS as f64)
        })
    }

    /// KB of page tables and of private memory that a reader costs its process which has looked up so
    /// many names, each by itself: nothing is allocated, but what it maps has to be translated.
    fn footprint(&self, names: &[String]) -> Result<(String, String)> {
        let mut room = [Address::UNSPECIFIED; 64];
        let mut canonical = Name::EMPTY;
        // Whatever reading the figures takes is there before.
        kilobytes("VmPTE:")?;
        let before = (kilobytes("VmPTE:")?, kilobytes("RssAnon:")?);
        let reader = Reader::new();
        for name in names {
            let found = reader.read(&LibcOs, &self.path, NOW, |zone| {
                zone.addresses(name.as_bytes(), Families::BOTH, &mut room, &mut canonical)
            });
            ensure!(
                matches!(found, Ok(Found::Answer { .. })),
                "{name}: {found:?}"
            );
        }
        let after = (kilobytes("VmPTE:")?, kilobytes("RssAnon:")?);
        Ok((
            (after.0 - before.0).to_string(),
            (after.1 - before.1).to_string(),
        ))
    }

    /// Microseconds, and bytes stored, for a slice in which one pod was replaced. Epochs advance as
    /// the agent has them advance.
    fn changes(&mut self, endpoints: usize, named: bool) -> Result<(f64, f64)> {
        const CALLS: usize = 20_000;
        const BATCH: usize = 20;
        // All over the zone, so that caches hold no more of it than in an agent.
        let changed: Vec<usize> = (0..1000)
            .map(|number| number * HEADLESS * 7919 % (self.services / HEADLESS * HEADLESS))
            .map(|number| number + usize::from(!named))
            .collect();
        let versions: Vec<[(ServiceKey, Slice); 2]> = changed
            .iter()
            .map(|number| {
                let version =
                    |version| anyhow::Ok((key(*number)?, slice(*number, endpoints, version)));
                Ok([version(1)?, version(2)?])
            })
            .collect::<Result<_>>()?;
        for [_, (key, slice)] in &versions {
            self.writer.put_slice(key, SliceId(1), slice)?;
        }
        let mut written = 0;
        let each = median(|| {
            let before = self.writer.statistics().written_bytes;
            let mut elapsed = Duration::ZERO;
            for first in (0..CALLS).step_by(BATCH) {
                // Copied right before, as an agent has just decoded what it puts; the zone is cold.
                let batch: Vec<(ServiceKey, Slice)> = (first..first + BATCH)
                    .map(|call| versions[call % versions.len()][call / versions.len() % 2].clone())
                    .collect();
                let begin = CpuTime::now();
                for (key, slice) in &batch {
                    ensure!(self.writer.put_slice(key, SliceId(1), slice)?, "no change");
                }
                self.writer.advance(Instant::now());
                elapsed += begin.elapsed();
            }
            written = self.writer.statistics().written_bytes - before;
            Ok(elapsed.as_secs_f64() * 1e6 / CALLS as f64)
        })?;
        Ok((each, written as f64 / CALLS as f64))
    }
}

/// One figure of this process's, in KB.
fn kilobytes(key: &str) -> Result<i64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let figure = line.and_then(|line| line.split_whitespace().next());
    figure.context("no such figure")?.parse().context("KB")
}

/// The median of some rounds.
fn median(mut round: impl FnMut() -> Result<f64>) -> Result<f64> {
    let mut rounds = (0..ROUNDS).map(|_| round()).collect::<Result<Vec<f64>>>()?;
    rounds.sort_by(f64::total_cmp);
    Ok(rounds[ROUNDS / 2])
}

/// This thread's time on a CPU: machines are seldom idle.
struct CpuTime(Duration);

impl CpuTime {
    fn now() -> Self {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: room for one `timespec`.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        Self(Duration::new(
            time.tv_sec.unsigned_abs(),
            time.tv_nsec.unsigned_abs() as u32,
        ))
    }

    fn elapsed(&self) -> Duration {
        Self::now().0 - self.0
    }
}

/// Whether a service is headless.
fn is_headless(number: &usize) -> bool {
    number.is_multiple_of(HEADLESS)
}

/// A service's key.
fn key(number: usize) -> Result<ServiceKey> {
    let namespace = format!("team-{}", number / PER_NAMESPACE);
    Ok(ServiceKey::new(&format!("service-{number}"), &namespace)?)
}

/// A service's absolute name.
fn name(number: usize) -> String {
    format!(
        "service-{number}.team-{}.svc.cluster.local",
        number / PER_NAMESPACE
    )
}

/// The slice of a service, one of its endpoints another pod in each version.
fn slice(number: usize, endpoints: usize, version: usize) -> Slice {
    let endpoint = |at: usize| {
        let moved = if at == endpoints / 2 {
            version << 21
        } else {
            0
        };
        Endpoint {
            hostname: is_headless(&number).then(|| format!("service-{number}-{at}")),
            topology_zone: Some(format!("zone-{}", (number + at) % 3)),
            ..Endpoint::ready(address(
                0x0a80_0000,
                (number * ENDPOINTS + at + moved) & 0x7f_ffff,
            ))
        }
    };
    Slice {
        family: Family::V4,
        ports: vec![port()],
        endpoints: (0..endpoints).map(endpoint).collect(),
    }
}

/// An address so far into a network.
fn address(network: u32, number: usize) -> Address {
    Address::v4((network + number as u32).to_be_bytes())
}

/// The port that everything serves at.
fn port() -> Port {
    Port {
        name: "http".to_owned(),
        protocol: Protocol::Tcp,
        number: 80,
    }
}

/// In an order that is the same in each run (Fisher-Yates over a linear congruence).
fn shuffled(mut names: Vec<String>) -> Vec<String> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for at in (1..names.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        names.swap(at, (state >> 33) as usize % (at + 1));
    }
    // Each in memory behind the one before it: a caller's own name is no surprise to its caches.
    names.iter().map(|name| name.as_str().to_owned()).collect()
}

//! Measures an agent at the sizes that it is built for, against an API server of made-up clusters.
//!
//! `bench-scale AGENT SERVICES...` (each with 15 endpoints, a fifth headless with host names, one of 5,000 endpoints) prints
//! one row of CSV for each figure: what, unit, and for each size the value and what is wanted; first for an agent that holds
//! all slices, then for one that holds those of headless services. `SECONDS_EACH` (20) is how long a thousand things happen each second,
//! `NAMESPACES` how many there are (as many as services, up to 10,000).

#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a program for the machine that runs it, never for another process"
)]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    fake_api::FakeApi,
    scale::{Changes, Cluster, Kind, Mix, Shape, expected, require},
    watcher::{Eyes, Sent, Watcher},
};
use nss_k8s_zone::MAX_ADDRESSES;
use std::{
    collections::BTreeMap,
    path::Path,
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

/// Things that happen in a second.
const RATE: u32 = 1_000;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(300);
/// When memory is measured: what a list needed has been given back by then, if it ever is.
const SETTLED: Duration = Duration::from_secs(5);

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: bench-scale AGENT SERVICES...";
    let agent = arguments.next().context(usage)?;
    let sizes = arguments
        .map(|size| size.parse().context(usage))
        .collect::<Result<Vec<usize>>>()?;
    ensure!(!sizes.is_empty(), usage);
    let seconds = std::env::var("SECONDS_EACH").unwrap_or_else(|_| "20".to_owned());
    let during = Duration::from_secs(seconds.parse().context("SECONDS_EACH")?);

    let mut table = Vec::<(String, &str, Vec<String>)>::new();
    for (all, which) in [(true, "all slices"), (false, "headless slices only")] {
        for size in &sizes {
            eprintln!("{size} services, {which}");
            let figures = measure(Path::new(&agent), *size, all, during)?;
            for (what, unit, value) in figures {
                eprintln!("  {what}: {value} {unit}");
                let cells = [value, wanted(what, *size, all).to_owned()];
                let what = format!("{which}: {what}");
                match table.iter_mut().find(|row| row.0 == what) {
                    Some(row) => row.2.extend(cells),
                    None => table.push((what, unit, cells.into())),
                }
            }
        }
    }
    let heads: Vec<String> = sizes
        .iter()
        .map(|size| format!("{size} x 15,wanted at {size}"))
        .collect();
    println!("figure,unit,{}", heads.join(","));
    for (what, unit, values) in table {
        println!("{what},{unit},{}", values.join(","));
    }
    Ok(())
}

/// What was measured, its unit, and the value.
type Figure = (&'static str, &'static str, String);

/// What a figure is to be at most.
fn wanted(what: &str, size: usize, all: bool) -> &'static str {
    match (what, size, all) {
        ("agent and zone", 10_000, true) => "60",
        ("agent and zone", 10_000, false) => "40",
        ("agent and zone", 100_000, true) => "350",
        ("agent and zone", 100_000, false) => "150",
        ("zone file", 10_000, false) => "3",
        ("zone file", 100_000, false) => "32",
        ("relist's peak / before", ..) => "2",
        ("last list byte to first answer", 10_000, _) => "0.3",
        ("last list byte to first answer", 100_000, _) => "3",
        ("event to visible: p99", 10_000, _) => "2",
        ("event to visible: p99", 100_000, _) => "5",
        _ => "-",
    }
}

/// All figures of one cluster.
fn measure(program: &Path, size: usize, all: bool, during: Duration) -> Result<Vec<Figure>> {
    let mut shape = Shape::of(size);
    if let Ok(namespaces) = std::env::var("NAMESPACES") {
        shape.namespaces = namespaces.parse().context("NAMESPACES")?;
    }
    let cluster = Cluster::new(shape);
    let api = FakeApi::start(cluster.clone())?;
    let root = tempfile::tempdir_in("/dev/shm")?;
    let options: &[&str] = if all { &["--endpoint-slices=all"] } else { &[] };
    let began = Instant::now();
    let agent = Watcher::start(program, root.path(), &api.kubeconfig(), options)?;
    // A look in vain is not repeated in the same second: the first is one that finds the file.
    agent.wait("a zone", PATIENCE, || Ok(agent.zone().exists()))?;
    let eyes = agent.eyes()?;
    let large = cluster.name_of(cluster.large_service());
    agent.wait("an answer", PATIENCE, || {
        let found = eyes.addresses(&large).ok().flatten();
        let most = cluster.shape().large.min(MAX_ADDRESSES);
        Ok(found.is_some_and(|found| found.len() == most))
    })?;
    let answered = Instant::now();
    let listed = api.listed();
    let last = listed.iter().map(|(_, at)| *at).max().context("no list")?;
    let first_cost = agent.cost()?;
    let listed_bytes = api.sent();
    thread::park_timeout(SETTLED);
    let steady = agent.cost()?;
    let zone = agent.allocated("view/default/zone.v1")?;
    let journals = agent.allocated("private/watch")?;
    let in_use = agent.metric("nss_k8s_zone_size_bytes{of=\"used\"}")?;

    let buckets = histogram(&agent)?;
    let before = agent.cost()?;
    let mut visible = churn(&api, &eyes, all, during)?;
    let after = agent.cost()?;
    let inside = quantile(&buckets, &histogram(&agent)?, 0.99)?;
    compare(&agent, &api, all)?;

    agent.forget_peak()?;
    let calm = agent.cost()?;
    api.forget_requests();
    api.compact();
    api.disconnect();
    let sources = if all { 3 } else { 4 };
    let pattern = "nss_k8s_watch_lists_total";
    let lists = agent.metric(pattern)?;
    agent.wait("everything to be listed again", PATIENCE, || {
        thread::park_timeout(Duration::from_millis(100));
        Ok(agent.metric(pattern)? >= lists + f64::from(sources))
    })?;
    let relisted = agent.cost()?;
    compare(&agent, &api, all)?;

    ensure!(!visible.is_empty(), "nothing was seen");
    visible.sort_unstable();
    let at = |part: f64| {
        let index = (visible.len() as f64 * part) as usize;
        millis(visible[index.min(visible.len() - 1)])
    };
    let own = |cost: nss_k8s_tests::watcher::Cost| cost.anonymous + cost.files;
    Ok(vec![
        ("agent's own memory", "MB", mb(own(steady))),
        ("of it code and other files", "MB", mb(steady.files)),
        ("zone file", "MB", mb(zone)),
        ("zone file: in use", "MB", mb(in_use as u64)),
        ("agent and zone", "MB", mb(own(steady) + zone)),
        ("journals of the watches", "MB", mb(journals)),
        ("RSS before the relist", "MB", mb(own(calm) + calm.shared)),
        ("RSS at the relist's peak", "MB", mb(relisted.peak)),
        ("relist's peak / before", "x", {
            let before = own(calm) + calm.shared;
            format!("{:.2}", relisted.peak as f64 / before as f64)
        }),
        ("bytes of the first lists", "MB received", mb(listed_bytes)),
        ("CPU of the first lists", "s", seconds(first_cost.cpu)),
        ("start to first answer", "s", seconds(answered - began)),
        (
            "last list byte to first answer",
            "s",
            seconds(answered.saturating_duration_since(last)),
        ),
        ("event to visible: median", "ms", at(0.5)),
        ("event to visible: p99", "ms", at(0.99)),
        ("event to visible: p99.9", "ms", at(0.999)),
        ("event received to published: p99 at most", "ms", inside),
        ("CPU at 1000 events/s", "% of a core", {
            let spent = after.cpu.saturating_sub(before.cpu).as_secs_f64();
            format!("{:.1}", 100.0 * spent / during.as_secs_f64())
        }),
    ])
}

/// Lets things happen; how long each took to be visible.
fn churn(api: &FakeApi, eyes: &Eyes, all: bool, during: Duration) -> Result<Vec<Duration>> {
    let cluster = api.cluster().clone();
    let mix = if all { Mix::ALL } else { Mix::HEADLESS };
    let mut changes = Changes::new(cluster.clone(), mix);
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        let watching = scope.spawn(move || eyes.see_all(&receiver, PATIENCE));
        api.happen(&mut changes, RATE, during, |changed, at| {
            for (kind, index, stamp) in changed {
                let service = match kind {
                    Kind::Slices => cluster.service_of(index).0,
                    _ => continue,
                };
                if cluster.comes_and_goes(service) {
                    continue;
                }
                let (name, address) = cluster.shows(index, stamp.generation);
                let sent = Sent { name, address, at };
                // The other side ends only after this one.
                let _ = sender.send(sent);
            }
        });
        drop(sender);
        watching.join().expect("no panic")
    })
}

/// The zone is what it must be.
fn compare(agent: &Watcher, api: &FakeApi, all: bool) -> Result<()> {
    let wanted = expected(api.cluster(), all, |kind, index| {
        api.generation(kind, index)
    });
    require(agent, &wanted, PATIENCE)
}

/// The agent's own histogram of publication: how many up to each bound, in seconds.
fn histogram(agent: &Watcher) -> Result<BTreeMap<String, f64>> {
    let metrics = agent.metrics()?;
    let lines = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix("nss_k8s_publish_duration_seconds_bucket{le=\"")?;
        let (bound, count) = rest.split_once("\"} ")?;
        Some((bound.to_owned(), count.parse().ok()?))
    });
    Ok(lines.collect())
}

/// Milliseconds below which a part of what came between two looks lies: a bucket's upper bound.
fn quantile(
    before: &BTreeMap<String, f64>,
    after: &BTreeMap<String, f64>,
    part: f64,
) -> Result<String> {
    let count = |bound: &str| after[bound] - before.get(bound).copied().unwrap_or(0.0);
    let total = count("+Inf");
    let bounds = after.keys().filter(|bound| *bound != "+Inf");
    let bounds = bounds.filter(|bound| count(bound) >= part * total);
    let bounds = bounds.map(|bound| bound.parse::<f64>());
    let bounds = bounds.collect::<Result<Vec<_>, _>>()?;
    let least = bounds.into_iter().reduce(f64::min);
    Ok(least.map_or("-".to_owned(), |bound| format!("{:.2}", bound * 1e3)))
}

fn mb(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

fn seconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}

fn millis(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64() * 1e3)
}

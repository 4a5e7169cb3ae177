//! An agent on a real API server that holds the cluster of `tests/src/scale`, and pods that kwok plays.
//!
//! ```text
//!   etcd <- kube-apiserver <- this program: fills, changes, and knows what a zone must say
//!              |   ^   ^
//!              |   |   '- kube-controller-manager, kwok: PODS pods, their slices, a rollout
//!              v   '------ the server's own record: what the agent asked for
//!         nss-k8s agent -> zone <- this program's eyes: all of it compared, and when each change is visible
//! ```
//!
//! Required at each step, or it ends with an error: the whole zone says what was written, every service, address and host
//! name, and nothing else; after a restart without a list. Run by `tests/bench/real.sh`, in namespaces of its own. Prints
//! one row of CSV for each figure, and what it does to standard error.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a program for the machine that runs it, never for another process"
)]

mod following;
mod load;
mod plane;
mod pods;

use anyhow::{Context, Result};
use following::Following;
use load::Load;
use nss_k8s_tests::scale::{Cluster, Shape};
use plane::Plane;
use std::{env, path::PathBuf, time::Duration};
use tokio::runtime::{Builder, Runtime};

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// What is asked for; each has a variable of the same name.
pub(crate) struct Wanted {
    /// RATE: changes in a second while latencies are measured.
    rate: u32,
    /// SECONDS_EACH: how long.
    during: Duration,
    /// BURST: changes that are written as fast as the server takes them.
    burst: usize,
    /// PODS that kwok plays; 0: none.
    pods: usize,
    /// NODES of these pods.
    nodes: usize,
}

/// What was measured, its unit, and the value.
pub(crate) type Figure = (String, &'static str, String);

fn main() -> Result<()> {
    let wanted = Wanted {
        rate: number("RATE", 100)?.try_into()?,
        during: Duration::from_secs(number("SECONDS_EACH", 30)?.try_into()?),
        burst: number("BURST", 5_000)?,
        pods: number("PODS", 3_000)?,
        nodes: number("NODES", 100)?,
    };
    let sizes = env::args().skip(1);
    let sizes = sizes
        .map(|size| size.parse().context("usage: bench-real SERVICES..."))
        .collect::<Result<Vec<usize>>>()?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut table = Vec::<(String, &str, Vec<String>)>::new();
    for size in &sizes {
        for (what, unit, value) in measure(&runtime, &wanted, *size)? {
            match table.iter_mut().find(|row| row.0 == what) {
                Some(row) => row.2.push(value),
                None => table.push((what, unit, vec![value])),
            }
        }
    }
    let heads: Vec<String> = sizes.iter().map(|size| format!("{size} x 15")).collect();
    println!("figure,unit,{}", heads.join(","));
    for (what, unit, values) in table {
        println!("{what},{unit},{}", values.join(","));
    }
    Ok(())
}

/// All figures of one cluster.
fn measure(runtime: &Runtime, wanted: &Wanted, size: usize) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let plane = runtime.block_on(Plane::start(&size.to_string()))?;
    let cluster = Cluster::new(Shape::of(size));
    let mut load = runtime.block_on(Load::create(&plane, cluster, &mut figures))?;
    let mut measure =
        |all| Following::measure(runtime, wanted, &plane, &mut load, all, &mut figures);
    // The one ends before the other starts.
    drop(measure(false)?);
    let following = measure(true)?;
    if wanted.pods > 0 {
        pods::play(runtime, wanted, &plane, &load, &following, &mut figures)?;
    }
    Ok(figures)
}

/// Notes a figure, and says it.
pub(crate) fn note(figures: &mut Vec<Figure>, what: String, unit: &'static str, value: String) {
    say(&format!("{what}: {value} {unit}"));
    figures.push((what, unit, value));
}

/// Says what is going on.
pub(crate) fn say(text: &str) {
    eprintln!("real: {text}");
}

/// Megabytes.
pub(crate) fn mb(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}

/// Seconds.
pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.2}", duration.as_secs_f64())
}

/// A number of the environment.
fn number(name: &str, usual: usize) -> Result<usize> {
    match env::var(name) {
        Ok(text) => text.parse().with_context(|| name.to_owned()),
        Err(_) => Ok(usual),
    }
}

/// A path of the environment, which real.sh gives.
pub(crate) fn path(name: &str) -> Result<PathBuf> {
    env::var_os(name)
        .map(PathBuf::from)
        .with_context(|| format!("{name} is not set: run tests/bench/real.sh"))
}

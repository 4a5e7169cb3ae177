//! What feeding many agents costs: through NATS, and by watches of their own.
//!
//! ```text
//!   etcd <- kube-apiserver <- this program: creates, rolls out, counts markers
//!              |   ^
//!              |   '------ WATCHERS simulated agents: the real requests over connections of their own
//!              v
//!       nss-k8s publish -> nats-server -> AGENTS simulated agents: a connection and an ordered consumer each
//! ```
//!
//! Every server is the real one. The agents are simulated: they ask for what an agent asks for and read all of
//! it, but build no zone. When an agent has seen a *marker*, an object of each kind that is made after everything
//! else, it has seen everything. Bytes are what the kernel sends from a server's port; CPU is that of the server's process.
//!
//! Run by `tests/bench/fanout.sh`, in namespaces of its own. Prints a table to standard output, and what it does
//! to standard error.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a program for the machine that runs it, never for another process"
)]

mod audience;
mod load;
mod meter;
mod plane;
mod subscriber;
mod table;
mod watcher;

use anyhow::{Context, Result};
use audience::Audience;
use load::Load;
use meter::Meter;
use plane::Plane;
use std::{
    env,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use table::{Row, Table, Way};
use tokio::task::JoinSet;

/// How long the slowest agent may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is asked for; each has a variable of the same name.
pub(crate) struct Wanted {
    /// AGENTS: simulated agents behind NATS.
    agents: usize,
    /// WATCHERS: numbers of agents with watches, one run for each.
    watchers: Vec<usize>,
    /// SERVICES, each with one slice.
    services: usize,
    /// ENDPOINTS of a slice.
    endpoints: usize,
    /// RATE: changed slices in a second during the rollout.
    rate: u32,
    /// JITTER: seconds over which agents begin.
    jitter: Duration,
}

fn main() -> Result<()> {
    let wanted = Wanted {
        agents: number("AGENTS", 5_000)?,
        watchers: env::var("WATCHERS")
            .unwrap_or_else(|_| "0 100 200 400".to_owned())
            .split_whitespace()
            .map(|count| count.parse().context("WATCHERS"))
            .collect::<Result<_>>()?,
        services: number("SERVICES", 1_500)?,
        endpoints: number("ENDPOINTS", 15)?,
        rate: number("RATE", 20)?.try_into()?,
        jitter: Duration::from_secs(number("JITTER", 30)?.try_into()?),
    };
    plane::raise_descriptors()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut table = Table::default();
    for count in &wanted.watchers {
        runtime.block_on(watched(&wanted, *count, &mut table))?;
    }
    if wanted.agents > 0 {
        runtime.block_on(subscribed(&wanted, &mut table))?;
    }
    if wanted.agents > 0 {
        table.extrapolate(wanted.agents)?;
    }
    print!("{table}");
    Ok(())
}

/// Agents with watches of their own.
async fn watched(wanted: &Wanted, count: usize, table: &mut Table) -> Result<()> {
    let plane = Plane::start(&format!("watch-{count}")).await?;
    let mut run = Run::prepare(wanted, Way::Watches, count, plane, table).await?;
    let (began, meter) = run.start_to_measure()?;
    let mut agents = JoinSet::new();
    for number in 0..count {
        watcher::spawn(
            &mut agents,
            &run.plane,
            &run.audience,
            wanted.jitter,
            number,
        )
        .await?;
    }
    run.measure("start", meter, began).await?;
    run.change(wanted.rate).await?;
    run.audience.report(&format!("{count} agents with watches"));
    agents.shutdown().await;
    Ok(())
}

/// Agents behind NATS.
async fn subscribed(wanted: &Wanted, table: &mut Table) -> Result<()> {
    let count = wanted.agents;
    let plane = Plane::start("nats").await?;
    let mut run = Run::prepare(wanted, Way::Nats, count, plane, table).await?;
    run.plane.start_nats().await?;
    run.plane.start_publishers().await?;
    let (began, meter) = run.start_to_measure()?;
    let mut agents = JoinSet::new();
    for number in 0..count {
        subscriber::spawn(&mut agents, &run.audience, wanted.jitter, number);
    }
    run.measure("start", meter, began).await?;
    run.change(wanted.rate).await?;

    let (asked, meter) = run.start_to_measure()?;
    run.plane.kill_nats()?;
    run.plane.start_nats().await?;
    run.measure("NATS restarts", meter.with_new_nats(), asked)
        .await?;
    run.audience.report(&format!("{count} agents behind NATS"));
    agents.shutdown().await;
    Ok(())
}

/// A number of agents that are fed in one way.
struct Run<'a> {
    way: Way,
    count: usize,
    plane: Plane,
    load: Load,
    audience: Shared,
    table: &'a mut Table,
}

impl<'a> Run<'a> {
    /// Fills the cluster; there are no agents yet.
    async fn prepare(
        wanted: &Wanted,
        way: Way,
        count: usize,
        plane: Plane,
        table: &'a mut Table,
    ) -> Result<Self> {
        let load = Load::create(&plane, wanted.services, wanted.endpoints).await?;
        Ok(Self {
            way,
            count,
            plane,
            load,
            audience: Audience::new(count),
            table,
        })
    }

    /// What comes from now on is counted.
    fn start_to_measure(&self) -> Result<(Instant, Meter)> {
        let meter = Meter::start(&self.plane)?;
        Ok((Instant::now(), meter))
    }

    /// Waits until every agent has seen what there is, and adds a row of what that cost since `began`.
    async fn measure(&mut self, event: &'static str, meter: Meter, began: Instant) -> Result<()> {
        let marker = self.load.mark(&self.plane).await?;
        let slowest = self.audience.all_have(marker, began, PATIENCE).await?;
        let spent = meter.read(&self.plane)?;
        let row = Row::measured(event, self.way, self.count, spent, slowest);
        self.table.add(row);
        Ok(())
    }

    /// Rolls a tenth of the slices out, then restarts the API server.
    async fn change(&mut self, rate: u32) -> Result<()> {
        let (_, meter) = self.start_to_measure()?;
        self.load.roll_out(&self.plane, rate).await?;
        self.measure("10 % rollout", meter, Instant::now()).await?;
        self.plane.report()?;

        self.load.stir(&self.plane).await?;
        let (asked, meter) = self.start_to_measure()?;
        self.plane.kill_api_server()?;
        self.plane.start_api_server().await?;
        let meter = meter.with_new_api_server();
        self.measure("API server restarts", meter, asked).await
    }
}

/// A number of the environment.
fn number(name: &str, usual: usize) -> Result<usize> {
    match env::var(name) {
        Ok(text) => text.parse().with_context(|| name.to_owned()),
        Err(_) => Ok(usual),
    }
}

/// A path of the environment, which fanout.sh gives.
fn path(name: &str) -> Result<PathBuf> {
    env::var_os(name)
        .map(PathBuf::from)
        .with_context(|| format!("{name} is not set: run tests/bench/fanout.sh"))
}

/// Says what is going on.
fn say(text: &str) {
    eprintln!("fanout: {text}");
}

/// Shared by all agents.
type Shared = Arc<Audience>;

//! An agent that follows the server: its first lists, changes at a rate and as many as go, and its restart. After each step
//! its whole zone must be the truth.

use crate::{
    Figure, PATIENCE, Wanted,
    load::Load,
    mb, note, path,
    plane::{Meter, Plane},
    say, seconds,
};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    scale::{Changes, Mix, require},
    watcher::Watcher,
};
use nss_k8s_zone::MAX_ADDRESSES;
use std::{
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// When memory is measured: what a list needed has been given back by then, if it ever is.
const SETTLED: Duration = Duration::from_secs(5);
/// What an agent says when its zone is whole.
const COMPLETE: &str = "everything is listed and published";
/// Changes that an agent misses while it is away, and that come after its return.
const MISSED: usize = 1_000;

/// An agent, its directory, and what it is measured with.
pub(crate) struct Following<'a> {
    /// The agent.
    pub(crate) agent: Watcher,
    root: TempDir,
    runtime: &'a Runtime,
    plane: &'a Plane,
    /// Holds all slices, or those of headless services.
    all: bool,
}

impl<'a> Following<'a> {
    /// Starts an agent, and measures it.
    pub(crate) fn measure(
        runtime: &'a Runtime,
        wanted: &Wanted,
        plane: &'a Plane,
        load: &mut Load,
        all: bool,
        figures: &mut Vec<Figure>,
    ) -> Result<Self> {
        let which = if all {
            "all slices"
        } else {
            "headless slices only"
        };
        say(which);
        let mut add =
            |what: &str, unit, value| note(figures, format!("{which}: {what}"), unit, value);
        let root = tempfile::tempdir_in("/dev/shm")?;
        let (meter, began) = (plane.meter()?, Instant::now());
        let following = Self {
            agent: start(plane, &root, all)?,
            root,
            runtime,
            plane,
            all,
        };
        following.list(load, &meter, began, &mut add)?;
        following.settle(&mut add)?;
        let mix = if all { Mix::ALL } else { Mix::HEADLESS };
        let mut changes = Changes::new(load.cluster.clone(), mix);
        following.keep_up(wanted, load, &mut changes, &mut add)?;
        following.catch_up(wanted.burst, load, &mut changes, &mut add)?;
        following.restart(load, &mut changes, &mut add)
    }

    /// The first lists, from the agent's start on.
    fn list(
        &self,
        load: &Load,
        meter: &Meter,
        began: Instant,
        add: &mut impl FnMut(&str, &'static str, String),
    ) -> Result<()> {
        let eyes = self.agent.eyes()?;
        let large = load.cluster.name_of(load.cluster.large_service());
        let most = load.cluster.shape().large.min(MAX_ADDRESSES);
        self.agent.wait("an answer", PATIENCE, || {
            let found = eyes.addresses(&large).ok().flatten();
            Ok(found.is_some_and(|found| found.len() == most))
        })?;
        add("start to first answer", "s", seconds(began.elapsed()));
        self.wait_until_complete()?;
        add("start to everything listed", "s", seconds(began.elapsed()));
        let cpu = self.agent.cost()?.cpu;
        add("first lists: CPU of the agent", "s", seconds(cpu));
        let cpu = meter.cpu(self.plane)?;
        add("first lists: CPU of the API server", "s", seconds(cpu));
        add("first lists: bytes", "MB received", mb(meter.bytes()?));
        let asked = meter.asked(self.plane)?;
        let lists = asked.iter().filter(|asked| asked.is_list()).count();
        ensure!(lists >= self.sources(), "{lists} lists: {asked:?}");
        add("first lists: requests", "number", lists.to_string());
        require(&self.agent, &load.truth(self.all), PATIENCE)
    }

    /// What it needs when nothing happens.
    fn settle(&self, add: &mut impl FnMut(&str, &'static str, String)) -> Result<()> {
        thread::park_timeout(SETTLED);
        let cost = self.agent.cost()?;
        let own = cost.anonymous + cost.files;
        let zone = self.agent.allocated("view/default/zone.v1")?;
        let used = self.agent.metric("nss_k8s_zone_size_bytes{of=\"used\"}")?;
        add("agent's own memory", "MB", mb(own));
        add("zone file", "MB", mb(zone));
        add("zone file: in use", "MB", mb(used as u64));
        add("agent and zone", "MB", mb(own + zone));
        Ok(())
    }

    /// Changes at a rate, and each looked for.
    fn keep_up(
        &self,
        wanted: &Wanted,
        load: &mut Load,
        changes: &mut Changes,
        add: &mut impl FnMut(&str, &'static str, String),
    ) -> Result<()> {
        let count = wanted.rate as usize * wanted.during.as_secs() as usize;
        let eyes = &self.agent.eyes()?;
        let (sender, receiver) = channel();
        let (meter, before) = (self.plane.meter()?, self.agent.cost()?);
        let (took, visible) = thread::scope(|scope| {
            let watching = scope.spawn(move || eyes.see_all(&receiver, PATIENCE));
            let writing = load.change(changes, count, Some(wanted.rate), Some(sender));
            let took = self.runtime.block_on(writing);
            (took, watching.join().expect("no panic"))
        });
        let (took, mut visible) = (took?, visible?);
        visible.sort_unstable();
        // All but the services that were made or removed.
        let seen = visible.len();
        ensure!(seen * 10 > count * 9, "{seen} of {count} were seen");
        let at = |percent: usize| {
            let time = visible[(seen - 1) * percent / 100];
            format!("{:.2}", time.as_secs_f64() * 1e3)
        };
        let share =
            |cpu: Duration| format!("{:.1}", 100.0 * cpu.as_secs_f64() / took.as_secs_f64());
        let agent = self.agent.cost()?.cpu.saturating_sub(before.cpu);
        let server = meter.cpu(self.plane)?;
        add("changes at a rate", "changes/s", rate(count, took));
        add("change sent to visible: median", "ms", at(50));
        add("change sent to visible: p99", "ms", at(99));
        add(
            "changes at a rate: CPU of the agent",
            "% of a core",
            share(agent),
        );
        add(
            "changes at a rate: CPU of the API server",
            "% of a core",
            share(server),
        );
        require(&self.agent, &load.truth(self.all), PATIENCE)
    }

    /// As many changes as the server takes.
    fn catch_up(
        &self,
        count: usize,
        load: &mut Load,
        changes: &mut Changes,
        add: &mut impl FnMut(&str, &'static str, String),
    ) -> Result<()> {
        let took = self
            .runtime
            .block_on(load.change(changes, count, None, None))?;
        let written = Instant::now();
        add(
            "changes as fast as the server takes them",
            "changes/s",
            rate(count, took),
        );
        require(&self.agent, &load.truth(self.all), PATIENCE)?;
        let took = seconds(written.elapsed());
        add("last of these written to whole zone compared", "s", took);
        Ok(())
    }

    /// It is killed, misses something, and comes back without a list: by the server's own record, which must have
    /// its watches.
    fn restart(
        self,
        load: &mut Load,
        changes: &mut Changes,
        add: &mut impl FnMut(&str, &'static str, String),
    ) -> Result<Self> {
        let Self {
            agent,
            root,
            runtime,
            plane,
            all,
        } = self;
        agent.kill()?;
        runtime.block_on(load.change(changes, MISSED, None, None))?;
        let (meter, began) = (plane.meter()?, Instant::now());
        let this = Self {
            agent: start(plane, &root, all)?,
            root,
            runtime,
            plane,
            all,
        };
        this.wait_until_complete()?;
        add("restart to everything known", "s", seconds(began.elapsed()));
        require(&this.agent, &load.truth(all), PATIENCE)?;
        add("restart: bytes", "MB received", mb(meter.bytes()?));
        let cpu = meter.cpu(plane)?;
        add("restart: CPU of the API server", "s", seconds(cpu));
        runtime.block_on(load.change(changes, MISSED, None, None))?;
        require(&this.agent, &load.truth(all), PATIENCE)?;
        let asked = meter.asked(plane)?;
        let lists = asked.iter().filter(|asked| asked.is_list()).count();
        ensure!(lists == 0, "a restarted agent listed: {asked:#?}");
        let watches = asked.iter().filter(|asked| asked.verb == "watch");
        ensure!(watches.count() >= this.sources(), "{asked:#?}");
        add("restart: lists", "number", lists.to_string());
        Ok(this)
    }

    /// Watches of an agent: namespaces, services, slices; or slices of headless services, by two labels.
    fn sources(&self) -> usize {
        if self.all { 3 } else { 4 }
    }

    fn wait_until_complete(&self) -> Result<()> {
        let agent = &self.agent;
        agent.wait(COMPLETE, PATIENCE, || Ok(agent.log().contains(COMPLETE)))
    }
}

fn start(plane: &Plane, root: &TempDir, all: bool) -> Result<Watcher> {
    let program = path("BENCH_AGENT")?;
    let options: &[&str] = if all { &["--endpoint-slices=all"] } else { &[] };
    Watcher::start(&program, root.path(), &plane.kubeconfig()?, options).context("the agent")
}

fn rate(count: usize, took: Duration) -> String {
    format!("{:.0}", count as f64 / took.as_secs_f64())
}

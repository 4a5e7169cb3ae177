//! The agent's binary against an API server of 1,000 services, which fails on purpose: what the zone holds afterwards is
//! compared with what the server holds, name by name. The zone answers, read from this process; no DNS server is there.
//! Figures at full size are measured by `tests/bench/scale.sh`.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program; the ban is for the in-process crates"
)]

use anyhow::{Result, ensure};
use nss_k8s_tests::{
    artifacts,
    fake_api::{FakeApi, Fault, Request, Rule},
    scale::{Change, Changes, Cluster, Kind, Mix, Shape, expected, require, told},
    watcher::Watcher,
    zonefile,
};
use std::time::Duration;
use tempfile::TempDir;

/// How long anything may take before a test gives up on it: pauses after failures are seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server, and an agent that follows it.
struct Rig {
    api: FakeApi,
    agent: Watcher,
    /// Holds slices of all services.
    all: bool,
    root: TempDir,
}

impl Rig {
    /// Started; nothing has been waited for.
    fn start(all: bool, prepare: impl FnOnce(&FakeApi)) -> Result<Self> {
        let api = FakeApi::start(Cluster::new(Shape::of(1_000)))?;
        prepare(&api);
        let root = zonefile::directory()?;
        let agent = Self::agent(&api, &root, all)?;
        Ok(Self {
            api,
            agent,
            all,
            root,
        })
    }

    /// The zone is what the server holds, and live.
    fn live(all: bool, prepare: impl FnOnce(&FakeApi)) -> Result<Self> {
        let rig = Self::start(all, prepare)?;
        rig.wait_for_log("everything is listed and published")?;
        rig.compare()?;
        Ok(rig)
    }

    fn agent(api: &FakeApi, root: &TempDir, all: bool) -> Result<Watcher> {
        let options: &[&str] = if all { &["--endpoint-slices=all"] } else { &[] };
        Watcher::start(
            &artifacts::agent()?,
            root.path(),
            &api.kubeconfig(),
            options,
        )
    }

    fn wait_for_log(&self, text: &str) -> Result<()> {
        self.agent
            .wait(text, PATIENCE, || Ok(self.agent.log().contains(text)))
    }

    fn wait_for_requests(&self, kind: Kind, request: Request, count: usize) -> Result<()> {
        let what = format!("{count} requests: {kind:?}, {request:?}");
        self.agent.wait(
            &what,
            PATIENCE,
            || Ok(self.requests(kind, request) >= count),
        )
    }

    fn requests(&self, kind: Kind, request: Request) -> usize {
        let asked = self.api.asked();
        let same = asked
            .iter()
            .filter(|it| (it.kind, it.request) == (kind, request));
        same.count()
    }

    /// Every service, address and host name of the zone is the server's, and there are no others.
    fn compare(&self) -> Result<()> {
        let generation = |kind, index| self.api.generation(kind, index);
        let wanted = expected(self.api.cluster(), self.all, generation);
        require(&self.agent, &wanted, PATIENCE)
    }

    /// Something new is seen: every watch that matters goes on.
    fn goes_on(&self) -> Result<()> {
        let slice = self.api.cluster().slices_of(9).start;
        self.api.apply(Change::Endpoint(slice));
        let spare = self.api.cluster().shape().services;
        self.api.apply(Change::Service(spare));
        self.compare()
    }
}

#[test]
fn a_zone_is_what_the_server_streamed() -> Result<()> {
    for all in [false, true] {
        let rig = Rig::live(all, |_| {})?;
        rig.goes_on()?;
        let expected = if all { [1, 1, 1] } else { [1, 1, 2] };
        for (kind, count) in Kind::ALL.into_iter().zip(expected) {
            assert_eq!(rig.requests(kind, Request::StreamedList), count, "{kind:?}");
            assert_eq!(rig.requests(kind, Request::Page), 0, "{kind:?}");
        }
        assert!(rig.api.sent() > 1_000_000);
    }
    Ok(())
}

#[test]
fn a_zone_is_what_the_server_paged() -> Result<()> {
    let rig = Rig::live(true, |api| api.refuse_streams(true))?;
    rig.goes_on()?;
    // 1,011 services that are there or not in pages of 500, 1,060 slices.
    assert_eq!(rig.requests(Kind::Services, Request::Page), 2);
    assert_eq!(rig.requests(Kind::Slices, Request::Page), 3);
    Ok(())
}

/// Between two pages the server forgets the state of which they are: the list begins again.
#[test]
fn a_list_whose_token_is_too_old_begins_again() -> Result<()> {
    let rig = Rig::start(true, |api| {
        api.refuse_streams(true);
        let second_page = Rule {
            after: 1,
            ..Rule::once(Kind::Slices, Request::Page, Fault::Gone)
        };
        api.inject(second_page);
    })?;
    rig.wait_for_log("everything is listed and published")?;
    rig.compare()?;
    assert_eq!(rig.requests(Kind::Slices, Request::Page), 2 + 3);
    rig.goes_on()
}

/// What happened meanwhile is found by a list: of what the server forgot, and of nothing else.
#[test]
fn a_watch_that_is_too_old_lists_again() -> Result<()> {
    for status in [false, true] {
        let rig = Rig::live(true, |_| {})?;
        rig.api.forget_requests();
        let mut changes = Changes::new(rig.api.cluster().clone(), Mix::ALL);
        match status {
            // As an event: the server forgot, and says so to whoever comes back.
            false => {
                rig.api.disconnect();
                for change in changes.by_ref().take(500) {
                    rig.api.apply(change);
                }
                rig.api.compact();
            }
            // As a status, before any event.
            true => {
                let rule = Rule::once(Kind::Slices, Request::Watch, Fault::Gone);
                rig.api.inject(rule);
                rig.api.disconnect();
            }
        }
        rig.compare()?;
        rig.goes_on()?;
        if status {
            assert_eq!(rig.requests(Kind::Slices, Request::StreamedList), 1);
            assert_eq!(rig.requests(Kind::Services, Request::StreamedList), 0);
        }
    }
    Ok(())
}

/// Connections end in the middle of a chunk, a line, a word: in lists, and in watches while a thousand
/// things happen each second. What is lost with them is asked for again, without a list.
#[test]
fn connections_end_at_any_byte() -> Result<()> {
    let rig = Rig::start(true, |api| {
        // A list of slices has some six megabytes; the first bytes are the answer's head.
        for bytes in [1, 333, 10_001, 2_000_003] {
            let rule = Rule::once(Kind::Slices, Request::StreamedList, Fault::Cut(bytes));
            api.inject(rule);
        }
    })?;
    rig.wait_for_log("everything is listed and published")?;
    rig.compare()?;
    ensure!(rig.requests(Kind::Slices, Request::StreamedList) >= 5);
    rig.api.forget_requests();
    let lengths = [100, 4_321, 20_000, 100_003, 200_001, 300_007];
    for bytes in lengths {
        let rule = Rule::once(Kind::Slices, Request::Watch, Fault::Cut(bytes));
        rig.api.inject(rule);
    }
    rig.api.disconnect();
    let mut changes = Changes::new(rig.api.cluster().clone(), Mix::ALL);
    let mut rounds = 0;
    rig.agent.wait("every cut", 2 * PATIENCE, || {
        rig.api
            .happen(&mut changes, 1_000, Duration::from_millis(100), |_, _| {});
        rounds += 1;
        Ok(rig.requests(Kind::Slices, Request::Watch) > lengths.len())
    })?;
    rig.compare()?;
    for kind in Kind::ALL {
        assert_eq!(rig.requests(kind, Request::StreamedList), 0, "{kind:?}");
    }
    println!("{rounds} rounds");
    rig.goes_on()
}

/// Nothing comes for longer than a list may pause: another way is taken.
#[test]
fn a_streamed_list_that_stalls_is_paged() -> Result<()> {
    let rig = Rig::start(true, |api| {
        let rule = Rule::once(Kind::Slices, Request::StreamedList, Fault::Stall(500_000));
        api.inject(rule);
    })?;
    rig.wait_for_log("does not stream lists")?;
    rig.wait_for_requests(Kind::Slices, Request::Page, 3)?;
    rig.compare()?;
    rig.goes_on()
}

#[test]
fn a_server_that_is_busy_or_broken_is_asked_again() -> Result<()> {
    let rig = Rig::start(true, |api| {
        for fault in [Fault::Busy(1), Fault::Broken, Fault::Forbidden] {
            api.inject(Rule::once(Kind::Services, Request::StreamedList, fault));
        }
        let page = Rule::once(Kind::Services, Request::Page, Fault::Busy(1));
        api.inject(page);
    })?;
    rig.wait_for_log("everything is listed and published")?;
    rig.compare()?;
    for fault in [Fault::Busy(1), Fault::Broken, Fault::Expired] {
        let rule = Rule::once(Kind::Slices, Request::Watch, fault);
        rig.api.inject(rule);
    }
    rig.api.disconnect();
    rig.wait_for_requests(Kind::Slices, Request::Watch, 4)?;
    rig.goes_on()?;
    ensure!(rig.agent.metric("nss_k8s_watch_errors_total")? >= 3.0);
    Ok(())
}

/// Objects that cannot be read are counted, and concern nothing else. One that turns bad keeps its last
/// good form until it is good again.
#[test]
fn malformed_objects_are_counted_and_concern_nothing_else() -> Result<()> {
    let skipped = "nss_k8s_objects_skipped_total";
    let service = 777;
    let rig = Rig::start(true, |api| api.malform(Kind::Services, service, true))?;
    rig.wait_for_log("everything is listed and published")?;
    ensure!(rig.agent.metric(skipped)? >= 1.0);
    let named = |told: &std::collections::BTreeMap<(String, String), _>| {
        let cluster = rig.api.cluster();
        let namespace = cluster.namespace(cluster.namespace_of(service));
        told.contains_key(&(namespace, cluster.service(service)))
    };
    rig.api.malform(Kind::Services, service, false);
    rig.compare()?;
    // A slice that cannot be read any more, and one that can.
    let [bad, good] = [20, 21].map(|service| rig.api.cluster().slices_of(service).start);
    rig.api.malform(Kind::Slices, bad, true);
    rig.api.malform(Kind::Services, service, true);
    rig.api.apply(Change::Endpoint(good));
    rig.compare()?;
    ensure!(named(&told(&rig.agent.dump()?)?), "its last good form");
    ensure!(rig.agent.metric(skipped)? >= 3.0);
    rig.api.malform(Kind::Slices, bad, false);
    rig.api.apply(Change::Endpoint(bad));
    rig.compare()
}

/// A thousand things a second for some seconds: none is lost, and none comes late.
#[test]
fn a_thousand_events_a_second_are_all_seen() -> Result<()> {
    for all in [false, true] {
        let rig = Rig::live(all, |_| {})?;
        let mix = if all { Mix::ALL } else { Mix::HEADLESS };
        let mut changes = Changes::new(rig.api.cluster().clone(), mix);
        let mut happened = 0;
        let cluster = rig.api.cluster();
        let is_watched = |kind, index| match kind {
            Kind::Slices => all || cluster.is_headless(cluster.service_of(index).0),
            _ => true,
        };
        rig.api
            .happen(&mut changes, 1_000, Duration::from_secs(3), |changed, _| {
                let watched = changed.iter().filter(|it| is_watched(it.0, it.1));
                happened += watched.count();
            });
        ensure!(happened >= 2_900);
        rig.compare()?;
        let metrics = rig.agent.metrics()?;
        let events = metrics.lines().filter(|line| {
            line.starts_with("nss_k8s_watch_events_total{") && !line.contains("reason=\"list\"")
        });
        let events = events.filter_map(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
        let told: usize = events.sum();
        ensure!(told == happened, "{told} of {happened}");
    }
    Ok(())
}

/// What an agent knew, the next one need not list, and it misses nothing of what happened between them.
#[test]
fn the_next_agent_lists_nothing() -> Result<()> {
    let rig = Rig::live(true, |_| {})?;
    let Rig {
        api, agent, root, ..
    } = rig;
    agent.kill()?;
    api.forget_requests();
    let changes = Changes::new(api.cluster().clone(), Mix::ALL);
    for change in changes.take(2_000) {
        api.apply(change);
    }
    let agent = Rig::agent(&api, &root, true)?;
    let rig = Rig {
        api,
        agent,
        all: true,
        root,
    };
    rig.wait_for_log("everything is listed and published")?;
    rig.compare()?;
    rig.goes_on()?;
    for kind in Kind::ALL {
        assert_eq!(rig.requests(kind, Request::StreamedList), 0, "{kind:?}");
        assert_eq!(rig.requests(kind, Request::Page), 0, "{kind:?}");
        assert_eq!(rig.requests(kind, Request::Watch), 1, "{kind:?}");
    }
    ensure!(rig.root.path().exists());
    Ok(())
}

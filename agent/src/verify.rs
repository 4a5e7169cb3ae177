//! The sampled verifier: takes names of the zone at random, asks the cluster DNS for them, and counts
//! how often both say the same. It only reads: neither the zone nor any answer follows from it.
//!
//! ```text
//!   zone.v1 --Sample--> questions --+-- zone.v1 (as a process reads it) --> Said --\
//!        once per interval          '-- cluster DNS over TCP -------------> Said ---+--> same, different,
//!                                          again after `settle` while they differ --/    changing, failed
//! ```
//!
//! The two may differ for a while after a change: caches keep the old answer, and the zone is mostly
//! ahead. So a difference counts only if it is still there later and the zone said the same all the while.

mod names;
mod said;

use crate::{
    config::Config,
    forward::{ask_once, is_agent},
    switch::{published_classes, view_path},
    table::Table,
    telemetry::Telemetry,
};
use names::Chooser;
use nss_k8s_zone::Sample;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
};
use said::{Asked, Said, ZoneFile};
use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep},
};

/// The port of DNS servers.
const DNS: u16 = 53;
/// Looks at a difference, the first one included, before it is left undecided.
const LOOKS: usize = 4;
/// Names that may be looked at at once: most wait for a second look.
const MOST_OPEN: usize = 64;

/// What the verifier needs.
pub struct Verifier {
    /// The base directory.
    pub base: PathBuf,
    /// The configuration in force.
    pub config: watch::Receiver<Arc<Config>>,
    /// The addresses of the cluster DNS; empty until known.
    pub cluster_dns: watch::Receiver<Vec<IpAddr>>,
    /// Where results are counted.
    pub metrics: Metrics,
}

/// What became of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Same,
    Different,
    /// The zone changed too often to say.
    Changing,
    /// The server did not answer, or with an error.
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfResult {
    result: &'static str,
}

/// Names verified, by result; clones share the figures.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    results: Family<OfResult, Counter>,
}

impl Metrics {
    /// Figures that are exposed, all of them from the start.
    pub fn register(telemetry: &Telemetry) -> Self {
        let this = Self::default();
        for result in ["same", "different", "changing", "failed"] {
            drop(this.results.get_or_create(&OfResult { result }));
        }
        telemetry.extend(|registry| {
            let help = "Names of the zone compared with the cluster DNS: same, different, changing, failed";
            registry.register("verify", help, this.results.clone());
        });
        this
    }

    fn count(&self, verdict: Verdict) {
        let result = match verdict {
            Verdict::Same => "same",
            Verdict::Different => "different",
            Verdict::Changing => "changing",
            Verdict::Failed => "failed",
        };
        self.results.get_or_create(&OfResult { result }).inc();
    }
}

/// Verifies for as long as the configuration wants it.
pub async fn run(mut verifier: Verifier) {
    let mut round: usize = 0;
    loop {
        let config = Arc::clone(&verifier.config.borrow_and_update());
        let servers = servers(&config, &verifier.cluster_dns.borrow_and_update());
        let working = async {
            match servers {
                Ok(servers) if wanted(&config) && !servers.is_empty() => {
                    let server = servers[round % servers.len()];
                    one_round(&verifier.base, &config, server, round, &verifier.metrics).await;
                }
                Err(why) if wanted(&config) => {
                    tracing::warn!(why, "the zone is not verified");
                    std::future::pending().await
                }
                _ => std::future::pending().await,
            }
        };
        tokio::select! {
            () = working => round = round.wrapping_add(1),
            changed = verifier.config.changed() => if changed.is_err() {
                return;
            },
            changed = verifier.cluster_dns.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

/// Whether there is something to find out.
fn wanted(config: &Config) -> bool {
    let shadow = || config.classes.iter().any(|class| class.shadow);
    config.verify.enabled.unwrap_or_else(shadow)
}

/// Whom to compare with. Never our own listener: that is the zone again.
fn servers(config: &Config, cluster_dns: &[IpAddr]) -> Result<Vec<SocketAddr>, &'static str> {
    if !config.verify.servers.is_empty() {
        return Ok(config.verify.servers.clone());
    }
    let own = config.listen.iter().flat_map(|listen| &listen.addresses);
    if own.clone().any(|address| cluster_dns.contains(address)) {
        return Err(
            "the listener has the cluster DNS address: name forward.upstream_service or \
                    verify.servers",
        );
    }
    let all = cluster_dns.iter();
    Ok(all.map(|address| SocketAddr::new(*address, DNS)).collect())
}

/// One interval: names are chosen and asked for one after another.
async fn one_round(
    base: &Path,
    config: &Config,
    server: SocketAddr,
    round: usize,
    metrics: &Metrics,
) {
    let settings = &config.verify;
    let (every, limit) = (settings.interval.duration(), settings.timeout.duration());
    match is_agent(server, limit).await {
        Ok(false) => {}
        Ok(true) => {
            tracing::warn!(%server, "an agent answers there: the zone is not verified against itself");
            return sleep(every).await;
        }
        Err(why) => {
            tracing::warn!(%server, why, "the zone cannot be verified: no answer");
            metrics.count(Verdict::Failed);
            return sleep(every).await;
        }
    }
    let Some(path) = zone_path(base, config, round) else {
        return sleep(every).await;
    };
    let count = settings.sample;
    let sampled = {
        let path = path.clone();
        let chooser = Chooser::new(config.has_views());
        let sampling = move || {
            let sample = Sample::open(&path, count, &|below| chooser.below(below))?;
            Ok::<_, nss_k8s_zone::OpenError>(chooser.questions(&sample))
        };
        tokio::task::spawn_blocking(sampling).await
    };
    let questions = match sampled {
        Ok(Ok(questions)) => questions,
        Ok(Err(error)) => {
            tracing::warn!(%error, "the zone cannot be verified");
            return sleep(every).await;
        }
        Err(_) => return sleep(every).await,
    };
    let Some(zone) = ZoneFile::new(&path).map(Arc::new) else {
        return sleep(every).await;
    };
    let gap = every / u32::try_from(count.max(1)).unwrap_or(u32::MAX);
    let mut pace = interval(gap.max(Duration::from_millis(1)));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open = JoinSet::new();
    let look = Look {
        server,
        limit,
        settle: settings.settle.duration(),
    };
    for asked in questions {
        pace.tick().await;
        while open.try_join_next().is_some() {}
        if open.len() < MOST_OPEN {
            let (zone, look, metrics) = (Arc::clone(&zone), look, metrics.clone());
            open.spawn(async move {
                if let Some(verdict) = look.at(&asked, || zone.say(&asked)).await {
                    metrics.count(verdict);
                }
            });
        }
    }
    pace.tick().await;
    // Whoever still waits for a second look has it.
    while open.join_next().await.is_some() {}
}

/// The zone file of this round: of the classes in shadow in turn, else of all. Without a table the
/// classes are named as their directories are.
fn zone_path(base: &Path, config: &Config, round: usize) -> Option<PathBuf> {
    let views: Vec<(String, String)> = match Table::read(base).ok().flatten() {
        Some(table) => {
            let entries = table.classes.into_values();
            entries.map(|entry| (entry.class, entry.view)).collect()
        }
        None => {
            let classes = published_classes(base).into_iter();
            classes.map(|class| (class.clone(), class)).collect()
        }
    };
    let in_shadow = |class: &str| config.class(class).is_some_and(|class| class.shadow);
    let mut chosen: Vec<&str> = Vec::new();
    for only in [true, false] {
        if chosen.is_empty() {
            let counts = views.iter().filter(|(class, _)| !only || in_shadow(class));
            chosen.extend(counts.map(|(_, view)| view.as_str()));
        }
    }
    let view = chosen.get(round.checked_rem(chosen.len())?)?;
    Some(view_path(base, view))
}

/// How a name is looked at.
#[derive(Clone, Copy)]
struct Look {
    server: SocketAddr,
    limit: Duration,
    settle: Duration,
}

impl Look {
    /// Compares until both say the same, or the difference is proven; nothing when the zone leaves
    /// the name to DNS.
    async fn at(&self, asked: &Asked, ours: impl Fn() -> Option<Said>) -> Option<Verdict> {
        let mut before: Option<Said> = None;
        for _ in 0..LOOKS {
            let first = ours()?;
            let theirs = match ask_once(self.server, &asked.question, self.limit).await {
                Ok(message) => said::theirs(asked, &message),
                Err(why) => Err(why),
            };
            let theirs = match theirs {
                Ok(theirs) => theirs,
                Err(why) => {
                    let (name, kind, server) = (&asked.name, asked.kind, self.server);
                    tracing::debug!(name, %kind, %server, why, "no answer to compare with");
                    return Some(Verdict::Failed);
                }
            };
            let last = ours()?;
            if theirs == first || theirs == last {
                return Some(Verdict::Same);
            }
            if first == last && before.as_ref() == Some(&last) {
                tracing::warn!(
                    name = asked.name,
                    kind = %asked.kind,
                    zone = %last,
                    server = %self.server,
                    answer = %theirs,
                    "the zone and the cluster DNS differ"
                );
                return Some(Verdict::Different);
            }
            before = (first == last).then_some(last);
            sleep(self.settle).await;
        }
        Some(Verdict::Changing)
    }
}

//! The forwarder's answers in shared memory: one `external.v1` for each class of pods that may see
//! them, with the static `hosts` of the configuration. It decides what is published to whom; how a
//! file is written is the zone's.
//!
//! ```text
//!   forwarder --Change--> Publisher --put, remove--> view/<class>/external.v1 <--mmap-- processes
//!   configuration --hosts, classes--^
//! ```
//!
//! A class sees the answers to its own pods' questions and no others: what one tenant asks is not
//! told to the next.

pub mod dump;
mod metrics;
mod names;
#[cfg(test)]
mod tests;

pub use metrics::Metrics;

use crate::{
    config::{Config, External, Rewrite},
    forward::{self, Change},
};
use names::{address, text};
use nss_k8s_zone::{
    Family, Held, HeldAnswer, HeldOpened, HeldOptions, HeldVerdict, HeldWriter, Now, WriteError,
};
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::{MissedTickBehavior, interval, sleep_until},
};

/// So much news is taken at once.
const BATCH: usize = 256;
/// How often expired answers go and the files say that somebody is alive.
const TICK: Duration = Duration::from_secs(1);
/// How long a file that cannot be opened is left alone.
const PATIENCE: u64 = 10;

/// Whether a class of this kind has a file of answers: CONFIG in its zone must say the same.
pub fn is_published(config: &Config, external: External) -> bool {
    match external {
        External::Node => true,
        // The process asks for itself, but fixed names are the same for everybody.
        External::Pod => !config.hosts.is_empty(),
        External::Off => false,
    }
}

/// Keeps the files in step until the configuration's sender is gone; what they hold then expires by
/// itself. Nothing that goes wrong here ends the agent: without a file processes ask the forwarder.
///
/// `source` brings the forwarder's news once there is a forwarder; static names need none.
pub async fn run(
    mut publisher: Publisher,
    mut source: oneshot::Receiver<mpsc::Receiver<Change>>,
    mut config: watch::Receiver<Arc<Config>>,
) {
    let current = Arc::clone(&config.borrow_and_update());
    publisher.configure(&current, now());
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut batch = Vec::with_capacity(BATCH);
    let (mut is_waiting, mut news) = (true, None);
    loop {
        let due = publisher.advance(Instant::now());
        let wake = due.unwrap_or_else(|| Instant::now() + TICK);
        tokio::select! {
            arrived = &mut source, if is_waiting => (is_waiting, news) = (false, arrived.ok()),
            count = receive(&mut news, &mut batch) => {
                if count == 0 {
                    news = None;
                }
                let now = now();
                batch.drain(..).for_each(|change| publisher.apply(&change, now));
            }
            changed = config.changed() => {
                if changed.is_err() {
                    return;
                }
                let current = Arc::clone(&config.borrow_and_update());
                publisher.configure(&current, now());
            }
            _ = ticks.tick() => publisher.tick(now()),
            () = sleep_until(wake.into()), if due.is_some() => {}
        }
    }
}

/// Takes what news there is, 0 at its end; waits for ever without a source.
async fn receive(news: &mut Option<mpsc::Receiver<Change>>, batch: &mut Vec<Change>) -> usize {
    match news {
        Some(news) => news.recv_many(batch, BATCH).await,
        None => std::future::pending().await,
    }
}

/// The files of all classes.
pub struct Publisher {
    directory: PathBuf,
    metrics: Metrics,
    files: BTreeMap<String, File>,
    /// Static names, the same for every class.
    hosts: BTreeMap<String, Held>,
    /// By which names are asked for under others.
    rewrites: Vec<Rewrite>,
    /// Something of the cluster is hidden from somebody.
    hides: bool,
}

/// One class's file.
struct File {
    options: HeldOptions,
    /// `None`: it could not be opened; tried again from this time on.
    writer: Result<HeldWriter, Now>,
    /// The forwarder's answers are published, not only static names.
    takes_news: bool,
}

impl Publisher {
    /// For files below the agent's directory; none are there before [`Publisher::configure`].
    pub fn new(directory: impl Into<PathBuf>, metrics: Metrics) -> Self {
        Self {
            directory: directory.into(),
            metrics,
            files: BTreeMap::new(),
            hosts: BTreeMap::new(),
            rewrites: Vec::new(),
            hides: false,
        }
    }

    /// Has a file for each class that is to have one, with these static names. A class that has
    /// none any more loses its answers, those of its running processes too.
    pub fn configure(&mut self, config: &Config, now: Now) {
        self.hosts = names::hosts(&config.hosts);
        // A regular expression is applied by who answers processes: what is held of a name would
        // keep them from asking.
        if self.rewrites != config.rewrite {
            self.rewrites.clone_from(&config.rewrite);
            self.forget();
        }
        // Some of what is held may lead to what is hidden now.
        if self.hides != config.has_views() {
            self.hides = config.has_views();
            self.forget();
        }
        let wanted: BTreeMap<&str, External> = config
            .all_classes()
            .into_iter()
            .filter(|(_, external)| is_published(config, *external))
            .collect();
        self.files.retain(|class, file| {
            let stays = wanted.contains_key(class.as_str());
            if !stays && let Ok(writer) = &mut file.writer {
                writer.disable();
                tracing::info!(class, "external answers are no longer published");
            }
            stays
        });
        for (class, external) in wanted {
            let shared = &config.forward.shared;
            let mut options = HeldOptions::new(&self.directory, class);
            options.maximum_bytes = shared.bytes;
            options.maximum_names = shared.entries;
            let takes_news = external == External::Node;
            let same = |file: &File| {
                file.options.maximum_bytes == options.maximum_bytes
                    && file.options.maximum_names == options.maximum_names
            };
            // Before another writer of the same file its lock must be free.
            if self.files.get(class).is_some_and(|file| !same(file)) {
                self.files.remove(class);
            }
            let file = self.files.entry(class.to_owned()).or_insert(File {
                options,
                writer: Err(now),
                takes_news,
            });
            file.takes_news = takes_news;
            file.settle(class, &self.hosts, &self.metrics, now);
        }
    }

    /// Takes a piece of news.
    pub fn apply(&mut self, change: &Change, now: Now) {
        match change {
            Change::Put {
                class,
                name,
                family,
                held,
                expires,
                ..
            } => {
                let ttl = u32::try_from(expires.saturating_sub(now.0)).unwrap_or(u32::MAX);
                let answer = HeldWriter::end_of(now, ttl).and_then(|end| answer(held, end));
                self.put(class.name(), name, *family, answer, now);
            }
            Change::Remove {
                class,
                name,
                family,
            } => self.put(class.name(), name, *family, None, now),
            Change::Clear => self.forget(),
        }
    }

    /// Removes all but static names.
    fn forget(&mut self) {
        let files = self.files.values_mut();
        for writer in files.filter_map(|it| it.writer.as_mut().ok()) {
            writer.retain(|_, expires| expires.is_none());
        }
    }

    /// Says that somebody is alive, removes what has expired, and tries again what failed; once a
    /// second.
    pub fn tick(&mut self, now: Now) {
        for (class, file) in &mut self.files {
            if file.writer.as_ref().is_err_and(|again| *again <= now) {
                file.settle(class, &self.hosts, &self.metrics, now);
            }
            if let Ok(writer) = &mut file.writer {
                writer.expire(now);
                writer.beat(now);
                self.metrics.file(class, &writer.statistics());
            }
        }
    }

    /// Gives space back; returns when to call again, `None` while nothing waits.
    pub fn advance(&mut self, clock: Instant) -> Option<Instant> {
        let writers = self
            .files
            .values_mut()
            .filter_map(|it| it.writer.as_mut().ok());
        writers.filter_map(|writer| writer.advance(clock)).min()
    }

    /// Publishes what is known of one family of a name, or that nothing is.
    fn put(
        &mut self,
        class: &str,
        name: &[u8],
        family: forward::Family,
        answer: Option<HeldAnswer>,
        now: Now,
    ) {
        let Some(file) = self.files.get_mut(class).filter(|file| file.takes_news) else {
            return;
        };
        let Ok(writer) = &mut file.writer else { return };
        let Some(name) = text(name).map(|name| name.to_ascii_lowercase()) else {
            return self.metrics.refused(class, "name");
        };
        if self.hosts.contains_key(&name) {
            return;
        }
        let family = match family {
            forward::Family::V4 => Family::V4,
            forward::Family::V6 => Family::V6,
        };
        match writer.put_family(&name, family, answer, now) {
            Ok(true) => self.metrics.changed(class),
            Ok(false) => {}
            // What was there is as good as before, until it expires.
            Err(WriteError::NoSpace { .. }) => self.metrics.refused(class, "space"),
            Err(_) => {
                // More addresses than a record counts, say. The old answer is wrong now.
                self.metrics.refused(class, "answer");
                if writer.remove(&name) {
                    self.metrics.changed(class);
                }
            }
        }
    }
}

impl File {
    /// Opens it if need be, and has it hold these static names and no others.
    fn settle(&mut self, class: &str, hosts: &BTreeMap<String, Held>, metrics: &Metrics, now: Now) {
        if self.writer.is_err() {
            match HeldWriter::open(&self.options, now) {
                Ok((writer, opened)) => {
                    let path = writer.path().display();
                    match opened {
                        HeldOpened::Replaced { why } => {
                            tracing::warn!(class, %path, why, "external answers start anew");
                        }
                        opened => tracing::info!(class, %path, ?opened, "external answers"),
                    }
                    self.writer = Ok(writer);
                }
                Err(error) => {
                    let error = error.to_string();
                    tracing::warn!(class, error, "external answers cannot be published");
                    metrics.refused(class, "file");
                    self.writer = Err(Now(now.0 + PATIENCE));
                }
            }
        }
        let takes_news = self.takes_news;
        let Ok(writer) = &mut self.writer else { return };
        writer.retain(|name, expires| match expires {
            None => hosts.contains_key(name),
            Some(_) => takes_news && !hosts.contains_key(name),
        });
        for (name, held) in hosts {
            if let Err(error) = writer.put(name, held) {
                let error = error.to_string();
                tracing::warn!(class, name, error, "a static name is not published");
                metrics.refused(class, "hosts");
            }
        }
        metrics.file(class, &writer.statistics());
    }
}

/// An answer as the file holds it; `None` when it cannot.
fn answer(held: &forward::Held, end: Now) -> Option<HeldAnswer> {
    let verdict = match held {
        forward::Held::Addresses {
            addresses,
            canonical,
        } => HeldVerdict::Data {
            addresses: addresses.iter().copied().map(address).collect(),
            canonical: match canonical {
                Some(canonical) => Some(text(canonical)?),
                None => None,
            },
        },
        forward::Held::NoData => HeldVerdict::Data {
            addresses: Vec::new(),
            canonical: None,
        },
        forward::Held::NxDomain => HeldVerdict::NxDomain,
    };
    Some(HeldAnswer {
        expires: Some(end),
        verdict,
    })
}

/// Unix time.
pub(crate) fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Now(since.map_or(0, |since| since.as_secs()))
}

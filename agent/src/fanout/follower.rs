//! The agent's side: follows the bucket, and watches the API server itself while there is none to follow.
//!
//! ```text
//!   seek --whole--> follow --not whole--> seek --not for long--> the API server --whole for long--> follow
//! ```
//!
//! For the model each change of feed is a list: nothing goes before all of the new one has come.

use super::{
    choice::Steady,
    key,
    metrics::{Feed, Followed},
    nats::{self, Bucket},
    reader::{Ended, Reader, Start},
    state::{Place, State, Unfit},
};
use crate::{
    config::Config,
    jitter,
    model::Source,
    publish::Message,
    telemetry::Telemetry,
    watch::{self, Server, Watches},
};
use anyhow::{Context, Result, anyhow, bail};
use async_nats::Client;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, watch as latest},
    task::JoinSet,
    time::{sleep, sleep_until},
};

/// The longest pause between two looks for a bucket that is not followed, besides a beat of its publisher.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The agent's feed.
pub struct Follower {
    pub(super) client: Client,
    pub(super) base: PathBuf,
    pub(super) config: latest::Receiver<Arc<Config>>,
    pub(super) outbox: mpsc::Sender<Message>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) figures: Followed,
    server: Server,
    jitter: Duration,
    /// What the model knows: which bucket, and everything up to which place.
    pub(super) position: Option<(String, Place)>,
}

/// A bucket that can be followed.
pub(super) struct Opening {
    pub(super) bucket: Bucket,
    pub(super) state: State,
    /// Of the state record.
    pub(super) age: Duration,
}

/// The sources of an agent that follows a bucket.
pub fn sources(all_slices: bool) -> Vec<Source> {
    key::sources(all_slices)
}

/// What an agent that watches the API server must not find later.
pub fn forget(base: &Path) {
    remove(&journals(base));
}

/// Where journals of the bucket are kept.
pub(super) fn journals(base: &Path) -> PathBuf {
    base.join("private/fanout")
}

impl Follower {
    /// Connects in the background. An error: what is configured cannot be meant.
    pub async fn new(
        server: Server,
        base: PathBuf,
        config: latest::Receiver<Arc<Config>>,
        jitter: Duration,
        outbox: mpsc::Sender<Message>,
        telemetry: Arc<Telemetry>,
    ) -> Result<Self> {
        let settings = config.borrow().fanout.clone();
        let client = nats::connect(&settings, "nss-k8s agent").await?;
        Ok(Self {
            client,
            base,
            config,
            outbox,
            figures: Followed::register(&telemetry),
            telemetry,
            server,
            jitter,
            position: None,
        })
    }

    /// Feeds the model for ever; returns only when the zone's publisher is gone.
    pub async fn run(mut self) -> Result<()> {
        let settings = self.config.borrow().fanout.clone();
        let spread = settings.spread.duration();
        let patience = settings.patience.duration();
        // What an earlier agent left is gone on with once.
        let mut begins = true;
        // A bucket that was left because its publisher knows nothing new is one again when it does.
        let mut left = false;
        let mut watches = JoinSet::new();
        let mut fallback = Instant::now() + patience / 2 + jitter::part_of(spread);
        loop {
            let needed = match watches.is_empty() {
                true => Duration::ZERO,
                false => patience / 2 + jitter::part_of(spread),
            };
            let opening = tokio::select! {
                opening = self.seek(needed, left || !watches.is_empty()) => opening,
                () = sleep_until(fallback.into()), if watches.is_empty() => {
                    self.fall_back(&mut watches).await?;
                    continue;
                }
                ended = watches.join_next(), if !watches.is_empty() => {
                    bail!("a watch ended: {ended:?}")
                }
            };
            if !watches.is_empty() {
                watches.shutdown().await;
                tracing::info!("following the bucket again");
            }
            remove(&Watches::journals(&self.base));
            let start = match (&self.position, begins) {
                (Some((identity, after)), _) if *identity == opening.bucket.identity() => {
                    Start::GoOn {
                        after: after.clone(),
                    }
                }
                (None, true) => Start::Restore,
                _ => Start::Replay,
            };
            (begins, left) = (false, false);
            self.figures.feed(Feed::Bucket);
            let (ended, position) = Reader::new(&self, opening).read(start).await;
            self.position = position;
            self.figures.feed(Feed::None);
            let spread = jitter::part_of(spread);
            fallback = Instant::now() + patience + spread;
            match ended {
                Ended::Gone(error) => return Err(error),
                Ended::Lost(why) => self.lost(&why).await?,
                Ended::Silent(why) => {
                    self.lost(why).await?;
                    left = true;
                    fallback = Instant::now() + spread;
                }
                Ended::Again(why) => tracing::info!("the bucket is read again: {why}"),
            }
        }
    }

    /// Nobody knows whether what was told is still so.
    async fn lost(&self, why: &str) -> Result<()> {
        tracing::warn!("the bucket is not followed: {why}");
        for source in self.sources() {
            self.send(Message::Broken(source)).await?;
        }
        Ok(())
    }

    /// Waits for a bucket that has been whole for so long, and if wanted `followed` up to now.
    async fn seek(&self, needed: Duration, followed: bool) -> Opening {
        let mut steady = Steady::new(needed);
        let mut said = String::new();
        let longest = self.config.borrow().fanout.beat.duration();
        let mut pause = FIRST_PAUSE.min(longest);
        loop {
            let found = self.look(followed).await;
            let is_steady = steady.look(found.is_ok(), Instant::now());
            match found {
                Ok(opening) if is_steady => return opening,
                Ok(_) => {}
                Err(error) => {
                    let why = format!("{error:#}");
                    if why != said {
                        tracing::info!("no bucket to follow: {why}");
                        said = why;
                    }
                }
            }
            sleep(pause / 2 + jitter::part_of(pause)).await;
            pause = (pause * 2).min(longest);
        }
    }

    /// Looks whether there is a whole bucket whose publisher is alive, and if wanted reaches the API server.
    async fn look(&self, followed: bool) -> Result<Opening> {
        let config = Arc::clone(&self.config.borrow());
        let bucket = Bucket::open(&self.client, &config.fanout.bucket).await?;
        let bucket = bucket.ok_or_else(|| anyhow!("there is none"))?;
        let found = bucket.read(key::STATE).await?;
        let found = found.ok_or_else(|| anyhow!("it does not say what it is"))?;
        let state = State::parse(&found.value)?;
        self.fits(&state)?;
        if found.age >= config.fanout.patience.duration() {
            bail!("its publisher was heard {} s ago", found.age.as_secs());
        }
        if followed && !self.sources().iter().all(|it| state.is_followed(*it)) {
            bail!("its publisher does not reach the API server");
        }
        let age = found.age;
        let opening = Opening { bucket, state, age };
        Ok(opening)
    }

    /// Whether a bucket holds what this agent wants.
    pub(super) fn fits(&self, state: &State) -> Result<(), Unfit> {
        let config = Arc::clone(&self.config.borrow());
        let wanted: Vec<_> = self
            .sources()
            .into_iter()
            .map(|source| (source, watch::selector(source, &config, true)))
            .collect();
        state.fits(wanted.iter().map(|(source, it)| (*source, it.as_deref())))
    }

    /// Watches the API server. What was kept of the bucket would be older than what the model is told now.
    async fn fall_back(&mut self, watches: &mut JoinSet<Result<()>>) -> Result<()> {
        tracing::warn!("there is no whole bucket: watching the API server");
        self.figures.fallbacks.inc();
        self.figures.feed(Feed::Api);
        self.position = None;
        remove(&journals(&self.base));
        remove(&Watches::journals(&self.base));
        let (outbox, telemetry) = (self.outbox.clone(), Arc::clone(&self.telemetry));
        let ours = Watches::new(self.server.clone(), &self.base, outbox, telemetry).parted();
        for source in self.sources() {
            watches.spawn(ours.clone().run(source, self.config.clone(), self.jitter));
        }
        // It was for the start.
        self.jitter = Duration::ZERO;
        Ok(())
    }

    /// What is followed.
    pub(super) fn sources(&self) -> Vec<Source> {
        sources(self.config.borrow().holds_all_slices())
    }

    pub(super) async fn send(&self, message: Message) -> Result<()> {
        let sent = self.outbox.send(message).await;
        sent.context("the publisher is gone")
    }
}

/// Removes a directory; what cannot be removed is found to be of something else, or old.
fn remove(directory: &Path) {
    let _ = std::fs::remove_dir_all(directory);
}

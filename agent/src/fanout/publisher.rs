//! `nss-k8s publish`: while it leads, puts what the watches say into the bucket, and says of the bucket how
//! it is. A term ends when another one leads, or when the bucket is not what it was.

use super::{
    key::{self, Key},
    lease::{Candidate, Standing},
    ledger::{self, Ledger, Write},
    metrics::Published,
    nats::{self, Bucket, Written},
    record::{self, Flaw},
    state::{self, State},
};
use crate::{
    cli::PublishArgs,
    config::Config,
    jitter,
    model::Source,
    report::one_line,
    serve,
    telemetry::Telemetry,
    watch::{self, FORMAT, Record, Said, Server, Watches},
};
use anyhow::{Context, Result, anyhow, bail};
use async_nats::Client;
use core::hash::BuildHasher;
use futures::{StreamExt, stream::FuturesUnordered};
use std::{
    hash::RandomState,
    process,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch as latest},
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

/// Words of watches that wait; what comes beyond holds the watches up.
const QUEUE: usize = 1024;

/// Writes whose acknowledgments are not there yet.
const UNDER_WAY: usize = 256;

/// Between two attempts of what did not work.
const PAUSE: Duration = Duration::from_secs(1);

/// So long nothing of a bucket may come while it is read at the start of a term.
const SILENCE: Duration = Duration::from_secs(20);

/// How often old news of what is gone is looked for.
const TIDY_EVERY: Duration = Duration::from_secs(60);

/// Runs a publisher until a signal or a failure.
pub async fn publish(args: PublishArgs) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let config = Arc::new(args.config()?);
    let telemetry = Arc::new(Telemetry::new());
    let server = Watches::connect(args.kubeconfig.as_deref()).await?;
    let identity = args.identity();
    let client = nats::connect(&config.fanout, &format!("nss-k8s publish {identity}")).await?;
    let mut tasks = JoinSet::new();
    if let Some(address) = config.http.address {
        let listener = serve::bind(address).await?;
        tasks.spawn(serve::run(listener, Arc::clone(&telemetry)));
    }
    let (standing, stands) = latest::channel(Standing::default());
    let mut candidate = match &args.lease {
        Some(lease) => Some(Candidate::new(
            server.client.clone(),
            lease,
            identity.clone(),
            standing.clone(),
        )),
        None => {
            standing.send_replace(Standing::Leads(0));
            None
        }
    };
    let publisher = Publisher {
        client,
        server,
        config,
        identity,
        replicas: args.bucket_replicas.into(),
        figures: Published::register(&telemetry),
        telemetry,
        standing: stands,
    };
    let election = async {
        match &mut candidate {
            Some(candidate) => candidate.run().await,
            None => core::future::pending().await,
        }
    };
    let verdict = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        ended = tasks.join_next(), if !tasks.is_empty() => {
            Err(anyhow!("the HTTP server ended: {ended:?}"))
        }
        () = election => Ok(()),
        ended = publisher.run() => ended,
    };
    if let Some(candidate) = &mut candidate {
        candidate.release().await;
    }
    tracing::info!("stopping; the bucket stays");
    verdict
}

/// What a publisher needs in every term.
struct Publisher {
    client: Client,
    server: Server,
    config: Arc<Config>,
    identity: String,
    replicas: usize,
    telemetry: Arc<Telemetry>,
    figures: Published,
    standing: latest::Receiver<Standing>,
}

/// One term.
struct Term {
    bucket: Bucket,
    ledger: Ledger,
    state: State,
    /// Of the state record.
    revision: u64,
    /// Of all that was written in this term.
    latest: u64,
}

/// What became of a record that was sent.
enum Sent {
    /// It is there.
    Yes(Write, u64),
    /// This is there.
    Other(Key, Option<(u64, Option<Record>)>),
}

impl Publisher {
    /// Leads term after term; never returns without an error.
    async fn run(mut self) -> Result<()> {
        loop {
            let led = self
                .standing
                .wait_for(|it| matches!(it, Standing::Leads(_)));
            let led = led.await.map(|standing| *standing);
            let Standing::Leads(term) = led.context("nobody stands for the Lease")? else {
                continue;
            };
            match self.lead(term).await {
                Ok(()) => tracing::info!("another publisher leads"),
                Err(error) => {
                    let error = one_line(error.as_ref());
                    tracing::warn!(error, "cannot publish; beginning again");
                    self.figures.failures.inc();
                }
            }
            self.figures.leading.set(0);
            sleep(PAUSE / 2 + jitter::part_of(PAUSE)).await;
        }
    }

    /// Leads until somebody else does.
    async fn lead(&mut self, term: u64) -> Result<()> {
        let settings = &self.config.fanout;
        let bucket = Bucket::make(&self.client, &settings.bucket, self.replicas).await?;
        let all = self.config.holds_all_slices();
        let sources = key::sources(all);
        let wanted = sources.iter().map(|source| {
            let selector = watch::selector(*source, &self.config, true);
            (*source, selector)
        });
        let mut ledger = Ledger::new(wanted);
        load(&bucket, &mut ledger).await?;
        let found = bucket.read(key::STATE).await?;
        let before = found.as_ref().and_then(|it| State::parse(&it.value).ok());
        let before = before.filter(|state| state.format == FORMAT);
        let mut state = State {
            format: FORMAT,
            publisher: self.identity.clone(),
            term,
            beat_millis: u64::try_from(settings.beat.duration().as_millis()).unwrap_or(u64::MAX),
            ..State::default()
        };
        if let Some(before) = before {
            state.floor = before.floor;
            state.terms = before.terms;
            let others = u64::from(before.publisher != self.identity);
            state.term = term.max(before.term.saturating_add(others));
            for source in &sources {
                if let Some(kind) = before.kinds.get(key::kind(*source)) {
                    ledger.inherit(*source, kind);
                }
            }
        }
        // The last as of when the bucket was opened: nothing of this term was written before.
        let since = bucket.last().saturating_add(1);
        let word = format!("{:016x}", RandomState::new().hash_one(process::id()));
        state.begin_term(state::Term { word, since });
        let mut term = Term {
            bucket,
            ledger,
            state,
            revision: found.map_or(0, |found| found.revision),
            latest: 0,
        };
        term.state.kinds = term.ledger.kinds(Instant::now(), false);
        if !term.beat().await? {
            return Ok(());
        }
        let (keys, _) = term.ledger.size();
        tracing::info!(term = term.state.term, keys, "leading");
        self.figures.leading.set(1);
        let (records, words) = mpsc::channel(QUEUE);
        let mut watches = JoinSet::new();
        let relay = Watches::relay(self.server.clone(), records, Arc::clone(&self.telemetry));
        // Its sender is held: the configuration of a publisher does not change.
        let (_configure, config) = latest::channel(Arc::clone(&self.config));
        for source in sources {
            watches.spawn(relay.clone().run(source, config.clone(), Duration::ZERO));
        }
        tokio::select! {
            ended = self.follow(&mut term, words) => ended,
            ended = watches.join_next() => bail!("a watch ended: {ended:?}"),
        }
    }

    /// Puts what the watches say into the bucket until somebody else leads.
    async fn follow(
        &mut self,
        term: &mut Term,
        mut words: mpsc::Receiver<(Source, Said)>,
    ) -> Result<()> {
        let mut under_way = FuturesUnordered::new();
        let mut beat = interval(self.config.fanout.beat.duration());
        let mut tidy = interval(TIDY_EVERY);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tidy.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut due = false;
            tokio::select! {
                word = words.recv() => {
                    let Some((source, said)) = word else { bail!("no watch is left") };
                    let now = Instant::now();
                    term.ledger.hear(source, said, now);
                    for _ in 1..QUEUE {
                        let Ok((source, said)) = words.try_recv() else { break };
                        term.ledger.hear(source, said, now);
                    }
                }
                Some(sent) = under_way.next() => self.settle(term, sent),
                _ = beat.tick() => due = true,
                _ = tidy.tick() => {
                    if let Some(floor) = term.ledger.tidy(Instant::now()) {
                        term.state.floor = term.state.floor.max(floor);
                        // Nobody may go on from below before anything is taken out.
                        if !term.beat().await? {
                            return Ok(());
                        }
                        term.purge().await;
                    }
                }
                changed = self.standing.changed() => changed.context("nobody stands for the Lease")?,
            }
            let standing = *self.standing.borrow();
            let sure = matches!(standing, Standing::Leads(_));
            if standing == Standing::Follows {
                return Ok(());
            }
            while sure && under_way.len() < UNDER_WAY {
                let Some(write) = term.ledger.next() else {
                    break;
                };
                under_way.push(send(term.bucket.clone(), write));
            }
            let kinds = term.ledger.kinds(Instant::now(), sure);
            if due || kinds != term.state.kinds {
                term.state.kinds = kinds;
                if !term.beat().await? {
                    return Ok(());
                }
                self.tell(term);
            }
        }
    }

    fn settle(&self, term: &mut Term, sent: Sent) {
        let now = Instant::now();
        match sent {
            Sent::Yes(write, revision) => {
                self.figures.records.inc();
                term.latest = term.latest.max(revision);
                term.ledger.settle(write, revision, now);
            }
            Sent::Other(key, found) => {
                self.figures.conflicts.inc();
                let found = found
                    .as_ref()
                    .map(|(revision, record)| (*revision, record.as_ref()));
                term.ledger.reconsider(key, found, now);
            }
        }
    }

    fn tell(&self, term: &Term) {
        let (keys, outstanding) = term.ledger.size();
        self.figures.keys.set(keys.try_into().unwrap_or(i64::MAX));
        let outstanding = outstanding.try_into().unwrap_or(i64::MAX);
        self.figures.outstanding.set(outstanding);
        if !self.telemetry.is_ready() && term.ledger.is_complete() {
            tracing::info!(keys, "everything is listed and in the bucket");
            self.telemetry.set_ready();
        }
    }
}

impl Term {
    /// Writes the state record; `false`: another publisher leads.
    async fn beat(&mut self) -> Result<bool> {
        loop {
            let value = self.state.to_bytes();
            let before = self.latest.max(self.revision);
            match self.bucket.write(key::STATE, value, self.revision).await {
                // Sequence numbers only grow, unless it is another bucket, or one from a backup.
                Written::Yes(revision) if revision <= before => {
                    bail!("the bucket has another history")
                }
                Written::Yes(revision) => {
                    self.revision = revision;
                    return Ok(true);
                }
                Written::Conflict | Written::Unknown(_) => {}
            }
            let Some(found) = self.bucket.read(key::STATE).await? else {
                if self.revision == 0 {
                    bail!("cannot write the state record");
                }
                bail!("the state record is gone");
            };
            let is_ours = |state: &State| state.publisher == self.state.publisher;
            let theirs = State::parse(&found.value).ok().filter(|it| !is_ours(it));
            if theirs.is_some_and(|state| state.term > self.state.term) {
                return Ok(false);
            }
            if found.revision < self.revision {
                bail!("the bucket has another history");
            }
            if found.revision == self.revision {
                bail!("cannot write the state record");
            }
            self.revision = found.revision;
        }
    }

    /// Takes out what only says that something is gone. What is not taken out now is by the next term.
    async fn purge(&mut self) {
        for (key, revision) in self.ledger.purgeable(self.state.floor) {
            if let Err(error) = self.bucket.purge(&key.to_string(), revision).await {
                tracing::warn!("{error:#}");
                return;
            }
        }
    }
}

/// Sends a record, and finds out what became of it, however long that takes.
async fn send(bucket: Bucket, write: Write) -> Sent {
    let key = write.key.to_string();
    match bucket
        .write(&key, ledger::value(&write), write.revision)
        .await
    {
        Written::Yes(revision) => return Sent::Yes(write, revision),
        Written::Conflict => {}
        Written::Unknown(why) => {
            tracing::debug!(key, why, "a record may not be in the bucket");
            sleep(jitter::part_of(PAUSE)).await;
        }
    }
    loop {
        match bucket.read(&key).await {
            Ok(found) => {
                let found = found.map(|it| (it.revision, record::decode(&it.value).ok()));
                return Sent::Other(write.key, found);
            }
            Err(error) => tracing::debug!("{error:#}"),
        }
        sleep(PAUSE).await;
    }
}

/// Reads what is in the bucket.
async fn load(bucket: &Bucket, ledger: &mut Ledger) -> Result<()> {
    let filter = key::filter(&bucket.name, true);
    let prefix = key::subject(&bucket.name, "");
    let (mut messages, waiting) = bucket.follow(filter, None).await?;
    let mut flawed = 0_u64;
    let mut left = waiting;
    while left > 0 {
        let message = timeout(SILENCE, messages.next()).await;
        let message = message.context("the bucket does not come")?;
        let message = message.context("the bucket ended")??;
        let info = message.info().map_err(|error| anyhow!("{error}"))?;
        left = info.pending;
        let key = message.subject.strip_prefix(&prefix).and_then(Key::parse);
        // What others have put there is theirs.
        let Some(key) = key else { continue };
        let found = record::decode(&message.payload);
        if let Err(flaw) = &found {
            flawed += 1;
            if *flaw == Flaw::Corrupt {
                tracing::warn!(%key, "{flaw}");
            }
        }
        let found = found.ok();
        ledger.load(key, info.stream_sequence, found.as_ref(), Instant::now());
    }
    if flawed > 0 {
        tracing::warn!(flawed, "records that cannot be read are written again");
    }
    Ok(())
}

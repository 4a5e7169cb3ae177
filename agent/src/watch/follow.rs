//! Follows one source: asks what its course says, passes on what comes, and waits after failures.

use super::{
    Outlet, Said, Watches,
    course::{Ask, Course},
    decode::{self, Decoded, Line},
    failure::{Failure, Kind},
    journal::{Journal, Record, What},
    judge::judge,
    pause::{Pauses, is_in_time},
    transport::Wanted,
};
use crate::{
    jitter,
    model::{Event, Source},
    publish::Message,
};
use anyhow::{Context, Result};
use core::{pin::pin, time::Duration};
use futures::StreamExt;
use std::{sync::atomic::Ordering, time::Instant};
use tokio::time::{sleep, timeout};

/// A streamed list during which nothing comes for so long is given up in favor of pages: a server
/// that does not know the parameter never says that the list is complete.
const STREAMED_LIST_SILENCE: Duration = Duration::from_secs(30);

/// A watch on which not even a bookmark came for so long is opened again: its connection may be
/// dead. Servers send bookmarks once a minute.
const SILENCE: Duration = Duration::from_secs(90);

/// After a failure, a watch that was accepted and says nothing for so long is healthy: a server
/// that cannot go on from a version says so at once.
const QUIET_IS_HEALTHY: Duration = Duration::from_secs(1);

/// A watch that goes on from what was kept has caught up after so long: a server sends what it
/// missed at once.
const CAUGHT_UP: Duration = Duration::from_secs(1);

/// How long the start of a watch that goes on is delayed at most: it costs the server little.
const RESUME_JITTER: Duration = Duration::from_secs(1);

/// Watches last between this and a minute more: not all end together.
const SHORTEST_WATCH: Duration = Duration::from_secs(240);

/// One source.
pub(super) struct Follower {
    watches: Watches,
    source: Source,
    wanted: Wanted,
    kind: decode::Kind,
    journal: Journal,
    course: Course,
    /// It failed, and has not worked since.
    broken: bool,
    /// The model knows what was kept, and not yet that this is all.
    resuming: bool,
}

/// How a request ended.
type Outcome = Result<(), Failure>;

impl Follower {
    pub(super) fn new(
        watches: &Watches,
        source: Source,
        wanted: Wanted,
        kind: decode::Kind,
        journal: Journal,
    ) -> Self {
        Self {
            watches: watches.clone(),
            source,
            wanted,
            kind,
            journal,
            course: Course::default(),
            broken: false,
            resuming: false,
        }
    }

    /// Follows the source for ever, after a part of `jitter`; returns only when the publisher is gone.
    pub(super) async fn run(mut self, jitter: Duration) -> Result<()> {
        self.restore().await?;
        let jitter = match self.resuming {
            true => jitter.min(RESUME_JITTER),
            false => jitter,
        };
        sleep(jitter::part_of(jitter)).await;
        let mut pauses = Pauses::default();
        let mut restored = self.watches.restored.subscribe();
        loop {
            let began = Instant::now();
            let due = SHORTEST_WATCH + jitter::part_of(Duration::from_secs(60));
            let streams = self.watches.streams.load(Ordering::Relaxed);
            let outcome = tokio::select! {
                biased;
                // Our versions may be so low that we would not find out. What is cut off comes with the list.
                _ = restored.changed() => {
                    self.course.start_over();
                    self.watches.relay_on(self.source, Said::Restored).await?;
                    continue;
                }
                outcome = self.ask(streams, due) => outcome?,
            };
            let Err(failure) = outcome else { continue };
            if failure.kind == Kind::Restored {
                self.watches.restored.send_modify(|times| *times += 1);
                restored.mark_unchanged();
                self.watches.relay_on(self.source, Said::Restored).await?;
            }
            let lived = began.elapsed();
            self.course.failed(failure.kind, is_in_time(lived, due));
            self.tell(&failure).await?;
            let pause = pauses.after(&failure, lived, due);
            sleep(pause.least).await;
            let spread = sleep(jitter::part_of(pause.spread));
            match pause.can_be_cut {
                true => tokio::select! {
                    () = spread => {}
                    () = self.watches.reached.notified() => {}
                },
                false => spread.await,
            }
        }
    }

    /// Does what the course says next.
    async fn ask(&mut self, streams: bool, due: Duration) -> Result<Outcome> {
        match self.course.next(streams) {
            Ask::Page { token } => self.page(token).await,
            Ask::StreamedList { since } => self.watch(&since, true, due).await,
            Ask::Newest => Ok(self.newest().await),
            Ask::Watch { version } => self.watch(&version, false, due).await,
        }
    }

    /// Tells the model what an earlier agent knew. That it is all is told once the server lets us go on
    /// from there: until then what that agent published is as good.
    async fn restore(&mut self) -> Result<()> {
        if matches!(self.watches.outlet, Outlet::Records(_)) {
            return Ok(());
        }
        let Some(mut kept) = self.journal.restore() else {
            return Ok(());
        };
        self.send(Event::Init, None).await?;
        // What cannot be read now could be a moment ago; the list that follows puts all right.
        while let Ok(Some(record)) = kept.next() {
            if record.what == What::Moved {
                continue;
            }
            let Some(parsed) = (self.kind.restore)(record.what, &record.object) else {
                tracing::warn!(
                    source = self.source.as_str(),
                    "what was kept makes no sense"
                );
                return Ok(());
            };
            let event = match record.what {
                What::Delete => parsed.key().map(Event::Delete),
                _ => judge(&self.watches.telemetry, self.source, parsed),
            };
            if let Some(event) = event {
                self.send(event, None).await?;
            }
        }
        self.resuming = self.course.resumed(&kept.version).is_ok();
        Ok(())
    }

    /// A list begins.
    async fn begin(&mut self) -> Result<()> {
        self.resuming = false;
        match self.watches.outlet {
            Outlet::Model(_) => self.journal.begin(),
            Outlet::Records(_) => self.watches.relay_on(self.source, Said::Begin).await?,
        }
        self.send(Event::Init, None).await
    }

    /// What was kept, and what came since, is all.
    async fn resumed(&mut self) -> Result<()> {
        self.resuming = false;
        let source = self.source.as_str();
        self.watches.telemetry.listed(source, "resumed");
        tracing::info!(source, "went on from what was kept");
        self.send(Event::Done { certain: true }, None).await
    }

    /// Asks for a page.
    async fn page(&mut self, token: Option<String>) -> Result<Outcome> {
        if token.is_none() {
            self.begin().await?;
        }
        let text = match self.wanted.page(&self.watches.client, token).await {
            Ok(text) => text,
            Err(failure) => return Ok(Err(failure)),
        };
        self.reached();
        let page = match decode::page(&text) {
            Ok(page) => page,
            Err(failure) => return Ok(Err(failure)),
        };
        for object in page.items.into_iter().flatten() {
            self.list((self.kind.decode)(object)).await?;
        }
        let version = &page.metadata.resource_version;
        match self.course.page(version, page.metadata.token) {
            Ok(true) => self.listed("paged", version).await.map(Ok),
            Ok(false) => Ok(Ok(())),
            Err(failure) => Ok(Err(failure)),
        }
    }

    /// Asks whether the server still has the history that we followed.
    async fn newest(&mut self) -> Outcome {
        let text = self.wanted.newest(&self.watches.client).await?;
        self.reached();
        let page = decode::page(&text)?;
        self.course.newest(&page.metadata.resource_version)
    }

    /// Opens a watch and passes on what comes until it ends; that is a failure too.
    async fn watch(&mut self, version: &str, streamed: bool, due: Duration) -> Result<Outcome> {
        let client = &self.watches.client;
        let lines = match self.wanted.watch(client, version, streamed, due).await {
            Ok(lines) => lines,
            Err(failure) => return Ok(Err(failure)),
        };
        self.reached();
        let mut lines = pin!(lines);
        let mut listing = streamed;
        if streamed {
            self.begin().await?;
        }
        let opened = Instant::now();
        loop {
            if self.resuming && opened.elapsed() >= CAUGHT_UP {
                self.resumed().await?;
            }
            let patience = match listing {
                true => STREAMED_LIST_SILENCE,
                false if self.resuming => CAUGHT_UP.saturating_sub(opened.elapsed()),
                false if self.broken => QUIET_IS_HEALTHY,
                false => SILENCE,
            };
            let line = match timeout(patience, lines.next()).await {
                Ok(Some(Ok(line))) => line,
                Ok(Some(Err(failure))) => return Ok(Err(failure)),
                Ok(None) => return Ok(Err(Failure::new(Kind::Ended, "the server ended it"))),
                Err(_elapsed) if listing => {
                    let why = "the streamed list does not go on";
                    return Ok(Err(Failure::new(Kind::NoStreamedLists, why)));
                }
                Err(_elapsed) if self.resuming => continue,
                Err(_elapsed) if self.broken => {
                    self.broken = false;
                    self.watches.send(Message::Healthy(self.source)).await?;
                    continue;
                }
                Err(_elapsed) => return Ok(Err(Failure::new(Kind::Silent, "nothing came"))),
            };
            let received = Instant::now();
            let moved = match decode::line(&line) {
                Ok(Line::Apply(object)) if listing => {
                    self.list((self.kind.decode)(object)).await?;
                    Ok(())
                }
                Ok(Line::Apply(object)) => {
                    let decoded = (self.kind.decode)(object);
                    let moved = self.course.moved(&decoded.version);
                    self.apply(decoded, received).await?;
                    moved
                }
                Ok(Line::Delete(object)) => {
                    let decoded = (self.kind.decode)(object);
                    let moved = self.course.moved(&decoded.version);
                    self.delete(decoded, received).await?;
                    moved
                }
                Ok(Line::Bookmark { version, ends_list }) if listing => match ends_list {
                    true => {
                        listing = false;
                        self.listed("streaming", &version).await?;
                        self.course.listed(&version)
                    }
                    false => Ok(()),
                },
                Ok(Line::Bookmark { version, .. }) => {
                    let moved = self.course.moved(&version);
                    self.keep(What::Moved, version, Vec::new()).await?;
                    if self.resuming {
                        self.resumed().await?;
                    }
                    moved
                }
                Ok(Line::Error(status)) => Err(Failure::said(&status, listing)),
                Err(failure) => Err(failure),
            };
            if let Err(failure) = moved {
                return Ok(Err(failure));
            }
        }
    }

    /// Says what failed, and what the publisher and the other watches have to know.
    async fn tell(&mut self, failure: &Failure) -> Result<()> {
        let source = self.source.as_str();
        let (reason, error) = (failure.reason(), failure.message.as_str());
        match failure.kind {
            Kind::Ended | Kind::Silent => {
                tracing::debug!(source, reason, error, "watch ended");
                return Ok(());
            }
            Kind::NoStreamedLists => {
                self.watches.streams.store(false, Ordering::Relaxed);
                self.watches.telemetry.watch_error(source, reason);
                let why = error;
                tracing::info!(source, why, "the server does not stream lists: paging");
                return Ok(());
            }
            _ => {}
        }
        self.broken = true;
        self.watches.telemetry.watch_error(source, reason);
        tracing::warn!(source, reason, error, "watch failed");
        self.watches.send(Message::Broken(self.source)).await
    }

    /// The server answered: watches that wait for one need wait no longer.
    fn reached(&self) {
        if self.broken {
            self.watches.reached.notify_waiters();
        }
    }

    /// Passes on an object of a list.
    async fn list(&mut self, decoded: Decoded) -> Result<()> {
        self.watches.telemetry.event(self.source.as_str(), "list");
        let (what, kept) = decoded.kept;
        self.keep(what, String::new(), kept).await?;
        match judge(&self.watches.telemetry, self.source, decoded.parsed) {
            Some(event) => self.send(event, None).await,
            None => Ok(()),
        }
    }

    /// Passes on an object that exists.
    async fn apply(&mut self, decoded: Decoded, received: Instant) -> Result<()> {
        self.watches.telemetry.event(self.source.as_str(), "apply");
        let (what, kept) = decoded.kept;
        self.keep(what, decoded.version, kept).await?;
        match judge(&self.watches.telemetry, self.source, decoded.parsed) {
            Some(event) => self.send(event, Some(received)).await,
            None => Ok(()),
        }
    }

    /// Passes on that an object is gone.
    async fn delete(&mut self, decoded: Decoded, received: Instant) -> Result<()> {
        self.watches.telemetry.event(self.source.as_str(), "delete");
        self.keep(What::Delete, decoded.version, decoded.who)
            .await?;
        match decoded.parsed.key() {
            Some(key) => self.send(Event::Delete(key), Some(received)).await,
            None => Ok(()),
        }
    }

    /// The list is complete.
    async fn listed(&mut self, way: &'static str, version: &str) -> Result<()> {
        let source = self.source.as_str();
        match self.watches.outlet {
            Outlet::Model(_) => self.journal.complete(version),
            Outlet::Records(_) => {
                let said = Said::Complete(version.to_owned());
                self.watches.relay_on(self.source, said).await?;
            }
        }
        self.watches.telemetry.listed(source, way);
        tracing::info!(source, way, "listed");
        self.send(Event::Done { certain: true }, None).await
    }

    /// Keeps something for the agent after this one, before the model hears of it; or sends it on.
    async fn keep(&mut self, what: What, version: String, object: Vec<u8>) -> Result<()> {
        let record = Record {
            what,
            version,
            object,
        };
        match self.watches.outlet {
            Outlet::Model(_) => {
                self.journal.record(&record);
                Ok(())
            }
            Outlet::Records(_) => {
                let said = Said::Record(record);
                self.watches.relay_on(self.source, said).await
            }
        }
    }

    /// Tells the model; whatever comes from the server shows that the watch works. What is no part
    /// of a list was `received` at some time.
    async fn send(&mut self, event: Event, received: Option<Instant>) -> Result<()> {
        if !self.resuming && event != Event::Init {
            self.broken = false;
        }
        let message = Message::Event(self.source, event, received);
        self.watches.send(message).await
    }
}

impl Watches {
    async fn send(&self, message: Message) -> Result<()> {
        match (&self.outlet, message) {
            (Outlet::Model(outbox), message) => {
                let sent = outbox.send(message).await;
                sent.context("the publisher is gone")
            }
            // It has gone on as a record.
            (Outlet::Records(_), Message::Event(..)) => Ok(()),
            (Outlet::Records(_), Message::Broken(of)) => self.relay_on(of, Said::Broken).await,
            (Outlet::Records(_), Message::Healthy(of)) => self.relay_on(of, Said::Healthy).await,
        }
    }

    /// Sends on what a watch says, where that is wanted.
    async fn relay_on(&self, source: Source, said: Said) -> Result<()> {
        match &self.outlet {
            Outlet::Model(_) => Ok(()),
            Outlet::Records(records) => {
                let sent = records.send((source, said)).await;
                sent.context("nobody sends records on")
            }
        }
    }
}

//! Follows one source: asks what its course says, passes on what comes, and waits after failures.

use super::{
    Watches,
    course::{Ask, Course},
    decode::{self, Decoded, Line},
    failure::{Failure, Kind},
    pause::Pauses,
    transport::Wanted,
};
use crate::{
    jitter,
    model::{Event, Source},
    parse::{Parsed, Verdict},
    publish::Message,
};
use anyhow::{Context, Result};
use core::{pin::pin, time::Duration};
use futures::StreamExt;
use serde_json::value::RawValue;
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

/// Watches last between this and a minute more: not all end together.
const SHORTEST_WATCH: Duration = Duration::from_secs(240);

/// One source.
pub(super) struct Follower {
    pub(super) watches: Watches,
    pub(super) source: Source,
    pub(super) wanted: Wanted,
    /// What decodes the source's objects.
    pub(super) decode: fn(&RawValue) -> Decoded,
    course: Course,
    /// It failed, and has not worked since.
    broken: bool,
}

/// How a request ended.
type Outcome = Result<(), Failure>;

impl Follower {
    pub(super) fn new(
        watches: &Watches,
        source: Source,
        wanted: Wanted,
        decode: fn(&RawValue) -> Decoded,
    ) -> Self {
        Self {
            watches: watches.clone(),
            source,
            wanted,
            decode,
            course: Course::default(),
            broken: false,
        }
    }

    /// Follows the source for ever; returns only when the publisher is gone.
    pub(super) async fn run(mut self) -> Result<()> {
        let mut pauses = Pauses::default();
        loop {
            let began = Instant::now();
            let due = SHORTEST_WATCH + jitter::part_of(Duration::from_secs(60));
            let streams = self.watches.streams.load(Ordering::Relaxed);
            let outcome = match self.course.next(streams) {
                Ask::Page { token } => self.page(token).await?,
                Ask::StreamedList { since } => self.watch(&since, true, due).await?,
                Ask::Watch { version } => self.watch(&version, false, due).await?,
            };
            let Err(failure) = outcome else { continue };
            self.course.failed(failure.kind);
            let lived = began.elapsed();
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

    /// Asks for a page.
    async fn page(&mut self, token: Option<String>) -> Result<Outcome> {
        if token.is_none() {
            self.send(Event::Init).await?;
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
            let decoded = (self.decode)(object);
            self.list(decoded).await?;
        }
        let version = &page.metadata.resource_version;
        match self.course.page(version, page.metadata.token) {
            Ok(true) => self.listed("paged").await.map(Ok),
            Ok(false) => Ok(Ok(())),
            Err(failure) => Ok(Err(failure)),
        }
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
            self.send(Event::Init).await?;
        }
        loop {
            let patience = match listing {
                true => STREAMED_LIST_SILENCE,
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
                Err(_elapsed) if self.broken => {
                    self.broken = false;
                    self.watches.send(Message::Healthy(self.source)).await?;
                    continue;
                }
                Err(_elapsed) => return Ok(Err(Failure::new(Kind::Silent, "nothing came"))),
            };
            let moved = match decode::line(&line) {
                Ok(Line::Apply(object)) => {
                    let decoded = (self.decode)(object);
                    let moved = self.course.moved(&decoded.version);
                    match listing {
                        true => self.list(decoded).await?,
                        false => self.apply("apply", decoded).await?,
                    }
                    moved
                }
                Ok(Line::Delete(object)) => {
                    let decoded = (self.decode)(object);
                    self.watches.telemetry.event(self.source.as_str(), "delete");
                    if let Some(key) = decoded.parsed.key() {
                        self.send(Event::Delete(key)).await?;
                    }
                    self.course.moved(&decoded.version)
                }
                Ok(Line::Bookmark { version, ends_list }) if listing && ends_list => {
                    listing = false;
                    self.listed("streaming").await?;
                    self.course.listed(&version)
                }
                Ok(Line::Bookmark { version, .. }) => self.course.moved(&version),
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
        self.apply("list", decoded).await
    }

    /// Passes on an object that exists.
    async fn apply(&mut self, way: &'static str, decoded: Decoded) -> Result<()> {
        self.watches.telemetry.event(self.source.as_str(), way);
        match self.judge(decoded.parsed) {
            Some(event) => self.send(event).await,
            None => Ok(()),
        }
    }

    /// The list is complete.
    async fn listed(&mut self, way: &'static str) -> Result<()> {
        let source = self.source.as_str();
        self.watches.telemetry.listed(source, way);
        tracing::info!(source, way, "listed");
        self.send(Event::Done { certain: true }).await
    }

    /// The event of an object that exists; counts and logs what is not served.
    fn judge(&self, parsed: Parsed) -> Option<Event> {
        let telemetry = &self.watches.telemetry;
        let kind = match self.source {
            Source::Namespaces => "Namespace",
            Source::Services => "Service",
            Source::Slices | Source::OtherSlices => "EndpointSlice",
        };
        for complaint in &parsed.complaints {
            telemetry.skipped(kind, "part");
            let object = parsed.key().map_or_else(String::new, |key| key.to_string());
            tracing::warn!(object, "left out: {complaint}");
        }
        match parsed.verdict {
            Verdict::Sound(object) => Some(Event::Apply(object)),
            Verdict::NotServed(key, why) => {
                telemetry.skipped(kind, "not-served");
                tracing::info!(object = %key, "not served: {why}");
                Some(Event::Delete(key))
            }
            Verdict::Malformed(Some(key), why) => {
                telemetry.skipped(kind, "malformed");
                tracing::warn!(object = %key, "skipped: {why}");
                Some(Event::Unreadable(key))
            }
            Verdict::Malformed(None, why) => {
                telemetry.skipped(kind, "malformed");
                tracing::warn!("skipped: {why}");
                None
            }
        }
    }

    /// Tells the model; whatever comes shows that the watch works.
    async fn send(&mut self, event: Event) -> Result<()> {
        if event != Event::Init {
            self.broken = false;
        }
        let message = Message::Event(self.source, event);
        self.watches.send(message).await
    }
}

impl Watches {
    async fn send(&self, message: Message) -> Result<()> {
        let sent = self.outbox.send(message).await;
        sent.context("the publisher is gone")
    }
}

//! Reads the bucket into the model, in the order of the stream: what is there or was missed, then what comes.

use super::{
    choice::{Health, Pulse},
    follower::{Follower, Opening, journals},
    key::{self, Key},
    record,
    state::{Place, State},
};
use crate::{
    jitter,
    model::{Event, Source},
    publish::{Message, unix_now},
    watch::{self, Journal, Record, What},
};
use anyhow::{Error, Result};
use async_nats::jetstream;
use futures::StreamExt;
use std::{collections::BTreeSet, sync::Arc, time::Instant};
use tokio::time::timeout_at;

/// Why a bucket is read again whose sequence numbers stand for something else now.
const RESTORED: &str = "it was restored from a backup";

/// What the model knows already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Nothing, or what another feed told it: all of the bucket is read.
    Replay,
    /// Perhaps what an earlier agent kept.
    Restore,
    /// Everything up to this place.
    GoOn { after: Place },
}

/// Why the bucket is no longer read.
pub(super) enum Ended {
    /// The zone's publisher is gone.
    Gone(Error),
    /// It cannot be followed at present.
    Lost(String),
    /// The same, and that was waited for.
    Silent(&'static str),
    /// It can, and from its beginning.
    Again(&'static str),
}

/// A bucket that is read.
pub(super) struct Reader<'a> {
    of: &'a Follower,
    opening: Opening,
    sources: Vec<Source>,
    journals: Vec<(Source, Journal)>,
    prefix: String,
    /// The model is told a list, and not yet that it is whole.
    listing: bool,
    /// Everything up to this sequence number has been told.
    position: u64,
    /// Where the last state record was, or where we began.
    mark: u64,
    /// Sources of which the model has been told that they cannot be followed.
    broken: BTreeSet<Source>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(of: &'a Follower, opening: Opening) -> Self {
        let sources = of.sources();
        let identity = opening.bucket.identity();
        let directory = journals(&of.base);
        let journals = sources.iter().map(|source| {
            let kind = key::kind(*source);
            let selector = opening.state.kinds.get(kind).map(|it| it.selector.clone());
            let identity = format!("{identity} {kind} {selector:?}");
            let journal = Journal::new(directory.join(kind), identity);
            (*source, journal)
        });
        Self {
            of,
            journals: journals.collect(),
            prefix: key::subject(&opening.bucket.name, ""),
            opening,
            sources,
            listing: true,
            position: 0,
            mark: 0,
            broken: BTreeSet::new(),
        }
    }

    /// Reads until that makes no sense any more; why, and up to where the model knows everything.
    pub(super) async fn read(mut self, start: Start) -> (Ended, Option<(String, Place)>) {
        let ended = match self.try_read(start).await {
            Ok(ended) => ended,
            Err(error) => Ended::Gone(error),
        };
        let knows = !self.listing && !matches!(ended, Ended::Again(_));
        let position = knows.then(|| (self.opening.bucket.identity(), self.place()));
        (ended, position)
    }

    async fn try_read(&mut self, start: Start) -> Result<Ended> {
        let after = match start {
            Start::Replay => None,
            Start::Restore => self.restore().await?,
            Start::GoOn { after } => {
                self.listing = false;
                // They are written to from now on; what they hold has been told.
                for (_, journal) in &mut self.journals {
                    let _told = journal.restore();
                }
                if !self.opening.state.holds(&after) {
                    self.listing = true;
                    return Ok(Ended::Again(RESTORED));
                }
                Some(after.sequence)
            }
        };
        let last = self.opening.bucket.last();
        if let Some(after) = after
            && (after.saturating_add(1) < self.opening.state.floor || after > last)
        {
            self.listing = true;
            return Ok(Ended::Again("it does not go back so far"));
        }
        let (way, listed) = match after {
            None => ("replay", "replayed"),
            Some(_) => ("resume", "resumed"),
        };
        // A journal that was restored goes on; so does one of which this process has told everything.
        if after.is_none() {
            for (source, journal) in &mut self.journals {
                journal.begin();
                let message = Message::Event(*source, Event::Init, None);
                self.of.send(message).await?;
            }
        }
        self.of.figures.start(way);
        (self.position, self.mark) = (after.unwrap_or(0), after.unwrap_or(0));
        let all = self.of.config.borrow().holds_all_slices();
        let filter = key::filter(&self.opening.bucket.name, all);
        let follow = self.opening.bucket.follow(filter, after).await;
        let (mut messages, waiting) = match follow {
            Ok(follow) => follow,
            Err(error) => return Ok(Ended::Lost(format!("{error:#}"))),
        };
        let settings = self.of.config.borrow().fanout.clone();
        let (patience, spread) = (settings.patience.duration(), settings.spread.duration());
        let age = self.opening.age;
        let now = Instant::now();
        let beat = self.opening.state.beat();
        let mut pulse = Pulse::new(beat, patience, jitter::part_of(spread * 5), age, now);
        let mut config = self.of.config.clone();
        let selected = config.borrow_and_update().kubernetes.labels.clone();
        let mut whole = waiting == 0;
        tracing::info!(way, waiting, "following the bucket");
        loop {
            if whole && self.listing {
                self.listed(listed).await?;
            }
            let now = Instant::now();
            match pulse.health(now) {
                Health::Good => {}
                Health::Silent => self.follows(|_| false).await?,
                Health::Lost(why) => return Ok(Ended::Silent(why)),
            }
            let message = tokio::select! {
                message = timeout_at(pulse.next(now).into(), messages.next()) => message,
                changed = config.changed() => {
                    if changed.is_err() || config.borrow().kubernetes.labels != selected {
                        return Ok(Ended::Again("other labels are configured"));
                    }
                    continue;
                }
            };
            let message = match message {
                Err(_elapsed) => continue,
                Ok(Some(Ok(message))) => message,
                // The consumer makes itself anew.
                Ok(Some(Err(error))) => {
                    tracing::debug!("the bucket: {error}");
                    continue;
                }
                Ok(None) => return Ok(Ended::Lost("the connection was closed".to_owned())),
            };
            let Ok(info) = message.info() else { continue };
            let (sequence, pending) = (info.stream_sequence, info.pending);
            if message.subject.strip_prefix(&self.prefix) == Some(key::STATE) {
                let state = match State::parse(&message.payload) {
                    Ok(state) => state,
                    Err(why) => return Ok(Ended::Lost(why.to_string())),
                };
                if let Err(why) = self.of.fits(&state) {
                    return Ok(Ended::Lost(why.to_string()));
                }
                // News that something is gone may have been taken out before it came to us.
                if self.mark > 0 && self.mark.saturating_add(1) < state.floor {
                    self.listing = true;
                    return Ok(Ended::Again("it does not go back so far"));
                }
                // While all of it is read, what is told is of the history that is there.
                if !self.listing && !state.holds(&self.place()) {
                    self.listing = true;
                    return Ok(Ended::Again(RESTORED));
                }
                let beat = state.beat();
                let is_followed = self.sources.iter().all(|it| state.is_followed(*it));
                pulse.beat(beat, is_followed, Instant::now());
                self.state(state, sequence).await?;
            } else {
                self.record(&message, sequence).await?;
            }
            // A consumer that is made anew may begin before us: what it brings is as it is now.
            self.position = self.position.max(sequence);
            whole |= pending == 0;
        }
    }

    /// Tells the model what an earlier agent kept; up to where that goes.
    async fn restore(&mut self) -> Result<Option<u64>> {
        let mut all = Vec::new();
        for (_, journal) in &mut self.journals {
            let Some(kept) = journal.restore() else {
                return Ok(None);
            };
            let Some(place) = Place::parse(&kept.version) else {
                return Ok(None);
            };
            if !self.opening.state.holds(&place) {
                tracing::info!("what was kept of the bucket is of another history");
                return Ok(None);
            }
            all.push((place.sequence, kept));
        }
        // A kind's journal goes to the last record or beat that came: the first that is missing in any.
        let Some(after) = all.iter().map(|(sequence, _)| *sequence).min() else {
            return Ok(None);
        };
        let telemetry = Arc::clone(&self.of.telemetry);
        for (source, (_, mut kept)) in self.sources.iter().copied().zip(all) {
            self.of
                .send(Message::Event(source, Event::Init, None))
                .await?;
            loop {
                let record = match kept.next() {
                    Ok(Some(record)) => record,
                    Ok(None) => break,
                    // It could be read a moment ago.
                    Err(_) => return Ok(None),
                };
                if record.what == What::Moved {
                    continue;
                }
                let Some(parsed) = watch::restore(source, record.what, &record.object) else {
                    return Ok(None);
                };
                let event = match record.what {
                    What::Delete => parsed.key().map(Event::Delete),
                    _ => watch::judge(&telemetry, source, parsed),
                };
                if let Some(event) = event {
                    self.of.send(Message::Event(source, event, None)).await?;
                }
            }
        }
        Ok(Some(after))
    }

    /// Takes in a record.
    async fn record(&mut self, message: &jetstream::Message, sequence: u64) -> Result<()> {
        let received = Instant::now();
        let key = message.subject.strip_prefix(&self.prefix);
        // What others have put there is theirs.
        let Some(key) = key.and_then(Key::parse) else {
            return Ok(());
        };
        if !self.sources.contains(&key.source) {
            return Ok(());
        }
        let (telemetry, figures) = (&self.of.telemetry, &self.of.figures);
        figures.records.inc();
        let source = key.source;
        let found = record::decode(&message.payload).map_err(|flaw| flaw.to_string());
        let found = found.and_then(|record| {
            let parsed = watch::restore(source, record.what, &record.object);
            let parsed = parsed.filter(|it| it.key().as_ref() == Some(&key.object));
            parsed
                .map(|parsed| (record, parsed))
                .ok_or_else(|| "a record of something else".to_owned())
        });
        let (record, event) = match found {
            Ok((record, parsed)) => {
                let event = match record.what {
                    What::Delete => Some(Event::Delete(key.object)),
                    _ => watch::judge(telemetry, source, parsed),
                };
                (record, event)
            }
            Err(why) => {
                figures.corrupt.inc();
                tracing::warn!(%key, sequence, "left as it was: {why}");
                let record = Record {
                    what: What::Unreadable,
                    version: String::new(),
                    object: record::who(&key.object, None),
                };
                (record, Some(Event::Unreadable(key.object)))
            }
        };
        let word = match (self.listing, record.what) {
            (true, _) => "list",
            (false, What::Delete) => "delete",
            (false, _) => "apply",
        };
        telemetry.event(source.as_str(), word);
        self.keep(source, record, sequence);
        match event {
            Some(event) => {
                let received = (!self.listing).then_some(received);
                self.of.send(Message::Event(source, event, received)).await
            }
            None => Ok(()),
        }
    }

    /// Takes in a state record that fits.
    async fn state(&mut self, state: State, sequence: u64) -> Result<()> {
        self.mark = sequence;
        self.opening.state = state;
        self.of
            .figures
            .beat
            .set(i64::try_from(unix_now().0).unwrap_or(i64::MAX));
        if !self.listing {
            for source in self.sources.clone() {
                let moved = Record {
                    what: What::Moved,
                    version: String::new(),
                    object: Vec::new(),
                };
                self.keep(source, moved, sequence);
            }
            let state = self.opening.state.clone();
            self.follows(|source| state.is_followed(source)).await?;
        }
        Ok(())
    }

    /// All of it has been told.
    async fn listed(&mut self, way: &'static str) -> Result<()> {
        self.listing = false;
        let version = self.place().to_string();
        for (source, journal) in &mut self.journals {
            if way == "replayed" {
                journal.complete(&version);
            }
            self.of.telemetry.listed(source.as_str(), way);
            let done = Event::Done { certain: true };
            self.of.send(Message::Event(*source, done, None)).await?;
        }
        tracing::info!(way, sequence = self.position, "the bucket is read");
        // What was told makes a source healthy in the publisher's eyes.
        self.broken.clear();
        let state = self.opening.state.clone();
        self.follows(|source| state.is_followed(source)).await
    }

    /// Tells the publisher of the zone which sources can be followed.
    async fn follows(&mut self, is_followed: impl Fn(Source) -> bool) -> Result<()> {
        for source in self.sources.clone() {
            let message = match is_followed(source) {
                true if self.broken.remove(&source) => Message::Healthy(source),
                false if self.broken.insert(source) => Message::Broken(source),
                _ => continue,
            };
            self.of.send(message).await?;
        }
        Ok(())
    }

    /// Up to where everything has been told.
    fn place(&self) -> Place {
        Place {
            sequence: self.position,
            term: self.opening.state.term_word().to_owned(),
        }
    }

    /// Keeps a record for the agent after this one, before the model hears of it.
    fn keep(&mut self, source: Source, mut record: Record, sequence: u64) {
        if self.listing && record.what == What::Delete {
            return;
        }
        record.version = match self.listing {
            true => String::new(),
            false => {
                let mut place = self.place();
                place.sequence = sequence.max(self.position);
                place.to_string()
            }
        };
        let journal = self.journals.iter_mut().find(|(of, _)| *of == source);
        if let Some((_, journal)) = journal {
            journal.record(&record);
        }
    }
}

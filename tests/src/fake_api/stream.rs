//! Watches, and lists that come as a stream.

use super::{
    selector::Selector,
    server::Shared,
    store::{Event, Stamps},
};
use crate::scale::{Cluster, Form, Kind, Stamp};
use axum::body::Bytes;
use core::time::Duration;
use std::{collections::BTreeSet, io::Write, sync::Arc};
use tokio::{sync::watch, time::Instant};

/// Texts go out in pieces of about this size.
const PIECE: usize = 64 * 1024;
/// Events that are taken at once.
const BATCH: usize = 64;

/// What is wanted of which objects.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) kind: Kind,
    pub(super) form: Form,
    pub(super) selector: Selector,
}

impl Wanted {
    /// Whether an object is to be told of.
    pub(super) fn includes(&self, cluster: &Cluster, index: usize) -> bool {
        self.selector.is_empty() || self.selector.matches(&cluster.labels(self.kind, index))
    }

    /// Appends an object's text.
    pub(super) fn write(
        &self,
        cluster: &Cluster,
        malformed: &BTreeSet<(Kind, usize)>,
        index: usize,
        stamp: Stamp,
        text: &mut Vec<u8>,
    ) {
        if !malformed.contains(&(self.kind, index)) {
            cluster.write(self.kind, index, stamp, self.form, text);
            return;
        }
        cluster.write(self.kind, index, stamp, Form::Metadata, text);
        text.pop();
        text.extend(br#","spec":7,"endpoints":7}"#);
    }
}

/// A watch, perhaps with a list before it.
pub(super) struct Stream {
    pub(super) shared: Arc<Shared>,
    pub(super) wanted: Wanted,
    /// The list, its version and what comes next.
    pub(super) list: Option<(Stamps, u64, usize)>,
    /// The list's end is said.
    pub(super) says_end: bool,
    /// The state that was told of.
    pub(super) version: u64,
    pub(super) news: watch::Receiver<u64>,
    pub(super) ends: Instant,
    pub(super) bookmarks: Option<Duration>,
    /// The stream is over.
    pub(super) over: bool,
}

impl Stream {
    /// The next piece; `None` at the end.
    pub(super) async fn next(mut self) -> Option<(Bytes, Self)> {
        if self.over {
            return None;
        }
        let mut text = Vec::new();
        self.list(&mut text);
        while text.is_empty() {
            self.changes(&mut text);
            if !text.is_empty() {
                break;
            }
            let bookmark = self.bookmarks.map(|every| Instant::now() + every);
            let until = bookmark.map_or(self.ends, |bookmark| bookmark.min(self.ends));
            match tokio::time::timeout_at(until, self.news.changed()).await {
                Ok(Ok(())) => {}
                // The server ends.
                Ok(Err(_)) => return None,
                Err(_) if Instant::now() >= self.ends => return None,
                Err(_) => bookmark_text(
                    self.wanted.kind,
                    self.wanted.form,
                    self.version,
                    false,
                    &mut text,
                ),
            }
        }
        Some((text.into(), self))
    }

    /// Appends what comes next of the list.
    fn list(&mut self, text: &mut Vec<u8>) {
        let Some((stamps, version, mut next)) = self.list.take() else {
            return;
        };
        let malformed = self.shared.store().malformed.clone();
        let cluster = &self.shared.cluster;
        let kind = self.wanted.kind;
        while next < stamps.len() {
            if text.len() >= PIECE {
                self.list = Some((stamps, version, next));
                return;
            }
            let stamp = stamps[next];
            if cluster.exists(kind, next, stamp.generation) && self.wanted.includes(cluster, next) {
                text.extend(br#"{"type":"ADDED","object":"#);
                self.wanted.write(cluster, &malformed, next, stamp, text);
                text.extend(b"}\n");
            }
            next += 1;
        }
        if self.says_end {
            bookmark_text(kind, self.wanted.form, version, true, text);
        }
        self.shared.listed(kind);
    }

    /// Appends what has happened since.
    fn changes(&mut self, text: &mut Vec<u8>) {
        let kind = self.wanted.kind;
        let mut events: Vec<Event> = Vec::new();
        let malformed;
        {
            let store = self.shared.store();
            if self.version < store.oldest {
                let current = store.version;
                let why = format!("too old resource version: {} ({current})", self.version);
                let status = super::answer::status_text(410, "Expired", &why);
                let _ = writeln!(text, r#"{{"type":"ERROR","object":{status}}}"#);
                self.over = true;
                return;
            }
            self.news.mark_unchanged();
            self.version = store.since(self.version, kind, BATCH, &mut events);
            malformed = store.malformed.clone();
        }
        let cluster = &self.shared.cluster;
        for event in events {
            if !self.wanted.includes(cluster, event.index) {
                continue;
            }
            let _ = write!(text, r#"{{"type":"{}","object":"#, event.what);
            self.wanted
                .write(cluster, &malformed, event.index, event.stamp, text);
            text.extend(b"}\n");
        }
    }
}

/// Appends a bookmark.
fn bookmark_text(kind: Kind, form: Form, version: u64, ends_list: bool, text: &mut Vec<u8>) {
    let (name, api, rest) = match (form, kind) {
        (Form::Metadata, _) => ("PartialObjectMetadata", "meta.k8s.io/v1", ""),
        (_, Kind::Namespaces) => ("Namespace", "v1", r#","spec":{},"status":{}"#),
        (_, Kind::Services) => (
            "Service",
            "v1",
            r#","spec":{},"status":{"loadBalancer":{}}"#,
        ),
        (_, Kind::Slices) => (
            "EndpointSlice",
            "discovery.k8s.io/v1",
            r#","addressType":"","endpoints":null,"ports":null"#,
        ),
    };
    let end = match ends_list {
        true => r#","annotations":{"k8s.io/initial-events-end":"true"}"#,
        false => "",
    };
    let _ = writeln!(
        text,
        r#"{{"type":"BOOKMARK","object":{{"kind":"{name}","apiVersion":"{api}","metadata":{{"resourceVersion":"{version}"{end}}}{rest}}}}}"#
    );
}

//! Why a list or a watch did not go on.

use crate::report::one_line;
use core::time::Duration;
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use kube::core::Status;
use std::{error::Error, fmt, io};

/// What kind of failure it is: each has its own way to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The server ended a watch in an orderly way.
    Ended,
    /// Nothing came for longer than a server with bookmarks is silent.
    Silent,
    /// No connection, or no server behind the proxy that we reached.
    Connect,
    /// The connection broke off in the middle.
    Stream,
    /// The server wants fewer requests (429).
    Busy,
    /// The server's certificate, or our credentials, are not good enough to ask.
    Untrusted,
    /// Any other refusal.
    Refused(u16),
    /// The version from which we want to go on is too old (410).
    Gone,
    /// The version from which we want to go on is one that the server does not have yet.
    Ahead,
    /// The server is behind the version from which we want to go on: its storage was restored.
    Restored,
    /// The server does not stream lists.
    NoStreamedLists,
    /// The answer is not what the API says.
    Nonsense,
}

/// A failure and what is known of it.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    /// One line for the log.
    pub(super) message: String,
    /// What the server wants us to wait at least.
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            retry_after: None,
        }
    }

    /// A request that brought no answer.
    pub(super) fn unanswered(error: &kube::Error) -> Self {
        let kind = match error {
            kube::Error::Auth(_) => Kind::Untrusted,
            error if distrusts(error) => Kind::Untrusted,
            _ => Kind::Connect,
        };
        Self::new(kind, one_line(error))
    }

    /// An answer that is a refusal; `streamed` says that a streamed list was asked for.
    pub(super) fn refused(
        code: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
        streamed: bool,
    ) -> Self {
        let spoken = serde_json::from_slice::<Status>(body).ok();
        // A load balancer without a server behind it says this on its own.
        let proxy = matches!(code.as_u16(), 502..=504) && spoken.is_none();
        let mut status = spoken.unwrap_or_else(|| {
            let text = String::from_utf8_lossy(body);
            Status::failure(text.trim(), "")
        });
        status.code = code.as_u16();
        let mut this = Self::said(&status, streamed);
        if proxy {
            this.kind = Kind::Connect;
        }
        let seconds = headers.get(RETRY_AFTER).and_then(|it| it.to_str().ok());
        if let Some(seconds) = seconds.and_then(|text| text.parse().ok()) {
            this.retry_after = Some(Duration::from_secs(seconds));
        }
        this
    }

    /// A refusal as the API server words it, before or inside a stream.
    pub(super) fn said(status: &Status, streamed: bool) -> Self {
        let text = status.message.as_str();
        // 500: its storage cannot report progress. 422, 400: the feature is off or unknown.
        let spoken = text.contains("sendInitialEvents") || text.contains("RequestWatchProgress");
        let no_streams = status.code == 500 || spoken && matches!(status.code, 400 | 422);
        let details = status.details.as_ref();
        let ahead = text.contains("Too large resource version")
            || details.is_some_and(|details| {
                let mut causes = details.causes.iter();
                causes.any(|cause| cause.reason == "ResourceVersionTooLarge")
            });
        let kind = match status.code {
            _ if ahead => Kind::Ahead,
            _ if streamed && no_streams => Kind::NoStreamedLists,
            410 => Kind::Gone,
            429 => Kind::Busy,
            code => Kind::Refused(code),
        };
        let after = details.map_or(0, |details| details.retry_after_seconds);
        Self {
            kind,
            message: format!("{} {}: {text}", status.code, status.reason).replace('\n', " "),
            retry_after: (after > 0).then(|| Duration::from_secs(after.into())),
        }
    }

    /// A word for the metric and the log.
    pub(super) fn reason(&self) -> &'static str {
        match self.kind {
            Kind::Ended => "ended",
            Kind::Silent => "silent",
            Kind::Connect => "connect",
            Kind::Stream => "stream",
            Kind::Busy => "too-many-requests",
            Kind::Untrusted => "untrusted",
            Kind::Refused(401) => "unauthorized",
            Kind::Refused(403) => "forbidden",
            Kind::Refused(_) => "server",
            Kind::Gone => "gone",
            Kind::Ahead => "ahead",
            Kind::Restored => "restored",
            Kind::NoStreamedLists => "no-streaming-lists",
            Kind::Nonsense => "nonsense",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// Whether TLS failed, not the connection below it: asking again costs both sides a handshake.
fn distrusts(error: &kube::Error) -> bool {
    let mut next = error.source();
    while let Some(cause) = next {
        let inner = cause
            .downcast_ref::<io::Error>()
            .filter(|error| error.kind() == io::ErrorKind::InvalidData);
        if inner.is_some() || cause.is::<rustls::Error>() {
            return true;
        }
        next = cause.source();
    }
    false
}

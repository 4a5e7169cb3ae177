//! From a request to its answer.

use super::{
    faults::{self, Fault},
    selector::Selector,
    server::{Request, Shared},
    stream::{Stream, Wanted},
    wire::Hand,
};
use crate::scale::{Form, Kind};
use axum::{
    body::{Body, Bytes},
    extract::{ConnectInfo, State},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use core::{convert::Infallible, time::Duration};
use futures::{StreamExt, stream};
use serde_json::{Value, json};
use std::{collections::HashMap, sync::Arc};
use tokio::time::Instant;

/// A watch for which no time was asked ends after so long.
const LONGEST_WATCH: Duration = Duration::from_secs(3_600);

/// Answers a request for one of the three resources.
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(Hand(wire)): ConnectInfo<Hand>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.path() == uri.path()) else {
        let why = "the server could not find the requested resource";
        return refuse(StatusCode::NOT_FOUND, "NotFound", why);
    };
    let query = uri.query().unwrap_or_default();
    let query: HashMap<_, _> = form_urlencoded::parse(query.as_bytes())
        .into_owned()
        .collect();
    let is = |name: &str| query.get(name).is_some_and(|value| value == "true");
    let request = match (is("watch"), is("sendInitialEvents")) {
        (false, _) if query.contains_key("fieldSelector") => Request::Newest,
        (false, _) => Request::Page,
        (true, true) => Request::StreamedList,
        (true, false) => Request::Watch,
    };
    shared.note(kind, request, &uri);
    match shared.take_fault(kind, request) {
        None => {}
        Some(Fault::Busy(seconds)) => {
            let wish = [("retry-after", seconds.to_string())];
            let text = "Too many requests, please try again later.\n";
            return (StatusCode::TOO_MANY_REQUESTS, wish, text).into_response();
        }
        Some(Fault::Broken) => {
            let code = StatusCode::INTERNAL_SERVER_ERROR;
            return refuse(code, "InternalError", "the storage has no leader");
        }
        Some(Fault::Forbidden) => return refuse(StatusCode::FORBIDDEN, "Forbidden", "not allowed"),
        Some(Fault::Gone) => {
            return refuse(StatusCode::GONE, "Expired", "too old resource version");
        }
        Some(Fault::Expired) => {
            let status = status_text(410, "Expired", "too old resource version");
            let text = format!("{{\"type\":\"ERROR\",\"object\":{status}}}\n");
            return json_of(text.into());
        }
        Some(Fault::Cut(bytes)) => wire.limit(bytes, false),
        Some(Fault::Stall(bytes)) => wire.limit(bytes, true),
    }
    let accepted = headers.get("accept").and_then(|it| it.to_str().ok());
    let metadata = accepted.is_some_and(|it| it.contains("as=PartialObjectMetadata"));
    let selector = query.get("labelSelector").map_or("", String::as_str);
    let Some(selector) = Selector::parse(selector) else {
        let why = format!("unable to parse requirement: {selector}");
        return refuse(StatusCode::BAD_REQUEST, "BadRequest", &why);
    };
    let mut wanted = Wanted {
        kind,
        form: if metadata {
            Form::Metadata
        } else {
            Form::Whole
        },
        selector,
    };
    match request {
        Request::Newest => {
            let version = shared.store().version;
            let text = format!(
                r#"{{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{{"resourceVersion":"{version}"}},"items":[]}}"#
            );
            json_of(text.into())
        }
        Request::Page => {
            if !metadata {
                wanted.form = Form::Item;
            }
            page(&shared, &wanted, &query)
        }
        Request::StreamedList | Request::Watch => watch(&shared, wanted, request, &query),
    }
}

/// A page of a list. Its token says of which state, and where the next one begins.
fn page(shared: &Shared, wanted: &Wanted, query: &HashMap<String, String>) -> Response {
    let limit = query.get("limit").and_then(|it| it.parse().ok());
    let limit: usize = limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let mut from = 0;
    let (stamps, version, malformed) = {
        let mut store = shared.store();
        let malformed = store.malformed.clone();
        let token = query.get("continue").filter(|token| !token.is_empty());
        let (stamps, version) = match token.map(|token| token.split_once('.')) {
            None => (Arc::clone(store.stamps(wanted.kind)), store.version),
            Some(None) => {
                let why = "invalid continue token";
                return refuse(StatusCode::BAD_REQUEST, "BadRequest", why);
            }
            Some(Some((version, start))) => {
                from = start.parse().unwrap_or(usize::MAX);
                let version = version.parse().unwrap_or(0);
                match store.kept(version, wanted.kind) {
                    Some(stamps) => (stamps, version),
                    None => {
                        let why = "the continue token is too old for a list of one state";
                        return refuse(StatusCode::GONE, "Expired", why);
                    }
                }
            }
        };
        if limit < stamps.len() {
            store.keep(version, wanted.kind, &stamps);
        }
        (stamps, version, malformed)
    };
    let cluster = &shared.cluster;
    let there = |index: &usize| {
        cluster.exists(wanted.kind, *index, stamps[*index].generation)
            && wanted.includes(cluster, *index)
    };
    let mut all = (from.min(stamps.len())..stamps.len()).filter(there);
    let mut items = Vec::new();
    for (at, index) in all.by_ref().take(limit).enumerate() {
        if at > 0 {
            items.push(b',');
        }
        wanted.write(cluster, &malformed, index, stamps[index], &mut items);
    }
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if let Some(next) = all.next() {
        metadata["continue"] = format!("{version}.{next}").into();
        if wanted.selector.is_empty() {
            metadata["remainingItemCount"] = (1 + all.count()).into();
        }
    } else {
        shared.listed(wanted.kind);
    }
    let (kind, api) = match (wanted.form, wanted.kind) {
        (Form::Metadata, _) => ("PartialObjectMetadataList", "meta.k8s.io/v1"),
        (_, Kind::Namespaces) => ("NamespaceList", "v1"),
        (_, Kind::Services) => ("ServiceList", "v1"),
        (_, Kind::Slices) => ("EndpointSliceList", "discovery.k8s.io/v1"),
    };
    let mut text =
        format!(r#"{{"kind":"{kind}","apiVersion":"{api}","metadata":{metadata},"items":["#)
            .into_bytes();
    text.append(&mut items);
    text.extend(b"]}\n");
    json_of(text)
}

/// A watch, perhaps with a list before it.
fn watch(
    shared: &Arc<Shared>,
    wanted: Wanted,
    request: Request,
    query: &HashMap<String, String>,
) -> Response {
    let streamed = request == Request::StreamedList;
    let since = query.get("resourceVersion").map_or("", String::as_str);
    let since = match since {
        "" => Ok(0),
        text => text.parse::<u64>(),
    };
    let Ok(since) = since else {
        let code = StatusCode::INTERNAL_SERVER_ERROR;
        return refuse(code, "", "resourceVersion: Invalid value: not a number");
    };
    if streamed {
        if shared.refuses_streams() {
            let why = "required storage feature RequestWatchProgress is disabled";
            return refuse(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", why);
        }
        if query
            .get("resourceVersionMatch")
            .is_none_or(|it| it != "NotOlderThan")
        {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return refuse(StatusCode::UNPROCESSABLE_ENTITY, "Invalid", why);
        }
    }
    let due = query.get("timeoutSeconds").and_then(|it| it.parse().ok());
    let due = due.map_or(LONGEST_WATCH, Duration::from_secs);
    let bookmarks = query
        .get("allowWatchBookmarks")
        .is_some_and(|it| it == "true");
    let news = shared.news();
    let (list, version) = {
        let store = shared.store();
        // A watch from no version begins with what is there, like a list.
        match streamed || since == 0 {
            true => {
                let stamps = Arc::clone(store.stamps(wanted.kind));
                (Some((stamps, store.version, 0)), store.version)
            }
            false => (None, since),
        }
    };
    let stream = Stream {
        shared: Arc::clone(shared),
        wanted,
        list,
        says_end: streamed && bookmarks,
        version,
        news,
        ends: Instant::now() + due,
        bookmarks: bookmarks.then(|| shared.bookmarks()),
        over: false,
    };
    let pieces = stream::unfold(stream, Stream::next).map(Ok::<Bytes, Infallible>);
    let head = [("content-type", "application/json")];
    (head, Body::from_stream(pieces)).into_response()
}

impl Shared {
    fn take_fault(&self, kind: Kind, request: Request) -> Option<Fault> {
        faults::take(&mut self.rules(), kind, request)
    }
}

/// A refusal.
fn refuse(code: StatusCode, reason: &str, message: &str) -> Response {
    let text = status_text(code.as_u16(), reason, message).to_string();
    (code, json_of(text.into())).into_response()
}

/// The object of a refusal.
pub(super) fn status_text(code: u16, reason: &str, message: &str) -> Value {
    let mut status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "code": code});
    if !reason.is_empty() {
        status["reason"] = reason.into();
    }
    status
}

fn json_of(text: Vec<u8>) -> Response {
    ([("content-type", "application/json")], text).into_response()
}

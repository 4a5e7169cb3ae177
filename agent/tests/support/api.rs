//! A Kubernetes API server that can be told to fail: lists, streamed lists and watches of the
//! three resources that the agent reads.

use crate::support::wait;
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use futures::{
    StreamExt,
    channel::mpsc::{UnboundedSender, unbounded},
};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use std::{
    collections::BTreeSet,
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::Path,
    str::FromStr,
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Instant,
};
use tokio::sync::oneshot;

pub(crate) const NAMESPACES: &str = "/api/v1/namespaces";
pub(crate) const SERVICES: &str = "/api/v1/services";
pub(crate) const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";

/// Where Leases are.
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/";

/// What the server holds and how it misbehaves.
#[derive(Default)]
pub(crate) struct Script {
    objects: Vec<(&'static str, Value)>,
    streams: Vec<(String, UnboundedSender<Bytes>)>,
    version: u64,
    /// What was told since which version, for watches that resume.
    history: Vec<(u64, &'static str, Value)>,
    /// `sendInitialEvents` is answered with 500, as an API server on an old etcd does.
    pub(crate) refuses_streams: bool,
    /// The next watch of this path that resumes learns that its version is too old.
    pub(crate) gone: Option<&'static str>,
    /// Everything is answered with 403.
    pub(crate) forbids: bool,
    /// Everything is answered with 429 and a wish to be left alone for a second.
    pub(crate) busy: bool,
    /// A watch that resumes from a version above this is answered with 504, as by a server whose
    /// storage was restored.
    pub(crate) newest: Option<u64>,
    /// Its storage was restored: it is at this version, and a watch that resumes from a later one is
    /// accepted and told nothing before versions have caught up.
    pub(crate) restored: Option<u64>,
    /// The Lease of publishers.
    pub(crate) lease: Option<Value>,
    /// Every path and method asked for.
    pub(crate) asked: BTreeSet<String>,
    /// When what was asked for, in full.
    pub(crate) times: Vec<(Instant, String)>,
}

/// The server; it keeps its port as long as the test lives, and runs unless it was stopped.
pub(crate) struct Api {
    script: Arc<Mutex<Script>>,
    /// Bound, and never listening.
    port: Socket,
    running: Option<oneshot::Sender<()>>,
}

impl Api {
    pub(crate) fn start() -> Self {
        let mut this = Self {
            script: Arc::new(Mutex::new(Script::default())),
            port: bind(0),
            running: None,
        };
        this.run();
        this
    }

    /// Listens.
    pub(crate) fn run(&mut self) {
        let listener = bind(self.address().port());
        listener.listen(1024).unwrap();
        let listener = std::net::TcpListener::from(listener);
        listener.set_nonblocking(true).unwrap();
        let routes = Router::new()
            .fallback(answer)
            .with_state(Arc::clone(&self.script));
        let (stop, stopped) = oneshot::channel();
        self.running = Some(stop);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                tokio::select! {
                    served = async { axum::serve(listener, routes).await } => served.unwrap(),
                    // With the runtime all its connections go.
                    _ = stopped => {}
                }
            });
        });
    }

    /// Ends every connection, and refuses new ones until it runs again.
    pub(crate) fn stop(&mut self) {
        self.running = None;
        let address = self.address();
        wait("connections to be refused", || {
            std::net::TcpStream::connect(address).is_err()
        });
        self.script().disconnect();
    }

    fn address(&self) -> SocketAddr {
        self.port.local_addr().unwrap().as_socket().unwrap()
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    /// Writes a kubeconfig for this server.
    pub(crate) fn kubeconfig(&self, path: &Path) {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "fake",
            "clusters": [{"name": "fake", "cluster": {"server": format!("http://{}", self.address())}}],
            "users": [{"name": "fake", "user": {}}],
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        });
        fs::write(path, config.to_string()).unwrap();
    }

    /// Creates or replaces an object, and tells the watches.
    pub(crate) fn put(&self, path: &'static str, object: Value) {
        let mut script = self.script();
        let event = script.replace(path, object);
        script.tell(path, &event);
    }

    /// Removes an object, and tells the watches.
    pub(crate) fn delete(&self, path: &'static str, name: &str) {
        let mut script = self.script();
        if let Some(mut object) = script.take(path, name) {
            script.version += 1;
            object["metadata"]["resourceVersion"] = script.version.to_string().into();
            script.tell(path, &json!({"type": "DELETED", "object": object}));
        }
    }
}

impl Script {
    /// Creates or replaces an object without telling anybody; the event that would tell.
    pub(crate) fn replace(&mut self, path: &'static str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = self.version.to_string().into();
        let known = self
            .take(path, object["metadata"]["name"].as_str().unwrap())
            .is_some();
        self.objects.push((path, object.clone()));
        json!({"type": if known { "MODIFIED" } else { "ADDED" }, "object": object})
    }

    /// Removes an object without telling anybody.
    pub(crate) fn take(&mut self, path: &str, name: &str) -> Option<Value> {
        let same = |(of, object): &(&str, Value)| *of == path && object["metadata"]["name"] == name;
        let at = self.objects.iter().position(same)?;
        Some(self.objects.remove(at).1)
    }

    /// Ends every open watch.
    pub(crate) fn disconnect(&mut self) {
        self.streams.clear();
    }

    /// How many watches are open.
    pub(crate) fn watches(&mut self) -> usize {
        self.streams.retain(|(_, stream)| !stream.is_closed());
        self.streams.len()
    }

    /// The one Lease that there may be, with the storage's compare-and-swap.
    fn lease(&mut self, uri: &Uri, method: &Method, body: &[u8]) -> Response {
        if self.forbids {
            return status(StatusCode::FORBIDDEN, "Forbidden", "not allowed");
        }
        let version = |lease: &Value| lease["metadata"]["resourceVersion"].clone();
        let sent = || serde_json::from_slice::<Value>(body).unwrap();
        let name = uri.path().rsplit('/').next().unwrap_or_default();
        let lease = match (method.as_str(), &self.lease) {
            ("GET", Some(lease)) if lease["metadata"]["name"] == name => return reply(lease),
            ("GET", _) => return status(StatusCode::NOT_FOUND, "NotFound", "there is none"),
            ("POST", None) => sent(),
            ("PUT", Some(lease)) if version(&sent()) == version(lease) => sent(),
            _ => return status(StatusCode::CONFLICT, "Conflict", "somebody was quicker"),
        };
        self.version += 1;
        let mut lease = lease;
        lease["metadata"]["resourceVersion"] = self.version.to_string().into();
        self.lease = Some(lease.clone());
        reply(&lease)
    }

    fn tell(&mut self, path: &'static str, event: &Value) {
        self.history.push((self.version, path, event.clone()));
        for (uri, stream) in &self.streams {
            if uri.starts_with(path) && selects(uri, &event["object"]) {
                // A watch that is gone will list again.
                let _ = stream.unbounded_send(format!("{event}\n").into());
            }
        }
    }
}

/// A socket on the loopback device; others may have the same port.
fn bind(port: u16) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_port(true).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    socket.bind(&address.into()).unwrap();
    socket
}

/// Whether the label selector of a request wants an object.
fn selects(uri: &str, object: &Value) -> bool {
    let Some((_, selector)) = uri.split_once("labelSelector=") else {
        return true;
    };
    let mut selector = selector.split('&').next().unwrap_or_default().to_owned();
    for (written, meant) in [("%21", "!"), ("%3D", "="), ("%2F", "/"), ("%2C", ",")] {
        selector = selector.replace(written, meant);
    }
    let label = |key: &str| object["metadata"]["labels"][key].as_str();
    selector.split(',').all(|part| {
        if let Some((key, value)) = part.split_once("!=") {
            label(key) != Some(value)
        } else if let Some((key, value)) = part.split_once('=') {
            label(key) == Some(value)
        } else if let Some(key) = part.strip_prefix('!') {
            label(key).is_none()
        } else {
            label(part).is_some()
        }
    })
}

async fn answer(
    State(script): State<Arc<Mutex<Script>>>,
    uri: Uri,
    method: Method,
    body: Bytes,
) -> Response {
    let mut script = script.lock().unwrap();
    if uri.path().starts_with(LEASES) {
        return script.lease(&uri, &method, &body);
    }
    script.asked.insert(format!("{method} {}", uri.path()));
    script.times.push((Instant::now(), uri.to_string()));
    if script.busy {
        let wish = [("retry-after", "1")];
        let text = "Too many requests, please try again later.";
        return (StatusCode::TOO_MANY_REQUESTS, wish, text).into_response();
    }
    if script.forbids {
        return status(StatusCode::FORBIDDEN, "Forbidden", "not allowed");
    }
    let query = uri.query().unwrap_or_default();
    let wanted = |script: &Script| {
        let all = script
            .objects
            .iter()
            .filter(|(path, _)| *path == uri.path());
        let all = all.filter(|(_, object)| selects(&uri.to_string(), object));
        all.map(|(_, object)| object.clone()).collect::<Vec<_>>()
    };
    if is_question(&uri.to_string()) {
        // Who does not have what it is asked for does not know where it is, either.
        let version = match script.newest {
            Some(_) => String::new(),
            None => script.restored.unwrap_or(script.version).to_string(),
        };
        return reply(&json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadataList",
            "metadata": {"resourceVersion": version}, "items": [],
        }));
    }
    if !query.contains("watch=true") {
        let mut items = wanted(&script);
        let from = parameter(query, "continue").unwrap_or(0);
        items.drain(..from);
        let limit = parameter(query, "limit").unwrap_or(items.len());
        let next = (items.len() > limit).then(|| (from + limit).to_string());
        items.truncate(limit);
        return reply(&json!({
            "apiVersion": "v1", "kind": "List",
            "metadata": {"resourceVersion": script.version.to_string(), "continue": next},
            "items": items,
        }));
    }
    let mut first = Vec::new();
    if query.contains("sendInitialEvents=true") {
        if script.refuses_streams {
            let why = "required storage feature RequestWatchProgress is disabled";
            return status(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", why);
        }
        first = wanted(&script);
        first = first
            .iter()
            .map(|object| json!({"type": "ADDED", "object": object}))
            .collect();
        first.push(json!({"type": "BOOKMARK", "object": {
            "apiVersion": "v1", "kind": "Any",
            "metadata": {"resourceVersion": script.version.to_string(),
                "annotations": {"k8s.io/initial-events-end": "true"}}}}));
    } else if let Some(newest) = script.newest
        && parameter(query, "resourceVersion").is_some_and(|version: u64| version > newest)
    {
        let why = "Too large resource version";
        return status(StatusCode::GATEWAY_TIMEOUT, "Timeout", why);
    } else if script.gone == Some(uri.path()) {
        script.gone = None;
        let gone = json!({"type": "ERROR", "object": {"apiVersion": "v1", "kind": "Status",
            "status": "Failure", "reason": "Expired", "message": "too old", "code": 410}});
        return Body::from(format!("{gone}\n")).into_response();
    } else {
        let since = parameter(query, "resourceVersion").unwrap_or(0);
        let missed = script.history.iter().filter(|(version, path, event)| {
            *version > since && *path == uri.path() && selects(&uri.to_string(), &event["object"])
        });
        first.extend(missed.map(|(_, _, event)| event.clone()));
    }
    let (sender, receiver) = unbounded::<Bytes>();
    for event in first {
        sender.unbounded_send(format!("{event}\n").into()).unwrap();
    }
    script.streams.push((uri.to_string(), sender));
    Body::from_stream(receiver.map(Ok::<_, Infallible>)).into_response()
}

/// Whether a request asks for no more than the server's version: a list of one object by its name.
pub(crate) fn is_question(asked: &str) -> bool {
    asked.contains("fieldSelector=") && !asked.contains("watch=true")
}

/// The number that a parameter of a request has.
fn parameter<T: FromStr>(query: &str, name: &str) -> Option<T> {
    let mut all = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = all.find(|(key, _)| *key == name)?;
    value.parse().ok()
}

fn status(code: StatusCode, reason: &str, message: &str) -> Response {
    let body = reply(
        &json!({"apiVersion": "v1", "kind": "Status", "status": "Failure",
        "reason": reason, "message": message, "code": code.as_u16()}),
    );
    (code, body).into_response()
}

fn reply(value: &Value) -> Response {
    ([("content-type", "application/json")], value.to_string()).into_response()
}

//! `forward.sock`: how processes of other pods ask. A Unix stream that carries DNS messages with
//! two-byte lengths (RFC 1035 4.2.2), several at a time, answered in any order (RFC 7766).
//!
//! The socket lies in a directory that one pod mounts: who connects to it is that pod. So it says
//! nothing of credentials, and every pod has limits of its own.

use super::{Class, metrics::Metrics};
use crate::config;
use futures::{StreamExt, stream::FuturesUnordered};
use std::{
    collections::HashMap,
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::AbortHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

/// How long accepting waits after it failed, for want of descriptors most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Messages under way on one connection; more are not read.
const PIPELINE_LIMIT: usize = 64;
/// The first room for queries; two of them fit.
const READ_ROOM: usize = 1024;
/// The length before a message.
const PREFIX: usize = 2;

/// Who answers the messages.
pub trait Service: Send + Sync + 'static {
    /// The whole answer to one message, whatever it holds, without a length; empty to say nothing.
    /// It is dropped when the client goes.
    fn answer(&self, query: &[u8], client: &Client) -> impl Future<Output = Vec<u8>> + Send;
}

/// Whom a socket was made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Its class.
    pub class: Class,
    /// The zone that its processes have: a directory below `view/`.
    pub view: Arc<str>,
    /// What to call it in logs: a pod's directory, or the class's own.
    pub name: Arc<str>,
}

/// Limits, for each socket by itself but the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; more wait in the socket's backlog.
    pub connections: usize,
    /// Messages under way on all its connections; more wait.
    pub in_flight: usize,
    /// How long a connection may stay without a message under way, or its client without reading.
    pub idle: Duration,
    /// Connections of all sockets together, for the sake of the agent's descriptors; those above
    /// are closed at once.
    pub total: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 1024,
            in_flight: 256,
            idle: Duration::from_secs(10),
            total: 16_384,
        }
    }
}

impl Limits {
    /// Of the configuration file's section. However much one pod may ask at once, it is half of what
    /// the node may at most: a busy pod waits before others are refused.
    pub fn of(forward: &config::Forward) -> Self {
        let sockets = &forward.sockets;
        let half = (forward.max_concurrent / 2).max(1);
        Self {
            connections: sockets.connections,
            in_flight: sockets.in_flight.min(half),
            idle: sockets.idle.duration(),
            total: sockets.total,
        }
    }
}

/// All sockets of the agent, answered by one service.
pub struct Sockets<S> {
    shared: Arc<Shared<S>>,
    open: Mutex<HashMap<PathBuf, Open>>,
}

struct Shared<S> {
    service: Arc<S>,
    limits: Limits,
    total: Arc<Semaphore>,
    metrics: Metrics,
}

/// A socket that is served.
struct Open {
    client: Client,
    inode: u64,
    task: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl<S: Service> Sockets<S> {
    /// Without sockets yet. Dropping it closes all; the files stay, and connecting to them is
    /// refused, which a process notices at once.
    pub fn new(service: Arc<S>, limits: Limits, metrics: Metrics) -> Self {
        let shared = Shared {
            service,
            total: Arc::new(Semaphore::new(limits.total)),
            limits,
            metrics,
        };
        Self {
            shared: Arc::new(shared),
            open: Mutex::default(),
        }
    }

    /// Serves `path` for a client, anew if it was another one's. Whatever lay there is replaced in
    /// one step by a socket that is ready, and that everybody may connect to: the directory decides
    /// who can. Must be called on a runtime. Errors are those of the file system.
    pub fn add(&self, path: &Path, client: Client) -> io::Result<()> {
        let mut open = super::lock(&self.open);
        let is_there = |it: &Open| {
            it.client == client
                && fs::symlink_metadata(path).is_ok_and(|file| file.ino() == it.inode)
        };
        if open.get(path).is_some_and(is_there) {
            return Ok(());
        }
        let (listener, inode) = bind(path)?;
        let task = tokio::spawn(listen(listener, client.clone(), Arc::clone(&self.shared)));
        let task = task.abort_handle();
        open.insert(
            path.to_owned(),
            Open {
                client,
                inode,
                task,
            },
        );
        Ok(())
    }

    /// Ends serving `path`, with its connections, and removes the file if it is still ours.
    pub fn remove(&self, path: &Path) {
        let Some(it) = super::lock(&self.open).remove(path) else {
            return;
        };
        if fs::symlink_metadata(path).is_ok_and(|file| file.ino() == it.inode) {
            // Whoever removed it in between did what we want.
            let _ = fs::remove_file(path);
        }
    }

    /// The paths that are served.
    pub fn paths(&self) -> Vec<PathBuf> {
        super::lock(&self.open).keys().cloned().collect()
    }
}

/// A socket that listens, under a name of its own first, then at `path`.
fn bind(path: &Path) -> io::Result<(UnixListener, u64)> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let new = path.with_file_name(format!(".{name}.{}", std::process::id()));
    // Left by an agent of our number that was killed here.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(&new)?;
    fs::set_permissions(&new, fs::Permissions::from_mode(0o666))?;
    let inode = fs::symlink_metadata(&new)?.ino();
    fs::rename(&new, path)?;
    Ok((listener, inode))
}

/// Accepts connections until it is aborted; its connections end with it.
async fn listen<S: Service>(listener: UnixListener, client: Client, shared: Arc<Shared<S>>) {
    let permits = Arc::new(Semaphore::new(shared.limits.connections));
    let in_flight = Arc::new(Semaphore::new(shared.limits.in_flight));
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(client = &*client.name, %error, "cannot accept");
                shared.metrics.socket_rejects.inc();
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        while connections.try_join_next().is_some() {}
        let Ok(total) = Arc::clone(&shared.total).try_acquire_owned() else {
            shared.metrics.socket_rejects.inc();
            continue;
        };
        let (client, shared) = (client.clone(), Arc::clone(&shared));
        let in_flight = Arc::clone(&in_flight);
        connections.spawn(async move {
            let _permits = (permit, total);
            let _count = Counted::new(&shared.metrics);
            if let Err(error) = serve(stream, &client, &in_flight, &shared).await {
                tracing::debug!(client = &*client.name, %error, "connection ended");
            }
        });
    }
}

/// Counts a connection as long as it lives.
struct Counted<'a>(&'a Metrics);

impl<'a> Counted<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.socket_connections.inc();
        Self(metrics)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.socket_connections.dec();
    }
}

/// Serves one connection until its client closes it, stops reading, or has nothing to ask.
async fn serve<S: Service>(
    mut stream: UnixStream,
    client: &Client,
    in_flight: &Semaphore,
    shared: &Shared<S>,
) -> io::Result<()> {
    let limits = &shared.limits;
    let (mut reader, mut writer) = stream.split();
    let mut received: Vec<u8> = Vec::with_capacity(READ_ROOM);
    let mut answers = FuturesUnordered::new();
    let mut ended = false;
    // Part of a message does not put it off.
    let mut deadline = Instant::now() + limits.idle;
    loop {
        let mut used = 0;
        while answers.len() < PIPELINE_LIMIT
            && let Some(message) = first_message(&received[used..])
        {
            let end = used + PREFIX + message.len();
            shared.metrics.socket_requests.inc();
            let query: Box<[u8]> = message.into();
            answers.push(async move {
                // It is never closed.
                let _permit = in_flight.acquire().await;
                shared.service.answer(&query, client).await
            });
            used = end;
        }
        received.drain(..used);
        if used > 0 {
            deadline = Instant::now() + limits.idle;
        }
        let full = answers.len() >= PIPELINE_LIMIT;
        if ended && answers.is_empty() {
            return Ok(());
        }
        tokio::select! {
            biased;
            Some(answer) = answers.next(), if !answers.is_empty() => {
                let mut out = Vec::with_capacity(PREFIX + answer.len());
                frame(&answer, &mut out);
                // What is ready as well goes with it, in one write.
                while let Some(Some(answer)) = futures::FutureExt::now_or_never(answers.next()) {
                    frame(&answer, &mut out);
                }
                timeout(limits.idle, writer.write_all(&out)).await??;
                deadline = Instant::now() + limits.idle;
            }
            // Cancelled, this has read nothing.
            read = reader.read_buf(&mut received), if !ended && !full => ended = read? == 0,
            () = sleep_until(deadline), if answers.is_empty() => return Ok(()),
        }
    }
}

/// The first whole message.
fn first_message(octets: &[u8]) -> Option<&[u8]> {
    let (length, rest) = octets.split_first_chunk::<PREFIX>()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

/// Appends a message with its length; nothing for an empty one, or one that is too long.
fn frame(answer: &[u8], out: &mut Vec<u8>) {
    if let Ok(length) = u16::try_from(answer.len())
        && length > 0
    {
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(answer);
    }
}

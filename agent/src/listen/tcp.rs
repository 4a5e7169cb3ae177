//! Connections (RFC 7766): queries one after another, answered in whatever order answers come, with
//! limits on how many there are and how long they take.

use super::socket;
use crate::answer::{Answerer, Begun, Desk, Way};
use anyhow::Result;
use socket2::Socket;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, mpsc, watch},
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout, timeout_at},
};

/// Queries of one connection that are under way at most: then it is not read from.
const MOST_PENDING: usize = 64;
/// Answers of one connection that wait for its client to read: then it is not read from either.
const MOST_UNREAD: usize = 16;
/// Octets of answers that are written at once.
const WRITE_AT_ONCE: usize = 64 << 10;
/// How long a client may take to read an answer.
const WRITE_WITHIN: Duration = Duration::from_secs(10);
/// A client that sends nothing for so long is let go while we stop.
const LINGER: Duration = Duration::from_millis(500);

/// What connections may cost.
#[derive(Clone)]
pub(super) struct Limits {
    /// Connections at once, of all sockets.
    pub(super) connections: Arc<Semaphore>,
    /// How long one may be without a query, or with part of one.
    pub(super) idle: Duration,
}

/// A listening socket that is served.
pub(super) struct Served {
    address: SocketAddr,
    /// The socket again, to turn connections away.
    listener: Socket,
    stop: watch::Sender<Stage>,
    task: JoinHandle<()>,
}

/// What the task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// It accepts connections.
    Serve,
    /// It accepts those that have been begun, and lets all go.
    Drain,
    /// It accepts none.
    Close,
}

impl Served {
    /// Binds and starts to serve.
    pub(super) fn start(
        address: SocketAddr,
        answerer: Arc<Answerer>,
        limits: Limits,
    ) -> Result<Self> {
        let listener = socket::tcp(address)?;
        let local = listener.local_addr()?;
        let address = local.as_socket().unwrap_or(address);
        let accepting = TcpListener::from_std(listener.try_clone()?.into())?;
        let (stop, stage) = watch::channel(Stage::Serve);
        let task = tokio::spawn(accept(accepting, answerer, limits, stage));
        Ok(Self {
            address,
            listener,
            stop,
            task,
        })
    }

    /// The address, with the port that was found.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Finishes the connections that there are, and takes no new ones.
    pub(super) async fn drain(self) {
        let Self {
            listener,
            stop,
            task,
            ..
        } = self;
        // Where the kernel cannot, those that come in the last moment are reset.
        let _ = socket::turn_away(&listener);
        // The task is gone only with the runtime.
        let _ = stop.send(Stage::Drain);
        tokio::time::sleep(socket::GLANCE).await;
        drop(listener);
        let _ = stop.send(Stage::Close);
        let _ = task.await;
    }
}

/// Accepts connections, and waits for the last of them.
async fn accept(
    listener: TcpListener,
    answerer: Arc<Answerer>,
    limits: Limits,
    stage: watch::Receiver<Stage>,
) {
    let mut own = stage.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    // Over the limit: closed at once.
                    if let Ok(permit) = Arc::clone(&limits.connections).try_acquire_owned() {
                        let (answerer, stage) = (Arc::clone(&answerer), stage.clone());
                        let idle = limits.idle;
                        connections.spawn(async move {
                            serve(stream, peer.ip(), answerer, idle, stage).await;
                            drop(permit);
                        });
                    }
                }
                // No descriptor is left, say: others close theirs.
                Err(error) => {
                    tracing::debug!(%error, "cannot accept a connection");
                    tokio::time::sleep(socket::GLANCE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = closing(&mut own) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Waits until no more connections are accepted.
async fn closing(stage: &mut watch::Receiver<Stage>) {
    // Without who tells it, it is over as well.
    let _ = stage.wait_for(|stage| *stage == Stage::Close).await;
}

/// Serves one connection until its client is done or too slow.
async fn serve(
    stream: TcpStream,
    client: IpAddr,
    answerer: Arc<Answerer>,
    idle: Duration,
    stage: watch::Receiver<Stage>,
) {
    // An answer is written whole; waiting for more would only delay it.
    let _ = stream.set_nodelay(true);
    let (reader, writer) = stream.into_split();
    let (answers, outbox) = mpsc::channel(MOST_UNREAD);
    let writing = tokio::spawn(write(writer, outbox));
    let connection = Connection {
        answerer,
        answers,
        pending: Arc::new(Semaphore::new(MOST_PENDING)),
        way: Way::Tcp(client),
    };
    // A client that breaks off is no event.
    let _ = connection.read(reader, idle, stage).await;
    // It ends when the last answer is written, or when the client does not read it.
    drop(connection);
    let _ = writing.await;
}

struct Connection {
    answerer: Arc<Answerer>,
    answers: mpsc::Sender<Vec<u8>>,
    pending: Arc<Semaphore>,
    way: Way<'static>,
}

impl Connection {
    /// Reads queries and answers them until the client is done.
    async fn read(
        &self,
        mut reader: OwnedReadHalf,
        idle: Duration,
        mut stage: watch::Receiver<Stage>,
    ) -> io::Result<()> {
        let mut desk = Desk::new();
        let mut inbox = Vec::new();
        let mut deadline = Instant::now() + idle;
        loop {
            while let Some((query, end)) = frame(&inbox) {
                self.take(query, &mut desk).await?;
                inbox.drain(..end);
                // What is begun must be finished in time: a client that sends octet by octet is let go.
                deadline = Instant::now() + idle;
            }
            let stopping = *stage.borrow() != Stage::Serve;
            let until = if stopping {
                deadline.min(Instant::now() + LINGER)
            } else {
                deadline
            };
            let read = tokio::select! {
                read = timeout_at(until, reader.read_buf(&mut inbox)) => read,
                changed = stage.changed(), if !stopping => match changed {
                    Ok(()) => continue,
                    Err(_) => return Ok(()),
                },
            };
            match read {
                Ok(Ok(0)) => return Ok(()),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error),
                // Idle is who has nothing under way (RFC 7766 section 6.2.3).
                Err(_) if self.pending.available_permits() < MOST_PENDING && inbox.is_empty() => {
                    deadline = Instant::now() + idle;
                }
                Err(_) => return Ok(()),
            }
        }
    }

    /// Answers one query now or later.
    async fn take(&self, query: &[u8], desk: &mut Desk) -> io::Result<()> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        match self.answerer.begin(query, self.way, desk) {
            Begun::Answered => {
                let answer = desk.message().to_vec();
                self.answers.send(answer).await.map_err(gone)?;
            }
            Begun::Transfer(messages) => {
                for message in messages {
                    self.answers.send(message).await.map_err(gone)?;
                }
            }
            Begun::Pending(pending) => {
                let permits = Arc::clone(&self.pending);
                let Ok(permit) = permits.acquire_owned().await else {
                    return Ok(());
                };
                let (answerer, answers) = (Arc::clone(&self.answerer), self.answers.clone());
                tokio::spawn(async move {
                    let answer = answerer.finish(*pending).await;
                    // The client may be gone.
                    let _ = answers.send(answer).await;
                    drop(permit);
                });
            }
            Begun::Nothing => {}
        }
        Ok(())
    }
}

/// The first message of `octets`, and where it ends.
fn frame(octets: &[u8]) -> Option<(&[u8], usize)> {
    let (length, rest) = octets.split_first_chunk()?;
    let length = usize::from(u16::from_be_bytes(*length));
    Some((rest.get(..length)?, length + 2))
}

/// Writes answers until there are no more, those that wait together.
async fn write(mut writer: OwnedWriteHalf, mut answers: mpsc::Receiver<Vec<u8>>) {
    let mut octets = Vec::new();
    while let Some(answer) = answers.recv().await {
        push(&mut octets, &answer);
        while octets.len() < WRITE_AT_ONCE
            && let Ok(answer) = answers.try_recv()
        {
            push(&mut octets, &answer);
        }
        match timeout(WRITE_WITHIN, writer.write_all(&octets)).await {
            Ok(Ok(())) => octets.clear(),
            // Whoever sends more finds the other end gone.
            _ => return,
        }
    }
}

fn push(octets: &mut Vec<u8>, answer: &[u8]) {
    // No answer is longer: that is its limit.
    let length = u16::try_from(answer.len()).unwrap_or(u16::MAX);
    octets.extend_from_slice(&length.to_be_bytes());
    octets.extend_from_slice(answer);
}

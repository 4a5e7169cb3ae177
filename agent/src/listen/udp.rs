//! Datagrams: one thread for each socket, which answers what it can at once, in batches; the rest
//! goes to the runtime.

use super::{
    batch::{BATCH, Inbox},
    outbox::{Outbox, send_one},
    pace::{self, Pace},
    socket,
};
use crate::answer::{Answerer, Begun, Desk, Way};
use anyhow::{Context, Result};
use std::{
    io,
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use tokio::{runtime::Handle, sync::oneshot};

/// Questions of one socket that wait for upstreams at most; more are refused.
const MOST_PENDING: usize = 4096;

/// How long is waited after a failure of the kernel's.
const AFTER_FAILURE: Duration = Duration::from_millis(1);

/// A socket that is served.
pub(super) struct Served {
    socket: Arc<UdpSocket>,
    stops: Arc<AtomicBool>,
    ended: oneshot::Receiver<()>,
}

impl Served {
    /// Binds and starts to serve.
    pub(super) fn start(address: SocketAddr, answerer: Arc<Answerer>) -> Result<Self> {
        let socket = Arc::new(socket::udp(address)?);
        let stops = Arc::new(AtomicBool::new(false));
        let (end, ended) = oneshot::channel();
        let worker = Worker {
            answerer,
            socket: Arc::clone(&socket),
            stops: Arc::clone(&stops),
            pending: Arc::default(),
            runtime: Handle::current(),
        };
        thread::Builder::new()
            .name("dns-udp".to_owned())
            .spawn(move || {
                worker.serve();
                // Nobody may be waiting for it.
                let _ = end.send(());
            })
            .context("cannot start a thread")?;
        Ok(Self {
            socket,
            stops,
            ended,
        })
    }

    /// The address, with the port that was found.
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Answers what has come, and nothing that comes later.
    pub(super) async fn drain(self) {
        // Of an address that no interface has: nothing comes there.
        let _ = socket::leave(&self.socket);
        self.stops.store(true, Ordering::Release);
        // The thread ends when nothing has come for a moment and nobody waits.
        let _ = self.ended.await;
    }
}

/// The thread's state.
struct Worker {
    answerer: Arc<Answerer>,
    socket: Arc<UdpSocket>,
    stops: Arc<AtomicBool>,
    pending: Arc<AtomicUsize>,
    runtime: Handle,
}

impl Worker {
    fn serve(&self) {
        let mut inbox = Inbox::new();
        let mut outbox = Outbox::new(&self.socket);
        let mut desk = Desk::new();
        let mut pace = Pace::new(Instant::now());
        socket::sleep_exactly();
        loop {
            match inbox.receive(&self.socket) {
                Ok(count) => {
                    for index in 0..count.min(BATCH) {
                        self.handle(index, &inbox, &mut desk, &mut outbox);
                    }
                    outbox.send(&self.socket);
                    // A full batch says that more is there already.
                    if pace.waits(count, Instant::now()) && count < BATCH {
                        thread::sleep(pace::WAIT);
                    }
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        let waits = self.pending.load(Ordering::Acquire) > 0;
                        if self.stops.load(Ordering::Acquire) && !waits {
                            return;
                        }
                    }
                    // A signal, or what became of an earlier answer (ip(7), "error handling").
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionRefused => {}
                    // Memory, say: not to be tried as fast as it fails.
                    _ => thread::sleep(AFTER_FAILURE),
                },
            }
        }
    }

    fn handle(&self, index: usize, inbox: &Inbox, desk: &mut Desk, outbox: &mut Outbox) {
        let (query, peer) = inbox.datagram(index);
        match self.answerer.begin(query, Way::Udp, desk) {
            Begun::Answered => outbox.push(desk.message(), peer),
            Begun::Pending(pending) => {
                if self.pending.fetch_add(1, Ordering::AcqRel) >= MOST_PENDING {
                    self.pending.fetch_sub(1, Ordering::AcqRel);
                    outbox.push(&self.answerer.refuse(&pending), peer);
                    return;
                }
                let (answerer, socket) = (Arc::clone(&self.answerer), Arc::clone(&self.socket));
                let (peer, waiting) = (*peer, Waiting(Arc::clone(&self.pending)));
                self.runtime.spawn(async move {
                    let answer = answerer.finish(*pending).await;
                    send_one(&socket, &answer, &peer);
                    drop(waiting);
                });
            }
            // A transfer needs a connection.
            Begun::Transfer(_) | Begun::Nothing => {}
        }
    }
}

/// Counts one down when its task ends, in whatever way.
struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

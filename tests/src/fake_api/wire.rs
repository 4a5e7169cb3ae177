//! Connections that can be cut and stalled at a byte, by the handler that answers on them.

use axum::{
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use core::{
    pin::Pin,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    task::{Context, Poll, ready},
};
use std::{
    io,
    net::{Shutdown, SocketAddr},
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};

/// What is known of one connection.
#[derive(Debug)]
pub(super) struct Wire {
    written: AtomicU64,
    /// Nothing is written past this.
    limit: AtomicU64,
    /// At the limit the connection stays, instead of ending.
    stalls: AtomicBool,
    /// The same socket, to end it from outside.
    socket: std::net::TcpStream,
    /// What all connections have sent.
    total: Arc<AtomicU64>,
}

impl Wire {
    /// Ends (or stalls) the connection after so many more bytes.
    pub(super) fn limit(&self, bytes: u64, stalls: bool) {
        self.stalls.store(stalls, Ordering::SeqCst);
        let limit = self.written.load(Ordering::SeqCst) + bytes;
        self.limit.store(limit, Ordering::SeqCst);
    }

    /// Bytes sent so far.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::SeqCst)
    }
}

/// Every connection that is open.
#[derive(Clone, Debug, Default)]
pub(super) struct Wires {
    open: Arc<Mutex<Vec<Weak<Wire>>>>,
    /// Bytes sent on any of them, and on those before.
    total: Arc<AtomicU64>,
}

impl Wires {
    /// Ends them all, at whatever byte they are.
    pub(super) fn cut(&self) {
        for wire in self.lock().drain(..).filter_map(|wire| wire.upgrade()) {
            // It may have ended.
            let _ = wire.socket.shutdown(Shutdown::Both);
        }
    }

    /// Bytes that were ever sent.
    pub(super) fn sent(&self) -> u64 {
        self.total.load(Ordering::SeqCst)
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        let mut all = self.lock();
        all.retain(|wire| wire.strong_count() > 0);
        all.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Wire>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Accepts connections.
pub(super) struct Door {
    /// Where.
    pub(super) listener: TcpListener,
    /// What is open.
    pub(super) wires: Wires,
}

impl Listener for Door {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            let (stream, address) = <TcpListener as Listener>::accept(&mut self.listener).await;
            if let Ok(connection) = Connection::new(stream, &self.wires.total) {
                let mut all = self.wires.lock();
                all.retain(|wire| wire.strong_count() > 0);
                all.push(Arc::downgrade(&connection.wire));
                return (connection, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One connection.
pub(super) struct Connection {
    stream: TcpStream,
    wire: Arc<Wire>,
}

impl Connection {
    fn new(stream: TcpStream, total: &Arc<AtomicU64>) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        let stream = stream.into_std()?;
        let wire = Wire {
            written: AtomicU64::new(0),
            limit: AtomicU64::new(u64::MAX),
            stalls: AtomicBool::new(false),
            socket: stream.try_clone()?,
            total: Arc::clone(total),
        };
        Ok(Self {
            stream: TcpStream::from_std(stream)?,
            wire: Arc::new(wire),
        })
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let left = self.wire.limit.load(Ordering::SeqCst) - self.wire.written();
        if left == 0 {
            // Whoever stalls is not woken again; the other side's end is seen by the reading half.
            return match self.wire.stalls.load(Ordering::SeqCst) {
                true => Poll::Pending,
                false => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            };
        }
        let most = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = ready!(Pin::new(&mut self.stream).poll_write(context, &bytes[..most]))?;
        self.wire.written.fetch_add(count as u64, Ordering::SeqCst);
        self.wire.total.fetch_add(count as u64, Ordering::SeqCst);
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// A handler's way to its connection.
#[derive(Clone, Debug)]
pub(super) struct Hand(pub(super) Arc<Wire>);

impl Connected<IncomingStream<'_, Door>> for Hand {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        Self(Arc::clone(&stream.io().wire))
    }
}

//! The running server: its sockets, its threads, its log.

use super::{
    Behavior, Fault, Script, Tcp,
    fault::{self, After},
    is_in_cluster,
};
use crate::{
    namespace::Namespaces,
    recording::query,
    wire::{self, kind, rcode},
};
use anyhow::{Context, Result, ensure};
use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsRawFd,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// One question that the server saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Lower case, no trailing dot.
    pub name: String,
    /// See [`kind`].
    pub kind: u16,
    /// Over TCP.
    pub tcp: bool,
    /// The client's address; its port tells connections apart.
    pub from: SocketAddr,
}

/// Asked by the server of itself: what came before it has then been served.
const MARK: &str = "mark.invalid";

/// A running server; it stops when dropped.
pub struct Server {
    state: Arc<State>,
    /// None: nothing listens there.
    listener: Option<TcpListener>,
    /// What fills the queue of [`Tcp::Full`].
    _waiting: Vec<TcpStream>,
    /// Asks for [`MARK`].
    marker: UdpSocket,
    address: SocketAddr,
}

struct State {
    script: Mutex<Arc<Script>>,
    log: Mutex<Vec<Asked>>,
    unrecorded: Mutex<BTreeSet<(String, u16)>>,
    connections: AtomicUsize,
    stop: AtomicBool,
}

impl Server {
    /// Listens on port 53 of `address` inside the namespaces, UDP and TCP.
    pub fn start(namespaces: &Namespaces, address: &str, script: Script) -> Result<Self> {
        let address = SocketAddr::new(address.parse()?, 53);
        Self::start_at(namespaces, address, script)
    }

    /// Listens there; port 0: on one that is free for both.
    pub fn start_at(namespaces: &Namespaces, address: SocketAddr, script: Script) -> Result<Self> {
        let tcp = script.tcp;
        let (udp, listener, waiting, marker, address) = namespaces
            .with_network(|| {
                let marker = UdpSocket::bind((address.ip(), 0))?;
                let udp = UdpSocket::bind(address)?;
                let address = udp.local_addr()?;
                let (listener, waiting) = listen(address, tcp)?;
                marker.connect(address)?;
                Ok((udp, listener, waiting, marker, address))
            })
            .with_context(|| format!("DNS server on {address}"))?;
        marker.set_read_timeout(Some(Duration::from_secs(10)))?;
        // Between two questions it looks whether it should stop.
        udp.set_read_timeout(Some(Duration::from_millis(100)))?;
        let state = Arc::new(State {
            script: Mutex::new(Arc::new(script)),
            log: Mutex::default(),
            unrecorded: Mutex::default(),
            connections: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
        });
        let server = Self {
            state: Arc::clone(&state),
            listener: listener.as_ref().map(TcpListener::try_clone).transpose()?,
            _waiting: waiting,
            marker,
            address,
        };
        let for_tcp = Arc::clone(&state);
        thread::spawn(move || serve_udp(&udp, &state));
        if let Some(listener) = listener.filter(|_| matches!(tcp, Tcp::Serves | Tcp::Resets)) {
            thread::spawn(move || serve_tcp(&listener, &for_tcp));
        }
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Goes on after another script; a port that nobody serves stays so.
    pub fn follow(&self, script: Script) {
        let next = Arc::new(script);
        *self
            .state
            .script
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = next;
    }

    /// How many connections were accepted since the last call.
    pub fn take_connections(&self) -> usize {
        self.state.connections.swap(0, Ordering::Relaxed)
    }

    /// Takes what was asked since the last call; a client that has its answer may have sent more
    /// than one question, and all that it sent is in the log.
    pub fn take_log(&self) -> Vec<Asked> {
        // Datagrams are served in order. If this one got lost, the log is what it is.
        let asked = self.marker.send(&query(0, MARK, kind::A));
        let _ = asked.and_then(|_| self.marker.recv(&mut [0; 512]));
        core::mem::take(&mut *self.state.log())
    }

    /// The questions for names in the cluster's zones, so far, that the recordings (of a script
    /// that has some) do not hold: the script's own records answered them.
    pub fn unrecorded(&self) -> BTreeSet<(String, u16)> {
        let held = self.state.unrecorded.lock();
        held.unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        if let Some(listener) = &self.listener {
            // SAFETY: the listener's descriptor is open; shutdown wakes the thread that accepts.
            unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RDWR) };
        }
    }
}

impl State {
    fn log(&self) -> std::sync::MutexGuard<'_, Vec<Asked>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn script(&self) -> Arc<Script> {
        let script = self.script.lock();
        Arc::clone(&script.unwrap_or_else(PoisonError::into_inner))
    }

    fn answer(&self, message: &[u8], tcp: bool, from: SocketAddr) -> Option<Vec<u8>> {
        let question = wire::parse(message).ok()?;
        if question.name == MARK {
            return Some(wire::respond(&question, rcode::NOERROR, &[], MARK, 512));
        }
        self.log().push(Asked {
            name: question.name.clone(),
            kind: question.kind,
            tcp,
            from,
        });
        let script = self.script();
        if is_in_cluster(&question.name) {
            if let Some(upstream) = &script.upstream {
                return upstream(message, tcp);
            }
            if script.recordings.is_some() && script.recording(&question).is_none() {
                let held = self.unrecorded.lock();
                let mut held = held.unwrap_or_else(PoisonError::into_inner);
                held.insert((question.name.clone(), question.kind));
            }
        }
        // RFC 1035 section 4.2.1 without EDNS; section 4.2.2.
        script.answer(&question, if tcp { 65_535 } else { 512 })
    }

    /// What the script spoils of the answer to that message.
    fn fault(&self, message: &[u8]) -> Option<Fault> {
        match self.script().behavior_at(&wire::parse(message).ok()?) {
            Some(Behavior::Spoiled(fault)) => Some(fault),
            Some(Behavior::Drop) => Some(Fault::Hang),
            _ => None,
        }
    }
}

/// The TCP port, and connections that keep its queue full.
fn listen(address: SocketAddr, tcp: Tcp) -> Result<(Option<TcpListener>, Vec<TcpStream>)> {
    if tcp == Tcp::Absent {
        return Ok((None, Vec::new()));
    }
    let listener = TcpListener::bind(address)?;
    let mut waiting = Vec::new();
    if tcp == Tcp::Full {
        // SAFETY: listening again only sets the length of the queue; no pointer.
        ensure!(unsafe { libc::listen(listener.as_raw_fd(), 0) } == 0);
        let patience = Duration::from_millis(100);
        while let Ok(stream) = TcpStream::connect_timeout(&address, patience) {
            waiting.push(stream);
            ensure!(waiting.len() < 100, "the queue is never full");
        }
    }
    Ok((Some(listener), waiting))
}

fn serve_udp(socket: &UdpSocket, state: &State) {
    let mut buffer = [0; 4096];
    while !state.stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        if let Some(response) = state.answer(&buffer[..length], false, from) {
            // A client that has gone is no matter.
            let _ = socket.send_to(&response, from);
        }
    }
}

fn serve_tcp(listener: &TcpListener, state: &Arc<State>) {
    while let Ok((stream, from)) = listener.accept() {
        state.connections.fetch_add(1, Ordering::Relaxed);
        if state.script().tcp == Tcp::Resets {
            fault::reset(&stream);
            continue;
        }
        let state = Arc::clone(state);
        thread::spawn(move || serve_connection(stream, from, &state));
    }
}

/// Serves one connection until its end, message by message; errors end it.
fn serve_connection(mut stream: TcpStream, from: SocketAddr, state: &State) -> Option<()> {
    loop {
        let mut prefix = [0; 2];
        stream.read_exact(&mut prefix).ok()?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(prefix))];
        stream.read_exact(&mut message).ok()?;
        let response = state.answer(&message, true, from);
        let after = match (state.fault(&message), response) {
            (Some(fault), Some(response)) => {
                let question = wire::parse(&message).ok()?;
                fault::send(&mut stream, fault, &question, &response)?
            }
            (None, Some(response)) => {
                stream.write_all(&fault::framed(&response)).ok()?;
                After::Serve
            }
            (_, None) => After::Silence,
        };
        match after {
            After::Serve => {}
            // As a server that waits for its own upstream: what comes behind is not looked at.
            After::Silence => {
                fault::drain(&mut stream);
                return None;
            }
            After::End => return None,
        }
    }
}

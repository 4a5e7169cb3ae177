//! A scripted DNS server inside a pod's network: says what it is told, and remembers who asked.

use crate::{
    namespace::Namespaces,
    recording::{Recording, Recordings, query},
    wire::{self, Question, Record, kind, rcode},
};
use anyhow::{Context, Result};
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    io::{Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// What a name does instead of being looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behavior {
    /// An answer with this code and nothing else, see [`rcode`].
    Answer(u8),
    /// No answer at all.
    Drop,
}

/// Answers a whole message in place of the script; the flag says that it came over TCP. Nothing:
/// no answer is sent.
pub type Upstream = Arc<dyn Fn(&[u8], bool) -> Option<Vec<u8>> + Send + Sync>;

/// Everything that a server knows. A name without records that other names lie below is NODATA,
/// any other is NXDOMAIN. For names in the cluster's zones recordings, or a real server, can take
/// the place of the records; names that misbehave do so all the same.
#[derive(Clone, Default)]
pub struct Script {
    records: HashMap<(String, u16), Vec<Vec<u8>>>,
    names: HashSet<String>,
    behaviors: HashMap<(String, Option<u16>), Behavior>,
    recordings: Option<Arc<Recordings>>,
    upstream: Option<Upstream>,
}

impl fmt::Debug for Script {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Script")
            .field("names", &self.names)
            .field("behaviors", &self.behaviors)
            .finish_non_exhaustive()
    }
}

impl Script {
    /// Adds A or AAAA records.
    #[must_use]
    pub fn addresses(mut self, name: &str, addresses: &[&str]) -> Self {
        for text in addresses {
            let address: IpAddr = text
                .parse()
                .unwrap_or_else(|_| panic!("{text}: no address"));
            let (kind, data) = wire::address(address);
            self.add(name, kind, data);
        }
        self
    }

    /// Adds a CNAME record.
    #[must_use]
    pub fn alias(mut self, name: &str, target: &str) -> Self {
        self.add(name, kind::CNAME, wire::name(target));
        self
    }

    /// Adds a PTR record at the reverse name of `address`.
    #[must_use]
    pub fn pointer(mut self, address: &str, target: &str) -> Self {
        let address: IpAddr = address
            .parse()
            .unwrap_or_else(|_| panic!("{address}: no address"));
        self.add(&reverse_name(address), kind::PTR, wire::name(target));
        self
    }

    /// A name that exists without records.
    #[must_use]
    pub fn empty(mut self, name: &str) -> Self {
        self.exists(&name.to_lowercase());
        self
    }

    /// A name that misbehaves.
    #[must_use]
    pub fn behavior(mut self, name: &str, behavior: Behavior) -> Self {
        self.behaviors.insert((name.to_lowercase(), None), behavior);
        self
    }

    /// A name that misbehaves when asked for one type.
    #[must_use]
    pub fn behavior_of(mut self, name: &str, kind: u16, behavior: Behavior) -> Self {
        self.behaviors
            .insert((name.to_lowercase(), Some(kind)), behavior);
        self
    }

    /// Answers from `recordings` whatever they hold, before its own records.
    #[must_use]
    pub fn recorded(mut self, recordings: Arc<Recordings>) -> Self {
        self.recordings = Some(recordings);
        self
    }

    /// Hands every question for a name in the cluster's zones to `upstream`.
    #[must_use]
    pub fn forwarded(mut self, upstream: Upstream) -> Self {
        self.upstream = Some(upstream);
        self
    }

    /// Adds a record of any type.
    #[must_use]
    pub fn record(mut self, name: &str, kind: u16, data: Vec<u8>) -> Self {
        self.add(name, kind, data);
        self
    }

    fn add(&mut self, name: &str, kind: u16, data: Vec<u8>) {
        let name = name.to_lowercase();
        self.exists(&name);
        self.records.entry((name, kind)).or_default().push(data);
    }

    /// The name and everything above it exists (RFC 8020).
    fn exists(&mut self, name: &str) {
        let mut rest = Some(name);
        while let Some(name) = rest {
            self.names.insert(name.to_owned());
            rest = name.split_once('.').map(|(_, parent)| parent);
        }
    }

    /// What was recorded for a question.
    fn recording(&self, question: &Question) -> Option<&Recording> {
        let recordings = self.recordings.as_ref()?;
        recordings.find(&question.name, question.kind)
    }

    /// The response, or nothing when none is to be sent.
    pub fn answer(&self, question: &Question, limit: usize) -> Option<Vec<u8>> {
        let respond = |code, answers: &[Record]| {
            let mut message = wire::respond(question, code, answers, "cluster.local", limit);
            // CoreDNS offers no recursion in the zones that it has itself, and outside of them hands
            // on what is not authoritative.
            if is_in_cluster(&question.name) {
                message[3] &= !0b1000_0000;
            } else {
                message[2] &= !0b100;
            }
            Some(message)
        };
        let behavior = [Some(question.kind), None]
            .iter()
            .find_map(|kind| self.behaviors.get(&(question.name.clone(), *kind)));
        match behavior {
            Some(Behavior::Answer(code)) => return respond(*code, &[]),
            Some(Behavior::Drop) => return None,
            None => {}
        }
        if let Some(recording) = self.recording(question) {
            return Some(recording.respond(question, limit));
        }
        let mut answers = Vec::new();
        let mut owner = question.name.clone();
        for _ in 0..8 {
            if let Some(found) = self.records.get(&(owner.clone(), question.kind)) {
                answers.extend(found.iter().map(|data| Record {
                    owner: owner.clone(),
                    kind: question.kind,
                    data: data.clone(),
                }));
                return respond(rcode::NOERROR, &answers);
            }
            let Some(target) = self.records.get(&(owner.clone(), kind::CNAME)) else {
                break;
            };
            let data = target[0].clone();
            let next = wire_text(&data);
            answers.push(Record {
                owner,
                kind: kind::CNAME,
                data,
            });
            owner = next;
        }
        // CoreDNS's kubernetes plugin denies a reverse name that it is not asked the pointer of.
        let code = if self.names.contains(&owner) && !owner.ends_with(".arpa") {
            rcode::NOERROR
        } else {
            rcode::NXDOMAIN
        };
        // It drops the alias when its target, being in the zone, lacks the family.
        if code == rcode::NOERROR && is_in_cluster(&owner) {
            answers.clear();
        }
        respond(code, &answers)
    }
}

/// `4.3.2.1.in-addr.arpa` or the `ip6.arpa` form.
pub fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let nibbles: Vec<String> = v6
                .octets()
                .iter()
                .rev()
                .map(|byte| format!("{:x}.{:x}", byte & 15, byte >> 4))
                .collect();
            format!("{}.ip6.arpa", nibbles.join("."))
        }
    }
}

/// Whether the cluster's DNS has the name in one of its zones: the cluster's own, and reverse
/// lookup of addresses that the fixture gives to services and pods.
pub fn is_in_cluster(name: &str) -> bool {
    ["cluster.local", "10.in-addr.arpa", "0.0.d.f.ip6.arpa"]
        .iter()
        .any(|zone| {
            let above = name.strip_suffix(zone);
            above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
        })
}

/// One question that the server saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Lower case, no trailing dot.
    pub name: String,
    /// See [`kind`].
    pub kind: u16,
    /// Over TCP.
    pub tcp: bool,
}

/// Asked by the server of itself: what came before it has then been served.
const MARK: &str = "mark.invalid";

/// A running server; it stops when dropped.
pub struct Server {
    state: Arc<State>,
    listener: TcpListener,
    /// Asks for [`MARK`].
    marker: UdpSocket,
}

struct State {
    script: Script,
    log: Mutex<Vec<Asked>>,
    unrecorded: Mutex<BTreeSet<(String, u16)>>,
    stop: AtomicBool,
}

impl Server {
    /// Listens on port 53 of `address` inside the namespaces, UDP and TCP.
    pub fn start(namespaces: &Namespaces, address: &str, script: Script) -> Result<Self> {
        let address = SocketAddr::new(address.parse()?, 53);
        let (udp, listener, marker) = namespaces
            .with_network(|| {
                let marker = UdpSocket::bind((address.ip(), 0))?;
                let server = (UdpSocket::bind(address)?, TcpListener::bind(address)?);
                marker.connect(address)?;
                Ok((server.0, server.1, marker))
            })
            .with_context(|| format!("DNS server on {address}"))?;
        marker.set_read_timeout(Some(Duration::from_secs(10)))?;
        // Between two questions it looks whether it should stop.
        udp.set_read_timeout(Some(Duration::from_millis(100)))?;
        let state = Arc::new(State {
            script,
            log: Mutex::default(),
            unrecorded: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let server = Self {
            state: Arc::clone(&state),
            listener: listener.try_clone()?,
            marker,
        };
        let for_tcp = Arc::clone(&state);
        thread::spawn(move || serve_udp(&udp, &state));
        thread::spawn(move || serve_tcp(&listener, &for_tcp));
        Ok(server)
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
        use std::os::fd::AsRawFd;
        self.state.stop.store(true, Ordering::Relaxed);
        // SAFETY: the listener's descriptor is open; shutdown wakes the thread that accepts.
        unsafe { libc::shutdown(self.listener.as_raw_fd(), libc::SHUT_RDWR) };
    }
}

impl State {
    fn log(&self) -> std::sync::MutexGuard<'_, Vec<Asked>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, message: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let question = wire::parse(message).ok()?;
        if question.name == MARK {
            return Some(wire::respond(&question, rcode::NOERROR, &[], MARK, 512));
        }
        self.log().push(Asked {
            name: question.name.clone(),
            kind: question.kind,
            tcp,
        });
        if is_in_cluster(&question.name) {
            if let Some(upstream) = &self.script.upstream {
                return upstream(message, tcp);
            }
            if self.script.recordings.is_some() && self.script.recording(&question).is_none() {
                let held = self.unrecorded.lock();
                let mut held = held.unwrap_or_else(PoisonError::into_inner);
                held.insert((question.name.clone(), question.kind));
            }
        }
        // RFC 1035 section 4.2.1 without EDNS; section 4.2.2.
        self.script
            .answer(&question, if tcp { 65_535 } else { 512 })
    }
}

fn serve_udp(socket: &UdpSocket, state: &State) {
    let mut buffer = [0; 4096];
    while !state.stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = socket.recv_from(&mut buffer) else {
            continue;
        };
        if let Some(response) = state.answer(&buffer[..length], false) {
            // A client that has gone is no matter.
            let _ = socket.send_to(&response, from);
        }
    }
}

fn serve_tcp(listener: &TcpListener, state: &Arc<State>) {
    while let Ok((stream, _)) = listener.accept() {
        let state = Arc::clone(state);
        thread::spawn(move || serve_connection(stream, &state));
    }
}

/// Serves one connection until its end; errors end it.
fn serve_connection(mut stream: TcpStream, state: &State) -> Option<()> {
    loop {
        let mut prefix = [0; 2];
        stream.read_exact(&mut prefix).ok()?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(prefix))];
        stream.read_exact(&mut message).ok()?;
        if let Some(response) = state.answer(&message, true) {
            let mut framed = u16::try_from(response.len()).ok()?.to_be_bytes().to_vec();
            framed.extend(response);
            stream.write_all(&framed).ok()?;
        }
    }
}

/// An uncompressed wire name as text.
fn wire_text(wire: &[u8]) -> String {
    let mut labels = Vec::new();
    let mut rest = wire;
    while let Some((&length, tail)) = rest.split_first() {
        if length == 0 {
            break;
        }
        let (label, next) = tail.split_at(usize::from(length).min(tail.len()));
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        rest = next;
    }
    labels.join(".")
}

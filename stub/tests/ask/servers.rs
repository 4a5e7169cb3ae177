//! Name servers on loopback addresses of their own, each misbehaving in its own way.

#![allow(dead_code, reason = "each test file uses some of these")]
#![allow(unreachable_pub, reason = "a module of test files")]

use nss_k8s_stub::ask::{Asked, Share, Way, ask_port};
use nss_k8s_stub::resolv_conf::{ResolvConf, Surroundings};
use nss_k8s_stub::sys::Libc;
use nss_k8s_stub::{Address, Families, Name};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Record types.
pub const A: u16 = 1;
/// IPv6.
pub const AAAA: u16 = 28;
/// An alias.
pub const CNAME: u16 = 5;

/// One message that came in.
#[derive(Clone, Debug)]
pub struct Query {
    /// Without its length.
    pub message: Vec<u8>,
    /// As text.
    pub name: String,
    /// The record type.
    pub kind: u16,
}

impl Query {
    pub fn parse(message: Vec<u8>) -> Self {
        let mut name = Vec::new();
        let mut at = 12;
        while message[at] != 0 {
            let end = at + 1 + usize::from(message[at]);
            name.push(String::from_utf8_lossy(&message[at + 1..end]).into_owned());
            at = end;
        }
        Self {
            kind: u16::from_be_bytes([message[at + 1], message[at + 2]]),
            name: name.join("."),
            message,
        }
    }

    /// A reply with a response code and records.
    pub fn reply(&self, code: u8, records: &[Record]) -> Vec<u8> {
        let name = wire(&self.name);
        let mut reply = self.message[..12 + name.len() + 4].to_vec();
        reply[2] |= 0x80;
        reply[3] = 0x80 | code;
        reply[6..8].copy_from_slice(&(records.len() as u16).to_be_bytes());
        reply[10..12].copy_from_slice(&[0, 0]);
        for record in records {
            match &record.owner {
                Some(owner) => reply.extend(wire(owner)),
                None => reply.extend([0xc0, 12]),
            }
            reply.extend(record.kind.to_be_bytes());
            reply.extend([0, 1, 0, 0, 0, 30]);
            reply.extend((record.data.len() as u16).to_be_bytes());
            reply.extend(&record.data);
        }
        reply
    }
}

/// A record of class IN; of the question's name when there is no owner.
#[derive(Clone, Debug)]
pub struct Record {
    pub owner: Option<String>,
    pub kind: u16,
    pub data: Vec<u8>,
}

impl Record {
    pub fn v4(last: u8) -> Self {
        Self::of(A, vec![192, 0, 2, last])
    }

    pub fn v6(last: u8) -> Self {
        let mut data = vec![0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        data[15] = last;
        Self::of(AAAA, data)
    }

    pub fn alias(target: &str) -> Self {
        Self::of(CNAME, wire(target))
    }

    pub fn of(kind: u16, data: Vec<u8>) -> Self {
        Self {
            owner: None,
            kind,
            data,
        }
    }

    pub fn owned_by(mut self, owner: &str) -> Self {
        self.owner = Some(owner.to_owned());
        self
    }
}

/// A name as labels.
pub fn wire(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        octets.push(label.len() as u8);
        octets.extend(label.as_bytes());
    }
    octets.push(0);
    octets
}

/// A message behind its length.
pub fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

/// What a server saw.
#[derive(Clone, Default)]
pub struct Seen {
    queries: Arc<Mutex<Vec<Query>>>,
    connections: Arc<AtomicU32>,
    /// Connections that the other side has reset.
    resets: Arc<AtomicU32>,
    finished: Arc<AtomicU32>,
}

impl Seen {
    pub fn queries(&self) -> Vec<Query> {
        self.queries.lock().unwrap().clone()
    }

    pub fn kinds(&self) -> Vec<u16> {
        let mut kinds: Vec<_> = self.queries().iter().map(|query| query.kind).collect();
        kinds.sort_unstable();
        kinds
    }

    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many connections were reset by the client, once `count` of them are over.
    pub fn resets_of(&self, count: u32) -> u32 {
        wait_until(|| self.finished.load(Ordering::SeqCst) >= count);
        self.resets.load(Ordering::SeqCst)
    }
}

/// A server on an address of its own.
pub struct Server {
    pub address: Ipv4Addr,
    pub port: u16,
    pub seen: Seen,
}

/// An address that no other test uses: what a process remembers of servers goes by address.
pub fn fresh_address() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let [_, _, c, d] = NEXT.fetch_add(1, Ordering::SeqCst).to_be_bytes();
    Ipv4Addr::new(127, 77, c, d)
}

/// A server that calls `behave` for each query.
pub fn serve(behave: impl Fn(&mut TcpStream, &Query) + Send + Sync + 'static) -> Server {
    serve_beside(0, behave)
}

/// The same on another server's port.
pub fn serve_beside(
    port: u16,
    behave: impl Fn(&mut TcpStream, &Query) + Send + Sync + 'static,
) -> Server {
    let address = fresh_address();
    let listener = TcpListener::bind((address, port)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let seen = Seen::default();
    let (witness, behave) = (seen.clone(), Arc::new(behave));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (witness, behave) = (witness.clone(), Arc::clone(&behave));
            witness.connections.fetch_add(1, Ordering::SeqCst);
            thread::spawn(move || {
                let mut stream = stream.unwrap();
                loop {
                    match read_query(&mut stream) {
                        Ok(query) => {
                            witness.queries.lock().unwrap().push(query.clone());
                            behave(&mut stream, &query);
                        }
                        Err(error) => {
                            if error.kind() == std::io::ErrorKind::ConnectionReset {
                                witness.resets.fetch_add(1, Ordering::SeqCst);
                            }
                            witness.finished.fetch_add(1, Ordering::SeqCst);
                            return;
                        }
                    }
                }
            });
        }
    });
    Server {
        address,
        port,
        seen,
    }
}

/// One message of a stream.
pub fn read_query(stream: &mut impl Read) -> std::io::Result<Query> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message)?;
    Ok(Query::parse(message))
}

/// Sends a whole message; the client may be gone.
pub fn send(stream: &mut impl Write, message: &[u8]) {
    let _ = stream.write_all(&framed(message));
}

/// Two addresses of each family.
pub fn answer(stream: &mut impl Write, query: &Query) {
    send(stream, &good(query));
}

pub fn good(query: &Query) -> Vec<u8> {
    match query.kind {
        A => query.reply(0, &[Record::v4(1), Record::v4(2)]),
        _ => query.reply(0, &[Record::v6(1), Record::v6(2)]),
    }
}

/// Waits for an event, for ten seconds.
pub fn wait_until(mut is_true: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !is_true() {
        assert!(Instant::now() < end, "waited in vain");
        thread::yield_now();
    }
}

/// What came of a question.
#[derive(Debug, PartialEq, Eq)]
pub struct Got {
    pub asked: Asked,
    /// As text.
    pub addresses: Vec<String>,
    pub canonical: String,
}

/// How a test asks.
pub struct Client {
    pub libc: Libc,
    pub options: &'static str,
    pub families: Families,
    pub room: usize,
}

pub const GLIBC: Client = Client {
    libc: Libc::Glibc,
    options: "timeout:4",
    families: Families::BOTH,
    room: 16,
};
pub const MUSL: Client = Client {
    libc: Libc::Musl,
    ..GLIBC
};

impl Client {
    pub fn resolv_conf(&self, servers: &[Ipv4Addr]) -> ResolvConf {
        let mut text = format!("search a.example\noptions {}\n", self.options);
        for server in servers {
            text += &format!("nameserver {server}\n");
        }
        ResolvConf::parse(self.libc, text.as_bytes(), &Surroundings::default()).unwrap()
    }

    pub fn ask(&self, servers: &[&Server], name: &str) -> Got {
        let addresses: Vec<_> = servers.iter().map(|server| server.address).collect();
        self.ask_at(servers[0].port, &addresses, name)
    }

    pub fn ask_at(&self, port: u16, servers: &[Ipv4Addr], name: &str) -> Got {
        self.ask_in(&mut Share::new(), port, servers, name)
    }

    pub fn ask_in(&self, share: &mut Share, port: u16, servers: &[Ipv4Addr], name: &str) -> Got {
        self.ask_way(Way::Pod, share, port, servers, name)
    }

    pub fn ask_way(
        &self,
        way: Way<'_>,
        share: &mut Share,
        port: u16,
        servers: &[Ipv4Addr],
        name: &str,
    ) -> Got {
        let resolv_conf = self.resolv_conf(servers);
        let mut room = vec![Address::UNSPECIFIED; self.room];
        let mut canonical = Name::new();
        let (libc, families, name) = (self.libc, self.families, name.as_bytes());
        let asked = ask_port(
            port,
            way,
            libc,
            &resolv_conf,
            share,
            name,
            families,
            &mut room,
            &mut canonical,
        );
        let Asked::Answer { count } = asked else {
            return Got {
                asked,
                addresses: Vec::new(),
                canonical: String::new(),
            };
        };
        let text = |address: &Address| match address.octets {
            [a, b, c, d, ..] if address.family == nss_k8s_stub::Family::V4 => {
                Ipv4Addr::new(a, b, c, d).to_string()
            }
            octets => std::net::Ipv6Addr::from(octets).to_string(),
        };
        Got {
            asked,
            addresses: room[..count].iter().map(text).collect(),
            canonical: String::from_utf8_lossy(canonical.as_bytes()).into_owned(),
        }
    }
}

impl Got {
    pub fn no(asked: Asked) -> Self {
        Self {
            asked,
            addresses: Vec::new(),
            canonical: String::new(),
        }
    }

    pub fn answer(addresses: &[&str], canonical: &str) -> Self {
        Self {
            asked: Asked::Answer {
                count: addresses.len(),
            },
            addresses: addresses.iter().map(|text| (*text).to_owned()).collect(),
            canonical: canonical.to_owned(),
        }
    }
}

/// What [`answer`] gives glibc.
pub fn good_answer() -> Got {
    Got::answer(
        &["192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2"],
        "",
    )
}

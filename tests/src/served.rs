//! The agent's DNS listener as clients see it, and how its answers may differ from CoreDNS's.

use crate::{
    recording::{self, Recording},
    wire::{kind, rcode},
    zonefile::{Agent, wait},
};
use anyhow::{Context, Result, ensure};
use std::{
    fmt,
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::Duration,
};

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// Octets of an OPT record without options.
const OPT: usize = 11;

/// The differences that [`compare`] knows, each with its row in docs/COMPATIBILITY.md; sorted.
pub const DIFFERENCES: &[&str] = &[
    "empty-non-terminal",
    "labels-left-of-a-pod",
    "text-of-existing-names",
];

/// Where an agent whose configured port is 0 listens.
pub fn address(agent: &Agent) -> Result<SocketAddr> {
    let mut found = None;
    let listening = |log: String| {
        let (_, rest) = log.split_once("listening for DNS address=")?;
        rest.split_whitespace().next()?.parse().ok()
    };
    wait(|| {
        found = listening(agent.log());
        Ok(found.is_some())
    })
    .with_context(|| agent.log())?;
    found.context("no address")
}

/// Somebody who asks.
pub enum Client {
    /// Over a connection.
    Stream(TcpStream),
    /// In datagrams.
    Datagrams {
        /// Connected.
        socket: UdpSocket,
        /// The size that is offered with EDNS, if it is used.
        payload: Option<u16>,
    },
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Stream(_) => "TCP",
            Self::Datagrams { payload: None, .. } => "UDP",
            Self::Datagrams { .. } => "UDP with EDNS",
        })
    }
}

impl Client {
    /// Over a connection.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self::Stream(stream))
    }

    /// In datagrams.
    pub fn datagrams(address: SocketAddr) -> Result<Self> {
        let any = if address.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let payload = None;
        Ok(Self::Datagrams { socket, payload })
    }

    /// The same without EDNS.
    pub fn plain(&self) -> Self {
        self.again(None)
    }

    /// The same with EDNS, taking answers of so many octets.
    pub fn extended(&self, payload: u16) -> Self {
        self.again(Some(payload))
    }

    fn again(&self, payload: Option<u16>) -> Self {
        match self {
            Self::Stream(stream) => Self::Stream(stream.try_clone().expect("a descriptor")),
            Self::Datagrams { socket, .. } => Self::Datagrams {
                socket: socket.try_clone().expect("a descriptor"),
                payload,
            },
        }
    }

    /// One question and its answer; a datagram that is cut is asked again over a connection.
    pub fn ask(&mut self, name: &str, kind: u16) -> Result<Vec<u8>> {
        let mut query = recording::query(0x2a17, name, kind);
        if let Self::Datagrams {
            payload: Some(payload),
            ..
        } = self
        {
            let [high, low] = payload.to_be_bytes();
            query[11] = 1;
            query.extend([0, 0, 41, high, low, 0, 0, 0, 0, 0, 0]);
        }
        let extended = query[11] == 1;
        let answer = self.exchange(&query)?;
        let end = query.len() - if extended { OPT } else { 0 };
        ensure!(answer.get(12..end) == query.get(12..end), "the question");
        ensure!(
            answer[2] & 0x81 == 0x81 && answer[2] & 0x78 == 0,
            "QR, opcode, RD"
        );
        // It is the last record.
        let last = answer.len().saturating_sub(OPT);
        let opt = answer
            .get(last..)
            .unwrap_or_default()
            .starts_with(&[0, 0, 41]);
        ensure!(opt == extended, "an OPT record exactly if there was one");
        if answer[2] & 2 != 0
            && let Self::Datagrams { socket, .. } = self
        {
            let address = socket.peer_addr()?;
            return Self::connect(address)?.ask(name, kind);
        }
        Ok(answer)
    }

    /// One message and its answer.
    pub fn exchange(&mut self, query: &[u8]) -> Result<Vec<u8>> {
        let answer = match self {
            Self::Stream(stream) => {
                let mut framed = u16::try_from(query.len())?.to_be_bytes().to_vec();
                framed.extend(query);
                stream.write_all(&framed)?;
                read_framed(stream)?
            }
            Self::Datagrams { socket, .. } => {
                let mut room = vec![0; 65_535];
                socket.send(query)?;
                let length = socket.recv(&mut room)?;
                room.truncate(length);
                room
            }
        };
        ensure!(answer.len() >= 12, "a short answer");
        ensure!(answer.get(..2) == query.get(..2), "another message's id");
        Ok(answer)
    }
}

/// One message of a connection.
pub fn read_framed(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut prefix = [0; 2];
    stream.read_exact(&mut prefix)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(prefix))];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// Whether an upstream may be asked for it, or have been: reverse names, the cluster's name server,
/// names outside and what leads to them, and SRV of names below services, of which only ports are
/// held.
pub fn may_be_forwarded(name: &str, kind: u16) -> bool {
    const BELOW: [&str; 2] = ["_tcp.web.shop", "sub.api.shop"];
    let Some(own) = name.strip_suffix("cluster.local") else {
        return true;
    };
    let service = own.strip_suffix(".svc.").unwrap_or_default();
    (own.is_empty() && kind == kind::NS)
        || own.ends_with("ns.dns.")
        || service == "legacy.shop"
        || (kind == kind::SRV && BELOW.contains(&service))
}

/// Compares an answer of ours with what CoreDNS says to the same question. `Some`: it differs in the
/// way of that name.
pub fn compare(answer: &[u8], expected: &Recording) -> Result<Option<&'static str>> {
    let mut ours = Recording::from_message(answer)?;
    if may_be_forwarded(&expected.name, expected.kind) {
        // It may have been held for a second or two.
        for (ours, theirs) in ours.sections.iter_mut().zip(&expected.sections) {
            for (ours, theirs) in ours.iter_mut().zip(theirs) {
                if ours.ttl < theirs.ttl {
                    ours.ttl = theirs.ttl;
                }
            }
            ours.sort_unstable();
        }
    }
    ensure!(answer[3] & 0x40 == 0 && answer[2] & 0x40 == 0, "Z, opcode");
    if ours == *expected {
        // CoreDNS offers no recursion in its own zones.
        ensure!(!ours.authoritative || answer[3] & 0x80 == 0, "RA: {ours}");
        return Ok(None);
    }
    let difference = difference(&ours, expected);
    ensure!(
        difference.is_some(),
        "\n CoreDNS: {expected}\n    ours: {ours}"
    );
    Ok(difference)
}

fn difference(ours: &Recording, theirs: &Recording) -> Option<&'static str> {
    let same_but_code = |ours_code, their_code| {
        let turned = Recording {
            code: theirs.code,
            ..ours.clone()
        };
        (ours.code, theirs.code) == (ours_code, their_code) && turned == *theirs
    };
    let first = ours.name.split('.').next().unwrap_or_default();
    let hollow = ["dns", "dns-version", "_tcp", "_udp"].contains(&first);
    if hollow && same_but_code(rcode::NOERROR, rcode::NXDOMAIN) {
        return Some("empty-non-terminal");
    }
    if ours.kind == kind::TXT && same_but_code(rcode::NOERROR, rcode::NXDOMAIN) {
        return Some("text-of-existing-names");
    }
    let below_pod = ours.name.strip_suffix(".pod.cluster.local");
    if below_pod.is_some_and(|labels| labels.matches('.').count() > 1)
        && (ours.code, theirs.code) == (rcode::NXDOMAIN, rcode::NOERROR)
    {
        return Some("labels-left-of-a-pod");
    }
    None
}

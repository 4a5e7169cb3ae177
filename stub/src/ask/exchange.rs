//! One exchange with one server: the questions out, and the replies to them in, within a time. Two
//! questions take two connections to a nameserver: CoreDNS answers one connection in series, and a
//! question that takes long would hold up the other. The forwarder takes both in one write and
//! replies in any order.

use super::queries::{PREFIX, Queries};
use crate::sys::{Failure, HeapBytes, Ready, Stream, monotonic, wait};
use nss_k8s_zone::Address;

/// Replies up to this length are read on the stack: whatever fits a UDP packet of old, and most
/// others.
const NEAR: usize = 512;

/// Whom to connect to.
#[derive(Clone, Copy)]
pub(super) enum Peer<'a> {
    /// A nameserver.
    Nameserver {
        address: &'a Address,
        scope: u32,
        port: u16,
    },
    /// A Unix socket in a directory, whose name ends with a slash.
    Local { directory: &'a [u8] },
}

/// The forwarder's file.
const SOCKET_FILE: &[u8] = b"forward.sock";

/// Why there are no replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// This process could not ask.
    Here,
    /// The other side took no connection, and said so.
    Refused,
    /// It was silent: a packet may be lost. Or a connection came about, but not every reply.
    Failed,
}

/// Until when, in monotonic milliseconds.
#[derive(Clone, Copy)]
pub(super) struct Deadlines {
    /// Connections are established.
    pub(super) connected: u64,
    /// Replies are here.
    pub(super) replied: u64,
}

/// One message, as far as it has come.
pub(super) struct Incoming {
    /// The length as it comes.
    prefix: [u8; PREFIX],
    near: [u8; NEAR],
    far: Option<HeapBytes>,
    /// Octets of length and message together.
    received: usize,
}

impl Incoming {
    /// Nothing.
    pub(super) const fn new() -> Self {
        Self {
            prefix: [0; PREFIX],
            near: [0; NEAR],
            far: None,
            received: 0,
        }
    }

    /// Forgets it.
    pub(super) fn clear(&mut self) {
        self.prefix = [0; PREFIX];
        self.far = None;
        self.received = 0;
    }

    /// What has come of the message.
    pub(super) fn as_bytes(&self) -> &[u8] {
        let room = match &self.far {
            Some(far) => far.as_slice(),
            None => &self.near,
        };
        let received = self.received.saturating_sub(PREFIX);
        room.get(..received).unwrap_or(&[])
    }

    /// Reads what is there; whether the message is complete.
    fn fill(&mut self, stream: &Stream) -> Result<bool, Failure> {
        loop {
            let length = usize::from(u16::from_be_bytes(self.prefix));
            let whole = length.saturating_add(PREFIX);
            let room = if self.received < PREFIX {
                self.prefix.get_mut(self.received..)
            } else {
                if length > NEAR && self.far.is_none() {
                    self.far = Some(HeapBytes::new(length).ok_or(Failure::Here)?);
                }
                let room = match &mut self.far {
                    Some(far) => far.as_mut_slice(),
                    None => &mut self.near,
                };
                room.get_mut(self.received.saturating_sub(PREFIX)..length)
            };
            match room {
                Some([]) | None => return Ok(self.received >= whole),
                Some(room) => match stream.receive(room)? {
                    Ready::Octets(count) => self.received = self.received.saturating_add(count),
                    Ready::Later => return Ok(false),
                },
            }
        }
    }
}

/// A connection with what is still to be sent on it.
struct Lane<'q> {
    stream: Stream,
    unsent: &'q [u8],
    is_established: bool,
    /// Of each query: its reply is to come on this connection.
    awaits: [bool; 2],
    /// Where the next message goes.
    into: usize,
}

impl<'q> Lane<'q> {
    fn open(
        peer: Peer<'_>,
        unsent: &'q [u8],
        awaits: [bool; 2],
        into: usize,
    ) -> Result<Self, Broken> {
        let opened = match peer {
            Peer::Nameserver {
                address,
                scope,
                port,
            } => Stream::tcp(address, scope, port),
            Peer::Local { directory } => Stream::local(directory, SOCKET_FILE),
        };
        Ok(Self {
            stream: opened.map_err(|failure| broken(failure, false))?,
            unsent,
            is_established: matches!(peer, Peer::Local { .. }),
            awaits,
            into,
        })
    }

    /// Whether every reply is here.
    fn is_done(&self) -> bool {
        self.awaits == [false; 2]
    }

    /// Goes on until it would have to wait. `places` learns where the reply to each query is.
    fn advance(
        &mut self,
        queries: &Queries,
        replies: &mut [Incoming; 2],
        places: &mut [usize; 2],
    ) -> Result<(), Failure> {
        while !self.unsent.is_empty() {
            let Ready::Octets(count) = self.stream.send(self.unsent)? else {
                return Ok(());
            };
            self.is_established = true;
            self.unsent = self.unsent.get(count..).unwrap_or(&[]);
            if self.unsent.is_empty() {
                // No server is that fast.
                return Ok(());
            }
        }
        while !self.is_done() {
            let incoming = replies.get_mut(self.into).ok_or(Failure::Here)?;
            if !incoming.fill(&self.stream)? {
                return Ok(());
            }
            let query = queries.index_of(incoming.as_bytes());
            let awaited = query.and_then(|query| self.awaits.get_mut(query));
            let place = query.and_then(|query| places.get_mut(query));
            match (awaited, place) {
                (Some(awaited), Some(place)) if *awaited => {
                    *awaited = false;
                    *place = self.into;
                    self.into = 1;
                }
                // A reply to nobody's question, or a lie: the right one may follow. Whoever sends such
                // without end must not keep us from looking at the clock.
                _ => {
                    incoming.clear();
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Sends and receives. Afterwards the reply to query `n` is in `replies[places[n]]`.
#[inline(never)]
pub(super) fn exchange(
    peer: Peer<'_>,
    queries: &Queries,
    deadlines: Deadlines,
    replies: &mut [Incoming; 2],
) -> Result<[usize; 2], Broken> {
    let mut places = [0; 2];
    let mut lanes = [None, None];
    let has_two = queries.count() > 1;
    let apart = has_two && matches!(peer, Peer::Nameserver { .. });
    for (into, place) in lanes.iter_mut().enumerate() {
        let (unsent, awaits) = match (into, apart) {
            (0, false) => (queries.as_bytes(), [true, has_two]),
            (0, true) => (queries.framed(0), [true, false]),
            (_, true) => (queries.framed(1), [false, true]),
            (_, false) => continue,
        };
        *place = Some(Lane::open(peer, unsent, awaits, into)?);
    }
    converse(queries, deadlines, replies, &mut lanes, &mut places).map(|()| places)
}

/// The same on connections that are open; they are closed in one place, by who opened them.
#[inline(never)]
fn converse(
    queries: &Queries,
    deadlines: Deadlines,
    replies: &mut [Incoming; 2],
    lanes: &mut [Option<Lane<'_>>; 2],
    places: &mut [usize; 2],
) -> Result<(), Broken> {
    // Who is not connected yet could only be told to wait.
    let is_up = |lane: &Option<Lane<'_>>| lane.as_ref().is_some_and(|lane| lane.is_established);
    let mut ready = lanes.each_ref().map(is_up);
    // Whether any connection came about: a server that takes one does take connections.
    let mut has_met = false;
    loop {
        let mut is_connected = true;
        for (slot, is_ready) in lanes.iter_mut().zip(ready) {
            let Some(lane) = slot else { continue };
            if is_ready {
                let moved = lane.advance(queries, replies, places);
                has_met |= lane.is_established;
                moved.map_err(|failure| broken(failure, has_met))?;
            }
            is_connected &= lane.is_established;
            if lane.is_done() {
                *slot = None;
            }
        }
        let [first, second] = &*lanes;
        if first.is_none() && second.is_none() {
            return Ok(());
        }
        let deadline = if is_connected {
            deadlines.replied
        } else {
            deadlines.connected
        };
        let left = deadline.saturating_sub(monotonic());
        if left == 0 {
            return Err(Broken::Failed);
        }
        let waiting = [first, second].map(|lane| {
            let lane = lane.as_ref()?;
            Some((&lane.stream, !lane.unsent.is_empty()))
        });
        ready = wait(waiting, left).map_err(|failure| broken(failure, true))?;
    }
}

const fn broken(failure: Failure, has_met: bool) -> Broken {
    match failure {
        Failure::Here => Broken::Here,
        Failure::There if has_met => Broken::Failed,
        Failure::There => Broken::Refused,
    }
}

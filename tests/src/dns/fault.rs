//! What goes wrong with TCP: a whole port, or the answer to one name.

use crate::wire::{self, Question, Record, kind};
use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    os::fd::AsRawFd,
    thread,
    time::Duration,
};

/// How a server's TCP port fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tcp {
    /// Connections are served, each message after the one before (as CoreDNS does).
    #[default]
    Serves,
    /// Nothing listens: connecting is refused.
    Absent,
    /// The kernel completes connections, and nobody ever reads from them.
    Mute,
    /// The queue of connections is full: the kernel ignores whoever wants to connect.
    Full,
    /// Each connection is reset as soon as it is there.
    Resets,
}

/// What becomes of one answer over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing more is said on that connection.
    Hang,
    /// The connection is closed after so many bytes of the answer, its length included.
    Cut(usize),
    /// The connection is reset after so many bytes.
    Reset(usize),
    /// So many milliseconds late.
    Late(u64),
    /// One byte at a time.
    Slow,
    /// A message of bytes that are none.
    Garbage,
    /// A message of no byte at all, then nothing.
    Empty,
    /// A message that is shorter than a header, then nothing.
    Short,
    /// With another identifier; the right answer follows.
    WrongId,
    /// With another identifier, and nothing follows.
    Liar,
    /// To another question; the right answer follows.
    WrongQuestion,
    /// It is no response.
    Query,
    /// Marked truncated, without a record.
    Truncated,
    /// The first answer's owner is a pointer to itself.
    Loop,
    /// A name in the answer points behind the end.
    Astray,
    /// As long as a message can be: padded by records of no interest.
    Long,
    /// Counts more records than there are.
    Miscounted,
}

impl Fault {
    /// Every one, with numbers that hurt: within the length, the header, the question, the answer.
    pub const ALL: [Self; 21] = [
        Self::Hang,
        Self::Cut(0),
        Self::Cut(1),
        Self::Cut(20),
        Self::Reset(0),
        Self::Reset(1),
        Self::Reset(20),
        Self::Late(50),
        Self::Slow,
        Self::Garbage,
        Self::Empty,
        Self::Short,
        Self::WrongId,
        Self::Liar,
        Self::WrongQuestion,
        Self::Query,
        Self::Truncated,
        Self::Loop,
        Self::Astray,
        Self::Long,
        Self::Miscounted,
    ];

    /// Whether an attentive client gets the right answer all the same.
    pub fn is_survivable(self) -> bool {
        matches!(
            self,
            Self::Late(_) | Self::Slow | Self::WrongId | Self::WrongQuestion | Self::Long
        )
    }

    /// Whether nothing that can be used as an answer ever comes.
    pub fn is_lethal(self) -> bool {
        !self.is_survivable() && self != Self::Truncated
    }
}

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    /// The next message is read.
    Serve,
    /// Nothing more is said.
    Silence,
    /// It is closed.
    End,
}

/// Sends the right answer, spoiled. Nothing: the client is gone.
pub(super) fn send(
    stream: &mut TcpStream,
    fault: Fault,
    question: &Question,
    right: &[u8],
) -> Option<After> {
    let put = |stream: &mut TcpStream, message: &[u8]| stream.write_all(&framed(message)).ok();
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut message = right.to_vec();
        change(&mut message);
        message
    };
    match fault {
        Fault::Hang => return Some(After::Silence),
        Fault::Cut(most) => {
            stream.write_all(first(&framed(right), most)).ok()?;
            stream.shutdown(Shutdown::Write).ok()?;
            return Some(After::Silence);
        }
        Fault::Reset(most) => {
            stream.write_all(first(&framed(right), most)).ok()?;
            reset(stream);
            return Some(After::End);
        }
        Fault::Late(milliseconds) => {
            thread::sleep(Duration::from_millis(milliseconds));
            put(stream, right)?;
        }
        Fault::Slow => {
            stream.set_nodelay(true).ok()?;
            for byte in framed(right) {
                stream.write_all(&[byte]).ok()?;
            }
        }
        Fault::Garbage => {
            let bytes: Vec<u8> = (0..300_u32).map(|at| (at * 167 % 251) as u8).collect();
            put(stream, &bytes)?;
        }
        Fault::Empty => put(stream, &[])?,
        Fault::Short => put(stream, first(right, 5))?,
        Fault::WrongId | Fault::Liar => {
            put(stream, &changed(&|message| message[1] ^= 0x55))?;
            if fault == Fault::WrongId {
                put(stream, right)?;
            }
        }
        Fault::WrongQuestion => {
            // The first letter of the first label.
            put(stream, &changed(&|message| message[13] ^= 1))?;
            put(stream, right)?;
        }
        Fault::Query => put(stream, &changed(&|message| message[2] &= 0x7f))?,
        Fault::Truncated => {
            let mut message = right[..12 + question.raw.len()].to_vec();
            message[2] |= 0b10;
            message[6..12].fill(0);
            put(stream, &message)?;
        }
        Fault::Loop | Fault::Astray => {
            let at = 12 + question.raw.len();
            let to = if fault == Fault::Loop { at } else { 0x3fff };
            let to = u16::try_from(to).ok()? | 0xc000;
            let mut message = right[..at].to_vec();
            message[6..12].copy_from_slice(&[0, 1, 0, 0, 0, 0]);
            message.extend(to.to_be_bytes());
            message.extend([0, 1, 0, 1, 0, 0, 0, 5, 0, 4, 192, 0, 2, 66]);
            put(stream, &message)?;
        }
        Fault::Long => put(stream, &padded(right))?,
        Fault::Miscounted => put(stream, &changed(&|message| message[7] = 200))?,
    }
    Some(After::Serve)
}

/// Closes with a reset: what was not sent is not.
pub(super) fn reset(stream: &TcpStream) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    // SAFETY: the option's value is a linger of that size, alive during the call; a failure leaves
    // an ordinary close. What was written has left first, as the peer is on this machine.
    unsafe {
        libc::setsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            core::mem::size_of::<libc::linger>() as libc::socklen_t,
        );
    }
}

/// Reads and forgets until the peer ends.
pub(super) fn drain(stream: &mut TcpStream) {
    let _ = io::copy(&mut stream.take(1 << 20), &mut io::sink());
}

/// The message behind its length (RFC 1035 section 4.2.2).
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(message);
    bytes
}

/// The message with additional TXT records up to 65,535 bytes.
fn padded(right: &[u8]) -> Vec<u8> {
    let mut message = right.to_vec();
    let mut count = 0_u16;
    loop {
        let room = 65_535 - message.len();
        // Owner, type, class, TTL and length are 11 bytes of the root's record.
        let Some(data) = room.checked_sub(11).filter(|data| *data > 0) else {
            break;
        };
        let record = Record {
            owner: String::new(),
            kind: kind::TXT,
            data: vec![b'x'; data.min(1000)],
            ttl: wire::TTL,
        };
        wire::put_record(&mut message, &record, "-");
        count += 1;
    }
    message[10..12].copy_from_slice(&count.to_be_bytes());
    message
}

/// At most so many.
fn first(bytes: &[u8], most: usize) -> &[u8] {
    &bytes[..most.min(bytes.len())]
}

//! What the zone does not hold, asked of a server: one candidate name in, this libc's verdict on it
//! out. TCP from the process's own network namespace (class `pod`), or the agent's forwarder on a
//! Unix socket (class `node`).
//!
//! Nothing outlives a call but a few words of memory about servers that did not answer: no
//! descriptor, no thread, no lock. Whatever is not certain is [`Asked::NoReply`],
//! [`Asked::Refused`] or [`Asked::Unusable`], and libc then asks in its own way.
//!
//! ```text
//!   ask --> query (message out) --> exchange (sockets, deadlines) --> reply (message in) --> verdict
//!            |                         |
//!            `-- servers: who is skipped, in which order
//! ```

use crate::resolv_conf::ResolvConf;
use crate::sys::Libc;
use core::ffi::CStr;
use nss_k8s_zone::{Address, Families, Name};

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way<'a> {
    /// The nameservers of resolv.conf, over TCP.
    Pod,
    /// The agent's forwarder: `forward.sock` in the directory of the zone file with this path.
    Node {
        /// The path of `zone.v1`.
        zone: &'a CStr,
    },
}

/// What a libc makes of the servers' replies on one candidate, `A` and `AAAA` taken together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// So many entries of the room are filled, in the order in which this libc's own DNS code would
    /// hand them on: glibc IPv4 first, musl IPv6 first and at most 48. They are not to be shuffled:
    /// the order within a family is the server's. `canonical` is the last target of a chain of
    /// CNAMEs, or empty: the candidate itself owns the data.
    Answer {
        /// Entries filled.
        count: usize,
    },
    /// The room is too small: at least so many entries are needed. Asking again asks the server
    /// again.
    Room(usize),
    /// The name exists, the wanted type does not.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// Every server said that it failed, as often as libc would have asked: glibc goes on in the
    /// list and remembers, musl stops ("try again").
    ServFail,
    /// Servers replied, but with REFUSED, NOTIMP, FORMERR or the like: glibc stops the list, musl
    /// waits for its whole timeout.
    Refused,
    /// A reply that this libc takes for an answer, ending its walk, without an address that it
    /// takes (or versions of it differ): libc says it in its own way.
    Unusable,
    /// Nobody could be reached, or replied in our share of the time.
    NoReply,
}

/// Our share of one lookup's time, over all its candidates: at most one second or a quarter of
/// resolv.conf's `timeout`, from the first question on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Share {
    /// Monotonic milliseconds; 0: nothing was asked yet.
    deadline: u64,
}

impl Share {
    /// A whole share.
    pub const fn new() -> Self {
        Self { deadline: 0 }
    }
}

/// The port of every server in resolv.conf.
const PORT: u16 = 53;

/// Asks for one absolute `name` (lower case, no trailing dot), with the `families` that libc would
/// ask for. `errno` stays as it is unless memory for a long reply is refused. A signal handler that
/// leaves by siglongjmp leaves at most this call's two descriptors open.
#[expect(clippy::too_many_arguments, reason = "the ends of one lookup")]
pub fn ask(
    way: Way<'_>,
    libc: Libc,
    resolv_conf: &ResolvConf,
    share: &mut Share,
    name: &[u8],
    families: Families,
    room: &mut [Address],
    canonical: &mut Name,
) -> Asked {
    ask_port(
        PORT,
        way,
        libc,
        resolv_conf,
        share,
        name,
        families,
        room,
        canonical,
    )
}

/// [`ask`] with servers that listen on another port.
#[expect(clippy::too_many_arguments, reason = "as `ask`")]
pub fn ask_port(
    _port: u16,
    _way: Way<'_>,
    _libc: Libc,
    _resolv_conf: &ResolvConf,
    share: &mut Share,
    _name: &[u8],
    _families: Families,
    _room: &mut [Address],
    _canonical: &mut Name,
) -> Asked {
    share.deadline = share.deadline.max(1);
    Asked::NoReply
}

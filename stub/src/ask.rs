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

mod exchange;
mod queries;
mod reply;
mod servers;
mod verdict;

use crate::resolv_conf::{ResolvConf, UNKNOWN_SCOPE};
use crate::sys::{Libc, monotonic, shuffle_seed};
use core::ffi::CStr;
use exchange::{Broken, Deadlines, Incoming, Peer, exchange};
use nss_k8s_zone::{Address, Families, Name};
pub use queries::Queries;
use reply::is_refusal;
use servers::{SKIP, SKIP_ABSENT, SKIP_HUNG, Server};
use verdict::weigh;
pub use verdict::{Verdict, judge};

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
/// Milliseconds that a connection may take.
const CONNECT: u64 = 250;
/// Milliseconds of a whole share at most.
const MAX_SHARE: u64 = 1000;
/// How often musl asks a server that says it failed, before it waits for seconds
/// (src/network/res_msend.c, `servfail_retry`).
const MUSL_ROUNDS: u8 = 3;

/// Asks for one absolute `name` (lower case, no trailing dot), with the `families` that libc would
/// ask for. `errno` stays as it is unless memory for a long reply is refused. A signal handler that
/// leaves by siglongjmp leaves at most this call's two descriptors open, and the memory of two long
/// replies behind.
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
#[inline(never)]
#[expect(clippy::too_many_arguments, reason = "as `ask`")]
pub fn ask_port(
    port: u16,
    way: Way<'_>,
    libc: Libc,
    resolv_conf: &ResolvConf,
    share: &mut Share,
    name: &[u8],
    families: Families,
    room: &mut [Address],
    canonical: &mut Name,
) -> Asked {
    let seed = shuffle_seed();
    let Some(queries) = Queries::new(name, families, resolv_conf.asking, seed) else {
        return Asked::NoReply;
    };
    let rounds = Rounds {
        port,
        way,
        libc,
        resolv_conf,
        families,
        queries: &queries,
        first: low_bits(seed),
    };
    let mut replies = [Incoming::new(), Incoming::new()];
    rounds.run(share, &mut replies, room, canonical)
}

/// What stays the same from server to server.
struct Rounds<'r> {
    port: u16,
    way: Way<'r>,
    libc: Libc,
    resolv_conf: &'r ResolvConf,
    families: Families,
    queries: &'r Queries,
    /// Chooses the first server for `rotate`.
    first: usize,
}

impl<'r> Rounds<'r> {
    /// Asks one server after the other, and all of them again, until libc would be content.
    #[inline(never)]
    fn run(
        &self,
        share: &mut Share,
        replies: &mut [Incoming; 2],
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Asked {
        let count = match self.way {
            Way::Pod => self.resolv_conf.nameservers().len(),
            Way::Node { .. } => 1,
        };
        let mut known = Asked::NoReply;
        for _ in 0..self.count() {
            let mut has_missed = false;
            for turn in 0..count {
                let Some((server, peer)) = self.server(turn) else {
                    return Asked::NoReply;
                };
                let now = monotonic();
                let is_first = share.deadline == 0;
                let left = share.left(now, self.resolv_conf);
                if left == 0 {
                    return Asked::NoReply;
                }
                if server.is_skipped(now / 1000) {
                    has_missed = true;
                    continue;
                }
                // Who is slow leaves something to the servers behind it.
                let behind = count.saturating_sub(turn).max(1);
                let its_share = left.div_ceil(u64::try_from(behind).unwrap_or(1));
                let deadlines = Deadlines {
                    connected: now.saturating_add(its_share.min(CONNECT)),
                    replied: now.saturating_add(its_share),
                };
                match exchange(peer, self.queries, deadlines, replies) {
                    Ok(places) => {
                        server.answered();
                        match self.weigh(replies, places, room, canonical) {
                            Verdict::Final(asked) => return asked,
                            Verdict::Next(asked) => {
                                known = asked;
                                // Cut replies: libc has more by UDP.
                                has_missed |= asked == Asked::NoReply;
                            }
                        }
                    }
                    Err(Broken::Here) => return Asked::NoReply,
                    Err(broken) => {
                        has_missed = true;
                        let now = monotonic();
                        // The rest of a share may have been too little for any server.
                        if is_first || its_share >= CONNECT || now < deadlines.connected {
                            self.remember(server, broken, now / 1000);
                        }
                    }
                }
                for incoming in &mut *replies {
                    incoming.clear();
                }
            }
            // A failure of all is libc's result only if all were asked: by UDP it may reach more.
            if has_missed {
                return Asked::NoReply;
            }
        }
        known
    }

    fn weigh(
        &self,
        replies: &[Incoming; 2],
        places: [usize; 2],
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Verdict {
        let messages = places.map(|place| replies.get(place).map_or(&[][..], Incoming::as_bytes));
        // The agent refuses what it has nobody to ask for, or too much at once. Of two questions that
        // may be the one, and libc would have an answer to both.
        if matches!(self.way, Way::Node { .. }) && messages.iter().any(|one| is_refusal(one)) {
            return Verdict::Final(Asked::Refused);
        }
        weigh(
            self.libc,
            self.resolv_conf.asking,
            self.queries,
            self.families,
            messages,
            room,
            canonical,
        )
    }

    /// How often each server is asked while all say that they failed.
    fn count(&self) -> u8 {
        let attempts = self.resolv_conf.attempts;
        match (self.way, self.libc) {
            // The forwarder has asked them all.
            (Way::Node { .. }, _) => 1,
            // With `use-vc` the first reply is final.
            (Way::Pod, Libc::Glibc) => attempts,
            (Way::Pod, Libc::Musl) if attempts == 0 => 0,
            (Way::Pod, Libc::Musl) => MUSL_ROUNDS,
        }
    }

    /// The server whose turn it is. `None`: it cannot be named.
    fn server(&self, turn: usize) -> Option<(Server, Peer<'r>)> {
        match self.way {
            Way::Pod => {
                let first = if self.resolv_conf.asking.rotates {
                    self.first
                } else {
                    0
                };
                let count = self.resolv_conf.nameservers().len();
                let index = first.wrapping_add(turn).checked_rem(count)?;
                let (address, scope) = self.resolv_conf.servers().nth(index)?;
                if scope == UNKNOWN_SCOPE {
                    return None;
                }
                let peer = Peer::Nameserver {
                    address,
                    scope,
                    port: self.port,
                };
                Some((Server::new(address, self.port), peer))
            }
            Way::Node { zone } => {
                let path = zone.to_bytes();
                let end = path.iter().rposition(|byte| *byte == b'/')?;
                let directory = path.get(..=end)?;
                Some((Server::forwarder(), Peer::Local { directory }))
            }
        }
    }

    /// So that it does not cost a share again.
    fn remember(&self, server: Server, broken: Broken, second: u64) {
        let is_refused = broken == Broken::Refused;
        let seconds = match self.way {
            Way::Pod => SKIP,
            Way::Node { .. } if is_refused => SKIP_ABSENT,
            Way::Node { .. } => SKIP_HUNG,
        };
        if is_refused {
            server.refused(second, seconds);
        } else {
            server.failed(second, seconds);
        }
    }
}

impl Share {
    /// Milliseconds left; the first question sets the clock going. 0 without a clock.
    fn left(&mut self, now: u64, resolv_conf: &ResolvConf) -> u64 {
        if now == 0 {
            return 0;
        }
        if self.deadline == 0 {
            let quarter = u64::from(resolv_conf.timeout).saturating_mul(250);
            self.deadline = now.saturating_add(quarter.min(MAX_SHARE));
        }
        self.deadline.saturating_sub(now)
    }
}

/// The low bits, whatever the width.
const fn low_bits(seed: u64) -> usize {
    (seed & 0xffff) as usize
}

#[cfg(test)]
mod tests;

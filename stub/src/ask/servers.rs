//! What a process remembers of servers that did not answer: a word each, which any thread reads and
//! writes without a lock. A word that two servers share, or that is lost, costs a question or saves
//! one, never an answer. It publishes nothing but itself, so every access is Relaxed.

use core::sync::atomic::{AtomicU64, Ordering};
use nss_k8s_zone::Address;

/// Servers remembered.
const SLOTS: usize = 16;
/// A server that refused a connection, or left two lookups in a row without an answer, is not asked
/// for so many seconds.
pub(super) const SKIP: u64 = 60;
/// The forwarder, when it is not there: an agent restarts within seconds.
pub(super) const SKIP_ABSENT: u64 = 1;
/// The forwarder, when it does not answer.
pub(super) const SKIP_HUNG: u64 = 10;
/// The longest of them; whatever seems to last longer is of another boot's clock (a restored
/// checkpoint).
const LONGEST: u64 = SKIP;

static MEMORY: [AtomicU64; SLOTS] = [const { AtomicU64::new(0) }; SLOTS];

/// Where a server's word is, and how it is told from another's.
#[derive(Clone, Copy)]
pub(super) struct Server {
    slot: usize,
    /// The upper 31 bits of the word.
    tag: u64,
}

/// The server has answered since it last failed to.
const ANSWERED: u64 = 1 << 32;
/// Seconds until which it is skipped, in the lower 32 bits.
const UNTIL: u64 = ANSWERED - 1;

impl Server {
    /// A nameserver.
    pub(super) fn new(address: &Address, port: u16) -> Self {
        let number = u128::from_ne_bytes(address.octets);
        let folded = (number ^ (number >> 64)) as u64 ^ u64::from(port).rotate_left(48);
        let hash = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
        Self::with(hash)
    }

    /// The forwarder; a process has one.
    pub(super) const fn forwarder() -> Self {
        Self::with(0x666f_7277_6172_6465)
    }

    const fn with(hash: u64) -> Self {
        Self {
            slot: (hash & 0xf) as usize,
            // Never 0, which an empty word has.
            tag: (hash | 1 << 33) & !(ANSWERED | UNTIL),
        }
    }

    /// Whether it is not to be asked at this monotonic second.
    pub(super) fn is_skipped(self, second: u64) -> bool {
        let left = (self.word() & UNTIL).saturating_sub(second);
        left > 0 && left <= LONGEST
    }

    /// It has answered.
    pub(super) fn answered(self) {
        if self.word() & ANSWERED == 0 {
            self.store(ANSWERED);
        }
    }

    /// It refused a connection.
    pub(super) fn refused(self, second: u64, seconds: u64) {
        self.store(second.saturating_add(seconds) & UNTIL);
    }

    /// It did not answer in time, or wrongly. That may be the name's fault, as a server waits for
    /// others, or a lost packet's. Who has answered before is asked once more.
    pub(super) fn failed(self, second: u64, seconds: u64) {
        if self.word() & ANSWERED == 0 {
            self.refused(second, seconds);
        } else {
            self.store(0);
        }
    }

    /// 0 when nothing is known.
    fn word(self) -> u64 {
        let word = MEMORY
            .get(self.slot)
            .map_or(0, |word| word.load(Ordering::Relaxed));
        if (word ^ self.tag) & !(ANSWERED | UNTIL) == 0 {
            word
        } else {
            0
        }
    }

    fn store(self, state: u64) {
        if let Some(word) = MEMORY.get(self.slot) {
            word.store(self.tag | state, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(last: u8) -> Server {
        Server::new(&Address::v4([192, 0, 2, last]), 53)
    }

    #[test]
    fn a_server_that_refuses_is_skipped_for_a_while() {
        let server = server(1);
        assert!(!server.is_skipped(100));
        server.refused(100, SKIP);
        assert!(server.is_skipped(100));
        assert!(server.is_skipped(159));
        assert!(!server.is_skipped(160));
        // A clock that went back.
        assert!(!server.is_skipped(10));
    }

    #[test]
    fn who_has_answered_may_fail_once() {
        let server = server(2);
        server.answered();
        server.failed(100, SKIP);
        assert!(!server.is_skipped(100));
        server.failed(101, SKIP);
        assert!(server.is_skipped(102));
        assert!(!server.is_skipped(161));
        server.answered();
        assert!(!server.is_skipped(102));
        server.failed(103, SKIP);
        assert!(!server.is_skipped(103));
    }

    #[test]
    fn strangers_are_not_told_apart_by_their_slot_alone() {
        let servers: Vec<_> = (10..60).map(server).collect();
        for (index, one) in servers.iter().enumerate() {
            one.refused(1000, SKIP);
            for other in servers.iter().skip(index + 1) {
                assert!(!other.is_skipped(1000));
            }
        }
    }
}

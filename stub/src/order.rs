//! The order of the addresses of an answer.
//!
//! ```text
//!   zone --> shuffle (as a DNS server does) --> sort (as this libc does, RFC 6724) --> program
//!                                                 |
//!                           network: sources, interfaces, asked once a second
//! ```
//!
//! Behind NSS glibc sorts by itself; behind the shim nobody would.

mod config;
mod glibc;
mod musl;
mod network;
mod policy;
mod remembered;
mod shuffle;
#[cfg(test)]
mod tests;

pub use network::configured;
pub(crate) use shuffle::arrange;

use crate::sys::{self, Libc, Prober};
use core::ptr::NonNull;
use network::Source;
use nss_k8s_zone::{Address, Family};
use policy::Tables;

/// Sorts the addresses of one `getaddrinfo` as this libc would, by the rules of RFC 6724 that it
/// has; those that no rule tells apart stay in their order. False when libc must do it: gai.conf
/// cannot be read for certain, or there is no memory.
///
/// Warm, it makes no system call: what the kernel says is remembered for a second.
pub fn sort(libc: Libc, addresses: &mut [Address]) -> bool {
    if addresses.len() < 2 {
        return true;
    }
    let now = sys::now().0;
    let tables = match libc {
        Libc::Glibc => match config::tables(now) {
            Some(tables) => tables,
            None => return false,
        },
        // musl leaves IPv4 alone, and has no tables to configure.
        Libc::Musl if addresses.iter().all(|one| one.family == Family::V4) => return true,
        Libc::Musl => Tables::defaults(),
    };
    let prober = Prober::new();
    let mut kernel = Kernel { libc, now, prober };
    with_room(addresses.len(), &mut |items, room| {
        place(libc, &tables, &mut kernel, addresses, items, room);
    })
}

/// Who knows about sources and interfaces.
trait Network {
    /// Where a destination is reached from.
    fn source_for(&mut self, destination: &Address) -> Option<Source>;
    /// Whether an interface is no tunnel.
    fn is_native(&mut self, index: u32) -> bool;
}

/// The kernel, through what is remembered of its answers.
struct Kernel {
    libc: Libc,
    now: u64,
    prober: Prober,
}

impl Network for Kernel {
    fn source_for(&mut self, destination: &Address) -> Option<Source> {
        network::source_for(self.libc, destination, self.now, &mut self.prober)
    }

    fn is_native(&mut self, index: u32) -> bool {
        network::is_native(index, self.now)
    }
}

/// A destination and all that decides its place.
#[derive(Clone, Copy, Debug)]
struct Item {
    /// The higher, the earlier.
    rank: u64,
    /// Among equals of `rank`: the lower, the earlier.
    scope: u32,
    /// The source's interface; 0: not known.
    index: u32,
    /// Among equals of both, and of one family: the higher, the earlier.
    prefix: u8,
    is_v6: bool,
    /// The destination's.
    octets: [u8; 16],
}

impl Item {
    /// All zeros, which a room is filled with fastest.
    const NOTHING: Self = Self {
        rank: 0,
        scope: 0,
        index: 0,
        prefix: 0,
        is_v6: false,
        octets: [0; 16],
    };

    /// Whether a rule puts this one before the other.
    fn precedes(&self, other: &Self) -> bool {
        if self.rank != other.rank {
            self.rank > other.rank
        } else if self.scope != other.scope {
            self.scope < other.scope
        } else {
            self.is_v6 == other.is_v6 && self.prefix > other.prefix
        }
    }
}

/// Sorts `addresses`; `items` and `room` have a place for each.
fn place(
    libc: Libc,
    tables: &Tables<'_>,
    network: &mut dyn Network,
    addresses: &mut [Address],
    items: &mut [Item],
    room: &mut [Item],
) {
    for (item, destination) in items.iter_mut().zip(addresses.iter()) {
        let source = network.source_for(destination);
        item.is_v6 = destination.family == Family::V6;
        item.octets = destination.octets;
        match libc {
            Libc::Glibc => glibc::rank(item, tables, destination, source),
            Libc::Musl => musl::rank(item, destination, source),
        }
    }
    if libc == Libc::Glibc {
        glibc::prefer_native(network, items);
    }
    merge_sort(items, room);
    for (address, item) in addresses.iter_mut().zip(items.iter()) {
        let family = if item.is_v6 { Family::V6 } else { Family::V4 };
        let octets = item.octets;
        *address = Address { family, octets };
    }
}

/// The merge sort of glibc's `qsort_r` (stdlib/msort.c), split for split: rule 9 compares within a
/// family only, which is no order of all, so that the way of sorting shows in odd cases.
fn merge_sort(items: &mut [Item], room: &mut [Item]) {
    let half = items.len() / 2;
    let Some((front, back)) = items.split_at_mut_checked(half).filter(|_| half > 0) else {
        return;
    };
    merge_sort(front, room);
    merge_sort(back, room);
    let (mut ahead, mut behind) = (front.iter().peekable(), back.iter().peekable());
    for slot in room.iter_mut() {
        let next = match (ahead.peek(), behind.peek()) {
            (Some(one), Some(other)) if other.precedes(one) => behind.next(),
            (Some(_), _) => ahead.next(),
            (None, _) => behind.next(),
        };
        let Some(next) = next else { break };
        *slot = *next;
    }
    for (item, sorted) in items.iter_mut().zip(room.iter()) {
        *item = *sorted;
    }
}

/// Gives `body` two rooms of `count` items: on the stack where they are few, else of the process's
/// heap for as long. False when there is no memory.
fn with_room(count: usize, body: &mut dyn FnMut(&mut [Item], &mut [Item])) -> bool {
    /// 640 octets each.
    const NEAR: usize = 16;
    let mut items = [Item::NOTHING; NEAR];
    let mut room = [Item::NOTHING; NEAR];
    if let (Some(items), Some(room)) = (items.get_mut(..count), room.get_mut(..count)) {
        body(items, room);
        return true;
    }
    with_far_room(count, body).is_some()
}

#[cold]
#[inline(never)]
fn with_far_room(count: usize, body: &mut dyn FnMut(&mut [Item], &mut [Item])) -> Option<()> {
    let all = count.checked_mul(2)?;
    let memory: NonNull<Item> = sys::allocate(all.checked_mul(size_of::<Item>())?)?.cast();
    for index in 0..all {
        // SAFETY: `all` items fit, aligned as the host allocates (16).
        unsafe { memory.add(index).write(Item::NOTHING) };
    }
    // SAFETY: initialized above, and ours alone.
    let both = unsafe { core::slice::from_raw_parts_mut(memory.as_ptr(), all) };
    if let Some((items, room)) = both.split_at_mut_checked(count) {
        body(items, room);
    }
    // SAFETY: of `allocate`, given back once; the slices are not used any more.
    unsafe { sys::release(memory.cast()) };
    Some(())
}

/// What a gai.conf makes of an address (IPv4 as IPv4-mapped): label, precedence, scope. `None` when it
/// is not read for certain.
#[cfg(not(feature = "guest"))]
pub(crate) fn gai_conf(text: &[u8], address: u128) -> Option<[u32; 3]> {
    let mut policy = policy::Policy::SILENT;
    policy.read(text).then(|| {
        let tables = policy.tables();
        [
            tables.label(address),
            tables.precedence(address),
            tables.scope_of_v4(address),
        ]
    })
}

//! From outcomes to the structures that glibc reads, all of them inside the caller's buffer.
//!
//! Few addresses are gathered on the stack, many on the process's heap for the length of the call.
//! A buffer too small for everything is refused before its result is used, and the same call with
//! a larger one starts anew.

use crate::families;
use crate::status::Verdict;
use core::ffi::{c_char, c_int};
use core::ptr::null_mut;
use nss_k8s_stub::sys::{self, Buffer, host_entry};
use nss_k8s_stub::{
    ASKED_ROOM, Address, Door, Families, Family, Name, Outcome, Query, resolve, reverse,
};

/// `struct gaih_addrtuple` (nss/nss.h).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Tuple {
    next: *mut Tuple,
    name: *mut c_char,
    family: c_int,
    /// Network byte order; IPv4 in the first four octets.
    address: [u8; 16],
    /// Of a link-local address; the zone holds none.
    scope: u32,
}

const _: () = assert!(size_of::<Tuple>() == 40);

/// So many addresses are gathered on the stack of every call (17 bytes each, and each is cleared).
const NEAR_ADDRESSES: usize = 4;
/// So many where that was too few: threads may have 64 KiB. More do not fit the 1,024 octets with
/// which glibc begins.
const MORE_ADDRESSES: usize = 86;
/// Octets that an address takes in the caller's buffer at least: four, and a pointer.
const LEAST_ROOM: usize = 12;
/// More addresses than this two messages do not hold.
const MOST_ADDRESSES: usize = 8192;
/// So many names (254 bytes each).
const NEAR_NAMES: usize = 4;

/// Both families of `name` as a chain of tuples.
pub(crate) fn tuples(call: &str, name: &[u8], buffer: Buffer) -> Verdict<*mut Tuple> {
    addresses(
        call,
        name,
        Families::BOTH,
        buffer,
        |found, canonical, mut buffer| {
            let name = buffer.text(canonical.as_bytes())?;
            let first = buffer.take::<Tuple>(found.len())?;
            let mut next: *mut Tuple = null_mut();
            for (index, address) in found.iter().enumerate().rev() {
                let family = sys::domain(address.family);
                let octets = match address.family {
                    // Four octets by themselves: sixteen cannot be loaded before the two halves
                    // that the zone's reader has just stored are in the cache.
                    Family::V4 => {
                        let [a, b, c, d, ..] = address.octets;
                        u128::from(u32::from_ne_bytes([a, b, c, d])).to_le_bytes()
                    }
                    Family::V6 => address.octets,
                };
                // SAFETY: so many tuples were taken.
                let place = unsafe { first.add(index) };
                // SAFETY: as above, and aligned.
                unsafe {
                    place.write(Tuple {
                        next,
                        name,
                        family,
                        address: octets,
                        scope: 0,
                    })
                };
                next = place;
            }
            Some(first)
        },
    )
}

/// One family of `name` as a `hostent` without aliases.
pub(crate) fn host(
    call: &str,
    name: &[u8],
    family: Family,
    buffer: Buffer,
) -> Verdict<libc::hostent> {
    addresses(
        call,
        name,
        families(family),
        buffer,
        |found, canonical, buffer| {
            host_entry(buffer, canonical.as_bytes(), 0, &|_| None, family, found)
        },
    )
}

/// The names of `address` as a `hostent`: the first is `h_name`, the others are aliases.
pub(crate) fn name(call: &str, address: &Address, mut buffer: Buffer) -> Verdict<libc::hostent> {
    let mut near = [const { Name::new() }; NEAR_NAMES];
    let mut names: &mut [Name] = &mut near;
    let mut outcome = reverse(address, Door::Nss, names);
    if let Outcome::Room(count) = outcome {
        let Some(far) = buffer.take_tail(count, Name::EMPTY) else {
            sys::debug_reverse(call, address, outcome);
            return Verdict::TooSmall;
        };
        names = far;
        outcome = reverse(address, Door::Nss, names);
    }
    let verdict = Verdict::of(outcome, |count| {
        let (first, aliases) = names.get(..count)?.split_first()?;
        let addresses = core::slice::from_ref(address);
        let alias = |index: usize| Some(aliases.get(index)?.as_bytes());
        host_entry(
            buffer,
            first.as_bytes(),
            aliases.len(),
            &alias,
            address.family,
            addresses,
        )
    });
    sys::debug_reverse(call, address, outcome);
    verdict
}

/// Resolves, and has `write` put the addresses into what is left of the buffer; `None` from it
/// means that the buffer is too small.
fn addresses<T>(
    call: &str,
    name: &[u8],
    families: Families,
    buffer: Buffer,
    write: impl FnOnce(&[Address], &Name, Buffer) -> Option<T>,
) -> Verdict<T> {
    let query = Query {
        name,
        families,
        door: Door::Nss,
    };
    let mut canonical = Name::new();
    let mut near = [Address::UNSPECIFIED; NEAR_ADDRESSES];
    let outcome = resolve(&query, &mut near, &mut canonical);
    if let Outcome::Room(count) = outcome {
        return more_addresses(call, &query, count, buffer, write);
    }
    let verdict = Verdict::of(outcome, |count| {
        write(near.get(..count)?, &canonical, buffer)
    });
    sys::debug(call, name, outcome);
    verdict
}

/// The same for an answer of at least `count` addresses: on a larger stack, or on the process's heap.
/// Not in the caller's buffer: one that is large enough for glibc's own DNS must be large enough here.
///
/// How many addresses a server has is not known before it was asked. So it is asked with room for as
/// many as the caller's buffer could hold: where that is too little, so is the buffer, and the next
/// call comes with a larger one.
#[cold]
#[inline(never)]
fn more_addresses<T>(
    call: &str,
    query: &Query<'_>,
    count: usize,
    buffer: Buffer,
    write: impl FnOnce(&[Address], &Name, Buffer) -> Option<T>,
) -> Verdict<T> {
    let mut canonical = Name::new();
    let mut more = [Address::UNSPECIFIED; MORE_ADDRESSES];
    let mut far;
    let count = if count < ASKED_ROOM {
        count
    } else {
        let fitting = buffer.length() / LEAST_ROOM;
        count.max(fitting.saturating_add(1).min(MOST_ADDRESSES))
    };
    let room = if count <= MORE_ADDRESSES {
        &mut more
    } else {
        far = sys::HeapRoom::new(count);
        match &mut far {
            Some(far) => far.as_mut_slice(),
            None => {
                sys::debug_pass(call, query.name, "room");
                return Verdict::Pass;
            }
        }
    };
    let outcome = resolve(query, room, &mut canonical);
    let verdict = Verdict::of(outcome, |count| {
        write(room.get(..count)?, &canonical, buffer)
    });
    // Who has more addresses than that, the next call tells.
    if !matches!(outcome, Outcome::Room(_)) {
        sys::debug(call, query.name, outcome);
    }
    verdict
}

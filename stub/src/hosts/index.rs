//! A hash table, at most half full, from names and addresses to the lines that have them. It answers
//! "not there" in a probe or two, which is all that a lookup pays for the hosts file when the name is
//! not in it.
//!
//! A slot is the upper half of a hash, then where the first and the last line begin that have the
//! key, 16 bits each; 0 where it is free. Two keys of one hash share a slot: their lines are read,
//! and what is not there is not found.

use crate::sys::Libc;
use nss_k8s_zone::Address;

/// Ends the sequence that is hashed, so that a name is never taken for an address.
const NAME: u64 = 1;
/// See `NAME`.
const ADDRESS: u64 = 2;
/// The part of a slot that is the key.
const KEY: u64 = !0 << 32;
/// The part of a slot that is the last line; the first line is as wide.
const OFFSET: u64 = 0xffff;

/// Where lines begin that have a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// The first.
    pub(super) first: usize,
    /// The last.
    pub(super) last: usize,
}

/// The key of a name, as this libc compares names.
pub(super) fn name_key(libc: Libc, name: &[u8]) -> u64 {
    hash(name, fold(libc), NAME)
}

/// The key of an address of one family.
pub(super) fn address_key(address: &Address) -> u64 {
    hash(address.as_octets(), 0, ADDRESS)
}

/// Puts a key in that the line beginning at `offset` has, if there is room; lines come in order.
#[inline(never)]
pub(super) fn insert(slots: &mut [u64], key: u64, offset: usize) {
    let offset = u64::try_from(offset).unwrap_or(0) & OFFSET;
    for place in probe(slots.len(), key) {
        match slots.get_mut(place) {
            Some(slot) if *slot == 0 => {
                *slot = key | offset << 16 | offset;
                return;
            }
            Some(slot) if *slot & KEY == key => {
                *slot = *slot & !OFFSET | offset;
                return;
            }
            _ => {}
        }
    }
}

/// The lines that may have the key.
pub(super) fn find(slots: &[u64], key: u64) -> Option<Span> {
    for place in probe(slots.len(), key) {
        match slots.get(place) {
            Some(0) | None => return None,
            Some(slot) if *slot & KEY == key => {
                return Some(Span {
                    first: usize::try_from(*slot >> 16 & OFFSET).unwrap_or(0),
                    last: usize::try_from(*slot & OFFSET).unwrap_or(0),
                });
            }
            Some(_) => {}
        }
    }
    None
}

/// What is laid over eight bytes before they are hashed: glibc compares without case, musl with.
/// Setting bit 5 folds letters and leaves digits, dots and hyphens; among bytes of host names it
/// makes no two equal that are not.
const fn fold(libc: Libc) -> u64 {
    match libc {
        Libc::Glibc => 0x2020_2020_2020_2020,
        Libc::Musl => 0,
    }
}

/// The upper half of 64 bits, never 0; the lower one is.
#[inline(never)]
fn hash(bytes: &[u8], fold: u64, kind: u64) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut state = kind;
    for word in words {
        state = mix(state, u64::from_le_bytes(*word) | fold);
    }
    let mut last = [0_u8; 8];
    for (to, from) in last.iter_mut().zip(rest) {
        *to = *from;
    }
    state = mix(state, u64::from_le_bytes(last) | fold);
    let whole = mix(state, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    (whole & KEY).max(1 << 32)
}

const fn mix(state: u64, word: u64) -> u64 {
    let product = (state ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (product ^ (product >> 32))
        .wrapping_mul(0xd6e8_feb8_6659_fd93)
        .rotate_left(23)
}

/// Every slot from the key's own on, once around.
fn probe(size: usize, key: u64) -> impl Iterator<Item = usize> {
    let mask = size.saturating_sub(1);
    let start = usize::try_from(key >> 32).unwrap_or(0);
    (0..size).map(move |step| start.wrapping_add(step) & mask)
}

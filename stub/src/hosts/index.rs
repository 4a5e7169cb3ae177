//! A hash table of keys of 64 bits, at most half full; 0 is a free slot. It answers "not there" in a
//! probe or two, which is all that a lookup pays for the hosts file when the name is not in it.

use crate::sys::Libc;
use nss_k8s_zone::Address;

/// Ends the sequence that is hashed, so that a name is never taken for an address.
const NAME: u64 = 1;
/// See `NAME`.
const ADDRESS: u64 = 2;

/// The key of a name, as this libc compares names.
pub(super) fn name_key(libc: Libc, name: &[u8]) -> u64 {
    hash(name, fold(libc), NAME)
}

/// The key of an address of one family.
pub(super) fn address_key(address: &Address) -> u64 {
    hash(address.as_octets(), 0, ADDRESS)
}

/// Puts a key in, if there is room.
#[inline(never)]
pub(super) fn insert(slots: &mut [u64], key: u64) {
    for place in probe(slots.len(), key) {
        match slots.get_mut(place) {
            Some(slot) if *slot == 0 => {
                *slot = key;
                return;
            }
            Some(slot) if *slot == key => return,
            _ => {}
        }
    }
}

/// Whether the key was put in.
pub(super) fn contains(slots: &[u64], key: u64) -> bool {
    for place in probe(slots.len(), key) {
        match slots.get(place) {
            Some(0) | None => return false,
            Some(slot) if *slot == key => return true,
            Some(_) => {}
        }
    }
    false
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

/// Never 0.
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
    mix(state, u64::try_from(bytes.len()).unwrap_or(u64::MAX)).max(1)
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
    let start = usize::try_from(key >> 16).unwrap_or(0);
    (0..size).map(move |step| start.wrapping_add(step) & mask)
}

//! `/etc/hosts`, as a set: could libc find this name, or this address, in it? If so libc answers.
//!
//! The set errs towards yes: it holds every word of every line, whether or not libc would accept
//! the line, and compares 64-bit hashes. "Yes" by mistake costs one ordinary lookup.

use crate::c_text::{is_space, lines, split_word, trim_start};
use crate::literal::parse_address;
use crate::sys::Libc;
use nss_k8s_zone::{Address, Family, text};

/// Longer files are not read (libc is asked then).
pub const MAX_HOSTS_TEXT: usize = 65_536;
/// Words for [`Hosts::parse`]: for a file of up to 4,096 words; one with more is not indexed.
pub const MAX_HOSTS_SLOTS: usize = 8_192;
/// musl reads lines in pieces of 511 bytes, and a piece of a comment may look like a line.
const MUSL_LINE: usize = 510;
/// Ends the sequence that is hashed, so that a name is never taken for an address.
const NAME: u64 = 1;
/// See `NAME`.
const ADDRESS: u64 = 2;

/// The index: a hash table of at most half its size, 0 where a slot is free.
#[derive(Clone, Copy, Debug)]
pub struct Hosts<'s> {
    libc: Libc,
    slots: &'s [u64],
}

impl<'s> Hosts<'s> {
    /// Indexes a file in `slots`, which must be zero, and returns how many of them it took (a
    /// power of two). `None` when the file has too many words or is too long.
    pub fn parse(libc: Libc, text: &[u8], slots: &mut [u64]) -> Option<usize> {
        if text.len() > MAX_HOSTS_TEXT {
            return None;
        }
        let mut count: usize = 0;
        each_key(libc, text, &mut |_| count = count.saturating_add(1));
        let size = count.checked_mul(2)?.max(2).checked_next_power_of_two()?;
        let slots = slots.get_mut(..size)?;
        each_key(libc, text, &mut |key| insert(slots, key));
        Some(size)
    }

    /// The index that `parse` left in `slots`, cut to the size that it returned.
    pub const fn new(libc: Libc, slots: &'s [u64]) -> Self {
        Self { libc, slots }
    }

    /// Whether libc could find the name: compared as that libc does, the trailing dot included.
    pub fn contains_name(&self, name: &[u8]) -> bool {
        contains(self.slots, hash(name, fold(self.libc), NAME))
    }

    /// Whether libc could find the address.
    pub fn contains_address(&self, address: &Address) -> bool {
        contains(self.slots, address_key(address))
    }
}

/// Calls `visit` with the key of every word, and of every address that a line starts with.
#[inline(never)]
fn each_key(libc: Libc, text: &[u8], visit: &mut dyn FnMut(u64)) {
    for line in lines(text) {
        let comment_may_count = libc == Libc::Musl && line.len() > MUSL_LINE;
        let line = if comment_may_count {
            line
        } else {
            split_word(line, |byte| byte == b'#').0
        };
        let mut rest = trim_start(line, ends_word);
        if let Some(address) = parse_address(split_word(rest, ends_address).0) {
            visit(address_key(&address));
            if let Some(other) = also_reached_by(&address) {
                visit(address_key(&other));
            }
        }
        while !rest.is_empty() {
            let (word, next) = split_word(rest, ends_word);
            visit(hash(word, fold(libc), NAME));
            rest = trim_start(next, ends_word);
        }
    }
}

/// No word has a hash sign in it: even where a comment is looked through, it starts one.
const fn ends_word(byte: u8) -> bool {
    is_space(byte) || byte == 0 || byte == b'#'
}

const fn ends_address(byte: u8) -> bool {
    ends_word(byte) || byte == b'%'
}

/// Addresses whose reverse lookup glibc answers from this line besides its own: v4 for its mapped
/// form and the other way round, 127.0.0.1 for ::1 (nss/nss_files/files-hosts.c).
fn also_reached_by(address: &Address) -> Option<Address> {
    match (address.family, address.octets) {
        (Family::V4, [a, b, c, d, ..]) => Some(Address::v6([
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, a, b, c, d,
        ])),
        (Family::V6, octets) if u128::from_be_bytes(octets) == 1 => {
            Some(Address::v4([127, 0, 0, 1]))
        }
        (Family::V6, octets) => Some(text::unmapped(octets)).filter(|other| other != address),
    }
}

fn address_key(address: &Address) -> u64 {
    hash(address.as_octets(), 0, ADDRESS)
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

#[inline(never)]
fn insert(slots: &mut [u64], key: u64) {
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

fn contains(slots: &[u64], key: u64) -> bool {
    for place in probe(slots.len(), key) {
        match slots.get(place) {
            Some(0) | None => return false,
            Some(slot) if *slot == key => return true,
            Some(_) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests;

//! From outcomes to the structures that glibc reads, all of them inside the caller's buffer.
//!
//! Nothing is allocated: few addresses are gathered on the stack, many in the buffer's own tail.
//! A buffer too small for everything is refused before its result is used, and the same call with
//! a larger one starts anew.

use crate::buffer::Buffer;
use crate::families;
use crate::status::Verdict;
use core::ffi::{c_char, c_int};
use core::ptr::null_mut;
use nss_k8s_stub::{Address, Door, Families, Family, Name, Outcome, Query, resolve, reverse, sys};

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
const _: () = assert!(size_of::<libc::hostent>() == 32);

/// So many addresses are gathered on the stack (17 bytes each): threads may have 64 KiB of it.
const NEAR_ADDRESSES: usize = 32;
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
                let family = match address.family {
                    Family::V4 => libc::AF_INET,
                    Family::V6 => libc::AF_INET6,
                };
                // SAFETY: so many tuples were taken.
                let place = unsafe { first.add(index) };
                // SAFETY: as above, and aligned.
                unsafe {
                    place.write(Tuple {
                        next,
                        name,
                        family,
                        address: address.octets,
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
        |found, canonical, buffer| hostent(buffer, core::slice::from_ref(canonical), found, family),
    )
}

/// The names of `address` as a `hostent`: the first is `h_name`, the others are aliases.
pub(crate) fn name(call: &str, address: &Address, mut buffer: Buffer) -> Verdict<libc::hostent> {
    let mut near = [Name::EMPTY; NEAR_NAMES];
    let mut names: &mut [Name] = &mut near;
    let mut outcome = reverse(address, Door::Nss, names);
    if let Outcome::Room(count) = outcome {
        let Some(far) = buffer.take_tail(count, Name::EMPTY) else {
            return Verdict::TooSmall;
        };
        names = far;
        outcome = reverse(address, Door::Nss, names);
    }
    let verdict = Verdict::of(outcome, |count| {
        hostent(
            buffer,
            names.get(..count)?,
            core::slice::from_ref(address),
            address.family,
        )
    });
    if verdict.is_final() {
        sys::debug_reverse(call, address, outcome);
    }
    verdict
}

/// Resolves, and has `write` put the addresses into what is left of the buffer; `None` from it
/// means that the buffer is too small.
fn addresses<T>(
    call: &str,
    name: &[u8],
    families: Families,
    mut buffer: Buffer,
    write: impl FnOnce(&[Address], &Name, Buffer) -> Option<T>,
) -> Verdict<T> {
    let query = Query {
        name,
        families,
        door: Door::Nss,
    };
    let mut canonical = Name::EMPTY;
    let mut near = [Address::UNSPECIFIED; NEAR_ADDRESSES];
    let mut room: &mut [Address] = &mut near;
    let mut outcome = resolve(&query, room, &mut canonical);
    if let Outcome::Room(count) = outcome {
        let Some(far) = buffer.take_tail(count, Address::UNSPECIFIED) else {
            return Verdict::TooSmall;
        };
        room = far;
        outcome = resolve(&query, room, &mut canonical);
    }
    let verdict = Verdict::of(outcome, |count| {
        write(room.get(..count)?, &canonical, buffer)
    });
    if verdict.is_final() {
        sys::debug(call, name, outcome);
    }
    verdict
}

/// A `hostent`: texts, then the pointer arrays, then the addresses.
fn hostent(
    mut buffer: Buffer,
    names: &[Name],
    addresses: &[Address],
    family: Family,
) -> Option<libc::hostent> {
    let (first, aliases) = names.split_first()?;
    let h_name = buffer.text(first.as_bytes())?;
    let h_aliases = buffer.take::<*mut c_char>(aliases.len().checked_add(1)?)?;
    for (index, alias) in aliases.iter().enumerate() {
        let text = buffer.text(alias.as_bytes())?;
        // SAFETY: one pointer per alias and one more were taken.
        unsafe { h_aliases.add(index).write(text) };
    }
    let h_addr_list = buffer.take::<*mut c_char>(addresses.len().checked_add(1)?)?;
    let (h_addrtype, h_length, length) = match family {
        Family::V4 => (libc::AF_INET, 4, 4),
        Family::V6 => (libc::AF_INET6, 16, 16),
    };
    for (index, address) in addresses.iter().enumerate() {
        // Words, so that the octets are aligned as programs expect of an in_addr.
        let place = match family {
            Family::V4 => buffer.take::<u32>(1)?,
            Family::V6 => buffer.take::<[u32; 4]>(1)?.cast(),
        };
        let octets = address.as_octets().iter().take(length);
        for (offset, octet) in octets.enumerate() {
            // SAFETY: the place has `length` octets.
            unsafe { place.cast::<u8>().add(offset).write(*octet) };
        }
        // SAFETY: one pointer per address and one more were taken.
        unsafe { h_addr_list.add(index).write(place.cast()) };
    }
    // SAFETY: one pointer more than entries was taken in both arrays.
    unsafe {
        h_aliases.add(aliases.len()).write(null_mut());
        h_addr_list.add(addresses.len()).write(null_mut());
    }
    Some(libc::hostent {
        h_name,
        h_aliases,
        h_addrtype,
        h_length,
        h_addr_list,
    })
}

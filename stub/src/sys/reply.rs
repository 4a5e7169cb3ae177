//! `struct hostent` in the caller's buffer: raw memory of any alignment, filled from its start.
//!
//! Size first, write second: each piece is taken before it is written, and the first that does not
//! fit ends the attempt; nothing outside the buffer is written until the whole is there.

use crate::{Address, Family};
use core::ffi::c_char;
use core::ptr::null_mut;

/// What is left of the caller's buffer. Nothing is read from it but what was written before.
pub struct Buffer {
    next: *mut u8,
    left: usize,
}

impl Buffer {
    /// A buffer as the host passes it.
    ///
    /// # Safety
    /// `length` bytes from `start` are writable for as long as the value is used, and nobody else
    /// uses them.
    pub unsafe fn new(start: *mut c_char, length: usize) -> Self {
        Self {
            next: start.cast(),
            left: length,
        }
    }

    /// Octets left.
    pub const fn length(&self) -> usize {
        self.left
    }

    /// Takes `count` places for a `T`, aligned for it; they hold no value yet. `None`, with the
    /// buffer unchanged, when that many do not fit.
    pub fn take<T>(&mut self, count: usize) -> Option<*mut T> {
        let padding = self.next.align_offset(align_of::<T>());
        let size = count.checked_mul(size_of::<T>())?;
        let whole = padding.checked_add(size)?;
        let left = self.left.checked_sub(whole)?;
        // SAFETY: `whole` bytes are left, so both sums stay inside the buffer.
        let (start, next) = unsafe { (self.next.add(padding), self.next.add(whole)) };
        self.next = next;
        self.left = left;
        Some(start.cast())
    }

    /// Takes `count` values of `T`, which needs no alignment, from the end: room for what is
    /// gathered before the reply is written from the start.
    pub fn take_tail<T: Copy>(&mut self, count: usize, filler: T) -> Option<&'static mut [T]> {
        const { assert!(align_of::<T>() == 1) };
        let size = count.checked_mul(size_of::<T>())?;
        let left = self.left.checked_sub(size)?;
        // SAFETY: `left` is at most the bytes left, so the sum stays inside the buffer.
        let start = unsafe { self.next.add(left) }.cast::<T>();
        for index in 0..count {
            // SAFETY: `count` values fit behind `start`, and T needs no alignment.
            unsafe { start.add(index).write(filler) };
        }
        self.left = left;
        // SAFETY: initialized just now, exclusively ours, and no longer part of `self`. The
        // lifetime is the caller's for the buffer: the slice does not leave the call.
        Some(unsafe { core::slice::from_raw_parts_mut(start, count) })
    }

    /// Writes bytes and a NUL.
    pub fn text(&mut self, bytes: &[u8]) -> Option<*mut c_char> {
        let start = self.take::<u8>(bytes.len().checked_add(1)?)?;
        // SAFETY: so many bytes and one more were taken, and `bytes` is not among them: whatever
        // is read was taken from the buffer before.
        unsafe {
            start.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            start.add(bytes.len()).write(0);
        }
        Some(start.cast())
    }
}

/// Builds a `hostent`: pointer arrays, addresses, texts, in that order, so that at most the first
/// piece is padded and no libc gets by with less room. An alias that is the very slice `name` is
/// not written twice. All `addresses` are of `family`. `None` when the buffer is too small.
/// `alias` gives one of `alias_count` by its index; no iterator, so that there is one copy of this.
pub fn host_entry<'a>(
    mut buffer: Buffer,
    name: &[u8],
    alias_count: usize,
    alias: &dyn Fn(usize) -> Option<&'a [u8]>,
    family: Family,
    addresses: &[Address],
) -> Option<libc::hostent> {
    let h_aliases = buffer.take::<*mut c_char>(alias_count.checked_add(1)?)?;
    let h_addr_list = buffer.take::<*mut c_char>(addresses.len().checked_add(1)?)?;
    let h_length = match family {
        Family::V4 => 4,
        Family::V6 => 16,
    };
    for (index, address) in addresses.iter().enumerate() {
        // Words, so that the octets are aligned as programs expect of an in_addr.
        let place: *mut u8 = match family {
            Family::V4 => {
                let place = buffer.take::<u32>(1)?;
                let [a, b, c, d, ..] = address.octets;
                // SAFETY: taken for a word, aligned.
                unsafe { place.write(u32::from_ne_bytes([a, b, c, d])) };
                place.cast()
            }
            Family::V6 => {
                let place = buffer.take::<[u32; 4]>(1)?;
                // SAFETY: taken for sixteen octets.
                unsafe { place.cast::<[u8; 16]>().write(address.octets) };
                place.cast()
            }
        };
        // SAFETY: one pointer per address and one more were taken.
        unsafe { h_addr_list.add(index).write(place.cast()) };
    }
    let h_name = buffer.text(name)?;
    for index in 0..alias_count {
        let alias = alias(index)?;
        let text = if core::ptr::eq(alias, name) {
            h_name
        } else {
            buffer.text(alias)?
        };
        // SAFETY: one pointer per alias and one more were taken.
        unsafe { h_aliases.add(index).write(text) };
    }
    // SAFETY: one pointer more than entries was taken in both arrays.
    unsafe {
        h_aliases.add(alias_count).write(null_mut());
        h_addr_list.add(addresses.len()).write(null_mut());
    }
    let h_addrtype = super::domain(family);
    Some(libc::hostent {
        h_name,
        h_aliases,
        h_addrtype,
        h_length,
        h_addr_list,
    })
}

//! Room of the process's heap, for answers too long for the stack.

use super::host::{allocate, allocate_zeroed, release};
use core::ptr::NonNull;
use nss_k8s_zone::Address;

/// Room for many addresses for the length of one call.
pub struct HeapRoom {
    start: NonNull<Address>,
    count: usize,
}

impl HeapRoom {
    /// Room for `count`, each unspecified; `None` when no memory is left. `errno` may change.
    pub fn new(count: usize) -> Option<Self> {
        let size = count.checked_mul(size_of::<Address>())?;
        let start = allocate(size)?.cast::<Address>();
        for index in 0..count {
            // SAFETY: `count` values fit, and an Address needs no alignment.
            unsafe { start.add(index).write(Address::UNSPECIFIED) };
        }
        Some(Self { start, count })
    }

    /// All of it.
    pub fn as_mut_slice(&mut self) -> &mut [Address] {
        // SAFETY: initialized in `new`, and this value's alone.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.count) }
    }
}

impl Drop for HeapRoom {
    fn drop(&mut self) {
        // SAFETY: of `allocate`, given back once.
        unsafe { release(self.start.cast()) }
    }
}

/// Room for octets for the length of one call.
pub(crate) struct HeapBytes {
    start: NonNull<u8>,
    count: usize,
}

impl HeapBytes {
    /// Room for `count` zeros, at least one; `None` when no memory is left. `errno` may change.
    pub(crate) fn new(count: usize) -> Option<Self> {
        let start = allocate_zeroed(count, 1)?;
        Some(Self { start, count })
    }

    /// All of it.
    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: initialized by the allocator, and this value's alone.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }

    /// All of it.
    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as above.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.count) }
    }
}

impl Drop for HeapBytes {
    fn drop(&mut self) {
        // SAFETY: of `allocate_zeroed`, given back once.
        unsafe { release(self.start) }
    }
}

const _: () = assert!(align_of::<Address>() == 1);

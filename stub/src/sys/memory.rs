//! Anonymous memory that is not the host's heap: parsed files live in it.

use super::call;
use core::ptr::NonNull;

/// `length` bytes of zeros, readable and writable, private to the process and kept over fork.
pub fn map_anonymous(length: usize) -> Option<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    call::map(
        length,
        protection,
        libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        -1,
    )
    .ok()
}

/// Gives back memory that was never published.
///
/// # Safety
/// * `start` and `length` are those of one [`map_anonymous`] call, not given back yet.
/// * Nobody has a pointer into it any more.
pub unsafe fn unmap_anonymous(start: NonNull<u8>, length: usize) {
    // SAFETY: the caller's contract.
    unsafe { call::unmap(start, length) }
}

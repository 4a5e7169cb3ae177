//! The caller's buffer: raw memory of any alignment, filled from its start.

use core::ffi::c_char;
use core::mem::{align_of, size_of};

/// What is left of the caller's buffer. Nothing is read from it but what was written before.
pub(crate) struct Buffer {
    next: *mut u8,
    left: usize,
}

impl Buffer {
    /// A buffer as glibc passes it.
    ///
    /// # Safety
    /// `length` bytes from `start` are writable for as long as the value is used, and nobody else
    /// uses them.
    pub(crate) unsafe fn new(start: *mut c_char, length: usize) -> Self {
        Self {
            next: start.cast(),
            left: length,
        }
    }

    /// Takes `count` places for a `T`, aligned for it; they hold no value yet. `None`, with the
    /// buffer unchanged, when that many do not fit.
    pub(crate) fn take<T>(&mut self, count: usize) -> Option<*mut T> {
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
    pub(crate) fn take_tail<T: Copy>(
        &mut self,
        count: usize,
        filler: T,
    ) -> Option<&'static mut [T]> {
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
    pub(crate) fn text(&mut self, bytes: &[u8]) -> Option<*mut c_char> {
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

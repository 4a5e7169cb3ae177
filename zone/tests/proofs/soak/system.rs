//! The real system calls of a reader, counted.

use nss_k8s_zone::{LibcOs, Os};
use std::{
    ptr::NonNull,
    sync::atomic::{AtomicU64, Ordering},
};

/// What readers of one soak had to do beside reading.
#[derive(Debug, Default)]
pub(crate) struct Counting {
    /// Growth that was followed inside a mapping.
    pub(crate) followed: AtomicU64,
    /// Mappings of a file that was replaced, overlaid with zeros.
    pub(crate) overlaid: AtomicU64,
    /// Mappings that lost against another thread's.
    pub(crate) discarded: AtomicU64,
}

// SAFETY: all of it is `LibcOs`.
unsafe impl Os for Counting {
    through_libc!(open close status filesystem map effective_uid secure address_space_is_limited);

    unsafe fn unmap(&self, start: NonNull<u8>, length: usize) {
        self.discarded.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller vouches.
        unsafe { LibcOs.unmap(start, length) };
    }

    unsafe fn overlay_zeros(&self, start: NonNull<u8>, length: usize) -> Result<(), i32> {
        self.overlaid.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller vouches.
        unsafe { LibcOs.overlay_zeros(start, length) }
    }

    unsafe fn populate(&self, start: NonNull<u8>, length: usize) -> Result<(), i32> {
        // SAFETY: as the caller vouches.
        let populated = unsafe { LibcOs.populate(start, length) };
        self.followed
            .fetch_add(u64::from(populated.is_ok()), Ordering::Relaxed);
        populated
    }
}

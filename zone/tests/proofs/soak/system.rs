//! The real system calls of a reader, counted.

use nss_k8s_zone::{FileStatus, FilesystemStatus, LibcOs, Os};
use std::{
    ffi::CStr,
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
    fn open(&self, path: &CStr) -> Result<i32, i32> {
        LibcOs.open(path)
    }

    fn close(&self, descriptor: i32) {
        LibcOs.close(descriptor);
    }

    fn status(&self, descriptor: i32) -> Result<FileStatus, i32> {
        LibcOs.status(descriptor)
    }

    fn filesystem(&self, descriptor: i32) -> Result<FilesystemStatus, i32> {
        LibcOs.filesystem(descriptor)
    }

    fn map(&self, descriptor: i32, length: usize) -> Result<NonNull<u8>, i32> {
        LibcOs.map(descriptor, length)
    }

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

    fn effective_uid(&self) -> u32 {
        LibcOs.effective_uid()
    }

    fn secure(&self) -> bool {
        LibcOs.secure()
    }

    fn address_space_is_limited(&self) -> bool {
        LibcOs.address_space_is_limited()
    }
}

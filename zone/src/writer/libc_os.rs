//! [`Os`] through libc: for the agent, tests and benches.

#![allow(
    clippy::disallowed_methods,
    reason = "strong imports are for the agent and tests; the in-process libraries bring raw calls"
)]

use crate::{FileStatus, FilesystemStatus, Os};
use core::{ffi::CStr, mem::MaybeUninit, ptr::NonNull};
use std::io;

/// The system calls of the reader through libc, errno restored after each.
#[derive(Clone, Copy, Debug, Default)]
pub struct LibcOs;

/// Puts the process's errno back when dropped.
struct Errno(i32);

impl Errno {
    fn keep() -> Self {
        // SAFETY: libc returns this thread's errno, which lives as long as the thread.
        Self(unsafe { *libc::__errno_location() })
    }
}

impl Drop for Errno {
    fn drop(&mut self) {
        // SAFETY: as in `keep`.
        unsafe { *libc::__errno_location() = self.0 };
    }
}

/// The current errno.
fn errno() -> i32 {
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

// SAFETY: `map` returns what mmap returned, and only this reader's calls unmap or overlay it.
unsafe impl Os for LibcOs {
    fn open(&self, path: &CStr) -> Result<i32, i32> {
        let _errno = Errno::keep();
        let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK;
        // SAFETY: `path` is a C string.
        let descriptor = unsafe { libc::open(path.as_ptr(), flags) };
        if descriptor < 0 {
            Err(errno())
        } else {
            Ok(descriptor)
        }
    }

    fn close(&self, descriptor: i32) {
        let _errno = Errno::keep();
        // SAFETY: the reader closes only what it opened.
        unsafe { libc::close(descriptor) };
    }

    fn status(&self, descriptor: i32) -> Result<FileStatus, i32> {
        let _errno = Errno::keep();
        let mut status = MaybeUninit::<libc::stat>::uninit();
        // SAFETY: `status` is room for one `stat`.
        if unsafe { libc::fstat(descriptor, status.as_mut_ptr()) } != 0 {
            return Err(errno());
        }
        // SAFETY: fstat succeeded, so it filled the structure.
        let status = unsafe { status.assume_init() };
        Ok(FileStatus {
            device: status.st_dev,
            inode: status.st_ino,
            mode: status.st_mode,
            uid: status.st_uid,
            size: u64::try_from(status.st_size).unwrap_or(0),
        })
    }

    fn filesystem(&self, descriptor: i32) -> Result<FilesystemStatus, i32> {
        let _errno = Errno::keep();
        let mut status = MaybeUninit::<libc::statfs>::uninit();
        // SAFETY: `status` is room for one `statfs`.
        if unsafe { libc::fstatfs(descriptor, status.as_mut_ptr()) } != 0 {
            return Err(errno());
        }
        let mut flags = MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: `flags` is room for one `statvfs`.
        if unsafe { libc::fstatvfs(descriptor, flags.as_mut_ptr()) } != 0 {
            return Err(errno());
        }
        // SAFETY: both calls succeeded.
        let (status, flags) = unsafe { (status.assume_init(), flags.assume_init()) };
        Ok(FilesystemStatus {
            magic: u64::try_from(status.f_type).unwrap_or(0),
            read_only: flags.f_flag & libc::ST_RDONLY != 0,
        })
    }

    fn map(&self, descriptor: i32, length: usize) -> Result<NonNull<u8>, i32> {
        let _errno = Errno::keep();
        let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
        // SAFETY: a fresh mapping, placed by the kernel.
        let start = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                length,
                libc::PROT_READ,
                flags,
                descriptor,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(errno());
        }
        NonNull::new(start.cast()).ok_or(libc::EFAULT)
    }

    unsafe fn unmap(&self, start: NonNull<u8>, length: usize) {
        let _errno = Errno::keep();
        // SAFETY: the caller vouches that nobody reads the range.
        unsafe { libc::munmap(start.as_ptr().cast(), length) };
    }

    unsafe fn overlay_zeros(&self, start: NonNull<u8>, length: usize) -> Result<(), i32> {
        let _errno = Errno::keep();
        let flags = libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: the caller vouches that the range is a mapping of its own.
        let result =
            unsafe { libc::mmap(start.as_ptr().cast(), length, libc::PROT_READ, flags, -1, 0) };
        if result == libc::MAP_FAILED {
            Err(errno())
        } else {
            Ok(())
        }
    }

    unsafe fn populate(&self, start: NonNull<u8>, length: usize) -> Result<(), i32> {
        let _errno = Errno::keep();
        // SAFETY: the caller vouches for the range; populating changes no contents.
        let result =
            unsafe { libc::madvise(start.as_ptr().cast(), length, libc::MADV_POPULATE_READ) };
        if result != 0 { Err(errno()) } else { Ok(()) }
    }

    fn effective_uid(&self) -> u32 {
        // SAFETY: always succeeds.
        unsafe { libc::geteuid() }
    }

    fn secure(&self) -> bool {
        // SAFETY: reads the auxiliary vector.
        unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
    }

    fn address_space_is_limited(&self) -> bool {
        let _errno = Errno::keep();
        let mut limit = MaybeUninit::<libc::rlimit>::uninit();
        // SAFETY: `limit` is room for one `rlimit`.
        if unsafe { libc::getrlimit(libc::RLIMIT_AS, limit.as_mut_ptr()) } != 0 {
            return true;
        }
        // SAFETY: getrlimit succeeded.
        unsafe { limit.assume_init() }.rlim_cur != libc::RLIM_INFINITY
    }
}

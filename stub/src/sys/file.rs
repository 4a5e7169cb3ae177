//! Files: which version of a file is there, its bytes, and the zone's view of the system.

use super::call::{self, Descriptor};
use super::host;
use core::ffi::CStr;
use core::ptr::NonNull;
use nss_k8s_zone::{FileStatus, FilesystemStatus, Os};

/// `MADV_POPULATE_READ` (Linux 5.14); musl's and old glibc's headers lack it.
const POPULATE_READ: i32 = 22;

/// uapi/asm-generic/resource.h; the type of libc's constant differs between libcs.
const RLIMIT_AS: u32 = 9;

/// What tells one version of a file from another, as glibc compares resolv.conf: identity, length
/// and both times to the nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileVersion {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// `st_mtim`: seconds and nanoseconds.
    pub modified: (i64, i64),
    /// `st_ctim`: seconds and nanoseconds.
    pub changed: (i64, i64),
}

impl FileVersion {
    fn of(status: &libc::stat) -> Self {
        Self {
            device: status.st_dev,
            inode: status.st_ino,
            size: u64::try_from(status.st_size).unwrap_or(0),
            modified: (status.st_mtime, status.st_mtime_nsec),
            changed: (status.st_ctime, status.st_ctime_nsec),
        }
    }
}

/// One `stat`. Errors are errno values; `ENOENT` and the like mean that there is no such file.
pub fn file_version(path: &CStr) -> Result<FileVersion, i32> {
    call::status_of(path).map(|status| FileVersion::of(&status))
}

/// Reads a whole file into `room`: its version (taken before the first byte) and how many bytes it
/// has. `EFBIG` when it does not fit, `EINVAL` when it is no regular file (a FIFO never blocks us).
pub fn read_file(path: &CStr, room: &mut [u8]) -> Result<(FileVersion, usize), i32> {
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = call::open(path, flags)?;
    let status = call::status(file.raw())?;
    if status.st_mode & libc::S_IFMT != libc::S_IFREG {
        return Err(libc::EINVAL);
    }
    let mut filled: usize = 0;
    loop {
        let Some(rest) = room.get_mut(filled..) else {
            return Err(libc::EFBIG);
        };
        if rest.is_empty() {
            return match call::read(&file, &mut [0])? {
                0 => Ok((FileVersion::of(&status), filled)),
                _ => Err(libc::EFBIG),
            };
        }
        match call::read(&file, rest)? {
            0 => return Ok((FileVersion::of(&status), filled)),
            count => filled = filled.saturating_add(count),
        }
    }
}

/// The zone reader's system calls, made without any libc.
#[derive(Clone, Copy, Debug)]
pub struct RawOs;

// SAFETY: `map` returns what mmap returned for that length; the reader alone unmaps it.
unsafe impl Os for RawOs {
    fn open(&self, path: &CStr) -> Result<i32, i32> {
        let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK;
        call::open(path, flags).map(Descriptor::into_raw)
    }

    fn close(&self, descriptor: i32) {
        drop(Descriptor::from_raw(descriptor));
    }

    fn status(&self, descriptor: i32) -> Result<FileStatus, i32> {
        let status = call::status(descriptor)?;
        Ok(FileStatus {
            device: status.st_dev,
            inode: status.st_ino,
            mode: status.st_mode,
            uid: status.st_uid,
            size: u64::try_from(status.st_size).map_err(|_| libc::EOVERFLOW)?,
        })
    }

    fn filesystem(&self, descriptor: i32) -> Result<FilesystemStatus, i32> {
        let status = call::filesystem(descriptor)?;
        Ok(FilesystemStatus {
            magic: status.magic,
            read_only: status.flags & libc::ST_RDONLY != 0,
        })
    }

    fn map(&self, descriptor: i32, length: usize) -> Result<NonNull<u8>, i32> {
        call::map(
            length,
            libc::PROT_READ,
            libc::MAP_SHARED | libc::MAP_NORESERVE,
            descriptor,
        )
    }

    unsafe fn unmap(&self, start: NonNull<u8>, length: usize) {
        // SAFETY: the caller's contract is the same.
        unsafe { call::unmap(start, length) }
    }

    unsafe fn overlay_zeros(&self, start: NonNull<u8>, length: usize) -> Result<(), i32> {
        // SAFETY: the range is a mapping of this reader; readers expect zeros.
        unsafe { call::overlay_zeros(start, length) }
    }

    unsafe fn populate(&self, start: NonNull<u8>, length: usize) -> Result<(), i32> {
        call::advise(start, length, POPULATE_READ)
    }

    fn effective_uid(&self) -> u32 {
        call::effective_uid()
    }

    fn secure(&self) -> bool {
        host::secure()
    }

    fn address_space_is_limited(&self) -> bool {
        call::soft_limit(RLIMIT_AS) != Ok(u64::MAX)
    }
}

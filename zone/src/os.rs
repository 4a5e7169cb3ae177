//! What the reader needs from the operating system. The zone makes no system call of its own: the
//! in-process libraries bring raw ones, the agent and the tests bring libc's.

use core::{ffi::CStr, ptr::NonNull};

/// What `fstat` says of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStatus {
    /// Device and inode: the file's identity.
    pub device: u64,
    /// See `device`.
    pub inode: u64,
    /// `st_mode`, type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Bytes.
    pub size: u64,
}

/// What `fstatfs` says of the file system that an open file is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilesystemStatus {
    /// `f_type`, as in statfs(2): tmpfs is 0x01021994.
    pub magic: u64,
    /// Mounted read-only (`ST_RDONLY`).
    pub read_only: bool,
}

/// The system calls behind a [`Reader`](crate::Reader). Errors are errno values; none of these may
/// change the process's errno.
///
/// # Safety
/// `map` returns the start of at least `length` bytes that stay mapped until this reader overlays
/// or unmaps them; nobody else unmaps them.
pub unsafe trait Os {
    /// `openat(O_RDONLY|O_CLOEXEC|O_NOFOLLOW|O_NONBLOCK)`.
    fn open(&self, path: &CStr) -> Result<i32, i32>;
    /// `close`.
    fn close(&self, descriptor: i32);
    /// `fstat`.
    fn status(&self, descriptor: i32) -> Result<FileStatus, i32>;
    /// `fstatfs`.
    fn filesystem(&self, descriptor: i32) -> Result<FilesystemStatus, i32>;
    /// `mmap(PROT_READ, MAP_SHARED|MAP_NORESERVE)` from offset 0.
    fn map(&self, descriptor: i32, length: usize) -> Result<NonNull<u8>, i32>;
    /// Gives back a mapping that was never published.
    ///
    /// # Safety
    /// Nobody reads the range any more.
    unsafe fn unmap(&self, start: NonNull<u8>, length: usize);
    /// `mmap(MAP_FIXED|MAP_PRIVATE|MAP_ANONYMOUS, PROT_READ)` over a range that `map` returned:
    /// whoever still reads it sees zeros and asks again.
    ///
    /// # Safety
    /// The range was returned by `map` and not given back since.
    unsafe fn overlay_zeros(&self, start: NonNull<u8>, length: usize) -> Result<(), i32>;
    /// `madvise(MADV_POPULATE_READ)`: `Err(EFAULT)` where a read would raise SIGBUS, `Err(EINVAL)`
    /// where the kernel (before 5.14) lacks it.
    ///
    /// # Safety
    /// The range was returned by `map` and not given back since.
    unsafe fn populate(&self, start: NonNull<u8>, length: usize) -> Result<(), i32>;
    /// The effective uid.
    fn effective_uid(&self) -> u32;
    /// `AT_SECURE`: the process runs with more rights than its caller.
    fn secure(&self) -> bool;
    /// RLIMIT_AS is set (or cannot be read): map no byte more than the file has.
    fn address_space_is_limited(&self) -> bool;
}

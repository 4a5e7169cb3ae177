//! What the proofs need from inside: a zone file that is a piece of memory, and a sample of one. Not
//! part of the interface.
//!
//! ```text
//!   | the file's bytes | zeros to the page's end | no access up to the window's end | no access |
//!     what a reader may touch                      a real file would raise SIGBUS
//! ```

mod chains;
mod counted;
mod reachable;
mod rules;
mod sample;

pub use chains::Chains;
pub use counted::{Counted, words_read};
pub use reachable::{Extents, held_extents, zone_extents};
pub use rules::{apply_rules, config_record};
pub use sample::{
    HELD_NAMES, SAMPLE_ADDRESSES, SAMPLE_NAMES, SAMPLE_NOW, held_sample, sample, sample_image,
};

use crate::{FileStatus, FilesystemStatus, Os};
use core::{
    ffi::CStr,
    ptr::NonNull,
    sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
};
use std::vec::Vec;

/// What the file is seen to be: each may be changed to something that no reader should trust.
#[derive(Clone, Copy, Debug)]
pub struct Disguise {
    /// `st_mode`.
    pub mode: u32,
    /// The owner; the process itself has effective uid 1000.
    pub uid: u32,
    /// The file system's magic.
    pub magic: u64,
    /// The file system is mounted read-only.
    pub read_only: bool,
    /// `AT_SECURE`.
    pub secure: bool,
    /// RLIMIT_AS is set.
    pub limited: bool,
    /// What `open` fails with, if it does.
    pub open: Option<i32>,
    /// What `populate` fails with, if it does.
    pub populate: Option<i32>,
    /// What `st_size` says, when it does not say the truth.
    pub size: Option<u64>,
}

impl Disguise {
    /// What the writer leaves: root's, 0444, on a tmpfs.
    pub const NONE: Self = Self {
        mode: libc::S_IFREG | 0o444,
        uid: 0,
        magic: 0x0102_1994,
        read_only: false,
        secure: false,
        limited: false,
        open: None,
        populate: None,
        size: None,
    };
}

/// A zone file in private memory, and the [`Os`] that opens it. A read where the real file has no
/// page ends the process with SIGSEGV.
#[derive(Debug)]
pub struct Image {
    start: NonNull<u8>,
    /// Reserved address space in bytes; `map` fails beyond it.
    window: usize,
    /// The file's size.
    size: AtomicUsize,
    /// What `fstat` and the others say.
    pub disguise: Disguise,
    /// Changes when the file is replaced.
    pub inode: AtomicU64,
    /// How often the file was opened.
    pub opens: AtomicU32,
    /// How often a mapping of it was overlaid with zeros.
    pub overlays: AtomicU32,
}

// SAFETY: the memory is shared as the real file's pages are: `store` and the readers use atomics.
unsafe impl Send for Image {}
// SAFETY: as above.
unsafe impl Sync for Image {}

/// The page size that the guard works with.
const PAGE: usize = 4096;

impl Image {
    /// Reserves `window` bytes (rounded up to pages); the file is empty.
    pub fn new(window: usize) -> Self {
        let window = window.next_multiple_of(PAGE);
        // SAFETY: a fresh mapping, placed by the kernel; one page more, which stays out of reach.
        let start = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                window + PAGE,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        assert_ne!(start, libc::MAP_FAILED, "no address space for an image");
        Self {
            start: NonNull::new(start.cast()).expect("mmap returned 0"),
            window,
            size: AtomicUsize::new(0),
            disguise: Disguise::NONE,
            inode: AtomicU64::new(1),
            opens: AtomicU32::new(0),
            overlays: AtomicU32::new(0),
        }
    }

    /// An image of exactly `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut image = Self::new(bytes.len());
        image.fill(bytes);
        image
    }

    /// The file's size in bytes.
    pub fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// Makes the file's contents `bytes`; nobody may be reading.
    pub fn fill(&mut self, bytes: &[u8]) {
        self.resize(bytes.len());
        // SAFETY: `resize` made so many bytes writable, and `&mut self` keeps readers out.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.start.as_ptr(), bytes.len()) };
    }

    /// Gives the file `size` bytes; new ones are zero, lost ones become inaccessible.
    pub fn resize(&self, size: usize) {
        assert!(size <= self.window, "larger than the window");
        let (old, new) = (
            self.size().next_multiple_of(PAGE),
            size.next_multiple_of(PAGE),
        );
        if new > old {
            self.protect(old, new, libc::PROT_READ | libc::PROT_WRITE);
        } else if new < old {
            self.protect(new, old, libc::PROT_NONE);
        }
        for at in size..new {
            // SAFETY: inside the accessible pages.
            unsafe { self.start.as_ptr().add(at).write_volatile(0) };
        }
        self.size.store(size, Ordering::Relaxed);
    }

    /// Changes what may be done with a range of pages.
    fn protect(&self, from: usize, to: usize, protection: i32) {
        // SAFETY: inside our own reservation.
        let result = unsafe {
            let start = self.start.as_ptr().add(from).cast();
            if protection == libc::PROT_NONE {
                libc::madvise(start, to - from, libc::MADV_DONTNEED);
            }
            libc::mprotect(start, to - from, protection)
        };
        assert_eq!(result, 0, "mprotect");
    }

    /// Stores one word as the writer does, with release.
    pub fn store(&self, word: usize, value: u64) {
        self.word(word).store(value, Ordering::Release);
    }

    /// Loads one word.
    pub fn load(&self, word: usize) -> u64 {
        self.word(word).load(Ordering::Acquire)
    }

    /// One word of the file.
    fn word(&self, word: usize) -> &AtomicU64 {
        assert!(
            word * 8 + 8 <= self.size().next_multiple_of(8),
            "beyond the file"
        );
        // SAFETY: in bounds, aligned, and accessed by atomics alone while shared.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().cast::<u64>().add(word)) }
    }

    /// What a reader of the whole file may read.
    fn words(&self) -> crate::words::Words<'_> {
        // SAFETY: so many bytes are accessible, and stored to with atomics alone; `resize` takes none away
        // while anybody looks.
        unsafe { crate::words::Words::from_raw(self.start.as_ptr(), self.size() / 8) }
    }

    /// A copy of the contents.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.size().next_multiple_of(8));
        for word in 0..self.size().div_ceil(8) {
            bytes.extend_from_slice(&self.load(word).to_le_bytes());
        }
        bytes.truncate(self.size());
        bytes
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // SAFETY: our own mapping; the readers of an image do not outlive their test.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.window + PAGE) };
    }
}

// SAFETY: `map` gives out our own mapping, which stays until the image is dropped; `unmap` and
// `overlay_zeros` leave it alone, because every mapping of an image is the same one.
unsafe impl Os for Image {
    fn open(&self, _path: &CStr) -> Result<i32, i32> {
        self.opens.fetch_add(1, Ordering::Relaxed);
        self.disguise.open.map_or(Ok(3), Err)
    }

    fn close(&self, _descriptor: i32) {}

    fn status(&self, _descriptor: i32) -> Result<FileStatus, i32> {
        Ok(FileStatus {
            device: 1,
            inode: self.inode.load(Ordering::Relaxed),
            mode: self.disguise.mode,
            uid: self.disguise.uid,
            size: self.disguise.size.unwrap_or(self.size() as u64),
        })
    }

    fn filesystem(&self, _descriptor: i32) -> Result<FilesystemStatus, i32> {
        Ok(FilesystemStatus {
            magic: self.disguise.magic,
            read_only: self.disguise.read_only,
        })
    }

    fn map(&self, _descriptor: i32, length: usize) -> Result<NonNull<u8>, i32> {
        if length > self.window {
            return Err(libc::ENOMEM);
        }
        Ok(self.start)
    }

    unsafe fn unmap(&self, _start: NonNull<u8>, _length: usize) {}

    unsafe fn overlay_zeros(&self, _start: NonNull<u8>, _length: usize) -> Result<(), i32> {
        self.overlays.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    unsafe fn populate(&self, start: NonNull<u8>, length: usize) -> Result<(), i32> {
        if let Some(error) = self.disguise.populate {
            return Err(error);
        }
        let from = (start.as_ptr() as usize).wrapping_sub(self.start.as_ptr() as usize);
        match from.checked_add(length) {
            Some(end) if end <= self.size().next_multiple_of(PAGE) => Ok(()),
            _ => Err(libc::EFAULT),
        }
    }

    fn effective_uid(&self) -> u32 {
        1000
    }

    fn secure(&self) -> bool {
        self.disguise.secure
    }

    fn address_space_is_limited(&self) -> bool {
        self.disguise.limited
    }
}

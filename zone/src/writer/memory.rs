//! The writer's hold on a zone file: every store of the writer goes through [`Memory::store`].

use crate::{
    layout::WORD,
    sync::{AtomicU64, Ordering, Step, fence, leaves_out},
    words::Words,
};
use core::{cell::Cell, ptr::NonNull};
use std::{fs::File, io, os::fd::AsRawFd};

/// A file mapped for writing, or (in proofs) words that somebody else keeps.
pub(crate) struct Memory {
    start: NonNull<AtomicU64>,
    /// Words that are backed by the file.
    count: usize,
    /// Words that are mapped, and may come to be backed.
    window: usize,
    file: Option<File>,
    /// Words stored by this writer.
    stored: Cell<u64>,
    #[cfg(feature = "proofs")]
    log: core::cell::RefCell<Option<Vec<(usize, u64)>>>,
}

// SAFETY: the mapping is owned by this value and accessed by atomics alone.
unsafe impl Send for Memory {}

impl Memory {
    /// Maps `window` bytes of `file`, whose first `size` bytes exist.
    pub(crate) fn map(file: File, size: u64, window: u64) -> io::Result<Self> {
        let bytes = usize::try_from(window.max(size)).map_err(io::Error::other)?;
        let flags = libc::MAP_SHARED | libc::MAP_NORESERVE;
        let access = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a fresh mapping, placed by the kernel.
        let start = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                bytes,
                access,
                flags,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(io::Error::last_os_error)?;
        let count = usize::try_from(size).map_err(io::Error::other)? / WORD;
        Ok(Self {
            start,
            count,
            window: bytes / WORD,
            file: Some(file),
            stored: Cell::new(0),
            #[cfg(feature = "proofs")]
            log: core::cell::RefCell::default(),
        })
    }

    /// Over words that live as long as the process: the first `count` exist, the rest may.
    #[cfg(test)]
    pub(crate) fn over(words: &'static [AtomicU64], count: usize) -> Self {
        Self {
            start: NonNull::from(words).cast(),
            count: count.min(words.len()),
            window: words.len(),
            file: None,
            stored: Cell::new(0),
            #[cfg(feature = "proofs")]
            log: core::cell::RefCell::default(),
        }
    }

    /// What is backed by the file.
    pub(crate) fn words(&self) -> Words<'_> {
        // SAFETY: `count` words from `start` are mapped and backed as long as `self` lives; whoever
        // writes them uses atomic stores.
        unsafe { Words::from_raw(self.start.as_ptr().cast(), self.count) }
    }

    /// Bytes that are backed by the file.
    pub(crate) const fn bytes(&self) -> u64 {
        (self.count * WORD) as u64
    }

    /// One word; panics past the end, as that is a mistake in the writer.
    pub(crate) fn load(&self, at: usize) -> u64 {
        self.word(at).load(Ordering::Relaxed)
    }

    /// Stores one word; panics past the end.
    pub(crate) fn store(&self, at: usize, value: u64, order: Ordering) {
        #[cfg(feature = "proofs")]
        if let Some(log) = self.log.borrow_mut().as_mut() {
            log.push((at, value));
        }
        self.stored.set(self.stored.get().wrapping_add(1));
        self.word(at).store(value, order);
    }

    /// Bytes stored by this writer, repetitions included.
    pub(crate) const fn written_bytes(&self) -> u64 {
        self.stored.get().wrapping_mul(WORD as u64)
    }

    /// Stores one word that makes all words stored before it visible to readers that acquire.
    pub(crate) fn commit(&self, at: usize, value: u64) {
        let weak = leaves_out(Step::Commit);
        self.store(
            at,
            value,
            if weak {
                Ordering::Relaxed
            } else {
                Ordering::Release
            },
        );
    }

    /// Orders all stores before it before all stores after it, for readers that acquire.
    pub(crate) fn fence(&self) {
        if !leaves_out(Step::EpochFence) {
            fence(Ordering::Release);
        }
    }

    /// Has the file grow to `bytes`, every page allocated: a hole would be a SIGBUS in readers on
    /// the day the file system is full. `Err(None)`: past the window.
    pub(crate) fn grow(&mut self, bytes: u64) -> Result<(), Option<io::Error>> {
        let count = usize::try_from(bytes).map_err(|_| None)? / WORD;
        if count > self.window {
            return Err(None);
        }
        if let Some(file) = &self.file {
            allocate(file, self.bytes(), bytes).map_err(Some)?;
        }
        self.count = count;
        Ok(())
    }

    /// The file.
    pub(crate) const fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Starts to record stores.
    #[cfg(feature = "proofs")]
    pub(crate) fn record(&self) {
        *self.log.borrow_mut() = Some(Vec::new());
    }

    /// What was stored since [`Memory::record`], in program order: word and value.
    #[cfg(feature = "proofs")]
    pub(crate) fn recorded(&self) -> Vec<(usize, u64)> {
        self.log.borrow_mut().take().unwrap_or_default()
    }

    fn word(&self, at: usize) -> &AtomicU64 {
        assert!(at < self.count, "word {at} of {}", self.count);
        // SAFETY: `at` is below `count`, see `words`.
        unsafe { self.start.add(at).as_ref() }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.file.is_some() {
            // SAFETY: `map` made the mapping, and nobody borrows from it any more.
            unsafe { libc::munmap(self.start.as_ptr().cast(), self.window * WORD) };
        }
    }
}

/// `posix_fallocate` of what is between two sizes.
pub(crate) fn allocate(file: &File, from: u64, to: u64) -> io::Result<()> {
    let offset = libc::off_t::try_from(from).map_err(io::Error::other)?;
    let length = libc::off_t::try_from(to.saturating_sub(from)).map_err(io::Error::other)?;
    loop {
        // SAFETY: an open descriptor; the call returns an errno value.
        match unsafe { libc::posix_fallocate(file.as_raw_fd(), offset, length) } {
            0 => return Ok(()),
            libc::EINTR => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

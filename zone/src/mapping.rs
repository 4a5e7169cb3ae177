//! A zone file in this process's address space: what may be trusted, how much is mapped, how it
//! grows and how it is left.

use crate::{
    FileStatus, Os, Unavailable,
    hash::crc32c,
    layout::{
        APEX_WORDS, AT_APEX, AT_APEX_LENGTH, AT_CHECKSUM, AT_COMMITTED, AT_MAGIC, AT_VERSION,
        Flavor, MAGIC, MAJOR, MAX_BYTES, UNIT, WORD,
    },
    words::Words,
};
use core::{ffi::CStr, ptr::NonNull};

/// The least that is mapped where address space is free: room to grow without being mapped anew.
const MIN_WINDOW: usize = 64 << 20;
/// `f_type` of a tmpfs. Elsewhere (a virtual machine's shared folder) pages of different age can
/// meet in one mapping.
const TMPFS: u64 = 0x0102_1994;
/// The uid that stands for owners outside this user namespace.
const OVERFLOW_UID: u32 = 65534;
/// Type bits of `st_mode`, and "regular file" among them.
const TYPE: u32 = 0o170_000;
/// See `TYPE`.
const REGULAR: u32 = 0o100_000;
/// Writable by group or others.
const SHARED_WRITE: u32 = 0o022;
/// `EFAULT`: populating met a page that the file does not have.
const EFAULT: i32 = 14;

/// A mapping in one word, so that one compare-and-swap publishes it whole: page number of its start
/// : 36, window - 1 : 14, verified - 1 : 14 (both in units of 64 KiB).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    start: usize,
    window: usize,
    verified: usize,
}

impl Mapping {
    /// Nothing was ever mapped.
    pub(crate) const NONE: u64 = 0;
    /// This process passes for good.
    pub(crate) const POISONED: u64 = 1;
    /// Page numbers count these.
    const PAGE: usize = 4096;
    /// Bits of a window or of what is verified of it.
    const UNIT_BITS: u32 = 14;

    /// The mapping behind a published word; `None` for [`Mapping::NONE`] and
    /// [`Mapping::POISONED`].
    #[inline]
    pub(crate) const fn unpack(word: u64) -> Option<Self> {
        if word <= Self::POISONED {
            return None;
        }
        Some(Self {
            start: ((word >> 28) as usize).wrapping_mul(Self::PAGE),
            window: Self::units_at(word, Self::UNIT_BITS),
            verified: Self::units_at(word, 0),
        })
    }

    /// The inverse; `None` when the start is beyond 48 bits, or a size is no number of units.
    pub(crate) const fn pack(self) -> Option<u64> {
        let page = (self.start / Self::PAGE) as u64;
        if page >> 36 != 0 || page == 0 || !self.start.is_multiple_of(Self::PAGE) {
            return None;
        }
        let (Some(window), Some(verified)) = (
            Self::units_less_one(self.window),
            Self::units_less_one(self.verified),
        ) else {
            return None;
        };
        Some(page << 28 | window << Self::UNIT_BITS | verified)
    }

    /// A number of bytes from the word's units.
    const fn units_at(word: u64, shift: u32) -> usize {
        ((word.wrapping_shr(shift) & 0x3fff) as usize)
            .wrapping_add(1)
            .wrapping_mul(UNIT)
    }

    /// `bytes` as units less one; `None` when it is no multiple, none, or more than is mapped ever.
    const fn units_less_one(bytes: usize) -> Option<u64> {
        if bytes == 0 || bytes > MAX_BYTES || !bytes.is_multiple_of(UNIT) {
            return None;
        }
        Some((bytes / UNIT).wrapping_sub(1) as u64)
    }

    /// What may be read.
    ///
    /// # Safety
    /// This mapping was published by its reader, which never unmaps what it published.
    pub(crate) const unsafe fn words<'z>(self) -> Words<'z> {
        let start = core::ptr::with_exposed_provenance(self.start);
        // SAFETY: `verified` bytes from `start` are mapped and backed by the file (or by zeros, once
        // overlaid), and stay so; the start is a page's. Writers use atomic stores.
        unsafe { Words::from_raw(start, self.verified / WORD) }
    }

    /// Where it starts: no two mappings of a process do so at one address.
    pub(crate) const fn start(self) -> usize {
        self.start
    }

    /// Whether so many words lie in the window.
    pub(crate) const fn has_room_for(self, words: u64) -> bool {
        words <= (self.window / WORD) as u64
    }

    /// Whether all of its file, as large as that is now, lies in the window; or would not be mapped
    /// in any case, where address space is limited.
    pub(crate) fn holds(self, os: &impl Os, status: &FileStatus) -> bool {
        status.size <= self.window as u64
            || self.window >= MAX_BYTES
            || os.address_space_is_limited()
    }

    /// A hash of the mapping's place, which differs between processes.
    pub(crate) const fn place(self) -> u64 {
        ((self.start / Self::PAGE) as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32
    }

    /// The file's identity, as far as it fits in a word beside the page number of the start.
    pub(crate) const fn identify(self, status: &FileStatus) -> u64 {
        let mixed =
            (status.inode ^ status.device.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (self.start / Self::PAGE) as u64 & 0xF_FFFF_FFFF | (mixed >> 36) << 36
    }

    /// Maps the file at `path`, if it may be trusted and is a zone of this flavor.
    ///
    /// `is_current` tells from its status whether this is the file that is mapped already; then
    /// `Err(None)`.
    pub(crate) fn open(
        os: &impl Os,
        path: &CStr,
        flavor: Flavor,
        is_current: impl FnOnce(&FileStatus) -> bool,
    ) -> Result<(Self, FileStatus), Option<Unavailable>> {
        let descriptor = os.open(path).map_err(|_| Some(Unavailable::Absent))?;
        let opened = Self::from_descriptor(os, descriptor, flavor, is_current);
        os.close(descriptor);
        opened
    }

    /// See [`Mapping::open`].
    fn from_descriptor(
        os: &impl Os,
        descriptor: i32,
        flavor: Flavor,
        is_current: impl FnOnce(&FileStatus) -> bool,
    ) -> Result<(Self, FileStatus), Option<Unavailable>> {
        let status = trusted_status(os, descriptor)?;
        if is_current(&status) {
            return Err(None);
        }
        let size = usize::try_from(status.size)
            .unwrap_or(usize::MAX)
            .min(MAX_BYTES);
        let size = (size / UNIT).wrapping_mul(UNIT);
        if size == 0 {
            return Err(Some(Unavailable::Corrupt));
        }
        let roomy = size.saturating_mul(4).clamp(MIN_WINDOW, MAX_BYTES);
        let window = if os.address_space_is_limited() {
            size
        } else {
            roomy
        };
        let (start, window) = match os.map(descriptor, window) {
            Ok(start) => (start, window),
            Err(_) => match os.map(descriptor, size) {
                Ok(start) => (start, size),
                Err(_) => return Err(Some(Unavailable::Absent)),
            },
        };
        let mapping = Self {
            start: start.as_ptr().expose_provenance(),
            window,
            verified: size,
        };
        let checked = if mapping.pack().is_some() {
            // SAFETY: just mapped; `verified` bytes are backed by the file, which never shrinks.
            check(unsafe { mapping.words() }, flavor)
        } else {
            Err(Unavailable::Absent)
        };
        match checked {
            Ok(()) => Ok((mapping, status)),
            Err(why) => {
                mapping.discard(os);
                Err(Some(why))
            }
        }
    }

    /// Unmaps what was never published.
    pub(crate) fn discard(self, os: &impl Os) {
        if let Some(start) = self.pointer() {
            // SAFETY: nobody but this thread ever saw the mapping.
            unsafe { os.unmap(start, self.window) };
        }
    }

    /// Lets go of the inode while others may still read; false when that failed.
    pub(crate) fn overlay(self, os: &impl Os) -> bool {
        // SAFETY: the range is one mapping of this reader's.
        self.pointer()
            .is_some_and(|start| unsafe { os.overlay_zeros(start, self.window) }.is_ok())
    }

    /// The same mapping with more of it verified, when the file has grown to `committed` words.
    ///
    /// `same_file` opens the path and says how large the file is, if it is still this one: for
    /// kernels that cannot populate.
    pub(crate) fn grown(
        self,
        os: &impl Os,
        committed: u64,
        same_file: impl FnOnce() -> Option<u64>,
    ) -> Option<Self> {
        let wanted = usize::try_from(committed)
            .ok()?
            .checked_mul(WORD)?
            .min(self.window);
        if wanted <= self.verified || !wanted.is_multiple_of(UNIT) {
            return None;
        }
        let last = self
            .pointer()?
            .as_ptr()
            .wrapping_add(wanted.wrapping_sub(UNIT));
        // SAFETY: inside the window, which is one mapping of this reader's.
        match unsafe { os.populate(NonNull::new(last)?, UNIT) } {
            Ok(()) => {}
            Err(EFAULT) => return None,
            Err(_) if same_file()? >= wanted as u64 => {}
            Err(_) => return None,
        }
        Some(Self {
            verified: wanted,
            ..self
        })
    }

    /// Where it starts.
    const fn pointer(self) -> Option<NonNull<u8>> {
        NonNull::new(core::ptr::with_exposed_provenance_mut(self.start))
    }
}

/// The status of an open file that only somebody trusted can have written.
pub(crate) fn trusted_status(os: &impl Os, descriptor: i32) -> Result<FileStatus, Unavailable> {
    let status = os.status(descriptor).map_err(|_| Unavailable::Absent)?;
    let filesystem = os.filesystem(descriptor).map_err(|_| Unavailable::Absent)?;
    let owner = match status.uid {
        0 => true,
        uid if uid == os.effective_uid() && !os.secure() => true,
        uid => uid == OVERFLOW_UID && filesystem.read_only,
    };
    let trusted = owner
        && status.mode & TYPE == REGULAR
        && status.mode & SHARED_WRITE == 0
        && filesystem.magic == TMPFS;
    if trusted {
        Ok(status)
    } else {
        Err(Unavailable::Untrusted)
    }
}

/// Checks the identity of a file.
pub(crate) fn check(words: Words<'_>, flavor: Flavor) -> Result<(), Unavailable> {
    let load = |at| words.load(at).ok_or(Unavailable::Corrupt);
    if load(AT_MAGIC)? != MAGIC {
        return Err(Unavailable::Corrupt);
    }
    let version = load(AT_VERSION)?;
    if version as u16 != MAJOR || version >> 32 != flavor.features() {
        return Err(Unavailable::Version);
    }
    let apex_length = load(AT_APEX_LENGTH)?;
    let sum = checksum(words).ok_or(Unavailable::Corrupt)?;
    let sane = load(AT_CHECKSUM)? == u64::from(sum)
        && flavor.admits_apex(apex_length)
        && load(AT_COMMITTED)? >= (UNIT / WORD) as u64;
    if sane {
        Ok(())
    } else {
        Err(Unavailable::Corrupt)
    }
}

/// CRC-32C of the identity; `None` past the end.
pub(crate) fn checksum(words: Words<'_>) -> Option<u32> {
    use crate::sync::Ordering;
    let identity = words.range(0, AT_CHECKSUM)?;
    let apex = words.range(AT_APEX, APEX_WORDS)?;
    Some(crc32c(
        identity
            .iter()
            .chain(apex)
            .map(|word| word.load(Ordering::Relaxed)),
    ))
}

#[cfg(test)]
mod tests {
    use super::{MAX_BYTES, Mapping, UNIT};

    #[test]
    fn a_mapping_fits_in_a_word() {
        for (window, verified) in [(UNIT, UNIT), (MAX_BYTES, UNIT), (MAX_BYTES, MAX_BYTES)] {
            let mapping = Mapping {
                start: 0x7fff_ffff_f000,
                window,
                verified,
            };
            assert_eq!(Mapping::unpack(mapping.pack().unwrap()), Some(mapping));
        }
        let good = Mapping {
            start: 0x1000,
            window: UNIT,
            verified: UNIT,
        };
        assert!(good.pack().unwrap() > Mapping::POISONED);
        assert_eq!(
            Mapping {
                start: 1 << 48,
                ..good
            }
            .pack(),
            None
        );
        assert_eq!(Mapping { start: 0, ..good }.pack(), None);
        assert_eq!(
            Mapping {
                window: UNIT + 1,
                ..good
            }
            .pack(),
            None
        );
        assert_eq!(
            Mapping {
                window: MAX_BYTES + UNIT,
                ..good
            }
            .pack(),
            None
        );
        assert_eq!(Mapping::unpack(Mapping::NONE), None);
        assert_eq!(Mapping::unpack(Mapping::POISONED), None);
    }
}

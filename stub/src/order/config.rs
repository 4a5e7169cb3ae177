//! Which tables count in this process: gai.conf is read at the first answer that is sorted, and
//! again only where it says `reload yes`: as glibc does it, but looked at once a second at most.

use super::policy::{Policy, Tables};
use crate::sys::{self, FileVersion};
use core::ffi::CStr;
use core::ptr::{NonNull, addr_of_mut, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

const PATH: &CStr = c"/etc/gai.conf";
/// Octets of a file. A longer one is not read.
const ROOM: usize = 8192;
/// How often one process may see the file change: what is published is never freed.
const REPLACEMENTS: u32 = 64;

/// One version of the file, in a mapping of its own.
struct Loaded {
    policy: Policy,
    version: Result<FileVersion, i32>,
    /// Whether glibc's reading of it is certain.
    is_clear: bool,
}

/// Null: nothing read yet. [`silent`]: the defaults count for good.
static CURRENT: AtomicPtr<Loaded> = AtomicPtr::new(null_mut());

/// Stands for a file that says nothing; never looked into.
fn silent() -> *mut Loaded {
    CURRENT.as_ptr().cast()
}

/// The tables of this process; `None` when libc must sort.
pub(super) fn tables(now: u64) -> Option<Tables<'static>> {
    // Acquire: pairs with the Release of `publish`, makes the tables visible.
    let mut current = CURRENT.load(Ordering::Acquire);
    if current.is_null() {
        current = publish(null_mut(), load(false)?);
    }
    if current == silent() {
        return Some(Tables::defaults());
    }
    // SAFETY: what is published is complete, never written again and never unmapped.
    let mut loaded: &'static Loaded = unsafe { current.as_ref() }?;
    if loaded.policy.reloads && has_changed(loaded, now) {
        current = publish(current, load(true)?);
        // SAFETY: as above; where `reload` was set, there is always a mapping.
        loaded = unsafe { current.as_ref() }?;
    }
    loaded.is_clear.then(|| loaded.policy.tables())
}

/// Whether another version is there; asked once a second.
fn has_changed(loaded: &Loaded, now: u64) -> bool {
    /// The second in which somebody last looked.
    static CHECKED: AtomicU64 = AtomicU64::new(0);
    static REPLACED: AtomicU32 = AtomicU32::new(0);
    CHECKED.swap(now, Ordering::Relaxed) != now
        && sys::file_version(PATH) != loaded.version
        && REPLACED.fetch_add(1, Ordering::Relaxed) < REPLACEMENTS
}

/// Reads the file. `reloads`: as it was before; the file may say otherwise. `None` when there is no
/// memory.
#[cold]
#[inline(never)]
fn load(reloads: bool) -> Option<*mut Loaded> {
    let text = sys::map_anonymous(ROOM)?;
    let loaded = read(text, reloads);
    // SAFETY: mapped above with this length, and used by nobody.
    unsafe { sys::unmap_anonymous(text, ROOM) }
    loaded
}

/// Parses the file into a mapping, unless it says nothing.
fn read(text: NonNull<u8>, reloads: bool) -> Option<*mut Loaded> {
    // SAFETY: fresh zeroed memory of that length that nobody else has.
    let room = unsafe { core::slice::from_raw_parts_mut(text.as_ptr(), ROOM) };
    let before = sys::file_version(PATH);
    let (version, length, is_readable) = match sys::read_file(PATH, room) {
        Ok((version, length)) => (Ok(version), length, true),
        // What cannot be opened is no file for glibc; what we alone cannot read is unclear.
        Err(error) => (
            before,
            0,
            !matches!(error, libc::EFBIG | libc::EINVAL | libc::EISDIR),
        ),
    };
    if is_readable && length == 0 && !reloads {
        return Some(silent());
    }
    let memory: NonNull<Loaded> = sys::map_anonymous(size_of::<Loaded>())?.cast();
    // In place: the struct has 5 KB, more than a small stack should have to spare.
    // SAFETY: fresh memory, aligned to a page and as long as the struct; nobody else has it. Zeros
    // are a value of every field but the version, and that is written.
    let loaded = unsafe {
        addr_of_mut!((*memory.as_ptr()).version).write(version);
        &mut *memory.as_ptr()
    };
    loaded.policy.reloads = reloads;
    let text = room.get(..length).unwrap_or(&[]);
    loaded.is_clear = is_readable && loaded.policy.read(text);
    if loaded.is_clear && loaded.policy.is_silent() {
        discard(memory.as_ptr());
        return Some(silent());
    }
    Some(memory.as_ptr())
}

/// Publishes `loaded` in place of `known`; what is published now.
fn publish(known: *mut Loaded, loaded: *mut Loaded) -> *mut Loaded {
    // Release: whoever loads the pointer sees the tables.
    match CURRENT.compare_exchange(known, loaded, Ordering::Release, Ordering::Acquire) {
        Ok(_) => loaded,
        Err(other) => {
            discard(loaded);
            other
        }
    }
}

/// Gives back a version that nobody has seen.
fn discard(loaded: *mut Loaded) {
    if loaded == silent() {
        return;
    }
    if let Some(memory) = NonNull::new(loaded) {
        // SAFETY: mapped with this size by `read`, and never published.
        unsafe { sys::unmap_anonymous(memory.cast(), size_of::<Loaded>()) }
    }
}

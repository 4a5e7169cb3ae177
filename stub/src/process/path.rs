//! Where this process finds its zone, and what lies beside it.

use crate::files::environment;
use crate::outcome::Reason;
use crate::sys;
use core::ffi::CStr;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicUsize, Ordering};
use nss_k8s_zone::Unavailable;

/// Where every pod finds its zone.
pub(crate) const ZONE_PATH: &CStr = c"/run/nss-k8s/zone.v1";
/// The file's name in the directory that `NSS_K8S_DIR` names.
pub(crate) const ZONE_FILE: &[u8] = b"/zone.v1";
/// The longest path the kernel takes, its NUL included.
const PATH_MAX: usize = 4096;

/// Where this process finds its zone, from its environment as of the first lookup.
pub(crate) fn zone_path() -> Result<&'static CStr, Reason> {
    /// What the environment said; 0: not looked yet.
    static STATE: AtomicU8 = AtomicU8::new(0);
    /// The path of state CUSTOM, NUL-terminated, and its length with the NUL.
    static PATH: AtomicPtr<u8> = AtomicPtr::new(null_mut());
    static LENGTH: AtomicUsize = AtomicUsize::new(0);
    const DEFAULT: u8 = 1;
    const CUSTOM: u8 = 2;
    const DISABLED: u8 = 3;
    const UNUSABLE: u8 = 4;
    let mut state = STATE.load(Ordering::Acquire);
    if state == 0 {
        state = if is_set(environment(c"NSS_K8S_DISABLE")) {
            DISABLED
        } else {
            match environment(c"NSS_K8S_DIR").map(CStr::to_bytes) {
                None | Some([]) => DEFAULT,
                Some(directory) if publish_path(&PATH, &LENGTH, directory, ZONE_FILE) => CUSTOM,
                Some(_) => UNUSABLE,
            }
        };
        // Release: who sees CUSTOM sees PATH. All threads find the same.
        STATE.store(state, Ordering::Release);
    }
    match state {
        DEFAULT => Ok(ZONE_PATH),
        CUSTOM => published_path(&PATH, &LENGTH).ok_or(Reason::Unavailable(Unavailable::Absent)),
        DISABLED => Err(Reason::Disabled),
        _ => Err(Reason::Unavailable(Unavailable::Absent)),
    }
}

/// A switch is on when it is set to anything but "" and "0": off is the safe side.
fn is_set(value: Option<&CStr>) -> bool {
    value.is_some_and(|value| !matches!(value.to_bytes(), b"" | b"0"))
}

/// The path that [`publish_path`] put there, if it has.
pub(crate) fn published_path(place: &AtomicPtr<u8>, size: &AtomicUsize) -> Option<&'static CStr> {
    let path = NonNull::new(place.load(Ordering::Acquire))?;
    // SAFETY: published whole, never written again and never unmapped; the length was stored before
    // the pointer, counts the NUL, and is the same for every thread.
    Some(unsafe {
        let length = size.load(Ordering::Relaxed);
        CStr::from_bytes_with_nul_unchecked(core::slice::from_raw_parts(path.as_ptr(), length))
    })
}

/// Joins the directory and the file's name in memory of our own; false when it is too long. What one
/// place is given is always the same.
pub(crate) fn publish_path(
    place: &AtomicPtr<u8>,
    size: &AtomicUsize,
    directory: &[u8],
    file: &[u8],
) -> bool {
    let length = directory.len().saturating_add(file.len());
    if length >= PATH_MAX {
        return false;
    }
    let Some(memory) = sys::map_anonymous(PATH_MAX) else {
        return false;
    };
    // SAFETY: fresh zeroed memory of that length that nobody else has.
    let text = unsafe { core::slice::from_raw_parts_mut(memory.as_ptr(), PATH_MAX) };
    for (to, from) in text.iter_mut().zip(directory.iter().chain(file)) {
        *to = *from;
    }
    size.store(length.saturating_add(1), Ordering::Relaxed);
    // Release: who loads the pointer sees the path and its length.
    let published = place.compare_exchange(
        null_mut(),
        memory.as_ptr(),
        Ordering::Release,
        Ordering::Relaxed,
    );
    if published.is_err() {
        // SAFETY: mapped above with this length and seen by nobody.
        unsafe { sys::unmap_anonymous(memory, PATH_MAX) }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_nothing_and_zero_leave_a_switch_off() {
        assert!(!is_set(None) && !is_set(Some(c"")) && !is_set(Some(c"0")));
        assert!(is_set(Some(c"1")) && is_set(Some(c"true")));
    }
}

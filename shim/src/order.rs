//! Which family comes first when an answer has both: the rules of RFC 6724 section 6 that can tell
//! two families apart, with the tables of each libc.
//!
//! Within a family the stub's shuffle stays: the tables treat all cluster addresses of a family
//! alike, and the rules that look at single bits (longest common prefix) would undo the spreading
//! of load that several addresses are for.

use core::sync::atomic::{AtomicU8, Ordering};
use nss_k8s_stub::sys::{self, Libc, Route};
use nss_k8s_stub::{Address, Family};

/// Places in libc's tables that cluster addresses have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// fc00::/7.
    UniqueLocal,
    /// 2000::/3 without the prefixes that the tables single out.
    Global,
}

/// The kind of an IPv6 address; `None` for those with rules of their own.
pub(crate) fn kind(address: &Address) -> Option<Kind> {
    match address.octets {
        [0xfc | 0xfd, ..] => Some(Kind::UniqueLocal),
        // Teredo and 6to4 have labels of their own.
        [0x20, 0x01, 0, 0, ..] | [0x20, 0x02, ..] => None,
        [0x20..=0x3f, ..] => Some(Kind::Global),
        _ => None,
    }
}

/// Neither loopback nor link-local, which have another scope.
pub(crate) fn is_ordinary_v4(address: &Address) -> bool {
    !matches!(address.octets, [127, ..] | [169, 254, ..])
}

/// The family of the destination that sorts first; `None` when neither is reachable, when a source
/// address is of no ordinary kind, or when the administrator has changed glibc's tables.
pub(crate) fn first(
    libc: Libc,
    v4: &Address,
    v4_route: Route,
    v6: &Address,
    v6_route: Route,
) -> Option<Family> {
    if libc == Libc::Glibc && !tables_are_defaults() {
        return None;
    }
    let destination = kind(v6)?;
    match (v4_route, v6_route) {
        // Rule 1: avoid unusable destinations.
        (Route::Source(_), Route::Unreachable) => Some(Family::V4),
        (Route::Unreachable, Route::Source(_)) => Some(Family::V6),
        (Route::Source(v4_source), Route::Source(v6_source)) => {
            // Rule 2 (scope): all of these are global.
            if !is_ordinary_v4(v4) || !is_ordinary_v4(&v4_source) {
                return None;
            }
            // Rule 5: prefer the destination whose label is its source's. Of IPv4 it always is.
            if kind(&v6_source)? != destination {
                return Some(Family::V4);
            }
            // Rule 6: precedence. glibc's default table is RFC 3484's with 10 for IPv4 and 40 for
            // the rest; musl's is RFC 6724's with 35 for IPv4, 3 for fc00::/7, 40 for the rest.
            match (libc, destination) {
                (Libc::Musl, Kind::UniqueLocal) => Some(Family::V4),
                _ => Some(Family::V6),
            }
        }
        _ => None,
    }
}

/// Whether gai.conf is absent or says nothing. Read once, as glibc reads it.
fn tables_are_defaults() -> bool {
    /// 0: not looked yet; 1: no; 2: yes.
    static KNOWN: AtomicU8 = AtomicU8::new(0);
    match KNOWN.load(Ordering::Relaxed) {
        0 => {
            let Some(silent) = is_file_silent() else {
                return false;
            };
            KNOWN.store(if silent { 2 } else { 1 }, Ordering::Relaxed);
            silent
        }
        known => known == 2,
    }
}

/// Reads gai.conf; `None` when there is no memory for it. On its own, and not on the stack: every
/// call of the program would pay for a frame that one call needs.
#[cold]
#[inline(never)]
fn is_file_silent() -> Option<bool> {
    /// Octets; a longer file counts as one that says something.
    const ROOM: usize = 8192;
    let memory = sys::map_anonymous(ROOM)?;
    // SAFETY: fresh zeroed memory of that length that nobody else has.
    let room = unsafe { core::slice::from_raw_parts_mut(memory.as_ptr(), ROOM) };
    let silent = match sys::read_file(c"/etc/gai.conf", room) {
        Ok((_, length)) => room.get(..length).is_some_and(says_nothing),
        Err(libc::ENOENT | libc::ENOTDIR) => true,
        Err(_) => false,
    };
    // SAFETY: mapped above with this length; the slice is not used any more.
    unsafe { sys::unmap_anonymous(memory, ROOM) }
    Some(silent)
}

/// Only comments and blank lines.
fn says_nothing(text: &[u8]) -> bool {
    text.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .all(|line| line.is_empty() || line.starts_with(b"#"))
}

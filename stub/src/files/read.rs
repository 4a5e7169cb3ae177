//! One file of `/etc` as libc takes it: present, missing or unreadable.

use crate::sys::{self, FileVersion, Libc};
use core::ffi::CStr;

/// A file's version, or the error of looking for it.
pub(super) type Seen = Result<FileVersion, i32>;

/// Reads one file. The text is empty where libc takes the file for missing, and `None` where it
/// cannot be read for good (too long, no regular file). `None` in all when trying again may help.
#[inline(never)]
pub(super) fn read<'s>(
    path: &CStr,
    libc: Libc,
    room: &'s mut [u8],
) -> Option<(Seen, Option<&'s [u8]>)> {
    let seen = sys::file_version(path);
    match sys::read_file(path, room) {
        Ok((version, length)) => Some((Ok(version), room.get(..length))),
        Err(error) if is_missing(libc, error) => Some((seen, Some(&[]))),
        Err(libc::EFBIG | libc::EINVAL | libc::EISDIR | libc::ELOOP | libc::EPERM) => {
            Some((seen, None))
        }
        Err(_) => None,
    }
}

/// Errors of opening that libc takes for an empty file (resolv/res_init.c; resolvconf.c).
const fn is_missing(libc: Libc, error: i32) -> bool {
    match error {
        libc::ENOENT | libc::ENOTDIR | libc::EACCES => true,
        libc::ELOOP | libc::EPERM => matches!(libc, Libc::Glibc),
        _ => false,
    }
}

//! The system calls of mounts, in safe dress. Paths are followed but for the last component, where it
//! matters.

use std::{
    ffi::CString,
    fs::File,
    io,
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

/// Mounts a tmpfs: not for set-uid programs or devices, but for libraries.
pub(super) fn mount_tmpfs(target: &Path, options: &str) -> io::Result<()> {
    mount(
        c"nss-k8s",
        target,
        Some(c"tmpfs"),
        libc::MS_NOSUID | libc::MS_NODEV,
        Some(options),
    )
}

/// Changes the options of a tmpfs that is mounted.
pub(super) fn remount_tmpfs(target: &Path, options: &str) -> io::Result<()> {
    let flags = libc::MS_REMOUNT | libc::MS_NOSUID | libc::MS_NODEV;
    mount(c"nss-k8s", target, None, flags, Some(options))
}

/// Binds a directory, with the flags of the mount that it lies in.
pub(super) fn bind(source: &Path, target: &Path) -> io::Result<()> {
    mount(&c_path(source)?, target, None, libc::MS_BIND, None)
}

/// Makes a bind mount read-only, in this mount namespace only.
pub(super) fn make_read_only(target: &Path) -> io::Result<()> {
    let flags =
        libc::MS_REMOUNT | libc::MS_BIND | libc::MS_RDONLY | libc::MS_NOSUID | libc::MS_NODEV;
    mount(c"none", target, None, flags, None)
}

/// Keeps what is mounted below `target` from spreading.
pub(super) fn make_private(target: &Path) -> io::Result<()> {
    mount(c"none", target, None, libc::MS_PRIVATE, None)
}

/// Unmounts what is on top of `target`; `detached`: also when it is in use.
pub(super) fn unmount(target: &Path, detached: bool) -> io::Result<()> {
    let target = c_path(target)?;
    let flags = libc::UMOUNT_NOFOLLOW | if detached { libc::MNT_DETACH } else { 0 };
    // SAFETY: a string that ends with zero.
    check(unsafe { libc::umount2(target.as_ptr(), flags) }.into()).map(drop)
}

/// A copy of the mount at `source` alone, attached nowhere: open_tree(2), since Linux 5.2.
pub(super) fn clone_mount(source: &Path) -> io::Result<OwnedFd> {
    let source = c_path(source)?;
    let flags = libc::OPEN_TREE_CLONE | libc::O_CLOEXEC.unsigned_abs();
    // SAFETY: the arguments of open_tree(2): a string that ends with zero, and flags.
    let descriptor = check(unsafe {
        libc::syscall(
            libc::SYS_open_tree,
            libc::AT_FDCWD,
            source.as_ptr(),
            flags | libc::AT_SYMLINK_NOFOLLOW.unsigned_abs(),
        )
    })?;
    let descriptor = i32::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the kernel has just given it to us.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// Makes an unattached mount read-only and private: mount_setattr(2), since Linux 5.12.
pub(super) fn seal(mount: &OwnedFd) -> io::Result<()> {
    let attributes = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV,
        attr_clr: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd: 0,
    };
    // SAFETY: the arguments of mount_setattr(2); the structure outlives the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const attributes,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Attaches a mount: move_mount(2).
pub(super) fn attach(mount: &OwnedFd, target: &Path) -> io::Result<()> {
    let target = c_path(target)?;
    // SAFETY: the arguments of move_mount(2), strings that end with zero.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    })
    .map(drop)
}

/// Gives this thread a copy of the mount namespace; it goes when the thread ends.
pub(super) fn unshare_mounts() -> io::Result<()> {
    // SAFETY: it takes no pointer.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) }.into()).map(drop)
}

/// What `statfs` says of the file system that a path is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Space {
    /// Bytes; 0: without a limit.
    pub(super) size: u64,
    /// Of these free.
    pub(super) free: u64,
}

/// How full the file system is.
pub(super) fn space(path: &Path) -> io::Result<Space> {
    let path = c_path(path)?;
    // SAFETY: a structure of integers, for which zeros are a value.
    let mut found: libc::statfs = unsafe { core::mem::zeroed() };
    // SAFETY: a string that ends with zero and a structure to write to.
    check(unsafe { libc::statfs(path.as_ptr(), &raw mut found) }.into())?;
    let block = u64::try_from(found.f_bsize).unwrap_or(0);
    Ok(Space {
        size: found.f_blocks.saturating_mul(block),
        free: found.f_bavail.saturating_mul(block),
    })
}

/// Gives a file so many bytes for certain.
pub(super) fn allocate(file: &File, bytes: u64) -> io::Result<()> {
    let bytes = libc::off_t::try_from(bytes).map_err(io::Error::other)?;
    // SAFETY: an open descriptor.
    check(unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, bytes) }.into()).map(drop)
}

/// mount(2).
pub(super) fn mount(
    source: &core::ffi::CStr,
    target: &Path,
    kind: Option<&core::ffi::CStr>,
    flags: libc::c_ulong,
    options: Option<&str>,
) -> io::Result<()> {
    let target = c_path(target)?;
    let options = options.map(CString::new).transpose()?;
    let pointer = |text: Option<&core::ffi::CStr>| text.map_or(core::ptr::null(), |c| c.as_ptr());
    // SAFETY: strings that end with zero, or nothing where the call takes nothing.
    check(
        unsafe {
            libc::mount(
                source.as_ptr(),
                target.as_ptr(),
                pointer(kind),
                flags,
                pointer(options.as_deref()).cast(),
            )
        }
        .into(),
    )
    .map(drop)
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

//! The file system of our own below `/run/nss-k8s`: zone, libraries and pods' directories. A tmpfs,
//! because readers trust nothing else, and of our own, because neither /run nor kubelet's directory
//! can be trusted to let libraries be executed.
//!
//! It outlives this process, and the pods that were started with it: it is mounted once, found again,
//! and never mounted twice on one place.

use super::{
    mounts,
    sys::{self, Space},
};
use anyhow::{Context, Result, ensure};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

/// Whom directories and files of the driver belong to: nobody runs as this user ("nssk"). The agent
/// is user 0 without capabilities, and may write where its group may; what is the driver's it can read
/// and neither change nor move. So an agent that was taken over cannot give pods other libraries, and
/// cannot lead the driver, which has all of root's rights, out of this file system by a link.
pub(crate) const OWNER: u32 = 0x6e73_736b;
/// The agent's group.
const AGENT: u32 = 0;

/// The directory that it is mounted in, if that is ours and not, say, /run: the agent has it mounted,
/// and could fill the node's /run there.
const AROUND: &str = "nss-k8s";

/// Bytes that are given back when nothing is left, so that agent and driver can go on.
const BALLAST: u64 = 4 << 20;
/// On small file systems it is this part of them.
const BALLAST_SHARE: u64 = 32;
/// The label that containers may read, where SELinux is on (container-selinux).
const CONTEXT: &str = "context=system_u:object_r:container_file_t:s0";

/// How full it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Enough is free.
    Fine,
    /// More than nine tenths are used.
    NearlyFull,
    /// The ballast had to go.
    Full,
}

impl Level {
    /// For people and figures.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::NearlyFull => "nearly full",
            Self::Full => "full",
        }
    }
}

/// The mounted file system.
#[derive(Debug)]
pub(super) struct Filesystem {
    base: PathBuf,
    ballast: PathBuf,
}

impl Filesystem {
    /// Mounts a tmpfs of `size` bytes on `base`, or takes the one that is there and makes it so large.
    pub(super) fn open(base: &Path, size: u64) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(base)
            .with_context(|| format!("cannot create {}", base.display()))?;
        ensure!(
            fs::symlink_metadata(base).is_ok_and(|found| found.is_dir()),
            "{} is a symbolic link",
            base.display()
        );
        let base = fs::canonicalize(base).context("cannot resolve the base directory")?;
        match mounts::at(&base).context("cannot read the list of mounts")? {
            None => mount(&base, size)?,
            Some(mount) => {
                let (path, kind) = (base.display(), &mount.kind);
                ensure!(kind == "tmpfs", "{path} is a mount point of type {kind}");
                resize(&base, size);
            }
        }
        if let Some(around) = base.parent().filter(|path| path.ends_with(AROUND))
            && let Err(error) = make_directory(around, 0o755)
        {
            tracing::warn!(path = %around.display(), %error, "the agent can write there");
        }
        // Sticky: the agent makes and removes what is its own there.
        for (name, mode) in [
            ("", 0o755),
            ("private", 0o1770),
            ("private/pods", 0o750),
            ("pod", 0o1775),
            ("lib", 0o755),
        ] {
            let path = base.join(name);
            let made = make_directory(&path, mode);
            made.with_context(|| format!("cannot create {}", path.display()))?;
        }
        // The agent's own.
        let view = base.join("view");
        match DirBuilder::new().mode(0o755).create(&view) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.with_context(|| format!("cannot create {}", view.display()))?,
        }
        let ballast = base.join("private/ballast");
        let this = Self { base, ballast };
        this.take_ballast();
        Ok(this)
    }

    /// Its mount point, without symbolic links.
    pub(super) fn base(&self) -> &Path {
        &self.base
    }

    /// Says how full it is; gives the ballast back when nothing is left and takes it again later.
    pub(super) fn look(&self) -> io::Result<(Space, Level)> {
        let space = sys::space(&self.base)?;
        let ballast = ballast_of(space.size);
        let held = self.ballast.exists();
        let level = if !held && space.free < ballast.saturating_mul(2) {
            Level::Full
        } else if held && space.free < ballast / 4 {
            self.give_ballast();
            Level::Full
        } else {
            if !held {
                self.take_ballast();
            }
            match space.free < space.size / 10 {
                true => Level::NearlyFull,
                false => Level::Fine,
            }
        };
        Ok((space, level))
    }

    /// Makes room at once; whether there was any to be had.
    pub(super) fn give_ballast(&self) -> bool {
        fs::remove_file(&self.ballast).is_ok()
    }

    /// Unmounts it where nothing uses it.
    pub(super) fn unmount(&self) -> io::Result<()> {
        sys::unmount(&self.base, false)
    }

    fn take_ballast(&self) {
        let taken = sys::space(&self.base).and_then(|space| {
            let mut new = OpenOptions::new();
            let file = new
                .write(true)
                .create(true)
                .truncate(false)
                .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                .open(&self.ballast)?;
            give(&file, 0o600)?;
            sys::allocate(&file, ballast_of(space.size))
        });
        if let Err(error) = taken {
            tracing::warn!(%error, "no room for the ballast file");
            self.give_ballast();
        }
    }
}

/// Runs what writes there; when there is no room, once more without the ballast.
pub(super) fn with_room<T>(
    filesystem: &Filesystem,
    mut write: impl FnMut() -> io::Result<T>,
) -> io::Result<T> {
    match write() {
        Err(error) if error.kind() == io::ErrorKind::StorageFull && filesystem.give_ballast() => {
            tracing::warn!("the file system is full: the ballast goes");
            write()
        }
        written => written,
    }
}

/// Makes a directory of the driver's, or makes the one that is there the driver's, with this mode.
pub(super) fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    let mut read = OpenOptions::new();
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    let directory = read.read(true).custom_flags(flags).open(path)?;
    give(&directory, mode)?;
    // From now on nobody else can put another one in its place.
    let (found, given) = (fs::symlink_metadata(path)?, directory.metadata()?);
    match (found.dev(), found.ino()) == (given.dev(), given.ino()) {
        true => Ok(()),
        false => Err(io::Error::other("somebody else changes this directory")),
    }
}

/// Makes what is open the driver's, with this mode whatever the umask is.
pub(super) fn give(file: &File, mode: u32) -> io::Result<()> {
    fchown(file, Some(OWNER), Some(AGENT))?;
    file.set_permissions(Permissions::from_mode(mode))
}

/// Whether this is a directory of the driver's, in which nobody else changes anything.
pub(super) fn is_ours(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.is_dir() && found.uid() == OWNER)
}

/// Writes a file of the driver's that is not there.
pub(super) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let mut new = OpenOptions::new();
    let mut file = new.write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    give(&file, mode)
}

fn mount(base: &Path, size: u64) -> Result<()> {
    // Two drivers on one node, as in an update that starts the new one first: one of them mounts.
    let _lock = lock_beside(base).context("cannot lock the place of the mount")?;
    if mounts::at(base)?.is_some() {
        return Ok(());
    }
    let options = format!("size={size},mode=0755");
    let mut mounted = Err(io::Error::from(io::ErrorKind::Unsupported));
    if is_selinux_known() {
        mounted = sys::mount_tmpfs(base, &format!("{options},{CONTEXT}"));
        if let Err(error) = &mounted {
            tracing::warn!(%error, "no SELinux context for the file system");
        }
    }
    mounted
        .or_else(|_| sys::mount_tmpfs(base, &options))
        .with_context(|| format!("cannot mount a tmpfs on {}", base.display()))?;
    tracing::info!(path = %base.display(), size, "mounted a tmpfs");
    Ok(())
}

/// An exclusive lock on the directory that the mount point lies in, as long as it is open.
fn lock_beside(base: &Path) -> io::Result<File> {
    let directory = File::open(base.parent().unwrap_or(base))?;
    directory.lock()?;
    Ok(directory)
}

/// Gives it another size, but never less than what is used; whatever fails, it stays as it is.
fn resize(base: &Path, size: u64) {
    let Ok(space) = sys::space(base) else { return };
    let used = space.size.saturating_sub(space.free);
    let path = base.display();
    if size == space.size {
        return;
    }
    if size < used {
        tracing::warn!(%path, size, used, "more is used than the new size: it stays as it is");
        return;
    }
    match sys::remount_tmpfs(base, &format!("size={size},mode=0755")) {
        Ok(()) => tracing::info!(%path, size, "the file system has a new size"),
        Err(error) => tracing::warn!(%path, size, %error, "the file system keeps its size"),
    }
}

fn ballast_of(size: u64) -> u64 {
    BALLAST.min(size / BALLAST_SHARE)
}

/// Whether the kernel has SELinux; a mount option of it is refused by one that has not.
fn is_selinux_known() -> bool {
    let known = fs::read_to_string("/proc/filesystems");
    known.is_ok_and(|text| text.lines().any(|line| line.ends_with("\tselinuxfs")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    /// An agent that was taken over puts links where the driver is about to write.
    #[test]
    fn no_link_is_followed() {
        let place = tempfile::tempdir().unwrap();
        let (outside, link) = (place.path().join("outside"), place.path().join("link"));
        DirBuilder::new().mode(0o700).create(&outside).unwrap();
        symlink(&outside, &link).unwrap();
        make_directory(&link, 0o755).unwrap_err();
        let found = fs::symlink_metadata(&outside).unwrap();
        assert_eq!((found.mode() & 0o777, found.uid() == OWNER), (0o700, false));
        fs::remove_dir(&outside).unwrap();
        write_new(&link, b"x", 0o644).unwrap_err();
        assert!(!outside.exists());
        assert!(!is_ours(place.path()));
    }
}

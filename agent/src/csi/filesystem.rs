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
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

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
        let base = fs::canonicalize(base).context("cannot resolve the base directory")?;
        match mounts::at(&base).context("cannot read the list of mounts")? {
            None => mount(&base, size)?,
            Some(mount) => {
                let (path, kind) = (base.display(), &mount.kind);
                ensure!(kind == "tmpfs", "{path} is a mount point of type {kind}");
                resize(&base, size);
            }
        }
        for (name, mode) in [
            ("private", 0o700),
            ("private/pods", 0o700),
            ("view", 0o755),
            ("pod", 0o755),
            ("lib", 0o755),
        ] {
            let path = base.join(name);
            let made = make_directory(&path, mode);
            made.with_context(|| format!("cannot create {}", path.display()))?;
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
                .open(&self.ballast)?;
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

/// Makes a directory, or gives the one that is there this mode.
pub(super) fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
        made => made?,
    }
    // Whatever the umask is.
    fs::set_permissions(path, Permissions::from_mode(mode))
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

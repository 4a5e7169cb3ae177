//! What is mounted where (`/proc/self/mountinfo`, proc_pid_mountinfo(5)), and how a pod's directory
//! comes to its target.

use super::sys;
use std::{
    ffi::OsString,
    fs, io,
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::{Path, PathBuf},
    thread,
};

/// Mounts on one target that are taken off at most; more than one is an accident already.
const STACKED: usize = 16;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// The file system's numbers, such as `0:42`: one for all mounts of it.
    pub(super) device: String,
    /// What of the file system is shown.
    pub(super) root: PathBuf,
    /// Where.
    pub(super) point: PathBuf,
    /// Which file system, such as `tmpfs`.
    pub(super) kind: String,
    /// Mounts below it spread to other mount namespaces.
    pub(super) shared: bool,
}

/// The mounts of this process's namespace, a later one on top of an earlier one.
pub(super) fn all() -> io::Result<Vec<Mount>> {
    Ok(parse(&fs::read("/proc/thread-self/mountinfo")?))
}

/// The mount whose mount point this is, the one on top.
pub(super) fn at(point: &Path) -> io::Result<Option<Mount>> {
    let mounts = all()?.into_iter();
    Ok(mounts.rev().find(|mount| mount.point == point))
}

/// The mount that a path lies in.
pub(super) fn around(path: &Path) -> io::Result<Option<Mount>> {
    let mounts = all()?.into_iter().rev();
    Ok(mounts
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| mount.point.components().count()))
}

/// Shows `source` at `target`, read-only from the first moment on, wherever the target's mount spreads.
///
/// What spreads is a copy with the flags of that moment; a mount that is made read-only afterwards is
/// so in one namespace only. Where the kernel cannot change a mount before it is attached (before
/// 5.12), the flags are set on a bind that nobody else sees, and that one is bound.
pub(super) fn show(source: &Path, target: &Path) -> io::Result<()> {
    match show_clone(source, target) {
        Err(error) if lacks_call(&error) => show_from_aside(source, target),
        shown => shown,
    }
}

/// Whether the kernel knows nothing of a call. EPERM is no sign of that: some filters of system calls
/// answer so, but a privileged container has none; the other way would be refused as well.
fn lacks_call(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::ENOSYS)
}

fn show_clone(source: &Path, target: &Path) -> io::Result<()> {
    let mount = sys::clone_mount(source)?;
    sys::seal(&mount)?;
    sys::attach(&mount, target)
}

/// In a thread with a mount namespace of its own: what it makes aside goes with it, what it binds on
/// the target spreads. Source and target lie in different mounts: the source's does not spread here.
fn show_from_aside(source: &Path, target: &Path) -> io::Result<()> {
    let around = around(source)?.ok_or(io::ErrorKind::NotFound)?;
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            sys::unshare_mounts()?;
            sys::make_private(&around.point)?;
            sys::bind(source, source)?;
            sys::make_read_only(source)?;
            sys::make_private(source)?;
            sys::bind(source, target)
        });
        let ended = thread.join();
        ended.unwrap_or_else(|_| Err(io::Error::other("the thread that binds failed")))
    })
}

/// Whether `target` shows `source`, and nothing else does so below it.
pub(super) fn shows(source: &Path, target: &Path) -> io::Result<bool> {
    if at(target)?.is_none() {
        return Ok(false);
    }
    let (source, target) = (fs::metadata(source)?, fs::metadata(target)?);
    Ok(source.dev() == target.dev() && source.ino() == target.ino())
}

/// Whether a path of the file system on `base`, or something in it, is mounted anywhere: as far as this
/// mount namespace shows, in which every target is that kubelet has.
pub(super) fn is_shown(base: &Path, below: &Path) -> io::Result<bool> {
    Ok(is_among(&all()?, base, below))
}

/// Where nothing is mounted on `base`, there is nothing of ours to be shown.
fn is_among(mounts: &[Mount], base: &Path, below: &Path) -> bool {
    let own = mounts.iter().rev().find(|mount| mount.point == base);
    own.is_some_and(|own| {
        let root = own.root.join(below);
        let mut all = mounts.iter();
        all.any(|mount| mount.device == own.device && mount.root.starts_with(&root))
    })
}

/// Takes off everything that is mounted on `target`; nothing is fine, too.
pub(super) fn clear(target: &Path) -> io::Result<()> {
    for _ in 0..STACKED {
        if at(target)?.is_none() {
            return Ok(());
        }
        match sys::unmount(target, false) {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) => sys::unmount(target, true)?,
            done => done?,
        }
    }
    Err(io::Error::other("too many mounts on one target"))
}

/// Each line: id, parent, device, root, point, options, tags up to a dash, then type, source and
/// options of the file system.
pub(super) fn parse(text: &[u8]) -> Vec<Mount> {
    let lines = text.split(|byte| *byte == b'\n');
    lines.filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = String::from_utf8_lossy(fields.nth(2)?).into_owned();
    let mut path = || Some(PathBuf::from(OsString::from_vec(unescape(fields.next()?))));
    let (root, point) = (path()?, path()?);
    let mut tags = fields.skip(1);
    let mut shared = false;
    for tag in tags.by_ref().take_while(|tag| *tag != b"-") {
        shared |= tag.starts_with(b"shared:");
    }
    Some(Mount {
        device,
        root,
        point,
        kind: String::from_utf8_lossy(tags.next()?).into_owned(),
        shared,
    })
}

/// Space, tab, newline and backslash are written as a backslash and three octal digits.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut rest = text;
    let mut plain = Vec::with_capacity(text.len());
    while let Some((first, tail)) = rest.split_first() {
        let escape = (*first == b'\\')
            .then(|| tail.split_at_checked(3))
            .flatten();
        let digits = escape.and_then(|(digits, after)| {
            let text = core::str::from_utf8(digits).ok()?;
            Some((u8::from_str_radix(text, 8).ok()?, after))
        });
        match digits {
            Some((byte, after)) => {
                plain.push(byte);
                rest = after;
            }
            None => {
                plain.push(*first);
                rest = tail;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_mountinfo_are_read() {
        let text = b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw\n\
            40 36 0:5 / /a\\040b\\134c rw shared:7 master:2 - tmpfs nss-k8s rw,size=8k\n\
            41 36 0:6 / /plain rw - proc proc rw\ngarbage\n";
        let mount = |device: &str, root: &str, point: &str, kind: &str, shared| Mount {
            device: device.to_owned(),
            root: root.into(),
            point: point.into(),
            kind: kind.to_owned(),
            shared,
        };
        let wanted = [
            mount("98:0", "/mnt1", "/mnt2", "ext3", false),
            mount("0:5", "/", "/a b\\c", "tmpfs", true),
            mount("0:6", "/", "/plain", "proc", false),
        ];
        assert_eq!(parse(text), wanted);
    }

    /// Only of the file system that is on the base directory, and not what only begins alike.
    #[test]
    fn what_is_shown_somewhere_is_found() {
        let text = b"30 1 0:7 / /base rw - tmpfs x rw\n31 1 0:8 / /base rw - tmpfs x rw\n\
            32 1 0:8 /pod/a /pods/a rw - tmpfs x rw\n33 1 0:8 /pod/b/lib /sub rw - tmpfs x rw\n\
            34 1 0:8 /pod/cc /pods/c rw - tmpfs x rw\n35 1 0:7 /pod/d /pods/d rw - tmpfs x rw\n\
            36 1 0:9 / /bound/x rw - tmpfs x rw\n37 1 0:8 /pod /bound/y rw - tmpfs x rw\n";
        let mounts = parse(text);
        let shown = |base: &str, below: &str| is_among(&mounts, Path::new(base), Path::new(below));
        assert!(shown("/base", "pod/a"));
        assert!(shown("/base", "pod/b"), "a part of it is in a container");
        assert!(!shown("/base", "pod/c"));
        assert!(!shown("/base", "pod/d"), "of an earlier file system");
        assert!(shown("/bound/y", "cc"), "a base that is a part itself");
        assert!(!shown("/nothing", "pod/a"));
    }

    #[test]
    fn broken_escapes_are_kept() {
        assert_eq!(unescape(b"a\\9b\\04"), b"a\\9b\\04");
        assert_eq!(unescape(b"\\011"), b"\t");
    }

    #[test]
    fn this_machine_has_mounts() {
        assert!(at(Path::new("/proc")).unwrap().is_some());
        assert_eq!(at(Path::new("/proc/self")).unwrap(), None);
        let around = around(Path::new("/proc/self/status")).unwrap().unwrap();
        assert_eq!(around.point, Path::new("/proc"));
    }

    /// A kernel without mount_setattr(2), as before 5.12, or without all of it, as before 5.2, gets the
    /// other way; a refusal is one.
    #[test]
    fn only_a_call_that_is_missing_is_gone_around() {
        let calls = [libc::SYS_open_tree, libc::SYS_mount_setattr];
        for call in calls {
            for errno in [libc::ENOSYS, libc::EPERM] {
                let shown = thread::spawn(move || {
                    let (_root, place) = shared_place();
                    let (own, source, target) = source_and_target(&place);
                    refuse(call, errno);
                    let shown = show(&source, &target);
                    let written = fs::write(target.join("file"), "");
                    let mounted = at(&target).unwrap().is_some();
                    clear(&target).unwrap();
                    sys::unmount(&own, true).unwrap();
                    sys::unmount(&place, true).unwrap();
                    (
                        shown.err().and_then(|error| error.raw_os_error()),
                        mounted,
                        written.err().map(|error| error.kind()),
                    )
                });
                let wanted = match errno {
                    libc::ENOSYS => (None, true, Some(io::ErrorKind::ReadOnlyFilesystem)),
                    errno => (Some(errno), false, None),
                };
                assert_eq!(shown.join().unwrap(), wanted, "call {call}, errno {errno}");
            }
        }
    }

    /// A place whose mounts spread, in mounts of this thread's own. It is removed with the first, once it is
    /// unmounted.
    fn shared_place() -> (tempfile::TempDir, PathBuf) {
        sys::unshare_mounts().expect("this test needs root");
        sys::make_private(&around(Path::new("/tmp")).unwrap().unwrap().point).unwrap();
        let root = tempfile::tempdir().unwrap();
        let place = fs::canonicalize(root.path()).unwrap();
        sys::bind(&place, &place).unwrap();
        sys::mount(c"none", &place, None, libc::MS_SHARED, None).unwrap();
        (root, place)
    }

    /// As on a node: our own file system with a directory on it, and kubelet's directory on another one.
    fn source_and_target(place: &Path) -> (PathBuf, PathBuf, PathBuf) {
        let own = place.join("own");
        fs::create_dir(&own).unwrap();
        sys::mount_tmpfs(&own, "size=1m").unwrap();
        let (source, target) = (own.join("source"), place.join("target"));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&target).unwrap();
        (own, source, target)
    }

    /// From now on a call fails like this in this thread, and in those that it starts.
    fn refuse(call: libc::c_long, errno: i32) {
        let step = |code: u32, jf: u8, k: u32| libc::sock_filter {
            code: u16::try_from(code).unwrap(),
            jt: 0,
            jf,
            k,
        };
        let (call, errno) = (u32::try_from(call).unwrap(), errno.unsigned_abs());
        let mut filter = [
            // The number of the call is the first word of what a filter sees.
            step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
            step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, call),
            step(
                libc::BPF_RET | libc::BPF_K,
                0,
                libc::SECCOMP_RET_ERRNO | errno,
            ),
            step(libc::BPF_RET | libc::BPF_K, 0, libc::SECCOMP_RET_ALLOW),
        ];
        let program = libc::sock_fprog {
            len: 4,
            filter: filter.as_mut_ptr(),
        };
        // SAFETY: the structure and the four steps that it points to outlive the call.
        let set = unsafe {
            libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            )
        };
        assert_eq!(set, 0, "{}", io::Error::last_os_error());
    }

    /// Both ways to show a directory, as another mount namespace sees them.
    #[test]
    fn what_is_shown_is_read_only_where_it_spreads() {
        let ways: [fn(&Path, &Path) -> io::Result<()>; 2] = [show_clone, show_from_aside];
        for way in ways {
            let shown = thread::spawn(move || {
                let (_root, place) = shared_place();
                let (own, source, target) = source_and_target(&place);
                fs::write(source.join("file"), "").unwrap();
                // As in a container: a copy of the namespace, whose mounts spread to this one.
                thread::scope(|scope| {
                    let container = scope.spawn(|| {
                        sys::unshare_mounts().unwrap();
                        way(&source, &target).unwrap();
                        assert!(shows(&source, &target).unwrap());
                    });
                    container.join().unwrap();
                });
                let mounts = all().unwrap();
                assert_eq!(mounts.iter().filter(|m| m.point == target).count(), 1);
                assert_eq!(mounts.iter().filter(|m| m.point == source).count(), 0);
                let written = fs::write(target.join("file"), "new").unwrap_err();
                assert_eq!(written.kind(), io::ErrorKind::ReadOnlyFilesystem);
                fs::write(source.join("file"), "new").unwrap();
                clear(&target).unwrap();
                assert!(!shows(&source, &target).unwrap());
                sys::unmount(&own, true).unwrap();
                sys::unmount(&place, true).unwrap();
            });
            shown.join().unwrap();
        }
    }
}

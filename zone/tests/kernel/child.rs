//! A child for what changes a whole process: limits, users, mounts.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::fd::{FromRawFd as _, OwnedFd},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    ptr::null,
};

/// The child is given so many seconds.
const LONGEST: u32 = 120;

/// Runs `facts` in a child, whose first complaint this test ends with.
pub(crate) fn in_child(facts: impl FnOnce() -> Result<(), String>) {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors.
    let made = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
    assert_eq!(made, 0, "{}", io::Error::last_os_error());
    // SAFETY: fresh descriptors that nobody else has.
    let [reading, writing] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
    // SAFETY: the child runs on with this thread alone, and ends by `_exit`. Of other threads' locks
    // it needs the allocator's, which glibc gives it.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", io::Error::last_os_error());
    if child == 0 {
        // SAFETY: ends a child that hangs.
        unsafe { libc::alarm(LONGEST) };
        std::panic::set_hook(Box::new(|_| {}));
        let said = match catch_unwind(AssertUnwindSafe(facts)) {
            Ok(Ok(())) => "done".to_owned(),
            Ok(Err(why)) => why,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                text.unwrap_or_else(|| "it panicked".to_owned())
            }
        };
        let _ = File::from(writing).write_all(said.as_bytes());
        // SAFETY: nothing of the parent's is run on the way out.
        unsafe { libc::_exit(0) };
    }
    drop(writing);
    let mut said = String::new();
    File::from(reading)
        .read_to_string(&mut said)
        .expect("what the child says");
    let mut status = 0;
    // SAFETY: the child that was made above.
    unsafe { libc::waitpid(child, &mut status, 0) };
    assert_eq!((said.as_str(), status), ("done", 0));
}

/// The same as root of a mount namespace of its own, with an empty directory in it.
pub(crate) fn in_mounts(facts: impl FnOnce(&Path) -> Result<(), String>) {
    let directory = tempfile::tempdir().expect("a directory");
    in_child(|| {
        // SAFETY: a process of one thread; always succeed.
        let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
        let spaces = if uid == 0 {
            libc::CLONE_NEWNS
        } else {
            libc::CLONE_NEWNS | libc::CLONE_NEWUSER
        };
        // SAFETY: as above.
        done("unshare", unsafe { libc::unshare(spaces) })?;
        if uid != 0 {
            for (file, text) in [
                ("uid_map", format!("0 {uid} 1")),
                ("setgroups", "deny".to_owned()),
                ("gid_map", format!("0 {gid} 1")),
            ] {
                fs::write(format!("/proc/self/{file}"), text).map_err(|error| error.to_string())?;
            }
        }
        mount(None, Path::new("/"), libc::MS_REC | libc::MS_PRIVATE, "")?;
        facts(directory.path())
    });
}

/// A tmpfs.
pub(crate) fn mount_tmpfs(at: &Path, options: &str) -> Result<(), String> {
    let (kind, text) = (c"tmpfs", c_string(options)?);
    let at = c_string(at.to_str().ok_or("no text")?)?;
    // SAFETY: strings that end in zero.
    done("mount", unsafe {
        libc::mount(
            kind.as_ptr(),
            at.as_ptr(),
            kind.as_ptr(),
            0,
            text.as_ptr().cast(),
        )
    })
}

/// Shows a directory at another place, where nothing can be written.
pub(crate) fn bind_read_only(from: &Path, at: &Path) -> Result<(), String> {
    mount(Some(from), at, libc::MS_BIND, "")?;
    mount(
        None,
        at,
        libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY,
        "",
    )
}

/// Leaves no page free on a tmpfs.
pub(crate) fn fill(path: &Path) -> Result<(), String> {
    let mut file = File::create(path).map_err(|error| error.to_string())?;
    loop {
        match file.write(&[1; 4096]) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOSPC) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn mount(from: Option<&Path>, at: &Path, flags: u64, data: &str) -> Result<(), String> {
    let from = match from {
        Some(from) => Some(c_string(from.to_str().ok_or("no text")?)?),
        None => None,
    };
    let (at, data) = (c_string(at.to_str().ok_or("no text")?)?, c_string(data)?);
    let from = from.as_ref().map_or(null(), |from| from.as_ptr());
    // SAFETY: strings that end in zero, or null.
    done("mount", unsafe {
        libc::mount(from, at.as_ptr(), null(), flags, data.as_ptr().cast())
    })
}

fn c_string(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|error| error.to_string())
}

fn done(what: &str, result: i32) -> Result<(), String> {
    if result == 0 {
        return Ok(());
    }
    Err(format!("{what}: {}", io::Error::last_os_error()))
}

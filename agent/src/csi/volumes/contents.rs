//! What a pod's directory holds.

use super::Volumes;
use crate::csi::{
    filesystem::{is_ours, make_directory, write_new},
    libraries::{DRAFT, EXPLAIN, PRELOADED, remove_all},
};
use std::{
    fs,
    io::{self, Read},
    os::unix::fs::{OpenOptionsExt, symlink},
    path::Path,
};

/// Where pods mount their directory.
const IN_PODS: &str = "/run/nss-k8s";
/// The directory of libraries in pods that are to load none.
const NONE: &str = "none";
/// In every pod, whatever is loaded: the directory of its libraries, for those who name them in an
/// environment variable. It is written once, like `etc/ld.so.preload`.
const STABLE: &str = "preload";
/// What a class's pods see; the agent adds the socket.
const SHARED: [&str; 2] = ["zone.v1", "external.v1"];
/// What glibc would do without a file, and our module, in the way that decides alone where it can.
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\n\
                        hosts: files k8s [!UNAVAIL=return] dns\n";
const NSSWITCH_WITHOUT: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n";

impl Volumes {
    /// Fills a directory that is not sealed and seals it. What goes into it is made where nobody else
    /// writes: the agent can put anything into the directory itself.
    pub(super) fn fill(&self, directory: &Path, injected: bool) -> io::Result<()> {
        let draft = self.filesystem.base().join(format!("lib/{DRAFT}pod"));
        remove_all(&draft)?;
        make_directory(&draft, 0o700)?;
        self.prepare(&draft, injected)?;
        for part in ["lib", "etc"] {
            let place = directory.join(part);
            remove_all(&place)?;
            fs::rename(draft.join(part), place)?;
        }
        remove_all(&draft)
    }

    /// Makes what a pod's directory holds from the start.
    fn prepare(&self, draft: &Path, injected: bool) -> io::Result<()> {
        let lib = draft.join("lib");
        let etc = draft.join("etc");
        make_directory(&lib, 0o755)?;
        make_directory(&etc, 0o755)?;
        let version = if injected { self.version() } else { NONE };
        let folder = lib.join(version);
        make_directory(&folder, 0o755)?;
        let mut preload = String::new();
        for file in &self.libraries.files {
            if injected || file == EXPLAIN {
                fs::hard_link(self.libraries.directory.join(file), folder.join(file))?;
            }
        }
        if injected {
            for file in PRELOADED {
                preload += &format!("{IN_PODS}/lib/{version}/{file}\n");
            }
        } else {
            fs::hard_link(self.libraries.nothing(), folder.join(PRELOADED[0]))?;
        }
        symlink(version, lib.join(STABLE))?;
        if self.nsswitch {
            let text = if injected { NSSWITCH } else { NSSWITCH_WITHOUT };
            write_new(&etc.join("nsswitch.conf"), text.as_bytes(), 0o644)?;
        }
        write_new(&etc.join("ld.so.preload"), preload.as_bytes(), 0o644)
    }
}

/// Whether a directory is finished: what its `ld.so.preload` names is there. An earlier version of
/// this program may have done it; it stays as it is then. A file that cannot be opened at once has a
/// lease of a pod that runs: nobody waits for it.
pub(super) fn is_sealed(directory: &Path) -> bool {
    if !is_ours(&directory.join("lib")) || !is_ours(&directory.join("etc")) {
        return false;
    }
    let mut options = fs::OpenOptions::new();
    options
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
    let mut text = String::new();
    let read = options
        .open(directory.join("etc/ld.so.preload"))
        .and_then(|mut file| file.read_to_string(&mut text));
    match read {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
        Err(_) => return false,
        Ok(_) => {}
    }
    text.lines().all(|line| {
        let below = Path::new(line).strip_prefix(IN_PODS);
        below.is_ok_and(|path| directory.join(path).is_file())
    })
}

/// Links what a class's pods see. What the agent has linked meanwhile stays; it has the last word.
pub(super) fn link_zone(view: &Path, directory: &Path) -> io::Result<()> {
    for file in SHARED {
        match fs::hard_link(view.join(file), directory.join(file)) {
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists
                ) => {}
            linked => linked?,
        }
    }
    Ok(())
}

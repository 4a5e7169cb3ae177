//! The cache over files of a temporary directory; the seconds are the tests' own.

use super::*;
use crate::nsswitch::Placement;
use crate::outcome::Door;
use std::ffi::CString;
use std::path::{Path, PathBuf};
use std::{env, fs, process, thread};

/// A directory with three files, removed at the end, and a cache over it.
struct Etc {
    directory: PathBuf,
    cache: Cache,
}

impl Etc {
    fn new(name: &str) -> Self {
        let directory = env::temp_dir().join(format!("nss-k8s-{}-{name}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = |file: &str| -> &'static CStr {
            let path = directory.join(file).into_os_string().into_encoded_bytes();
            Box::leak(CString::new(path).unwrap().into_boxed_c_str())
        };
        let paths = Paths {
            resolv_conf: path("resolv.conf"),
            nsswitch: path("nsswitch.conf"),
            hosts: path("hosts"),
            host_conf: path("host.conf"),
        };
        Self {
            cache: Cache::new(paths),
            directory,
        }
    }

    /// Puts a new file in place of the old one, so that identity and times differ for certain.
    fn write(&self, file: &str, text: &str) {
        let new = self.directory.join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.directory.join(file)).unwrap();
    }

    fn ndots(&self, second: u64) -> Option<u8> {
        let files = self.cache.current(Libc::Glibc, Now(second))?;
        files
            .settings
            .resolv_conf
            .as_ref()
            .ok()
            .map(|read| read.ndots)
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }
}

impl Drop for Etc {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(Path::new(&self.directory));
    }
}

#[test]
fn missing_files_are_what_libc_makes_of_them() {
    let etc = Etc::new("missing");
    for libc in [Libc::Glibc, Libc::Musl] {
        let files = Etc {
            cache: Cache::new(etc.cache.paths),
            directory: etc.path("none"),
        };
        let files = files.cache.current(libc, Now(1)).unwrap();
        let read = files.settings.open(Door::Shim).unwrap();
        assert_eq!(read.nameservers(), [Address::v4([127, 0, 0, 1])]);
        assert!(!files.hosts_may_have_name(b"api"));
    }
}

#[test]
fn a_change_counts_from_the_next_second_on() {
    let etc = Etc::new("change");
    etc.write("resolv.conf", "options ndots:2\n");
    assert_eq!(etc.ndots(1), Some(2));
    etc.write("resolv.conf", "options ndots:3\n");
    assert_eq!(etc.ndots(1), Some(2));
    assert_eq!(etc.ndots(2), Some(3));
    etc.write("hosts", "10.0.0.1 legacy\n");
    assert!(
        etc.cache
            .current(Libc::Glibc, Now(3))
            .unwrap()
            .hosts_may_have_name(b"LEGACY")
    );
    etc.write("nsswitch.conf", "hosts: nis\n");
    let files = etc.cache.current(Libc::Glibc, Now(4)).unwrap();
    assert_eq!(files.settings.placement, Placement::Unplaced);
    fs::remove_file(etc.path("nsswitch.conf")).unwrap();
    let files = etc.cache.current(Libc::Glibc, Now(5)).unwrap();
    assert_eq!(files.settings.placement, Placement::Certain);
    // A clock that goes back is a new second too.
    etc.write("resolv.conf", "options ndots:4\n");
    assert_eq!(etc.ndots(4), Some(4));
}

#[test]
fn unchanged_files_are_not_parsed_again() {
    let etc = Etc::new("unchanged");
    etc.write("hosts", "10.0.0.1 legacy\n");
    let first = etc.cache.current(Libc::Glibc, Now(1)).unwrap();
    for second in 2..200 {
        assert!(core::ptr::eq(
            first,
            etc.cache.current(Libc::Glibc, Now(second)).unwrap()
        ));
    }
}

#[test]
fn what_cannot_be_read_passes() {
    let etc = Etc::new("unreadable");
    // Longer than is read, and a directory.
    etc.write("hosts", &"#".repeat(MAX_HOSTS_TEXT + 1));
    fs::create_dir(etc.path("resolv.conf")).unwrap();
    let files = etc.cache.current(Libc::Glibc, Now(1)).unwrap();
    assert!(files.hosts_may_have_name(b"api"));
    assert!(files.hosts_may_have_address(&Address::v4([10, 0, 0, 1])));
    assert_eq!(files.settings.resolv_conf, Err(Unclear::Unreadable));
    etc.write("hosts", &"#".repeat(MAX_HOSTS_TEXT));
    let files = etc.cache.current(Libc::Glibc, Now(2)).unwrap();
    assert!(!files.hosts_may_have_name(b"api"));
}

#[test]
fn no_reload_keeps_resolv_conf_and_nothing_else() {
    let etc = Etc::new("no-reload");
    etc.write("resolv.conf", "options ndots:2 no-reload\n");
    assert_eq!(etc.ndots(1), Some(2));
    etc.write("resolv.conf", "options ndots:3\n");
    assert_eq!(etc.ndots(2), Some(2));
    etc.write("hosts", "10.0.0.1 legacy\n");
    assert_eq!(etc.ndots(3), Some(2));
    assert!(
        etc.cache
            .current(Libc::Glibc, Now(3))
            .unwrap()
            .hosts_may_have_name(b"legacy")
    );
}

#[test]
fn after_the_last_replacement_everything_passes() {
    let etc = Etc::new("exhausted");
    let last = u64::from(REPLACEMENTS);
    for second in 0..=last {
        etc.write("resolv.conf", &format!("options ndots:{}\n", second % 10));
        assert_eq!(etc.ndots(second), Some(u8::try_from(second % 10).unwrap()));
    }
    assert_eq!(etc.ndots(last + 1), Some(4));
    etc.write("resolv.conf", "options ndots:1\n");
    assert_eq!(etc.ndots(last + 1), Some(4));
    assert_eq!(etc.ndots(last + 2), None);
    assert_eq!(etc.ndots(last + 2), None);
    assert_eq!(etc.ndots(last + 3), None);
}

/// Every thread sees a whole version: `ndots` and the list come from one file.
#[test]
fn threads_see_whole_versions() {
    let etc = Etc::new("threads");
    let text = |number: u64| format!("options ndots:{number}\nsearch e{number}.example\n");
    etc.write("resolv.conf", &text(0));
    for round in 0..10 {
        etc.write("resolv.conf", &text(round));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let files = etc.cache.current(Libc::Glibc, Now(round)).unwrap();
                        let read = files.settings.resolv_conf.as_ref().unwrap();
                        let entry = format!("e{}.example", read.ndots);
                        assert!(read.search.iter().eq([entry.as_bytes()]));
                    }
                });
            }
        });
        assert_eq!(etc.ndots(round), Some(u8::try_from(round).unwrap()));
    }
}

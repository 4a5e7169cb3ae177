//! The module as it is shipped, opened as glibc opens it.

use std::{
    env,
    ffi::{CStr, CString, c_char, c_int, c_void},
    fs, mem,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

/// `struct gaih_addrtuple`.
#[repr(C)]
pub(crate) struct Tuple {
    /// Null: this is the last.
    pub(crate) next: *mut Self,
    /// The canonical name, of the first.
    pub(crate) name: *const c_char,
    /// `AF_INET` or `AF_INET6`.
    pub(crate) family: c_int,
    /// Four octets of it, or all.
    pub(crate) address: [u8; 16],
    /// The interface of a link-local address.
    pub(crate) scope: u32,
}

/// `_nss_k8s_gethostbyname4_r` (glibc nss/nss.h).
pub(crate) type ByName4 = unsafe extern "C" fn(
    *const c_char,
    *mut *mut Tuple,
    *mut u8,
    usize,
    *mut c_int,
    *mut c_int,
    *mut i32,
) -> c_int;

/// The library that `make guests` has built from these sources; open as long as the test runs.
pub(crate) struct Shipped(*mut c_void);

impl Shipped {
    /// Opens it; panics when it is missing or older than its sources.
    pub(crate) fn open() -> Self {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let guests = env::var_os("NSS_K8S_GUESTS")
            .map_or_else(|| workspace.join("build/guests"), PathBuf::from);
        let library = guests.join("libnss_k8s.so.2");
        let built = modified(&library)
            .unwrap_or_else(|| panic!("{}: not there; run `make guests`", library.display()));
        for sources in ["zone/src", "stub/src", "nss-module/src"] {
            let changed = newest(&workspace.join(sources));
            assert!(
                changed <= built,
                "{sources} changed after the library was built: make guests"
            );
        }
        let path = CString::new(library.into_os_string().into_encoded_bytes()).unwrap();
        // SAFETY: the string ends in NUL.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!handle.is_null(), "dlopen {path:?}");
        Self(handle)
    }

    /// The function that getaddrinfo calls.
    pub(crate) fn by_name4(&self) -> ByName4 {
        // SAFETY: the symbol is a function of that type.
        unsafe { mem::transmute::<*mut c_void, ByName4>(self.symbol(c"_nss_k8s_gethostbyname4_r")) }
    }

    /// Where one of its functions is.
    pub(crate) fn symbol(&self, name: &CStr) -> *mut c_void {
        #[allow(
            clippy::disallowed_methods,
            reason = "a test has the libc that it was linked with"
        )]
        // SAFETY: the handle is open, and the string ends in NUL.
        let symbol = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!symbol.is_null(), "{name:?}");
        symbol
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// The youngest file below a directory.
fn newest(directory: &Path) -> SystemTime {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                newest(&path)
            } else {
                modified(&path).unwrap()
            }
        })
        .max()
        .unwrap_or(UNIX_EPOCH)
}

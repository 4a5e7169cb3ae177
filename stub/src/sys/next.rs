//! The functions behind ours: what the process would have called without us.

use super::host::weak_words;
use super::object;
use core::ffi::{CStr, c_char, c_void};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicPtr, AtomicU8, Ordering};

weak_words! {
    DLSYM = "dlsym": unsafe extern "C" fn(*mut c_void, *const c_char) -> *mut c_void;
}

/// A libc that we know the insides of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Libc {
    /// The GNU C library.
    Glibc,
    /// musl.
    Musl,
}

/// Which libc frees the lists that `getaddrinfo` returns, hence whose layout they must have.
///
/// Decided by the object that supplies `freeaddrinfo` to the process: musl's dynamic linker has
/// `__dls3`, glibc has `gnu_get_libc_version` and not that. (Not by `gnu_get_libc_version` alone:
/// gcompat supplies it to musl processes.) `None` when it is neither, as when another preloaded
/// library brings its own `freeaddrinfo`: the caller must pass.
pub fn host_libc() -> Option<Libc> {
    /// 0: not looked yet; 1: undecided; else the libc. One store of one byte: any thread may do it.
    static KNOWN: AtomicU8 = AtomicU8::new(0);
    match KNOWN.load(Ordering::Relaxed) {
        0 => {}
        2 => return Some(Libc::Glibc),
        3 => return Some(Libc::Musl),
        _ => return None,
    }
    // Not by the address of `freeaddrinfo`: in a program that is not position-independent and
    // takes it, that address is in the program itself.
    let found = if object::supplier_defines(c"freeaddrinfo", c"__dls3") {
        Some(Libc::Musl)
    } else if object::supplier_defines(c"freeaddrinfo", c"gnu_get_libc_version") {
        Some(Libc::Glibc)
    } else {
        None
    };
    let word = match found {
        None => 1,
        Some(Libc::Glibc) => 2,
        Some(Libc::Musl) => 3,
    };
    KNOWN.store(word, Ordering::Relaxed);
    found
}

/// One function of the host's libc that ours stands before; looked up at first use.
pub struct NextFunction {
    /// Its name, and the one that older libcs have for it (empty where there is none).
    names: [&'static CStr; 2],
    found: AtomicPtr<c_void>,
}

impl NextFunction {
    /// Nothing is looked up yet. Both names end with a NUL; `older` may be nothing else.
    pub const fn new(name: &'static str, older: &'static str) -> Self {
        Self {
            names: [c_text(name), c_text(older)],
            found: AtomicPtr::new(null_mut()),
        }
    }

    /// The function's address; `None` when no object after ours has it.
    ///
    /// The loaded objects are searched here first: `dlsym` takes the loader's lock, replaces the
    /// message that the program's next `dlerror` would return, and is absent before glibc 2.34
    /// unless the program links libdl. `dlsym(RTLD_NEXT)` is asked where the search finds nothing.
    pub fn address(&self) -> Option<NonNull<c_void>> {
        let known = NonNull::new(self.found.load(Ordering::Relaxed));
        if known.is_some() {
            return known;
        }
        let found = self.names.iter().find_map(|name| {
            if name.is_empty() {
                return None;
            }
            object::find_after_ours(name).or_else(|| by_dlsym(name))
        })?;
        // Every thread finds the same address: the store publishes a word, nothing behind it.
        self.found.store(found.as_ptr(), Ordering::Relaxed);
        Some(found)
    }
}

/// A literal with its NUL as a C string, at compile time.
const fn c_text(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => c"",
    }
}

/// `dlsym(RTLD_NEXT, name)`.
///
/// It learns who asks from its return address, so the call must not become a jump: as a tail call
/// it would see our caller's caller and find *our* function, which calls itself forever.
#[inline(never)]
fn by_dlsym(name: &CStr) -> Option<NonNull<c_void>> {
    let dlsym = DLSYM?;
    // SAFETY: a handle that dlsym defines and a NUL-terminated string.
    let found = unsafe { dlsym(libc::RTLD_NEXT, name.as_ptr()) };
    let found = core::hint::black_box(found);
    // Belt and braces: an answer inside our own object would be the recursion above.
    if object::is_ours(found.addr()) {
        None
    } else {
        NonNull::new(found)
    }
}

//! The functions behind ours: what the process would have called without us.

use super::host::weak_words;
use super::loaded::{Visit, for_each_object, for_each_startup_object};
use super::object::{Object, SymbolName};
use core::ffi::{CStr, c_char, c_void};
use core::ops::ControlFlow;
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

/// Which libc this process resolves with, hence whose rules hold and whose layout the lists must
/// have. `None` when it is not certain: the caller must pass.
///
/// It is the object that supplies `freeaddrinfo`: musl's dynamic linker has `__dls3`, glibc has
/// `gnu_get_libc_version` and not that. (Not `gnu_get_libc_version` alone: gcompat supplies it to
/// musl processes.) Undecided when it is neither, as when another preloaded library brings its own
/// `freeaddrinfo`, and when an object between ours and the libc defines one of the functions that
/// we stand before: whoever put it there wants to see the calls.
pub fn host_libc() -> Option<Libc> {
    /// One store of one byte: any thread may do it.
    static KNOWN: AtomicU8 = AtomicU8::new(NOT_FOUND);
    let mut known = KNOWN.load(Ordering::Relaxed);
    if known == NOT_FOUND {
        known = find_libc(up_to_libc);
        if known == NOT_FOUND {
            known = find_libc(for_each_object).max(UNDECIDED);
        }
        KNOWN.store(known, Ordering::Relaxed);
    }
    match known {
        GLIBC => Some(Libc::Glibc),
        MUSL => Some(Libc::Musl),
        _ => None,
    }
}

// What is known of the libc, as one byte.
const NOT_FOUND: u8 = 0;
const UNDECIDED: u8 = 1;
const GLIBC: u8 = 2;
const MUSL: u8 = 3;

/// What a library that stands between a program and its resolver defines, at least one of them.
const INTERPOSED: [SymbolName; 8] = [
    SymbolName::new(c"getaddrinfo"),
    SymbolName::new(c"getnameinfo"),
    SymbolName::new(c"gethostbyname"),
    SymbolName::new(c"gethostbyname2"),
    SymbolName::new(c"gethostbyname_r"),
    SymbolName::new(c"gethostbyname2_r"),
    SymbolName::new(c"gethostbyaddr"),
    SymbolName::new(c"gethostbyaddr_r"),
];
/// What libresolv defines, too: before glibc 2.34 it is a part of the libc that stands before it.
const QUERIES: [SymbolName; 6] = [
    SymbolName::new(c"res_query"),
    SymbolName::new(c"res_search"),
    SymbolName::new(c"res_nquery"),
    SymbolName::new(c"res_nsearch"),
    SymbolName::new(c"__res_nquery"),
    SymbolName::new(c"__res_nsearch"),
];
/// What libresolv alone defines (as `dn_expand` in C).
const LIBRESOLV: SymbolName = SymbolName::new(c"__dn_expand");
const FREE_LIST: SymbolName = SymbolName::new(c"freeaddrinfo");

/// A list of the loaded objects, in load order.
type List = fn(&mut Visit<'_>);

/// See [`host_libc`]; `NOT_FOUND` when no object of the list supplies `freeaddrinfo`.
fn find_libc(list: List) -> u8 {
    let mut passed_ours = false;
    let mut found = NOT_FOUND;
    list(&mut |object| {
        if is_ours(object) {
            passed_ours = true;
        } else if object.symbol(&FREE_LIST).is_some() {
            // One that stands before us is not what is behind our functions.
            found = if passed_ours {
                libc_of(object)
            } else {
                UNDECIDED
            };
        } else if passed_ours && stands_between(object) {
            found = UNDECIDED;
        }
        match found {
            NOT_FOUND => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    });
    found
}

/// Whether an object wants to see the program's calls.
fn stands_between(object: &Object) -> bool {
    let defines = |names: &[SymbolName]| names.iter().any(|name| object.symbol(name).is_some());
    defines(&INTERPOSED) || (defines(&QUERIES) && object.symbol(&LIBRESOLV).is_none())
}

/// Which libc an object is; `UNDECIDED` when it is none that we know.
fn libc_of(object: &Object) -> u8 {
    const MUSL_ALONE: SymbolName = SymbolName::new(c"__dls3");
    const GLIBC_AT_LEAST: SymbolName = SymbolName::new(c"gnu_get_libc_version");
    if object.symbol(&FREE_LIST).is_none() {
        UNDECIDED
    } else if object.symbol(&MUSL_ALONE).is_some() {
        MUSL
    } else if object.symbol(&GLIBC_AT_LEAST).is_some() {
        GLIBC
    } else {
        UNDECIDED
    }
}

/// The objects of the program's start up to its libc: what can be read without the loader's lock.
fn up_to_libc(visit: &mut Visit<'_>) {
    for_each_startup_object(&mut |object| {
        visit(object)?;
        match libc_of(object) {
            UNDECIDED => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    });
}

/// The first definition of `name` in the objects of a list that were loaded after ours, in load
/// order: what `dlsym(RTLD_NEXT)` finds.
fn find_after_ours(list: List, name: &SymbolName) -> Option<NonNull<c_void>> {
    let mut passed_ours = false;
    let mut found = None;
    list(&mut |object| {
        if is_ours(object) {
            passed_ours = true;
        } else if passed_ours {
            found = object.symbol(name);
        }
        match found {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    });
    NonNull::new(core::ptr::with_exposed_provenance_mut(found?))
}

/// One function of the host's libc that ours stands before; looked up at first use.
pub struct NextFunction {
    /// Its name, and the one that older libcs have for it (empty where there is none).
    names: [SymbolName; 2],
    found: AtomicPtr<c_void>,
}

impl NextFunction {
    /// Nothing is looked up yet. Both names end with a NUL; `older` may be nothing else.
    pub const fn new(name: &'static str, older: &'static str) -> Self {
        Self {
            names: [symbol_name(name), symbol_name(older)],
            found: AtomicPtr::new(null_mut()),
        }
    }

    /// The function's address; `None` when no object after ours has it.
    ///
    /// Without a lock where it is in the libc or before, as all functions of getaddrinfo's family
    /// are. Else (the `res_` functions before glibc 2.34 are in a library of their own) all loaded
    /// objects are searched, and that each time: the library may come with a plugin, later.
    pub fn address(&self) -> Option<NonNull<c_void>> {
        let known = NonNull::new(self.found.load(Ordering::Relaxed));
        if known.is_some() {
            return known;
        }
        let search = |find: &dyn Fn(&SymbolName) -> Option<NonNull<c_void>>| {
            self.names
                .iter()
                .filter(|name| !name.text.is_empty())
                .find_map(find)
        };
        let found = search(&|name| find_after_ours(up_to_libc, name))
            .or_else(|| search(&|name| find_after_ours(for_each_object, name)))
            .or_else(|| search(&|name| by_dlsym(name.text)))?;
        // Every thread finds the same address: the store publishes a word, nothing behind it.
        self.found.store(found.as_ptr(), Ordering::Relaxed);
        Some(found)
    }
}

/// A literal with its NUL as a symbol's name, at compile time.
const fn symbol_name(text: &'static str) -> SymbolName {
    SymbolName::new(match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => c"",
    })
}

/// `dlsym(RTLD_NEXT, name)`, for hosts that do not list their objects.
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
    if is_in_ours(found.addr()) {
        None
    } else {
        NonNull::new(found)
    }
}

/// Whether an object is the one that this code is in.
fn is_ours(object: &Object) -> bool {
    object.dynamic == OUR_DYNAMIC_SECTION
}

/// Whether an address is in the object that this code is in.
pub(super) fn is_in_ours(address: usize) -> bool {
    (OUR_START..OUR_END).contains(&address)
}

// What the linker knows about the object that it makes. Hidden, so that no other object's is taken
// for it; weak, because a static program has no dynamic section: 0 then.
core::arch::global_asm!(
    ".weak _DYNAMIC, __ehdr_start, _end",
    ".hidden _DYNAMIC, __ehdr_start, _end",
    ".pushsection .data.rel.ro, \"aw\", %progbits",
    ".balign 8",
    ".globl nss_k8s_own_dynamic, nss_k8s_own_start, nss_k8s_own_end",
    ".hidden nss_k8s_own_dynamic, nss_k8s_own_start, nss_k8s_own_end",
    "nss_k8s_own_dynamic: .quad _DYNAMIC",
    "nss_k8s_own_start: .quad __ehdr_start",
    "nss_k8s_own_end: .quad _end",
    ".popsection",
);

unsafe extern "C" {
    #[link_name = "nss_k8s_own_dynamic"]
    safe static OUR_DYNAMIC_SECTION: usize;
    #[link_name = "nss_k8s_own_start"]
    safe static OUR_START: usize;
    #[link_name = "nss_k8s_own_end"]
    safe static OUR_END: usize;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test program itself is the host: its libc is found, and in it what it exports.
    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "it is what the search is compared with"
    )]
    fn finds_what_dlsym_finds() {
        for list in [up_to_libc as List, for_each_object] {
            for name in ["getaddrinfo\0", "malloc\0", "gethostbyname2_r\0"] {
                let name = symbol_name(name);
                // SAFETY: a handle that dlsym defines and a NUL-terminated string.
                let expected = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.text.as_ptr()) };
                let found = find_after_ours(list, &name);
                assert_eq!(found, NonNull::new(expected), "{:?}", name.text);
                assert!(!is_in_ours(expected.addr()));
            }
        }
    }

    #[test]
    fn the_libc_is_glibc_and_absent_symbols_are_absent() {
        for list in [up_to_libc as List, for_each_object] {
            assert_eq!(find_libc(list), GLIBC);
            let absent = symbol_name("nss_k8s_no_such_symbol\0");
            assert_eq!(find_after_ours(list, &absent), None);
        }
        assert!(
            NextFunction::new("nss_k8s_no_such_symbol\0", "\0")
                .address()
                .is_none()
        );
        let older = NextFunction::new("nss_k8s_no_such_symbol\0", "getaddrinfo\0");
        assert_eq!(
            older.address(),
            NextFunction::new("getaddrinfo\0", "\0").address()
        );
    }
}

//! The objects that the process has loaded, listed without taking the loader's lock.
//!
//! `dl_iterate_phdr` takes that lock on glibc. A child forked while another thread of its parent
//! holds it would wait forever in its first lookup (so would, in `dlsym`, a thread that a
//! constructor run by `dlopen` waits for); with libc alone it does not. So the list that the loader keeps for
//! debuggers is read instead: `struct r_debug` and its chain of `struct link_map` (link.h; glibc
//! and musl have both, musl's `struct dso` begins like a `link_map`).
//!
//! Only its beginning is read. Objects of the program's start are never unloaded and stand first,
//! in the order in which symbols are looked up; those of `dlopen` follow, and may go at any time.
//! The libc is of the first kind, and the walk ends with it.

use super::host::weak_words;
use super::object::Object;
use core::ffi::{c_char, c_int, c_ulong, c_void};
use core::ops::ControlFlow;

weak_words! {
    DL_ITERATE_PHDR = "dl_iterate_phdr": unsafe extern "C" fn(
        Option<Callback>,
        *mut c_void,
    ) -> c_int;
}

type Callback = unsafe extern "C" fn(*mut libc::dl_phdr_info, usize, *mut c_void) -> c_int;

/// What is done with each object; `Break` ends the walk.
pub(super) type Visit<'v> = dyn FnMut(&Object) -> ControlFlow<()> + 'v;

/// More objects before the libc than this and the chain is nonsense.
const MOST_OBJECTS: usize = 1 << 14;

/// Calls `visit` for each object of the program's start in load order; not at all where the loader
/// leaves no list. `visit` must end the walk at the libc at the latest.
pub(super) fn for_each_startup_object(visit: &mut Visit<'_>) {
    let Some(debug) = debug_word() else {
        return;
    };
    // SAFETY: the loader stored the address of its `struct r_debug` before any code of ours ran.
    let mut next = match unsafe { core::ptr::with_exposed_provenance::<Debug>(debug).as_ref() } {
        Some(debug) => debug.first,
        None => return,
    };
    for _ in 0..MOST_OBJECTS {
        // SAFETY: an element of the loader's chain up to the libc: it stays as it is.
        let Some(map) = (unsafe { next.as_ref() }) else {
            return;
        };
        if let Some(object) = Object::new(map.base, map.dynamic)
            && visit(&object).is_break()
        {
            return;
        }
        next = map.next;
    }
}

/// Calls `visit` for each loaded object in load order, those of `dlopen` included, under the
/// loader's lock; not at all where the host cannot list them.
pub(super) fn for_each_object(visit: &mut Visit<'_>) {
    /// What `dl_iterate_phdr` calls: `data` is the `visit` of one call of the outer function.
    unsafe extern "C" fn step(
        info: *mut libc::dl_phdr_info,
        size: usize,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: the host passes a struct that is valid during this call, and the `data` below.
        let (info, visit) = unsafe { (info.as_ref(), data.cast::<&mut Visit<'_>>().as_mut()) };
        if let (Some(info), Some(visit)) = (info, visit)
            && size >= core::mem::offset_of!(libc::dl_phdr_info, dlpi_adds)
        {
            let base = word(info.dlpi_addr);
            // SAFETY: the loader vouches for its own program headers while it lists them.
            let dynamic = unsafe {
                address_of(
                    libc::PT_DYNAMIC,
                    info.dlpi_phdr,
                    usize::from(info.dlpi_phnum),
                )
            };
            if let Some(object) =
                dynamic.and_then(|address| Object::new(base, base.wrapping_add(address)))
                && visit(&object).is_break()
            {
                return 1;
            }
        }
        0
    }
    if let Some(dl_iterate_phdr) = DL_ITERATE_PHDR {
        let mut visit = visit;
        // SAFETY: `step` gets back the pointer passed here, while `visit` is alive.
        unsafe { dl_iterate_phdr(Some(step), (&raw mut visit).cast()) };
    }
}

/// `struct r_debug` of link.h, as far as it is read here.
#[repr(C)]
struct Debug {
    version: c_int,
    first: *const LinkMap,
}

/// `struct link_map` of link.h, as far as it is read here.
#[repr(C)]
struct LinkMap {
    base: usize,
    name: *const c_char,
    dynamic: usize,
    next: *const Self,
}

/// The value of the program's DT_DEBUG entry: where the loader put its `struct r_debug`. `None` in
/// a program that has no such entry (static) or whose headers cannot be found.
fn debug_word() -> Option<usize> {
    let headers = super::host::auxiliary(libc::AT_PHDR)?;
    let count = super::host::auxiliary(libc::AT_PHNUM)?;
    let place = core::ptr::with_exposed_provenance::<libc::Elf64_Phdr>(headers);
    // SAFETY: the kernel passes the program's own headers, which stay mapped.
    let (own, dynamic) = unsafe {
        (
            address_of(libc::PT_PHDR, place, count)?,
            address_of(libc::PT_DYNAMIC, place, count)?,
        )
    };
    // The headers tell where they should be: the difference is where the program is.
    let base = headers.wrapping_sub(own);
    Object::debug_entry(base.wrapping_add(dynamic))
}

/// The address, in the file's terms, of the first segment of a kind.
///
/// # Safety
/// `headers` is null or `count` program headers.
unsafe fn address_of(kind: u32, headers: *const libc::Elf64_Phdr, count: usize) -> Option<usize> {
    if headers.is_null() {
        return None;
    }
    // SAFETY: the caller's contract.
    let headers = unsafe { core::slice::from_raw_parts(headers, count) };
    let header = headers.iter().find(|header| header.p_type == kind)?;
    Some(word(header.p_vaddr))
}

/// ELF's 64-bit words are addresses here.
pub(super) const fn word(value: c_ulong) -> usize {
    value as usize
}

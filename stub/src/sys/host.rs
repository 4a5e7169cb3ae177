//! What the process's own libc lends us, if it has one.
//!
//! Each symbol is weak and read through a data word that stands in the same assembly as the
//! `.weak` directive. Naming a weak function in Rust would not do: the compiler takes the address
//! of a function for non-null and drops the test (a static program then jumps to 0).

use super::call;
use crate::c_text::leading_number;
use core::ffi::{CStr, c_char, c_int, c_ulong, c_void};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use nss_k8s_zone::Now;

/// Defines, per weak function, the word that holds its address (or 0).
///
/// The words are in `.data.rel.ro`: the loader fills them before our first instruction and then
/// makes them read-only.
macro_rules! weak_words {
    ($($word:ident = $symbol:literal : $kind:ty;)+) => {
        core::arch::global_asm!(
            $(
                concat!(".weak ", $symbol),
                ".pushsection .data.rel.ro, \"aw\", %progbits",
                ".balign 8",
                concat!(".globl nss_k8s_host_", $symbol),
                concat!(".hidden nss_k8s_host_", $symbol),
                concat!(".type nss_k8s_host_", $symbol, ", %object"),
                concat!(".size nss_k8s_host_", $symbol, ", 8"),
                concat!("nss_k8s_host_", $symbol, ":"),
                concat!(".quad ", $symbol),
                ".popsection",
            )+
        );
        unsafe extern "C" {
            $(
                #[link_name = concat!("nss_k8s_host_", $symbol)]
                safe static $word: Option<$kind>;
            )+
        }
    };
}

pub(super) use weak_words;

weak_words! {
    MALLOC = "malloc": unsafe extern "C" fn(usize) -> *mut c_void;
    CALLOC = "calloc": unsafe extern "C" fn(usize, usize) -> *mut c_void;
    FREE = "free": unsafe extern "C" fn(*mut c_void);
    GETENV = "getenv": unsafe extern "C" fn(*const c_char) -> *mut c_char;
    GETAUXVAL = "getauxval": unsafe extern "C" fn(c_ulong) -> c_ulong;
    ERRNO_LOCATION = "__errno_location": unsafe extern "C" fn() -> *mut c_int;
    H_ERRNO_LOCATION = "__h_errno_location": unsafe extern "C" fn() -> *mut c_int;
    GAI_STRERROR = "gai_strerror": unsafe extern "C" fn(c_int) -> *const c_char;
    GLIBC_VERSION = "gnu_get_libc_version": unsafe extern "C" fn() -> *const c_char;
    CLOCK_GETTIME = "clock_gettime": unsafe extern "C" fn(c_int, *mut libc::timespec) -> c_int;
}

/// The process's `malloc`; `None` when it has none or no memory is left. `errno` may change, as
/// with `malloc` itself.
pub fn allocate(size: usize) -> Option<NonNull<u8>> {
    let malloc = MALLOC?;
    // SAFETY: `malloc` takes any size.
    NonNull::new(unsafe { malloc(size) }.cast())
}

/// The process's `calloc`, as [`allocate`].
pub fn allocate_zeroed(count: usize, size: usize) -> Option<NonNull<u8>> {
    let calloc = CALLOC?;
    // SAFETY: `calloc` takes any sizes and checks their product.
    NonNull::new(unsafe { calloc(count, size) }.cast())
}

/// The process's `free`.
///
/// # Safety
/// * `block` came from [`allocate`] or [`allocate_zeroed`] and was not given back yet.
/// * Nobody uses it any more.
pub unsafe fn release(block: NonNull<u8>) {
    if let Some(free) = FREE {
        // SAFETY: the caller's contract.
        unsafe { free(block.as_ptr().cast()) }
    }
}

/// The value of an environment variable, without its NUL. The bytes are the process's own: a
/// program that changes its environment may change them, as it may under libc's `getenv`.
pub fn environment(name: &CStr) -> Option<&'static CStr> {
    let getenv = GETENV?;
    // SAFETY: `getenv` takes a NUL-terminated string and returns null or one.
    let value = NonNull::new(unsafe { getenv(name.as_ptr()) })?;
    // SAFETY: as above; strings of the environment stay where they are unless the program itself
    // frees what it put there.
    Some(unsafe { CStr::from_ptr(value.as_ptr()) })
}

/// `AT_SECURE`: the process has more rights than its caller, so that the environment proves
/// nothing. True where the host cannot tell.
pub fn secure() -> bool {
    auxiliary(libc::AT_SECURE) != Some(0)
}

/// A word of the auxiliary vector, 0 where the kernel passed none; `None` where the host cannot
/// tell.
pub(super) fn auxiliary(kind: c_ulong) -> Option<usize> {
    let getauxval = GETAUXVAL?;
    // SAFETY: `getauxval` takes any number.
    Some(super::loaded::word(unsafe { getauxval(kind) }))
}

/// Coarse real time: a few nanoseconds where the host has `clock_gettime`, a system call
/// elsewhere. 0 when no clock works.
pub fn now() -> Now {
    Now(u64::try_from(coarse_time().tv_sec).unwrap_or(0))
}

/// Monotonic milliseconds since some moment before the process began; 0 when no clock works.
pub fn monotonic() -> u64 {
    let time = time_of(libc::CLOCK_MONOTONIC);
    let seconds = time.tv_sec.cast_unsigned().wrapping_mul(1000);
    seconds.wrapping_add(time.tv_nsec.cast_unsigned() / 1_000_000)
}

/// A number that differs between calls, threads and processes well enough to start a shuffle with.
/// No secret, and made of none.
pub fn shuffle_seed() -> u64 {
    /// Counts calls; children of one fork go apart by the clock.
    static CALLS: AtomicU64 = AtomicU64::new(0);
    let here = 0_u8;
    let call = CALLS.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
    let place = u64::try_from((&raw const here).addr()).unwrap_or(0);
    let time = coarse_time();
    let nanoseconds = time.tv_nsec.cast_unsigned() ^ time.tv_sec.cast_unsigned().rotate_left(32);
    mix(call ^ place.rotate_left(17) ^ nanoseconds)
}

/// `errno`; 0 where the process has none.
pub fn errno() -> i32 {
    // SAFETY: the function takes nothing and returns this thread's place.
    ERRNO_LOCATION.map_or(0, |location| unsafe { *location() })
}

/// Sets `errno`, where the process has one.
pub fn set_errno(value: i32) {
    if let Some(location) = ERRNO_LOCATION {
        // SAFETY: the function takes nothing and returns this thread's place.
        unsafe { *location() = value }
    }
}

/// `h_errno`; 0 where the process has none.
pub fn resolver_error() -> i32 {
    // SAFETY: the function takes nothing and returns this thread's place.
    H_ERRNO_LOCATION.map_or(0, |location| unsafe { *location() })
}

/// Sets `h_errno`, where the process has one.
pub fn set_resolver_error(value: i32) {
    if let Some(location) = H_ERRNO_LOCATION {
        // SAFETY: the function takes nothing and returns this thread's place.
        unsafe { *location() = value }
    }
}

/// The `36` of glibc 2.36; `None` where it does not say. To be asked in a glibc process alone: musl
/// may have the function from a compatibility library.
pub fn glibc_minor() -> Option<u32> {
    let version = GLIBC_VERSION?;
    // SAFETY: the function takes nothing and returns a constant string.
    let text = NonNull::new(unsafe { version() }.cast_mut())?;
    // SAFETY: as above.
    let text = unsafe { CStr::from_ptr(text.as_ptr()) }.to_bytes();
    let minor = text.strip_prefix(b"2.")?;
    leading_number(minor).filter(|number| *number > 0)
}

/// What the host's `gai_strerror` says of a number; `None` where there is none.
pub fn error_text(code: i32) -> Option<&'static CStr> {
    let gai_strerror = GAI_STRERROR?;
    // SAFETY: the function takes any number and returns a constant string.
    let text = NonNull::new(unsafe { gai_strerror(code) }.cast_mut())?;
    // SAFETY: as above.
    Some(unsafe { CStr::from_ptr(text.as_ptr()) })
}

fn coarse_time() -> libc::timespec {
    time_of(libc::CLOCK_REALTIME_COARSE)
}

/// What one of the kernel's clocks says; zeros when it does not work.
#[inline]
fn time_of(clock: c_int) -> libc::timespec {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let Some(clock_gettime) = CLOCK_GETTIME else {
        return call::clock(clock).unwrap_or(time);
    };
    // SAFETY: the function fills the struct; with a valid clock it does not fail.
    unsafe { clock_gettime(clock, &raw mut time) };
    time
}

/// The finalizer of splitmix64: every input bit reaches every output bit.
const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

//! `libnss_k8s.so.2`: glibc's NSS `hosts` calls to the stub resolver and back. It owns every
//! (status, errno, h_errno) triple and the layout of the caller's buffer, and decides nothing about
//! names.
//!
//! ```text
//!   nsswitch.conf: hosts: files k8s dns
//!   glibc --_nss_k8s_gethostbyname4_r(raw name, buffer)--> reply --Query--> stub::resolve
//!         <--status, errno, h_errno, tuples in the buffer--
//! ```
//!
//! Interface: glibc's nss/nss.h and nss/getXXbyYY_r.c. `getcanonname_r` is left out on purpose:
//! together with a missing `gethostbyname3_r` it is what makes glibc before 2.39 use memory after
//! freeing it (GLIBC-SA-2023-0003).
#![cfg_attr(panic = "abort", no_std)]
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod reply;
mod status;

use core::ffi::{CStr, c_char, c_int, c_void};
use core::ptr::null_mut;
use nss_k8s_stub::sys::Buffer;
use nss_k8s_stub::{Address, Families, Family};
use reply::Tuple;
use status::{Status, Verdict};

/// `getaddrinfo(AF_UNSPEC)`: both families as a chain of tuples.
///
/// # Safety
/// As glibc calls it: `name` is NUL-terminated, `buffer` has `length` writable bytes, the other
/// pointers are writable; `ttl` may be null; `*first` is null (since 2.36) or a tuple to fill.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_k8s_gethostbyname4_r(
    name: *const c_char,
    first: *mut *mut Tuple,
    buffer: *mut c_char,
    length: usize,
    errno: *mut c_int,
    resolver_error: *mut c_int,
    ttl: *mut i32,
) -> Status {
    // SAFETY: the caller's contract.
    let (name, buffer) = unsafe { (CStr::from_ptr(name), Buffer::new(buffer, length)) };
    let verdict = reply::tuples("_nss_k8s_gethostbyname4_r", name.to_bytes(), buffer);
    if let Verdict::Found(tuple) = verdict {
        // SAFETY: the caller's contract; `tuple` is in its buffer, aligned and filled.
        unsafe {
            if (*first).is_null() {
                *first = tuple;
            } else {
                **first = tuple.read();
            }
        }
    }
    // SAFETY: the caller's contract.
    unsafe { status::report(&verdict, errno, resolver_error, ttl) }
}

/// `getaddrinfo` of one family with AI_CANONNAME; `canonical` (may be null) gets the host's name.
///
/// # Safety
/// As [`_nss_k8s_gethostbyname2_r`]; `ttl` and `canonical` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_k8s_gethostbyname3_r(
    name: *const c_char,
    family: c_int,
    result: *mut libc::hostent,
    buffer: *mut c_char,
    length: usize,
    errno: *mut c_int,
    resolver_error: *mut c_int,
    ttl: *mut i32,
    canonical: *mut *mut c_char,
) -> Status {
    // SAFETY: the caller's contract.
    let (name, buffer) = unsafe { (CStr::from_ptr(name), Buffer::new(buffer, length)) };
    let call = "_nss_k8s_gethostbyname3_r";
    // SAFETY: the caller's contract.
    let verdict = unsafe { forward(call, name, family, result, buffer) };
    if matches!(verdict, Verdict::Found(())) && !canonical.is_null() {
        // SAFETY: the caller's contract; `result` was filled.
        unsafe { *canonical = (*result).h_name }
    }
    // SAFETY: the caller's contract.
    unsafe { status::report(&verdict, errno, resolver_error, ttl) }
}

/// `gethostbyname2` and its `_r` form, and `getaddrinfo` of one family.
///
/// # Safety
/// As glibc calls it: `name` is NUL-terminated, `buffer` has `length` writable bytes, the other
/// pointers are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_k8s_gethostbyname2_r(
    name: *const c_char,
    family: c_int,
    result: *mut libc::hostent,
    buffer: *mut c_char,
    length: usize,
    errno: *mut c_int,
    resolver_error: *mut c_int,
) -> Status {
    // SAFETY: the caller's contract.
    let (name, buffer) = unsafe { (CStr::from_ptr(name), Buffer::new(buffer, length)) };
    let call = "_nss_k8s_gethostbyname2_r";
    // SAFETY: the caller's contract.
    let verdict = unsafe { forward(call, name, family, result, buffer) };
    // SAFETY: the caller's contract.
    unsafe { status::report(&verdict, errno, resolver_error, null_mut()) }
}

/// `gethostbyname` and its `_r` form: IPv4, as everywhere since glibc dropped RES_USE_INET6.
///
/// # Safety
/// As [`_nss_k8s_gethostbyname2_r`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_k8s_gethostbyname_r(
    name: *const c_char,
    result: *mut libc::hostent,
    buffer: *mut c_char,
    length: usize,
    errno: *mut c_int,
    resolver_error: *mut c_int,
) -> Status {
    // SAFETY: the caller's contract.
    let (name, buffer) = unsafe { (CStr::from_ptr(name), Buffer::new(buffer, length)) };
    let call = "_nss_k8s_gethostbyname_r";
    // SAFETY: the caller's contract.
    let verdict = unsafe { forward(call, name, libc::AF_INET, result, buffer) };
    // SAFETY: the caller's contract.
    unsafe { status::report(&verdict, errno, resolver_error, null_mut()) }
}

/// `gethostbyaddr` inside nscd, which wants the TTL.
///
/// # Safety
/// As [`_nss_k8s_gethostbyaddr_r`]; `ttl` may be null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_k8s_gethostbyaddr2_r(
    address: *const c_void,
    address_length: libc::socklen_t,
    family: c_int,
    result: *mut libc::hostent,
    buffer: *mut c_char,
    length: usize,
    errno: *mut c_int,
    resolver_error: *mut c_int,
    ttl: *mut i32,
) -> Status {
    let call = "_nss_k8s_gethostbyaddr2_r";
    // SAFETY: the caller's contract.
    unsafe {
        let buffer = Buffer::new(buffer, length);
        let verdict = backward(call, address, address_length, family, result, buffer);
        status::report(&verdict, errno, resolver_error, ttl)
    }
}

/// `gethostbyaddr`, its `_r` form and `getnameinfo`.
///
/// # Safety
/// As glibc calls it: `address` has `address_length` bytes, `buffer` has `length` writable bytes,
/// the other pointers are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _nss_k8s_gethostbyaddr_r(
    address: *const c_void,
    address_length: libc::socklen_t,
    family: c_int,
    result: *mut libc::hostent,
    buffer: *mut c_char,
    length: usize,
    errno: *mut c_int,
    resolver_error: *mut c_int,
) -> Status {
    let call = "_nss_k8s_gethostbyaddr_r";
    // SAFETY: the caller's contract.
    unsafe {
        let buffer = Buffer::new(buffer, length);
        let verdict = backward(call, address, address_length, family, result, buffer);
        status::report(&verdict, errno, resolver_error, null_mut())
    }
}

/// The forward look-ups of one family; `result` is written only when there is an answer.
///
/// # Safety
/// `result` is writable.
unsafe fn forward(
    call: &str,
    name: &CStr,
    family: c_int,
    result: *mut libc::hostent,
    buffer: Buffer,
) -> Verdict<()> {
    let family = match family {
        libc::AF_INET => Family::V4,
        libc::AF_INET6 => Family::V6,
        _ => return Verdict::WrongFamily,
    };
    reply::host(call, name.to_bytes(), family, buffer).map(|host| {
        // SAFETY: the caller's contract.
        unsafe { result.write(host) }
    })
}

/// The reverse look-ups; `result` is written only when there is an answer.
///
/// # Safety
/// `address` has `length` readable bytes, `result` is writable.
unsafe fn backward(
    call: &str,
    address: *const c_void,
    length: libc::socklen_t,
    family: c_int,
    result: *mut libc::hostent,
    buffer: Buffer,
) -> Verdict<()> {
    let address = match (family, length) {
        // SAFETY: the caller's contract: four bytes.
        (libc::AF_INET, 4) => Address::v4(unsafe { address.cast::<[u8; 4]>().read_unaligned() }),
        // SAFETY: the caller's contract: sixteen bytes.
        (libc::AF_INET6, 16) => unmapped(unsafe { address.cast::<[u8; 16]>().read_unaligned() }),
        _ => return Verdict::WrongFamily,
    };
    reply::name(call, &address, buffer).map(|host| {
        // SAFETY: the caller's contract.
        unsafe { result.write(host) }
    })
}

/// An IPv4-mapped address is looked up, and answered, as the IPv4 address that it carries
/// (glibc's resolv/nss_dns/dns-host.c).
fn unmapped(octets: [u8; 16]) -> Address {
    match octets {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => Address::v4([a, b, c, d]),
        _ => Address::v6(octets),
    }
}

/// Which records answer a call for one family.
fn families(family: Family) -> Families {
    match family {
        Family::V4 => Families::V4,
        Family::V6 => Families::V6,
    }
}

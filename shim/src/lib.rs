//! `libnss_k8s_preload.so`: stands before libc's resolver calls. It answers what the stub resolver
//! answers, in the memory layout of the process's own libc, so that libc's own `freeaddrinfo` frees
//! it; for everything else it *is* the real function, with the original arguments.
//!
//! ```text
//!   program --getaddrinfo--> request (what is wanted?) --> stub::resolve --> sort --> list
//!                               |                             |                         |
//!                               +--------- in doubt ----------+--> the real getaddrinfo |
//!                                                                                       v
//!   program --freeaddrinfo (libc's own)------------------------------------> free()
//! ```
//!
//! One file serves glibc and musl. It keeps no descriptor, thread, lock or thread-local state, and
//! runs nothing when it is loaded.
#![cfg_attr(panic = "abort", no_std)]
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic
)]

mod addresses;
mod error;
mod host;
mod list;
mod name_info;
mod network;
mod real;
mod request;
mod resolver;
mod service;
mod shadow;

use core::ffi::{CStr, c_char, c_int, c_void};
use libc::{addrinfo, hostent, sockaddr, socklen_t};
use nss_k8s_stub::sys;

/// `getaddrinfo` (POSIX; glibc's nss/getaddrinfo.c, musl's src/network/getaddrinfo.c).
///
/// # Safety
/// As the C function: `node` and `service` are null or NUL-terminated, `hints` is null or points to
/// a struct, `result` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    result: *mut *mut addrinfo,
) -> c_int {
    // SAFETY: the caller's contract.
    let answer = unsafe { addresses::answer(text(node), service, hints.as_ref()) };
    match answer {
        Some(Ok(list)) => {
            // SAFETY: the caller's contract.
            unsafe { *result = list.as_ptr() };
            0
        }
        Some(Err(code)) => code,
        // SAFETY: the caller's contract.
        None if shadow::is_on() => unsafe { shadow::getaddrinfo(node, service, hints, result) },
        // SAFETY: the caller's contract.
        None => unsafe { real::getaddrinfo(node, service, hints, result) },
    }
}

/// `gethostbyname`: IPv4, in static memory that the next call overwrites, as the C function's.
///
/// # Safety
/// As the C function: `name` is NUL-terminated, and no other thread calls it at the same time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gethostbyname(name: *const c_char) -> *mut hostent {
    static PLACE: host::Static = host::Static::new();
    // SAFETY: the caller's contract.
    match unsafe { host::answer_static("gethostbyname", text(name), libc::AF_INET, &PLACE) } {
        Some(entry) => entry,
        // SAFETY: the caller's contract.
        None if shadow::is_on() => unsafe { shadow::gethostbyname(name, None) },
        // SAFETY: the caller's contract.
        None => unsafe { real::gethostbyname(name) },
    }
}

/// `gethostbyname2`, as [`gethostbyname`] for one of the families.
///
/// # Safety
/// As [`gethostbyname`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gethostbyname2(name: *const c_char, family: c_int) -> *mut hostent {
    static PLACE: host::Static = host::Static::new();
    // SAFETY: the caller's contract.
    match unsafe { host::answer_static("gethostbyname2", text(name), family, &PLACE) } {
        Some(entry) => entry,
        // SAFETY: the caller's contract.
        None if shadow::is_on() => unsafe { shadow::gethostbyname(name, Some(family)) },
        // SAFETY: the caller's contract.
        None => unsafe { real::gethostbyname2(name, family) },
    }
}

/// `gethostbyname_r`: IPv4, in the caller's buffer.
///
/// # Safety
/// As the C function: `name` is NUL-terminated, `buffer` has `length` writable bytes, the other
/// pointers are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gethostbyname_r(
    name: *const c_char,
    entry: *mut hostent,
    buffer: *mut c_char,
    length: usize,
    result: *mut *mut hostent,
    resolver_error: *mut c_int,
) -> c_int {
    // SAFETY: the caller's contract.
    unsafe {
        let target = host::Target {
            entry,
            buffer,
            length,
            result,
            resolver_error,
        };
        match host::answer("gethostbyname_r", text(name), libc::AF_INET, &target) {
            Some(code) => code,
            None if shadow::is_on() => shadow::gethostbyname_r(name, None, &target),
            None => real::gethostbyname_r(name, entry, buffer, length, result, resolver_error),
        }
    }
}

/// `gethostbyname2_r`, as [`gethostbyname_r`] for one of the families.
///
/// # Safety
/// As [`gethostbyname_r`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gethostbyname2_r(
    name: *const c_char,
    family: c_int,
    entry: *mut hostent,
    buffer: *mut c_char,
    length: usize,
    result: *mut *mut hostent,
    resolver_error: *mut c_int,
) -> c_int {
    // SAFETY: the caller's contract.
    unsafe {
        let target = host::Target {
            entry,
            buffer,
            length,
            result,
            resolver_error,
        };
        match host::answer("gethostbyname2_r", text(name), family, &target) {
            Some(code) => code,
            None if shadow::is_on() => shadow::gethostbyname_r(name, Some(family), &target),
            None => {
                real::gethostbyname2_r(name, family, entry, buffer, length, result, resolver_error)
            }
        }
    }
}

/// `gethostbyaddr`: in static memory that the next call overwrites, as the C function's.
///
/// # Safety
/// As the C function: `address` has `length` readable bytes, and no other thread calls it at the
/// same time.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gethostbyaddr(
    address: *const c_void,
    length: socklen_t,
    family: c_int,
) -> *mut hostent {
    static PLACE: host::Static = host::Static::new();
    let question = host::Question {
        address,
        length,
        family,
    };
    // SAFETY: the caller's contract.
    unsafe {
        match host::answer_address_static("gethostbyaddr", &question, &PLACE) {
            Some(entry) => entry,
            None => real::gethostbyaddr(address, length, family),
        }
    }
}

/// `gethostbyaddr_r`, in the caller's buffer.
///
/// # Safety
/// As the C function: `address` has `address_length` readable bytes, `buffer` has `length` writable
/// bytes, the other pointers are writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn gethostbyaddr_r(
    address: *const c_void,
    address_length: socklen_t,
    family: c_int,
    entry: *mut hostent,
    buffer: *mut c_char,
    length: usize,
    result: *mut *mut hostent,
    resolver_error: *mut c_int,
) -> c_int {
    let question = host::Question {
        address,
        length: address_length,
        family,
    };
    let target = host::Target {
        entry,
        buffer,
        length,
        result,
        resolver_error,
    };
    // SAFETY: the caller's contract.
    unsafe {
        match host::answer_address("gethostbyaddr_r", &question, &target) {
            Some(code) => code,
            None => real::gethostbyaddr_r(
                address,
                address_length,
                family,
                entry,
                buffer,
                length,
                result,
                resolver_error,
            ),
        }
    }
}

/// `getnameinfo` (POSIX; glibc's inet/getnameinfo.c, musl's src/network/getnameinfo.c).
///
/// # Safety
/// As the C function: `address` has `length` readable bytes, `host` and `service` are null or have so
/// many writable bytes as the numbers behind them say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getnameinfo(
    address: *const sockaddr,
    length: socklen_t,
    host: *mut c_char,
    host_length: socklen_t,
    service: *mut c_char,
    service_length: socklen_t,
    flags: c_int,
) -> c_int {
    let question = name_info::Question {
        address,
        length,
        host,
        host_length,
        service,
        service_length,
        flags,
    };
    // SAFETY: the caller's contract.
    unsafe {
        match name_info::answer(&question) {
            Some(code) => code,
            None => real::getnameinfo(
                address,
                length,
                host,
                host_length,
                service,
                service_length,
                flags,
            ),
        }
    }
}

/// A C string's bytes without the NUL; `None` for null.
///
/// # Safety
/// `text` is null or NUL-terminated, and stays as it is for as long as the result is used.
unsafe fn text<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's contract.
    Some(unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// Runs `body` and leaves `errno` as it was: an answer must not disturb it (`malloc` may).
fn keeping_errno<T>(body: impl FnOnce() -> T) -> T {
    let before = sys::errno();
    let outcome = body();
    if sys::errno() != before {
        sys::set_errno(before);
    }
    outcome
}

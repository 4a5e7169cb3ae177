//! The host's own functions, called with the program's own arguments.
//!
//! A process without them (no libc that we know how to search) gets the error that says that much;
//! it could not have called us without having had them at link time.

use crate::error;
use crate::host::Target;
use core::ffi::{c_char, c_int, c_void};
use core::ptr::{NonNull, null_mut};
use libc::{addrinfo, hostent};
use nss_k8s_stub::sys::{self, NextFunction};

static GETADDRINFO: NextFunction = NextFunction::new(c"getaddrinfo");
static GETHOSTBYNAME: NextFunction = NextFunction::new(c"gethostbyname");
static GETHOSTBYNAME2: NextFunction = NextFunction::new(c"gethostbyname2");
static GETHOSTBYNAME_R: NextFunction = NextFunction::new(c"gethostbyname_r");
static GETHOSTBYNAME2_R: NextFunction = NextFunction::new(c"gethostbyname2_r");

static FREEADDRINFO: NextFunction = NextFunction::new(c"freeaddrinfo");

type GetAddrInfo = unsafe extern "C" fn(
    *const c_char,
    *const c_char,
    *const addrinfo,
    *mut *mut addrinfo,
) -> c_int;
type GetHostByName = unsafe extern "C" fn(*const c_char) -> *mut hostent;
type GetHostByName2 = unsafe extern "C" fn(*const c_char, c_int) -> *mut hostent;
type GetHostByNameR = unsafe extern "C" fn(
    *const c_char,
    *mut hostent,
    *mut c_char,
    usize,
    *mut *mut hostent,
    *mut c_int,
) -> c_int;
type GetHostByName2R = unsafe extern "C" fn(
    *const c_char,
    c_int,
    *mut hostent,
    *mut c_char,
    usize,
    *mut *mut hostent,
    *mut c_int,
) -> c_int;

/// The real `getaddrinfo`.
///
/// # Safety
/// As the C function.
pub(crate) unsafe fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    result: *mut *mut addrinfo,
) -> c_int {
    let Some(function) = GETADDRINFO.address() else {
        sys::set_errno(libc::ENOSYS);
        return error::EAI_SYSTEM;
    };
    // SAFETY: both libcs give the function of that name this type; the caller's contract.
    unsafe {
        let function: GetAddrInfo = core::mem::transmute::<NonNull<c_void>, _>(function);
        function(node, service, hints, result)
    }
}

/// The real `freeaddrinfo`, for lists of the real [`getaddrinfo`].
///
/// # Safety
/// As the C function.
pub(crate) unsafe fn freeaddrinfo(list: *mut addrinfo) {
    type FreeAddrInfo = unsafe extern "C" fn(*mut addrinfo);
    if let Some(function) = FREEADDRINFO.address() {
        // SAFETY: both libcs give the function of that name this type; the caller's contract.
        unsafe {
            let function: FreeAddrInfo = core::mem::transmute::<NonNull<c_void>, _>(function);
            function(list)
        }
    }
}

/// The real `gethostbyname`.
///
/// # Safety
/// As the C function.
pub(crate) unsafe fn gethostbyname(name: *const c_char) -> *mut hostent {
    let Some(function) = GETHOSTBYNAME.address() else {
        sys::set_resolver_error(error::NO_RECOVERY);
        return null_mut();
    };
    // SAFETY: both libcs give the function of that name this type; the caller's contract.
    unsafe {
        let function: GetHostByName = core::mem::transmute::<NonNull<c_void>, _>(function);
        function(name)
    }
}

/// The real `gethostbyname2`.
///
/// # Safety
/// As the C function.
pub(crate) unsafe fn gethostbyname2(name: *const c_char, family: c_int) -> *mut hostent {
    let Some(function) = GETHOSTBYNAME2.address() else {
        sys::set_resolver_error(error::NO_RECOVERY);
        return null_mut();
    };
    // SAFETY: both libcs give the function of that name this type; the caller's contract.
    unsafe {
        let function: GetHostByName2 = core::mem::transmute::<NonNull<c_void>, _>(function);
        function(name, family)
    }
}

/// The real `gethostbyname_r`.
///
/// # Safety
/// As the C function.
pub(crate) unsafe fn gethostbyname_r(name: *const c_char, target: &Target) -> c_int {
    let Target {
        entry,
        buffer,
        length,
        result,
        resolver_error,
    } = *target;
    let Some(function) = GETHOSTBYNAME_R.address() else {
        // SAFETY: the caller's contract.
        return unsafe { absent(target) };
    };
    // SAFETY: both libcs give the function of that name this type; the caller's contract.
    unsafe {
        let function: GetHostByNameR = core::mem::transmute::<NonNull<c_void>, _>(function);
        function(name, entry, buffer, length, result, resolver_error)
    }
}

/// The real `gethostbyname2_r`.
///
/// # Safety
/// As the C function.
pub(crate) unsafe fn gethostbyname2_r(
    name: *const c_char,
    family: c_int,
    target: &Target,
) -> c_int {
    let Target {
        entry,
        buffer,
        length,
        result,
        resolver_error,
    } = *target;
    let Some(function) = GETHOSTBYNAME2_R.address() else {
        // SAFETY: the caller's contract.
        return unsafe { absent(target) };
    };
    // SAFETY: both libcs give the function of that name this type; the caller's contract.
    unsafe {
        let function: GetHostByName2R = core::mem::transmute::<NonNull<c_void>, _>(function);
        function(name, family, entry, buffer, length, result, resolver_error)
    }
}

/// What an `_r` function reports where there is no such function.
///
/// # Safety
/// The pointers of `target` are writable.
unsafe fn absent(target: &Target) -> c_int {
    // SAFETY: the caller's contract.
    unsafe {
        *target.result = null_mut();
        *target.resolver_error = error::NO_RECOVERY;
    }
    libc::ENOSYS
}

//! The host's own functions, called with the program's own arguments.
//!
//! One row each: its C name (and the name that older libcs have for the same function), its
//! arguments, and what a process without it gets. Such a process has no libc that we know how to
//! search; it could not have called us without having had the function at link time.

use crate::error;
use core::ffi::{c_char, c_int, c_void};
use core::ptr::{NonNull, null_mut};
use libc::{addrinfo, hostent, sockaddr, socklen_t};
use nss_k8s_stub::sys::{self, NextFunction, ResolverState};

/// Defines, per row, a function that calls the host's.
///
/// ```text
/// fn name or "name in older libcs" (arguments) -> result, absent expression;
/// ```
macro_rules! real {
    ($(
        $(#[$documentation:meta])*
        fn $function:ident $(or $older:literal)? ($($argument:ident: $kind:ty),* $(,)?)
            $(-> $result:ty)?, absent $absent:expr;
    )+) => {$(
        $(#[$documentation])*
        ///
        /// # Safety
        /// As the C function.
        #[allow(clippy::too_many_arguments, reason = "as many as the C function has")]
        pub(crate) unsafe fn $function($($argument: $kind),*) $(-> $result)? {
            type Function = unsafe extern "C" fn($($kind),*) $(-> $result)?;
            static NEXT: NextFunction = NextFunction::new(
                concat!(stringify!($function), "\0"),
                concat!($($older,)? "\0"),
            );
            match NEXT.address() {
                // SAFETY: every libc gives the function of that name this type; the caller's
                // contract.
                Some(function) => unsafe {
                    let function: Function = core::mem::transmute::<NonNull<c_void>, _>(function);
                    function($($argument),*)
                },
                None => $absent,
            }
        }
    )+};
}

real! {
    /// The real `getaddrinfo`.
    fn getaddrinfo(
        node: *const c_char,
        service: *const c_char,
        hints: *const addrinfo,
        result: *mut *mut addrinfo,
    ) -> c_int, absent {
        sys::set_errno(libc::ENOSYS);
        error::EAI_SYSTEM
    };

    /// The real `freeaddrinfo`, for lists of the real [`getaddrinfo`].
    fn freeaddrinfo(list: *mut addrinfo), absent {};

    /// The real `gethostbyname`.
    fn gethostbyname(name: *const c_char) -> *mut hostent, absent no_entry();

    /// The real `gethostbyname2`.
    fn gethostbyname2(name: *const c_char, family: c_int) -> *mut hostent, absent no_entry();

    /// The real `gethostbyname_r`.
    fn gethostbyname_r(
        name: *const c_char,
        entry: *mut hostent,
        buffer: *mut c_char,
        length: usize,
        result: *mut *mut hostent,
        resolver_error: *mut c_int,
    // SAFETY: the caller's contract.
    ) -> c_int, absent unsafe { no_result(result, resolver_error) };

    /// The real `gethostbyname2_r`.
    fn gethostbyname2_r(
        name: *const c_char,
        family: c_int,
        entry: *mut hostent,
        buffer: *mut c_char,
        length: usize,
        result: *mut *mut hostent,
        resolver_error: *mut c_int,
    // SAFETY: the caller's contract.
    ) -> c_int, absent unsafe { no_result(result, resolver_error) };

    /// The real `gethostbyaddr`.
    fn gethostbyaddr(
        address: *const c_void,
        length: socklen_t,
        family: c_int,
    ) -> *mut hostent, absent no_entry();

    /// The real `gethostbyaddr_r`.
    fn gethostbyaddr_r(
        address: *const c_void,
        address_length: socklen_t,
        family: c_int,
        entry: *mut hostent,
        buffer: *mut c_char,
        length: usize,
        result: *mut *mut hostent,
        resolver_error: *mut c_int,
    // SAFETY: the caller's contract.
    ) -> c_int, absent unsafe { no_result(result, resolver_error) };

    /// The real `getnameinfo`.
    fn getnameinfo(
        address: *const sockaddr,
        length: socklen_t,
        host: *mut c_char,
        host_length: socklen_t,
        service: *mut c_char,
        service_length: socklen_t,
        flags: c_int,
    ) -> c_int, absent {
        sys::set_errno(libc::ENOSYS);
        error::EAI_SYSTEM
    };

    /// glibc's `res_ninit`, which fills a state from resolv.conf.
    fn __res_ninit(state: *mut ResolverState) -> c_int, absent -1;

    /// The real `res_query`.
    fn res_query or "__res_query"(
        name: *const c_char,
        class: c_int,
        kind: c_int,
        answer: *mut u8,
        length: c_int,
    ) -> c_int, absent no_message();

    /// The real `res_search`.
    fn res_search or "__res_search"(
        name: *const c_char,
        class: c_int,
        kind: c_int,
        answer: *mut u8,
        length: c_int,
    ) -> c_int, absent no_message();

    /// The real `res_querydomain`.
    fn res_querydomain or "__res_querydomain"(
        name: *const c_char,
        domain: *const c_char,
        class: c_int,
        kind: c_int,
        answer: *mut u8,
        length: c_int,
    ) -> c_int, absent no_message();

    /// The real `res_nquery`.
    fn res_nquery or "__res_nquery"(
        state: *mut ResolverState,
        name: *const c_char,
        class: c_int,
        kind: c_int,
        answer: *mut u8,
        length: c_int,
    ) -> c_int, absent no_message();

    /// The real `res_nsearch`.
    fn res_nsearch or "__res_nsearch"(
        state: *mut ResolverState,
        name: *const c_char,
        class: c_int,
        kind: c_int,
        answer: *mut u8,
        length: c_int,
    ) -> c_int, absent no_message();

    /// The real `res_nquerydomain`.
    fn res_nquerydomain or "__res_nquerydomain"(
        state: *mut ResolverState,
        name: *const c_char,
        domain: *const c_char,
        class: c_int,
        kind: c_int,
        answer: *mut u8,
        length: c_int,
    ) -> c_int, absent no_message();
}

/// What a function that returns an entry does where there is no such function.
fn no_entry() -> *mut hostent {
    sys::set_resolver_error(error::NO_RECOVERY);
    null_mut()
}

/// What a function that returns a message does where there is no such function.
fn no_message() -> c_int {
    sys::set_resolver_error(error::NO_RECOVERY);
    -1
}

/// What an `_r` function reports where there is no such function.
///
/// # Safety
/// Both pointers are writable.
unsafe fn no_result(result: *mut *mut hostent, resolver_error: *mut c_int) -> c_int {
    // SAFETY: the caller's contract.
    unsafe {
        *result = null_mut();
        *resolver_error = error::NO_RECOVERY;
    }
    libc::ENOSYS
}

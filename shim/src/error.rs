//! The numbers of netdb.h, alike in glibc and musl, and which of them a negative answer becomes.

use core::ffi::c_int;
use core::sync::atomic::{AtomicU8, Ordering};
use nss_k8s_stub::sys::{self, Libc};

pub(crate) const EAI_NONAME: c_int = -2;
pub(crate) const EAI_AGAIN: c_int = -3;
pub(crate) const EAI_NODATA: c_int = -5;
pub(crate) const EAI_MEMORY: c_int = -10;
pub(crate) const EAI_SYSTEM: c_int = -11;
pub(crate) const EAI_OVERFLOW: c_int = -12;

pub(crate) const NI_NUMERICHOST: c_int = 1;
pub(crate) const NI_NUMERICSERV: c_int = 2;
pub(crate) const NI_NAMEREQD: c_int = 8;
pub(crate) const NI_DGRAM: c_int = 0x10;

pub(crate) const NETDB_INTERNAL: c_int = -1;
pub(crate) const NETDB_SUCCESS: c_int = 0;
pub(crate) const HOST_NOT_FOUND: c_int = 1;
pub(crate) const TRY_AGAIN: c_int = 2;
pub(crate) const NO_RECOVERY: c_int = 3;
pub(crate) const NO_DATA: c_int = 4;

/// How this process's libc reports that there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Negative {
    /// Of `getaddrinfo`.
    pub(crate) address_info: c_int,
    /// `h_errno`.
    pub(crate) resolver: c_int,
    /// The return value of the `_r` functions.
    pub(crate) returned: c_int,
}

/// The name does not exist.
pub(crate) fn absent_name(libc: Libc) -> Negative {
    let returned = if tells_nodata(libc) { 0 } else { libc::ENOENT };
    Negative {
        address_info: EAI_NONAME,
        resolver: HOST_NOT_FOUND,
        returned,
    }
}

/// The name has no such data.
pub(crate) fn absent_data(libc: Libc) -> Negative {
    if tells_nodata(libc) {
        Negative {
            address_info: EAI_NODATA,
            resolver: NO_DATA,
            returned: 0,
        }
    } else {
        absent_name(libc)
    }
}

/// A server failed: alike in both libcs.
pub(crate) const fn failed() -> Negative {
    Negative {
        address_info: EAI_AGAIN,
        resolver: TRY_AGAIN,
        returned: libc::EAGAIN,
    }
}

/// Whether this libc tells NODATA from NXDOMAIN: glibc, and musl since 1.2.4, which in the same
/// release began to return 0 from the `_r` functions for both.
///
/// musl has no version to ask for. But a musl that lacks EAI_NODATA has no text for it and says of
/// it what it says of any unknown number, in every language.
fn tells_nodata(libc: Libc) -> bool {
    /// 0: not looked yet; 1: no; 2: yes.
    static KNOWN: AtomicU8 = AtomicU8::new(0);
    if libc == Libc::Glibc {
        return true;
    }
    match KNOWN.load(Ordering::Relaxed) {
        0 => {
            let tells = sys::error_text(EAI_NODATA) != sys::error_text(c_int::MIN);
            KNOWN.store(if tells { 2 } else { 1 }, Ordering::Relaxed);
            tells
        }
        known => known == 2,
    }
}

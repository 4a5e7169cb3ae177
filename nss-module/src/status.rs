//! What glibc is told: one row per verdict.
//!
//! | verdict | status | errno | h_errno | what glibc does next |
//! |---|---|---|---|---|
//! | found | SUCCESS | - | NETDB_SUCCESS | returns it |
//! | no such name | NOTFOUND | - | HOST_NOT_FOUND | the next source; `[!UNAVAIL=return]` ends |
//! | no such type | NOTFOUND | - | NO_DATA | the same |
//! | a server failed | TRYAGAIN | EAGAIN | TRY_AGAIN | the next source; `[!UNAVAIL=return]` ends |
//! | buffer too small | TRYAGAIN | ERANGE | NETDB_INTERNAL | calls again with a larger one |
//! | pass | UNAVAIL | ENOENT | NO_RECOVERY | the next source, always |
//! | wrong family | UNAVAIL | EAFNOSUPPORT | NO_RECOVERY | the next source, always |
//!
//! NETDB_INTERNAL with anything but ERANGE is never used: `getaddrinfo` then fails with EAI_SYSTEM
//! and asks no other source (glibc's getaddrinfo.c, gethosts).

use core::ffi::c_int;
use nss_k8s_stub::Outcome;

/// `enum nss_status`: another number than glibc's own would end the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Status {
    /// The buffer is too small, or a server failed.
    TryAgain = -2,
    /// We do not know: whoever stands behind us answers.
    Unavailable = -1,
    /// Authoritatively nothing.
    NotFound = 0,
    /// The answer is in the buffer.
    Success = 1,
}

/// What became of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict<T> {
    /// The answer, whose bytes are in the caller's buffer.
    Found(T),
    /// No such name.
    NxDomain,
    /// The name has no such data.
    NoData,
    /// A server failed; asking again may help.
    Failed,
    /// The answer needs a larger buffer; nothing was kept.
    TooSmall,
    /// The next source answers.
    Pass,
    /// Neither AF_INET nor AF_INET6, or an address of another length.
    WrongFamily,
}

impl<T> Verdict<T> {
    /// The verdict with another answer.
    pub(crate) fn map<U>(self, change: impl FnOnce(T) -> U) -> Verdict<U> {
        match self {
            Self::Found(answer) => Verdict::Found(change(answer)),
            Self::NxDomain => Verdict::NxDomain,
            Self::NoData => Verdict::NoData,
            Self::Failed => Verdict::Failed,
            Self::TooSmall => Verdict::TooSmall,
            Self::Pass => Verdict::Pass,
            Self::WrongFamily => Verdict::WrongFamily,
        }
    }

    /// The verdict of an outcome, `found` being what an answer of so many entries becomes.
    pub(crate) fn of(outcome: Outcome, found: impl FnOnce(usize) -> Option<T>) -> Self {
        match outcome.plain() {
            // An answer without an entry is no answer that glibc could use.
            Outcome::Answer { count: 0 } => Self::Pass,
            Outcome::Answer { count } => found(count).map_or(Self::TooSmall, Self::Found),
            Outcome::NoData => Self::NoData,
            Outcome::NxDomain => Self::NxDomain,
            Outcome::Again => Self::Failed,
            Outcome::Room(_) => Self::TooSmall,
            // The hosts file is not looked at behind this door.
            _ => Self::Pass,
        }
    }
}

/// The life that nscd gives an answer, in seconds: what the cluster's zone says unless configured
/// otherwise. Left alone, nscd would keep it for an hour.
const TTL: i32 = 5;

/// netdb.h; the libc crate has none of these.
const NETDB_INTERNAL: c_int = -1;
const NETDB_SUCCESS: c_int = 0;
const HOST_NOT_FOUND: c_int = 1;
const TRY_AGAIN: c_int = 2;
const NO_RECOVERY: c_int = 3;
const NO_DATA: c_int = 4;

/// Writes the row of the table above.
///
/// # Safety
/// `errno` and `resolver_error` are writable; `ttl` is null or writable.
pub(crate) unsafe fn report<T>(
    verdict: &Verdict<T>,
    errno: *mut c_int,
    resolver_error: *mut c_int,
    ttl: *mut i32,
) -> Status {
    let (status, error, resolver) = match verdict {
        Verdict::Found(_) => (Status::Success, None, NETDB_SUCCESS),
        Verdict::NxDomain => (Status::NotFound, None, HOST_NOT_FOUND),
        Verdict::NoData => (Status::NotFound, None, NO_DATA),
        Verdict::Failed => (Status::TryAgain, Some(libc::EAGAIN), TRY_AGAIN),
        Verdict::TooSmall => (Status::TryAgain, Some(libc::ERANGE), NETDB_INTERNAL),
        Verdict::Pass => (Status::Unavailable, Some(libc::ENOENT), NO_RECOVERY),
        Verdict::WrongFamily => (Status::Unavailable, Some(libc::EAFNOSUPPORT), NO_RECOVERY),
    };
    // SAFETY: the caller's contract.
    unsafe {
        if let Some(error) = error {
            *errno = error;
        }
        *resolver_error = resolver;
        if status == Status::Success && !ttl.is_null() {
            *ttl = TTL;
        }
    }
    if matches!(
        verdict,
        Verdict::NxDomain | Verdict::NoData | Verdict::Failed
    ) {
        // glibc's own resolver leaves it in the thread's h_errno too, whatever place the caller of
        // gethostbyname_r named (RES_SET_H_ERRNO), and Perl reads it there.
        nss_k8s_stub::sys::set_resolver_error(resolver);
    }
    status
}

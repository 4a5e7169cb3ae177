//! `getnameinfo` from the stub's answer: the host's name. The service is libc's, whose own function
//! is asked for it alone.

use crate::error::{EAI_OVERFLOW, NI_DGRAM, NI_NAMEREQD, NI_NUMERICHOST, NI_NUMERICSERV};
use crate::{keeping_errno, real};
use core::ffi::{c_char, c_int};
use core::ptr::null_mut;
use libc::{sockaddr, sockaddr_in, sockaddr_in6, socklen_t};
use nss_k8s_stub::sys::{self, Libc};
use nss_k8s_stub::{Address, Door, Name, Outcome, Reason, reverse};

/// What a program passes.
#[derive(Clone, Copy)]
pub(crate) struct Question {
    pub(crate) address: *const sockaddr,
    pub(crate) length: socklen_t,
    pub(crate) host: *mut c_char,
    pub(crate) host_length: socklen_t,
    pub(crate) service: *mut c_char,
    pub(crate) service_length: socklen_t,
    pub(crate) flags: c_int,
}

const CALL: &str = "getnameinfo";

/// Answers one call: its return value, or `None` when the real function must.
///
/// # Safety
/// `question` is as the C function's arguments.
pub(crate) unsafe fn answer(question: &Question) -> Option<c_int> {
    // SAFETY: the caller's contract.
    let address = match unsafe { question.address() } {
        Ok(address) => address,
        Err(refusal) => {
            sys::debug_pass(CALL, b"", refusal);
            return None;
        }
    };
    let (outcome, name) = keeping_errno(|| look_up(&address));
    sys::debug_reverse(CALL, &address, outcome);
    let name = name?;
    // SAFETY: the caller's contract.
    if !unsafe { question.write_host(name.as_bytes()) } {
        return Some(EAI_OVERFLOW);
    }
    let Question {
        address,
        length,
        service,
        service_length,
        flags,
        ..
    } = *question;
    if service.is_null() || service_length == 0 {
        return Some(0);
    }
    // Both libcs do nothing for a host that is not asked for.
    // SAFETY: the caller's contract.
    Some(unsafe {
        real::getnameinfo(
            address,
            length,
            null_mut(),
            0,
            service,
            service_length,
            flags,
        )
    })
}

/// The first name of an address, if we have one. Out of line: names need room.
#[inline(never)]
fn look_up(address: &Address) -> (Outcome, Option<Name>) {
    /// An address has hardly ever more.
    const NEAR: usize = 4;
    let mut names = [const { Name::new() }; NEAR];
    match reverse(address, Door::Shim, &mut names) {
        outcome @ (Outcome::Answer { .. } | Outcome::Hosts { .. }) => {
            (outcome, names.first().copied())
        }
        Outcome::Room(_) => (Outcome::Pass(Reason::Buffer), None),
        outcome @ Outcome::Pass(_) => (outcome, None),
        _ => (Outcome::Pass(Reason::NoName), None),
    }
}

impl Question {
    /// The address whose name is wanted, or why that is libc's to say.
    ///
    /// # Safety
    /// As [`answer`].
    unsafe fn address(&self) -> Result<Address, &'static str> {
        /// The flags that do not change a name. NOFQDN takes the host's own domain away, IDN
        /// translates.
        const HARMLESS: c_int = NI_NAMEREQD | NI_NUMERICSERV | NI_DGRAM;
        let size = usize::try_from(self.length).unwrap_or(0);
        let libc = sys::host_libc().ok_or("libc")?;
        if self.flags & NI_NUMERICHOST != 0 || self.host.is_null() || self.host_length == 0 {
            return Err("numeric");
        }
        if self.flags & !HARMLESS != 0 {
            return Err("flags");
        }
        if self.address.is_null() || size < size_of::<sockaddr_in>() {
            return Err("family");
        }
        // SAFETY: the caller's contract: so many readable octets, of any alignment.
        let family =
            c_int::from(unsafe { (&raw const (*self.address).sa_family).read_unaligned() });
        match family {
            libc::AF_INET => {
                // SAFETY: as above.
                let short = unsafe { self.address.cast::<sockaddr_in>().read_unaligned() };
                Ok(Address::v4(short.sin_addr.s_addr.to_ne_bytes()))
            }
            libc::AF_INET6 if size >= size_of::<sockaddr_in6>() => {
                // SAFETY: as above.
                let long = unsafe { self.address.cast::<sockaddr_in6>().read_unaligned() };
                if libc == Libc::Musl && long.sin6_scope_id != 0 {
                    // Its hosts file has scopes.
                    return Err("scope");
                }
                Ok(Address::v6(long.sin6_addr.s6_addr))
            }
            _ => Err("family"),
        }
    }

    /// Writes the host's name and a NUL; false when that does not fit.
    ///
    /// # Safety
    /// As [`answer`].
    unsafe fn write_host(&self, name: &[u8]) -> bool {
        let room = usize::try_from(self.host_length).unwrap_or(0);
        if name.len() >= room {
            return false;
        }
        let host = self.host.cast::<u8>();
        // SAFETY: the caller's contract: so many octets are writable, and `name` is not among them.
        unsafe {
            host.copy_from_nonoverlapping(name.as_ptr(), name.len());
            host.add(name.len()).write(0);
        }
        true
    }
}

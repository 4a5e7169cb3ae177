//! glibc's `struct __res_state`: what a program may change between two lookups, and glibc then
//! heeds (resolv/bits/types/res_state.h; the same on every 64-bit Linux since 2.2).

use super::host::weak_words;
use crate::resolv_conf::ResolvConf;
use core::ffi::{c_char, c_int, c_uint, c_ulong, c_void};
use core::ptr::NonNull;
use libc::{in_addr, sockaddr_in, sockaddr_in6};
use nss_k8s_zone::{Address, Family};

weak_words! {
    RES_STATE = "__res_state": unsafe extern "C" fn() -> *mut ResolverState;
}

const MAX_SERVERS: usize = 3;
const MAX_DOMAINS: usize = 6;
/// The family of a server in the short place.
const INET: u16 = libc::AF_INET as u16;
/// The port of every server in resolv.conf.
const PORT: u16 = 53;

/// As glibc lays it out.
#[repr(C)]
pub struct ResolverState {
    retrans: c_int,
    retry: c_int,
    options: c_ulong,
    server_count: c_int,
    servers: [sockaddr_in; MAX_SERVERS],
    identifier: u16,
    domains: [*const c_char; MAX_DOMAINS + 1],
    default_domain: [u8; 256],
    print_flags: c_ulong,
    /// `ndots` : 4, `nsort` : 4, from the low end.
    bits: c_uint,
    sort_list: [(in_addr, u32); 10],
    hooks: [*mut c_void; 2],
    resolver_error: c_int,
    stream_socket: c_int,
    flags: c_uint,
    extension: Extension,
}

/// `_u._ext`: where IPv6 servers are.
#[repr(C)]
struct Extension {
    server_count: u16,
    map: [u16; MAX_SERVERS],
    sockets: [c_int; MAX_SERVERS],
    server_count_6: u16,
    initialized: u16,
    servers: [*const sockaddr_in6; MAX_SERVERS],
    index: [u32; 2],
}

const _: () = assert!(size_of::<ResolverState>() == 568);

/// Options, from resolv.h.
mod option {
    pub(super) const INIT: u64 = 0x1;
    pub(super) const USE_EDNS0: u64 = 0x0010_0000;
    pub(super) const NO_TLD_QUERY: u64 = 0x0100_0000;
    pub(super) const NO_AAAA: u64 = 0x0800_0000;
    /// RECURSE, DEFNAMES and DNSRCH: what every state starts with.
    pub(super) const DEFAULT: u64 = 0x2c0;
    /// DEBUG, USEVC, STAYOPEN, ROTATE, SNGLKUP, SNGLKUPREOP, NORELOAD, TRUSTAD, STRICTERR: they
    /// change how servers are asked, not what a healthy one says.
    pub(super) const HARMLESS: u64 = 0x1660_410a;
}

impl ResolverState {
    /// This thread's; `None` in a process that has none.
    #[inline]
    pub fn of_thread() -> Option<NonNull<Self>> {
        let location = RES_STATE?;
        // SAFETY: the function takes nothing and returns this thread's place.
        NonNull::new(unsafe { location() })
    }

    /// Whether `res_init` was done, by the program or by libc's first lookup in this thread.
    #[inline]
    pub const fn is_initialized(&self) -> bool {
        self.options & option::INIT != 0
    }

    /// Whether nobody has written to it: libc will fill it from resolv.conf.
    pub const fn is_blank(&self) -> bool {
        self.options == 0
            && self.server_count == 0
            && self.retrans == 0
            && self.retry == 0
            && self.print_flags == 0
    }

    /// Whether answers to questions for records carry more than the records.
    pub(crate) const fn adds_options(&self) -> bool {
        // USE_DNSSEC is never harmless.
        self.options & option::USE_EDNS0 != 0
    }

    /// Remembers the error that `h_errno` gets as well.
    pub const fn set_resolver_error(&mut self, error: c_int) {
        self.resolver_error = error;
    }

    /// Whether this is what glibc makes of `resolv_conf`. A program that has changed it wants
    /// something else.
    #[inline(never)]
    pub(crate) fn agrees_with(&self, resolv_conf: &ResolvConf) -> bool {
        let expected = option::INIT
            | option::DEFAULT
            | if resolv_conf.no_tld_query {
                option::NO_TLD_QUERY
            } else {
                0
            };
        // Old versions do not know no-aaaa, and ignore it in resolv.conf.
        let ignored = option::HARMLESS
            | option::USE_EDNS0
            | if resolv_conf.no_aaaa {
                option::NO_AAAA
            } else {
                0
            };
        self.options & !ignored == expected
            && self.print_flags == 0
            // No sort list, either.
            && self.bits & 0xff == u32::from(resolv_conf.ndots)
            && self.has_servers(resolv_conf.nameservers())
            && self.has_domains(resolv_conf)
    }

    fn has_servers(&self, expected: &[Address]) -> bool {
        if usize::try_from(self.server_count) != Ok(expected.len()) {
            return false;
        }
        let places = self.servers.iter().zip(&self.extension.servers);
        places.zip(expected).all(|((short, long), expected)| {
            let (port, octets) = match (short.sin_family, expected.family) {
                (INET, Family::V4) => (short.sin_port, (&raw const short.sin_addr).cast()),
                // SAFETY: glibc keeps null or a valid address there where the short place has no
                // family; a program that puts something else there crashes in libc, too.
                (0, Family::V6) => match unsafe { long.as_ref() } {
                    Some(long) => (long.sin6_port, (&raw const long.sin6_addr).cast::<u8>()),
                    None => return false,
                },
                _ => return false,
            };
            let expected = expected.as_octets();
            // SAFETY: an address of the family, 4 or 16 octets, at any alignment.
            let octets = unsafe { core::slice::from_raw_parts(octets, expected.len()) };
            port == PORT.to_be() && octets == expected
        })
    }

    /// glibc writes the entries behind each other into the default domain, as many as fit.
    fn has_domains(&self, resolv_conf: &ResolvConf) -> bool {
        let mut left: &[u8] = &self.default_domain;
        let mut entries = resolv_conf.search.iter();
        for (index, domain) in self.domains.iter().enumerate() {
            let Some(entry) = entries.next() else {
                return domain.is_null();
            };
            if domain.is_null() {
                // glibc has more than is shown here: beyond the sixth, or where no room was left.
                return index == MAX_DOMAINS || left.len() <= entry.len();
            }
            match (domain.cast() == left.as_ptr(), left.strip_prefix(entry)) {
                (true, Some([0, rest @ ..])) => left = rest,
                _ => return false,
            }
        }
        false
    }
}

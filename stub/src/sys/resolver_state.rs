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
        places
            .zip(expected)
            .all(|((short, long), expected)| match expected.family {
                Family::V4 => {
                    let [a, b, c, d, ..] = expected.octets;
                    let [f0, f1] = INET.to_ne_bytes();
                    let [p0, p1] = PORT.to_be_bytes();
                    // SAFETY: family, port and address are the first eight octets of the struct.
                    let short = unsafe { (&raw const *short).cast::<[u8; 8]>().read() };
                    u64::from_ne_bytes(short) == u64::from_ne_bytes([f0, f1, p0, p1, a, b, c, d])
                }
                Family::V6 => {
                    // SAFETY: glibc keeps null or a valid address there where the short place has no
                    // family; a program that puts something else there crashes in libc, too.
                    let long = unsafe { long.as_ref() }.filter(|_| short.sin_family == 0);
                    long.is_some_and(|long| {
                        long.sin6_port == PORT.to_be() && long.sin6_addr.s6_addr == expected.octets
                    })
                }
            })
    }

    /// glibc writes the entries behind each other into the default domain, as many as fit: the first
    /// six at most.
    fn has_domains(&self, resolv_conf: &ResolvConf) -> bool {
        let start: *const u8 = self.default_domain.as_ptr();
        let mut domains = self.domains.iter();
        let mut length = 0;
        for (begin, end) in resolv_conf.search.ranges().take(MAX_DOMAINS) {
            if end >= self.default_domain.len() {
                break;
            }
            let place = start.wrapping_add(begin).cast();
            if domains.next().is_none_or(|domain| *domain != place) {
                return false;
            }
            length = end.wrapping_add(1);
        }
        domains.next().is_none_or(|domain| domain.is_null())
            && self.default_domain.get(..length) == resolv_conf.search.laid_out(length)
    }
}

//! What a call of `getaddrinfo` asks for besides the name, as far as it can be reproduced exactly.

use crate::network;
use core::ffi::c_int;
use libc::addrinfo;
use nss_k8s_stub::sys::{self, Libc};
use nss_k8s_stub::{Door, Families};

/// A call that we can answer as this process's libc would.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// Through which the stub is asked.
    pub(crate) door: Door,
    /// Whose layout, order and error numbers.
    pub(crate) libc: Libc,
    /// Which records, after AI_ADDRCONFIG.
    pub(crate) families: Families,
    /// `ai_flags` of each entry of the result.
    pub(crate) echoed_flags: c_int,
    /// AI_NUMERICSERV, if it is among the hints.
    pub(crate) service_flags: c_int,
    /// Whether entries carry the canonical name: all of them in musl, at most the first in glibc.
    pub(crate) wants_canonical: bool,
    /// Which IPv4 addresses an answer holds as IPv4-mapped IPv6 addresses; of IPv6 requests only.
    pub(crate) mapping: Option<Mapping>,
    /// Whether names are translated from and to Unicode. Plain ASCII without `xn--` stays itself.
    pub(crate) translates: bool,
    /// As the program says; any number.
    pub(crate) socket_type: c_int,
    /// As the program says; any number.
    pub(crate) protocol: c_int,
}

/// AI_V4MAPPED, with and without AI_ALL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// IPv4 addresses where there are no IPv6 ones.
    Instead,
    /// IPv4 addresses behind the IPv6 ones.
    Besides,
}

/// Why a call is left to libc before anybody looked at the name; for the debug line.
pub(crate) type Refusal = &'static str;

// netdb.h; glibc's and musl's numbers are the same. The libc crate lacks some for some targets.
const AI_PASSIVE: c_int = 1;
const AI_CANONNAME: c_int = 2;
const AI_V4MAPPED: c_int = 8;
const AI_ALL: c_int = 0x10;
const AI_ADDRCONFIG: c_int = 0x20;
const AI_IDN: c_int = 0x40;
const AI_CANONIDN: c_int = 0x80;
/// AI_IDN_ALLOW_UNASSIGNED and AI_IDN_USE_STD3_ASCII_RULES: glibc accepts them and does nothing.
const AI_IDN_OBSOLETE: c_int = 0x300;
const AI_NUMERICSERV: c_int = 0x400;

/// The flags whose meaning is reproduced; the others are libc's.
const FLAGS: c_int =
    AI_PASSIVE | AI_CANONNAME | AI_V4MAPPED | AI_ALL | AI_ADDRCONFIG | AI_NUMERICSERV;

impl Request {
    /// What the functions ask for that know one family and no hints; `None`: whose libc this is, is
    /// not known.
    pub(crate) fn of_family(families: Families) -> Option<Self> {
        Some(Self {
            door: Door::Shadow,
            libc: sys::host_libc()?,
            families,
            echoed_flags: 0,
            service_flags: 0,
            wants_canonical: false,
            mapping: None,
            translates: false,
            socket_type: 0,
            protocol: 0,
        })
    }

    /// Reads the hints as this process's libc does.
    pub(crate) fn new(hints: Option<&addrinfo>) -> Result<Self, Refusal> {
        let libc = sys::host_libc().ok_or("libc")?;
        let (flags, family, socket_type, protocol) = match (hints, libc) {
            (Some(hints), _) => (
                hints.ai_flags,
                hints.ai_family,
                hints.ai_socktype,
                hints.ai_protocol,
            ),
            // POSIX leaves open what no hints mean: glibc takes AI_V4MAPPED | AI_ADDRCONFIG.
            (None, Libc::Glibc) => (AI_V4MAPPED | AI_ADDRCONFIG, libc::AF_UNSPEC, 0, 0),
            (None, Libc::Musl) => (0, libc::AF_UNSPEC, 0, 0),
        };
        let of_this_libc = match libc {
            Libc::Glibc => FLAGS | AI_IDN | AI_CANONIDN | AI_IDN_OBSOLETE,
            // musl knows none of them and says EAI_BADFLAGS.
            Libc::Musl => FLAGS,
        };
        if flags & !of_this_libc != 0 {
            return Err("flags");
        }
        let families = match family {
            libc::AF_UNSPEC => Families::BOTH,
            libc::AF_INET => Families::V4,
            libc::AF_INET6 => Families::V6,
            _ => return Err("family"),
        };
        let families = if flags & AI_ADDRCONFIG == 0 {
            families
        } else {
            network::narrow(libc, families).ok_or("address-configuration")?
        };
        // Both libcs narrow AF_UNSPEC to AF_INET6 first and then map as if that had been asked for.
        let mapping = match flags & (AI_V4MAPPED | AI_ALL) {
            _ if families != Families::V6 => None,
            AI_V4MAPPED => Some(Mapping::Instead),
            mapping if mapping == AI_V4MAPPED | AI_ALL => Some(Mapping::Besides),
            _ => None,
        };
        let (echoed_flags, wants_canonical) = match libc {
            Libc::Glibc => (flags, flags & AI_CANONNAME != 0),
            Libc::Musl => (0, true),
        };
        Ok(Self {
            door: Door::Shim,
            service_flags: flags & AI_NUMERICSERV,
            mapping,
            translates: flags & (AI_IDN | AI_CANONIDN) != 0,
            libc,
            families,
            echoed_flags,
            wants_canonical,
            socket_type,
            protocol,
        })
    }
}

/// Whether translation leaves a name as it is: ASCII without a label that begins with `xn--`.
pub(crate) fn is_plain(name: &[u8]) -> bool {
    name.iter().all(u8::is_ascii)
        && name.split(|byte| *byte == b'.').all(|label| {
            label
                .first_chunk::<4>()
                .is_none_or(|head| !head.eq_ignore_ascii_case(b"xn--"))
        })
}

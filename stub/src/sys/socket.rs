//! What the kernel says of this process's network, asked as libc asks it. No packet leaves.

use super::call::{self, Descriptor};
use super::memory::{map_anonymous, unmap_anonymous};
use nss_k8s_zone::{Address, Families, Family};

/// How a destination would be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// From this address of ours.
    Source(Address),
    /// Not at all: no route, or no such family.
    Unreachable,
    /// The kernel could not be asked (no descriptor left, a sandbox).
    Unknown,
}

/// Which families have an address other than 127.0.0.1 and ::1 on some interface: what glibc's
/// AI_ADDRCONFIG counts (sysdeps/unix/sysv/linux/check_pf.c). `None` when the kernel does not say,
/// or no memory is left.
///
/// On its own, and its buffer not on the stack: every call of the program would pay for a frame
/// that one call in a second needs.
#[cold]
#[inline(never)]
pub fn configured_families() -> Option<Families> {
    /// Octets: the kernel's messages of a dump are at most 8 KiB (NLMSG_GOODSIZE).
    const ROOM: usize = 8192;
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    let netlink = call::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE).ok()?;
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).ok()?;
    let ([f0, f1], [k0, k1]) = (flags.to_ne_bytes(), libc::RTM_GETADDR.to_ne_bytes());
    let [l0, l1, l2, l3] = 20_u32.to_ne_bytes();
    // struct nlmsghdr (length, type, flags, sequence, port) and a struct rtgenmsg of any family.
    let request = [
        l0, l1, l2, l3, k0, k1, f0, f1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    call::send(&netlink, &request).ok()?;
    let memory = map_anonymous(ROOM)?;
    // SAFETY: fresh zeroed memory of that length that nobody else has.
    let room = unsafe { core::slice::from_raw_parts_mut(memory.as_ptr(), ROOM) };
    let seen = gather(&netlink, room);
    // SAFETY: mapped above with this length; the slice is not used any more.
    unsafe { unmap_anonymous(memory, ROOM) }
    seen
}

/// Receives a dump of addresses to its end; `None` when it is no such dump.
fn gather(netlink: &Descriptor, room: &mut [u8]) -> Option<Families> {
    let mut seen = Families {
        v4: false,
        v6: false,
    };
    // A thousand messages are more addresses than a host can have.
    for _ in 0..1000 {
        let length = call::receive(netlink, room).ok()?;
        match collect(room.get(..length)?, &mut seen)? {
            Dump::Goes => {}
            Dump::Done => return Some(seen),
        }
    }
    None
}

/// Asks with a connected UDP socket, as both libcs do before they order addresses.
pub fn route_to(destination: &Address) -> Route {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let (domain, address) = (
        domain(destination.family),
        SocketAddress::new(destination, [0xff; 2]),
    );
    let socket = match call::socket(domain, kind, libc::IPPROTO_UDP) {
        Ok(socket) => socket,
        Err(libc::EAFNOSUPPORT) => return Route::Unreachable,
        Err(_) => return Route::Unknown,
    };
    match call::connect(&socket, &address, address.length()) {
        Ok(()) => source(&socket, destination.family).map_or(Route::Unknown, Route::Source),
        Err(libc::EPERM | libc::EACCES | libc::ENOMEM | libc::ENOBUFS | libc::EINTR) => {
            Route::Unknown
        }
        Err(_) => Route::Unreachable,
    }
}

/// AF_INET or AF_INET6.
pub const fn domain(family: Family) -> i32 {
    match family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    }
}

/// `struct sockaddr_in` or `struct sockaddr_in6`, without flow and scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct SocketAddress {
    domain: u16,
    /// Network byte order.
    port: [u8; 2],
    /// The IPv4 address, or IPv6's flow information.
    first: [u8; 4],
    /// Padding, or the IPv6 address.
    second: [u8; 16],
    scope: u32,
}

const _: () = assert!(size_of::<SocketAddress>() == size_of::<libc::sockaddr_in6>());

impl SocketAddress {
    /// The address with a port in network byte order.
    pub fn new(address: &Address, port: [u8; 2]) -> Self {
        let [a, b, c, d, ..] = address.octets;
        let (domain, first, second) = match address.family {
            Family::V4 => (2, [a, b, c, d], [0; 16]),
            Family::V6 => (10, [0; 4], address.octets),
        };
        const { assert!(libc::AF_INET == 2 && libc::AF_INET6 == 10) };
        Self {
            domain,
            port,
            first,
            second,
            scope: 0,
        }
    }

    /// How many of its octets the kernel and programs look at: 16 or 28.
    pub const fn length(&self) -> u32 {
        if self.domain == 2 { 16 } else { 28 }
    }
}

/// The address that the kernel gave a connected socket.
fn source(socket: &Descriptor, family: Family) -> Option<Address> {
    let mut room = [0_u8; 28];
    let length = call::own_address(socket, &mut room).ok()?;
    let name = room.get(..length)?;
    Some(match family {
        Family::V4 => Address::v4(*name.get(4..)?.first_chunk()?),
        Family::V6 => Address::v6(*name.get(8..)?.first_chunk()?),
    })
}

/// Whether more messages of a dump follow.
enum Dump {
    Goes,
    Done,
}

/// Reads netlink messages; `None` when they are not what was asked for.
fn collect(mut messages: &[u8], seen: &mut Families) -> Option<Dump> {
    while !messages.is_empty() {
        let length = usize::try_from(word(messages, 0)?).ok()?;
        let message = messages.get(..length)?;
        let kind = half(message, 4)?;
        if i32::from(kind) == libc::NLMSG_DONE {
            return Some(Dump::Done);
        }
        if kind != libc::RTM_NEWADDR {
            return None;
        }
        note_address(message.get(16..)?, seen);
        messages = messages.get(aligned(length)?..).unwrap_or(&[]);
    }
    Some(Dump::Goes)
}

/// One `struct ifaddrmsg` and its attributes: IFA_LOCAL counts where there is one, else
/// IFA_ADDRESS (on a point-to-point link that is the other end).
fn note_address(message: &[u8], seen: &mut Families) {
    let Some(family) = message.first().copied() else {
        return;
    };
    let mut attributes = message.get(8..).unwrap_or(&[]);
    let mut address: Option<&[u8]> = None;
    while let Some(length) = half(attributes, 0).map(usize::from) {
        let (Some(kind), Some(value)) = (half(attributes, 2), attributes.get(4..length)) else {
            break;
        };
        match kind {
            libc::IFA_LOCAL => address = Some(value),
            libc::IFA_ADDRESS if address.is_none() => address = Some(value),
            _ => {}
        }
        let Some(next) = aligned(length) else { break };
        attributes = attributes.get(next..).unwrap_or(&[]);
    }
    let Some(address) = address else { return };
    match i32::from(family) {
        libc::AF_INET if address != [127, 0, 0, 1] => seen.v4 = true,
        libc::AF_INET6 if address != [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1] => {
            seen.v6 = true;
        }
        _ => {}
    }
}

/// NLMSG_ALIGN and RTA_ALIGN: the next multiple of four.
fn aligned(length: usize) -> Option<usize> {
    Some(length.checked_add(3)? & !3)
}

fn word(bytes: &[u8], start: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(start..)?.first_chunk()?))
}

fn half(bytes: &[u8], start: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(start..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_reached_from_itself() {
        let loopback = Address::v4([127, 0, 0, 1]);
        assert_eq!(route_to(&loopback), Route::Source(loopback));
    }

    /// The kernel's own list, in text form, is the reference.
    #[test]
    fn ipv6_addresses_count_as_the_kernel_lists_them() {
        let text = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
        let expected = text
            .lines()
            .any(|line| !line.starts_with("00000000000000000000000000000001"));
        assert_eq!(configured_families().map(|seen| seen.v6), Some(expected));
    }

    #[test]
    fn garbage_is_refused() {
        let mut seen = Families {
            v4: false,
            v6: false,
        };
        for garbage in [&[0; 16][..], &[255; 16], &[16, 0, 0, 0, 9, 9, 0, 0]] {
            assert!(collect(garbage, &mut seen).is_none());
        }
        assert_eq!(
            seen,
            Families {
                v4: false,
                v6: false
            }
        );
    }
}

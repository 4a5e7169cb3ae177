//! How the kernel would reach a destination, asked as libc asks it. No packet leaves.

use super::call::{self, Descriptor};
use nss_k8s_zone::{Address, Family};

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

/// Asks for the routes to one destination after the other. It keeps its socket for as long: of an
/// answer of thousands of addresses, opening and closing would take most of the time.
#[derive(Default)]
pub struct Prober {
    /// Connected, or not any more, to a destination of the family.
    socket: Option<(Family, Descriptor)>,
}

impl Prober {
    /// No socket yet.
    pub const fn new() -> Self {
        Self { socket: None }
    }

    /// Asks with a connected UDP socket, as both libcs do before they order addresses.
    pub fn route_to(&mut self, destination: &Address) -> Route {
        let family = destination.family;
        let socket = match self.socket.take() {
            // A connected socket would keep its source.
            Some((known, socket)) if known == family && call::disconnect(&socket).is_ok() => socket,
            _ => match open(family) {
                Ok(socket) => socket,
                Err(libc::EAFNOSUPPORT) => return Route::Unreachable,
                Err(_) => return Route::Unknown,
            },
        };
        let address = SocketAddress::new(destination, [0xff; 2]);
        let route = match call::connect(&socket, &address, address.length()) {
            Ok(()) => source(&socket, family).map_or(Route::Unknown, Route::Source),
            Err(libc::EPERM | libc::EACCES | libc::ENOMEM | libc::ENOBUFS | libc::EINTR) => {
                Route::Unknown
            }
            Err(_) => Route::Unreachable,
        };
        self.socket = Some((family, socket));
        route
    }
}

/// A UDP socket of a family.
fn open(family: Family) -> Result<Descriptor, i32> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    call::socket(domain(family), kind, libc::IPPROTO_UDP)
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

    /// The same in an IPv6 scope; an IPv4 address has none.
    pub(super) const fn in_scope(mut self, scope: u32) -> Self {
        self.scope = scope;
        self
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_socket_asks_for_routes_that_differ() {
        let mut prober = Prober::new();
        let (one, other) = (Address::v4([127, 0, 0, 1]), Address::v4([255; 4]));
        let six = Address::v6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        for _ in 0..2 {
            assert_eq!(prober.route_to(&one), Route::Source(one));
            assert!(matches!(
                prober.route_to(&six),
                Route::Source(_) | Route::Unreachable
            ));
            // A broadcast address: such a socket is not allowed it, or there is no route.
            assert!(!matches!(prober.route_to(&other), Route::Source(_)));
            assert_eq!(prober.route_to(&one), Route::Source(one));
        }
        let number = |prober: &Prober| prober.socket.as_ref().map(|(_, socket)| socket.raw());
        let before = number(&prober);
        assert_eq!(prober.route_to(&one), Route::Source(one));
        assert_eq!(number(&prober), before);
    }
}

//! Connections for one exchange: never blocking, never inherited, closed with the value. Errors are
//! the few that matter to who asks.

use super::call::{self, Descriptor};
use super::socket::{SocketAddress, domain};
use nss_k8s_zone::Address;

/// The longest path of a Unix socket, its NUL included (`sun_path`).
const LOCAL_PATH: usize = 108;
const LOCAL_FAMILY: u16 = libc::AF_UNIX as u16;
/// Where the path is in `struct sockaddr_un`.
const LOCAL_HEADER: usize = 2;

/// Why nothing came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// This process lacks something: descriptors, ports, memory. The server is not to blame.
    Here,
    /// The other side: refused, unreachable, reset, at its end.
    There,
}

/// How far a call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// So many octets.
    Octets(usize),
    /// Not yet: wait.
    Later,
}

/// A connection, established or under way. Dropped it is reset: a thousand lookups a second would
/// otherwise leave a port in TIME_WAIT each.
pub(crate) struct Stream(Descriptor);

impl Drop for Stream {
    fn drop(&mut self) {
        // Linux resets an established connection that is taken from its socket (net/ipv4/tcp.c,
        // tcp_disconnect). SO_LINGER would do the same by a call that sandboxes for musl's resolver
        // need not know. A Unix socket refuses, and is as well closed.
        let _ = call::disconnect(&self.0);
    }
}

impl Stream {
    /// Begins to connect over TCP; it is established when something can be sent.
    pub(crate) fn tcp(server: &Address, scope: u32, port: u16) -> Result<Self, Failure> {
        let socket = open(domain(server.family), libc::IPPROTO_TCP)?;
        let address = SocketAddress::new(server, port.to_be_bytes()).in_scope(scope);
        begun(call::connect(&socket, &address, address.length()))?;
        Ok(Self(socket))
    }

    /// Connects to the Unix socket `directory` + `file`; at once or never: whose backlog is full
    /// counts as gone.
    pub(crate) fn local(directory: &[u8], file: &[u8]) -> Result<Self, Failure> {
        let mut address = [0_u8; LOCAL_HEADER + LOCAL_PATH];
        let length = place_path(&mut address, directory, file).ok_or(Failure::There)?;
        let socket = open(libc::AF_UNIX, 0)?;
        let address = address.get(..length).unwrap_or(&[]);
        match call::connect_local(&socket, address) {
            Err(libc::EAGAIN) => Err(Failure::There),
            other => begun(other).map(|()| Self(socket)),
        }
    }

    /// Sends what fits.
    pub(crate) fn send(&self, octets: &[u8]) -> Result<Ready, Failure> {
        progress(call::send(&self.0, octets))
    }

    /// Reads what is there; the end is a failure. `room` is not empty.
    pub(crate) fn receive(&self, room: &mut [u8]) -> Result<Ready, Failure> {
        match progress(call::read(&self.0, room)) {
            Ok(Ready::Octets(0)) => Err(Failure::There),
            other => other,
        }
    }
}

/// Writes a `struct sockaddr_un`; its length with the path's NUL. `None`: the path is too long.
fn place_path(address: &mut [u8], directory: &[u8], file: &[u8]) -> Option<usize> {
    let room = address.len();
    let (family, path) = address.split_first_chunk_mut::<LOCAL_HEADER>()?;
    *family = LOCAL_FAMILY.to_ne_bytes();
    let (first, rest) = path.split_at_mut_checked(directory.len())?;
    first.copy_from_slice(directory);
    let (second, [_, unused @ ..]) = rest.split_at_mut_checked(file.len())? else {
        return None;
    };
    second.copy_from_slice(file);
    room.checked_sub(unused.len())
}

/// Waits until one of two streams can go on or a signal came; which ones can. Each stream waits to
/// send (true) or to receive. When `milliseconds` are over the other side has failed, whatever a clock
/// says then: programs run with a clock that stands still (libfaketime).
#[inline(never)]
pub(crate) fn wait(
    streams: [Option<(&Stream, bool)>; 2],
    milliseconds: u64,
) -> Result<[bool; 2], Failure> {
    let mut polled = streams.map(|stream| libc::pollfd {
        // The kernel ignores negative ones.
        fd: stream.map_or(-1, |(stream, _)| stream.0.raw()),
        events: match stream {
            Some((_, true)) => libc::POLLOUT,
            _ => libc::POLLIN,
        },
        revents: 0,
    });
    let milliseconds = i32::try_from(milliseconds).unwrap_or(i32::MAX);
    match call::poll(&mut polled, milliseconds) {
        Ok(0) => Err(Failure::There),
        Ok(_) => Ok(polled.map(|one| one.revents != 0)),
        Err(libc::EINTR) => Ok([false; 2]),
        // Only a sandbox or a lack of memory fails it; not waiting would be a busy loop.
        Err(_) => Err(Failure::Here),
    }
}

/// A socket that neither blocks nor outlives an exec.
fn open(domain: i32, protocol: i32) -> Result<Descriptor, Failure> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    call::socket(domain, kind, protocol).map_err(|error| match error {
        // No such family: nobody there can be reached.
        libc::EAFNOSUPPORT => Failure::There,
        _ => Failure::Here,
    })
}

/// Whether a connection is established or under way.
fn begun(connected: Result<(), i32>) -> Result<(), Failure> {
    match connected {
        // Interrupted, it goes on in the background.
        Ok(()) | Err(libc::EINPROGRESS | libc::EINTR) => Ok(()),
        // No port left, or a firewall's table is full.
        Err(libc::EADDRNOTAVAIL | libc::EAGAIN | libc::ENOMEM | libc::ENOBUFS) => {
            Err(Failure::Here)
        }
        Err(_) => Err(Failure::There),
    }
}

/// What a call that moves octets came to.
fn progress(moved: Result<usize, i32>) -> Result<Ready, Failure> {
    match moved {
        Ok(count) => Ok(Ready::Octets(count)),
        Err(libc::EAGAIN | libc::EINTR) => Ok(Ready::Later),
        Err(_) => Err(Failure::There),
    }
}

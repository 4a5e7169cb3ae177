//! The listener's sockets: options that let two agents share an address, addresses that appear
//! later, and how a socket leaves without losing what is on its way to it.

use anyhow::{Context, Result};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::AsRawFd,
    time::Duration,
};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1024;
/// Bytes of queries that wait to be read; the kernel may allow less.
const RECEIVE_BUFFER: usize = 4 << 20;
/// How often a thread that waits for datagrams looks whether it is to stop.
pub(super) const GLANCE: Duration = Duration::from_millis(100);

/// A socket for datagrams, bound.
pub(super) fn udp(address: SocketAddr) -> Result<UdpSocket> {
    let socket = bind(address, Type::DGRAM, Protocol::UDP)?;
    // Less is taken without an error.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.set_read_timeout(Some(GLANCE))?;
    if address.ip().is_unspecified() {
        tell_destination(&socket, address).context("cannot learn where queries were sent to")?;
    }
    Ok(socket.into())
}

/// A socket for connections, listening.
pub(super) fn tcp(address: SocketAddr) -> Result<Socket> {
    let socket = bind(address, Type::STREAM, Protocol::TCP)?;
    socket.set_nonblocking(true)?;
    socket
        .listen(BACKLOG)
        .with_context(|| format!("cannot listen on {address} (TCP)"))?;
    Ok(socket)
}

/// Whether an interface has the address now. Where it has not, the sockets are bound all the same,
/// and hear queries once it has.
pub(super) fn is_present(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Takes a socket for datagrams out of those that the kernel gives new ones to; what it has already
/// can still be read, and answers still be sent. A connected socket is not considered for datagrams
/// of others (net/ipv4/udp.c, `udp4_lib_lookup2`, and `reuseport_select_sock`).
pub(super) fn leave(socket: &UdpSocket) -> io::Result<()> {
    let own = socket.local_addr()?;
    let ip = match own.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    // Nobody asks from the discard port.
    socket.connect((ip, 9))
}

/// Makes a listening socket deaf for new connections: their first packet is dropped, and comes again a
/// second later, to a socket that is still open. Those whose handshake is under way are accepted.
pub(super) fn turn_away(socket: &Socket) -> io::Result<()> {
    // Flags are the octet 13 of the header: drop what has SYN of SYN and ACK.
    let statement = |code, value| SockFilter::new(code, 0, 0, value);
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    socket.attach_filter(&[
        statement(LOAD_BYTE, 13),
        statement(AND, 0x12),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, 0x02),
        statement(RETURN, 0),
        statement(RETURN, u32::MAX),
    ])
}

/// Lets this thread sleep as short as it says: else the kernel adds up to 50 us (prctl(2),
/// PR_SET_TIMERSLACK).
pub(super) fn sleep_exactly() {
    let nanoseconds: libc::c_ulong = 1_000;
    // SAFETY: an integer for this thread; where the kernel refuses it, sleeps are longer.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, nanoseconds) };
}

fn bind(address: SocketAddr, kind: Type, protocol: Protocol) -> Result<Socket> {
    let name = if kind == Type::DGRAM { "UDP" } else { "TCP" };
    let socket = Socket::new(Domain::for_address(address), kind.cloexec(), Some(protocol))?;
    // The agent that comes after this one binds beside it; and one process has several.
    socket.set_reuse_port(true)?;
    socket.set_reuse_address(kind == Type::STREAM)?;
    match address {
        SocketAddr::V4(_) => socket.set_freebind_v4(true)?,
        SocketAddr::V6(_) => {
            socket.set_only_v6(true)?;
            socket.set_freebind_v6(true)?;
        }
    }
    socket
        .bind(&SockAddr::from(address))
        .with_context(|| hint(address, name))?;
    Ok(socket)
}

/// What can be wrong with an address.
fn hint(address: SocketAddr, name: &str) -> String {
    let port = address.port();
    format!(
        "cannot bind {address} ({name}): a port below 1024 such as {port} needs \
         CAP_NET_BIND_SERVICE, and a server that is there already must have set SO_REUSEPORT and \
         have the same user"
    )
}

/// Asks the kernel to say to which address each datagram was sent.
fn tell_destination(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let (level, option) = match address {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let on: libc::c_int = 1;
    let length = size_of_val(&on) as libc::socklen_t;
    let value = (&raw const on).cast();
    // SAFETY: the descriptor is open, and `value` has `length` readable bytes.
    match unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
    }

    #[test]
    fn an_address_may_come_later() {
        let absent = SocketAddr::from(([192, 0, 2, 77], 0));
        assert!(!is_present(absent.ip()) && is_present(loopback().ip()));
        udp(absent).expect("bound all the same");
        tcp(absent).expect("bound all the same");
    }

    #[test]
    fn who_leaves_gets_nothing_new_and_loses_nothing() -> Result<()> {
        let old = udp(loopback())?;
        let address = old.local_addr()?;
        let client = UdpSocket::bind(loopback())?;
        client.send_to(b"before", address)?;
        leave(&old)?;
        let new = udp(address)?;
        for _ in 0..100 {
            UdpSocket::bind(loopback())?.send_to(b"after", address)?;
        }
        let mut room = [0; 16];
        let (length, from) = old.recv_from(&mut room)?;
        assert_eq!(&room[..length], b"before");
        old.send_to(b"answer", from)?;
        assert_eq!(client.recv(&mut room)?, 6);
        for _ in 0..100 {
            assert_eq!(new.recv(&mut room)?, 5);
        }
        assert!(old.recv(&mut room).is_err(), "the old one has nothing more");
        Ok(())
    }

    #[test]
    fn connections_go_to_who_stays() -> Result<()> {
        let old = tcp(loopback())?;
        let address = old.local_addr()?.as_socket().context("an address")?;
        turn_away(&old)?;
        let new = tcp(address)?;
        // Some of these would have been given to the old one.
        let clients: Vec<_> = (0..8)
            .map(|_| {
                std::thread::spawn(move || {
                    std::net::TcpStream::connect_timeout(&address, Duration::from_secs(20))
                })
            })
            .collect();
        // Their second try comes when the old one is gone.
        let until = std::time::Instant::now() + Duration::from_millis(300);
        while std::time::Instant::now() < until {
            assert!(old.accept().is_err(), "the old one hears of none");
            std::thread::yield_now();
        }
        drop(old);
        for client in clients {
            client.join().expect("a thread")?;
        }
        drop(new);
        Ok(())
    }
}

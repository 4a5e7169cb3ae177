//! Several datagrams taken with one system call (recvmmsg(2)), with what their answers need: who asked,
//! and the address that was asked (ip(7) IP_PKTINFO, ipv6(7) IPV6_RECVPKTINFO).

use std::{
    io,
    net::UdpSocket,
    os::fd::AsRawFd,
    ptr::{null_mut, read_unaligned, write_unaligned},
};

/// Datagrams at once: few enough that the first of them does not wait long for the others.
pub(super) const BATCH: usize = 64;
/// Octets of the longest query that is read whole; what is longer is cut, and then malformed.
const LONGEST_QUERY: usize = 4096;
/// Octets of control messages: one address with its interface, and the size of segments.
pub(super) const CONTROL: usize = 64;

/// Where a datagram came from and where it was sent to: what its answer needs.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    /// An IPv4 address leaves the end of it zero.
    pub(super) name: Name,
    pub(super) name_length: libc::socklen_t,
    pub(super) control: Control,
    pub(super) control_length: usize,
}

/// A `sockaddr_in` or a `sockaddr_in6`, aligned as both must be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(C, align(8))]
pub(super) struct Name(pub(super) [u8; size_of::<libc::sockaddr_in6>()]);

/// Control messages, aligned as their headers must be.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control(pub(super) [u8; CONTROL]);

impl Peer {
    const NOBODY: Self = Self {
        name: Name([0; size_of::<libc::sockaddr_in6>()]),
        name_length: 0,
        control: Control([0; CONTROL]),
        control_length: 0,
    };

    /// The same for every datagram of one client to one address, and for no other.
    pub(super) fn key(&self) -> (&Name, &[u8]) {
        let control = self.control.0.get(..self.control_length);
        (&self.name, control.unwrap_or_default())
    }
}

/// Room for a batch of datagrams.
pub(super) struct Inbox {
    octets: Box<[[u8; LONGEST_QUERY]; BATCH]>,
    lengths: [usize; BATCH],
    peers: Box<[Peer; BATCH]>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            octets: Box::new([[0; LONGEST_QUERY]; BATCH]),
            lengths: [0; BATCH],
            peers: Box::new([Peer::NOBODY; BATCH]),
        }
    }

    /// Waits for a datagram, and takes what is there: so many.
    pub(super) fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        // SAFETY: integers and pointers, all of which may be zero.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { core::mem::zeroed() };
        let mut slices = [libc::iovec {
            iov_base: null_mut(),
            iov_len: 0,
        }; BATCH];
        for index in 0..BATCH {
            let (octets, peer) = (&mut self.octets[index], &mut self.peers[index]);
            slices[index] = libc::iovec {
                iov_base: octets.as_mut_ptr().cast(),
                iov_len: octets.len(),
            };
            let header = &mut headers[index].msg_hdr;
            header.msg_name = peer.name.0.as_mut_ptr().cast();
            header.msg_namelen = size_of_val(&peer.name.0) as libc::socklen_t;
            header.msg_iov = &raw mut slices[index];
            header.msg_iovlen = 1;
            header.msg_control = peer.control.0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL;
        }
        let (start, count) = (headers.as_mut_ptr(), BATCH as libc::c_uint);
        // SAFETY: `start` has `count` headers, whose pointers lead to rooms of the sizes they say,
        // all of them alive and not otherwise used until the call returns.
        let received = unsafe {
            let flags = libc::MSG_WAITFORONE;
            libc::recvmmsg(socket.as_raw_fd(), start, count, flags, null_mut())
        };
        let received = usize::try_from(received).map_err(|_| io::Error::last_os_error())?;
        for (index, header) in headers.iter().enumerate().take(received) {
            self.lengths[index] = (header.msg_len as usize).min(LONGEST_QUERY);
            let peer = &mut self.peers[index];
            peer.name_length = header.msg_hdr.msg_namelen;
            peer.control_length = header.msg_hdr.msg_controllen;
            release_interface(peer);
        }
        Ok(received)
    }

    /// A datagram of the last batch.
    pub(super) fn datagram(&self, index: usize) -> (&[u8], &Peer) {
        let length = self.lengths[index];
        (&self.octets[index][..length], &self.peers[index])
    }
}

/// The answer is sent from that address, but over whatever interface leads to the client.
fn release_interface(peer: &mut Peer) {
    let header = size_of::<libc::cmsghdr>();
    if peer.control_length < header {
        return;
    }
    let start = peer.control.0.as_mut_ptr();
    // SAFETY: the buffer is longer than a header, which is integers.
    let kind = unsafe { read_unaligned(start.cast::<libc::cmsghdr>()) };
    // Where the data of the first message starts: the header is as long as its alignment wants.
    if (kind.cmsg_level, kind.cmsg_type) == (libc::IPPROTO_IP, libc::IP_PKTINFO)
        && peer.control_length >= header + size_of::<libc::in_pktinfo>()
    {
        // SAFETY: so many bytes are in the buffer, and they are integers.
        unsafe {
            let data = start.add(header).cast::<libc::in_pktinfo>();
            let mut info = read_unaligned(data);
            info.ipi_ifindex = 0;
            write_unaligned(data, info);
        }
    }
    if (kind.cmsg_level, kind.cmsg_type) == (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO)
        && peer.control_length >= header + size_of::<libc::in6_pktinfo>()
    {
        // SAFETY: as above.
        unsafe {
            let data = start.add(header).cast::<libc::in6_pktinfo>();
            let mut info = read_unaligned(data);
            // A link-local address means nothing without its interface.
            if info.ipi6_addr.s6_addr[..2] != [0xfe, 0x80] {
                info.ipi6_ifindex = 0;
            }
            write_unaligned(data, info);
        }
    }
}

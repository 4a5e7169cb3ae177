//! Several datagrams with one system call (recvmmsg(2), sendmmsg(2)), each answered from the address
//! that it was sent to (ip(7) IP_PKTINFO, ipv6(7) IPV6_RECVPKTINFO).

use std::{
    io,
    net::UdpSocket,
    os::fd::AsRawFd,
    ptr::{null_mut, read_unaligned, write_unaligned},
};

/// Datagrams at once: few enough that the first of them does not wait long for the others.
pub(super) const BATCH: usize = 32;
/// Octets of the longest query that is read whole; what is longer is cut, and then malformed.
const LONGEST_QUERY: usize = 4096;
/// Octets of control messages: one address with its interface.
const CONTROL: usize = 64;

/// Where a datagram came from and where it was sent to: what its answer needs.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    name: libc::sockaddr_storage,
    name_length: libc::socklen_t,
    control: Control,
    control_length: usize,
}

/// Control messages, aligned as their headers must be.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

impl Peer {
    const NOBODY: Self = Self {
        // SAFETY: an address of no family; all of it is integers.
        name: unsafe { core::mem::zeroed() },
        name_length: 0,
        control: Control([0; CONTROL]),
        control_length: 0,
    };
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
            header.msg_name = (&raw mut peer.name).cast();
            header.msg_namelen = size_of_val(&peer.name) as libc::socklen_t;
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

/// Answers that wait to be sent.
pub(super) struct Outbox {
    octets: Vec<u8>,
    /// Where each ends, and whose it is.
    answers: Vec<(usize, Peer)>,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            octets: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Adds one.
    pub(super) fn push(&mut self, answer: &[u8], peer: &Peer) {
        self.octets.extend_from_slice(answer);
        self.answers.push((self.octets.len(), *peer));
    }

    /// Sends all of them. What cannot be sent is lost, as datagrams may be: its client asks again.
    pub(super) fn send(&mut self, socket: &UdpSocket) {
        let mut begin = 0;
        for answers in self.answers.chunks_mut(BATCH) {
            // SAFETY: integers and pointers, all of which may be zero.
            let mut headers: [libc::mmsghdr; BATCH] = unsafe { core::mem::zeroed() };
            let mut slices = [libc::iovec {
                iov_base: null_mut(),
                iov_len: 0,
            }; BATCH];
            for (index, (end, peer)) in answers.iter_mut().enumerate() {
                let answer = self.octets.get_mut(begin..*end).unwrap_or_default();
                slices[index] = libc::iovec {
                    iov_base: answer.as_mut_ptr().cast(),
                    iov_len: answer.len(),
                };
                begin = *end;
                let header = &mut headers[index].msg_hdr;
                header.msg_name = (&raw mut peer.name).cast();
                header.msg_namelen = peer.name_length;
                header.msg_iov = &raw mut slices[index];
                header.msg_iovlen = 1;
                if peer.control_length > 0 {
                    header.msg_control = peer.control.0.as_mut_ptr().cast();
                    header.msg_controllen = peer.control_length;
                }
            }
            let mut done = 0;
            while done < answers.len() {
                let rest = &mut headers[done..answers.len()];
                let (start, count) = (rest.as_mut_ptr(), rest.len() as libc::c_uint);
                // SAFETY: `start` has `count` headers, whose pointers lead to what they say, all of
                // it alive until the call returns.
                let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), start, count, 0) };
                // The first of them could not be sent.
                done += usize::try_from(sent).unwrap_or(0).max(1);
            }
        }
        self.octets.clear();
        self.answers.clear();
    }
}

/// Sends one answer.
pub(super) fn send_one(socket: &UdpSocket, answer: &[u8], peer: &Peer) {
    let mut outbox = Outbox::new();
    outbox.push(answer, peer);
    outbox.send(socket);
}

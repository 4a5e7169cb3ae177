//! Answers on their way out: a batch with one system call (sendmmsg(2)), and several to one client as
//! one packet that the kernel cuts where the client's socket is (udp(7), UDP_SEGMENT).
//!
//! Only a client with many questions under way gets those: what is sent to an ordinary one stays one
//! packet for each answer, as whoever learns from the DNS on the wire expects.

use super::batch::{BATCH, CONTROL, Control, Peer};
use core::cmp::Reverse;
use std::{io, net::UdpSocket, os::fd::AsRawFd, ptr::null_mut};

/// Answers to one client that are worth a packet of their own: more than a name's A and AAAA.
const TRAIN: usize = 3;
/// Octets of the longest answer that is sent with others: with its headers it fits into a packet on
/// whatever link leads to a pod.
const LONGEST_SEGMENT: usize = 1000;
/// Octets of the control message that says how long segments are.
// SAFETY: arithmetic on a small number.
const SEGMENT_SIZE: usize = unsafe { libc::CMSG_SPACE(size_of::<u16>() as libc::c_uint) } as usize;

/// Answers that wait to be sent.
pub(super) struct Outbox {
    octets: Vec<u8>,
    answers: Vec<Answer>,
    /// Whether the kernel takes several answers as one packet.
    segments: bool,
}

/// One answer.
struct Answer {
    begin: usize,
    length: usize,
    peer: Peer,
}

impl Answer {
    /// Whether another, which is no longer, can be in one packet with this.
    fn goes_with(&self, other: &Self) -> bool {
        self.length <= LONGEST_SEGMENT
            && other.length > 0
            && self.peer.control_length + SEGMENT_SIZE <= CONTROL
            && self.peer.key() == other.peer.key()
    }
}

impl Outbox {
    /// For answers over this socket.
    pub(super) fn new(socket: &UdpSocket) -> Self {
        Self {
            octets: Vec::new(),
            answers: Vec::new(),
            segments: knows_segments(socket),
        }
    }

    /// Adds one.
    pub(super) fn push(&mut self, answer: &[u8], peer: &Peer) {
        self.answers.push(Answer {
            begin: self.octets.len(),
            length: answer.len(),
            peer: *peer,
        });
        self.octets.extend_from_slice(answer);
    }

    /// Sends all of them, in any order. What cannot be sent is lost, as datagrams may be: its client
    /// asks again.
    pub(super) fn send(&mut self, socket: &UdpSocket) {
        let mut answers = core::mem::take(&mut self.answers);
        for batch in answers.chunks_mut(BATCH) {
            self.send_batch(socket, batch);
        }
        answers.clear();
        self.answers = answers;
        self.octets.clear();
    }

    fn send_batch(&mut self, socket: &UdpSocket, batch: &mut [Answer]) {
        let mut order = core::array::from_fn::<_, BATCH, _>(|index| index);
        let order = &mut order[..batch.len()];
        let mut packets = [1; BATCH];
        let count = if self.segments && batch.len() >= TRAIN {
            pack(batch, order, &mut packets)
        } else {
            batch.len()
        };
        let (mut order, mut packets) = (&*order, &packets[..count]);
        while let Some(first) = packets.first() {
            let done = match self.send_packets(socket, batch, order, packets) {
                Ok(sent) => sent.max(1),
                // The first could not be sent.
                Err(error) => {
                    if *first > 1 {
                        self.send_apart(socket, batch, &order[..*first], &error);
                    }
                    1
                }
            };
            order = &order[packets[..done].iter().sum()..];
            packets = &packets[done..];
        }
    }

    /// Sends what could not be sent as one packet.
    fn send_apart(
        &mut self,
        socket: &UdpSocket,
        batch: &mut [Answer],
        mut order: &[usize],
        error: &io::Error,
    ) {
        // The interface cannot (net/ipv4/udp.c, `udp_send_skb`); it is not tried with each.
        if matches!(error.raw_os_error(), Some(libc::EIO | libc::EINVAL)) {
            self.segments = false;
        }
        while !order.is_empty() {
            let sent = self.send_packets(socket, batch, order, &[1; BATCH][..order.len()]);
            order = &order[sent.unwrap_or(0).max(1)..];
        }
    }

    /// Sends packets of so many answers each, which are those of `order`; at most [`BATCH`]. How many
    /// packets are sent.
    fn send_packets(
        &mut self,
        socket: &UdpSocket,
        batch: &mut [Answer],
        order: &[usize],
        packets: &[usize],
    ) -> io::Result<usize> {
        // SAFETY: integers and pointers, all of which may be zero.
        let mut headers: [libc::mmsghdr; BATCH] = unsafe { core::mem::zeroed() };
        let mut slices = [libc::iovec {
            iov_base: null_mut(),
            iov_len: 0,
        }; BATCH];
        for (slice, index) in slices.iter_mut().zip(order) {
            let Answer { begin, length, .. } = batch[*index];
            let octets = &mut self.octets[begin..begin + length];
            slice.iov_base = octets.as_mut_ptr().cast();
            slice.iov_len = octets.len();
        }
        let mut first = 0;
        for (answers, header) in packets.iter().zip(&mut headers) {
            let Answer { length, peer, .. } = &mut batch[order[first]];
            let header = &mut header.msg_hdr;
            header.msg_iov = slices[first..first + answers].as_mut_ptr();
            header.msg_iovlen = *answers as _;
            header.msg_name = peer.name.0.as_mut_ptr().cast();
            header.msg_namelen = peer.name_length;
            let control_length = if *answers > 1 {
                cut_into(*length, &mut peer.control, peer.control_length)
            } else {
                peer.control_length
            };
            if control_length > 0 {
                header.msg_control = peer.control.0.as_mut_ptr().cast();
                header.msg_controllen = control_length as _;
            }
            first += answers;
        }
        let (start, count) = (headers.as_mut_ptr(), packets.len() as libc::c_uint);
        // SAFETY: `start` has at least `count` headers, whose pointers lead to what they say, all of
        // it alive until the call returns.
        let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), start, count, 0) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Sends one answer.
pub(super) fn send_one(socket: &UdpSocket, answer: &[u8], peer: &Peer) {
    let mut outbox = Outbox {
        octets: Vec::new(),
        answers: Vec::new(),
        segments: false,
    };
    outbox.push(answer, peer);
    outbox.send(socket);
}

/// Puts answers that can go together into one packet: to one client, of one length, but for a shorter
/// last one. How many packets; each entry is how many answers it has, in the order that is made.
fn pack(batch: &[Answer], order: &mut [usize], packets: &mut [usize; BATCH]) -> usize {
    order.sort_unstable_by(|one, other| {
        let (one, other) = (&batch[*one], &batch[*other]);
        let (shorter, longer) = (Reverse(one.length), Reverse(other.length));
        (one.peer.key(), shorter).cmp(&(other.peer.key(), longer))
    });
    let (mut first, mut count) = (0, 0);
    while let Some(index) = order.get(first) {
        let head = &batch[*index];
        let mut answers = 1;
        while let Some(index) = order.get(first + answers)
            && head.goes_with(&batch[*index])
        {
            answers += 1;
            if batch[*index].length < head.length {
                break;
            }
        }
        // The second may be the head of a longer one.
        packets[count] = if answers < TRAIN { 1 } else { answers };
        first += packets[count];
        count += 1;
    }
    count
}

/// Whether the kernel cuts packets: Linux does since 4.18; one that does not would send them whole.
fn knows_segments(socket: &UdpSocket) -> bool {
    let mut value: libc::c_int = 0;
    let mut length = size_of_val(&value) as libc::socklen_t;
    let (level, option) = (libc::SOL_UDP, libc::UDP_SEGMENT);
    let room = (&raw mut value).cast();
    // SAFETY: the descriptor is open, and `room` has `length` writable bytes.
    unsafe { libc::getsockopt(socket.as_raw_fd(), level, option, room, &raw mut length) == 0 }
}

/// Adds to control messages that the packet is to be cut into segments of that length; how long the
/// messages are with it.
fn cut_into(length: usize, control: &mut Control, used: usize) -> usize {
    // SAFETY: arithmetic on a small number.
    let (space, whole) = unsafe {
        let size = size_of::<u16>() as libc::c_uint;
        (
            libc::CMSG_SPACE(size) as usize,
            libc::CMSG_LEN(size) as usize,
        )
    };
    // The kernel's own messages end where the next may begin.
    let Some(room) = control.0.get_mut(used..used + space) else {
        return used;
    };
    // SAFETY: integers, all of which may be zero.
    let mut header: libc::cmsghdr = unsafe { core::mem::zeroed() };
    header.cmsg_len = whole as _;
    header.cmsg_level = libc::SOL_UDP;
    header.cmsg_type = libc::UDP_SEGMENT;
    // The length is at most LONGEST_SEGMENT.
    let length = u16::try_from(length).unwrap_or(u16::MAX);
    let start = room.as_mut_ptr();
    // SAFETY: `room` is as long as the header and a number need with their padding, and it is aligned
    // for the header; the number stands where the header ends.
    unsafe {
        start.cast::<libc::cmsghdr>().write_unaligned(header);
        start
            .add(size_of::<libc::cmsghdr>())
            .cast::<u16>()
            .write_unaligned(length);
    }
    used + space
}

/// A batch is never too long for one packet, nor for the kernel's 64 segments.
const _: () = assert!(BATCH <= 64 && BATCH * LONGEST_SEGMENT <= 65_000);

#[cfg(test)]
mod tests {
    use super::super::{batch::Inbox, socket};
    use super::*;
    use anyhow::Result;
    use std::{
        collections::BTreeSet,
        net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
        time::Duration,
    };

    const ANY_4: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    const ANY_6: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    const LOOPBACK_4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const LOOPBACK_6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    /// A client of a server at `to`, and who the server takes it for.
    fn client(server: &UdpSocket, to: IpAddr) -> Result<(UdpSocket, Peer)> {
        let client = UdpSocket::bind((to, 0))?;
        client.set_read_timeout(Some(Duration::from_secs(10)))?;
        client.connect((to, server.local_addr()?.port()))?;
        client.send(b"query")?;
        let mut inbox = Inbox::new();
        assert_eq!(inbox.receive(server)?, 1);
        let (query, peer) = inbox.datagram(0);
        assert_eq!(query, b"query");
        Ok((client, *peer))
    }

    /// An answer that says whose it is.
    fn answer(client: usize, number: usize, length: usize) -> Vec<u8> {
        let mut octets = vec![u8::try_from(client).expect("few"); length];
        octets[1] = u8::try_from(number).expect("few");
        octets
    }

    /// Sends answers of these lengths to each of three clients; each must get its own, uncut.
    fn exchange(server: &UdpSocket, to: IpAddr, lengths: &[usize]) -> Result<Outbox> {
        let mut outbox = Outbox::new(server);
        assert!(outbox.segments, "this kernel knows them");
        let clients = (0..3)
            .map(|_| client(server, to))
            .collect::<Result<Vec<_>>>()?;
        for (number, length) in lengths.iter().enumerate() {
            for (index, (_, peer)) in clients.iter().enumerate() {
                outbox.push(&answer(index, number, *length), peer);
            }
        }
        outbox.send(server);
        for (index, (client, _)) in clients.iter().enumerate() {
            let mut room = [0; 4096];
            let mut heard = BTreeSet::new();
            for _ in lengths {
                // The clients are connected: an answer from another address is not heard.
                let length = client.recv(&mut room)?;
                heard.insert(room[..length].to_vec());
            }
            let said = lengths.iter().enumerate();
            let said = said
                .map(|(number, length)| answer(index, number, *length))
                .collect();
            assert_eq!(heard, said, "client {index}");
        }
        Ok(outbox)
    }

    /// Lengths that go together, that do not, and more than one batch of them.
    fn lengths() -> Vec<usize> {
        let mut lengths = vec![40; 40];
        lengths.extend([52, 52, 52, 1000, 1000, 1000, 999, 1001, 1001, 1001, 2, 77]);
        lengths
    }

    #[test]
    fn every_answer_is_a_datagram_to_its_client() -> Result<()> {
        for (bound, to) in [
            (LOOPBACK_4, LOOPBACK_4),
            (ANY_4, LOOPBACK_4),
            (LOOPBACK_6, LOOPBACK_6),
            (ANY_6, LOOPBACK_6),
        ] {
            let server = socket::udp(SocketAddr::new(bound, 0))?;
            let outbox = exchange(&server, to, &lengths())?;
            assert!(outbox.segments, "{bound}: the loopback interface can");
        }
        Ok(())
    }

    #[test]
    fn what_cannot_be_cut_is_sent_apart() -> Result<()> {
        let server = socket::udp(SocketAddr::new(LOOPBACK_4, 0))?;
        // The kernel refuses to cut what has no checksums.
        let on: libc::c_int = 1;
        let value = (&raw const on).cast();
        // SAFETY: the descriptor is open, and `value` is as long as is said.
        let set = unsafe {
            libc::setsockopt(
                server.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_NO_CHECK,
                value,
                4,
            )
        };
        assert_eq!(set, 0);
        let outbox = exchange(&server, LOOPBACK_4, &lengths())?;
        assert!(!outbox.segments, "it is not tried again");
        Ok(())
    }

    #[test]
    fn only_three_and_more_go_together() -> Result<()> {
        let server = socket::udp(SocketAddr::new(LOOPBACK_4, 0))?;
        let peers = [
            client(&server, LOOPBACK_4)?.1,
            client(&server, LOOPBACK_4)?.1,
        ];
        // Sizes of packets, for answers of these clients and lengths.
        let packed = |answers: &[(usize, usize)]| {
            let batch: Vec<_> = answers
                .iter()
                .map(|(client, length)| Answer {
                    begin: 0,
                    length: *length,
                    peer: peers[*client],
                })
                .collect();
            let mut order: Vec<_> = (0..batch.len()).collect();
            let mut packets = [0; BATCH];
            let count = pack(&batch, &mut order, &mut packets);
            let mut packets = packets[..count].to_vec();
            packets.sort_unstable();
            packets
        };
        // A and AAAA of one name, of two clients.
        assert_eq!(packed(&[(0, 56), (1, 56), (0, 44), (1, 44)]), [1, 1, 1, 1]);
        assert_eq!(packed(&[(0, 44), (1, 44), (0, 44), (0, 44)]), [1, 3]);
        assert_eq!(packed(&[(0, 40), (0, 44), (0, 44), (0, 40)]), [1, 3]);
        assert_eq!(packed(&[(0, 50), (0, 44), (0, 44), (0, 44)]), [1, 3]);
        assert_eq!(packed(&[(0, 1001); 4]), [1, 1, 1, 1]);
        assert_eq!(packed(&[(1, 1000); BATCH]), [BATCH]);
        Ok(())
    }
}

//! What the kernel says of this process's network interfaces, over netlink, asked as glibc asks.

use super::call::{self, Descriptor};
use super::memory::{map_anonymous, unmap_anonymous};
use nss_k8s_zone::Address;

/// An address of an interface, as glibc's `__check_pf` sees it
/// (sysdeps/unix/sysv/linux/check_pf.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// IFA_ADDRESS: on a point-to-point link that is the *other* end. IFA_LOCAL counts only where
    /// there is nothing else.
    pub address: Address,
    /// Bits of the network part.
    pub prefix: u8,
    /// IFA_F_*, the eight of the header.
    pub flags: u8,
    /// The interface's number.
    pub index: u32,
}

/// Hands every IPv4 and IPv6 address of every interface to `take`; false when the kernel does not
/// say (no descriptor, a sandbox) or no memory is left: what was handed over may not be all then.
pub fn interface_addresses(mut take: impl FnMut(&InterfaceAddress)) -> bool {
    dump(
        libc::RTM_GETADDR,
        libc::RTM_NEWADDR,
        &mut |message: &[u8]| {
            if let Some(found) = address_of(message) {
                take(&found);
            }
        },
    )
    .is_some()
}

/// Hands every interface's number and hardware type (ARPHRD_*) to `take`; false as
/// [`interface_addresses`].
pub fn interface_types(mut take: impl FnMut(u32, u16)) -> bool {
    dump(
        libc::RTM_GETLINK,
        libc::RTM_NEWLINK,
        &mut |message: &[u8]| {
            // struct ifinfomsg: family, padding, type, index.
            if let (Some(kind), Some(index)) = (half(message, 2), word(message, 4)) {
                take(index, kind);
            }
        },
    )
    .is_some()
}

/// What takes a message. (Behind `dyn FnMut` each closure would be there twice: its `call_once`.)
trait Take {
    fn take(&mut self, message: &[u8]);
}

impl<F: FnMut(&[u8])> Take for F {
    fn take(&mut self, message: &[u8]) {
        self(message);
    }
}

/// Asks for everything of a kind and hands over what comes, without the messages' headers.
///
/// On its own, and its buffer not on the stack: every call of the program would pay for a frame
/// that one call in a second needs.
#[cold]
#[inline(never)]
fn dump(question: u16, answer: u16, take: &mut dyn Take) -> Option<()> {
    /// Octets: the kernel's messages of a dump are at most 8 KiB (NLMSG_GOODSIZE).
    const ROOM: usize = 8192;
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    let netlink = call::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE).ok()?;
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).ok()?;
    let ([f0, f1], [k0, k1]) = (flags.to_ne_bytes(), question.to_ne_bytes());
    let [l0, l1, l2, l3] = 20_u32.to_ne_bytes();
    // struct nlmsghdr (length, type, flags, sequence, port) and a struct rtgenmsg of any family.
    let request = [
        l0, l1, l2, l3, k0, k1, f0, f1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ];
    call::send(&netlink, &request).ok()?;
    let memory = map_anonymous(ROOM)?;
    // SAFETY: fresh zeroed memory of that length that nobody else has.
    let room = unsafe { core::slice::from_raw_parts_mut(memory.as_ptr(), ROOM) };
    let done = gather(&netlink, room, answer, take);
    // SAFETY: mapped above with this length; the slice is not used any more.
    unsafe { unmap_anonymous(memory, ROOM) }
    done
}

/// Receives a dump to its end; `None` when it is no such dump.
fn gather(netlink: &Descriptor, room: &mut [u8], answer: u16, take: &mut dyn Take) -> Option<()> {
    // Ten thousand messages are more than a host can have.
    for _ in 0..10_000 {
        let length = call::receive(netlink, room).ok()?;
        match collect(room.get(..length)?, answer, take)? {
            Dump::Goes => {}
            Dump::Done => return Some(()),
        }
    }
    None
}

/// Whether more messages of a dump follow.
enum Dump {
    Goes,
    Done,
}

/// Reads netlink messages; `None` when they are not what was asked for.
fn collect(mut messages: &[u8], answer: u16, take: &mut dyn Take) -> Option<Dump> {
    while !messages.is_empty() {
        let length = usize::try_from(word(messages, 0)?).ok()?;
        let message = messages.get(..length)?;
        let kind = half(message, 4)?;
        if i32::from(kind) == libc::NLMSG_DONE {
            return Some(Dump::Done);
        }
        if kind != answer {
            return None;
        }
        take.take(message.get(16..)?);
        messages = messages.get(aligned(length)?..).unwrap_or(&[]);
    }
    Some(Dump::Goes)
}

/// One `struct ifaddrmsg` and its attributes; `None` of other families, or without an address.
fn address_of(message: &[u8]) -> Option<InterfaceAddress> {
    let [family, prefix, flags, _, index @ ..] = message.first_chunk::<8>()?;
    let mut attributes = message.get(8..)?;
    let mut address: &[u8] = &[];
    while let Some(length) = half(attributes, 0).map(usize::from) {
        let (Some(kind), Some(value)) = (half(attributes, 2), attributes.get(4..length)) else {
            break;
        };
        match kind {
            libc::IFA_ADDRESS => {
                address = value;
                break;
            }
            libc::IFA_LOCAL => address = value,
            _ => {}
        }
        let Some(next) = aligned(length) else { break };
        attributes = attributes.get(next..).unwrap_or(&[]);
    }
    let address = match i32::from(*family) {
        libc::AF_INET => Address::v4(*address.first_chunk()?),
        libc::AF_INET6 => Address::v6(*address.first_chunk()?),
        _ => return None,
    };
    Some(InterfaceAddress {
        address,
        prefix: *prefix,
        flags: *flags,
        index: u32::from_ne_bytes(*index),
    })
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
    use proptest::prelude::*;

    /// The kernel's own list, in text form, is the reference.
    #[test]
    fn ipv6_addresses_are_those_that_the_kernel_lists() {
        let text = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
        let mut expected: Vec<(String, u32, u8, u8)> = text
            .lines()
            .map(|line| {
                let words: Vec<&str> = line.split_whitespace().collect();
                let number = |place: usize| u32::from_str_radix(words[place], 16).unwrap();
                let octet = |place: usize| u8::try_from(number(place)).unwrap();
                (words[0].to_owned(), number(1), octet(2), octet(4))
            })
            .collect();
        let mut found = Vec::new();
        let done = interface_addresses(|one| {
            if one.address.family == nss_k8s_zone::Family::V6 {
                let text = one
                    .address
                    .octets
                    .iter()
                    .map(|octet| format!("{octet:02x}"));
                found.push((text.collect(), one.index, one.prefix, one.flags));
            }
        });
        found.sort();
        expected.sort();
        assert_eq!((done, found), (true, expected));
    }

    #[test]
    fn the_loopback_is_a_loopback_and_has_its_address() {
        let (mut index, mut kinds) = (0, Vec::new());
        assert!(interface_addresses(|one| {
            if one.address == Address::v4([127, 0, 0, 1]) {
                index = one.index;
                assert_eq!(one.prefix, 8);
            }
        }));
        assert!(interface_types(|index, kind| kinds.push((index, kind))));
        assert!(kinds.contains(&(index, libc::ARPHRD_LOOPBACK)), "{kinds:?}");
    }

    #[test]
    fn garbage_is_refused() {
        for garbage in [&[0; 16][..], &[255; 16], &[16, 0, 0, 0, 9, 9, 0, 0]] {
            let mut taken = 0;
            let read = collect(garbage, libc::RTM_NEWADDR, &mut |_: &[u8]| taken += 1);
            assert!(read.is_none() && taken == 0);
        }
        for length in 0..40 {
            assert_eq!(address_of(&[255; 40][..length]), None);
        }
    }

    #[test]
    fn the_other_end_counts() {
        let attribute = |kind: u16, last: u8| {
            let [k0, k1] = kind.to_ne_bytes();
            let [l0, l1] = 8_u16.to_ne_bytes();
            [l0, l1, k0, k1, 10, 0, 0, last]
        };
        let message = |first: [u8; 8], second: [u8; 8]| {
            let mut message = vec![2, 32, 0x80, 0, 3, 0, 0, 0];
            message.extend(first);
            message.extend(second);
            address_of(&message).unwrap()
        };
        let (peer, own) = (
            attribute(libc::IFA_ADDRESS, 2),
            attribute(libc::IFA_LOCAL, 1),
        );
        for message in [message(peer, own), message(own, peer)] {
            assert_eq!(message.address, Address::v4([10, 0, 0, 2]));
            assert_eq!((message.prefix, message.index), (32, 3));
        }
        assert_eq!(message(own, own).address, Address::v4([10, 0, 0, 1]));
    }

    proptest! {
        #[test]
        fn any_message_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = address_of(&bytes);
            let mut taken = 0;
            let _ = collect(&bytes, libc::RTM_NEWADDR, &mut |_: &[u8]| taken += 1);
            prop_assert!(taken <= bytes.len() / 16);
        }
    }
}

//! Addresses as labels: `10-244-0-7`, `fd00--7`.

use crate::{Address, Family, Name};

/// The address that a label spells, as CoreDNS reads names of pods: three single dashes make an IPv4
/// address, anything else is tried as IPv6 with dashes for colons.
pub(crate) fn parse(label: &[u8]) -> Option<Address> {
    let dashes = label.iter().filter(|byte| **byte == b'-').count();
    match split_gap(label) {
        None if dashes == 3 => parse_v4(label),
        gap => parse_v6(label, gap),
    }
}

/// The label of an endpoint without a host name: its address in canonical text (RFC 5952) with
/// dashes, and a `0` after a final dash.
pub(crate) fn format(address: &Address, name: &mut Name) -> bool {
    match address.family {
        Family::V4 => format_v4(address.as_octets(), name),
        Family::V6 => format_v6(&address.octets, name),
    }
}

/// What is left and right of the first `--`.
fn split_gap(label: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = label.windows(2).position(|pair| pair == b"--")?;
    match label.split_at_checked(at)? {
        (left, [_, _, right @ ..]) => Some((left, right)),
        _ => None,
    }
}

/// Four decimal numbers without leading zeros.
fn parse_v4(label: &[u8]) -> Option<Address> {
    let mut octets = [0; 4];
    let mut parts = label.split(|byte| *byte == b'-');
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || part.len() > 3 || (part.len() > 1 && part.first() == Some(&b'0')) {
            return None;
        }
        let mut value = 0_u16;
        for byte in part {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value.wrapping_mul(10).wrapping_add(u16::from(digit));
        }
        *octet = u8::try_from(value).ok()?;
    }
    parts.next().is_none().then_some(Address::v4(octets))
}

/// Eight groups, or fewer around one gap.
fn parse_v6(label: &[u8], gap: Option<(&[u8], &[u8])>) -> Option<Address> {
    let mut groups = [0_u16; 8];
    match gap {
        None => {
            if fill(&mut groups, label.split(|byte| *byte == b'-'))? != 8 {
                return None;
            }
        }
        Some((left, right)) => {
            let mut head = [0_u16; 8];
            let mut tail = [0_u16; 8];
            let in_head = if left.is_empty() {
                0
            } else {
                fill(&mut head, left.split(|byte| *byte == b'-'))?
            };
            // From the right end, so that the groups keep their distance from it.
            let in_tail = if right.is_empty() {
                0
            } else {
                fill(&mut tail, right.rsplit(|byte| *byte == b'-'))?
            };
            if in_head.saturating_add(in_tail) > 7 {
                return None;
            }
            for (group, from) in groups.iter_mut().zip(head).take(in_head) {
                *group = from;
            }
            for (group, from) in groups.iter_mut().rev().zip(tail).take(in_tail) {
                *group = from;
            }
        }
    }
    let mut octets = [0; 16];
    for (pair, group) in octets.chunks_exact_mut(2).zip(groups) {
        for (octet, byte) in pair.iter_mut().zip(group.to_be_bytes()) {
            *octet = byte;
        }
    }
    // Go prints and serves an IPv4-mapped address as IPv4.
    match octets {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => Some(Address::v4([a, b, c, d])),
        _ => Some(Address::v6(octets)),
    }
}

/// Parses groups of one to four hexadecimal digits; how many there were, at most eight.
fn fill<'l>(groups: &mut [u16; 8], parts: impl Iterator<Item = &'l [u8]>) -> Option<usize> {
    let mut room = groups.iter_mut();
    let mut count = 0_usize;
    for part in parts {
        if part.is_empty() || part.len() > 4 {
            return None;
        }
        let mut value = 0_u16;
        for byte in part {
            let digit = match byte {
                b'0'..=b'9' => byte.wrapping_sub(b'0'),
                b'a'..=b'f' => byte.wrapping_sub(b'a').wrapping_add(10),
                b'A'..=b'F' => byte.wrapping_sub(b'A').wrapping_add(10),
                _ => return None,
            };
            value = value << 4 | u16::from(digit);
        }
        *room.next()? = value;
        count = count.wrapping_add(1);
    }
    Some(count)
}

/// Decimal numbers with dashes between.
fn format_v4(octets: &[u8], name: &mut Name) -> bool {
    let mut fits = true;
    for (index, octet) in octets.iter().enumerate() {
        fits &= index == 0 || name.push(b"-");
        let digits = [
            (*octet / 100).wrapping_add(b'0'),
            (*octet / 10 % 10).wrapping_add(b'0'),
            (*octet % 10).wrapping_add(b'0'),
        ];
        let skip = match octet {
            0..10 => 2,
            10..100 => 1,
            _ => 0,
        };
        fits &= name.push(digits.get(skip..).unwrap_or(&[]));
    }
    fits
}

/// Groups without leading zeros; the longest run of zero groups (two or more, the first of equals)
/// is a gap.
fn format_v6(octets: &[u8; 16], name: &mut Name) -> bool {
    let mut groups = [0_u16; 8];
    for (group, pair) in groups.iter_mut().zip(octets.as_chunks::<2>().0) {
        *group = u16::from_be_bytes(*pair);
    }
    let (gap, length) = longest_zeros(&groups);
    let mut fits = true;
    let mut dashed = true;
    let mut ends_with_dash = false;
    for (index, group) in groups.iter().enumerate() {
        let in_gap = index >= gap && index < gap.wrapping_add(length);
        if in_gap {
            if index == gap {
                fits &= name.push(b"--");
                (dashed, ends_with_dash) = (true, true);
            }
            continue;
        }
        fits &= dashed || name.push(b"-");
        let digits = hex(*group);
        let skip = (group.leading_zeros() / 4).min(3) as usize;
        fits &= name.push(digits.get(skip..).unwrap_or(&[]));
        (dashed, ends_with_dash) = (false, false);
    }
    fits && (!ends_with_dash || name.push(b"0"))
}

/// Where the longest run of at least two zero groups starts, and its length; (8, 0) when none does.
fn longest_zeros(groups: &[u16; 8]) -> (usize, usize) {
    let mut best = (8, 0);
    let mut run = (0, 0_usize);
    for (index, group) in groups.iter().enumerate() {
        if *group != 0 {
            run = (index.wrapping_add(1), 0);
            continue;
        }
        run.1 = run.1.wrapping_add(1);
        if run.1 >= 2 && run.1 > best.1 {
            best = run;
        }
    }
    best
}

/// Four hexadecimal digits.
fn hex(group: u16) -> [u8; 4] {
    [12, 8, 4, 0].map(|shift: u32| {
        let digit = (group.wrapping_shr(shift) & 0xf) as u8;
        if digit < 10 {
            digit.wrapping_add(b'0')
        } else {
            digit.wrapping_add(b'a' - 10)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::{format, parse};
    use crate::{Address, Name};
    use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use proptest::prelude::*;

    fn text(address: &Address) -> String {
        let mut name = Name::EMPTY;
        assert!(format(address, &mut name));
        String::from_utf8(name.as_bytes().to_vec()).unwrap()
    }

    /// The way CoreDNS makes an endpoint's label, from the canonical text.
    fn oracle(ip: IpAddr) -> String {
        let dashed = ip.to_string().replace(['.', ':'], "-");
        if dashed.ends_with('-') {
            dashed + "0"
        } else {
            dashed
        }
    }

    fn v6(ip: Ipv6Addr) -> Address {
        Address::v6(ip.octets())
    }

    #[test]
    fn well_known() {
        assert_eq!(text(&Address::v4([10, 244, 0, 7])), "10-244-0-7");
        assert_eq!(text(&v6("fd00::7".parse().unwrap())), "fd00--7");
        assert_eq!(text(&v6("fd00::".parse().unwrap())), "fd00--0");
        assert_eq!(text(&v6("::1".parse().unwrap())), "--1");
        assert_eq!(text(&v6("::".parse().unwrap())), "--0");
        for bad in [
            "",
            "-",
            "--",
            "---",
            "10-0-0",
            "10-0-0-256",
            "10-0-0-01",
            "1-2-3-4-5",
            "blah",
        ] {
            let expected = (bad == "--").then_some(Address::v6([0; 16]));
            assert_eq!(parse(bad.as_bytes()), expected, "{bad}");
        }
        assert_eq!(parse(b"1-2-3-4-5-6-7-8-9"), None);
        assert_eq!(parse(b"1-2--3-4--5"), None);
        assert_eq!(
            parse(b"0-0-0-0-0-ffff-a00-1"),
            Some(Address::v4([10, 0, 0, 1]))
        );
    }

    proptest! {
        #[test]
        fn agrees_with_the_standard_library(
            // Sparse groups, so that gaps of all lengths come up.
            groups in prop::array::uniform8(prop_oneof![Just(0_u16), Just(0), any::<u16>()]),
            octets in any::<[u8; 4]>(),
        ) {
            let ip = Ipv6Addr::from(groups);
            // The standard library prints the low 32 bits of mapped addresses in dotted form.
            prop_assume!(ip.to_ipv4_mapped().is_none());
            prop_assert_eq!(text(&v6(ip)), oracle(ip.into()));
            prop_assert_eq!(parse(text(&v6(ip)).as_bytes()), Some(v6(ip)));
            prop_assert_eq!(text(&Address::v4(octets)), oracle(Ipv4Addr::from(octets).into()));
            prop_assert_eq!(parse(text(&Address::v4(octets)).as_bytes()), Some(Address::v4(octets)));
        }

        #[test]
        fn reads_what_the_standard_library_reads(label in "[0-9a-f]{0,4}(-{1,2}[0-9a-f]{0,5}){0,8}") {
            let v4 = label.matches('-').count() == 3 && !label.contains("--");
            let oracle = if v4 {
                label.replace('-', ".").parse::<Ipv4Addr>().ok().map(|ip| Address::v4(ip.octets()))
            } else {
                label.replace('-', ":").parse::<Ipv6Addr>().ok().map(|ip| match ip.to_ipv4_mapped() {
                    Some(mapped) => Address::v4(mapped.octets()),
                    None => v6(ip),
                })
            };
            prop_assert_eq!(parse(label.as_bytes()), oracle);
        }
    }
}

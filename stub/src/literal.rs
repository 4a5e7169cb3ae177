//! Address literals: which names libc parses itself, and the addresses in resolv.conf and hosts.

use crate::c_text::is_space;
use nss_k8s_zone::{Address, text};

/// Whether libc could take `name` for an address, or refuse it as a broken one, without asking
/// anybody. Errs towards yes: libc then decides.
///
/// * One to four parts that are C numbers: `inet_aton` ("10.1", "0x0a000001", "010.0.0.1").
/// * Only digits and dots: `gethostbyname` never asks DNS for those (glibc nss/digits_dots.c).
/// * A colon or a percent sign: IPv6, with or without a scope; no host name has them.
pub fn is_literal(name: &[u8]) -> bool {
    if name.iter().any(|byte| matches!(byte, b':' | b'%')) {
        return true;
    }
    // Every form of IPv4 starts with a digit; hardly any name does.
    if !name.first().is_some_and(u8::is_ascii_digit) {
        return false;
    }
    let all_digits = name
        .iter()
        .all(|byte| byte.is_ascii_digit() || *byte == b'.');
    all_digits || parts_are_numbers(name)
}

/// What `inet_aton` reads: the address, if `text` up to its end, or up to the first white space,
/// is one. All of its forms: one to four parts, decimal, octal or hexadecimal; the last part
/// fills the octets that are left.
pub fn parse_ipv4(text: &[u8]) -> Option<[u8; 4]> {
    let end = text
        .iter()
        .position(|byte| is_space(*byte))
        .unwrap_or(text.len());
    let text = text.get(..end)?;
    let mut address: u32 = 0;
    let mut parts: u32 = 0;
    let mut last: u32 = 0;
    for part in text.split(|byte| *byte == b'.') {
        if parts > 0 {
            // The part before this dot is one octet.
            if parts > 3 || last > 0xff {
                return None;
            }
            address = (address << 8) | last;
        }
        last = parse_c_number(part)?;
        parts = parts.checked_add(1)?;
    }
    let room = 32_u32.checked_sub(8_u32.checked_mul(parts.checked_sub(1)?)?)?;
    if room < 32 && last.checked_shr(room).unwrap_or(0) != 0 {
        return None;
    }
    let high = address.checked_shl(room).unwrap_or(0);
    Some((high | last).to_be_bytes())
}

/// What `inet_pton(AF_INET6)` reads, all of `text`; no scope.
pub fn parse_ipv6(text: &[u8]) -> Option<[u8; 16]> {
    text::parse_v6(text, b':')
}

/// Either family, as an address of the zone.
pub fn parse_address(text: &[u8]) -> Option<Address> {
    match parse_ipv4(text) {
        Some(octets) => Some(Address::v4(octets)),
        None => parse_ipv6(text).map(Address::v6),
    }
}

/// One to four parts, each a number as C writes it, of whatever size.
fn parts_are_numbers(name: &[u8]) -> bool {
    let mut count: usize = 0;
    for part in name.split(|byte| *byte == b'.') {
        count = count.saturating_add(1);
        let is_number = match part
            .strip_prefix(b"0x")
            .or_else(|| part.strip_prefix(b"0X"))
        {
            Some(digits) => digits.iter().all(u8::is_ascii_hexdigit),
            None => !part.is_empty() && part.iter().all(u8::is_ascii_digit),
        };
        if !is_number {
            return false;
        }
    }
    count <= 4
}

/// A whole part as `strtoul(.., 0)` reads it, up to 32 bits.
fn parse_c_number(part: &[u8]) -> Option<u32> {
    let hexadecimal = part
        .strip_prefix(b"0x")
        .or_else(|| part.strip_prefix(b"0X"));
    let (digits, radix) = match (hexadecimal, part) {
        (Some(digits), _) => (digits, 16),
        (None, [b'0', _, ..]) => (part, 8),
        (None, _) => (part, 10),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value: u32 = 0;
    for byte in digits {
        let digit = char::from(*byte).to_digit(radix)?;
        value = value.checked_mul(radix)?.checked_add(digit)?;
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv6Addr;
    use proptest::prelude::*;

    #[test]
    fn every_form_of_inet_aton_is_a_literal() {
        for name in [
            "10.0.0.1",
            "10.1",
            "10.0.1",
            "0x0a000001",
            "167772161",
            "010.0.0.1",
            "1.2.3.4.5",
            "10.0.0.1.",
            "0",
            "0x",
            "::1",
            "fe80::1%lo",
            "::ffff:10.0.0.1",
            "1.0X2.3",
        ] {
            assert!(is_literal(name.as_bytes()), "{name}");
        }
        for name in [
            "api",
            "10.prod",
            "1password",
            "0xg",
            "a.1",
            "1.2.3.4.5x",
            "",
            "3scale.ns",
        ] {
            assert!(!is_literal(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn ipv4_is_read_as_inet_aton_reads_it() {
        for (text, expected) in [
            ("10.96.0.10", Some([10, 96, 0, 10])),
            ("10.96.0.10 # kube-dns", Some([10, 96, 0, 10])),
            ("10.96.0.10\r", Some([10, 96, 0, 10])),
            ("10.1", Some([10, 0, 0, 1])),
            ("10.257", Some([10, 0, 1, 1])),
            ("1.2.65535", Some([1, 2, 255, 255])),
            ("0x0a000001", Some([10, 0, 0, 1])),
            ("167772161", Some([10, 0, 0, 1])),
            ("010.0.0.1", Some([8, 0, 0, 1])),
            ("4294967295", Some([255, 255, 255, 255])),
            ("4294967296", None),
            ("256.1", None),
            ("1.2.3.256", None),
            ("1.2.65536", None),
            ("1.2.3.4.5", None),
            ("1.2.3.4x", None),
            ("1.2.3.", None),
            ("09.1", None),
            ("0x", None),
            ("", None),
            (" 1.2.3.4", None),
        ] {
            assert_eq!(parse_ipv4(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn ipv6_is_what_the_standard_library_reads(text in "[0-9a-fA-F:.]{0,24}") {
            let expected = text.parse::<Ipv6Addr>().ok().map(|address| address.octets());
            prop_assert_eq!(parse_ipv6(text.as_bytes()), expected);
        }

        #[test]
        fn written_ipv6_is_read_back(octets in any::<[u8; 16]>(), holes in any::<u16>()) {
            let mut octets = octets;
            for (group, pair) in octets.chunks_exact_mut(2).enumerate() {
                if holes & (1 << group) != 0 {
                    pair.fill(0);
                }
            }
            let text = Ipv6Addr::from(octets).to_string();
            prop_assert_eq!(parse_ipv6(text.as_bytes()), Some(octets));
        }
    }
}

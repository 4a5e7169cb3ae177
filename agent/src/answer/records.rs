//! Records that are made here, and names that stand for addresses.

use super::{
    kind,
    message::{Draft, Section},
};
use nss_k8s_zone::{Address, Family, text};

/// The SOA record of the zone `apex` (octets), as CoreDNS makes it (plugin/backend_lookup.go).
pub(super) fn put_authority(
    draft: &mut Draft<'_>,
    section: Section,
    apex: &[u8],
    minimum: u32,
    serial: u32,
) {
    let mut numbers = [0; 20];
    let all = [serial, 7200, 1800, 86_400, minimum];
    for (place, number) in numbers.chunks_exact_mut(4).zip(all) {
        place.copy_from_slice(&number.to_be_bytes());
    }
    let data = [b"\x02ns\x03dns", apex, b"\x0ahostmaster", apex, &numbers];
    draft.record(section, apex, kind::SOA, minimum.min(300), &data);
}

/// An A or AAAA record.
pub(super) fn put_address(
    draft: &mut Draft<'_>,
    section: Section,
    owner: &[u8],
    time_to_live: u32,
    address: &Address,
) {
    let kind = match address.family {
        Family::V4 => kind::A,
        Family::V6 => kind::AAAA,
    };
    draft.record(section, owner, kind, time_to_live, &[address.as_octets()]);
}

/// The address whose reverse name `name` is, in lower case (RFC 1035 section 3.5, RFC 3596 section
/// 2.5).
pub(super) fn address_of(name: &[u8]) -> Option<Address> {
    if let Some(numbers) = name.strip_suffix(b".in-addr.arpa") {
        let mut octets = text::parse_v4(numbers, b'.')?;
        octets.reverse();
        return Some(Address::v4(octets));
    }
    let nibbles = name.strip_suffix(b".ip6.arpa")?;
    let mut number = 0_u128;
    let mut count = 0;
    for label in nibbles.split(|byte| *byte == b'.') {
        let [digit] = label else {
            return None;
        };
        let digit = char::from(*digit).to_digit(16)?;
        number |= u128::from(digit).checked_shl(count * 4)?;
        count += 1;
    }
    (count == 32).then(|| Address::v6(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_names_are_read_whole() {
        let one = Address::v4([10, 96, 1, 10]);
        assert_eq!(address_of(b"10.1.96.10.in-addr.arpa"), Some(one));
        let mut v6 = "1.".to_owned();
        v6.push_str(&"0.".repeat(30));
        v6.push_str("f.ip6.arpa");
        let octets = 0xf000_0000_0000_0000_0000_0000_0000_0001_u128.to_be_bytes();
        assert_eq!(address_of(v6.as_bytes()), Some(Address::v6(octets)));
        for name in [
            "1.96.10.in-addr.arpa",
            "5.10.1.96.10.in-addr.arpa",
            "in-addr.arpa",
            "01.1.96.10.in-addr.arpa",
            "1.0.ip6.arpa",
            &v6.replacen("1.", "1.0.", 1),
        ] {
            assert_eq!(address_of(name.as_bytes()), None, "{name}");
        }
    }
}

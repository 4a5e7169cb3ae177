//! Addresses as labels: `10-244-0-7`, `fd00--7`.

use crate::{Address, Name, text};

/// The address that a label spells, as CoreDNS reads names of pods: three single dashes make an IPv4
/// address, anything else is tried as IPv6 with dashes for colons.
pub(crate) fn parse(label: &[u8]) -> Option<Address> {
    let dashes = label.iter().filter(|byte| **byte == b'-').count();
    if dashes == 3 && !label.windows(2).any(|pair| pair == b"--") {
        return text::parse_v4(label, b'-').map(Address::v4);
    }
    let octets = text::parse_v6(label, b'-')?;
    // Go prints and serves an IPv4-mapped address as IPv4.
    Some(text::unmapped(octets))
}

/// The label of an endpoint without a host name: its address in canonical text (RFC 5952) with
/// dashes, and a `0` after a final dash.
pub(crate) fn format(address: &Address, name: &mut Name) -> bool {
    text::format(address, b'-', b'-', name)
        && (name.as_bytes().last() != Some(&b'-') || name.push(b"0"))
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

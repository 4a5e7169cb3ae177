//! Names and addresses as the file has them.

use crate::config::Host;
use nss_k8s_zone::{Address, Family, Held, HeldAnswer, HeldVerdict};
use std::{collections::BTreeMap, net::IpAddr};

/// A name in wire format as text without a trailing dot, its case kept; `None`: the root, or a name
/// with characters that no libc takes in a host's name.
pub(super) fn text(wire: &[u8]) -> Option<String> {
    let mut text = String::new();
    let mut rest = wire;
    while let Some((&length, labels)) = rest.split_first()
        && length != 0
    {
        let (label, after) = labels.split_at_checked(length.into())?;
        if !text.is_empty() {
            text.push('.');
        }
        for byte in label {
            if !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'_') {
                return None;
            }
            text.push(char::from(*byte));
        }
        rest = after;
    }
    (!text.is_empty()).then_some(text)
}

/// An address of the zone's type.
pub(super) const fn address(address: IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => Address::v4(address.octets()),
        IpAddr::V6(address) => Address::v6(address.octets()),
    }
}

/// Static names: a name of several entries has all their addresses; a family without any has none.
pub(super) fn hosts(entries: &[Host]) -> BTreeMap<String, Held> {
    let mut addresses: BTreeMap<String, Vec<Address>> = BTreeMap::new();
    for entry in entries {
        for name in &entry.names {
            let known = addresses.entry(name.as_str().to_owned()).or_default();
            known.extend(entry.addresses.iter().copied().map(address));
        }
    }
    let of = |addresses: &[Address], family: Family| {
        let of_family = addresses.iter().filter(|it| it.family == family);
        Some(HeldAnswer {
            expires: None,
            verdict: HeldVerdict::Data {
                addresses: of_family.copied().collect(),
                canonical: None,
            },
        })
    };
    addresses
        .into_iter()
        .map(|(name, addresses)| {
            let held = Held {
                v4: of(&addresses, Family::V4),
                v6: of(&addresses, Family::V6),
            };
            (name, held)
        })
        .collect()
}

//! The rules of RFC 6724 section 6 as glibc has them (nss/getaddrinfo.c, `rfc3484_sort`; the same
//! from 2.31 to 2.41): all ten, by its own tables.

use super::network::{Interface, Source, mapped};
use super::policy::Tables;
use super::{Item, Network};
use nss_k8s_zone::{Address, Family};

/// Rule 7's bit in the rank.
const NATIVE: u64 = 1;
/// Rule 1's.
const USABLE: u64 = 1 << 36;

impl Item {
    /// Whether rules that compare sources are for it.
    const fn has_source(&self) -> bool {
        self.rank & USABLE != 0
    }
}

/// Fills in what decides a destination's place, but for rule 7.
pub(super) fn rank(
    item: &mut Item,
    tables: &Tables<'_>,
    destination: &Address,
    source: Option<Source>,
) {
    let address = mapped(destination);
    // Rule 8: prefer smaller scope.
    item.scope = scope_of(tables, destination.family, address);
    // Rule 6: prefer higher precedence; 31 bits.
    item.rank = u64::from(tables.precedence(address)) << 1;
    // Rule 1: avoid unusable destinations. Rules 2 to 5, 7 and 9 need a source.
    let Some(source) = source else { return };
    let Interface {
        index,
        prefix,
        is_deprecated,
        is_home,
    } = source.interface;
    let rules = [
        // Rule 2: prefer matching scope.
        scope_of(tables, destination.family, source.address) == item.scope,
        // Rule 3: avoid deprecated addresses.
        !is_deprecated,
        // Rule 4: prefer home addresses.
        is_home,
        // Rule 5: prefer matching label.
        tables.label(source.address) == tables.label(address),
    ];
    let mut matching: u64 = 0;
    for rule in rules {
        matching = matching << 1 | u64::from(rule);
    }
    item.rank |= USABLE | matching << 32;
    item.index = index;
    item.prefix = common_prefix(destination.family, address, source.address, prefix);
}

/// Rule 7: prefer native transport. Interfaces are looked at only where there are several.
pub(super) fn prefer_native(network: &mut dyn Network, items: &mut [Item]) {
    let mut indexes = items.iter().filter(|item| item.has_source());
    let first = indexes.next().map(|item| item.index);
    if indexes.all(|item| Some(item.index) == first) {
        return;
    }
    let mut known = (0, false);
    for item in items.iter_mut().filter(|item| item.has_source()) {
        if known.0 != item.index {
            known = (item.index, network.is_native(item.index));
        }
        if known.1 {
            item.rank |= NATIVE;
        }
    }
}

/// Rule 9: the longest matching prefix; IPv4 addresses only within the source's own subnet.
fn common_prefix(family: Family, destination: u128, source: u128, subnet: u8) -> u8 {
    let common = (destination ^ source).leading_zeros();
    let length = match family {
        Family::V6 => common,
        // As C shifts a 32-bit word by 32: not at all, so that no subnet is one of a single address.
        Family::V4 => {
            let subnet = if subnet == 0 { 32 } else { u32::from(subnet) };
            let common = common.saturating_sub(96);
            if common >= subnet { common } else { 0 }
        }
    };
    u8::try_from(length).unwrap_or(0)
}

/// The scope of an address. Of IPv4 the table says it; an IPv4-mapped address of an IPv6 socket is
/// just a global one.
fn scope_of(tables: &Tables<'_>, family: Family, address: u128) -> u32 {
    match family {
        Family::V4 => tables.scope_of_v4(address),
        Family::V6 => scope_of_v6(address),
    }
}

/// The scope of an IPv6 address, in both libcs.
pub(super) fn scope_of_v6(address: u128) -> u32 {
    match address >> 112 {
        0xff00..=0xffff => u32::try_from(address >> 112 & 0xf).unwrap_or(0),
        0xfe80..=0xfebf => 2,
        _ if address == 1 => 2,
        0xfec0..=0xfeff => 5,
        _ => 14,
    }
}

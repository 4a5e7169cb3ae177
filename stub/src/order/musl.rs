//! musl's order (src/network/lookup_name.c; the same in 1.2.3 and 1.2.5): one key for each address,
//! of RFC 6724's rules 1, 2, 5, 6, 8 and 9, by RFC 6724's table. IPv4 counts as IPv4-mapped
//! everywhere.

use super::Item;
use super::glibc::scope_of_v6;
use super::network::{Source, mapped};
use nss_k8s_zone::Address;

const USABLE: u32 = 0x4000_0000;
const MATCHING_SCOPE: u32 = 0x2000_0000;
const MATCHING_LABEL: u32 = 0x1000_0000;

/// Fills in what decides a destination's place.
pub(super) fn rank(item: &mut Item, destination: &Address, source: Option<Source>) {
    let address = mapped(destination);
    let (scope, (precedence, label)) = (scope_of_v6(address), policy_of(address));
    let mut key = precedence << 20 | 15_u32.saturating_sub(scope) << 16;
    if let Some(Source { address: from, .. }) = source {
        key |= USABLE | (address ^ from).leading_zeros() << 8;
        if scope_of_v6(from) == scope {
            key |= MATCHING_SCOPE;
        }
        if policy_of(from).1 == label {
            key |= MATCHING_LABEL;
        }
    }
    item.rank = u64::from(key);
}

/// The precedence and the label of an address.
fn policy_of(address: u128) -> (u32, u32) {
    match address >> 112 {
        _ if address == 1 => (50, 0),
        _ if address >> 32 == 0xffff => (35, 4),
        0x2002 => (30, 2),
        0x2001 if address >> 96 & 0xffff == 0 => (5, 5),
        0xfc00..=0xfdff => (3, 13),
        _ => (40, 1),
    }
}

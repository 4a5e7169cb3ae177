//! The records of the soak, which tell by themselves whether they are whole.

use super::random::mix;
use nss_k8s_zone::{Address, Now};
use std::{
    ops::RangeInclusive,
    time::{SystemTime, UNIX_EPOCH},
};

/// Endpoints of a headless service: enough to be torn, and the first are always there.
pub(crate) const ENDPOINTS: RangeInclusive<u32> = 8..=200;
/// Services of each kind.
pub(crate) const SERVICES: u32 = 24;

/// What an IPv6 address of the soak says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Which service.
    pub(crate) service: u32,
    /// Which version of its record.
    pub(crate) generation: u64,
    /// Which endpoint in it.
    pub(crate) place: u16,
}

impl Part {
    /// fd, service : 16 bits, generation : 40, place : 16, checksum : 48.
    pub(crate) fn address(self) -> Address {
        let head = 0xfd << 56 | u64::from(self.service & 0xffff) << 40 | self.generation;
        let tail = u64::from(self.place) << 48 | self.checksum();
        Address::v6((u128::from(head) << 64 | u128::from(tail)).to_be_bytes())
    }

    /// 48 bits over the rest.
    fn checksum(self) -> u64 {
        let words = u64::from(self.service) << 40 | self.generation;
        mix(mix(words) ^ u64::from(self.place)) >> 16
    }

    /// The inverse of `address`; nothing when it is not what `address` gives.
    pub(crate) fn parse(address: &Address) -> Option<Self> {
        let bits = u128::from_be_bytes(address.octets);
        let part = Self {
            service: (bits >> 104) as u32 & 0xffff,
            generation: (bits >> 64) as u64 & 0xff_ffff_ffff,
            place: (bits >> 48) as u16,
        };
        (part.address() == *address).then_some(part)
    }
}

/// The IPv4 address that goes with a generation.
pub(crate) fn short(service: u32, generation: u64) -> Address {
    let [_, b, c, d, ..] = mix(u64::from(service) << 40 | generation).to_be_bytes();
    Address::v4([10, b, c, d])
}

/// How many endpoints a generation has.
pub(crate) fn endpoints(generation: u64) -> u32 {
    ENDPOINTS.start() + mix(generation) as u32 % (ENDPOINTS.end() - ENDPOINTS.start() + 1)
}

/// Unix seconds.
pub(crate) fn now() -> Now {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Now(since.map_or(0, |since| since.as_secs()))
}

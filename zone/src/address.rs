//! IP addresses as the zone stores and answers them.

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Family {
    /// IPv4, `A` records.
    V4 = 4,
    /// IPv6, `AAAA` records.
    V6 = 6,
}

/// Which families a caller wants; one question for both is answered from one version of the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    /// `A` is wanted.
    pub v4: bool,
    /// `AAAA` is wanted.
    pub v6: bool,
}

impl Families {
    /// `AF_UNSPEC`.
    pub const BOTH: Self = Self { v4: true, v6: true };
    /// `AF_INET`.
    pub const V4: Self = Self {
        v4: true,
        v6: false,
    };
    /// `AF_INET6`.
    pub const V6: Self = Self {
        v4: false,
        v6: true,
    };

    /// Whether `family` is among them.
    pub const fn contains(self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

/// One IP address in network byte order; of an IPv4 address the first four octets count, the
/// others are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The family.
    pub family: Family,
    /// Network byte order.
    pub octets: [u8; 16],
}

/// By family, then as numbers. Writers sort thousands of addresses, and two words are compared sooner
/// than sixteen octets.
impl Ord for Address {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        let key = |it: &Self| (it.family, u128::from_be_bytes(it.octets));
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Address {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Address {
    /// 0.0.0.0, to fill a room with.
    pub const UNSPECIFIED: Self = Self {
        family: Family::V4,
        octets: [0; 16],
    };

    /// An IPv4 address.
    pub const fn v4(octets: [u8; 4]) -> Self {
        let [a, b, c, d] = octets;
        Self {
            family: Family::V4,
            octets: [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        }
    }

    /// An IPv6 address.
    pub const fn v6(octets: [u8; 16]) -> Self {
        Self {
            family: Family::V6,
            octets,
        }
    }

    /// The octets that count: 4 or 16.
    pub fn as_octets(&self) -> &[u8] {
        match self.family {
            Family::V4 => self
                .octets
                .first_chunk::<4>()
                .map_or(&[], |head| head.as_slice()),
            Family::V6 => &self.octets,
        }
    }
}

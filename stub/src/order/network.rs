//! Which address of ours a destination would be reached from, and what libc wants to know of it: asked
//! of the kernel as libc asks, at most once a second for each destination. libc asks at each call.

use super::remembered::{Answer, Question, Table};
use crate::sys::{self, InterfaceAddress, Libc, Prober, Route};
use core::sync::atomic::{AtomicU64, Ordering};
use nss_k8s_zone::{Address, Families, Family};

/// The address of ours that a destination is reached from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    /// IPv4 as IPv4-mapped IPv6.
    pub(super) address: u128,
    pub(super) interface: Interface,
}

/// What glibc knows of a source's interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    /// 0: not known.
    pub(super) index: u32,
    /// Bits of the network part; 0 where nothing is known.
    pub(super) prefix: u8,
    /// Deprecated, or not checked yet for being unique.
    pub(super) is_deprecated: bool,
    /// The home address of a mobile host.
    pub(super) is_home: bool,
}

impl Interface {
    /// What glibc has of a source that is not on its list.
    pub(super) const UNKNOWN: Self = Self {
        index: 0,
        prefix: 0,
        is_deprecated: false,
        is_home: false,
    };

    fn of(found: &InterfaceAddress) -> Self {
        // uapi/linux/if_addr.h.
        const HOME: u8 = 0x10;
        const DEPRECATED_OR_OPTIMISTIC: u8 = 0x20 | 0x04;
        Self {
            index: found.index,
            prefix: found.prefix,
            is_deprecated: found.flags & DEPRECATED_OR_OPTIMISTIC != 0,
            is_home: found.flags & HOME != 0,
        }
    }

    fn to_facts(self) -> u64 {
        u64::from(self.index)
            | u64::from(self.prefix) << 32
            | u64::from(self.is_deprecated) << 40
            | u64::from(self.is_home) << 41
    }

    fn from_facts(facts: u64) -> Self {
        Self {
            index: u32::try_from(facts & 0xffff_ffff).unwrap_or(0),
            prefix: u8::try_from(facts >> 32 & 0xff).unwrap_or(0),
            is_deprecated: facts >> 40 & 1 != 0,
            is_home: facts >> 41 & 1 != 0,
        }
    }
}

static TABLE: Table = Table::new();

/// Topics of [`TABLE`].
const SOURCE_FOR_V4: u8 = 1;
const SOURCE_FOR_V6: u8 = 2;
const INTERFACE: u8 = 3;
const IS_NATIVE: u8 = 4;

/// Where a destination is reached from; `None` when it is not, or when the kernel cannot be asked
/// now (no descriptor left), which libc takes for the same. musl asks for no interface.
pub(super) fn source_for(
    libc: Libc,
    destination: &Address,
    now: u64,
    prober: &mut Prober,
) -> Option<Source> {
    let answer = route_to(destination, now, prober)?;
    (answer.facts != 0).then(|| Source {
        address: answer.address,
        interface: match libc {
            Libc::Glibc => interface_of(answer.address, now),
            Libc::Musl => Interface::UNKNOWN,
        },
    })
}

/// A source address and facts that are not 0; or facts that are 0. `None` when the kernel cannot be
/// asked now.
fn route_to(destination: &Address, now: u64, prober: &mut Prober) -> Option<Answer> {
    let question = Question {
        subject: u128::from_be_bytes(destination.octets),
        topic: match destination.family {
            Family::V4 => SOURCE_FOR_V4,
            Family::V6 => SOURCE_FOR_V6,
        },
    };
    match TABLE.recall(question, now) {
        Some(answer) => Some(answer),
        None => ask_for_route(destination, question, now, prober),
    }
}

/// Asks the kernel; only what will be the same in a moment is remembered.
#[cold]
#[inline(never)]
fn ask_for_route(
    destination: &Address,
    question: Question,
    now: u64,
    prober: &mut Prober,
) -> Option<Answer> {
    let answer = match prober.route_to(destination) {
        Route::Source(source) => Answer {
            address: mapped(&source),
            facts: 1,
        },
        Route::Unreachable => Answer {
            address: 0,
            facts: 0,
        },
        Route::Unknown => return None,
    };
    TABLE.remember(question, answer, now);
    Some(answer)
}

/// Which families are configured, as this libc decides it for AI_ADDRCONFIG. `None` when libc must
/// say itself what the kernel's refusal means.
pub fn configured(libc: Libc) -> Option<Families> {
    let now = sys::now().0;
    match libc {
        Libc::Glibc => Some(match seen(now) {
            Some(families) => families,
            None => survey(None, now).0,
        }),
        // Whether a socket can be connected to the loopback (src/network/getaddrinfo.c).
        Libc::Musl => {
            let mut prober = Prober::new();
            let mut is_reached = |address: &Address| {
                let answer = route_to(address, now, &mut prober)?;
                Some(answer.facts != 0)
            };
            Some(Families {
                v4: is_reached(&Address::v4([127, 0, 0, 1]))?,
                v6: is_reached(&LOOPBACK_V6)?,
            })
        }
    }
}

/// `::1`.
const LOOPBACK_V6: Address = Address::v6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// What glibc knows of the interface of a source.
fn interface_of(source: u128, now: u64) -> Interface {
    let source = as_listed(source);
    if let Some(families) = seen(now) {
        // glibc keeps its list only where it saw an IPv6 address other than ::1.
        if !families.v6 {
            return Interface::UNKNOWN;
        }
        let question = Question {
            subject: source,
            topic: INTERFACE,
        };
        if let Some(answer) = TABLE.recall(question, now) {
            return Interface::from_facts(answer.facts);
        }
    }
    let (families, interface) = survey(Some(source), now);
    if families.v6 {
        interface
    } else {
        Interface::UNKNOWN
    }
}

/// All of 127.0.0.0/8 counts as the loopback's own address.
fn as_listed(source: u128) -> u128 {
    if source >> 24 == 0x00ff_ff7f {
        0xffff_7f00_0001
    } else {
        source
    }
}

/// The families that glibc has seen on its list (`__check_pf`), not counting 127.0.0.1 and ::1, if
/// it was gone through in this second.
fn seen(now: u64) -> Option<Families> {
    let word = SEEN.load(Ordering::Relaxed);
    (word & 4 != 0 && word >> 3 == now).then(|| families(word))
}

/// Two bits, and the second in which they were learnt. One word, so that no reader sees half of it.
static SEEN: AtomicU64 = AtomicU64::new(0);

fn families(word: u64) -> Families {
    Families {
        v4: word & 1 != 0,
        v6: word & 2 != 0,
    }
}

/// Goes through all addresses of all interfaces once: the families, and the interface of the source
/// `wanted`. Remembers both, and the first few other interfaces, which are the next to be wanted.
#[cold]
#[inline(never)]
fn survey(wanted: Option<u128>, now: u64) -> (Families, Interface) {
    /// A pod has about five addresses; a node may have thousands.
    const FEW: u32 = 16;
    let mut taken: u32 = 0;
    let mut bits = 4;
    let mut of_wanted = None;
    let remember = |subject: u128, interface: Interface| {
        let question = Question {
            subject,
            topic: INTERFACE,
        };
        let facts = interface.to_facts();
        TABLE.remember(question, Answer { address: 0, facts }, now);
    };
    let done = sys::interface_addresses(|found| {
        let (address, interface) = (mapped(&found.address), Interface::of(found));
        match found.address.family {
            Family::V4 if address != 0xffff_7f00_0001 => bits |= 1,
            Family::V6 if address != 1 => bits |= 2,
            _ => {}
        }
        if wanted == Some(address) {
            of_wanted = of_wanted.or(Some(interface));
        } else if taken < FEW {
            taken = taken.saturating_add(1);
            remember(address, interface);
        }
    });
    if !done {
        // As glibc: it cannot tell, so both. Not for the next call, which may be luckier.
        return (Families::BOTH, Interface::UNKNOWN);
    }
    let of_wanted = of_wanted.unwrap_or(Interface::UNKNOWN);
    if let Some(wanted) = wanted {
        remember(wanted, of_wanted);
    }
    if now > 0 {
        SEEN.store(now << 3 | bits, Ordering::Relaxed);
    }
    (families(bits), of_wanted)
}

/// Whether an interface is no tunnel (glibc's `__check_native`).
pub(super) fn is_native(index: u32, now: u64) -> bool {
    if index == 0 {
        return false;
    }
    let question = Question {
        subject: u128::from(index),
        topic: IS_NATIVE,
    };
    match TABLE.recall(question, now) {
        Some(answer) => answer.facts != 0,
        None => ask_whether_native(index, question, now),
    }
}

/// Goes through all interfaces for one of them.
#[cold]
#[inline(never)]
fn ask_whether_native(index: u32, question: Question, now: u64) -> bool {
    let mut is_native = false;
    let done = sys::interface_types(|number, kind| {
        if number == index {
            is_native = !matches!(
                kind,
                libc::ARPHRD_TUNNEL | libc::ARPHRD_TUNNEL6 | libc::ARPHRD_SIT
            );
        }
    });
    if done {
        let answer = Answer {
            address: 0,
            facts: u64::from(is_native),
        };
        TABLE.remember(question, answer, now);
    }
    is_native
}

/// An address as glibc and musl compare it: IPv4 as IPv4-mapped IPv6.
pub(super) fn mapped(address: &Address) -> u128 {
    let number = u128::from_be_bytes(address.octets);
    match address.family {
        Family::V4 => 0xffff_0000_0000 | number >> 96,
        Family::V6 => number,
    }
}

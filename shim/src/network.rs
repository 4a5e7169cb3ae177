//! What the process's network can reach, asked of the kernel at most once a second: libc asks at
//! each call, at the price of several system calls.

use crate::order;
use core::sync::atomic::{AtomicU64, Ordering};
use nss_k8s_stub::sys::{self, Libc, Route};
use nss_k8s_stub::{Address, Families, Family};

/// What AI_ADDRCONFIG leaves of the wanted families. `None` when libc must decide: the kernel
/// could not be asked, or nothing would be left, which each libc reports in its own way.
pub(crate) fn narrow(libc: Libc, wanted: Families) -> Option<Families> {
    static SEEN: Remembered = Remembered::new();
    let seen = match SEEN.recall() {
        Some(bits) => Families {
            v4: bits & 1 != 0,
            v6: bits & 2 != 0,
        },
        None => {
            let seen = match libc {
                // sysdeps/unix/sysv/linux/check_pf.c: addresses of interfaces.
                Libc::Glibc => sys::configured_families()?,
                // src/network/getaddrinfo.c: whether the loopback addresses can be connected to.
                Libc::Musl => Families {
                    v4: is_usable(&Address::v4([127, 0, 0, 1]))?,
                    v6: is_usable(&LOOPBACK_V6)?,
                },
            };
            SEEN.remember(u64::from(seen.v4) | u64::from(seen.v6) << 1);
            seen
        }
    };
    match (wanted, seen) {
        (_, Families { v4: true, v6: true }) => Some(wanted),
        (
            Families::BOTH,
            Families {
                v4: true,
                v6: false,
            },
        ) => Some(Families::V4),
        (
            Families::BOTH,
            Families {
                v4: false,
                v6: true,
            },
        ) => Some(Families::V6),
        (Families::V4, Families { v4: true, .. }) | (Families::V6, Families { v6: true, .. }) => {
            Some(wanted)
        }
        // glibc filters nothing when it sees nothing but loopback.
        (
            Families::BOTH,
            Families {
                v4: false,
                v6: false,
            },
        ) if libc == Libc::Glibc => Some(wanted),
        _ => None,
    }
}

/// Which family this process's libc would put first, given one destination of each. `None` when
/// libc must decide.
///
/// Remembered per kind of IPv6 destination: all destinations of a kind have the same place in
/// libc's tables, and in a pod they leave through the same interface.
pub(crate) fn first_family(libc: Libc, v4: &Address, v6: &Address) -> Option<Family> {
    static LOCAL: Remembered = Remembered::new();
    static GLOBAL: Remembered = Remembered::new();
    if !order::is_ordinary_v4(v4) {
        return None;
    }
    let remembered = match order::kind(v6)? {
        order::Kind::UniqueLocal => &LOCAL,
        order::Kind::Global => &GLOBAL,
    };
    match remembered.recall() {
        Some(0) => return Some(Family::V4),
        Some(_) => return Some(Family::V6),
        None => {}
    }
    let first = order::first(libc, v4, sys::route_to(v4), v6, sys::route_to(v6))?;
    remembered.remember(u64::from(first == Family::V6));
    Some(first)
}

/// `::1`.
const LOOPBACK_V6: Address = Address::v6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

fn is_usable(address: &Address) -> Option<bool> {
    match sys::route_to(address) {
        Route::Source(_) => Some(true),
        Route::Unreachable => Some(false),
        Route::Unknown => None,
    }
}

/// Two bits that hold for the second in which they were learnt. One word, so that no reader sees
/// half of it; it publishes nothing but itself, hence Relaxed.
struct Remembered(AtomicU64);

impl Remembered {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// What was learnt in this second.
    fn recall(&self) -> Option<u64> {
        let word = self.0.load(Ordering::Relaxed);
        (word & 4 != 0 && word >> 3 == sys::now().0).then_some(word & 3)
    }

    fn remember(&self, bits: u64) {
        self.0
            .store(sys::now().0 << 3 | 4 | bits & 3, Ordering::Relaxed);
    }
}

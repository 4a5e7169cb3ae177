//! AI_ADDRCONFIG: the families of the process's network.

use nss_k8s_stub::sys::Libc;
use nss_k8s_stub::{Families, order};

/// What AI_ADDRCONFIG leaves of the wanted families. `None` when libc must decide: the kernel
/// could not be asked, or nothing would be left, which each libc reports in its own way and without
/// asking anybody.
pub(crate) fn narrow(libc: Libc, wanted: Families) -> Option<Families> {
    let seen = order::configured(libc)?;
    let left = Families {
        v4: wanted.v4 && seen.v4,
        v6: wanted.v6 && seen.v6,
    };
    if left.v4 || left.v6 {
        return Some(left);
    }
    // glibc filters nothing when it sees nothing but loopback.
    (libc == Libc::Glibc && wanted == Families::BOTH).then_some(wanted)
}

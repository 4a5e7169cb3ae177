//! What the kernel says of this process's network, asked as libc asks it.

use super::call;
use nss_k8s_zone::{Address, Families};

/// Which families have an address other than 127.0.0.1 and ::1 on some interface: what glibc's
/// AI_ADDRCONFIG counts (sysdeps/unix/sysv/linux/check_pf.c). `None` when the kernel does not say.
pub fn configured_families() -> Option<Families> {
    None
}

/// Whether the kernel has a route to `address`: the test that both libcs make before they order
/// addresses, a connected UDP socket (no packet is sent). `None` when it cannot be asked.
pub fn is_reachable(address: &Address) -> Option<bool> {
    let _ = (address, call::socket(libc::AF_INET, libc::SOCK_DGRAM, 0));
    None
}

//! Everything the in-process crates ask of the world outside: raw system calls, and the few
//! functions that the process's own libc lends us.
//!
//! We are loaded into programs that we know nothing about: glibc of any age, musl, or no libc at
//! all. So nothing here is a strong import. What the host has is reached through weak symbols
//! (`host`), what the kernel has by our own system calls (`call`), and neither changes `errno`
//! nor is a cancellation point.

#[cfg(any(test, all(feature = "guest", panic = "abort")))]
mod bytes;
mod call;
mod debug;
mod file;
#[cfg(all(feature = "guest", panic = "abort"))]
mod guest;
mod heap;
mod host;
mod interfaces;
mod loaded;
mod memory;
mod next;
mod object;
mod reply;
mod resolver_state;
mod socket;
mod stream;

pub use debug::{debug, debug_pass, debug_reverse, debug_shadow};
pub use file::{FileVersion, RawOs, file_version, read_file};
pub(crate) use heap::HeapBytes;
pub use heap::HeapRoom;
pub use host::{
    allocate, allocate_zeroed, environment, errno, error_text, glibc_minor, monotonic, now,
    release, resolver_error, secure, set_errno, set_resolver_error, shuffle_seed,
};
pub use interfaces::{InterfaceAddress, interface_addresses, interface_types};
pub use memory::{map_anonymous, unmap_anonymous};
pub use next::{Libc, NextFunction, host_libc};
pub use reply::{Buffer, host_entry};
pub use resolver_state::ResolverState;
pub use socket::{Prober, Route, SocketAddress, domain};
pub(crate) use stream::{Failure, Ready, Stream, wait};

/// This process's number, as its own pid namespace counts; 0 where the kernel does not say.
pub fn process_number() -> u64 {
    call::process_number()
}

/// The host name as the kernel knows it (`uname`'s nodename, without its NUL), for hashing and for
/// the default search domain. At most 64 bytes; empty when the call fails.
pub fn node_name(room: &mut [u8; 65]) -> &[u8] {
    call::node_name(room);
    let end = room.iter().position(|byte| *byte == 0);
    end.and_then(|end| room.get(..end)).unwrap_or(&[])
}

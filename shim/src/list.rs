//! Lists of `addrinfo` that the host's own `freeaddrinfo` frees.
//!
//! | libc | memory | canonical name |
//! |---|---|---|
//! | glibc | one `malloc` per entry, socket address behind the entry | own `malloc`, first entry only |
//! | musl | one `calloc` for all, each with its index, the first with the count | behind the last entry, shared by all |

use crate::error::EAI_MEMORY;
use crate::request::Request;
use crate::service::{Service, Services};
use core::ffi::{c_char, c_int};
use core::mem::{offset_of, size_of};
use core::ptr::{NonNull, null_mut};
use libc::{addrinfo, sockaddr};
use nss_k8s_stub::sys::{self, Libc};
use nss_k8s_stub::{Address, Family, Name};

/// Builds the list: addresses of `first` before the others, each with every service.
///
/// # Errors
/// EAI_MEMORY; nothing stays allocated.
pub(crate) fn build(
    request: &Request,
    addresses: &[Address],
    first: Family,
    services: &Services,
    canonical: &Name,
) -> Result<NonNull<addrinfo>, c_int> {
    let of = move |wanted: bool| {
        addresses
            .iter()
            .filter(move |address| (address.family == first) == wanted)
    };
    let entries = of(true).chain(of(false)).flat_map(|address| {
        services
            .as_slice()
            .iter()
            .map(move |service| (address, service))
    });
    let name = if request.wants_canonical {
        canonical.as_bytes()
    } else {
        &[]
    };
    let list = match request.libc {
        Libc::Glibc => glibc(entries, request.echoed_flags, name),
        Libc::Musl => {
            let count = addresses.len().checked_mul(services.as_slice().len());
            count.and_then(|count| musl(entries, count, name))
        }
    };
    list.ok_or(EAI_MEMORY)
}

/// glibc's `freeaddrinfo` (nss/getaddrinfo.c) frees `ai_canonname` and the entry, for each entry.
fn glibc<'a>(
    entries: impl Iterator<Item = (&'a Address, &'a Service)>,
    flags: c_int,
    canonical: &[u8],
) -> Option<NonNull<addrinfo>> {
    /// One allocation.
    #[repr(C)]
    struct Entry {
        info: addrinfo,
        socket: [u8; 28],
    }
    let mut head: *mut addrinfo = null_mut();
    let mut tail: *mut addrinfo = null_mut();
    for (address, service) in entries {
        let (socket, length) = socket_address(address, service);
        let Some(entry) = sys::allocate(size_of::<Entry>()) else {
            // SAFETY: the list so far is ours alone.
            unsafe { release(head) };
            return None;
        };
        let entry = entry.cast::<Entry>().as_ptr();
        // SAFETY: a fresh block of the entry's size, aligned as malloc aligns; `tail` is null or
        // the entry before.
        unsafe {
            (&raw mut (*entry).socket).write(socket);
            let place = (&raw mut (*entry).socket).cast::<sockaddr>();
            (&raw mut (*entry).info).write(info(address, service, flags, place, length));
            match tail.as_mut() {
                None => head = entry.cast(),
                Some(before) => before.ai_next = entry.cast(),
            }
        }
        tail = entry.cast();
    }
    let head = NonNull::new(head)?;
    if !canonical.is_empty() {
        let Some(text) = canonical.len().checked_add(1).and_then(sys::allocate) else {
            // SAFETY: the list is ours alone.
            unsafe { release(head.as_ptr()) };
            return None;
        };
        // SAFETY: a fresh block of one byte more than the name; the entry is ours alone.
        unsafe {
            write_text(text.as_ptr(), canonical);
            (*head.as_ptr()).ai_canonname = text.as_ptr().cast();
        }
    }
    Some(head)
}

/// Frees a list of [`glibc`] that has no canonical name yet.
///
/// # Safety
/// The list is of that function's making, and nobody else has it.
unsafe fn release(mut next: *mut addrinfo) {
    while let Some(entry) = NonNull::new(next) {
        // SAFETY: the caller's contract; the successor is read before the entry goes.
        unsafe {
            next = entry.as_ref().ai_next;
            sys::release(entry.cast());
        }
    }
}

/// musl's `struct aibuf` (src/network/lookup.h). Its `freeaddrinfo` goes back by `slot` to the
/// first one, takes the freed entries from its `ref` and frees the block when none is left. Before
/// 1.1.21 it simply freed the first entry's address, which is the block's.
#[repr(C)]
struct MuslEntry {
    info: addrinfo,
    socket: [u8; 28],
    lock: c_int,
    slot: i16,
    references: i16,
}

const _: () = assert!(size_of::<MuslEntry>() == 88 && offset_of!(MuslEntry, slot) == 80);

/// One block: `count` entries, then the name that all of them share.
fn musl<'a>(
    entries: impl Iterator<Item = (&'a Address, &'a Service)>,
    count: usize,
    canonical: &[u8],
) -> Option<NonNull<addrinfo>> {
    let references = i16::try_from(count).ok().filter(|count| *count > 0)?;
    let name_offset = count.checked_mul(size_of::<MuslEntry>())?;
    let size = name_offset.checked_add(canonical.len())?.checked_add(1)?;
    let block = sys::allocate_zeroed(1, size)?;
    let first = block.cast::<MuslEntry>().as_ptr();
    let mut name: *mut c_char = null_mut();
    if !canonical.is_empty() {
        // SAFETY: the block has the name's length and one more behind the entries.
        unsafe {
            let text = block.as_ptr().add(name_offset);
            write_text(text, canonical);
            name = text.cast();
        }
    }
    for (index, (address, service)) in entries.take(count).enumerate() {
        let (socket, length) = socket_address(address, service);
        // SAFETY: `index` is below `count`, and so many entries fit; the block is ours alone.
        unsafe {
            let entry = first.add(index);
            (&raw mut (*entry).socket).write(socket);
            let place = (&raw mut (*entry).socket).cast::<sockaddr>();
            (*entry).info = info(address, service, 0, place, length);
            (*entry).info.ai_canonname = name;
            (*entry).slot = i16::try_from(index).unwrap_or(0);
            if index > 0 {
                (*entry.sub(1)).info.ai_next = entry.cast();
            }
        }
    }
    // SAFETY: there is at least one entry.
    unsafe { (*first).references = references };
    Some(block.cast())
}

/// An entry without canonical name and successor.
fn info(
    address: &Address,
    service: &Service,
    flags: c_int,
    socket: *mut sockaddr,
    length: libc::socklen_t,
) -> addrinfo {
    addrinfo {
        ai_flags: flags,
        ai_family: family(address),
        ai_socktype: service.socket_type,
        ai_protocol: service.protocol,
        ai_addrlen: length,
        ai_addr: socket,
        ai_canonname: null_mut(),
        ai_next: null_mut(),
    }
}

/// A `sockaddr_in` (16 octets, the last eight zero) or `sockaddr_in6` (28; no flow, no scope).
fn socket_address(address: &Address, service: &Service) -> ([u8; 28], libc::socklen_t) {
    let mut socket = [0_u8; 28];
    let family = u16::try_from(family(address)).unwrap_or(0).to_ne_bytes();
    let (flow, length): (&[u8], _) = match address.family {
        Family::V4 => (&[], 16),
        Family::V6 => (&[0; 4], 28),
    };
    let fields = [&family[..], &service.port, flow, address.as_octets()];
    for (place, byte) in socket.iter_mut().zip(fields.into_iter().flatten()) {
        *place = *byte;
    }
    (socket, length)
}

fn family(address: &Address) -> c_int {
    match address.family {
        Family::V4 => libc::AF_INET,
        Family::V6 => libc::AF_INET6,
    }
}

/// Writes bytes and a NUL.
///
/// # Safety
/// One byte more than `text` has is writable at `place`.
unsafe fn write_text(place: *mut u8, text: &[u8]) {
    // SAFETY: the caller's contract; a fresh block does not overlap a slice.
    unsafe {
        place.copy_from_nonoverlapping(text.as_ptr(), text.len());
        place.add(text.len()).write(0);
    }
}

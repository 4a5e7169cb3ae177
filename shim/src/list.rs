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
use nss_k8s_stub::sys::{self, Libc, SocketAddress};
use nss_k8s_stub::{Address, Name};

/// Builds the list: each address with every service.
///
/// # Errors
/// EAI_MEMORY; nothing stays allocated.
pub(crate) fn build(
    request: &Request,
    addresses: &[Address],
    services: &Services,
    canonical: &Name,
) -> Result<NonNull<addrinfo>, c_int> {
    let count = addresses
        .len()
        .checked_mul(services.as_slice().len())
        .ok_or(EAI_MEMORY)?;
    let name = if request.wants_canonical {
        canonical.as_bytes()
    } else {
        &[]
    };
    let mut list = List::new(request.libc, count, name).ok_or(EAI_MEMORY)?;
    for address in addresses {
        for service in services.as_slice() {
            if !list.push(address, service, request.echoed_flags) {
                list.release();
                return Err(EAI_MEMORY);
            }
        }
    }
    list.finish(name).ok_or(EAI_MEMORY)
}

/// What both libcs begin an entry with. glibc's is this alone, one allocation each, and its
/// `freeaddrinfo` (nss/getaddrinfo.c) frees `ai_canonname` and the entry, for each.
#[repr(C)]
struct Entry {
    info: addrinfo,
    socket: SocketAddress,
}

/// musl's `struct aibuf` (src/network/lookup.h). Its `freeaddrinfo` goes back by `slot` to the
/// first one, takes the freed entries from its `references` and frees the block when none is left.
/// Before 1.1.21 it simply freed the first entry's address, which is the block's. It begins as
/// [`Entry`] does.
#[repr(C)]
struct MuslEntry {
    info: addrinfo,
    socket: SocketAddress,
    lock: c_int,
    slot: i16,
    references: i16,
}

const _: () = assert!(size_of::<MuslEntry>() == 88 && offset_of!(MuslEntry, slot) == 80);
const _: () = assert!(offset_of!(MuslEntry, socket) == offset_of!(Entry, socket));

/// A list in the making, ours alone.
struct List {
    libc: Libc,
    /// musl's one block.
    block: *mut MuslEntry,
    count: usize,
    filled: usize,
    head: *mut addrinfo,
    tail: *mut addrinfo,
    /// musl's: of every entry.
    name: *mut c_char,
}

impl List {
    /// Room for `count` entries where the libc wants one block; the name is in it.
    fn new(libc: Libc, count: usize, canonical: &[u8]) -> Option<Self> {
        let (head, tail) = (null_mut(), null_mut());
        let mut list = Self {
            libc,
            block: null_mut(),
            count,
            filled: 0,
            head,
            tail,
            name: null_mut(),
        };
        if libc == Libc::Musl {
            let references = i16::try_from(count).ok().filter(|count| *count > 0)?;
            let entries = count.checked_mul(size_of::<MuslEntry>())?;
            let size = entries.checked_add(canonical.len())?.checked_add(1)?;
            let block = sys::allocate_zeroed(1, size)?;
            list.block = block.as_ptr().cast();
            // SAFETY: there is at least one entry, and behind all of them room for the name.
            unsafe {
                (*list.block).references = references;
                if !canonical.is_empty() {
                    list.name = write_text(block.as_ptr().add(entries), canonical);
                }
            }
        }
        Some(list)
    }

    /// Appends one entry; false when there is no memory for it.
    #[must_use]
    fn push(&mut self, address: &Address, service: &Service, flags: c_int) -> bool {
        let Some(entry) = self.place() else {
            return false;
        };
        let entry = entry.as_ptr();
        let socket = SocketAddress::new(address, service.port);
        // SAFETY: a place of our own for an entry, aligned as the host allocates; `tail` is null or
        // the entry before.
        unsafe {
            (&raw mut (*entry).socket).write(socket);
            (&raw mut (*entry).info).write(addrinfo {
                ai_flags: flags,
                ai_family: sys::domain(address.family),
                ai_socktype: service.socket_type,
                ai_protocol: service.protocol,
                ai_addrlen: socket.length(),
                ai_addr: (&raw mut (*entry).socket).cast::<sockaddr>(),
                ai_canonname: self.name,
                ai_next: null_mut(),
            });
            match self.tail.as_mut() {
                None => self.head = entry.cast(),
                Some(before) => before.ai_next = entry.cast(),
            }
        }
        self.tail = entry.cast();
        true
    }

    /// Where the next entry goes.
    fn place(&mut self) -> Option<NonNull<Entry>> {
        if self.libc == Libc::Glibc {
            return Some(sys::allocate(size_of::<Entry>())?.cast());
        }
        let index = self.filled;
        if index >= self.count {
            return None;
        }
        self.filled = index.saturating_add(1);
        let slot = i16::try_from(index).ok()?;
        // SAFETY: the block has more than `index` entries.
        unsafe {
            let entry = self.block.add(index);
            (*entry).slot = slot;
            NonNull::new(entry.cast())
        }
    }

    /// The finished list; `None` when it is empty or when there is no memory for the name.
    fn finish(self, canonical: &[u8]) -> Option<NonNull<addrinfo>> {
        let head = NonNull::new(self.head)?;
        if self.libc == Libc::Glibc && !canonical.is_empty() {
            let Some(text) = canonical.len().checked_add(1).and_then(sys::allocate) else {
                self.release();
                return None;
            };
            // SAFETY: a fresh block of one byte more than the name; the entry is ours alone.
            unsafe { (*head.as_ptr()).ai_canonname = write_text(text.as_ptr(), canonical) };
        }
        Some(head)
    }

    /// Frees what was allocated.
    fn release(self) {
        if let Some(block) = NonNull::new(self.block) {
            // SAFETY: of `allocate_zeroed`, freed once; the entries are in it.
            return unsafe { sys::release(block.cast()) };
        }
        let mut next = self.head;
        while let Some(entry) = NonNull::new(next) {
            // SAFETY: each entry is of `allocate`, freed once, after its successor was read.
            unsafe {
                next = entry.as_ref().ai_next;
                sys::release(entry.cast());
            }
        }
    }
}

/// Writes bytes and a NUL; where they begin, as C has it.
///
/// # Safety
/// One byte more than `text` has is writable at `place`.
unsafe fn write_text(place: *mut u8, text: &[u8]) -> *mut c_char {
    // SAFETY: the caller's contract; a fresh block does not overlap a slice.
    unsafe {
        place.copy_from_nonoverlapping(text.as_ptr(), text.len());
        place.add(text.len()).write(0);
    }
    place.cast()
}

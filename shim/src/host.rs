//! The `gethostbyname` and `gethostbyaddr` families from the stub's answer.

use crate::error::{self, Negative, absent_data, absent_name, failed};
use crate::keeping_errno;
use core::cell::{Cell, UnsafeCell};
use core::ffi::{c_char, c_int, c_void};
use core::ptr::null_mut;
use libc::{hostent, socklen_t};
use nss_k8s_stub::sys::{self, Buffer, Libc, host_entry};
use nss_k8s_stub::{
    Address, Door, Families, Family, HostsFile, Name, Outcome, Query, Reason, order, resolve,
    reverse,
};

/// Where an `_r` function puts its answer: the program's own pointers.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) entry: *mut hostent,
    pub(crate) buffer: *mut c_char,
    pub(crate) length: usize,
    pub(crate) result: *mut *mut hostent,
    pub(crate) resolver_error: *mut c_int,
}

/// Answers an `_r` function: its return value, or `None` when the real function must.
///
/// # Safety
/// `target` is as the C function's arguments.
pub(crate) unsafe fn answer(
    call: &str,
    name: Option<&[u8]>,
    family: c_int,
    target: &Target,
) -> Option<c_int> {
    // SAFETY: the caller's contract.
    let buffer = unsafe { Buffer::new(target.buffer, target.length) };
    let (libc, verdict) = look_up(call, name?, family, buffer)?;
    // SAFETY: the caller's contract.
    Some(unsafe { deliver(libc, verdict, target) })
}

/// Answers `gethostbyaddr_r`: its return value, or `None` when the real function must.
///
/// # Safety
/// `question` and `target` are as the C function's arguments.
pub(crate) unsafe fn answer_address(
    call: &str,
    question: &Question,
    target: &Target,
) -> Option<c_int> {
    // SAFETY: the caller's contract.
    unsafe {
        let buffer = Buffer::new(target.buffer, target.length);
        let (libc, entry) = look_back(call, question, buffer)?;
        Some(deliver(libc, Verdict::Found(entry), target))
    }
}

/// Writes what an `_r` function reports; its return value.
///
/// # Safety
/// The pointers of `target` are writable.
unsafe fn deliver(libc: Libc, verdict: Verdict, target: &Target) -> c_int {
    // SAFETY: the caller's contract, for each pointer below.
    unsafe {
        match verdict {
            Verdict::Found(entry) => {
                target.entry.write(entry);
                *target.result = target.entry;
                if libc == Libc::Glibc {
                    *target.resolver_error = error::NETDB_SUCCESS;
                }
                0
            }
            Verdict::Absent(negative) => {
                *target.result = null_mut();
                *target.resolver_error = negative.resolver;
                if libc == Libc::Glibc {
                    // RES_SET_H_ERRNO of glibc's resolver; Perl looks there.
                    sys::set_resolver_error(negative.resolver);
                    if negative.returned != 0 {
                        sys::set_errno(negative.returned);
                    }
                }
                negative.returned
            }
            Verdict::TooSmall => {
                *target.result = null_mut();
                if libc == Libc::Glibc {
                    *target.resolver_error = error::NETDB_INTERNAL;
                    sys::set_errno(libc::ERANGE);
                }
                libc::ERANGE
            }
        }
    }
}

/// Octets of one function's static memory. Larger answers are libc's, which grows its buffer.
const ROOM: usize = 8192;

/// What a C function that returns static memory keeps there. One for each such function: programs
/// ask one for IPv4, the other for IPv6, and then read both.
pub(crate) struct Static {
    entry: UnsafeCell<hostent>,
    room: UnsafeCell<[u64; ROOM / 8]>,
}

// SAFETY: the functions that use it are documented as not thread-safe; the program sees to it.
unsafe impl Sync for Static {}

impl Static {
    /// No answer yet.
    pub(crate) const fn new() -> Self {
        Self {
            entry: UnsafeCell::new(hostent {
                h_name: null_mut(),
                h_aliases: null_mut(),
                h_addrtype: 0,
                h_length: 0,
                h_addr_list: null_mut(),
            }),
            room: UnsafeCell::new([0; ROOM / 8]),
        }
    }

    /// Whether `name` is a part of the last answer.
    fn holds(&self, name: &[u8]) -> bool {
        let start = self.room.get().addr();
        name.as_ptr()
            .addr()
            .checked_sub(start)
            .is_some_and(|offset| offset < ROOM)
    }
}

/// Answers a function that returns static memory; `None` when the real function must.
///
/// # Safety
/// No other thread is in the function that `place` belongs to: as POSIX says of them.
pub(crate) unsafe fn answer_static(
    call: &str,
    name: Option<&[u8]>,
    family: c_int,
    place: &Static,
) -> Option<*mut hostent> {
    let name = name?;
    if place.holds(name) {
        // As in `gethostbyname(host->h_name)`: the answer would overwrite the question.
        sys::debug_pass(call, name, "overlap");
        return None;
    }
    // SAFETY: the caller's contract.
    let buffer = unsafe { Buffer::new(place.room.get().cast(), ROOM) };
    match look_up(call, name, family, buffer)? {
        (_, Verdict::Found(entry)) => {
            // SAFETY: the caller's contract.
            unsafe { place.entry.get().write(entry) };
            Some(place.entry.get())
        }
        (_, Verdict::Absent(negative)) => {
            sys::set_resolver_error(negative.resolver);
            Some(null_mut())
        }
        (_, Verdict::TooSmall) => None,
    }
}

/// Answers `gethostbyaddr`; `None` when the real function must.
///
/// # Safety
/// `question` is as the C function's arguments, and no other thread is in such a function.
pub(crate) unsafe fn answer_address_static(
    call: &str,
    question: &Question,
    place: &Static,
) -> Option<*mut hostent> {
    // SAFETY: the caller's contract. The address was read before the buffer is written.
    unsafe {
        let buffer = Buffer::new(place.room.get().cast(), ROOM);
        let (_, entry) = look_back(call, question, buffer)?;
        place.entry.get().write(entry);
    }
    Some(place.entry.get())
}

/// The address that a program asks about: its own pointer.
#[derive(Clone, Copy)]
pub(crate) struct Question {
    pub(crate) address: *const c_void,
    pub(crate) length: socklen_t,
    pub(crate) family: c_int,
}

/// What we know ourselves.
enum Verdict {
    Found(hostent),
    Absent(Negative),
    TooSmall,
}

/// `None` when the real function must answer.
fn look_up(call: &str, name: &[u8], family: c_int, buffer: Buffer) -> Option<(Libc, Verdict)> {
    let Some(libc) = sys::host_libc() else {
        sys::debug_pass(call, name, "libc");
        return None;
    };
    let (family, families) = match family {
        libc::AF_INET => (Family::V4, Families::V4),
        libc::AF_INET6 => (Family::V6, Families::V6),
        _ => {
            sys::debug_pass(call, name, "family");
            return None;
        }
    };
    let query = Query {
        name,
        families,
        door: Door::Shim,
    };
    let mut canonical = Name::new();
    let mut near = [Address::UNSPECIFIED; 48];
    let outcome = resolve(&query, &mut near, &mut canonical);
    let verdict = match outcome {
        Outcome::Room(count) => keeping_errno(|| {
            let asked = Asked { libc, family };
            look_up_far(call, &query, asked, count, &mut canonical, buffer)
        }),
        outcome => {
            let asked = Asked { libc, family };
            conclude(call, name, asked, outcome, &mut near, &canonical, buffer)
        }
    };
    Some((libc, verdict?))
}

/// Answers a call with more addresses than fit on the stack. They are not gathered in the caller's
/// buffer: one that is large enough for libc must be large enough here.
#[cold]
#[inline(never)]
fn look_up_far(
    call: &str,
    query: &Query<'_>,
    asked: Asked,
    mut count: usize,
    canonical: &mut Name,
    buffer: Buffer,
) -> Option<Verdict> {
    // The zone may change meanwhile.
    for _ in 0..4 {
        let Some(mut far) = sys::HeapRoom::new(count) else {
            break;
        };
        let room = far.as_mut_slice();
        match resolve(query, room, canonical) {
            Outcome::Room(more) => count = more.max(count),
            outcome => return conclude(call, query.name, asked, outcome, room, canonical, buffer),
        }
    }
    sys::debug_pass(call, query.name, "room");
    None
}

/// Whose layout and which family an answer has.
#[derive(Clone, Copy)]
struct Asked {
    libc: Libc,
    family: Family,
}

/// Turns an outcome into what the program gets; `None` when the real function must answer.
fn conclude(
    call: &str,
    name: &[u8],
    Asked { libc, family }: Asked,
    outcome: Outcome,
    room: &mut [Address],
    canonical: &Name,
    buffer: Buffer,
) -> Option<Verdict> {
    // musl sorts for these calls too, glibc never.
    let found = outcome.answered().and_then(|count| room.get_mut(..count));
    if let (Libc::Musl, Some(found)) = (libc, found)
        && !order::sort(libc, found)
    {
        sys::debug_pass(call, name, "address-order");
        return None;
    }
    if outcome == Outcome::Pass(Reason::Shadow) {
        // What comes of it is said when libc has answered.
        return None;
    }
    sys::debug(call, name, outcome);
    let found = outcome.answered().and_then(|count| room.get(..count));
    let entry = match outcome.plain() {
        Outcome::Answer { .. } => {
            let found = found.filter(|found| !found.is_empty())?;
            entry(libc, buffer, name, canonical, family, found)
        }
        Outcome::Hosts { file, .. } => match libc {
            Libc::Glibc => listed_entry(&file, buffer, name, canonical, family, found?),
            Libc::Musl => entry(libc, buffer, name, canonical, family, found?),
        },
        Outcome::NoData => return Some(Verdict::Absent(absent_data(libc))),
        Outcome::NxDomain => return Some(Verdict::Absent(absent_name(libc))),
        Outcome::Again => return Some(Verdict::Absent(failed())),
        Outcome::Room(_) | Outcome::Chase | Outcome::Pass(_) | Outcome::Asked(..) => return None,
    };
    Some(entry.map_or(Verdict::TooSmall, Verdict::Found))
}

/// A `hostent` as this libc fills it: musl's first alias is the canonical name itself, the second
/// the name asked for where it differs (src/network/gethostbyname2_r.c); glibc's nss_dns has none.
fn entry(
    libc: Libc,
    buffer: Buffer,
    name: &[u8],
    canonical: &Name,
    family: Family,
    found: &[Address],
) -> Option<hostent> {
    let canonical = canonical.as_bytes();
    let both = [canonical, name];
    let aliases: &[&[u8]] = match libc {
        Libc::Glibc => &[],
        Libc::Musl if name == canonical => both.get(..1)?,
        Libc::Musl => &both,
    };
    let alias = |index: usize| aliases.get(index).copied();
    host_entry(buffer, canonical, aliases.len(), &alias, family, found)
}

/// A `hostent` as glibc fills it from the hosts file: the aliases are the other names of the lines.
#[inline(never)]
fn listed_entry(
    file: &HostsFile,
    buffer: Buffer,
    name: &[u8],
    canonical: &Name,
    family: Family,
    found: &[Address],
) -> Option<hostent> {
    let aliases = file.aliases(name, family)?;
    let next = Cell::new(aliases);
    // They are asked for in order, each once.
    let alias = |_| {
        let mut rest = next.get();
        let alias = rest.next();
        next.set(rest);
        alias
    };
    let count = aliases.count();
    host_entry(buffer, canonical.as_bytes(), count, &alias, family, found)
}

/// The names of an address. Only an answer is ours: `None`, when the real function must answer, is
/// also what no names and too small a buffer come to, since each libc reports those in its own way.
///
/// # Safety
/// `question` is as the C functions' arguments.
unsafe fn look_back(call: &str, question: &Question, buffer: Buffer) -> Option<(Libc, hostent)> {
    // SAFETY: the caller's contract.
    let address = match unsafe { question.address() } {
        Ok(address) => address,
        Err(refusal) => {
            sys::debug_pass(call, b"", refusal);
            return None;
        }
    };
    match names(&address, buffer) {
        Ok((libc, entry, outcome)) => {
            sys::debug_reverse(call, &address, outcome);
            Some((libc, entry))
        }
        Err(reason) => {
            sys::debug_reverse(call, &address, Outcome::Pass(reason));
            None
        }
    }
}

impl Question {
    /// The address, or why it is none that we look for.
    ///
    /// # Safety
    /// `self.address` is null or has `self.length` readable bytes.
    unsafe fn address(&self) -> Result<Address, &'static str> {
        if self.address.is_null() {
            return Err("family");
        }
        match (self.family, self.length) {
            // SAFETY: the caller's contract: four bytes.
            (libc::AF_INET, 4) => Ok(Address::v4(unsafe {
                self.address.cast::<[u8; 4]>().read_unaligned()
            })),
            (libc::AF_INET6, 16) => {
                // SAFETY: the caller's contract: sixteen bytes.
                let octets = unsafe { self.address.cast::<[u8; 16]>().read_unaligned() };
                // glibc answers with the IPv4 address, musl asks for the IPv6 one.
                if u128::from_be_bytes(octets) >> 32 == 0xffff {
                    Err("v4-mapped")
                } else {
                    Ok(Address::v6(octets))
                }
            }
            _ => Err("family"),
        }
    }
}

/// The names of `address` as this process's libc lays them out, and who gave them: in glibc
/// the first is `h_name` and the others are aliases; musl has one, which is its own only alias
/// (src/network/gethostbyaddr_r.c).
fn names(address: &Address, mut buffer: Buffer) -> Result<(Libc, hostent, Outcome), Reason> {
    /// So many are gathered on the stack (254 bytes each).
    const NEAR: usize = 4;
    let libc = sys::host_libc().ok_or(Reason::Libc)?;
    let mut near = [const { Name::new() }; NEAR];
    let mut names: &mut [Name] = &mut near;
    let mut outcome = reverse(address, Door::Shim, names);
    if let Outcome::Room(count) = outcome {
        names = buffer.take_tail(count, Name::EMPTY).ok_or(Reason::Buffer)?;
        outcome = reverse(address, Door::Shim, names);
    }
    let count = match outcome {
        Outcome::Answer { count } => count,
        Outcome::Hosts { count, .. } => usize::from(count),
        Outcome::Room(_) => return Err(Reason::Buffer),
        Outcome::Pass(reason) => return Err(reason),
        _ => return Err(Reason::NoName),
    };
    let found = names.get(..count).unwrap_or(&[]);
    let (first, others) = found.split_first().ok_or(Reason::NoName)?;
    let aliases = match libc {
        Libc::Glibc => others,
        Libc::Musl => core::slice::from_ref(first),
    };
    let entry = host_entry(
        buffer,
        first.as_bytes(),
        aliases.len(),
        &|index| Some(aliases.get(index)?.as_bytes()),
        address.family,
        core::slice::from_ref(address),
    );
    Ok((libc, entry.ok_or(Reason::Buffer)?, outcome))
}

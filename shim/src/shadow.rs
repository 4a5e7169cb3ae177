//! A view in shadow: libc's own function answers the program, and what we would have said is compared
//! with that afterwards and counted. The program gets libc's answer untouched, and no memory is held
//! while libc works: what we would have said is found out when it has returned.

use crate::addresses::look_up;
use crate::error::{
    EAI_NODATA, EAI_NONAME, HOST_NOT_FOUND, NO_DATA, Negative, absent_data, absent_name,
};
use crate::host::Target;
use crate::request::{Request, is_plain};
use crate::{keeping_errno, real, text};
use core::ffi::{c_char, c_int};
use core::ptr::null;
use libc::{addrinfo, hostent, sockaddr_in, sockaddr_in6};
use nss_k8s_stub::shadow::{SETTLES_AFTER, Verdict, count, settled_for};
use nss_k8s_stub::sys::{self, Libc};
use nss_k8s_stub::{Address, Door, Families, Name, Outcome};

pub(crate) use nss_k8s_stub::shadow::is_on;

/// Has libc answer `getaddrinfo`, and compares.
///
/// # Safety
/// As the C function.
#[cold]
#[inline(never)]
pub(crate) unsafe fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    result: *mut *mut addrinfo,
) -> c_int {
    // SAFETY: the caller's contract; the list is libc's, and nobody frees it before we return.
    unsafe {
        let asked = Asked::new("getaddrinfo", node);
        let request = Request::new(hints.as_ref());
        let code = real::getaddrinfo(node, service, hints, result);
        asked.compare(
            request.ok(),
            match code {
                0 => Theirs::List(*result),
                EAI_NONAME | EAI_NODATA => Theirs::Absent(code),
                _ => Theirs::Failed,
            },
        );
        code
    }
}

/// Has libc answer a function that returns static memory, and compares. Without a family it is
/// `gethostbyname`.
///
/// # Safety
/// As the C functions.
#[cold]
#[inline(never)]
pub(crate) unsafe fn gethostbyname(name: *const c_char, family: Option<c_int>) -> *mut hostent {
    // SAFETY: the caller's contract.
    unsafe {
        // Before libc answers: the name may lie in the memory that the answer is written to.
        let (asked, entry);
        if let Some(family) = family {
            asked = Asked::new("gethostbyname2", name);
            entry = real::gethostbyname2(name, family);
        } else {
            asked = Asked::new("gethostbyname", name);
            entry = real::gethostbyname(name);
        }
        asked.compare(one_family(family), theirs(entry, sys::resolver_error()));
        entry
    }
}

/// Has libc answer an `_r` function, and compares. Without a family it is `gethostbyname_r`.
///
/// # Safety
/// As the C functions.
#[cold]
#[inline(never)]
pub(crate) unsafe fn gethostbyname_r(
    name: *const c_char,
    family: Option<c_int>,
    target: &Target,
) -> c_int {
    let Target {
        entry,
        buffer,
        length,
        result,
        resolver_error,
    } = *target;
    // SAFETY: the caller's contract.
    unsafe {
        let (asked, code);
        if let Some(family) = family {
            asked = Asked::new("gethostbyname2_r", name);
            code =
                real::gethostbyname2_r(name, family, entry, buffer, length, result, resolver_error);
        } else {
            asked = Asked::new("gethostbyname_r", name);
            code = real::gethostbyname_r(name, entry, buffer, length, result, resolver_error);
        }
        // With a buffer too small the program calls again.
        if code != libc::ERANGE {
            let found = *result;
            // Libc writes a number only where there is no entry; programs may have no place for it.
            let error = match resolver_error.as_ref() {
                Some(error) if found.is_null() => *error,
                _ => 0,
            };
            asked.compare(one_family(family), theirs(found, error));
        }
        code
    }
}

/// What libc said.
#[derive(Clone, Copy)]
enum Theirs {
    /// An `addrinfo` list.
    List(*const addrinfo),
    /// An entry.
    Entry(*const hostent),
    /// That there is nothing, with its number.
    Absent(c_int),
    /// That nobody answered, or that the call is none.
    Failed,
}

/// What an entry or its absence says.
fn theirs(entry: *const hostent, error: c_int) -> Theirs {
    match error {
        _ if !entry.is_null() => Theirs::Entry(entry),
        HOST_NOT_FOUND | NO_DATA => Theirs::Absent(error),
        _ => Theirs::Failed,
    }
}

/// What the `gethostbyname` family asks for, as a request.
fn one_family(family: Option<c_int>) -> Option<Request> {
    Request::of_family(match family.unwrap_or(libc::AF_INET) {
        libc::AF_INET => Families::V4,
        libc::AF_INET6 => Families::V6,
        _ => return None,
    })
}

/// What was asked, kept over libc's answer.
struct Asked {
    call: &'static str,
    /// `None`: null, or longer than any name.
    name: Option<Name>,
    /// When, in monotonic milliseconds.
    since: u64,
}

impl Asked {
    /// Copies the name.
    ///
    /// # Safety
    /// `name` is null or NUL-terminated.
    unsafe fn new(call: &'static str, name: *const c_char) -> Self {
        let mut copy = Name::new();
        // SAFETY: the caller's contract.
        let whole = unsafe { text(name) }.is_some_and(|name| copy.push(name));
        Self {
            call,
            name: whole.then_some(copy),
            since: sys::monotonic(),
        }
    }

    /// Compares libc's answer with ours, and counts.
    ///
    /// # Safety
    /// `theirs` is what libc returned, and as it was.
    #[inline(never)]
    unsafe fn compare(&self, request: Option<Request>, theirs: Theirs) {
        /// The shortest that resolv.conf's `timeout` can be, in milliseconds. After one, glibc goes on
        /// along its search list, or without one of the families: what it then says proves nothing.
        const TIMEOUT: u64 = 1000;
        /// So many addresses are gathered on the stack.
        const NEAR: usize = 48;
        let Some(name) = &self.name else { return };
        let name = name.as_bytes();
        let took = sys::monotonic().wrapping_sub(self.since);
        keeping_errno(|| {
            let Some(age) = settled_for() else { return };
            let request = request.map(|request| Request {
                door: Door::Shadow,
                ..request
            });
            let verdict = match request {
                Some(request) if !request.translates || is_plain(name) => {
                    let mut near = [Address::UNSPECIFIED; NEAR];
                    let mut canonical = Name::new();
                    let mut far;
                    let mut room = near.as_mut_slice();
                    let mut outcome = look_up(&request, name, room, &mut canonical);
                    if let Outcome::Room(count) = outcome
                        && let Some(more) = sys::HeapRoom::new(count)
                    {
                        far = more;
                        room = far.as_mut_slice();
                        outcome = look_up(&request, name, room, &mut canonical);
                    }
                    // SAFETY: the caller's contract.
                    unsafe { judge(&request, outcome, room, theirs) }
                }
                _ => Verdict::Passed,
            };
            let verdict = match verdict {
                Verdict::Addresses | Verdict::Status if took >= TIMEOUT => Verdict::Failed,
                Verdict::Addresses | Verdict::Status if age <= SETTLES_AFTER => Verdict::Lately,
                verdict => verdict,
            };
            count(self.call, name, verdict);
        });
    }
}

/// Whether two answers are the same.
///
/// # Safety
/// As [`Asked::compare`].
unsafe fn judge(
    request: &Request,
    outcome: Outcome,
    room: &mut [Address],
    theirs: Theirs,
) -> Verdict {
    let no = match outcome {
        Outcome::Answer { .. } | Outcome::Hosts { .. } => None,
        Outcome::NoData => Some(absent_data(request.libc)),
        Outcome::NxDomain => Some(absent_name(request.libc)),
        _ => return Verdict::Passed,
    };
    let ours = outcome.answered().and_then(|count| room.get_mut(..count));
    let mut tally = Tally {
        ours: ours.unwrap_or(&mut []),
        matched: 0,
        strange: false,
    };
    match (no, theirs) {
        (_, Theirs::Failed) => return Verdict::Failed,
        (
            Some(Negative {
                address_info,
                resolver,
                ..
            }),
            Theirs::Absent(code),
        ) => {
            // The numbers of the two families of functions do not meet.
            return if code == address_info || code == resolver {
                Verdict::Same
            } else {
                Verdict::Status
            };
        }
        (Some(_), _) | (None, Theirs::Absent(_)) => return Verdict::Status,
        // SAFETY: the caller's contract.
        (None, Theirs::List(list)) => unsafe { tally.take_list(list) },
        // SAFETY: the caller's contract.
        (None, Theirs::Entry(entry)) => unsafe { tally.take_entry(entry) },
    }
    if tally.is_even(request.libc) {
        Verdict::Same
    } else {
        Verdict::Addresses
    }
}

/// Our addresses, those that libc named, too, in front.
struct Tally<'t> {
    ours: &'t mut [Address],
    matched: usize,
    /// Libc named one that is not among ours.
    strange: bool,
}

impl Tally<'_> {
    /// Takes each address of a list; that entries differ in their kind of socket alone is nothing.
    ///
    /// # Safety
    /// `list` is null or one of libc's.
    unsafe fn take_list(&mut self, list: *const addrinfo) {
        let mut next = list;
        // SAFETY: the caller's contract, for each entry and its socket address.
        while let Some(entry) = unsafe { next.as_ref() } {
            let octets = match entry.ai_family {
                libc::AF_INET => {
                    // SAFETY: as above: a socket address of that family.
                    unsafe { &raw const (*entry.ai_addr.cast::<sockaddr_in>()).sin_addr }.cast()
                }
                libc::AF_INET6 => {
                    // SAFETY: as above.
                    unsafe { &raw const (*entry.ai_addr.cast::<sockaddr_in6>()).sin6_addr }.cast()
                }
                _ => null(),
            };
            // SAFETY: as above.
            unsafe { self.take(entry.ai_family, octets) };
            next = entry.ai_next;
        }
    }

    /// Takes each address of an entry.
    ///
    /// # Safety
    /// `entry` is one of libc's.
    unsafe fn take_entry(&mut self, entry: *const hostent) {
        // SAFETY: the caller's contract: pointers up to a null one.
        unsafe {
            let mut next = (*entry).h_addr_list;
            while !(*next).is_null() {
                self.take((*entry).h_addrtype, (*next).cast());
                next = next.add(1);
            }
        }
    }

    /// Looks for one of libc's addresses among ours.
    ///
    /// # Safety
    /// `octets` is null or has as many as the family's addresses, of any alignment.
    unsafe fn take(&mut self, family: c_int, octets: *const u8) {
        let address = match family {
            _ if octets.is_null() => Address::UNSPECIFIED,
            // SAFETY: the caller's contract.
            libc::AF_INET => Address::v4(unsafe { octets.cast::<[u8; 4]>().read_unaligned() }),
            // SAFETY: the caller's contract.
            _ => Address::v6(unsafe { octets.cast::<[u8; 16]>().read_unaligned() }),
        };
        match self.ours.iter().position(|one| *one == address) {
            None => self.strange = true,
            Some(place) if place >= self.matched => {
                if let Some(moved) = self.ours.get(self.matched).copied()
                    && let Some(slot) = self.ours.get_mut(place)
                {
                    *slot = moved;
                }
                if let Some(slot) = self.ours.get_mut(self.matched) {
                    *slot = address;
                }
                self.matched = self.matched.wrapping_add(1);
            }
            Some(_) => {}
        }
    }

    /// Whether libc named ours and nothing else. One of ours that is there twice is one; and of more
    /// than 48 musl takes as many.
    fn is_even(&self, libc: Libc) -> bool {
        const MUSL_ADDRESSES: usize = 48;
        let Some((named, others)) = self.ours.split_at_checked(self.matched) else {
            return false;
        };
        !self.strange
            && (others.iter().all(|one| named.contains(one))
                || libc == Libc::Musl && self.matched == MUSL_ADDRESSES)
    }
}

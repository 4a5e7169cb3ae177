//! `getaddrinfo` from the stub's answer.

use crate::error::{EAI_MEMORY, Negative, absent_data, absent_name};
use crate::request::{Refusal, Request, is_plain};
use crate::service::Services;
use crate::{keeping_errno, list, network};
use core::ffi::{c_char, c_int};
use core::ptr::NonNull;
use libc::addrinfo;
use nss_k8s_stub::{Address, Door, Family, Name, Outcome, Query, resolve, sys};

/// What the program gets: a list, or an EAI number.
pub(crate) type Answer = Result<NonNull<addrinfo>, c_int>;

const CALL: &str = "getaddrinfo";

/// So many addresses are gathered on the stack (17 bytes each); musl never returns more than 48.
const NEAR: usize = 48;

/// Answers one call; `None` when the real function must.
///
/// # Safety
/// `service` is null or NUL-terminated.
pub(crate) unsafe fn answer(
    node: Option<&[u8]>,
    service: *const c_char,
    hints: Option<&addrinfo>,
) -> Option<Answer> {
    let node = node?;
    let request = match Request::new(hints) {
        Ok(request) => request,
        Err(refusal) => {
            sys::debug_pass(CALL, node, refusal);
            return None;
        }
    };
    if request.translates && !is_plain(node) {
        sys::debug_pass(CALL, node, "unicode");
        return None;
    }
    let query = Query {
        name: node,
        families: request.families,
        door: Door::Shim,
    };
    let mut canonical = Name::new();
    let mut near = [Address::UNSPECIFIED; NEAR];
    match resolve(&query, &mut near, &mut canonical) {
        Outcome::Room(count) => keeping_errno(|| {
            let Some(mut far) = Far::new(count) else {
                return Some(Err(EAI_MEMORY));
            };
            let outcome = resolve(&query, far.as_mut_slice(), &mut canonical);
            let room = far.as_mut_slice();
            // SAFETY: the caller's contract.
            unsafe { conclude(&request, node, service, outcome, room, &canonical) }
        }),
        // SAFETY: the caller's contract.
        outcome => unsafe { conclude(&request, node, service, outcome, &near, &canonical) },
    }
}

/// Turns an outcome into what the program gets, and says so where that is wanted.
///
/// # Safety
/// `service` is null or NUL-terminated.
unsafe fn conclude(
    request: &Request,
    node: &[u8],
    service: *const c_char,
    outcome: Outcome,
    room: &[Address],
    canonical: &Name,
) -> Option<Answer> {
    // SAFETY: the caller's contract.
    let answer = keeping_errno(|| unsafe {
        match outcome {
            Outcome::Answer { count } => build(request, service, room.get(..count)?, canonical),
            Outcome::NoData if request.maps => Err("v4-mapped"),
            Outcome::NoData => negative(request, service, absent_data(request.libc)),
            Outcome::NxDomain => negative(request, service, absent_name(request.libc)),
            Outcome::Chase | Outcome::Room(_) | Outcome::Pass(_) => {
                sys::debug(CALL, node, outcome);
                return None;
            }
        }
        .inspect_err(|refusal| sys::debug_pass(CALL, node, refusal))
        .ok()
    })?;
    sys::debug(CALL, node, outcome);
    Some(answer)
}

/// That there is nothing; but libc looks at the service first, and a bad one has its own number.
///
/// # Safety
/// `service` is null or NUL-terminated.
unsafe fn negative(
    request: &Request,
    service: *const c_char,
    negative: Negative,
) -> Result<Answer, Refusal> {
    // SAFETY: the caller's contract.
    unsafe { Services::of(request, service) }.ok_or("service")?;
    Ok(Err(negative.address_info))
}

/// The list of an answer, or why libc must build it.
///
/// # Safety
/// `service` is null or NUL-terminated.
unsafe fn build(
    request: &Request,
    service: *const c_char,
    found: &[Address],
    canonical: &Name,
) -> Result<Answer, Refusal> {
    if request.translates && !is_plain(canonical.as_bytes()) {
        return Err("unicode");
    }
    let one = |family| found.iter().find(|address| address.family == family);
    let first = match (one(Family::V4), one(Family::V6)) {
        (Some(v4), Some(v6)) => {
            network::first_family(request.libc, v4, v6).ok_or("address-order")?
        }
        (Some(_), None) => Family::V4,
        (None, Some(_)) => Family::V6,
        (None, None) => return Err("empty"),
    };
    // SAFETY: the caller's contract.
    let services = unsafe { Services::of(request, service) }.ok_or("service")?;
    Ok(list::build(request, found, first, &services, canonical))
}

/// Room for many addresses, of the process's heap for the length of one call.
struct Far {
    start: NonNull<Address>,
    count: usize,
}

impl Far {
    fn new(count: usize) -> Option<Self> {
        let size = count.checked_mul(size_of::<Address>())?;
        let start = sys::allocate(size)?.cast::<Address>();
        for index in 0..count {
            // SAFETY: `count` values fit, and an Address needs no alignment.
            unsafe { start.add(index).write(Address::UNSPECIFIED) };
        }
        Some(Self { start, count })
    }

    fn as_mut_slice(&mut self) -> &mut [Address] {
        // SAFETY: initialized in `new`, and this value's alone.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.count) }
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        // SAFETY: of `allocate`, given back once.
        unsafe { sys::release(self.start.cast()) }
    }
}

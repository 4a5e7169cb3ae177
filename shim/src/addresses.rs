//! `getaddrinfo` from the stub's answer.

use crate::error::{EAI_MEMORY, Negative, absent_data, absent_name, failed};
use crate::request::{Mapping, Refusal, Request, is_plain};
use crate::service::Services;
use crate::{keeping_errno, list};
use core::ffi::{c_char, c_int};
use core::ptr::NonNull;
use libc::addrinfo;
use nss_k8s_stub::sys::Libc;
use nss_k8s_stub::{
    Address, Families, Family, Name, Outcome, Query, Reason, Said, may_be_in_hosts_file, order,
    resolve, sys,
};

/// What the program gets: a list, or an EAI number.
pub(crate) type Answer = Result<NonNull<addrinfo>, c_int>;

const CALL: &str = "getaddrinfo";

/// So many addresses are gathered on the stack of every call (17 bytes each, and each is cleared).
const NEAR: usize = 16;
/// So many where that was too few, as before every question to a server: what waits there may be left
/// by siglongjmp, and must own no memory.
const MORE: usize = 48;

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
    let mut canonical = Name::new();
    let mut near = [Address::UNSPECIFIED; NEAR];
    match look_up(&request, node, &mut near, &mut canonical) {
        Outcome::Room(count) => keeping_errno(|| {
            // SAFETY: the caller's contract.
            unsafe { answer_far(&request, node, service, count, &mut canonical) }
        }),
        outcome => {
            // SAFETY: the caller's contract.
            unsafe { conclude(&request, node, service, outcome, &mut near, &canonical) }
        }
    }
}

/// Answers a call with more addresses than fit on the stack.
///
/// # Safety
/// `service` is null or NUL-terminated.
#[cold]
#[inline(never)]
unsafe fn answer_far(
    request: &Request,
    node: &[u8],
    service: *const c_char,
    mut count: usize,
    canonical: &mut Name,
) -> Option<Answer> {
    // Two families may have to be asked one after the other; and the zone may change meanwhile.
    for _ in 0..4 {
        let mut near = [Address::UNSPECIFIED; MORE];
        let mut far;
        let room = if count <= MORE {
            &mut near
        } else {
            far = sys::HeapRoom::new(count);
            match &mut far {
                Some(far) => far.as_mut_slice(),
                None => return Some(Err(EAI_MEMORY)),
            }
        };
        let outcome = look_up(request, node, room, canonical);
        let Outcome::Room(more) = outcome else {
            // SAFETY: the caller's contract.
            return unsafe { conclude(request, node, service, outcome, room, canonical) };
        };
        count = more.max(count);
    }
    sys::debug_pass(CALL, node, "room");
    None
}

/// Asks for what the request wants, as this libc puts its questions.
pub(crate) fn look_up(
    request: &Request,
    node: &[u8],
    room: &mut [Address],
    canonical: &mut Name,
) -> Outcome {
    let query = Query {
        name: node,
        families: request.families,
        door: request.door,
    };
    match (request.mapping, request.libc) {
        (None, _) => resolve(&query, room, canonical),
        (Some(mapping), Libc::Glibc) => look_up_apart(&query, mapping, room, canonical),
        (Some(mapping), Libc::Musl) => {
            let families = Families::BOTH;
            let outcome = resolve(&Query { families, ..query }, room, canonical);
            match outcome.answered().and_then(|count| room.get_mut(..count)) {
                Some(found) => outcome.recount(map_in_place(found, mapping)),
                None => outcome,
            }
        }
    }
}

/// AI_V4MAPPED in glibc: one walk of the search list for IPv6; another for IPv4 if the first came to
/// nothing, or if everything is wanted. The name is canonical as the first that has data says.
#[cold]
#[inline(never)]
fn look_up_apart(
    query: &Query<'_>,
    mapping: Mapping,
    room: &mut [Address],
    canonical: &mut Name,
) -> Outcome {
    // Of the hosts file glibc takes either family before it asks anybody else for IPv6 addresses.
    if may_be_in_hosts_file(query.name) {
        return Outcome::Pass(Reason::Hosts);
    }
    let six = resolve(query, room, canonical);
    let already = match six.plain() {
        Outcome::Answer { count } => count,
        Outcome::NoData | Outcome::NxDomain => 0,
        // What it is together with the other family's outcome, libc knows.
        Outcome::Again => return Outcome::Pass(Reason::Unusable),
        _ => return six,
    };
    if already > 0 && mapping == Mapping::Instead {
        return six;
    }
    let families = Families::V4;
    let rest = room.get_mut(already..).unwrap_or(&mut []);
    let mut other = Name::new();
    let name = if already > 0 { &mut other } else { canonical };
    let four = resolve(&Query { families, ..*query }, rest, name);
    match four.plain() {
        Outcome::Answer { count } => {
            for address in rest.iter_mut().take(count) {
                map(address);
            }
            four.recount(already.saturating_add(count))
        }
        Outcome::Room(count) => Outcome::Room(already.saturating_add(count)),
        Outcome::NoData | Outcome::NxDomain if already > 0 => six,
        Outcome::NoData if six.plain() != Outcome::NoData => six,
        Outcome::Again => Outcome::Pass(Reason::Unusable),
        _ => four,
    }
}

/// AI_V4MAPPED in musl: of one answer with both families. How many addresses are left.
fn map_in_place(found: &mut [Address], mapping: Mapping) -> usize {
    if mapping == Mapping::Instead && found.iter().any(|one| one.family == Family::V6) {
        let mut kept: usize = 0;
        for place in 0..found.len() {
            let one = found.get(place).copied();
            if let Some(one) = one.filter(|one| one.family == Family::V6)
                && let Some(slot) = found.get_mut(kept)
            {
                *slot = one;
                kept = kept.wrapping_add(1);
            }
        }
        return kept;
    }
    for address in found.iter_mut() {
        map(address);
    }
    found.len()
}

/// Makes an IPv4 address an IPv4-mapped IPv6 address.
fn map(address: &mut Address) {
    if address.family == Family::V4 {
        let [a, b, c, d, ..] = address.octets;
        *address = Address::v6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]);
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
    room: &mut [Address],
    canonical: &Name,
) -> Option<Answer> {
    // SAFETY: the caller's contract.
    let answer = keeping_errno(|| unsafe {
        let count = match outcome {
            Outcome::Answer { count } | Outcome::Asked(_, Said::Answer(count)) => Ok(count),
            Outcome::Hosts { count, .. } => Ok(usize::from(count)),
            Outcome::NoData | Outcome::Asked(_, Said::NoData) => Err(absent_data(request.libc)),
            Outcome::NxDomain | Outcome::Asked(_, Said::NxDomain) => Err(absent_name(request.libc)),
            Outcome::Again | Outcome::Asked(_, Said::Again) => Err(failed()),
            // What comes of it is said when libc has answered.
            Outcome::Pass(Reason::Shadow) => return None,
            Outcome::Chase | Outcome::Room(_) | Outcome::Pass(_) => {
                sys::debug(CALL, node, outcome);
                return None;
            }
        };
        match count {
            Ok(count) => build(request, service, room.get_mut(..count)?, canonical),
            Err(no) => negative(request, service, no),
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
    let mut services = Services::new();
    // SAFETY: the caller's contract.
    unsafe { services.find(request, service) }.ok_or("service")?;
    Ok(Err(negative.address_info))
}

/// The list of an answer, or why libc must build it.
///
/// # Safety
/// `service` is null or NUL-terminated.
unsafe fn build(
    request: &Request,
    service: *const c_char,
    found: &mut [Address],
    canonical: &Name,
) -> Result<Answer, Refusal> {
    if request.translates && !is_plain(canonical.as_bytes()) {
        return Err("unicode");
    }
    if found.is_empty() {
        return Err("empty");
    }
    if found.len() > 1 && !order::sort(request.libc, found) {
        return Err("address-order");
    }
    let mut services = Services::new();
    // SAFETY: the caller's contract.
    unsafe { services.find(request, service) }.ok_or("service")?;
    Ok(list::build(request, found, &services, canonical))
}

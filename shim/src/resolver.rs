//! `res_query` and its relatives from the stub's answer: DNS messages.
//!
//! glibc asks with a state that the program may see and change: its own (`res_n*`) or the thread's
//! (`res_*`, which fill it first). Only with a state as resolv.conf makes it the answer is ours.

use crate::error::{HOST_NOT_FOUND, NO_DATA};
use crate::{keeping_errno, real, text};
use core::ffi::{c_char, c_int};
use core::ptr::NonNull;
use nss_k8s_stub::sys::{self, Libc, ResolverState};
use nss_k8s_stub::{Outcome, RecordQuery};

/// Defines one function under its two names: whether it takes a state and a domain, and whether it
/// walks the search list. Programs linked before glibc 2.34 import the names with underscores; that
/// glibc's own header put them there.
macro_rules! entry_points {
    ($(
        $function:ident $older:ident ($($state:ident)?) ($($domain:ident)?) $searches:literal;
    )+) => {$(
        /// As the C function of that name, see [`Question`].
        ///
        /// # Safety
        /// As the C function: texts are NUL-terminated, `answer` has `length` writable octets, and
        /// a state is one that nobody else uses meanwhile.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $function(
            $($state: *mut ResolverState,)?
            name: *const c_char,
            $($domain: *const c_char,)?
            class: c_int,
            kind: c_int,
            answer: *mut u8,
            length: c_int,
        ) -> c_int {
            let question = Question {
                call: stringify!($function),
                state: None$(.or(Some($state)))?,
                searches: $searches,
                name,
                domain: None$(.or(Some($domain)))?,
                class,
                kind,
                answer,
                length,
            };
            // SAFETY: the caller's contract.
            unsafe {
                match reply(&question) {
                    Some(returned) => returned,
                    None => {
                        real::$function($($state,)? name, $($domain,)? class, kind, answer, length)
                    }
                }
            }
        }

        /// The same.
        ///
        /// # Safety
        /// The same.
        #[unsafe(no_mangle)]
        pub(crate) unsafe extern "C" fn $older(
            $($state: *mut ResolverState,)?
            name: *const c_char,
            $($domain: *const c_char,)?
            class: c_int,
            kind: c_int,
            answer: *mut u8,
            length: c_int,
        ) -> c_int {
            // SAFETY: the caller's contract.
            unsafe { $function($($state,)? name, $($domain,)? class, kind, answer, length) }
        }
    )+};
}

entry_points! {
    res_query __res_query () () false;
    res_search __res_search () () true;
    res_querydomain __res_querydomain () (domain) false;
    res_nquery __res_nquery (state) () false;
    res_nsearch __res_nsearch (state) () true;
    res_nquerydomain __res_nquerydomain (state) (domain) false;
}

/// What a program passes to any of them.
struct Question {
    /// The function's name.
    call: &'static str,
    /// `res_n*`: the program's state, which may be null; else the thread's counts.
    state: Option<*mut ResolverState>,
    /// Whether the search list is walked, where libc does.
    searches: bool,
    name: *const c_char,
    /// `*querydomain`: what stands behind the name; null for nothing.
    domain: Option<*const c_char>,
    class: c_int,
    kind: c_int,
    answer: *mut u8,
    length: c_int,
}

/// Class IN.
const INTERNET: c_int = 1;
/// The octets of a header: with less room libc does not even ask.
const HEADER: usize = 12;
/// musl knows no higher class or type.
const MUSL_KINDS: c_int = 255;

/// Answers one call: its return value, or `None` when the real function must.
///
/// # Safety
/// `question` is as the C function's arguments.
unsafe fn reply(question: &Question) -> Option<c_int> {
    /// glibc joins up to 1025 octets, musl up to 254; no name in the zone is longer.
    const ROOM: usize = 256;
    // SAFETY: the caller's contract.
    let (name, domain) = unsafe { (text(question.name)?, question.domain.map(|it| text(it))) };
    let mut joined = [0; ROOM];
    let name = match domain {
        None => name,
        // musl would read it, and crash as it does without us.
        Some(None) if sys::host_libc() == Some(Libc::Musl) => return None,
        Some(None) => name,
        Some(Some(domain)) => {
            let length = name.len().checked_add(domain.len())?.checked_add(1)?;
            let parts = name.iter().chain(b".").chain(domain);
            for (to, from) in joined.iter_mut().zip(parts) {
                *to = *from;
            }
            match joined.get(..length) {
                Some(joined) => joined,
                None => {
                    sys::debug_pass(question.call, name, "malformed");
                    return None;
                }
            }
        }
    };
    // SAFETY: the caller's contract.
    match unsafe { ask(question, name) } {
        Ok((libc, mut state, outcome)) => {
            sys::debug(question.call, name, outcome);
            // SAFETY: the program's state or this thread's, which nobody else uses meanwhile.
            let state = state.as_mut().map(|state| unsafe { state.as_mut() });
            conclude(libc, question.searches, state, outcome)
        }
        Err(refusal) => {
            sys::debug_pass(question.call, name, refusal);
            None
        }
    }
}

type Asked = (Libc, Option<NonNull<ResolverState>>, Outcome);

/// Asks the stub, or says why that is none of its questions.
///
/// # Safety
/// As [`reply`].
unsafe fn ask(question: &Question, name: &[u8]) -> Result<Asked, &'static str> {
    let libc = sys::host_libc().ok_or("libc")?;
    let most = match libc {
        Libc::Glibc => c_int::from(u16::MAX),
        Libc::Musl => MUSL_KINDS,
    };
    let kind = u16::try_from(question.kind)
        .ok()
        .filter(|_| question.class == INTERNET && question.kind <= most)
        .ok_or("kind")?;
    let length = usize::try_from(question.length)
        .ok()
        .filter(|length| *length >= HEADER && !question.answer.is_null())
        .ok_or("buffer")?;
    let state = match libc {
        Libc::Musl => None,
        // SAFETY: the caller's contract.
        Libc::Glibc => Some(unsafe { state_of(question) }.ok_or("patched")?),
    };
    // SAFETY: the caller's contract: so many octets, which are written before they are read; a byte
    // is a byte whatever it holds.
    let message = unsafe { core::slice::from_raw_parts_mut(question.answer, length) };
    let query = RecordQuery {
        name,
        kind,
        // musl's res_search is res_query by another name.
        searches: question.searches && libc == Libc::Glibc,
        // SAFETY: as the state's origin vouches; it is used for the length of the call.
        state: state.map(|state| unsafe { &*state.as_ptr() }),
    };
    let outcome = keeping_errno(|| nss_k8s_stub::query(&query, message));
    Ok((libc, state, outcome))
}

/// The state that glibc asks with, filled; `None` where that is not certain.
///
/// # Safety
/// `question.state` is null or a state.
unsafe fn state_of(question: &Question) -> Option<NonNull<ResolverState>> {
    let state = match question.state {
        Some(given) => NonNull::new(given)?,
        None => ResolverState::of_thread()?,
    };
    // SAFETY: the program's state, or this thread's own.
    let is_blank = unsafe { state.as_ref() }.is_blank();
    if question.state.is_none() && is_blank {
        // As libc's own function would: programs look at `_res` afterwards.
        // SAFETY: this thread's own state.
        keeping_errno(|| unsafe { real::__res_ninit(state.as_ptr()) });
    }
    // SAFETY: as above.
    unsafe { state.as_ref() }.is_initialized().then_some(state)
}

/// What libc leaves behind: resolv/res_query.c sets the error before it searches.
fn conclude(
    libc: Libc,
    searches: bool,
    state: Option<&mut ResolverState>,
    outcome: Outcome,
) -> Option<c_int> {
    let (returned, error) = match outcome {
        Outcome::Answer { count } => (c_int::try_from(count).ok()?, None),
        Outcome::NoData => (-1, Some(NO_DATA)),
        Outcome::NxDomain => (-1, Some(HOST_NOT_FOUND)),
        _ => return None,
    };
    let is_glibc_search = searches && libc == Libc::Glibc;
    let error = error.or(is_glibc_search.then_some(HOST_NOT_FOUND));
    if libc == Libc::Glibc {
        // Its res_send.c does when it opens a socket.
        sys::set_errno(0);
    }
    if let Some(error) = error {
        sys::set_resolver_error(error);
        if let Some(state) = state {
            state.set_resolver_error(error);
        }
    }
    Some(returned)
}

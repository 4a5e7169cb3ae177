//! Asking in a process whose clock stands still, as libfaketime can make it. A process of its own,
//! with one test: the clock is the whole process's.

#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc)]

#[path = "ask/servers.rs"]
mod servers;

use nss_k8s_stub::ask::Asked;
use servers::*;
use std::sync::atomic::{AtomicBool, Ordering};

static FROZEN: AtomicBool = AtomicBool::new(false);

/// The kernel's clocks, but for the one by which lookups keep their time.
///
/// # Safety
/// `time` is writable.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, time: *mut libc::timespec) -> i32 {
    if clock == libc::CLOCK_MONOTONIC && FROZEN.load(Ordering::SeqCst) {
        let moment = libc::timespec {
            tv_sec: 1_000,
            tv_nsec: 0,
        };
        // SAFETY: the caller's contract.
        unsafe { time.write(moment) };
        return 0;
    }
    // SAFETY: the caller's contract.
    i32::try_from(unsafe { libc::syscall(libc::SYS_clock_gettime, clock, time) }).unwrap()
}

#[test]
fn a_clock_that_stands_still_ends_no_lookup_late() {
    let server = serve(|_, _| {});
    let client = Client {
        options: "timeout:1",
        ..GLIBC
    };
    // Instead of waiting forever.
    // SAFETY: no pointers.
    unsafe { libc::alarm(60) };
    FROZEN.store(true, Ordering::SeqCst);
    let got = client.ask(&[&server], "hung");
    FROZEN.store(false, Ordering::SeqCst);
    assert_eq!(got, Got::no(Asked::NoReply));
    assert_eq!(server.seen.connections(), 2, "it was asked");
}

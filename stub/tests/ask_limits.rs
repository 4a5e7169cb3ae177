//! Asking in a process that has no descriptors left, or is interrupted all the time. A process of
//! its own, with one test: limits and signals are the whole process's.

#![allow(clippy::std_instead_of_core, clippy::std_instead_of_alloc)]

#[path = "ask/servers.rs"]
mod servers;

use nss_k8s_stub::ask::Asked;
use servers::*;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU32, Ordering};

#[test]
fn neither_descriptors_nor_calm_are_needed() {
    let server = serve(|stream, query| {
        if query.name != "hung" {
            answer(stream, query);
        }
    });
    assert_eq!(GLIBC.ask(&[&server], "a"), good_answer());
    nothing_stays_open(&server);
    without_descriptors(&server);
    interrupted(&server);
}

/// The process's descriptors but those of the server's connections, which end on their own.
fn descriptors() -> usize {
    let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let (mut last, mut now) = (0, count());
    while last != now {
        std::thread::yield_now();
        (last, now) = (now, count());
    }
    now
}

fn nothing_stays_open(server: &Server) {
    let client = Client {
        options: "timeout:1",
        ..GLIBC
    };
    let over = |count| server.seen.resets_of(count);
    over(2);
    let before = descriptors();
    for _ in 0..50 {
        assert_eq!(GLIBC.ask(&[server], "a"), good_answer());
    }
    assert_eq!(client.ask(&[server], "hung"), Got::no(Asked::NoReply));
    over(104);
    wait_until(|| descriptors() == before);
}

fn without_descriptors(server: &Server) {
    let connections = server.seen.connections();
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: the call fills the struct.
    let limit = unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, limit.as_mut_ptr()), 0);
        limit.assume_init()
    };
    // The next free number is above the limit: no call can get one.
    let none = libc::rlimit {
        rlim_cur: 0,
        ..limit
    };
    // SAFETY: both calls read a struct.
    unsafe { assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const none), 0) };
    let got = GLIBC.ask(&[server], "a");
    // SAFETY: as above.
    unsafe { assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0) };
    assert_eq!(got, Got::no(Asked::NoReply));
    // The server is not to blame.
    assert_eq!(server.seen.connections(), connections);
    assert_eq!(GLIBC.ask(&[server], "a"), good_answer());
}

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count_signal(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::SeqCst);
}

/// A timer that hits this thread every 50 us, with a handler that restarts no call.
fn interrupted(server: &Server) {
    // SAFETY: zeros are a sigaction, and the handler does what signal-safety allows.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count_signal as *const () as usize;
        let done = libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
        assert_eq!(done, 0);
    }
    let timer = Timer::start(50_000);
    let begin = SIGNALS.load(Ordering::SeqCst);
    while SIGNALS.load(Ordering::SeqCst) < begin + 1_000 {
        assert_eq!(GLIBC.ask(&[server], "a"), good_answer());
    }
    // The time is kept as well.
    let client = Client {
        options: "timeout:1",
        ..GLIBC
    };
    let start = std::time::Instant::now();
    let got = client.ask(&[server], "hung");
    let took = start.elapsed();
    drop(timer);
    assert_eq!(got, Got::no(Asked::NoReply));
    assert!(took.as_millis() >= 249, "{took:?}");
}

/// A timer of one thread, stopped with the value.
struct Timer(libc::timer_t);

impl Timer {
    fn start(nanoseconds: i64) -> Self {
        let interval = libc::timespec {
            tv_sec: 0,
            tv_nsec: nanoseconds,
        };
        let times = libc::itimerspec {
            it_interval: interval,
            it_value: interval,
        };
        // SAFETY: zeros are a sigevent; the calls read structs and fill a number.
        unsafe {
            let mut event: libc::sigevent = std::mem::zeroed();
            event.sigev_notify = libc::SIGEV_THREAD_ID;
            event.sigev_signo = libc::SIGALRM;
            event.sigev_notify_thread_id = libc::gettid();
            let mut timer = std::ptr::null_mut();
            let made = libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer);
            assert_eq!(made, 0);
            let set = libc::timer_settime(timer, 0, &raw const times, std::ptr::null_mut());
            assert_eq!(set, 0);
            Self(timer)
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: created in `start`, deleted once.
        unsafe { libc::timer_delete(self.0) };
    }
}

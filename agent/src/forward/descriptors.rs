//! How many files the agent may have open: as many as it is allowed to.

use std::io;

/// Raises the soft limit of descriptors to the hard one, as Go programs do. Many runtimes start
/// containers with 1024, which is kept for programs that use `select`; a thousand processes that
/// ask at once need more. A failure leaves what was.
pub(super) fn raise_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is a valid rlimit to write to.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return;
    }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is a valid rlimit to read from.
        let set = unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
        tracing::debug!(limit = limit.rlim_cur, done = set == 0, "descriptors");
    }
}

/// Whether an error says that we, not the other side, lack something.
pub(super) fn is_ours(error: &io::Error) -> bool {
    let ours = [
        libc::EMFILE,
        libc::ENFILE,
        libc::ENOBUFS,
        libc::ENOMEM,
        libc::EADDRNOTAVAIL,
    ];
    error.raw_os_error().is_some_and(|it| ours.contains(&it))
}

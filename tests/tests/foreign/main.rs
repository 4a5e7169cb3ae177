//! Test suites of others, run as they are: systemd's `test-nss-hosts` against the module, CPython's
//! `test_socket` behind both doors. Debian's packages of them are unpacked, not installed.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

mod cpython;
mod systemd;

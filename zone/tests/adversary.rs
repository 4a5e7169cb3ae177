//! What a tenant, or whoever made the bytes, can make others pay: counted in words read and stored,
//! never in time.
//!
//! * `budget`: no lookup on any bytes reads more than 64 Ki words, and the largest services need
//!   less.
//! * `keys`: names and addresses made for the seed in force, and an address in thousands of services.
#![cfg(not(loom))]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "ordinary std tests; the ban is for the in-process code"
)]

#[path = "adversary/budget.rs"]
mod budget;
#[path = "adversary/keys.rs"]
mod keys;

use nss_k8s_zone::{
    Address, Families, Found, Name, Now, Os, Reader, Snapshot, Srv, Unavailable, proofs::words_read,
};
use std::ffi::CString;

/// When all is asked, and when the writers of these tests beat.
pub(crate) const NOW: Now = Now(1_700_000_000);

/// A process, and what its lookups read.
pub(crate) struct Process<'o, O> {
    os: &'o O,
    reader: Reader,
    path: CString,
}

impl<'o, O: Os> Process<'o, O> {
    /// One that has just started.
    pub(crate) fn new(os: &'o O, path: &str) -> Self {
        Self {
            os,
            reader: Reader::new(),
            path: CString::new(path).expect("a path"),
        }
    }

    /// One attempt after the other, as a lookup does; and the words that were read.
    pub(crate) fn ask<T>(
        &self,
        question: impl FnMut(&Snapshot<'_>) -> T,
    ) -> (Result<T, Unavailable>, u64) {
        let before = words_read();
        let found = self.reader.read(self.os, &self.path, NOW, question);
        (found, words_read() - before)
    }

    /// A and AAAA; the last octet of the first address with it.
    pub(crate) fn addresses(&self, name: &str) -> (Result<Found, Unavailable>, u64, [u8; 16]) {
        let mut room = vec![Address::UNSPECIFIED; 4096];
        let mut canonical = Name::EMPTY;
        let (found, words) = self
            .ask(|zone| zone.addresses(name.as_bytes(), Families::BOTH, &mut room, &mut canonical));
        (found, words, room[0].octets)
    }

    /// SRV.
    pub(crate) fn services(&self, name: &str, room: usize) -> (Result<Found, Unavailable>, u64) {
        let mut room = vec![Srv::EMPTY; room];
        self.ask(|zone| zone.services(name.as_bytes(), &mut room))
    }

    /// PTR.
    pub(crate) fn names(&self, address: &Address) -> (Result<Found, Unavailable>, u64) {
        let mut room = vec![Name::EMPTY; 64];
        self.ask(|zone| zone.names(address, &mut room))
    }
}

//! What whoever maps a zone file can tell from it: where the chains of names and addresses start.

use crate::{
    Address,
    hash::Seed,
    layout::{AT_ROOT, Root, WORD},
};

/// The index in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chains {
    root: Root,
    seed: Seed,
}

impl Chains {
    /// Of a zone file's bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let word = |at: usize| {
            let bytes = bytes.get(at * WORD..).and_then(|rest| rest.first_chunk());
            u64::from_le_bytes(*bytes.expect("a word of the file"))
        };
        let root = Root::unpack(word(AT_ROOT));
        let seed = Seed(word(root.word() + 1), word(root.word() + 2));
        Self { root, seed }
    }

    /// Lines for names.
    pub fn main_lines(&self) -> u32 {
        self.root.main_lines
    }

    /// Where the chain of `<service>.<namespace>` starts, and its tag.
    pub fn name(&self, key: &str) -> (u32, u32) {
        let hash = self.seed.of_key(key.as_bytes());
        (hash.line(self.root.main_lines), hash.tag())
    }

    /// Where the chain of an address starts.
    pub fn address(&self, address: &Address) -> u32 {
        let hash = self.seed.of_address(address.as_octets());
        hash.line(self.root.ptr_lines)
    }

    /// Every slot for names: number of its word.
    pub fn main_slots(&self) -> core::ops::Range<usize> {
        self.root.main_word(0)..self.root.main_word(self.root.main_lines)
    }

    /// Every slot for addresses.
    pub fn address_slots(&self) -> core::ops::Range<usize> {
        self.root.ptr_word(0)..self.root.ptr_word(self.root.ptr_lines)
    }
}

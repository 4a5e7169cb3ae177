//! One loaded object: the symbols that it defines, read from the hash tables of its ELF file
//! (System V gABI, "Symbol Table" and "Hash Table"; GNU hash as glibc's elf/dl-lookup.c reads it).
//!
//! The tables are those in which the loader itself has just looked up every symbol of the program:
//! as trustworthy as the program's own calls. Still, sums and products are checked and every chain
//! has an end.

use super::loaded::word;
use core::ffi::CStr;

/// One loaded object and what of its dynamic section a look-up needs, as addresses in memory; 0
/// where absent.
#[derive(Default)]
pub(super) struct Object {
    /// What is added to the addresses in the file.
    base: usize,
    /// Where the dynamic section is: no two objects have the same.
    pub(super) dynamic: usize,
    symbols: usize,
    strings: usize,
    versions: usize,
    gnu_hash: usize,
    hash: usize,
}

/// A name and its hash under DT_GNU_HASH.
#[derive(Clone, Copy)]
pub(super) struct SymbolName {
    pub(super) text: &'static CStr,
    hash: u32,
}

impl SymbolName {
    /// Hashes at compile time.
    pub(super) const fn new(text: &'static CStr) -> Self {
        let mut rest = text.to_bytes();
        // Bernstein's, times 33.
        let mut hash: u32 = 5381;
        while let [byte, tail @ ..] = rest {
            hash = hash.wrapping_mul(33).wrapping_add(*byte as u32);
            rest = tail;
        }
        Self { text, hash }
    }
}

/// `Elf64_Sym`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Symbol {
    name: u32,
    info: u8,
    other: u8,
    section: u16,
    value: u64,
    size: u64,
}

/// `Elf64_Dyn`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Entry {
    tag: i64,
    value: u64,
}

// elf.h; the libc crate has none of these.
const DT_NULL: i64 = 0;
const DT_HASH: i64 = 4;
const DT_STRTAB: i64 = 5;
const DT_SYMTAB: i64 = 6;
const DT_DEBUG: i64 = 21;
const DT_GNU_HASH: i64 = 0x6fff_fef5;
const DT_VERSYM: i64 = 0x6fff_fff0;
const STT_FUNC: u8 = 2;
const STB_GLOBAL: u8 = 1;
const STB_WEAK: u8 = 2;
/// Of a version entry: not the default version, so not found by a bare name.
const VERSION_HIDDEN: u16 = 0x8000;

/// More dynamic entries or hash chain links than this and the object is nonsense.
const STEPS: usize = 1 << 16;

impl Object {
    /// An object from where it is and where its dynamic section is, as the loader lists them;
    /// `None` when it has no symbols.
    pub(super) fn new(base: usize, dynamic: usize) -> Option<Self> {
        let mut object = Self {
            base,
            dynamic,
            ..Self::default()
        };
        for_each_entry(dynamic, &mut |tag, value| {
            let address = object.relocated(value);
            match tag {
                DT_SYMTAB => object.symbols = address,
                DT_STRTAB => object.strings = address,
                DT_VERSYM => object.versions = address,
                DT_GNU_HASH => object.gnu_hash = address,
                DT_HASH => object.hash = address,
                _ => {}
            }
        });
        (object.symbols != 0 && object.strings != 0).then_some(object)
    }

    /// The value of DT_DEBUG in the dynamic section at that address; `None` when absent or 0.
    pub(super) fn debug_entry(dynamic: usize) -> Option<usize> {
        let mut found = None;
        for_each_entry(dynamic, &mut |tag, value| {
            if tag == DT_DEBUG && value != 0 {
                found = Some(value);
            }
        });
        found
    }

    /// The address of a function that this object defines under its default version.
    pub(super) fn symbol(&self, name: &SymbolName) -> Option<usize> {
        let found = if self.gnu_hash != 0 {
            self.by_gnu_hash(name)
        } else {
            self.by_hash(name)
        };
        Some(self.base.wrapping_add(word(found?.value)))
    }

    /// glibc relocates the dynamic section's addresses in place, musl (and the vDSO) does not.
    fn relocated(&self, value: usize) -> usize {
        if value < self.base {
            self.base.wrapping_add(value)
        } else {
            value
        }
    }

    fn by_gnu_hash(&self, name: &SymbolName) -> Option<Symbol> {
        let table = self.gnu_hash;
        let buckets: u32 = element(table, 0)?;
        let first: u32 = element(table, 1)?;
        let bloom_words: u32 = element(table, 2)?;
        let hash = name.hash;
        let bucket = hash.checked_rem(buckets)?;
        // Four 32-bit words, then the Bloom filter of 64-bit words, the buckets, the chains.
        let bucket_array = table
            .checked_add(16)?
            .checked_add(usize::try_from(bloom_words).ok()?.checked_mul(8)?)?;
        let chains = bucket_array.checked_add(usize::try_from(buckets).ok()?.checked_mul(4)?)?;
        let mut index: u32 = element(bucket_array, usize::try_from(bucket).ok()?)?;
        // An empty bucket holds 0, which is below the first hashed symbol.
        for _ in 0..STEPS {
            let link = usize::try_from(index.checked_sub(first)?).ok()?;
            let chain: u32 = element(chains, link)?;
            if chain | 1 == hash | 1
                && let Some(symbol) = self.matching(index, name)
            {
                return Some(symbol);
            }
            if chain & 1 == 1 {
                return None;
            }
            index = index.checked_add(1)?;
        }
        None
    }

    fn by_hash(&self, name: &SymbolName) -> Option<Symbol> {
        let table = self.hash;
        if table == 0 {
            return None;
        }
        let buckets: u32 = element(table, 0)?;
        let bucket = sysv_hash(name.text.to_bytes()).checked_rem(buckets)?;
        let bucket_array = table.checked_add(8)?;
        let chains = bucket_array.checked_add(usize::try_from(buckets).ok()?.checked_mul(4)?)?;
        let mut index: u32 = element(bucket_array, usize::try_from(bucket).ok()?)?;
        for _ in 0..STEPS {
            if index == 0 {
                return None;
            }
            if let Some(symbol) = self.matching(index, name) {
                return Some(symbol);
            }
            index = element(chains, usize::try_from(index).ok()?)?;
        }
        None
    }

    /// Symbol `index`, if it is a defined function of that name under its default version.
    fn matching(&self, index: u32, name: &SymbolName) -> Option<Symbol> {
        let index = usize::try_from(index).ok()?;
        let symbol: Symbol = element(self.symbols, index)?;
        let (kind, binding) = (symbol.info & 15, symbol.info >> 4);
        if symbol.section == 0 || kind != STT_FUNC || !matches!(binding, STB_GLOBAL | STB_WEAK) {
            return None;
        }
        if self.versions != 0 {
            let version: u16 = element(self.versions, index)?;
            if version & VERSION_HIDDEN != 0 {
                return None;
            }
        }
        let start = self
            .strings
            .checked_add(usize::try_from(symbol.name).ok()?)?;
        for (index, expected) in name.text.to_bytes_with_nul().iter().enumerate() {
            if element::<u8>(start, index)? != *expected {
                return None;
            }
        }
        Some(symbol)
    }
}

/// Calls `visit` with the tag and value of each entry of a dynamic section.
fn for_each_entry(dynamic: usize, visit: &mut dyn FnMut(i64, usize)) {
    for index in 0..STEPS {
        match element::<Entry>(dynamic, index) {
            Some(entry) if entry.tag != DT_NULL => visit(entry.tag, word(entry.value)),
            _ => return,
        }
    }
}

/// The `index`th value of an array of plain old data in a loaded object; `None` for an array at 0
/// or beyond the address space.
fn element<T: Copy>(array: usize, index: usize) -> Option<T> {
    if array == 0 {
        return None;
    }
    let address = array.checked_add(index.checked_mul(size_of::<T>())?)?;
    let place: *const T = core::ptr::with_exposed_provenance(address);
    // SAFETY: the loader's own tables, which it has read itself the same way, and every `T` used
    // here is made of integers, for which all bytes are values.
    Some(unsafe { place.read_unaligned() })
}

/// The hash of DT_HASH (System V gABI, figure 5-13).
fn sysv_hash(name: &[u8]) -> u32 {
    name.iter().fold(0, |hash: u32, byte| {
        let shifted = hash.wrapping_shl(4).wrapping_add(u32::from(*byte));
        let high = shifted & 0xf000_0000;
        (shifted ^ (high >> 24)) & !high
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of the gABI's and glibc's own examples.
    #[test]
    fn hashes_as_the_linker_does() {
        assert_eq!(SymbolName::new(c"").hash, 0x1505);
        assert_eq!(SymbolName::new(c"printf").hash, 0x156b_2bb8);
        assert_eq!(sysv_hash(b"printf"), 0x077905a6);
    }
}

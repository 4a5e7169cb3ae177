//! Symbols of loaded objects, found without `dlsym`: through `dl_iterate_phdr` and the hash tables
//! of the ELF files (System V gABI, "Symbol Table" and "Hash Table"; GNU hash as glibc's
//! elf/dl-lookup.c reads it).
//!
//! The objects are whatever the program has loaded, so every read is checked against the object's
//! own segments, every sum and product against overflow, and every chain has an end.

use super::host::weak_words;
use core::ffi::{CStr, c_int, c_void};
use core::ptr::NonNull;

weak_words! {
    DL_ITERATE_PHDR = "dl_iterate_phdr": unsafe extern "C" fn(
        Option<Callback>,
        *mut c_void,
    ) -> c_int;
}

type Callback = unsafe extern "C" fn(*mut libc::dl_phdr_info, usize, *mut c_void) -> c_int;

/// The first definition of `name` in the objects that were loaded after ours, in load order: what
/// `dlsym(RTLD_NEXT)` finds.
pub(super) fn find_after_ours(name: &CStr) -> Option<NonNull<c_void>> {
    let mut passed_ours = false;
    let mut found = None;
    for_each_object(&mut |object| {
        if object.contains(our_address()) {
            passed_ours = true;
        } else if passed_ours && found.is_none() {
            found = object.symbol(name.to_bytes());
        }
    });
    NonNull::new(core::ptr::with_exposed_provenance_mut(found?))
}

/// Whether the object that supplies `name` to the process, the first in load order that defines
/// it, also defines `mark`. False when nobody supplies it.
pub(super) fn supplier_defines(name: &CStr, mark: &CStr) -> bool {
    let mut defines = None;
    for_each_object(&mut |object| {
        if defines.is_none() && object.symbol(name.to_bytes()).is_some() {
            defines = Some(object.symbol(mark.to_bytes()).is_some());
        }
    });
    defines == Some(true)
}

/// Whether `address` is in the object that this code is in.
pub(super) fn is_ours(address: usize) -> bool {
    let mut ours = false;
    for_each_object(&mut |object| {
        if object.contains(our_address()) {
            ours = object.contains(address);
        }
    });
    ours
}

/// An address in our own object.
fn our_address() -> usize {
    static MARK: u8 = 0;
    (&raw const MARK).addr()
}

/// Calls `visit` for each loaded object, in load order; not at all where the host cannot list them.
fn for_each_object(visit: &mut dyn FnMut(&Object)) {
    /// What `dl_iterate_phdr` calls: `data` is the `visit` of one call of the outer function.
    unsafe extern "C" fn step(
        info: *mut libc::dl_phdr_info,
        size: usize,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: the host passes a struct that is valid during this call, and the `data` below.
        let (info, visit) = unsafe {
            (
                info.as_ref(),
                data.cast::<&mut dyn FnMut(&Object)>().as_mut(),
            )
        };
        if let (Some(info), Some(visit)) = (info, visit)
            && size >= core::mem::offset_of!(libc::dl_phdr_info, dlpi_adds)
        {
            visit(&Object {
                base: word(info.dlpi_addr),
                headers: info.dlpi_phdr,
                count: info.dlpi_phnum,
            });
        }
        0
    }
    if let Some(dl_iterate_phdr) = DL_ITERATE_PHDR {
        let mut visit = visit;
        // SAFETY: `step` gets back the pointer passed here, while `visit` is alive.
        unsafe { dl_iterate_phdr(Some(step), (&raw mut visit).cast()) };
    }
}

/// One loaded object, during one call of `dl_iterate_phdr`.
struct Object {
    /// What is added to the addresses in the file.
    base: usize,
    headers: *const libc::Elf64_Phdr,
    count: u16,
}

/// What of the dynamic section a look-up needs, as addresses in memory; 0 where absent.
#[derive(Default)]
struct Dynamic {
    symbols: usize,
    strings: usize,
    strings_size: usize,
    versions: usize,
    gnu_hash: usize,
    hash: usize,
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
const DT_STRSZ: i64 = 10;
const DT_GNU_HASH: i64 = 0x6fff_fef5;
const DT_VERSYM: i64 = 0x6fff_fff0;
const STT_FUNC: u8 = 2;
const STB_GLOBAL: u8 = 1;
const STB_WEAK: u8 = 2;
/// Of a version entry: not the default version, so not found by a bare name.
const VERSION_HIDDEN: u16 = 0x8000;

/// More dynamic entries, hash chain links or bytes of a name than this and the object is nonsense.
const STEPS: usize = 1 << 16;

impl Object {
    fn headers(&self) -> &[libc::Elf64_Phdr] {
        if self.headers.is_null() {
            return &[];
        }
        // SAFETY: the host's loader vouches for its own program headers while it lists them.
        unsafe { core::slice::from_raw_parts(self.headers, usize::from(self.count)) }
    }

    /// Whether `address` is in one of the segments.
    fn contains(&self, address: usize) -> bool {
        self.holds(address, 1, 0)
    }

    /// Whether `length` bytes at `address` are inside one loaded segment with those `flags`.
    fn holds(&self, address: usize, length: usize, flags: u32) -> bool {
        let Some(end) = address.checked_add(length) else {
            return false;
        };
        self.headers()
            .iter()
            .filter(|header| header.p_type == libc::PT_LOAD)
            .any(|header| {
                let start = self.base.wrapping_add(word(header.p_vaddr));
                let limit = start.saturating_add(word(header.p_memsz));
                header.p_flags & flags == flags && start <= address && end <= limit
            })
    }

    /// Reads one value of plain old data.
    fn read<T: Copy>(&self, address: usize) -> Option<T> {
        if !self.holds(address, size_of::<T>(), libc::PF_R) {
            return None;
        }
        let place: *const T = core::ptr::with_exposed_provenance(address);
        // SAFETY: the bytes are inside a segment that is mapped readable, and every `T` used here
        // is made of integers, for which all bytes are values.
        Some(unsafe { place.read_unaligned() })
    }

    /// The `index`th `T` of an array.
    fn element<T: Copy>(&self, array: usize, index: usize) -> Option<T> {
        self.read(array.checked_add(index.checked_mul(size_of::<T>())?)?)
    }

    /// The address of a function that this object defines under its default version.
    fn symbol(&self, name: &[u8]) -> Option<usize> {
        let dynamic = self.dynamic()?;
        let found = if dynamic.gnu_hash != 0 {
            self.by_gnu_hash(&dynamic, name)
        } else {
            self.by_hash(&dynamic, name)
        };
        let address = self.base.wrapping_add(word(found?.value));
        self.holds(address, 1, libc::PF_X).then_some(address)
    }

    fn dynamic(&self) -> Option<Dynamic> {
        let header = self
            .headers()
            .iter()
            .find(|header| header.p_type == libc::PT_DYNAMIC)?;
        let section = self.base.wrapping_add(word(header.p_vaddr));
        let mut dynamic = Dynamic::default();
        for index in 0..STEPS {
            let entry: Entry = self.element(section, index)?;
            let value = word(entry.value);
            match entry.tag {
                DT_NULL => break,
                DT_SYMTAB => dynamic.symbols = self.relocated(value),
                DT_STRTAB => dynamic.strings = self.relocated(value),
                DT_STRSZ => dynamic.strings_size = value,
                DT_VERSYM => dynamic.versions = self.relocated(value),
                DT_GNU_HASH => dynamic.gnu_hash = self.relocated(value),
                DT_HASH => dynamic.hash = self.relocated(value),
                _ => {}
            }
        }
        (dynamic.symbols != 0 && dynamic.strings != 0).then_some(dynamic)
    }

    /// glibc relocates the dynamic section's addresses in place, musl (and the vDSO) does not.
    fn relocated(&self, value: usize) -> usize {
        if value < self.base {
            self.base.wrapping_add(value)
        } else {
            value
        }
    }

    fn by_gnu_hash(&self, dynamic: &Dynamic, name: &[u8]) -> Option<Symbol> {
        let table = dynamic.gnu_hash;
        let buckets: u32 = self.element(table, 0)?;
        let first: u32 = self.element(table, 1)?;
        let bloom_words: u32 = self.element(table, 2)?;
        let hash = gnu_hash(name);
        let bucket = hash.checked_rem(buckets)?;
        // Four 32-bit words, then the Bloom filter of 64-bit words, the buckets, the chains.
        let bucket_array = table
            .checked_add(16)?
            .checked_add(usize::try_from(bloom_words).ok()?.checked_mul(8)?)?;
        let chains = bucket_array.checked_add(usize::try_from(buckets).ok()?.checked_mul(4)?)?;
        let mut index: u32 = self.element(bucket_array, usize::try_from(bucket).ok()?)?;
        // An empty bucket holds 0, which is below the first hashed symbol.
        for _ in 0..STEPS {
            let link = usize::try_from(index.checked_sub(first)?).ok()?;
            let chain: u32 = self.element(chains, link)?;
            if chain | 1 == hash | 1
                && let Some(symbol) = self.matching(dynamic, index, name)
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

    fn by_hash(&self, dynamic: &Dynamic, name: &[u8]) -> Option<Symbol> {
        let table = dynamic.hash;
        if table == 0 {
            return None;
        }
        let buckets: u32 = self.element(table, 0)?;
        let bucket = sysv_hash(name).checked_rem(buckets)?;
        let bucket_array = table.checked_add(8)?;
        let chains = bucket_array.checked_add(usize::try_from(buckets).ok()?.checked_mul(4)?)?;
        let mut index: u32 = self.element(bucket_array, usize::try_from(bucket).ok()?)?;
        for _ in 0..STEPS {
            if index == 0 {
                return None;
            }
            if let Some(symbol) = self.matching(dynamic, index, name) {
                return Some(symbol);
            }
            index = self.element(chains, usize::try_from(index).ok()?)?;
        }
        None
    }

    /// Symbol `index`, if it is a defined function of that name under its default version.
    fn matching(&self, dynamic: &Dynamic, index: u32, name: &[u8]) -> Option<Symbol> {
        let index = usize::try_from(index).ok()?;
        let symbol: Symbol = self.element(dynamic.symbols, index)?;
        let (kind, binding) = (symbol.info & 15, symbol.info >> 4);
        if symbol.section == 0 || kind != STT_FUNC || !matches!(binding, STB_GLOBAL | STB_WEAK) {
            return None;
        }
        if dynamic.versions != 0 {
            let version: u16 = self.element(dynamic.versions, index)?;
            if version & VERSION_HIDDEN != 0 {
                return None;
            }
        }
        let offset = usize::try_from(symbol.name).ok()?;
        let end = offset.checked_add(name.len())?;
        if dynamic.strings_size != 0 && end >= dynamic.strings_size {
            return None;
        }
        let start = dynamic.strings.checked_add(offset)?;
        for (index, expected) in name.iter().chain(&[0]).enumerate() {
            if self.element::<u8>(start, index)? != *expected {
                return None;
            }
        }
        Some(symbol)
    }
}

/// The hash of DT_GNU_HASH (Bernstein's, times 33).
fn gnu_hash(name: &[u8]) -> u32 {
    name.iter().fold(5381, |hash: u32, byte| {
        hash.wrapping_mul(33).wrapping_add(u32::from(*byte))
    })
}

/// The hash of DT_HASH (System V gABI, figure 5-13).
fn sysv_hash(name: &[u8]) -> u32 {
    name.iter().fold(0, |hash: u32, byte| {
        let shifted = hash.wrapping_shl(4).wrapping_add(u32::from(*byte));
        let high = shifted & 0xf000_0000;
        (shifted ^ (high >> 24)) & !high
    })
}

/// ELF's 64-bit words are addresses here.
const fn word(value: u64) -> usize {
    value as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test program itself is the host: its libc is found, and in it what it exports.
    #[test]
    #[allow(
        clippy::disallowed_methods,
        reason = "it is what the search is compared with"
    )]
    fn finds_what_dlsym_finds() {
        for name in [c"getaddrinfo", c"malloc", c"gethostbyname2_r"] {
            // SAFETY: a handle that dlsym defines and a NUL-terminated string.
            let expected = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
            let mut found = None;
            for_each_object(&mut |object| {
                found = found.or_else(|| object.symbol(name.to_bytes()));
            });
            assert_eq!(found, Some(expected.addr()), "{name:?}");
        }
    }

    #[test]
    fn absent_symbols_are_absent() {
        assert_eq!(find_after_ours(c"nss_k8s_no_such_symbol"), None);
        assert!(!supplier_defines(c"getaddrinfo", c"__dls3"));
        assert!(!supplier_defines(c"nss_k8s_no_such_symbol", c"malloc"));
        assert!(supplier_defines(c"getaddrinfo", c"gnu_get_libc_version"));
    }

    /// Values of the gABI's and glibc's own examples.
    #[test]
    fn hashes_as_the_linker_does() {
        assert_eq!(gnu_hash(b""), 0x1505);
        assert_eq!(gnu_hash(b"printf"), 0x156b_2bb8);
        assert_eq!(sysv_hash(b"printf"), 0x077905a6);
    }
}

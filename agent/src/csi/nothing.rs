//! A shared object with nothing in it. Pods whose environment names the preload library, as musl needs
//! it, name it also where nothing is to be loaded; a missing file would make glibc print an error at
//! the start of each program.
//!
//! ```text
//!     0  ELF header               64  program headers: load, dynamic, stack
//!   232  hash table of no symbol  248  symbol table: the null symbol
//!   272  strings: the empty one   280  dynamic section
//! ```

/// Offsets in the file, which are its addresses as well.
const HASH: u64 = 232;
const SYMBOLS: u64 = 248;
const STRINGS: u64 = 272;
const DYNAMIC: u64 = 280;
const END: u64 = DYNAMIC + 6 * 16;

/// `e_machine` of this machine.
const MACHINE: u16 = if cfg!(target_arch = "aarch64") {
    183
} else {
    62
};

/// The object's bytes (ELF-64, little-endian).
pub(super) fn empty_object() -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |bytes: &mut Vec<u8>, value: u16| bytes.extend(value.to_le_bytes());
    let word = |bytes: &mut Vec<u8>, value: u32| bytes.extend(value.to_le_bytes());
    let long = |bytes: &mut Vec<u8>, value: u64| bytes.extend(value.to_le_bytes());
    // Type DYN, version 1, no entry point, program headers behind this one, no sections.
    half(&mut bytes, 3);
    half(&mut bytes, MACHINE);
    word(&mut bytes, 1);
    long(&mut bytes, 0);
    long(&mut bytes, 64);
    long(&mut bytes, 0);
    word(&mut bytes, 0);
    for value in [64, 56, 3, 64, 0, 0] {
        half(&mut bytes, value);
    }
    // Writable: glibc before 2.35 adds the load address to the dynamic section's entries in place.
    for (kind, offset, size, align) in [
        (1, 0, END, 4096),
        (2, DYNAMIC, END - DYNAMIC, 8),
        (0x6474_e551, 0, 0, 16),
    ] {
        word(&mut bytes, kind);
        word(&mut bytes, 6);
        for value in [offset, offset, offset, size, size, align] {
            long(&mut bytes, value);
        }
    }
    // One bucket, one chain, both end at once.
    for value in [1, 1, 0, 0] {
        word(&mut bytes, value);
    }
    bytes.resize(DYNAMIC as usize, 0);
    // DT_HASH, DT_STRTAB, DT_SYMTAB, DT_STRSZ, DT_SYMENT, DT_NULL.
    for (tag, value) in [
        (4, HASH),
        (5, STRINGS),
        (6, SYMBOLS),
        (10, 1),
        (11, 24),
        (0, 0),
    ] {
        long(&mut bytes, tag);
        long(&mut bytes, value);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, process::Command};

    #[test]
    fn loaders_load_it_without_a_word() {
        let bytes = empty_object();
        assert_eq!(bytes.len() as u64, END);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("nothing.so");
        fs::write(&path, bytes).unwrap();
        let said = |object: &std::path::Path| {
            let mut command = Command::new("/bin/cat");
            command.arg("/proc/self/maps").env("LD_PRELOAD", object);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let maps = String::from_utf8(output.stdout).unwrap();
            (
                maps.contains("nothing.so"),
                String::from_utf8(output.stderr).unwrap(),
            )
        };
        assert_eq!(said(&path), (true, String::new()));
        // What it is there to avoid.
        let (loaded, error) = said(&directory.path().join("absent.so"));
        assert!(!loaded && error.contains("cannot be preloaded"), "{error}");
    }
}

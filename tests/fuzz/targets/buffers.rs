//! The caller's buffer that a `hostent` is packed into.

use nss_k8s_stub::{
    Address, Family,
    sys::{Buffer, host_entry},
};
use std::ffi::{CStr, c_char};

/// Bytes around a buffer, which stay as they are.
const MARGIN: usize = 64;
/// What they are.
const CANARY: u8 = 0xa5;

/// Choices, alignment, two octets of size, numbers of aliases and addresses; then the text of name and
/// aliases, parts between bytes 0xff, and the addresses' octets from its start on.
pub(crate) fn buffers(bytes: &[u8]) {
    let Some(([choice, skew, low, high, aliases, count], text)) = bytes.split_first_chunk() else {
        return;
    };
    let family = if choice & 1 == 0 {
        Family::V4
    } else {
        Family::V6
    };
    let mut parts = text.split(|byte| *byte == 0xff || *byte == 0);
    let name = parts.next().unwrap_or_default();
    let mut texts: Vec<&[u8]> = parts.collect();
    texts.resize(usize::from(*aliases), b"alias");
    // The name itself may be among its aliases: it is written once.
    if choice & 2 != 0
        && let Some(first) = texts.first_mut()
    {
        *first = name;
    }
    let mut octets = text.iter().copied().cycle();
    let mut next = || octets.next().unwrap_or(0);
    let addresses: Vec<Address> = (0..*count)
        .map(|_| match family {
            Family::V4 => Address::v4([(); 4].map(|()| next())),
            Family::V6 => Address::v6([(); 16].map(|()| next())),
        })
        .collect();
    let skew = usize::from(skew % 16);
    let needed = needed(skew, name, &texts, family, addresses.len());
    // Around what is needed, or anything.
    let size = match choice >> 2 & 3 {
        0 => needed,
        1 => needed - 1,
        2 => needed + usize::from(*low),
        _ => usize::from(u16::from_le_bytes([*low, *high])) % 8192,
    };
    // Of 16 octets, as what libc's allocator gives.
    let mut memory = vec![0_u128; (2 * MARGIN + skew + size).div_ceil(16)];
    let start = memory.as_mut_ptr().cast::<u8>();
    let all = memory.len() * 16;
    // SAFETY: the memory just made.
    let room = unsafe {
        start.write_bytes(CANARY, all);
        start.add(MARGIN + skew)
    };
    // SAFETY: `size` octets from there are in the memory, and nobody else uses them meanwhile.
    let buffer = unsafe { Buffer::new(room.cast::<c_char>(), size) };
    let alias = |index: usize| texts.get(index).copied();
    let entry = host_entry(buffer, name, texts.len(), &alias, family, &addresses);
    for at in (0..MARGIN + skew).chain(MARGIN + skew + size..all) {
        // SAFETY: in the memory.
        let byte = unsafe { start.add(at).read() };
        assert_eq!(
            byte, CANARY,
            "written at {at}, the buffer is {skew} + {size}"
        );
    }
    assert_eq!(entry.is_some(), size >= needed, "{size} of {needed} octets");
    let Some(entry) = entry else { return };
    let inside = |pointer: usize, length: usize| {
        let start = room as usize;
        assert!(pointer >= start && pointer + length <= start + size);
    };
    let text_at = |pointer: *const c_char| {
        // SAFETY: what was packed ends in zero inside the buffer, which the canary does not.
        let text = unsafe { CStr::from_ptr(pointer) }.to_bytes();
        inside(pointer as usize, text.len() + 1);
        text
    };
    assert_eq!(text_at(entry.h_name), name);
    assert_eq!(entry.h_length, if family == Family::V4 { 4 } else { 16 });
    let aliases = list(entry.h_aliases, texts.len(), inside);
    for (found, expected) in aliases.iter().zip(&texts) {
        assert_eq!(text_at(*found), *expected);
    }
    for (found, expected) in list(entry.h_addr_list, addresses.len(), inside)
        .iter()
        .zip(&addresses)
    {
        let octets = expected.as_octets();
        inside(*found as usize, octets.len());
        assert!((*found as usize).is_multiple_of(4));
        // SAFETY: inside the buffer.
        let found = unsafe { std::slice::from_raw_parts(found.cast::<u8>(), octets.len()) };
        assert_eq!(found, octets);
    }
}

/// The pointers of a list, which ends with null, aligned as pointers are.
fn list(list: *mut *mut c_char, count: usize, inside: impl Fn(usize, usize)) -> Vec<*const c_char> {
    inside(list as usize, (count + 1) * 8);
    assert!(list.is_aligned());
    // SAFETY: inside the buffer and aligned.
    let all = unsafe { std::slice::from_raw_parts(list, count + 1) };
    assert!(all[count].is_null());
    all[..count].iter().map(|one| one.cast_const()).collect()
}

/// What glibc's own files and DNS need for the same: pointers, octets, texts, and padding before the
/// first.
fn needed(skew: usize, name: &[u8], texts: &[&[u8]], family: Family, addresses: usize) -> usize {
    let octets = if family == Family::V4 { 4 } else { 16 };
    let of_aliases: usize = texts
        .iter()
        .filter(|text| !std::ptr::eq(**text, name))
        .map(|text| text.len() + 1)
        .sum();
    (8 - skew % 8) % 8
        + 8 * (texts.len() + 1 + addresses + 1)
        + octets * addresses
        + name.len()
        + 1
        + of_aliases
}

//! Addresses as text, with whatever stands between their numbers: `10.244.0.7` and `fd00::7` in
//! files and messages, `10-244-0-7` and `fd00--7` in labels. One copy for all, since the guests pay
//! by the byte.

use crate::{Address, Family, Name};

/// Reads exactly four decimal numbers without leading zeros, as `inet_pton(AF_INET)` wants them.
pub fn parse_v4(text: &[u8], separator: u8) -> Option<[u8; 4]> {
    let mut octets = [0; 4];
    let mut parts = text.split(|byte| *byte == separator);
    for octet in &mut octets {
        let part = parts.next()?;
        if part.is_empty() || part.len() > 3 || (part.len() > 1 && part.first() == Some(&b'0')) {
            return None;
        }
        let mut value = 0_u16;
        for byte in part {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return None;
            }
            value = value.wrapping_mul(10).wrapping_add(u16::from(digit));
        }
        *octet = u8::try_from(value).ok()?;
    }
    parts.next().is_none().then_some(octets)
}

/// Reads all of `text` as `inet_pton(AF_INET6)` does: eight groups, or fewer around one gap (two
/// separators), perhaps a dotted IPv4 address as the last two; no scope.
pub fn parse_v6(text: &[u8], separator: u8) -> Option<[u8; 16]> {
    let mut octets = [0; 16];
    let Some(gap) = text.windows(2).position(|pair| pair == [separator; 2]) else {
        return (fill(text, separator, &mut octets)? == 16).then_some(octets);
    };
    let (head, tail) = text.split_at_checked(gap)?;
    let tail = tail.get(2..)?;
    if head.iter().any(|byte| *byte == b'.') {
        return None;
    }
    let mut end = [0; 16];
    let before = fill(head, separator, &mut octets)?;
    let after = fill(tail, separator, &mut end)?;
    // The gap stands for at least one group.
    let start = 16_usize.checked_sub(after)?;
    if before.saturating_add(2) > start {
        return None;
    }
    copy(octets.get_mut(start..)?, &end);
    Some(octets)
}

/// An IPv6 address, or the IPv4 address that it carries (`::ffff:0:0/96`).
pub fn unmapped(octets: [u8; 16]) -> Address {
    const PREFIX: u128 = 0xffff_0000_0000;
    let number = u128::from_be_bytes(octets);
    if number >> 32 == PREFIX >> 32 {
        Address::v4((number as u32).to_be_bytes())
    } else {
        Address::v6(octets)
    }
}

/// Appends an address in its canonical text (RFC 5952, but nothing of an IPv6 address in decimal);
/// false when the name becomes too long.
pub fn format(address: &Address, dot: u8, colon: u8, name: &mut Name) -> bool {
    match address.family {
        Family::V4 => format_v4(address.as_octets(), dot, name),
        Family::V6 => format_v6(&address.octets, colon, name),
    }
}

/// Reads groups of one to four hexadecimal digits, perhaps a dotted IPv4 address as the last; how
/// many octets they fill. No text is no group.
fn fill(text: &[u8], separator: u8, octets: &mut [u8; 16]) -> Option<usize> {
    let mut filled = 0_usize;
    if text.is_empty() {
        return Some(filled);
    }
    let mut groups = text.split(|byte| *byte == separator);
    while let Some(group) = groups.next() {
        let room = octets.get_mut(filled..)?;
        if group.iter().any(|byte| *byte == b'.') {
            if groups.next().is_some() || room.len() < 4 {
                return None;
            }
            copy(room, &parse_v4(group, b'.')?);
            return filled.checked_add(4);
        }
        if group.is_empty() || group.len() > 4 || room.is_empty() {
            return None;
        }
        let mut value = 0_u16;
        for byte in group {
            let digit = match byte {
                b'0'..=b'9' => byte.wrapping_sub(b'0'),
                b'a'..=b'f' => byte.wrapping_sub(b'a' - 10),
                b'A'..=b'F' => byte.wrapping_sub(b'A' - 10),
                _ => return None,
            };
            value = value << 4 | u16::from(digit);
        }
        copy(room, &value.to_be_bytes());
        filled = filled.checked_add(2)?;
    }
    Some(filled)
}

/// `copy_from_slice` without its panic: as much as there is in both.
fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// Decimal numbers with separators between.
fn format_v4(octets: &[u8], separator: u8, name: &mut Name) -> bool {
    let mut fits = true;
    for (index, octet) in octets.iter().enumerate() {
        let digits = [
            separator,
            (*octet / 100).wrapping_add(b'0'),
            (*octet / 10 % 10).wrapping_add(b'0'),
            (*octet % 10).wrapping_add(b'0'),
        ];
        let leading = match octet {
            0..10 => 2,
            10..100 => 1,
            _ => 0,
        };
        fits &= push(&digits, index > 0, leading, name);
    }
    fits
}

/// Groups without leading zeros; the longest run of zero groups (two or more, the first of equals)
/// is a gap.
fn format_v6(octets: &[u8; 16], separator: u8, name: &mut Name) -> bool {
    let (groups, _) = octets.as_chunks::<2>();
    let (gap, length) = longest_zeros(groups);
    let mut fits = true;
    let mut separated = true;
    for (index, group) in groups.iter().enumerate() {
        if index >= gap && index < gap.wrapping_add(length) {
            if index == gap {
                fits &= name.push(&[separator; 2]);
            }
            separated = true;
            continue;
        }
        let group = u16::from_be_bytes(*group);
        let mut digits = [separator; 5];
        for (digit, shift) in digits.iter_mut().skip(1).zip([12_u32, 8, 4, 0]) {
            let value = (group.wrapping_shr(shift) & 0xf) as u8;
            *digit = value.wrapping_add(if value < 10 { b'0' } else { b'a' - 10 });
        }
        let leading = (group.leading_zeros() / 4).min(3) as usize;
        fits &= push(&digits, !separated, leading, name);
        separated = false;
    }
    fits
}

/// Appends digits without `leading` of them; the separator in front of them only if it is wanted.
fn push(digits: &[u8], separated: bool, leading: usize, name: &mut Name) -> bool {
    let Some((separator, digits)) = digits.split_first() else {
        return true;
    };
    (!separated || name.push(core::slice::from_ref(separator)))
        && name.push(digits.get(leading..).unwrap_or(&[]))
}

/// Where the longest run of at least two zero groups starts, and its length; (8, 0) when none does.
fn longest_zeros(groups: &[[u8; 2]]) -> (usize, usize) {
    let mut best = (8, 0);
    let mut run = (0, 0_usize);
    for (index, group) in groups.iter().enumerate() {
        if *group != [0, 0] {
            run = (index.wrapping_add(1), 0);
            continue;
        }
        run.1 = run.1.wrapping_add(1);
        if run.1 >= 2 && run.1 > best.1 {
            best = run;
        }
    }
    best
}

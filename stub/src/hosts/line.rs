//! Lines of the hosts file as each libc cuts them and reads the address in front (glibc
//! nss/nss_files/files-hosts.c; musl src/network/lookup_name.c, lookup_ipliteral.c).

use crate::c_text::{is_space, split_word, trim_start};
use crate::literal::{parse_ipv4, parse_ipv6};
use crate::sys::Libc;
use nss_k8s_zone::{Address, Families, Family, text};

/// musl reads lines in pieces of at most so many bytes, and takes each piece for a line.
const MUSL_PIECE: usize = 511;

/// A line without its comment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line<'s> {
    libc: Libc,
    /// What stands before the first white space; empty where a line begins with it on musl.
    address: &'s [u8],
    /// The names, the first of which is the canonical one.
    names: &'s [u8],
    /// Something ends the last word: musl finds no name that the end of the file follows at once.
    is_ended: bool,
}

/// What the address in front of a line is worth to a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// This address.
    Usable(Address),
    /// It is of the other family, and musl remembers that it saw the name.
    OtherFamily,
    /// The line does not count.
    Nothing,
    /// A scope: only the kernel knows whether its interface exists.
    Unclear,
}

/// Cuts the next line off `text`; `None` at the end.
#[inline(never)]
pub(super) fn next_line<'s>(libc: Libc, text: &mut &'s [u8]) -> Option<Line<'s>> {
    if text.is_empty() {
        return None;
    }
    let piece = match libc {
        Libc::Glibc => text,
        Libc::Musl => text.get(..MUSL_PIECE).unwrap_or(text),
    };
    let (line, newline) = split_at_byte(piece, b'\n');
    let taken = line.len().saturating_add(newline.len().min(1));
    *text = text.get(taken..).unwrap_or(&[]);
    let (line, comment) = split_at_byte(line, b'#');
    let line = match libc {
        Libc::Glibc => trim_start(line, is_space),
        Libc::Musl => line,
    };
    let (address, names) = split_word(line, is_space);
    Some(Line {
        libc,
        address,
        names: trim_start(names, is_space),
        is_ended: !newline.is_empty() || !comment.is_empty(),
    })
}

/// [`split_word`] at one byte, without a call for each.
#[inline(never)]
fn split_at_byte(text: &[u8], end: u8) -> (&[u8], &[u8]) {
    let length = text.iter().position(|byte| *byte == end);
    text.split_at_checked(length.unwrap_or(text.len()))
        .unwrap_or((text, &[]))
}

impl<'s> Line<'s> {
    /// The names, in order.
    pub(super) fn names(&self) -> Words<'s> {
        Words { rest: self.names }
    }

    /// The address in front, as it is written, up to a scope.
    pub(super) fn unscoped_address(&self) -> &'s [u8] {
        split_word(self.address, |byte| byte == b'%').0
    }

    /// Whether libc finds `name` on the line.
    #[inline(never)]
    pub(super) fn has(&self, name: &[u8]) -> bool {
        let mut words = self.names();
        while let Some(word) = words.next() {
            let is_same = match self.libc {
                Libc::Glibc => word.eq_ignore_ascii_case(name),
                Libc::Musl => word == name && (self.is_ended || !words.is_at_end()),
            };
            if is_same {
                return true;
            }
        }
        false
    }

    /// What the line's address is to a lookup of these families.
    #[inline(never)]
    pub(super) fn worth(&self, families: Families) -> Worth {
        match self.libc {
            Libc::Glibc => {
                glibc_worth(self.address, families).map_or(Worth::Nothing, Worth::Usable)
            }
            Libc::Musl => musl_worth(self.address, families),
        }
    }
}

/// The words of a line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<'s> {
    rest: &'s [u8],
}

impl Words<'_> {
    /// No white space follows the last word taken.
    fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'s> Iterator for Words<'s> {
    type Item = &'s [u8];

    #[inline(never)]
    fn next(&mut self) -> Option<&'s [u8]> {
        let (word, rest) = split_word(trim_start(self.rest, is_space), is_space);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }
}

/// An IPv4 lookup makes 127.0.0.1 of ::1 and takes mapped addresses apart; one for both families
/// leaves every address what it is.
fn glibc_worth(address: &[u8], families: Families) -> Option<Address> {
    let v4 = text::parse_v4(address, b'.').filter(|_| families.v4);
    if let Some(octets) = v4 {
        return Some(Address::v4(octets));
    }
    let octets = parse_ipv6(address)?;
    if families.v6 {
        return Some(Address::v6(octets));
    }
    if u128::from_be_bytes(octets) == 1 {
        return Some(Address::v4([127, 0, 0, 1]));
    }
    Some(text::unmapped(octets)).filter(|address| address.family == Family::V4)
}

fn musl_worth(address: &[u8], families: Families) -> Worth {
    let address = match parse_ipv4(address) {
        Some(octets) => Address::v4(octets),
        None => {
            let (address, scope) = split_word(address, |byte| byte == b'%');
            match parse_ipv6(address) {
                Some(_) if !scope.is_empty() => return Worth::Unclear,
                Some(octets) => Address::v6(octets),
                None => return Worth::Nothing,
            }
        }
    };
    if families.contains(address.family) {
        Worth::Usable(address)
    } else {
        Worth::OtherFamily
    }
}

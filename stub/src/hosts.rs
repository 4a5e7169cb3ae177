//! `/etc/hosts`, answered as this libc answers from it.
//!
//! An index says in one probe whether libc could find a name or an address: nearly always it cannot.
//! The index errs towards yes (it compares hashes, and knows nothing of families); after a yes the
//! lines from the first to the last that may have it are read as libc reads them.
//!
//! ```text
//!   name --> index: no --> the next source
//!               '-- may be --> lines of the text --> addresses, canonical name, aliases
//! ```

mod aliases;
mod index;
mod line;

use crate::c_text::{is_space, trim_start};
use crate::literal::parse_address;
use crate::sys::Libc;
pub use aliases::Aliases;
use index::{Span, address_key, find, insert, name_key};
use line::{Line, Worth, next_line};
use nss_k8s_zone::{Address, Families, Family, Name, text};

/// Longer files are not read (libc is asked then).
pub const MAX_HOSTS_TEXT: usize = 65_536;
/// Words for [`Hosts::parse`]: for a file of up to 4,096 names and addresses; one with more is not indexed.
pub const MAX_HOSTS_SLOTS: usize = 8_192;
/// musl returns no more addresses than this (`MAXADDRS`), and stops reading there.
const MUSL_ADDRESSES: usize = 48;
/// musl's longest host name, which is one byte more than any of the zone.
const MUSL_NAME: usize = 254;

/// Which of the lines that have the name count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// All: musl; glibc with `multi on` in host.conf.
    All,
    /// The first alone: glibc otherwise.
    First,
    /// host.conf, or a variable of the environment, says something else that only glibc follows.
    Unclear,
}

/// A file that was read and indexed.
#[derive(Clone, Copy, Debug)]
pub struct Hosts<'s> {
    libc: Libc,
    lines: Lines,
    text: &'s [u8],
    slots: &'s [u64],
}

/// What the file has on a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// So many entries of the room are filled, in the order of the file.
    Found(usize),
    /// Addresses of the other family alone: the end of it on musl. (On glibc that is `Absent`.)
    OtherFamily,
    /// Nothing: the next source is asked.
    Absent,
    /// The room is too small for so many entries.
    Room(usize),
    /// What libc makes of it is not certain.
    Unclear,
}

impl<'s> Hosts<'s> {
    /// Indexes a file in `slots`, which must be zero, and returns how many of them it took (a
    /// power of two). `None` when the file has too many of them, is too long or holds a NUL, or ends
    /// in a way that glibc stumbles over.
    pub fn parse(libc: Libc, text: &[u8], slots: &mut [u64]) -> Option<usize> {
        let is_odd = text.iter().any(|byte| *byte == 0) || ends_oddly(libc, text);
        if text.len() > MAX_HOSTS_TEXT || is_odd {
            return None;
        }
        let mut count: usize = 0;
        each_key(libc, text, &mut |_, _| count = count.saturating_add(1));
        let size = count.checked_mul(2)?.max(2).checked_next_power_of_two()?;
        let slots = slots.get_mut(..size)?;
        each_key(libc, text, &mut |key, offset| insert(slots, key, offset));
        Some(size)
    }

    /// The file, and the index that `parse` left in `slots`, cut to the size that it returned.
    pub const fn new(libc: Libc, lines: Lines, text: &'s [u8], slots: &'s [u64]) -> Self {
        Self {
            libc,
            lines,
            text,
            slots,
        }
    }

    /// Whether libc could find the name: compared as that libc does, the trailing dot included.
    pub fn contains_name(&self, name: &[u8]) -> bool {
        self.find_name(name).is_some()
    }

    /// Whether libc could find the address.
    pub fn contains_address(&self, address: &Address) -> bool {
        find(self.slots, address_key(address)).is_some()
    }

    /// The addresses of `name`, as the program passed it. After `Found` `canonical` is the first
    /// name of the first line that counts; musl leaves out names that it finds ill-formed, and
    /// takes the name asked for where no other is left.
    #[inline(never)]
    pub fn addresses(
        &self,
        name: &[u8],
        families: Families,
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Listed {
        if self.lines == Lines::Unclear {
            return Listed::Unclear;
        }
        canonical.clear();
        let mut count: usize = 0;
        let mut other_family = false;
        let matches = self.matches(name, families);
        for (line, worth) in matches {
            match worth {
                Worth::Usable(address) => {
                    if let Some(place) = room.get_mut(count) {
                        *place = address;
                    }
                    count = count.saturating_add(1);
                }
                Worth::OtherFamily => other_family = true,
                Worth::Nothing => {}
                Worth::Unclear => return Listed::Unclear,
            }
            if canonical.is_empty() && !self.name_owner(&line, canonical) {
                return Listed::Unclear;
            }
            if self.libc == Libc::Musl && count == MUSL_ADDRESSES {
                break;
            }
        }
        if count > room.len() {
            Listed::Room(count)
        } else if count == 0 && other_family {
            Listed::OtherFamily
        } else if count == 0 {
            Listed::Absent
        } else if canonical.is_empty() && !canonical.push(name) {
            Listed::Unclear
        } else {
            Listed::Found(count)
        }
    }

    /// The names of `address`: those of the first line that has it; of musl, which has one name
    /// and no aliases, the first of them.
    #[inline(never)]
    pub fn names(&self, address: &Address, room: &mut [Name]) -> Listed {
        let (families, is_mapped) = match address.family {
            Family::V4 => (Families::V4, false),
            Family::V6 => (Families::V6, text::unmapped(address.octets) != *address),
        };
        let (families, wanted) = match self.libc {
            // Whether lines with IPv4 addresses count differs between versions. The unspecified
            // address is refused before any source is asked.
            Libc::Glibc if is_mapped || *address == Address::v6([0; 16]) => {
                return Listed::Unclear;
            }
            Libc::Glibc => (families, *address),
            Libc::Musl => (Families::BOTH, plain(address)),
        };
        let mut lines = self.span(find(self.slots, address_key(address)));
        while let Some(line) = lines.next() {
            let found = match line.worth(families) {
                Worth::Usable(found) if self.libc == Libc::Musl => plain(&found),
                Worth::Usable(found) => found,
                Worth::OtherFamily | Worth::Nothing => continue,
                Worth::Unclear => return Listed::Unclear,
            };
            if found != wanted {
                continue;
            }
            let most = match self.libc {
                Libc::Glibc => usize::MAX,
                Libc::Musl => 1,
            };
            let mut count: usize = 0;
            for name in line.names().take(most) {
                if let Some(place) = room.get_mut(count) {
                    place.clear();
                    if !place.push(name) {
                        return Listed::Unclear;
                    }
                }
                count = count.saturating_add(1);
            }
            return match count {
                0 => Listed::Unclear,
                _ if count > room.len() => Listed::Room(count),
                _ => Listed::Found(count),
            };
        }
        Listed::Absent
    }

    /// The aliases of `name` as glibc lists them in a `hostent` of one family; none of musl, whose
    /// aliases do not come from the file.
    pub fn aliases<'n>(&self, name: &'n [u8], family: Family) -> Aliases<'s, 'n> {
        let families = match family {
            Family::V4 => Families::V4,
            Family::V6 => Families::V6,
        };
        Aliases::new(self.matches(name, families))
    }

    fn matches<'n>(&self, name: &'n [u8], families: Families) -> Matches<'s, 'n> {
        Matches {
            lines: self.span(self.find_name(name)),
            only_first: self.lines == Lines::First,
            name,
            families,
        }
    }

    fn find_name(&self, name: &[u8]) -> Option<Span> {
        find(self.slots, name_key(self.libc, name))
    }

    /// The lines that the index found.
    fn span(&self, found: Option<Span>) -> Found<'s> {
        let rest = found.and_then(|span| self.text.get(span.first..));
        Found {
            libc: self.libc,
            rest: rest.unwrap_or(&[]),
            last: found.map_or(0, |span| self.text.len().saturating_sub(span.last)),
        }
    }

    /// Takes the line's first name; false when what libc would do with it is not certain.
    fn name_owner(&self, line: &Line<'_>, canonical: &mut Name) -> bool {
        let Some(first) = line.names().next() else {
            return false;
        };
        if self.libc == Libc::Musl {
            if !first.is_ascii() {
                return false;
            }
            let is_valid = first.len() <= MUSL_NAME
                && first
                    .iter()
                    .all(|byte| matches!(byte, b'.' | b'-') || byte.is_ascii_alphanumeric());
            if !is_valid {
                return true;
            }
        }
        canonical.push(first)
    }
}

/// Lines one after the other, up to the last that may count.
#[derive(Clone, Copy, Debug)]
struct Found<'s> {
    libc: Libc,
    rest: &'s [u8],
    /// How much is left where the last line begins.
    last: usize,
}

impl<'s> Found<'s> {
    fn next(&mut self) -> Option<Line<'s>> {
        if self.rest.len() < self.last {
            return None;
        }
        next_line(self.libc, &mut self.rest)
    }

    /// The next line, but for lines in which the bytes of `name` do not stand anywhere: those between
    /// the first and the last that count may be a thousand.
    fn next_with(&mut self, name: &[u8]) -> Option<Line<'s>> {
        let fold = match self.libc {
            Libc::Glibc => 0x20,
            Libc::Musl => 0,
        };
        let first = name.first()? | fold;
        let mut from = 0;
        loop {
            let rest = self.rest.get(from..)?;
            let place = from.checked_add(rest.iter().position(|byte| *byte | fold == first)?)?;
            let end = place.checked_add(name.len())?;
            if self.rest.get(place..end)?.eq_ignore_ascii_case(name) {
                let before = self.rest.get(..place)?.iter();
                let newline = before.rev().position(|byte| *byte == b'\n');
                let start = place.checked_sub(newline.unwrap_or(place))?;
                self.rest = self.rest.get(start..)?;
                return self.next();
            }
            from = place.checked_add(1)?;
        }
    }
}

/// The lines that have a name, with what their addresses are worth; those that do not count are
/// left out.
#[derive(Clone, Copy, Debug)]
struct Matches<'s, 'n> {
    lines: Found<'s>,
    only_first: bool,
    name: &'n [u8],
    families: Families,
}

impl<'s> Iterator for Matches<'s, '_> {
    type Item = (Line<'s>, Worth);

    #[inline(never)]
    fn next(&mut self) -> Option<Self::Item> {
        while let Some(line) = self.lines.next_with(self.name) {
            if line.has(self.name) {
                let worth = line.worth(self.families);
                if worth != Worth::Nothing {
                    if self.only_first {
                        self.lines.rest = &[];
                    }
                    return Some((line, worth));
                }
            }
        }
        None
    }
}

/// The IPv4 address that a mapped one carries: musl compares the two as equal.
fn plain(address: &Address) -> Address {
    match address.family {
        Family::V4 => *address,
        Family::V6 => text::unmapped(address.octets),
    }
}

/// Since 2.32 glibc moves a line that begins with white space without the NUL behind it
/// (nss/nss_readline.c): when no newline or comment ends the line, the last name grows by the bytes
/// that are left over from where it stood.
fn ends_oddly(libc: Libc, text: &[u8]) -> bool {
    let Some(last) = text.rsplit(|byte| *byte == b'\n').next() else {
        return false;
    };
    libc == Libc::Glibc
        && last.first().is_some_and(|byte| is_space(*byte))
        && !trim_start(last, is_space).is_empty()
        && !last.iter().any(|byte| *byte == b'#')
}

/// Calls `visit` with the key of every name, and of every address that a line starts with, its
/// scope left out, and where the line begins.
#[inline(never)]
fn each_key(libc: Libc, text: &[u8], visit: &mut dyn FnMut(u64, usize)) {
    let mut rest = text;
    loop {
        let offset = text.len().saturating_sub(rest.len());
        let Some(line) = next_line(libc, &mut rest) else {
            return;
        };
        if let Some(address) = parse_address(line.unscoped_address()) {
            visit(address_key(&address), offset);
            if let Some(other) = also_reached_by(&address) {
                visit(address_key(&other), offset);
            }
        }
        for name in line.names() {
            visit(name_key(libc, name), offset);
        }
    }
}

/// Addresses whose reverse lookup may be answered from this line besides its own: v4 for its mapped
/// form and the other way round, 127.0.0.1 for ::1 (nss/nss_files/files-hosts.c).
fn also_reached_by(address: &Address) -> Option<Address> {
    match (address.family, address.octets) {
        (Family::V4, [a, b, c, d, ..]) => Some(Address::v6([
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, a, b, c, d,
        ])),
        (Family::V6, octets) if u128::from_be_bytes(octets) == 1 => {
            Some(Address::v4([127, 0, 0, 1]))
        }
        (Family::V6, octets) => Some(text::unmapped(octets)).filter(|other| other != address),
    }
}

#[cfg(test)]
mod tests;

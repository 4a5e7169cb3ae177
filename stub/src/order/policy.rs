//! glibc's tables of labels, precedences and IPv4 scopes, and /etc/gai.conf, which replaces them
//! (nss/getaddrinfo.c, `gaiconf_init`).

use crate::c_text::{is_space, lines, split_word, trim_start};
use nss_k8s_zone::text::{parse_v4, parse_v6};

/// One row: a prefix of addresses and their value. The first row that matches counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    prefix: u128,
    /// 0 matches everything.
    bits: u32,
    value: u32,
}

impl Row {
    const fn new(prefix: u128, bits: u32, value: u32) -> Self {
        Self {
            prefix,
            bits,
            value,
        }
    }
}

/// RFC 3484's labels, with rows for site-local, unique local and Teredo addresses.
static LABELS: [Row; 8] = [
    Row::new(1, 128, 0),
    Row::new(0x2002 << 112, 16, 2),
    Row::new(0, 96, 3),
    Row::new(0xffff << 32, 96, 4),
    Row::new(0xfec0 << 112, 10, 5),
    Row::new(0xfc00 << 112, 7, 6),
    Row::new(0x2001 << 112, 32, 7),
    Row::new(0, 0, 1),
];

/// RFC 3484's precedences.
static PRECEDENCES: [Row; 5] = [
    Row::new(1, 128, 50),
    Row::new(0x2002 << 112, 16, 30),
    Row::new(0, 96, 20),
    Row::new(0xffff << 32, 96, 10),
    Row::new(0, 0, 40),
];

/// Scopes of IPv4 addresses, as IPv4-mapped prefixes: the local ones, and all others.
static SCOPES: [Row; 3] = [
    Row::new(0xffff_a9fe_0000, 112, 2),
    Row::new(0xffff_7f00_0000, 104, 2),
    Row::new(0xffff_0000_0000, 96, 14),
];

/// So many rows of a kind can be configured, with the one that glibc adds.
const ROWS: usize = 48;

/// Rows of one kind from a file, the longest prefix first; of equals, the file's order.
#[derive(Debug)]
pub(super) struct Rows {
    count: usize,
    rows: [Row; ROWS],
}

impl Rows {
    #[cfg(any(test, not(feature = "guest")))]
    const NONE: Self = Self {
        count: 0,
        rows: [Row::new(0, 0, 0); ROWS],
    };

    /// What counts: the file's rows, or the defaults if it has none of this kind.
    fn or<'t>(&'t self, defaults: &'t [Row]) -> &'t [Row] {
        self.rows
            .get(..self.count)
            .filter(|rows| !rows.is_empty())
            .unwrap_or(defaults)
    }

    /// Puts a row in its place.
    #[inline(never)]
    fn insert(&mut self, row: Row) -> Option<()> {
        let mut carried = row;
        for slot in self.rows.get_mut(..self.count)? {
            if slot.bits < carried.bits || (carried != row && slot.bits == carried.bits) {
                core::mem::swap(slot, &mut carried);
            }
        }
        *self.rows.get_mut(self.count)? = carried;
        self.count = self.count.checked_add(1)?;
        Some(())
    }

    /// Adds the row for everything else, unless the file has one.
    fn close(&mut self, bits: u32, prefix: u128, value: u32) -> Option<()> {
        let is_open = self.or(&[]).last().is_some_and(|last| last.bits != bits);
        if is_open {
            self.insert(Row::new(prefix, bits, value))?;
        }
        Some(())
    }
}

/// What a gai.conf says.
#[derive(Debug)]
pub(super) struct Policy {
    labels: Rows,
    precedences: Rows,
    scopes: Rows,
    /// `reload yes`: the file is looked at again.
    pub(super) reloads: bool,
}

/// The tables that count: a file's, or the defaults.
#[derive(Clone, Copy)]
pub(super) struct Tables<'t> {
    labels: &'t [Row],
    precedences: &'t [Row],
    scopes: &'t [Row],
    /// Whether these are the defaults, in which all IPv4 addresses are alike but for their scope.
    is_default: bool,
}

impl Tables<'static> {
    /// glibc's own.
    pub(super) fn defaults() -> Self {
        Self {
            labels: &LABELS,
            precedences: &PRECEDENCES,
            scopes: &SCOPES,
            is_default: true,
        }
    }
}

impl Tables<'_> {
    /// The label of an address (IPv4 as IPv4-mapped).
    pub(super) fn label(&self, address: u128) -> u32 {
        if self.is_default && is_mapped(address) {
            return 4;
        }
        find(self.labels, address)
    }

    /// The precedence of an address.
    pub(super) fn precedence(&self, address: u128) -> u32 {
        if self.is_default && is_mapped(address) {
            return 10;
        }
        find(self.precedences, address)
    }

    /// The scope of an IPv4 address, given as IPv4-mapped.
    pub(super) fn scope_of_v4(&self, address: u128) -> u32 {
        find(self.scopes, address)
    }
}

/// Whether it is in ::ffff:0:0/96.
pub(super) const fn is_mapped(address: u128) -> bool {
    address >> 32 == 0xffff
}

fn find(rows: &[Row], address: u128) -> u32 {
    rows.iter()
        .find(|row| {
            let rest = 128_u32.wrapping_sub(row.bits);
            (address ^ row.prefix).checked_shr(rest).unwrap_or(0) == 0
        })
        .map_or(0, |row| row.value)
}

impl Policy {
    /// Nothing said: all zeros.
    #[cfg(any(test, not(feature = "guest")))]
    pub(super) const SILENT: Self = Self {
        labels: Rows::NONE,
        precedences: Rows::NONE,
        scopes: Rows::NONE,
        reloads: false,
    };

    /// Whether everything is as without the file.
    pub(super) fn is_silent(&self) -> bool {
        [&self.labels, &self.precedences, &self.scopes]
            .iter()
            .all(|rows| rows.count == 0)
            && !self.reloads
    }

    /// Reads a file; false when the versions of glibc would read it differently, or when it is
    /// longer than there is room for.
    pub(super) fn read(&mut self, text: &[u8]) -> bool {
        lines(text).all(|line| self.read_line(line).is_some()) && self.close().is_some()
    }

    /// The tables that count.
    pub(super) fn tables(&self) -> Tables<'_> {
        Tables {
            labels: self.labels.or(&LABELS),
            precedences: self.precedences.or(&PRECEDENCES),
            scopes: self.scopes.or(&SCOPES),
            is_default: false,
        }
    }

    fn close(&mut self) -> Option<()> {
        self.labels.close(0, 0, 1)?;
        self.precedences.close(0, 0, 40)?;
        self.scopes.close(96, 0xffff << 32, 14)
    }

    /// Three words; what follows is not looked at, and what is no row is no error. `None` for what
    /// cannot be read for certain.
    fn read_line(&mut self, line: &[u8]) -> Option<()> {
        let (line, _) = split_word(line, |byte| byte == b'#' || byte == 0);
        let mut words = [&[][..]; 3];
        let mut rest = line;
        for word in &mut words {
            (*word, rest) = split_word(trim_start(rest, is_space), is_space);
        }
        let [command, subject, value] = words;
        let (rows, row) = match command {
            b"reload" => {
                self.reloads = subject == b"yes";
                return Some(());
            }
            b"label" => (&mut self.labels, prefix_row(subject, value)?),
            b"precedence" => (&mut self.precedences, prefix_row(subject, value)?),
            b"scopev4" => (&mut self.scopes, scope_row(subject, value)?),
            _ => return Some(()),
        };
        match row {
            Some(row) => rows.insert(row),
            None => Some(()),
        }
    }
}

/// `PREFIX/BITS VALUE`; `Some(None)` where glibc skips the line.
#[inline(never)]
fn prefix_row(subject: &[u8], value: &[u8]) -> Option<Option<Row>> {
    let (address, bits) = split_word(subject, |byte| byte == b'/');
    let Some(octets) = parse_v6(address, b':') else {
        return Some(None);
    };
    let (bits, value) = (number(bits.get(1..)?)?, number(value)?);
    let row = Row::new(u128::from_be_bytes(octets), bits, value);
    Some((bits <= 128).then_some(row))
}

/// An IPv4 prefix, or an IPv4-mapped one, and its scope; the address is cut to the prefix.
#[inline(never)]
fn scope_row(subject: &[u8], value: &[u8]) -> Option<Option<Row>> {
    let (address, bits) = split_word(subject, |byte| byte == b'/');
    let bits = bits.get(1..).map(number);
    let (address, bits) = if let Some(octets) = parse_v6(address, b':') {
        (u128::from_be_bytes(octets), bits??)
    } else if let Some(octets) = parse_v4(address, b'.') {
        let address = 0xffff_0000_0000 | u128::from(u32::from_be_bytes(octets));
        (address, bits??.checked_add(96)?)
    } else {
        return Some(None);
    };
    let value = number(value)?;
    if !is_mapped(address) || !(96..=128).contains(&bits) {
        return Some(None);
    }
    let rest = 128_u32.wrapping_sub(bits);
    let prefix = address.wrapping_shr(rest).wrapping_shl(rest);
    Some(Some(Row::new(prefix, bits, value)))
}

/// A decimal number of at most nine digits. `None` for anything else: glibc 2.41 refuses an empty
/// one, older versions take it for 0, and each takes signs in its own way.
fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 9 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    crate::c_text::leading_number(text)
}

#[cfg(test)]
mod tests;

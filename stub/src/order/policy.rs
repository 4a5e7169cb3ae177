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
    /// Nothing said.
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
        match command {
            b"reload" => self.reloads = subject == b"yes",
            b"label" => {
                if let Some(row) = prefix_row(subject, value)? {
                    self.labels.insert(row)?;
                }
            }
            b"precedence" => {
                if let Some(row) = prefix_row(subject, value)? {
                    self.precedences.insert(row)?;
                }
            }
            b"scopev4" => {
                if let Some(row) = scope_row(subject, value)? {
                    self.scopes.insert(row)?;
                }
            }
            _ => {}
        }
        Some(())
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
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Policy> {
        let mut policy = Policy::SILENT;
        policy.read(text.as_bytes()).then_some(policy)
    }

    fn v6(text: &str) -> u128 {
        u128::from(text.parse::<std::net::Ipv6Addr>().unwrap())
    }

    #[test]
    fn the_default_tables_are_those_of_the_manual() {
        let tables = Tables::defaults();
        let silent = Policy::SILENT;
        for (address, label, precedence) in [
            ("::1", 0, 50),
            ("2002::1", 2, 30),
            ("::7.7.7.7", 3, 20),
            ("::ffff:10.0.0.1", 4, 10),
            ("fec0::1", 5, 40),
            ("feff::1", 5, 40),
            ("fc00::1", 6, 40),
            ("fdff::1", 6, 40),
            ("2001:0:1::1", 7, 40),
            ("2001:db8::1", 1, 40),
            ("fe80::1", 1, 40),
            ("::", 3, 20),
        ] {
            for tables in [tables, silent.tables()] {
                let address = v6(address);
                assert_eq!(
                    (tables.label(address), tables.precedence(address)),
                    (label, precedence),
                    "{address:x}"
                );
            }
        }
        for (address, scope) in [
            ("::ffff:169.254.1.1", 2),
            ("::ffff:169.255.1.1", 14),
            ("::ffff:127.9.9.9", 2),
            ("::ffff:10.0.0.1", 14),
        ] {
            assert_eq!(tables.scope_of_v4(v6(address)), scope, "{address}");
        }
    }

    #[test]
    fn debians_file_says_nothing() {
        let policy = read("# precedence ::1/128 50\n\n   #label ::/0 1\n\t\n").unwrap();
        assert!(policy.is_silent());
        assert!(read("").unwrap().is_silent());
    }

    #[test]
    fn one_row_replaces_the_whole_table() {
        let policy = read("precedence ::ffff:0:0/96  100").unwrap();
        let tables = policy.tables();
        assert_eq!(tables.precedence(v6("::ffff:10.0.0.1")), 100);
        // ::1 had 50 and 2002::/16 had 30.
        assert_eq!(tables.precedence(v6("::1")), 40);
        assert_eq!(tables.precedence(v6("2002::1")), 40);
        assert_eq!(tables.label(v6("::1")), 0);
        assert_eq!(tables.scope_of_v4(v6("::ffff:127.0.0.1")), 2);
    }

    #[test]
    fn the_longest_prefix_counts_and_of_equals_the_first() {
        let policy = read(
            "label ::/0 9\nlabel fd00::/8 3 and more\nlabel fd00:1::/32 4 # why\n\
             label fd00::/8 5\nlabel fd00:1::/32 6\nlabel ::1/128 7\n",
        )
        .unwrap();
        let tables = policy.tables();
        for (address, label) in [
            ("fd00:1::1", 4),
            ("fd00:2::1", 3),
            ("2001::", 9),
            ("::1", 7),
        ] {
            assert_eq!(tables.label(v6(address)), label, "{address}");
        }
    }

    #[test]
    fn scopes_are_written_both_ways() {
        let policy = read(
            "scopev4 ::ffff:169.254.0.0/112 2\nscopev4 10.1.2.3/8 5\nscopev4 fd00::/16 3\n\
             scopev4 ::ffff:1.2.3.4/95 4\n",
        )
        .unwrap();
        let tables = policy.tables();
        for (address, scope) in [
            ("::ffff:169.254.3.3", 2),
            ("::ffff:10.255.0.1", 5),
            ("::ffff:127.0.0.1", 14),
            ("::ffff:1.2.3.4", 14),
        ] {
            assert_eq!(tables.scope_of_v4(v6(address)), scope, "{address}");
        }
        let all = read("scopev4 0.0.0.0/0 7").unwrap();
        assert_eq!(all.tables().scope_of_v4(v6("::ffff:127.0.0.1")), 7);
    }

    #[test]
    fn what_is_no_row_is_skipped() {
        for text in [
            "label",
            "label x/8 1",
            "labels ::/0 1",
            "Label ::/0 1",
            "label 10.0.0.0/8 1",
            "label ::/129 1",
            "reload no",
            "precedence\tnonsense",
            "scopev4 x 2",
        ] {
            assert!(read(text).unwrap().is_silent(), "{text}");
        }
        assert!(read("reload yes").unwrap().reloads);
        assert!(!read("reload yes\nreload").unwrap().reloads);
    }

    #[test]
    fn what_versions_of_glibc_read_differently_is_refused() {
        for text in [
            "label ::1/ 1",
            "label ::1/128",
            "label ::1/128 -1",
            "label ::1/+8 1",
            "label ::1 1",
            "label ::1/128 99999999999",
            "scopev4 10.0.0.0 2",
            "scopev4 10.0.0.0/8",
        ] {
            assert!(read(text).is_none(), "{text}");
        }
        let long = "label fd00::/8 1\n".repeat(ROWS);
        assert!(read(&long).is_none());
        assert!(read(&long[17..]).is_some());
    }
}

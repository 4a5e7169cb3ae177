//! `/etc/resolv.conf` as each libc reads it, reduced to what a lookup in the zone depends on: whose
//! nameservers, the search list, `ndots` and two options. Times, retries and transports concern
//! packets that are never sent here.

mod glibc;
mod musl;
mod search;

use crate::c_text::{after, split_word, trim_start};
use crate::sys::Libc;
use nss_k8s_zone::Address;
pub(crate) use search::Suffix;
pub use search::{MAX_SEARCH_ENTRIES, MAX_SEARCH_TEXT, SearchList};

/// How many nameservers a libc asks (`MAXNS` in both).
pub const MAX_NAMESERVERS: usize = 3;
/// `ndots` is cut to this (`RES_MAXNDOTS`; musl writes 15).
const MAX_NDOTS: u32 = 15;

/// The minor version of glibc that brought `no-aaaa`.
const NO_AAAA: u32 = 36;

/// What one libc makes of one resolv.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    nameservers: [Address; MAX_NAMESERVERS],
    nameserver_count: usize,
    /// Where relative names are looked for.
    pub search: SearchList,
    /// A name with at least so many dots is tried as it is first.
    pub ndots: u8,
    /// glibc `no-tld-query`: a name without dots is not tried as it is.
    pub no_tld_query: bool,
    /// glibc `no-aaaa` (2.36; older ones do not know it).
    pub no_aaaa: bool,
    /// The glibc of this process is known to obey `no-aaaa`: it asks for IPv4 addresses where both
    /// are wanted.
    pub drops_aaaa: bool,
    /// glibc `no-reload`: later changes of the file do not count in this process.
    pub no_reload: bool,
}

/// What besides the file decides: glibc reads these once, together with it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// `LOCALDOMAIN`: replaces the search list, even when it is empty.
    pub local_domain: Option<&'a [u8]>,
    /// `RES_OPTIONS`: further options.
    pub res_options: Option<&'a [u8]>,
    /// The host name, whose domain is the search list when nothing else is.
    pub host_name: Option<&'a [u8]>,
}

/// Why nothing is made of a resolv.conf: what this libc would do is not certain, so it shall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unclear {
    /// It could not be read, or is longer than we read.
    Unreadable,
    /// A NUL byte: where lines end differs between functions of one libc.
    Nul,
    /// More than [`MAX_SEARCH_ENTRIES`] entries or [`MAX_SEARCH_TEXT`] bytes.
    SearchTooLong,
    /// A number that is negative or too long.
    Number,
    /// An option that means different things to different versions ("-no-...").
    Option,
    /// `sortlist`, by which glibc's `gethostbyname` family sorts addresses.
    SortList,
    /// An IPv6 nameserver whose scope is the name of an interface that only the kernel can check.
    Scope,
    /// The search list is the host's domain, and the host name is not known.
    HostName,
}

impl ResolvConf {
    /// Reads a file; `text` is empty where there is none.
    pub fn parse(
        libc: Libc,
        text: &[u8],
        surroundings: &Surroundings<'_>,
    ) -> Result<Self, Unclear> {
        let mut read = Self::empty();
        read.parse_here(libc, text, surroundings)?;
        Ok(read)
    }

    /// The same in place, whatever was there: a copy is 4 KiB of somebody else's stack.
    pub(crate) fn parse_here(
        &mut self,
        libc: Libc,
        text: &[u8],
        surroundings: &Surroundings<'_>,
    ) -> Result<(), Unclear> {
        if text.iter().any(|byte| *byte == 0) {
            return Err(Unclear::Nul);
        }
        *self = Self::empty();
        match libc {
            Libc::Glibc => glibc::read(text, surroundings, self)?,
            Libc::Musl => musl::read(text, self)?,
        }
        if self.nameserver_count == 0 {
            self.add_nameserver(Address::v4([127, 0, 0, 1]));
        }
        Ok(())
    }

    /// Takes the minor version of the glibc that reads the file into account, where it is known.
    pub fn under_glibc(&mut self, minor: Option<u32>) {
        if let Some(minor) = minor {
            self.no_aaaa &= minor >= NO_AAAA;
            self.drops_aaaa = self.no_aaaa;
        }
    }

    /// The nameservers that libc asks; never empty.
    pub fn nameservers(&self) -> &[Address] {
        self.nameservers.get(..self.nameserver_count).unwrap_or(&[])
    }

    /// What an empty file gives, before the nameserver that is asked then.
    pub(crate) const fn empty() -> Self {
        Self {
            nameservers: [Address::UNSPECIFIED; MAX_NAMESERVERS],
            nameserver_count: 0,
            search: SearchList::EMPTY,
            ndots: 1,
            no_tld_query: false,
            no_aaaa: false,
            drops_aaaa: false,
            no_reload: false,
        }
    }

    /// Takes one more nameserver; beyond [`MAX_NAMESERVERS`] none is asked.
    fn add_nameserver(&mut self, nameserver: Address) {
        if let Some(place) = self.nameservers.get_mut(self.nameserver_count) {
            *place = nameserver;
            self.nameserver_count = self.nameserver_count.saturating_add(1);
        }
    }

    fn set_ndots(&mut self, number: u32) {
        self.ndots = u8::try_from(number.min(MAX_NDOTS)).unwrap_or(1);
    }
}

/// The value of a line that begins with `keyword` and white space.
#[inline(never)]
fn value_of<'l>(line: &'l [u8], keyword: &[u8], blank: fn(u8) -> bool) -> Option<&'l [u8]> {
    let rest = after(line, keyword)?;
    rest.first()
        .is_some_and(|byte| blank(*byte))
        .then(|| trim_start(rest, blank))
}

/// Adds every word to the search list.
#[inline(never)]
fn push_words(text: &[u8], blank: fn(u8) -> bool, read: &mut ResolvConf) -> Result<(), Unclear> {
    let mut rest = trim_start(text, blank);
    while !rest.is_empty() {
        let (word, next) = split_word(rest, blank);
        read.search.push(word)?;
        rest = trim_start(next, blank);
    }
    Ok(())
}

#[cfg(test)]
mod tests;

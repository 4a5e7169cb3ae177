//! `/etc/resolv.conf` as each libc reads it, reduced to what a lookup here depends on: whose
//! nameservers, the search list, and the options that change names, questions, or how long a libc
//! would wait. How it would send its packets concerns nobody here.

mod glibc;
mod musl;
mod search;

use crate::c_text::{after, leading_number, split_word, trim_start};
use crate::sys::Libc;
use nss_k8s_zone::Address;
pub(crate) use search::Suffix;
pub use search::{MAX_SEARCH_ENTRIES, MAX_SEARCH_TEXT, SearchList};

/// How many nameservers a libc asks (`MAXNS` in both).
pub const MAX_NAMESERVERS: usize = 3;
/// `ndots` is cut to this (`RES_MAXNDOTS`; musl writes 15).
const MAX_NDOTS: u32 = 15;

/// `timeout` and `attempts` where the file says nothing, in both libcs.
const TIMEOUT: u8 = 5;
const ATTEMPTS: u8 = 2;

/// The scope of a nameserver behind an interface's name: only the kernel knows the number.
pub(crate) const UNKNOWN_SCOPE: u32 = u32::MAX;

/// The minor version of glibc that brought `no-aaaa`.
const NO_AAAA: u32 = 36;

/// What one libc makes of one resolv.conf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    nameservers: [Address; MAX_NAMESERVERS],
    nameserver_count: usize,
    /// Of each nameserver: the scope of an IPv6 address, 0 for none, or [`UNKNOWN_SCOPE`].
    scopes: [u32; MAX_NAMESERVERS],
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
    /// Seconds: glibc waits so long for one server at first, musl for all of them together.
    pub timeout: u8,
    /// How often glibc asks each server, and musl all of them. 0: not at all.
    pub attempts: u8,
    /// What glibc alone does as it asks; musl knows none of it.
    pub asking: Asking,
    /// glibc `no-reload`: later changes of the file do not count in this process.
    pub no_reload: bool,
}

/// glibc's options for questions and servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asking {
    /// `rotate`: any server may be the first.
    pub rotates: bool,
    /// `use-vc`: over TCP a server's error is its answer, and each server is asked once.
    pub over_tcp: bool,
    /// `edns0`: an OPT record in each question.
    pub extends: bool,
    /// `trust-ad` (2.31): the AD bit in each question.
    pub trusts_data: bool,
    /// `strict-error` (2.41): one family's error is not ignored because of the other's answer.
    pub is_strict: bool,
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

    /// The same in place, where nothing was read yet but, perhaps, this text: a copy is 4 KiB of
    /// somebody else's stack, and reading options again changes none.
    pub(crate) fn parse_here(
        &mut self,
        libc: Libc,
        text: &[u8],
        surroundings: &Surroundings<'_>,
    ) -> Result<(), Unclear> {
        if text.iter().any(|byte| *byte == 0) {
            return Err(Unclear::Nul);
        }
        self.nameserver_count = 0;
        self.search.clear();
        match libc {
            Libc::Glibc => glibc::read(text, surroundings, self)?,
            Libc::Musl => musl::read(text, self)?,
        }
        if self.nameserver_count == 0 {
            self.add_nameserver(Address::v4([127, 0, 0, 1]), 0);
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

    /// The nameservers with their scopes.
    pub(crate) fn servers(&self) -> impl Iterator<Item = (&Address, u32)> {
        self.nameservers().iter().zip(self.scopes.iter().copied())
    }

    /// What an empty file gives, before the nameserver that is asked then.
    pub(crate) const fn empty() -> Self {
        Self {
            nameservers: [Address::UNSPECIFIED; MAX_NAMESERVERS],
            nameserver_count: 0,
            scopes: [0; MAX_NAMESERVERS],
            search: SearchList::EMPTY,
            ndots: 1,
            no_tld_query: false,
            no_aaaa: false,
            drops_aaaa: false,
            timeout: TIMEOUT,
            attempts: ATTEMPTS,
            asking: Asking {
                rotates: false,
                over_tcp: false,
                extends: false,
                trusts_data: false,
                is_strict: false,
            },
            no_reload: false,
        }
    }

    /// Takes one more nameserver; beyond [`MAX_NAMESERVERS`] none is asked.
    fn add_nameserver(&mut self, nameserver: Address, scope: u32) {
        let count = self.nameserver_count;
        if let Some(place) = self.nameservers.get_mut(count)
            && let Some(its_scope) = self.scopes.get_mut(count)
        {
            *place = nameserver;
            *its_scope = scope;
            self.nameserver_count = self.nameserver_count.saturating_add(1);
        }
    }

    fn set_ndots(&mut self, number: u32) {
        self.ndots = u8::try_from(number.min(MAX_NDOTS)).unwrap_or(1);
    }
}

/// A number of seconds or attempts as the libcs cut it. One that cannot be read must not take the
/// zone away with it, and counts as the least.
fn bounded(text: &[u8], least: u8, most: u8) -> u8 {
    let number = leading_number(text).map_or(u32::from(least), |number| number.min(most.into()));
    u8::try_from(number).unwrap_or(most)
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

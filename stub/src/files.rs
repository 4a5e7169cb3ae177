//! The files of `/etc`, parsed once for the whole process.
//!
//! Each version is parsed into one anonymous mapping, published by one compare-and-swap and never
//! freed, so that readers need neither lock nor count. At most once a second somebody looks with
//! `stat` whether a file has changed. Nothing depends on a call coming to its end: a thread that
//! vanishes in the middle (siglongjmp, vfork and exec) leaves the old version published.
//!
//! ```text
//!   lookup --> current --> Files { settings, hosts file and its index }   immutable
//!                 ^
//!                 '-- compare-and-swap by who found a change, at most REPLACEMENTS times
//! ```

mod read;

use crate::host_conf;
use crate::hosts::{Aliases, Hosts, Lines, Listed, MAX_HOSTS_SLOTS, MAX_HOSTS_TEXT};
use crate::nsswitch::Sources;
use crate::outcome::{Outcome, Query, Reason};
use crate::resolv_conf::{ResolvConf, Surroundings, Unclear};
use crate::sys::{self, Libc};
use crate::walk::Settings;
use core::ffi::CStr;
use core::ptr::{NonNull, addr_of_mut, null_mut};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use nss_k8s_zone::{Address, Family, Name, Now};
use read::{Seen, read};

/// How often one process may see its files change. Beyond that it passes: what is published is
/// never freed, and a program whose resolv.conf changes all day is no pod.
const REPLACEMENTS: u32 = 64;

/// Whether nsswitch.conf and the hosts file are looked at. The NSS module is built without: glibc has
/// read them before it asks us.
pub(crate) const STANDS_BEFORE_LIBC: bool = cfg!(any(feature = "preload", not(feature = "guest")));

/// The files of this process.
static ETC: Cache = Cache::new(Paths {
    resolv_conf: c"/etc/resolv.conf",
    nsswitch: c"/etc/nsswitch.conf",
    hosts: c"/etc/hosts",
    host_conf: c"/etc/host.conf",
});

/// Where the files are.
#[derive(Clone, Copy)]
struct Paths {
    resolv_conf: &'static CStr,
    nsswitch: &'static CStr,
    hosts: &'static CStr,
    host_conf: &'static CStr,
}

/// The published version, and what decides when the next one is looked for.
struct Cache {
    paths: Paths,
    current: AtomicPtr<Files>,
    /// The second in which somebody last looked for changes.
    checked: AtomicU64,
    /// How often `current` was replaced.
    replaced: AtomicU32,
    /// A change was seen after the last replacement that is allowed.
    exhausted: AtomicBool,
}

/// One version of everything that is read from `/etc`.
pub(crate) struct Files {
    /// resolv.conf, nsswitch.conf and the environment of libc's resolver.
    pub(crate) settings: Settings,
    /// nsswitch.conf has `files` in front. On musl the hosts file always comes first.
    files_first: bool,
    versions: [Seen; 3],
    /// Which lines of the hosts file count.
    lines: Lines,
    /// How many of the slots are the hosts index; 0: there is none, any name may be in the file.
    hosts_size: usize,
    slots: [u64; MAX_HOSTS_SLOTS],
    /// How much of `text` is the hosts file.
    hosts_length: usize,
    /// Where every file is read to before it is parsed; the hosts file comes last and stays.
    text: [u8; MAX_HOSTS_TEXT],
}

/// A version of the hosts file that a lookup was answered from. It stays readable for good.
#[derive(Clone, Copy)]
pub struct HostsFile(&'static Files);

impl Files {
    /// The files of `/etc` as of at most a second ago. `None` when they cannot be read or mapped
    /// now: libc answers this lookup, and the next one tries again.
    pub(crate) fn current(libc: Libc, now: Now) -> Option<&'static Self> {
        ETC.current(libc, now)
    }

    /// Whether libc could find the name in the hosts file.
    pub(crate) fn hosts_may_have_name(&self, name: &[u8]) -> bool {
        self.hosts().is_none_or(|hosts| hosts.contains_name(name))
    }

    /// Whether libc could find the address in the hosts file.
    pub(crate) fn hosts_may_have_address(&self, address: &Address) -> bool {
        self.hosts()
            .is_none_or(|hosts| hosts.contains_address(address))
    }

    /// What a lookup of the name, as the program passed it, comes to at the hosts file; `None`: the
    /// next source is asked.
    #[inline(never)]
    pub(crate) fn hosts_addresses(
        &'static self,
        query: &Query<'_>,
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Option<Outcome> {
        self.conclude(|hosts| hosts.addresses(query.name, query.families, room, canonical))
    }

    /// The same of an address.
    #[inline(never)]
    pub(crate) fn hosts_names(
        &'static self,
        address: &Address,
        names: &mut [Name],
    ) -> Option<Outcome> {
        self.conclude(|hosts| hosts.names(address, names))
    }

    fn conclude(&'static self, ask: impl FnOnce(&Hosts<'_>) -> Listed) -> Option<Outcome> {
        let listed = match self.hosts() {
            Some(hosts) if self.files_first => ask(&hosts),
            _ => Listed::Unclear,
        };
        Some(match listed {
            Listed::Found(count) => match u16::try_from(count) {
                Ok(count) => Outcome::Hosts {
                    count,
                    file: HostsFile(self),
                },
                Err(_) => Outcome::Pass(Reason::Hosts),
            },
            Listed::OtherFamily => Outcome::NoData,
            Listed::Absent => return None,
            Listed::Room(count) => Outcome::Room(count),
            Listed::Unclear => Outcome::Pass(Reason::Hosts),
        })
    }

    fn hosts(&self) -> Option<Hosts<'_>> {
        let slots = self
            .slots
            .get(..self.hosts_size)
            .filter(|slots| !slots.is_empty())?;
        let text = self.text.get(..self.hosts_length)?;
        Some(Hosts::new(self.settings.libc, self.lines, text, slots))
    }

    /// `no-reload` freezes resolv.conf in glibc.
    fn keeps_resolv_conf(&self) -> bool {
        self.settings
            .resolv_conf
            .as_ref()
            .is_ok_and(|read| read.no_reload)
    }

    fn is_unchanged(&self, paths: &Paths) -> bool {
        let [resolv_conf, nsswitch, hosts] = &self.versions;
        (self.keeps_resolv_conf() || sys::file_version(paths.resolv_conf) == *resolv_conf)
            && (!STANDS_BEFORE_LIBC
                || sys::file_version(paths.nsswitch) == *nsswitch
                    && sys::file_version(paths.hosts) == *hosts)
    }

    /// Reads and parses everything into a new mapping.
    fn load(paths: &Paths, libc: Libc, old: Option<&Self>) -> Option<NonNull<Self>> {
        let memory: NonNull<Self> = sys::map_anonymous(size_of::<Self>())?.cast();
        // SAFETY: fresh memory, aligned to a page and as long as the struct; nobody else has it.
        let filled = unsafe { fill(memory.as_ptr(), paths, libc, old) };
        if filled.is_none() {
            discard(memory);
        }
        filled.map(|()| memory)
    }
}

impl HostsFile {
    /// The aliases of `name`, as the program passed it, in a glibc `hostent` of one family.
    pub fn aliases<'n>(&self, name: &'n [u8], family: Family) -> Option<Aliases<'static, 'n>> {
        self.0.hosts().map(|hosts| hosts.aliases(name, family))
    }
}

impl PartialEq for HostsFile {
    fn eq(&self, other: &Self) -> bool {
        core::ptr::eq(self.0, other.0)
    }
}

impl Eq for HostsFile {}

impl core::fmt::Debug for HostsFile {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter.write_str("HostsFile")
    }
}

impl Cache {
    const fn new(paths: Paths) -> Self {
        Self {
            paths,
            current: AtomicPtr::new(null_mut()),
            checked: AtomicU64::new(u64::MAX),
            replaced: AtomicU32::new(0),
            exhausted: AtomicBool::new(false),
        }
    }

    /// See [`Files::current`].
    fn current(&self, libc: Libc, now: Now) -> Option<&'static Files> {
        // Acquire: pairs with the Release of `publish`, makes the parsed files visible.
        let Some(known) = NonNull::new(self.current.load(Ordering::Acquire)) else {
            self.checked.store(now.0, Ordering::Relaxed);
            return Files::load(&self.paths, libc, None).map(|loaded| self.publish(None, loaded));
        };
        // SAFETY: what is published is complete, never written again and never unmapped.
        let files: &'static Files = unsafe { known.as_ref() };
        let is_checked = self.checked.load(Ordering::Relaxed) == now.0
            || self.checked.swap(now.0, Ordering::Relaxed) == now.0;
        if is_checked || files.is_unchanged(&self.paths) {
            return (!self.exhausted.load(Ordering::Relaxed)).then_some(files);
        }
        if self.replaced.load(Ordering::Relaxed) >= REPLACEMENTS {
            self.exhausted.store(true, Ordering::Relaxed);
            return None;
        }
        Files::load(&self.paths, libc, Some(files)).map(|loaded| self.publish(Some(known), loaded))
    }

    /// Publishes `loaded` in place of `known` and returns what is published now: that, or what
    /// another thread was quicker with.
    fn publish(&self, known: Option<NonNull<Files>>, loaded: NonNull<Files>) -> &'static Files {
        let expected = known.map_or(null_mut(), NonNull::as_ptr);
        // Release: whoever loads the pointer sees the parsed files.
        let published = self.current.compare_exchange(
            expected,
            loaded.as_ptr(),
            Ordering::Release,
            Ordering::Acquire,
        );
        let current = match published.map_err(NonNull::new) {
            Err(Some(other)) => {
                discard(loaded);
                other
            }
            Ok(_) | Err(None) => {
                if known.is_some() {
                    self.replaced.fetch_add(1, Ordering::Relaxed);
                }
                loaded
            }
        };
        // SAFETY: what is published is complete, never written again and never unmapped.
        unsafe { current.as_ref() }
    }
}

/// Gives back a version that nobody has seen.
fn discard(memory: NonNull<Files>) {
    // SAFETY: mapped with this size by `load`, and never published.
    unsafe { sys::unmap_anonymous(memory.cast(), size_of::<Files>()) }
}

/// Fills a new version in; `None` where a file could not be read for a reason that may pass.
///
/// # Safety
/// `files` points to zeroed memory of that size and alignment that nobody else uses.
unsafe fn fill(files: *mut Files, paths: &Paths, libc: Libc, old: Option<&Files>) -> Option<()> {
    // SAFETY: the caller's contract; any bytes are valid for these arrays, and the two do not
    // overlap.
    let (slots, scratch) = unsafe {
        (
            &mut *addr_of_mut!((*files).slots),
            &mut *addr_of_mut!((*files).text),
        )
    };
    let (nsswitch_seen, text) = read_before_libc(paths.nsswitch, libc, scratch)?;
    let minor = glibc_minor(libc);
    let sources = text.map_or(Sources::UNPLACED, |text| Sources::parse(text, minor));
    let lines = match (libc, old) {
        (Libc::Musl, _) => Lines::All,
        _ if !STANDS_BEFORE_LIBC => Lines::Unclear,
        // Read once in a process, by glibc as by us.
        (Libc::Glibc, Some(old)) => old.lines,
        (Libc::Glibc, None) => read(paths.host_conf, libc, scratch)?
            .1
            .map_or(Lines::Unclear, host_conf::parse),
    };
    let mut resolv_conf = Ok(ResolvConf::empty());
    let resolv_conf_seen = match old.filter(|old| old.keeps_resolv_conf()) {
        Some(old) => {
            resolv_conf.clone_from(&old.settings.resolv_conf);
            Err(0)
        }
        None => {
            let (seen, text) = read(paths.resolv_conf, libc, scratch)?;
            let parsed = match (text, &mut resolv_conf) {
                (Some(text), Ok(place)) => parse_resolv_conf(libc, text, place),
                _ => Err(Unclear::Unreadable),
            };
            if let Err(why) = parsed {
                resolv_conf = Err(why);
            }
            seen
        }
    };
    let host_aliases = libc == Libc::Glibc && environment(c"HOSTALIASES").is_some();
    let (hosts_seen, text) = read_before_libc(paths.hosts, libc, scratch)?;
    let hosts_length = text.map_or(0, <[u8]>::len);
    let hosts_size = text
        .and_then(|text| Hosts::parse(libc, text, slots))
        .unwrap_or(0);
    let settings = Settings {
        libc,
        resolv_conf,
        placement: sources.zone,
        host_aliases,
        module_asks: sources.module,
    };
    // SAFETY: as above; these fields overlap neither each other nor the arrays.
    unsafe {
        addr_of_mut!((*files).settings).write(settings);
        addr_of_mut!((*files).versions).write([resolv_conf_seen, nsswitch_seen, hosts_seen]);
        addr_of_mut!((*files).files_first).write(libc == Libc::Musl || sources.files_first);
        addr_of_mut!((*files).lines).write(lines);
        addr_of_mut!((*files).hosts_size).write(hosts_size);
        addr_of_mut!((*files).hosts_length).write(hosts_length);
    }
    Some(())
}

/// Reads a file that is looked at only in front of libc.
fn read_before_libc<'s>(
    path: &CStr,
    libc: Libc,
    room: &'s mut [u8],
) -> Option<(Seen, Option<&'s [u8]>)> {
    if STANDS_BEFORE_LIBC {
        read(path, libc, room)
    } else {
        Some((Err(0), None))
    }
}

/// Reads the text with what else libc takes into account.
#[inline(never)]
fn parse_resolv_conf(libc: Libc, text: &[u8], place: &mut ResolvConf) -> Result<(), Unclear> {
    let mut room = [0; 65];
    let mut asks = false;
    loop {
        // Asked for where libc would ask: a sandbox need not allow it elsewhere.
        let host_name = if asks {
            Some(sys::node_name(&mut room)).filter(|name| !name.is_empty())
        } else {
            None
        };
        let surroundings = Surroundings {
            local_domain: environment(c"LOCALDOMAIN").map(CStr::to_bytes),
            res_options: environment(c"RES_OPTIONS").map(CStr::to_bytes),
            host_name,
        };
        let parsed = place.parse_here(libc, text, &surroundings);
        if asks || parsed != Err(Unclear::HostName) {
            place.under_glibc(glibc_minor(libc));
            return parsed;
        }
        asks = true;
    }
}

/// See [`sys::glibc_minor`]; `None` on musl.
fn glibc_minor(libc: Libc) -> Option<u32> {
    match libc {
        Libc::Glibc => sys::glibc_minor(),
        Libc::Musl => None,
    }
}

/// A variable of the environment, unless the environment is somebody else's (`AT_SECURE`; glibc
/// takes these variables out of it then).
pub(crate) fn environment(name: &CStr) -> Option<&'static CStr> {
    if sys::secure() {
        None
    } else {
        sys::environment(name)
    }
}

#[cfg(test)]
mod tests;

//! A zone file seen from outside: copied while it is being written, then walked at leisure.

use super::{
    Config, Entry, Held, OpenError, State, Statistics, adopt::Scan, decode, files::failed, held,
    zone,
};
use crate::{
    LibcOs, Now, Os as _, Unavailable,
    layout::{
        AT_ALIVE, AT_APEX, AT_APEX_LENGTH, AT_COMMITTED, AT_CONFIG, AT_EPOCH, AT_HEAP, AT_ROOT,
        AT_SERIAL, AT_STATE, AT_SYNCED, AT_UPDATED, AT_VIEW, Flavor, GRANULE_WORDS, LINE_WORDS,
        Root, WORD,
    },
    mapping::{check, trusted_status},
    record::Head,
    sync::{AtomicU64, Ordering, fence},
    words::Words,
};
use std::{ffi::CString, io, os::unix::ffi::OsStrExt as _, path::Path};

/// How often a copy is tried while the writer reclaims.
const ATTEMPTS: u32 = 20;

/// A consistent private copy of a zone file, taken without the writer's lock.
#[derive(Clone, Debug)]
pub struct Dump {
    view: u32,
    apex: String,
    state: State,
    alive: Now,
    synced: Now,
    updated: Now,
    config: Config,
    entries: Vec<Entry>,
    statistics: Statistics,
}

impl Dump {
    /// Copies and checks the zone file at `path`, which must be one that processes would trust.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        dumped(path, Flavor::Zone, Self::of)
    }

    /// FNV-1a (32 bits) of the view's name.
    pub const fn view(&self) -> u32 {
        self.view
    }

    /// The apex.
    pub fn apex(&self) -> &str {
        &self.apex
    }

    /// The state word.
    pub const fn state(&self) -> State {
        self.state
    }

    /// When the writer was last alive.
    pub const fn alive(&self) -> Now {
        self.alive
    }

    /// When the watch was last proven healthy; 0: never.
    pub const fn synced(&self) -> Now {
        self.synced
    }

    /// When the zone last changed; 0: never.
    pub const fn updated(&self) -> Now {
        self.updated
    }

    /// What is configured.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Everything held: namespaces first, each sorted by name.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Figures; retired space counts as free.
    pub const fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Walks a copy.
    fn of(words: Words<'_>) -> Result<Self, &'static str> {
        let load = |at| words.load(at).ok_or("it is too short");
        let scan = Scan::run(words, Flavor::Zone)?;
        let mut entries: Vec<Entry> = scan
            .index
            .granules(words)
            .map(|(_, granule)| zone::entry(words, granule).ok_or("a record is malformed"))
            .collect::<Result<_, _>>()?;
        entries.sort_by_cached_key(|entry| match entry {
            Entry::Namespace(name) => (0, name.clone(), String::new()),
            Entry::Service { key, .. } => (1, key.namespace().to_owned(), key.service().to_owned()),
        });
        let bytes = (words.count() * WORD) as u64;
        let used = (AT_HEAP * WORD) as u64 + scan.reachable() * (GRANULE_WORDS * WORD) as u64;
        let length = usize::try_from(load(AT_APEX_LENGTH)?).map_err(|_| "its apex is too long")?;
        Ok(Self {
            view: load(AT_VIEW)? as u32,
            apex: decode::text(words, AT_APEX, length).ok_or("its apex is malformed")?,
            state: State::of(load(AT_STATE)?).ok_or("its state is impossible")?,
            alive: Now(load(AT_ALIVE)?),
            synced: Now(load(AT_SYNCED)?),
            updated: Now(load(AT_UPDATED)?),
            config: decode::config(words, load(AT_CONFIG)?)
                .ok_or("its configuration is malformed")?,
            entries,
            statistics: Statistics {
                bytes,
                used_bytes: used,
                free_bytes: bytes.saturating_sub(used),
                quarantined_bytes: 0,
                namespaces: scan.counts.namespaces,
                services: scan.counts.services,
                slices: scan.counts.slices,
                written_bytes: 0,
                serial: load(AT_SERIAL)?,
                epoch: load(AT_EPOCH)?,
                incomplete: scan.index.incomplete,
                main_lines: scan.index.root.main_lines.into(),
                ptr_lines: scan.index.root.ptr_lines.into(),
            },
        })
    }
}

/// A few things that a zone file holds, chosen without decoding the others.
#[derive(Clone, Debug)]
pub struct Sample {
    apex: String,
    entries: Vec<Entry>,
}

impl Sample {
    /// Copies the zone file at `path` as [`Dump::open`] does and takes at most `count` of what it holds;
    /// `choose` names each by a number below its argument. The same may be chosen again.
    pub fn open(
        path: &Path,
        count: usize,
        choose: &dyn Fn(usize) -> usize,
    ) -> Result<Self, OpenError> {
        dumped(path, Flavor::Zone, |words| Self::of(words, count, choose))
    }

    /// The apex.
    pub fn apex(&self) -> &str {
        &self.apex
    }

    /// What was chosen, in no order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn of(
        words: Words<'_>,
        count: usize,
        choose: &dyn Fn(usize) -> usize,
    ) -> Result<Self, &'static str> {
        let scan = Scan::run(words, Flavor::Zone)?;
        let all: Vec<u32> = scan.index.granules(words).map(|(_, it)| it).collect();
        let entries = (0..count)
            .filter_map(|_| all.get(choose(all.len())))
            .map(|granule| zone::entry(words, *granule).ok_or("a record is malformed"))
            .collect::<Result<_, _>>()?;
        let length = words.load(AT_APEX_LENGTH).ok_or("it is too short")?;
        let length = usize::try_from(length).map_err(|_| "its apex is too long")?;
        Ok(Self {
            apex: decode::text(words, AT_APEX, length).ok_or("its apex is malformed")?,
            entries,
        })
    }
}

/// A consistent private copy of a file of held answers.
#[derive(Clone, Debug)]
pub struct HeldDump {
    state: State,
    alive: Now,
    entries: Vec<(String, Held)>,
    bytes: u64,
}

impl HeldDump {
    /// Copies and checks the file at `path`, which must be one that processes would trust.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        dumped(path, Flavor::Held, Self::of)
    }

    /// The state word.
    pub const fn state(&self) -> State {
        self.state
    }

    /// When the writer was last alive.
    pub const fn alive(&self) -> Now {
        self.alive
    }

    /// Names with what is held of them, expired or not; sorted.
    pub fn entries(&self) -> &[(String, Held)] {
        &self.entries
    }

    /// The file's size.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Walks a copy.
    fn of(words: Words<'_>) -> Result<Self, &'static str> {
        let load = |at| words.load(at).ok_or("it is too short");
        let scan = Scan::run(words, Flavor::Held)?;
        let entry = |granule| {
            let head = Head::load(words, granule)?;
            Some((decode::key(words, &head)?, held::decode(words, &head)?))
        };
        let mut entries: Vec<(String, Held)> = scan
            .index
            .granules(words)
            .map(|(_, granule)| entry(granule).ok_or("a record is malformed"))
            .collect::<Result<_, _>>()?;
        entries.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(Self {
            state: State::of(load(AT_STATE)?).ok_or("its state is impossible")?,
            alive: Now(load(AT_ALIVE)?),
            entries,
            bytes: (words.count() * WORD) as u64,
        })
    }
}

/// What `of` makes of a copy of the file. A file that is not live yet reuses its space at once, so
/// its copy may have to be taken again.
fn dumped<T>(
    path: &Path,
    flavor: Flavor,
    of: impl Fn(Words<'_>) -> Result<T, &'static str>,
) -> Result<T, OpenError> {
    let os = LibcOs;
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| failed("open", path)(io::ErrorKind::InvalidInput.into()))?;
    let descriptor = os
        .open(&name)
        .map_err(|error| failed("open", path)(io::Error::from_raw_os_error(error)))?;
    let mut attempts = 0;
    let dumped = loop {
        let made = match copy(descriptor, flavor) {
            Ok(copied) => of(Words::new(&copied)),
            Err(error) => break Err(error),
        };
        match made {
            Ok(dump) => break Ok(dump),
            Err(why) if attempts == ATTEMPTS => break Err(io::Error::other(why)),
            Err(_) => attempts += 1,
        }
    };
    os.close(descriptor);
    dumped.map_err(failed("read", path))
}

/// Copies the open file until no byte can have been reused meanwhile.
fn copy(descriptor: i32, flavor: Flavor) -> io::Result<Vec<AtomicU64>> {
    let os = LibcOs;
    let status = trusted_status(&os, descriptor).map_err(|why| {
        io::Error::other(match why {
            Unavailable::Untrusted => "its owner, mode, type or file system is not to be trusted",
            _ => "it cannot be examined",
        })
    })?;
    let size = usize::try_from(status.size).map_err(io::Error::other)?;
    if size < crate::layout::UNIT {
        return Err(io::Error::other("it is too short"));
    }
    let start = os
        .map(descriptor, size)
        .map_err(io::Error::from_raw_os_error)?;
    // SAFETY: just mapped, `size` bytes are backed by the file, which never shrinks; the writer
    // uses atomic stores.
    let words = unsafe { Words::from_raw(start.as_ptr(), size / WORD) };
    let copied = copy_words(words, flavor);
    // SAFETY: `words` is not used any more.
    unsafe { os.unmap(start, size) };
    copied.map_err(io::Error::other)
}

/// One copy in which every slot leads to what it led to when it was loaded.
fn copy_words(words: Words<'_>, flavor: Flavor) -> Result<Vec<AtomicU64>, &'static str> {
    check(words, flavor).map_err(|_| "it is no zone of this version")?;
    for _ in 0..ATTEMPTS {
        let load = |at| words.load(at).unwrap_or(0);
        let begin = load(AT_EPOCH);
        fence(Ordering::Acquire);
        let committed = (load(AT_COMMITTED) as usize).min(words.count());
        let root = Root::unpack(load(AT_ROOT));
        fence(Ordering::Acquire);
        let size = LINE_WORDS * (1 + root.main_lines + root.ptr_lines) as usize;
        // References before what they lead to: what is reachable is complete before it can be.
        let region: Vec<u64> = (root.word()..root.word() + size).map(load).collect();
        let config = load(AT_CONFIG);
        fence(Ordering::Acquire);
        let mut copied: Vec<u64> = (0..committed).map(load).collect();
        fence(Ordering::Acquire);
        if load(AT_EPOCH).wrapping_sub(begin) > 1 {
            continue;
        }
        let Some(target) = copied.get_mut(root.word()..root.word() + size) else {
            return Err("its index is past the end");
        };
        target.copy_from_slice(&region);
        copied[AT_CONFIG] = config;
        // The root may have moved on since, to a region that is incomplete in this copy.
        copied[AT_ROOT] = root.pack();
        copied[AT_COMMITTED] = committed as u64;
        return Ok(copied.into_iter().map(AtomicU64::new).collect());
    }
    Err("the writer is too busy")
}

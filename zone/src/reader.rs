//! The reading side: one consistent version of the zone per lookup, without a lock, a write to the
//! mapping or a descriptor held.
//!
//! Every load from the mapping is relaxed (Rust guarantees no other on read-only memory) and
//! ordered by fences. The writer reuses retired bytes only after the epoch has moved by two, so an
//! attempt counts when the epoch moved by at most one while it ran.

use crate::{
    Os,
    layout::{AT_ALIVE, AT_COMMITTED, AT_CONFIG, AT_EPOCH, AT_ROOT, AT_STATE, Flavor, Root, state},
    mapping::{Mapping, trusted_status},
    settings::Settings,
    snapshot::Snapshot,
    sync::{AtomicU64, Ordering, Step, fence, leaves_out},
    words::Words,
};
use core::ffi::CStr;

/// How often a lookup tries again when the writer was faster.
const ATTEMPTS: u32 = 4;
/// Of a look for another file: there is none. No caller is told.
const IN_VAIN: Unavailable = Unavailable::Busy;

/// Coarse real time, unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(pub u64);

/// Why the zone cannot be asked at all: the caller passes. As wide as a count, so that a [`Found`]
/// travels in two registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(usize)]
pub enum Unavailable {
    /// No zone file, or it may not be opened.
    Absent,
    /// The file is not one that may be trusted (owner, mode, type, file system).
    Untrusted,
    /// Another major version, an unknown incompatible feature.
    Version,
    /// Bytes that no writer of this format leaves.
    Corrupt,
    /// The agent has not listed everything yet.
    Syncing,
    /// The kill switch.
    Disabled,
    /// The agent has not been alive for too long.
    Dead,
    /// The epoch moved under every attempt.
    Busy,
}

/// Why a name inside the zone must be asked of DNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[repr(usize)]
pub enum Ask {
    /// The service is absent in a namespace that exists and the miss policy says ask.
    Miss,
    /// The same, of a name below such a service: `db.data` looked for in namespace `prod` becomes
    /// `db.data.prod.svc`, so that a walk of the search list comes by here all the time.
    MissBelow,
    /// Under a suffix that the configuration excepts.
    Excepted,
    /// The agent does not hold this kind of name.
    NotHeld,
    /// The agent has not been alive lately: a miss proves nothing.
    Stale,
    /// The index could not take every name, or the file had no space for it: a miss proves nothing.
    Incomplete,
    /// A record kind or flag of a later minor version.
    Unknown,
    /// More CNAMEs in a row than are followed, perhaps a loop.
    Chain,
}

/// What the zone says of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// So many entries of the room are filled; `canonical` is the CNAME target, or empty when the
    /// name asked for owns the data itself.
    Answer {
        /// Entries filled.
        count: usize,
    },
    /// The name exists without data of that type (`canonical` as with `Answer`).
    NoData,
    /// Authoritatively absent.
    NxDomain,
    /// A CNAME whose target (in `canonical`) is outside the zone.
    Chase,
    /// In the zone, but only DNS can tell.
    Ask(Ask),
    /// Not in the zone.
    Outside,
    /// The room is too small: so many entries are needed.
    Room(usize),
    /// The record could not be read: the caller passes.
    Unavailable(Unavailable),
}

/// One zone file, seen from one process: a few atomic words, usable from a `static`.
///
/// What it has mapped it never unmaps: a superseded mapping is overlaid with zeros, because another
/// thread may still be reading it.
pub struct Reader {
    /// See [`Mapping`].
    mapping: AtomicU64,
    /// See [`Mapping::identify`]; about another mapping when a thread was stopped before storing it.
    identity: AtomicU64,
    /// The second of the last attempt to open that failed << 8 | why.
    failure: AtomicU64,
    /// What the file must hold.
    flavor: Flavor,
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// Of a zone; nothing is mapped yet.
    #[cfg(not(loom))]
    pub const fn new() -> Self {
        Self::of(Flavor::Zone)
    }

    /// Of a zone; nothing is mapped yet.
    #[cfg(loom)]
    pub fn new() -> Self {
        Self::of(Flavor::Zone)
    }

    /// Of a file of held answers, for [`Snapshot::held`]; nothing is mapped yet.
    #[cfg(not(loom))]
    pub const fn of_held() -> Self {
        Self::of(Flavor::Held)
    }

    #[cfg(not(loom))]
    const fn of(flavor: Flavor) -> Self {
        Self {
            mapping: AtomicU64::new(Mapping::NONE),
            identity: AtomicU64::new(0),
            failure: AtomicU64::new(0),
            flavor,
        }
    }

    #[cfg(loom)]
    fn of(flavor: Flavor) -> Self {
        Self {
            mapping: AtomicU64::new(Mapping::NONE),
            identity: AtomicU64::new(0),
            failure: AtomicU64::new(0),
            flavor,
        }
    }

    /// Runs `ask` against a consistent version of the zone, up to four times when the writer
    /// moved on meanwhile; what `ask` returned (and wrote) counts only when this returns `Ok`.
    /// Maps the file first when need be, at most one attempt a second.
    #[inline]
    pub fn read<T>(
        &self,
        os: &impl Os,
        path: &CStr,
        now: Now,
        mut ask: impl FnMut(&Snapshot<'_>) -> T,
    ) -> Result<T, Unavailable> {
        let mut word = self.mapping.load(Ordering::Acquire);
        for _ in 0..ATTEMPTS {
            let Some(mapping) = Mapping::unpack(word) else {
                word = self.open(os, path, now, word, Unavailable::Absent)?;
                continue;
            };
            // SAFETY: the word was published, by this reader.
            let words = unsafe { mapping.words() };
            word = match attempt(words, mapping.place(), now, &mut ask) {
                Ok(answer) => return Ok(answer),
                Err(Retry::Again) => self.mapping.load(Ordering::Acquire),
                Err(Retry::Grown) => self.grow(os, path, now, word, words)?,
                Err(Retry::Left) => self.open(os, path, now, word, Unavailable::Absent)?,
                // Whatever keeps this file from being asked: a writer that died between its rename
                // and the last store to the old file leaves that as it is for good.
                Err(Retry::Pass(why)) => {
                    let next = self.open(os, path, now, word, IN_VAIN);
                    next.map_err(|_| why)?
                }
                Err(Retry::Stale(answer)) => match self.open(os, path, now, word, IN_VAIN) {
                    Ok(next) => next,
                    Err(_) => return Ok(answer),
                },
            };
        }
        Err(Unavailable::Busy)
    }

    /// Replaces the mapping behind `word` by one of the file that is at `path` now. Returns the
    /// word to go on with. At most one attempt a second fails; the others repeat its verdict.
    ///
    /// `same` is the verdict where that file is mapped already: [`IN_VAIN`] of one that may still
    /// be left, which is then opened in the same second.
    #[cold]
    fn open(
        &self,
        os: &impl Os,
        path: &CStr,
        now: Now,
        word: u64,
        same: Unavailable,
    ) -> Result<u64, Unavailable> {
        let current = self.mapping.load(Ordering::Acquire);
        if current == Mapping::POISONED {
            return Err(Unavailable::Absent);
        }
        let old = Mapping::unpack(word);
        if Mapping::unpack(current).map(Mapping::start) != old.map(Mapping::start) {
            return Ok(current);
        }
        if let Some(why) = self.failure_at(now)
            && (why != IN_VAIN || same == IN_VAIN)
        {
            return Err(why);
        }
        let identity = self.identity.load(Ordering::Relaxed);
        let opened = Mapping::open(os, path, self.flavor, |status| {
            old.is_some_and(|old| old.identify(status) == identity && old.holds(os, status))
        });
        let (mapping, status) = match opened {
            Ok(opened) => opened,
            Err(why) => {
                let why = why.unwrap_or(same);
                self.failure
                    .store(now.0 << 8 | code(why), Ordering::Relaxed);
                return Err(why);
            }
        };
        let Some(packed) = mapping.pack() else {
            mapping.discard(os);
            return Err(Unavailable::Absent);
        };
        // Publishes the mapping: pairs with the acquire loads of `read`.
        let swapped =
            self.mapping
                .compare_exchange(current, packed, Ordering::AcqRel, Ordering::Acquire);
        if let Err(other) = swapped
            && !leaves_out(Step::Winner)
        {
            mapping.discard(os);
            return Ok(other);
        }
        self.identity
            .store(mapping.identify(&status), Ordering::Relaxed);
        // Only the thread whose swap succeeded comes here, so the old range is overlaid once. Where
        // that fails its inode would stay pinned at each replacement: rather none from now on.
        if old.is_some_and(|old| !old.overlay(os)) {
            self.mapping.store(Mapping::POISONED, Ordering::Release);
            return Err(Unavailable::Absent);
        }
        Ok(packed)
    }

    /// What an attempt to open came to in this second, if it failed.
    fn failure_at(&self, now: Now) -> Option<Unavailable> {
        let failure = self.failure.load(Ordering::Relaxed);
        (failure != 0 && failure >> 8 == now.0 & (u64::MAX >> 8)).then(|| reason(failure))
    }

    /// Makes more of a file that has grown readable. Returns the word to go on with. Where there is
    /// no more, another attempt would read, and end, as the one before did, unless there is another
    /// file, or this one is larger than the window.
    #[cold]
    fn grow(
        &self,
        os: &impl Os,
        path: &CStr,
        now: Now,
        word: u64,
        words: Words<'_>,
    ) -> Result<u64, Unavailable> {
        let Some(mapping) = Mapping::unpack(word) else {
            return Err(Unavailable::Busy);
        };
        let committed = words.load(AT_COMMITTED).unwrap_or(0);
        let identity = self.identity.load(Ordering::Relaxed);
        let same_file = || {
            if self.failure_at(now).is_some() {
                return None;
            }
            let descriptor = os.open(path).ok()?;
            let status = trusted_status(os, descriptor);
            os.close(descriptor);
            let status = status.ok()?;
            (mapping.identify(&status) == identity).then_some(status.size)
        };
        if let Some(packed) = mapping
            .grown(os, committed, same_file)
            .and_then(Mapping::pack)
        {
            // Whoever loses finds another thread's word, at least as good.
            let _ =
                self.mapping
                    .compare_exchange(word, packed, Ordering::AcqRel, Ordering::Relaxed);
        }
        let next = self.mapping.load(Ordering::Acquire);
        if next != word {
            return Ok(next);
        }
        let same = match mapping.has_room_for(committed) {
            true => IN_VAIN,
            false => Unavailable::Absent,
        };
        let next = self.open(os, path, now, word, same);
        next.map_err(|_| Unavailable::Busy)
    }
}

/// Why an attempt did not come to an answer.
pub(crate) enum Retry<T> {
    /// The writer was faster.
    Again,
    /// The file has grown past what is verified.
    Grown,
    /// Superseded, or overlaid with zeros.
    Left,
    /// An answer, but nobody has been writing lately.
    Stale(T),
    /// No answer from this zone.
    Pass(Unavailable),
}

/// One attempt: epoch, question, epoch again.
#[inline]
pub(crate) fn attempt<T>(
    words: Words<'_>,
    spread: u64,
    now: Now,
    ask: &mut impl FnMut(&Snapshot<'_>) -> T,
) -> Result<T, Retry<T>> {
    const CORRUPT: Unavailable = Unavailable::Corrupt;
    let load = |at| words.load(at).ok_or(CORRUPT);
    let begin = load(AT_EPOCH).map_err(Retry::Pass)?;
    // Nothing below is older than this epoch: not the root either, or a region could be entered
    // that was given back before.
    if !leaves_out(Step::FirstFence) {
        fence(Ordering::Acquire);
    }
    match load(AT_STATE).map_err(Retry::Pass)? {
        state::LIVE => {}
        state::DISABLED => return Err(Retry::Pass(Unavailable::Disabled)),
        0 | state::SUPERSEDED => return Err(Retry::Left),
        _ => return Err(Retry::Pass(Unavailable::Syncing)),
    }
    // No writer stores such an epoch.
    if begin < 2 {
        return Err(Retry::Pass(CORRUPT));
    }
    let root = load(AT_ROOT).map_err(Retry::Pass)?;
    let config = load(AT_CONFIG).map_err(Retry::Pass)?;
    // Pairs with the release stores that committed the region and the configuration.
    if !leaves_out(Step::RootFence) {
        fence(Ordering::Acquire);
    }
    let settings = Settings::load(words, config);
    let age = now.0.saturating_sub(load(AT_ALIVE).map_err(Retry::Pass)?);
    let freshness = settings.map_or(Freshness::Fresh, |settings| {
        freshness(age, spread, &settings)
    });
    if freshness == Freshness::Dead {
        return Err(Retry::Pass(Unavailable::Dead));
    }
    let stale = freshness == Freshness::Stale;
    let snapshot = settings.and_then(|settings| {
        let stamp = stamp(words, begin, config);
        Snapshot::take(words, root, settings, stale, stamp)
    });
    let known = settings.is_none_or(|settings| settings.is_known());
    let answer = snapshot.as_ref().filter(|_| known).map(&mut *ask);
    // Pairs with the release fence between an epoch's store and the first store to reused bytes: if
    // any load above saw such a byte, the load below sees that epoch.
    if !leaves_out(Step::LastFence) {
        fence(Ordering::Acquire);
    }
    let consistent = is_consistent(words, begin).ok_or(Retry::Pass(CORRUPT))?;
    if !consistent {
        return Err(Retry::Again);
    }
    if !known {
        return Err(Retry::Pass(Unavailable::Version));
    }
    let failed = snapshot.is_none_or(|snapshot| snapshot.has_failed());
    if failed && load(AT_COMMITTED).map_err(Retry::Pass)? > words.count() as u64 {
        return Err(Retry::Grown);
    }
    match answer {
        Some(answer) if stale => Err(Retry::Stale(answer)),
        Some(answer) => Ok(answer),
        None => Err(Retry::Pass(CORRUPT)),
    }
}

/// Whether nothing that was read since the epoch was `begin` can have been overwritten, and the zone
/// is still the one in force. Zeros are what an overlaid mapping holds. `None` past the end.
#[inline]
fn is_consistent(words: Words<'_>, begin: u64) -> Option<bool> {
    let end = words.load(AT_EPOCH)?;
    let root = words.load(AT_ROOT)?;
    // The control run of the proofs leaves the comparison out, and must then see torn answers.
    let moved = if leaves_out(Step::EpochCheck) {
        0
    } else {
        end.wrapping_sub(begin)
    };
    let in_force = Root::unpack(root).main_lines != 0 && words.load(AT_STATE)? == state::LIVE;
    Some(moved <= 1 && (in_force || leaves_out(Step::Recheck)))
}

/// See [`Snapshot::stamp`]: where the zone is mapped, its epoch, and where its configuration is.
#[inline]
fn stamp(words: Words<'_>, epoch: u64, config: u64) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut stamp = (words.address() as u64).wrapping_mul(ODD);
    stamp = (stamp ^ (stamp >> 32) ^ epoch).wrapping_mul(ODD);
    stamp = (stamp ^ (stamp >> 32) ^ config).wrapping_mul(ODD);
    stamp ^ (stamp >> 32)
}

/// How recently the writer was alive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Freshness {
    /// Hits and misses count.
    Fresh,
    /// Hits count.
    Stale,
    /// Nothing does.
    Dead,
}

/// Judges the age of the last beat. The end is spread over processes, so that not all of a node
/// turn to the cluster DNS in one second.
#[inline]
fn freshness(age: u64, spread: u64, settings: &Settings) -> Freshness {
    if age <= settings.stale_after() {
        return Freshness::Fresh;
    }
    let share = spread.checked_rem(settings.dead_after()).unwrap_or(0);
    if age > settings.dead_after().saturating_add(share) {
        Freshness::Dead
    } else {
        Freshness::Stale
    }
}

/// A reason in a byte.
const fn code(why: Unavailable) -> u64 {
    match why {
        Unavailable::Untrusted => 1,
        Unavailable::Version => 2,
        Unavailable::Corrupt => 3,
        IN_VAIN => 4,
        _ => 0,
    }
}

/// The inverse of [`code`].
const fn reason(failure: u64) -> Unavailable {
    match failure as u8 {
        1 => Unavailable::Untrusted,
        2 => Unavailable::Version,
        3 => Unavailable::Corrupt,
        4 => IN_VAIN,
        _ => Unavailable::Absent,
    }
}

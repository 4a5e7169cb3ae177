//! A view in shadow: libc answers, what we would have said is compared with that and counted, so that
//! somebody can see before a namespace is switched on that nothing will change.
//!
//! ```text
//!   lookup --> zone in shadow? --> pass --> libc's answer --> the program
//!                                             '--> compared with the zone's --> Counters
//!   nss-k8s-explain --shadow --/proc/<pid>/mem--> Counters of each process
//! ```
//!
//! The counters are found from outside by their first sixteen bytes in the library's writable memory:
//! no symbol is exported, nothing is written anywhere.

use crate::files::STANDS_BEFORE_LIBC;
use crate::outcome::{Outcome, Reason};
use crate::process;
use crate::sys;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use nss_k8s_zone::Snapshot;

/// How [`Counters`] begin in memory: `"nss-k8s shadow 1"`. Another layout has another number.
pub const MAGIC: [u64; 2] = [
    u64::from_le_bytes(*b"nss-k8s "),
    u64::from_le_bytes(*b"shadow 1"),
];

/// Words of [`Counters`].
pub const WORDS: usize = 18;

/// Seconds for which another answer after a change of the zone proves nothing: the cluster's DNS
/// server and caches before it keep what they have for up to 30 (CoreDNS's `cache 30`).
pub const SETTLES_AFTER: u64 = 35;

/// What became of one comparison; the number is the place of its count behind [`Counters::FIRST`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Verdict {
    /// Libc said what we would have said.
    Same = 0,
    /// Other addresses.
    Addresses = 1,
    /// Addresses from one, none from the other; or none for another reason.
    Status = 2,
    /// Another answer of either kind, shortly after the zone had changed.
    Lately = 3,
    /// Libc got no answer: not a difference.
    Failed = 4,
    /// We would have left the lookup to libc.
    Passed = 5,
}

impl Verdict {
    /// All of them, in the order of their counts.
    pub const ALL: [Self; 6] = [
        Self::Same,
        Self::Addresses,
        Self::Status,
        Self::Lately,
        Self::Failed,
        Self::Passed,
    ];

    /// The word for people and for the debug line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Addresses => "different-addresses",
            Self::Status => "different-status",
            Self::Lately => "different-lately",
            Self::Failed => "failed",
            Self::Passed => "passed",
        }
    }
}

/// The counts of one process, as they lie in its memory. Never reset but in a forked child, which
/// begins anew.
#[repr(C)]
pub struct Counters {
    magic: [AtomicU64; 2],
    /// [`crate::BUILD`].
    build: AtomicU64,
    /// The process that these are the counts of, by its own idea of its number. Another one than the
    /// process's: they are its parent's.
    process: AtomicU64,
    /// Whether the zone was in shadow when it was last looked at.
    on: AtomicU64,
    counts: [AtomicU64; Verdict::ALL.len()],
    /// The last name that gave a difference: its first bytes, and zeros. Words of two names may mix.
    name: [AtomicU64; NAME_WORDS],
}

const NAME_WORDS: usize = 7;

impl Counters {
    /// The word of the library's build.
    pub const BUILD: usize = 2;
    /// The word of the process's number.
    pub const PROCESS: usize = 3;
    /// The word that is 1 while the zone is in shadow.
    pub const ON: usize = 4;
    /// The word of the first count.
    pub const FIRST: usize = 5;
    /// The word where the last name begins; it ends with the counters.
    pub const NAME: usize = 11;

    /// Nothing counted.
    const fn new() -> Self {
        let [first, second] = MAGIC;
        Self {
            magic: [AtomicU64::new(first), AtomicU64::new(second)],
            build: AtomicU64::new(crate::BUILD),
            process: AtomicU64::new(0),
            on: AtomicU64::new(0),
            counts: [const { AtomicU64::new(0) }; Verdict::ALL.len()],
            name: [const { AtomicU64::new(0) }; NAME_WORDS],
        }
    }

    /// Adds one.
    fn count(&self, process: u64, verdict: Verdict, name: &[u8]) {
        if self.process.load(Relaxed) != process {
            for count in &self.counts {
                count.store(0, Relaxed);
            }
            self.process.store(process, Relaxed);
        }
        if let Some(count) = self.counts.get(verdict as usize) {
            count.fetch_add(1, Relaxed);
        }
        if matches!(
            verdict,
            Verdict::Addresses | Verdict::Status | Verdict::Lately
        ) {
            let mut bytes = name.iter();
            for word in &self.name {
                let mut text = [0; 8];
                for (to, from) in text.iter_mut().zip(&mut bytes) {
                    *to = *from;
                }
                word.store(u64::from_le_bytes(text), Relaxed);
            }
        }
    }
}

const _: () = assert!(size_of::<Counters>() == WORDS * 8);
const _: () = assert!(Counters::NAME == Counters::FIRST + Verdict::ALL.len());

/// This process's. (`used`: as a whole, although nobody in here reads its first words.)
#[cfg_attr(feature = "preload", used)]
static COUNTERS: Counters = Counters::new();

/// Whether what passed was perhaps passed because the zone is in shadow.
#[inline]
pub fn is_on() -> bool {
    STANDS_BEFORE_LIBC && COUNTERS.on.load(Relaxed) != 0
}

/// Notes that the zone is in shadow.
pub(crate) fn switch_on() {
    if STANDS_BEFORE_LIBC {
        COUNTERS.on.store(1, Relaxed);
    }
}

/// The seconds since the zone last changed, if it is in shadow still.
#[inline(never)]
pub fn settled_for() -> Option<u64> {
    let now = sys::now();
    let mut age = None;
    let path = process::zone_path().ok()?;
    let read = process::read(path, now, true, &mut |snapshot: &Snapshot<'_>| {
        age = snapshot
            .is_shadow()
            .then(|| now.0.saturating_sub(u64::from(snapshot.serial())));
        Outcome::Pass(Reason::Shadow)
    });
    if read.is_ok() && age.is_none() {
        COUNTERS.on.store(0, Relaxed);
    }
    age.filter(|_| read.is_ok())
}

/// Counts one comparison, and says so where that is wanted.
pub fn count(call: &str, name: &[u8], verdict: Verdict) {
    COUNTERS.count(sys::process_number(), verdict, name);
    sys::debug_shadow(call, name, verdict.as_str());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(counters: &Counters) -> Vec<u64> {
        // SAFETY: so many words, which are atomics.
        let words: &[AtomicU64; WORDS] = unsafe { &*core::ptr::from_ref(counters).cast() };
        words.iter().map(|word| word.load(Relaxed)).collect()
    }

    #[test]
    fn counts_lie_where_readers_look_for_them() {
        let counters = Counters::new();
        for (index, verdict) in Verdict::ALL.into_iter().enumerate() {
            for _ in 0..=index {
                counters.count(7, verdict, b"api.shop");
            }
        }
        let words = words(&counters);
        assert_eq!(words[..2], MAGIC);
        assert_eq!(words[Counters::BUILD], crate::BUILD);
        assert_eq!(words[Counters::PROCESS], 7);
        assert_eq!(words[Counters::FIRST..Counters::NAME], [1, 2, 3, 4, 5, 6]);
        assert_eq!(words[Counters::NAME], u64::from_le_bytes(*b"api.shop"));
        assert_eq!(words[Counters::NAME + 1..], [0; 6]);
    }

    #[test]
    fn a_forked_child_begins_anew() {
        let counters = Counters::new();
        counters.count(7, Verdict::Same, b"a");
        counters.count(7, Verdict::Same, b"a");
        counters.count(8, Verdict::Failed, b"a");
        let words = words(&counters);
        assert_eq!(words[Counters::FIRST..Counters::NAME], [0, 0, 0, 0, 1, 0]);
    }

    #[test]
    fn only_differences_leave_their_name() {
        let counters = Counters::new();
        counters.count(7, Verdict::Same, b"same");
        assert_eq!(words(&counters)[Counters::NAME], 0);
        let long = [b'x'; 100];
        counters.count(7, Verdict::Status, &long);
        assert_eq!(
            words(&counters)[WORDS - 1],
            u64::from_le_bytes(*b"xxxxxxxx")
        );
        counters.count(7, Verdict::Lately, b"db");
        assert_eq!(words(&counters)[Counters::NAME..][..2], [0x6264, 0]);
    }
}

//! The CONFIG record as a reader sees it.

use crate::{
    Address, Family,
    layout::{WORD, bits, config, kind},
    record::granule_word,
    rules::StoredRules,
    words::Words,
};

/// Who asks for names outside the zone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum External {
    /// The host's libc, as if nobody stood before it.
    #[default]
    Off = 0,
    /// The process itself, over TCP, from its own network namespace.
    Pod = 1,
    /// The agent's forwarder.
    Node = 2,
}

/// The configuration behind one version of the zone.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// First word of the record.
    at: usize,
    /// Flags : 16, pod mode : 8, miss policy : 8, TTL : 32, from the low end.
    policy: u64,
    /// Stale after : 32, dead after : 32.
    ages: u64,
    /// Disabled permille : 16, IPv4 : 8 and IPv6 : 8 name servers, suffixes : 16, builds : 16.
    counts: u64,
}

impl Settings {
    /// The record at `granule`; `None` past the end or when it is no CONFIG record.
    pub(crate) fn load(words: Words<'_>, granule: u64) -> Option<Self> {
        let at = granule_word(u32::try_from(granule).ok()?);
        let [first, policy, ages, counts] = words.range(at, 4)? else {
            return None;
        };
        let load = |word: &crate::sync::AtomicU64| word.load(crate::sync::Ordering::Relaxed);
        if load(first) as u8 != kind::CONFIG {
            return None;
        }
        Some(Self {
            at,
            policy: load(policy),
            ages: load(ages),
            counts: load(counts),
        })
    }

    /// Whether this version knows all flags and policies.
    pub(crate) const fn is_known(&self) -> bool {
        self.flags() & !config::KNOWN == 0
            && bits(self.flags(), config::EXTERNAL_SHIFT, 2) <= config::EXTERNAL_NODE
            && self.pod_mode() <= config::PODS_DISABLED + 1
            && self.miss_policy() <= config::MISS_NXDOMAIN
    }

    /// See [`config`].
    pub(crate) const fn flags(&self) -> u64 {
        bits(self.policy, 0, 16)
    }

    /// Who asks for names outside the zone.
    pub(crate) const fn external(&self) -> External {
        match bits(self.flags(), config::EXTERNAL_SHIFT, 2) {
            config::EXTERNAL_POD => External::Pod,
            config::EXTERNAL_NODE => External::Node,
            _ => External::Off,
        }
    }

    /// Whether there are rules.
    pub(crate) const fn has_rules(&self) -> bool {
        self.flags() & config::RULES != 0
    }

    /// See [`config`].
    pub(crate) const fn pod_mode(&self) -> u64 {
        bits(self.policy, 16, 8)
    }

    /// See [`config`].
    pub(crate) const fn miss_policy(&self) -> u64 {
        bits(self.policy, 24, 8)
    }

    /// Seconds.
    pub(crate) const fn ttl(&self) -> u32 {
        (self.policy >> 32) as u32
    }

    /// Seconds.
    pub(crate) const fn stale_after(&self) -> u64 {
        bits(self.ages, 0, 32)
    }

    /// Seconds.
    pub(crate) const fn dead_after(&self) -> u64 {
        bits(self.ages, 32, 32)
    }

    /// Whether a build is refused, a share disabled, or the view in shadow.
    #[inline]
    pub(crate) const fn excludes(&self) -> bool {
        const BUILDS_AND_PERMILLE: u64 = 0xffff_0000_0000_ffff;
        (self.counts & BUILDS_AND_PERMILLE) | (self.policy & config::SHADOW) != 0
    }

    /// 0 to 1000.
    pub(crate) const fn disabled_permille(&self) -> u16 {
        self.counts as u16
    }

    /// IPv4 name servers.
    pub(crate) const fn v4(&self) -> usize {
        bits(self.counts, 16, 8) as usize
    }

    /// IPv6 name servers.
    pub(crate) const fn v6(&self) -> usize {
        bits(self.counts, 24, 8) as usize
    }

    /// Excepted suffixes.
    pub(crate) const fn suffixes(&self) -> usize {
        bits(self.counts, 32, 16) as usize
    }

    /// Refused builds.
    pub(crate) const fn builds(&self) -> usize {
        bits(self.counts, 48, 16) as usize
    }

    /// Where the IPv4 name servers start.
    const fn v4_at(&self) -> usize {
        self.at.wrapping_add(4)
    }

    /// Where the IPv6 name servers start.
    const fn v6_at(&self) -> usize {
        self.v4_at().wrapping_add(self.v4().div_ceil(2))
    }

    /// Where the refused builds start.
    const fn builds_at(&self) -> usize {
        self.v6_at().wrapping_add(self.v6().wrapping_mul(2))
    }

    /// The cluster's name servers of one family; `None` past the end.
    pub(crate) fn nameservers<'z>(
        &self,
        words: Words<'z>,
        family: Family,
    ) -> Option<impl Iterator<Item = Address> + use<'z>> {
        use crate::record::Addresses;
        match family {
            Family::V4 => Addresses::load(words, family, self.v4_at(), self.v4()),
            Family::V6 => Addresses::load(words, family, self.v6_at(), self.v6()),
        }
    }

    /// Whether `build` is refused; `None` past the end.
    pub(crate) fn refuses(&self, words: Words<'_>, build: u64) -> Option<bool> {
        let refused = words.range(self.builds_at(), self.builds())?;
        Some(
            refused
                .iter()
                .any(|word| word.load(crate::sync::Ordering::Relaxed) == build),
        )
    }

    /// The refused builds; `None` past the end.
    #[cfg(feature = "writer")]
    pub(crate) fn refused_builds(&self, words: Words<'_>) -> Option<Vec<u64>> {
        let refused = words.range(self.builds_at(), self.builds())?;
        Some(
            refused
                .iter()
                .map(|word| word.load(crate::sync::Ordering::Relaxed))
                .collect(),
        )
    }

    /// Where the suffixes are, and their lengths in bytes; `None` inside: past the end.
    pub(crate) fn suffix_texts<'z>(
        &self,
        words: Words<'z>,
    ) -> impl Iterator<Item = Option<(usize, usize)>> + use<'z> {
        let mut at = self.builds_at().wrapping_add(self.builds());
        (0..self.suffixes()).map(move |_| {
            let length = usize::try_from(words.load(at)?)
                .ok()
                .filter(|length| *length < 256)?;
            let text = at.wrapping_add(1);
            at = text.wrapping_add(length.div_ceil(WORD));
            Some((text, length))
        })
    }

    /// The rules, of a configuration that has some; `None` past the end.
    pub(crate) fn rules<'z>(&self, words: Words<'z>) -> Option<StoredRules<'z>> {
        let mut at = self.builds_at().wrapping_add(self.builds());
        for text in self.suffix_texts(words) {
            let (text, length) = text?;
            at = text.wrapping_add(length.div_ceil(WORD));
        }
        StoredRules::load(words, at)
    }
}

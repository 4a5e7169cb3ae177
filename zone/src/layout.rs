//! Where everything is in a zone file, in words of 8 bytes; docs/ZONE-FORMAT.md is the prose.

#[cfg(not(all(target_endian = "little", target_pointer_width = "64")))]
compile_error!("the zone is an array of little-endian 8-byte words, read one load at a time");

/// Bytes per word.
pub(crate) const WORD: usize = 8;
/// Words per line (64 bytes).
pub(crate) const LINE_WORDS: usize = 8;
/// Words per granule (16 bytes), the unit of record offsets and sizes.
pub(crate) const GRANULE_WORDS: usize = 2;
/// Granules per line.
pub(crate) const LINE_GRANULES: u32 = 4;
/// File sizes are multiples of this, whatever the page size (4, 16 or 64 KiB).
pub(crate) const UNIT: usize = 64 * 1024;
/// No reader maps more.
pub(crate) const MAX_BYTES: usize = 1 << 30;

/// `"nss-k8s\0"`.
pub(crate) const MAGIC: u64 = u64::from_le_bytes(*b"nss-k8s\0");
/// Another major version is another file name.
pub(crate) const MAJOR: u16 = 1;
/// Minor versions add kinds and flags.
#[cfg(feature = "writer")]
pub(crate) const MINOR: u16 = 0;

/// What a file holds: told by a bit among the incompatible features, so that whoever expects the
/// other passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// The cluster's zone.
    Zone,
    /// Answers to external names, each with an expiry. Its apex is the root: no bytes.
    Held,
}

impl Flavor {
    /// Its incompatible features.
    pub(crate) const fn features(self) -> u64 {
        match self {
            Self::Zone => 0,
            Self::Held => 1,
        }
    }

    /// Whether its apex may have so many bytes.
    pub(crate) const fn admits_apex(self, length: u64) -> bool {
        match self {
            Self::Zone => length != 0 && length <= crate::MAX_TEXT as u64,
            Self::Held => length == 0,
        }
    }
}

// Line 0: identity; never changes for an inode.
/// The magic number.
pub(crate) const AT_MAGIC: usize = 0;
/// Major version : 16, minor version : 16, incompatible features : 32, from the low end.
pub(crate) const AT_VERSION: usize = 1;
/// Random, one per inode.
#[cfg(feature = "writer")]
pub(crate) const AT_INSTANCE: usize = 2;
/// FNV-1a of the view's name.
pub(crate) const AT_VIEW: usize = 3;
/// Unix seconds.
#[cfg(feature = "writer")]
pub(crate) const AT_CREATED: usize = 4;
/// Bytes of the apex.
pub(crate) const AT_APEX_LENGTH: usize = 5;
/// CRC-32C of words 0 to 6 and of the apex's words.
pub(crate) const AT_CHECKSUM: usize = 7;

// Line 1: hot.
/// The reclaim epoch, at least 2.
pub(crate) const AT_EPOCH: usize = 8;
/// See [`Root`].
pub(crate) const AT_ROOT: usize = 9;
/// Words that may be read.
pub(crate) const AT_COMMITTED: usize = 10;
/// See [`state`].
pub(crate) const AT_STATE: usize = 11;
/// Granule of the CONFIG record.
pub(crate) const AT_CONFIG: usize = 12;
/// Unix seconds: the writer runs.
pub(crate) const AT_ALIVE: usize = 13;
/// Unix seconds: the watch is proven healthy.
#[cfg(feature = "writer")]
pub(crate) const AT_SYNCED: usize = 14;

// Line 2: cold.
/// Commits since the file was created.
#[cfg(feature = "writer")]
pub(crate) const AT_SERIAL: usize = 16;
/// Unix seconds of the last commit.
pub(crate) const AT_UPDATED: usize = 17;

/// The apex in lower case without a trailing dot, zero-padded: 32 words.
pub(crate) const AT_APEX: usize = 32;
/// Words of the apex's room.
pub(crate) const APEX_WORDS: usize = 32;
/// The heap: page 1 and on.
#[cfg(feature = "writer")]
pub(crate) const AT_HEAP: usize = 512;

/// Values of the state word.
pub(crate) mod state {
    /// Being created.
    #[cfg(feature = "writer")]
    pub(crate) const INIT: u64 = 1;
    /// Not everything has been listed yet.
    #[cfg(feature = "writer")]
    pub(crate) const SYNCING: u64 = 2;
    /// Serving.
    pub(crate) const LIVE: u64 = 3;
    /// Another inode took over.
    pub(crate) const SUPERSEDED: u64 = 4;
    /// The kill switch.
    pub(crate) const DISABLED: u64 = 5;
}

/// Kinds of records: the low byte of their first word.
pub(crate) mod kind {
    /// The configuration.
    pub(crate) const CONFIG: u8 = 1;
    /// A namespace.
    pub(crate) const NAMESPACE: u8 = 2;
    /// A service with addresses of its own.
    pub(crate) const SERVICE: u8 = 3;
    /// A service that answers its endpoints' addresses.
    pub(crate) const HEADLESS: u8 = 4;
    /// A CNAME.
    pub(crate) const EXTERNAL: u8 = 5;
    /// Endpoint slices whose service has not come yet: absent to readers.
    pub(crate) const PENDING: u8 = 6;
    /// The answers to one external name.
    pub(crate) const HELD: u8 = 7;
    /// One endpoint slice.
    pub(crate) const CHUNK: u8 = 16;
    /// An index region.
    pub(crate) const REGION: u8 = 32;
}

/// A chunk's endpoints have host names.
pub(crate) const CHUNK_NAMED: u8 = 1;
/// An endpoint is ready.
pub(crate) const ENDPOINT_READY: u32 = 1;
/// An endpoint's address is served by another slice of its service.
#[cfg(feature = "writer")]
pub(crate) const ENDPOINT_SHADOWED: u32 = 2;

/// What a HELD record says of a family: bits 16 to 18 of its second word for IPv4, 19 to 21 for
/// IPv6.
pub(crate) mod verdict {
    /// Nothing: also every value that this version does not know.
    #[cfg(feature = "writer")]
    pub(crate) const UNKNOWN: u64 = 0;
    /// The addresses in the record are all that there are; none: NODATA.
    pub(crate) const DATA: u64 = 1;
    /// NXDOMAIN.
    pub(crate) const NXDOMAIN: u64 = 2;
}

/// In a HELD record's flags: the IPv6 addresses belong to another name than the IPv4 ones.
pub(crate) const HELD_OTHER_TARGET: u8 = 1;
/// The largest time to live of a HELD record, in seconds: beyond it the clock was put back.
pub(crate) const MAX_HELD_TTL: u64 = 86_400;

/// Flags of the CONFIG record.
pub(crate) mod config {
    /// Any name server will do.
    pub(crate) const ANY_NAMESERVER: u64 = 1;
    /// An address that is not found has no name.
    pub(crate) const PTR_AUTHORITATIVE: u64 = 2;
    /// Endpoint names below ClusterIP services are complete.
    pub(crate) const ENDPOINTS_HELD: u64 = 4;
    /// A file with answers of other names lies beside the zone.
    pub(crate) const HOLDS_EXTERNAL: u64 = 8;
    /// Who asks for names outside the zone: two bits from here.
    pub(crate) const EXTERNAL_SHIFT: u32 = 4;
    /// There are rules.
    pub(crate) const RULES: u64 = 64;
    /// Libc answers; what the zone would have said is only compared.
    pub(crate) const SHADOW: u64 = 128;
    /// All flags of this version.
    pub(crate) const KNOWN: u64 = 255;
    /// External names: the process asks.
    pub(crate) const EXTERNAL_POD: u64 = 1;
    /// External names: the agent asks.
    pub(crate) const EXTERNAL_NODE: u64 = 2;
    /// Pod mode: NXDOMAIN.
    pub(crate) const PODS_DISABLED: u64 = 0;
    /// Miss policy: NXDOMAIN.
    pub(crate) const MISS_NXDOMAIN: u64 = 1;
}

/// Kinds and flags of rules in the CONFIG record.
pub(crate) mod rule {
    /// Rewrites the whole name.
    pub(crate) const EXACT: u8 = 1;
    /// Rewrites the first labels.
    pub(crate) const PREFIX: u8 = 2;
    /// Rewrites the last bytes.
    pub(crate) const SUFFIX: u8 = 3;
    /// The name and all below it do not exist.
    pub(crate) const BLOCK: u8 = 4;
    /// Namespaces that relative names do not reach.
    pub(crate) const GUARD: u8 = 5;
    /// The rules behind it are tried, too.
    pub(crate) const CONTINUES: u64 = 1;
    /// The most rules.
    pub(crate) const MAX_COUNT: usize = 256;
    /// The most bytes of their texts: a lookup may go through all of them.
    pub(crate) const MAX_TEXT: usize = 16 * 1024;
}

/// An empty slot: nothing was ever put further along the chain.
pub(crate) const EMPTY: u64 = 0;
/// A deleted slot.
#[cfg(feature = "writer")]
pub(crate) const TOMBSTONE: u64 = 1;
/// The slot number of a PTR hint that stands for more than [`MAX_HINTS`].
pub(crate) const MANY: u32 = u32::MAX;
/// Hints per address.
#[cfg(feature = "writer")]
pub(crate) const MAX_HINTS: usize = 8;
/// Added to the main slot number in a PTR hint, so that no hint looks empty or deleted.
pub(crate) const HINT_BIAS: u32 = 2;
/// Lines that a probe visits at most.
pub(crate) const MAX_PROBE_LINES: usize = 16;
/// In a region's first word: the index could not take every name.
pub(crate) const REGION_INCOMPLETE: u64 = 1 << 8;
/// Lines of an index come in multiples of this.
#[cfg(feature = "writer")]
pub(crate) const LINES_STEP: u32 = 16;

/// The root word: the current index region, in one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Root {
    /// The region's first line.
    pub(crate) line: u32,
    /// Lines of the index for names.
    pub(crate) main_lines: u32,
    /// Lines of the index for addresses.
    pub(crate) ptr_lines: u32,
}

impl Root {
    /// Line : 28, names' lines / 16 : 18, addresses' lines / 16 : 17, spare : 1, from the low end.
    pub(crate) const fn unpack(word: u64) -> Self {
        Self {
            line: (word & 0x0FFF_FFFF) as u32,
            main_lines: (((word >> 28) & 0x3_FFFF) as u32) << 4,
            ptr_lines: (((word >> 46) & 0x1_FFFF) as u32) << 4,
        }
    }

    /// The inverse of [`Root::unpack`].
    #[cfg(feature = "writer")]
    pub(crate) const fn pack(self) -> u64 {
        self.line as u64
            | ((self.main_lines as u64) >> 4) << 28
            | ((self.ptr_lines as u64) >> 4) << 46
    }

    /// The word where the region starts.
    pub(crate) const fn word(self) -> usize {
        (self.line as usize).wrapping_mul(LINE_WORDS)
    }

    /// Granules of the region: its own line and those of both indexes.
    pub(crate) const fn region_granules(self) -> u64 {
        let lines = (self.main_lines as u64).wrapping_add(self.ptr_lines as u64);
        lines.wrapping_add(1).wrapping_mul(LINE_GRANULES as u64)
    }

    /// The word where line `line` of the names' index starts.
    pub(crate) const fn main_word(self, line: u32) -> usize {
        self.word()
            .wrapping_add(LINE_WORDS)
            .wrapping_add((line as usize).wrapping_mul(LINE_WORDS))
    }

    /// The word where line `line` of the addresses' index starts.
    pub(crate) const fn ptr_word(self, line: u32) -> usize {
        self.main_word(self.main_lines.wrapping_add(line))
    }
}

/// The bits of `word` from `shift` on, `width` (at most 63) of them.
pub(crate) const fn bits(word: u64, shift: u32, width: u32) -> u64 {
    word.wrapping_shr(shift) & 1_u64.wrapping_shl(width).wrapping_sub(1)
}

//! Hashes: SipHash-1-3 for the index, FNV-1a to tell host names apart, CRC-32C for the identity.

use crate::words::text_words;

/// The two words of a region's seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seed(pub(crate) u64, pub(crate) u64);

impl Seed {
    /// The hash of an owner name relative to `svc.<apex>`.
    #[inline]
    pub(crate) fn of_key(self, key: &[u8]) -> Hash {
        Hash(sip13(self, key))
    }

    /// The hash of an address's octets. A key of its own: the two indexes share one seed.
    #[inline]
    pub(crate) fn of_address(self, octets: &[u8]) -> Hash {
        Hash(sip13(Self(self.0 ^ 0x7074_725f_7074_725f, self.1), octets))
    }
}

/// Where a key's chain starts, and its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hash(pub(crate) u64);

impl Hash {
    /// The first of `lines` lines: the high half, scaled.
    pub(crate) const fn line(self, lines: u32) -> u32 {
        ((self.0 >> 32).wrapping_mul(lines as u64) >> 32) as u32
    }

    /// The low half.
    pub(crate) const fn tag(self) -> u32 {
        self.0 as u32
    }
}

/// SipHash with one round per word and three at the end (Aumasson and Bernstein, 2012).
fn sip13(seed: Seed, text: &[u8]) -> u64 {
    let mut v = [
        seed.0 ^ 0x736f_6d65_7073_6575,
        seed.1 ^ 0x646f_7261_6e64_6f6d,
        seed.0 ^ 0x6c79_6765_6e65_7261,
        seed.1 ^ 0x7465_6462_7974_6573,
    ];
    let (full, tail) = text_words(text);
    for word in full {
        v = absorb(v, word);
    }
    let length = (text.len() as u64) << 56;
    let [a, b, c, d] = absorb(v, tail | length);
    let [a, b, c, d] = round(round(round([a, b, c ^ 0xff, d])));
    a ^ b ^ c ^ d
}

/// One word of the message.
#[inline]
const fn absorb(v: [u64; 4], word: u64) -> [u64; 4] {
    let [a, b, c, d] = v;
    let [a, b, c, d] = round([a, b, c, d ^ word]);
    [a ^ word, b, c, d]
}

/// SipRound.
#[inline]
const fn round(v: [u64; 4]) -> [u64; 4] {
    let [mut a, mut b, mut c, mut d] = v;
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

/// FNV-1a, 32 bits: a host name's fingerprint in a chunk.
pub(crate) fn fnv1a(text: &[u8]) -> u32 {
    text.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

/// CRC-32C (Castagnoli) of words, low byte first. Bit by bit: it runs once per mapping, and a table
/// would be larger than everything else that the in-process libraries hold.
pub(crate) fn crc32c(words: impl Iterator<Item = u64>) -> u32 {
    let mut crc = u32::MAX;
    for word in words {
        for byte in word.to_le_bytes() {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = (crc >> 1) ^ (0x82f6_3b78 & 0_u32.wrapping_sub(crc & 1));
            }
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::{Seed, crc32c, fnv1a, sip13};
    use core::hash::Hasher as _;

    /// The standard library's SipHash-1-3 has no public constructor with keys but the deprecated
    /// one of SipHash-2-4, so the vectors come from `DefaultHasher` (keys zero, SipHash-1-3).
    #[test]
    #[allow(clippy::std_instead_of_core)]
    fn sip13_agrees_with_the_standard_library() {
        for length in 0..40_u8 {
            let text: Vec<u8> = (0..length).collect();
            let mut hasher = std::hash::DefaultHasher::new();
            hasher.write(&text);
            assert_eq!(sip13(Seed(0, 0), &text), hasher.finish(), "{length} bytes");
        }
    }

    #[test]
    fn a_seed_changes_the_chains() {
        let (one, two) = (Seed(1, 2), Seed(1, 3));
        assert_ne!(one.of_key(b"api.shop"), two.of_key(b"api.shop"));
        assert_ne!(one.of_key(b"abcd"), one.of_address(b"abcd"));
    }

    #[test]
    fn published_vectors_of_crc32c_and_fnv1a() {
        // RFC 3720 appendix B.4: 32 bytes of zeros, and of ones.
        assert_eq!(crc32c([0; 4].into_iter()), 0x8a91_36aa);
        assert_eq!(crc32c([u64::MAX; 4].into_iter()), 0x62a8_ab43);
        assert_eq!(fnv1a(b"foobar"), 0xbf9c_f968);
    }
}

//! Domain names as they stand in messages (RFC 1035 section 3.1), and the way to and from the text
//! that the zone is asked with.

use nss_k8s_zone::Name;
use std::fmt;

/// Octets of the longest name, its root included (RFC 1035 section 2.3.4).
pub(super) const LONGEST: usize = 255;
/// Octets of the longest label.
const LONGEST_LABEL: usize = 63;
/// What a dot inside a label becomes in text. No name of the zone has such a byte, so that names with
/// it are never found, and the labels of the text are those of the name.
const NO_DOT: u8 = 0xff;

/// An uncompressed name in wire format, its case kept.
#[derive(Clone, Copy)]
pub(super) struct WireName {
    length: u8,
    octets: [u8; LONGEST],
}

impl WireName {
    /// The root.
    pub(super) const ROOT: Self = Self {
        length: 1,
        octets: [0; LONGEST],
    };

    /// The uncompressed name at the start of `octets`; `None` for anything else.
    pub(super) fn read(octets: &[u8]) -> Option<Self> {
        let mut at = 0;
        loop {
            match usize::from(*octets.get(at)?) {
                0 => break,
                label if label <= LONGEST_LABEL => at += label + 1,
                _ => return None,
            }
        }
        Self::copy(octets.get(..=at)?)
    }

    /// The name at `at` in a message, pointers followed (section 4.1.4), and where what comes after
    /// it starts. `None`: it ends too early, is too long, or does not end.
    pub(super) fn decompress(message: &[u8], at: usize) -> Option<(Self, usize)> {
        let mut name = [0; LONGEST];
        let mut length = 0;
        let mut from = at;
        let mut end = None;
        loop {
            let octet = *message.get(from)?;
            match octet {
                0 => {
                    *name.get_mut(length)? = 0;
                    let this = Self::copy(name.get(..=length)?)?;
                    return Some((this, end.unwrap_or(from + 1)));
                }
                0xc0.. => {
                    let low = *message.get(from + 1)?;
                    end.get_or_insert(from + 2);
                    let target = usize::from(u16::from_be_bytes([octet & 0x3f, low]));
                    // Pointers lead back, so that every way through them ends.
                    if target >= from {
                        return None;
                    }
                    from = target;
                }
                label if usize::from(label) <= LONGEST_LABEL => {
                    let size = usize::from(label) + 1;
                    let label = message.get(from..from + size)?;
                    name.get_mut(length..length + size)?.copy_from_slice(label);
                    length += size;
                    from += size;
                }
                _ => return None,
            }
        }
    }

    /// A name given as labels joined by dots, with or without the last dot. `None` when it is none.
    pub(super) fn from_text(text: &[u8]) -> Option<Self> {
        let text = text.strip_suffix(b".").unwrap_or(text);
        let mut octets = Vec::with_capacity(text.len() + 2);
        if !text.is_empty() {
            for label in text.split(|byte| *byte == b'.') {
                if label.is_empty() || label.len() > LONGEST_LABEL {
                    return None;
                }
                octets.push(u8::try_from(label.len()).ok()?);
                octets.extend_from_slice(label);
            }
        }
        octets.push(0);
        Self::copy(&octets)
    }

    /// The octets, the root's included.
    pub(super) fn as_octets(&self) -> &[u8] {
        self.octets.get(..usize::from(self.length)).unwrap_or(&[0])
    }

    /// The name in lower case as text without the last dot, as the zone is asked. `None` is never
    /// returned for a name that was read: 255 octets are 253 characters.
    pub(super) fn fold(&self) -> Option<Name> {
        let mut text = [0; LONGEST];
        let mut length = 0;
        let mut rest = self.as_octets();
        while let Some((&size, tail)) = rest.split_first() {
            if size == 0 {
                break;
            }
            let (label, next) = tail.split_at_checked(usize::from(size))?;
            if length > 0 {
                text[length] = b'.';
                length += 1;
            }
            for byte in label {
                text[length] = match byte {
                    b'.' => NO_DOT,
                    byte => byte.to_ascii_lowercase(),
                };
                length += 1;
            }
            rest = next;
        }
        let mut name = Name::new();
        name.push(text.get(..length)?).then_some(name)
    }

    /// The last labels that have so many octets, the root's included; the root when they are more
    /// than there are. Counted from a name that this one is known to end with.
    pub(super) fn tail(&self, octets: usize) -> &[u8] {
        let all = self.as_octets();
        all.get(all.len().wrapping_sub(octets)..).unwrap_or(&[0])
    }

    /// This name with `suffix` (octets of a name) in the place of its last `cut` octets.
    pub(super) fn with_tail(&self, cut: usize, suffix: &[u8]) -> Option<Self> {
        let all = self.as_octets();
        let mut octets = all.get(..all.len().checked_sub(cut)?)?.to_vec();
        octets.extend_from_slice(suffix);
        Self::copy(&octets)
    }

    fn copy(octets: &[u8]) -> Option<Self> {
        let mut name = Self::ROOT;
        name.octets.get_mut(..octets.len())?.copy_from_slice(octets);
        name.length = u8::try_from(octets.len()).ok()?;
        Some(name)
    }
}

impl fmt::Debug for WireName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.as_octets().escape_ascii())
    }
}

impl PartialEq for WireName {
    /// The case counts.
    fn eq(&self, other: &Self) -> bool {
        self.as_octets() == other.as_octets()
    }
}

impl Eq for WireName {}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> WireName {
        WireName::from_text(text.as_bytes()).unwrap()
    }

    #[test]
    fn text_and_octets() {
        let api = name("Api.Shop");
        assert_eq!(api.as_octets(), b"\x03Api\x04Shop\0");
        assert_eq!(api.fold().unwrap().as_bytes(), b"api.shop");
        assert_eq!(name("").as_octets(), b"\0");
        assert_eq!(name("."), WireName::ROOT);
        assert!(WireName::ROOT.fold().unwrap().is_empty());
        for text in ["a..b", ".a", &"a".repeat(64), &"a.".repeat(128)] {
            assert!(WireName::from_text(text.as_bytes()).is_none(), "{text}");
        }
        assert_eq!(api.tail(6), b"\x04Shop\0");
        assert_eq!(api.tail(60), b"\0");
        assert_eq!(api.with_tail(6, b"\x01b\0"), Some(name("Api.b")));
    }

    #[test]
    fn a_dot_inside_a_label_is_none_between_labels() {
        let odd = WireName::read(b"\x08api.shop\0").unwrap();
        assert_eq!(odd.fold().unwrap().as_bytes(), b"api\xffshop");
    }

    #[test]
    fn what_is_read_ends() {
        assert_eq!(WireName::read(b"\x01a\0rest"), Some(name("a")));
        for octets in [&b""[..], b"\x01", b"\x01a", b"\xc0\x0c", b"\x40a\0"] {
            assert_eq!(WireName::read(octets), None, "{octets:?}");
        }
        let longest = [[63; 64].as_slice(), &[63; 64], &[63; 64], &[61; 62], &[0]].concat();
        assert_eq!(longest.len(), LONGEST);
        let read = WireName::read(&longest).unwrap();
        assert_eq!(read.fold().unwrap().as_bytes().len(), 253);
        let longer = [[63; 64].as_slice(), &[63; 64], &[63; 64], &[62; 63], &[0]].concat();
        assert_eq!(WireName::read(&longer), None);
    }

    #[test]
    fn pointers_lead_back() {
        let message = b"\x03com\0\x01a\xc0\0\xc0\x05\xc0\x0b";
        assert_eq!(WireName::decompress(message, 5), Some((name("a.com"), 9)));
        assert_eq!(WireName::decompress(message, 9), Some((name("a.com"), 11)));
        // At itself, past the end.
        assert_eq!(WireName::decompress(message, 11), None);
        assert_eq!(WireName::decompress(message, 13), None);
    }
}

//! Questions for records of any type, answered as the DNS message that CoreDNS would send for its
//! kubernetes plugin (plugin/kubernetes/handler.go, plugin/backend_lookup.go).
//!
//! ```text
//!   res_search --> walk over View::addresses (does the candidate have such records?)
//!                    |
//!                    v  the candidate that ends it, or the last one
//!                  Sheet::fit --> message in the caller's buffer
//! ```

mod sheet;

use crate::files::STANDS_BEFORE_LIBC;
use crate::message::kind;
use crate::outcome::{Outcome, Reason};
use crate::question::Question;
use crate::resolv_conf::{ResolvConf, Suffix};
use crate::sys::{self, Libc, ResolverState};
use crate::walk::{Errands, Lookup, ZoneView, ignore, walk};
use core::cell::Cell;
use nss_k8s_zone::{Address, Ask, Families, Found, Name, Ruling, Snapshot, text};
use sheet::Sheet;

/// One question for records.
#[derive(Clone, Copy)]
pub struct RecordQuery<'a> {
    /// The bytes that the program passed, without the terminating NUL.
    pub name: &'a [u8],
    /// The type's number. The class is IN.
    pub kind: u16,
    /// Whether the search list is walked; else the name is asked for as it is.
    pub searches: bool,
    /// glibc's state that the question is asked with.
    pub state: Option<&'a ResolverState>,
}

/// So many addresses or names are gathered on the stack; with more the server is asked.
const NEAR_ADDRESSES: usize = 48;
const NEAR_NAMES: usize = 4;

/// Answers `question` from the zone: `Answer` holds the message's length; the message of a negative
/// answer is in the buffer, too, as it is after libc's functions. Where the message does not fit,
/// libc asks and cuts.
pub(crate) fn answer(
    libc: Libc,
    resolv_conf: &ResolvConf,
    snapshot: &Snapshot<'_>,
    question: &Question<'_>,
    kind: u16,
    buffer: &mut [u8],
) -> Outcome {
    let last = Cell::new((Name::new(), Found::Outside));
    let records = Records { snapshot };
    let view = View {
        snapshot,
        records: Some(&|name| {
            let found = records.find(name, kind);
            let mut copy = Name::new();
            if copy.push(name) {
                last.set((copy, found));
            }
            found
        }),
    };
    let mut name = Name::new();
    let lookup = Lookup {
        libc,
        resolv_conf,
        question,
    };
    // Not willing: a message from a server is libc's to read.
    let mut errands = Errands::new();
    let outcome = walk(
        &lookup,
        &view,
        &mut errands,
        &mut [],
        &mut name,
        &mut ignore,
    );
    let (folded, found) = last.get();
    match outcome {
        Outcome::Answer { .. } => {}
        Outcome::NoData | Outcome::NxDomain => {
            if !spell(libc, resolv_conf, question, &folded, &mut name) {
                return Outcome::Pass(Reason::Malformed);
            }
        }
        Outcome::Room(_) => return Outcome::Pass(Reason::Buffer),
        outcome => return outcome,
    }
    let sheet = Sheet {
        snapshot,
        kind,
        name: name.as_bytes(),
        folded: folded.as_bytes(),
        found,
        identifier: (sys::shuffle_seed() >> 48) as u16,
    };
    match (sheet.fit(libc, buffer), outcome) {
        (None, _) => Outcome::Pass(Reason::Buffer),
        (Some(length), Outcome::Answer { .. }) => Outcome::Answer { count: length },
        (Some(_), outcome) => outcome,
    }
}

/// Spells a candidate as libc puts it into the question: the program's name, and the suffix as
/// resolv.conf has it.
fn spell(
    libc: Libc,
    resolv_conf: &ResolvConf,
    question: &Question<'_>,
    folded: &Name,
    name: &mut Name,
) -> bool {
    name.clear();
    let suffix = folded.as_bytes().get(question.name.len()..).unwrap_or(&[]);
    let mut entries = resolv_conf.search.suffixes(libc);
    let written = entries.find_map(|entry| match entry {
        Suffix::Domain { written, folded } if suffix.strip_prefix(b".") == Some(folded) => {
            Some(written)
        }
        _ => None,
    });
    let is_whole = name.push(question.name);
    match written {
        Some(written) => is_whole && name.push_suffix(written),
        None => is_whole && name.push(suffix),
    }
}

/// Says what the zone has of the records that are asked for at a name.
pub(crate) type Find<'f> = dyn Fn(&[u8]) -> Found + 'f;

/// The zone as the walk asks it. One type for addresses and for records of any type, so that there
/// is one copy of the walk.
pub(crate) struct View<'v, 'z> {
    pub(crate) snapshot: &'v Snapshot<'z>,
    /// Whether a name has the records that are asked for, whose owner is the question's name;
    /// nothing: addresses are asked for. (A reference, not a flag: the module, where nobody asks for
    /// records, is linked without them.)
    pub(crate) records: Option<&'v Find<'v>>,
}

impl ZoneView for View<'_, '_> {
    fn trusts_nameserver(&self, nameserver: &Address) -> bool {
        self.snapshot.trusts_nameserver(nameserver)
    }

    #[inline]
    fn addresses(
        &self,
        name: &[u8],
        families: Families,
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Found {
        match self.records {
            Some(find) if STANDS_BEFORE_LIBC => find(name),
            _ => self.snapshot.addresses(name, families, room, canonical),
        }
    }

    fn has_rules(&self) -> bool {
        self.snapshot.has_rules()
    }

    fn rule(&self, name: &mut Name, relative: Option<(&[u8], &[u8])>) -> Ruling {
        match (self.snapshot.rule(name, relative), self.records) {
            (Ruling::Unruled, _) => Ruling::Unruled,
            // The message would have to speak of both names.
            (_, Some(_)) if STANDS_BEFORE_LIBC => Ruling::TooLong,
            (ruling, _) => ruling,
        }
    }
}

/// Which names have records of which types.
struct Records<'r, 'z> {
    snapshot: &'r Snapshot<'z>,
}

impl Records<'_, '_> {
    /// Whether `name` has records of the type; the count means nothing.
    fn find(&self, name: &[u8], kind: u16) -> Found {
        match self.find_kind(name, kind) {
            // Here the zone keeps to RFC 8020, and the plugin denies the name.
            Found::NoData if self.is_hollow(name) => Found::Ask(Ask::NotHeld),
            // And here to what a pod's name is, where the plugin ignores further labels.
            Found::NxDomain if self.is_below_pod(name) => Found::Ask(Ask::NotHeld),
            found => found,
        }
    }

    /// Whether `name` exists only because other names lie below it.
    fn is_hollow(&self, name: &[u8]) -> bool {
        let mut labels = name.split(|byte| *byte == b'.');
        let is_protocol = |label: Option<&[u8]>| label.is_some_and(|it| it.starts_with(b"_"));
        (is_protocol(labels.next()) && !is_protocol(labels.next()))
            || self.is_at_apex(b"dns", name)
            || self.is_at_apex(b"dns-version", name)
    }

    /// Whether `name` has labels left of a pod's name.
    fn is_below_pod(&self, name: &[u8]) -> bool {
        let apex = self.snapshot.apex();
        name.strip_suffix(apex.as_bytes()).is_some_and(|labels| {
            labels.ends_with(b".pod.") && labels.iter().filter(|byte| **byte == b'.').count() > 3
        })
    }

    fn find_kind(&self, name: &[u8], kind: u16) -> Found {
        const SOME: Found = Found::Answer { count: 0 };
        match kind {
            kind::A => self.addresses_of(name, Families::V4).0,
            kind::AAAA => self.addresses_of(name, Families::V6).0,
            kind::SRV => match self.snapshot.each_service(name, &mut |_, _, _| 1) {
                Found::Answer { .. } => SOME,
                found => found,
            },
            kind::PTR => match address_of(name) {
                Some(address) => self.names_of(&address),
                None => self.existence(name),
            },
            kind::CNAME if self.is_alias(name) => SOME,
            kind::TXT if self.is_at_apex(b"dns-version", name) => SOME,
            kind::TXT => match self.addresses_of(name, Families::BOTH) {
                // Nothing is there but names below it: the plugin denies the name itself.
                (Found::NoData, false) => Found::Ask(Ask::NotHeld),
                (found, _) => existence(found),
            },
            kind::SOA if self.is_at_apex(b"", name) => SOME,
            // The plugin does not even look whether the name exists.
            kind::SOA => match self.existence(name) {
                Found::NxDomain => Found::NoData,
                found => found,
            },
            kind::NS if self.is_at_apex(b"", name) => Found::Ask(Ask::NotHeld),
            kind::OPT | kind::TKEY..=kind::MAILA | 0 => Found::Ask(Ask::NotHeld),
            _ => self.existence(name),
        }
    }

    fn is_alias(&self, name: &[u8]) -> bool {
        let mut target = Name::new();
        self.snapshot.alias(name, &mut target)
    }

    /// What the zone says of addresses, and whether a CNAME led there.
    #[inline(never)]
    fn addresses_of(&self, name: &[u8], families: Families) -> (Found, bool) {
        let mut room = [Address::UNSPECIFIED; NEAR_ADDRESSES];
        let mut canonical = Name::new();
        let found = self
            .snapshot
            .addresses(name, families, &mut room, &mut canonical);
        match found {
            Found::Answer { .. } => (Found::Answer { count: 0 }, !canonical.is_empty()),
            found => (found, !canonical.is_empty()),
        }
    }

    /// A type that no name has: NODATA where the plugin finds the name.
    fn existence(&self, name: &[u8]) -> Found {
        existence(self.addresses_of(name, Families::V4).0)
    }

    /// A reverse name. Only a name is ours: what else there is, another plugin answers.
    #[inline(never)]
    fn names_of(&self, address: &Address) -> Found {
        let mut room = [Name::EMPTY; NEAR_NAMES];
        match self.snapshot.names(address, &mut room) {
            Found::Answer { .. } => Found::Answer { count: 0 },
            Found::Room(count) => Found::Room(count),
            Found::Unavailable(why) => Found::Unavailable(why),
            _ => Found::Ask(Ask::NotHeld),
        }
    }

    /// Whether `name` is `label` below the apex, or the apex itself.
    fn is_at_apex(&self, label: &[u8], name: &[u8]) -> bool {
        let apex = self.snapshot.apex();
        match name.strip_suffix(apex.as_bytes()) {
            Some([]) => label.is_empty(),
            Some([before @ .., b'.']) => !label.is_empty() && before == label,
            _ => false,
        }
    }
}

/// What an answer about addresses says about a type that there is not.
const fn existence(found: Found) -> Found {
    match found {
        Found::Answer { .. } | Found::Room(_) | Found::Chase => Found::NoData,
        found => found,
    }
}

/// The address whose reverse name `name` is, in lower case (RFC 1035 section 3.5, RFC 3596 section
/// 2.5).
fn address_of(name: &[u8]) -> Option<Address> {
    if let Some(numbers) = name.strip_suffix(b".in-addr.arpa") {
        let mut octets = text::parse_v4(numbers, b'.')?;
        octets.reverse();
        return Some(Address::v4(octets));
    }
    let nibbles = name.strip_suffix(b".ip6.arpa")?;
    let mut number: u128 = 0;
    let mut count: u32 = 0;
    for label in nibbles.split(|byte| *byte == b'.') {
        let [digit] = label else {
            return None;
        };
        let digit = char::from(*digit).to_digit(16)?;
        number |= u128::from(digit).checked_shl(count.checked_mul(4)?)?;
        count = count.checked_add(1)?;
    }
    (count == 32).then(|| Address::v6(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reverse_names_are_read_whole() {
        assert_eq!(
            address_of(b"10.1.96.10.in-addr.arpa"),
            Some(Address::v4([10, 96, 1, 10]))
        );
        let mut one = "1.".to_owned();
        one.push_str(&"0.".repeat(30));
        one.push_str("f.ip6.arpa");
        let mut octets = [0; 16];
        octets[0] = 0xf0;
        octets[15] = 1;
        assert_eq!(address_of(one.as_bytes()), Some(Address::v6(octets)));
        for name in [
            "1.96.10.in-addr.arpa",
            "5.10.1.96.10.in-addr.arpa",
            "in-addr.arpa",
            "01.1.96.10.in-addr.arpa",
            "10.1.96.10.in-addr.arpa.x",
            "1.0.ip6.arpa",
            "10.f.ip6.arpa",
        ] {
            assert_eq!(address_of(name.as_bytes()), None, "{name}");
        }
    }
}

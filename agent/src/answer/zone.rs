//! What the zone says of a question, as the records that CoreDNS's kubernetes plugin answers with
//! (plugin/kubernetes/handler.go, plugin/backend_lookup.go). Nothing is read but a snapshot, so an
//! attempt can be made again.
//!
//! Where the plugin denies a name that others lie below (`_tcp.web.shop.svc`), and TXT of names that
//! exist, the zone keeps to RFC 8020: docs/COMPATIBILITY.md.

use super::{
    code, kind,
    message::{Draft, Section},
    name::WireName,
    records::{address_of, put_address, put_authority},
};
use nss_k8s_zone::{Address, Ask, Families, Family, Found, MAX_CHAIN, Name, Snapshot, Srv};
use std::collections::HashSet;

/// How long `dns-version` lives: the plugin's own constant.
const VERSION_TIME_TO_LIVE: u32 = 28_800;
/// The version of the schema that the zone follows, as a character string.
const VERSION: &[u8] = b"\x051.1.0";
/// So many addresses or names are gathered at first; where there are more, room is made.
const ROOM: usize = 512;

/// Room to gather in, and what orders it.
pub(super) struct Gathered {
    addresses: Vec<Address>,
    names: Vec<Name>,
    services: Vec<(Option<u16>, Name, Address)>,
    random: u64,
}

/// What became of a question.
#[expect(clippy::large_enum_variant, reason = "one at a time, on the stack")]
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// The records are in the draft.
    Answered {
        /// The response code.
        code: u8,
    },
    /// The aliases are in the draft; their end is outside the zone.
    Chase {
        /// It.
        target: WireName,
    },
    /// Only DNS can tell: the namespace exists, the service is not held.
    Miss,
    /// Only DNS can tell, for another reason.
    Ask,
}

impl Gathered {
    /// Empty; shuffles in an order of its own.
    pub(super) fn new() -> Self {
        use std::hash::BuildHasher;
        Self {
            addresses: vec![Address::UNSPECIFIED; ROOM],
            names: vec![Name::new(); ROOM / 16],
            services: Vec::new(),
            random: std::hash::RandomState::new().hash_one(0_u8) | 1,
        }
    }
}

/// Everything that an answer is made of.
pub(super) struct Sheet<'s, 'z> {
    pub(super) snapshot: &'s Snapshot<'z>,
    /// The name that is looked up.
    pub(super) name: &'s WireName,
    /// The same as text in lower case.
    pub(super) folded: &'s [u8],
    pub(super) kind: u16,
}

impl Sheet<'_, '_> {
    /// Writes the answer.
    pub(super) fn answer(&self, gathered: &mut Gathered, draft: &mut Draft<'_>) -> Outcome {
        match self.kind {
            kind::A => self.addresses(Families::V4, gathered, draft),
            kind::AAAA => self.addresses(Families::V6, gathered, draft),
            kind::SRV => self.services(gathered, draft),
            kind::PTR => match address_of(self.folded) {
                Some(address) => self.names(&address, gathered, draft),
                None => self.existence(gathered, draft),
            },
            kind::CNAME => self.alias(gathered, draft),
            kind::TXT if self.is_at_apex(b"dns-version") => {
                let (section, name) = (Section::Answer, self.name.as_octets());
                draft.record(section, name, kind::TXT, VERSION_TIME_TO_LIVE, &[VERSION]);
                Outcome::Answered {
                    code: code::NOERROR,
                }
            }
            kind::SOA if self.is_at_apex(b"") => {
                self.put_authority(Section::Answer, draft);
                Outcome::Answered {
                    code: code::NOERROR,
                }
            }
            // The plugin does not even look whether the name exists.
            kind::SOA => match self.existence(gathered, draft) {
                Outcome::Answered { .. } => Outcome::Answered {
                    code: code::NOERROR,
                },
                outcome => outcome,
            },
            // Who serves the zone is known to whom it belongs to.
            kind::NS if self.is_at_apex(b"") => Outcome::Ask,
            _ => self.existence(gathered, draft),
        }
    }

    /// A and AAAA, behind CNAMEs.
    fn addresses(
        &self,
        families: Families,
        gathered: &mut Gathered,
        draft: &mut Draft<'_>,
    ) -> Outcome {
        let mut canonical = Name::new();
        let (found, count) = self.find(families, gathered, &mut canonical);
        match found {
            Found::Answer { .. } => {}
            Found::Chase => {
                return match self.put_aliases(&canonical, draft) {
                    Some(target) => Outcome::Chase { target },
                    None => Outcome::Ask,
                };
            }
            found => return self.negative(found, draft),
        }
        let addresses = gathered.addresses.get_mut(..count).unwrap_or(&mut []);
        shuffle(addresses, &mut gathered.random);
        let mut owner = *self.name;
        if !canonical.is_empty() {
            match self.put_aliases(&canonical, draft) {
                Some(target) => owner = target,
                None => return Outcome::Ask,
            }
        }
        let time_to_live = self.snapshot.ttl();
        for address in addresses {
            put_address(
                draft,
                Section::Answer,
                owner.as_octets(),
                time_to_live,
                address,
            );
        }
        Outcome::Answered {
            code: code::NOERROR,
        }
    }

    /// What the zone has of addresses, all of them gathered: so many.
    fn find(
        &self,
        families: Families,
        gathered: &mut Gathered,
        canonical: &mut Name,
    ) -> (Found, usize) {
        loop {
            let room = &mut gathered.addresses[..];
            let found = self
                .snapshot
                .addresses(self.folded, families, room, canonical);
            match found {
                Found::Room(wanted) if wanted > room.len() => {
                    gathered.addresses.resize(wanted, Address::UNSPECIFIED);
                }
                Found::Answer { count } => return (found, count),
                _ => return (found, 0),
            }
        }
    }

    /// The CNAMEs from the name to `last`, which is returned.
    fn put_aliases(&self, last: &Name, draft: &mut Draft<'_>) -> Option<WireName> {
        let mut owner = *self.name;
        let mut target = Name::new();
        let mut folded = self.folded.to_vec();
        // The zone may change under the walk, into a circle that never comes to where it ended.
        for _ in 0..=MAX_CHAIN {
            if !self.snapshot.alias(&folded, &mut target) {
                return None;
            }
            let name = WireName::from_text(target.as_bytes())?;
            let time_to_live = self.snapshot.ttl();
            let data = [name.as_octets()];
            draft.record(
                Section::Answer,
                owner.as_octets(),
                kind::CNAME,
                time_to_live,
                &data,
            );
            if target == *last {
                return Some(name);
            }
            owner = name;
            folded = target.as_bytes().to_ascii_lowercase();
        }
        None
    }

    /// The name's own CNAME.
    fn alias(&self, gathered: &mut Gathered, draft: &mut Draft<'_>) -> Outcome {
        let mut target = Name::new();
        if !self.snapshot.alias(self.folded, &mut target) {
            return self.existence(gathered, draft);
        }
        match self.put_aliases(&target, draft) {
            Some(_) => Outcome::Answered {
                code: code::NOERROR,
            },
            None => Outcome::Ask,
        }
    }

    /// PTR. Only a name is ours to say: what else there is, another server knows.
    fn names(&self, address: &Address, gathered: &mut Gathered, draft: &mut Draft<'_>) -> Outcome {
        let found = loop {
            let found = self.snapshot.names(address, &mut gathered.names);
            match found {
                Found::Room(wanted) if wanted > gathered.names.len() => {
                    gathered.names.resize(wanted, Name::new());
                }
                found => break found,
            }
        };
        match found {
            Found::Answer { count } => {
                for name in gathered.names.iter().take(count) {
                    let Some(target) = WireName::from_text(name.as_bytes()) else {
                        continue;
                    };
                    let (section, owner) = (Section::Answer, self.name.as_octets());
                    let data = [target.as_octets()];
                    draft.record(section, owner, kind::PTR, self.snapshot.ttl(), &data);
                }
                Outcome::Answered {
                    code: code::NOERROR,
                }
            }
            Found::NxDomain => {
                let zone = self.name.tail(match address.family {
                    Family::V4 => b"\x07in-addr\x04arpa\0".len(),
                    Family::V6 => b"\x03ip6\x04arpa\0".len(),
                });
                self.put_authority_of(zone, Section::Authority, draft);
                Outcome::Answered {
                    code: code::NXDOMAIN,
                }
            }
            _ => Outcome::Ask,
        }
    }

    /// SRV, and the addresses of the targets as additional records.
    fn services(&self, gathered: &mut Gathered, draft: &mut Draft<'_>) -> Outcome {
        let Gathered {
            services, random, ..
        } = gathered;
        services.clear();
        let found = self
            .snapshot
            .each_service(self.folded, &mut |port, target, address| {
                services.push((port, *target, *address));
                1
            });
        let Found::Answer { count } = found else {
            return self.negative(found, draft);
        };
        shuffle(services, random);
        let weight = Srv::weight_among(count).to_be_bytes();
        let time_to_live = self.snapshot.ttl();
        // The plugin takes the zone's part of a target from the question.
        let apex_length = self.apex().len();
        let targets: Vec<(Option<u16>, WireName, Address)> = services
            .iter()
            .filter_map(|(port, target, address)| {
                let target = WireName::from_text(target.as_bytes())?;
                Some((*port, target.with_tail(apex_length, self.apex())?, *address))
            })
            .collect();
        let mut known = HashSet::new();
        for (port, target, _) in &targets {
            let Some(port) = port else { continue };
            if known.insert((*port, target.as_octets())) {
                let data = [
                    &[0, 0],
                    &weight[..],
                    &port.to_be_bytes(),
                    target.as_octets(),
                ];
                let owner = self.name.as_octets();
                draft.record(Section::Answer, owner, kind::SRV, time_to_live, &data);
            }
        }
        let mut known = HashSet::new();
        for (port, target, address) in &targets {
            if port.is_some() && known.insert((target.as_octets(), address.as_octets())) {
                let owner = target.as_octets();
                put_address(draft, Section::Additional, owner, time_to_live, address);
            }
        }
        Outcome::Answered {
            code: code::NOERROR,
        }
    }

    /// A type that no name has: NODATA where the plugin finds the name.
    fn existence(&self, gathered: &mut Gathered, draft: &mut Draft<'_>) -> Outcome {
        let (found, _) = self.find(Families::V4, gathered, &mut Name::new());
        let found = match found {
            Found::Answer { .. } | Found::Chase => Found::NoData,
            found => found,
        };
        self.negative(found, draft)
    }

    fn negative(&self, found: Found, draft: &mut Draft<'_>) -> Outcome {
        let code = match found {
            Found::NoData => code::NOERROR,
            Found::NxDomain => code::NXDOMAIN,
            Found::Ask(Ask::Miss | Ask::MissBelow) => return Outcome::Miss,
            _ => return Outcome::Ask,
        };
        self.put_authority(Section::Authority, draft);
        Outcome::Answered { code }
    }

    /// The zone's SOA record.
    fn put_authority(&self, section: Section, draft: &mut Draft<'_>) {
        self.put_authority_of(self.apex(), section, draft);
    }

    fn put_authority_of(&self, apex: &[u8], section: Section, draft: &mut Draft<'_>) {
        let snapshot = self.snapshot;
        put_authority(draft, section, apex, snapshot.ttl(), snapshot.serial());
    }

    /// The apex in the letters of the question, whose name ends with it: nothing else is answered
    /// with records that name it.
    fn apex(&self) -> &[u8] {
        self.name.tail(self.snapshot.apex().as_bytes().len() + 2)
    }

    /// Whether the name is `label` below the apex, or the apex itself.
    fn is_at_apex(&self, label: &[u8]) -> bool {
        let apex = self.snapshot.apex();
        match self.folded.strip_suffix(apex.as_bytes()) {
            Some([]) => label.is_empty(),
            Some([before @ .., b'.']) => !label.is_empty() && before == label,
            _ => false,
        }
    }
}

/// Whether the zone has anything to say of a name: it is in it, or it is an address's.
pub(super) fn is_ours(snapshot: &Snapshot<'_>, folded: &[u8], kind: u16) -> bool {
    snapshot.contains(folded) || (kind == kind::PTR && address_of(folded).is_some())
}

/// Any order as likely as any other, near enough (xorshift64, Fisher and Yates).
fn shuffle<T>(items: &mut [T], random: &mut u64) {
    for last in (1..items.len()).rev() {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        let other = (u128::from(*random) * (last as u128 + 1)) >> 64;
        items.swap(last, usize::try_from(other).unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_taken_by_everybody() {
        let mut random = 1;
        let mut seen = [[0; 4]; 4];
        for _ in 0..4000 {
            let mut items = [0, 1, 2, 3];
            shuffle(&mut items, &mut random);
            for (place, item) in items.into_iter().enumerate() {
                seen[place][item] += 1;
            }
        }
        assert!(
            seen.as_flattened()
                .iter()
                .all(|count| (850..1150).contains(count)),
            "{seen:?}"
        );
    }
}

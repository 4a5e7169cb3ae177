//! The message that CoreDNS would send, from what the zone says of one name.

use super::{NEAR_ADDRESSES, NEAR_NAMES, address_of};
use crate::message::{Data, Message, NOERROR, NXDOMAIN, Section, kind};
use crate::order::arrange;
use crate::sys::{self, Libc};
use nss_k8s_zone::{Address, Families, Found, MAX_CHAIN, Name, Snapshot, Srv};

/// A UDP message without EDNS has at most so many octets (RFC 1035 section 4.2.1).
const MAX_DATAGRAM: usize = 512;
/// A message over TCP (section 4.2.2).
const MAX_MESSAGE: usize = 65_535;
/// How long `dns-version` lives: the plugin's own constant.
const VERSION_TIME_TO_LIVE: u32 = 28_800;
/// The version of the schema that the zone follows, its only TXT record.
const VERSION: &[u8] = b"1.1.0";
/// Everything that a message is made of.
pub(super) struct Sheet<'s, 'z> {
    pub(super) snapshot: &'s Snapshot<'z>,
    pub(super) kind: u16,
    /// As libc asks for it.
    pub(super) name: &'s [u8],
    /// The same in lower case.
    pub(super) folded: &'s [u8],
    pub(super) found: Found,
    pub(super) identifier: u16,
}

impl Sheet<'_, '_> {
    /// Writes the message, compressed where CoreDNS would: if that, and only that, lets it fit a
    /// datagram. What is longer comes over TCP, whole and plain, to a libc that has TCP: some musl
    /// does, and cannot be told from one that takes the truncated datagram.
    pub(super) fn fit(&self, libc: Libc, buffer: &mut [u8]) -> Option<usize> {
        let plain = self.write(buffer, MAX_MESSAGE, false);
        // Of what a short buffer does not hold nobody knows whether a datagram would.
        if plain.map_or(buffer.len() < MAX_DATAGRAM, |length| length <= MAX_DATAGRAM) {
            return plain;
        }
        self.write(buffer, MAX_DATAGRAM, true)
            .or_else(|| match libc {
                Libc::Glibc => plain.and_then(|_| self.write(buffer, MAX_MESSAGE, false)),
                Libc::Musl => None,
            })
    }

    /// `None` when that takes more than `limit`, or than the buffer.
    fn write(&self, buffer: &mut [u8], limit: usize, compresses: bool) -> Option<usize> {
        let size = buffer.len().min(limit);
        let buffer = buffer.get_mut(..size)?;
        let mut message = Message::new(buffer, self.identifier, self.name, self.kind, compresses)?;
        match self.found {
            Found::Answer { .. } => {
                self.write_answer(&mut message)?;
                message.finish(NOERROR)
            }
            found => {
                self.write_authority(&mut message, Section::Authority)?;
                message.finish(if found == Found::NxDomain {
                    NXDOMAIN
                } else {
                    NOERROR
                })
            }
        }
    }

    fn write_answer(&self, message: &mut Message<'_>) -> Option<()> {
        match self.kind {
            kind::A => self.write_addresses(message, Families::V4),
            kind::AAAA => self.write_addresses(message, Families::V6),
            kind::SRV => self.write_services(message),
            kind::PTR => self.write_names(message),
            kind::CNAME => self.write_alias(message, self.name, self.folded).map(drop),
            kind::TXT => {
                let data = Data::Text(VERSION);
                message.record(Section::Answer, self.name, VERSION_TIME_TO_LIVE, data)
            }
            _ => self.write_authority(message, Section::Answer),
        }
    }

    /// The CNAMEs, and the addresses at their end.
    #[inline(never)]
    fn write_addresses(&self, message: &mut Message<'_>, families: Families) -> Option<()> {
        let mut room = [Address::UNSPECIFIED; NEAR_ADDRESSES];
        let mut canonical = Name::new();
        let found = self
            .snapshot
            .addresses(self.folded, families, &mut room, &mut canonical);
        let Found::Answer { count } = found else {
            return None;
        };
        let found = room.get_mut(..count)?;
        let count = arrange(Libc::Glibc, found, sys::shuffle_seed);
        let mut owner = self.name;
        let mut target;
        if !canonical.is_empty() {
            target = self.write_alias(message, self.name, self.folded)?;
            // The zone may change under the walk, into a circle that never comes to where it ended.
            let mut left = MAX_CHAIN;
            while target != canonical {
                left = left.checked_sub(1)?;
                let next = self.write_alias(message, target.as_bytes(), target.as_bytes())?;
                target = next;
            }
            owner = target.as_bytes();
        }
        for address in found.iter().take(count) {
            let data = Data::Address(address);
            message.record(Section::Answer, owner, self.snapshot.ttl(), data)?;
        }
        Some(())
    }

    /// One CNAME; its target.
    fn write_alias(&self, message: &mut Message<'_>, owner: &[u8], folded: &[u8]) -> Option<Name> {
        let mut target = Name::new();
        if !self.snapshot.alias(folded, &mut target) {
            return None;
        }
        let data = Data::Alias(target.as_bytes());
        message.record(Section::Answer, owner, self.snapshot.ttl(), data)?;
        Some(target)
    }

    #[inline(never)]
    fn write_names(&self, message: &mut Message<'_>) -> Option<()> {
        let mut room = [Name::EMPTY; NEAR_NAMES];
        let Found::Answer { count } = self.snapshot.names(&address_of(self.folded)?, &mut room)
        else {
            return None;
        };
        for name in room.get(..count)? {
            let data = Data::Pointer(name.as_bytes());
            message.record(Section::Answer, self.name, self.snapshot.ttl(), data)?;
        }
        Some(())
    }

    /// The SRV records, and the addresses of their targets as additional ones.
    #[inline(never)]
    fn write_services(&self, message: &mut Message<'_>) -> Option<()> {
        let apex = self.apex();
        let time_to_live = self.snapshot.ttl();
        let mut weight = 0;
        for section in [None, Some(Section::Answer), Some(Section::Additional)] {
            let mut written = Some(());
            message.begin_section();
            let found = self
                .snapshot
                .each_service(self.folded, &mut |port, target, address| {
                    let (Some(section), Some(port), Some(())) = (section, port, written) else {
                        return 1;
                    };
                    // The plugin takes the zone's part of a target from the question.
                    let stem = target.as_bytes().len().wrapping_sub(apex.len());
                    let stem = target.as_bytes().get(..stem).unwrap_or(&[]);
                    let mut target = Name::new();
                    let is_whole = target.push(stem) && target.push(apex);
                    let target = target.as_bytes();
                    written = is_whole.then_some(()).and_then(|()| match section {
                        Section::Additional => {
                            let data = Data::Address(address);
                            message.record(section, target, time_to_live, data)
                        }
                        _ => {
                            let data = Data::Service {
                                weight,
                                port,
                                target,
                            };
                            message.record(section, self.name, time_to_live, data)
                        }
                    });
                    1
                });
            written?;
            let Found::Answer { count } = found else {
                return None;
            };
            weight = Srv::weight_among(count);
        }
        Some(())
    }

    /// The zone's SOA record.
    fn write_authority(&self, message: &mut Message<'_>, section: Section) -> Option<()> {
        let apex = self.apex();
        let minimum = self.snapshot.ttl();
        let data = Data::Authority {
            apex,
            serial: self.snapshot.serial(),
            minimum,
        };
        message.record(section, apex, minimum.min(300), data)
    }

    /// The apex in the letters of the question, whose name ends with it: nothing else is answered
    /// with records that name it.
    fn apex(&self) -> &[u8] {
        let length = self.snapshot.apex().as_bytes().len();
        let start = self.name.len().wrapping_sub(length);
        self.name.get(start..).unwrap_or(&[])
    }
}

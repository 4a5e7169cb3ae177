//! SRV.

use super::{FAMILIES, Snapshot};
use crate::{
    Ask, Found, Name,
    layout::kind,
    place::{Below, Place, place},
    record::{Chunk, Head, PortView, Ports},
};

/// One SRV record (RFC 2782).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Srv {
    /// Always 0.
    pub priority: u16,
    /// 100 divided by the number of addresses and ports behind the name, at least 1.
    pub weight: u16,
    /// The port's number.
    pub port: u16,
    /// The owner of the addresses: absolute, no trailing dot.
    pub target: Name,
}

impl Srv {
    /// To fill a room with.
    pub const EMPTY: Self = Self {
        priority: 0,
        weight: 0,
        port: 0,
        target: Name::EMPTY,
    };
}

impl Snapshot<'_> {
    /// See [`Snapshot::services`].
    pub(super) fn find_services(&self, name: &[u8], room: &mut [Srv]) -> Option<Found> {
        let place = place(self.words, name)?;
        if place != Place::Outside && self.is_excepted(name)? {
            return Some(Found::Ask(Ask::Excepted));
        }
        Some(match place {
            Place::Outside => Found::Outside,
            Place::NoData => Found::NoData,
            Place::NxDomain => Found::NxDomain,
            Place::NotHeld => Found::Ask(Ask::NotHeld),
            Place::Namespace(namespace) => match self.namespace(namespace)? {
                Ok(()) => Found::NoData,
                Err(found) => found,
            },
            // Names of pods exist when they have an address.
            Place::Pod { .. } => {
                let mut address = [crate::Address::UNSPECIFIED];
                let mut canonical = Name::EMPTY;
                match self.find_addresses(
                    name,
                    crate::Families::BOTH,
                    &mut address,
                    &mut canonical,
                )? {
                    Found::Answer { .. } => Found::NoData,
                    found => found,
                }
            }
            Place::Service {
                key,
                namespace,
                below,
            } => match self.service(key, namespace)? {
                Err(found) => found,
                Ok(head) => self.services_of(&head, below, room)?,
            },
        })
    }

    /// The records of a service that exists, or of one of its ports.
    fn services_of(&self, head: &Head, below: Below<'_>, room: &mut [Srv]) -> Option<Found> {
        let mut list = List {
            room,
            kept: 0,
            all: 0,
            exists: false,
        };
        match (head.kind(), below) {
            (kind::EXTERNAL, Below::Itself) => return Some(Found::NoData),
            (kind::EXTERNAL, _) => return Some(self.negative()),
            (kind::SERVICE, Below::Endpoint(_)) | (_, Below::Protocol(_)) => {
                return Some(Found::Ask(Ask::NotHeld));
            }
            (kind::SERVICE, _) => self.own_services(head, below, &mut list)?,
            (kind::HEADLESS, _) => self.endpoint_services(head, below, &mut list)?,
            _ => return Some(Found::Ask(Ask::Unknown)),
        }
        Some(list.finish().unwrap_or_else(|| self.negative()))
    }

    /// Ports of the service itself, once per address.
    fn own_services(&self, head: &Head, below: Below<'_>, list: &mut List<'_>) -> Option<()> {
        let mut target = Name::EMPTY;
        self.append_service(head, &mut target)?;
        list.exists = below == Below::Itself;
        for port in head.ports(self.words) {
            let port = port?;
            if !self.port_matches(&port, below)? {
                continue;
            }
            for family in FAMILIES {
                for _ in head.addresses(self.words, family)? {
                    self.charge((list.kept / 64).saturating_add(1))?;
                    list.push(port.number, &target);
                }
            }
        }
        Some(())
    }

    /// Ports of the endpoints, once per endpoint.
    fn endpoint_services(&self, head: &Head, below: Below<'_>, list: &mut List<'_>) -> Option<()> {
        for granule in head.chunk_granules(self.words)? {
            let chunk = Chunk::load(self.words, granule)?;
            self.charge(chunk.served.saturating_add(4))?;
            for (index, address) in chunk.served_addresses(self.words)?.enumerate() {
                let label = match below {
                    Below::Endpoint(label) => Some(label),
                    _ => None,
                };
                let mut target = Name::EMPTY;
                self.append_endpoint(&chunk, index, &address, &mut target)?;
                if label.is_some_and(|label| target.as_bytes().strip_suffix(b".") != Some(label)) {
                    continue;
                }
                list.exists |= !matches!(below, Below::Port { .. });
                if chunk.ports == 0 && !matches!(below, Below::Port { .. }) {
                    // CoreDNS counts an endpoint without ports, though it has no record.
                    list.all = list.all.saturating_add(1);
                    continue;
                }
                self.append_service(head, &mut target)?;
                let ports: Ports<'_> = chunk.ports(self.words);
                for port in ports {
                    let port = port?;
                    if self.port_matches(&port, below)? {
                        self.charge((list.kept / 64).saturating_add(1))?;
                        list.push(port.number, &target);
                    }
                }
            }
        }
        Some(())
    }

    /// Whether a port answers for what is left of the service.
    fn port_matches(&self, port: &PortView, below: Below<'_>) -> Option<bool> {
        let Below::Port { name, protocol } = below else {
            return Some(true);
        };
        Some(
            port.protocol_label() == protocol
                && port.name_length == name.len()
                && port.name_length != 0
                && self.words.holds(port.name_at, name)?,
        )
    }
}

/// Writes records to a room, each target and port once, counting those that do not fit.
struct List<'r> {
    room: &'r mut [Srv],
    /// Different ones.
    kept: usize,
    /// With repetitions: what the weight is shared among.
    all: usize,
    /// The name exists, with or without records.
    exists: bool,
}

impl List<'_> {
    fn push(&mut self, port: u16, target: &Name) {
        self.exists = true;
        self.all = self.all.saturating_add(1);
        let mut known = self.room.iter().take(self.kept);
        if known.any(|srv| srv.port == port && srv.target == *target) {
            return;
        }
        if let Some(entry) = self.room.get_mut(self.kept) {
            *entry = Srv {
                priority: 0,
                weight: 0,
                port,
                target: *target,
            };
        }
        self.kept = self.kept.saturating_add(1);
    }

    /// The answer; `None` when the name does not exist.
    fn finish(self) -> Option<Found> {
        if !self.exists {
            return None;
        }
        if self.kept == 0 {
            return Some(Found::NoData);
        }
        if self.kept > self.room.len() {
            return Some(Found::Room(self.kept));
        }
        let share = 100_usize.checked_div(self.all).unwrap_or(1).max(1);
        for srv in self.room.iter_mut().take(self.kept) {
            srv.weight = u16::try_from(share).unwrap_or(1);
        }
        Some(Found::Answer { count: self.kept })
    }
}

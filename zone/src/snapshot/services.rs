//! SRV.

use super::{FAMILIES, Snapshot};
use crate::{
    Address, Ask, Families, Found, Name,
    layout::kind,
    place::{Below, Place, place},
    record::{Head, PortView, Ports},
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

    /// The weight of each of so many records, as CoreDNS shares 100 among them.
    pub fn weight_among(all: usize) -> u16 {
        let share = 100_usize.checked_div(all).unwrap_or(1).max(1);
        u16::try_from(share).unwrap_or(1)
    }
}

impl Snapshot<'_> {
    /// See [`Snapshot::each_service`].
    pub(super) fn find_services(&self, name: &[u8], visit: Visit<'_>) -> Option<Found> {
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
            // A pod's name has a record of its own, of port 0.
            Place::Pod { .. } => {
                let mut address = [Address::UNSPECIFIED];
                let mut target = Name::new();
                let found = self.find_addresses(name, Families::BOTH, &mut address, &mut target)?;
                if let (Found::Answer { .. }, [address]) = (found, address) {
                    target.push(name).then_some(())?;
                    self.charge_steps(visit(Some(0), &target, &address))?;
                }
                found
            }
            Place::Service {
                key,
                namespace,
                below,
            } => match self.service(key, namespace)? {
                Err(Found::Ask(Ask::Miss)) if below != Below::Itself => Found::Ask(Ask::MissBelow),
                Err(found) => found,
                Ok(head) => self.services_of(&head, below, visit)?,
            },
        })
    }

    /// The records of a service that exists, or of one of its ports.
    fn services_of(&self, head: &Head, below: Below<'_>, visit: Visit<'_>) -> Option<Found> {
        let mut tour = Tour {
            visit,
            all: 0,
            records: 0,
            exists: false,
        };
        match (head.kind(), below) {
            (kind::EXTERNAL, Below::Itself) => return Some(Found::NoData),
            (kind::EXTERNAL, _) => return Some(self.negative()),
            (kind::SERVICE, Below::Endpoint(_)) | (_, Below::Protocol(_)) => {
                return Some(Found::Ask(Ask::NotHeld));
            }
            (kind::SERVICE, _) => self.own_services(head, below, &mut tour)?,
            (kind::HEADLESS, _) => self.endpoint_services(head, below, &mut tour)?,
            _ => return Some(Found::Ask(Ask::Unknown)),
        }
        Some(match tour {
            Tour { exists: false, .. } => self.negative(),
            Tour { records: 0, .. } => Found::NoData,
            Tour { all, .. } => Found::Answer { count: all },
        })
    }

    /// Ports of the service itself, once per address.
    fn own_services(&self, head: &Head, below: Below<'_>, tour: &mut Tour<'_>) -> Option<()> {
        let mut target = Name::new();
        self.append_service(head, &mut target)?;
        tour.exists = below == Below::Itself;
        for family in FAMILIES {
            for address in head.addresses(self.words, family)? {
                self.show_ports(head.ports(self.words), below, &target, &address, tour)?;
            }
        }
        Some(())
    }

    /// Ports of the endpoints, once per endpoint.
    fn endpoint_services(&self, head: &Head, below: Below<'_>, tour: &mut Tour<'_>) -> Option<()> {
        let of_port = matches!(below, Below::Port { .. });
        let mut owner = Name::new();
        self.append_service(head, &mut owner)?;
        for granule in head.chunk_granules(self.words)? {
            let chunk = self.chunk(granule)?;
            let addresses = chunk.served_addresses(self.words)?;
            self.charge(addresses.cost())?;
            for (index, address) in addresses.enumerate() {
                let mut target = Name::new();
                self.append_endpoint(&chunk, index, &address, &mut target)?;
                if let Below::Endpoint(label) = below
                    && target.as_bytes().strip_suffix(b".") != Some(label)
                {
                    continue;
                }
                tour.exists |= !of_port;
                target.push(owner.as_bytes()).then_some(())?;
                if chunk.ports == 0 && !of_port {
                    // CoreDNS counts an endpoint without ports, though it has no record.
                    self.charge_steps(tour.show(None, &target, &address))?;
                }
                self.show_ports(chunk.ports(self.words), below, &target, &address, tour)?;
            }
        }
        Some(())
    }

    /// Shows those of `ports` that answer for what is left of the service.
    #[inline(never)]
    fn show_ports(
        &self,
        ports: Ports<'_>,
        below: Below<'_>,
        target: &Name,
        address: &Address,
        tour: &mut Tour<'_>,
    ) -> Option<()> {
        for port in ports {
            self.charge(1)?;
            let port = port?;
            if self.port_matches(&port, below)? {
                self.charge_steps(tour.show(Some(port.number), target, address))?;
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
                && port.name_length != 0
                && self.is_named(port, name)?,
        )
    }
}

/// See [`Snapshot::each_service`].
type Visit<'v> = &'v mut dyn FnMut(Option<u16>, &Name, &Address) -> usize;

/// Shows what it finds, and counts it.
struct Tour<'v> {
    visit: Visit<'v>,
    /// What the weight is shared among.
    all: usize,
    /// Those of them that are records.
    records: usize,
    /// The name exists, with or without records.
    exists: bool,
}

impl Tour<'_> {
    /// Shows one; returns what that cost, in steps.
    #[inline(never)]
    fn show(&mut self, port: Option<u16>, target: &Name, address: &Address) -> usize {
        self.exists = true;
        self.all = self.all.wrapping_add(1);
        self.records = self.records.wrapping_add(usize::from(port.is_some()));
        (self.visit)(port, target, address)
    }
}

/// Writes records to a room, each target and port once, counting those that do not fit.
pub(super) struct List<'r> {
    room: &'r mut [Srv],
    /// Different ones.
    kept: usize,
}

impl<'r> List<'r> {
    pub(super) const fn new(room: &'r mut [Srv]) -> Self {
        Self { room, kept: 0 }
    }

    /// Adds one unless it is known; returns what that cost, in steps.
    pub(super) fn push(&mut self, port: u16, target: &Name) -> usize {
        let cost = (self.kept / 512).saturating_add(1);
        let mut known = self.room.iter().take(self.kept);
        if known.any(|srv| srv.port == port && srv.target == *target) {
            return cost;
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
        cost
    }

    /// The answer, of records that share their weight with `all`.
    pub(super) fn finish(self, all: usize) -> Found {
        if self.kept > self.room.len() {
            return Found::Room(self.kept);
        }
        for srv in self.room.iter_mut().take(self.kept) {
            srv.weight = Srv::weight_among(all);
        }
        Found::Answer { count: self.kept }
    }
}

//! A and AAAA.

use super::{FAMILIES, Lookup, MAX_ADDRESSES, MAX_CHAIN, Snapshot};
use crate::{
    Address, Ask, Families, Found, Name, dashed,
    hash::fnv1a,
    layout::{WORD, config, kind},
    place::{Below, Place, place},
    record::{Chunk, Head, PortView, Ports},
};

/// Words that one name in a chain of CNAMEs may cost: its text, its apex, two lines and two records.
const STEP: usize = 160;

impl Snapshot<'_> {
    /// A and AAAA of the service with the key `<service>.<namespace>`; `None` where that is not all
    /// that there is to say, and [`Snapshot::addresses`] must be asked.
    pub fn service_addresses(
        &self,
        key: &[u8],
        families: Families,
        room: &mut [Address],
    ) -> Option<Found> {
        let Lookup::Present(head) = self.record(key)? else {
            return None;
        };
        match head.kind() {
            _ if !head.is_known() => None,
            kind::SERVICE => {
                if let (Some(address), Some(first)) =
                    (head.only_v4(self.words, families), room.first_mut())
                {
                    *first = address;
                    return Some(Found::Answer { count: 1 });
                }
                self.own_addresses(&head, families, room)
            }
            kind::HEADLESS => self.endpoint_addresses(&head, Wanted::All, families, room),
            _ => None,
        }
    }

    /// Follows CNAMEs from `name` on.
    pub(super) fn find_addresses(
        &self,
        name: &[u8],
        families: Families,
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Option<Found> {
        let mut alias = 0;
        match self.step(name, families, room, &mut alias)? {
            Found::Chase => self.follow(alias, families, room, canonical),
            found => Some(found),
        }
    }

    /// Follows the CNAME of the record at `alias`, and those behind it.
    #[cold]
    fn follow(
        &self,
        mut alias: usize,
        families: Families,
        room: &mut [Address],
        canonical: &mut Name,
    ) -> Option<Found> {
        for _ in 0..MAX_CHAIN {
            self.charge(STEP)?;
            canonical.clear();
            self.append_target(alias, canonical)?;
            match self.step(canonical.as_bytes(), families, room, &mut alias)? {
                Found::Chase => {}
                Found::Outside => return Some(Found::Chase),
                // CoreDNS leaves out a target that does not exist: the alias itself does.
                Found::NxDomain => return Some(Found::NoData),
                found => return Some(found),
            }
        }
        Some(Found::Ask(Ask::Chain))
    }

    /// See [`Snapshot::alias`].
    pub(super) fn find_alias(&self, name: &[u8], target: &mut Name) -> Option<bool> {
        let mut alias = 0;
        if self.step(name, Families::V4, &mut [], &mut alias)? != Found::Chase {
            return Some(false);
        }
        self.append_target(alias, target)?;
        Some(true)
    }

    /// Appends the target of the CNAME record at `alias`.
    fn append_target(&self, alias: usize, target: &mut Name) -> Option<()> {
        let head = Head::load_at(self.words, alias)?;
        self.words
            .append_to(head.target_at(), head.target_length(), target)
    }

    /// One name, up to its CNAME: with [`Found::Chase`], `alias` is where that record starts.
    fn step(
        &self,
        name: &[u8],
        families: Families,
        room: &mut [Address],
        alias: &mut usize,
    ) -> Option<Found> {
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
            Place::Pod { address, namespace } => self.pod(address, namespace, families, room)?,
            Place::Service {
                key,
                namespace,
                below,
            } => match self.service(key, namespace)? {
                Err(Found::Ask(Ask::Miss)) if below != Below::Itself => Found::Ask(Ask::MissBelow),
                Err(found) => found,
                Ok(head) => self.at_service(&head, below, families, room, alias)?,
            },
        })
    }

    /// A name at or below a service that exists.
    fn at_service(
        &self,
        head: &Head,
        below: Below<'_>,
        families: Families,
        room: &mut [Address],
        alias: &mut usize,
    ) -> Option<Found> {
        Some(match (head.kind(), below) {
            (kind::SERVICE, Below::Itself) => self.own_addresses(head, families, room)?,
            (kind::HEADLESS, Below::Itself) => {
                self.endpoint_addresses(head, Wanted::All, families, room)?
            }
            (kind::EXTERNAL, Below::Itself) => {
                *alias = head.at();
                Found::Chase
            }
            (kind::EXTERNAL, _) => self.negative(),
            (kind::SERVICE, Below::Protocol(protocol)) => {
                let exists = self.has_port(head.ports(self.words), None, protocol)?;
                if exists {
                    Found::NoData
                } else {
                    self.negative()
                }
            }
            (kind::SERVICE, Below::Port { name, protocol }) => {
                if self.has_port(head.ports(self.words), Some(name), protocol)? {
                    self.own_addresses(head, families, room)?
                } else {
                    self.negative()
                }
            }
            (_, Below::Protocol(protocol)) => {
                self.endpoint_addresses(head, Wanted::Protocol(protocol), families, room)?
            }
            (_, Below::Port { name, protocol }) => {
                self.endpoint_addresses(head, Wanted::Port { name, protocol }, families, room)?
            }
            (_, Below::Endpoint(label)) => {
                let found = self.named_endpoint(head, label, families, room)?;
                let held = head.kind() == kind::HEADLESS
                    || self.settings.flags() & config::ENDPOINTS_HELD != 0;
                if found == Found::NxDomain && !held {
                    Found::Ask(Ask::NotHeld)
                } else {
                    found
                }
            }
            _ => Found::Ask(Ask::Unknown),
        })
    }

    /// The addresses in the record itself.
    pub(super) fn own_addresses(
        &self,
        head: &Head,
        families: Families,
        room: &mut [Address],
    ) -> Option<Found> {
        if !head.has(families) {
            return Some(Found::NoData);
        }
        let mut filler = Filler::new(room);
        for family in FAMILIES {
            if families.contains(family) && head.count(family) != 0 {
                for address in head.addresses(self.words, family)? {
                    filler.push(address);
                }
            }
        }
        Some(filler.finish())
    }

    /// The addresses of all endpoints that serve, or of those with a port.
    fn endpoint_addresses(
        &self,
        head: &Head,
        wanted: Wanted<'_>,
        families: Families,
        room: &mut [Address],
    ) -> Option<Found> {
        let mut filler = Filler::new(room);
        let mut exists = false;
        for granule in head.chunk_granules(self.words)? {
            let chunk = self.chunk(granule)?;
            if chunk.served == 0 || !self.chunk_matches(&chunk, wanted)? {
                continue;
            }
            exists = true;
            // `_tcp.<service>` has names below it, but no data.
            if families.contains(chunk.family) && !matches!(wanted, Wanted::Protocol(_)) {
                let addresses = chunk.served_addresses(self.words)?;
                self.charge(addresses.cost())?;
                for address in addresses {
                    filler.push(address);
                }
            }
        }
        Some(if exists {
            filler.finish()
        } else {
            self.negative()
        })
    }

    /// Whether a chunk's endpoints have the port that is asked for.
    fn chunk_matches(&self, chunk: &Chunk, wanted: Wanted<'_>) -> Option<bool> {
        match wanted {
            Wanted::All => Some(true),
            Wanted::Protocol(protocol) => self.has_port(chunk.ports(self.words), None, protocol),
            Wanted::Port { name, protocol } => {
                self.has_port(chunk.ports(self.words), Some(name), protocol)
            }
        }
    }

    /// Whether a port of that protocol is among `ports`: a named one, or the one of that name.
    fn has_port(&self, ports: Ports<'_>, name: Option<&[u8]>, protocol: &[u8]) -> Option<bool> {
        for port in ports {
            self.charge(1)?;
            let port = port?;
            if port.protocol_label() != protocol || port.name_length == 0 {
                continue;
            }
            let matches = match name {
                None => true,
                Some(name) => self.is_named(&port, name)?,
            };
            if matches {
                return Some(true);
            }
        }
        Some(false)
    }

    /// Whether `name` is the port's.
    pub(super) fn is_named(&self, port: &PortView, name: &[u8]) -> Option<bool> {
        if port.name_length != name.len() {
            return Some(false);
        }
        self.charge((name.len() / WORD).saturating_add(1))?;
        self.words.holds(port.name_at, name)
    }

    /// The chunk at `granule`.
    pub(super) fn chunk(&self, granule: u32) -> Option<Chunk> {
        self.charge(4)?;
        Chunk::load(self.words, granule)
    }

    /// The addresses of the ready endpoints whose host name (or dashed address, where they have
    /// none) is `label`.
    fn named_endpoint(
        &self,
        head: &Head,
        label: &[u8],
        families: Families,
        room: &mut [Address],
    ) -> Option<Found> {
        let mut filler = Filler::new(room);
        let mut exists = false;
        let hash = fnv1a(label);
        let dashed = canonical_dashed(label);
        for granule in head.chunk_granules(self.words)? {
            let chunk = self.chunk(granule)?;
            let addresses = chunk.addresses(self.words)?;
            // Each has a name, and may be ready.
            let attributes = chunk.endpoints.saturating_mul(2);
            self.charge(addresses.cost().saturating_add(attributes))?;
            for (index, address) in addresses.enumerate() {
                let name = chunk.hostname(self.words, index)?;
                let matches = if name.length == 0 {
                    dashed == Some(address)
                } else {
                    name.hash == hash && name.length == label.len() && {
                        self.charge_text(label.len())?;
                        self.words.holds(name.at, label)?
                    }
                };
                if !matches || !chunk.is_ready(self.words, index)? {
                    continue;
                }
                exists = true;
                if families.contains(address.family) {
                    // An address that moves between slices may be in two for a moment.
                    if index >= chunk.served && filler.has(&address) {
                        continue;
                    }
                    self.charge_steps(if index >= chunk.served {
                        filler.count
                    } else {
                        0
                    })?;
                    filler.push(address);
                }
            }
        }
        Some(if exists {
            filler.finish()
        } else {
            self.negative()
        })
    }

    /// `a-b-c-d.<namespace>.pod`, or its parent.
    fn pod(
        &self,
        label: Option<&[u8]>,
        namespace: &[u8],
        families: Families,
        room: &mut [Address],
    ) -> Option<Found> {
        if self.settings.pod_mode() == config::PODS_DISABLED {
            return Some(Found::NxDomain);
        }
        if let Err(found) = self.namespace(namespace)? {
            return Some(found);
        }
        let Some(label) = label else {
            return Some(Found::NoData);
        };
        let Some(address) = dashed::parse(label) else {
            return Some(Found::NxDomain);
        };
        let mut filler = Filler::new(room);
        if families.contains(address.family) {
            filler.push(address);
        }
        Some(filler.finish())
    }
}

/// The address that `label` spells in the one form that an endpoint's name takes.
fn canonical_dashed(label: &[u8]) -> Option<Address> {
    let address = dashed::parse(label)?;
    let mut name = Name::EMPTY;
    (dashed::format(&address, &mut name) && name.as_bytes() == label).then_some(address)
}

/// Which endpoints are asked for.
#[derive(Clone, Copy)]
enum Wanted<'n> {
    /// Every one that serves.
    All,
    /// Whether there is any with a port of this protocol.
    Protocol(&'n [u8]),
    /// Those with this port.
    Port {
        /// Without underscore.
        name: &'n [u8],
        /// Without underscore.
        protocol: &'n [u8],
    },
}

/// Writes addresses to a room, counting those that do not fit.
struct Filler<'r> {
    room: &'r mut [Address],
    count: usize,
}

impl<'r> Filler<'r> {
    const fn new(room: &'r mut [Address]) -> Self {
        Self { room, count: 0 }
    }

    fn push(&mut self, address: Address) {
        if self.count < MAX_ADDRESSES {
            if let Some(entry) = self.room.get_mut(self.count) {
                *entry = address;
            }
            self.count = self.count.wrapping_add(1);
        }
    }

    fn has(&self, address: &Address) -> bool {
        self.room
            .iter()
            .take(self.count)
            .any(|entry| entry == address)
    }

    /// The answer of a name that exists.
    const fn finish(self) -> Found {
        if self.count == 0 {
            Found::NoData
        } else if self.count > self.room.len() {
            Found::Room(self.count)
        } else {
            Found::Answer { count: self.count }
        }
    }
}

//! Slices as the model remembers them: a tenth of their size, since an agent of a large cluster
//! holds a million endpoints and looks at those that change.

use nss_k8s_zone::{Address, Endpoint, Family, Port, Protocol, Slice};
use serde::{Deserialize, Serialize};

/// A slice, packed. Equal slices are packed alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packed(Box<[u8]>);

/// What is packed.
#[derive(Serialize, Deserialize)]
struct Form<'a> {
    v6: bool,
    /// Name, protocol, number.
    #[serde(borrow)]
    ports: Vec<(&'a str, u8, u16)>,
    /// Topology zones, each once.
    #[serde(borrow)]
    zones: Vec<&'a str>,
    #[serde(borrow)]
    endpoints: Vec<(Octets, bool, Option<&'a str>, Option<u16>)>,
}

/// An address of either family.
#[derive(Serialize, Deserialize)]
enum Octets {
    V4([u8; 4]),
    V6([u8; 16]),
}

impl Packed {
    /// Of a slice of which nothing is shadowed.
    pub(super) fn of(slice: &Slice) -> Self {
        let ports = slice.ports.iter().map(|port| {
            let protocol = match port.protocol {
                Protocol::Tcp => 0,
                Protocol::Udp => 1,
                Protocol::Sctp => 2,
            };
            (port.name.as_str(), protocol, port.number)
        });
        let mut zones: Vec<&str> = Vec::new();
        let mut endpoints = Vec::with_capacity(slice.endpoints.len());
        for endpoint in &slice.endpoints {
            let zone = endpoint.topology_zone.as_deref().map(|zone| {
                zones.iter().position(|it| *it == zone).unwrap_or_else(|| {
                    zones.push(zone);
                    zones.len() - 1
                })
            });
            // A slice has 65,535 endpoints at most.
            let zone = zone.and_then(|at| u16::try_from(at).ok());
            let hostname = endpoint.hostname.as_deref();
            endpoints.push((octets(endpoint.address), endpoint.ready, hostname, zone));
        }
        let form = Form {
            v6: slice.family == Family::V6,
            ports: ports.collect(),
            zones,
            endpoints,
        };
        // It fails for want of memory only, and then not here.
        Self(postcard::to_stdvec(&form).unwrap_or_default().into())
    }

    /// The slice.
    pub(super) fn slice(&self) -> Slice {
        let mut slice = Slice {
            family: Family::V4,
            ports: Vec::new(),
            endpoints: Vec::new(),
        };
        let Ok(form) = postcard::from_bytes::<Form<'_>>(&self.0) else {
            return slice;
        };
        if form.v6 {
            slice.family = Family::V6;
        }
        let ports = form.ports.into_iter().map(|(name, protocol, number)| Port {
            name: name.to_owned(),
            protocol: match protocol {
                0 => Protocol::Tcp,
                1 => Protocol::Udp,
                _ => Protocol::Sctp,
            },
            number,
        });
        slice.ports.extend(ports);
        for (octets, ready, hostname, zone) in form.endpoints {
            let zone = zone.and_then(|at| form.zones.get(usize::from(at)));
            slice.endpoints.push(Endpoint {
                ready,
                hostname: hostname.map(str::to_owned),
                topology_zone: zone.map(|&zone| zone.to_owned()),
                ..Endpoint::ready(address(&octets))
            });
        }
        slice
    }
}

fn octets(address: Address) -> Octets {
    match (address.family, address.octets) {
        (Family::V4, [a, b, c, d, ..]) => Octets::V4([a, b, c, d]),
        (Family::V6, all) => Octets::V6(all),
    }
}

fn address(octets: &Octets) -> Address {
    match octets {
        Octets::V4(octets) => Address::v4(*octets),
        Octets::V6(octets) => Address::v6(*octets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_lost() {
        let endpoint =
            |last: u8, ready: bool, hostname: Option<&str>, zone: Option<&str>| Endpoint {
                ready,
                hostname: hostname.map(str::to_owned),
                topology_zone: zone.map(str::to_owned),
                ..Endpoint::ready(Address::v4([10, 0, 0, last]))
            };
        let port = |name: &str, protocol, number| Port {
            name: name.to_owned(),
            protocol,
            number,
        };
        let slice = Slice {
            family: Family::V4,
            ports: vec![
                port("", Protocol::Tcp, 1),
                port("dns", Protocol::Udp, 53),
                port("s", Protocol::Sctp, 65_535),
            ],
            endpoints: vec![
                endpoint(1, true, None, None),
                endpoint(2, false, Some("db-0"), Some("west-a")),
                endpoint(3, true, Some("db-1"), Some("west-b")),
                endpoint(4, true, None, Some("west-a")),
            ],
        };
        assert_eq!(Packed::of(&slice).slice(), slice);
        let v6 = Slice {
            family: Family::V6,
            ports: Vec::new(),
            endpoints: vec![Endpoint::ready(Address::v6([7; 16]))],
        };
        assert_eq!(Packed::of(&v6).slice(), v6);
        let none = Slice {
            endpoints: Vec::new(),
            ..v6
        };
        assert_eq!(Packed::of(&none).slice(), none);
    }

    #[test]
    fn a_plain_endpoint_takes_eight_bytes() {
        let of = |count: u8| {
            let endpoints = (0..count).map(|last| Endpoint::ready(Address::v4([10, 0, 0, last])));
            let slice = Slice {
                family: Family::V4,
                ports: Vec::new(),
                endpoints: endpoints.collect(),
            };
            Packed::of(&slice).0.len()
        };
        assert_eq!(of(101) - of(1), 800);
    }
}

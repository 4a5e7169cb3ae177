//! What the writer is given: validated names and the bodies of services and endpoint slices.

use super::WriteError;
use crate::{Address, Family};
use std::{collections::BTreeMap, fmt};

/// The longest label (RFC 1035 section 2.3.4).
pub(crate) const MAX_LABEL: usize = 63;

/// The owner of a service's names: `<service>.<namespace>`, both one lower-case label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    service: String,
    namespace: String,
}

impl ServiceKey {
    /// Checks both labels: 1 to 63 bytes of `a-z`, `0-9`, `-` and `_` (capitals are folded).
    pub fn new(service: &str, namespace: &str) -> Result<Self, WriteError> {
        Ok(Self {
            service: label(service)?,
            namespace: label(namespace)?,
        })
    }

    /// The first label.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The second label.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.service, self.namespace)
    }
}

/// Transport protocols that a port can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Protocol {
    /// `_tcp`.
    Tcp = 1,
    /// `_udp`.
    Udp = 2,
    /// `_sctp`.
    Sctp = 3,
}

impl Protocol {
    /// The label without its underscore.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// One port of a service or of an endpoint slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// The name (folded to lower case); empty when it has none, which SRV by name never finds.
    pub name: String,
    /// The protocol.
    pub protocol: Protocol,
    /// The number.
    pub number: u16,
}

/// What a service is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceBody {
    /// It has addresses of its own.
    ClusterIp {
        /// At most 255 of each family.
        addresses: Vec<Address>,
        /// The service's ports.
        ports: Vec<Port>,
    },
    /// Its names answer the addresses of its endpoints.
    Headless {
        /// The service's ports; SRV answers come from the slices' ports.
        ports: Vec<Port>,
    },
    /// A CNAME.
    External {
        /// Absolute, with or without the trailing dot.
        target: String,
    },
}

/// Tells the slices of one service apart; the caller derives it from the slice's name or uid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SliceId(pub u64);

/// One endpoint slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// Every endpoint's family.
    pub family: Family,
    /// The ports that every endpoint has.
    pub ports: Vec<Port>,
    /// The endpoints, at most 65,535; the zone keeps those first that it serves.
    pub endpoints: Vec<Endpoint>,
}

/// One address of an endpoint slice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Of the slice's family.
    pub address: Address,
    /// Its label below the service; without one it is the address with dashes.
    pub hostname: Option<String>,
    /// Only ready endpoints are answered.
    pub ready: bool,
    /// Another slice of this service serves the same address already: left out of answers for the
    /// whole service.
    pub shadowed: bool,
    /// `topology.kubernetes.io/zone`; at most 255 different ones in a slice are kept.
    pub topology_zone: Option<String>,
}

impl Endpoint {
    /// A ready endpoint without hostname or zone.
    pub const fn ready(address: Address) -> Self {
        Self {
            address,
            hostname: None,
            ready: true,
            shadowed: false,
            topology_zone: None,
        }
    }
}

/// One thing that a zone holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A namespace.
    Namespace(String),
    /// A service, or the slices of one that has not been put yet.
    Service {
        /// Its key.
        key: ServiceKey,
        /// `None`: only slices came so far; the name answers as if the service were absent.
        body: Option<ServiceBody>,
        /// The endpoint slices.
        slices: BTreeMap<SliceId, Slice>,
    },
}

/// What [`Writer::retain`](super::Writer::retain) asks about.
#[derive(Clone, Copy, Debug)]
pub enum Item<'a> {
    /// A namespace.
    Namespace(&'a str),
    /// A service's own record (its slices are asked about on their own).
    Service(&'a ServiceKey),
    /// One slice of a service.
    Slice(&'a ServiceKey, SliceId),
}

/// Checks and folds one label.
pub(crate) fn label(text: &str) -> Result<String, WriteError> {
    let folded = text.to_ascii_lowercase();
    let good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    if folded.is_empty() || folded.len() > MAX_LABEL || !folded.bytes().all(good) {
        return Err(WriteError::Label {
            label: text.to_owned(),
        });
    }
    Ok(folded)
}

/// Checks and folds a domain name of 1 to 253 bytes; a trailing dot is dropped.
pub(crate) fn target(text: &str) -> Result<String, WriteError> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let good = !name.is_empty()
        && name.len() <= crate::MAX_TEXT
        && name.split('.').all(|part| label(part).is_ok());
    if good {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(WriteError::Target {
            target: text.to_owned(),
        })
    }
}

//! The DNS listener.

use super::text::{Network, Period};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// Where and how DNS is served over the network.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// Addresses of this node; they may appear later
    #[schemars(length(min = 1))]
    pub addresses: Vec<IpAddr>,
    /// The port
    #[serde(default = "port")]
    pub port: u16,
    /// Serve UDP
    #[serde(default = "yes")]
    pub udp: bool,
    /// Serve TCP
    #[serde(default = "yes")]
    pub tcp: bool,
    /// Sockets for each address and transport
    #[serde(default = "sockets")]
    #[schemars(range(min = 1, max = 64))]
    pub sockets: usize,
    /// The longest UDP answer, whatever the client says it takes
    #[serde(default = "udp_payload")]
    #[schemars(range(min = 512, max = 4096))]
    pub udp_payload: u16,
    /// TCP connections at once
    #[serde(default = "max_connections")]
    #[schemars(range(min = 1))]
    pub max_connections: usize,
    /// A TCP connection without a query is closed after this
    #[serde(default = "idle")]
    pub idle: Period,
    /// Answer what pods of this namespace may look up; absent: everything
    #[serde(default)]
    pub namespace: Option<String>,
    /// Who may transfer the zone (AXFR): networks such as 10.0.0.0/8
    #[serde(default)]
    pub allow_transfer: Vec<Network>,
}

impl Listen {
    /// The addresses with their port.
    pub fn socket_addresses(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        let port = self.port;
        self.addresses
            .iter()
            .map(move |address| SocketAddr::new(*address, port))
    }
}

const fn port() -> u16 {
    53
}

const fn yes() -> bool {
    true
}

/// One thread has room for more than a node asks; more of them halve what one system call does.
const fn sockets() -> usize {
    1
}

/// The size that the DNS flag day of 2020 settled on.
const fn udp_payload() -> u16 {
    1232
}

const fn max_connections() -> usize {
    1000
}

const fn idle() -> Period {
    Period::secs(10)
}

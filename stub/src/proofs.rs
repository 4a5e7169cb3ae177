//! What the fuzz targets need from inside. Not part of the interface.

use crate::{host_conf, hosts::Lines, order};

/// What a host.conf says of the hosts file.
pub fn host_conf(text: &[u8]) -> Lines {
    host_conf::read(text)
}

/// What a gai.conf makes of an address (IPv4 as IPv4-mapped): label, precedence, scope. `None` when it
/// is not read for certain.
pub fn gai_conf(text: &[u8], address: u128) -> Option<[u32; 3]> {
    order::gai_conf(text, address)
}

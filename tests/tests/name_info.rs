//! `getnameinfo` through the shim says what libc says: names, services, sizes, flags and errors.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use anyhow::{Result, ensure};
use nss_k8s_tests::{
    batch,
    pod::{Pod, Recipe},
    recording::Recordings,
    shop,
};
use std::sync::Arc;

const PROBE: &str = "name_info";

/// NI_NUMERICHOST, NUMERICSERV, NOFQDN, NAMEREQD, DGRAM, IDN, NUMERICSCOPE (musl), an unknown one,
/// and some together.
const FLAGS: [&str; 11] = [
    "0", "1", "2", "4", "8", "0x10", "0x20", "0x100", "0x800", "0x1a", "9",
];

/// Of services, an endpoint, hosts lines, the pod; mapped, with scopes, and without a name.
const ADDRESSES: [&str; 14] = [
    "10.96.1.10",
    "fd00:96::11",
    "10.244.1.11",
    "fd00:244::10",
    "::ffff:10.96.1.10",
    "::ffff:192.0.2.13",
    "192.0.2.13",
    "192.0.2.81",
    "127.0.0.1",
    "::1",
    "10.244.0.7",
    "10.96.1.200",
    "fe80::1",
    "::",
];

#[test]
fn every_argument_means_what_libc_means() -> Result<()> {
    let zone = shop::publish()?;
    let mut commands = Vec::new();
    for address in ADDRESSES {
        for flags in FLAGS {
            commands.push(format!("name {address} 80 {flags} 1025 32"));
            commands.push(format!("name {address} 4242 {flags} 1025 32"));
        }
        commands.push(format!("name {address} 53 0 1025 32 1"));
        commands.push(format!("name {address} 53 0x10 1025 32 7"));
        for sizes in [
            "-1 32", "0 32", "1025 -1", "1025 0", "-1 -1", "1025 4", "1025 5", "1025 1",
        ] {
            commands.push(format!("name {address} 80 0 {sizes}"));
            commands.push(format!("name {address} 80 8 {sizes}"));
        }
        for size in [1, 2, 7, 26, 27, 28, 29, 38, 39, 46] {
            commands.push(format!("name {address} 80 0 {size} 32"));
        }
        for length in [1, 2, 15, 16, 27, 28, 128] {
            commands.push(format!("name {address} 80 0 1025 32 0 {length}"));
        }
    }
    for (door, release) in batch::releases() {
        let pod = Pod::start(Recipe {
            hosts: shop::HOSTS.into(),
            zone: Some(zone.view()),
            dns: Some(shop::outside().recorded(Arc::new(Recordings::load()?))),
            ..Recipe::default()
        })?;
        let decided = batch::agree(&pod, PROBE, door, release, &commands)?;
        ensure!(decided >= 310, "{door:?}: only {decided}");
    }
    Ok(())
}

//! Publishes the zone that the benches look names up in.
//!
//! `bench-zone DIRECTORY SERVICES ENDPOINTS` writes `SERVICES` headless services of `ENDPOINTS`
//! endpoints each into a new zone below DIRECTORY, with a few named ones in the namespace `prod`.
//! Standard output: `NAME ADDRESS` of each named one, to feed a DNS server and a hosts file with
//! the same data.

#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a program for the machine that runs it, never for another process"
)]

use anyhow::{Context, Result};
use nss_k8s_zone::{
    Address, Config, Endpoint, Family, Now, Options, Port, Protocol, ServiceBody, ServiceKey,
    Slice, SliceId, Writer,
};
use std::{
    net::{Ipv4Addr, Ipv6Addr},
    time::{SystemTime, UNIX_EPOCH},
};

/// Services per namespace: what a large cluster shows.
const PER_NAMESPACE: usize = 100;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(services), Some(endpoints), None) = (
        arguments.next(),
        arguments.next(),
        arguments.next(),
        arguments.next(),
    ) else {
        anyhow::bail!("usage: bench-zone DIRECTORY SERVICES ENDPOINTS");
    };
    let services: usize = services.parse().context("SERVICES")?;
    let endpoints: usize = endpoints.parse().context("ENDPOINTS")?;

    let options = Options::new(&directory, "cluster.local");
    let (mut writer, _) = Writer::open(options)?;
    // Nobody beats while the benches run.
    writer.configure(&Config {
        cluster_dns: vec![Address::v4([10, 96, 0, 10])],
        stale_after: 7 * 86_400,
        dead_after: 7 * 86_400,
        ..Config::default()
    })?;
    publish_named(&mut writer, endpoints)?;
    publish_many(&mut writer, services, endpoints)?;
    let now = Now(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs());
    writer.beat(now);
    writer.set_synced(now);

    let statistics = writer.statistics();
    eprintln!(
        "zone: {} services, {} slices, file {:.1} MB, in use {:.1} MB",
        statistics.services,
        statistics.slices,
        statistics.bytes as f64 / 1e6,
        statistics.used_bytes as f64 / 1e6
    );
    Ok(())
}

/// The names that are looked up: one address, two families, three and `endpoints` addresses.
fn publish_named(writer: &mut Writer, endpoints: usize) -> Result<()> {
    writer.put_namespace("prod")?;
    let web = Port {
        name: "web".to_owned(),
        protocol: Protocol::Tcp,
        number: 80,
    };
    let named = [
        ("api", vec![Address::v4([10, 96, 7, 7])]),
        ("dual", vec![Address::v4([10, 96, 7, 8]), v6(8)]),
    ];
    for (service, addresses) in named {
        for address in &addresses {
            println!("{service}.prod.svc.cluster.local {}", text(address));
        }
        writer.put_service(
            &ServiceKey::new(service, "prod")?,
            &ServiceBody::ClusterIp {
                addresses,
                ports: vec![web.clone()],
            },
        )?;
    }
    for (service, first, count) in [("trio", u32::MAX / 4, 3), ("db", u32::MAX / 2, endpoints)] {
        let key = ServiceKey::new(service, "prod")?;
        writer.put_service(
            &key,
            &ServiceBody::Headless {
                ports: vec![web.clone()],
            },
        )?;
        let slice = slice(first, count, &web);
        for endpoint in &slice.endpoints {
            println!(
                "{service}.prod.svc.cluster.local {}",
                text(&endpoint.address)
            );
        }
        writer.put_slice(&key, SliceId(1), &slice)?;
    }
    Ok(())
}

/// The crowd around them.
fn publish_many(writer: &mut Writer, services: usize, endpoints: usize) -> Result<()> {
    let port = Port {
        name: "web".to_owned(),
        protocol: Protocol::Tcp,
        number: 80,
    };
    for number in 0..services {
        let namespace = format!("team-{}", number / PER_NAMESPACE);
        if number % PER_NAMESPACE == 0 {
            writer.put_namespace(&namespace)?;
        }
        let key = ServiceKey::new(&format!("service-{number}"), &namespace)?;
        writer.put_service(
            &key,
            &ServiceBody::Headless {
                ports: vec![port.clone()],
            },
        )?;
        writer.put_slice(
            &key,
            SliceId(1),
            &slice((number * endpoints) as u32, endpoints, &port),
        )?;
    }
    Ok(())
}

/// `endpoints` addresses from `first` on in 10.128.0.0/9.
fn slice(first: u32, endpoints: usize, port: &Port) -> Slice {
    let address = |number: usize| {
        let value = 0x0A80_0000 | (first.wrapping_add(number as u32) & 0x007F_FFFF);
        Address::v4(value.to_be_bytes())
    };
    Slice {
        family: Family::V4,
        ports: vec![port.clone()],
        endpoints: (0..endpoints)
            .map(|number| Endpoint::ready(address(number)))
            .collect(),
    }
}

/// fd00:10:96::`last`.
fn v6(last: u8) -> Address {
    let mut octets = [0; 16];
    octets[..6].copy_from_slice(&[0xfd, 0, 0, 0x10, 0, 0x96]);
    octets[15] = last;
    Address::v6(octets)
}

/// The address as DNS servers and hosts files write it.
fn text(address: &Address) -> String {
    match address.family {
        Family::V4 => {
            let [a, b, c, d, ..] = address.octets;
            Ipv4Addr::new(a, b, c, d).to_string()
        }
        Family::V6 => Ipv6Addr::from(address.octets).to_string(),
    }
}

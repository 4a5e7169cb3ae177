//! Publishes the zone that the benches look names up in, and measures the zone by itself.
//!
//! `bench-zone DIRECTORY SERVICES ENDPOINTS` writes `SERVICES` headless services of `ENDPOINTS`
//! endpoints each into a new zone below DIRECTORY, with a few named ones in the namespace `prod`.
//! Standard output: `NAME ADDRESS` of each named one, to feed a DNS server and a hosts file with
//! the same data. Standard error: the zone's own figures.

#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a program for the machine that runs it, never for another process"
)]

use anyhow::{Context, Result, ensure};
use nss_k8s_zone::{
    Address, Config, Endpoint, Families, Family, Found, LibcOs, Name, Now, Options, Port, Protocol,
    Reader, ServiceBody, ServiceKey, Slice, SliceId, Writer,
};
use std::{
    ffi::CString,
    net::{Ipv4Addr, Ipv6Addr},
    time::{Instant, SystemTime, UNIX_EPOCH},
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
    let path = CString::new(
        options
            .zone_path()
            .to_str()
            .context("the path is not UTF-8")?,
    )?;
    let (mut writer, _) = Writer::open(options)?;
    // Nobody beats while the benches run.
    writer.configure(&Config {
        cluster_dns: vec![Address::v4([10, 96, 0, 10])],
        stale_after: 7 * 86_400,
        dead_after: 7 * 86_400,
        ..Config::default()
    })?;
    publish_named(&mut writer, endpoints)?;
    let names = publish_many(&mut writer, services, endpoints)?;
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
    let reader = Reader::new();
    let hot = vec!["api.prod.svc.cluster.local".to_owned()];
    let misses = vec!["www.example.com.svc.cluster.local".to_owned()];
    eprintln!(
        "zone: hot hit {:.0} ns",
        lookups(&reader, &path, now, &hot, 2_000_000)?
    );
    eprintln!(
        "zone: search-list miss {:.0} ns",
        lookups(&reader, &path, now, &misses, 2_000_000)?
    );
    eprintln!(
        "zone: {} names in random order, {endpoints} addresses each, {:.0} ns",
        names.len(),
        lookups(&reader, &path, now, &names, 2_000_000)?
    );
    eprintln!(
        "zone: one changed slice of {endpoints} endpoints {:.2} us",
        changes(&mut writer, services, endpoints)?
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

/// The crowd around them; returns its absolute names in random order.
fn publish_many(writer: &mut Writer, services: usize, endpoints: usize) -> Result<Vec<String>> {
    let port = Port {
        name: "web".to_owned(),
        protocol: Protocol::Tcp,
        number: 80,
    };
    let mut names = Vec::with_capacity(services);
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
        names.push(format!("{key}.svc.cluster.local"));
    }
    // A fixed shuffle (Fisher-Yates over a linear congruence), so that runs compare.
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for at in (1..names.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        names.swap(at, (state >> 33) as usize % (at + 1));
    }
    Ok(names)
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

/// Median of nine runs: nanoseconds for one lookup of A and AAAA.
fn lookups(
    reader: &Reader,
    path: &CString,
    now: Now,
    names: &[String],
    total: usize,
) -> Result<f64> {
    let mut room = [Address::UNSPECIFIED; 64];
    let mut canonical = Name::EMPTY;
    let mut runs = Vec::new();
    for _ in 0..9 {
        let count = total / 9;
        let start = Instant::now();
        for name in names.iter().cycle().take(count) {
            let found = reader
                .read(&LibcOs, path, now, |zone| {
                    zone.addresses(name.as_bytes(), Families::BOTH, &mut room, &mut canonical)
                })
                .map_err(|why| anyhow::anyhow!("{name}: {why:?}"))?;
            ensure!(
                matches!(found, Found::Answer { .. } | Found::NxDomain),
                "{name}: {found:?}"
            );
        }
        runs.push(start.elapsed().as_nanos() as f64 / count as f64);
    }
    runs.sort_by(f64::total_cmp);
    Ok(runs[runs.len() / 2])
}

/// Microseconds for one changed slice, epochs advanced as the agent does.
fn changes(writer: &mut Writer, services: usize, endpoints: usize) -> Result<f64> {
    let port = Port {
        name: "web".to_owned(),
        protocol: Protocol::Tcp,
        number: 80,
    };
    let keys = (0..services)
        .map(|number| {
            ServiceKey::new(
                &format!("service-{number}"),
                &format!("team-{}", number / PER_NAMESPACE),
            )
        })
        .collect::<Result<Vec<_>, _>>()?;
    let start = Instant::now();
    for (number, key) in keys.iter().enumerate() {
        writer.put_slice(
            key,
            SliceId(1),
            &slice((number * endpoints + 1) as u32, endpoints, &port),
        )?;
        if number % 1_000 == 0 {
            writer.advance(Instant::now());
        }
    }
    Ok(start.elapsed().as_nanos() as f64 / 1e3 / services as f64)
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

//! A zone published by the real writer from inside the test: every store is one call away.

use crate::{pod::CLUSTER_DNS, zonefile};
use anyhow::{Context, Result};
use nss_k8s_zone::{
    Address, Config, Endpoint, External, Family, Now, Options, ServiceBody, ServiceKey, Slice,
    SliceId, Writer,
};
use std::{
    net::IpAddr,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

/// A writer and its directory.
pub struct Published {
    /// The writer, for what has no short form here.
    pub writer: Writer,
    root: TempDir,
}

impl Published {
    /// A live zone `cluster.local` with the namespace `shop`, for processes whose only nameserver
    /// is [`CLUSTER_DNS`].
    pub fn live() -> Result<Self> {
        Self::live_in(zonefile::directory()?)
    }

    /// The same in a directory of the caller's, which must be on a tmpfs.
    pub fn live_in(root: TempDir) -> Result<Self> {
        let mut zone = Self::syncing_in(root)?;
        zone.writer.set_synced(now());
        Ok(zone)
    }

    /// A live zone whose processes ask for names outside of it themselves.
    pub fn asking() -> Result<Self> {
        let mut zone = Self::live()?;
        zone.writer.configure(&Config {
            external: External::Pod,
            ..config()?
        })?;
        Ok(zone)
    }

    /// The same, before everything has been listed.
    pub fn syncing() -> Result<Self> {
        Self::syncing_in(zonefile::directory()?)
    }

    fn syncing_in(root: TempDir) -> Result<Self> {
        let (mut writer, _) = Writer::open(Options::new(root.path(), "cluster.local"))?;
        writer.configure(&config()?)?;
        writer.put_namespace("shop")?;
        writer.beat(now());
        Ok(Self { writer, root })
    }

    /// What processes see: to be mounted on `/run/nss-k8s`.
    pub fn view(&self) -> PathBuf {
        self.root.path().join("view/default")
    }

    /// Publishes `<service>.shop` with these cluster addresses.
    pub fn put(&mut self, service: &str, addresses: &[&str]) -> Result<()> {
        let addresses = addresses
            .iter()
            .map(|text| address(text))
            .collect::<Result<_>>()?;
        let body = ServiceBody::ClusterIp {
            addresses,
            ports: Vec::new(),
        };
        self.writer
            .put_service(&ServiceKey::new(service, "shop")?, &body)?;
        Ok(())
    }

    /// Publishes the headless `<service>.shop` with one slice of these addresses.
    pub fn put_headless(&mut self, service: &str, addresses: &[Address]) -> Result<()> {
        let key = ServiceKey::new(service, "shop")?;
        self.writer
            .put_service(&key, &ServiceBody::Headless { ports: Vec::new() })?;
        // Kubernetes caps a slice at 1,000 endpoints.
        for (id, part) in addresses.chunks(1000).enumerate() {
            let family = part.first().map_or(Family::V4, |address| address.family);
            let endpoints = part.iter().copied().map(Endpoint::ready).collect();
            let slice = Slice {
                family,
                ports: Vec::new(),
                endpoints,
            };
            self.writer.put_slice(&key, SliceId(id as u64), &slice)?;
        }
        Ok(())
    }

    /// Removes `<service>.shop`.
    pub fn delete(&mut self, service: &str) -> Result<()> {
        self.writer
            .delete_service(&ServiceKey::new(service, "shop")?)?;
        Ok(())
    }

    /// Ends the writer and keeps the directory.
    pub fn end(self) -> TempDir {
        self.root
    }
}

/// The configuration of [`Published::live`].
pub fn config() -> Result<Config> {
    Ok(Config {
        cluster_dns: vec![address(CLUSTER_DNS)?],
        ..Config::default()
    })
}

/// An address from its text.
pub fn address(text: &str) -> Result<Address> {
    Ok(
        match text.parse::<IpAddr>().with_context(|| text.to_owned())? {
            IpAddr::V4(v4) => Address::v4(v4.octets()),
            IpAddr::V6(v6) => Address::v6(v6.octets()),
        },
    )
}

/// The time as the zone counts it.
pub fn now() -> Now {
    ago(0)
}

/// So many seconds ago.
pub fn ago(seconds: u64) -> Now {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs());
    Now(since.saturating_sub(seconds))
}

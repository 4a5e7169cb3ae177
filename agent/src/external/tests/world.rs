//! What the tests of the files of answers have in common.

use super::{NAME, NOW, WIRE};
use crate::{
    config::Config,
    external::{Metrics, Publisher, now},
    forward::{Change, Class, Family, Held},
};
use nss_k8s_zone::{Address, Families, Found, HeldOptions, LibcOs, Name, Now, Reader, Unavailable};
use prometheus_client::{encoding::text::encode, registry::Registry};
use std::{
    ffi::CString,
    net::IpAddr,
    os::unix::ffi::OsStrExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// A directory, and processes of every class.
pub(super) struct World {
    pub(super) directory: tempfile::TempDir,
    text: &'static str,
    pub(super) metrics: Metrics,
}

impl World {
    pub(super) fn new(text: &'static str) -> Self {
        Self {
            directory: tempfile::tempdir_in("/dev/shm").unwrap(),
            text,
            metrics: Metrics::default(),
        }
    }

    pub(super) fn publisher(&self) -> Publisher {
        let mut publisher = Publisher::new(self.directory.path(), self.metrics.clone());
        publisher.configure(&config(self.text), NOW);
        publisher
    }

    /// What a new process of a class is told of a name's A records.
    pub(super) fn ask(&self, class: &str, name: &str, now: Now) -> Result<Found, Unavailable> {
        self.families(class, name, Families::V4, now)
    }

    pub(super) fn families(
        &self,
        class: &str,
        name: &str,
        families: Families,
        now: Now,
    ) -> Result<Found, Unavailable> {
        let path = HeldOptions::new(self.directory.path(), class).path();
        ask(&path, name, families, now)
    }

    /// Waits until the class is told so of [`NAME`].
    pub(super) async fn until(&self, class: &str, expected: Result<Found, Unavailable>) {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let told = self.ask(class, NAME, now());
            if told == expected {
                return;
            }
            assert!(Instant::now() < deadline, "{class}: {told:?}");
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn figures(&self) -> String {
        let mut registry = Registry::default();
        self.metrics.register(&mut registry);
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        text
    }
}

fn ask(path: &Path, name: &str, families: Families, now: Now) -> Result<Found, Unavailable> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut room = [Address::UNSPECIFIED; 8];
    Reader::of_held().read(&LibcOs, &path, now, |snapshot| {
        snapshot.held(
            name.as_bytes(),
            families,
            now,
            &mut room,
            &mut Name::EMPTY.clone(),
        )
    })
}

pub(super) fn config(text: &str) -> Config {
    Config::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

pub(super) fn addresses(addresses: &[&str]) -> Held {
    Held::Addresses {
        addresses: addresses
            .iter()
            .map(|address| address.parse::<IpAddr>().unwrap())
            .collect(),
        canonical: None,
    }
}

/// News of [`NAME`].
pub(super) fn put(class: &str, family: Family, held: Held, ttl: u64) -> Change {
    Change::Put {
        class: Class::new(class),
        name: WIRE.into(),
        family,
        held: Arc::new(held),
        expires: NOW.0 + ttl,
        stale: false,
    }
}

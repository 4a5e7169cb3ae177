//! A small zone to ask: namespace `shop` with one service of every kind.

use nss_k8s_zone::{
    Address, Config, Endpoint, Families, Family, Found, LibcOs, Name, Now, Options, Port, Protocol,
    Reader, ServiceBody, ServiceKey, Slice, SliceId, Snapshot, Srv, Writer,
};
use std::{ffi::CString, net::IpAddr, os::unix::ffi::OsStrExt as _};

pub(crate) const BOTH: Families = Families::BOTH;
pub(crate) const V4: Families = Families::V4;
pub(crate) const V6: Families = Families::V6;
pub(crate) const NOW: Now = Now(1_000_000);

/// A live zone with its writer and a process that reads it.
pub(crate) struct Shop {
    pub(crate) writer: Writer,
    reader: Reader,
    path: CString,
    _directory: tempfile::TempDir,
}

impl Shop {
    pub(crate) fn open() -> Self {
        let directory = tempfile::tempdir_in("/dev/shm").expect("a tmpfs");
        let options = Options::new(directory.path(), "cluster.local");
        let (writer, _) = Writer::open(options).expect("a new zone");
        let path = CString::new(writer.path().as_os_str().as_bytes()).expect("no NUL");
        let mut shop = Self {
            writer,
            reader: Reader::new(),
            path,
            _directory: directory,
        };
        shop.fill();
        shop.writer.beat(NOW);
        shop.writer.set_synced(NOW);
        shop
    }

    fn fill(&mut self) {
        self.writer.put_namespace("shop").expect("a namespace");
        self.cluster_ip("api", &["10.96.1.1"], "http", 80);
        self.cluster_ip("dual", &["10.96.1.2", "fd00:96::2"], "https", 443);
        self.headless("db");
        let v4 = [
            ("10.244.0.1", Some("db-0"), true),
            ("10.244.0.2", Some("db-1"), true),
            ("10.244.0.3", None, true),
            ("10.244.0.4", Some("db-2"), false),
        ];
        self.slice("db", 1, &slice(&v4));
        self.slice("db", 2, &slice(&[("fd00::1", Some("db-0"), true)]));
        self.headless("empty");
        self.slice("empty", 1, &slice(&[("10.244.0.5", None, false)]));
        self.external("ext", "Ext.Example.NET.");
        self.external("alias", "api.shop.svc.cluster.local");
        self.external("loop", "loop.shop.svc.cluster.local");
        self.external("dangling", "api.absent.svc.cluster.local");
        self.external("missing", "nope.shop.svc.cluster.local");
    }

    pub(crate) fn cluster_ip(&mut self, name: &str, addresses: &[&str], port: &str, number: u16) {
        let addresses = addresses.iter().map(|text| address(text)).collect();
        let ports = vec![Port {
            name: port.to_owned(),
            protocol: Protocol::Tcp,
            number,
        }];
        self.put(name, &ServiceBody::ClusterIp { addresses, ports });
    }

    pub(crate) fn headless(&mut self, name: &str) {
        self.put(name, &ServiceBody::Headless { ports: vec![] });
    }

    fn external(&mut self, name: &str, target: &str) {
        self.put(
            name,
            &ServiceBody::External {
                target: target.to_owned(),
            },
        );
    }

    fn put(&mut self, name: &str, body: &ServiceBody) {
        assert!(
            self.writer
                .put_service(&key(name), body)
                .expect("a service")
        );
    }

    pub(crate) fn delete(&mut self, name: &str) {
        assert!(self.writer.delete_service(&key(name)).expect("no service"));
    }

    pub(crate) fn slice(&mut self, name: &str, id: u64, slice: &Slice) {
        assert!(
            self.writer
                .put_slice(&key(name), SliceId(id), slice)
                .expect("a slice")
        );
    }

    pub(crate) fn configure(&mut self, config: &Config) {
        assert!(self.writer.configure(config).expect("a configuration"));
    }

    pub(crate) fn read<T>(&self, ask: impl FnMut(&Snapshot<'_>) -> T) -> T {
        self.reader
            .read(&LibcOs, &self.path, NOW, ask)
            .expect("a zone")
    }

    pub(crate) fn ask(&self, name: &str, families: Families) -> (Found, Vec<Address>, String) {
        let mut room = vec![Address::UNSPECIFIED; 8192];
        let mut canonical = Name::EMPTY;
        let found =
            self.read(|zone| zone.addresses(name.as_bytes(), families, &mut room, &mut canonical));
        room.truncate(if let Found::Answer { count } = found {
            count
        } else {
            0
        });
        let canonical = String::from_utf8_lossy(canonical.as_bytes()).into_owned();
        (found, room, canonical)
    }

    pub(crate) fn found(&self, name: &str) -> Found {
        self.ask(name, BOTH).0
    }

    pub(crate) fn addresses(&self, name: &str, families: Families) -> Vec<Address> {
        let (found, mut addresses, _) = self.ask(name, families);
        assert_eq!(
            found,
            Found::Answer {
                count: addresses.len()
            },
            "{name}"
        );
        // The zone's order has no meaning.
        addresses.sort_by_key(|address| address.octets);
        addresses
    }

    pub(crate) fn names(&self, text: &str) -> (Found, Vec<String>) {
        let mut room = vec![Name::EMPTY; 16];
        let found = self.read(|zone| zone.names(&address(text), &mut room));
        let count = if let Found::Answer { count } = found {
            count
        } else {
            0
        };
        let text = |name: &Name| String::from_utf8_lossy(name.as_bytes()).into_owned();
        (found, room[..count].iter().map(text).collect())
    }

    pub(crate) fn services(&self, name: &str) -> Vec<(u16, u16, String)> {
        let mut room = vec![Srv::EMPTY; 64];
        let found = self.read(|zone| zone.services(name.as_bytes(), &mut room));
        let Found::Answer { count } = found else {
            panic!("{name}: {found:?}")
        };
        let text = |name: &Name| String::from_utf8_lossy(name.as_bytes()).into_owned();
        room[..count]
            .iter()
            .map(|srv| (srv.weight, srv.port, text(&srv.target)))
            .collect()
    }
}

pub(crate) fn key(name: &str) -> ServiceKey {
    ServiceKey::new(name, "shop").expect("labels")
}

/// Endpoints with port `pg` 5432: address, host name, ready.
pub(crate) fn slice(endpoints: &[(&str, Option<&str>, bool)]) -> Slice {
    let endpoints: Vec<Endpoint> = endpoints
        .iter()
        .map(|(text, hostname, ready)| Endpoint {
            hostname: hostname.map(str::to_owned),
            ready: *ready,
            topology_zone: Some("zone-a".to_owned()),
            ..Endpoint::ready(address(text))
        })
        .collect();
    Slice {
        family: endpoints
            .first()
            .map_or(Family::V4, |endpoint| endpoint.address.family),
        ports: vec![Port {
            name: "pg".to_owned(),
            protocol: Protocol::Tcp,
            number: 5432,
        }],
        endpoints,
    }
}

pub(crate) fn address(text: &str) -> Address {
    match text.parse().expect("an address") {
        IpAddr::V4(ip) => Address::v4(ip.octets()),
        IpAddr::V6(ip) => Address::v6(ip.octets()),
    }
}

pub(crate) fn v4(text: &str) -> Address {
    address(text)
}

pub(crate) fn v6(text: &str) -> Address {
    address(text)
}

//! The walk over a real zone file: what the writer publishes is what a lookup comes to, by either
//! libc's rules.

#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a test has std"
)]

use nss_k8s_stub::nsswitch::Placement;
use nss_k8s_stub::resolv_conf::{ResolvConf, Surroundings};
use nss_k8s_stub::sys::Libc::{self, Glibc, Musl};
use nss_k8s_stub::walk::{self, Errands, Settings};
use nss_k8s_stub::{Address, Door, Families, Name, Outcome, Query, Reason};
use nss_k8s_zone::{
    Ask, Config, Endpoint, LibcOs, MissPolicy, Now, Options, Reader, ServiceBody, ServiceKey,
    Slice, SliceId, Unavailable, Writer,
};
use std::ffi::CString;
use std::fs;
use std::path::PathBuf;

const NOW: Now = Now(1_800_000_000);
const CLUSTER_DNS: Address = Address::v4([10, 96, 0, 10]);
const API: Address = Address::v4([10, 0, 0, 1]);
const API_V6: Address = Address::v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
const DB_0: Address = Address::v4([10, 244, 0, 7]);
const DB_1: Address = Address::v4([10, 244, 1, 7]);

/// A directory on a tmpfs with a zone in it, removed at the end.
struct Shop {
    directory: PathBuf,
    writer: Writer,
    config: Config,
    path: CString,
    reader: Reader,
}

impl Shop {
    /// Services of every kind in `prod`, one in `data`, and the miss policy `ask`.
    fn open(name: &str) -> Self {
        let directory = PathBuf::from(format!("/dev/shm/nss-k8s-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let options = Options::new(&directory, "cluster.local");
        let path = CString::new(options.zone_path().into_os_string().into_encoded_bytes()).unwrap();
        let (mut writer, _) = Writer::open(options).unwrap();
        let config = Config {
            cluster_dns: vec![CLUSTER_DNS],
            ..Config::default()
        };
        writer.configure(&config).unwrap();
        for namespace in ["prod", "data"] {
            writer.put_namespace(namespace).unwrap();
        }
        let cluster_ip = |addresses: &[Address]| ServiceBody::ClusterIp {
            addresses: addresses.to_vec(),
            ports: vec![],
        };
        let external = |target: &str| ServiceBody::External {
            target: target.to_owned(),
        };
        for (service, namespace, body) in [
            ("api", "prod", cluster_ip(&[API])),
            ("dual", "prod", cluster_ip(&[API, API_V6])),
            ("orders", "data", cluster_ip(&[API])),
            ("db", "prod", ServiceBody::Headless { ports: vec![] }),
            ("alias", "prod", external("orders.data.svc.cluster.local")),
            ("out", "prod", external("db.example.com")),
        ] {
            writer
                .put_service(&ServiceKey::new(service, namespace).unwrap(), &body)
                .unwrap();
        }
        let endpoint = |address, hostname: &str| Endpoint {
            hostname: Some(hostname.to_owned()),
            ..Endpoint::ready(address)
        };
        let slice = Slice {
            family: DB_0.family,
            ports: vec![],
            endpoints: vec![endpoint(DB_0, "db-0"), endpoint(DB_1, "db-1")],
        };
        writer
            .put_slice(&ServiceKey::new("db", "prod").unwrap(), SliceId(1), &slice)
            .unwrap();
        writer.beat(NOW);
        writer.set_synced(NOW);
        Self {
            directory,
            writer,
            config,
            path,
            reader: Reader::new(),
        }
    }

    /// One lookup by `libc`'s rules, in a pod of namespace `prod`.
    fn look_up(
        &self,
        libc: Libc,
        name: &str,
        families: Families,
    ) -> (Outcome, Vec<Address>, String) {
        let text = b"search prod.svc.cluster.local svc.cluster.local cluster.local\n\
            nameserver 10.96.0.10\noptions ndots:5\n";
        let settings = Settings {
            libc,
            resolv_conf: ResolvConf::parse(libc, text, &Surroundings::default()),
            placement: Placement::Certain,
            host_aliases: false,
            module_asks: false,
        };
        let query = Query {
            name: name.as_bytes(),
            families,
            door: Door::Shim,
        };
        let mut room = [Address::UNSPECIFIED; 8];
        let mut canonical = Name::EMPTY;
        let outcome = self
            .reader
            .read(&LibcOs, &self.path, NOW, |snapshot| {
                walk::resolve(
                    &settings,
                    snapshot,
                    &query,
                    &mut Errands::new(),
                    &mut room,
                    &mut canonical,
                    &mut |_| {},
                )
            })
            .unwrap_or_else(|why| Outcome::Pass(Reason::Unavailable(why)));
        let count = if let Outcome::Answer { count } = outcome {
            count
        } else {
            0
        };
        let mut answer = room[..count].to_vec();
        answer.sort();
        (
            outcome,
            answer,
            String::from_utf8(canonical.as_bytes().to_vec()).unwrap(),
        )
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn answers_come_from_the_zone_with_the_name_that_owns_them() {
    let shop = Shop::open("answers");
    let both = Families::BOTH;
    let cases: &[(&str, Families, &[Address], &str)] = &[
        ("api", both, &[API], "api.prod.svc.cluster.local"),
        ("API", both, &[API], "API.prod.svc.cluster.local"),
        ("api.prod", both, &[API], "api.prod.svc.cluster.local"),
        ("api.prod.svc", both, &[API], "api.prod.svc.cluster.local"),
        (
            "api.prod.svc.cluster.local",
            both,
            &[API],
            "api.prod.svc.cluster.local",
        ),
        (
            "api.prod.svc.cluster.local.",
            both,
            &[API],
            "api.prod.svc.cluster.local",
        ),
        ("dual", both, &[API, API_V6], "dual.prod.svc.cluster.local"),
        ("dual", Families::V4, &[API], "dual.prod.svc.cluster.local"),
        (
            "dual",
            Families::V6,
            &[API_V6],
            "dual.prod.svc.cluster.local",
        ),
        ("db", both, &[DB_0, DB_1], "db.prod.svc.cluster.local"),
        ("db-0.db", both, &[DB_0], "db-0.db.prod.svc.cluster.local"),
        (
            "db-1.db.prod",
            both,
            &[DB_1],
            "db-1.db.prod.svc.cluster.local",
        ),
        ("orders.data", both, &[API], "orders.data.svc.cluster.local"),
        ("alias", both, &[API], "orders.data.svc.cluster.local"),
    ];
    for (name, families, addresses, canonical) in cases {
        for libc in [Glibc, Musl] {
            let (outcome, answer, owner) = shop.look_up(libc, name, *families);
            let expected = Outcome::Answer {
                count: addresses.len(),
            };
            assert_eq!(
                (outcome, answer.as_slice(), owner.as_str()),
                (expected, *addresses, *canonical),
                "{libc:?} {name}"
            );
        }
    }
}

#[test]
fn what_is_not_ours_to_decide_passes() {
    let shop = Shop::open("passes");
    let pass = |ask| Outcome::Pass(Reason::Ask(ask));
    let external = Outcome::Pass(Reason::External);
    for (name, expected) in [
        ("www.example.com", external),
        ("api.", external),
        ("nope", pass(Ask::Miss)),
        ("nope.prod.svc.cluster.local.", pass(Ask::Miss)),
        ("x.nope.prod.svc.cluster.local.", pass(Ask::MissBelow)),
        ("out", Outcome::Chase),
        ("nope.nowhere.svc.cluster.local.", Outcome::NxDomain),
        ("prod.svc.cluster.local.", Outcome::NoData),
    ] {
        for libc in [Glibc, Musl] {
            assert_eq!(
                shop.look_up(libc, name, Families::BOTH).0,
                expected,
                "{libc:?} {name}"
            );
        }
    }
}

#[test]
fn the_miss_policy_makes_misses_final() {
    let mut shop = Shop::open("policy");
    shop.config.miss_policy = MissPolicy::NxDomain;
    shop.writer.configure(&shop.config.clone()).unwrap();
    for libc in [Glibc, Musl] {
        for name in [
            "nope.prod.svc.cluster.local.",
            "x.nope.prod.svc.cluster.local.",
        ] {
            assert_eq!(
                shop.look_up(libc, name, Families::BOTH).0,
                Outcome::NxDomain,
                "{name}"
            );
        }
    }
}

#[test]
fn a_foreign_nameserver_sees_nothing_of_the_zone() {
    let mut shop = Shop::open("foreign");
    shop.config.cluster_dns = vec![Address::v4([10, 96, 0, 11])];
    shop.writer.configure(&shop.config.clone()).unwrap();
    let foreign = Outcome::Pass(Reason::Foreign);
    for name in [
        "api",
        "api.prod.svc.cluster.local.",
        "nope.nowhere.svc.cluster.local.",
    ] {
        assert_eq!(
            shop.look_up(Glibc, name, Families::BOTH).0,
            foreign,
            "{name}"
        );
    }
    shop.config.accept_any_nameserver = true;
    shop.writer.configure(&shop.config.clone()).unwrap();
    assert_eq!(
        shop.look_up(Glibc, "api", Families::BOTH).0,
        Outcome::Answer { count: 1 }
    );
}

#[test]
fn a_zone_that_is_off_passes_and_comes_back() {
    let mut shop = Shop::open("off");
    shop.writer.disable();
    let off = Outcome::Pass(Reason::Unavailable(Unavailable::Disabled));
    assert_eq!(shop.look_up(Glibc, "api", Families::BOTH).0, off);
    shop.writer.enable();
    assert_eq!(
        shop.look_up(Glibc, "api", Families::BOTH).0,
        Outcome::Answer { count: 1 }
    );
}

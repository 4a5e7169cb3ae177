//! The library that is shipped (no std, panic = abort) and this test's own build of the stub come to
//! the same answers, in one process over one zone.

#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a test has std"
)]

#[path = "support/shipped.rs"]
mod shipped;

use nss_k8s_stub::{Address, Door, Families, Name, Outcome, Query, resolve};
use nss_k8s_zone::{Config, MissPolicy, Now, Options, ServiceBody, ServiceKey, Writer};
use shipped::{ByName4, Shipped};
use std::{
    env,
    ffi::{CStr, CString},
    fs,
    path::{Path, PathBuf},
    ptr,
    time::{SystemTime, UNIX_EPOCH},
};

/// What both come to: the sorted addresses' octets with the canonical name, or a word.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Answer(Vec<Vec<u8>>, String),
    NoData,
    NxDomain,
    Pass,
}

#[test]
fn the_shipped_library_sees_what_the_std_build_sees() {
    let directory = PathBuf::from(format!("/dev/shm/nss-k8s-{}-guest", std::process::id()));
    let _ = fs::remove_dir_all(&directory);
    let _writer = publish(&directory);
    #[allow(
        clippy::disallowed_methods,
        reason = "the only test here, before its first lookup"
    )]
    // SAFETY: no other thread of this test reads or writes the environment.
    unsafe {
        env::set_var("NSS_K8S_DIR", directory.join("view/default"));
    }
    let by_name = Shipped::open().by_name4();
    let mut answers = 0;
    for name in [
        "api.prod.svc.cluster.local.",
        "API.Prod.svc.cluster.local.",
        "dual.prod.svc.cluster.local.",
        "alias.prod.svc.cluster.local.",
        "prod.svc.cluster.local.",
        "nope.prod.svc.cluster.local.",
        "nope.nowhere.svc.cluster.local.",
        "out.prod.svc.cluster.local.",
        "www.example.com.",
        "10.0.0.1",
        "-api.prod.svc.cluster.local.",
        "a..b",
        "",
    ] {
        let own = by_own_build(name);
        answers += usize::from(matches!(own, Seen::Answer(..)));
        assert_eq!(by_shipped(by_name, name), own, "{name}");
    }
    assert_eq!(answers, 4);
    fs::remove_dir_all(&directory).unwrap();
}

fn publish(directory: &Path) -> Writer {
    let (mut writer, _) = Writer::open(Options::new(directory, "cluster.local")).unwrap();
    let config = Config {
        accept_any_nameserver: true,
        miss_policy: MissPolicy::NxDomain,
        ..Config::default()
    };
    writer.configure(&config).unwrap();
    writer.put_namespace("prod").unwrap();
    let v4 = Address::v4([10, 0, 0, 1]);
    let v6 = Address::v6([0xfd; 16]);
    let cluster_ip = |addresses: &[Address]| ServiceBody::ClusterIp {
        addresses: addresses.to_vec(),
        ports: vec![],
    };
    let external = |target: &str| ServiceBody::External {
        target: target.to_owned(),
    };
    for (service, body) in [
        ("api", cluster_ip(&[v4])),
        ("dual", cluster_ip(&[v4, v6])),
        ("alias", external("api.prod.svc.cluster.local")),
        ("out", external("db.example.com")),
    ] {
        writer
            .put_service(&ServiceKey::new(service, "prod").unwrap(), &body)
            .unwrap();
    }
    let now = Now(SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs());
    writer.beat(now);
    writer.set_synced(now);
    writer
}

fn by_own_build(name: &str) -> Seen {
    let mut room = [Address::UNSPECIFIED; 8];
    let mut canonical = Name::EMPTY;
    let query = Query {
        name: name.as_bytes(),
        families: Families::BOTH,
        door: Door::Nss,
    };
    match resolve(&query, &mut room, &mut canonical) {
        Outcome::Answer { count } => {
            let mut octets: Vec<_> = room[..count]
                .iter()
                .map(|address| address.as_octets().to_vec())
                .collect();
            octets.sort();
            Seen::Answer(
                octets,
                String::from_utf8(canonical.as_bytes().to_vec()).unwrap(),
            )
        }
        Outcome::NoData => Seen::NoData,
        Outcome::NxDomain => Seen::NxDomain,
        Outcome::Hosts { .. } | Outcome::Chase | Outcome::Pass(_) => Seen::Pass,
        Outcome::Again | Outcome::Asked(..) => panic!("nobody is asked here"),
        Outcome::Room(wanted) => panic!("8 places are too few: {wanted}"),
    }
}

fn by_shipped(by_name: ByName4, name: &str) -> Seen {
    let name = CString::new(name).unwrap();
    let mut tuple = ptr::null_mut();
    let mut buffer = [0_u64; 256];
    let (mut error, mut resolver_error, mut ttl) = (0, 0, 0);
    // SAFETY: the arguments are those that glibc passes.
    let status = unsafe {
        by_name(
            name.as_ptr(),
            &raw mut tuple,
            buffer.as_mut_ptr().cast(),
            size_of_val(&buffer),
            &raw mut error,
            &raw mut resolver_error,
            &raw mut ttl,
        )
    };
    match (status, resolver_error) {
        (1, _) => {
            // SAFETY: after SUCCESS the tuples and names are in the buffer, the last `next` null.
            let canonical = unsafe { CStr::from_ptr((*tuple).name) }
                .to_str()
                .unwrap()
                .to_owned();
            let mut octets = vec![];
            // SAFETY: as above.
            while let Some(one) = unsafe { tuple.as_ref() } {
                let length = if one.family == libc::AF_INET { 4 } else { 16 };
                octets.push(one.address[..length].to_vec());
                tuple = one.next;
            }
            octets.sort();
            Seen::Answer(octets, canonical)
        }
        (0, 4) => Seen::NoData,
        (0, 1) => Seen::NxDomain,
        (-1, _) => Seen::Pass,
        other => panic!("status and h_errno {other:?}"),
    }
}

//! The library that is shipped (no std, panic = abort) and this test's own build of the stub come to
//! the same answers, in one process over one zone.

#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a test has std"
)]

use nss_k8s_stub::{Address, Door, Families, Name, Outcome, Query, resolve};
use nss_k8s_zone::{Config, MissPolicy, Now, Options, ServiceBody, ServiceKey, Writer};
use std::ffi::{CStr, CString, c_char, c_int};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs, mem, ptr};

/// `_nss_k8s_gethostbyname4_r` (glibc nss/nss.h).
type ByName = unsafe extern "C" fn(
    *const c_char,
    *mut *mut Tuple,
    *mut u8,
    usize,
    *mut c_int,
    *mut c_int,
    *mut i32,
) -> c_int;

/// `struct gaih_addrtuple`.
#[repr(C)]
struct Tuple {
    next: *mut Self,
    name: *const c_char,
    family: c_int,
    address: [u8; 16],
    scope: u32,
}

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
    let by_name = shipped();
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

fn by_shipped(by_name: ByName, name: &str) -> Seen {
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

/// The function of the library that `make guests` has built from these sources.
fn shipped() -> ByName {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let guests =
        env::var_os("NSS_K8S_GUESTS").map_or_else(|| workspace.join("build/guests"), PathBuf::from);
    let library = guests.join("libnss_k8s.so.2");
    let built = modified(&library)
        .unwrap_or_else(|| panic!("{}: not there; run `make guests`", library.display()));
    for sources in ["zone/src", "stub/src", "nss-module/src"] {
        let changed = newest(&workspace.join(sources));
        assert!(
            changed <= built,
            "{sources} changed after the library was built: make guests"
        );
    }
    let path = CString::new(library.into_os_string().into_encoded_bytes()).unwrap();
    // SAFETY: both strings end in NUL; the symbol is a function of that type.
    unsafe {
        let handle = libc::dlopen(path.as_ptr(), libc::RTLD_NOW);
        assert!(!handle.is_null(), "dlopen {path:?}");
        #[allow(
            clippy::disallowed_methods,
            reason = "a test has the libc that it was linked with"
        )]
        let symbol = libc::dlsym(handle, c"_nss_k8s_gethostbyname4_r".as_ptr());
        assert!(!symbol.is_null());
        mem::transmute::<*mut libc::c_void, ByName>(symbol)
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

/// The youngest file below a directory.
fn newest(directory: &Path) -> SystemTime {
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            if path.is_dir() {
                newest(&path)
            } else {
                modified(&path).unwrap()
            }
        })
        .max()
        .unwrap_or(UNIX_EPOCH)
}

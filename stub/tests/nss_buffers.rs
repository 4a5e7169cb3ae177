//! The module as it is shipped, with buffers of every size and alignment: it writes nothing outside
//! them, nothing at all to the caller's results until the whole answer fits, and then the whole answer.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a test has std"
)]

#[path = "support/shipped.rs"]
mod shipped;

use nss_k8s_zone::{
    Address, Config, Endpoint, Family, Now, Options, ServiceBody, ServiceKey, Slice, SliceId,
    Writer,
};
use shipped::{ByName4, Shipped, Tuple};
use std::{
    collections::BTreeSet,
    env,
    ffi::{CStr, CString, c_char, c_int, c_void},
    mem,
    path::Path,
    ptr::null_mut,
    time::{SystemTime, UNIX_EPOCH},
};

/// Bytes around a buffer, which stay as they are.
const MARGIN: usize = 64;
/// What they are.
const CANARY: u8 = 0xa5;
/// `nss_status`.
const SUCCESS: c_int = 1;
const TRY_AGAIN: c_int = -2;

type ByName2 = unsafe extern "C" fn(
    *const c_char,
    c_int,
    *mut libc::hostent,
    *mut u8,
    usize,
    *mut c_int,
    *mut c_int,
) -> c_int;
type ByAddress = unsafe extern "C" fn(
    *const c_void,
    u32,
    c_int,
    *mut libc::hostent,
    *mut u8,
    usize,
    *mut c_int,
    *mut c_int,
) -> c_int;

/// The functions under test.
struct Module {
    by_name4: ByName4,
    by_name2: ByName2,
    by_address: ByAddress,
}

/// One call.
#[derive(Clone, Copy, Debug)]
enum Call {
    Tuples(&'static str),
    Host(&'static str, c_int),
    Reverse([u8; 4]),
}

/// What an answer says: names, then addresses.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    names: BTreeSet<Vec<u8>>,
    addresses: BTreeSet<Vec<u8>>,
}

#[test]
fn every_size_and_alignment() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    let _writer = publish(directory.path());
    #[allow(
        clippy::disallowed_methods,
        reason = "the only test here, before its first lookup"
    )]
    // SAFETY: no other thread of this test reads or writes the environment.
    unsafe {
        env::set_var("NSS_K8S_DIR", directory.path().join("view/default"));
    }
    let module = Module::shipped();
    // How many addresses and names each call must give.
    let calls = [
        (Call::Tuples("api.shop.svc.cluster.local."), 1, 1),
        (Call::Tuples("dual.shop.svc.cluster.local."), 2, 1),
        (Call::Tuples("some.shop.svc.cluster.local."), 5, 1),
        (Call::Tuples("crowd.shop.svc.cluster.local."), 120, 1),
        (
            Call::Host("dual.shop.svc.cluster.local.", libc::AF_INET),
            1,
            1,
        ),
        (
            Call::Host("dual.shop.svc.cluster.local.", libc::AF_INET6),
            1,
            1,
        ),
        (
            Call::Host("crowd.shop.svc.cluster.local.", libc::AF_INET),
            120,
            1,
        ),
        (Call::Reverse([10, 96, 0, 1]), 1, 1),
        (Call::Reverse([10, 1, 0, 1]), 1, 6),
    ];
    for (call, addresses, names) in calls {
        let (status, _, whole) = module.call(call, 0, 16_384);
        assert_eq!(status, SUCCESS, "{call:?}");
        let found = (whole.addresses.len(), whole.names.len());
        assert_eq!(found, (addresses, names), "{call:?}");
        for skew in 0..16 {
            // The least size that does, which no larger one contradicts.
            let mut least = None;
            for size in sizes(addresses) {
                let (status, error, said) = module.call(call, skew, size);
                match status {
                    SUCCESS => {
                        assert_eq!(said, whole, "{call:?} {skew} + {size}");
                        least = least.or(Some(size));
                    }
                    TRY_AGAIN => {
                        assert_eq!(error, libc::ERANGE, "{call:?} {skew} + {size}");
                        assert_eq!(least, None, "{call:?} {skew} + {size}: less was enough");
                    }
                    other => panic!("{call:?} {skew} + {size}: status {other}"),
                }
            }
            let least = least.expect("the largest does");
            assert!(
                least > 4 * addresses,
                "{call:?}: {least} octets hold everything"
            );
        }
    }
}

/// Every size where answers are small; else every seventh.
fn sizes(addresses: usize) -> impl Iterator<Item = usize> {
    let (step, most) = if addresses > 5 {
        (7, 8_192)
    } else {
        (1, 2_048)
    };
    (0..most).step_by(step).chain([most * 2])
}

impl Module {
    /// Those of the library that `make guests` has built.
    fn shipped() -> Self {
        let library = Shipped::open();
        let (by_name2, by_address) = (
            library.symbol(c"_nss_k8s_gethostbyname2_r"),
            library.symbol(c"_nss_k8s_gethostbyaddr_r"),
        );
        // SAFETY: each symbol is a function of its type.
        unsafe {
            Self {
                by_name4: library.by_name4(),
                by_name2: mem::transmute::<*mut c_void, ByName2>(by_name2),
                by_address: mem::transmute::<*mut c_void, ByAddress>(by_address),
            }
        }
    }

    /// Makes a call with a buffer of `size` octets, `skew` octets behind a multiple of 16: status,
    /// errno, and what is said. Checks what was written where.
    fn call(&self, call: Call, skew: usize, size: usize) -> (c_int, c_int, Said) {
        let mut memory = vec![0_u128; (2 * MARGIN + skew + size).div_ceil(16)];
        let (start, all) = (memory.as_mut_ptr().cast::<u8>(), memory.len() * 16);
        // SAFETY: the memory just made.
        let buffer = unsafe {
            start.write_bytes(CANARY, all);
            start.add(MARGIN + skew)
        };
        let (mut error, mut resolver, mut ttl) = (0, 0, 0);
        // SAFETY: zeros are null pointers and numbers.
        let mut host: libc::hostent = unsafe { mem::zeroed() };
        let mut first = null_mut::<Tuple>();
        // SAFETY: the arguments are those that glibc passes.
        let status = unsafe {
            match call {
                Call::Tuples(name) => {
                    let name = CString::new(name).unwrap();
                    (self.by_name4)(
                        name.as_ptr(),
                        &raw mut first,
                        buffer,
                        size,
                        &raw mut error,
                        &raw mut resolver,
                        &raw mut ttl,
                    )
                }
                Call::Host(name, family) => {
                    let name = CString::new(name).unwrap();
                    (self.by_name2)(
                        name.as_ptr(),
                        family,
                        &raw mut host,
                        buffer,
                        size,
                        &raw mut error,
                        &raw mut resolver,
                    )
                }
                Call::Reverse(octets) => (self.by_address)(
                    octets.as_ptr().cast(),
                    4,
                    libc::AF_INET,
                    &raw mut host,
                    buffer,
                    size,
                    &raw mut error,
                    &raw mut resolver,
                ),
            }
        };
        for at in (0..MARGIN + skew).chain(MARGIN + skew + size..all) {
            // SAFETY: in the memory.
            let byte = unsafe { start.add(at).read() };
            assert_eq!(byte, CANARY, "{call:?} {skew} + {size}: written at {at}");
        }
        let within = buffer as usize..buffer as usize + size;
        let inside = |pointer: usize, length: usize| {
            assert!(
                pointer >= within.start && pointer + length <= within.end,
                "{call:?} {skew} + {size}: outside of the buffer"
            );
        };
        let mut said = Said::default();
        if status != SUCCESS {
            assert!(
                first.is_null() && host.h_name.is_null(),
                "{call:?}: a result"
            );
            return (status, error, said);
        }
        let text = |pointer: *const c_char| {
            // SAFETY: ends in zero inside the buffer, or at the canary's end.
            let text = unsafe { CStr::from_ptr(pointer) }.to_bytes().to_vec();
            inside(pointer as usize, text.len() + 1);
            text
        };
        if let Call::Tuples(_) = call {
            let mut next = first.cast_const();
            while !next.is_null() {
                inside(next as usize, size_of::<Tuple>());
                assert!(next.is_aligned(), "{call:?} {skew} + {size}");
                // SAFETY: inside the buffer and aligned.
                let tuple = unsafe { &*next };
                let octets = if tuple.family == libc::AF_INET { 4 } else { 16 };
                said.addresses.insert(tuple.address[..octets].to_vec());
                said.names.insert(text(tuple.name));
                next = tuple.next;
            }
            return (status, error, said);
        }
        said.names.insert(text(host.h_name));
        let octets = usize::try_from(host.h_length).unwrap();
        for (list, is_address) in [(host.h_aliases, false), (host.h_addr_list, true)] {
            for at in 0.. {
                // SAFETY: up to the null that ends it, which is inside, too.
                let place = unsafe { list.add(at) };
                inside(place as usize, 8);
                assert!(place.is_aligned(), "{call:?} {skew} + {size}");
                // SAFETY: as above.
                let pointer = unsafe { place.read() };
                if pointer.is_null() {
                    break;
                }
                if is_address {
                    inside(pointer as usize, octets);
                    // SAFETY: inside the buffer.
                    let octets =
                        unsafe { std::slice::from_raw_parts(pointer.cast::<u8>(), octets) };
                    said.addresses.insert(octets.to_vec());
                } else {
                    said.names.insert(text(pointer));
                }
            }
        }
        (status, error, said)
    }
}

/// Services of one, two, five and many addresses, and an address with six names.
fn publish(directory: &Path) -> Writer {
    let (mut writer, _) = Writer::open(Options::new(directory, "cluster.local")).unwrap();
    let config = Config {
        accept_any_nameserver: true,
        ..Config::default()
    };
    writer.configure(&config).unwrap();
    writer.put_namespace("shop").unwrap();
    let key = |name: &str| ServiceKey::new(name, "shop").unwrap();
    let (v4, v6) = (Address::v4([10, 96, 0, 1]), Address::v6([0xfd; 16]));
    for (name, addresses) in [
        ("api", vec![v4]),
        ("dual", vec![Address::v4([10, 96, 0, 2]), v6]),
    ] {
        let body = ServiceBody::ClusterIp {
            addresses,
            ports: vec![],
        };
        writer.put_service(&key(name), &body).unwrap();
    }
    for (name, net, count) in [
        ("crowd", 0, 120),
        ("some", 0, 5),
        ("a", 0, 1),
        ("b", 0, 1),
        ("c", 0, 1),
        ("d", 0, 1),
    ] {
        let body = ServiceBody::Headless { ports: vec![] };
        writer.put_service(&key(name), &body).unwrap();
        let endpoints = (1..=count).map(|last| Endpoint::ready(Address::v4([10, 1, net, last])));
        let slice = Slice {
            family: Family::V4,
            ports: vec![],
            endpoints: endpoints.collect(),
        };
        writer.put_slice(&key(name), SliceId(1), &slice).unwrap();
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = Now(now.as_secs());
    writer.beat(now);
    writer.set_synced(now);
    writer
}

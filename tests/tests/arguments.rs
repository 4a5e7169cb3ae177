//! Every argument of the calls but the name's form, differentially: socket types, protocols,
//! services, flags, buffer sizes, and the families that the pod has.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Result, ensure};
use nss_k8s_tests::{
    artifacts,
    differential::{NAMES, agree},
    pod::{Pod, Recipe},
    session::{Door, Session},
    shop,
};

#[test]
fn every_argument_of_getaddrinfo_means_what_libc_means() -> Result<()> {
    let zone = shop::publish()?;
    let mut calls = Vec::new();
    let names = [
        "api",
        "web",
        "six",
        "alias",
        "postgres.db",
        "empty",
        "x.nowhere.svc.cluster.local.",
        "-",
    ];
    for name in names {
        calls.push(format!("gai {name} 80 null"));
        calls.push(format!("gai {name} - null"));
        for family in ["UNSPEC", "INET", "INET6", "17"] {
            for (socktype, protocol) in [
                (0, 0),
                (1, 0),
                (2, 0),
                (3, 0),
                (1, 6),
                (2, 17),
                (0, 6),
                (0, 17),
                (1, 17),
                (0, 1),
                (5, 0),
                (9, 0),
            ] {
                calls.push(format!("gai {name} 80 {family} {socktype} {protocol} 0"));
                calls.push(format!("gai {name} - {family} {socktype} {protocol} 0"));
            }
            for service in [
                "http", "domain", "nosuch", "65536", "99999", "0", "%2080", "+80", "080", "0x50",
                "-1", "80x", "%20",
            ] {
                calls.push(format!("gai {name} {service} {family} 0 0 0"));
                calls.push(format!("gai {name} {service} {family} 1 0 0x400"));
            }
            for flags in [
                "0x1", "0x2", "0x4", "0x8", "0x10", "0x18", "0x20", "0x28", "0x3a", "0x40", "0xc2",
                "0x400", "0x800", "0x300",
            ] {
                calls.push(format!("gai {name} 443 {family} 1 0 {flags}"));
            }
        }
    }
    agree(&zone, Recipe::default(), &[], &Door::OURS, &calls, 200)?;
    Ok(())
}

#[test]
fn every_hostent_call_means_what_libc_means() -> Result<()> {
    let zone = shop::publish()?;
    let mut calls = Vec::new();
    for name in NAMES {
        calls.push(format!("host {name}"));
        for family in ["INET", "INET6", "17"] {
            calls.push(format!("host2 {name} {family}"));
            for size in [0, 16, 64, 100, 128, 160, 256, 1024, 8192] {
                calls.push(format!("host2r {name} {family} {size}"));
            }
        }
        calls.push(format!("hostr {name} 1024"));
    }
    agree(&zone, Recipe::default(), &[], &Door::OURS, &calls, 20)?;
    Ok(())
}

#[test]
fn reverse_lookup_means_what_libc_means() -> Result<()> {
    let zone = shop::publish()?;
    let mut calls = Vec::new();
    let addresses = [
        "10.96.1.10",
        "fd00:96::11",
        "10.244.1.11",
        "192.0.2.81",
        "192.0.2.13",
        "127.0.0.1",
        "::1",
        "10.244.0.7",
        "192.0.2.200",
        "::ffff:10.96.1.10",
    ];
    for address in addresses {
        calls.push(format!("addr {address}"));
        for size in [0, 16, 64, 100, 256, 1024] {
            calls.push(format!("addrr {address} {size}"));
        }
        for flags in ["0", "8", "4", "1"] {
            calls.push(format!("name {address} 80 {flags}"));
        }
    }
    agree(&zone, Recipe::default(), &[], &Door::OURS, &calls, 6)?;
    Ok(())
}

#[test]
fn one_family_alone_narrows_as_libc_narrows() -> Result<()> {
    let zone = shop::publish()?;
    let mut calls = Vec::new();
    for name in ["api", "web", "six", "postgres.db", "localhost"] {
        for family in ["UNSPEC", "INET", "INET6"] {
            for flags in ["0x20", "0x28", "0x38", "0x22"] {
                calls.push(format!("gai {name} 80 {family} 1 0 {flags}"));
            }
        }
        calls.push(format!("gai {name} 80 null"));
    }
    for families in ["4", "6", ""] {
        let recipe = Recipe {
            families,
            ..Recipe::default()
        };
        agree(&zone, recipe, &[], &Door::OURS, &calls, 5)
            .map_err(|error| error.context(format!("with families {families:?}")))?;
    }
    Ok(())
}

/// Narrowed to IPv6, AF_UNSPEC is mapped as AF_INET6 is.
/// (The loopback has both families, which is what musl looks at: nothing narrows there.)
#[test]
fn an_ipv6_only_pod_maps_as_libc_maps() -> Result<()> {
    let zone = shop::publish()?;
    let pod = Pod::start(Recipe {
        hosts: shop::HOSTS.into(),
        zone: Some(zone.view()),
        families: "6",
        ..Recipe::default()
    })?;
    let mut session = Session::start(&pod, Door::ShimGlibc)?;
    for (call, expected) in [
        (
            "gai api.shop.svc.cluster.local. 80 UNSPEC 1 0 0x20",
            "nodata",
        ),
        ("gai web 80 UNSPEC 1 0 0x20", "zone"),
        ("gai web 80 UNSPEC 1 0 0x38", "zone"),
        ("gai api.shop.svc.cluster.local. 80 UNSPEC 1 0 0x28", "zone"),
        (
            "gai empty.shop.svc.cluster.local. 80 UNSPEC 1 0 0x28",
            "nxdomain",
        ),
        ("gai api.shop.svc.cluster.local. 80 null", "zone"),
    ] {
        let who = session.ask(call)?.who();
        ensure!(who == expected, "{call}: {who}");
    }
    Ok(())
}

/// What a program may rely on between two calls: each function that returns static memory has its
/// own, a name in it may be asked for again, and the pending `dlerror` stays.
#[test]
fn one_call_leaves_the_others_results_alone() -> Result<()> {
    const PROGRAM: &str = r#"
import ctypes, socket
class Host(ctypes.Structure):
    _fields_ = [("name", ctypes.c_void_p), ("aliases", ctypes.c_void_p), ("kind", ctypes.c_int),
                ("length", ctypes.c_int), ("list", ctypes.POINTER(ctypes.c_void_p))]
def text(host):
    octets = ctypes.string_at(host.contents.list[0], host.contents.length)
    return socket.inet_ntop(host.contents.kind, octets)
libc = ctypes.CDLL(None)
one, two, dlsym, dlerror, look_up = (libc.gethostbyname, libc.gethostbyname2, libc.dlsym,
                                     libc.dlerror, libc.getaddrinfo)
one.restype = two.restype = ctypes.POINTER(Host)
one.argtypes = [ctypes.c_void_p]
dlsym.restype, dlerror.restype = ctypes.c_void_p, ctypes.c_char_p
dlsym.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
web = ctypes.create_string_buffer(b"web")
dlsym(None, b"no_such_symbol")
look_up(b"localhost", None, None, ctypes.byref(ctypes.c_void_p()))
print("no_such_symbol" in (dlerror() or b"").decode())
four, six = one(ctypes.addressof(web)), two(b"web", socket.AF_INET6)
print(text(four), text(six))
one(four.contents.name)
print(ctypes.string_at(four.contents.name).decode(), text(four))
"#;
    let zone = shop::publish()?;
    let pod = shop::dark_pod(&zone)?;
    let mut command = pod.command("python3");
    Door::ShimGlibc.open(&mut command, &artifacts::guests()?);
    let output = command.args(["-c", PROGRAM]).output()?;
    let (said, notes) = (
        String::from_utf8(output.stdout)?,
        String::from_utf8(output.stderr)?,
    );
    ensure!(
        said == "True\n10.96.1.11 fd00:96::11\n\
                 web.shop.svc.cluster.local 10.96.1.11\n",
        "{said}{notes}"
    );
    ensure!(
        notes.contains("\"web.shop.svc.cluster.local\" -> pass(overlap)\n"),
        "{notes}"
    );
    Ok(())
}

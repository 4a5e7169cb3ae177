//! Every argument of the calls but the name's form, differentially: socket types, protocols,
//! services, flags, buffer sizes, and the families that the pod has.
#![allow(clippy::std_instead_of_core, reason = "an ordinary std program")]

use anyhow::{Result, ensure};
use nss_k8s_tests::{
    artifacts, corpus,
    pod::{Pod, Recipe},
    session::{Door, Session},
    shop,
};

#[test]
fn every_argument_of_getaddrinfo_means_what_libc_means() -> Result<()> {
    corpus::hold("getaddrinfo.tsv", 1000)?;
    Ok(())
}

#[test]
fn every_hostent_call_means_what_libc_means() -> Result<()> {
    corpus::hold("hostent.tsv", 500)?;
    Ok(())
}

#[test]
fn reverse_lookup_means_what_libc_means() -> Result<()> {
    corpus::hold("reverse.tsv", 50)?;
    Ok(())
}

/// The functions of resolv.h, whose messages are compared as they parse.
#[test]
fn every_resolver_call_means_what_libc_means() -> Result<()> {
    corpus::hold("resolver.tsv", 1)?;
    Ok(())
}

#[test]
fn one_family_alone_narrows_as_libc_narrows() -> Result<()> {
    corpus::hold("families.tsv", 100)?;
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

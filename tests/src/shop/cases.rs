//! The shop's table of cases. Every answer was first seen from the libc alone with a DNS server
//! (`tests/answers.rs` holds that too), then required of us.

use crate::case::Case;

/// `getaddrinfo(name, NULL)` for stream sockets with the canonical name, musl's as glibc's.
const fn same(call: &'static str, answer: &'static str, who: &'static str) -> Case {
    Case::both(call, answer, who)
}

/// What must be answered in-process. No server is reachable when these run.
pub const IN_ZONE: &[Case] = &[
    // The search list, entry by entry.
    same(
        "gai api - UNSPEC 1 0 2",
        "10.96.1.10 = api.shop.svc.cluster.local",
        "zone",
    ),
    same(
        "gai api - INET 1 0 2",
        "10.96.1.10 = api.shop.svc.cluster.local",
        "zone",
    ),
    same(
        "gai api.shop - UNSPEC 1 0 2",
        "10.96.1.10 = api.shop.svc.cluster.local",
        "zone",
    ),
    same(
        "gai api.shop.svc - UNSPEC 1 0 2",
        "10.96.1.10 = api.shop.svc.cluster.local",
        "zone",
    ),
    same(
        "gai api.shop.svc.cluster.local - UNSPEC 1 0 2",
        "10.96.1.10 = api.shop.svc.cluster.local",
        "zone",
    ),
    same(
        "gai api.shop.svc.cluster.local. - UNSPEC 1 0 2",
        "10.96.1.10 = api.shop.svc.cluster.local",
        "zone",
    ),
    // Case is kept as typed, suffixes as in resolv.conf.
    same(
        "gai API - UNSPEC 1 0 2",
        "10.96.1.10 = API.shop.svc.cluster.local",
        "zone",
    ),
    same(
        "gai Api.SHOP - INET 1 0 2",
        "10.96.1.10 = Api.SHOP.svc.cluster.local",
        "zone",
    ),
    same(
        "gai aPi.ShOp.sVc.ClUsTeR.lOcAl. - INET 1 0 2",
        "10.96.1.10 = aPi.ShOp.sVc.ClUsTeR.lOcAl",
        "zone",
    ),
    // Families.
    same(
        "gai web - UNSPEC 1 0 2",
        "10.96.1.11 fd00:96::11 = web.shop.svc.cluster.local",
        "zone",
    ),
    same(
        "gai web - INET6 1 0 2",
        "fd00:96::11 = web.shop.svc.cluster.local",
        "zone",
    ),
    same(
        "gai web - INET 1 0 2",
        "10.96.1.11 = web.shop.svc.cluster.local",
        "zone",
    ),
    same(
        "gai six - UNSPEC 1 0 2",
        "fd00:96::12 = six.shop.svc.cluster.local",
        "zone",
    ),
    same(
        "gai six - INET6 1 0 2",
        "fd00:96::12 = six.shop.svc.cluster.local",
        "zone",
    ),
    Case::each(
        "gai api.shop.svc.cluster.local. - INET6 1 0 2",
        ("EAI_NODATA", "nodata"),
        ("EAI_NONAME", "nodata"),
    ),
    // Without a trailing dot glibc goes on to the next candidate, musl stops at the first NODATA.
    Case::each(
        "gai api.shop.svc.cluster.local - INET6 1 0 2",
        ("EAI_NODATA", "nodata"),
        ("EAI_NONAME", "nodata"),
    ),
    // Headless: all ready endpoints, one by host name, one by dashed address.
    same(
        "gai postgres.db - UNSPEC 1 0 2",
        "10.244.1.10 10.244.1.11 10.244.1.13 fd00:244::10 = postgres.db.svc.cluster.local",
        "zone",
    ),
    same(
        "gai postgres.db.svc - INET 1 0 2",
        "10.244.1.10 10.244.1.11 10.244.1.13 = postgres.db.svc.cluster.local",
        "zone",
    ),
    same(
        "gai postgres-0.postgres.db - UNSPEC 1 0 2",
        "10.244.1.10 fd00:244::10 = postgres-0.postgres.db.svc.cluster.local",
        "zone",
    ),
    // Five dots: as it is first.
    same(
        "gai postgres-1.postgres.db.svc.cluster.local - INET 1 0 2",
        "10.244.1.11 = postgres-1.postgres.db.svc.cluster.local",
        "zone",
    ),
    same(
        "gai 10-244-1-13.postgres.db - INET 1 0 2",
        "10.244.1.13 = 10-244-1-13.postgres.db.svc.cluster.local",
        "zone",
    ),
    // An alias inside the zone: its target owns the data.
    same(
        "gai alias - UNSPEC 1 0 2",
        "10.96.1.10 = api.shop.svc.cluster.local",
        "zone",
    ),
    same(
        "gai alias.shop.svc.cluster.local. - INET 1 0 2",
        "10.96.1.10 = api.shop.svc.cluster.local",
        "zone",
    ),
    // A port's name asked for addresses.
    same(
        "gai _http._tcp.api.shop - INET 1 0 2",
        "10.96.1.10 = _http._tcp.api.shop.svc.cluster.local",
        "zone",
    ),
    // Names of the zone's own that hold no address.
    Case::each(
        "gai cluster.local. - UNSPEC 1 0 2",
        ("EAI_NODATA", "nodata"),
        ("EAI_NONAME", "nodata"),
    ),
    Case::each(
        "gai svc.cluster.local. - INET 1 0 2",
        ("EAI_NODATA", "nodata"),
        ("EAI_NONAME", "nodata"),
    ),
    Case::each(
        "gai bare.svc.cluster.local. - INET 1 0 2",
        ("EAI_NODATA", "nodata"),
        ("EAI_NONAME", "nodata"),
    ),
    // Authoritative absence.
    same(
        "gai api.nowhere.svc.cluster.local. - UNSPEC 1 0 2",
        "EAI_NONAME",
        "nxdomain",
    ),
    same(
        "gai nowhere.svc.cluster.local. - UNSPEC 1 0 2",
        "EAI_NONAME",
        "nxdomain",
    ),
    same(
        "gai nowhere.cluster.local. - INET 1 0 2",
        "EAI_NONAME",
        "nxdomain",
    ),
    same(
        "gai empty.shop.svc.cluster.local. - INET 1 0 2",
        "EAI_NONAME",
        "nxdomain",
    ),
    same(
        "gai postgres-2.postgres.db.svc.cluster.local. - INET 1 0 2",
        "EAI_NONAME",
        "nxdomain",
    ),
    same(
        "gai nosuch.postgres.db.svc.cluster.local. - INET 1 0 2",
        "EAI_NONAME",
        "nxdomain",
    ),
    same(
        "gai a.b.c.api.shop.svc.cluster.local. - INET 1 0 2",
        "EAI_NONAME",
        "nxdomain",
    ),
    same(
        "gai sub.legacy.shop.svc.cluster.local. - INET 1 0 2",
        "EAI_NONAME",
        "nxdomain",
    ),
    // The hostent calls.
    same(
        "host api",
        "10.96.1.10 = api.shop.svc.cluster.local",
        "zone",
    ),
    same(
        "host postgres.db",
        "10.244.1.10 10.244.1.11 10.244.1.13 = postgres.db.svc.cluster.local",
        "zone",
    ),
    same(
        "host2 web INET6",
        "fd00:96::11 = web.shop.svc.cluster.local",
        "zone",
    ),
    Case::each(
        "host2 api.shop.svc.cluster.local. INET6",
        ("h_errno=4", "nodata"),
        ("h_errno=1", "nodata"),
    ),
    same(
        "host api.nowhere.svc.cluster.local.",
        "h_errno=1",
        "nxdomain",
    ),
    same(
        "hostr web 1024",
        "10.96.1.11 = web.shop.svc.cluster.local",
        "zone",
    ),
    same(
        "host2r web INET6 1024",
        "fd00:96::11 = web.shop.svc.cluster.local",
        "zone",
    ),
];

/// What libc must answer itself, from its own sources. A DNS server is reachable.
pub const PASSED: &[Case] = &[
    // Outside: the last candidate could win.
    same(
        "gai www.example.com - UNSPEC 1 0 2",
        "192.0.2.81 2001:db8::81 = www.example.com",
        "pass(external)",
    ),
    same(
        "gai www.example.com. - INET 1 0 2",
        "192.0.2.81 = www.example.com",
        "pass(external)",
    ),
    same(
        "gai nosuch.example.com. - INET 1 0 2",
        "EAI_NONAME",
        "pass(external)",
    ),
    // An alias out of the zone: upstream's to answer.
    same(
        "gai legacy - INET 1 0 2",
        "192.0.2.80 = legacy.example.com",
        "pass(external)",
    ),
    // A service that could be added by a mesh, in a namespace that exists.
    same(
        "gai nosuch.shop.svc.cluster.local. - INET 1 0 2",
        "EAI_NONAME",
        "pass(ask-miss)",
    ),
    same("gai nosuch - INET 1 0 2", "EAI_NONAME", "pass(ask-miss)"),
    // NODATA, and the bare name is external: glibc goes there, musl stops.
    Case::each(
        "gai api - INET6 1 0 2",
        ("EAI_NODATA", "pass(external)"),
        ("EAI_NONAME", "nodata"),
    ),
    // Literals.
    same(
        "gai 10.1.2.3 - UNSPEC 1 0 2",
        "10.1.2.3 = 10.1.2.3",
        "pass(numeric)",
    ),
    same(
        "gai fd00::1 - UNSPEC 1 0 2",
        "fd00::1 = fd00::1",
        "pass(numeric)",
    ),
    // Not names.
    same("gai %20 - INET 1 0 2", "EAI_NONAME", "pass(malformed)"),
];

//! The world that most cases live in: `fixtures/shop.yaml` as a published zone, the same facts as
//! a DNS server's script, and pods of namespace `shop` in it.

pub mod cases;

use crate::{
    artifacts,
    differential::Asks,
    dns::{Behavior, Script},
    pod::{Pod, Recipe},
    wire::{kind, rcode},
    zonefile::Agent,
};
use anyhow::{Result, bail};

/// The hosts file of the shop's pods: one name of its own, and one that shadows a service.
pub const HOSTS: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                         10.244.0.7\tshopper\n192.0.2.13\tshadowed shadowed.alias\n";

/// What names of the zone are aliases of outside of it: a process that asks, asks for these, where
/// libc leaves that to the server.
pub const TARGETS: &[&str] = &["legacy.example.com"];

/// The shop, published by the real agent from its manifests.
pub fn publish() -> Result<Agent> {
    Agent::start(&[&artifacts::fixture("fixtures/shop.yaml")], &[])
}

/// The same while `asks`.
pub fn publish_asking(asks: Asks) -> Result<Agent> {
    let config = match asks {
        Asks::Nobody => return publish(),
        Asks::Pod => "classes: [{name: default, external: pod}]\n",
        Asks::Node => bail!("an agent that asks needs an upstream: crate::node"),
    };
    Agent::start_configured(&[&artifacts::fixture("fixtures/shop.yaml")], config, &[])
}

/// A pod that sees `zone` and has no DNS server at all: who answers here is us.
pub fn dark_pod(zone: &Agent) -> Result<Pod> {
    Pod::start(Recipe {
        hosts: HOSTS.into(),
        zone: Some(zone.view()),
        ..Recipe::default()
    })
}

/// A pod that sees `zone` and a DNS server with the same facts.
pub fn lit_pod(zone: &Agent) -> Result<Pod> {
    let zone = Some(zone.view());
    Pod::start(Recipe {
        hosts: HOSTS.into(),
        zone,
        dns: Some(script()),
        ..Recipe::default()
    })
}

/// A pod without a zone, whose DNS server has the facts: the reference.
pub fn reference_pod() -> Result<Pod> {
    Pod::start(Recipe {
        hosts: HOSTS.into(),
        dns: Some(script()),
        ..Recipe::default()
    })
}

/// The manifest of a Service of namespace `shop` with one cluster address.
pub fn cluster_ip(name: &str, address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{clusterIP: {address}, ports: [{{port: 80}}]}}\n"
    )
}

/// What a cluster DNS with these objects answers, and an outside world with two names in it.
pub fn script() -> Script {
    let service = |name: &str| format!("{name}.svc.cluster.local");
    // Pod names follow from the namespaces: one of each stands for all.
    let mut pods = outside();
    for namespace in ["shop", "db", "bare", "kube-system"] {
        pods = pods.addresses(
            &format!("10-1-2-3.{namespace}.pod.cluster.local"),
            &["10.1.2.3"],
        );
    }
    pods.addresses("fd00--7.shop.pod.cluster.local", &["fd00::7"])
        .empty("pod.cluster.local")
        // CoreDNS says NXDOMAIN to A here, though the names exist (RFC 8020); we do not.
        .empty("dns.cluster.local")
        .empty("dns-version.cluster.local")
        .empty(&service("bare"))
        .addresses(&service("kube-dns.kube-system"), &["10.96.0.10"])
        .addresses(&service("api.shop"), &["10.96.1.10"])
        .addresses(&service("_http._tcp.api.shop"), &["10.96.1.10"])
        .addresses(
            &service("_http._tcp.web.shop"),
            &["10.96.1.11", "fd00:96::11"],
        )
        .addresses(
            &service("_https._tcp.web.shop"),
            &["10.96.1.11", "fd00:96::11"],
        )
        .addresses(&service("_dns._udp.kube-dns.kube-system"), &["10.96.0.10"])
        .addresses(
            &service("_dns-tcp._tcp.kube-dns.kube-system"),
            &["10.96.0.10"],
        )
        .addresses(
            &service("_sql._tcp.postgres.db"),
            &["10.244.1.10", "10.244.1.11", "10.244.1.13", "fd00:244::10"],
        )
        // The Service in front of the server.
        .addresses("ns.dns.cluster.local", &["10.96.0.10"])
        .addresses(&service("web.shop"), &["10.96.1.11", "fd00:96::11"])
        .addresses(&service("six.shop"), &["fd00:96::12"])
        .addresses(&service("shadowed.shop"), &["10.96.1.13"])
        .alias(&service("legacy.shop"), "legacy.example.com")
        .alias(&service("alias.shop"), &service("api.shop"))
        .addresses(
            &service("postgres.db"),
            &["10.244.1.10", "10.244.1.11", "10.244.1.13", "fd00:244::10"],
        )
        .addresses(
            &service("postgres-0.postgres.db"),
            &["10.244.1.10", "fd00:244::10"],
        )
        .addresses(&service("postgres-1.postgres.db"), &["10.244.1.11"])
        .addresses(&service("10-244-1-13.postgres.db"), &["10.244.1.13"])
        .pointer("10.96.0.10", &service("kube-dns.kube-system"))
        .pointer("10.96.1.10", &service("api.shop"))
        .pointer("10.96.1.11", &service("web.shop"))
        .pointer("fd00:96::11", &service("web.shop"))
        .pointer("fd00:96::12", &service("six.shop"))
        .pointer("10.96.1.13", &service("shadowed.shop"))
        .pointer("10.244.1.10", &service("postgres-0.postgres.db"))
        .pointer("fd00:244::10", &service("postgres-0.postgres.db"))
        .pointer("10.244.1.11", &service("postgres-1.postgres.db"))
        .pointer("10.244.1.13", &service("10-244-1-13.postgres.db"))
}

/// The rest of the world, as a cluster DNS's upstream has it.
pub fn outside() -> Script {
    Script::default()
        .addresses("legacy.example.com", &["192.0.2.80"])
        .addresses("www.example.com", &["192.0.2.81", "2001:db8::81"])
        .pointer("192.0.2.81", "www.example.com")
}

/// What [`script`] has, and more of the outside world: servers that fail in every way, half answers, an
/// answer that is too long for UDP.
pub fn world() -> Script {
    let many: Vec<String> = (1..=40).map(|last| format!("198.51.100.{last}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut world = script()
        .addresses("four.example.com", &["192.0.2.84"])
        .addresses("six.example.com", &["2001:db8::86"])
        .alias("alias.example.com", "www.example.com")
        .alias("dangling.example.com", "nosuch.example.com")
        .addresses("many.example.com", &many)
        .behavior("fail.example.com", Behavior::Answer(rcode::SERVFAIL))
        .behavior("refuse.example.com", Behavior::Answer(rcode::REFUSED))
        .behavior("notimp.example.com", Behavior::Answer(rcode::NOTIMP))
        .behavior("formerr.example.com", Behavior::Answer(rcode::FORMERR))
        .behavior("drop.example.com", Behavior::Drop);
    for (name, code) in [
        ("half-fail", rcode::SERVFAIL),
        ("half-refuse", rcode::REFUSED),
        ("half-absent", rcode::NXDOMAIN),
    ] {
        let name = format!("{name}.example.com");
        world = world.addresses(&name, &["192.0.2.85"]).behavior_of(
            &name,
            kind::AAAA,
            Behavior::Answer(code),
        );
    }
    world
}

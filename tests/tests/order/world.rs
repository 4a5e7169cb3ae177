//! Networks with destinations in them, known to a zone and to a DNS server.

use anyhow::{Result, ensure};
use nss_k8s_tests::{
    artifacts,
    dns::Script,
    libcs::Release,
    pod::{Pod, Recipe},
    probe::Libc,
    session::{Door, Session},
    writer::{Published, address},
};
use nss_k8s_zone::{Endpoint, Family, ServiceBody, ServiceKey, Slice, SliceId};

/// A network with two cables out, one address each of both families besides the pod's own.
pub(crate) const CABLES: &[&str] = &[
    "link add v0 type veth peer name v1",
    "link set v0 up",
    "link set v1 up",
    "addr add 10.50.0.7/24 dev v0",
    "-6 addr add fd00:50::7/64 dev v0 nodad",
    "addr add 10.70.0.1 peer 10.70.0.2/32 dev v1",
];

/// A pod in which every name stands for a set of destinations. The server knows the same set under
/// the name turned around, too, in the opposite order; for us the two are alike.
pub(crate) fn furnish(
    families: &'static str,
    network: &[&str],
    gai_conf: &str,
    sets: &[(String, Vec<&str>)],
) -> Result<(Published, Pod)> {
    let mut zone = Published::live()?;
    let mut script = Script::default();
    for (name, destinations) in sets {
        publish(&mut zone, name, destinations)?;
        let mut backwards = destinations.clone();
        backwards.reverse();
        for (name, destinations) in [(name, destinations), (&turned(name), &backwards)] {
            script = script.addresses(&format!("{name}.shop.svc.cluster.local"), destinations);
        }
    }
    let pod = Pod::start(Recipe {
        zone: Some(zone.view()),
        dns: Some(script),
        families,
        ..Recipe::default()
    })?;
    for line in network {
        configure(&pod, line)?;
    }
    pod.replace("gai.conf", gai_conf)?;
    Ok((zone, pod))
}

/// Changes the pod's network: the arguments of `ip`.
pub(crate) fn configure(pod: &Pod, line: &str) -> Result<()> {
    let output = pod
        .command("ip")
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .args(line.split(' '))
        .output()?;
    ensure!(output.status.success(), "ip {line}: {output:?}");
    Ok(())
}

/// The name of the same destinations in the opposite order.
pub(crate) fn turned(name: &str) -> String {
    format!("{name}-turned")
}

/// A headless service with an endpoint for each address.
pub(crate) fn publish(zone: &mut Published, name: &str, destinations: &[&str]) -> Result<()> {
    let key = ServiceKey::new(name, "shop")?;
    let body = ServiceBody::Headless { ports: Vec::new() };
    zone.writer.put_service(&key, &body)?;
    for (family, id) in [(Family::V4, 4), (Family::V6, 6)] {
        let mut endpoints = Vec::new();
        for text in destinations {
            let address = address(text)?;
            if address.family == family {
                endpoints.push(Endpoint::ready(address));
            }
        }
        let slice = Slice {
            family,
            ports: Vec::new(),
            endpoints,
        };
        zone.writer.put_slice(&key, SliceId(id), &slice)?;
    }
    Ok(())
}

/// A process with the preload library, and one without, under one libc.
pub(crate) fn pair(pod: &Pod, release: Release) -> Result<(Session, Session)> {
    let door = match release.libc() {
        Libc::Glibc => Door::ShimGlibc,
        Libc::Musl => Door::ShimMusl,
    };
    let guests = artifacts::guests()?;
    Ok((
        Session::start_under(pod, door, release, &guests, &[])?,
        Session::start_under(pod, door.reference(), release, &guests, &[])?,
    ))
}

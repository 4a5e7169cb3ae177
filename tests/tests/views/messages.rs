//! Whole messages: through a pod's socket, and to the listener.

use crate::world::{CLOSED, World, everything};
use anyhow::{Result, ensure};
use nss_k8s_tests::{
    dns::Server,
    node,
    pod::Pod,
    recording, served,
    session::{Door, Session},
    wire::kind,
    zonefile::wait,
};
use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
};

/// An agent of class `node` whose upstream is the cluster's DNS.
fn forwarding(upstream: &Server) -> String {
    let policy = CLOSED.split_once('\n').map_or("", |(_, policy)| policy);
    node::config(upstream) + policy
}

/// One message over a pod's socket, and its answer.
fn ask(directory: &std::path::Path, name: &str, kind: u16) -> Result<Vec<u8>> {
    let mut stream = UnixStream::connect(directory.join("forward.sock"))?;
    let query = recording::query(7, name, kind);
    stream.write_all(&u16::try_from(query.len())?.to_be_bytes())?;
    stream.write_all(&query)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut answer = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// The response code, and the number of answers.
fn verdict(answer: &[u8]) -> (u8, u16) {
    (answer[3] & 15, u16::from_be_bytes([answer[6], answer[7]]))
}

/// Through the socket a pod hears no more than it sees, and the agent asks for nothing in the cluster's
/// zone as itself.
#[test]
fn the_socket_tells_no_more_than_the_view() -> Result<()> {
    const NXDOMAIN: u8 = 3;
    const REFUSED: u8 = 5;
    let upstream = node::upstream(everything().living(3600))?;
    let world = World::start(&forwarding(&upstream))?;
    let shop = world.deliver("a", "shop")?;
    let bank = world.deliver("b", "bank")?;
    for directory in [&shop, &bank] {
        wait(|| Ok(directory.join("forward.sock").exists()))?;
    }
    node::asked(&upstream);
    for (name, kind, wanted) in [
        ("api.shop.svc.cluster.local", kind::A, (0, 1)),
        ("vault.bank.svc.cluster.local", kind::A, (NXDOMAIN, 0)),
        ("vault.bank.svc.cluster.local", kind::ANY, (NXDOMAIN, 0)),
        (
            "_safe._tcp.vault.bank.svc.cluster.local",
            kind::SRV,
            (NXDOMAIN, 0),
        ),
        ("absent.shop.svc.cluster.local", kind::A, (REFUSED, 0)),
        ("10.2.96.10.in-addr.arpa", kind::PTR, (REFUSED, 0)),
        ("cluster.local", 252, (REFUSED, 0)),
    ] {
        let said = verdict(&ask(&shop, name, kind)?);
        ensure!(said == wanted, "{name}: {said:?}, not {wanted:?}");
    }
    ensure!(
        verdict(&ask(&bank, "vault.bank.svc.cluster.local", kind::A)?) == (0, 1),
        "the bank"
    );
    // Also who sees everything: what DNS says to the node is not for the agent to pass on.
    let miss = verdict(&ask(&bank, "absent.shop.svc.cluster.local", kind::A)?);
    ensure!(miss == (REFUSED, 0), "{miss:?}");
    let asked = node::asked(&upstream);
    ensure!(asked.is_empty(), "the agent asked: {asked:?}");

    // An alias from outside: told, but not what it leads to.
    let trap = ask(&shop, "trap.example.com", kind::A)?;
    ensure!(verdict(&trap) == (NXDOMAIN, 1), "{:?}", verdict(&trap));
    let pattern = [10, 96, 2, 10];
    ensure!(
        !trap.windows(4).any(|bytes| bytes == pattern),
        "the address"
    );
    ensure!(
        verdict(&ask(&bank, "trap.example.com", kind::A)?) == (0, 2),
        "the bank sees it"
    );
    ensure!(
        verdict(&ask(&shop, "offer.example.com", kind::A)?) == (0, 2),
        "the goods are shown"
    );
    ensure!(
        verdict(&ask(&shop, "www.example.com", kind::A)?) == (0, 1),
        "outside"
    );

    // In process the same; what leads into the cluster is never in shared memory.
    let pod = Pod::start(node::recipe(shop.clone(), Door::ShimGlibc, everything()))?;
    let mut session = Session::start(&pod, Door::ShimGlibc)?;
    let reply = session.resolve("trap.example.com.", "INET")?;
    ensure!(
        reply.error.is_some() && reply.who() == "forwarder(nxdomain)",
        "{} from {}",
        reply.summary(),
        reply.who()
    );
    wait(|| Ok(session.resolve("www.example.com.", "INET")?.who() == "held"))?;
    let held = fs::read(shop.join("external.v1"))?;
    for name in [&b"trap"[..], b"offer", b"vault"] {
        let found = held.windows(name.len()).any(|bytes| bytes == name);
        ensure!(!found, "{}", String::from_utf8_lossy(name));
    }
    // A miss is asked by the pod itself, as itself.
    node::asked(&upstream);
    let reply = session.resolve("absent.shop.svc.cluster.local.", "INET")?;
    ensure!(
        reply.summary().starts_with("10.96.9.9") && reply.who().starts_with("pass("),
        "{} from {}",
        reply.summary(),
        reply.who()
    );
    ensure!(
        !pod.dns()?.take_log().is_empty(),
        "the pod's own server was asked"
    );
    ensure!(node::asked(&upstream).is_empty(), "the agent asked");
    Ok(())
}

/// The listener shows what pods of its namespace see.
#[test]
fn the_listener_shows_one_view() -> Result<()> {
    const NXDOMAIN: u8 = 3;
    let upstream = node::upstream(everything())?;
    let listen = "listen: {addresses: [127.0.0.1], port: 0, namespace: shop}\n";
    let world = World::start(&(forwarding(&upstream) + listen))?;
    let address = served::address(&world.agent)?;
    wait(|| {
        let mut client = served::Client::connect(address)?;
        Ok(verdict(&client.ask("api.shop.svc.cluster.local", kind::A)?) == (0, 1))
    })?;
    node::asked(&upstream);
    for client in [
        served::Client::connect(address)?,
        served::Client::datagrams(address)?,
    ] {
        let mut client = client;
        for (name, kind, wanted) in [
            ("vault.bank.svc.cluster.local", kind::A, (NXDOMAIN, 0)),
            ("lure.shop.svc.cluster.local", kind::A, (0, 0)),
            ("void.shop.svc.cluster.local", kind::A, (0, 0)),
            ("absent.shop.svc.cluster.local", kind::A, (NXDOMAIN, 0)),
            ("10.2.96.10.in-addr.arpa", kind::PTR, (NXDOMAIN, 0)),
        ] {
            let said = verdict(&client.ask(name, kind)?);
            ensure!(
                said == wanted,
                "{client:?} {name}: {said:?}, not {wanted:?}"
            );
        }
        let asked = node::asked(&upstream);
        ensure!(asked.is_empty(), "the agent asked: {asked:?}");
        for (name, kind, wanted) in [
            ("trap.example.com", kind::A, (NXDOMAIN, 1)),
            ("offer.example.com", kind::A, (0, 2)),
            ("7.2.0.192.in-addr.arpa", kind::PTR, (0, 1)),
            ("8.2.0.192.in-addr.arpa", kind::PTR, (NXDOMAIN, 0)),
        ] {
            let said = verdict(&client.ask(name, kind)?);
            ensure!(
                said == wanted,
                "{client:?} {name}: {said:?}, not {wanted:?}"
            );
        }
        node::asked(&upstream);
    }
    Ok(())
}

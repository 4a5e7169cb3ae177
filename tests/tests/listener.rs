//! The agent's DNS listener: every recorded answer of CoreDNS over every transport, packets that are
//! no queries, clients that are slow, addresses that appear later, and an upgrade under load.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::{
    artifacts,
    dns::Server,
    namespace::{Namespaces, run},
    recording::{self, Recording, Recordings},
    served::{self, Client},
    shop,
    wire::{kind, rcode},
    zonefile::{Agent, wait},
};
use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// A shop whose misses are clear: then the zone answers for itself wherever it can.
fn start(upstream: &Server, listen: &str) -> Result<Agent> {
    let address = upstream.address();
    let (ip, port) = (address.ip(), address.port());
    let config = format!(
        "kubernetes: {{miss_policy: nxdomain, endpoint_slices: all}}\n\
         listen: {{addresses: [127.0.0.1], {listen}}}\n\
         forward: {{groups: [{{zones: ['.'], upstreams: [{{address: {ip}, port: {port}}}]}}]}}\n"
    );
    Agent::start_configured(&[&artifacts::fixture("fixtures/shop.yaml")], &config, &[])
}

/// What the rest of the world says: recordings for the cluster's names, a script for others.
fn world() -> Result<Server> {
    let script = shop::outside().recorded(Arc::new(Recordings::load()?));
    let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
    let own = Namespaces::current()?;
    let mut server = None;
    // A port that is free for UDP may not be for TCP.
    wait(|| {
        server = Server::start_at(&own, loopback, script.clone()).ok();
        Ok(server.is_some())
    })?;
    server.context("no port")
}

/// Every question of the corpus, over UDP with and without EDNS and over TCP: the recorded response
/// code, flags and sections, but for the known differences; and upstreams are asked for nothing that
/// the zone knows.
#[test]
fn every_recorded_answer_is_given() -> Result<()> {
    let upstream = world()?;
    let agent = start(&upstream, "port: 0")?;
    let address = served::address(&agent)?;
    upstream.take_log();
    let mut tcp = Client::connect(address)?;
    let udp = Client::datagrams(address)?;
    let mut differences = Vec::new();
    let mut used = BTreeSet::new();
    let recordings = Recordings::load()?;
    for (name, kind) in recording::questions()? {
        let expected = recordings.find(&name, kind).context("no recording")?;
        for client in [&mut tcp, &mut udp.plain(), &mut udp.extended(4096)] {
            let answer = client
                .ask(&name, kind)
                .with_context(|| format!("{name} {}", kind::to_text(kind)))?;
            match served::compare(&answer, expected) {
                Ok(Some(difference)) => {
                    used.insert(difference);
                }
                Ok(None) => {}
                Err(error) => differences.push(format!("{client:?}: {error:#}")),
            }
        }
    }
    ensure!(
        differences.is_empty(),
        "{} differ:\n{}",
        differences.len(),
        differences.join("\n")
    );
    ensure!(
        used.iter().copied().eq(served::DIFFERENCES.iter().copied()),
        "differences that no longer occur: only {used:?} did"
    );
    // Who answered: what is not reverse lookup, or the cluster's name server, came from the zone.
    let asked: BTreeSet<(String, u16)> = upstream
        .take_log()
        .into_iter()
        .map(|asked| (asked.name, asked.kind))
        .collect();
    let strange: Vec<_> = asked
        .iter()
        .filter(|(name, kind)| !served::may_be_forwarded(name, *kind))
        .collect();
    ensure!(strange.is_empty(), "asked upstream: {strange:?}");
    for (name, kind) in [
        ("10.1.96.10.in-addr.arpa", kind::PTR),
        ("api.shop.svc.cluster.local", kind::A),
    ] {
        ensure!(!asked.contains(&(name.to_owned(), kind)), "{name} asked");
    }
    ensure!(asked.contains(&("99.1.96.10.in-addr.arpa".to_owned(), kind::PTR)));
    Ok(())
}

/// The case of the question comes back, and names outside are answered by the upstream.
#[test]
fn names_outside_are_forwarded() -> Result<()> {
    let upstream = world()?;
    let agent = start(&upstream, "port: 0")?;
    let address = served::address(&agent)?;
    let mut client = Client::connect(address)?;
    upstream.take_log();
    for _ in 0..3 {
        let answer = client.exchange(&recording::query(9, "WWW.Example.com", kind::A))?;
        let recording = Recording::from_message(&answer)?;
        ensure!(recording.code == rcode::NOERROR && recording.sections[0].len() == 1);
        ensure!(answer[12..].starts_with(b"\x03WWW\x07Example\x03com\0"));
        ensure!(recording.sections[0][0].data == "192.0.2.81", "{recording}");
    }
    let asked = upstream.take_log();
    ensure!(
        asked.len() == 1 && asked[0].tcp,
        "once, over TCP: {asked:?}"
    );
    let answer = client.ask("legacy.shop.svc.cluster.local", kind::A)?;
    let recording = Recording::from_message(&answer)?;
    let data: BTreeSet<&str> = recording.sections[0]
        .iter()
        .map(|it| it.data.as_str())
        .collect();
    ensure!(
        data == BTreeSet::from(["192.0.2.80", "legacy.example.com"]),
        "{recording}"
    );
    Ok(())
}

/// Packets that are no queries do no harm, and are answered as CoreDNS answers them.
#[test]
fn packets_that_are_no_queries_do_no_harm() -> Result<()> {
    let upstream = world()?;
    let agent = start(&upstream, "port: 0")?;
    let address = served::address(&agent)?;
    let good = recording::query(0x1234, "api.shop.svc.cluster.local", kind::A);
    let with = |at: usize, octet: u8| {
        let mut message = good.clone();
        message[at] = octet;
        message
    };
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut room = [0; 4096];
    // Nothing comes back for these: the next answer is to the query behind them.
    for silent in [&b""[..], b"\0", &good[..11], &with(2, 0x81)] {
        socket.send(silent)?;
        socket.send(&with(1, 0x99))?;
        let length = socket.recv(&mut room)?;
        ensure!(
            length > 12 && room[1] == 0x99,
            "{silent:?}: {:?}",
            &room[..length]
        );
    }
    let chaos = with(good.len() - 1, 3);
    for (message, code) in [
        (&good[..good.len() - 1], rcode::FORMERR),
        (&with(5, 0), rcode::FORMERR),
        (&with(5, 2), rcode::FORMERR),
        (&with(12, 0xc0), rcode::FORMERR),
        (&with(2, 0x21), rcode::NOTIMP),
        (&with(2, 0x29), rcode::NOTIMP),
        (&chaos, rcode::REFUSED),
    ] {
        socket.send(message)?;
        let length = socket.recv(&mut room)?;
        ensure!(
            length >= 12 && room[2] & 0x80 != 0 && room[3] & 15 == code && room[..2] == good[..2],
            "{message:?}: {:?}",
            &room[..length]
        );
    }
    // Over TCP, too, and several in one write.
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut octets = Vec::new();
    for message in [&good[..5], &with(5, 0), &good] {
        octets.extend(u16::try_from(message.len())?.to_be_bytes());
        octets.extend_from_slice(message);
    }
    stream.write_all(&octets)?;
    for code in [rcode::FORMERR, rcode::NOERROR] {
        let answer = served::read_framed(&mut stream)?;
        ensure!(answer[3] & 15 == code, "{answer:?}");
    }
    Ok(())
}

/// A client that sends an octet now and then is let go, one over the limit is not heard, and others
/// are served all the while.
#[test]
fn slow_and_many_clients_do_not_stop_others() -> Result<()> {
    let upstream = world()?;
    let agent = start(
        &upstream,
        "port: 0, idle: 1s, max_connections: 3, sockets: 1",
    )?;
    let address = served::address(&agent)?;
    let mut slow: Vec<TcpStream> = (0..3)
        .map(|_| TcpStream::connect(address))
        .collect::<Result<_, _>>()?;
    for stream in &mut slow {
        stream.write_all(&[0])?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    }
    let mut fourth = TcpStream::connect(address)?;
    fourth.set_read_timeout(Some(Duration::from_secs(10)))?;
    ensure!(
        matches!(fourth.read(&mut [0]), Ok(0) | Err(_)),
        "one too many is closed"
    );
    let begun = Instant::now();
    ensure!(
        Client::datagrams(address)?
            .plain()
            .ask("api.shop.svc.cluster.local", kind::A)
            .is_ok()
    );
    for stream in &mut slow {
        // Part of a query is no query: it does not keep the connection.
        let _ = stream.write_all(&[40]);
        ensure!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "closed");
    }
    ensure!(
        begun.elapsed() < Duration::from_secs(9),
        "they were kept too long"
    );
    wait(|| {
        let mut client = Client::connect(address)?;
        Ok(client.ask("api.shop.svc.cluster.local", kind::A).is_ok())
    })
}

/// A second agent listens beside the first, which then goes: no query of a constant stream over both
/// transports is lost.
#[test]
fn an_upgrade_loses_no_query() -> Result<()> {
    let upstream = world()?;
    let old = start(&upstream, "port: 0, sockets: 2")?;
    let address = served::address(&old)?;
    let done = AtomicBool::new(false);
    let answered = [const { AtomicUsize::new(0) }; 2];
    let failures = std::thread::scope(|scope| -> Result<Vec<String>> {
        let clients: Vec<_> = (0..4)
            .map(|number| {
                let (done, answered) = (&done, &answered[number % 2]);
                scope.spawn(move || {
                    let mut failures = Vec::new();
                    while !done.load(Ordering::Relaxed) {
                        // Each from a port of its own: the kernel chooses the socket by it.
                        let outcome = if number % 2 == 0 {
                            Client::datagrams(address).and_then(|client| {
                                client.plain().ask("web.shop.svc.cluster.local", kind::A)
                            })
                        } else {
                            // Some queries a connection, or ports run out.
                            Client::connect(address).and_then(|mut client| {
                                for _ in 0..20 {
                                    client.ask("web.shop.svc.cluster.local", kind::A)?;
                                }
                                client.ask("web.shop.svc.cluster.local", kind::A)
                            })
                        };
                        match outcome {
                            Ok(answer) if answer[3] & 15 == rcode::NOERROR => {
                                answered.fetch_add(1, Ordering::Relaxed);
                            }
                            Ok(answer) => failures.push(format!("{answer:?}")),
                            Err(error) => failures.push(format!("{error:#}")),
                        }
                    }
                    failures
                })
            })
            .collect();
        let more = || answered.iter().map(|it| it.load(Ordering::Relaxed)).min();
        let happened = (|| -> Result<Agent> {
            let mut old = old;
            for _ in 0..3 {
                let before = more();
                wait(|| Ok(more() > before.map(|count| count + 20)))?;
                let next = start(&upstream, &format!("port: {}, sockets: 2", address.port()))?;
                // It may be live before it listens.
                served::address(&next)?;
                old.end(libc::SIGTERM)?;
                old = next;
            }
            let before = more();
            wait(|| Ok(more() > before.map(|count| count + 20)))?;
            // It serves until the clients are done.
            Ok(old)
        })();
        done.store(true, Ordering::Relaxed);
        let mut failures = Vec::new();
        for client in clients {
            failures.extend(
                client
                    .join()
                    .map_err(|_| anyhow::anyhow!("a client failed"))?,
            );
        }
        happened?;
        Ok(failures)
    })?;
    let [udp, tcp] = answered.map(AtomicUsize::into_inner);
    println!(
        "an upgrade: {udp} answers over UDP, {tcp} over TCP, {} lost",
        failures.len()
    );
    ensure!(
        failures.is_empty(),
        "{} lost: {}",
        failures.len(),
        failures.join("\n")
    );
    Ok(())
}

/// The address is bound before any interface has it, and served once one has; answers leave from the
/// address that was asked, also where the listener is bound to all.
#[test]
fn an_address_may_appear_later() -> Result<()> {
    let node = Namespaces::create(|| run("ip", &["link", "set", "lo", "up"]))?;
    let root = nss_k8s_tests::zonefile::directory()?;
    let manifests = root.path().join("manifests");
    std::fs::create_dir(&manifests)?;
    std::fs::copy(
        artifacts::fixture("fixtures/shop.yaml"),
        manifests.join("shop.yaml"),
    )?;
    let config = root.path().join("config.yaml");
    std::fs::write(
        &config,
        "listen: {addresses: [169.254.20.10, 'fd00::53'], port: 53}\n",
    )?;
    let log = root.path().join("agent.log");
    let start = |node: &Namespaces| -> Result<Running> {
        let mut command = Command::new(artifacts::agent()?);
        command
            .arg("agent")
            .arg("--dir")
            .arg(root.path().join("base"))
            .arg("--manifests")
            .arg(&manifests)
            .arg("--config")
            .arg(&config)
            .env("RUST_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log)?);
        node.enter_before_exec(&mut command);
        Ok(Running(command.spawn()?))
    };
    let running = start(&node)?;
    let said = |text: &str| {
        wait(|| Ok(std::fs::read_to_string(&log)?.contains(text)))
            .with_context(|| std::fs::read_to_string(&log).unwrap_or_default())
    };
    said("no interface has this address yet")?;
    said("everything is listed")?;
    let ask = |address: &'static str| {
        node.with_network(|| {
            wait(|| {
                let client = Client::datagrams(SocketAddr::new(address.parse()?, 53))?;
                // The socket is connected: an answer from elsewhere would not arrive.
                let answer = client.plain().ask("api.shop.svc.cluster.local", kind::A);
                Ok(answer.is_ok_and(|answer| answer[3] & 15 == rcode::NOERROR))
            })
        })
    };
    node.with_network(|| {
        run("ip", &["address", "add", "169.254.20.10/32", "dev", "lo"])?;
        run(
            "ip",
            &["address", "add", "fd00::53/128", "dev", "lo", "nodad"],
        )
    })?;
    ask("169.254.20.10")?;
    ask("fd00::53")?;
    drop(running);
    std::fs::write(
        &config,
        "listen: {addresses: ['0.0.0.0', '::'], port: 53}\n",
    )?;
    let _running = start(&node)?;
    said("listening for DNS")?;
    for address in ["169.254.20.10", "127.0.0.1", "fd00::53", "::1"] {
        ask(address).with_context(|| address)?;
    }
    Ok(())
}

/// A process that is killed when dropped.
struct Running(std::process::Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

//! The reference: CoreDNS with its kubernetes plugin on the same API server, in a pod of its own,
//! with a scripted server for the rest of the world's names.

use crate::control_plane::{ControlPlane, Process, until};
use anyhow::{Context, Result, anyhow, bail, ensure};
use nss_k8s_tests::{
    dns::{Server, Upstream},
    namespace::{Namespaces, run},
    recording::{self, Recording},
    shop,
    wire::kind,
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    sync::{Arc, OnceLock},
    time::Duration,
};

/// Its pod's address: the only one, since CoreDNS looks which endpoint has one of its addresses.
const ADDRESS: &str = "10.244.0.10";
/// The API server and the node, as the pod sees them.
const NODE: &str = "10.244.0.1";
/// The server that it forwards to.
const UPSTREAM: &str = "10.244.0.53";
/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The CoreDNS that all tests of one run share. It is never taken down: like the control plane it
/// ends with the process namespace.
pub(crate) fn shared(plane: &ControlPlane) -> Result<&'static CoreDns> {
    static SHARED: OnceLock<Result<CoreDns, String>> = OnceLock::new();
    let started =
        SHARED.get_or_init(|| CoreDns::start(plane).map_err(|error| format!("{error:#}")));
    started.as_ref().map_err(|error| anyhow!("{error}"))
}

/// A running CoreDNS that has the shop's objects.
pub(crate) struct CoreDns {
    _process: Process,
    _upstream: Server,
    _pod: Namespaces,
}

impl CoreDns {
    /// Starts one and waits until it serves the last of the shop's objects.
    fn start(plane: &ControlPlane) -> Result<Self> {
        plane.stock_shop(ADDRESS)?;
        let corefile = plane.log("corefile").with_extension("conf");
        std::fs::write(&corefile, self::corefile(plane))?;
        let upstream = Server::start(&Namespaces::current()?, UPSTREAM, shop::outside())?;
        let pod = pod()?;
        let program = plane.program("coredns");
        let mut command = pod.command(program.to_str().context("path")?);
        command.arg("-conf").arg(&corefile);
        let mut process = Process::start(&mut command, plane.log("coredns"))?;
        until("CoreDNS to have every object", || {
            if let Some(status) = process.ended()? {
                bail!("CoreDNS ended with {status}:\n{}", process.last_words());
            }
            Ok(has_everything().ok())
        })
        .with_context(|| process.last_words())?;
        Ok(Self {
            _process: process,
            _upstream: upstream,
            _pod: pod,
        })
    }

    /// Opens a connection to it.
    pub(crate) fn connect(&self) -> Result<Connection> {
        Connection::open()
    }

    /// What it sends over UDP for `message`, byte by byte.
    pub(crate) fn datagram(&self, message: &[u8]) -> Result<Vec<u8>> {
        datagram(message)
    }

    /// Its answers, for a server that stands in its place in a pod's network; from any thread whose
    /// network is the test's.
    pub(crate) fn answers(&self) -> Upstream {
        Arc::new(|message, tcp| {
            let answer = if tcp {
                Connection::open().and_then(|mut connection| connection.exchange(message))
            } else {
                datagram(message)
            };
            // As a network that loses the packet.
            answer.ok()
        })
    }
}

/// A TCP connection to CoreDNS, where nothing is cut.
pub(crate) struct Connection(TcpStream);

impl Connection {
    fn open() -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address()?, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(stream))
    }

    /// One message and its answer.
    pub(crate) fn exchange(&mut self, message: &[u8]) -> Result<Vec<u8>> {
        let mut framed = u16::try_from(message.len())?.to_be_bytes().to_vec();
        framed.extend(message);
        self.0.write_all(&framed)?;
        let mut prefix = [0; 2];
        self.0.read_exact(&mut prefix)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(prefix))];
        self.0.read_exact(&mut answer)?;
        ensure!(answer.get(..2) == message.get(..2), "another message's id");
        Ok(answer)
    }

    /// One question and its answer, as it is recorded.
    pub(crate) fn ask(&mut self, name: &str, kind: u16) -> Result<Recording> {
        let answer = self.exchange(&recording::query(1, name, kind))?;
        let recording = Recording::from_message(&answer)?;
        ensure!(
            recording.name == name.to_lowercase() && recording.kind == kind,
            "asked for {name}, answered {recording}"
        );
        Ok(recording)
    }
}

/// A network with the node at the other end of its only link, whose end here is gone with it.
fn pod() -> Result<Namespaces> {
    let host = std::process::id().to_string();
    let ip = |line: &str| run("ip", &line.split(' ').collect::<Vec<_>>());
    let pod = Namespaces::create(|| {
        ip("link set lo up")?;
        ip(&format!(
            "link add name eth0 type veth peer name coredns netns {host}"
        ))?;
        ip(&format!("address add {ADDRESS}/32 dev eth0"))?;
        ip("link set eth0 up")?;
        ip("route add default dev eth0")
    })?;
    ip("link set coredns up")?;
    ip(&format!("route add {ADDRESS}/32 dev coredns src {NODE}"))?;
    Ok(pod)
}

/// As kubeadm ships it, but: how it finds the API server, whom it asks, a TTL like our zone's, no
/// metrics, and no cache, which would give answers of before a change.
fn corefile(plane: &ControlPlane) -> String {
    format!(
        ".:53 {{
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        endpoint https://{NODE}:6443
        tls {pki}/administrator.crt {pki}/administrator.key {pki}/authority.crt
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 5
    }}
    forward . {UPSTREAM} {{
        max_concurrent 1000
    }}
    loop
    reload
    loadbalance
}}
",
        pki = plane.certificates().display()
    )
}

/// An error while an object of the shop, or CoreDNS's own endpoint, is not seen yet.
fn has_everything() -> Result<()> {
    let mut connection = Connection::open()?;
    for (name, kind, answers) in [
        ("api.shop.svc.cluster.local", kind::A, 1),
        ("shadowed.shop.svc.cluster.local", kind::A, 1),
        ("bare.svc.cluster.local", kind::A, 0),
        ("postgres.db.svc.cluster.local", kind::A, 3),
        ("postgres.db.svc.cluster.local", kind::AAAA, 1),
    ] {
        let recording = connection.ask(name, kind)?;
        let held = recording.code == 0 && recording.sections[0].len() == answers;
        ensure!(held, "{recording}");
    }
    let servers = connection.ask("cluster.local", kind::NS)?;
    let own = servers.sections[0].iter().any(|record| {
        record.kind == kind::NS && record.data == "kube-dns.kube-system.svc.cluster.local"
    });
    ensure!(own, "{servers}");
    Ok(())
}

fn datagram(message: &[u8]) -> Result<Vec<u8>> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(address()?)?;
    socket.send(message)?;
    let mut buffer = vec![0; 65_535];
    let length = socket.recv(&mut buffer)?;
    buffer.truncate(length);
    Ok(buffer)
}

fn address() -> Result<SocketAddr> {
    Ok(SocketAddr::new(ADDRESS.parse()?, 53))
}

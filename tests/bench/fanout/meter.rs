//! What servers spend: CPU time of their processes, bytes that leave their ports, connections.

use crate::plane::{API_PORT, NATS_PORT, Plane};
use anyhow::{Context, Result, ensure};
use std::{fs, process::Command, time::Duration};

/// What was spent between two moments.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// CPU seconds of kube-apiserver.
    pub(crate) api_server: f64,
    /// CPU seconds of nats-server.
    pub(crate) nats: f64,
    /// CPU seconds of both publishers.
    pub(crate) publishers: f64,
    /// Bytes from the API server's port, headers of IP and TCP included.
    pub(crate) api_bytes: u64,
    /// The same from the NATS server's.
    pub(crate) nats_bytes: u64,
    /// Connections to the API server at the end.
    pub(crate) api_connections: usize,
    /// Connections to the NATS server at the end.
    pub(crate) nats_connections: usize,
}

/// The first of the two moments.
pub(crate) struct Meter {
    before: Spent,
}

impl Meter {
    /// Now.
    pub(crate) fn start(plane: &Plane) -> Result<Self> {
        Ok(Self {
            before: total(plane)?,
        })
    }

    /// The API server was started after the first moment: its process began at zero.
    pub(crate) fn with_new_api_server(mut self) -> Self {
        self.before.api_server = 0.0;
        self
    }

    /// The same of the NATS server.
    pub(crate) fn with_new_nats(mut self) -> Self {
        self.before.nats = 0.0;
        self
    }

    /// What was spent since the first moment.
    pub(crate) fn read(&self, plane: &Plane) -> Result<Spent> {
        let now = total(plane)?;
        let before = &self.before;
        Ok(Spent {
            api_server: now.api_server - before.api_server,
            nats: now.nats - before.nats,
            publishers: now.publishers - before.publishers,
            api_bytes: now.api_bytes - before.api_bytes,
            nats_bytes: now.nats_bytes - before.nats_bytes,
            ..now
        })
    }
}

/// Lets the kernel count what leaves the servers' ports, in this network namespace.
pub(crate) fn count_bytes() -> Result<()> {
    let rules = format!(
        "table inet bench {{
            counter api {{ }}
            counter nats {{ }}
            chain out {{
                type filter hook output priority 0;
                tcp sport {API_PORT} counter name api
                tcp sport {NATS_PORT} counter name nats
            }}
        }}"
    );
    let output = Command::new("nft").arg(rules).output().context("nft")?;
    ensure!(output.status.success(), "nft: {output:?}");
    Ok(())
}

/// Everything since the beginning.
fn total(plane: &Plane) -> Result<Spent> {
    let cpu = |id: Option<u32>| id.map_or(Ok(Duration::ZERO), cpu_of);
    let mut publishers = Duration::ZERO;
    for id in plane.publishers() {
        publishers += cpu_of(id)?;
    }
    Ok(Spent {
        api_server: cpu(plane.api_server())?.as_secs_f64(),
        nats: cpu(plane.nats())?.as_secs_f64(),
        publishers: publishers.as_secs_f64(),
        api_bytes: bytes("api")?,
        nats_bytes: bytes("nats")?,
        api_connections: connections(API_PORT)?,
        nats_connections: connections(NATS_PORT)?,
    })
}

/// CPU time of a process and its threads (proc(5), `stat`: fields 14 and 15, in hundredths of a second).
fn cpu_of(id: u32) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{id}/stat"))?;
    // The name, in parentheses, may hold anything.
    let (_, fields) = text.rsplit_once(") ").context("stat")?;
    let fields: Vec<&str> = fields.split(' ').collect();
    let (user, system): (u64, u64) = (fields[11].parse()?, fields[12].parse()?);
    Ok(Duration::from_millis(10 * (user + system)))
}

/// Memory of a process in megabytes (proc(5), `status`: VmRSS).
pub(crate) fn memory_of(id: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/status"))?;
    let (_, rest) = text.split_once("VmRSS:").context("no VmRSS")?;
    let kilobytes: u64 = rest.split_whitespace().next().context("VmRSS")?.parse()?;
    Ok(kilobytes * 1024 / 1_000_000)
}

/// A counter of the kernel.
fn bytes(name: &str) -> Result<u64> {
    let output = Command::new("nft")
        .args(["list", "counter", "inet", "bench", name])
        .output()
        .context("nft")?;
    let text = String::from_utf8(output.stdout)?;
    let (_, bytes) = text.split_once(" bytes ").context("no counter")?;
    let digits = bytes.split_whitespace().next().context("no number")?;
    Ok(digits.parse()?)
}

/// Connections that a server of this port has (proc(5), `net/tcp`: state 01 is established).
fn connections(port: u16) -> Result<usize> {
    let port = format!(":{port:04X}");
    let mut count = 0;
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table).unwrap_or_default();
        count += text
            .lines()
            .filter(|line| {
                let mut fields = line.split_whitespace().skip(1);
                let local = fields.next().unwrap_or_default();
                local.ends_with(&port) && fields.nth(1) == Some("01")
            })
            .count();
    }
    Ok(count)
}

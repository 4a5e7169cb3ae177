//! DNS packets of one pod, counted by nftables in the pod's own network.

use crate::{cluster::text, pods::Pod};
use anyhow::{Context, Result};
use serde_json::Value;
use std::{io::Write, process::Stdio};

/// Counters in a pod's network; they end with it.
pub(crate) struct Packets {
    /// The pod's first process: who has its network.
    process: u32,
}

/// Packets to port 53 that left the pod, from whatever process in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// By UDP.
    pub(crate) udp: u64,
    /// By TCP from the pod's address.
    pub(crate) tcp: u64,
    /// By TCP from another address.
    pub(crate) strange: u64,
}

impl Seen {
    /// Whether there were none.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }
}

impl Packets {
    /// Begins to count.
    pub(crate) fn count(pod: &Pod<'_>) -> Result<Self> {
        let rules = format!(
            "table inet nss_k8s_test {{
                counter dns_udp {{ }}
                counter dns_tcp {{ }}
                counter dns_strange {{ }}
                chain out {{
                    type filter hook output priority -300;
                    udp dport 53 counter name dns_udp
                    tcp dport 53 ip saddr {} counter name dns_tcp
                    tcp dport 53 ip saddr != {} counter name dns_strange
                    tcp dport 53 meta nfproto ipv6 counter name dns_strange
                }}
            }}",
            pod.address, pod.address
        );
        let packets = Self {
            process: pod.process,
        };
        packets.nft(&["-f", "-"], &rules)?;
        Ok(packets)
    }

    /// What was counted until now.
    pub(crate) fn seen(&self) -> Result<Seen> {
        let list = self.nft(
            &["-j", "list", "counters", "table", "inet", "nss_k8s_test"],
            "",
        )?;
        let list: Value = serde_json::from_str(&list)?;
        let counters: Vec<&Value> = list["nftables"]
            .as_array()
            .context("no list")?
            .iter()
            .map(|item| &item["counter"])
            .collect();
        let packets = |name: &str| {
            let found = counters.iter().find(|counter| counter["name"] == name);
            found
                .and_then(|counter| counter["packets"].as_u64())
                .with_context(|| format!("no counter {name}"))
        };
        Ok(Seen {
            udp: packets("dns_udp")?,
            tcp: packets("dns_tcp")?,
            strange: packets("dns_strange")?,
        })
    }

    fn nft(&self, arguments: &[&str], input: &str) -> Result<String> {
        let mut child = std::process::Command::new("nsenter")
            .arg(format!("--net=/proc/{}/ns/net", self.process))
            .args(["--", "nft"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut pipe = child.stdin.take().context("no input")?;
        pipe.write_all(input.as_bytes())?;
        drop(pipe);
        text(child.wait_with_output()?).context("nft")
    }
}

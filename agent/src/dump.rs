//! `nss-k8s dump`: the published zone in master-file form (RFC 1035 section 5), as a DNS server
//! would have to hold it to give the same answers.

use crate::{
    cli::DumpArgs,
    config::DEFAULT_CLASS,
    external,
    status::{ip, state_word},
};
use anyhow::{Context, Result};
use nss_k8s_zone::{
    Address, Dump, Endpoint, Entry, Family, HeldDump, HeldOptions, PodMode, Port, ServiceBody,
    ServiceKey, Slice, SliceId,
};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write as _},
    net::IpAddr,
    path::Path,
    process::ExitCode,
};

/// Prints one class's zone, or the answers beside it.
pub fn dump(args: &DumpArgs) -> Result<ExitCode> {
    let view = &args.view;
    let text = if args.external {
        let path = HeldOptions::new(
            &view.place.dir,
            view.class.as_deref().unwrap_or(DEFAULT_CLASS),
        )
        .path();
        external::dump::text(&HeldDump::open(&path)?, &path, external::now())
    } else {
        let path = view.zone_path();
        text(&Dump::open(&path)?, &path)
    };
    io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .context("cannot write the zone")?;
    Ok(ExitCode::SUCCESS)
}

/// The zone's text: forward records under the apex, then reverse ones under the root.
fn text(dump: &Dump, path: &Path) -> String {
    let mut master = Master {
        text: String::new(),
        reverse: BTreeMap::new(),
        apex: dump.apex(),
    };
    let config = dump.config();
    let serial = dump.statistics().serial;
    // A serial has 32 bits and wraps (RFC 1982); the zone's own does not.
    let serial32 = serial & 0xffff_ffff;
    let _ = writeln!(
        master.text,
        "; {}, state {}",
        path.display(),
        state_word(dump.state())
    );
    let _ = writeln!(
        master.text,
        "; serial {serial}, alive at {}, synced at {} (Unix time)",
        dump.alive().0,
        dump.synced().0
    );
    let _ = writeln!(master.text, "$ORIGIN {}.\n$TTL {}", dump.apex(), config.ttl);
    let ttl = config.ttl;
    master.record(
        "@",
        "SOA",
        &format!("ns.dns hostmaster {serial32} 7200 1800 86400 {ttl}"),
    );
    if config.pod_mode == PodMode::Insecure {
        master
            .text
            .push_str("; a-b-c-d.<namespace>.pod answers a.b.c.d for every namespace below\n");
    }
    for entry in dump.entries() {
        match entry {
            // An empty non-terminal has no record of its own: NODATA comes from what is below it.
            Entry::Namespace(name) => {
                let _ = writeln!(master.text, "; namespace {name}");
            }
            Entry::Service {
                key,
                body: Some(body),
                slices,
            } => master.service(key, body, slices),
            Entry::Service { body: None, .. } => {}
        }
    }
    master.finish()
}

/// A master file in the making.
struct Master<'a> {
    text: String,
    /// Targets by reverse name; those of ClusterIP services stand alone.
    reverse: BTreeMap<String, (bool, Vec<String>)>,
    apex: &'a str,
}

impl Master<'_> {
    fn record(&mut self, owner: &str, kind: &str, data: &str) {
        let _ = writeln!(self.text, "{owner:<40} IN {kind:<5} {data}");
    }

    /// Every record of one service.
    fn service(&mut self, key: &ServiceKey, body: &ServiceBody, slices: &BTreeMap<SliceId, Slice>) {
        let owner = format!("{}.{}.svc", key.service(), key.namespace());
        match body {
            ServiceBody::External { target } => {
                let target = target.trim_end_matches('.');
                self.record(&owner, "CNAME", &format!("{target}."));
            }
            ServiceBody::ClusterIp { addresses, ports } => {
                for address in addresses {
                    self.address(&owner, address);
                    self.pointer(address, true, &owner);
                }
                for port in ports.iter().filter(|port| !port.name.is_empty()) {
                    self.server(&owner, port, 100, &owner);
                }
                self.endpoints(&owner, slices, false);
            }
            ServiceBody::Headless { .. } => self.endpoints(&owner, slices, true),
        }
    }

    /// Names and, for a headless service, the service's own records of its ready endpoints.
    fn endpoints(&mut self, owner: &str, slices: &BTreeMap<SliceId, Slice>, headless: bool) {
        let ready = || {
            slices.values().flat_map(|slice| {
                slice
                    .endpoints
                    .iter()
                    .filter(|e| e.ready)
                    .map(move |endpoint| (slice, endpoint))
            })
        };
        if headless {
            for (_, endpoint) in ready().filter(|(_, endpoint)| !endpoint.shadowed) {
                self.address(owner, &endpoint.address);
            }
        }
        let mut hosts = BTreeMap::<String, Vec<Address>>::new();
        let mut servers = BTreeMap::<(String, String, u16), Vec<String>>::new();
        for (slice, endpoint) in ready() {
            let host = host(endpoint, owner);
            let addresses = hosts.entry(host.clone()).or_default();
            if !addresses.contains(&endpoint.address) {
                addresses.push(endpoint.address);
            }
            for port in slice
                .ports
                .iter()
                .filter(|port| headless && !port.name.is_empty())
            {
                let name = (
                    port.name.clone(),
                    port.protocol.as_str().to_owned(),
                    port.number,
                );
                let targets = servers.entry(name).or_default();
                if !targets.contains(&host) {
                    targets.push(host.clone());
                }
            }
            self.pointer(&endpoint.address, false, &host);
        }
        for (host, addresses) in hosts {
            for address in addresses {
                self.address(&host, &address);
            }
        }
        for ((name, protocol, number), targets) in servers {
            let weight = (100 / targets.len().max(1)).max(1);
            for target in targets {
                let data = format!("0 {weight} {number} {target}");
                self.record(&format!("_{name}._{protocol}.{owner}"), "SRV", &data);
            }
        }
    }

    fn server(&mut self, owner: &str, port: &Port, weight: usize, target: &str) {
        let data = format!("0 {weight} {} {target}", port.number);
        self.record(
            &format!("_{}._{}.{owner}", port.name, port.protocol.as_str()),
            "SRV",
            &data,
        );
    }

    fn address(&mut self, owner: &str, address: &Address) {
        let kind = match address.family {
            Family::V4 => "A",
            Family::V6 => "AAAA",
        };
        self.record(owner, kind, &ip(address).to_string());
    }

    /// Remembers a reverse record. Where a ClusterIP service has the address, it alone counts.
    fn pointer(&mut self, address: &Address, cluster_ip: bool, target: &str) {
        let target = format!("{target}.{}.", self.apex);
        let (alone, targets) = self.reverse.entry(reverse_name(ip(address))).or_default();
        if cluster_ip && !*alone {
            targets.clear();
            *alone = true;
        }
        if *alone == cluster_ip && !targets.contains(&target) {
            targets.push(target);
        }
    }

    /// The whole text.
    fn finish(mut self) -> String {
        self.text.push_str("\n$ORIGIN .\n");
        for (name, (_, targets)) in core::mem::take(&mut self.reverse) {
            for target in targets {
                self.record(&name, "PTR", &target);
            }
        }
        self.text
    }
}

/// The name of one endpoint: its hostname, else its address with dashes.
fn host(endpoint: &Endpoint, owner: &str) -> String {
    match &endpoint.hostname {
        Some(hostname) => format!("{hostname}.{owner}"),
        None => format!("{}.{owner}", dashed(ip(&endpoint.address))),
    }
}

/// An address as a label: CoreDNS writes dashes for dots and colons, and a zero behind a last dash.
fn dashed(address: IpAddr) -> String {
    let mut label = address.to_string().replace(['.', ':'], "-");
    if label.ends_with('-') {
        label.push('0');
    }
    label
}

/// The reverse name of an address (RFC 1035 section 3.5, RFC 3596 section 2.5), with its last dot.
fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(address) => {
            let mut name = String::with_capacity(74);
            for octet in address.octets().iter().rev() {
                let _ = write!(name, "{:x}.{:x}.", octet & 15, octet >> 4);
            }
            name + "ip6.arpa."
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_reverse_names() {
        let name = |text: &str| reverse_name(text.parse().unwrap());
        assert_eq!(name("10.1.2.3"), "3.2.1.10.in-addr.arpa.");
        assert!(name("fd00::7").starts_with("7.0.0.0.0."));
        assert!(name("fd00::7").ends_with(".0.0.d.f.ip6.arpa."));
    }

    #[test]
    fn writes_addresses_as_labels() {
        assert_eq!(dashed("10.1.2.3".parse().unwrap()), "10-1-2-3");
        assert_eq!(dashed("fd00::".parse().unwrap()), "fd00--0");
    }
}

//! The whole zone in messages (AXFR, RFC 5936), with the names that CoreDNS transfers
//! (plugin/kubernetes/xfr.go): services, their ports, endpoints of headless services, aliases; no
//! pods, no reverse names.

use super::{
    code, kind,
    message::{self, Answered, Draft, LONGEST_MESSAGE, Section},
    name::WireName,
    records::put_authority,
    request::Request,
};
use nss_k8s_zone::{Address, Dump, Entry, Name, Port, ServiceBody, ServiceKey, Slice, Srv, text};
use std::{collections::HashSet, path::Path};

/// Octets of records after which another message is begun.
const FULL: usize = 48_000;

/// The messages of a transfer of the zone at `path` that `request` asks for. `None`: it is not that
/// zone's name, or there is no zone.
pub(super) fn messages(
    path: &Path,
    request: &Request<'_>,
    opt: Option<Answered>,
) -> Option<Vec<Vec<u8>>> {
    let dump = Dump::open(path).ok()?;
    let folded = request.name.fold()?;
    if folded.as_bytes() != dump.apex().as_bytes() || dump.state() != nss_k8s_zone::State::Live {
        return None;
    }
    let records = Records::of(&dump)?;
    let mut messages = Vec::new();
    let mut rest = &records.0[..];
    while !rest.is_empty() {
        let mut out = Vec::new();
        let mut draft = Draft::new(&mut out, request);
        let mut size = 0;
        let full = rest.iter().position(|record| {
            size += record.owner.as_octets().len() + record.data.len() + 10;
            size > FULL
        });
        let (now, later) = rest.split_at(full.unwrap_or(rest.len()).max(1));
        for record in now {
            let owner = record.owner.as_octets();
            draft.record(
                Section::Answer,
                owner,
                record.kind,
                record.ttl,
                &[&record.data],
            );
        }
        draft.finish(code::NOERROR, true);
        message::close(&mut out, LONGEST_MESSAGE, opt);
        messages.push(out);
        rest = later;
    }
    Some(messages)
}

/// One record of the transfer.
struct Record {
    owner: WireName,
    kind: u16,
    ttl: u32,
    data: Vec<u8>,
}

/// All of them, in order.
struct Records(Vec<Record>);

impl Records {
    /// SOA, name servers, services, SOA.
    fn of(dump: &Dump) -> Option<Self> {
        let apex = WireName::from_text(dump.apex().as_bytes())?;
        let time_to_live = dump.config().ttl;
        let mut all = Self(Vec::new());
        let authority = authority(&apex, time_to_live, dump.updated().0 as u32)?;
        all.0.push(authority);
        all.name_servers(dump, &apex);
        for entry in dump.entries() {
            if let Entry::Service {
                key,
                body: Some(body),
                slices,
            } = entry
            {
                let start = all.0.len();
                let owner = below(key, dump.apex())?;
                match body {
                    ServiceBody::ClusterIp { addresses, ports } => {
                        all.cluster_ip(&owner, addresses, ports, time_to_live);
                    }
                    ServiceBody::Headless { .. } => {
                        for slice in slices.values() {
                            all.endpoints(&owner, slice, time_to_live);
                        }
                    }
                    ServiceBody::External { target } => {
                        if let Some(target) = WireName::from_text(target.as_bytes()) {
                            all.push(owner, kind::CNAME, time_to_live, target.as_octets());
                        }
                    }
                }
                // Two slices may have an endpoint in common.
                let mut known = HashSet::new();
                let of_service = all.0.split_off(start);
                all.0.extend(of_service.into_iter().filter(|record| {
                    let owner = record.owner.as_octets().to_vec();
                    known.insert((owner, record.kind, record.data.clone()))
                }));
            }
        }
        all.0.push(self::authority(
            &apex,
            time_to_live,
            dump.updated().0 as u32,
        )?);
        Some(all)
    }

    fn push(&mut self, owner: WireName, kind: u16, ttl: u32, data: &[u8]) {
        let data = data.to_vec();
        self.0.push(Record {
            owner,
            kind,
            ttl,
            data,
        });
    }

    fn push_address(&mut self, owner: WireName, ttl: u32, address: &Address) {
        let kind = match address.family {
            nss_k8s_zone::Family::V4 => kind::A,
            nss_k8s_zone::Family::V6 => kind::AAAA,
        };
        self.push(owner, kind, ttl, address.as_octets());
    }

    fn push_service(&mut self, owner: WireName, ttl: u32, weight: u16, port: u16, to: &WireName) {
        let numbers = [weight.to_be_bytes(), port.to_be_bytes()].concat();
        let data = [&[0, 0], &numbers[..], to.as_octets()].concat();
        self.push(owner, kind::SRV, ttl, &data);
    }

    /// The Service that has the cluster DNS addresses, or `ns.dns` with them.
    fn name_servers(&mut self, dump: &Dump, apex: &WireName) {
        let servers = &dump.config().cluster_dns;
        let time_to_live = dump.config().ttl;
        let mut named = Vec::new();
        for entry in dump.entries() {
            if let Entry::Service {
                key,
                body: Some(ServiceBody::ClusterIp { addresses, .. }),
                ..
            } = entry
                && addresses.iter().any(|address| servers.contains(address))
                && let Some(name) = below(key, dump.apex())
            {
                named.push((name, addresses.clone()));
            }
        }
        if named.is_empty()
            && let Some(name) = WireName::ROOT
                .with_tail(1, b"\x02ns\x03dns\0")
                .and_then(|name| name.with_tail(1, apex.as_octets()))
        {
            named.push((name, servers.clone()));
        }
        for (name, _) in &named {
            self.push(*apex, kind::NS, time_to_live, name.as_octets());
        }
        for (name, addresses) in &named {
            for address in addresses {
                self.push_address(*name, time_to_live, address);
            }
        }
    }

    fn cluster_ip(&mut self, owner: &WireName, addresses: &[Address], ports: &[Port], ttl: u32) {
        for address in addresses {
            self.push_address(*owner, ttl, address);
        }
        for port in ports {
            self.push_service(*owner, ttl, 100, port.number, owner);
            if let Some(name) = port_name(port, owner) {
                self.push_service(name, ttl, 100, port.number, owner);
            }
        }
    }

    fn endpoints(&mut self, owner: &WireName, slice: &Slice, ttl: u32) {
        let ready = || slice.endpoints.iter().filter(|endpoint| endpoint.ready);
        let weight = Srv::weight_among(ready().count());
        for endpoint in ready() {
            self.push_address(*owner, ttl, &endpoint.address);
            let label = match &endpoint.hostname {
                Some(name) => name.as_bytes().to_vec(),
                None => dashed(&endpoint.address),
            };
            let Some(name) = left_of(&label, owner) else {
                continue;
            };
            self.push_address(name, ttl, &endpoint.address);
            for port in &slice.ports {
                if let Some(port_name) = port_name(port, owner) {
                    self.push_service(port_name, ttl, weight, port.number, &name);
                }
            }
        }
    }
}

/// The zone's SOA record.
fn authority(apex: &WireName, time_to_live: u32, serial: u32) -> Option<Record> {
    // Written by the one who knows how, and read back.
    let request = Request {
        identifier: 0,
        recursion_desired: false,
        authentic_data: false,
        checking_disabled: false,
        question: b"\0\0\x06\0\x01",
        name: WireName::ROOT,
        kind: kind::SOA,
        class: 1,
        extended: None,
    };
    let mut out = Vec::new();
    let mut draft = Draft::new(&mut out, &request);
    put_authority(
        &mut draft,
        Section::Answer,
        apex.as_octets(),
        time_to_live,
        serial,
    );
    draft.finish(code::NOERROR, true);
    let resource = message::Resource::all(&out)?.pop()?;
    Some(Record {
        owner: resource.owner,
        kind: resource.kind,
        ttl: resource.time_to_live,
        data: resource.data,
    })
}

/// `<service>.<namespace>.svc.<apex>`.
fn below(key: &ServiceKey, apex: &str) -> Option<WireName> {
    let text = format!("{}.{}.svc.{apex}", key.service(), key.namespace());
    WireName::from_text(text.as_bytes())
}

/// `_<port>._<protocol>.<owner>`; nothing for a port without a name.
fn port_name(port: &Port, owner: &WireName) -> Option<WireName> {
    if port.name.is_empty() {
        return None;
    }
    let protocol = left_of(format!("_{}", port.protocol.as_str()).as_bytes(), owner)?;
    left_of(format!("_{}", port.name).as_bytes(), &protocol)
}

/// `<label>.<owner>`.
fn left_of(label: &[u8], owner: &WireName) -> Option<WireName> {
    WireName::from_text(label)?.with_tail(1, owner.as_octets())
}

/// The label of an endpoint without a host name: its address with dashes.
fn dashed(address: &Address) -> Vec<u8> {
    let mut name = Name::new();
    let _fits = text::format(address, b'-', b'-', &mut name);
    let mut label = name.as_bytes().to_vec();
    if label.last() == Some(&b'-') {
        label.push(b'0');
    }
    label
}

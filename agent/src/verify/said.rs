//! What the zone, and what a server, says of a name: in one form.

use crate::{forward::Question, publish::unix_now, status::ip};
use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Name as DnsName, RData, RecordType},
};
use nss_k8s_zone::{
    Address, Families, Found, LibcOs, MAX_ADDRESSES, Name, Reader, Ruling, Snapshot, Srv,
};
use std::{
    collections::BTreeSet, ffi::CString, fmt, net::IpAddr, os::unix::ffi::OsStrExt, path::Path,
};

/// One question about the zone.
#[derive(Clone)]
pub(super) struct Asked {
    /// Lower case, absolute, without the last dot.
    pub(super) name: String,
    /// A, AAAA, SRV or PTR.
    pub(super) kind: RecordType,
    /// Of PTR: the address.
    pub(super) address: Option<Address>,
    /// The zone's name: an alias that leads out of it ends there.
    pub(super) apex: String,
    /// The same as a query.
    pub(super) question: Question,
}

impl Asked {
    /// A question about a name; nothing where that is none.
    pub(super) fn new(name: &str, kind: RecordType, apex: &str) -> Option<Self> {
        let dns = DnsName::from_ascii(format!("{name}.")).ok()?;
        Some(Self {
            name: name.to_owned(),
            kind,
            address: None,
            apex: apex.to_owned(),
            question: Question::of(&dns, kind)?,
        })
    }

    /// The question for the names of an address.
    pub(super) fn pointer(address: Address, apex: &str) -> Option<Self> {
        let dns = DnsName::from(ip(&address));
        Some(Self {
            name: text(&dns),
            kind: RecordType::PTR,
            address: Some(address),
            apex: apex.to_owned(),
            question: Question::of(&dns, RecordType::PTR)?,
        })
    }
}

/// What is said of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// These: addresses, names, or a port and a name. Neither order nor weight is compared.
    Data(BTreeSet<String>),
    /// It is an alias of a name outside the zone.
    Alias(String),
    /// It exists, but has no such record.
    NoData,
    /// It does not exist.
    NxDomain,
}

impl fmt::Display for Said {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data(data) => {
                let data: Vec<&str> = data.iter().map(String::as_str).collect();
                formatter.write_str(&data.join(" "))
            }
            Self::Alias(target) => write!(formatter, "CNAME {target}"),
            Self::NoData => formatter.write_str("no such record"),
            Self::NxDomain => formatter.write_str("no such name"),
        }
    }
}

/// A zone file, mapped as a process maps it.
pub(super) struct ZoneFile {
    reader: Reader,
    path: CString,
}

impl ZoneFile {
    /// The file at `path`; nothing for a path that cannot be one.
    pub(super) fn new(path: &Path) -> Option<Self> {
        Some(Self {
            reader: Reader::new(),
            path: CString::new(path.as_os_str().as_bytes()).ok()?,
        })
    }

    /// What the zone says now; nothing where it leaves the name to DNS, cannot be asked, or has a rule
    /// for the name.
    pub(super) fn say(&self, asked: &Asked) -> Option<Said> {
        let read = self
            .reader
            .read(&LibcOs, &self.path, unix_now(), |zone| ours(zone, asked));
        read.ok().flatten()
    }
}

fn ours(zone: &Snapshot<'_>, asked: &Asked) -> Option<Said> {
    let name = asked.name.as_bytes();
    if zone.has_rules() {
        let mut ruled = Name::new();
        if !ruled.push(name) || zone.rule(&mut ruled, None) != Ruling::Unruled {
            return None;
        }
    }
    let mut canonical = Name::new();
    let (found, data) = match (asked.kind, asked.address) {
        (RecordType::A, _) => addresses(zone, name, Families::V4, &mut canonical),
        (RecordType::AAAA, _) => addresses(zone, name, Families::V6, &mut canonical),
        (RecordType::SRV, _) => {
            let (found, data) = all(Srv::EMPTY, |room| zone.services(name, room));
            let srv = |srv: &Srv| format!("{} {}", srv.port, plain(srv.target.as_bytes()));
            (found, data.iter().map(srv).collect())
        }
        (RecordType::PTR, Some(address)) => {
            let (found, data) = all(Name::EMPTY, |room| zone.names(&address, room));
            (
                found,
                data.iter().map(|name| plain(name.as_bytes())).collect(),
            )
        }
        _ => return None,
    };
    Some(match found {
        Found::Answer { .. } => Said::Data(data),
        Found::Chase => Said::Alias(plain(canonical.as_bytes())),
        Found::NoData => Said::NoData,
        Found::NxDomain => Said::NxDomain,
        _ => return None,
    })
}

fn addresses(
    zone: &Snapshot<'_>,
    name: &[u8],
    families: Families,
    canonical: &mut Name,
) -> (Found, BTreeSet<String>) {
    let ask = |room: &mut [Address]| zone.addresses(name, families, room, canonical);
    let (found, data) = all(Address::UNSPECIFIED, ask);
    (found, data.iter().map(|it| ip(it).to_string()).collect())
}

/// Asks with as much room as it takes.
fn all<T: Clone>(filler: T, mut ask: impl FnMut(&mut [T]) -> Found) -> (Found, Vec<T>) {
    let mut room = vec![filler.clone(); 64];
    loop {
        let found = ask(&mut room);
        match found {
            Found::Room(wanted) if wanted > room.len() && room.len() < MAX_ADDRESSES => {
                room.resize(wanted.min(MAX_ADDRESSES), filler.clone());
            }
            Found::Answer { count } => {
                room.truncate(count);
                return (found, room);
            }
            found => return (found, Vec::new()),
        }
    }
}

/// What a server's message says; the error is why that is no answer.
pub(super) fn theirs(asked: &Asked, message: &Message) -> Result<Said, String> {
    let code = message.metadata.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Err(code.to_string());
    }
    let inside = |name: &str| {
        let end = name.strip_suffix(asked.apex.as_str());
        end.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let mut name = asked.name.clone();
    // As many aliases as there are records, at most.
    for _ in &message.answers {
        let alias = message
            .answers
            .iter()
            .find_map(|record| match &record.data {
                RData::CNAME(target) if text(&record.name) == name => Some(text(&target.0)),
                _ => None,
            });
        match alias {
            Some(target) if inside(&target) => name = target,
            Some(target) => return Ok(Said::Alias(target)),
            None => break,
        }
    }
    let data: BTreeSet<String> = message
        .answers
        .iter()
        .filter(|record| record.record_type() == asked.kind)
        .filter_map(|record| match &record.data {
            RData::A(address) => Some(IpAddr::from(address.0).to_string()),
            RData::AAAA(address) => Some(IpAddr::from(address.0).to_string()),
            RData::SRV(srv) => Some(format!("{} {}", srv.port, text(&srv.target))),
            RData::PTR(target) => Some(text(&target.0)),
            _ => None,
        })
        .collect();
    Ok(if !data.is_empty() {
        Said::Data(data)
    } else if code == ResponseCode::NXDomain {
        Said::NxDomain
    } else {
        Said::NoData
    })
}

/// A name as the zone writes it.
fn text(name: &DnsName) -> String {
    plain(name.to_ascii().trim_end_matches('.').as_bytes())
}

fn plain(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_ascii_lowercase()
}

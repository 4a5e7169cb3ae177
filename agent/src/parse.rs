//! From Kubernetes objects as they come to entities that are known to be sound. Whatever is wrong
//! with an object is said in one line that names it, and concerns nothing but that object.

use crate::{
    model::{Object, ObjectKey, SliceOf, servers},
    objects::{
        EndpointObject, Metadata, NamespaceObject, PortObject, SERVICE_LABEL, ServiceObject,
        SliceObject,
    },
};
use nss_k8s_zone::{Address, Endpoint, Family, Port, Protocol, ServiceBody, ServiceKey, Slice};
use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

/// What became of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// The object, or why there is none.
    pub verdict: Verdict,
    /// Parts of it that were left out, each with its reason.
    pub complaints: Vec<String>,
}

/// Whether an object is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Served.
    Sound(Object),
    /// Readable, but nothing that the zone answers: the same as absent.
    NotServed(ObjectKey, String),
    /// Unreadable: what was known of it stays. `None`: it has not even a name.
    Malformed(Option<ObjectKey>, String),
}

impl Parsed {
    /// The identity of the object, as far as it has one.
    pub fn key(&self) -> Option<ObjectKey> {
        match &self.verdict {
            Verdict::Sound(object) => Some(object.key()),
            Verdict::NotServed(key, _) => Some(key.clone()),
            Verdict::Malformed(key, _) => key.clone(),
        }
    }

    fn sound(object: Object) -> Self {
        Self {
            verdict: Verdict::Sound(object),
            complaints: Vec::new(),
        }
    }

    fn malformed(key: Option<ObjectKey>, why: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Malformed(key, why.into()),
            complaints: Vec::new(),
        }
    }

    fn not_served(key: ObjectKey, why: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::NotServed(key, why.into()),
            complaints: Vec::new(),
        }
    }
}

/// Reads a Namespace.
pub fn namespace(object: &NamespaceObject) -> Parsed {
    let name = object.metadata.name.as_deref().unwrap_or_default();
    match label(name) {
        Ok(()) => {
            let labels = object.metadata.labels.iter().flatten();
            let labels = labels.map(|(key, value)| (key.clone(), value.clone()));
            Parsed::sound(Object::Namespace(name.to_owned(), labels.collect()))
        }
        Err(why) => Parsed::malformed(None, format!("Namespace {}: name: {why}", excerpt(name))),
    }
}

/// Reads a Service.
pub fn service(object: &ServiceObject) -> Parsed {
    let key = identity("Service", &object.metadata).and_then(|(namespace, name)| {
        ServiceKey::new(&name, &namespace).map_err(|error| error.to_string())
    });
    let key = match key {
        Ok(key) => key,
        Err(why) => return Parsed::malformed(None, why),
    };
    let object_key = ObjectKey::Service(key.clone());
    let fail = |why: String| Parsed::malformed(Some(object_key.clone()), why);
    let Some(spec) = &object.spec else {
        return fail("spec is missing".to_owned());
    };
    let (ports, complaints) = ports(spec.ports.as_deref().unwrap_or_default());

    let body = if spec.r#type.as_deref() == Some("ExternalName") {
        let written = spec.external_name.as_deref().unwrap_or_default();
        if written.parse::<IpAddr>().is_ok() {
            let why = format!("externalName {written} is an address: no CNAME can point at it");
            return Parsed::not_served(object_key, why);
        }
        match target(written) {
            Ok(target) => ServiceBody::External { target },
            Err(why) => return fail(format!("externalName {}: {why}", excerpt(written))),
        }
    } else {
        let single = spec.cluster_ip.as_slice();
        let written = match spec.cluster_ips.as_deref() {
            Some(all) if !all.is_empty() => all,
            _ => single,
        };
        if written.iter().any(|address| address == "None") {
            ServiceBody::Headless { ports }
        } else {
            let mut addresses = Vec::new();
            for text in written.iter().filter(|text| !text.is_empty()) {
                match address(text) {
                    Some(address) => addresses.push(address),
                    None => return fail(format!("clusterIP {}: not an address", excerpt(text))),
                }
            }
            if addresses.is_empty() {
                return Parsed::not_served(object_key, "it has no clusterIP (yet)");
            }
            ServiceBody::ClusterIp { addresses, ports }
        }
    };
    let labels = object.metadata.labels.as_ref();
    let label = labels.and_then(|labels| read(labels.app.as_ref()));
    let object = match servers::is_name_server(key.namespace(), key.service(), label) {
        true => Object::NameServer(key, body),
        false => Object::Service(key, body),
    };
    Parsed {
        verdict: Verdict::Sound(object),
        complaints,
    }
}

/// Reads an EndpointSlice.
pub fn slice(object: &SliceObject) -> Parsed {
    let (namespace, name) = match identity("EndpointSlice", &object.metadata) {
        Ok(identity) => identity,
        Err(why) => return Parsed::malformed(None, why),
    };
    let key = ObjectKey::Slice {
        namespace: namespace.clone(),
        name: name.clone(),
    };
    let family = match object.address_type.as_deref() {
        Some("IPv4") => Family::V4,
        Some("IPv6") => Family::V6,
        Some("FQDN") => return Parsed::not_served(key, "addressType FQDN has no addresses"),
        other => {
            let other = excerpt(other.unwrap_or("(none)"));
            return Parsed::malformed(Some(key), format!("addressType {other}: unknown"));
        }
    };
    let labels = object.metadata.labels.as_ref();
    let Some(service) = labels.and_then(|labels| read(labels.service.as_ref())) else {
        return Parsed::not_served(key, format!("it has no label {SERVICE_LABEL}"));
    };
    let checked = label(service)
        .and_then(|()| ServiceKey::new(service, &namespace).map_err(|error| error.to_string()));
    let service = match checked {
        Ok(service) => service,
        Err(why) => {
            let why = format!("label {SERVICE_LABEL} {}: {why}", excerpt(service));
            return Parsed::malformed(Some(key), why);
        }
    };
    let (ports, mut complaints) = ports(object.ports.as_deref().unwrap_or_default());
    let mut endpoints = Vec::new();
    for (index, endpoint) in object.endpoints.iter().flatten().enumerate() {
        read_endpoint(index, endpoint, family, &mut endpoints, &mut complaints);
    }
    let notes = object.metadata.annotations.as_ref();
    let triggered = notes.and_then(|notes| read(notes.trigger.as_ref()));
    let version = object
        .metadata
        .resource_version
        .as_deref()
        .unwrap_or_default();
    Parsed {
        verdict: Verdict::Sound(Object::Slice(SliceOf {
            name,
            service,
            slice: Slice {
                family,
                ports,
                endpoints,
            },
            triggered: triggered.and_then(timestamp),
            version: version.parse().unwrap_or(0),
        })),
        complaints,
    }
}

/// Appends every sound address of one endpoint; complains about the others.
fn read_endpoint(
    index: usize,
    object: &EndpointObject,
    family: Family,
    endpoints: &mut Vec<Endpoint>,
    complaints: &mut Vec<String>,
) {
    let ready = object
        .conditions
        .as_ref()
        .and_then(|conditions| conditions.ready)
        .unwrap_or(true);
    let hostname = object
        .hostname
        .as_deref()
        .filter(|hostname| !hostname.is_empty());
    let hostname = hostname.and_then(|hostname| match label(hostname) {
        Ok(()) => Some(hostname.to_owned()),
        Err(why) => {
            complaints.push(format!(
                "endpoints[{index}].hostname {}: {why}",
                excerpt(hostname)
            ));
            None
        }
    });
    for text in object.addresses.iter().flatten() {
        match address(text) {
            Some(address) if address.family == family => endpoints.push(Endpoint {
                address,
                hostname: hostname.clone(),
                ready,
                shadowed: false,
                topology_zone: object.zone.clone().filter(|zone| !zone.is_empty()),
            }),
            Some(_) => complaints.push(format!(
                "endpoints[{index}]: {text} is not of the slice's address type"
            )),
            None => complaints.push(format!(
                "endpoints[{index}]: {} is not an address",
                excerpt(text)
            )),
        }
    }
}

/// The identity of an object of which no more than this may be known; `None` when there is none.
pub fn object_key(kind: &str, namespace: Option<&str>, name: &str) -> Option<ObjectKey> {
    let namespace = namespace
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or("default");
    match kind {
        "Namespace" => label(name)
            .is_ok()
            .then(|| ObjectKey::Namespace(name.to_owned())),
        "Service" => {
            let sound = label(name).is_ok() && label(namespace).is_ok();
            let key = ServiceKey::new(name, namespace).ok().filter(|_| sound);
            key.map(ObjectKey::Service)
        }
        _ => (!name.is_empty()).then(|| ObjectKey::Slice {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }),
    }
}

/// Reads ports; those without a number or with a name that no label can hold are left out.
fn ports(objects: &[PortObject]) -> (Vec<Port>, Vec<String>) {
    let mut complaints = Vec::new();
    let mut ports = Vec::with_capacity(objects.len());
    for (index, object) in objects.iter().enumerate() {
        // A slice's port without a number stands for all ports: nothing an SRV record could say.
        let Some(written) = object.port else { continue };
        let number = match u16::try_from(written) {
            Ok(number) if number != 0 => number,
            _ => {
                complaints.push(format!("ports[{index}]: {written} is not a port number"));
                continue;
            }
        };
        let protocol = match object.protocol.as_deref() {
            None | Some("" | "TCP") => Protocol::Tcp,
            Some("UDP") => Protocol::Udp,
            Some("SCTP") => Protocol::Sctp,
            Some(other) => {
                complaints.push(format!(
                    "ports[{index}]: protocol {} unknown",
                    excerpt(other)
                ));
                continue;
            }
        };
        let name = object.name.clone().unwrap_or_default();
        if !name.is_empty()
            && let Err(why) = label(&name)
        {
            complaints.push(format!("ports[{index}].name {}: {why}", excerpt(&name)));
            continue;
        }
        ports.push(Port {
            name,
            protocol,
            number,
        });
    }
    (ports, complaints)
}

/// Namespace and name of a namespaced object.
fn identity<L>(kind: &str, metadata: &Metadata<L>) -> Result<(String, String), String> {
    let namespace = metadata.namespace.as_deref();
    let namespace = namespace
        .filter(|namespace| !namespace.is_empty())
        .unwrap_or("default");
    let name = metadata.name.as_deref().unwrap_or_default();
    let place = || format!("{kind} {}/{}", excerpt(namespace), excerpt(name));
    label(namespace).map_err(|why| format!("{}: namespace: {why}", place()))?;
    if kind == "EndpointSlice" {
        // Never part of a DNS name: any text identifies it.
        if name.is_empty() {
            return Err(format!("{}: name is missing", place()));
        }
    } else {
        label(name).map_err(|why| format!("{}: name: {why}", place()))?;
    }
    Ok((namespace.to_owned(), name.to_owned()))
}

/// Whether `text` is one lower-case DNS label (RFC 1123 section 2.1, RFC 1035 section 2.3.4).
pub fn label(text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    match bytes {
        [] => return Err("missing".to_owned()),
        [b'-', ..] | [.., b'-'] => return Err("a DNS label has no dash at its ends".to_owned()),
        _ => {}
    }
    if bytes.len() > 63 {
        return Err(format!(
            "{} characters, a DNS label has at most 63",
            bytes.len()
        ));
    }
    match text
        .chars()
        .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-'))
    {
        Some(other) => Err(format!("{other:?} is not allowed in a DNS label")),
        None => Ok(()),
    }
}

/// A CNAME target as the zone stores it. Underscores may occur in names that are not hosts.
fn target(written: &str) -> Result<String, String> {
    let text = written
        .strip_suffix('.')
        .unwrap_or(written)
        .to_ascii_lowercase();
    if text.is_empty() {
        return Err("missing".to_owned());
    }
    if text.len() > nss_k8s_zone::MAX_TEXT {
        return Err(format!("{} characters, a name has at most 253", text.len()));
    }
    for part in text.split('.') {
        if part.is_empty() || part.len() > 63 {
            return Err("a label has 1 to 63 characters".to_owned());
        }
        if let Some(other) = part
            .chars()
            .find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '_'))
        {
            return Err(format!("{other:?} is not allowed in a name"));
        }
    }
    Ok(text)
}

/// An address in the text form that Kubernetes writes.
pub fn address(text: &str) -> Option<Address> {
    match text.parse().ok()? {
        IpAddr::V4(address) => Some(Address::v4(address.octets())),
        IpAddr::V6(address) => Some(Address::v6(address.octets())),
    }
}

/// An RFC 3339 time; `None` when it is none or before 1970.
fn timestamp(text: &str) -> Option<SystemTime> {
    let time: k8s_openapi::jiff::Timestamp = text.parse().ok()?;
    let since = Duration::from_nanos(u64::try_from(time.as_nanosecond()).ok()?);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// A value that may be absent; an empty one says as little.
fn read(value: Option<&String>) -> Option<&str> {
    value.map(String::as_str).filter(|value| !value.is_empty())
}

/// The start of a text that somebody else wrote, fit for a log line.
pub fn excerpt(text: &str) -> String {
    let mut shown: String = text.chars().take(70).flat_map(char::escape_debug).collect();
    if text.chars().nth(70).is_some() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests;

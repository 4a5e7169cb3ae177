//! What the model is told: parsed objects with their identity, and the events that carry them.

pub use crate::labels::Labels;

use nss_k8s_zone::{ServiceBody, ServiceKey, Slice, SliceId};
use std::{collections::HashSet, fmt, time::SystemTime};

/// The identity of a watched object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKey {
    /// A namespace's name.
    Namespace(String),
    /// A service.
    Service(ServiceKey),
    /// A slice by its own name, not its service's.
    Slice {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(name) => write!(formatter, "Namespace {name}"),
            Self::Service(key) => {
                write!(formatter, "Service {}/{}", key.namespace(), key.service())
            }
            Self::Slice { namespace, name } => {
                write!(formatter, "EndpointSlice {namespace}/{name}")
            }
        }
    }
}

/// A watched object, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Object {
    /// A namespace with these labels exists.
    Namespace(String, Labels),
    /// A service exists.
    Service(ServiceKey, ServiceBody),
    /// The same, and its label says that it is the cluster DNS.
    NameServer(ServiceKey, ServiceBody),
    /// A slice of a service exists.
    Slice(SliceOf),
}

/// A slice and where it belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceOf {
    /// The slice's own name, unique in its namespace.
    pub name: String,
    /// The service that it belongs to; in the same namespace.
    pub service: ServiceKey,
    /// Its content; no endpoint is shadowed yet.
    pub slice: Slice,
    /// When the change that it carries happened.
    pub triggered: Option<SystemTime>,
    /// The object's resource version as a number, 0 when unknown: which of two is newer.
    pub version: u64,
}

impl Object {
    /// The object's identity.
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Namespace(name, _) => ObjectKey::Namespace(name.clone()),
            Self::Service(key, _) | Self::NameServer(key, _) => ObjectKey::Service(key.clone()),
            Self::Slice(of) => ObjectKey::Slice {
                namespace: of.service.namespace().to_owned(),
                name: of.name.clone(),
            },
        }
    }
}

/// One stream of objects: a watch, or one kind of a directory of manifests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// Namespaces.
    Namespaces,
    /// Services.
    Services,
    /// Slices of headless services, or all slices.
    Slices,
    /// Slices that the cluster's own controller did not write.
    OtherSlices,
    /// The slices that neither of them brings, where all are wanted and each stands in one list.
    ProxySlices,
}

impl Source {
    /// The word for metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespaces => "namespaces",
            Self::Services => "services",
            Self::Slices => "endpointslices",
            Self::OtherSlices => "endpointslices-unmanaged",
            Self::ProxySlices => "endpointslices-proxied",
        }
    }

    /// Whether it brings slices.
    pub fn is_slices(self) -> bool {
        matches!(self, Self::Slices | Self::OtherSlices | Self::ProxySlices)
    }
}

/// What a source says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A list begins; what was known stays until `Done`.
    Init,
    /// An object exists in this form: listed, or changed.
    Apply(Object),
    /// An object exists, but cannot be read: what was known of it stays.
    Unreadable(ObjectKey),
    /// An object is gone, or has become one that is not served.
    Delete(ObjectKey),
    /// The list is complete: what it did not name is gone.
    Done {
        /// Nothing was unreadable without a name. Otherwise what an earlier agent published stays,
        /// for it may be what could not be read.
        certain: bool,
    },
}

/// What a zone holds already when an agent adopts it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Namespaces.
    pub namespaces: HashSet<String>,
    /// Services.
    pub services: HashSet<ServiceKey>,
    /// Slices.
    pub slices: HashSet<(ServiceKey, SliceId)>,
    /// It says of itself that something found no space.
    pub incomplete: bool,
}

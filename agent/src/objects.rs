//! Slim Kubernetes objects: what the zone needs of a Service, an EndpointSlice and a Namespace,
//! and nothing else. A relist peak is made of the fields that are decoded, so `managedFields` and
//! all labels and annotations but three are skipped while parsing.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::collections::BTreeMap;

/// The label by which a slice names its service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// A v1 Service.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ServiceObject {
    /// Name, namespace, resource version.
    pub metadata: Metadata<KnownLabels>,
    /// What is served.
    #[serde(default)]
    pub spec: Option<ServiceSpec>,
}

/// `Service.spec`; absent and null fields alike are `None`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceSpec {
    /// `ClusterIP` (default), `NodePort`, `LoadBalancer` or `ExternalName`.
    pub r#type: Option<String>,
    /// An address, `None` (headless), or empty.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    /// One address per family, or `None` alone.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Option<Vec<String>>,
    /// The CNAME target of type `ExternalName`.
    pub external_name: Option<String>,
    /// What SRV answers are made of.
    pub ports: Option<Vec<PortObject>>,
}

/// A port of a Service or of an EndpointSlice.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct PortObject {
    /// Absent or empty: no SRV name.
    pub name: Option<String>,
    /// `TCP` (default), `UDP` or `SCTP`.
    pub protocol: Option<String>,
    /// Absent in a slice: all ports.
    pub port: Option<i64>,
}

/// A discovery.k8s.io/v1 EndpointSlice.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SliceObject {
    /// Name, namespace, resource version, the service's label and the trigger time.
    pub metadata: Metadata<KnownLabels>,
    /// `IPv4`, `IPv6` or `FQDN`.
    #[serde(default)]
    pub address_type: Option<String>,
    /// The endpoints.
    #[serde(default)]
    pub endpoints: Option<Vec<EndpointObject>>,
    /// The ports that all of them have.
    #[serde(default)]
    pub ports: Option<Vec<PortObject>>,
}

/// An entry of `EndpointSlice.endpoints`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct EndpointObject {
    /// At least one; all of the slice's address type.
    pub addresses: Option<Vec<String>>,
    /// Readiness.
    pub conditions: Option<ConditionsObject>,
    /// The name below the service's.
    pub hostname: Option<String>,
    /// The topology zone.
    pub zone: Option<String>,
}

/// `Endpoint.conditions`: the controller folds `publishNotReadyAddresses` and termination into
/// `ready`, so the others are not read.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct ConditionsObject {
    /// Absent means ready.
    pub ready: Option<bool>,
}

/// A v1 Namespace; its name and its labels are all that counts.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NamespaceObject {
    /// Name and labels.
    pub metadata: Metadata<BTreeMap<String, String>>,
}

/// What is read of an object's metadata. Its first fields are a [`Who`].
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata<L> {
    /// The name.
    pub name: Option<String>,
    /// Absent: `default`, or there is none.
    pub namespace: Option<String>,
    /// The version of the cluster's state in which the object became what it is.
    pub resource_version: Option<String>,
    /// The labels that are read.
    pub labels: Option<L>,
    /// The annotations that are read.
    pub annotations: Option<KnownAnnotations>,
}

/// The labels that are read of services and slices.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct KnownLabels {
    /// The service that a slice belongs to.
    #[serde(rename = "kubernetes.io/service-name")]
    pub service: Option<String>,
    /// What a service is part of.
    #[serde(rename = "k8s-app")]
    pub app: Option<String>,
}

/// The annotations that are read.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct KnownAnnotations {
    /// The time of the change that a slice was written for (RFC 3339).
    #[serde(rename = "endpoints.kubernetes.io/last-change-trigger-time")]
    pub trigger: Option<String>,
}

/// Which object it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Who {
    /// The name.
    pub name: Option<String>,
    /// The namespace.
    pub namespace: Option<String>,
    /// The version.
    pub resource_version: Option<String>,
}

impl<L> Metadata<L> {
    /// Which object it is.
    pub fn who(&self) -> Who {
        Who {
            name: self.name.clone(),
            namespace: self.namespace.clone(),
            resource_version: self.resource_version.clone(),
        }
    }
}

/// An object as a watch brings it. Its metadata is its first field, here and in what is kept of it.
pub trait Watched: DeserializeOwned + Serialize {
    /// As messages call it.
    const KIND: &'static str;

    /// Which object it is.
    fn who(&self) -> Who;
}

impl Watched for NamespaceObject {
    const KIND: &'static str = "Namespace";

    fn who(&self) -> Who {
        self.metadata.who()
    }
}

impl Watched for ServiceObject {
    const KIND: &'static str = "Service";

    fn who(&self) -> Who {
        self.metadata.who()
    }
}

impl Watched for SliceObject {
    const KIND: &'static str = "EndpointSlice";

    fn who(&self) -> Who {
        self.metadata.who()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_only_what_counts() {
        let slice: SliceObject = serde_json::from_value(serde_json::json!({
            "metadata": {
                "name": "db-x", "namespace": "shop", "resourceVersion": "7",
                "managedFields": [{"manager": "m"}],
                "labels": {SERVICE_LABEL: "db", "k8s-app": "kube-dns", "other": "x"},
                "annotations": {
                    "endpoints.kubernetes.io/last-change-trigger-time": "2026-11-22T10:00:00Z",
                    "big": "y",
                },
            },
            "addressType": "IPv4", "endpoints": null,
        }))
        .unwrap();
        let labels = slice.metadata.labels.unwrap();
        assert_eq!(labels.service.as_deref(), Some("db"));
        assert_eq!(labels.app.as_deref(), Some("kube-dns"));
        let trigger = slice.metadata.annotations.unwrap().trigger;
        assert_eq!(trigger.as_deref(), Some("2026-11-22T10:00:00Z"));
        assert!(slice.endpoints.is_none());
    }

    #[test]
    fn a_wrong_type_is_an_error_and_not_a_default() {
        let service = serde_json::json!({"metadata": {"name": "a"}, "spec": {"ports": 7}});
        serde_json::from_value::<ServiceObject>(service).unwrap_err();
    }
}

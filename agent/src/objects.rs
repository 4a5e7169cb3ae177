//! Slim Kubernetes objects: what the zone needs of a Service, an EndpointSlice and a Namespace,
//! and nothing else. A relist peak is made of the fields that are decoded, so `managedFields` and
//! all labels and annotations but three are skipped while parsing.

use crate::model::servers;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use std::collections::BTreeMap;

/// The label by which a slice names its service.
pub const SERVICE_LABEL: &str = "kubernetes.io/service-name";

/// The annotation with the time of the change that a slice was written for (RFC 3339).
pub const TRIGGER_ANNOTATION: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// A v1 Service.
#[derive(Clone, Debug, Deserialize)]
pub struct ServiceObject {
    /// Name, namespace, resource version.
    #[serde(deserialize_with = "slim_metadata")]
    pub metadata: ObjectMeta,
    /// What is served.
    #[serde(default)]
    pub spec: Option<ServiceSpec>,
}

/// `Service.spec`; absent and null fields alike are `None`.
#[derive(Clone, Debug, Default, Deserialize)]
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
#[derive(Clone, Debug, Default, Deserialize)]
pub struct PortObject {
    /// Absent or empty: no SRV name.
    pub name: Option<String>,
    /// `TCP` (default), `UDP` or `SCTP`.
    pub protocol: Option<String>,
    /// Absent in a slice: all ports.
    pub port: Option<i64>,
}

/// A discovery.k8s.io/v1 EndpointSlice.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SliceObject {
    /// Name, namespace, resource version, the service's label and the trigger time.
    #[serde(deserialize_with = "slim_metadata")]
    pub metadata: ObjectMeta,
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
#[derive(Clone, Debug, Default, Deserialize)]
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
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ConditionsObject {
    /// Absent means ready.
    pub ready: Option<bool>,
}

/// A v1 Namespace; its name and its labels are all that counts.
#[derive(Clone, Debug, Deserialize)]
pub struct NamespaceObject {
    /// Name and labels.
    pub metadata: ObjectMeta,
}

/// An object as a watch brings it.
pub trait Watched: DeserializeOwned {
    /// As messages call it.
    const KIND: &'static str;

    /// Its name, namespace and resource version.
    fn metadata(&self) -> &ObjectMeta;
}

impl Watched for NamespaceObject {
    const KIND: &'static str = "Namespace";

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl Watched for ServiceObject {
    const KIND: &'static str = "Service";

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

impl Watched for SliceObject {
    const KIND: &'static str = "EndpointSlice";

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }
}

/// The metadata that is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SlimMetadata {
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
    labels: Option<SlimLabels>,
    annotations: Option<SlimAnnotations>,
}

/// The two labels that are read.
#[derive(Deserialize)]
struct SlimLabels {
    #[serde(rename = "kubernetes.io/service-name")]
    service: Option<String>,
    #[serde(rename = "k8s-app")]
    app: Option<String>,
}

/// The one annotation that is read.
#[derive(Deserialize)]
struct SlimAnnotations {
    #[serde(rename = "endpoints.kubernetes.io/last-change-trigger-time")]
    trigger: Option<String>,
}

/// Decodes what counts of the metadata.
fn slim_metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let slim = SlimMetadata::deserialize(deserializer)?;
    let labels = slim.labels.into_iter().flat_map(|labels| {
        let service = labels.service.map(|value| (SERVICE_LABEL, value));
        let app = labels.app.map(|value| (servers::LABEL.0, value));
        service.into_iter().chain(app)
    });
    let labels: BTreeMap<_, _> = labels.map(|(key, value)| (key.to_owned(), value)).collect();
    let trigger = slim.annotations.and_then(|notes| notes.trigger);
    Ok(ObjectMeta {
        name: slim.name,
        namespace: slim.namespace,
        resource_version: slim.resource_version,
        labels: (!labels.is_empty()).then_some(labels),
        annotations: trigger.map(|value| BTreeMap::from([(TRIGGER_ANNOTATION.to_owned(), value)])),
        ..ObjectMeta::default()
    })
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
                "labels": {SERVICE_LABEL: "db", servers::LABEL.0: "kube-dns", "other": "x"},
                "annotations": {TRIGGER_ANNOTATION: "2026-11-22T10:00:00Z", "big": "y"},
            },
            "addressType": "IPv4", "endpoints": null,
        }))
        .unwrap();
        assert_eq!(slice.metadata.labels.unwrap().len(), 2);
        assert_eq!(slice.metadata.annotations.unwrap().len(), 1);
        assert!(slice.metadata.managed_fields.is_none());
        assert!(slice.endpoints.is_none());
    }

    #[test]
    fn a_wrong_type_is_an_error_and_not_a_default() {
        let service = serde_json::json!({"metadata": {"name": "a"}, "spec": {"ports": 7}});
        serde_json::from_value::<ServiceObject>(service).unwrap_err();
    }
}

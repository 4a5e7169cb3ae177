//! The fields of objects, in the order in which an API server writes them.

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;
use std::net::Ipv4Addr;

/// An object of any kind; what others have is left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Object {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) api_version: Option<&'static str>,
    pub(super) metadata: Metadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) spec: Option<Spec>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) address_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) endpoints: Option<Vec<EndpointText>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ports: Option<[SlicePort; 2]>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "raw")]
    pub(super) status: Option<&'static str>,
}

/// JSON that is there already.
fn raw<S: Serializer>(text: &Option<&'static str>, serializer: S) -> Result<S::Ok, S::Error> {
    let value: Option<&RawValue> = text.and_then(|text| serde_json::from_str(text).ok());
    value.serialize(serializer)
}

/// What every object has.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) generate_name: Option<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) namespace: String,
    pub(super) uid: String,
    pub(super) resource_version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) generation: Option<u32>,
    pub(super) creation_timestamp: String,
    pub(super) labels: Map,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) annotations: Option<Map>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) owner_references: Option<[Owner; 1]>,
    pub(super) managed_fields: [Managed; 1],
}

/// Whose object it is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Owner {
    pub(super) api_version: &'static str,
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) uid: String,
    pub(super) controller: bool,
    pub(super) block_owner_deletion: bool,
}

/// Who wrote which fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Managed {
    pub(super) manager: &'static str,
    pub(super) operation: &'static str,
    pub(super) api_version: &'static str,
    pub(super) time: String,
    pub(super) fields_type: &'static str,
    pub(super) fields_v1: Box<RawValue>,
}

/// What a service is to be.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Spec {
    pub(super) ports: [ServicePort; 2],
    pub(super) selector: Map,
    #[serde(rename = "clusterIP")]
    pub(super) cluster_ip: String,
    #[serde(rename = "clusterIPs")]
    pub(super) cluster_ips: [String; 1],
    pub(super) r#type: &'static str,
    pub(super) session_affinity: &'static str,
    pub(super) ip_families: [&'static str; 1],
    pub(super) ip_family_policy: &'static str,
    pub(super) internal_traffic_policy: &'static str,
}

/// A port of a service.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServicePort {
    pub(super) name: &'static str,
    pub(super) protocol: &'static str,
    pub(super) port: u16,
    pub(super) target_port: u16,
}

/// A port of a slice.
#[derive(Serialize)]
pub(super) struct SlicePort {
    pub(super) name: &'static str,
    pub(super) protocol: &'static str,
    pub(super) port: u16,
}

/// An entry of `endpoints`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndpointText {
    pub(super) addresses: [Ipv4Addr; 1],
    pub(super) conditions: Conditions,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hostname: Option<String>,
    pub(super) target_ref: Target,
    pub(super) node_name: String,
    pub(super) zone: &'static str,
}

/// Whether it is to be used.
#[derive(Serialize)]
pub(super) struct Conditions {
    pub(super) ready: bool,
    pub(super) serving: bool,
    pub(super) terminating: bool,
}

/// The pod behind it.
#[derive(Serialize)]
pub(super) struct Target {
    pub(super) kind: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) uid: String,
}

/// Keys and values, in order.
pub(super) struct Map(pub(super) Vec<(&'static str, String)>);

impl Serialize for Map {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

//! Objects as an API server writes them: the fields, their order and their size are those of Kubernetes 1.37's.

mod text;

use super::{Cluster, Endpoint, Kind};
use jiff::Timestamp;
use serde_json::{Value, value::RawValue};
use text::{
    Conditions, EndpointText, Managed, Map, Metadata, Object, Owner, ServicePort, SlicePort, Spec,
    Target,
};

/// When everything that is there at the beginning was made: 2026-01-01, in milliseconds.
const BEGINNING: u64 = 1_767_225_600_000;

/// Nodes that pods are on.
const NODES: u64 = 5_000;

/// What is written in the place of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// An item of a list, whose kind the list has.
    Item,
    /// An object by itself, as events have it.
    Whole,
    /// Its metadata only, which says what it is also in a list.
    Metadata,
}

/// What an API server knows of an object besides what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// How often it was changed.
    pub generation: u32,
    /// Its resourceVersion.
    pub version: u64,
    /// When it was changed, in milliseconds of Unix time; 0: before all.
    pub changed: u64,
}

impl Cluster {
    /// Appends an object's text.
    pub fn write(&self, kind: Kind, index: usize, stamp: Stamp, form: Form, text: &mut Vec<u8>) {
        let metadata = self.metadata(kind, index, stamp);
        let head = (form != Form::Item).then_some(match (form, kind) {
            (Form::Metadata, _) => ("PartialObjectMetadata", "meta.k8s.io/v1"),
            (_, Kind::Namespaces) => ("Namespace", "v1"),
            (_, Kind::Services) => ("Service", "v1"),
            (_, Kind::Slices) => ("EndpointSlice", "discovery.k8s.io/v1"),
        });
        let whole = form != Form::Metadata;
        let slice = (whole && kind == Kind::Slices)
            .then(|| self.endpoint_texts(index, stamp.generation, &metadata.namespace));
        let object = Object {
            kind: head.map(|head| head.0),
            api_version: head.map(|head| head.1),
            spec: (whole && kind == Kind::Services).then(|| self.spec(index)),
            address_type: slice.is_some().then_some("IPv4"),
            ports: slice.is_some().then(|| {
                PORTS.map(|(name, _, port)| SlicePort {
                    name,
                    protocol: "TCP",
                    port,
                })
            }),
            endpoints: slice,
            status: match kind {
                Kind::Namespaces if whole => Some(r#"{"phase":"Active"}"#),
                Kind::Services if whole => Some(r#"{"loadBalancer":{}}"#),
                _ => None,
            },
            metadata,
        };
        serde_json::to_writer(text, &object).expect("it is text, and memory is there");
    }

    /// An object as a client sends it to a real API server: without what only the server can give, and without what
    /// would make controllers remove or write slices: owners, and a service's selector.
    pub fn request(&self, kind: Kind, index: usize, stamp: Stamp) -> Value {
        let mut text = Vec::new();
        self.write(kind, index, stamp, Form::Whole, &mut text);
        let mut object: Value = serde_json::from_slice(&text).expect("it was written as JSON");
        let metadata = object["metadata"].as_object_mut();
        let metadata = metadata.expect("every object has metadata");
        for given in [
            "uid",
            "resourceVersion",
            "creationTimestamp",
            "generation",
            "managedFields",
            "ownerReferences",
        ] {
            metadata.remove(given);
        }
        if kind == Kind::Services {
            object["spec"]["selector"] = Value::Null;
        }
        object
    }

    fn metadata(&self, kind: Kind, index: usize, stamp: Stamp) -> Metadata {
        let service = match kind {
            Kind::Namespaces => None,
            Kind::Services => Some(index),
            Kind::Slices => Some(self.service_of(index).0),
        };
        let namespace = service.map(|service| self.namespace(self.namespace_of(service)));
        let namespace = namespace.unwrap_or_default();
        let name = match kind {
            Kind::Namespaces => self.namespace(index),
            Kind::Services => self.service(index),
            Kind::Slices => self.slice_name(index),
        };
        let is_slice = kind == Kind::Slices;
        let owner = service.filter(|_| is_slice);
        let changed = if stamp.changed == 0 {
            BEGINNING
        } else {
            stamp.changed
        };
        Metadata {
            generate_name: owner.map(|service| format!("{}-", self.service(service))),
            uid: self.uid(&[kind as u64, index as u64]),
            resource_version: stamp.version.to_string(),
            generation: is_slice.then_some(stamp.generation + 1),
            creation_timestamp: time(BEGINNING / 1_000 * 1_000),
            labels: Map(self.labels(kind, index)),
            annotations: match kind {
                Kind::Namespaces => None,
                Kind::Services => Some(Map(vec![
                    ("meta.helm.sh/release-name", name.clone()),
                    ("meta.helm.sh/release-namespace", namespace.clone()),
                ])),
                Kind::Slices => Some(Map(vec![(
                    "endpoints.kubernetes.io/last-change-trigger-time",
                    time(changed),
                )])),
            },
            owner_references: owner.map(|service| {
                [Owner {
                    api_version: "v1",
                    kind: "Service",
                    name: self.service(service),
                    uid: self.uid(&[Kind::Services as u64, service as u64]),
                    controller: true,
                    block_owner_deletion: true,
                }]
            }),
            managed_fields: [self.managed(kind, index, time(changed / 1_000 * 1_000))],
            name,
            namespace,
        }
    }

    fn managed(&self, kind: Kind, index: usize, time: String) -> Managed {
        let (manager, api_version, fields) = match kind {
            Kind::Namespaces => ("helm", "v1", NAMESPACE_FIELDS.to_owned()),
            Kind::Services => ("helm", "v1", SERVICE_FIELDS.to_owned()),
            Kind::Slices => {
                let service = self.service_of(index).0;
                let uid = self.uid(&[Kind::Services as u64, service as u64]);
                let headless = match self.is_headless(service) {
                    true => r#","f:service.kubernetes.io/headless":{}"#,
                    false => "",
                };
                let fields = SLICE_FIELDS
                    .replace("UID", &uid)
                    .replace("HEADLESS", headless);
                ("kube-controller-manager", "discovery.k8s.io/v1", fields)
            }
        };
        Managed {
            manager,
            operation: "Update",
            api_version,
            time,
            fields_type: "FieldsV1",
            fields_v1: RawValue::from_string(fields).expect("JSON"),
        }
    }

    fn spec(&self, service: usize) -> Spec {
        let headless = self.is_headless(service);
        let address = match headless {
            true => "None".to_owned(),
            false => self.cluster_ip(service).to_string(),
        };
        Spec {
            ports: PORTS.map(|(name, port, target_port)| ServicePort {
                name,
                protocol: "TCP",
                port,
                target_port,
            }),
            selector: Map(vec![
                ("app.kubernetes.io/instance", self.service(service)),
                ("app.kubernetes.io/name", "server".to_owned()),
            ]),
            cluster_ip: address.clone(),
            cluster_ips: [address],
            r#type: "ClusterIP",
            session_affinity: "None",
            ip_families: ["IPv4"],
            ip_family_policy: "SingleStack",
            internal_traffic_policy: "Cluster",
        }
    }

    fn endpoint_texts(&self, slice: usize, generation: u32, namespace: &str) -> Vec<EndpointText> {
        let service = self.service_of(slice).0;
        let all = self.endpoints(slice, generation).into_iter();
        all.map(|endpoint| self.endpoint(service, endpoint, namespace))
            .collect()
    }

    fn endpoint(&self, service: usize, endpoint: Endpoint, namespace: &str) -> EndpointText {
        let pod = [
            service as u64,
            endpoint.ordinal as u64,
            endpoint.replaced.into(),
        ];
        let chance = self.chance(&pod);
        let node = chance % NODES;
        let name = match &endpoint.hostname {
            Some(hostname) => hostname.clone(),
            None => format!(
                "{}-{}-{}",
                self.service(service),
                letters(self.chance(&[service as u64]), 9),
                letters(chance, 5)
            ),
        };
        EndpointText {
            addresses: [endpoint.address],
            conditions: Conditions {
                ready: endpoint.ready,
                serving: endpoint.ready,
                terminating: false,
            },
            hostname: endpoint.hostname,
            target_ref: Target {
                kind: "Pod",
                namespace: namespace.to_owned(),
                name,
                uid: self.uid(&pod),
            },
            node_name: format!("node-{node:04}"),
            zone: ["region-1a", "region-1b", "region-1c"][(node % 3) as usize],
        }
    }

    /// The controller's name for a slice; those of a service are in the order of its endpoints.
    fn slice_name(&self, slice: usize) -> String {
        let (service, part) = self.service_of(slice);
        let first = letters((part / LETTERS.len()) as u64, 1);
        let second = letters((part % LETTERS.len()) as u64, 1);
        let rest = letters(self.chance(&[service as u64, part as u64]), 3);
        format!("{}-{first}{second}{rest}", self.service(service))
    }

    fn uid(&self, of: &[u64]) -> String {
        let high = self.chance(of);
        let low = self.chance(&[high]);
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }
}

/// Name, port, and the pods' port, of every service.
const PORTS: [(&str, u16, u16); 2] = [("http", 80, 8080), ("metrics", 9090, 9090)];

/// Letters of generated names, in order.
const LETTERS: &[u8] = b"2456789bcdfghjklmnpqrstvwxz";

/// What Helm wrote of a namespace.
const NAMESPACE_FIELDS: &str =
    r#"{"f:metadata":{"f:labels":{".":{},"f:kubernetes.io/metadata.name":{}}}}"#;

/// What Helm wrote of a service.
const SERVICE_FIELDS: &str = r#"{"f:metadata":{"f:annotations":{".":{},"f:meta.helm.sh/release-name":{},"f:meta.helm.sh/release-namespace":{}},"f:labels":{".":{},"f:app.kubernetes.io/instance":{},"f:app.kubernetes.io/managed-by":{},"f:app.kubernetes.io/name":{}}},"f:spec":{"f:internalTrafficPolicy":{},"f:ports":{".":{},"k:{\"port\":80,\"protocol\":\"TCP\"}":{".":{},"f:name":{},"f:port":{},"f:protocol":{},"f:targetPort":{}},"k:{\"port\":9090,\"protocol\":\"TCP\"}":{".":{},"f:name":{},"f:port":{},"f:protocol":{},"f:targetPort":{}}},"f:selector":{},"f:sessionAffinity":{},"f:type":{}}}"#;

/// What the controller wrote of a slice.
const SLICE_FIELDS: &str = r#"{"f:addressType":{},"f:endpoints":{},"f:metadata":{"f:annotations":{".":{},"f:endpoints.kubernetes.io/last-change-trigger-time":{}},"f:generateName":{},"f:labels":{".":{},"f:app.kubernetes.io/instance":{},"f:app.kubernetes.io/managed-by":{},"f:app.kubernetes.io/name":{},"f:endpointslice.kubernetes.io/managed-by":{},"f:kubernetes.io/service-name":{}HEADLESS},"f:ownerReferences":{".":{},"k:{\"uid\":\"UID\"}":{}}},"f:ports":{}}"#;

/// A generated name's letters.
fn letters(mut chance: u64, count: usize) -> String {
    let all = LETTERS.len() as u64;
    let mut name = String::new();
    for _ in 0..count {
        name.push(LETTERS[(chance % all) as usize] as char);
        chance /= all;
    }
    name
}

/// RFC 3339, in UTC.
fn time(milliseconds: u64) -> String {
    let time = i64::try_from(milliseconds).map(Timestamp::from_millisecond);
    time.expect("a time").expect("of this age").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::Shape;

    fn text(kind: Kind, index: usize, generation: u32, form: Form) -> Value {
        let cluster = Cluster::new(Shape::of(100));
        let mut text = Vec::new();
        let stamp = Stamp {
            generation,
            version: 7,
            changed: 1_800_000_000_123,
        };
        cluster.write(kind, index, stamp, form, &mut text);
        let mut again = Vec::new();
        cluster.write(kind, index, stamp, form, &mut again);
        assert_eq!(text, again);
        serde_json::from_slice(&text).unwrap()
    }

    #[test]
    fn slices_are_as_the_controller_writes_them() {
        // The large service: the second part of its endpoints.
        let slice = text(Kind::Slices, 5, 1, Form::Whole);
        assert_eq!(slice["kind"], "EndpointSlice");
        let metadata = &slice["metadata"];
        assert_eq!(metadata["generateName"], "service-000004-");
        assert_eq!(metadata["resourceVersion"], "7");
        assert_eq!(metadata["labels"]["service.kubernetes.io/headless"], "");
        assert_eq!(
            metadata["labels"]["kubernetes.io/service-name"],
            "service-000004"
        );
        let trigger = "endpoints.kubernetes.io/last-change-trigger-time";
        assert_eq!(metadata["annotations"][trigger], "2027-01-15T08:00:00.123Z");
        let endpoints = slice["endpoints"].as_array().unwrap();
        assert_eq!(endpoints.len(), 100);
        assert_eq!(endpoints[0]["hostname"], "service-000004-100");
        assert_eq!(endpoints[0]["conditions"]["ready"], false);
        assert_eq!(endpoints[1]["conditions"]["ready"], true);
        assert_eq!(slice["ports"][0]["port"], 8080);
        let service = text(Kind::Services, 4, 0, Form::Whole);
        assert_eq!(
            metadata["ownerReferences"][0]["uid"],
            service["metadata"]["uid"]
        );
        assert_eq!(service["spec"]["clusterIP"], "None");
    }

    #[test]
    fn requests_hold_nothing_that_a_server_gives() {
        let cluster = Cluster::new(Shape::of(100));
        for (kind, index) in [
            (Kind::Namespaces, 1),
            (Kind::Services, 3),
            (Kind::Slices, 4),
        ] {
            let request = cluster.request(kind, index, Stamp::default());
            let whole = text(kind, index, 0, Form::Whole);
            assert_eq!(request["metadata"]["name"], whole["metadata"]["name"]);
            assert_eq!(request["endpoints"], whole["endpoints"]);
            for given in ["uid", "resourceVersion", "managedFields", "ownerReferences"] {
                assert!(
                    request["metadata"].get(given).is_none(),
                    "{kind:?}: {given}"
                );
            }
            assert!(request["spec"]["selector"].is_null());
            // By these an agent chooses its slices.
            assert_eq!(request["metadata"]["labels"], whole["metadata"]["labels"]);
        }
    }

    #[test]
    fn items_leave_their_kind_to_the_list() {
        let item = text(Kind::Services, 0, 0, Form::Item);
        assert_eq!(item["kind"], Value::Null);
        assert_eq!(item["spec"]["clusterIPs"][0], "10.96.0.10");
        assert_eq!(item["metadata"]["namespace"], "kube-system");
        assert_eq!(item["metadata"]["labels"]["k8s-app"], "kube-dns");
        let partial = text(Kind::Namespaces, 1, 0, Form::Metadata);
        assert_eq!(partial["kind"], "PartialObjectMetadata");
        assert_eq!(partial["metadata"]["name"], "team-00000");
        assert_eq!(partial["status"], Value::Null);
    }
}

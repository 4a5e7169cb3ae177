//! The cluster's zone, and what the libraries in other processes do with it.

use super::text::{Name, ObjectName, Period, Selector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The cluster's zone: CoreDNS's options of its `kubernetes` plugin under their names, and ours.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kubernetes {
    /// The zone's apex; a change counts from the next start
    pub cluster_domain: Name,
    /// What names such as 10-1-2-3.NAMESPACE.pod answer
    pub pods: Pods,
    /// Only these namespaces are served, the others do not exist; empty: all
    pub namespaces: Vec<String>,
    /// Only namespaces with these labels are served; not together with `namespaces`
    pub namespace_labels: Option<Selector>,
    /// Only services and endpoint slices with these labels are served
    pub labels: Option<Selector>,
    /// A ClusterIP service without a ready endpoint does not exist; needs `endpoint_slices: all`
    pub ignore_empty_service: bool,
    /// Time to live of every answer, in seconds
    #[schemars(range(max = 3600))]
    pub ttl: u32,
    /// What a service answers that is absent from a namespace that exists
    pub miss_policy: MissPolicy,
    /// Which endpoint slices are watched; `all` also holds endpoint names of ClusterIP services
    pub endpoint_slices: EndpointSlices,
    /// Names at or below these are left to DNS
    pub except: Vec<Name>,
    /// Further addresses of the cluster's name servers, such as a node-local cache's
    pub cluster_dns: Vec<IpAddr>,
    /// The Service whose addresses are the cluster's name servers; absent: found by itself
    pub cluster_dns_service: Option<ObjectName>,
    /// An address without a name in the zone has none, instead of asking DNS
    pub ptr_authoritative: bool,
    /// For how long an endpoint stays that left its slice without turning up elsewhere
    pub endpoint_grace: Period,
}

impl Default for Kubernetes {
    fn default() -> Self {
        Self {
            cluster_domain: Name::literal("cluster.local"),
            pods: Pods::default(),
            namespaces: Vec::new(),
            namespace_labels: None,
            labels: None,
            ignore_empty_service: false,
            ttl: 5,
            miss_policy: MissPolicy::default(),
            endpoint_slices: EndpointSlices::default(),
            except: Vec::new(),
            cluster_dns: Vec::new(),
            cluster_dns_service: None,
            ptr_authoritative: false,
            endpoint_grace: Period::millis(500),
        }
    }
}

/// What the libraries in other processes do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Processes {
    /// Serve processes whatever name servers their resolv.conf has: for laptops
    pub accept_any_nameserver: bool,
    /// The share of processes that must pass, in thousandths: to ramp up and down
    #[schemars(range(max = 1000))]
    pub disabled_permille: u16,
    /// Builds of the libraries that must pass, by their numbers
    pub refuse_builds: Vec<u64>,
    /// Seconds without a beat of the agent after which absent names are left to DNS
    pub stale_after: u32,
    /// Seconds without a beat of the agent after which every name is left to DNS
    pub dead_after: u32,
}

impl Default for Processes {
    fn default() -> Self {
        Self {
            accept_any_nameserver: false,
            disabled_permille: 0,
            refuse_builds: Vec::new(),
            stale_after: 30,
            dead_after: 300,
        }
    }
}

/// Names of pods.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Pods {
    /// They do not exist
    Disabled,
    /// The address that the name spells, when the namespace exists
    #[default]
    Insecure,
    /// DNS is asked: pods are not watched
    Verified,
}

/// Services that are absent from a namespace that exists.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum MissPolicy {
    /// Leave it to DNS
    #[default]
    Ask,
    /// It does not exist
    Nxdomain,
}

/// Which endpoint slices are watched.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum EndpointSlices {
    /// Those that DNS answers need
    #[default]
    Headless,
    /// All
    All,
}

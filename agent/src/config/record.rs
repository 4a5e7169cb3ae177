//! The configuration as processes see it: the CONFIG record of one class's zone.

use super::{
    Class, Config, EndpointSlices, External, GuardMode, Match, MissPolicy, Name, Pods, Rewrite,
};
use nss_k8s_zone::{Address, Matching, Rule};
use std::net::IpAddr;

impl Config {
    /// What is published for pods of a class; the addresses of the cluster DNS Service are added
    /// once they are known. `guarded`: the namespaces that the guard found.
    pub fn record(&self, class: &Class, guarded: &[String]) -> nss_k8s_zone::Config {
        let external = class.external;
        let (kubernetes, processes) = (&self.kubernetes, &self.processes);
        let mut excepted: Vec<Name> = kubernetes.except.clone();
        // Names of pods are the one subtree that `verified` is about, and pods are not watched.
        if kubernetes.pods == Pods::Verified
            && let Ok(pods) = format!("pod.{}", kubernetes.cluster_domain).parse()
        {
            excepted.push(pods);
        }
        for rewrite in &self.rewrite {
            if let Match::Regex(pattern) = &rewrite.from {
                excepted.extend_from_slice(pattern.suffixes());
            }
        }
        // CoreDNS's `hosts` stands before its `kubernetes`: processes look for such names beside the zone.
        let fixed = self.hosts.iter().flat_map(|host| &host.names);
        excepted.extend(
            fixed
                .filter(|name| kubernetes.cluster_domain.holds(name.as_str()))
                .cloned(),
        );
        let block = self.block.iter().map(|name| Rule::Block {
            name: name.to_string(),
        });
        let guard = (self.tld_guard.mode == GuardMode::On && !guarded.is_empty()).then(|| {
            let namespaces = guarded.to_vec();
            Rule::Guard { namespaces }
        });
        nss_k8s_zone::Config {
            accept_any_nameserver: processes.accept_any_nameserver,
            ptr_authoritative: kubernetes.ptr_authoritative,
            endpoints_held: kubernetes.endpoint_slices == EndpointSlices::All,
            pod_mode: match kubernetes.pods {
                Pods::Disabled => nss_k8s_zone::PodMode::Disabled,
                Pods::Insecure | Pods::Verified => nss_k8s_zone::PodMode::Insecure,
            },
            miss_policy: match kubernetes.miss_policy {
                MissPolicy::Ask => nss_k8s_zone::MissPolicy::Ask,
                MissPolicy::Nxdomain => nss_k8s_zone::MissPolicy::NxDomain,
            },
            shadow: class.shadow,
            ttl: kubernetes.ttl,
            stale_after: processes.stale_after,
            dead_after: processes.dead_after,
            cluster_dns: kubernetes.cluster_dns.iter().map(address).collect(),
            disabled_permille: processes.disabled_permille,
            refused_builds: processes.refuse_builds.clone(),
            excepted_suffixes: excepted
                .iter()
                .map(|name| name.as_str().to_owned())
                .collect(),
            external: match external {
                External::Off => nss_k8s_zone::External::Off,
                External::Pod => nss_k8s_zone::External::Pod,
                External::Node => nss_k8s_zone::External::Node,
            },
            holds_external: crate::external::is_published(self, external),
            rules: self
                .rewrite
                .iter()
                .filter_map(rule)
                .chain(block)
                .chain(guard)
                .collect(),
        }
    }
}

/// A rule as processes apply it; they have no regular expressions.
fn rule(rewrite: &Rewrite) -> Option<Rule> {
    let (matching, from) = match &rewrite.from {
        Match::Exact(name) => (Matching::Exact, name.as_str()),
        Match::Prefix(text) => (Matching::Prefix, text.as_str()),
        Match::Suffix(text) => (Matching::Suffix, text.as_str()),
        Match::Regex(_) => return None,
    };
    Some(Rule::Rewrite {
        matching,
        from: from.to_owned(),
        to: rewrite.to.clone(),
        stop: !rewrite.continues,
    })
}

/// The zone's form of an address.
pub(crate) fn address(address: &IpAddr) -> Address {
    match address {
        IpAddr::V4(address) => Address::v4(address.octets()),
        IpAddr::V6(address) => Address::v6(address.octets()),
    }
}

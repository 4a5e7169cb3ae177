//! Where the cluster's name servers are: the Service that is configured, or those of the usual layouts.

use super::{Entry, Model, Source};
use nss_k8s_zone::{Address, ServiceBody, ServiceKey};

/// The namespace in which a label says that a Service is the cluster DNS.
const SYSTEM: &str = "kube-system";
/// The label, and its value.
pub const LABEL: (&str, &str) = ("k8s-app", "kube-dns");
/// Of NodeLocal DNSCache: it has the label, and is no name server of any pod.
const NODE_LOCAL_UPSTREAM: &str = "kube-dns-upstream";

/// Namespace and name: kubeadm and most others, RKE2.
const USUAL: [(&str, &str); 2] = [(SYSTEM, "kube-dns"), (SYSTEM, "rke2-coredns-rke2-coredns")];
/// OpenShift's. Elsewhere anybody may have made such a namespace: it counts where there is no other.
const OPENSHIFT: (&str, &str) = ("openshift-dns", "dns-default");

/// Whether a Service with this value of the label is found by itself.
pub fn is_found(namespace: &str, name: &str, label: &str) -> bool {
    let this = (namespace, name);
    USUAL.contains(&this) || this == OPENSHIFT || is_name_server(namespace, name, Some(label))
}

/// Whether the value of the label calls a Service the cluster DNS.
pub fn is_name_server(namespace: &str, name: &str, label: Option<&str>) -> bool {
    namespace == SYSTEM && label == Some(LABEL.1) && name != NODE_LOCAL_UPSTREAM
}

impl Model {
    /// The addresses of a Service, served or not; `None` while it may still turn up.
    pub fn addresses(&self, service: &ServiceKey) -> Option<Vec<Address>> {
        match self.services.get(service).and_then(Entry::body) {
            Some(ServiceBody::ClusterIp { addresses, .. }) => Some(addresses.clone()),
            _ => self.is_listed(Source::Services).then(Vec::new),
        }
    }

    /// The addresses of the cluster's name servers, as far as Services tell; `None` while one may
    /// still turn up.
    pub fn cluster_dns(&self) -> Option<Vec<Address>> {
        if let Some(service) = &self.settings.cluster_dns {
            return self.addresses(service);
        }
        if !self.is_listed(Source::Services) {
            return None;
        }
        let mut all = Vec::new();
        for addresses in self.found() {
            for address in addresses {
                if !all.contains(&address) {
                    all.push(address);
                }
            }
        }
        Some(all)
    }

    /// The addresses of one Service that answers external names: this one, else the first of the
    /// cluster's name servers. `None` while it may still turn up.
    pub fn upstream(&self, service: Option<&ServiceKey>) -> Option<Vec<Address>> {
        match service {
            Some(service) => self.addresses(service),
            None if !self.is_listed(Source::Services) => None,
            None => Some(self.found().into_iter().next().unwrap_or_default()),
        }
    }

    /// The addresses of each Service that is a cluster DNS by its name or label, the likeliest first.
    fn found(&self) -> Vec<Vec<Address>> {
        let of = |service: &ServiceKey| self.addresses(service).filter(|all| !all.is_empty());
        let named = |(namespace, name): (&str, &str)| of(&ServiceKey::new(name, namespace).ok()?);
        let usual = USUAL.into_iter().filter_map(named);
        let mut found: Vec<_> = usual
            .chain(self.name_servers.iter().filter_map(of))
            .collect();
        if found.is_empty() {
            found.extend(named(OPENSHIFT));
        }
        found
    }
}

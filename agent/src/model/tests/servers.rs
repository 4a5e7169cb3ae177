//! Which Services are the cluster's name servers.

use super::*;

#[test]
fn knows_the_cluster_dns_addresses_once_services_are_listed() {
    let service = |name, namespace, last| {
        Object::Service(ServiceKey::new(name, namespace).unwrap(), cluster_ip(last))
    };
    let mut rig = Rig::new(MapZone::default());
    rig.apply(service("kube-dns", "kube-system", 10));
    assert_eq!(rig.model.cluster_dns(), None, "there may be more");
    assert_eq!(rig.model.upstream(None), None);
    rig.list(
        Source::Services,
        [service("dns-default", "openshift-dns", 9)],
    );
    assert_eq!(rig.model.cluster_dns(), Some(vec![ip(9)]));
    // Where the usual Service is, a namespace that anybody may make counts for nothing.
    let rke2 = "rke2-coredns-rke2-coredns";
    rig.apply(service(rke2, "kube-system", 11));
    assert_eq!(rig.model.cluster_dns(), Some(vec![ip(11)]));
    rig.apply(service("kube-dns", "kube-system", 10));
    assert_eq!(rig.model.cluster_dns(), Some(vec![ip(10), ip(11)]));
    assert_eq!(rig.model.upstream(None), Some(vec![ip(10)]));
    rig.list(Source::Services, []);
    assert_eq!(rig.model.cluster_dns(), Some(Vec::new()));
}

#[test]
fn a_label_calls_a_service_the_cluster_dns() {
    let key = ServiceKey::new("coredns", "kube-system").unwrap();
    let mut rig = Rig::live();
    rig.apply(Object::NameServer(key.clone(), cluster_ip(10)));
    assert_eq!(rig.model.cluster_dns(), Some(vec![ip(10)]));
    assert_eq!(rig.zone.services.len(), 2, "it is a service all the same");
    rig.apply(Object::Service(key.clone(), cluster_ip(10)));
    assert_eq!(rig.model.cluster_dns(), Some(Vec::new()), "no more");
    rig.apply(Object::NameServer(key.clone(), cluster_ip(10)));
    rig.say(Source::Services, Event::Delete(ObjectKey::Service(key)));
    assert_eq!(rig.model.cluster_dns(), Some(Vec::new()));
}

#[test]
fn a_service_that_is_configured_is_the_only_one() {
    let dns = ServiceKey::new("dns", "dns").unwrap();
    let usual = ServiceKey::new("kube-dns", "kube-system").unwrap();
    let mut rig = Rig::of(
        Settings {
            cluster_dns: Some(dns.clone()),
            ..settings()
        },
        MapZone::default(),
    );
    rig.apply(Object::Service(usual.clone(), cluster_ip(9)));
    assert_eq!(rig.model.cluster_dns(), None);
    rig.apply(Object::Service(dns, cluster_ip(10)));
    assert_eq!(
        rig.model.cluster_dns(),
        Some(vec![ip(10)]),
        "known before the list's end"
    );
    assert_eq!(rig.model.upstream(Some(&usual)), Some(vec![ip(9)]));
}

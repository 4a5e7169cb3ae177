//! Tables of sound and unsound objects.

use super::*;
use serde_json::{Value, json};

fn read_service(spec: Value) -> Parsed {
    let object = json!({"metadata": {"name": "api", "namespace": "shop"}, "spec": spec});
    service(&serde_json::from_value(object).unwrap())
}

fn body(spec: Value) -> ServiceBody {
    match read_service(spec).verdict {
        Verdict::Sound(Object::Service(_, body)) => body,
        other => panic!("{other:?}"),
    }
}

fn why(parsed: Parsed) -> String {
    match parsed.verdict {
        Verdict::NotServed(_, why) | Verdict::Malformed(_, why) => why,
        Verdict::Sound(object) => panic!("{object:?}"),
    }
}

#[test]
fn reads_services_of_every_type() {
    let v6 = address("fd00::1").unwrap();
    let v4 = Address::v4([10, 0, 0, 1]);
    let addresses = |body| match body {
        ServiceBody::ClusterIp { addresses, .. } => addresses,
        other => panic!("{other:?}"),
    };
    assert_eq!(addresses(body(json!({"clusterIP": "10.0.0.1"}))), [v4]);
    let both = json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"]});
    assert_eq!(addresses(body(both)), [v4, v6]);
    let balanced = json!({"type": "LoadBalancer", "clusterIPs": ["fd00::1"]});
    assert_eq!(addresses(body(balanced)), [v6]);
    for headless in [
        json!({"clusterIP": "None"}),
        json!({"clusterIPs": ["None"]}),
    ] {
        assert!(matches!(body(headless), ServiceBody::Headless { .. }));
    }
    let external = json!({"type": "ExternalName", "externalName": "WWW.Example.COM."});
    assert_eq!(
        body(external),
        ServiceBody::External {
            target: "www.example.com".to_owned()
        }
    );
}

#[test]
fn says_why_a_service_is_not_served() {
    let long = "x".repeat(300);
    for (spec, expected) in [
        (json!({}), "it has no clusterIP (yet)"),
        (json!({"clusterIP": ""}), "it has no clusterIP (yet)"),
        (
            json!({"clusterIP": "10.0.0.256"}),
            "clusterIP 10.0.0.256: not an address",
        ),
        (
            json!({"type": "ExternalName", "externalName": "10.1.2.3"}),
            "externalName 10.1.2.3 is an address: no CNAME can point at it",
        ),
        (json!({"type": "ExternalName"}), "externalName : missing"),
        (
            json!({"type": "ExternalName", "externalName": "a..b"}),
            "a label has 1 to 63",
        ),
        (
            json!({"type": "ExternalName", "externalName": "a b"}),
            "' ' is not allowed",
        ),
        (
            json!({"type": "ExternalName", "externalName": long}),
            "300 characters",
        ),
    ] {
        let said = why(read_service(spec));
        assert!(
            said.contains(expected),
            "{said} does not contain {expected}"
        );
    }
}

#[test]
fn an_object_without_a_sound_name_is_named_as_far_as_possible() {
    let long = "y".repeat(300);
    for (metadata, expected) in [
        (
            json!({"namespace": "shop"}),
            "Service shop/: name: missing".to_owned(),
        ),
        (
            json!({"name": "a.b"}),
            "Service default/a.b: name: '.' is not".to_owned(),
        ),
        (json!({"name": "-a"}), "no dash at its ends".to_owned()),
        (json!({"name": "A"}), "'A' is not allowed".to_owned()),
        (
            json!({"name": long}),
            format!("{}...: name: 300 characters", "y".repeat(70)),
        ),
        (
            json!({"name": "a", "namespace": "b_c"}),
            "namespace: '_' is not".to_owned(),
        ),
    ] {
        let object = json!({"metadata": metadata, "spec": {"clusterIP": "10.0.0.1"}});
        let parsed = service(&serde_json::from_value(object).unwrap());
        assert_eq!(parsed.key(), None);
        let said = why(parsed);
        assert!(
            said.contains(&expected),
            "{said} does not contain {expected}"
        );
    }
}

#[test]
fn leaves_out_the_ports_that_cannot_be() {
    let parsed = read_service(json!({"clusterIP": "10.0.0.1", "ports": [
        {"name": "http", "port": 80},
        {"port": 81, "protocol": "UDP"},
        {"name": "zero", "port": 0},
        {"name": "odd", "port": 82, "protocol": "QUIC"},
        {"name": "No", "port": 83},
    ]}));
    assert_eq!(parsed.complaints.len(), 3, "{:?}", parsed.complaints);
    let Verdict::Sound(Object::Service(_, ServiceBody::ClusterIp { ports, .. })) = parsed.verdict
    else {
        panic!("not served")
    };
    let port = |name: &str, protocol, number| Port {
        name: name.to_owned(),
        protocol,
        number,
    };
    assert_eq!(
        ports,
        [port("http", Protocol::Tcp, 80), port("", Protocol::Udp, 81)]
    );
}

fn read_slice(fields: Value) -> Parsed {
    let mut object = json!({
        "metadata": {"name": "db-x", "namespace": "shop", "resourceVersion": "42",
            "labels": {SERVICE_LABEL: "db"},
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "1970-01-01T00:01:40.5Z"}},
        "addressType": "IPv4",
    });
    for (name, value) in fields.as_object().unwrap() {
        object[name] = value.clone();
    }
    slice(&serde_json::from_value(object).unwrap())
}

#[test]
fn reads_slices() {
    let parsed = read_slice(
        json!({"ports": [{"name": "sql", "port": 5432}, {"name": "any"}],
        "endpoints": [
            {"addresses": ["10.0.0.1"]},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": false}, "hostname": "db-1"},
            {"addresses": ["10.0.0.3"], "conditions": {}, "zone": "a"},
        ]}),
    );
    assert_eq!(parsed.complaints, [] as [&str; 0]);
    let Verdict::Sound(Object::Slice(of)) = parsed.verdict else {
        panic!("not served")
    };
    assert_eq!(
        (of.service.service(), of.service.namespace(), of.version),
        ("db", "shop", 42)
    );
    let at = SystemTime::UNIX_EPOCH + Duration::from_millis(100_500);
    assert_eq!(of.triggered, Some(at));
    let ready: Vec<_> = of
        .slice
        .endpoints
        .iter()
        .map(|endpoint| endpoint.ready)
        .collect();
    assert_eq!(
        ready,
        [true, false, true],
        "no word about readiness means ready"
    );
    assert_eq!(of.slice.endpoints[1].hostname.as_deref(), Some("db-1"));
    assert_eq!(of.slice.endpoints[2].topology_zone.as_deref(), Some("a"));
    assert_eq!(
        of.slice.ports.len(),
        1,
        "a port without a number is no SRV record"
    );
}

#[test]
fn leaves_out_the_endpoints_that_cannot_be() {
    let parsed = read_slice(json!({"endpoints": [
        {"addresses": ["10.0.0.1"]},
        {"addresses": ["ten"]},
        {"addresses": ["fd00::1"]},
        {"addresses": ["10.0.0.2"], "hostname": "a.b"},
        {"hostname": "nowhere"},
    ]}));
    assert_eq!(parsed.complaints.len(), 3, "{:?}", parsed.complaints);
    let Verdict::Sound(Object::Slice(of)) = parsed.verdict else {
        panic!("not served")
    };
    assert_eq!(of.slice.endpoints.len(), 2);
    assert_eq!(
        of.slice.endpoints[1].hostname, None,
        "the address is good without its name"
    );
}

#[test]
fn says_why_a_slice_is_not_served() {
    assert!(why(read_slice(json!({"addressType": "FQDN"}))).contains("FQDN"));
    assert!(why(read_slice(json!({"addressType": "IPX"}))).contains("IPX: unknown"));
    let orphan = json!({"metadata": {"name": "x"}});
    assert!(why(read_slice(orphan)).contains("no label"));
}

#[test]
fn excerpts_are_short_and_on_one_line() {
    assert_eq!(excerpt("a\nb"), "a\\nb");
    assert_eq!(excerpt(&"z".repeat(500)).len(), 73);
}

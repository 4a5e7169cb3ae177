//! docs/OPERATIONS.md and the agent's figures say the same.

#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program"
)]

#[path = "support/place.rs"]
mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};
use support::{Place, wait};

/// Figures that an agent shows only after something has happened that does not happen here, by the
/// beginnings of their names.
const AFTER_EVENTS: [&str; 14] = [
    "nss_k8s_driver_",
    "nss_k8s_objects_skipped",
    "nss_k8s_watch_errors",
    "nss_k8s_kubernetes_dns_programming_duration",
    "nss_k8s_watch_events",
    "nss_k8s_config_reloads",
    "nss_k8s_pods",
    "nss_k8s_forward_",
    "nss_k8s_cache_",
    "nss_k8s_socket_",
    "nss_k8s_external_",
    "nss_k8s_dns_",
    "nss_k8s_tld_",
    "nss_k8s_fanout_",
];

/// Every figure of a running agent has a row of its kind, and every row a figure, or a reason.
#[test]
fn every_figure_has_a_row() {
    let place = Place::new();
    place.write(
        "shop.yaml",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n",
    );
    let agent = place.agent(&[]);
    agent.wait_until_published();
    let address = agent.address();
    let mut shown = BTreeMap::new();
    wait("figures", || {
        shown = figures(&get(&address, "/metrics"));
        shown.contains_key("nss_k8s_zone_state")
    });
    let rows = rows();
    for (name, kind) in &shown {
        assert_eq!(rows.get(name), Some(kind), "the row of {name}");
    }
    let absent: BTreeSet<_> = rows
        .keys()
        .filter(|name| !shown.contains_key(*name))
        .collect();
    let unexplained: Vec<_> = absent
        .iter()
        .filter(|name| !AFTER_EVENTS.iter().any(|start| name.starts_with(start)))
        .collect();
    assert!(
        unexplained.is_empty(),
        "rows without a figure: {unexplained:?}"
    );
}

/// Every family that the code registers has a row, whether it is shown yet or not.
#[test]
fn every_family_has_a_row() {
    use nss_k8s_agent::{answer, external, fanout, forward, telemetry::Telemetry};
    let telemetry = Telemetry::new();
    telemetry.extend(|registry| {
        forward::Metrics::new().register(registry);
        external::Metrics::default().register(registry);
        answer::Metrics::default().register(registry);
    });
    fanout::register_figures(&telemetry);
    let rows = rows();
    for (name, kind) in figures(&telemetry.encode().unwrap()) {
        assert_eq!(rows.get(&name), Some(&kind), "the row of {name}");
    }
}

/// Name, as samples spell it, to kind, from an exposition.
fn figures(text: &str) -> BTreeMap<String, String> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types
        .filter_map(|line| line.split_once(' '))
        .map(|(name, kind)| {
            let end = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            (format!("{name}{end}"), kind.to_owned())
        })
        .collect()
}

/// The same from the table.
fn rows() -> BTreeMap<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/OPERATIONS.md");
    let text = fs::read_to_string(path).unwrap();
    let rows: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `nss_k8s_")?.split('|');
            let name = cells.next()?.trim().strip_suffix('`')?;
            Some((format!("nss_k8s_{name}"), cells.next()?.trim().to_owned()))
        })
        .collect();
    assert!(rows.len() > 30, "the table was not found");
    rows
}

/// The body of a page.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

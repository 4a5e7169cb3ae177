//! What is installed in a cluster, as far as it can be looked at without one and without Go: the rest is
//! `tests/manifests/run.sh` and `cluster/injection.rs`.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary std program; the ban is for the in-process crates"
)]

use anyhow::{Context, Result, ensure};
use nss_k8s_tests::artifacts::{self, repository};
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
};

/// The Kustomize base and its components were made from this chart.
#[test]
fn kustomize_is_made_from_the_chart() -> Result<()> {
    let script = repository().join("deploy/kustomize/generate.sh");
    let output = Command::new(&script).arg("--digest").output()?;
    ensure!(output.status.success(), "{output:?}");
    let kept = fs::read(repository().join("deploy/kustomize/chart.sha256"))?;
    ensure!(
        output.stdout == kept,
        "the chart has changed: run deploy/kustomize/generate.sh (HELM=helm's path)"
    );
    Ok(())
}

/// The chart's schema has the agent's in it, as it is.
#[test]
fn values_have_the_agents_schema() -> Result<()> {
    let agent = json("docs/config.schema.json")?;
    let chart = json("deploy/chart/values.schema.json")?;
    let again = "run deploy/chart/schema.sh";
    ensure!(chart["$defs"] == agent["$defs"], "{again}");
    let within = &chart["properties"]["config"];
    ensure!(within["properties"] == agent["properties"], "{again}");
    ensure!(within["additionalProperties"] == false, "{again}");
    Ok(())
}

/// One version: of the programs, the chart, and what it installs.
#[test]
fn versions_agree() -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let chart = text("deploy/chart/Chart.yaml")?;
    for field in ["version", "appVersion"] {
        let line = format!("\n{field}: {version}\n");
        ensure!(
            chart.contains(&line),
            "Chart.yaml's {field} is not {version}"
        );
    }
    let image = format!("image: nss-k8s:{version}\n");
    let installed = text("deploy/kustomize/base/daemonset.yaml")?;
    ensure!(installed.contains(&image), "the base has another image");
    Ok(())
}

/// The agent takes every configuration that the manifests give it.
#[test]
fn the_agent_takes_the_configurations() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for place in ["base", "components/listener", "components/openshift"] {
        let map = text(&format!("deploy/kustomize/{place}/config.yaml"))?;
        let (_, block) = map.split_once("  config.yaml: |\n").context("no file")?;
        let lines = block.lines().map(|line| line.strip_prefix("    "));
        let lines: Option<Vec<&str>> = lines.collect();
        let file = folder.path().join("config.yaml");
        fs::write(&file, lines.context("not indented")?.join("\n"))?;
        let output = Command::new(artifacts::agent()?)
            .args(["config", "check"])
            .arg(&file)
            .output()?;
        ensure!(output.status.success(), "{place}: {output:?}");
    }
    Ok(())
}

/// Alerts and dashboard name figures that the agent has (`operations::every_figure_has_a_row` says that the table
/// of docs/OPERATIONS.md is the agent's), or that others are known to have.
#[test]
fn figures_exist() -> Result<()> {
    let kinds = figures()?;
    let foreign = [
        "kube_daemonset_status_desired_number_scheduled",
        "kube_daemonset_status_number_ready",
        "coredns_dns_requests_total",
    ];
    let mut named = BTreeSet::new();
    let dashboard = json("deploy/chart/files/dashboard.json")?;
    for panel in dashboard["panels"].as_array().context("no panels")? {
        for target in panel["targets"].as_array().context("no targets")? {
            named.extend(metrics_of(target["expr"].as_str().context("no expr")?));
        }
    }
    ensure!(named.len() > 20, "the dashboard names only {named:?}");
    let alerts = text("deploy/chart/files/alerts.yaml")?;
    let expressions = alerts
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: "));
    named.extend(expressions.flat_map(metrics_of));
    for name in named {
        let parts = ["_bucket", "_sum", "_count"].iter();
        let whole = parts
            .filter_map(|part| name.strip_suffix(part))
            .find(|whole| kinds.get(*whole).is_some_and(|kind| kind == "histogram"));
        let exists = kinds.contains_key(whole.unwrap_or(&name));
        ensure!(
            exists || foreign.contains(&name.as_str()),
            "{name}: nobody has such a figure"
        );
    }
    Ok(())
}

/// Each alert has a row in docs/OPERATIONS.md, where its link leads.
#[test]
fn every_alert_has_a_runbook() -> Result<()> {
    let alerts = text("deploy/chart/files/alerts.yaml")?;
    let operations = text("docs/OPERATIONS.md")?;
    let all = |field: &str| -> Vec<&str> {
        let lines = alerts
            .lines()
            .map(|line| line.trim().trim_start_matches("- "));
        lines.filter_map(|line| line.strip_prefix(field)).collect()
    };
    let (names, links) = (all("alert: "), all("runbook_url: RUNBOOKS#"));
    ensure!(names.len() >= 9, "only {names:?}");
    ensure!(names.len() == links.len(), "an alert has no link");
    for (name, link) in names.iter().zip(links) {
        let row = format!("| <a id=\"{link}\"></a>`{name}` | ");
        ensure!(
            operations.lines().any(|line| line.starts_with(&row)),
            "{name} has no row in docs/OPERATIONS.md"
        );
        ensure!(link == name.to_lowercase(), "{name} links to {link}");
    }
    Ok(())
}

/// The table of figures: name to kind.
fn figures() -> Result<BTreeMap<String, String>> {
    let operations = text("docs/OPERATIONS.md")?;
    let rows = operations.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let name = cells.next()?.trim().strip_suffix('`')?;
        let kind = cells.next()?.trim();
        (name.starts_with("nss_k8s_")).then(|| (name.to_owned(), kind.to_owned()))
    });
    let rows: BTreeMap<_, _> = rows.collect();
    ensure!(rows.len() > 30, "the table was not found");
    Ok(rows)
}

/// What a PromQL expression reads: words with an underscore that are no label and no function.
fn metrics_of(expression: &str) -> Vec<String> {
    let words = expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| {
            ["nss_k8s_", "kube_", "coredns_"]
                .iter()
                .any(|start| word.starts_with(start))
        })
        .map(str::to_owned)
        .collect()
}

fn text(path: &str) -> Result<String> {
    fs::read_to_string(repository().join(path)).with_context(|| path.to_owned())
}

fn json(path: &str) -> Result<Value> {
    serde_json::from_str(&text(path)?).with_context(|| path.to_owned())
}

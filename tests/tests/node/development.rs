//! The chart's variant for development: no driver, the zone by hostPath.

use crate::{
    chart::{self, RELEASE},
    cluster,
};
use anyhow::{Result, ensure};
use nss_k8s_tests::artifacts;

/// The agent alone comes up and publishes the cluster's zone on the node.
#[test]
fn the_agent_alone_publishes_the_zone() -> Result<()> {
    let cluster = cluster::shared();
    let values = artifacts::repository().join("deploy/chart/values-development.yaml");
    chart::upgrade(&cluster, &["--values", &values.display().to_string()])?;
    let pods = cluster.list("pods", RELEASE, "app.kubernetes.io/name=nss-k8s")?;
    ensure!(pods.len() == 1, "{} pods", pods.len());
    let dump = chart::ask_agent(&cluster, &["dump"])?;
    ensure!(dump.contains("kubernetes.default.svc"), "{dump}");
    chart::upgrade(&cluster, &[])
}

//! The agent's verifier against the real CoreDNS, on the same objects.

use crate::{
    agent::{Agent, Directory},
    control_plane::{shared, until_within},
    coredns,
};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// Where CoreDNS is.
const COREDNS: &str = "10.244.0.10:53";
/// So many comparisons: of the shop's few dozen things each has its turn many times.
const ENOUGH: u64 = 1_000;

/// Names of every kind that the shop has are the same in both; a difference would be looked at again when
/// CoreDNS's cache is over.
#[test]
fn the_zone_and_coredns_say_the_same() -> Result<()> {
    let plane = shared();
    let directory = Directory::create()?;
    coredns::shared(&plane)?;
    let config = directory.path().join("config.yaml");
    std::fs::write(
        &config,
        format!(
            "kubernetes: {{miss_policy: nxdomain, endpoint_slices: all}}\n\
             classes: [{{name: default, external: off, shadow: true}}]\n\
             verify: {{interval: 1s, sample: 500, settle: 35s, servers: ['{COREDNS}']}}\n"
        ),
    )?;
    let agent = Agent::start(
        &plane,
        &directory,
        &[&format!("--config={}", config.display())],
    )?;
    let count = |result: &str| -> Result<u64> {
        let line = format!("nss_k8s_verify_total{{result=\"{result}\"}} ");
        let page = agent.page("/metrics")?;
        let value = page.lines().find_map(|it| it.strip_prefix(&line));
        Ok(value.context(line)?.parse()?)
    };
    until_within(Duration::from_secs(120), "names to be compared", || {
        Ok((count("same")? >= ENOUGH).then_some(()))
    })?;
    for result in ["different", "changing", "failed"] {
        let seen = count(result)?;
        ensure!(seen == 0, "{result}: {seen}: see the agent's log");
    }
    agent.stop()?;
    Ok(())
}

//! Minutes without an API server.

use crate::{
    chart, cluster,
    load::{self, Load},
    pods::{Image, Namespace},
};
use anyhow::{Result, ensure};
use nss_k8s_tests::process::until_within;
use std::time::{Duration, Instant};

/// For how long it is away.
const OUTAGE: Duration = Duration::from_secs(120);
/// How long news may take once it is back: several times the agent's pause between two tries while nobody answers, so
/// that only a watch that stays away fails here. What it took is printed.
const NEWS: Duration = Duration::from_secs(30);

/// Pods resolve cluster names without a packet all the while; what happens afterwards arrives.
#[test]
fn minutes_without_an_api_server_are_not_noticed() -> Result<()> {
    let cluster = cluster::shared();
    chart::installed(&cluster)?;
    let namespace = Namespace::injected(&cluster, "no-api")?;
    let inside = Load::cluster_names(&namespace, "inside", Image::Debian)?;
    let musl = Load::cluster_names(&namespace, "musl", Image::Musl)?;
    let outside = Load::outside_names(&namespace, "outside", Image::Debian)?;
    inside.expect_silence()?;

    cluster.plane.crash_server()?;
    let gone = Instant::now();
    // The length of the outage is what is tested; the load says that time passes.
    while gone.elapsed() < OUTAGE {
        inside.advance(100)?;
    }
    load::expect_silence([&inside, &musl])?;
    outside.expect_no_failure()?;
    ensure!(
        cluster.kubectl(&["get", "--raw", "/readyz"]).is_err(),
        "the API server was there"
    );
    cluster.plane.restart_server()?;

    let back = Instant::now();
    let address = namespace.service("afterwards")?;
    // Not in a pod whose packets are counted: a service that is not there yet is asked of DNS.
    until_within(NEWS, "the new service's name", || {
        let answer = outside
            .pod
            .exec(&["sh", "-c", "getent ahostsv4 afterwards || true"]);
        // The kubelet may still be finding its way back.
        Ok(answer
            .is_ok_and(|answer| answer.starts_with(&address))
            .then_some(()))
    })?;
    println!(
        "no API server: news {:.1?} after it was back",
        back.elapsed()
    );
    load::expect_silence([&inside, &musl])?;
    for load in [&inside, &musl] {
        println!("no API server: {:?}", load.count()?);
    }
    outside.expect_no_failure()?;
    chart::ready(&cluster)?;
    // Each watch comes back by itself; until the agent has a new namespace, its pods ask DNS.
    let next = Namespace::injected(&cluster, "api-again")?;
    until_within(NEWS, "the agent's word on a new namespace", || {
        let answer = chart::ask_agent(&cluster, &["query", "web", "--namespace=api-again"]);
        Ok(answer
            .is_ok_and(|answer| answer.contains(&next.web))
            .then_some(()))
    })?;
    println!(
        "no API server: a new namespace {:.1?} after it was back",
        back.elapsed()
    );
    next.delete()?;
    namespace.delete()
}

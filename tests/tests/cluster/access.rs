//! What the agent asks of the API server, and that it asks for nothing more.

use crate::{
    agent::{Agent, Directory},
    api::{Api, refusal},
    control_plane::{shared, until},
};
use anyhow::{Result, ensure};
use nss_k8s_tests::audit::{self, Request};
use serde_json::json;
use std::env;

/// All that the agent may do; its ClusterRole grants exactly this.
const RIGHTS: [&str; 3] = [
    "/services",
    "/namespaces",
    "discovery.k8s.io/endpointslices",
];

/// The rights granted are the least that work: with them the agent becomes ready, and by the API
/// server's own record it used each of them and asked for nothing else.
#[test]
fn agent_needs_list_and_watch_on_three_resources_only() -> Result<()> {
    let plane = shared();
    let denied = |path: &str| refused(&plane.agent, path);
    for path in [
        "/api/v1/pods",
        "/api/v1/secrets",
        "/api/v1/configmaps",
        "/api/v1/nodes",
        "/api/v1/namespaces/kube-system/services/kube-dns",
        "/api/v1/namespaces/kube-system",
    ] {
        ensure!(denied(path), "{path} can be read with the agent's rights");
    }
    let attempt = plane
        .agent
        .try_create("/api/v1/namespaces", &json!({"metadata": {"name": "own"}}));
    ensure!(
        attempt.as_ref().err().and_then(refusal) == Some(403),
        "the agent's rights made a namespace"
    );
    plane.agent.get("/api/v1/services?limit=1")?;

    let before = audit::requests(&plane.audit_log())?.len();
    let directory = Directory::create()?;
    let agent = Agent::start(&plane, &directory, &[])?;
    let asked = until("a watch of every resource", || {
        let asked = audit::requests(&plane.audit_log())?.split_off(before);
        let watched = |right: &&str| {
            asked
                .iter()
                .any(|one| one.verb == "watch" && one.resource == **right)
        };
        Ok(RIGHTS.iter().all(watched).then_some(asked))
    })?;
    let beyond: Vec<&Request> = asked
        .iter()
        .filter(|one| {
            !matches!(one.verb.as_str(), "list" | "watch")
                || !RIGHTS.contains(&one.resource.as_str())
                || one.status == 403
        })
        .collect();
    ensure!(
        beyond.is_empty(),
        "the agent asked for more than it needs: {beyond:?}"
    );
    ensure!(agent.stop()?.success(), "an orderly stop is a success");
    println!(
        "access: {} requests, all list or watch of {RIGHTS:?}",
        asked.len()
    );
    Ok(())
}

/// Streaming lists where the storage behind the API server can do them, paged lists for good
/// where it cannot.
#[test]
fn lists_are_of_the_kind_that_the_storage_supports() -> Result<()> {
    let plane = shared();
    let before = audit::requests(&plane.audit_log())?.len();
    let directory = Directory::create()?;
    let agent = Agent::start(&plane, &directory, &[])?;
    let asked = audit::requests(&plane.audit_log())?.split_off(before);
    let streams = asked.iter().filter(|one| one.is_streaming_list()).count();
    let lists = asked.iter().filter(|one| one.verb == "list").count();
    let pages = asked
        .iter()
        .filter(|one| one.verb == "list" && one.uri.contains("limit=") && one.status == 200)
        .count();
    println!("lists: {streams} streams tried, {lists} lists, {pages} of them paged");
    // Two kinds of slices, services, namespaces.
    let sources = 4;
    let expected = env::var("NSS_K8S_CLUSTER_LISTS")?;
    match expected.as_str() {
        "streaming" => {
            ensure!(streams == sources, "a stream each: {asked:#?}");
            ensure!(lists == 0, "a list although streams work: {asked:#?}");
        }
        "paged" => {
            // The refusal is an event in a stream that begins with status 200.
            ensure!(streams == sources, "one try each: {asked:#?}");
            ensure!(
                pages == sources && lists == pages,
                "then a paged list each: {asked:#?}"
            );
        }
        other => anyhow::bail!("NSS_K8S_CLUSTER_LISTS={other}"),
    }
    // The agent says the same of itself.
    let metrics = agent.page("/metrics")?;
    let way = format!("=\"{expected}\"}}");
    let lists: Vec<&str> = metrics
        .lines()
        .filter(|line| line.contains("watch_lists_total{"))
        .collect();
    ensure!(
        lists.len() == sources && lists.iter().all(|line| line.contains(&way)),
        "{lists:?}"
    );
    ensure!(agent.stop()?.success(), "an orderly stop is a success");
    Ok(())
}

fn refused(api: &Api, path: &str) -> bool {
    api.get(path).as_ref().err().and_then(refusal) == Some(403)
}

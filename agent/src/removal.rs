//! `nss-k8s removable`: whether the driver may be taken out of the cluster. A pod that has one of its
//! volumes could not end without it: kubelet would ask for the unmounting forever.
//!
//! Reads pods, the namespaces that are labelled for injection, and the injection's parameters; writes
//! nothing. The chart's hook runs it before `helm uninstall`.

use crate::watch;
use anyhow::{Context, Result};
use clap::Args;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams, PartialObjectMeta},
    core::Object,
};
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, process::ExitCode, time::Duration};
use tokio::time::timeout;

/// Pods in one page of a list.
const PAGE: u32 = 500;
/// Pods that are named; the rest is counted.
const NAMED: usize = 50;
/// How long the API server may take for everything.
const PATIENCE: Duration = Duration::from_secs(100);
/// Namespaces with it are injected.
const LABEL: &str = "nss-k8s.io/inject=enabled";

/// `nss-k8s removable`. Exit status: 0 it may be removed, 1 not (the reasons are printed) or not known.
#[derive(Args, Clone, Debug)]
pub struct RemovableArgs {
    /// How to reach the API server; default: as a pod, else the user's own kubeconfig
    #[arg(long, env = "NSS_K8S_KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The driver that would go
    #[arg(long, default_value = "csi.nss-k8s.io")]
    pub driver: String,
    /// The ConfigMap with the parameters of the injection, which must be switched off first
    #[arg(
        long,
        value_name = "NAMESPACE/NAME",
        default_value = "nss-k8s/nss-k8s-injection"
    )]
    pub injection: crate::config::ObjectName,
}

/// Asks and says.
pub fn removable(args: &RemovableArgs) -> Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let found = runtime.block_on(async {
        let client = watch::connect(args.kubeconfig.as_deref()).await?;
        timeout(PATIENCE, look(&client, args))
            .await
            .context("the API server takes too long")?
    })?;
    let obstacles = found.obstacles(&args.driver);
    if obstacles.is_empty() {
        println!("no pod has a volume of {}: it may be removed", args.driver);
        return Ok(ExitCode::SUCCESS);
    }
    for line in obstacles {
        eprintln!("nss-k8s: {line}");
    }
    Ok(ExitCode::FAILURE)
}

/// What stands in the way.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    /// `namespace/name` of pods with a volume, that run or are about to.
    pods: Vec<String>,
    /// Namespaces whose new pods get a volume; empty while the injection is off.
    injected: Vec<String>,
}

impl Found {
    /// One line for each obstacle and what to do about it; none: nothing is in the way.
    fn obstacles(&self, driver: &str) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.injected.is_empty() {
            lines.push(format!(
                "the injection is on: new pods of {} would wait for a driver that is gone; set \
                 injection.enabled=false, or take the label {LABEL} off",
                self.injected.join(", ")
            ));
        }
        if !self.pods.is_empty() {
            lines.push(format!(
                "{} pods have a volume of {driver} and could not end without it; with the injection \
                 off, restart their workloads:",
                self.pods.len()
            ));
            lines.extend(self.pods.iter().take(NAMED).map(|pod| format!("  {pod}")));
            if let Some(more) = self.pods.len().checked_sub(NAMED).filter(|more| *more > 0) {
                lines.push(format!("  and {more} more"));
            }
        }
        lines
    }
}

/// Everything that `Found` holds.
async fn look(client: &Client, args: &RemovableArgs) -> Result<Found> {
    let pods = holders(client, &args.driver)
        .await
        .context("cannot list the pods")?;
    let on = is_on(client, args)
        .await
        .context("cannot read the parameters of the injection")?;
    let injected = if on {
        labelled(client)
            .await
            .context("cannot list the namespaces")?
    } else {
        Vec::new()
    };
    Ok(Found { pods, injected })
}

/// A pod, as far as it matters.
type Pod = Object<PodSpec, PodStatus>;

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct PodSpec {
    #[serde(default)]
    volumes: Option<Vec<Volume>>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Volume {
    #[serde(default)]
    csi: Option<Inline>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Inline {
    #[serde(default)]
    driver: String,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct PodStatus {
    #[serde(default)]
    phase: Option<String>,
}

/// The pods that have a volume of the driver. One that has ended has none any more.
async fn holders(client: &Client, driver: &str) -> Result<Vec<String>, kube::Error> {
    let api: Api<Pod> = Api::all_with(client.clone(), &resource("Pod", "pods"));
    let mut parameters = ListParams::default().limit(PAGE);
    let mut names = Vec::new();
    loop {
        let page = api.list(&parameters).await?;
        let holding = page.items.iter().filter(|pod| holds(pod, driver));
        names.extend(holding.map(|pod| {
            let (namespace, name) = (&pod.metadata.namespace, &pod.metadata.name);
            let part = |part: &Option<String>| part.clone().unwrap_or_default();
            format!("{}/{}", part(namespace), part(name))
        }));
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(names),
        }
    }
}

fn holds(pod: &Pod, driver: &str) -> bool {
    let phase = pod
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    let mut volumes = pod.spec.volumes.iter().flatten();
    !matches!(phase, Some("Succeeded" | "Failed"))
        && volumes.any(|volume| volume.csi.as_ref().is_some_and(|csi| csi.driver == driver))
}

/// Whether new pods are injected anywhere. Without the parameters the policy does nothing.
async fn is_on(client: &Client, args: &RemovableArgs) -> Result<bool, kube::Error> {
    let resource = resource("ConfigMap", "configmaps");
    let (namespace, name) = (&args.injection.namespace, &args.injection.name);
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
    let map = api.get_opt(name).await?;
    Ok(map.is_some_and(|map| map.data["data"]["enabled"] == "true"))
}

/// The namespaces that ask for it.
async fn labelled(client: &Client) -> Result<Vec<String>, kube::Error> {
    let resource = resource("Namespace", "namespaces");
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let list = api
        .list_metadata(&ListParams::default().labels(LABEL))
        .await?;
    let names = list
        .items
        .into_iter()
        .filter_map(|one: PartialObjectMeta<_>| one.metadata.name);
    Ok(names.collect())
}

/// A kind of the core group.
fn resource(kind: &str, plural: &str) -> ApiResource {
    let named = kube::api::GroupVersionKind::gvk("", "v1", kind);
    ApiResource::from_gvk_with_plural(&named, plural)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(spec: &serde_json::Value, phase: &str) -> Pod {
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"},
            "spec": spec, "status": {"phase": phase}});
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_pod_holds_the_volume_until_it_has_ended() {
        let ours = json!({"volumes": [{"name": "e", "emptyDir": {}},
            {"name": "n", "csi": {"driver": "csi.nss-k8s.io", "readOnly": true}}]});
        let others = json!({"volumes": [{"name": "n", "csi": {"driver": "other"}}]});
        for phase in ["Pending", "Running", "Unknown", ""] {
            assert!(holds(&pod(&ours, phase), "csi.nss-k8s.io"), "{phase}");
        }
        for phase in ["Succeeded", "Failed"] {
            assert!(!holds(&pod(&ours, phase), "csi.nss-k8s.io"), "{phase}");
        }
        assert!(!holds(&pod(&others, "Running"), "csi.nss-k8s.io"));
        assert!(!holds(&pod(&json!({}), "Running"), "csi.nss-k8s.io"));
    }

    #[test]
    fn obstacles_are_named() {
        assert!(Found::default().obstacles("d").is_empty());
        let pods: Vec<_> = (0..NAMED + 2).map(|n| format!("shop/{n}")).collect();
        let injected = vec!["shop".to_owned()];
        let lines = Found { pods, injected }.obstacles("d");
        assert_eq!(lines.len(), 2 + NAMED + 1);
        assert!(lines[0].contains("new pods of shop would"), "{}", lines[0]);
        assert!(
            lines[1].starts_with("52 pods have a volume of d"),
            "{}",
            lines[1]
        );
        assert_eq!(lines.last().unwrap(), "  and 2 more");
    }
}

//! Workloads whose pods kwok plays, the agent that follows them, and what the API server says of them.

use crate::{
    agent::{Agent, Directory},
    control_plane::{ControlPlane, Process, until},
    coredns::{self, CoreDns},
    objects::Namespace,
};
use anyhow::{Context, Result, bail, ensure};
use http::Request;
use nss_k8s_tests::fleet;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

/// Where everything is.
pub(crate) const SPACE: &str = "fleet";
/// Nodes that are played, a workload on each.
const NODES: usize = 4;

/// What each absolute name has, of both families.
pub(crate) type Names = BTreeMap<String, BTreeSet<IpAddr>>;
/// The addresses of each service's ready pods.
pub(crate) type Ready = BTreeMap<String, BTreeSet<IpAddr>>;

/// The workloads, and who answers for them.
pub(crate) struct Fleet<'a> {
    plane: &'a ControlPlane,
    /// Where they are.
    pub(crate) space: Namespace<'a>,
    /// The reference.
    pub(crate) coredns: &'a CoreDns,
    agent: Agent,
    _kwok: Process,
}

impl<'a> Fleet<'a> {
    /// Starts kwok, CoreDNS and the agent, and makes the namespace.
    pub(crate) fn start(plane: &'a ControlPlane, directory: &Directory) -> Result<Self> {
        let kwok = plane.play(NODES)?;
        let options = ["--endpoint-slices=all", "--external=off"];
        Ok(Self {
            plane,
            space: Namespace::create(&plane.administrator, SPACE)?,
            coredns: coredns::shared(plane)?,
            agent: Agent::start(plane, directory, &options)?,
            _kwok: kwok,
        })
    }

    /// What the endpoint slices say: every name and its addresses, and each service's ready endpoints.
    pub(crate) fn slices(&self) -> Result<(Names, Ready)> {
        let (mut names, mut ready) = (Names::new(), Ready::new());
        let mut headless = BTreeSet::new();
        for service in self.list("/api/v1", "services")? {
            let name = text(&service["metadata"]["name"])?.to_owned();
            if service["spec"]["clusterIP"] == "None" {
                headless.insert(name);
                continue;
            }
            let addresses = service["spec"]["clusterIPs"].as_array();
            let addresses = addresses.into_iter().flatten().map(address);
            names.insert(self.space.fqdn(&name), addresses.collect::<Result<_>>()?);
        }
        for slice in self.list("/apis/discovery.k8s.io/v1", "endpointslices")? {
            let service = text(&slice["metadata"]["labels"]["kubernetes.io/service-name"])?;
            for endpoint in slice["endpoints"].as_array().into_iter().flatten() {
                if endpoint["conditions"]["ready"] != true {
                    continue;
                }
                let address = address(&endpoint["addresses"][0])?;
                let label = match endpoint["hostname"].as_str() {
                    Some(hostname) => hostname.to_owned(),
                    None => address.to_string().replace(['.', ':'], "-"),
                };
                let mut add = |name: &str| {
                    let all = names.entry(self.space.fqdn(name)).or_default();
                    all.insert(address);
                };
                add(&format!("{label}.{service}"));
                if headless.contains(service) {
                    add(service);
                }
                ready.entry(service.to_owned()).or_default().insert(address);
            }
        }
        Ok((names, ready))
    }

    /// The addresses of pods that are ready and stay, by their application. Two pods of one address, as kwok may have for
    /// a moment, are one address too few.
    pub(crate) fn ready_pods(&self) -> Result<Ready> {
        let mut ready = Ready::new();
        for pod in self.pods()?.values() {
            let conditions = pod["status"]["conditions"].as_array();
            let is_ready = conditions
                .into_iter()
                .flatten()
                .any(|condition| condition["type"] == "Ready" && condition["status"] == "True");
            if !is_ready || pod["metadata"]["deletionTimestamp"].is_string() {
                continue;
            }
            let app = text(&pod["metadata"]["labels"]["app"])?.to_owned();
            let all = ready.entry(app).or_default();
            for ip in pod["status"]["podIPs"].as_array().into_iter().flatten() {
                all.insert(address(&ip["ip"])?);
            }
        }
        Ok(ready)
    }

    /// All pods, by their uids.
    pub(crate) fn pods(&self) -> Result<BTreeMap<String, Value>> {
        let pods = self.list("/api/v1", "pods")?.into_iter();
        pods.map(|pod| Ok((text(&pod["metadata"]["uid"])?.to_owned(), pod)))
            .collect()
    }

    /// Makes a Deployment or a StatefulSet.
    pub(crate) fn deploy(&self, app: &str, workload: &Value) -> Result<()> {
        let resource = match workload["spec"]["serviceName"].is_string() {
            true => "statefulsets",
            false => "deployments",
        };
        let path = self.workloads(resource);
        let made = self.plane.administrator.create(&path, workload);
        made.with_context(|| app.to_owned()).map(drop)
    }

    /// Changes one, by a merge patch.
    pub(crate) fn patch(&self, resource: &str, app: &str, change: &Value) -> Result<()> {
        let path = format!("{}/{app}", self.workloads(resource));
        self.plane.administrator.patch(&path, change).map(drop)
    }

    /// Whether a Deployment's last rollout is over.
    pub(crate) fn is_rolled_out(&self, app: &str) -> Result<bool> {
        let path = format!("{}/{app}", self.workloads("deployments"));
        Ok(fleet::is_rolled_out(&self.plane.administrator.get(&path)?))
    }

    /// Gives a pod the label that makes it unready, or takes it.
    pub(crate) fn label(&self, pod: &str, value: Value) -> Result<()> {
        let path = format!("/api/v1/namespaces/{SPACE}/pods/{pod}");
        let change = json!({"metadata": {"labels": {fleet::UNREADY: value}}});
        self.plane.administrator.patch(&path, &change).map(drop)
    }

    /// Deletes what is at a path, with the time that pods have to end.
    pub(crate) fn delete(&self, path: &str) -> Result<()> {
        let request = Request::delete(path).body(Vec::new())?;
        self.plane.administrator.send(request)?;
        Ok(())
    }

    /// Ends everything: the pods while kwok is there to let them go, then the nodes.
    pub(crate) fn end(self) -> Result<()> {
        for resource in ["deployments", "statefulsets"] {
            self.delete(&self.workloads(resource))?;
        }
        self.space.delete()?;
        until("the pods to be gone", || {
            Ok(self.pods()?.is_empty().then_some(()))
        })?;
        for number in 1..=NODES {
            let node = fleet::node_name(number);
            let path = format!("/api/v1/nodes/{node}");
            self.plane.administrator.delete(&path)?;
        }
        ensure!(self.agent.stop()?.success(), "an orderly stop is a success");
        Ok(())
    }

    fn workloads(&self, resource: &str) -> String {
        format!("/apis/apps/v1/namespaces/{SPACE}/{resource}")
    }

    fn list(&self, group: &str, resource: &str) -> Result<Vec<Value>> {
        let path = format!("{group}/namespaces/{SPACE}/{resource}");
        let mut list = self.plane.administrator.get(&path)?;
        match list["items"].take() {
            Value::Array(items) => Ok(items),
            other => bail!("{path}: {other}"),
        }
    }
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("no text: {value}"))
}

fn address(value: &Value) -> Result<IpAddr> {
    Ok(text(value)?.parse()?)
}

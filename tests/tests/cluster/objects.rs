//! The objects that the tests make, and where they live.

use crate::{api::Api, control_plane::until};
use anyhow::{Context, Result};
use serde_json::{Value, json};

/// One namespace of the cluster, with verbs for what a test does in it.
pub(crate) struct Namespace<'a> {
    api: &'a Api,
    /// Its name.
    pub(crate) name: &'a str,
}

impl<'a> Namespace<'a> {
    /// Creates it, and waits for the account that pods need: the controllers may still be coming
    /// back from an outage of the API server.
    pub(crate) fn create(api: &'a Api, name: &'a str) -> Result<Self> {
        api.create("/api/v1/namespaces", &json!({"metadata": {"name": name}}))?;
        let account = format!("/api/v1/namespaces/{name}/serviceaccounts/default");
        until("the namespace's account", || Ok(api.get(&account).ok()))?;
        Ok(Self { api, name })
    }

    /// One that is there already.
    pub(crate) fn existing(api: &'a Api, name: &'a str) -> Self {
        Self { api, name }
    }

    /// Deletes it; the controllers then empty it.
    pub(crate) fn delete(&self) -> Result<()> {
        self.api
            .delete(&format!("/api/v1/namespaces/{}", self.name))
    }

    /// The full name of `name` in here.
    pub(crate) fn fqdn(&self, name: &str) -> String {
        format!("{name}.{}.svc.cluster.local", self.name)
    }

    /// Creates a Service with one port called `http`; returns its cluster addresses, sorted as text.
    pub(crate) fn service(&self, name: &str, spec: Value) -> Result<Vec<String>> {
        let mut whole = json!({"ports": [{"name": "http", "port": 80}]});
        if let (Some(whole), Value::Object(spec)) = (whole.as_object_mut(), spec) {
            whole.extend(spec);
        }
        let object = json!({"metadata": {"name": name}, "spec": whole});
        let made = self.api.create(&self.services(), &object)?;
        let mut addresses: Vec<String> = made["spec"]["clusterIPs"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|address| address.as_str())
            .filter(|address| *address != "None")
            .map(str::to_owned)
            .collect();
        addresses.sort();
        Ok(addresses)
    }

    /// Changes a Service.
    pub(crate) fn change_service(&self, name: &str, change: &Value) -> Result<()> {
        self.api
            .patch(&format!("{}/{name}", self.services()), change)?;
        Ok(())
    }

    /// Deletes a Service.
    pub(crate) fn delete_service(&self, name: &str) -> Result<()> {
        self.api.delete(&format!("{}/{name}", self.services()))
    }

    /// Creates a pod on the node, labelled and with the subdomain `service`, running and ready at
    /// `addresses`: what its kubelet would have written.
    pub(crate) fn pod(&self, name: &str, service: &str, addresses: &[&str]) -> Result<()> {
        self.api
            .create(
                &format!("/api/v1/namespaces/{}/pods", self.name),
                &json!({
                    "metadata": {"name": name, "labels": {"app": service}},
                    "spec": {
                        "nodeName": "node-1",
                        "hostname": name,
                        "subdomain": service,
                        "automountServiceAccountToken": false,
                        "containers": [{"name": "main", "image": "main"}],
                    },
                }),
            )
            .with_context(|| format!("pod {name}"))?;
        let list: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
        let status = json!({
            "phase": "Running",
            "podIP": addresses.first(),
            "podIPs": list,
            "conditions": conditions(true),
        });
        self.patch_pod(name, &status)
    }

    /// Says whether a pod is ready.
    pub(crate) fn set_ready(&self, pod: &str, ready: bool) -> Result<()> {
        self.patch_pod(pod, &json!({"conditions": conditions(ready)}))
    }

    /// Deletes a pod at once.
    pub(crate) fn delete_pod(&self, name: &str) -> Result<()> {
        self.api
            .delete(&format!("/api/v1/namespaces/{}/pods/{name}", self.name))
    }

    /// Creates a hand-made endpoint slice of a service.
    pub(crate) fn slice(
        &self,
        name: &str,
        service: &str,
        family: &str,
        addresses: &[&str],
    ) -> Result<()> {
        self.api.create(
            &self.slices(),
            &json!({
                "metadata": {
                    "name": name,
                    "labels": {
                        "kubernetes.io/service-name": service,
                        "endpointslice.kubernetes.io/managed-by": "staff",
                    },
                },
                "addressType": family,
                "endpoints": endpoints(addresses),
                "ports": [{"name": "http", "port": 80}],
            }),
        )?;
        Ok(())
    }

    /// Replaces the addresses of a hand-made slice.
    pub(crate) fn change_slice(&self, name: &str, addresses: &[&str]) -> Result<()> {
        let change = json!({"endpoints": endpoints(addresses)});
        self.api
            .patch(&format!("{}/{name}", self.slices()), &change)?;
        Ok(())
    }

    fn patch_pod(&self, name: &str, status: &Value) -> Result<()> {
        let path = format!("/api/v1/namespaces/{}/pods/{name}/status", self.name);
        self.api.patch(&path, &json!({"status": status}))?;
        Ok(())
    }

    fn services(&self) -> String {
        format!("/api/v1/namespaces/{}/services", self.name)
    }

    fn slices(&self) -> String {
        format!(
            "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
            self.name
        )
    }
}

/// The spec of a headless service of the pods labelled `app`.
pub(crate) fn headless(app: &str) -> Value {
    json!({
        "clusterIP": "None",
        "selector": {"app": app},
        "ipFamilyPolicy": "PreferDualStack",
    })
}

fn endpoints(addresses: &[&str]) -> Value {
    // One endpoint each: the addresses of one endpoint are the same machine.
    addresses
        .iter()
        .map(|address| json!({"addresses": [address]}))
        .collect()
}

fn conditions(ready: bool) -> Value {
    json!([{"type": "Ready", "status": if ready { "True" } else { "False" }}])
}

//! The cluster that agents look at: services, slices, a rollout, markers.

use crate::{
    audience::MARKER,
    plane::{Plane, client},
    say,
};
use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use http::Request;
use kube::Client;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval};

/// Services of a namespace.
const PER_NAMESPACE: usize = 100;
/// Requests under way while the cluster is made.
const AT_ONCE: usize = 32;
/// Of so many services one is rolled out.
const ONE_IN: usize = 10;
/// The namespace of markers: the last in a list.
const LAST: &str = "zz";
/// Pods that are replaced together: a quarter of 15, as Deployments do.
const SURGE: usize = 4;

/// What was made.
pub(crate) struct Load {
    services: usize,
    endpoints: usize,
    markers: usize,
}

impl Load {
    /// Creates the cluster.
    pub(crate) async fn create(plane: &Plane, services: usize, endpoints: usize) -> Result<Self> {
        let began = Instant::now();
        // Its connections end here: they are not to be counted later.
        let client = &client(&plane.keys().join("administrator.kubeconfig")).await?;
        let all = (0..services).step_by(PER_NAMESPACE).map(namespace);
        for name in all.chain([LAST.to_owned()]) {
            let namespace = json!({"metadata": {"name": name}});
            send(client, "POST", "/api/v1/namespaces", &namespace).await?;
        }
        let load = Self {
            services,
            endpoints,
            markers: 0,
        };
        stream::iter(0..services)
            .map(|number| async move {
                let namespace = namespace(number);
                let service = json!({
                    "metadata": {"name": format!("service-{number}")},
                    "spec": {"ports": [{"name": "http", "port": 80}]},
                });
                let path = format!("/api/v1/namespaces/{namespace}/services");
                send(client, "POST", &path, &service).await?;
                let slice = slice(number, endpoints, 0);
                send(client, "POST", &slices(number), &slice).await
            })
            .buffer_unordered(AT_ONCE)
            .try_for_each(|()| async { Ok(()) })
            .await?;
        let took = began.elapsed();
        say(&format!("{services} services x {endpoints} in {took:.1?}"));
        Ok(load)
    }

    /// Rolls out every tenth service: its pods are replaced a few at a time, and its slice is written each time;
    /// `rate` slices in a second, all services in turn.
    pub(crate) async fn roll_out(&self, plane: &Plane, rate: u32) -> Result<()> {
        let began = Instant::now();
        let mut clock = interval(Duration::from_secs(1) / rate);
        clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut written = 0;
        let mut replaced = 0;
        while replaced < self.endpoints {
            replaced = (replaced + SURGE).min(self.endpoints);
            for number in (0..self.services).step_by(ONE_IN) {
                clock.tick().await;
                let path = format!("{}/service-{number}-a", slices(number));
                let slice = slice(number, self.endpoints, replaced);
                send(&plane.administrator, "PUT", &path, &slice).await?;
                written += 1;
            }
        }
        let took = began.elapsed();
        say(&format!("rollout: {written} slices written in {took:.1?}"));
        Ok(())
    }

    /// Writes something that no agent watches, as others do all the time: an API server that starts after it does not
    /// know what was before, and whoever has seen no later version lists again.
    pub(crate) async fn stir(&self, plane: &Plane) -> Result<()> {
        let path = format!("/api/v1/namespaces/{}/configmaps", namespace(0));
        let object = json!({"metadata": {"generateName": "other-"}});
        send(&plane.administrator, "POST", &path, &object).await
    }

    /// Makes the next marker, a namespace, a service and a slice; its number.
    pub(crate) async fn mark(&mut self, plane: &Plane) -> Result<usize> {
        self.markers += 1;
        let name = format!("{MARKER}{:05}", self.markers);
        let client = &plane.administrator;
        let object = json!({"metadata": {"name": name}});
        send(client, "POST", "/api/v1/namespaces", &object).await?;
        let mut service = object;
        service["spec"] = json!({"ports": [{"name": "http", "port": 80}]});
        let services = format!("/api/v1/namespaces/{LAST}/services");
        send(client, "POST", &services, &service).await?;
        let mut marker = slice(0, 1, 0);
        marker["metadata"]["name"] = json!(name);
        marker["metadata"]["namespace"] = json!(LAST);
        send(client, "POST", &collection(LAST), &marker).await?;
        Ok(self.markers)
    }
}

/// A slice as the controller writes it, with the first `replaced` pods being new ones.
fn slice(number: usize, endpoints: usize, replaced: usize) -> Value {
    let namespace = namespace(number);
    let endpoints: Vec<Value> = (0..endpoints)
        .map(|pod| {
            let at = number * 64 + pod;
            let new = pod < replaced;
            let net = if new { 192 } else { 128 } + at / 65_536;
            let hash = if new { "7d9f6c5b4" } else { "5c8d7e9f1" };
            let node = at % 5_000;
            json!({
                "addresses": [format!("10.{net}.{}.{}", at / 256 % 256, at % 256)],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": format!("node-{node}"),
                "targetRef": {
                    "kind": "Pod",
                    "namespace": namespace,
                    "name": format!("service-{number}-{hash}-{pod:05}"),
                    "uid": format!("00000000-0000-4000-8000-{at:012}"),
                },
                "zone": format!("zone-{}", node % 3),
            })
        })
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("service-{number}-a"),
            "namespace": namespace,
            "labels": {
                "kubernetes.io/service-name": format!("service-{number}"),
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints,
    })
}

/// Where a service is.
fn namespace(number: usize) -> String {
    format!("namespace-{}", number / PER_NAMESPACE)
}

/// The collection of a service's slices.
fn slices(number: usize) -> String {
    collection(&namespace(number))
}

/// The collection of a namespace's slices.
fn collection(namespace: &str) -> String {
    format!("/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices")
}

/// Sends an object, and reads what the server made of it.
async fn send(client: &Client, method: &str, path: &str, object: &Value) -> Result<()> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json")
        .body(object.to_string().into_bytes())?;
    let answer = client.request_text(request).await;
    answer.with_context(|| format!("{method} {path}"))?;
    Ok(())
}

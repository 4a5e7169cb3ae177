//! Reads a cluster from its API server: lists and gets alone.

use super::cluster::{Cluster, KINDS, Kind};
use anyhow::{Context, Result, bail};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, ListParams},
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Objects in one page of a list.
const PAGE: u32 = 500;

/// ConfigMaps that are asked for by name where listing them is not allowed: (namespace, name).
const MAPS: [(&str, &str); 9] = [
    ("kube-system", "coredns"),
    ("kube-system", "coredns-custom"),
    ("kube-system", "kube-dns"),
    ("kube-system", "node-local-dns"),
    ("kube-system", "kubelet-config"),
    ("kube-system", "rke2-coredns-rke2-coredns"),
    ("openshift-dns", "dns-default"),
    ("istio-system", "istio"),
    ("istio-system", "istio-cni-config"),
];

/// Everything that is looked at. What this client may not see becomes a gap; an error is a server
/// that cannot be asked at all.
pub(super) async fn read(client: &Client) -> Result<Cluster> {
    let mut cluster = Cluster::default();
    let groups = groups(client).await?;
    for kind in KINDS {
        let version = if kind.group.is_empty() {
            Some("v1")
        } else {
            groups
                .get(kind.group)
                .and_then(|offered| {
                    kind.versions
                        .iter()
                        .find(|one| offered.iter().any(|o| o == *one))
                })
                .copied()
        };
        // A group that is not there has no objects: the usual case for meshes and policies.
        let Some(version) = version else { continue };
        match list(client, kind, version, &mut cluster).await {
            Ok(()) => {}
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
                if kind.plural != "configmaps" || !by_name(client, kind, &mut cluster).await {
                    cluster.gaps.insert(kind.permission());
                }
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot list {}", kind.plural));
            }
        }
    }
    Ok(cluster)
}

/// The API groups that the server offers, with their versions.
async fn groups(client: &Client) -> Result<BTreeMap<String, Vec<String>>> {
    let list = client
        .list_api_groups()
        .await
        .context("cannot ask the API server what it serves")?;
    if list.groups.is_empty() {
        bail!("the API server offers no groups");
    }
    Ok(list
        .groups
        .into_iter()
        .map(|group| {
            let versions = group.versions.into_iter().map(|one| one.version);
            (group.name, versions.collect())
        })
        .collect())
}

/// How kube spells a kind.
fn resource(kind: Kind, version: &str) -> ApiResource {
    let named = GroupVersionKind::gvk(kind.group, version, kind.kind);
    ApiResource::from_gvk_with_plural(&named, kind.plural)
}

fn api(client: &Client, kind: Kind, version: &str) -> Api<DynamicObject> {
    let resource = resource(kind, version);
    if kind.namespace.is_empty() {
        Api::all_with(client.clone(), &resource)
    } else {
        Api::namespaced_with(client.clone(), kind.namespace, &resource)
    }
}

/// Lists one kind page by page.
async fn list(
    client: &Client,
    kind: Kind,
    version: &str,
    cluster: &mut Cluster,
) -> Result<(), kube::Error> {
    let api = api(client, kind, version);
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = api.list(&parameters).await?;
        for object in page.items {
            cluster.add(kind, plain(object)?);
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// Gets the ConfigMaps that have usual names; whether any could be seen.
async fn by_name(client: &Client, kind: Kind, cluster: &mut Cluster) -> bool {
    let api = api(client, kind, "v1");
    let mut may = false;
    for (_, name) in MAPS
        .iter()
        .filter(|(namespace, _)| *namespace == kind.namespace)
    {
        if let Ok(found) = api.get_opt(name).await {
            may = true;
            if let Some(map) = found.and_then(|map| plain(map).ok()) {
                cluster.add(kind, map);
            }
        }
    }
    may
}

/// An object as JSON, without what only the server needs.
fn plain(mut object: DynamicObject) -> Result<Value, kube::Error> {
    object.metadata.managed_fields = None;
    serde_json::to_value(object).map_err(kube::Error::SerdeError)
}

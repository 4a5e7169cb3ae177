//! The made-up API server of `tests/tests/scale.rs` against a real one: the same objects, the same questions.

use crate::{api::Api, control_plane::shared, objects::Namespace};
use anyhow::{Context, Result, ensure};
use http::Request;
use kube::config::Kubeconfig;
use nss_k8s_tests::{
    fake_api::FakeApi,
    scale::{Cluster, Kind, Shape, Stamp},
};
use serde_json::Value;
use std::collections::BTreeSet;

/// What is data, or differs for good: who wrote the object, who owns it (there is no such owner here,
/// so the controllers would remove it), and selectors (by which they would make slices of their own).
const LEFT_OUT: [&str; 5] = [
    "managedFields",
    "ownerReferences",
    "labels",
    "annotations",
    "selector",
];

#[test]
fn a_made_up_server_says_what_a_real_one_says() -> Result<()> {
    let plane = shared();
    let space = Namespace::create(&plane.administrator, "made-up")?;
    let shape = Shape {
        large: 15,
        ..Shape::of(20)
    };
    let cluster = Cluster::new(shape);
    // One headless service among them; the slices as the generator has them.
    for service in 2..6 {
        stock(
            &plane.administrator,
            space.name,
            &cluster,
            Kind::Services,
            service,
        )?;
        let slice = cluster.slices_of(service).start;
        stock(
            &plane.administrator,
            space.name,
            &cluster,
            Kind::Slices,
            slice,
        )?;
    }
    let fake = FakeApi::start(cluster)?;
    let made_up = Api::of(Kubeconfig::from_yaml(&fake.kubeconfig())?)?;
    let real = &plane.administrator;
    for kind in Kind::ALL {
        let path = |own: bool| match kind {
            Kind::Namespaces => kind.path().to_owned(),
            _ if own => kind.path().to_owned(),
            _ => {
                let (group, resource) = kind.path().rsplit_once('/').unwrap_or_default();
                format!("{group}/namespaces/{}/{resource}", space.name)
            }
        };
        let metadata = kind == Kind::Namespaces;
        for query in [
            "limit=2",
            "limit=500",
            "watch=true&timeoutSeconds=1&allowWatchBookmarks=true&sendInitialEvents=true\
             &resourceVersionMatch=NotOlderThan&resourceVersion=0",
            "watch=true&timeoutSeconds=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
            "watch=true&timeoutSeconds=1&resourceVersion=0",
            "watch=true&timeoutSeconds=1&sendInitialEvents=true",
            "labelSelector=%21%21",
            "continue=nonsense&limit=2",
        ] {
            // On an old etcd a real server streams no lists; what it says then is tested with the agent.
            let paged = std::env::var("NSS_K8S_CLUSTER_LISTS").is_ok_and(|lists| lists == "paged");
            if paged && query.contains("sendInitialEvents") {
                continue;
            }
            let theirs = real.shapes(&format!("{}?{query}", path(false)), metadata);
            let ours = made_up.shapes(&format!("{}?{query}", path(true)), metadata);
            let (theirs, ours) = (theirs.context("real")?, ours.context("made up")?);
            let missing: Vec<_> = theirs.difference(&ours).collect();
            let more: Vec<_> = ours.difference(&theirs).collect();
            ensure!(
                missing.is_empty() && more.is_empty(),
                "{kind:?}, {query}: a real server also says {missing:#?}, the other one {more:#?}"
            );
        }
    }
    space.delete()
}

/// Creates an object of the generator's in a namespace.
fn stock(api: &Api, namespace: &str, cluster: &Cluster, kind: Kind, index: usize) -> Result<()> {
    let mut object = cluster.request(kind, index, Stamp::default());
    object["metadata"]["namespace"] = namespace.into();
    // Its addresses are the real server's to give.
    if kind == Kind::Services && object["spec"]["clusterIP"] != "None" {
        object["spec"]["clusterIP"] = Value::Null;
        object["spec"]["clusterIPs"] = Value::Null;
    }
    let (group, resource) = kind.path().rsplit_once('/').context("a path")?;
    api.create(
        &format!("{group}/namespaces/{namespace}/{resource}"),
        &object,
    )?;
    Ok(())
}

impl Api {
    /// What an answer is made of: each key's way from the top, and what is there; of every line.
    fn shapes(&self, uri: &str, metadata: bool) -> Result<BTreeSet<String>> {
        let mut request = Request::get(uri);
        if metadata {
            let kind = if uri.contains("watch=true") {
                ""
            } else {
                "List"
            };
            let accept =
                format!("application/json;as=PartialObjectMetadata{kind};g=meta.k8s.io;v=v1");
            request = request.header("accept", accept);
        }
        let mut shapes = BTreeSet::new();
        match self.send(request.body(Vec::new())?) {
            Ok(text) => {
                for line in text.lines().filter(|line| !line.is_empty()) {
                    let value: Value = serde_json::from_str(line)?;
                    let word = value["type"].as_str().unwrap_or_default();
                    let end =
                        &value["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"];
                    shapes.extend(
                        end.as_str()
                            .map(|end| format!("{word}: the list ends: {end}")),
                    );
                    walk(&value, word, &mut shapes);
                }
            }
            Err(kube::Error::Api(status)) => {
                shapes.insert(format!("{} {}", status.code, status.reason));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(shapes)
    }
}

fn walk(value: &Value, way: &str, shapes: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let way = format!("{way}.{key}");
                if !LEFT_OUT.contains(&key.as_str()) {
                    walk(value, &way, shapes);
                }
            }
        }
        Value::Array(items) => {
            shapes.insert(format!("{way}[]"));
            for item in items {
                walk(item, &format!("{way}[]"), shapes);
            }
        }
        Value::String(_) => drop(shapes.insert(format!("{way}: text"))),
        Value::Number(_) => drop(shapes.insert(format!("{way}: number"))),
        Value::Bool(_) => drop(shapes.insert(format!("{way}: bool"))),
        Value::Null => drop(shapes.insert(format!("{way}: null"))),
    }
}

//! Reads a cluster from a directory of manifests, such as `kubectl get -o yaml` writes them.

use super::cluster::Cluster;
use crate::manifests;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{fs, path::Path};

/// Every object of every YAML and JSON file in a directory. What cannot be read becomes a gap.
pub(super) fn read(directory: &Path) -> Result<Cluster> {
    let mut cluster = Cluster::default();
    let context = || format!("cannot read {}", directory.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).with_context(context)? {
        let path = entry.with_context(context)?.path();
        let is_text = path
            .extension()
            .is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        if is_text && path.is_file() {
            paths.push(path);
        }
    }
    if paths.is_empty() {
        bail!("no YAML or JSON file in {}", directory.display());
    }
    paths.sort();
    for path in paths {
        match fs::read_to_string(&path) {
            Ok(text) => {
                for (index, read) in manifests::values(&text) {
                    match read {
                        Ok(value) => collect(value, &mut cluster),
                        Err(why) => {
                            let gap = format!("{}: document {index}: {why}", path.display());
                            cluster.gaps.insert(gap);
                        }
                    }
                }
            }
            Err(error) => {
                cluster.gaps.insert(format!("{}: {error}", path.display()));
            }
        }
    }
    Ok(cluster)
}

/// Takes an object in, or every item of a list. The items of a typed list need not repeat what they
/// are.
fn collect(value: Value, cluster: &mut Cluster) {
    let text = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let (kind, version) = (text("kind"), text("apiVersion"));
    let single = kind.as_deref().and_then(|kind| kind.strip_suffix("List"));
    if let (Some(single), Some(items)) = (single, value.get("items").and_then(Value::as_array)) {
        for item in items {
            let mut item = item.clone();
            if let Some(fields) = item.as_object_mut()
                && !single.is_empty()
            {
                fields.entry("kind").or_insert_with(|| single.into());
                if let Some(version) = &version {
                    fields
                        .entry("apiVersion")
                        .or_insert_with(|| version.clone().into());
                }
            }
            collect(item, cluster);
        }
    } else if let Some(kind) = Cluster::kind_of(&value) {
        cluster.add(kind, value);
    }
}

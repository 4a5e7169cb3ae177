//! A volume that a pod's author writes by hand, with attributes that claim to be somebody else.
//!
//! tests/node/values.yaml has a class `trusted` (`external: node`) for namespaces `trusted-*`, and a
//! rule by which the namespace `stranger` may look up `default` alone.

use crate::{
    chart, cluster,
    pods::{Image, Namespace, Pod},
};
use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// A name that only those may see who may look up `trusted-vault`.
const SECRET: &str = "crown-jewels";

/// What the directory holds is decided by the pod's namespace: the stranger's has neither the other namespaces' names
/// nor a socket, whatever its volume's attributes say; the same pod in the trusted namespace has both.
#[test]
fn a_volume_by_hand_shows_only_what_its_namespace_may_see() -> Result<()> {
    let cluster = cluster::shared();
    chart::installed(&cluster)?;
    let vault = Namespace::create(&cluster, "trusted-vault", &json!({}))?;
    vault.service(SECRET)?;
    let stranger = Namespace::create(&cluster, "stranger", &json!({}))?;

    let friend = vault.start(&by_hand(&vault))?;
    cluster.until("the secret service in the friend's zone", || {
        Ok(sees(&friend, SECRET)?.then_some(()))
    })?;
    ensure!(
        has_socket(&friend)?,
        "class `trusted` is `node`, and has no socket"
    );

    let thief = stranger.start(&by_hand(&stranger))?;
    cluster.until("the API server's service in the stranger's zone", || {
        Ok(sees(&thief, "kubernetes")?.then_some(()))
    })?;
    ensure!(
        !sees(&thief, SECRET)?,
        "the stranger's zone names a hidden service"
    );
    ensure!(
        !sees(&thief, "trusted-vault")?,
        "the stranger's zone names a hidden namespace"
    );
    ensure!(!has_socket(&thief)?, "the stranger has a socket");
    // Nothing above or beside its own directory can be reached through it.
    let beside = thief.exec(&["sh", "-c", "ls -a /run/nss-k8s/.. /run/nss-k8s"])?;
    for word in ["view", "private", "pod", "external.v1"] {
        ensure!(
            !beside.lines().any(|line| line == word),
            "the stranger sees {word}:\n{beside}"
        );
    }
    // By DNS it is another matter (the cluster DNS hides nothing), so only our own tool says what the zone answers.
    let explained = explain(
        &thief,
        &format!("{SECRET}.trusted-vault.svc.cluster.local."),
    );
    let known = explain(
        &friend,
        &format!("{SECRET}.trusted-vault.svc.cluster.local."),
    );
    let address = cluster.get("services", "trusted-vault", SECRET)?;
    let address = address["spec"]["clusterIP"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    ensure!(
        known.contains(&address),
        "the friend is not answered:\n{known}"
    );
    ensure!(
        !explained.contains(&address),
        "the stranger is told the address:\n{explained}"
    );
    vault.delete()?;
    stranger.delete()
}

/// A pod with our volume, whose attributes claim another namespace, class and pod.
fn by_hand(namespace: &Namespace<'_>) -> Value {
    let program = Image::Debian.program("load");
    let mut manifest = namespace.manifest("by-hand", Image::Debian, &[&program, "wait"]);
    if let Some(volumes) = manifest["spec"]["volumes"].as_array_mut() {
        volumes.push(json!({"name": "mine", "csi": {
            "driver": "csi.nss-k8s.io",
            "readOnly": true,
            "volumeAttributes": {
                "class": "trusted",
                "namespace": "trusted-vault",
                "csi.storage.k8s.io/pod.namespace": "trusted-vault",
                "csi.storage.k8s.io/pod.uid": "00000000-0000-0000-0000-000000000000",
            },
        }}));
    }
    if let Some(mounts) = manifest["spec"]["containers"][0]["volumeMounts"].as_array_mut() {
        mounts.push(json!({"name": "mine", "mountPath": "/run/nss-k8s", "readOnly": true}));
    }
    manifest
}

/// Whether a pod can read this word anywhere in its zone file.
fn sees(pod: &Pod<'_>, word: &str) -> Result<bool> {
    let look =
        format!("[ -e /run/nss-k8s/zone.v1 ] && grep -c {word} /run/nss-k8s/zone.v1 || true");
    let count = pod.exec(&["sh", "-c", &look])?;
    Ok(!count.is_empty() && count.trim() != "0")
}

fn has_socket(pod: &Pod<'_>) -> Result<bool> {
    let look = "[ -e /run/nss-k8s/forward.sock ] && echo yes || echo no";
    Ok(pod.exec(&["sh", "-c", look])?.trim() == "yes")
}

/// What `nss-k8s-explain` of the delivered library says, whatever its exit status.
fn explain(pod: &Pod<'_>, name: &str) -> String {
    let command = format!("/run/nss-k8s/lib/preload/nss-k8s-explain {name} 2>&1 || true");
    pod.exec(&["sh", "-c", &command])
        .unwrap_or_else(|error| format!("{error:#}"))
}

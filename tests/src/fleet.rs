//! Nodes that kwok plays kubelet for, and workloads on them, as whoever makes them sends them to an API server. Pods name
//! their node themselves: there is no scheduler.

use serde_json::{Value, json};

/// The label by which kwok knows its nodes.
pub const PLAYED: &str = "test/played=true";

/// The label that turns a pod unready, with the value `true`.
pub const UNREADY: &str = "test/unready";

/// The annotation of pods that has their rollout's number.
const ROLLOUT: &str = "test/rollout";

/// A node with addresses for 250 pods, of both families; `number` is from 1 to 255.
pub fn node(number: usize) -> Value {
    let four = format!("10.200.{number}.0/24");
    let six = format!("fd00:200:{number:x}::/64");
    json!({
        "metadata": {"name": node_name(number), "labels": {"test/played": "true"}},
        "spec": {"podCIDR": four, "podCIDRs": [four, six]},
    })
}

/// The name of a node.
pub fn node_name(number: usize) -> String {
    format!("played-{number}")
}

/// A Deployment of pods with the label `app: NAME`. A rollout replaces a quarter of them at a time.
pub fn deployment(name: &str, node: usize, replicas: usize) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, node),
        },
    })
}

/// A StatefulSet of such pods, all at once, whose host names are of the service of the same name. The pods end at once: kwok
/// 0.8 deletes by name, sometimes twice, and would go on deleting successors of the same name for ever.
pub fn stateful_set(name: &str, node: usize, replicas: usize) -> Value {
    let mut set = deployment(name, node, replicas);
    set["spec"]["serviceName"] = name.into();
    set["spec"]["podManagementPolicy"] = "Parallel".into();
    set["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 0.into();
    set
}

/// A merge patch that makes a Deployment roll out anew.
pub fn rollout(number: usize) -> Value {
    let annotations = json!({ROLLOUT: number.to_string()});
    json!({"spec": {"template": {"metadata": {"annotations": annotations}}}})
}

/// Whether every pod of a Deployment is of its last rollout and ready, and no other is left.
pub fn is_rolled_out(deployment: &Value) -> bool {
    let (spec, status) = (&deployment["spec"], &deployment["status"]);
    let wanted = spec["replicas"].as_u64().unwrap_or(1);
    let is_whole = |count: &str| status[count].as_u64().unwrap_or(0) == wanted;
    status["observedGeneration"] == deployment["metadata"]["generation"]
        && ["replicas", "updatedReplicas", "availableReplicas"]
            .into_iter()
            .all(is_whole)
}

fn template(app: &str, node: usize) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {
            "nodeName": node_name(node),
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "containers": [{"name": "main", "image": "main"}],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rollout_is_over_when_nothing_old_is_left() {
        let mut one = deployment("web", 1, 3);
        assert!(!is_rolled_out(&one));
        one["metadata"]["generation"] = 2.into();
        let whole = json!({
            "observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3,
        });
        one["status"] = whole.clone();
        assert!(is_rolled_out(&one));
        for (field, value) in [
            ("observedGeneration", 1),
            ("replicas", 4),
            ("updatedReplicas", 2),
            ("availableReplicas", 2),
        ] {
            one["status"] = whole.clone();
            one["status"][field] = value.into();
            assert!(!is_rolled_out(&one), "{field}");
        }
    }
}

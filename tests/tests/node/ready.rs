//! What every other test stands on: a node that works, before nss-k8s is in the cluster.

use crate::{
    cluster,
    load::Load,
    pods::{Image, Namespace},
};
use anyhow::{Result, ensure};
use serde_json::json;

/// Without nss-k8s a pod is answered by the cluster DNS, over UDP: were the load's names or the packets' counters
/// wrong, every silence below would mean nothing.
#[test]
fn a_pod_without_us_is_answered_by_the_cluster_dns() -> Result<()> {
    let cluster = cluster::shared();
    let namespace = Namespace::create(&cluster, "without", &json!({}))?;
    for (name, image) in [("debian", Image::Debian), ("musl", Image::Musl)] {
        for load in [
            Load::cluster_names(&namespace, name, image)?,
            Load::outside_names(&namespace, &format!("{name}-outside"), image)?,
        ] {
            let count = load.expect_no_failure()?;
            let seen = load.packets.seen()?;
            ensure!(seen.udp > count.lookups / 4, "{seen:?} during {count:?}");
            ensure!(count.processes > 0, "no new process: {count:?}");
        }
    }
    namespace.delete()
}

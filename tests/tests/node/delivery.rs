//! Pods that know nothing of nss-k8s, in a namespace with its label.

use crate::{
    chart, cluster,
    load::Load,
    pods::{Image, Namespace},
};
use anyhow::{Result, ensure};

/// Cluster names without a packet, in an unmodified Debian pod and a musl pod of restricted Pod Security; names of the
/// rest of the world by TCP from the pod's own address.
#[test]
fn unmodified_pods_resolve_cluster_names_without_a_packet() -> Result<()> {
    let cluster = cluster::shared();
    chart::installed(&cluster)?;
    let namespace = Namespace::injected(&cluster, "delivery")?;
    for (name, image) in [("debian", Image::Debian), ("musl", Image::Musl)] {
        let inside = Load::cluster_names(&namespace, name, image)?;
        let outside = Load::outside_names(&namespace, &format!("{name}-outside"), image)?;
        let count = inside.expect_silence()?;
        ensure!(count.processes > 0, "no new process: {count:?}");
        outside.expect_no_failure()?;
        let seen = outside.packets.seen()?;
        ensure!(
            seen.udp == 0 && seen.strange == 0 && seen.tcp > 0,
            "{name}: {seen:?}"
        );
    }
    let pod = namespace.idle("plain", Image::Debian)?;
    let answer = pod.exec(&["getent", "ahostsv4", "web"])?;
    ensure!(answer.starts_with(&namespace.web), "getent: {answer}");
    namespace.delete()
}

//! How long a new service takes to have an address in a pod, and how long by the cluster DNS.

use crate::{
    chart, cluster,
    packets::Packets,
    pods::{Image, Namespace, Pod},
};
use anyhow::{Context, Result, ensure};
use serde_json::json;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Services that are applied, one after the other.
const SERVICES: usize = 40;

/// From the start of `kubectl apply` to the first answer, in a pod with us and in one without, which ask for the same
/// names about once a millisecond. Printed; that every name arrives is what is tested, and who answered.
#[test]
fn a_new_service_arrives_in_pods() -> Result<()> {
    let cluster = cluster::shared();
    chart::installed(&cluster)?;
    let with = Namespace::injected(&cluster, "latency-with")?;
    let without = Namespace::create(&cluster, "latency-without", &json!({}))?;
    let name = |number: usize| format!("new-{number}.latency-with.svc.cluster.local.");
    let names: Vec<String> = (0..SERVICES).map(name).collect();
    let start = |namespace: &Namespace<'_>| -> Result<serde_json::Value> {
        let program = Image::Debian.program("await");
        let mut command = vec![program.as_str()];
        command.extend(names.iter().map(String::as_str));
        Ok(namespace.manifest("await", Image::Debian, &command))
    };
    let ours = with.start(&start(&with)?)?;
    let theirs = without.start(&start(&without)?)?;
    let packets = [Packets::count(&ours)?, Packets::count(&theirs)?];
    let mut took = [Vec::new(), Vec::new()];
    for (number, name) in names.iter().enumerate() {
        let began = SystemTime::now().duration_since(UNIX_EPOCH)?;
        with.service(&format!("new-{number}"))?;
        for (pod, took) in [&ours, &theirs].into_iter().zip(&mut took) {
            let answered = cluster.until(&format!("{name} in {}", pod.namespace), || {
                answered(pod, name)
            })?;
            took.push(
                answered
                    .checked_sub(began)
                    .context("answered before it was applied")?,
            );
        }
    }
    for (who, took) in ["in process", "CoreDNS"].into_iter().zip(&mut took) {
        took.sort_unstable();
        println!(
            "new service, kubectl apply to answer, {who}: median {:.1?}, p99 {:.1?}",
            took[took.len() / 2],
            took[took.len() * 99 / 100]
        );
    }
    let [ours, theirs] = [packets[0].seen()?, packets[1].seen()?];
    // Until it is there, a name of a namespace that exists is asked for (`miss_policy: ask`), over TCP.
    ensure!(ours.udp == 0, "with us: {ours:?}");
    ensure!(theirs.udp > SERVICES as u64, "without us: {theirs:?}");
    with.delete()?;
    without.delete()
}

/// When a pod was first answered for a name, since 1970.
fn answered(pod: &Pod<'_>, name: &str) -> Result<Option<Duration>> {
    let log = pod.log()?;
    let mut lines = log.lines().filter_map(|line| line.split_once(' '));
    let Some((_, time)) = lines.find(|(found, _)| *found == name) else {
        return Ok(None);
    };
    Ok(Some(Duration::from_micros(time.parse()?)))
}

//! Another release on the node: up, down, and both at once.

use crate::{
    chart::{self, RELEASE},
    cluster::{self, Cluster},
    load::{self, Load},
    machine,
    pods::{Image, Namespace, Pod},
};
use anyhow::{Context, Result, ensure};
use std::{collections::BTreeSet, env, fs, path::PathBuf};

/// The version of the other release's image (`tests/node/other-release.sh`).
const OTHER: &str = "0.0.1";

/// `helm upgrade` to another release and back, under load: nobody notices. A pod keeps the libraries that it
/// started with for life, one that starts gets those of the release that is there, and what nobody names any more goes.
#[test]
fn an_upgrade_and_a_downgrade_are_not_noticed() -> Result<()> {
    let cluster = cluster::shared();
    chart::installed(&cluster)?;
    import_other()?;
    let namespace = Namespace::injected(&cluster, "upgrade")?;
    let loads = [
        Load::hits(&namespace, "debian", Image::Debian)?,
        Load::hits(&namespace, "musl", Image::Musl)?,
    ];
    let names = Load::cluster_names(&namespace, "names", Image::Debian)?;
    let outside = Load::outside_names(&namespace, "outside", Image::Debian)?;
    let before = library(&loads[0].pod)?;

    install_other(&cluster)?;
    let other_load = Load::hits(&namespace, "other", Image::Debian)?;
    let other = library(&other_load.pod)?;
    ensure!(
        other != before,
        "both releases keep their libraries at {other}"
    );
    ensure!(
        library(&loads[0].pod)? == before,
        "a pod's libraries changed"
    );
    load::expect_silence(loads.iter().chain([&names, &other_load]))?;

    chart::upgrade(&cluster, &[])?;
    load::expect_silence(loads.iter().chain([&names, &other_load]))?;
    for load in loads.iter().chain([&names, &other_load]) {
        println!("upgrade: {}: {:?}", load.pod.name, load.count()?);
    }
    outside.expect_no_failure()?;
    ensure!(
        library(&other_load.pod)? == other,
        "a pod's libraries changed"
    );
    let new = namespace.idle("new", Image::Debian)?;
    ensure!(library(&new)? == before, "a new pod has the old release's");
    ensure!(
        versions()?.len() == 2,
        "a pod's libraries are gone: {:?}",
        versions()?
    );
    namespace.delete()?;
    cluster.until("the other release's libraries to be removed", || {
        Ok((versions()?.len() == 1).then_some(()))
    })
}

/// Two builds of the libraries on one node, and one of them refused by its number: its processes are libc's own within
/// the time that a ConfigMap takes, without a failure, and the others notice nothing; then taken back.
#[test]
fn one_of_two_builds_is_refused_and_taken_back() -> Result<()> {
    let cluster = cluster::shared();
    chart::installed(&cluster)?;
    import_other()?;
    let namespace = Namespace::injected(&cluster, "builds")?;
    install_other(&cluster)?;
    let refused = [
        Load::hits(&namespace, "refused", Image::Debian)?,
        Load::hits(&namespace, "refused-musl", Image::Musl)?,
    ];
    chart::upgrade(&cluster, &[])?;
    let kept = Load::hits(&namespace, "kept", Image::Debian)?;
    load::expect_silence(refused.iter().chain([&kept]))?;

    let number = nss_k8s_stub::BUILD - 1;
    let rule = format!(r#"config={{"processes":{{"refuse_builds":[{number}]}}}}"#);
    chart::upgrade(&cluster, &["--set-json", &rule])?;
    for load in &refused {
        cluster.until("the refused build to ask DNS", || {
            Ok((!load.packets.seen()?.is_empty()).then_some(()))
        })?;
    }
    for load in &refused {
        load.expect_no_failure()?;
    }
    kept.expect_silence()?;

    chart::upgrade(&cluster, &[])?;
    for load in &refused {
        cluster.until("the build to answer again", || {
            let before = load.packets.seen()?;
            load.advance(200)?;
            Ok((load.packets.seen()? == before).then_some(()))
        })?;
        load.expect_no_failure()?;
    }
    kept.expect_silence()?;
    namespace.delete()
}

/// Gives containerd the other release's image.
fn import_other() -> Result<()> {
    let archive =
        env::var_os("NSS_K8S_NODE_OTHER").context("NSS_K8S_NODE_OTHER: tests/node/run.sh")?;
    machine::import(&PathBuf::from(archive))
}

/// The same chart with the other image: what a rollback of the image is.
fn install_other(cluster: &Cluster) -> Result<()> {
    chart::upgrade(cluster, &["--set", &format!("image.tag={OTHER}")])?;
    let daemon_set = cluster.get("daemonsets", RELEASE, RELEASE)?;
    ensure!(
        daemon_set
            .to_string()
            .contains(&format!("nss-k8s:{OTHER}\"")),
        "the chart took no notice of image.tag"
    );
    Ok(())
}

/// The preload library that a pod's processes load, by its first line of /etc/ld.so.preload; the file is there.
fn library(pod: &Pod<'_>) -> Result<String> {
    let list = pod.exec(&["cat", "/etc/ld.so.preload"])?;
    let first = list.lines().next().context("an empty list")?.to_owned();
    pod.exec(&["test", "-s", &first])?;
    Ok(first)
}

/// The releases whose libraries lie on the node; hidden names are the driver's own.
fn versions() -> Result<BTreeSet<String>> {
    let names = fs::read_dir("/run/nss-k8s/node/lib")?
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .filter(|name: &Result<String>| name.as_ref().map_or(true, |name| !name.starts_with('.')));
    names.collect()
}

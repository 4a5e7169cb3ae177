//! A cluster whose etcd is put back to an earlier state, as after a disaster: what it knew since then is gone, and
//! versions that agents have seen are given a second time, to other things.

use crate::{
    agent::{Agent, Directory, STRICT},
    control_plane::{ControlPlane, until},
    doors::{Doors, Expected},
};
use Expected::{NxDomain, Zone};
use anyhow::{Context, Result, ensure};
use nss_k8s_tests::audit;
use serde_json::{Value, json};
use std::{env, path::Path, process::Command, time::Instant};

const SERVICES: &str = "/api/v1/namespaces/shop/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
/// So many versions are lost besides those of the objects below: what the servers write by themselves when they
/// start does not make up for them.
const LOST: usize = 300;

/// The agent that has been there all the time, and one that is started afterwards on what the one before it had kept, come
/// to what the restored cluster says, within seconds.
#[test]
fn a_restored_etcd_is_the_truth() -> Result<()> {
    let mut plane = ControlPlane::alone("restored")?;
    let namespace = json!({"metadata": {"name": "shop"}});
    plane
        .administrator
        .create("/api/v1/namespaces", &namespace)?;
    let kept = service(&plane, "shop", "kept", json!({}))?;
    let gone = service(&plane, "shop", "gone", json!({}))?;
    service(&plane, "shop", "db", json!({"clusterIP": "None"}))?;
    slice(&plane, "db-1", true, "10.244.7.1")?;
    slice(&plane, "db-by-hand", false, "10.244.7.2")?;
    let names = ["kept", "gone", "db", "late", "new"];
    let [kept_name, gone_name, db_name, late_name, new_name] =
        names.map(|name| format!("{name}.shop.svc.cluster.local"));
    let later_name = "api.later.svc.cluster.local";

    let (steady, resumed) = (Directory::create()?, Directory::create()?);
    let mut always = Agent::start(&plane, &steady, &[STRICT])?;
    let before = Agent::start(&plane, &resumed, &[STRICT])?;
    let mut doors = [
        Doors::open(&steady, "shop")?,
        Doors::open(&resumed, "shop")?,
    ];
    for doors in &mut doors {
        doors.expect(&kept_name, Zone(&[&kept], &kept_name))?;
        doors.expect(&db_name, Zone(&["10.244.7.1", "10.244.7.2"], &db_name))?;
    }

    let backup = plane.storage_copy();
    plane.without_servers(|data| copy(data, &backup))?;

    let administrator = &plane.administrator;
    // What is lost later: names that come, one that goes, endpoints that move.
    administrator.create(
        "/api/v1/namespaces",
        &json!({"metadata": {"name": "later"}}),
    )?;
    let later = service(&plane, "later", "api", json!({}))?;
    let late = service(&plane, "shop", "late", json!({}))?;
    administrator.delete(&format!("{SERVICES}/gone"))?;
    let moved = json!({"endpoints": [{"addresses": ["10.244.7.9"]}]});
    administrator.patch(&format!("{SLICES}/db-1"), &moved)?;
    administrator.delete(&format!("{SLICES}/db-by-hand"))?;
    // Of all this only the watch of Services sees versions that the restored server is far behind.
    for number in 0..LOST {
        let change =
            json!({"metadata": {"annotations": {"example.com/number": number.to_string()}}});
        administrator.patch(&format!("{SERVICES}/kept"), &change)?;
    }
    for doors in &mut doors {
        doors.expect(later_name, Zone(&[&later], later_name))?;
        doors.expect(&late_name, Zone(&[&late], &late_name))?;
        doors.expect(&gone_name, NxDomain)?;
        doors.expect(&db_name, Zone(&["10.244.7.9"], &db_name))?;
    }
    let seen = version(&plane)?;

    let asked = audit::requests(&plane.audit_log())?.len();
    before.kill()?;
    plane.without_servers(|data| {
        std::fs::remove_dir_all(data)?;
        copy(&backup, data)
    })?;
    let restored = version(&plane)?;
    ensure!(restored < seen, "version {restored} is not before {seen}");
    let back = Instant::now();
    let new = service(&plane, "shop", "new", json!({}))?;
    let after = Agent::start(&plane, &resumed, &[STRICT])?;
    let mut truth = |which: usize| -> Result<()> {
        let doors = &mut doors[which];
        doors.expect(&new_name, Zone(&[&new], &new_name))?;
        doors.expect(&late_name, NxDomain)?;
        doors.expect(later_name, NxDomain)?;
        doors.expect(&kept_name, Zone(&[&kept], &kept_name))?;
        doors.expect(&gone_name, Zone(&[&gone], &gone_name))?;
        doors.expect(&db_name, Zone(&["10.244.7.1", "10.244.7.2"], &db_name))
    };
    truth(0)?;
    let always_took = back.elapsed();
    truth(1)?;
    let lists = env::var("NSS_K8S_CLUSTER_LISTS")?;
    println!(
        "restored: {lists} lists, version {restored} after {seen}: the agent that went on was right after {always_took:.1?}, \
         both after {:.1?}",
        back.elapsed()
    );
    // Neither of them guessed: each of its watches was listed again.
    let listed = || -> Result<usize> {
        let asked = audit::requests(&plane.audit_log())?.split_off(asked);
        Ok(asked.iter().filter(|one| one.is_list()).count())
    };
    until("a list for each watch", || {
        Ok((listed()? >= 8).then_some(()))
    })
    .with_context(|| format!("{:?} lists", listed()))?;

    // And both follow what comes now.
    let last = service(&plane, "shop", "last", json!({}))?;
    let name = "last.shop.svc.cluster.local";
    for doors in &mut doors {
        doors.expect(name, Zone(&[&last], name))?;
    }
    ensure!(always.runs()?, "the agent ended");
    for agent in [always, after] {
        ensure!(agent.stop()?.success(), "an orderly stop is a success");
    }
    Ok(())
}

/// Creates a Service; its address, if it has one.
fn service(plane: &ControlPlane, namespace: &str, name: &str, spec: Value) -> Result<String> {
    let mut whole = json!({"ports": [{"port": 80}]});
    if let (Some(whole), Value::Object(spec)) = (whole.as_object_mut(), spec) {
        whole.extend(spec);
    }
    let object = json!({"metadata": {"name": name}, "spec": whole});
    let path = format!("/api/v1/namespaces/{namespace}/services");
    let made = plane.administrator.create(&path, &object)?;
    Ok(made["spec"]["clusterIP"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

/// Creates a slice of `db`, as the cluster's controller would or as somebody else would.
fn slice(plane: &ControlPlane, name: &str, controlled: bool, address: &str) -> Result<()> {
    let mut labels = json!({"kubernetes.io/service-name": "db"});
    if controlled {
        labels["service.kubernetes.io/headless"] = "".into();
        labels["endpointslice.kubernetes.io/managed-by"] = "endpointslice-controller.k8s.io".into();
    }
    let object = json!({
        "metadata": {"name": name, "labels": labels},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address]}],
        "ports": [{"port": 80}],
    });
    plane.administrator.create(SLICES, &object)?;
    Ok(())
}

/// The version of the cluster's storage.
fn version(plane: &ControlPlane) -> Result<u64> {
    let list = plane.administrator.get(&format!("{SERVICES}?limit=1"))?;
    let version = list["metadata"]["resourceVersion"].as_str();
    Ok(version.context("no version")?.parse()?)
}

/// Copies a folder.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").args([from, to]).status()?;
    ensure!(status.success(), "cp: {status}");
    Ok(())
}

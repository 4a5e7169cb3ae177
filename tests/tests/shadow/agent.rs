//! From the configuration file to a running process: a class that is tried in shadow, and then is not.
//!
//! The DNS server of the pods says another address than the zone of one service, and the policy hides
//! a namespace that DNS does not: both are what somebody who switches a namespace on wants to
//! know before.

use crate::world::{LATELY, OTHER_ADDRESSES, OTHER_STATUS, PASSED_ON, SAME, age_of, explain};
use anyhow::{Context, Result, ensure};
use nss_k8s_stub::shadow::SETTLES_AFTER;
use nss_k8s_tests::{
    artifacts,
    dns::Script,
    pod::{HOSTS_LINE, Pod, Recipe, resolv_conf},
    session::{Door, Session},
    zonefile::{Agent, wait},
};
use std::path::PathBuf;

/// The same in the zone and in DNS.
const API: &str = "api.shop.svc.cluster.local.";
const API_ADDRESS: &str = "10.96.1.10";
/// Another address in the zone than in DNS.
const GOODS: &str = "goods.store.svc.cluster.local.";
const GOODS_OURS: &str = "10.96.3.10";
const GOODS_LIBCS: &str = "192.0.2.3";
/// Hidden from the shop; DNS tells everybody.
const VAULT: &str = "vault.bank.svc.cluster.local.";
const VAULT_OURS: &str = "10.96.2.10";
const VAULT_LIBCS: &str = "192.0.2.2";

/// The shop is tried, and is hidden the bank from; everybody else is served.
fn config(shadow: bool) -> String {
    format!(
        "verify: {{enabled: false}}\n\
         classes:\n\
         - {{name: tried, namespaces: [shop], external: off, shadow: {shadow}}}\n\
         - {{name: default, external: off}}\n\
         policy: [{{from: {{namespaces: [shop]}}, to: {{namespaces: [store]}}}}]\n"
    )
}

fn agent() -> Result<Agent> {
    let fixture = artifacts::fixture("fixtures/views.yaml");
    let agent = Agent::start_configured(&[&fixture], &config(true), &[])?;
    let bank = "apiVersion: v1\nkind: Namespace\nmetadata: {name: bank}\n";
    agent.write_manifest("bank.yaml", bank)?;
    Ok(agent)
}

/// The pod of a namespace, and where its zone is.
fn pod(agent: &Agent, namespace: &str) -> Result<(Pod, PathBuf)> {
    let output = agent.call(&["pod", "add", namespace, "--namespace", namespace])?;
    ensure!(output.status.success(), "{output:?}");
    let directory = agent.base().join("pod").join(namespace);
    wait(|| Ok(directory.join("zone.v1").exists())).with_context(|| agent.log())?;
    let pod = Pod::start(Recipe {
        resolv_conf: resolv_conf(namespace),
        nsswitch: HOSTS_LINE.into(),
        zone: Some(directory.clone()),
        dns: Some(
            Script::default()
                .addresses("api.shop.svc.cluster.local", &[API_ADDRESS])
                .addresses("goods.store.svc.cluster.local", &[GOODS_LIBCS])
                .addresses("vault.bank.svc.cluster.local", &[VAULT_LIBCS]),
        ),
        ..Recipe::default()
    })?;
    Ok((pod, directory))
}

/// Requires this verdict, libc's address, and that DNS was asked.
fn require_libc(
    pod: &Pod,
    session: &mut Session,
    (name, address): (&str, &str),
    who: &str,
) -> Result<()> {
    pod.dns()?.take_log();
    let reply = session.resolve(name, "INET")?;
    let asked = pod.dns()?.take_log();
    ensure!(
        reply.who() == who && reply.summary().starts_with(address) && !asked.is_empty(),
        "{name}: {} from {}, not libc's {address} and {who}; DNS saw {asked:?}",
        reply.summary(),
        reply.who()
    );
    Ok(())
}

/// Requires the zone's address, or that it says there is none; and that nobody was asked.
fn require_zone(pod: &Pod, session: &mut Session, name: &str, address: Option<&str>) -> Result<()> {
    pod.dns()?.take_log();
    let reply = session.resolve(name, "INET")?;
    let asked = pod.dns()?.take_log();
    let right = match address {
        Some(address) => reply.who() == "zone" && reply.summary().starts_with(address),
        None => reply.who() == "nxdomain" && reply.error.is_some(),
    };
    ensure!(
        right && asked.is_empty(),
        "{name}: {} from {}, not the zone's {address:?}; DNS saw {asked:?}",
        reply.summary(),
        reply.who()
    );
    Ok(())
}

/// In shadow libc answers and the counters tell what we would have changed; out of it we answer; and
/// back. Who is of another class is served all the while.
#[test]
fn a_class_is_tried_and_then_served() -> Result<()> {
    for door in Door::OURS {
        let agent = agent()?;
        let (shop, view) = pod(&agent, "shop")?;
        let (bank, _) = pod(&agent, "bank")?;
        let mut session = Session::start(&shop, door)?;
        let mut served = Session::start(&bank, door)?;
        let process = session.id().to_string();
        // Behind the module nothing is compared: it comes before DNS.
        let says = |verdict: &'static str| match door {
            Door::Nss => PASSED_ON,
            _ => verdict,
        };
        try_all(&shop, &mut session, says(LATELY), says(LATELY), says(SAME))?;
        age_of(&view, SETTLES_AFTER + 60)?;
        let (other, hidden) = (says(OTHER_ADDRESSES), says(OTHER_STATUS));
        try_all(&shop, &mut session, other, hidden, says(SAME))?;
        let all = [(API, API_ADDRESS), (GOODS, GOODS_OURS), (VAULT, VAULT_OURS)];
        for (name, address) in all {
            require_zone(&bank, &mut served, name, Some(address))?;
        }
        if door != Door::Nss {
            let (status, text) = explain(&process)?;
            let counted = "in shadow; same 2, different-addresses 1, different-status 1, \
                           different-lately 2, failed 0, passed 0";
            ensure!(status == 1 && text.contains(counted), "{status}: {text}");
        }

        agent.write_config(&config(false))?;
        wait(|| {
            let reply = session.resolve(GOODS, "INET")?;
            let (address, who) = (reply.summary(), reply.who());
            let ours = who == "zone";
            let whose = if ours { GOODS_OURS } else { GOODS_LIBCS };
            ensure!(
                address.starts_with(whose) && (ours || who == other || who == says(LATELY)),
                "{door:?}: {address} from {who}"
            );
            Ok(ours)
        })
        .with_context(|| agent.log())?;
        require_zone(&shop, &mut session, API, Some(API_ADDRESS))?;
        require_zone(&shop, &mut session, GOODS, Some(GOODS_OURS))?;
        require_zone(&shop, &mut session, VAULT, None)?;
        if door != Door::Nss {
            // What is answered is not compared.
            let (_, before) = explain(&process)?;
            require_zone(&shop, &mut session, API, Some(API_ADDRESS))?;
            ensure!(before.contains("same 2,"), "{before}");
            let (_, after) = explain(&process)?;
            ensure!(before == after, "{before}{after}");
        }

        agent.write_config(&config(true))?;
        wait(|| Ok(session.resolve(API, "INET")?.who() == says(SAME)))
            .with_context(|| agent.log())?;
        require_libc(&shop, &mut session, (API, API_ADDRESS), says(SAME))?;
        for (name, address) in all {
            require_zone(&bank, &mut served, name, Some(address))?;
        }
    }
    Ok(())
}

/// Every name once, with these verdicts on the goods, the vault and the shop's own.
fn try_all(pod: &Pod, session: &mut Session, goods: &str, vault: &str, own: &str) -> Result<()> {
    require_libc(pod, session, (API, API_ADDRESS), own)?;
    require_libc(pod, session, (GOODS, GOODS_LIBCS), goods)?;
    require_libc(pod, session, (VAULT, VAULT_LIBCS), vault)
}
